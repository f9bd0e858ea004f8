package idempotent_test

import (
	"context"
	"database/sql"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/selfsame-io/selfsame/pkg/db/dbtest"
	"github.com/selfsame-io/selfsame/pkg/idempotent"
)

// leaving is a store whose caller goes away while the first claim is committed.
type leaving struct {
	idempotent.Store
	leave  context.CancelFunc
	begins atomic.Int64
}

func (l *leaving) Begin(ctx context.Context, c idempotent.Claim) (idempotent.Result, error) {
	if l.begins.Add(1) > 1 {
		return l.Store.Begin(ctx, c)
	}
	if _, err := l.Store.Begin(context.WithoutCancel(ctx), c); err != nil {
		return idempotent.Result{}, err
	}
	l.leave()
	return idempotent.Result{}, ctx.Err()
}

func TestServer_ACallerWhoLeavesDuringItsClaimDoesNotBlockTheKey(t *testing.T) {
	t.Parallel()
	require.NoError(t, registerContract())
	stores := map[string]func(t *testing.T) idempotent.Store{
		"memory": func(*testing.T) idempotent.Store { return idempotent.NewMemoryStore(nil) },
	}
	for _, engine := range []string{"sqlite", "postgres"} {
		stores[engine] = func(t *testing.T) idempotent.Store {
			t.Helper()
			s, err := idempotent.NewSQLStore(dbtest.Open(t, engine), secret, nil)
			require.NoError(t, err)
			return s
		}
	}
	for engine, open := range stores {
		t.Run("the claim is committed and its answer is not heard: "+engine, func(t *testing.T) {
			t.Parallel()
			ctx, leave := context.WithCancel(t.Context())
			store := &leaving{Store: open(t), leave: leave}
			// A retry that had to wait for the lease would be refused: nobody waits here.
			ic := idempotent.UnaryServer(store, idempotent.Options{Lease: time.Hour, Wait: time.Nanosecond, StoreTimeout: time.Minute})
			_, err := direct(ctx, ic, "Manual", "k", succeed("nobody hears this"))
			require.ErrorIs(t, err, context.Canceled)
			resp, err := direct(t.Context(), ic, "Manual", "k", succeed("the retry"))
			require.NoError(t, err)
			require.Equal(t, "the retry", resp.(*wrapperspb.StringValue).GetValue())
		})
	}
	t.Run("the INSERT is under way: postgres", func(t *testing.T) {
		t.Parallel()
		d := dbtest.Open(t, "postgres")
		store, err := idempotent.NewSQLStore(d, secret, nil)
		require.NoError(t, err)
		ic := idempotent.UnaryServer(store, idempotent.Options{Lease: time.Hour, Wait: time.Nanosecond, StoreTimeout: time.Minute})
		ctx, leave := context.WithCancel(t.Context())
		defer leave()
		ended := make(chan error, 1)
		require.NoError(t, d.Tx(t.Context(), func(txCtx context.Context, tx *sql.Tx) error {
			if _, err := tx.ExecContext(txCtx, "LOCK TABLE idempotency IN SHARE MODE"); err != nil {
				return err
			}
			go func() {
				_, err := direct(ctx, ic, "Manual", "k", succeed("nobody hears this"))
				ended <- err
			}()
			require.Eventually(t, func() bool {
				var waiting int
				err := tx.QueryRowContext(txCtx, "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'idempotency'::regclass").Scan(&waiting)
				return err == nil && waiting > 0
			}, 30*time.Second, 5*time.Millisecond, "the claim waits for the table")
			leave()
			return nil
		}))
		require.ErrorIs(t, <-ended, context.Canceled)
		resp, err := direct(t.Context(), ic, "Manual", "k", succeed("the retry"))
		require.NoError(t, err)
		require.Equal(t, "the retry", resp.(*wrapperspb.StringValue).GetValue())
	})
}
