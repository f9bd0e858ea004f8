// Package changes serves the feed of changes to readers that come and go.
//
// The invariant: a reader that stores the resume token together with the effect of the changes before it sees every change
// after it, in commit order, and none twice on one stream. A place the feed cannot honour any more (purged, another
// database, a restored one) is an error, never a silent jump.
//
// Streams are woken by commits of this process at once and by those of other replicas through one poll of the feed's end,
// however many streams there are. The package does not know proto messages, and it keeps nothing itself: the feed is in the
// store.
package changes

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/pkg/telemetry"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/store"
)

// maxBatch is how many changes one message of a stream carries.
const maxBatch = 200

// purgeBatch is how many changes one transaction of a purge removes.
const purgeBatch = 1000

// Options are times; each has a default.
type Options struct {
	// Poll is how often the end of the feed is looked at for commits of other replicas; 500 ms when zero.
	Poll time.Duration
	// Heartbeat is the longest silence of a stream; 20 s when zero.
	Heartbeat time.Duration
	// Retention is how long changes are kept; zero keeps them for ever.
	Retention time.Duration
	// PurgeEvery is how often old changes are removed; a minute when zero.
	PurgeEvery time.Duration
	// Now is the clock that Retention is measured by; time.Now when nil.
	Now func() time.Time
	// Meter receives the metrics; nil for none.
	Meter metric.Meter
	// Log receives problems of the background work.
	Log *slog.Logger
}

// Feed serves changes. Make it with New; it is safe for concurrent use.
type Feed struct {
	store store.Feed
	o     Options
	purge metric.Int64Counter
	// removal is nil when changes are kept for ever.
	removal *telemetry.Removal

	mu      sync.Mutex
	wake    chan struct{} // closed and replaced when there may be something new
	stopped bool
	newest  int64
	streams map[*int64]struct{} // position of each open stream
}

// Batch is what a reader gets at once.
type Batch struct {
	Changes []store.Change
	// Token goes on after Changes.
	Token string
	// More is true when more changes are waiting.
	More bool
	// Epoch is the id of the feed; with a position it identifies a change for ever.
	Epoch string
}

// New returns a feed over the store.
func New(s store.Feed, o Options) (*Feed, error) {
	if o.Poll <= 0 {
		o.Poll = 500 * time.Millisecond
	}
	if o.Heartbeat <= 0 {
		o.Heartbeat = 20 * time.Second
	}
	if o.PurgeEvery <= 0 {
		o.PurgeEvery = time.Minute
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	f := &Feed{store: s, o: o, wake: make(chan struct{}), streams: make(map[*int64]struct{})}
	if o.Retention > 0 {
		var err error
		if f.removal, err = telemetry.NewRemoval(o.Meter, "changes", o.PurgeEvery); err != nil {
			return nil, err
		}
	}
	if o.Meter != nil {
		if err := f.instrument(o.Meter); err != nil {
			return nil, fmt.Errorf("feed metrics: %w", err)
		}
	}
	return f, nil
}

func (f *Feed) instrument(m metric.Meter) error {
	position, err := m.Int64ObservableGauge("selfsame.erp.feed.position",
		metric.WithDescription("Position of the newest change this process has seen."))
	if err != nil {
		return err
	}
	lag, err := m.Int64ObservableGauge("selfsame.erp.feed.lag",
		metric.WithDescription("Changes that the slowest open stream has not been sent yet."))
	if err != nil {
		return err
	}
	streams, err := m.Int64ObservableGauge("selfsame.erp.feed.streams", metric.WithDescription("Open streams of changes."))
	if err != nil {
		return err
	}
	if f.purge, err = m.Int64Counter("selfsame.erp.feed.purged", metric.WithDescription("Changes removed after their retention.")); err != nil {
		return err
	}
	_, err = m.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		f.mu.Lock()
		defer f.mu.Unlock()
		var behind int64
		for at := range f.streams {
			behind = max(behind, f.newest-*at)
		}
		o.ObserveInt64(position, f.newest)
		o.ObserveInt64(lag, behind)
		o.ObserveInt64(streams, int64(len(f.streams)))
		return nil
	}, position, lag, streams)
	return err
}

// Wake tells all streams that something was committed. It does not block.
func (f *Feed) Wake() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.stopped {
		close(f.wake)
		f.wake = make(chan struct{})
	}
}

// waiting returns the channel that the next Wake closes; false when the feed has stopped.
func (f *Feed) waiting() (<-chan struct{}, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.wake, !f.stopped
}

// Run watches for commits of other replicas and removes old changes until ctx ends; then it ends all streams.
func (f *Feed) Run(ctx context.Context) error {
	defer f.stop()
	poll := time.NewTicker(f.o.Poll)
	defer poll.Stop()
	purge := time.NewTicker(f.o.PurgeEvery)
	defer purge.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-poll.C:
			f.look(ctx)
		case <-purge.C:
			f.forget(ctx)
		}
	}
}

func (f *Feed) stop() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.stopped {
		f.stopped = true
		close(f.wake)
	}
}

// look wakes the streams when the feed has grown. A database that does not answer is only noted: readiness reports it, and
// the next look catches up.
func (f *Feed) look(ctx context.Context) {
	b, err := f.store.Bounds(ctx)
	if err != nil {
		if ctx.Err() == nil {
			f.o.Log.WarnContext(ctx, "feed cannot be read", "error", err)
		}
		return
	}
	f.mu.Lock()
	grown := b.Newest != f.newest
	f.newest = b.Newest
	f.mu.Unlock()
	if grown {
		f.Wake()
	}
}

// forget removes changes older than the retention.
func (f *Feed) forget(ctx context.Context) {
	if f.removal == nil {
		return
	}
	before := f.o.Now().Add(-f.o.Retention)
	for ctx.Err() == nil {
		n, err := f.store.Purge(ctx, before, purgeBatch)
		if f.removal.Done(ctx, err) {
			f.o.Log.WarnContext(ctx, "old changes cannot be removed", "error", err)
		}
		if err != nil {
			return
		}
		if f.purge != nil {
			f.purge.Add(ctx, int64(n), metric.WithAttributes(attribute.String("reason", "retention")))
		}
		if n < purgeBatch {
			return
		}
	}
}

// List returns up to limit changes after a token; an empty one starts at the oldest change kept.
func (f *Feed) List(ctx context.Context, resume string, limit int) (Batch, error) {
	at, err := f.place(ctx, resume, func(b store.Bounds) token {
		return token{epoch: b.Epoch, position: b.Oldest, stamp: b.OldestStamp}
	})
	if err != nil {
		return Batch{}, err
	}
	b, _, err := f.after(ctx, at, limit)
	return b, err
}

// Watch sends the changes after a token, at first at once and then as they commit, until ctx ends, send fails or the feed
// stops (Unavailable: open it again elsewhere). An empty token starts at the end. Every message but the first and the heartbeats carries changes.
func (f *Feed) Watch(ctx context.Context, resume string, send func(Batch) error) error {
	at, err := f.place(ctx, resume, func(b store.Bounds) token {
		return token{epoch: b.Epoch, position: b.Newest, stamp: b.NewestStamp}
	})
	if err != nil {
		return err
	}
	sent := at.position
	defer f.track(&sent)()
	for silent := false; ; {
		// Taken before reading, so that a commit between reading and waiting is not missed.
		wake, running := f.waiting()
		b, next, err := f.after(ctx, at, maxBatch)
		if err != nil {
			return err
		}
		if len(b.Changes) > 0 || !silent {
			if err := send(b); err != nil {
				return err
			}
			at, silent = next, true
			f.moved(&sent, at.position)
		}
		switch {
		case !running:
			return fault.New(fault.Unavailable, fault.ReasonShuttingDown, "the server is stopping; open the stream again")
		case b.More:
			continue
		}
		beat, err := f.wait(ctx, wake)
		if err != nil {
			return err
		}
		silent = !beat
	}
}

// wait returns true when nothing happened for the length of a heartbeat.
func (f *Feed) wait(ctx context.Context, wake <-chan struct{}) (bool, error) {
	beat := time.NewTimer(f.o.Heartbeat)
	defer beat.Stop()
	select {
	case <-ctx.Done():
		return false, fmt.Errorf("watch changes: %w", ctx.Err())
	case <-wake:
		return false, nil
	case <-beat.C:
		return true, nil
	}
}

func (f *Feed) track(at *int64) (untrack func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.streams[at] = struct{}{}
	return func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.streams, at)
	}
}

func (f *Feed) moved(at *int64, position int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	*at = position
	f.newest = max(f.newest, position)
}

// place turns a token into a verified place; an empty one is where start says.
func (f *Feed) place(ctx context.Context, resume string, start func(store.Bounds) token) (token, error) {
	var at token
	if resume != "" {
		var err error
		if at, err = decode(resume); err != nil {
			return token{}, err
		}
	}
	b, err := f.store.Bounds(ctx)
	if err != nil {
		return token{}, fmt.Errorf("find the place in the feed: %w", err)
	}
	if resume == "" {
		return start(b), nil
	}
	if at.epoch != b.Epoch || at.position < b.Oldest || at.position > b.Newest {
		return token{}, expired()
	}
	stamp := b.OldestStamp
	switch at.position {
	case b.Oldest:
	case b.Newest:
		stamp = b.NewestStamp
	default:
		var kept bool
		if stamp, kept, err = f.store.Stamp(ctx, at.position); err != nil {
			return token{}, fmt.Errorf("find the place in the feed: %w", err)
		} else if !kept {
			return token{}, expired() // purged this very moment
		}
	}
	if stamp != at.stamp {
		return token{}, expired()
	}
	return at, nil
}

func expired() error {
	return fault.New(fault.Precondition, fault.ReasonResumeTokenExpired,
		"the feed cannot go on from this resume token; compare all records, then go on from now")
}

// after reads the next batch. One change more than asked for is read, to know whether more are waiting.
func (f *Feed) after(ctx context.Context, at token, limit int) (Batch, token, error) {
	list, err := f.store.Changes(ctx, at.position, limit+1)
	if err != nil {
		return Batch{}, at, fmt.Errorf("read changes: %w", err)
	}
	more := len(list) > limit
	if more {
		list = list[:limit]
	}
	if n := len(list); n > 0 {
		at.position, at.stamp = list[n-1].Position, list[n-1].Committed.UnixMicro()
	}
	return Batch{Changes: list, Token: at.encode(), More: more, Epoch: at.epoch}, at, nil
}
