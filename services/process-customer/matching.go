package processcustomer

import (
	"context"
	"errors"
	"fmt"
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
	meter := tel.Meter.Meter("github.com/selfsame-io/selfsame/services/process-customer")
	asked, err1 := meter.Int64ObservableGauge("selfsame.match.asked",
		metric.WithUnit("{pair}"), metric.WithDescription("Pairs of customers that a person is asked about."))
	waiting, err2 := meter.Int64ObservableGauge("selfsame.match.waiting",
		metric.WithUnit("{customer}"), metric.WithDescription("Customers that have changed and wait to be matched."))
	joined, err3 := meter.Int64ObservableGauge("selfsame.match.joined",
		metric.WithUnit("{customer}"), metric.WithDescription("Customers that are merged into others by scores or confirmations."))
	said, err4 := meter.Int64ObservableGauge("selfsame.match.verdicts",
		metric.WithUnit("{pair}"), metric.WithDescription("Pairs that people have decided, by what they said (selfsame.outcome: same, different)."))
	late, err5 := meter.Int64ObservableGauge("selfsame.match.late",
		metric.WithUnit("{customer}"), metric.WithDescription("Known customers that matching has joined or parted on its own within the hour; match.brake bounds them."))
	if err := errors.Join(err1, err2, err3, err4, err5); err != nil {
		return fmt.Errorf("metrics of matching: %w", err)
	}
	var mu sync.Mutex
	var counted time.Time
	var counts store.MatchCounts
	_, err := meter.RegisterCallback(func(ctx context.Context, o metric.Observer) error {
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
	}, asked, waiting, joined, said, late)
	if err != nil {
		return fmt.Errorf("metrics of matching: %w", err)
	}
	return nil
}

// driftEvery is how long the drift of the model is shown before it is measured again.
const driftEvery = time.Hour

// observeDrift shows how far the latest customers are from what the model has learned.
func observeDrift(tel *telemetry.Telemetry, records *store.Store, d *identify.Decider) error {
	meter := tel.Meter.Meter("github.com/selfsame-io/selfsame/services/process-customer")
	drift, err := meter.Float64ObservableGauge("selfsame.match.drift", metric.WithUnit("1"),
		metric.WithDescription("Population stability index of a comparison against the model, among pairs of one customer and of others (selfsame.pairs: same, others); above 0.25 it describes another population."))
	if err != nil {
		return fmt.Errorf("metrics of matching: %w", err)
	}
	var mu sync.Mutex
	var measured time.Time
	var last identify.Drift
	_, err = meter.RegisterCallback(func(ctx context.Context, o metric.Observer) error {
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
	}, drift)
	if err != nil {
		return fmt.Errorf("metrics of matching: %w", err)
	}
	return nil
}
