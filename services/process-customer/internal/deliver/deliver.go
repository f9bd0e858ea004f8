// Package deliver is the outbound half of the convergence: it writes to one system what the golden records say and the
// system does not hold yet.
//
// The invariant: no mark disappears without an outcome. What is about to be written is noted before the call, so the
// echo of a write is recognised even if its answer was lost; the answer and everything that follows from it is one
// transaction. A mark is removed only if nobody marked the record again in between. Every failure is one of: try again
// later (record or system not available), read and decide again (another version), or a dead letter (refused for good);
// an unknown outcome is never taken for a failure, because writing again by external id is safe.
//
// What is urgent does not wait for what is not: each level has a lane of its own, and a load that takes minutes is nobody's turn but its
// own. Two lanes are to each other what two replicas are: a mark is claimed by one of them, and what one record needs of another
// is looked at, not hoped from an order.
//
// The package decides no values (fold does) and reads no feeds.
package deliver

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"
	"golang.org/x/sync/errgroup"

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

// Deliverer writes to one system. Run may be called by one goroutine at a time, Step by one for each level; Status by any.
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
	lanes    [2]*lane // by level

	mu sync.Mutex
	// blind are records that could not be read when they were last looked at: hidden from us, perhaps.
	blind map[golden.Ref]bool
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
	out := &Deliverer{
		cfg: cfg, store: d.Store, folder: d.Folder, system: d.System, now: d.Now, log: d.Telemetry.Log,
		tracer: d.Telemetry.Tracer.Tracer("deliver"), records: records, lag: lag, reread: d.Reread, marked: marked,
		circuit: retry.Backoff{Min: cfg.RetryMin, Max: cfg.RetryMax, Factor: 2, Jitter: d.Jitter},
		backoff: retry.Backoff{Min: cfg.RetryMin, Max: cfg.RetryMax, Factor: 2, Jitter: full(d.Jitter)},
		wake:    make(chan struct{}, 1), together: d.Together, blind: map[golden.Ref]bool{},
	}
	for _, level := range store.Levels() {
		out.lanes[level] = &lane{Deliverer: out, level: level}
	}
	return out, nil
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

// Status returns what happened so far. A reason, and a wait, of large pieces of work alone are told while nothing urgent has any.
func (d *Deliverer) Status() Status {
	d.mu.Lock()
	defer d.mu.Unlock()
	out, bulk := d.lanes[store.LevelSync].status, d.lanes[store.LevelBulk].status
	out.Calls, out.Written = out.Calls+bulk.Calls, out.Written+bulk.Written
	if out.Reason == "" {
		out.Reason, out.PausedUntil, out.Resume = bulk.Reason, bulk.PausedUntil, bulk.Resume
	}
	return out
}

// Run delivers until ctx ends. A database that does not answer is waited for.
func (d *Deliverer) Run(ctx context.Context) error {
	var g errgroup.Group
	for _, l := range d.lanes {
		g.Go(func() error { l.run(ctx); return nil })
	}
	return g.Wait()
}

// Step delivers one batch or bulk load in the lane of a level, customers before contacts, and returns how many marks it worked on; zero
// when nothing is due or deliveries to the system have to wait. An error is about the database only.
func (d *Deliverer) Step(ctx context.Context, level store.Level) (int, error) {
	return d.lanes[level].step(ctx)
}
