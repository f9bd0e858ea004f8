package gateway

import (
	"crypto/rand"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"
)

// sessions are the HTTP sessions with their tokens against forged requests.
type sessions struct {
	mu    sync.Mutex
	ttl   time.Duration
	now   func() time.Time
	known map[string]*session
}

type session struct {
	id, token string
	used      time.Time
}

func newSessions(ttl time.Duration, now func() time.Time) *sessions {
	return &sessions{ttl: ttl, now: now, known: map[string]*session{}}
}

const cookiePrefix = "SAP_SESSIONID_S4H_"

// of returns the session of a request and makes one when there is none, with its cookies. The caller gets a copy.
func (s *sessions) of(w http.ResponseWriter, r *http.Request, client string) session {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	if c, err := r.Cookie(cookiePrefix + client); err == nil {
		if found := s.known[c.Value]; found != nil && now.Sub(found.used) < s.ttl {
			found.used = now
			return *found
		}
	}
	made := &session{id: rand.Text(), used: now}
	// Only who asks for a token begins a session that is kept: everything else could be asked without cookies for ever.
	if strings.EqualFold(r.Header.Get("X-Csrf-Token"), "fetch") {
		made.token = rand.Text()
		s.known[made.id] = made
		http.SetCookie(w, &http.Cookie{Name: cookiePrefix + client, Value: made.id, Path: "/", HttpOnly: true})
		http.SetCookie(w, &http.Cookie{Name: "sap-usercontext", Value: "sap-client=" + client, Path: "/"})
	}
	return *made
}

// expire ends every session that exists now.
func (s *sessions) expire() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.known)
}

// ExpireSessions ends every session: the next modifying request has no valid token.
func (s *Server) ExpireSessions() { s.sessions.expire() }

// token hands out and checks tokens; false means that the request was answered.
func (s *Server) token(w http.ResponseWriter, r *http.Request, session session) bool {
	given := r.Header.Get("X-Csrf-Token")
	if reads(r.Method) {
		if strings.EqualFold(given, "fetch") {
			w.Header().Set("X-Csrf-Token", session.token)
		}
		return true
	}
	if session.token != "" && given == session.token {
		return true
	}
	w.Header().Set("X-Csrf-Token", "Required")
	w.Header().Set("Content-Type", "text/plain;charset=utf-8")
	w.WriteHeader(http.StatusForbidden)
	_, _ = io.WriteString(w, "CSRF token validation failed") // the client may be gone
	return false
}

// calls counts operations, also those inside batches.
type calls struct {
	mu    sync.Mutex
	count map[Call]int
}

// Call is one kind of operation.
type Call struct{ Service, Set, Method string }

func (c *calls) add(service, set, method string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.count == nil {
		c.count = map[Call]int{}
	}
	c.count[Call{service, set, method}]++
}

// Calls returns how often each operation was asked for.
func (s *Server) Calls() map[Call]int {
	s.calls.mu.Lock()
	defer s.calls.mu.Unlock()
	out := make(map[Call]int, len(s.calls.count))
	for k, v := range s.calls.count {
		out[k] = v
	}
	return out
}
