// Package deliver is the outbound half of the convergence: it writes to one system what the golden records say and the
// system does not hold yet.
//
// The invariant: no mark disappears without an outcome. What is about to be written is noted before the call, so the
// echo of a write is recognised even if its answer was lost; the answer and everything that follows from it is one
// transaction. A mark is removed only if nobody marked the record again in between. Every failure is one of: try again
// later (record or system not available), read and decide again (another version), or a dead letter (refused for good);
// an unknown outcome is never taken for a failure, because writing again by external id is safe.
//
// The package decides no values (fold does) and reads no feeds.
package deliver

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/pkg/retry"
	"github.com/selfsame-io/selfsame/pkg/telemetry"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/fold"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/source"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store"
)

// Config says how patient deliveries are. The zero value of a field means its default.
type Config struct {
	// BatchSize is the greatest number of records in one call; 200, which is also the most.
	BatchSize int `conf:"batch_size" help:"greatest number of records written in one call, at most 200"`
	// Lease is how long a claimed delivery is left to its process; 90 s. It must exceed Timeout.
	Lease time.Duration `conf:"lease" help:"how long a claimed delivery is left to its process; longer than timeout"`
	// Timeout bounds one call to a system; 60 s.
	Timeout time.Duration `conf:"timeout" help:"time limit of one write call"`
	// Poll is how often a system without work is looked after; 1 s.
	Poll time.Duration `conf:"poll" help:"how often to look for due deliveries when none is known"`
	// RetryMin and RetryMax bound the wait before the next attempt; 1 s and 15 min.
	RetryMin time.Duration `conf:"retry_min" help:"first wait before a failed delivery is tried again"`
	RetryMax time.Duration `conf:"retry_max" help:"longest wait before a failed delivery is tried again"`
	// ParentWait is how long a contact waits before its customer is looked for again; 5 s.
	ParentWait time.Duration `conf:"parent_wait" help:"how long a contact waits for its customer before looking again"`
	// BulkFrom is the backlog of one kind of record from which a system that can take many records at once is given them so;
	// 2,000. BulkSize is how many it is given at most; 10,000. BulkTimeout bounds that; 15 min.
	BulkFrom    int           `conf:"bulk_from" help:"backlog from which records are written by bulk loads, where the system has them"`
	BulkSize    int           `conf:"bulk_size" help:"greatest number of records in one bulk load"`
	BulkTimeout time.Duration `conf:"bulk_timeout" help:"time limit of one bulk load"`
	// MaxInternal is how often a record may fail for a reason nobody classified, or be neither writable nor readable, before it
	// becomes a dead letter; 5.
	MaxInternal int `conf:"max_internal" help:"unclassified failures of one record before it becomes a dead letter"`
	// DeleteBrake is how many records may be deleted in the system within an hour, where rules have a deletion carried out,
	// before the others wait for a person; 100. Zero is any number.
	DeleteBrake int `conf:"delete_brake" help:"records that deletions elsewhere may delete in a system within an hour before a person has to confirm the others; 0 for any number"`
}

// DefaultConfig returns the defaults.
func DefaultConfig() Config {
	return Config{
		BatchSize: source.MaxWrites, Lease: 90 * time.Second, Timeout: time.Minute, Poll: time.Second,
		RetryMin: time.Second, RetryMax: 15 * time.Minute, ParentWait: 5 * time.Second, MaxInternal: 5,
		BulkFrom: 2000, BulkSize: 10_000, BulkTimeout: 15 * time.Minute, DeleteBrake: 100,
	}
}

func (c Config) withDefaults() Config {
	d := DefaultConfig()
	if c.BatchSize <= 0 || c.BatchSize > source.MaxWrites {
		c.BatchSize = d.BatchSize
	}
	for _, f := range []struct{ have, def *time.Duration }{
		{&c.Lease, &d.Lease},
		{&c.Timeout, &d.Timeout},
		{&c.Poll, &d.Poll},
		{&c.RetryMin, &d.RetryMin},
		{&c.RetryMax, &d.RetryMax},
		{&c.ParentWait, &d.ParentWait},
		{&c.BulkTimeout, &d.BulkTimeout},
	} {
		if *f.have <= 0 {
			*f.have = *f.def
		}
	}
	for _, f := range []struct{ have, def *int }{{&c.MaxInternal, &d.MaxInternal}, {&c.BulkFrom, &d.BulkFrom}, {&c.BulkSize, &d.BulkSize}} {
		if *f.have <= 0 {
			*f.have = *f.def
		}
	}
	return c
}

// Store is what deliveries need of the database.
type Store interface {
	Tx(ctx context.Context, fn func(ctx context.Context, tx *store.Tx) error) error
	Read() store.Reader
}

// Deps are what a Deliverer needs. All are required but Marked.
type Deps struct {
	Config    Config
	Store     Store
	Folder    *fold.Folder
	System    source.System
	Now       func() time.Time
	Telemetry *telemetry.Telemetry
	// Reread takes records in that were read again because of a conflict.
	Reread func(ctx context.Context, system string, changes []source.Change) error
	// Marked is called after a commit that may have marked deliveries to other systems.
	Marked func()
	// Together keeps every system from being written to while one of them is read again. It is for matching that joins by scores: whether
	// a record is one customer with another may depend on a third that is gone, which the end of a scan tells.
	Together bool
	// Jitter spreads the calls to a system that failed as a whole, 0 to 1. Retries of single records are spread over all of
	// their wait when it is not zero, so that records that failed together do not come back together.
	Jitter float64
}

// Deliverer writes to one system. Run or Step may be called by one goroutine at a time; Status by any.
type Deliverer struct {
	cfg     Config
	store   Store
	folder  *fold.Folder
	system  source.System
	now     func() time.Time
	log     *slog.Logger
	tracer  trace.Tracer
	records metric.Int64Counter
	lag     metric.Float64Histogram
	reread  func(ctx context.Context, system string, changes []source.Change) error
	marked  func()
	circuit retry.Backoff // of the system
	backoff retry.Backoff // of one record
	wake    chan struct{}
	// together is Deps.Together.
	together bool
	full     bool // the last batch was as large as it could be: there may be many more
	// blind are records that could not be read when they were last looked at: hidden from us, perhaps.
	blind map[golden.Ref]bool

	mu     sync.Mutex
	status Status
}

// Status is what a deliverer has experienced since the process started.
type Status struct {
	// Calls and Written count calls to the system and records written.
	Calls, Written int64
	// Reason is the stable reason of the last failure; empty when the last call worked.
	Reason string
	// PausedUntil is when the system is called again; the zero time when it is not paused.
	PausedUntil time.Time
	// Resume is when work that a quota holds back may go on, as far as the system can foresee; never before PausedUntil, and the
	// zero time when it is not paused.
	Resume   time.Time
	failures int
}

// New returns a deliverer.
func New(d Deps) (*Deliverer, error) {
	meter := d.Telemetry.Meter.Meter("deliver")
	records, err := meter.Int64Counter("selfsame.sync.records",
		metric.WithUnit("{record}"), metric.WithDescription("Records taken in and delivered, by outcome."))
	if err != nil {
		return nil, fmt.Errorf("deliver: %w", err)
	}
	lag, err := meter.Float64Histogram("selfsame.sync.lag", metric.WithUnit("s"),
		metric.WithDescription("Time from the first mark of a record to its acknowledgement."),
		metric.WithExplicitBucketBoundaries(.05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 7200))
	if err != nil {
		return nil, fmt.Errorf("deliver: %w", err)
	}
	cfg := d.Config.withDefaults()
	marked := d.Marked
	if marked == nil {
		marked = func() {}
	}
	return &Deliverer{
		cfg: cfg, store: d.Store, folder: d.Folder, system: d.System, now: d.Now, log: d.Telemetry.Log,
		tracer: d.Telemetry.Tracer.Tracer("deliver"), records: records, lag: lag, reread: d.Reread, marked: marked,
		circuit: retry.Backoff{Min: cfg.RetryMin, Max: cfg.RetryMax, Factor: 2, Jitter: d.Jitter},
		backoff: retry.Backoff{Min: cfg.RetryMin, Max: cfg.RetryMax, Factor: 2, Jitter: full(d.Jitter)},
		wake:    make(chan struct{}, 1), together: d.Together, blind: map[golden.Ref]bool{},
	}, nil
}

// full returns the widest jitter, unless there is to be none.
func full(jitter float64) float64 {
	if jitter > 0 {
		return 1
	}
	return 0
}

// System returns the name of the system written to.
func (d *Deliverer) System() string { return d.system.Name() }

// Wake has Run look for work now.
func (d *Deliverer) Wake() {
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// Status returns what happened so far.
func (d *Deliverer) Status() Status {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.status
}

// Run delivers until ctx ends. A database that does not answer is waited for.
func (d *Deliverer) Run(ctx context.Context) error {
	broken := 0
	for ctx.Err() == nil {
		n, err := d.Step(ctx)
		wait := d.cfg.Poll
		switch {
		case err != nil && ctx.Err() == nil:
			broken++
			wait = d.circuit.Next(min(broken, 5))
			d.log.WarnContext(ctx, "delivery failed", slog.String(telemetry.KeySystem, d.System()), slog.String(telemetry.KeyReason, fault.ReasonOf(err)),
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
		case <-d.wake:
			if err != nil {
				<-timer.C
			}
		}
		timer.Stop()
	}
	return nil
}

// Step delivers one batch or bulk load, customers before contacts, and returns how many marks it worked on; zero when nothing is
// due or deliveries to the system have to wait. An error is about the database only.
func (d *Deliverer) Step(ctx context.Context) (int, error) {
	open, err := d.gate(ctx)
	if err != nil || !open {
		return 0, err
	}
	for _, obj := range golden.Objects() {
		n, err := d.wave(ctx, obj)
		if n == 0 && err == nil {
			n, err = d.batch(ctx, obj)
		}
		if n > 0 || err != nil {
			return n, err
		}
	}
	return 0, nil
}

// gate reports whether the system may be written to now. While everything it holds is being read, and while any system is
// for the first time, a record that seems to be missing may only not have been reached yet. What is written to the others
// goes on when a system is read again, unless all have to wait together.
func (d *Deliverer) gate(ctx context.Context) (bool, error) {
	if d.now().Before(d.Status().PausedUntil) {
		return false, nil
	}
	feeds, err := d.store.Read().Feeds(ctx)
	if err != nil {
		return false, err
	}
	control, err := d.store.Read().Control(ctx, d.System(), store.DirectionDeliver)
	if err != nil || control.Allowance(d.now(), 1) == 0 {
		return false, err
	}
	scanned := false
	for _, f := range feeds {
		own := f.System == d.System()
		reading := f.State == store.FeedScanning || f.Scan == store.ScanRunning // also while it fails, waits or is paused
		if reading && (own || d.together || !f.Complete) {
			return false, nil
		}
		if own {
			scanned = f.Complete
		}
	}
	return scanned, nil
}

// batch delivers what is due of one kind.
func (d *Deliverer) batch(ctx context.Context, obj golden.Object) (int, error) {
	b := &batch{d: d, object: obj}
	if err := b.claim(ctx); err != nil || len(b.claimed) == 0 {
		return 0, err
	}
	d.full = len(b.claimed) >= d.cfg.BatchSize
	if len(b.items) > 0 {
		ctx, span := d.tracer.Start(ctx, "send "+d.System(), trace.WithSpanKind(trace.SpanKindProducer), trace.WithLinks(b.links()...),
			trace.WithAttributes(attribute.String(telemetry.KeySystem, d.System()), attribute.Int(telemetry.KeyCount, len(b.items))))
		defer span.End()
		if err := b.look(ctx); err != nil {
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
func (d *Deliverer) called(err error, written int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.status.Calls++
	d.status.Written += int64(written)
	if err == nil {
		d.status.failures, d.status.Reason, d.status.PausedUntil, d.status.Resume = 0, "", time.Time{}, time.Time{}
		return
	}
	d.status.failures++
	d.status.Reason = fault.ReasonOf(err)
}

// pause keeps the system from being called for a while.
func (d *Deliverer) pause(err error) time.Time {
	d.mu.Lock()
	defer d.mu.Unlock()
	wait := max(d.circuit.Next(min(d.status.failures, 7)), fault.RetryAfter(err))
	if fault.KindOf(err) == fault.Exhausted && fault.RetryAfter(err) == 0 {
		wait = max(wait, time.Minute)
	}
	d.status.PausedUntil = d.now().Add(wait)
	d.status.Resume = d.status.PausedUntil
	if at := resume(err); at.After(d.status.Resume) {
		d.status.Resume = at
	}
	d.log.Info("deliveries wait", slog.String(telemetry.KeySystem, d.System()), slog.String(telemetry.KeyReason, fault.ReasonOf(err)),
		slog.Time("until", d.status.PausedUntil), slog.Time("resume", d.status.Resume))
	return d.status.PausedUntil
}

// resume is when a system foresees that refused work may go on; the zero time when it does not say.
func resume(err error) time.Time {
	fe, ok := fault.As(err)
	if !ok {
		return time.Time{}
	}
	at, err := time.Parse(time.RFC3339, fe.Meta["resume_time"])
	if err != nil {
		return time.Time{}
	}
	return at
}
