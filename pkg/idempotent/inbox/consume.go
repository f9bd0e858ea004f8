package inbox

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/pkg/retry"
)

// Process gives one message its verdict; it calls Inbox.Handle or Inbox.Call.
type Process func(ctx context.Context, m Message) (Verdict, error)

// persist processes a message until it has a verdict: behind it in an ordered log nothing may be acknowledged, so there
// is nothing better to do. It ends with ctx.
func persist(ctx context.Context, b retry.Backoff, process func(ctx context.Context) (Verdict, error)) error {
	for attempt := 1; ; attempt++ {
		_, err := process(ctx)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		t := time.NewTimer(max(b.Next(attempt), fault.RetryAfter(err)))
		select {
		case <-ctx.Done():
			t.Stop()
			return ctx.Err()
		case <-t.C:
		}
	}
}

// lanes runs the messages of each lane in their order, and at most limit lanes at once.
func lanes[T any](ctx context.Context, items []T, limit int, lane func(T) string, do func(ctx context.Context, item T) error) error {
	order, byLane := []string{}, map[string][]T{}
	for _, it := range items {
		l := lane(it)
		if _, ok := byLane[l]; !ok {
			order = append(order, l)
		}
		byLane[l] = append(byLane[l], it)
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(max(limit, 1))
	for _, l := range order {
		g.Go(func() error {
			for _, it := range byLane[l] {
				if err := do(ctx, it); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return g.Wait()
}

// ended turns the error of a loop whose ctx ended into nil.
func ended(ctx context.Context, what string, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return fmt.Errorf("%s: %w", what, err)
}
