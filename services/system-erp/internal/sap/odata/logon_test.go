package odata

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/pkg/fault"
)

// door is SAP with its token endpoint, on the wire; it is used by one goroutine.
type door struct {
	at          time.Time
	asked, sent int
	// token answers the endpoint, let says whether SAP takes a token.
	token func(ctx context.Context) (status int, body string, err error)
	let   bool
}

func (d *door) now() time.Time { return d.at }

func (d *door) RoundTrip(r *http.Request) (*http.Response, error) {
	status, body := http.StatusUnauthorized, "{}"
	var err error
	if strings.HasSuffix(r.URL.Path, "/token") {
		d.asked++
		status, body, err = d.token(r.Context())
	} else {
		d.sent++
		if d.let {
			status, body = http.StatusOK, `{"d":{"x":"y"}}`
		}
	}
	if err != nil {
		return nil, err
	}
	return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
}

func gives(context.Context) (int, string, error) {
	return http.StatusOK, `{"access_token":"t","token_type":"Bearer","expires_in":3600}`, nil
}

func newDoor(t *testing.T, token func(context.Context) (int, string, error)) (*door, *Client) {
	t.Helper()
	d := &door{at: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), token: token}
	c, err := New(Options{URL: "https://s4.example.com", Transport: d, Now: d.now, OAuth: &Credentials{TokenURL: "https://s4.example.com/token", ID: "id", Secret: "s"}})
	require.NoError(t, err)
	return d, c
}

func (d *door) get(t *testing.T, c *Client) error {
	t.Helper()
	_, err := c.Get(t.Context(), service, "A_BusinessPartner('1')", nil)
	return err
}

func TestTokens_FreshOnesThatAreRefused(t *testing.T) {
	t.Parallel()
	issued := 0
	d, c := newDoor(t, func(context.Context) (int, string, error) {
		issued++
		return http.StatusOK, `{"access_token":"t` + strings.Repeat("+", issued) + `","expires_in":3600}`, nil
	})
	for i := range 4 {
		err := d.get(t, c)
		require.Equal(t, []any{fault.Unavailable, ReasonLogon}, []any{fault.KindOf(err), fault.ReasonOf(err)})
		require.Equal(t, []int{1, i + 1}, []int{d.asked, d.sent}, "another token would be refused too: nobody asks for it, nothing is sent twice")
		d.at = d.at.Add(tokenPause / 10)
	}
	d.at = d.at.Add(tokenPause)
	require.Equal(t, ReasonLogon, fault.ReasonOf(d.get(t, c)))
	require.Equal(t, []int{2, 6}, []int{d.asked, d.sent}, "a token that was good for a while is renewed")
	d.let = true
	require.NoError(t, d.get(t, c), "what SAP takes again is used at once")
	require.Equal(t, []int{2, 7}, []int{d.asked, d.sent})
}

func TestTokens_FailuresAreKeptForAWhile(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		status int
		err    error
		takes  time.Duration
		reason string
	}{
		"nobody listens":            {err: errors.New("connection refused"), reason: ReasonUnreachable},
		"it hangs until our limit":  {err: context.DeadlineExceeded, takes: tokenTimeout, reason: ReasonUnreachable},
		"it is overloaded":          {status: http.StatusTooManyRequests, reason: ReasonUnreachable},
		"it is broken":              {status: http.StatusBadGateway, reason: ReasonUnreachable},
		"it refuses us":             {status: http.StatusUnauthorized, reason: ReasonLogon},
		"it answers with something": {status: http.StatusOK, reason: ReasonLogon},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d, client := newDoor(t, nil)
			d.let = true
			d.token = func(context.Context) (int, string, error) {
				d.at = d.at.Add(c.takes)
				return c.status, "<html>", c.err
			}
			for range 3 {
				err := d.get(t, client)
				require.Equal(t, []any{fault.Unavailable, c.reason}, []any{fault.KindOf(err), fault.ReasonOf(err)})
			}
			require.Equal(t, []int{1, 0}, []int{d.asked, d.sent}, "who comes next need not wait for the same")
			d.at = d.at.Add(tokenPause)
			d.token = gives
			require.NoError(t, d.get(t, client))
			require.Equal(t, []int{2, 1}, []int{d.asked, d.sent})
		})
	}
}

func TestTokens_ACallerWhoLeavesRefusesNobody(t *testing.T) {
	t.Parallel()
	ctx, leave := context.WithCancel(t.Context())
	d, c := newDoor(t, func(ctx context.Context) (int, string, error) {
		leave()
		<-ctx.Done()
		return 0, "", ctx.Err()
	})
	d.let = true
	_, err := c.Get(ctx, service, "A_BusinessPartner('1')", nil)
	require.Equal(t, fault.Unavailable, fault.KindOf(err))
	d.token = gives
	require.NoError(t, d.get(t, c))
}
