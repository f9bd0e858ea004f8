// Package feed reads one system: everything it has, once, and from then on what changes.
//
// The invariant: the resume token is stored by the same transaction as the effect of the changes before it, and a scan
// begins only after a token has been stored, so nothing that changes in between is missed. When the system says that
// changes were lost, or an operator asks, everything is read again by the same code; going on from "latest" does not
// exist. One process reads a system at a time: a lease says which, and its fencing token, checked by every write, keeps
// one that was thought dead from moving the position.
//
// What a change means is the business of intake.
package feed

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"golang.org/x/sync/errgroup"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/pkg/retry"
	"github.com/selfsame-io/selfsame/pkg/telemetry"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/intake"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/source"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store"
)

// Config says how patient a feed is. The zero value of a field means its default.
type Config struct {
	// Lease is how long a silent process keeps a feed; 30 s. It is renewed three times as often.
	Lease time.Duration `conf:"lease" help:"how long a feed stays with a process that has stopped renewing"`
	// RetryMin and RetryMax bound the wait after a failure; 1 s and 30 s.
	RetryMin time.Duration `conf:"retry_min" help:"first wait after a feed has failed"`
	RetryMax time.Duration `conf:"retry_max" help:"longest wait after a feed has failed"`
	// CallTimeout bounds one call of a scan; 60 s.
	CallTimeout time.Duration `conf:"call_timeout" help:"time limit of one page of a scan"`
}

// DefaultConfig returns the defaults.
func DefaultConfig() Config {
	return Config{Lease: 30 * time.Second, RetryMin: time.Second, RetryMax: 30 * time.Second, CallTimeout: time.Minute}
}

func (c Config) withDefaults() Config {
	d := DefaultConfig()
	for _, f := range []struct{ have, def *time.Duration }{
		{&c.Lease, &d.Lease}, {&c.RetryMin, &d.RetryMin}, {&c.RetryMax, &d.RetryMax}, {&c.CallTimeout, &d.CallTimeout},
	} {
		if *f.have <= 0 {
			*f.have = *f.def
		}
	}
	return c
}

// Store is what a feed needs of the database.
type Store interface {
	Tx(ctx context.Context, fn func(ctx context.Context, tx *store.Tx) error) error
	Read() store.Reader
}

// Taker takes batches in.
type Taker interface {
	Take(ctx context.Context, system string, b intake.Batch) (intake.Outcome, error)
}

// Deps are what a Feed needs. All are required.
type Deps struct {
	Config Config
	Store  Store
	Intake Taker
	System source.System
	// Owner names this process; no two that run at once share a name.
	Owner     string
	Now       func() time.Time
	Telemetry *telemetry.Telemetry
}

// Feed reads one system. Run, Acquire, Step and Watch are for one goroutine; Poke for any.
type Feed struct {
	cfg     Config
	store   Store
	intake  Taker
	system  source.System
	owner   string
	now     func() time.Time
	log     *slog.Logger
	events  metric.Int64Counter
	lag     metric.Float64Histogram
	gaps    metric.Int64Counter
	backoff retry.Backoff
	attrs   metric.MeasurementOption

	feed store.Feed // as last stored by this process

	mu   sync.Mutex
	poke context.CancelCauseFunc // ends the stream under way; nil when there is none
}

var (
	// errRescan ends a stream because everything is to be read again.
	errRescan = errors.New("everything is to be read again")
	// errOpened ends the stream that was opened for its position only.
	errOpened = errors.New("position known")
)

// New returns a feed.
func New(d Deps) (*Feed, error) {
	cfg := d.Config.withDefaults()
	meter := d.Telemetry.Meter.Meter("feed")
	events, err1 := meter.Int64Counter("selfsame.cdc.events", metric.WithUnit("{event}"), metric.WithDescription("Changes received."))
	lag, err2 := meter.Float64Histogram("selfsame.cdc.lag", metric.WithUnit("s"), metric.WithDescription("Time from commit in the system to being taken in."),
		metric.WithExplicitBucketBoundaries(.05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 7200))
	gaps, err3 := meter.Int64Counter("selfsame.cdc.gaps", metric.WithUnit("{gap}"), metric.WithDescription("Times a system had lost changes and was read again, as a whole or for the time concerned."))
	if err := errors.Join(err1, err2, err3); err != nil {
		return nil, fmt.Errorf("feed: %w", err)
	}
	return &Feed{
		cfg: cfg, store: d.Store, intake: d.Intake, system: d.System, owner: d.Owner, now: d.Now, log: d.Telemetry.Log.With(slog.String(telemetry.KeySystem, d.System.Name())),
		events: events, lag: lag, gaps: gaps, backoff: retry.Backoff{Min: cfg.RetryMin, Max: cfg.RetryMax, Jitter: 0.2},
		attrs: metric.WithAttributes(attribute.String("selfsame.system", d.System.Name())),
	}, nil
}

// System returns the name of the system read.
func (f *Feed) System() string { return f.system.Name() }

// Poke has the feed notice now that an operator asked for a scan.
func (f *Feed) Poke() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.poke != nil {
		f.poke(errRescan)
	}
}

// Run reads the system until ctx ends, whenever this process holds the feed. Failures are stored as the feed's state and
// tried again.
func (f *Feed) Run(ctx context.Context) error {
	failures := 0
	for ctx.Err() == nil {
		held, err := f.Acquire(ctx)
		wait := f.cfg.Lease / 3
		if err == nil && held {
			progress := f.feed
			err = f.session(ctx)
			if f.feed.Token != progress.Token || f.feed.Cursor != progress.Cursor {
				failures = 0
			}
			wait = 0
		}
		if errors.Is(err, errPaused) {
			err, wait = nil, pausePoll
		}
		if err != nil && ctx.Err() == nil {
			failures++
			wait = max(f.backoff.Next(failures), fault.RetryAfter(err))
			f.Failed(ctx, err)
		}
		if wait > 0 && !sleep(ctx, wait) {
			break
		}
	}
	f.release(ctx)
	return nil
}

func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// session reads until something fails, renewing the lease beside it.
func (f *Feed) session(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	g, ctx := errgroup.WithContext(ctx)
	fence := f.feed.Fence
	g.Go(func() error {
		defer cancel()
		return f.read(ctx)
	})
	g.Go(func() error { return f.renew(ctx, fence) })
	err := g.Wait()
	if errors.Is(err, store.ErrFenced) {
		f.log.InfoContext(ctx, "feed taken over by another process")
		return nil
	}
	return err
}

func (f *Feed) read(ctx context.Context) error {
	for ctx.Err() == nil {
		paused, err := f.paused(ctx)
		if err != nil {
			return err
		}
		if paused {
			return errPaused
		}
		more, err := f.Step(ctx)
		if err != nil {
			return err
		}
		if more {
			continue
		}
		if err := f.Watch(ctx, nil); err != nil {
			return err
		}
	}
	return nil
}

// renew keeps the lease and notices requests for a scan that came in through another process.
func (f *Feed) renew(ctx context.Context, fence int64) error {
	for sleep(ctx, f.cfg.Lease/3) {
		var have store.Feed
		err := f.store.Tx(ctx, func(ctx context.Context, tx *store.Tx) error {
			var err error
			have, err = tx.RenewFeed(ctx, f.System(), fence, f.now(), f.cfg.Lease)
			return err
		})
		switch {
		case errors.Is(err, store.ErrFenced):
			return err
		case err != nil && ctx.Err() == nil:
			// The lease still has two thirds to go; what the feed stores is fenced in any case.
			f.log.WarnContext(ctx, "lease not renewed", slog.String(telemetry.KeyReason, fault.ReasonOf(err)))
		case have.Scan == store.ScanNeeded:
			f.Poke()
		default:
			if c, err := f.store.Read().Control(ctx, f.System(), store.DirectionIntake); err == nil && c.Paused {
				f.Poke() // another process was told to pause it
			}
		}
	}
	return nil
}

// Acquire takes the feed for this process; false while another one has it.
func (f *Feed) Acquire(ctx context.Context) (bool, error) {
	var got store.Feed
	held := false
	err := f.store.Tx(ctx, func(ctx context.Context, tx *store.Tx) error {
		if err := tx.EnsureFeed(ctx, f.System()); err != nil {
			return err
		}
		var err error
		got, held, err = tx.AcquireFeed(ctx, f.System(), f.owner, f.now(), f.cfg.Lease)
		return err
	})
	if err == nil && held {
		f.feed = got
	}
	return held, err
}

func (f *Feed) release(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	err := f.store.Tx(ctx, func(ctx context.Context, tx *store.Tx) error { return tx.ReleaseFeed(ctx, f.System(), f.feed.Fence) })
	if err != nil {
		f.log.InfoContext(ctx, "lease not released", slog.String(telemetry.KeyReason, fault.ReasonOf(err)))
	}
}

// Failed stores why the feed does not work. Run does so by itself.
func (f *Feed) Failed(ctx context.Context, err error) {
	reason := fault.ReasonOf(err)
	f.log.WarnContext(ctx, "feed failed", slog.String(telemetry.KeyReason, reason), slog.String(telemetry.KeyError, err.Error()))
	next := f.feed
	next.State, next.Reason, next.Resume = store.FeedFailing, reason, time.Time{}
	if wait := fault.RetryAfter(err); wait > 0 {
		next.Resume = f.now().Add(wait)
	}
	if err := f.save(ctx, next); err != nil && ctx.Err() == nil {
		f.log.WarnContext(ctx, "state of the feed not stored", slog.String(telemetry.KeyReason, fault.ReasonOf(err)))
	}
}

// save stores where the feed stands.
func (f *Feed) save(ctx context.Context, next store.Feed) error {
	var got store.Feed
	err := f.store.Tx(ctx, func(ctx context.Context, tx *store.Tx) (err error) {
		got, err = tx.SaveFeed(ctx, next)
		return err
	})
	if err == nil {
		f.feed = got
	}
	return err
}
