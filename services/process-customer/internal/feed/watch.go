package feed

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/pkg/priority"
	"github.com/selfsame-io/selfsame/pkg/telemetry"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/intake"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/source"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store"
)

// maxBatch is the greatest number of changes taken in by one transaction.
const maxBatch = 500

// heartbeatEvery is how often a stream that says nothing new is noted.
const heartbeatEvery = 10 * time.Second

// Watch takes changes in until the stream ends, everything has to be read again, or until returns true after a batch;
// nil means never. It returns nil when there is something else to do: ask Step.
func (f *Feed) Watch(ctx context.Context, until func(source.Batch) bool) error {
	ctx, done := f.stream(ctx)
	defer done()
	enough := errors.New("enough")
	heard := false
	err := f.system.Watch(priority.Outgoing(ctx, priority.Sync), f.feed.Token, func(b source.Batch) error {
		heard = true
		if err := f.take(ctx, b); err != nil {
			return err
		}
		if until != nil && until(b) {
			return enough
		}
		return nil
	})
	switch {
	case err == nil && !heard:
		return fault.New(fault.Unavailable, fault.ReasonUnavailable, "the stream ended before it said anything")
	case err == nil, errors.Is(err, enough):
		return nil
	case errors.Is(err, errRescan), errors.Is(context.Cause(ctx), errRescan):
		got, err := f.store.Read().Feed(context.WithoutCancel(ctx), f.System())
		if err == nil && got.Fence == f.feed.Fence {
			f.feed = got
		}
		return err
	case expired(err):
		f.gaps.Add(ctx, 1, f.attrs)
		f.log.WarnContext(ctx, "changes were lost, everything is read again", slog.String(telemetry.KeyReason, fault.ReasonOf(err)))
		next := f.feed
		next.Token, next.Scan = "", store.ScanNeeded
		return f.save(ctx, next)
	}
	return err
}

// lost reports stretches that the system finds again by itself.
func (f *Feed) lost(ctx context.Context, ranges []source.Lost) {
	for _, l := range ranges {
		attrs := []slog.Attr{slog.String("object", string(l.Object)), slog.String("cause", l.Cause), slog.Time("from", l.From), slog.Time("until", l.Until)}
		if l.Done {
			f.log.LogAttrs(ctx, slog.LevelInfo, "lost changes found again", append(attrs, slog.Int64(telemetry.KeyCount, l.Sent))...)
			continue
		}
		f.gaps.Add(ctx, 1, f.attrs)
		f.log.LogAttrs(ctx, slog.LevelWarn, "changes were lost, the system looks for them", attrs...)
	}
}

// expired reports whether a token cannot be used any more.
func expired(err error) bool {
	switch fault.ReasonOf(err) {
	case fault.ReasonResumeTokenExpired, fault.ReasonResumeTokenInvalid:
		return true
	default:
		return false
	}
}

// stream returns a context that Poke ends.
func (f *Feed) stream(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.poke = cancel
	return ctx, func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.poke = nil
		cancel(context.Canceled)
	}
}

// take takes one message in.
func (f *Feed) take(ctx context.Context, b source.Batch) error {
	now := f.now()
	next := f.feed
	next.Token, next.State, next.LastMessage = b.Token, store.FeedLive, now
	next.Reason, next.Resume, next.Position = b.Waiting.Reason, b.Waiting.Resume, f.position(b)
	overflow := false
	for i := range b.Changes {
		c := &b.Changes[i]
		if c.CommitTime.After(next.LastCommit) {
			next.LastCommit = c.CommitTime
		}
		f.lag.Record(ctx, max(0, now.Sub(c.CommitTime).Seconds()), f.attrs)
		overflow = overflow || c.Overflow
	}
	f.events.Add(ctx, int64(len(b.Changes)), f.attrs)
	f.lost(ctx, b.Lost)
	if overflow {
		f.gaps.Add(ctx, 1, f.attrs)
		next.Scan = store.ScanNeeded
	}
	if len(b.Changes) == 0 {
		if f.feed.State == store.FeedLive && f.feed.Token == b.Token && f.feed.Reason == next.Reason && now.Sub(f.feed.LastMessage) < heartbeatEvery {
			return nil
		}
		if err := f.save(ctx, next); err != nil {
			return err
		}
	} else if err := f.takeAll(ctx, b.Changes, 0, next); err != nil {
		return err
	}
	if f.feed.Scan == store.ScanNeeded {
		return errRescan
	}
	return nil
}

// position returns the time up to which a batch has everything. A system that does not say it has sent all there is when it sends
// nothing new.
func (f *Feed) position(b source.Batch) time.Time {
	switch {
	case !b.Position.IsZero():
		return b.Position
	case b.Waiting.Reason != "":
		return f.feed.Position
	case len(b.Changes) == 0:
		return f.now()
	}
	newest := f.feed.Position
	for i := range b.Changes {
		if at := b.Changes[i].CommitTime; at.After(newest) {
			newest = at
		}
	}
	return newest
}

// takeAll takes changes in, by several transactions when there are many; the position is stored by the last one.
func (f *Feed) takeAll(ctx context.Context, changes []source.Change, epoch int64, next store.Feed) error {
	for {
		n := min(len(changes), maxBatch)
		b := intake.Batch{Changes: changes[:n], ScanEpoch: epoch}
		changes = changes[n:]
		here := f.feed
		if len(changes) == 0 {
			here = next
		}
		b.Feed = &here
		out, err := f.intake.Take(ctx, f.System(), b)
		if err != nil {
			return err
		}
		f.feed = out.Feed
		if len(changes) == 0 {
			return nil
		}
	}
}

// open learns the position of the stream before anything is read.
func (f *Feed) open(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, f.cfg.CallTimeout)
	defer cancel()
	err := f.system.Watch(ctx, "", func(b source.Batch) error {
		next := f.feed
		next.Token, next.State, next.Reason, next.LastMessage, next.Scan = b.Token, store.FeedScanning, "", f.now(), store.ScanNeeded
		next.Resume, next.Position = time.Time{}, f.position(b)
		if err := f.takeAll(ctx, b.Changes, 0, next); err != nil {
			return err
		}
		return errOpened
	})
	switch {
	case errors.Is(err, errOpened):
		return nil
	case err == nil:
		return fault.New(fault.Unavailable, fault.ReasonUnavailable, "the stream ended before it said its position")
	}
	return err
}

// objectOf returns the kind of record a phase of a scan is about.
func objectOf(phase string) golden.Object {
	switch phase {
	case phaseContacts, phaseGoneContacts:
		return golden.Contact
	default:
		return golden.Customer
	}
}
