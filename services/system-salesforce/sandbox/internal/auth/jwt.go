package auth

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Refusal is an OAuth error answer.
type Refusal struct {
	Code        string `json:"error"`
	Description string `json:"error_description"`
}

// Error implements error.
func (r *Refusal) Error() string { return r.Code + ": " + r.Description }

// skew is the documented allowance between the two clocks.
const skew = 3 * time.Minute

// ParseKey reads an RSA public key or certificate in PEM.
func ParseKey(text []byte) (*rsa.PublicKey, error) {
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, errors.New("no PEM block")
	}
	var key any
	var err error
	switch block.Type {
	case "CERTIFICATE":
		var cert *x509.Certificate
		if cert, err = x509.ParseCertificate(block.Bytes); err == nil {
			key = cert.PublicKey
		}
	case "RSA PUBLIC KEY":
		key, err = x509.ParsePKCS1PublicKey(block.Bytes)
	default:
		key, err = x509.ParsePKIXPublicKey(block.Bytes)
	}
	if err != nil {
		return nil, fmt.Errorf("parse %s: %w", block.Type, err)
	}
	pub, ok := key.(*rsa.PublicKey)
	if !ok {
		return nil, fmt.Errorf("a %T is not an RSA key", key)
	}
	return pub, nil
}

// Verifier checks JWT bearer assertions, client secrets and passwords.
type Verifier struct {
	// Keys are the public keys by consumer key.
	Keys map[string]*rsa.PublicKey
	// Apps are the other properties of apps, by consumer key.
	Apps  map[string]App
	Users []User
	// Orders replace the refusals of apps and users at run time.
	Orders Orders
	// Strict accepts only a documented audience without a trailing slash and
	// a numeric expiry in seconds, at most five minutes ahead.
	Strict bool
	Now    func() time.Time

	mu   sync.Mutex
	used map[string]time.Time // jti values and when they may be forgotten
}

type claims struct {
	Iss string          `json:"iss"`
	Sub string          `json:"sub"`
	Aud json.RawMessage `json:"aud"`
	Exp json.RawMessage `json:"exp"`
	Jti string          `json:"jti"`
}

func invalidGrant(description string) *Refusal { return &Refusal{"invalid_grant", description} }

// Verify checks an assertion and returns its user and app. audiences are the
// own names of the server besides the well-known ones.
func (v *Verifier) Verify(assertion string, audiences ...string) (u User, app string, refusal *Refusal) {
	var c claims
	key, signed, signature, refusal := v.read(assertion, &c)
	if refusal != nil {
		return User{}, "", refusal
	}
	if refusal := v.Orders.app(c.Iss, v.Apps[c.Iss].Refusal); refusal != nil {
		return User{}, "", refusal
	}
	sum := sha256.Sum256([]byte(signed))
	if err := rsa.VerifyPKCS1v15(key, crypto.SHA256, sum[:], signature); err != nil {
		return User{}, "", invalidGrant("invalid assertion")
	}
	if !v.audience(c.Aud, audiences) {
		return User{}, "", invalidGrant("audience is invalid")
	}
	exp, ok := v.expiry(c.Exp)
	if !ok {
		return User{}, "", invalidGrant("invalid assertion")
	}
	if v.Now().Add(-skew).After(exp) {
		return User{}, "", invalidGrant("expired authorization code")
	}
	if !v.once(c.Jti, exp) {
		return User{}, "", invalidGrant("invalid assertion")
	}
	u, refusal = v.user(c.Sub)
	return u, c.Iss, refusal
}

func (v *Verifier) read(assertion string, c *claims) (*rsa.PublicKey, string, []byte, *Refusal) {
	bad := invalidGrant("invalid assertion")
	parts := strings.Split(assertion, ".")
	if len(parts) != 3 {
		return nil, "", nil, bad
	}
	var raw [3][]byte
	for i, p := range parts {
		b, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(p, "="))
		if err != nil {
			return nil, "", nil, bad
		}
		raw[i] = b
	}
	var header struct {
		Alg string `json:"alg"`
	}
	if json.Unmarshal(raw[0], &header) != nil || json.Unmarshal(raw[1], c) != nil || header.Alg != "RS256" {
		return nil, "", nil, bad
	}
	key := v.Keys[c.Iss]
	if key == nil {
		return nil, "", nil, named("unknown_app")
	}
	return key, parts[0] + "." + parts[1], raw[2], nil
}

func (v *Verifier) audience(raw json.RawMessage, own []string) bool {
	var given []string
	var one string
	if json.Unmarshal(raw, &one) == nil {
		given = []string{one}
	} else if v.Strict || json.Unmarshal(raw, &given) != nil {
		return false
	}
	known := append([]string{"https://login.salesforce.com", "https://test.salesforce.com"}, own...)
	for _, aud := range given {
		if slices.Contains(known, aud) {
			return true
		}
		if v.Strict {
			continue
		}
		aud = strings.TrimRight(aud, "/")
		for _, k := range known {
			if aud == k || aud == host(k) {
				return true
			}
		}
	}
	return false
}

func host(url string) string {
	_, h, _ := strings.Cut(url, "://")
	return h
}

// expiry reads what real clients send: seconds, milliseconds, or either as a
// string.
func (v *Verifier) expiry(raw json.RawMessage) (time.Time, bool) {
	text := string(raw)
	if !v.Strict {
		text = strings.Trim(text, `"`)
	}
	n, err := strconv.ParseFloat(text, 64)
	if err != nil || n <= 0 {
		return time.Time{}, false
	}
	if n > 1e11 {
		if v.Strict {
			return time.Time{}, false
		}
		n /= 1000
	}
	at := time.Unix(int64(n), 0)
	return at, !v.Strict || at.Before(v.Now().Add(5*time.Minute+skew))
}

func (v *Verifier) once(jti string, exp time.Time) bool {
	if jti == "" {
		return true
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	now := v.Now()
	for id, until := range v.used {
		if now.After(until) {
			delete(v.used, id)
		}
	}
	if _, seen := v.used[jti]; seen {
		return false
	}
	if v.used == nil {
		v.used = map[string]time.Time{}
	}
	v.used[jti] = exp.Add(skew)
	return true
}

func (v *Verifier) user(username string) (User, *Refusal) {
	u := v.find(username)
	if u == nil {
		return User{}, named("unapproved")
	}
	if r := v.Orders.user(u.Username, u.Refusal); r != nil {
		return User{}, r
	}
	return *u, nil
}
