// Package managed keeps the managed event subscriptions of the local
// Salesforce: who reads what, and how far each has come.
//
// Invariant: a position is only what a client committed. The package does not
// read events and does not judge replay ids.
package managed

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/sfid"
)

// The values of State and of the two replay settings.
const (
	Run      = "RUN"
	Stop     = "STOP"
	Latest   = "LATEST"
	Earliest = "EARLIEST"
)

// Limit is how many subscriptions an organization may have.
const Limit = 200

// Subscription is one managed event subscription.
type Subscription struct {
	ID            string
	DeveloperName string
	Label         string
	Topic         string
	State         string
	// DefaultReplay is where to start without a position, ErrorRecovery where
	// to go on when the position is no longer known.
	DefaultReplay string
	ErrorRecovery string
}

// Errors of a registry.
var (
	// ErrDuplicate says that the developer name is taken.
	ErrDuplicate = errors.New("the developer name is in use")
	// ErrLimit says that there are too many subscriptions.
	ErrLimit = fmt.Errorf("an organization has at most %d managed event subscriptions", Limit)
	// ErrUnknown says that there is no such subscription.
	ErrUnknown = errors.New("the managed event subscription does not exist")
)

// Registry holds subscriptions. The zero value is empty and ready; it is safe
// for concurrent use.
type Registry struct {
	mu       sync.Mutex
	made     int
	list     []Subscription
	position map[string][]byte
}

// complete fills defaults in and refuses what has no meaning.
func (s *Subscription) complete() error {
	for _, d := range []struct {
		name  string
		value *string
		first string
		other string
	}{
		{"state", &s.State, Run, Stop}, {"defaultReplay", &s.DefaultReplay, Latest, Earliest}, {"errorRecoveryReplay", &s.ErrorRecovery, Latest, Earliest},
	} {
		switch *d.value {
		case "":
			*d.value = d.first
		case d.first, d.other:
		default:
			return fmt.Errorf("%s %q is neither %s nor %s", d.name, *d.value, d.first, d.other)
		}
	}
	if s.DeveloperName == "" || s.Topic == "" {
		return errors.New("a developer name and a topic name are required")
	}
	if s.Label == "" {
		s.Label = s.DeveloperName
	}
	return nil
}

// Add stores a subscription and returns its id.
func (r *Registry) Add(s Subscription) (string, error) {
	if err := s.complete(); err != nil {
		return "", err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.list) >= Limit {
		return "", ErrLimit
	}
	if slices.ContainsFunc(r.list, func(o Subscription) bool { return strings.EqualFold(o.DeveloperName, s.DeveloperName) }) {
		return "", ErrDuplicate
	}
	r.made++
	s.ID = sfid.New("18x", r.made)
	r.list = append(r.list, s)
	return s.ID, nil
}

// Find looks a subscription up by its id, with or without checksum, or by its
// developer name.
func (r *Registry) Find(key string) (Subscription, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	i := r.index(key)
	if i < 0 {
		return Subscription{}, false
	}
	return r.list[i], true
}

func (r *Registry) index(key string) int {
	return slices.IndexFunc(r.list, func(s Subscription) bool {
		return s.ID == key || s.ID[:15] == key || strings.EqualFold(s.DeveloperName, key)
	})
}

// All returns the subscriptions in the order in which they were made.
func (r *Registry) All() []Subscription {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.list)
}

// Change replaces the settings of a subscription; its names and its position
// stay.
func (r *Registry) Change(s Subscription) error {
	if err := s.complete(); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	i := r.index(s.ID)
	if i < 0 {
		return ErrUnknown
	}
	r.list[i] = s
	return nil
}

// Remove deletes a subscription and its position.
func (r *Registry) Remove(id string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	i := r.index(id)
	if i < 0 {
		return ErrUnknown
	}
	delete(r.position, r.list[i].ID)
	r.list = slices.Delete(r.list, i, i+1)
	return nil
}

// Commit notes how far a subscription has come.
func (r *Registry) Commit(id string, replay []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.position == nil {
		r.position = map[string][]byte{}
	}
	r.position[id] = slices.Clone(replay)
}

// Position is what was committed last; nil if nothing was.
func (r *Registry) Position(id string) []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.position[id]
}
