package processcustomer

import (
	"context"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/selfsame-io/selfsame/pkg/serve"
	"github.com/selfsame-io/selfsame/pkg/telemetry"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/engine"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/fold"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/identify"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/rpc"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store"
)

// matching decides who is the same customer; the zero value is what is there when it is off.
type matching struct {
	decider *identify.Decider
	// identity is nil when matching is off.
	identity fold.Identity
	desk     rpc.Matching
	loops    []serve.Loop
}

// openMatching reads the model and makes the index one of it.
func openMatching(ctx context.Context, cfg identify.Config, records *store.Store, tel *telemetry.Telemetry) (*matching, error) {
	d, err := identify.New(identify.Deps{Config: cfg, Now: time.Now, Log: tel.Log})
	if err != nil || d == nil {
		return &matching{}, err
	}
	if err := d.Open(ctx, records); err != nil {
		return nil, err
	}
	if err := observeMatching(tel, records); err != nil {
		return nil, err
	}
	if err := observeDrift(tel, records, d); err != nil {
		return nil, err
	}
	return &matching{decider: d, identity: d}, nil
}

// serve has people decide, and what could wait matched, once there is an engine.
func (m *matching) serve(records *store.Store, eng *engine.Engine) {
	if m.decider == nil {
		return
	}
	m.desk = identify.NewDesk(m.decider, records, eng.Folder, eng.Wake)
	m.loops = []serve.Loop{{Name: "match", Run: identify.NewWorker(m.decider, records, eng.Folder, eng.Wake).Run}}
}

// matchCountEvery is how long counts of matching are shown before they are taken again: they read whole tables.
const matchCountEvery = 10 * time.Minute

// observeMatching shows how matching stands as metrics.
func observeMatching(tel *telemetry.Telemetry, records *store.Store) error {
	g := newGauges(tel, "matching")
	asked := g.count("selfsame.match.asked", "{pair}", "Pairs of customers that a person is asked about.")
	waiting := g.count("selfsame.match.waiting", "{customer}", "Customers that have changed and wait to be matched.")
	joined := g.count("selfsame.match.joined", "{customer}", "Customers that are merged into others by scores or confirmations.")
	said := g.count("selfsame.match.verdicts", "{pair}", "Pairs that people have decided, by what they said (selfsame.outcome: same, different).")
	late := g.count("selfsame.match.late", "{customer}",
		"Known customers that matching has joined or parted on its own within the hour; match.brake bounds them.")
	var mu sync.Mutex
	var counted time.Time
	var counts store.MatchCounts
	return g.read(func(ctx context.Context, o metric.Observer) error {
		mu.Lock()
		defer mu.Unlock()
		now := time.Now()
		r := records.Read()
		if now.Sub(counted) >= matchCountEvery {
			c, err := r.CountMatching(ctx)
			if err != nil {
				return err
			}
			counts, counted = c, now
		}
		n, err := r.LateRegroups(ctx, now.Add(-time.Hour))
		if err != nil {
			return err
		}
		o.ObserveInt64(asked, counts.Asked)
		o.ObserveInt64(waiting, counts.Waiting)
		o.ObserveInt64(joined, counts.Joined)
		o.ObserveInt64(said, counts.Same, metric.WithAttributes(attribute.String("selfsame.outcome", "same")))
		o.ObserveInt64(said, counts.Different, metric.WithAttributes(attribute.String("selfsame.outcome", "different")))
		o.ObserveInt64(late, n)
		return nil
	})
}

// driftEvery is how long the drift of the model is shown before it is measured again.
const driftEvery = time.Hour

// observeDrift shows how far the latest customers are from what the model has learned.
func observeDrift(tel *telemetry.Telemetry, records *store.Store, d *identify.Decider) error {
	g := newGauges(tel, "matching")
	drift := g.level("selfsame.match.drift", "1",
		"Population stability index of a comparison against the model, among pairs of one customer and of others (selfsame.pairs: same, others); above 0.25 it describes another population.")
	var mu sync.Mutex
	measured := time.Now() // reading customers has no place in a start
	var last identify.Drift
	return g.read(func(ctx context.Context, o metric.Observer) error {
		mu.Lock()
		defer mu.Unlock()
		if now := time.Now(); now.Sub(measured) >= driftEvery {
			got, err := d.Drift(ctx, records.Read(), identify.DriftSample)
			if err != nil {
				return err
			}
			if last = got; got.Customers > 0 {
				measured = now
			}
		}
		for _, c := range last.Comparisons {
			name := attribute.String("selfsame.comparison", c.Comparison)
			o.ObserveFloat64(drift, c.Same, metric.WithAttributes(name, attribute.String("selfsame.pairs", "same")))
			o.ObserveFloat64(drift, c.Others, metric.WithAttributes(name, attribute.String("selfsame.pairs", "others")))
		}
		return nil
	})
}
