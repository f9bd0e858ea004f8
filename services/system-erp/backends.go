package systemerp

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/selfsame-io/selfsame/pkg/db"
	"github.com/selfsame-io/selfsame/pkg/serve"
	"github.com/selfsame-io/selfsame/pkg/telemetry"
	"github.com/selfsame-io/selfsame/services/system-erp/adapter"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/backend"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/remote"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/sap"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/store/sqlstore"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/tryton"
)

// sapKind is the name of the back end for SAP S/4HANA in the configuration.
const sapKind = "sap"

// Backend says which ERP is behind the contract.
type Backend struct {
	// Kind is embedded, tryton or sap.
	Kind string `conf:"kind" help:"embedded, tryton or sap"`
	// System, if set, is the ERP: an adapter of the program that embeds this service. Kind and the sections of vendors are not
	// used then.
	System adapter.System `conf:"-"`
	// Poll, Overlap and Compare say how changes that others make in a foreign ERP are found; zero values mean 15 s, 2 min and
	// 24 h.
	Poll    time.Duration `conf:"poll" help:"how often changes of a foreign ERP are looked for"`
	Overlap time.Duration `conf:"overlap" help:"how far back each look begins before the last one"`
	Compare time.Duration `conf:"compare" help:"how often all records of a foreign ERP are compared"`
	// Lease and Settle guard writes of a foreign ERP; zero values mean 2 min and 10 min.
	Lease  time.Duration `conf:"lease" help:"how long a crashed writer blocks a record of a foreign ERP, 10s to 10m"`
	Settle time.Duration `conf:"settle" help:"how long a write without an answer may still arrive at a foreign ERP; nothing is sent again before"`
	// Retention is how long this service remembers names of writes of customers and contacts that were never answered, and
	// each document by itself; zero means 90 d. Names of orders stay.
	Retention time.Duration `conf:"retention" help:"how long writes of customers and contacts without an answer are remembered, and documents one by one, 48h or more; orders for ever"`
	// ProductTTL is how long product master data of a foreign ERP is used without asking again, 1 h to 24 h; zero means 4 h.
	ProductTTL time.Duration `conf:"product_ttl" help:"how long products of a foreign ERP are used without asking again, 1h to 24h"`
	// Notify lets a foreign ERP say that something has changed.
	Notify Notify `conf:"notify"`
	// Tryton and SAP say where these are and who we are there.
	Tryton tryton.Config `conf:"tryton"`
	SAP    sap.Config    `conf:"sap"`
}

// defaultBackend is the embedded one, with the defaults of the others filled in.
func defaultBackend() Backend {
	return Backend{
		Kind: sqlstore.Kind, Poll: 15 * time.Second, Overlap: 2 * time.Minute, Compare: 24 * time.Hour, Lease: 2 * time.Minute,
		Settle: 10 * time.Minute, Retention: 90 * 24 * time.Hour, ProductTTL: 4 * time.Hour, Tryton: tryton.DefaultConfig(), SAP: sap.DefaultConfig(),
	}
}

// Validate returns every problem of the configuration; sections of back ends that are not used are not looked at.
func (b Backend) Validate() error {
	var errs []error
	between := func(key string, d, low, high time.Duration) {
		if d != 0 && (d < low || d > high) {
			errs = append(errs, fmt.Errorf("%s: want %s to %s", key, low, high))
		}
	}
	between("poll", b.Poll, time.Second, time.Hour)
	between("overlap", b.Overlap, time.Second, 24*time.Hour)
	between("compare", b.Compare, time.Minute, 31*24*time.Hour)
	between("lease", b.Lease, 10*time.Second, 10*time.Minute)
	between("settle", b.Settle, 10*time.Second, 24*time.Hour)
	between("retention", b.Retention, 48*time.Hour, 100*365*24*time.Hour) // longer than settle may be
	between("product_ttl", b.ProductTTL, time.Hour, 24*time.Hour)
	if err := b.Notify.validate(b.System == nil && (b.Kind == "" || b.Kind == sqlstore.Kind)); err != nil {
		errs = append(errs, fmt.Errorf("notify.%w", err))
	}
	section := func(name string, err error) {
		if err != nil {
			errs = append(errs, fmt.Errorf("%s.%w", name, err))
		}
	}
	switch {
	case b.System != nil, b.Kind == "", b.Kind == sqlstore.Kind:
	case b.Kind == tryton.Kind:
		section(tryton.Kind, b.Tryton.Validate())
	case b.Kind == sapKind:
		section(sapKind, b.SAP.Validate())
	default:
		errs = append(errs, errors.New("kind: want embedded, tryton or sap"))
	}
	return errors.Join(errs...)
}

// opened is a back end and what the service does for it.
type opened struct {
	backend.Backend
	secret func(ctx context.Context) ([]byte, error)
	loops  []serve.Loop
	// poke has changes of a foreign ERP looked for at once; nil where they are seen as they commit.
	poke func()
	// inside says that what a method changes is changed in a transaction of our own database, and nowhere else.
	inside bool
}

// openBackend opens the back end the configuration names. A new kind gets its case here, its section in Backend, and nothing
// else anywhere: see docs/write-an-erp-adapter.md. Committed and gone are as in sqlstore.Options.
func openBackend(ctx context.Context, cfg Backend, d *db.DB, tel *telemetry.Telemetry, committed func(),
	gone func(ctx context.Context, tx *sql.Tx, ids []string) error,
) (opened, error) {
	sys := cfg.System
	var err error
	switch {
	case sys != nil:
	case cfg.Kind == "", cfg.Kind == sqlstore.Kind:
		records, err := sqlstore.Open(ctx, d, sqlstore.Options{Committed: committed, Gone: gone})
		if err != nil {
			return opened{}, err
		}
		return opened{Backend: records, secret: records.Secret, inside: true}, nil
	case cfg.Kind == tryton.Kind:
		sys, err = tryton.New(cfg.Tryton, telemetry.HTTPTransport(tel, nil))
	case cfg.Kind == sapKind:
		sys, err = sap.New(cfg.SAP, sap.Deps{Transport: telemetry.HTTPTransport(tel, sap.Transport(cfg.SAP)), Meter: tel.Meter.Meter(scope), Log: tel.Log})
	default:
		err = fmt.Errorf("no back end is called %q", cfg.Kind)
	}
	if err != nil {
		return opened{}, err
	}
	records, err := remote.Open(ctx, d, sys, remote.Options{
		Lease: cfg.Lease, Settle: cfg.Settle, Poll: cfg.Poll, Overlap: cfg.Overlap, Compare: cfg.Compare, ProductTTL: cfg.ProductTTL,
		Retention: cfg.Retention,
		Committed: committed, Gone: gone, Meter: tel.Meter.Meter(scope), Log: tel.Log,
	})
	if err != nil {
		return opened{}, err
	}
	// Neither the ERP nor its first complete reading is a condition of readiness: while it is away, what is mirrored can be read,
	// and until everything has been read only lists are refused (NOT_READY).
	return opened{
		Backend: records, secret: records.Secret, poke: records.Poke,
		loops: []serve.Loop{{Name: "mirror the ERP", Run: records.Run}, {Name: "forget old writes", Run: records.Sweep}},
	}, nil
}
