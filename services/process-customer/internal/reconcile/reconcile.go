// Package reconcile compares what the systems hold with what is known of them, finds what no event has told, and repairs
// it by feeding it to the same intake and delivery as everything else.
//
// A comparison is cheap because it is made by digests: per stretch of the time of the last change the system says how many
// records it has and when they changed first and last (and, where it can, a sum of the times). Records that changed since the
// last comparison are listed by id and time; the rest is one digest. Only where digests differ is a stretch divided, only
// where a piece is small are its ids and times listed, and only records whose time differs are read.
//
// Why that is exact: every change gives a record a new time. Suppose everything was equal up to a moment. A change that was
// missed since moves its record behind that moment, where all ids are listed; a record that was made is there, too; and a
// deletion changes the count of the rest. The first comparison, and a deep one, lists every id and time. What neither can see
// is what differs at equal times: a change within the same tick of the system's clock as a known one (a second in Salesforce), a field
// that the system tells only now, a value that is read otherwise than before. A comparison of values sees it: it reads everything, page
// by page, and compares it with what is known (values.go).
//
// The package decides nothing about values: repair hands readings to intake, or has a record marked. It never writes to a
// system.
package reconcile

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/selfsame-io/selfsame/pkg/telemetry"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/fold"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/intake"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/source"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store"
)

// Kinds of findings.
const (
	// MissingHere: the system has a record that is not known.
	MissingHere = "MISSING_HERE"
	// MissingThere: a record is known that the system does not have.
	MissingThere = "MISSING_THERE"
	// Different: the record holds other values than it is known to hold.
	Different = "DIFFERENT"
	// Duplicate: several records of the system are the same customer or contact.
	Duplicate = "DUPLICATE"
	// Undelivered: the record should hold other values than it is known to hold, and nothing waits to write them.
	Undelivered = "UNDELIVERED"
)

// Config says how often and how carefully systems are compared. The zero value of a duration means its default, of
// Every, DeepEvery and ValuesEvery that there is no schedule.
type Config struct {
	// Every is how often a system is compared; DeepEvery how often every id and time is, instead of digests; ValuesEvery how often
	// every value is.
	Every       time.Duration `conf:"every" help:"how often each system is compared with what is known of it; 0 only on demand"`
	DeepEvery   time.Duration `conf:"deep_every" help:"how often the comparison lists every record instead of digests; 0 only on demand"`
	ValuesEvery time.Duration `conf:"values_every" help:"how often the comparison reads every record and compares all values; 0 only on demand"`
	// Repair has scheduled comparisons repair what they find.
	Repair bool `conf:"repair" help:"whether scheduled comparisons repair what they find"`
	// Settle is how young a difference may be to count as in flight; 2 min.
	Settle time.Duration `conf:"settle" help:"how young a difference may be to count as in flight"`
	// Margin is how far before the newest record the next comparison begins to list records; 10 min.
	Margin time.Duration `conf:"margin" help:"how long a system may take to show a change, by its own clock"`
	// Keep is how long finished runs are kept; 30 days.
	Keep time.Duration `conf:"keep" help:"how long the records of finished comparisons are kept"`
}

// DefaultConfig returns the defaults.
func DefaultConfig() Config {
	return Config{Every: time.Hour, DeepEvery: 24 * time.Hour, ValuesEvery: 7 * 24 * time.Hour, Settle: 2 * time.Minute, Margin: 10 * time.Minute, Keep: 30 * 24 * time.Hour}
}

func (c Config) withDefaults() Config {
	d := DefaultConfig()
	for _, f := range []struct{ have, def *time.Duration }{{&c.Settle, &d.Settle}, {&c.Margin, &d.Margin}, {&c.Keep, &d.Keep}} {
		if *f.have <= 0 {
			*f.have = *f.def
		}
	}
	return c
}

// Store is what a comparison needs of the database.
type Store interface {
	Tx(ctx context.Context, fn func(ctx context.Context, tx *store.Tx) error) error
	Read() store.Reader
}

// Deps are what a Reconciler needs. All are required; the configuration has a usable zero value.
type Deps struct {
	Config  Config
	Store   Store
	Folder  *fold.Folder
	Systems []source.System
	// Take takes readings in.
	Take func(ctx context.Context, system string, b intake.Batch) (intake.Outcome, error)
	Now  func() time.Time
	// Marked is called after deliveries were marked.
	Marked    func()
	Telemetry *telemetry.Telemetry
}

// Reconciler compares systems. Run may be called by one goroutine per process; everything else by any.
type Reconciler struct {
	cfg     Config
	store   Store
	folder  *fold.Folder
	systems map[string]source.Comparer
	names   []string
	take    func(ctx context.Context, system string, b intake.Batch) (intake.Outcome, error)
	now     func() time.Time
	marked  func()
	log     *slog.Logger
	calls   metric.Int64Counter
	wake    chan struct{}
	begun   time.Time // when this process began; nothing is due before a first interval has passed

	mu      sync.Mutex
	removal *telemetry.Removal
	known   map[string]int64 // live records by system, as last counted
	counted time.Time
}

// New returns a reconciler. Systems that cannot be compared are left out.
func New(d Deps) (*Reconciler, error) {
	r := &Reconciler{
		cfg: d.Config.withDefaults(), store: d.Store, folder: d.Folder, systems: map[string]source.Comparer{}, take: d.Take, now: d.Now,
		marked: d.Marked, log: d.Telemetry.Log, wake: make(chan struct{}, 1), begun: d.Now(),
	}
	for _, s := range d.Systems {
		if c, ok := s.(source.Comparer); ok {
			r.systems[s.Name()] = c
			r.names = append(r.names, s.Name())
		}
	}
	var err error
	if r.calls, err = d.Telemetry.Meter.Meter("reconcile").Int64Counter("selfsame.reconciliation.calls", metric.WithUnit("{call}"),
		metric.WithDescription("Calls that comparisons made.")); err != nil {
		return nil, fmt.Errorf("reconcile: %w", err)
	}
	if r.removal, err = telemetry.NewRemoval(d.Telemetry.Meter.Meter("reconcile"), "comparisons", trimEvery); err != nil {
		return nil, fmt.Errorf("reconcile: %w", err)
	}
	return r, r.observe(d.Telemetry.Meter.Meter("reconcile"))
}

// Systems returns the names of the systems that can be compared.
func (r *Reconciler) Systems() []string { return r.names }

// observe publishes what was found. It is read from the database when it is asked for, so every replica shows the same.
func (r *Reconciler) observe(meter metric.Meter) error {
	differences, err1 := meter.Int64ObservableGauge("selfsame.reconciliation.differences", metric.WithUnit("{record}"),
		metric.WithDescription("Records that do not agree, as last found, by kind and state."))
	oldest, err2 := meter.Float64ObservableGauge("selfsame.reconciliation.oldest.age", metric.WithUnit("s"),
		metric.WithDescription("Age of the oldest difference that is open."))
	coverage, err3 := meter.Float64ObservableGauge("selfsame.reconciliation.coverage", metric.WithUnit("1"),
		metric.WithDescription("Share of the known records that the last successful comparison covered."))
	age, err4 := meter.Float64ObservableGauge("selfsame.reconciliation.last_success.age", metric.WithUnit("s"),
		metric.WithDescription("Time since the last successful comparison; absent before the first."))
	for _, err := range []error{err1, err2, err3, err4} {
		if err != nil {
			return fmt.Errorf("reconcile: %w", err)
		}
	}
	_, err := meter.RegisterCallback(func(ctx context.Context, o metric.Observer) error {
		counts, err := r.store.Read().CountFindings(ctx)
		if err != nil {
			return err
		}
		known, err := r.count(ctx)
		if err != nil {
			return err
		}
		now := r.now()
		for _, name := range r.names {
			system := attribute.String("selfsame.system", name)
			var open time.Time
			for _, kind := range []string{MissingHere, MissingThere, Different, Duplicate, Undelivered} {
				byState := map[string]int64{store.FindingOpen: 0}
				for _, c := range counts {
					if c.System != name || c.Kind != kind {
						continue
					}
					byState[c.State] += c.N
					if c.State == store.FindingOpen && (open.IsZero() || c.Oldest.Before(open)) {
						open = c.Oldest
					}
				}
				for state, n := range byState {
					o.ObserveInt64(differences, n, metric.WithAttributes(system, attribute.String("selfsame.kind", kind), attribute.String("selfsame.state", state)))
				}
			}
			since := 0.0
			if !open.IsZero() {
				since = now.Sub(open).Seconds()
			}
			o.ObserveFloat64(oldest, since, metric.WithAttributes(system))
			last, err := r.store.Read().LastRun(ctx, name, store.DepthDigests)
			if err != nil {
				return err
			}
			o.ObserveFloat64(coverage, covered(last, known[name]), metric.WithAttributes(system))
			if last.ID != "" {
				o.ObserveFloat64(age, now.Sub(last.Ended).Seconds(), metric.WithAttributes(system))
			}
		}
		return nil
	}, differences, oldest, coverage, age)
	if err != nil {
		return fmt.Errorf("reconcile: %w", err)
	}
	return nil
}

// countEvery is how old the count of the known records may be: counting reads every one of them.
const countEvery = 10 * time.Minute

// count returns how many live records of each system are known.
func (r *Reconciler) count(ctx context.Context) (map[string]int64, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.now()
	if r.known != nil && now.Sub(r.counted) < countEvery {
		return r.known, nil
	}
	known, err := r.store.Read().CountKnown(ctx)
	if err != nil {
		return nil, err
	}
	r.known, r.counted = known, now
	return known, nil
}

func covered(last store.Run, known int64) float64 {
	switch {
	case last.ID == "":
		return 0
	case known == 0 || last.Compared >= known:
		return 1
	default:
		return float64(last.Compared) / float64(known)
	}
}
