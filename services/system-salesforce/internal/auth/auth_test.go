package auth

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/pkg/fault"
)

type clock struct {
	mu sync.Mutex
	t  time.Time
}

func (c *clock) now() time.Time { c.mu.Lock(); defer c.mu.Unlock(); return c.t }
func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

type fixture struct {
	source *Source
	clock  *clock
	key    *rsa.PrivateKey
	keyErr error
	calls  atomic.Int64
	answer func(n int64, w http.ResponseWriter, r *http.Request)
}

func setup(t *testing.T) *fixture {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	f := &fixture{clock: &clock{t: time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)}, key: key}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n := f.calls.Add(1)
		if f.answer != nil {
			f.answer(n, w, r)
			return
		}
		fmt.Fprintf(w, `{"access_token":"00DXX0000000001!token%d","instance_url":"https://acme.example/","id":"https://login.example/id/00DXX0000000001EAA/005XX0000000001AAA","token_type":"Bearer","scope":"api"}`, n)
	}))
	t.Cleanup(server.Close)
	f.source = New(Config{LoginURL: server.URL + "/", Audience: "https://login.salesforce.com", ClientID: "client", Username: "user@example.test", Key: func() (*rsa.PrivateKey, error) { return f.key, f.keyErr }}, server.Client(), f.clock.now)
	return f
}

func TestSession(t *testing.T) {
	t.Parallel()
	t.Run("the first call logs in and later calls use the same session", func(t *testing.T) {
		t.Parallel()
		f := setup(t)
		one, err := f.source.Session(t.Context())
		require.NoError(t, err)
		two, err := f.source.Session(t.Context())
		require.NoError(t, err)
		require.Equal(t, one, two)
		require.Equal(t, "00DXX0000000001!token1", one.Token)
		require.Equal(t, "https://acme.example", one.InstanceURL)
		require.Equal(t, "00DXX0000000001EAA", one.OrgID)
		require.EqualValues(t, 1, f.calls.Load())
	})
	t.Run("the assertion holds the four documented claims and is signed by the key", func(t *testing.T) {
		t.Parallel()
		f := setup(t)
		var form string
		f.answer = func(_ int64, w http.ResponseWriter, r *http.Request) {
			require.NoError(t, r.ParseForm())
			form = r.PostForm.Get("assertion")
			if r.PostForm.Get("grant_type") != "urn:ietf:params:oauth:grant-type:jwt-bearer" || r.URL.Path != "/services/oauth2/token" {
				w.WriteHeader(http.StatusTeapot)
				return
			}
			fmt.Fprint(w, `{"access_token":"00DXX!t","instance_url":"https://i"}`)
		}
		session, err := f.source.Session(t.Context())
		require.NoError(t, err)
		require.Equal(t, "00DXX", session.OrgID, "falls back to the part before the exclamation mark")
		claims := jwt.MapClaims{}
		_, err = jwt.NewParser(jwt.WithTimeFunc(f.clock.now)).ParseWithClaims(form, claims, func(*jwt.Token) (any, error) { return &f.key.PublicKey, nil })
		require.NoError(t, err)
		require.Equal(t, jwt.MapClaims{"iss": "client", "sub": "user@example.test", "aud": "https://login.salesforce.com", "exp": float64(f.clock.now().Add(3 * time.Minute).Unix())}, claims)
	})
	t.Run("fifty parallel refusals cause one token request", func(t *testing.T) {
		t.Parallel()
		f := setup(t)
		stale, err := f.source.Session(t.Context())
		require.NoError(t, err)
		var wg sync.WaitGroup
		tokens := make([]string, 50)
		errs := make([]error, 50)
		for i := range tokens {
			wg.Go(func() {
				s, err := f.source.Renew(t.Context(), stale)
				tokens[i], errs[i] = s.Token, err
			})
		}
		wg.Wait()
		for i := range tokens {
			require.NoError(t, errs[i])
			require.Equal(t, "00DXX0000000001!token2", tokens[i])
		}
		require.EqualValues(t, 2, f.calls.Load())
	})
	t.Run("sessions that are always refused do not cause a loop of logins", func(t *testing.T) {
		t.Parallel()
		f := setup(t)
		session, err := f.source.Session(t.Context())
		require.NoError(t, err)
		for range 100 {
			next, err := f.source.Renew(t.Context(), session)
			if err == nil {
				session = next
				continue
			}
			require.Equal(t, ReasonSessionRefused, fault.ReasonOf(err))
			require.Positive(t, fault.RetryAfter(err))
		}
		require.EqualValues(t, 2, f.calls.Load())
		f.clock.add(firstPause)
		session, err = f.source.Renew(t.Context(), session)
		require.NoError(t, err)
		_, err = f.source.Renew(t.Context(), session)
		require.Error(t, err)
		f.source.Accepted(session)
		_, err = f.source.Renew(t.Context(), session)
		require.NoError(t, err, "an accepted call ends the pause")
	})
	t.Run("a caller that goes away while it leads leaves the login to one who waits", func(t *testing.T) {
		t.Parallel()
		f := setup(t)
		started, release := make(chan struct{}), make(chan struct{})
		f.answer = func(n int64, w http.ResponseWriter, r *http.Request) {
			if n == 1 {
				close(started)
				<-release
				return
			}
			fmt.Fprint(w, `{"access_token":"00DXX!t","instance_url":"https://i"}`)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() {
			_, err := f.source.Session(ctx)
			require.ErrorIs(t, err, context.Canceled)
		})
		<-started
		wg.Go(func() {
			_, err := f.source.Session(t.Context())
			require.NoError(t, err)
		})
		cancel()
		close(release)
		wg.Wait()
	})
}

func TestSession_Key(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.keyErr = errors.New("the file is gone")
	_, err := f.source.Session(t.Context())
	require.Equal(t, ReasonLoginRefused, fault.ReasonOf(err))
	require.ErrorContains(t, err, "the file is gone")
	require.Zero(t, f.calls.Load(), "without a key nobody is asked")
	f.keyErr = nil
	f.clock.add(firstPause)
	_, err = f.source.Session(t.Context())
	require.NoError(t, err, "the key is asked for at every login")
}

func TestSession_Password(t *testing.T) {
	t.Parallel()
	f := setup(t)
	var form url.Values
	f.answer = func(_ int64, w http.ResponseWriter, r *http.Request) {
		_ = r.ParseForm()
		form = r.PostForm
		fmt.Fprint(w, `{"access_token":"00DXX!t","instance_url":"https://i","scope":"api id"}`)
	}
	f.source.cfg.Password, f.source.cfg.ClientSecret = "secret+token", "s3cret"
	session, err := f.source.Session(t.Context())
	require.NoError(t, err)
	require.Equal(t, "api id", session.Scope)
	require.Equal(t, url.Values{"grant_type": {"password"}, "client_id": {"client"}, "client_secret": {"s3cret"}, "username": {"user@example.test"}, "password": {"secret+token"}}, form)
}

func TestLoopback(t *testing.T) {
	t.Parallel()
	for raw, want := range map[string]bool{
		"http://127.0.0.1:8080": true, "http://localhost:8080": true, "http://[::1]:1": true, "https://login.salesforce.com": false, "http://10.0.0.1": false,
		"http://localhost.example.com": false, "::": false,
	} {
		require.Equal(t, want, Loopback(raw), raw)
	}
}

func TestSession_Refused(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		code         int
		body, reason string
		hint         string
	}{
		"user has not approved":    {400, `{"error":"invalid_grant","error_description":"user hasn't approved this consumer"}`, ReasonLoginRefused, "not approved"},
		"not admin approved":       {400, `{"error":"invalid_app_access","error_description":"user is not admin approved to access this app"}`, ReasonLoginRefused, "not assigned"},
		"wrong audience":           {400, `{"error":"invalid_grant","error_description":"audience is invalid"}`, ReasonLoginRefused, "audience"},
		"wrong key":                {400, `{"error":"invalid_grant","error_description":"invalid assertion"}`, ReasonLoginRefused, "private key"},
		"unknown client":           {400, `{"error":"invalid_client_id","error_description":"client identifier invalid"}`, ReasonLoginRefused, "client id"},
		"description is not shown": {400, `{"error":"invalid_grant","error_description":"jane@example.test is locked"}`, ReasonLoginRefused, "grant is invalid"},
		"maintenance":              {503, `<html>down</html>`, ReasonUnreachable, "reached"},
		"not Salesforce":           {200, `hello`, ReasonUnreachable, "reached"},
		"proxy page":               {404, `<html>`, ReasonUnreachable, "reached"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := setup(t)
			f.answer = func(_ int64, w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(c.code)
				fmt.Fprint(w, c.body)
			}
			_, err := f.source.Session(t.Context())
			require.Equal(t, fault.Unavailable, fault.KindOf(err))
			require.Equal(t, c.reason, fault.ReasonOf(err))
			require.Positive(t, fault.RetryAfter(err))
			require.Contains(t, err.Error(), c.hint)
			require.NotContains(t, err.Error(), "jane")
			_, err = f.source.Session(t.Context())
			require.Error(t, err)
			require.EqualValues(t, 1, f.calls.Load(), "a failed login is not repeated at once")
			f.clock.add(firstPause)
			_, err = f.source.Session(t.Context())
			require.Error(t, err)
			require.EqualValues(t, 2, f.calls.Load())
		})
	}
}

func TestPermanent(t *testing.T) {
	t.Parallel()
	require.True(t, Permanent("Connected app is not attached to Agent"))
	require.True(t, Permanent("This session is not valid for use with the REST API"))
	require.False(t, Permanent("Session expired or invalid"))
}
