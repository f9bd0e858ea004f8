package odata

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/selfsame-io/selfsame/pkg/fault"
)

// Credentials are those of an OAuth client that speaks for itself (RFC 6749, section 4.4).
type Credentials struct {
	// TokenURL is where tokens are asked for; ID and Secret are sent there by Basic authentication. Scope may be empty.
	TokenURL, ID, Secret, Scope string
}

const (
	tokenTimeout = 20 * time.Second
	maxToken     = 64 << 10
	// tokenMargin is how long before its end a token is not used any more.
	tokenMargin = 30 * time.Second
	// tokenPause is how long nobody asks again after a failure, or when SAP refuses what has just been given out: servers count
	// failures and tokens, and one that hangs would stop every caller in turn.
	tokenPause = 5 * time.Second
)

// tokens hands out access tokens. One caller asks while the others wait.
type tokens struct {
	c    Credentials
	next http.RoundTripper
	now  func() time.Time
	once chan struct{} // held by who asks

	mu      sync.Mutex
	current string
	until   time.Time
	refusal error     // why the last asking failed; nil when it did not
	asked   time.Time // when the last asking ended
}

func newTokens(c Credentials, next http.RoundTripper, now func() time.Time) *tokens {
	return &tokens{c: c, next: next, now: now, once: make(chan struct{}, 1)}
}

// errFresh means that a new token would be refused like the one before.
var errFresh = fault.New(fault.Unavailable, ReasonLogon, "SAP refuses an access token that is new").WithRetryAfter(tokenPause)

// get returns a token that is not the refused one. Why there is none is answered to all callers for a while.
func (t *tokens) get(ctx context.Context, refused string) (string, error) {
	select {
	case t.once <- struct{}{}:
		defer func() { <-t.once }()
	case <-ctx.Done():
		return "", fault.Wrap(fault.Unavailable, reasonBusy, ctx.Err(), "no access token of SAP came in time; nothing was sent")
	}
	t.mu.Lock()
	current, now := t.current, t.now()
	usable := current != "" && current != refused && now.Before(t.until)
	refusal, pausing := t.refusal, now.Before(t.asked.Add(tokenPause))
	if refusal == nil && refused != "" && refused == current {
		refusal = errFresh
	}
	t.mu.Unlock()
	switch {
	case usable:
		return current, nil
	case refusal != nil && pausing:
		return "", refusal
	}
	token, lasts, err := t.ask(ctx)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.current, t.until = token, now.Add(lasts)
	if err == nil || ctx.Err() == nil { // of a caller who left it says nothing about the server
		t.asked, t.refusal = t.now(), err
	}
	return token, err
}

// ask asks the token endpoint once.
func (t *tokens) ask(ctx context.Context) (token string, lasts time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, tokenTimeout)
	defer cancel()
	form := url.Values{"grant_type": {"client_credentials"}}
	if t.c.Scope != "" {
		form.Set("scope", t.c.Scope)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, t.c.TokenURL, strings.NewReader(form.Encode()))
	if err != nil {
		return "", 0, fault.Wrap(fault.Internal, "", err, "the address of the token endpoint is wrong")
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Accept", "application/json")
	req.SetBasicAuth(url.QueryEscape(t.c.ID), url.QueryEscape(t.c.Secret))
	resp, err := t.next.RoundTrip(req)
	if err != nil {
		return "", 0, fault.Wrap(fault.Unavailable, ReasonUnreachable, err, "SAP's token endpoint cannot be reached; nothing was sent").WithRetryAfter(tokenPause)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxToken))
	switch {
	case err != nil || resp.StatusCode >= 500 || resp.StatusCode == http.StatusTooManyRequests:
		return "", 0, fault.Wrap(fault.Unavailable, ReasonUnreachable, err, "SAP's token endpoint does not answer; nothing was sent").WithRetryAfter(tokenPause)
	case resp.StatusCode != http.StatusOK:
		return "", 0, fault.New(fault.Unavailable, ReasonLogon, "SAP's token endpoint refuses the client").WithRetryAfter(tokenPause)
	}
	var got struct {
		Token   string `json:"access_token"`
		Type    string `json:"token_type"`
		Seconds int64  `json:"expires_in"`
	}
	if err := json.Unmarshal(body, &got); err != nil || got.Token == "" || got.Type != "" && !strings.EqualFold(got.Type, "bearer") {
		return "", 0, fault.Wrap(fault.Unavailable, ReasonLogon, errors.New("no bearer token in the answer"), "SAP's token endpoint answers with no token").WithRetryAfter(tokenPause)
	}
	lasts = time.Duration(got.Seconds) * time.Second
	if got.Seconds <= 0 {
		lasts = 5 * time.Minute // it does not say; a refusal renews it
	}
	return got.Token, max(lasts-tokenMargin, lasts/2), nil
}
