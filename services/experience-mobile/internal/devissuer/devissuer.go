// Package devissuer is an OpenID Connect issuer for development and tests: it gives a token with any subject and
// scope to whoever asks.
//
// The invariant: it runs only when it is enabled explicitly, on a listener of its own, and nothing else in the
// service knows it: the edge checks its tokens like any other issuer's, over HTTP, by discovery and keys.
// It offers no user login, no client registration and no refresh tokens.
package devissuer

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

const (
	defaultTTL = time.Hour
	maxTTL     = 24 * time.Hour
	// keptKeys are published: the signing key and those before it, so that tokens outlive a rotation.
	keptKeys = 3
)

// Options say what the issuer issues.
type Options struct {
	// URL is the issuer's own address, the claim iss; without a slash at the end.
	URL string
	// Audience is the claim aud.
	Audience string
	// KeyFile is a PEM file with an RSA or P-256 private key; empty makes a new P-256 key.
	KeyFile string
	// Now is the clock of iat, nbf and exp; nil means time.Now.
	Now func() time.Time
}

// Issuer issues tokens. Make it with New; it is safe for concurrent use.
type Issuer struct {
	o Options

	mu   sync.Mutex
	keys []jose.JSONWebKey // private, the signing one first
}

// New returns an issuer with one key.
func New(o Options) (*Issuer, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	i := &Issuer{o: o}
	if o.KeyFile == "" {
		return i, i.Rotate()
	}
	text, err := os.ReadFile(o.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("read issuer key: %w", err)
	}
	key, err := parse(text)
	if err != nil {
		return nil, fmt.Errorf("parse issuer key: %w", err)
	}
	return i, i.use(key)
}

func parse(text []byte) (crypto.Signer, error) {
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, errors.New("the file holds no PEM block")
	}
	if key, err := x509.ParsePKCS1PrivateKey(block.Bytes); err == nil {
		return key, nil
	}
	if key, err := x509.ParseECPrivateKey(block.Bytes); err == nil {
		return key, nil
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		// The parser's text may quote the key.
		return nil, errors.New("the PEM block is no RSA or EC private key")
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("a %T cannot sign", key)
	}
	return signer, nil
}

// Rotate signs from now on with a new P-256 key. Tokens signed with the two keys before stay good.
func (i *Issuer) Rotate() error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fmt.Errorf("make issuer key: %w", err)
	}
	return i.use(key)
}

func (i *Issuer) use(key crypto.Signer) error {
	jwk := jose.JSONWebKey{Key: key, Use: "sig"}
	switch k := key.(type) {
	case *rsa.PrivateKey:
		jwk.Algorithm = string(jose.RS256)
	case *ecdsa.PrivateKey:
		if k.Curve != elliptic.P256() {
			return errors.New("an EC issuer key must be on the curve P-256")
		}
		jwk.Algorithm = string(jose.ES256)
	default:
		return fmt.Errorf("a %T cannot be an issuer key", key)
	}
	print, err := jwk.Thumbprint(crypto.SHA256)
	if err != nil {
		return fmt.Errorf("name issuer key: %w", err)
	}
	jwk.KeyID = base64.RawURLEncoding.EncodeToString(print)
	i.mu.Lock()
	defer i.mu.Unlock()
	i.keys = append([]jose.JSONWebKey{jwk}, i.keys...)
	i.keys = i.keys[:min(len(i.keys), keptKeys)]
	return nil
}

// Token returns a signed token. A ttl of zero means one hour; a negative one makes an expired token.
func (i *Issuer) Token(subject, scope string, ttl time.Duration) (string, error) {
	return i.TokenWith(subject, scope, ttl, nil)
}

// TokenWith is Token with further claims.
func (i *Issuer) TokenWith(subject, scope string, ttl time.Duration, more map[string]any) (string, error) {
	if ttl == 0 {
		ttl = defaultTTL
	}
	i.mu.Lock()
	key := i.keys[0]
	i.mu.Unlock()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.SignatureAlgorithm(key.Algorithm), Key: key},
		(&jose.SignerOptions{}).WithType("at+jwt"))
	if err != nil {
		return "", fmt.Errorf("make signer: %w", err)
	}
	id := make([]byte, 16)
	// crypto/rand.Read never fails.
	_, _ = rand.Read(id)
	now := i.o.Now()
	token, err := jwt.Signed(signer).Claims(jwt.Claims{
		Issuer: i.o.URL, Subject: subject, Audience: jwt.Audience{i.o.Audience}, ID: base64.RawURLEncoding.EncodeToString(id),
		IssuedAt: jwt.NewNumericDate(now), NotBefore: jwt.NewNumericDate(now), Expiry: jwt.NewNumericDate(now.Add(ttl)),
	}).Claims(map[string]any{"scope": scope}).Claims(more).Serialize()
	if err != nil {
		return "", fmt.Errorf("sign token: %w", err)
	}
	return token, nil
}

// Handler serves /.well-known/openid-configuration, /jwks and POST /token?sub=…&scope=…&ttl=….
func (i *Issuer) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusOK, map[string]any{
			"issuer": i.o.URL, "jwks_uri": i.o.URL + "/jwks", "token_endpoint": i.o.URL + "/token",
			"response_types_supported": []string{"token"}, "subject_types_supported": []string{"public"},
			"id_token_signing_alg_values_supported": []string{"RS256", "ES256"},
		})
	})
	mux.HandleFunc("GET /jwks", func(w http.ResponseWriter, _ *http.Request) {
		i.mu.Lock()
		defer i.mu.Unlock()
		set := jose.JSONWebKeySet{}
		for _, k := range i.keys {
			set.Keys = append(set.Keys, k.Public())
		}
		answer(w, http.StatusOK, set)
	})
	mux.HandleFunc("POST /token", i.token)
	return mux
}

func (i *Issuer) token(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 4<<10)
	subject, scope := r.FormValue("sub"), r.FormValue("scope")
	ttl := defaultTTL
	if text := r.FormValue("ttl"); text != "" {
		d, err := time.ParseDuration(text)
		if err != nil || d > maxTTL {
			answer(w, http.StatusBadRequest, map[string]string{"error": "invalid_request", "error_description": "ttl is a duration of at most 24h"})
			return
		}
		ttl = d
	}
	if subject == "" {
		answer(w, http.StatusBadRequest, map[string]string{"error": "invalid_request", "error_description": "sub is missing"})
		return
	}
	token, err := i.Token(subject, scope, ttl)
	if err != nil {
		answer(w, http.StatusInternalServerError, map[string]string{"error": "server_error"})
		return
	}
	answer(w, http.StatusOK, map[string]any{
		"access_token": token, "token_type": "Bearer", "expires_in": int(ttl / time.Second), "scope": scope,
	})
}

func answer(w http.ResponseWriter, status int, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		http.Error(w, "internal error", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	// The client may be gone; there is nobody to tell.
	_, _ = w.Write(body)
}
