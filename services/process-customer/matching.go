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
	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
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
	drift    *identify.DriftWatch
	loops    []serve.Loop
}

// openMatching reads the model and makes the index one of it.
func openMatching(ctx context.Context, cfg identify.Config, records *store.Store, tel *telemetry.Telemetry) (*matching, error) {
	d, err := identify.New(identify.Deps{Config: cfg, Now: time.Now, Log: tel.Log})
	if err != nil {
		return nil, err
	}
	if d == nil {
		return &matching{}, identify.Close(ctx, records)
	}
	if err := d.Open(ctx, records); err != nil {
		return nil, err
	}
	if err := observeMatching(tel, records, d.Kinds()); err != nil {
		return nil, err
	}
	drift := identify.NewDriftWatch(d, records.Read, tel.Log)
	if err := observeDrift(tel, drift, d.Kinds()); err != nil {
		return nil, err
	}
	return &matching{decider: d, identity: d, drift: drift}, nil
}

// serve has people decide, and what could wait matched, once there is an engine.
func (m *matching) serve(records *store.Store, eng *engine.Engine) {
	if m.decider == nil {
		return
	}
	m.desk = identify.NewDesk(m.decider, records, eng.Folder, eng.Wake)
	m.loops = []serve.Loop{
		{Name: "match", Run: identify.NewWorker(m.decider, records, eng.Folder, eng.Wake).Run},
		{Name: "drift", Run: func(ctx context.Context) error { return m.drift.Run(ctx, identify.DriftEvery) }},
	}
}

// matchCountEvery is how long counts of matching are shown before they are taken again: they read whole tables.
const matchCountEvery = 10 * time.Minute

// observeMatching shows how matching stands as metrics.
func observeMatching(tel *telemetry.Telemetry, records *store.Store, kinds []golden.Object) error {
	g := newGauges(tel, "matching")
	asked := g.count("selfsame.match.asked", "{pair}", "Pairs of customers or contacts (selfsame.object) that a person is asked about.")
	waiting := g.count("selfsame.match.waiting", "{record}", "Customers or contacts that have changed and wait to be matched.")
	joined := g.count("selfsame.match.joined", "{record}", "Customers or contacts that are merged into others by scores or confirmations.")
	said := g.count("selfsame.match.verdicts", "{pair}", "Pairs that people have decided, by what they said (selfsame.outcome: same, different).")
	late := g.count("selfsame.match.late", "{record}",
		"Known customers or contacts that matching has joined or parted on its own within the hour; match.brake bounds them, each kind for itself.")
	var mu sync.Mutex
	var counted time.Time
	counts := map[golden.Object]store.MatchCounts{}
	return g.read(func(ctx context.Context, o metric.Observer) error {
		mu.Lock()
		defer mu.Unlock()
		now := time.Now()
		r := records.Read()
		if now.Sub(counted) >= matchCountEvery {
			for _, kind := range kinds {
				c, err := r.CountMatching(ctx, kind)
				if err != nil {
					return err
				}
				counts[kind] = c
			}
			counted = now
		}
		for _, kind := range kinds {
			n, err := r.LateRegroups(ctx, kind, now.Add(-time.Hour))
			if err != nil {
				return err
			}
			of := attribute.String("selfsame.object", string(kind))
			o.ObserveInt64(asked, counts[kind].Asked, metric.WithAttributes(of))
			o.ObserveInt64(waiting, counts[kind].Waiting, metric.WithAttributes(of))
			o.ObserveInt64(joined, counts[kind].Joined, metric.WithAttributes(of))
			o.ObserveInt64(said, counts[kind].Same, metric.WithAttributes(of, attribute.String("selfsame.outcome", "same")))
			o.ObserveInt64(said, counts[kind].Different, metric.WithAttributes(of, attribute.String("selfsame.outcome", "different")))
			o.ObserveInt64(late, n, metric.WithAttributes(of))
		}
		return nil
	})
}

// observeDrift shows how far the latest customers are from what the model has learned.
func observeDrift(tel *telemetry.Telemetry, watch *identify.DriftWatch, kinds []golden.Object) error {
	g := newGauges(tel, "matching")
	drift := g.level("selfsame.match.drift", "1",
		"Population stability index of a comparison against the model, among pairs that are one and among others (selfsame.pairs: same, others), of customers and of contacts (selfsame.object); above 0.25 it describes another population.")
	return g.read(func(_ context.Context, o metric.Observer) error {
		for _, kind := range kinds {
			of := attribute.String("selfsame.object", string(kind))
			for _, c := range watch.Last(kind).Comparisons {
				name := attribute.String("selfsame.comparison", c.Comparison)
				o.ObserveFloat64(drift, c.Same, metric.WithAttributes(of, name, attribute.String("selfsame.pairs", "same")))
				o.ObserveFloat64(drift, c.Others, metric.WithAttributes(of, name, attribute.String("selfsame.pairs", "others")))
			}
		}
		return nil
	})
}
