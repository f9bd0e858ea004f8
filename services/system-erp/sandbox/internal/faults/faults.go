// Package faults makes the sandbox fail on request, by a plan of rules, the same way for the same seed.
//
// Invariant: a rule says when it fires by counting its own occasions, so that a test that says "lose the second answer"
// gets exactly that. It changes nothing that is stored.
package faults

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// The effects of rules.
const (
	Latency  = "latency"  // wait for delay, then go on
	Error    = "error"    // answer with status, code and message; nothing is executed
	Throttle = "throttle" // 429 with Retry-After; nothing is executed
	Sessions = "sessions" // every session ends before the request
	Lock     = "lock"     // an operation finds its object locked; nothing is executed
	LoseAck  = "lose_ack" // execute, then break the connection without an answer
	Reset    = "reset"    // break the connection; nothing is executed
	Truncate = "truncate" // execute, then break the connection in the middle of the answer
)

// Rule is one line of a plan.
type Rule struct {
	Name   string `json:"name,omitempty"`
	Effect string `json:"effect"`
	// Method, Path and Body choose requests: the method, a part of the address, a part of the body. Set and Key choose
	// operations for Lock.
	Method string `json:"method,omitempty"`
	Path   string `json:"path,omitempty"`
	Body   string `json:"body,omitempty"`
	Set    string `json:"set,omitempty"`
	Key    string `json:"key,omitempty"`
	// After is how many occasions pass first; Count how often the rule fires, 0 without end; Probability the chance.
	After       int     `json:"after,omitempty"`
	Count       int     `json:"count,omitempty"`
	Probability float64 `json:"probability,omitempty"`
	// Status, Code and Message are the answer of Error; Delay is a Go duration: of Latency, and Retry-After of Throttle.
	Status  int    `json:"status,omitempty"`
	Code    string `json:"code,omitempty"`
	Message string `json:"message,omitempty"`
	Delay   string `json:"delay,omitempty"`
	// Matched and Fired are shown; they are ignored when a plan is set.
	Matched int `json:"matched,omitempty"`
	Fired   int `json:"fired,omitempty"`

	delay time.Duration
}

// Faults is a plan at work. The zero value has no rules. It is safe for concurrent use.
type Faults struct {
	mu    sync.Mutex
	rules []Rule
	rng   *rand.Rand
}

// Set replaces the plan. An unknown effect is refused, and the plan stays as it was.
func (f *Faults) Set(rules []Rule, seed int64) error {
	rules = slices.Clone(rules)
	for i := range rules {
		r := &rules[i]
		r.Matched, r.Fired = 0, 0
		if !slices.Contains([]string{Latency, Error, Throttle, Sessions, Lock, LoseAck, Reset, Truncate}, r.Effect) {
			return fmt.Errorf("rule %d: unknown effect %q", i+1, r.Effect)
		}
		if r.Delay != "" {
			d, err := time.ParseDuration(r.Delay)
			if err != nil || d < 0 {
				return fmt.Errorf("rule %d: delay %q is not a duration such as 50ms", i+1, r.Delay)
			}
			r.delay = d
		}
		if r.Probability < 0 || r.Probability > 1 || r.After < 0 || r.Count < 0 {
			return fmt.Errorf("rule %d: after and count are not negative, a probability lies between 0 and 1", i+1)
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rules, f.rng = rules, rand.New(rand.NewPCG(uint64(seed), 0xfa17)) //nolint:gosec // repeatable on purpose
	return nil
}

// Rules returns the plan with its counts.
func (f *Faults) Rules() []Rule {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.rules)
}

// fire returns the first rule that fires and chooses what ok accepts.
func (f *Faults) fire(ok func(Rule) bool) (Rule, bool) {
	for i := range f.rules {
		r := &f.rules[i]
		if !ok(*r) {
			continue
		}
		r.Matched++
		if r.Matched <= r.After || r.Count > 0 && r.Fired >= r.Count || r.Probability > 0 && f.rng.Float64() >= r.Probability {
			continue
		}
		r.Fired++
		return *r, true
	}
	return Rule{}, false
}

// Locked tells whether an operation finds its object locked.
func (f *Faults) Locked(method, set, key string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	_, fired := f.fire(func(r Rule) bool {
		return r.Effect == Lock && (r.Method == "" || r.Method == method) && (r.Set == "" || r.Set == set) && (r.Key == "" || r.Key == key)
	})
	return fired
}

func (f *Faults) judge(method, path string, body []byte) []Rule {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []Rule
	for _, effect := range []string{Latency, Sessions, Reset, Throttle, Error, LoseAck, Truncate} {
		r, fired := f.fire(func(r Rule) bool {
			return r.Effect == effect && (r.Method == "" || r.Method == method) && strings.Contains(path, r.Path) && bytes.Contains(body, []byte(r.Body))
		})
		if !fired {
			continue
		}
		if out = append(out, r); effect != Latency && effect != Sessions {
			break // only one thing happens to a request
		}
	}
	return out
}

// Wrap lets the rules act around a handler. expire ends all sessions, refuse writes an error of the system.
func (f *Faults) Wrap(next http.Handler, expire func(), refuse func(w http.ResponseWriter, status int, code, text string)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body) // also: only behind the body does the server notice that a client has gone
		if err != nil {
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		for _, rule := range f.judge(r.Method, r.URL.RequestURI(), body) {
			switch rule.Effect {
			case Latency:
				if !wait(r, rule.delay) {
					return
				}
			case Sessions:
				expire()
			case Reset:
				hangUp(w, true)
				return
			case Throttle:
				w.Header().Set("Retry-After", strconv.Itoa(int((rule.delay+time.Second-1)/time.Second)))
				refuse(w, http.StatusTooManyRequests, "RATE_LIMIT", "Too many requests")
				return
			case Error:
				status := rule.Status
				if status == 0 {
					status = http.StatusServiceUnavailable
				}
				refuse(w, status, rule.Code, rule.Message)
				return
			case LoseAck:
				next.ServeHTTP(&recorder{header: http.Header{}}, r)
				hangUp(w, true)
				return
			case Truncate:
				rec := &recorder{header: http.Header{}, status: http.StatusOK}
				next.ServeHTTP(rec, r)
				rec.half(w)
				return
			}
		}
		next.ServeHTTP(w, r)
	})
}

func wait(r *http.Request, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-r.Context().Done():
		return false
	}
}

// recorder keeps an answer from the client.
type recorder struct {
	header http.Header
	status int
	body   []byte
}

func (r *recorder) Header() http.Header    { return r.header }
func (r *recorder) WriteHeader(status int) { r.status = status }

func (r *recorder) Write(b []byte) (int, error) {
	r.body = append(r.body, b...)
	return len(b), nil
}

// half promises the whole answer and ends the connection in its middle.
func (r *recorder) half(w http.ResponseWriter) {
	for k, v := range r.header {
		w.Header()[k] = v
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(r.body)))
	w.WriteHeader(r.status)
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
