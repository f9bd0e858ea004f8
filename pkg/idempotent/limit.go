package idempotent

import (
	"context"
	"sync"
	"time"
)

// limited ends with the caller's context, and at a time of its own. Most questions to a store are answered long before, and
// the timer and the channel of a context.WithTimeout cost a share of them that counts: so it makes these when somebody
// wants to wait for them.
type limited struct {
	context.Context //nolint:containedctx // the caller's: this is one
	at              time.Time

	mu     sync.Mutex
	timed  context.Context //nolint:containedctx // nil: nobody waits
	cancel context.CancelFunc
	ended  bool
}

// limit returns ctx with a limit; its end must be called.
func limit(ctx context.Context, most time.Duration) *limited {
	l := &limited{Context: ctx, at: time.Now().Add(most)}
	if at, ok := ctx.Deadline(); ok && at.Before(l.at) {
		l.at = at
	}
	return l
}

// Deadline implements context.Context.
func (l *limited) Deadline() (time.Time, bool) { return l.at, true }

// Done implements context.Context.
func (l *limited) Done() <-chan struct{} { return l.wait().Done() }

// AfterFunc makes contexts derived from it do without a goroutine.
func (l *limited) AfterFunc(f func()) (stop func() bool) { return context.AfterFunc(l.wait(), f) }

// Err implements context.Context.
func (l *limited) Err() error {
	l.mu.Lock()
	timed, ended := l.timed, l.ended
	l.mu.Unlock()
	switch {
	case timed != nil:
		return timed.Err()
	case l.Context.Err() != nil:
		return l.Context.Err()
	case ended:
		return context.Canceled
	case !time.Now().Before(l.at):
		return context.DeadlineExceeded
	default:
		return nil
	}
}

func (l *limited) wait() context.Context {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.timed == nil {
		l.timed, l.cancel = context.WithDeadline(l.Context, l.at)
		if l.ended {
			l.cancel()
		}
	}
	return l.timed
}

func (l *limited) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended = true
	if l.cancel != nil {
		l.cancel()
	}
}
