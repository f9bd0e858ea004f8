package auth

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"
)

const (
	fetchTimeout = 5 * time.Second
	// A token with an unknown key id costs a fetch, and anybody can send one. The bucket bounds what strangers can
	// make us ask of the issuer; tokens whose key is known need no fetch and do not notice.
	fetchBurst    = 20
	fetchInterval = time.Second
	// renewEvery is how old keys may be that a token is checked with, while the issuer can be read.
	renewEvery = 5 * time.Minute
	// Keys that are too old are still good keys when the issuer is down: a renewal holds requests up for no longer than
	// renewWithin, and is tried again after renewRetry.
	renewWithin = time.Second
	renewRetry  = 30 * time.Second
	// maxKeys bounds the document that holds the keys, in bytes.
	maxKeys = 1 << 20
)

type fetchKey struct{}

// fetchOutcome carries out of the verifier whether the keys could not be read: it wraps errors as text.
type fetchOutcome struct{ err error }

// fetchError marks what went wrong on the way to the issuer, as opposed to with the token.
type fetchError struct{ cause error }

func (e *fetchError) Error() string { return "fetch keys: " + e.cause.Error() }
func (e *fetchError) Unwrap() error { return e.cause }

var (
	errSignature = errors.New("no key of the issuer made the signature")
	errTooOften  = errors.New("the issuer was asked too often")
)

// keySet holds the issuer's keys: read when the first token needs them, again when a token is of none of them, and again
// when they have become old, because a key that the issuer has withdrawn is missed by nobody otherwise.
type keySet struct {
	issuer  string
	client  *http.Client
	now     func() time.Time
	renew   time.Duration
	renewed func(context.Context, error)
	turn    chan struct{} // whose turn it is to ask the issuer; it alone changes what follows

	mu  sync.Mutex
	url string
	ring
}

// ring is what the issuer was last known to have.
type ring struct {
	keys  []jose.JSONWebKey
	known bool      // keys were read
	due   time.Time // when they are to be read again
	asked int       // how often the issuer was asked
	err   error     // what came of it the last time
}

func newKeySet(c Config) *keySet {
	base := c.Transport
	if base == nil {
		base = &http.Transport{Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true, MaxIdleConns: 4, IdleConnTimeout: 30 * time.Second}
	}
	renewed := c.Renewed
	if renewed == nil {
		renewed = func(context.Context, error) {}
	}
	return &keySet{
		issuer: c.Issuer, url: c.JWKSURL, turn: make(chan struct{}, 1), now: c.Now, renew: cmp.Or(c.Renew, renewEvery), renewed: renewed,
		client: &http.Client{Timeout: fetchTimeout, Transport: &throttle{base: base, now: c.Now, tokens: fetchBurst}},
	}
}

func (k *keySet) close() { k.client.CloseIdleConnections() }

// VerifySignature implements oidc.KeySet.
func (k *keySet) VerifySignature(ctx context.Context, jwt string) ([]byte, error) {
	payload, err := k.verify(ctx, jwt)
	if err != nil {
		out, ok := ctx.Value(fetchKey{}).(*fetchOutcome)
		_, fetch := errors.AsType[*fetchError](err)
		if ok && (fetch || ctx.Err() != nil) {
			out.err = err
		}
	}
	return payload, err
}

func (k *keySet) verify(ctx context.Context, jwt string) ([]byte, error) {
	jws, err := jose.ParseSignedCompact(jwt, algorithms)
	if err != nil {
		return nil, fmt.Errorf("parse token: %w", err)
	}
	r := k.current()
	before := r.asked
	switch {
	case !r.known:
		r = k.fetch(ctx, r, fetchTimeout)
	case !k.now().Before(r.due):
		r = k.fetch(ctx, r, renewWithin)
	}
	if payload, err := r.verify(jws); err == nil {
		return payload, nil
	}
	if r.asked == before { // a key that was made since is not known here yet
		r = k.fetch(ctx, r, fetchTimeout)
	}
	if r.err != nil {
		return nil, r.err
	}
	return r.verify(jws)
}

// verify checks a signature with the key that the token names; with each if it names none.
func (r ring) verify(jws *jose.JSONWebSignature) ([]byte, error) {
	if len(jws.Signatures) == 1 {
		id := jws.Signatures[0].Header.KeyID
		for _, key := range r.keys {
			if id != "" && id != key.KeyID {
				continue
			}
			if payload, err := jws.Verify(&key); err == nil {
				return payload, nil
			}
		}
	}
	return nil, errSignature
}

func (k *keySet) current() ring {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.ring
}

// fetch asks the issuer, unless somebody else has since seen was looked at: then their outcome is everybody's. What it
// returns has the known keys, and the error if the issuer could not be read. It goes on when the caller gives up, who is
// only the first of many.
func (k *keySet) fetch(ctx context.Context, seen ring, within time.Duration) ring {
	waiting, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	select {
	case k.turn <- struct{}{}:
		defer func() { <-k.turn }()
	case <-waiting.Done():
		seen.err, seen.asked = &fetchError{waiting.Err()}, seen.asked+1
		return seen
	}
	if r := k.current(); r.asked != seen.asked {
		return r
	}
	asking := context.WithoutCancel(ctx)
	if end, ok := waiting.Deadline(); ok {
		var cancel context.CancelFunc
		asking, cancel = context.WithDeadline(asking, end)
		defer cancel()
	}
	keys, err := k.ask(asking)
	if !errors.Is(err, errTooOften) {
		k.renewed(ctx, err)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.asked++
	k.err = err
	if err == nil {
		k.keys, k.known, k.due = keys, true, k.now().Add(k.renew)
	} else {
		k.due = k.now().Add(min(renewRetry, k.renew))
	}
	return k.ring
}

// ask reads the keys, after the issuer's discovery document if nobody has said where they are.
func (k *keySet) ask(ctx context.Context) ([]jose.JSONWebKey, error) {
	url, err := k.find(ctx)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, &fetchError{err}
	}
	req.Header.Set("Cache-Control", "no-cache")
	resp, err := k.client.Do(req)
	if err != nil {
		return nil, &fetchError{err}
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxKeys))
	if err != nil {
		return nil, &fetchError{err}
	}
	return parseKeys(text)
}

// parseKeys takes what is no key that we can use for one of somebody else.
func parseKeys(text []byte) ([]jose.JSONWebKey, error) {
	var set struct {
		Keys *[]json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(text, &set); err != nil || set.Keys == nil {
		return nil, &fetchError{errors.New("what the issuer answered holds no keys")}
	}
	var keys []jose.JSONWebKey
	for _, raw := range *set.Keys {
		var key jose.JSONWebKey
		if json.Unmarshal(raw, &key) == nil && key.Valid() && key.IsPublic() && key.Use != "enc" {
			keys = append(keys, key)
		}
	}
	return keys, nil
}

// find returns where the keys are; the issuer is asked once, a failure is forgotten.
func (k *keySet) find(ctx context.Context) (string, error) {
	if k.url != "" {
		return k.url, nil
	}
	provider, err := oidc.NewProvider(oidc.ClientContext(ctx, k.client), k.issuer)
	if err != nil {
		return "", &fetchError{fmt.Errorf("discover issuer: %w", err)}
	}
	var doc struct {
		JWKSURL string `json:"jwks_uri"`
	}
	if err := provider.Claims(&doc); err != nil || doc.JWKSURL == "" {
		return "", &fetchError{errors.New("the issuer's discovery document names no keys")}
	}
	k.url = doc.JWKSURL
	return k.url, nil
}

// throttle bounds how often the issuer is asked and marks its failures.
type throttle struct {
	base http.RoundTripper
	now  func() time.Time

	mu     sync.Mutex
	tokens float64
	last   time.Time
}

// RoundTrip implements http.RoundTripper.
func (t *throttle) RoundTrip(r *http.Request) (*http.Response, error) {
	if !t.take() {
		return nil, &fetchError{errTooOften}
	}
	resp, err := t.base.RoundTrip(r)
	if err != nil {
		return nil, &fetchError{err}
	}
	if resp.StatusCode != http.StatusOK {
		// The caller never sees the response, so its body has to be closed here.
		_ = resp.Body.Close()
		return nil, &fetchError{fmt.Errorf("the issuer answered %d", resp.StatusCode)}
	}
	return resp, nil
}

// CloseIdleConnections lets http.Client pass the call on.
func (t *throttle) CloseIdleConnections() {
	if c, ok := t.base.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

func (t *throttle) take() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.now()
	if !t.last.IsZero() && now.After(t.last) {
		t.tokens = min(fetchBurst, t.tokens+float64(now.Sub(t.last))/float64(fetchInterval))
	}
	t.last = now
	if t.tokens < 1 {
		return false
	}
	t.tokens--
	return true
}
