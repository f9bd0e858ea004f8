// Package processcustomer is the process layer's service for customers: it owns the golden record and keeps Salesforce
// and the ERP agreeing with it.
//
// The invariant: every change a system reports is in exactly one state, and every record that differs from the golden
// record is marked until it does not. An event is only a hint; what counts is what the systems hold. The listing of
// internal/ is the design: what is pure (golden, match, survive, fold), what is asked of others (source, store), and the
// journey of a change (feed → intake → deliver).
package processcustomer

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"google.golang.org/grpc"

	"github.com/selfsame-io/selfsame/pkg/db"
	"github.com/selfsame-io/selfsame/pkg/idempotent"
	"github.com/selfsame-io/selfsame/pkg/idempotent/keys"
	"github.com/selfsame-io/selfsame/pkg/priority"
	"github.com/selfsame-io/selfsame/pkg/serve"
	"github.com/selfsame-io/selfsame/pkg/telemetry"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/deadletter"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/deliver"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/engine"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/enrich"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/later"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/ledger"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/reconcile"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/rpc"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/rulebook"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/source"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/steward"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/survive"
)

// Name is the name of the service in logs, metrics and to other services.
const Name = "process-customer"

// Names of the systems, as the rules and the API know them.
const (
	salesforce = "salesforce"
	erp        = "erp"
)

// lookEvery is how often the ledger is compared with itself.
const lookEvery = time.Minute

// Run serves until ctx ends or something fails. It migrates the database first. A system that does not answer is waited
// for: the service is ready without it.
func Run(ctx context.Context, cfg Config) (err error) {
	if err := cfg.Validate(); err != nil {
		return fmt.Errorf("configuration of %s: %w", Name, err)
	}
	rules, err := loadRules(cfg.RulesFile)
	if err != nil {
		return err
	}
	tel, err := telemetry.Start(ctx, Name, cfg.Telemetry, cfg.TelemetryOptions...)
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
	defer closing(&err, database.Close)
	records, err := store.Open(ctx, database)
	if err != nil {
		return err
	}
	kept, err := openAnswers(ctx, database, records, cfg.Store)
	if err != nil {
		return err
	}
	defer closing(&err, kept.close)
	answers := kept.store
	desk, stop, err := openKeys(ctx, database, answers, tel)
	if err != nil {
		return err
	}
	defer closing(&err, stop)
	crmConn, err := serve.Dial(cfg.Salesforce.Target, serve.ClientOptions{
		TLS: cfg.Salesforce.TLS, Telemetry: tel, Services: source.SalesforceServices(), CallerName: Name,
		Unary: []grpc.UnaryClientInterceptor{priority.UnaryClient(priority.Sync)},
	})
	if err != nil {
		return err
	}
	defer closing(&err, crmConn.Close)
	erpConn, err := serve.Dial(cfg.ERP.Target, serve.ClientOptions{
		TLS: cfg.ERP.TLS, Telemetry: tel, Services: source.ERPServices(), CallerName: Name,
	})
	if err != nil {
		return err
	}
	defer closing(&err, erpConn.Close)
	crmSystem, erpSystem := source.NewSalesforce(salesforce, crmConn), source.NewERP(erp, erpConn)

	who, err := openMatching(ctx, cfg.Match, records, tel)
	if err != nil {
		return err
	}
	eng, err := engine.New(engine.Deps{
		Store: records, Systems: []source.System{crmSystem, erpSystem}, Rules: rules, Feed: cfg.Feed, Deliver: cfg.Deliver, Jitter: 0.2,
		Owner: owner(), Now: time.Now, Rand: rand.Reader, Telemetry: tel, Identity: who.identity,
	})
	if err != nil {
		return err
	}
	if err := eng.Recover(ctx); err != nil {
		return err
	}
	who.serve(records, eng)
	inForce := openRules(cfg, records, eng, tel)
	if err := inForce.Open(ctx, rules); err != nil {
		return err
	}
	if err := errors.Join(observe(tel, records, names(eng.Systems)...), observeRules(tel, records, inForce), observeErasures(tel, records)); err != nil {
		return err
	}
	book, err := ledger.NewWatch(records.Read, tel)
	if err != nil {
		return err
	}
	rec, err := reconcile.New(reconcile.Deps{
		Config: cfg.Reconcile, Store: records, Folder: eng.Folder, Systems: eng.Systems, Take: eng.Intake.Take, Now: time.Now, Marked: eng.Wake, Telemetry: tel,
	})
	if err != nil {
		return err
	}
	queue, err := later.Open(ctx, database)
	if err != nil {
		return err
	}
	view := enrich.New(erpSystem, crmSystem, enrich.Config{Timeout: cfg.BranchTimeout, Log: tel.Log})
	eraser := newEraser(records, eng, kept, view, tel)
	parity, err := parityLoop(records, tel)
	if err != nil {
		return err
	}
	api := rpc.New(rpc.Deps{
		Store: records, Writer: eng.Intake, Orders: erpSystem, Cases: crmSystem, Later: queue, Desk: deadLetters(eng, records), Reconciler: rec,
		Rules: eng.Folder.Rules, Book: inForce, Steward: steward.New(records, eng.Folder, eng.Wake), Matching: who.desk,
		View: view, Eraser: eraser,
		Targets: targets(eng.Deliverers), Poke: eng.Poke, Answer: kept.completeTx, Now: time.Now,
	})
	register := func(r grpc.ServiceRegistrar) { api.Register(r); desk.Register(r) }
	if err := keys.Check(answers, register); err != nil {
		return err
	}
	if apart := keys.Apart(answers, register); len(apart) > 0 {
		tel.Log.InfoContext(ctx, "idempotency keys are not in the database of the customers: a crash blocks the key of these methods, too",
			slog.Any("methods", apart), slog.Duration("key_lease", cfg.Store.KeyLease))
	}
	ring, err := keys.ParseRing(cfg.Store.AnswerKeys.Reveal())
	if err != nil {
		return fmt.Errorf("store.answer_keys: %w", err)
	}
	serving = true
	return serve.Run(ctx, serve.Service{
		Name: Name, Config: cfg.Serve, Telemetry: tel, Register: register, OperatorServices: []string{keys.ServiceName(), rpc.OperationsName()},
		Unary: []grpc.UnaryServerInterceptor{idempotent.UnaryServer(answers, idempotent.Options{
			Log: tel.Log, Meter: tel.Meter, Resource: rpc.Resource, Subject: rpc.Subject, Keys: ring, Lease: cfg.Store.KeyLease,
		})},
		Loops: append(append(loops(eng, records, answers, book, cfg.Store, tel), who.loops...), serve.Loop{Name: "rules", Run: inForce.Run}, serve.Loop{Name: "reconcile", Run: rec.Run},
			serve.Loop{Name: "erase", Run: eraser.Run}, parity,
			serve.Loop{Name: "later", Run: later.NewWorker(queue, api.Place, time.Now, tel).Run}),
		Checks:   []serve.Check{{Name: "database", Ready: database.Ping}},
		Listener: cfg.Listener, OpsListener: cfg.OpsListener, Started: cfg.Started,
	})
}

func loops(eng *engine.Engine, records *store.Store, answers idempotent.Store, book *ledger.Watch, cfg Store, tel *telemetry.Telemetry) []serve.Loop {
	var out []serve.Loop
	for _, f := range eng.Feeds {
		out = append(out, serve.Loop{Name: "feed " + f.System(), Run: f.Run})
	}
	for _, d := range eng.Deliverers {
		out = append(out, serve.Loop{Name: "deliver " + d.System(), Run: d.Run})
	}
	return append(out,
		serve.Loop{Name: "forget", Run: func(ctx context.Context) error { return forget(ctx, records, sweeps(cfg), tel) }},
		serve.Loop{Name: "ledger", Run: func(ctx context.Context) error { return book.Run(ctx, lookEvery) }},
		serve.Loop{Name: "forget keys", Run: func(ctx context.Context) error {
			return idempotent.Sweep(ctx, answers, forgetEvery, tel.Log, tel.Meter)
		}},
	)
}

func deadLetters(eng *engine.Engine, records *store.Store) *deadletter.Desk {
	return deadletter.New(deadletter.Deps{Store: records, Folder: eng.Folder, Systems: eng.Systems, Take: eng.Intake.Take, Now: time.Now, Marked: eng.Wake})
}

func targets(deliverers []*deliver.Deliverer) []rpc.Target {
	out := make([]rpc.Target, len(deliverers))
	for i, d := range deliverers {
		out[i] = d
	}
	return out
}

func closing(err *error, closer func() error) {
	if cerr := closer(); *err == nil {
		*err = cerr
	}
}

func shutdown(ctx context.Context, tel *telemetry.Telemetry) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if err := tel.Shutdown(ctx); err != nil {
		tel.Log.Warn("telemetry not shut down cleanly", slog.String(telemetry.KeyError, err.Error()))
	}
}

// owner names this process among the replicas.
func owner() string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return host + "/" + rand.Text()[:8]
}

func loadRules(file string) (*survive.Rules, error) {
	if file == "" {
		return survive.Default(), nil
	}
	text, err := os.ReadFile(file) //nolint:gosec // the operator names the file
	if err != nil {
		return nil, fmt.Errorf("read rules: %w", err)
	}
	rules, err := survive.Parse(text)
	if err != nil {
		return nil, fmt.Errorf("rules %s: %w", file, err)
	}
	return rules, nil
}

// openRules returns what keeps the rules in force.
func openRules(cfg Config, records *store.Store, eng *engine.Engine, tel *telemetry.Telemetry) *rulebook.Book {
	d := rulebook.Deps{
		Store: records, Folder: eng.Folder, Brake: cfg.RulesBrake, Every: cfg.RulesReload, Now: time.Now, Log: tel.Log, Marked: eng.Wake,
	}
	if cfg.RulesFile != "" {
		d.Load = func() ([]byte, error) { return os.ReadFile(cfg.RulesFile) }
	}
	return rulebook.New(d)
}

// openKeys opens what operators see of the keys, and publishes what the store of keys holds.
func openKeys(ctx context.Context, d *db.DB, answers idempotent.Store, tel *telemetry.Telemetry) (*keys.Server, func() error, error) {
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
