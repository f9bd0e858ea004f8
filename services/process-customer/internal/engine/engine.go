// Package engine joins the two halves of the convergence for a set of systems: one feed and one deliverer each, one
// intake and one folder for all. It is the only place where the halves know each other.
package engine

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/selfsame-io/selfsame/pkg/telemetry"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/deliver"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/feed"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/fold"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/intake"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/source"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/survive"
)

// Store is what the engine needs of the database.
type Store interface {
	intake.Store
	Single() bool
}

// Deps are what an Engine needs. All are required; the configurations have usable zero values.
type Deps struct {
	Store   Store
	Systems []source.System
	Rules   *survive.Rules
	Feed    feed.Config
	Deliver deliver.Config
	// Jitter spreads retries, 0 to 1.
	Jitter float64
	// Owner names this process; no two that run at once share a name.
	Owner     string
	Now       func() time.Time
	Rand      io.Reader
	Telemetry *telemetry.Telemetry
	// Identity decides who is one customer beyond exact keys; optional.
	Identity fold.Identity
	// Ahead is that of [intake.Deps].
	Ahead int
}

// Engine is the convergence of some systems. Its parts are run, or stepped, by the caller.
type Engine struct {
	Systems    []source.System
	Folder     *fold.Folder
	Intake     *intake.Intake
	Feeds      []*feed.Feed
	Deliverers []*deliver.Deliverer

	store Store
}

// New builds an engine; nothing runs yet.
func New(d Deps) (*Engine, error) {
	e := &Engine{Systems: d.Systems, store: d.Store}
	e.Folder = fold.New(fold.Config{Rules: d.Rules, Systems: d.Systems, Now: d.Now, Rand: d.Rand, Identity: d.Identity})
	var err error
	e.Intake, err = intake.New(intake.Deps{
		Store: d.Store, Folder: e.Folder, Systems: d.Systems, Now: d.Now, Telemetry: d.Telemetry, Marked: e.Wake, Ahead: d.Ahead,
	})
	if err != nil {
		return nil, fmt.Errorf("engine: %w", err)
	}
	for _, s := range d.Systems {
		f, err := feed.New(feed.Deps{
			Config: d.Feed, Store: d.Store, Intake: e.Intake, System: s, Owner: d.Owner, Now: d.Now, Telemetry: d.Telemetry,
		})
		if err != nil {
			return nil, fmt.Errorf("engine: %w", err)
		}
		out, err := deliver.New(deliver.Deps{
			Config: d.Deliver, Store: d.Store, Folder: e.Folder, System: s, Now: d.Now, Telemetry: d.Telemetry, Reread: e.reread, Marked: e.Wake,
			Jitter: d.Jitter, Together: d.Identity != nil,
		})
		if err != nil {
			return nil, fmt.Errorf("engine: %w", err)
		}
		e.Feeds, e.Deliverers = append(e.Feeds, f), append(e.Deliverers, out)
	}
	return e, nil
}

// Recover frees what an earlier run of this process had taken, if no other process can have it.
func (e *Engine) Recover(ctx context.Context) error {
	if !e.store.Single() {
		return nil
	}
	err := e.store.Tx(ctx, func(ctx context.Context, tx *store.Tx) error { return tx.ResetLeases(ctx) })
	if err != nil {
		return fmt.Errorf("recover: %w", err)
	}
	return nil
}

// Wake has all deliverers look for work now.
func (e *Engine) Wake() {
	for _, d := range e.Deliverers {
		d.Wake()
	}
}

// Poke has the feed of a system notice a request for a scan.
func (e *Engine) Poke(system string) {
	for _, f := range e.Feeds {
		if f.System() == system {
			f.Poke()
		}
	}
}

func (e *Engine) reread(ctx context.Context, system string, changes []source.Change) error {
	_, err := e.Intake.Take(ctx, system, intake.Batch{Changes: changes})
	return err
}
