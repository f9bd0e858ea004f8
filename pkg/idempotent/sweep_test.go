package idempotent_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/selfsame-io/selfsame/pkg/db"
	"github.com/selfsame-io/selfsame/pkg/idempotent"
	"github.com/selfsame-io/selfsame/pkg/telemetry"
	"github.com/selfsame-io/selfsame/pkg/telemetry/telemetrytest"
)

// slowPurge has so many old records, and takes its time.
type slowPurge struct {
	idempotent.Store
	can   idempotent.Capabilities
	left  int
	err   error
	calls []time.Time
	most  int // records that were to be removed at once
}

func (s *slowPurge) Capabilities() idempotent.Capabilities { return s.can }

func (s *slowPurge) Purge(_ context.Context, limit int) (int, error) {
	s.calls, s.most = append(s.calls, time.Now()), max(s.most, limit)
	<-time.After(100 * time.Millisecond)
	n := min(limit, s.left)
	s.left -= n
	return n, s.err
}

func TestSweep(t *testing.T) {
	t.Parallel()
	t.Run("rests between batches, then waits for the next round", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			s := &slowPurge{left: 250}
			ctx, cancel := context.WithCancel(t.Context())
			begun := time.Now()
			done := make(chan error)
			go func() { done <- idempotent.Sweep(ctx, s, time.Minute, nil, nil) }()
			<-time.After(150 * time.Second)
			cancel()
			require.NoError(t, <-done)
			var at []time.Duration
			for _, c := range s.calls {
				at = append(at, c.Sub(begun))
			}
			first := time.Minute
			require.Equal(t, []time.Duration{first, first + 2100*time.Millisecond, first + 4200*time.Millisecond, first + 4300*time.Millisecond + time.Minute}, at)
		})
	})
	t.Run("rests less when it is an hour late, until there is no more", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			s := &slowPurge{left: 200_000}
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Hour)
			defer cancel()
			require.NoError(t, idempotent.Sweep(ctx, s, time.Minute, nil, nil))
			require.Zero(t, s.left)
			pauses := map[time.Duration]int{}
			for i := range s.calls[1:] {
				pauses[s.calls[i+1].Sub(s.calls[i])]++
			}
			gentle, brisk := 2100*time.Millisecond, 500*time.Millisecond
			require.Len(t, pauses, 3, "and a minute when there is nothing")
			require.Equal(t, int(time.Hour/gentle)+1, pauses[gentle])
			require.Equal(t, 2000-pauses[gentle], pauses[brisk])
		})
	})
	t.Run("takes little at a time where one writer keeps the others waiting", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			s := &slowPurge{left: 50, can: idempotent.Capabilities{Transactional: true}}
			ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
			defer cancel()
			require.NoError(t, idempotent.Sweep(ctx, s, time.Minute, nil, nil))
			require.Len(t, s.calls, 3)
			require.Equal(t, 10100*time.Millisecond, s.calls[1].Sub(s.calls[0]), "and rests for longer")
			require.Zero(t, s.left)
		})
	})
	t.Run("goes on after a failure", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			s := &slowPurge{err: errors.New("down")}
			var logs telemetrytest.Log
			tel, err := telemetry.Start(t.Context(), "test", telemetry.Config{}, telemetry.WithLogWriter(&logs))
			require.NoError(t, err)
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
			defer cancel()
			require.NoError(t, idempotent.Sweep(ctx, s, time.Minute, tel.Log, tel.Meter))
			require.Len(t, s.calls, 2)
			require.Contains(t, logs.String(), "cannot be removed")
			require.Equal(t, "2", telemetrytest.Sample(tel.Metrics, `selfsame_retention_failures_total{selfsame_rows="idempotency keys"}`))
			require.Equal(t, "180", telemetrytest.Sample(tel.Metrics, `selfsame_retention_last_success_age_seconds{selfsame_rows="idempotency keys"}`))
			require.NoError(t, tel.Shutdown(context.Background()))
		})
	})
}

// fill puts n answers into the store whose retention is over.
var fill = map[db.Engine]string{
	db.PostgreSQL: `INSERT INTO idempotency (k, fp, state, fence, owner, recoverable, lease_until, expires_at, answer_ok, answer, resource, trace, method)
 SELECT decode(md5(i::text) || md5('x' || i::text), 'hex'), decode(md5(i::text), 'hex'), 'd', 1, decode(md5(i::text), 'hex'), TRUE, 1, 1, TRUE,
 decode(repeat(md5(i::text), 12), 'hex'), '', '', '/m' FROM generate_series(1, $1) i`,
	db.SQLite: `INSERT INTO idempotency (k, fp, state, fence, owner, recoverable, lease_until, expires_at, answer_ok, answer, resource, trace, method)
 WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < $1)
 SELECT randomblob(32), randomblob(33), 'd', 1, randomblob(16), TRUE, 1, 1, TRUE, randomblob(200), '', '', '/m' FROM n`,
}

// size of what is used, in bytes.
var size = map[db.Engine]string{
	db.PostgreSQL: `SELECT pg_total_relation_size('idempotency')`,
	db.SQLite:     `SELECT (c.page_count - f.freelist_count) * s.page_size FROM pragma_page_count c, pragma_freelist_count f, pragma_page_size s`,
}

// BenchmarkPurge measures live calls without and beside the purge of a million old answers, and how the store shrinks.
func BenchmarkPurge(b *testing.B) {
	n := 1_000_000
	if testing.Short() {
		n = 50_000
	}
	for _, engine := range []string{"postgres", "sqlite"} {
		b.Run(fmt.Sprintf("%s/%d", engine, n), func(b *testing.B) {
			w := newBench(b, engine)
			w.store.Tombstone = time.Microsecond
			bytes := func() (v float64) {
				if engine == "postgres" {
					// What autovacuum does sooner or later.
					require.NoError(b, w.d.Single(b.Context(), func(ctx context.Context, e db.Execer) error {
						_, err := e.ExecContext(ctx, "VACUUM idempotency")
						return err
					}))
				}
				require.NoError(b, w.d.Read().QueryRowContext(b.Context(), size[w.d.Engine()]).Scan(&v))
				return v
			}
			empty := bytes()
			require.NoError(b, w.d.Single(b.Context(), func(ctx context.Context, e db.Execer) error {
				_, err := e.ExecContext(ctx, fill[w.d.Engine()], n)
				return err
			}))
			full := bytes()
			quiet := w.latencies(b, func(stop func()) { time.AfterFunc(3*time.Second, stop) })
			begun := time.Now()
			busy := w.latencies(b, func(stop func()) {
				go func() {
					defer stop()
					for left := true; left; {
						round := time.Now()
						n, err := w.store.Purge(b.Context(), 1000)
						if err != nil {
							b.Error(err)
							return
						}
						left = n > 0
						<-time.After(4 * time.Since(round)) // as Sweep rests when it is late
					}
				}()
			})
			took := time.Since(begun)
			b.ReportMetric(busy/quiet, "x-p99")
			b.ReportMetric(busy*1000, "ms-p99")
			b.ReportMetric(float64(n)/took.Seconds(), "purged/s")
			b.ReportMetric((bytes()-empty)/(full-empty), "size-left")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// latencies lets 8 callers call until stop, and returns the 99th percentile in seconds.
func (w *bench) latencies(b *testing.B, until func(stop func())) float64 {
	b.Helper()
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	var (
		mu  sync.Mutex
		all []float64
		wg  sync.WaitGroup
	)
	for range 8 {
		wg.Go(func() {
			var mine []float64
			for ctx.Err() == nil {
				begun := time.Now()
				callCtx := metadata.NewIncomingContext(grpc.NewContextWithServerTransportStream(b.Context(), wire{}), metadata.Pairs(idempotent.Metadata, w.key()))
				if _, err := w.ic(callCtx, wrapperspb.String("request"), &grpc.UnaryServerInfo{FullMethod: method("Manual")}, answerAtOnce); err != nil {
					b.Error(err)
					return
				}
				mine = append(mine, time.Since(begun).Seconds())
				<-time.After(5 * time.Millisecond)
			}
			mu.Lock()
			defer mu.Unlock()
			all = append(all, mine...)
		})
	}
	until(cancel)
	wg.Wait()
	slices.Sort(all)
	return all[len(all)*99/100]
}
