package rest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/pkg/fault"
)

// script answers calls one after the other, and remembers what was sent.
type script struct {
	mu      sync.Mutex
	answers []func(w http.ResponseWriter)
	sent    []string
}

func (s *script) RoundTrip(r *http.Request) (*http.Response, error) {
	body := ""
	if r.Body != nil {
		raw, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, err
		}
		_ = r.Body.Close()
		body = string(raw)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sent = append(s.sent, r.Method+" "+r.URL.Path+" "+r.Header.Get("Content-Type")+" "+body)
	if len(s.answers) == 0 {
		return nil, errors.New("the connection is reset")
	}
	w := &recorder{Response: http.Response{StatusCode: 200, Header: http.Header{}}}
	s.answers[0](w)
	s.answers = s.answers[1:]
	w.Body = io.NopCloser(&w.text)
	return &w.Response, nil
}

type recorder struct {
	http.Response
	text bytes.Buffer
}

func (r *recorder) Header() http.Header         { return r.Response.Header }
func (r *recorder) Write(p []byte) (int, error) { return r.text.Write(p) }
func (r *recorder) WriteHeader(status int)      { r.StatusCode = status }

func answer(status int, text string) func(http.ResponseWriter) {
	return func(w http.ResponseWriter) {
		w.Header().Set("Sforce-Limit-Info", "api-usage=7/100")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, text)
	}
}

func scripted(answers ...func(http.ResponseWriter)) (*script, *Client) {
	s := &script{answers: answers}
	return s, New(Options{Sessions: &fixedSessions{url: "http://org"}, HTTP: &http.Client{Transport: s}, APIVersion: "66.0", ClientName: "selfsame", MaxConcurrent: 1})
}

const ended = `[{"errorCode":"INVALID_SESSION_ID","message":"Session expired or invalid"}]`

func TestExchange(t *testing.T) {
	t.Parallel()
	upload := func(opened *int) Exchange {
		return Exchange{Method: http.MethodPut, Path: "jobs/ingest/1/batches", ContentType: "text/csv", Write: true, Body: func() (io.ReadCloser, error) {
			*opened++
			return io.NopCloser(strings.NewReader("a,b\n")), nil
		}}
	}
	t.Run("the answer is read as it comes, and the slot is held until it is closed", func(t *testing.T) {
		t.Parallel()
		_, c := scripted(answer(200, "text"), answer(200, ""))
		resp, err := c.Exchange(t.Context(), Exchange{Method: http.MethodGet, Path: "/x", Accept: "text/csv"})
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err = c.Exchange(ctx, Exchange{Method: http.MethodGet, Path: "/x"})
		require.Equal(t, fault.Timeout, fault.KindOf(err), "the only slot is taken")
		text, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		require.Equal(t, "text", string(text))
		require.NoError(t, resp.Body.Close())
		require.NoError(t, resp.Body.Close(), "closing twice does no harm")
		require.Equal(t, int64(7), c.Usage().Used)
		resp, err = c.Exchange(t.Context(), Exchange{Method: http.MethodGet, Path: "/x"})
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
	})
	t.Run("a body is opened again when the session had ended", func(t *testing.T) {
		t.Parallel()
		s, c := scripted(answer(401, ended), answer(201, ""))
		opened := 0
		resp, err := c.Exchange(t.Context(), upload(&opened))
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		require.Equal(t, 2, opened)
		const line = "PUT /services/data/v66.0/jobs/ingest/1/batches text/csv a,b\n"
		require.Equal(t, []string{line, line}, s.sent)
	})
	t.Run("a session that is refused twice is not renewed for ever", func(t *testing.T) {
		t.Parallel()
		s, c := scripted(answer(401, ended), answer(401, ended), answer(201, ""))
		opened := 0
		_, err := c.Exchange(t.Context(), upload(&opened))
		require.Equal(t, fault.Unavailable, fault.KindOf(err))
		require.Len(t, s.sent, 2)
	})
	t.Run("a refusal has its class", func(t *testing.T) {
		t.Parallel()
		_, c := scripted(answer(400, `[{"errorCode":"INVALIDJOBSTATE","message":"x"}]`), answer(400, `[{"errorCode":"EXCEEDEDQUOTA","message":"x"}]`))
		opened := 0
		_, err := c.Exchange(t.Context(), upload(&opened))
		require.Equal(t, ReasonBulkState, fault.ReasonOf(err))
		_, err = c.Exchange(t.Context(), upload(&opened))
		require.Equal(t, ReasonBulkAllocation, fault.ReasonOf(err))
		require.Equal(t, fault.Exhausted, fault.KindOf(err))
	})
	t.Run("a lost connection before anything was sent is not uncertain", func(t *testing.T) {
		t.Parallel()
		_, c := scripted()
		opened := 0
		_, err := c.Exchange(t.Context(), upload(&opened))
		require.Equal(t, fault.Unavailable, fault.KindOf(err))
	})
}

func TestExplain(t *testing.T) {
	t.Parallel()
	r := Explain(" REQUIRED_FIELD_MISSING ", "Required fields are missing: [LastName]", []string{"LastName"})
	require.Equal(t, ReasonRequired, r.Reason)
	require.Equal(t, []string{"LastName"}, r.Fields)
	require.Equal(t, ReasonLocked, Explain("CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY", "x: UNABLE_TO_LOCK_ROW, y", nil).Reason)
	require.Equal(t, ReasonBulkRow, Explain("ClientInputError", "no CSV", nil).Reason)
	require.Equal(t, ReasonRefused, Explain("", "secret", nil).Reason)
}
