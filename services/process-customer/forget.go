package processcustomer

import (
	"context"
	"log/slog"
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

// sweep removes up to forgetBatch rows of one kind that are older than keep.
type sweep struct {
	what string
	keep time.Duration
	once func(ctx context.Context, tx *store.Tx, now time.Time) (int, error)
}

// sweeps are the tables that grow with time; all others grow with the number of records.
func sweeps(cfg Store) []sweep {
	return []sweep{
		{"changes", cfg.Retention, func(ctx context.Context, tx *store.Tx, now time.Time) (int, error) {
			return tx.Purge(ctx, now.Add(-cfg.Retention), forgetBatch)
		}},
		{"settled dead letters", cfg.LetterRetention, func(ctx context.Context, tx *store.Tx, now time.Time) (int, error) {
			return tx.TrimLetters(ctx, now.Add(-cfg.LetterRetention), forgetBatch)
		}},
		{"selections", forgetEvery, func(ctx context.Context, tx *store.Tx, now time.Time) (int, error) {
			return tx.TrimSelections(ctx, now, forgetBatch)
		}},
		{"audit entries", cfg.AuditRetention, func(ctx context.Context, tx *store.Tx, now time.Time) (int, error) {
			return tx.TrimEvents(ctx, now.Add(-cfg.AuditRetention), now, forgetBatch)
		}},
	}
}

// forget removes what is older than its retention. A failure is only noted: the next round does the work.
func forget(ctx context.Context, records *store.Store, kinds []sweep, log *slog.Logger) error {
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
			if s.keep > 0 {
				s.run(ctx, records, now, log)
			}
		}
		if now.Sub(anchored) < anchorEvery {
			continue
		}
		if head, err := records.Read().Head(ctx); err == nil {
			anchored = now
			log.InfoContext(ctx, "end of the audit trail", slog.String("mark", head.String()))
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
		if err != nil {
			if ctx.Err() == nil {
				log.WarnContext(ctx, "old rows cannot be removed", slog.String("what", s.what), slog.String(telemetry.KeyError, err.Error()))
			}
			return
		}
	}
}
