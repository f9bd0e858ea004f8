package auth

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
)

const (
	fetchTimeout = 5 * time.Second
	// A token with an unknown key id costs a fetch, and anybody can send one. The bucket bounds what strangers can
	// make us ask of the issuer; tokens whose key is known need no fetch and do not notice.
	fetchBurst    = 20
	fetchInterval = time.Second
)

type fetchKey struct{}

// fetchOutcome carries out of the verifier whether the keys could not be read: it wraps errors as text.
type fetchOutcome struct{ err error }

// fetchError marks what went wrong on the way to the issuer, as opposed to with the token.
type fetchError struct{ cause error }

func (e *fetchError) Error() string { return "fetch keys: " + e.cause.Error() }
func (e *fetchError) Unwrap() error { return e.cause }

// keySet finds the issuer's keys when the first token needs them.
type keySet struct {
	issuer string
	client *http.Client
	turn   chan struct{}

	mu     sync.Mutex
	url    string
	remote oidc.KeySet
}

func newKeySet(c Config) *keySet {
	base := c.Transport
	if base == nil {
		base = &http.Transport{Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true, MaxIdleConns: 4, IdleConnTimeout: 30 * time.Second}
	}
	now := c.Now
	if now == nil {
		now = time.Now
	}
	return &keySet{
		issuer: c.Issuer, url: c.JWKSURL, turn: make(chan struct{}, 1),
		client: &http.Client{Timeout: fetchTimeout, Transport: &throttle{base: base, now: now, tokens: fetchBurst}},
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
	remote, err := k.find(ctx)
	if err != nil {
		return nil, err
	}
	return remote.VerifySignature(ctx, jwt)
}

// find returns the key set, after asking the issuer's discovery document once; a failure is forgotten.
func (k *keySet) find(ctx context.Context) (oidc.KeySet, error) {
	if remote := k.current(); remote != nil {
		return remote, nil
	}
	select {
	case k.turn <- struct{}{}:
		defer func() { <-k.turn }()
	case <-ctx.Done():
		return nil, &fetchError{ctx.Err()}
	}
	if remote := k.current(); remote != nil {
		return remote, nil
	}
	// The key set outlives this request, and it fetches on the context it was made with.
	lasting := oidc.ClientContext(context.WithoutCancel(ctx), k.client)
	url := k.url
	if url == "" {
		provider, err := oidc.NewProvider(oidc.ClientContext(ctx, k.client), k.issuer)
		if err != nil {
			return nil, &fetchError{fmt.Errorf("discover issuer: %w", err)}
		}
		var doc struct {
			JWKSURL string `json:"jwks_uri"`
		}
		if err := provider.Claims(&doc); err != nil || doc.JWKSURL == "" {
			return nil, &fetchError{errors.New("the issuer's discovery document names no keys")}
		}
		url = doc.JWKSURL
	}
	remote := oidc.NewRemoteKeySet(lasting, url)
	k.mu.Lock()
	defer k.mu.Unlock()
	k.remote = remote
	return remote, nil
}

func (k *keySet) current() oidc.KeySet {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.remote
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
		return nil, &fetchError{errors.New("the issuer was asked too often")}
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
