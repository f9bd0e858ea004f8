package db_test

import (
	"context"
	"database/sql"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/pkg/db"
	"github.com/selfsame-io/selfsame/pkg/db/dbtest"
	"github.com/selfsame-io/selfsame/pkg/fault"
)

func TestExec(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		migrate(t, d)
		var wg sync.WaitGroup
		var refused atomic.Int64
		for i := range 200 {
			wg.Go(func() {
				run := d.Exec
				if i%2 == 0 {
					run = d.ExecRelaxed
				}
				n, err := run(t.Context(), insertItem, i/2*2, fmt.Sprint("name ", i/2)) // each twice
				switch {
				case db.IsUnique(err):
					refused.Add(1)
				case err != nil || n != 1:
					t.Errorf("%d changed, %v", n, err)
				}
			})
		}
		wg.Wait()
		require.Equal(t, 100, count(t, d))
		require.EqualValues(t, 100, refused.Load(), "an error is only that of its own statement")

		n, err := d.Exec(t.Context(), "UPDATE item SET n = 1 WHERE id < $1", 10)
		require.NoError(t, err)
		require.EqualValues(t, 5, n)
		n, err = d.Exec(t.Context(), "UPDATE item SET n = 1 WHERE id < $1", -1)
		require.NoError(t, err)
		require.Zero(t, n)

		gone, cancel := context.WithCancel(t.Context())
		cancel()
		for range 20 { // a queue may be tried before the context
			_, err = d.Exec(gone, "DELETE FROM item WHERE id >= $1", 0)
			if err != nil {
				require.ErrorIs(t, err, context.Canceled)
				break
			}
		}
		require.ErrorIs(t, d.Tx(t.Context(), func(ctx context.Context, _ *sql.Tx) error {
			_, err := d.Exec(ctx, "SELECT 1")
			return err
		}), db.ErrNested)
		require.NoError(t, d.Close())
		_, err = d.Exec(t.Context(), "SELECT 1")
		require.ErrorIs(t, err, db.ErrClosed)
	})
}

func TestExec_AnotherStatementEndsTheTransaction(t *testing.T) {
	t.Parallel()
	d := dbtest.Open(t, "sqlite")
	migrate(t, d)
	_, err := d.Exec(t.Context(), insertItem, -1, "taken")
	require.NoError(t, err)
	var wg sync.WaitGroup
	for i := range 100 {
		wg.Go(func() {
			if i%10 == 0 { // what a full disk does to a transaction
				_, err := d.Exec(t.Context(), "INSERT OR ROLLBACK INTO item (id, name, n) VALUES ($1, 'taken', 0)", i)
				if !fault.Is(err, fault.Unavailable) && !db.IsUnique(err) {
					t.Errorf("%v", err)
				}
				return
			}
			for { // whoever meets it every time is told so, and nothing was stored
				_, err := d.Exec(t.Context(), insertItem, i, fmt.Sprint(i))
				if err == nil {
					return
				}
				if !fault.Is(err, fault.Unavailable) {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	require.Equal(t, 91, count(t, d), "nobody's statement was lost, and none was executed twice")
}
