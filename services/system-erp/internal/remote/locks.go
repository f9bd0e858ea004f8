package remote

import (
	"context"
	"fmt"
	"sync"
)

// locks are mutexes by name that can be waited for with a context.
type locks struct {
	mu   sync.Mutex
	held map[string]chan struct{}
}

// lock takes all names, which must be sorted.
func (l *locks) lock(ctx context.Context, names []string) (unlock func(), err error) {
	for i, n := range names {
		if err := l.one(ctx, n); err != nil {
			l.free(names[:i])
			return nil, err
		}
	}
	return func() { l.free(names) }, nil
}

func (l *locks) one(ctx context.Context, name string) error {
	for {
		l.mu.Lock()
		if l.held == nil {
			l.held = make(map[string]chan struct{})
		}
		ch, taken := l.held[name]
		if !taken {
			l.held[name] = make(chan struct{})
			l.mu.Unlock()
			return nil
		}
		l.mu.Unlock()
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for another writer: %w", ctx.Err())
		case <-ch:
		}
	}
}

func (l *locks) free(names []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, n := range names {
		close(l.held[n])
		delete(l.held, n)
	}
}
