package experiencemobile_test

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	experiencemobile "github.com/selfsame-io/selfsame/services/experience-mobile"
)

// event is one server-sent event; a comment or a retry has no name.
type event struct{ name, id, data, retry, comment string }

// stream is an open event stream.
type stream struct {
	resp   *http.Response
	lines  *bufio.Reader
	cancel context.CancelFunc
}

func (w *world) open(t *testing.T, order string, options ...option) *stream {
	t.Helper()
	r := &request{method: "GET", path: "/v1/orders/" + order + "/events", header: http.Header{"Accept": {"text/event-stream"}}}
	for _, o := range options {
		o(r)
	}
	if r.header.Get("Authorization") == "" {
		r.header.Set("Authorization", w.user1(t))
	}
	command := w.curl(r) + " -N"
	t.Cleanup(func() {
		if t.Failed() || shown(t) {
			t.Logf("reproduce with:\n%s", command)
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	req, err := http.NewRequestWithContext(ctx, "GET", w.base+r.path, nil)
	require.NoError(t, err)
	req.Header = r.header
	resp, err := w.client.Do(req)
	require.NoError(t, err)
	s := &stream{resp, bufio.NewReader(resp.Body), cancel}
	t.Cleanup(s.close)
	return s
}

func (s *stream) close() {
	s.cancel()
	_ = s.resp.Body.Close()
}

// read returns the next event, retry or comment; an error at the end of the stream.
func (s *stream) read() (event, error) {
	var e event
	for {
		line, err := s.lines.ReadString('\n')
		if err != nil {
			return e, err
		}
		line = strings.TrimRight(line, "\n")
		if line == "" {
			return e, nil
		}
		name, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		switch name {
		case "":
			e.comment = value
		case "event":
			e.name = value
		case "id":
			e.id = value
		case "data":
			e.data = value
		case "retry":
			e.retry = value
		}
	}
}

// next returns the next event, over comments and retries.
func (s *stream) next(t *testing.T) event {
	t.Helper()
	for {
		e, err := s.read()
		require.NoError(t, err)
		if e.name != "" {
			return e
		}
	}
}

func (e event) state(t *testing.T) string {
	t.Helper()
	var v map[string]any
	require.NoError(t, json.Unmarshal([]byte(e.data), &v), e.data)
	state, _ := v["state"].(string)
	return state
}

func orderEvents(t *testing.T, w *world) {
	w.fake.newOrder(known, "events-1")
	s := w.open(t, "events-1", with("Accept-Encoding", "gzip"))
	require.Equal(t, 200, s.resp.StatusCode)
	require.Equal(t, "text/event-stream", s.resp.Header.Get("Content-Type"))
	require.Equal(t, "no", s.resp.Header.Get("X-Accel-Buffering"))
	require.Equal(t, "no-store", s.resp.Header.Get("Cache-Control"))
	require.Empty(t, s.resp.Header.Get("Content-Encoding"), "a stream is not held back to be compressed")
	hello, err := s.read()
	require.NoError(t, err)
	require.NotEmpty(t, hello.retry)
	first := s.next(t)
	require.Equal(t, "order", first.name)
	require.NotEmpty(t, first.id)
	require.Equal(t, "RECEIVED", first.state(t))
	for { // a silent order: only heartbeats come
		e, err := s.read()
		require.NoError(t, err)
		require.Empty(t, e.name)
		if e.comment != "" {
			break
		}
	}
	w.fake.move("events-1", "CONFIRMED")
	require.Equal(t, "CONFIRMED", s.next(t).state(t))
	// With an id, nothing need be told, and the headers come at once all the same.
	last := w.open(t, "events-1", with("Last-Event-ID", first.id))
	require.Equal(t, "CONFIRMED", last.next(t).state(t))
	w.send(t, "GET", "/v1/orders/events-1/events", with("Accept", "application/json")).problem(t, 406, "NOT_ACCEPTABLE")
	w.send(t, "GET", "/v1/orders/none/events").problem(t, 404, "ORDER_UNKNOWN")
	w.send(t, "POST", "/v1/orders/events-1/events").problem(t, 405, "METHOD_NOT_ALLOWED")
	require.Equal(t, 15*time.Second, experiencemobile.DefaultConfig().Streams.Heartbeat)
}

func resumedEvents(t *testing.T, w *world) {
	w.fake.newOrder(known, "resume-1")
	w.fake.newOrder(known, "resume-2")
	s := w.open(t, "resume-1")
	first := s.next(t)
	s.close()
	w.fake.move("resume-1", "CONFIRMED")
	s = w.open(t, "resume-1", with("Last-Event-ID", first.id))
	second := s.next(t)
	require.Equal(t, "order", second.name, "what changed meanwhile is told")
	require.Equal(t, "CONFIRMED", second.state(t))
	s.close()
	s = w.open(t, "resume-1", with("Last-Event-ID", second.id))
	for range 3 { // heartbeats: what the client has is not told again
		e, err := s.read()
		require.NoError(t, err)
		require.Empty(t, e.name)
	}
	w.fake.move("resume-1", "COMPLETED")
	require.Equal(t, "COMPLETED", s.next(t).state(t))
	other := w.open(t, "resume-2").next(t).id
	old := base64.RawURLEncoding.EncodeToString([]byte(strings.Replace(decoded(t, second.id), tail(decoded(t, second.id)), "1000000000", 1)))
	for name, id := range map[string]string{"of another order": other, "too old": old, "nonsense": "nonsense", "from the future": base64.RawURLEncoding.EncodeToString(
		[]byte(strings.Replace(decoded(t, second.id), ".2.", ".99.", 1)))} {
		s := w.open(t, "resume-1", with("Last-Event-ID", id))
		require.Equal(t, "reset", s.next(t).name, name)
		require.Equal(t, "COMPLETED", s.next(t).state(t), name)
		s.close()
	}
}

func decoded(t *testing.T, id string) string {
	t.Helper()
	text, err := base64.RawURLEncoding.DecodeString(id)
	require.NoError(t, err)
	return string(text)
}

func tail(text string) string { return text[strings.LastIndex(text, ".")+1:] }

func endedEvents(t *testing.T, _ *world) {
	w := setup(t, func(c *experiencemobile.Config) { c.Serve.StopTimeout = time.Minute })
	w.fake.newOrder(known, "ended-1")
	var s *stream
	var e event
	for life := 3 * time.Second; e.name != "order"; life *= 2 { // on a slow machine a token may be over before it is looked at
		require.Less(t, life, time.Minute)
		short, err := w.idp.Token("user-1", readAll, life)
		require.NoError(t, err)
		if s = w.open(t, "ended-1", with("Authorization", "Bearer "+short)); s.resp.StatusCode == 200 {
			e = s.next(t)
		}
	}
	e = s.next(t)
	require.Equal(t, "problem", e.name, "the end of the token is the end of the stream")
	require.Contains(t, e.data, `"code":"TOKEN_INVALID"`)
	_, err := s.read()
	require.ErrorIs(t, err, io.EOF)

	s = w.open(t, "ended-1")
	require.Equal(t, "order", s.next(t).name)
	go w.halt()
	for {
		e, err := s.read()
		require.NoError(t, err, "a stream that is drained says when to come back")
		if e.retry == "1000" {
			break
		}
	}
	_, err = s.read()
	require.ErrorIs(t, err, io.EOF)
}
