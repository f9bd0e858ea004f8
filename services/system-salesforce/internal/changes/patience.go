package changes

import (
	"context"
	"log/slog"
	"time"

	"github.com/selfsame-io/selfsame/pkg/fault"
)

// sayAgain is how often a stream that waits says so: far more often than a watcher takes silence for a dead stream.
const sayAgain = 30 * time.Second

// worthSaying is the shortest wait that a watcher is told of.
const worthSaying = 5 * time.Second

// patienceKey is the context key of who is told that a call waits.
type patienceKey struct{}

// withPatience returns a context whose waiting calls are told to say, which is called by the caller's goroutine.
func withPatience(ctx context.Context, say func(reason string, resume time.Time) error) context.Context {
	return context.WithValue(ctx, patienceKey{}, say)
}

// patiently makes a call until it succeeds or waiting does not mend it: skipping a record would lose its change.
func (w *Watcher) patiently(ctx context.Context, object, what string, call func() error) error {
	for attempt := 1; ; attempt++ {
		err := call()
		if err == nil || ctx.Err() != nil || !passing(err) {
			return err
		}
		w.o.Log.LogAttrs(ctx, slog.LevelWarn, what+" could not be read, trying again",
			slog.String("object", object), slog.Int("attempt", attempt), slog.String("reason", fault.ReasonOf(err)))
		if err := w.wait(ctx, fault.ReasonOf(err), max(w.backoff.Next(attempt), fault.RetryAfter(err))); err != nil {
			return err
		}
	}
}

// wait waits, and says so to whoever is to be told.
func (w *Watcher) wait(ctx context.Context, reason string, d time.Duration) error {
	say, _ := ctx.Value(patienceKey{}).(func(string, time.Time) error)
	if d < worthSaying {
		say = nil
	}
	for resume := w.o.Records.ServerTime().Add(d); ; {
		if say != nil {
			if err := say(reason, resume); err != nil {
				return err
			}
		}
		part := min(d, sayAgain)
		if say == nil {
			part = d
		}
		if !pause(ctx, part) {
			return ctx.Err()
		}
		if d -= part; d <= 0 {
			return nil
		}
	}
}
