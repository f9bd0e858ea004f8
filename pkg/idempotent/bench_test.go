package idempotent_test

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/selfsame-io/selfsame/pkg/db"
	"github.com/selfsame-io/selfsame/pkg/db/dbtest"
	"github.com/selfsame-io/selfsame/pkg/idempotent"
)

const callers = 64

// bench is a database with a store, and a table beside it for what the store is compared with.
type bench struct {
	d     *db.DB
	store *idempotent.SQLStore
	ic    grpc.UnaryServerInterceptor
	next  atomic.Int64
	run   string
}

func newBench(b *testing.B, engine string) *bench {
	b.Helper()
	require.NoError(b, registerContract())
	dsn := dbtest.DSN(b, engine)
	if engine == "postgres" {
		dsn += fmt.Sprintf("&pool_max_conns=%d", callers)
	}
	d, err := db.Open(b.Context(), dsn, nil)
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, d.Close()) })
	require.NoError(b, d.Migrate(b.Context(), fstest.MapFS{"00001_x.sql": {Data: []byte(`-- +goose Up
CREATE TABLE raw (k BYTEA NOT NULL PRIMARY KEY, state TEXT NOT NULL, body BYTEA, expires_at BIGINT NOT NULL);
CREATE INDEX raw_expires ON raw (expires_at);
CREATE TABLE effect (id TEXT NOT NULL PRIMARY KEY, body BYTEA NOT NULL);`)}}, "bench_migrations"))
	s, err := idempotent.NewSQLStore(d, secret, nil)
	require.NoError(b, err)
	return &bench{d: d, store: s, ic: idempotent.UnaryServer(s, idempotent.Options{}), run: fmt.Sprint(time.Now().UnixNano())}
}

func (w *bench) key() string { return fmt.Sprintf("%s-%d", w.run, w.next.Add(1)) }

// rawKey is as long and as random as a digest is.
func (w *bench) rawKey() []byte {
	sum := sha256.Sum256([]byte(w.key()))
	return sum[:]
}

var answerBody = []byte(strings.Repeat("x", 200))

// twoStatements is the least that anything of this kind must do: note the key, note the answer, commit.
func (w *bench) twoStatements(ctx context.Context) error {
	k := w.rawKey()
	return w.d.Tx(ctx, func(ctx context.Context, tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, "INSERT INTO raw (k, state, expires_at) VALUES ($1, 'c', $2)", k, time.Now().UnixMicro()); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, "UPDATE raw SET state = 'd', body = $2, expires_at = $3 WHERE k = $1 AND state = 'c'", k, answerBody, time.Now().UnixMicro())
		return err
	})
}

// effectAndAnswer is a service that stores its effect and its answer, without any protection.
func (w *bench) effectAndAnswer(ctx context.Context) error {
	k := w.rawKey()
	return w.d.Tx(ctx, func(ctx context.Context, tx *sql.Tx) error {
		if err := w.effect(ctx, tx); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, "INSERT INTO raw (k, state, body, expires_at) VALUES ($1, 'd', $2, $3)", k, answerBody, time.Now().UnixMicro())
		return err
	})
}

func (w *bench) effect(ctx context.Context, tx *sql.Tx) error {
	_, err := tx.ExecContext(ctx, "INSERT INTO effect (id, body) VALUES ($1, $2)", w.key(), answerBody)
	return err
}

func (w *bench) oneInsert(ctx context.Context) error {
	k := w.rawKey()
	return w.d.Tx(ctx, func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "INSERT INTO raw (k, state, body, expires_at) VALUES ($1, 'd', $2, $3)", k, answerBody, time.Now().UnixMicro())
		return err
	})
}

// wire is what a transport is to an interceptor.
type wire struct{}

func (wire) Method() string               { return "" }
func (wire) SetHeader(metadata.MD) error  { return nil }
func (wire) SendHeader(metadata.MD) error { return nil }
func (wire) SetTrailer(metadata.MD) error { return nil }

func (w *bench) call(ctx context.Context, name, key string, h grpc.UnaryHandler) error {
	ctx = grpc.NewContextWithServerTransportStream(ctx, wire{})
	ctx = metadata.NewIncomingContext(ctx, metadata.Pairs(idempotent.Metadata, key))
	_, err := w.ic(ctx, wrapperspb.String("a request of some size, as requests are"), &grpc.UnaryServerInfo{FullMethod: method(name)}, h)
	return err
}

var smallAnswer = wrapperspb.String(string(answerBody))

func answerAtOnce(context.Context, any) (any, error) { return smallAnswer, nil }

func (w *bench) newCall(name string) func(context.Context) error {
	return func(ctx context.Context) error { return w.call(ctx, name, w.key(), answerAtOnce) }
}

func (w *bench) transactional(ctx context.Context) error {
	return w.call(ctx, "Transaction", w.key(), func(ctx context.Context, _ any) (any, error) {
		return smallAnswer, w.d.Tx(ctx, func(ctx context.Context, tx *sql.Tx) error {
			if err := w.effect(ctx, tx); err != nil {
				return err
			}
			return w.store.CompleteTx(ctx, tx, smallAnswer)
		})
	})
}

// compare times both alternately, with so many callers, and reports how many times as long the second takes.
func compare(b *testing.B, workers int, baseline, candidate func(context.Context) error) {
	b.Helper()
	const rounds = 7
	round := func(fn func(context.Context) error) float64 {
		n := max(b.N, 4*workers)
		var left atomic.Int64
		left.Store(int64(n))
		var wg sync.WaitGroup
		begun := time.Now()
		for range workers {
			wg.Go(func() {
				for left.Add(-1) >= 0 {
					if err := fn(b.Context()); err != nil {
						b.Error(err)
						return
					}
				}
			})
		}
		wg.Wait()
		return float64(time.Since(begun).Nanoseconds()) / float64(n)
	}
	round(baseline)
	round(candidate)
	var ratios, base, cand []float64
	b.ResetTimer()
	for range rounds {
		x, y := round(baseline), round(candidate)
		ratios, base, cand = append(ratios, y/x), append(base, x), append(cand, y)
	}
	b.StopTimer()
	median := func(v []float64) float64 { slices.Sort(v); return v[len(v)/2] }
	b.ReportMetric(median(ratios), "x-baseline")
	b.ReportMetric(median(base)/1000, "µs-baseline")
	b.ReportMetric(median(cand)/1000, "µs")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkCall compares a call with a new key with the two statements that anything of this kind must execute, in one
// transaction.
func BenchmarkCall(b *testing.B) {
	for _, engine := range []string{"postgres", "sqlite"} {
		for _, name := range []string{"Recoverable", "Manual"} {
			b.Run(engine+"/"+strings.ToLower(name), func(b *testing.B) {
				w := newBench(b, engine)
				compare(b, callers, w.twoStatements, w.newCall(name))
			})
		}
		b.Run(engine+"/transactional", func(b *testing.B) {
			w := newBench(b, engine)
			compare(b, callers, w.effectAndAnswer, w.transactional)
		})
	}
	b.Run("sqlite/recoverable against one insert", func(b *testing.B) {
		w := newBench(b, "sqlite")
		compare(b, callers, w.oneInsert, w.newCall("Recoverable"))
	})
}

// BenchmarkReplay compares a replay with a call whose key is new.
func BenchmarkReplay(b *testing.B) {
	for _, engine := range []string{"postgres", "sqlite"} {
		for _, workers := range []int{1, callers} {
			b.Run(fmt.Sprintf("%s/%d callers", engine, workers), func(b *testing.B) {
				w := newBench(b, engine)
				key := w.key()
				compare(b, workers, w.newCall("Manual"), func(ctx context.Context) error { return w.call(ctx, "Manual", key, answerAtOnce) })
			})
		}
	}
}

func BenchmarkReplayMemory(b *testing.B) {
	require.NoError(b, registerContract())
	ic := idempotent.UnaryServer(idempotent.NewMemoryStore(nil), idempotent.Options{})
	ctx := grpc.NewContextWithServerTransportStream(b.Context(), wire{})
	ctx = metadata.NewIncomingContext(ctx, metadata.Pairs(idempotent.Metadata, "8e03978e-40d5-43e8-bc93-6894a57f9324"))
	info := &grpc.UnaryServerInfo{FullMethod: method("Manual")}
	req := wrapperspb.String("a request of some size, as requests are")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ic(ctx, req, info, answerAtOnce); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "replays/s")
}

func BenchmarkFingerprint(b *testing.B) {
	req := wrapperspb.String("a request of some size, as requests are")
	b.ReportAllocs()
	for b.Loop() {
		idempotent.Fingerprint("/m", req)
	}
}
