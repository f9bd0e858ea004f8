package rest

import (
	"sync"
	"time"

	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/query"
	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/sfid"
	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/store"
)

// cursorAge is how long the rest of an answer can be fetched.
const cursorAge = 48 * time.Hour

// maxCursors is how many unfinished answers are kept; the oldest goes first.
const maxCursors = 200

// cursors are the unfinished query answers. Their rows are a snapshot; parents
// and children are read when a page is.
type cursors struct {
	now  func() time.Time
	mu   sync.Mutex
	last int
	open map[string]*cursor
	age  []string
}

type cursor struct {
	plan        *query.Plan
	rows        []*store.Record
	page        int
	withDeleted bool
	user        string
	since       time.Time
}

func newCursors(now func() time.Time) *cursors {
	return &cursors{now: now, open: map[string]*cursor{}}
}

func (s *cursors) put(c *cursor) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last++
	id := sfid.New("01g", s.last)
	c.since = s.now()
	s.open[id] = c
	s.age = append(s.age, id)
	for len(s.age) > maxCursors {
		delete(s.open, s.age[0])
		s.age = s.age[1:]
	}
	return id
}

// get finds an unfinished answer of a user; nil if it is not there or too old.
func (s *cursors) get(id, user string) *cursor {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.open[id]
	if c == nil || c.user != user || s.now().Sub(c.since) > cursorAge {
		return nil
	}
	return c
}
