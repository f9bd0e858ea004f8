package processcustomer

import (
	"context"
	"log/slog"
	"slices"
	"time"

	"github.com/selfsame-io/selfsame/pkg/telemetry"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store"
)

const (
	forgetEvery = time.Minute
	forgetBatch = 1000
	// anchorEvery is how often the end of the audit trail is written to the log, where whoever edits the database cannot
	// reach it.
	anchorEvery = time.Hour
)

// sweep removes up to forgetBatch rows of one kind that are older than keep; zero keeps them for ever.
type sweep struct {
	what string
	keep time.Duration
	once func(ctx context.Context, tx *store.Tx, now time.Time) (int, error)

	removal *telemetry.Removal
}

// sweeps are the tables that grow with time; all others grow with the number of records.
func sweeps(cfg Store) []sweep {
	return []sweep{
		{what: "changes", keep: cfg.Retention, once: func(ctx context.Context, tx *store.Tx, now time.Time) (int, error) {
			return tx.Purge(ctx, now.Add(-cfg.Retention), forgetBatch)
		}},
		{what: "settled dead letters", keep: cfg.LetterRetention, once: func(ctx context.Context, tx *store.Tx, now time.Time) (int, error) {
			return tx.TrimLetters(ctx, now.Add(-cfg.LetterRetention), forgetBatch)
		}},
		{what: "selections", keep: forgetEvery, once: func(ctx context.Context, tx *store.Tx, now time.Time) (int, error) {
			return tx.TrimSelections(ctx, now, forgetBatch)
		}},
		{what: "audit entries", keep: cfg.AuditRetention, once: func(ctx context.Context, tx *store.Tx, now time.Time) (int, error) {
			return tx.TrimEvents(ctx, now.Add(-cfg.AuditRetention), now, forgetBatch)
		}},
	}
}

// forget removes what is older than its retention. A failure is only noted: the next round does the work.
func forget(ctx context.Context, records *store.Store, kinds []sweep, tel *telemetry.Telemetry) error {
	kinds = slices.DeleteFunc(kinds, func(s sweep) bool { return s.keep <= 0 })
	for i, s := range kinds {
		var err error
		if kinds[i].removal, err = telemetry.NewRemoval(tel.Meter.Meter(scope), s.what, forgetEvery); err != nil {
			return err
		}
	}
	tick := time.NewTicker(forgetEvery)
	defer tick.Stop()
	var anchored time.Time
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		now := time.Now()
		for _, s := range kinds {
			s.run(ctx, records, now, tel.Log)
		}
		if now.Sub(anchored) < anchorEvery {
			continue
		}
		if head, err := records.Read().Head(ctx); err == nil {
			anchored = now
			tel.Log.InfoContext(ctx, "end of the audit trail", slog.String("mark", head.String()))
		}
	}
}

func (s sweep) run(ctx context.Context, records *store.Store, now time.Time, log *slog.Logger) {
	for n := forgetBatch; n == forgetBatch && ctx.Err() == nil; {
		err := records.Tx(ctx, func(ctx context.Context, tx *store.Tx) error {
			var err error
			n, err = s.once(ctx, tx, now)
			return err
		})
		if s.removal.Done(ctx, err) {
			log.WarnContext(ctx, "old rows cannot be removed", slog.String("what", s.what), slog.String(telemetry.KeyError, err.Error()))
		}
		if err != nil {
			return
		}
	}
}
