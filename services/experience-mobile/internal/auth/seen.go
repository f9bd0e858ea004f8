package auth

import (
	"crypto/sha256"
	"sync"
	"time"
)

const (
	// seenFor is how long a token that was accepted is not checked again. A key that the issuer has withdrawn is still
	// good for as long as that and Config.Renew together.
	seenFor = time.Minute
	// seenMost is the most tokens that are remembered.
	seenMost = 8192
)

// seen remembers tokens that were accepted: an app shows the same token with each request, and checking a signature
// costs more than the rest of the request does here. Only a digest of a token is kept. A token that was refused is not
// remembered, so that strangers cannot fill it.
type seen struct {
	now func() time.Time

	mu sync.Mutex
	// Two generations: when the younger is full, it becomes the older, and what was there is forgotten.
	young, old map[[sha256.Size]byte]accepted
}

type accepted struct {
	principal Principal
	until     time.Time
}

func newSeen(now func() time.Time) *seen {
	return &seen{now: now, young: map[[sha256.Size]byte]accepted{}}
}

func (s *seen) find(token string) (Principal, bool) {
	var room [1 << 10]byte // most tokens are shorter
	key := sha256.Sum256(append(room[:0], token...))
	s.mu.Lock()
	defer s.mu.Unlock()
	a, ok := s.young[key]
	if !ok {
		a, ok = s.old[key]
	}
	if !ok || s.now().After(a.until) {
		return Principal{}, false
	}
	return a.principal, true
}

// add remembers a token that is good until expiry.
func (s *seen) add(token string, p Principal, expiry time.Time) {
	until := s.now().Add(seenFor)
	if expiry.Before(until) {
		until = expiry
	}
	key := sha256.Sum256([]byte(token))
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.young) >= seenMost/2 {
		s.old, s.young = s.young, map[[sha256.Size]byte]accepted{}
	}
	s.young[key] = accepted{p, until}
}
