package processcustomer

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/selfsame-io/selfsame/pkg/telemetry"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store"
)

// observe shows what waits as metrics. They are read from the database when they are asked for, so every replica shows
// the same numbers: take the maximum, not the sum. A system without a backlog shows zero: an alert about a series that is
// absent would never fire.
func observe(tel *telemetry.Telemetry, records *store.Store, systems ...string) error {
	g := newGauges(tel, "the backlog")
	pending := g.count("selfsame.sync.pending", "{record}", "Records that wait to be written, by how urgent that is.")
	age := g.level("selfsame.sync.oldest_pending.age", "s", "Age of the oldest record that waits.")
	dead := g.count("selfsame.dead_letter.count", "{record}", "Open dead letters.")
	deadAge := g.level("selfsame.dead_letter.oldest.age", "s", "Age of the oldest open dead letter.")
	position := g.level("selfsame.feed.position.age", "s",
		"How far the stored position of a feed lies behind; a system forgets changes after some time.")
	held := g.count("selfsame.deletions.held", "{record}",
		"Deletions that are not carried out in a system before a person confirms them; deliver.delete_brake.")
	return g.read(func(ctx context.Context, o metric.Observer) error {
		backlogs, err := records.Read().Backlogs(ctx)
		if err != nil {
			return err
		}
		bySystem := map[string]store.Backlog{}
		for _, b := range backlogs {
			bySystem[b.System] = b
		}
		feeds, err := records.Read().Feeds(ctx)
		if err != nil {
			return err
		}
		for _, f := range store.InUse(feeds, systems, time.Now()) {
			if f.Token != "" { // without a position nothing can be lost: everything is read
				at := f.Position
				if at.IsZero() {
					at = f.LastMessage // stored by a version that did not note it
				}
				o.ObserveFloat64(position, max(0, since(at)), metric.WithAttributes(attribute.String("selfsame.system", f.System)))
			}
		}
		counts, oldest, err := records.Read().CountDead(ctx)
		if err != nil {
			return err
		}
		for _, name := range systems {
			system := attribute.String("selfsame.system", name)
			b := bySystem[name]
			for _, level := range store.Levels() {
				of := metric.WithAttributes(system, attribute.String("selfsame.priority", level.Priority().String()))
				o.ObserveInt64(pending, b.Levels[level].Pending, of)
				o.ObserveFloat64(age, since(b.Levels[level].Oldest), of)
			}
			o.ObserveInt64(held, b.Held, metric.WithAttributes(system))
			for _, direction := range []string{store.DirectionIntake, store.DirectionDeliver} {
				o.ObserveInt64(dead, counts[direction][name], metric.WithAttributes(system, attribute.String("selfsame.direction", direction)))
			}
		}
		o.ObserveFloat64(deadAge, since(oldest))
		return nil
	})
}

// since returns the seconds since t; 0 for the zero time.
func since(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return time.Since(t).Seconds()
}
