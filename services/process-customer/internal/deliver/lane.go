package deliver

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/pkg/priority"
	"github.com/selfsame-io/selfsame/pkg/telemetry"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store"
)

// lane delivers what has one level, whatever the other lane is doing. Marks that wait in such numbers that they go as a load do so in the
// lane of bulk work, urgent ones, too: theirs goes on with what comes after them.
type lane struct {
	*Deliverer
	level store.Level
	// full is true when the last batch was as large as it could be: there may be many more.
	full atomic.Bool
	// first is the level whose loads the lane of bulk work looks for first, waited how often it has let urgent work go before it.
	first  store.Level
	waited int
	owed   []*batch // claimed, and not sent
	status Status   // under Deliverer.mu
}

// urgent is the lane of what somebody has changed.
func (l *lane) urgent() *lane { return l.lanes[store.LevelSync] }

// run delivers until ctx ends. Bulk work is looked for from time to time only: no commit has to wake two lanes.
func (l *lane) run(ctx context.Context) {
	wake := l.wake
	if l != l.urgent() {
		wake = nil
	}
	broken := 0
	for ctx.Err() == nil {
		n, err := l.step(ctx)
		wait := l.cfg.Poll
		switch {
		case err != nil && ctx.Err() == nil:
			broken++
			wait = l.circuit.Next(min(broken, 5))
			l.log.WarnContext(ctx, "delivery failed", slog.String(telemetry.KeySystem, l.System()), slog.String(telemetry.KeyReason, fault.ReasonOf(err)),
				slog.String(telemetry.KeyError, err.Error()))
		case n > 0:
			broken = 0
			continue
		default:
			broken = 0
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-timer.C:
		case <-wake:
			if err != nil {
				<-timer.C
			}
		}
		timer.Stop()
	}
}

func (l *lane) step(ctx context.Context) (int, error) {
	if err := l.repay(ctx); err != nil {
		return 0, err
	}
	open, err := l.gate(ctx)
	if err != nil || !open {
		return 0, err
	}
	if l == l.urgent() {
		return l.each(ctx, l.batch)
	}
	// In turn, so that neither level has to wait for the end of the other's loads.
	l.first = store.LevelBulk - l.first
	for _, level := range [...]store.Level{l.first, store.LevelBulk - l.first} {
		n, err := l.each(ctx, func(ctx context.Context, obj golden.Object) (int, error) { return l.wave(ctx, obj, level) })
		if n > 0 || err != nil {
			return n, err
		}
	}
	return l.each(ctx, l.batch)
}

// each calls fn with the kinds of records in their order until one has had something to do.
func (l *lane) each(ctx context.Context, fn func(context.Context, golden.Object) (int, error)) (int, error) {
	for _, obj := range golden.Objects() {
		if n, err := fn(ctx, obj); n > 0 || err != nil {
			return n, err
		}
	}
	return 0, nil
}

// gate reports whether the lane may write to the system now. While everything it holds is being read, and while any system is
// for the first time, a record that seems to be missing may only not have been reached yet. What is written to the others
// goes on when a system is read again, unless all have to wait together.
func (l *lane) gate(ctx context.Context) (bool, error) {
	if l.now().Before(l.pausedUntil()) {
		return false, nil
	}
	feeds, err := l.store.Read().Feeds(ctx)
	if err != nil {
		return false, err
	}
	control, err := l.store.Read().Control(ctx, l.System(), store.DirectionDeliver)
	if err != nil || control.Allowance(l.now(), 1) == 0 {
		return false, err
	}
	scanned := false
	for _, f := range store.InUse(feeds, l.folder.Systems(), l.now()) {
		own := f.System == l.System()
		reading := f.State == store.FeedScanning || f.Scan == store.ScanRunning // also while it fails, waits or is paused
		if reading && (own || l.together || !f.Complete) {
			return false, nil
		}
		if own {
			scanned = f.Complete
		}
	}
	if scanned && control.PerMinute > 0 {
		return l.mayTake(ctx)
	}
	return scanned, nil
}

// patience is how often in a row bulk work stands back.
const patience = 3

// mayTake reports whether the lane may take of an allowance that is too small for all: while something urgent is due, bulk work stands
// back three times of four.
func (l *lane) mayTake(ctx context.Context) (bool, error) {
	if l == l.urgent() {
		return true, nil
	}
	if l.waited++; l.waited > patience {
		l.waited = 0
		return true, nil
	}
	for _, obj := range golden.Objects() {
		due, err := l.store.Read().Due(ctx, l.System(), obj, store.LevelSync, l.now())
		if err != nil || due {
			return false, err
		}
	}
	return true, nil
}

// batch delivers what is due of one kind.
func (l *lane) batch(ctx context.Context, obj golden.Object) (int, error) {
	ctx = priority.With(ctx, l.level.Priority())
	b := &batch{d: l, object: obj, level: l.level}
	if err := b.claim(ctx); err != nil || len(b.claimed) == 0 {
		b.unclaimed(ctx, err)
		return 0, err
	}
	l.full.Store(len(b.claimed) >= l.cfg.BatchSize)
	if len(b.items) > 0 {
		ctx, span := l.tracer.Start(ctx, "send "+l.System(), trace.WithSpanKind(trace.SpanKindProducer), trace.WithLinks(b.links()...),
			trace.WithAttributes(attribute.String(telemetry.KeySystem, l.System()), attribute.Int(telemetry.KeyCount, len(b.items))))
		defer span.End()
		if err := b.look(ctx); err != nil {
			l.giveBack(ctx, b)
			return 0, err
		}
		b.send(ctx, b.unsettled())
		if err := b.record(ctx); err != nil {
			return 0, err
		}
		if err := b.readAgain(ctx); err != nil {
			return 0, err
		}
	}
	return len(b.claimed), nil
}

// called notes the outcome of a call; err is about the whole call.
func (l *lane) called(err error, written int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := &l.status
	s.Calls++
	s.Written += int64(written)
	if err == nil {
		s.failures, s.Reason, s.PausedUntil, s.Resume = 0, "", time.Time{}, time.Time{}
		return
	}
	s.failures++
	s.Reason = fault.ReasonOf(err)
}

// asked notes the outcome of a look before a write. That reading works does not mean that writing does.
func (l *lane) asked(err error) {
	if err != nil {
		l.called(err, 0)
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.status.Calls++
}

// pausedUntil is when the lane may call the system again. A system that does not take what is urgent is left alone altogether; that it does
// not take bulk work, of which there may be an allowance of its own, holds up nothing else.
func (l *lane) pausedUntil() time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	at := l.urgent().status.PausedUntil
	if l.status.PausedUntil.After(at) {
		at = l.status.PausedUntil
	}
	return at
}

// pause keeps the system from being called for a while.
func (l *lane) pause(err error) time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := &l.status
	wait := max(l.circuit.Next(min(s.failures, 7)), fault.RetryAfter(err))
	if fault.KindOf(err) == fault.Exhausted && fault.RetryAfter(err) == 0 {
		wait = max(wait, time.Minute)
	}
	s.PausedUntil = l.now().Add(wait)
	s.Resume = s.PausedUntil
	if at := fault.ResumeTime(err); at.After(s.Resume) {
		s.Resume = at
	}
	l.log.Info("deliveries wait", slog.String(telemetry.KeySystem, l.System()), slog.String("priority", l.level.Priority().String()),
		slog.String(telemetry.KeyReason, fault.ReasonOf(err)), slog.Time("until", s.PausedUntil), slog.Time("resume", s.Resume))
	return s.PausedUntil
}
