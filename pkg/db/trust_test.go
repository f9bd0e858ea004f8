package db_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/pkg/db"
	"github.com/selfsame-io/selfsame/pkg/db/dbtest"
)

// TestTx_FailuresAmongOthers: whoever fails takes nobody along and leaves nothing, whatever it did before: nothing, a statement that
// was refused, statements of which the second was refused, or a change.
func TestTx_FailuresAmongOthers(t *testing.T) {
	t.Parallel()
	d, err := db.Open(t.Context(), "sqlite:"+t.TempDir()+"/x.db", nil)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, d.Close()) })
	require.NoError(t, d.Tx(t.Context(), func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "CREATE TABLE x (who INTEGER NOT NULL, part INTEGER NOT NULL, UNIQUE (who, part))")
		return err
	}))
	callers := 240
	if testing.Short() {
		callers = 80
	}
	errMine := errors.New("mine")
	refused := make([]error, callers)
	var all sync.WaitGroup
	for i := range callers {
		random := rand.New(rand.NewPCG(7, uint64(i)))
		all.Go(func() {
			refused[i] = d.Tx(t.Context(), func(ctx context.Context, tx *sql.Tx) error {
				put := func(part int) error {
					_, err := tx.ExecContext(ctx, "INSERT INTO x (who, part) VALUES ($1, $2)", i, part)
					return err
				}
				if i%8 == 1 {
					if i%16 == 1 { // else nothing was done
						_, err := tx.ExecContext(ctx, fmt.Sprintf("INSERT INTO x (who, part) VALUES (%d, 1); INSERT INTO nowhere (who) VALUES (1)", i))
						return errors.Join(errMine, err)
					}
					return errMine
				}
				if err := put(1); err != nil {
					return err
				}
				switch i % 8 {
				case 3:
					return put(1) // refused by the table
				case 5:
					return errMine
				case 7:
					if random.IntN(2) == 0 {
						_ = put(1) // refused, and that is all right
					}
				}
				if err := put(2); err != nil {
					return err
				}
				return d.Last(ctx, tx, nil, "INSERT INTO x (who, part) VALUES ($1, $2)", i, 3-i%8/6*(i%16/8))
			})
		})
	}
	all.Wait()
	for i, err := range refused {
		// Of those that end with a 6 or a 7 every other one asks for what is there already, at the very end.
		late := i%8 >= 6 && i%16 >= 8
		switch {
		case i%8 == 1 || i%8 == 5:
			require.ErrorIs(t, err, errMine)
		case i%8 == 3 || late:
			require.True(t, db.IsUnique(err), "%d: %v", i, err)
		default:
			require.NoError(t, err, fmt.Sprint(i))
		}
		var n int
		require.NoError(t, d.Read().QueryRowContext(t.Context(), "SELECT count(*) FROM x WHERE who = $1", i).Scan(&n))
		want := 3
		if err != nil {
			want = 0
		}
		require.Equal(t, want, n, i)
	}
}

// TestTx_AGoroutineThatEndsInside: whoever ends its goroutine in the middle, as a failed test does, ends its own one, leaves nothing, and
// takes nobody along.
func TestTx_AGoroutineThatEndsInside(t *testing.T) {
	t.Parallel()
	d, err := db.Open(t.Context(), "sqlite:"+t.TempDir()+"/x.db", nil)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, d.Close()) })
	migrate(t, d)
	const callers = 40 // three of them end, fewer than anybody is run again for
	var all sync.WaitGroup
	errs, returned := make([]error, callers), make([]bool, callers)
	for i := range callers {
		all.Go(func() {
			errs[i] = d.Tx(t.Context(), func(ctx context.Context, tx *sql.Tx) error {
				if err := insert(ctx, tx, i); err != nil {
					return err
				}
				if i%16 == 3 {
					runtime.Goexit()
				}
				return nil
			})
			returned[i] = true
		})
	}
	all.Wait()
	for i := range callers {
		require.Equal(t, i%16 != 3, returned[i], i)
		require.NoError(t, errs[i])
	}
	require.Equal(t, callers-3, count(t, d))
}

// TestTx_Rehearsed: what a function does the first time is undone, what it does the second time stays, and its failure is its end.
func TestTx_Rehearsed(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		migrate(t, d)
		d.Rehearse()
		want := 2
		if d.Engine() == db.PostgreSQL {
			want = 1
		}
		runs := 0
		require.NoError(t, d.Tx(t.Context(), func(ctx context.Context, tx *sql.Tx) error {
			runs++
			if err := insert(ctx, tx, 10*runs); err != nil {
				return err
			}
			return d.Last(ctx, tx, nil, "INSERT INTO item (id, name, n) VALUES ($1, $2, 0)", 10*runs+1, fmt.Sprint("last ", runs))
		}))
		require.Equal(t, want, runs)
		var least, n int
		require.NoError(t, d.Read().QueryRowContext(t.Context(), "SELECT min(id), count(*) FROM item").Scan(&least, &n))
		require.Equal(t, 10*want, least)
		require.Equal(t, 2, n)

		mine := errors.New("mine")
		runs = 0
		require.ErrorIs(t, d.Tx(t.Context(), func(ctx context.Context, tx *sql.Tx) error {
			runs++
			return errors.Join(insert(ctx, tx, 1), mine)
		}), mine)
		require.Equal(t, 1, runs)
		require.Equal(t, 2, count(t, d))
	})
}
