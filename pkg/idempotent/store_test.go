package idempotent_test

import (
	"context"
	"database/sql"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/selfsame-io/selfsame/pkg/db"
	"github.com/selfsame-io/selfsame/pkg/db/dbtest"
	"github.com/selfsame-io/selfsame/pkg/idempotent"
	"github.com/selfsame-io/selfsame/pkg/idempotent/idempotenttest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var secret = []byte("0123456789abcdef")

func TestMemoryStore(t *testing.T) {
	t.Parallel()
	idempotenttest.Run(t, func(_ *testing.T, now func() time.Time) idempotent.Store { return idempotent.NewMemoryStore(now) })
}

func TestSQLStore(t *testing.T) {
	t.Parallel()
	for _, engine := range []string{"sqlite", "postgres"} {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			if engine == "postgres" && os.Getenv(dbtest.PostgresEnv) == "" {
				dbtest.DSN(t, engine) // skips, or fails in CI
			}
			idempotenttest.Run(t, func(t *testing.T, now func() time.Time) idempotent.Store {
				d := dbtest.Open(t, engine)
				if !testing.Short() {
					d.Rehearse()
				}
				s, err := idempotent.NewSQLStore(d, secret, now)
				require.NoError(t, err)
				return transactional{s, d}
			})
		})
	}
}

type transactional struct {
	*idempotent.SQLStore
	d *db.DB
}

func (s transactional) Tx(ctx context.Context, fn func(ctx context.Context, tx *sql.Tx) error) error {
	return s.d.Tx(ctx, fn)
}

func TestSQLStore_Clock(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		s, err := idempotent.NewSQLStore(d, secret, nil)
		require.NoError(t, err)
		c := idempotent.Claim{
			Scope: idempotent.Scope{Key: "k"}, Fingerprint: []byte("f"), Owner: []byte("a"), Lease: time.Hour, Retention: time.Hour, Takeover: true,
		}
		res, err := s.Begin(t.Context(), c)
		require.NoError(t, err)
		require.Equal(t, idempotent.Granted, res.Outcome)
		c.Owner = []byte("b")
		waiting, err := s.Begin(t.Context(), c)
		require.NoError(t, err)
		require.Equal(t, idempotent.InProgress, waiting.Outcome)
		require.InDelta(t, time.Hour, waiting.Remaining, float64(time.Minute), "the store's own clock decides")
		require.NoError(t, s.Heartbeat(t.Context(), res.Grant, 0))
		res, err = s.Begin(t.Context(), c)
		require.NoError(t, err)
		require.Equal(t, int64(2), res.Grant.Fence)
		require.NoError(t, s.Complete(t.Context(), res.Grant, idempotent.Answer{OK: true, Body: []byte("x")}))
		n, err := s.Purge(t.Context(), 10)
		require.NoError(t, err)
		require.Zero(t, n)
	})
}

func TestSQLStore_HidesCallersAndKeys(t *testing.T) {
	t.Parallel()
	d := dbtest.Open(t, "sqlite")
	s, err := idempotent.NewSQLStore(d, secret, nil)
	require.NoError(t, err)
	_, err = s.Begin(t.Context(), idempotent.Claim{
		Scope:       idempotent.Scope{Principal: "canary-principal", Method: "/canary", Key: "canary-key"},
		Fingerprint: []byte("f"), Owner: []byte("o"), Lease: time.Minute,
	})
	require.NoError(t, err)
	var dump strings.Builder
	require.NoError(t, d.Tx(t.Context(), func(ctx context.Context, tx *sql.Tx) error {
		rows, err := tx.QueryContext(ctx, "SELECT hex(k), k || fp || owner || trace || resource FROM idempotency")
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var a, b string
			if err := rows.Scan(&a, &b); err != nil {
				return err
			}
			dump.WriteString(a + b)
		}
		return rows.Err()
	}))
	require.NotEmpty(t, dump.String())
	require.NotContains(t, dump.String(), "canary")
}

func TestNewSQLStore_RefusesAWeakSecret(t *testing.T) {
	t.Parallel()
	_, err := idempotent.NewSQLStore(dbtest.Open(t, "sqlite"), []byte("short"), nil)
	require.ErrorContains(t, err, "secret")
}

func TestSQLStore_TwoReplicasShareOneRecord(t *testing.T) {
	t.Parallel()
	for _, engine := range []string{"postgres"} {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			dsn := dbtest.DSN(t, engine)
			var stores []*idempotent.SQLStore
			for range 2 {
				d, err := db.Open(t.Context(), dsn, nil)
				require.NoError(t, err)
				t.Cleanup(func() { require.NoError(t, d.Close()) })
				s, err := idempotent.NewSQLStore(d, secret, nil)
				require.NoError(t, err)
				stores = append(stores, s)
			}
			c := idempotent.Claim{Scope: idempotent.Scope{Key: "k"}, Fingerprint: []byte("f"), Owner: []byte("a"), Lease: time.Minute, Retention: time.Hour}
			res, err := stores[0].Begin(t.Context(), c)
			require.NoError(t, err)
			require.NoError(t, stores[0].Complete(t.Context(), res.Grant, idempotent.Answer{OK: true, Body: []byte("x")}))
			c.Owner = []byte("b")
			res, err = stores[1].Begin(t.Context(), c)
			require.NoError(t, err)
			require.Equal(t, idempotent.Replay, res.Outcome)
			require.NotErrorIs(t, err, idempotent.ErrStale)
		})
	}
}
