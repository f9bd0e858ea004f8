// Package auth issues and checks the sessions of the local Salesforce.
//
// Sessions come from the OAuth 2.0 flows for programs and from the SOAP login. A
// token tells nothing about its expiry; a client learns of it from a 401. The
// package does not check what a user may do.
package auth

import (
	"crypto/rand"
	"encoding/base64"
	"maps"
	"strconv"
	"sync"
	"time"
)

// User is someone who can log in.
type User struct {
	ID       string
	Username string
	Name     string
	Email    string
	// Password is empty for a user who cannot log in by password. Clients send
	// it followed by SecurityToken.
	Password      string
	SecurityToken string
	// Refusal is empty for a user who may log in, or the name of the OAuth
	// error to answer with; see RefusalNames.
	Refusal string
}

// Session is one login.
type Session struct {
	Token   string
	User    User
	App     string
	Issued  time.Time
	Expires time.Time
}

// Sessions are the running logins. They are safe for concurrent use.
type Sessions struct {
	// Reuse hands out the running session of the same user and app instead of
	// a new one. Set it before the first login.
	Reuse bool

	ttl time.Duration
	now func() time.Time

	mu      sync.Mutex
	org     string
	byToken map[string]Session
}

// NewSessions makes an empty set for an organization id.
func NewSessions(org string, ttl time.Duration, now func() time.Time) *Sessions {
	return &Sessions{org: org, ttl: ttl, now: now, byToken: map[string]Session{}}
}

// Issue starts a session of a user through an app, or returns the running one.
func (s *Sessions) Issue(u User, app string) Session {
	var secret [60]byte
	_, _ = rand.Read(secret[:]) // never fails, by its contract
	now := s.now()
	session := Session{
		Token:   s.Org()[:15] + "!AQ" + base64.RawURLEncoding.EncodeToString(secret[:]),
		User:    u,
		App:     app,
		Issued:  now,
		Expires: now.Add(s.ttl),
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for token, old := range s.byToken {
		if now.After(old.Expires) {
			delete(s.byToken, token)
			continue
		}
		if s.Reuse && old.User.ID == u.ID && old.App == app {
			return old
		}
	}
	s.byToken[session.Token] = session
	return session
}

// Check finds a session that is still running.
func (s *Sessions) Check(token string) (Session, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	session, ok := s.byToken[token]
	if !ok || s.now().After(session.Expires) {
		return Session{}, false
	}
	return session, true
}

// Revoke ends a session and reports whether there was one.
func (s *Sessions) Revoke(token string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.byToken[token]
	delete(s.byToken, token)
	return ok
}

// Org is the id of the organization.
func (s *Sessions) Org() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.org
}

// MoveTo changes the id of the organization and ends every session.
func (s *Sessions) MoveTo(org string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.org = org
	clear(s.byToken)
}

// Expire ends the sessions of a user, through any app, and returns how many
// there were.
func (s *Sessions) Expire(userID string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := len(s.byToken)
	maps.DeleteFunc(s.byToken, func(_ string, session Session) bool { return session.User.ID == userID })
	return n - len(s.byToken)
}

// TTL is how long a session lasts.
func (s *Sessions) TTL() time.Duration { return s.ttl }

// ExpireAll ends every session.
func (s *Sessions) ExpireAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.byToken)
}

// IssuedAt is the wire form of a session's start.
func (s Session) IssuedAt() string { return strconv.FormatInt(s.Issued.UnixMilli(), 10) }
