package enginetest

import (
	"context"
	"errors"
	"sync"

	"github.com/selfsame-io/selfsame/services/process-customer/internal/engine"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/source"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store"
)

// ErrKilled is what everything answers once the process is dead.
var ErrKilled = errors.New("the process was killed")

// Killer kills an engine at one of the points where a process can die and it makes a difference: between the last
// statement of a transaction and its commit, after every commit, and after every call to a system. Dying before one of
// these is dying after the one before it. It is safe for concurrent use.
type Killer struct {
	mu     sync.Mutex
	at     int
	passed int
	dead   bool
}

// NewKiller returns a killer that strikes at the at-th point, never when at is zero.
func NewKiller(at int) *Killer { return &Killer{at: at} }

// Passed returns how many points were passed so far.
func (k *Killer) Passed() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.passed
}

// Kill strikes now.
func (k *Killer) Kill() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.dead = true
}

// Dead reports whether the killer has struck.
func (k *Killer) Dead() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.dead
}

func (k *Killer) point() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.passed++
	if k.passed == k.at {
		k.dead = true
	}
	if k.dead {
		return ErrKilled
	}
	return nil
}

// Store wraps the database.
func (k *Killer) Store(s engine.Store) engine.Store { return mortalStore{s, k} }

// System wraps a system.
func (k *Killer) System(s source.System) source.System { return mortalSystem{s, k} }

type mortalStore struct {
	engine.Store
	k *Killer
}

func (s mortalStore) Tx(ctx context.Context, fn func(ctx context.Context, tx *store.Tx) error) error {
	if s.k.Dead() {
		return ErrKilled
	}
	err := s.Store.Tx(ctx, func(ctx context.Context, tx *store.Tx) error {
		if err := fn(ctx, tx); err != nil {
			return err
		}
		return s.k.point()
	})
	if err != nil {
		return err
	}
	return s.k.point()
}

func (s mortalStore) Ping(ctx context.Context) error {
	if s.k.Dead() {
		return ErrKilled
	}
	return s.Store.Ping(ctx)
}

type mortalSystem struct {
	source.System
	k *Killer
}

func (s mortalSystem) Upsert(ctx context.Context, obj golden.Object, writes []source.Write) ([]source.Result, error) {
	if s.k.Dead() {
		return nil, ErrKilled
	}
	res, err := s.System.Upsert(ctx, obj, writes)
	if killed := s.k.point(); killed != nil {
		return nil, killed
	}
	return res, err
}

func (s mortalSystem) Remove(ctx context.Context, obj golden.Object, ids []string) ([]source.Result, error) {
	if s.k.Dead() {
		return nil, ErrKilled
	}
	res, err := s.System.Remove(ctx, obj, ids)
	if killed := s.k.point(); killed != nil {
		return nil, killed
	}
	return res, err
}

func (s mortalSystem) Find(ctx context.Context, obj golden.Object, externalIDs []string) ([]source.Record, error) {
	if s.k.Dead() {
		return nil, ErrKilled
	}
	return s.System.Find(ctx, obj, externalIDs)
}

func (s mortalSystem) Fetch(ctx context.Context, obj golden.Object, ids []string) ([]source.Record, []string, error) {
	if s.k.Dead() {
		return nil, nil, ErrKilled
	}
	return s.System.Fetch(ctx, obj, ids)
}

func (s mortalSystem) List(ctx context.Context, obj golden.Object, token string) ([]source.Record, string, error) {
	if s.k.Dead() {
		return nil, "", ErrKilled
	}
	return s.System.List(ctx, obj, token)
}

func (s mortalSystem) Watch(ctx context.Context, token string, fn func(source.Batch) error) error {
	if s.k.Dead() {
		return ErrKilled
	}
	return s.System.Watch(ctx, token, fn)
}
