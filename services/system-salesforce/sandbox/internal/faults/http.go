package faults

import (
	"bytes"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// verdict is what happens to one request.
type verdict struct {
	wait          time.Duration
	status        int
	code, message string
	revoke, reset bool
	lose, cut     bool
}

func (f *Faults) judge(method, path string) verdict {
	f.mu.Lock()
	defer f.mu.Unlock()
	var v verdict
	o := Occasion{Method: method, Path: path}
	if r, ok := f.decide(Latency, o); ok {
		v.wait = r.wait
	}
	if r, ok := f.decide(Error, o); ok {
		v.status, v.code = defaults(r.Status, r.Code)
		v.message = r.Message
		return v
	}
	if _, ok := f.decide(Unauthorized, o); ok {
		v.status, v.code, v.message, v.revoke = http.StatusUnauthorized, "INVALID_SESSION_ID", "Session expired or invalid", true
		return v
	}
	if _, ok := f.decide(Quota, o); ok {
		v.status, v.code, v.message = http.StatusForbidden, "REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded."
		return v
	}
	if _, v.reset = f.decide(Reset, o); v.reset {
		return v
	}
	if _, v.lose = f.decide(LoseAck, o); v.lose {
		return v
	}
	_, v.cut = f.decide(Truncate, o)
	return v
}

// Wrap lets the rules for requests act around a handler. Paths below
// /__sandbox__ are left alone. revoke ends a session by its token.
func (f *Faults) Wrap(next http.Handler, revoke func(token string) bool) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		path := tidy(r.URL.Path)
		if strings.HasPrefix(path, "/__sandbox__") {
			next.ServeHTTP(w, r)
			return
		}
		v := f.judge(r.Method, path)
		if !wait(r, v.wait) {
			return
		}
		if v.revoke {
			_, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
			revoke(strings.TrimSpace(token))
		}
		switch {
		case v.status != 0:
			v.refuse(w)
		case v.reset:
			hangUp(w, true)
		case v.lose:
			next.ServeHTTP(newRecorder(), r)
			hangUp(w, true)
		case v.cut:
			rec := newRecorder()
			next.ServeHTTP(rec, r)
			rec.sendHalf(w)
		default:
			next.ServeHTTP(w, r)
		}
	})
}

// tidy drops doubled and trailing slashes, which clients produce.
func tidy(path string) string {
	return "/" + strings.Join(strings.FieldsFunc(path, func(c rune) bool { return c == '/' }), "/")
}

func wait(r *http.Request, d time.Duration) bool {
	if d == 0 {
		return true
	}
	body, err := io.ReadAll(r.Body) // only behind it does the server notice that the client has gone
	if err != nil {
		return false
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-r.Context().Done():
		return false
	}
}

func (v verdict) refuse(w http.ResponseWriter) {
	if v.message == "" {
		v.message = "The server is temporarily unavailable. Please try again."
	}
	b, err := json.Marshal([]map[string]string{{"message": v.message, "errorCode": v.code}})
	if err != nil {
		b = nil // texts always marshal
	}
	w.Header().Set("Content-Type", "application/json;charset=UTF-8")
	w.WriteHeader(v.status)
	_, _ = w.Write(b) // the client may be gone
}

// recorder keeps an answer from the client.
type recorder struct {
	header http.Header
	status int
	body   []byte
}

func newRecorder() *recorder { return &recorder{header: http.Header{}, status: http.StatusOK} }

func (r *recorder) Header() http.Header    { return r.header }
func (r *recorder) WriteHeader(status int) { r.status = status }

func (r *recorder) Write(b []byte) (int, error) {
	r.body = append(r.body, b...)
	return len(b), nil
}

// sendHalf promises the whole answer and closes the connection in its middle.
func (r *recorder) sendHalf(w http.ResponseWriter) {
	for k, v := range r.header {
		w.Header()[k] = v
	}
	if len(r.body) > 0 {
		w.Header().Set("Content-Length", strconv.Itoa(len(r.body)))
	}
	w.WriteHeader(r.status)
	if len(r.body) == 0 {
		return
	}
	_, _ = w.Write(r.body[:len(r.body)/2]) // the client may be gone
	hangUp(w, false)
}

// hangUp ends the connection under the client, by a reset if asked.
func hangUp(w http.ResponseWriter, reset bool) {
	h, ok := w.(http.Hijacker)
	if !ok {
		return
	}
	conn, buf, err := h.Hijack()
	if err != nil {
		return
	}
	_ = buf.Flush() // what was written before belongs to the client
	if tcp, ok := conn.(*net.TCPConn); ok && reset {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}
