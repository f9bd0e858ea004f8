package feed

import (
	"context"
	"errors"
	"time"

	"github.com/selfsame-io/selfsame/services/process-customer/internal/store"
)

// errPaused ends a session because an operator has paused the feed.
var errPaused = errors.New("the feed is paused")

// pausePoll is how often a paused feed looks whether it may go on.
const pausePoll = time.Second

// paused reports whether an operator has paused the feed, and says so in its state.
func (f *Feed) paused(ctx context.Context) (bool, error) {
	c, err := f.store.Read().Control(ctx, f.System(), store.DirectionIntake)
	if err != nil || !c.Paused {
		return false, err
	}
	if f.feed.State == store.FeedPaused {
		return true, nil
	}
	next := f.feed
	next.State, next.Reason, next.Resume = store.FeedPaused, "PAUSED", time.Time{}
	return true, f.save(ctx, next)
}
