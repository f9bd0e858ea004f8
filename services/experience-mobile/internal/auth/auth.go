// Package auth decides who calls: it checks a bearer token (a JWT of the configured OpenID Connect issuer) and
// returns its subject and scopes.
//
// The invariant: a token is accepted only if a trusted key signed it with RS256 or ES256, its issuer and audience
// are the configured ones, and it is valid now. Keys are fetched when the first token needs them and kept, so
// neither start-up nor normal work depends on the issuer being up, and a rotated key is picked up by its id. They are read
// again every few minutes, so a key that the issuer withdraws is good for no longer, as long as the issuer can be asked.
//
// The package knows nothing of routes; who needs which scope is said where the routes are.
package auth

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"

	"github.com/selfsame-io/selfsame/pkg/fault"
)

// Scopes of the API.
const (
	ScopeRead  = "customers.read"
	ScopeWrite = "customers.write"
)

// Reasons that this package raises.
const (
	ReasonTokenMissing    = "TOKEN_MISSING"
	ReasonTokenInvalid    = "TOKEN_INVALID"
	ReasonAuthUnavailable = "AUTH_UNAVAILABLE"
	ReasonScope           = "INSUFFICIENT_SCOPE"
)

const (
	maxToken   = 8 << 10
	maxSubject = 255
)

// Principal is who calls. The zero value is nobody and has no scope.
type Principal struct {
	// Subject is the token's subject: visible ASCII, stable for one user or client.
	Subject string
	// Scopes are the token's scopes; they are not to be changed.
	Scopes []string
	// Restricted says that only Customers exist for the caller. Otherwise every customer does.
	Restricted bool
	// Customers are the ids of the customers that the token names; they are not to be changed.
	Customers []string
	// Client is the application that the token was issued to (azp or client_id); may be empty.
	Client string
	// Expires is when the token ends.
	Expires time.Time
}

// Sees reports whether a customer exists for the caller.
func (p Principal) Sees(customer string) bool {
	return !p.Restricted || slices.Contains(p.Customers, customer)
}

// Has reports whether the token carries the scope.
func (p Principal) Has(scope string) bool { return slices.Contains(p.Scopes, scope) }

// Require returns a Forbidden error that names the scope if the token lacks it.
func (p Principal) Require(scope string) error {
	if p.Has(scope) {
		return nil
	}
	return fault.New(fault.Forbidden, ReasonScope, "this needs the scope %s", scope).WithMeta("scope", scope)
}

// Config says whom to trust.
type Config struct {
	// Issuer is the exact value of the claim iss, and where the keys are found unless JWKSURL says.
	Issuer string
	// Audience must be among the token's audiences.
	Audience string
	// JWKSURL is where the keys are; empty asks the issuer's discovery document.
	JWKSURL string
	// OwnerClaim names the claim that lists the customers a token is for; such a token is restricted to them. Empty: no
	// token is restricted.
	OwnerClaim string
	// OwnerRequired restricts a token without the claim to nothing.
	OwnerRequired bool
	// Within is how long checking a token may take, the keys included; zero means five seconds.
	Within time.Duration
	// Renew is how old the keys may be that a token is checked with; zero means five minutes. While the issuer cannot be
	// read the old ones stay good.
	Renew time.Duration
	// Renewed, if set, is called whenever the issuer was asked for its keys, with what went wrong or nil.
	Renewed func(context.Context, error)
	// Now is the clock for exp, nbf and the age of keys; nil means time.Now.
	Now func() time.Time
	// Transport fetches keys; nil means a new transport of its own.
	Transport http.RoundTripper
}

// Verifier checks tokens. Make it with New; it is safe for concurrent use.
type Verifier struct {
	keys     *keySet
	verifier *oidc.IDTokenVerifier
	seen     *seen
	claim    string
	required bool
	within   time.Duration
}

// New returns a verifier. It asks nobody yet.
func New(c Config) *Verifier {
	if c.Now == nil {
		c.Now = time.Now
	}
	keys := newKeySet(c)
	allowed := make([]string, 0, len(algorithms))
	for _, a := range algorithms {
		allowed = append(allowed, string(a))
	}
	return &Verifier{keys: keys, seen: newSeen(c.Now), claim: c.OwnerClaim, required: c.OwnerRequired, within: cmp.Or(c.Within, fetchTimeout), verifier: oidc.NewVerifier(c.Issuer, keys, &oidc.Config{
		ClientID: c.Audience, SupportedSigningAlgs: allowed, Now: c.Now,
	})}
}

// algorithms are what a token may be signed with.
var algorithms = []jose.SignatureAlgorithm{jose.RS256, jose.ES256}

// Close ends idle connections to the issuer.
func (v *Verifier) Close() { v.keys.close() }

// Verify returns the principal of a token. It fails with Unauthenticated (TOKEN_INVALID) for a token that is not
// accepted, and with Unavailable (AUTH_UNAVAILABLE) if the issuer's keys are needed and cannot be read. A token that was
// accepted is not checked again for a minute, or until it expires.
func (v *Verifier) Verify(ctx context.Context, token string) (Principal, error) {
	if len(token) > maxToken {
		return Principal{}, invalid(errors.New("token is too long"))
	}
	if p, ok := v.seen.find(token); ok {
		return p, nil
	}
	ctx, cancel := context.WithTimeout(ctx, v.within)
	defer cancel()
	var fetch fetchOutcome
	t, err := v.verifier.Verify(context.WithValue(ctx, fetchKey{}, &fetch), token)
	switch {
	case err != nil && fetch.err != nil:
		return Principal{}, fault.Wrap(fault.Unavailable, ReasonAuthUnavailable, fetch.err, "tokens cannot be checked now")
	case err != nil:
		return Principal{}, invalid(err)
	}
	var claims struct {
		Scope string `json:"scope"`
		SCP   any    `json:"scp"`
		AZP   string `json:"azp"`
		// ClientID is RFC 9068's name for azp.
		ClientID string `json:"client_id"`
	}
	if err := t.Claims(&claims); err != nil {
		return Principal{}, invalid(err)
	}
	if !visible(t.Subject) {
		return Principal{}, invalid(errors.New("subject is empty, too long or not visible ascii"))
	}
	p := Principal{
		Subject: t.Subject, Scopes: append(strings.Fields(claims.Scope), list(claims.SCP)...),
		Client: cmp.Or(claims.AZP, claims.ClientID), Expires: t.Expiry,
	}
	if err := v.restrict(&p, t); err != nil {
		return Principal{}, invalid(err)
	}
	v.seen.add(token, p, t.Expiry)
	return p, nil
}

// maxOwned bounds the customers that a token may name.
const maxOwned = 200

// restrict reads whose records the token is for. A claim of another shape than a list of ids is not guessed at.
func (v *Verifier) restrict(p *Principal, t *oidc.IDToken) error {
	if v.claim == "" {
		return nil
	}
	claims := map[string]json.RawMessage{}
	if err := t.Claims(&claims); err != nil {
		return err
	}
	raw, ok := claims[v.claim]
	if !ok {
		p.Restricted = v.required
		return nil
	}
	p.Restricted = true
	if err := json.Unmarshal(raw, &p.Customers); err != nil {
		return errors.New("the claim that names customers is no list of texts")
	}
	if len(p.Customers) > maxOwned || slices.ContainsFunc(p.Customers, func(id string) bool { return !visible(id) || strings.Contains(id, ",") }) {
		return errors.New("the claim that names customers holds too many or what is no id")
	}
	return nil
}

// invalid hides why: the reason helps only somebody who crafts tokens. The cause may hold parts of the token and
// stays out of the error too.
func invalid(error) error {
	return fault.New(fault.Unauthenticated, ReasonTokenInvalid, "the bearer token is not accepted")
}

// list reads the claim scp, which issuers write as a list or as a text.
func list(scp any) []string {
	switch v := scp.(type) {
	case string:
		return strings.Fields(v)
	case []any:
		var out []string
		for _, s := range v {
			if text, ok := s.(string); ok {
				out = append(out, text)
			}
		}
		return out
	}
	return nil
}

// visible reports whether the subject can travel as metadata unchanged.
func visible(s string) bool {
	if s == "" || len(s) > maxSubject {
		return false
	}
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// Bearer returns the token of the Authorization header lines; it fails with Unauthenticated (TOKEN_MISSING) unless
// there is exactly one, of the scheme Bearer.
func Bearer(lines []string) (string, error) {
	if len(lines) == 1 {
		scheme, token, found := strings.Cut(lines[0], " ")
		token = strings.TrimSpace(token)
		if found && strings.EqualFold(scheme, "Bearer") && token != "" {
			return token, nil
		}
	}
	return "", fault.New(fault.Unauthenticated, ReasonTokenMissing, "a bearer token is needed")
}
