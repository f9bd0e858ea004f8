package edge

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/pkg/telemetry"
	"github.com/selfsame-io/selfsame/services/experience-mobile/internal/auth"
	"github.com/selfsame-io/selfsame/services/experience-mobile/internal/problem"
)

const keyRequestID = "request_id"

// call is what the steps know about one request. Each field is written by one step and read by later ones, all on
// the goroutine of the request.
type call struct {
	id        string         // identify
	host      string         // identify: the host that the client called
	route     *route         // classify; nil for an unknown path
	allowed   []string       // classify: the methods of the path
	principal auth.Principal // authenticate
	body      []byte         // readBody
	key       string         // idempotencyKey: the key itself
	keyLine   string         // idempotencyKey: as the client wrote it
	keyNote   string         // idempotencyKey: "ignored" on reads
	ifMatch   string         // idempotencyKey: the entity tag without quotes
	async     bool           // idempotencyKey: Prefer: respond-async
	fields    selection      // checkQuery: the part of the answer that is wanted; nil for all
	writes    int            // checkJSON: how many writes the body carries
	missing   []fault.Field  // checkJSON: required fields without a value; told together with broken rules
	lines     lines
}

// lines has room for the values of the headers that nearly every answer has, which would otherwise be pieces of memory each.
type lines struct {
	room [8]string
	used int
}

// set sets a header whose name is in its canonical form already.
func (l *lines) set(h http.Header, name, value string) {
	if l.used == len(l.room) {
		h[name] = []string{value}
		return
	}
	l.room[l.used] = value
	l.used++
	h[name] = l.room[l.used-1 : l.used : l.used]
}

// What answers have in common. Nobody changes these: who adds a value to one makes another.
var (
	nosniff    = []string{"nosniff"}
	noReferrer = []string{"no-referrer"}
	isReplayed = []string{"replayed"}
	isTrue     = []string{"true"}
	isClosed   = []string{"close"}

	privateNoStore = []string{"private, no-store"}
)

type callKey struct{}

func callOf(ctx context.Context) *call {
	c, ok := ctx.Value(callKey{}).(*call)
	if !ok {
		return &call{}
	}
	return c
}

func (e *edge) open(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// A client that does not take its answer is cut off, whatever the answer is: the body may take one budget, the rest
		// another. Not every writer has a connection (tests).
		control := http.NewResponseController(w)
		_ = control.SetWriteDeadline(time.Now().Add(2*e.o.Budget + writeWithin))
		if r.Body != nil && r.Body != http.NoBody {
			// Nor does one hold its connection that announces a body and keeps it back, whether it is let in or not: see readBody.
			_ = control.SetReadDeadline(time.Now().Add(e.o.Budget))
			if r.ProtoMajor == 1 {
				// Before the body is read an answer does not wait for it, as the server otherwise would: the connection ends with it.
				w.Header()["Connection"] = isClosed
			}
		}
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), callKey{}, &call{})))
	})
}

// recoverPanic turns a panic into a problem. If the answer had begun, the connection is cut instead, so that the
// client cannot mistake half an answer for a whole one.
func (e *edge) recoverPanic(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s := &statusWriter{ResponseWriter: w}
		defer func() {
			v := recover()
			if v == nil {
				return
			}
			if v == http.ErrAbortHandler { //nolint:errorlint // a sentinel that net/http compares the same way
				panic(v)
			}
			e.log.LogAttrs(r.Context(), slog.LevelError, "request panicked",
				slog.String(keyRequestID, callOf(r.Context()).id),
				slog.String(telemetry.KeyError, fmt.Sprintf("panic of type %T\n%s", v, debug.Stack())))
			if s.status != 0 {
				panic(http.ErrAbortHandler)
			}
			e.refuse(s, r, e.problems.New(fault.ReasonInternal, ""))
		}()
		next.ServeHTTP(s, r)
	})
}

// identify gives the request its id. The client's own is kept if it is harmless in a log line and a header.
func (e *edge) identify(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := callOf(r.Context())
		if v := r.Header.Values("X-Request-Id"); len(v) == 1 && safeID(v[0]) {
			c.id = v[0]
		} else {
			raw := make([]byte, 16)
			// crypto/rand.Read never fails.
			_, _ = rand.Read(raw)
			c.id = hex.EncodeToString(raw)
		}
		c.lines.set(w.Header(), "X-Request-Id", c.id)
		c.host = r.Host
		next.ServeHTTP(w, r)
	})
}

// base returns where the API is: as configured, otherwise as the client calls it. A host that is none gives "".
func (e *edge) base(c *call) string {
	if e.o.PublicURL != "" || c.host == "" || len(c.host) > 255 || strings.ContainsFunc(c.host, func(c rune) bool {
		return (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && !strings.ContainsRune(".-:[]", c)
	}) {
		return e.o.PublicURL
	}
	if e.o.Secure {
		return "https://" + c.host
	}
	return "http://" + c.host
}

func safeID(s string) bool {
	return s != "" && len(s) <= 64 &&
		strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.") == ""
}

// harden sets what every answer carries.
func (e *edge) harden(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h["X-Content-Type-Options"], h["Referrer-Policy"] = nosniff, noReferrer
		callOf(r.Context()).lines.set(h, "Vary", "Accept-Encoding, Authorization, Origin") // varyOnce changes it
		if e.o.Secure {
			h.Set("Strict-Transport-Security", "max-age=31536000")
		}
		next.ServeHTTP(w, r)
	})
}

// refuse answers with a problem.
func (e *edge) refuse(w http.ResponseWriter, r *http.Request, p problem.Problem) {
	c := callOf(r.Context())
	p.RequestID = c.id
	if strings.HasPrefix(p.Type, "/") {
		p.Type = e.base(c) + p.Type
	}
	if p.Instance == "" {
		p.Instance = "urn:selfsame:request:" + c.id
	}
	if c.keyLine != "" {
		w.Header().Set("Idempotency-Key", c.keyLine)
	}
	problem.Write(w, p)
}

// statusWriter remembers what was answered.
type statusWriter struct {
	http.ResponseWriter
	status int
	bytes  int64
}

func (s *statusWriter) WriteHeader(status int) {
	if s.status == 0 {
		s.status = status
		varyOnce(s.Header())
	}
	s.ResponseWriter.WriteHeader(status)
}

func (s *statusWriter) Write(b []byte) (int, error) {
	if s.status == 0 {
		s.status = http.StatusOK
		varyOnce(s.Header())
	}
	n, err := s.ResponseWriter.Write(b)
	s.bytes += int64(n)
	return n, err
}

// varyOnce takes out what libraries have added to Vary though harden's line says it already.
func varyOnce(h http.Header) {
	if lines := h["Vary"]; len(lines) > 1 {
		h["Vary"] = slices.DeleteFunc(lines, func(line string) bool { return line == "Origin" || line == "Accept-Encoding" })
	}
}

// Unwrap lets http.ResponseController reach the connection.
func (s *statusWriter) Unwrap() http.ResponseWriter { return s.ResponseWriter }
