package auth

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/pkg/fault"
)

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestThrottle(t *testing.T) {
	t.Parallel()
	now := time.Unix(1000, 0)
	asked := 0
	transport := &throttle{tokens: fetchBurst, now: func() time.Time { return now }, base: roundTrip(func(*http.Request) (*http.Response, error) {
		asked++
		return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody}, nil
	})}
	ask := func() error {
		resp, err := transport.RoundTrip(httptest.NewRequestWithContext(t.Context(), "GET", "http://issuer/jwks", nil))
		if err == nil {
			require.NoError(t, resp.Body.Close())
		}
		return err
	}
	for range fetchBurst {
		require.NoError(t, ask())
	}
	err := ask()
	_, marked := errors.AsType[*fetchError](err)
	require.True(t, marked, "strangers cannot make us ask the issuer without limit")
	require.Equal(t, fetchBurst, asked)
	now = now.Add(fetchInterval)
	require.NoError(t, ask())
	require.Error(t, ask())
	now = now.Add(time.Hour)
	for range fetchBurst {
		require.NoError(t, ask())
	}
	require.Error(t, ask(), "an idle hour does not save up more than one burst")
}

func TestBearer(t *testing.T) {
	t.Parallel()
	for _, line := range []string{"Bearer abc", "bearer abc", "BEARER  abc "} {
		token, err := Bearer([]string{line})
		require.NoError(t, err)
		require.Equal(t, "abc", token)
	}
	for _, lines := range [][]string{nil, {""}, {"Bearer"}, {"Bearer "}, {"Basic abc"}, {"abc"}, {"Bearer a", "Bearer a"}} {
		_, err := Bearer(lines)
		require.Equal(t, ReasonTokenMissing, fault.ReasonOf(err), lines)
	}
}

func TestPrincipal(t *testing.T) {
	t.Parallel()
	p := Principal{Subject: "u", Scopes: []string{"customers.read"}}
	require.NoError(t, p.Require(ScopeRead))
	err := p.Require(ScopeWrite)
	require.Equal(t, fault.Forbidden, fault.KindOf(err))
	require.ErrorContains(t, err, "customers.write")
	require.Error(t, Principal{}.Require(ScopeRead), "nobody may do nothing")
}
