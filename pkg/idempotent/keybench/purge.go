package keybench

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/selfsame-io/selfsame/pkg/idempotent"
)

// Purge is what live calls notice while expired keys are removed, and what becomes of their room.
type Purge struct {
	Engine  string `json:"engine"`
	Expired int    `json:"expired"`
	// Rate is how many calls with a new key are made each second, each due at its moment whatever became of the others.
	Rate    int     `json:"rate"`
	Windows int     `json:"windows"` // of each kind, in turns
	Seconds float64 `json:"seconds"` // of each window
	// Alone and Purging are the latencies of the calls in the windows without and with the purge.
	Alone   Latency `json:"alone"`
	Purging Latency `json:"purging"`
	// Ratio is Purging.P99 over Alone.P99, and Target the most it may be.
	Ratio  float64 `json:"ratio"`
	Target float64 `json:"target"`
	// Purged is how many records the windows saw change: answers become tombstones, tombstones are removed.
	Purged int `json:"purged"`
	// Rest is how long the rest took without pauses, in seconds.
	Rest float64 `json:"rest_seconds"`
	// Sizes of the table with its indexes, or the file.
	Sizes []Size `json:"sizes"`
}

// Latency of calls, in microseconds.
type Latency struct {
	Calls int     `json:"calls"`
	P50   float64 `json:"p50"`
	P99   float64 `json:"p99"`
	Max   float64 `json:"max"`
}

// Size is how much room the keys take at a moment.
type Size struct {
	When  string `json:"when"`
	Bytes int64  `json:"bytes"`
}

const (
	purgeRate    = 300
	purgeWindows = 6
	sweepEvery   = 250 * time.Millisecond // to the first batch; the others follow after their rest, which is shorter
)

func (b *Bench) purgeSQLite(ctx context.Context) (err error) {
	if !b.wanted("SQLite") {
		return nil
	}
	w, _, end, err := b.sqliteWorld(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, end()) }()
	size := func() (n int64, err error) {
		err = w.d.Read().QueryRowContext(ctx, "SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()").Scan(&n)
		return n, err
	}
	const rows = `WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < $1) SELECT randomblob(32), randomblob(33), randomblob(16), randomblob($2) FROM n`
	return b.purge(ctx, w, &Purge{Engine: "SQLite"}, rows, 20_000, size, nil)
}

func (b *Bench) purgePostgres(ctx context.Context) (err error) {
	if !b.wanted("PostgreSQL") {
		return nil
	}
	w, end, err := b.postgresWorld(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, end()) }()
	size := func() (n int64, err error) {
		err = w.raw.QueryRowContext(ctx, "SELECT pg_total_relation_size('idempotency')").Scan(&n)
		return n, err
	}
	const rows = `SELECT sha256(uuid_send(gen_random_uuid())), sha256(uuid_send(gen_random_uuid())) || '\x02', uuid_send(gen_random_uuid()),
 (SELECT string_agg(sha256(uuid_send(gen_random_uuid())), '') FROM generate_series(1, $2::int / 32) WHERE n.i > 0) FROM generate_series(1, $1::int) AS n (i)`
	vacuum := func() error {
		_, err := w.raw.ExecContext(ctx, "VACUUM idempotency")
		return err
	}
	return b.purge(ctx, w, &Purge{Engine: "PostgreSQL"}, rows, 100_000, size, vacuum)
}

// fill stores finished calls whose retention is over, as they lie in a store that has not been purged for long.
func (b *Bench) fill(ctx context.Context, w *world, rows string, chunk int) error {
	expired := time.Now().Add(-time.Hour).UnixMicro()
	for left := b.o.Expired; left > 0; left -= chunk {
		err := w.d.Tx(ctx, func(ctx context.Context, tx *sql.Tx) error {
			text := fmt.Sprintf(`INSERT INTO idempotency (k, fp, owner, answer, state, fence, recoverable, lease_until, expires_at, answer_ok, resource, trace, method, claimed_at)
 SELECT a.*, 'd', 1, TRUE, %d, %d, TRUE, '', '', '%s', %d FROM (%s) AS a`, expired, expired, infos[recoverable].FullMethod, expired, rows)
			_, err := tx.ExecContext(ctx, text, min(chunk, left), len(rawBody))
			return err
		})
		if err != nil {
			return fmt.Errorf("store expired keys: %w", err)
		}
	}
	return nil
}

func (b *Bench) purge(ctx context.Context, w *world, p *Purge, rows string, chunk int, size func() (int64, error), vacuum func() error) error {
	w.store.Tombstone = time.Microsecond // so that one purge goes the whole way: answer, tombstone, gone
	p.Expired, p.Rate, p.Windows, p.Seconds, p.Target = b.o.Expired, purgeRate, purgeWindows, b.o.Window.Seconds(), 2
	note := func(when string) error {
		n, err := size()
		p.Sizes = append(p.Sizes, Size{when, n})
		b.progress("  %s: %d MB", when, n>>20)
		return err
	}
	b.progress("%s, %s: storing %d expired keys", GroupPurge, p.Engine, p.Expired)
	if err := b.fill(ctx, w, rows, chunk); err != nil {
		return err
	}
	if err := note("with the expired keys"); err != nil {
		return err
	}
	if vacuum != nil {
		if err := vacuum(); err != nil { // as it would be after so many inserts; also for the planner
			return err
		}
		if _, err := w.raw.ExecContext(ctx, "CHECKPOINT"); err != nil { // or that of the filling falls into one of the windows
			return err
		}
	}
	b.progress("%s, %s: live calls", GroupPurge, p.Engine)
	if err := p.live(ctx, w); err != nil {
		return err
	}
	b.progress("  p99 %.0f µs alone, %.0f µs while purging: %.2f; %d purged", p.Alone.P99, p.Purging.P99, p.Ratio, p.Purged)
	begun := time.Now()
	for n := 1; n > 0; {
		var err error
		if n, err = w.store.Purge(ctx, 10_000); err != nil {
			return err
		}
	}
	p.Rest = time.Since(begun).Seconds()
	if err := note("after the purge"); err != nil {
		return err
	}
	if vacuum != nil {
		if err := errors.Join(vacuum(), note("after a vacuum")); err != nil {
			return err
		}
	}
	if err := errors.Join(b.fill(ctx, w, rows, chunk), note("filled again with as many")); err != nil {
		return err
	}
	b.results.addPurge(p)
	return nil
}

// live makes calls at a fixed rate in windows with and without a purge.
func (p *Purge) live(ctx context.Context, w *world) error {
	var alone, purging []float64
	if _, err := p.window(ctx, w, nil); err != nil { // warm up
		return err
	}
	for range p.Windows {
		took, err := p.window(ctx, w, nil)
		if err != nil {
			return err
		}
		alone = append(alone, took...)
		counted := &counting{Store: w.store}
		if took, err = p.window(ctx, w, counted); err != nil {
			return err
		}
		purging = append(purging, took...)
		p.Purged += counted.n
	}
	p.Alone, p.Purging = latency(alone), latency(purging)
	p.Ratio = p.Purging.P99 / p.Alone.P99
	return nil
}

// counting counts what is purged.
type counting struct {
	idempotent.Store
	n int
}

// Purge implements idempotent.Store.
func (c *counting) Purge(ctx context.Context, limit int) (int, error) {
	n, err := c.Store.Purge(ctx, limit)
	c.n += n
	return n, err
}

func latency(v []float64) Latency {
	slices.Sort(v)
	return Latency{Calls: len(v), P50: v[len(v)/2], P99: v[len(v)*99/100], Max: v[len(v)-1]}
}

// window makes calls, each due at its moment, and returns how long after that each was answered.
func (p *Purge) window(ctx context.Context, w *world, sweep idempotent.Store) ([]float64, error) {
	sweeping, stop := context.WithCancel(ctx)
	var sweeper, all sync.WaitGroup
	if sweep != nil {
		sweeper.Go(func() { _ = idempotent.Sweep(sweeping, sweep, sweepEvery, nil, nil) })
	}
	call := w.fresh(recoverable)
	n := int(float64(p.Rate) * p.Seconds)
	took, errs := make([]float64, n), make([]error, n)
	pause := time.Duration(float64(time.Second) / float64(p.Rate))
	begun := time.Now()
	for i := range n {
		due := begun.Add(time.Duration(i) * pause)
		if wait := time.Until(due); wait > 0 {
			t := time.NewTimer(wait)
			select {
			case <-t.C:
			case <-ctx.Done():
				t.Stop()
			}
		}
		all.Go(func() {
			errs[i] = call(ctx)
			took[i] = micros(time.Since(due))
		})
	}
	all.Wait()
	stop()
	sweeper.Wait()
	return took, errors.Join(errs...)
}

var _ idempotent.Store = (*counting)(nil)
