package processcustomer

import (
	"context"
	"database/sql"
	"time"

	"go.opentelemetry.io/otel/metric"

	"github.com/selfsame-io/selfsame/pkg/serve"
	"github.com/selfsame-io/selfsame/pkg/telemetry"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/engine"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/enrich"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/erase"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/later"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/shadow"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store"
)

// newEraser returns what forgets people: in the database, in what is kept beside it, and in the systems.
func newEraser(records *store.Store, eng *engine.Engine, kept answers, view *enrich.Enricher, tel *telemetry.Telemetry) *erase.Desk {
	return erase.New(erase.Deps{
		Store: records, Folder: eng.Folder, Systems: eng.Systems, Answers: kept.store.Erase, AnswersTx: kept.eraseTx, Now: time.Now, Telemetry: tel, Marked: eng.Wake, Forget: view.Forget,
		Also: []func(context.Context, *sql.Tx, golden.ID) error{
			func(ctx context.Context, tx *sql.Tx, id golden.ID) error { return later.Erase(ctx, tx, string(id)) },
		},
	})
}

// parityLoop publishes how what would be written in shadow mode compares with what the systems hold.
func parityLoop(records *store.Store, tel *telemetry.Telemetry) (serve.Loop, error) {
	w, err := shadow.NewWatch(records.Read, tel)
	return serve.Loop{Name: "shadow", Run: func(ctx context.Context) error { return w.Run(ctx, lookEvery) }}, err
}

// observeErasures shows how erasures get on. They have to be done within a legal time, so their age is what counts.
func observeErasures(tel *telemetry.Telemetry, records *store.Store) error {
	g := newGauges(tel, "erasures")
	open := g.count("selfsame.erasure.open", "{erasure}", "Erasures that are not done.")
	refused := g.count("selfsame.erasure.refused", "{record}", "Records that a system refuses to delete: a person has to help.")
	age := g.level("selfsame.erasure.oldest.age", "s", "Age of the oldest erasure that is not done.")
	return g.read(func(ctx context.Context, o metric.Observer) error {
		n, stuck, oldest, err := records.Read().OpenErasures(ctx)
		if err != nil {
			return err
		}
		o.ObserveInt64(open, n)
		o.ObserveInt64(refused, stuck)
		o.ObserveFloat64(age, since(oldest))
		return nil
	})
}
