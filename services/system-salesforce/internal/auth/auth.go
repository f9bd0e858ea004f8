// Package auth obtains and renews the session with which every other protocol package talks to Salesforce.
//
// The problem: a session ends without warning, for all calls in flight at once, and clients that answer each 401 with a
// login of their own lock the user out. The invariants: at most one token request runs at any time, however many callers
// wait for its result; a caller that was refused gets at most one renewal per request; a renewal that did not help is not
// repeated without a growing pause.
//
// It does not revoke sessions, ever: the JWT flow may hand out a session that other processes of the same user share.
package auth

import (
	"context"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/selfsame-io/selfsame/pkg/fault"
)

// Reasons of the errors of this package.
const (
	// ReasonUnreachable means no answer came from Salesforce.
	ReasonUnreachable = "SALESFORCE_UNREACHABLE"
	// ReasonLoginRefused means Salesforce does not accept this client or user: a person must act, calls may wait.
	ReasonLoginRefused = "SALESFORCE_LOGIN_REFUSED"
	// ReasonSessionRefused means Salesforce refuses sessions it has just issued.
	ReasonSessionRefused = "SALESFORCE_SESSION_REFUSED"
)

const (
	assertionLife = 3 * time.Minute
	tokenTimeout  = 20 * time.Second
	maxTokenBody  = 64 << 10
	firstPause    = time.Second
	longestPause  = time.Minute
	// unreachableMax is the longest pause when no login was refused.
	unreachableMax = 5 * time.Second
)

// Config says who logs in where. All fields but Audience are required, and either Key or Password.
type Config struct {
	// LoginURL is the base URL of the authorization server, without a path.
	LoginURL string
	// Audience is the `aud` claim; empty means LoginURL.
	Audience string
	// ClientID is the consumer key of the connected app.
	ClientID string
	// Username is the user on whose behalf calls are made.
	Username string
	// Key returns what signs the assertion; its certificate is registered with the connected app. It is asked at every login, so a
	// new key needs no restart. Its error is shown to operators and must not hold the key.
	Key func() (*rsa.PrivateKey, error)
	// Password, with ClientSecret, logs in by the username-password flow instead: for development only, which the caller sees to.
	Password, ClientSecret string
}

// Session is one access token with what is needed to use it. It is immutable.
type Session struct {
	// Token is the access token.
	Token string
	// InstanceURL is the base URL of every later call, without a trailing slash.
	InstanceURL string
	// OrgID is the id of the org as Salesforce wrote it, 15 or 18 characters.
	OrgID string
	// UserID is the id of the user, as Salesforce wrote it; empty when it did not.
	UserID string
	// Scope is what the session may be used for, separated by blanks; empty when Salesforce did not say.
	Scope string

	generation uint64
}

// Source hands out the current session. Create it with New; it is safe for concurrent use.
type Source struct {
	cfg  Config
	http *http.Client
	now  func() time.Time

	mu       sync.Mutex
	current  Session   // zero: none
	flight   *flight   // the token request that is running
	failure  error     // the last token request failed like this ...
	until    time.Time // ... and is not repeated before
	failures int
	refused  int       // renewals since a call was last accepted
	renewed  time.Time // when the last renewal began
}

type flight struct {
	done    chan struct{}
	session Session
	err     error
}

// New returns a source that logs in on first use.
func New(cfg Config, client *http.Client, now func() time.Time) *Source {
	cfg.LoginURL = strings.TrimRight(cfg.LoginURL, "/")
	if cfg.Audience == "" {
		cfg.Audience = cfg.LoginURL
	}
	return &Source{cfg: cfg, http: client, now: now}
}

// Session returns the current session and logs in if there is none.
//
// Errors: Unavailable with ReasonUnreachable when Salesforce does not answer, Unavailable with ReasonLoginRefused when it
// refuses the login, both with RetryAfter.
func (s *Source) Session(ctx context.Context) (Session, error) {
	return s.get(ctx, 0)
}

// Renew returns a session other than the refused one, or the newer one another caller has already obtained. Call it once per
// request. Besides the errors of Session it returns Unavailable with ReasonSessionRefused while renewals do not help.
func (s *Source) Renew(ctx context.Context, refused Session) (Session, error) {
	return s.get(ctx, refused.generation)
}

// Accepted tells that Salesforce took the session, which ends the pauses between renewals.
func (s *Source) Accepted(session Session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if session.generation == s.current.generation {
		s.refused = 0
	}
}

// get returns a session whose generation is greater than stale.
func (s *Source) get(ctx context.Context, stale uint64) (Session, error) {
	for {
		s.mu.Lock()
		if s.current.generation > stale {
			session := s.current
			s.mu.Unlock()
			return session, nil
		}
		f := s.flight
		if f == nil {
			if err := s.mayLogin(stale); err != nil {
				s.mu.Unlock()
				return Session{}, err
			}
			f = &flight{done: make(chan struct{})}
			s.flight = f
			s.mu.Unlock()
			return s.lead(ctx, f)
		}
		s.mu.Unlock()
		select {
		case <-ctx.Done():
			return Session{}, fmt.Errorf("wait for a session: %w", ctx.Err())
		case <-f.done:
		}
		// The caller that led may have gone away; then one of those who waited leads.
		if f.err == nil || !errors.Is(f.err, context.Canceled) && !errors.Is(f.err, context.DeadlineExceeded) {
			return f.session, f.err
		}
	}
}

// mayLogin says whether a token request may start now. The caller holds mu.
func (s *Source) mayLogin(stale uint64) error {
	now := s.now()
	if now.Before(s.until) {
		return s.failure
	}
	if stale == 0 {
		return nil
	}
	if pause := backoff(s.refused); s.refused > 0 && now.Before(s.renewed.Add(pause)) {
		return fault.New(fault.Unavailable, ReasonSessionRefused, "Salesforce refuses the sessions it issues").
			WithRetryAfter(s.renewed.Add(pause).Sub(now))
	}
	s.refused++
	s.renewed = now
	return nil
}

func backoff(n int) time.Duration {
	if n <= 0 {
		return 0
	}
	return min(longestPause, firstPause<<min(n-1, 10))
}

// lead runs the token request for everyone who waits on f.
func (s *Source) lead(ctx context.Context, f *flight) (Session, error) {
	session, err := s.login(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.flight = nil
	switch {
	case err == nil:
		session.generation = s.current.generation + 1
		s.current, s.failure, s.failures, s.until = session, nil, 0, time.Time{}
	case ctx.Err() != nil:
		// The leader gave up: that says nothing about Salesforce.
		err = fmt.Errorf("log in to Salesforce: %w", ctx.Err())
	default:
		s.failures++
		pause := backoff(s.failures)
		if fault.ReasonOf(err) != ReasonLoginRefused {
			pause = min(pause, unreachableMax) // only failed logins count against the user
		}
		s.failure, s.until = err, s.now().Add(pause)
	}
	f.session, f.err = session, err
	close(f.done)
	return session, err
}

func (s *Source) login(ctx context.Context) (Session, error) {
	ctx, cancel := context.WithTimeout(ctx, tokenTimeout)
	defer cancel()
	form, err := s.form()
	if err != nil {
		return Session{}, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.cfg.LoginURL+"/services/oauth2/token", strings.NewReader(form.Encode()))
	if err != nil {
		return Session{}, fmt.Errorf("build the token request: %w", err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Accept", "application/json")
	resp, err := s.http.Do(req)
	if err != nil {
		return Session{}, unreachable(withoutURL(err))
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxTokenBody))
	if err != nil {
		return Session{}, unreachable(err)
	}
	if resp.StatusCode != http.StatusOK {
		return Session{}, refusal(resp.StatusCode, body)
	}
	return parseSession(body)
}

// form is what is posted to the token endpoint.
func (s *Source) form() (url.Values, error) {
	if s.cfg.Password != "" {
		return url.Values{
			"grant_type": {"password"}, "client_id": {s.cfg.ClientID}, "client_secret": {s.cfg.ClientSecret}, "username": {s.cfg.Username}, "password": {s.cfg.Password},
		}, nil
	}
	assertion, err := s.assertion()
	if err != nil {
		return nil, err
	}
	return url.Values{"grant_type": {"urn:ietf:params:oauth:grant-type:jwt-bearer"}, "assertion": {assertion}}, nil
}

func (s *Source) assertion() (string, error) {
	key, err := s.cfg.Key()
	if err != nil {
		return "", fault.Wrap(fault.Unavailable, ReasonLoginRefused, err, "the private key cannot be used: %v", err).WithRetryAfter(refusedRetry)
	}
	claims := jwt.RegisteredClaims{
		Issuer: s.cfg.ClientID, Subject: s.cfg.Username, Audience: jwt.ClaimStrings{s.cfg.Audience},
		ExpiresAt: jwt.NewNumericDate(s.now().Add(assertionLife)),
	}
	token := jwt.NewWithClaims(jwt.SigningMethodRS256, singleAudience{claims})
	signed, err := token.SignedString(key)
	if err != nil {
		return "", fmt.Errorf("sign the assertion: %w", err)
	}
	return signed, nil
}

// singleAudience writes `aud` as a string: the form Salesforce documents.
type singleAudience struct{ jwt.RegisteredClaims }

// MarshalJSON writes the four claims of the JWT bearer flow.
func (c singleAudience) MarshalJSON() ([]byte, error) {
	return json.Marshal(map[string]any{"iss": c.Issuer, "sub": c.Subject, "aud": c.Audience[0], "exp": c.ExpiresAt.Unix()})
}

func parseSession(body []byte) (Session, error) {
	var answer struct {
		AccessToken string `json:"access_token"`
		InstanceURL string `json:"instance_url"`
		ID          string `json:"id"`
		Scope       string `json:"scope"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return Session{}, unreachable(fmt.Errorf("decode the token answer: %w", err))
	}
	session := Session{Token: answer.AccessToken, InstanceURL: strings.TrimRight(answer.InstanceURL, "/"), OrgID: orgID(answer.ID, answer.AccessToken), UserID: userID(answer.ID), Scope: answer.Scope}
	if session.Token == "" || session.InstanceURL == "" || session.OrgID == "" {
		return Session{}, unreachable(errors.New("the token answer lacks access_token, instance_url or id"))
	}
	return session, nil
}

// userID reads the user from the identity URL, ".../id/<org>/<user>".
func userID(identity string) string {
	if _, user, ok := strings.Cut(identity, "/id/"); ok {
		if _, user, _ = strings.Cut(user, "/"); strings.HasPrefix(user, "005") {
			return user
		}
	}
	return ""
}

// Loopback reports whether a URL leads to this machine only: a sandbox.
func Loopback(raw string) bool {
	u, err := url.Parse(raw)
	if err != nil {
		return false
	}
	if u.Hostname() == "localhost" {
		return true
	}
	ip := net.ParseIP(u.Hostname())
	return ip != nil && ip.IsLoopback()
}

// orgID reads the org from the identity URL, else from the part of the token before the exclamation mark.
func orgID(identity, token string) string {
	if _, rest, ok := strings.Cut(identity, "/id/"); ok {
		if org, _, _ := strings.Cut(rest, "/"); strings.HasPrefix(org, "00D") {
			return org
		}
	}
	if org, _, ok := strings.Cut(token, "!"); ok {
		return org
	}
	return ""
}
