// Package systemerp is the system layer's service for the ERP: customers, contacts, products, stock, orders and warranties
// behind selfsame.erp.v1, with a back end chosen by configuration: embedded in its own database, Tryton, or SAP S/4HANA.
//
// The invariant: a write and its row in the feed of changes commit together, so that whoever follows WatchChanges misses
// nothing. The package knows no golden customer and calls nobody.
package systemerp

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"google.golang.org/grpc"

	"github.com/selfsame-io/selfsame/pkg/db"
	"github.com/selfsame-io/selfsame/pkg/idempotent"
	"github.com/selfsame-io/selfsame/pkg/idempotent/keys"
	"github.com/selfsame-io/selfsame/pkg/serve"
	"github.com/selfsame-io/selfsame/pkg/telemetry"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/changes"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/rpc"
)

const (
	name      = "system-erp"
	scope     = "github.com/selfsame-io/selfsame/services/system-erp"
	purgeKeys = time.Minute // how often answers of idempotent calls that are too old are removed
)

// Run serves until ctx ends or something fails. It migrates the database first.
func Run(ctx context.Context, cfg Config) (err error) {
	if err := cfg.Validate(); err != nil {
		return fmt.Errorf("configuration of %s: %w", name, err)
	}
	tel, err := telemetry.Start(ctx, name, cfg.Telemetry, cfg.TelemetryOptions...)
	if err != nil {
		return err
	}
	defer shutdown(ctx, tel)
	serving := false
	defer func() { err = serve.Unserved(ctx, tel.Log, serving, err) }()

	database, err := db.Open(ctx, cfg.Store.DSN.Reveal(), tel)
	if err != nil {
		return err
	}
	defer func() {
		if cerr := database.Close(); err == nil {
			err = cerr
		}
	}()
	// The back end wakes the one and erases in the other; all are complete before anything is served.
	var feed *changes.Feed
	var answers *idempotent.SQLStore
	records, err := openBackend(ctx, cfg.Backend, database, tel, func() { feed.Wake() }, func(ctx context.Context, tx *sql.Tx, ids []string) error {
		return eraseAnswers(ctx, tx, answers, ids)
	})
	if err != nil {
		return err
	}
	meter := tel.Meter.Meter(scope)
	feed, err = changes.New(records, changes.Options{
		Poll: cfg.Changes.Poll, Heartbeat: cfg.Changes.Heartbeat, Retention: cfg.Changes.Retention, Meter: meter, Log: tel.Log,
	})
	if err != nil {
		return err
	}
	answers, err = openAnswers(ctx, database, records, cfg.Store)
	if err != nil {
		return err
	}
	desk, stop, err := openKeys(ctx, database, answers, tel)
	if err != nil {
		return err
	}
	defer func() {
		if serr := stop(); err == nil {
			err = serr
		}
	}()
	api, err := rpc.New(rpc.Deps{Store: records, Feed: feed, Meter: meter, Answer: answers.CompleteTx, Forget: answers.Erase})
	if err != nil {
		return err
	}
	webhooks, err := notifyServer(cfg.Backend.Notify, records.poke, meter)
	if err != nil {
		return err
	}
	register := func(r grpc.ServiceRegistrar) { api.Register(r); desk.Register(r) }
	if err := keys.Check(answers, register); err != nil {
		return err
	}
	ring, err := keys.ParseRing(cfg.Store.AnswerKeys.Reveal())
	if err != nil {
		return fmt.Errorf("store.answer_keys: %w", err)
	}
	serving = true
	return serve.Run(ctx, serve.Service{
		Name: name, Config: cfg.Serve, Telemetry: tel, Register: register, OperatorServices: []string{keys.ServiceName()},
		Unary: []grpc.UnaryServerInterceptor{
			rpc.Guard(), idempotent.UnaryServer(answers, idempotent.Options{
				Log: tel.Log, Meter: tel.Meter, Resource: rpc.Resource, Subject: rpc.Subject, Keys: ring, Lease: cfg.Store.KeyLease,
				Optimistic: records.inside,
			}),
		},
		Loops: append(records.loops,
			serve.Loop{Name: "changes", Run: feed.Run},
			serve.Loop{Name: "forget keys", Run: func(ctx context.Context) error { return idempotent.Sweep(ctx, answers, purgeKeys, tel.Log, tel.Meter) }},
		),
		HTTP:     webhooks,
		Checks:   []serve.Check{{Name: "database", Ready: database.Ping}},
		Listener: cfg.Listener, OpsListener: cfg.OpsListener, Started: cfg.Started,
	})
}

func shutdown(ctx context.Context, tel *telemetry.Telemetry) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if err := tel.Shutdown(ctx); err != nil {
		tel.Log.Warn("telemetry not shut down cleanly", telemetry.KeyError, err.Error())
	}
}

// openAnswers opens the store of answers to calls with an idempotency key.
func openAnswers(ctx context.Context, d *db.DB, records opened, cfg Store) (*idempotent.SQLStore, error) {
	secret := []byte(cfg.KeySecret.Reveal())
	if len(secret) == 0 {
		var err error
		if secret, err = records.secret(ctx); err != nil {
			return nil, err
		}
	}
	old, err := keys.ParseSecrets(cfg.OldKeySecrets.Reveal())
	if err != nil {
		return nil, fmt.Errorf("store.old_key_secrets: %w", err)
	}
	return idempotent.NewSQLStore(d, secret, nil, idempotent.OtherSecrets(old...))
}

// eraseAnswers erases what is kept of the answers about records in the transaction that buries them.
func eraseAnswers(ctx context.Context, tx *sql.Tx, answers *idempotent.SQLStore, ids []string) error {
	for _, id := range ids {
		if _, err := answers.EraseTx(ctx, tx, id); err != nil {
			return err
		}
	}
	return nil
}

// openKeys opens what operators see of the keys, and publishes what the store of keys holds.
func openKeys(ctx context.Context, d *db.DB, answers *idempotent.SQLStore, tel *telemetry.Telemetry) (*keys.Server, func() error, error) {
	log, err := keys.OpenLog(ctx, d, nil)
	if err != nil {
		return nil, nil, err
	}
	stop, err := idempotent.Observe(tel.Meter, answers)
	if err != nil {
		return nil, nil, err
	}
	desk, err := keys.New(answers, log, tel.Log, tel.Meter)
	return desk, stop, err
}
