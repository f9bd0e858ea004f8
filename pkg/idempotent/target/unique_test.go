package target_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/pkg/db"
	"github.com/selfsame-io/selfsame/pkg/db/dbtest"
	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/pkg/idempotent/target"
)

var tickets = fstest.MapFS{"00001_ticket.sql": {Data: []byte("-- +goose Up\nCREATE TABLE ticket (ref TEXT NOT NULL PRIMARY KEY, what TEXT NOT NULL);")}}

// ticketRows is a table whose primary key is the reference.
type ticketRows struct{ insert error }

func (r ticketRows) Insert(ctx context.Context, tx *sql.Tx, ref, what string) (string, error) {
	if r.insert != nil {
		return "", r.insert
	}
	_, err := tx.ExecContext(ctx, "INSERT INTO ticket (ref, what) VALUES ($1, $2)", ref, what)
	return what, err
}

func (ticketRows) Find(ctx context.Context, q db.Querier, ref string) (what string, ok bool, err error) {
	err = q.QueryRowContext(ctx, "SELECT what FROM ticket WHERE ref = $1", ref).Scan(&what)
	if errors.Is(err, sql.ErrNoRows) {
		return "", false, nil
	}
	return what, err == nil, err
}

func (ticketRows) Same(stored, what string) bool { return stored == what }

func TestUnique_OneRowPerKey(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		require.NoError(t, d.Migrate(t.Context(), tickets, "ticket_migrations"))
		u := target.Unique[string, string]{DB: d, Rows: ticketRows{}}
		var _ target.Effect[string, string] = u
		var wg sync.WaitGroup
		for i := range 60 {
			wg.Go(func() {
				what := fmt.Sprint("ticket ", i%3)
				got, err := u.Do(t.Context(), key(what), what)
				if err != nil || got != what {
					t.Error(got, err)
				}
			})
		}
		wg.Wait()
		var n int
		require.NoError(t, d.Read().QueryRowContext(t.Context(), "SELECT COUNT(*) FROM ticket").Scan(&n))
		require.Equal(t, 3, n)
		_, err := u.Do(t.Context(), key("ticket 1"), "something else")
		require.Equal(t, target.ReasonKeyReused, fault.ReasonOf(err))
		u.Rows = ticketRows{insert: errors.New("no paper")}
		_, err = u.Do(t.Context(), key("ticket 9"), "x")
		require.ErrorContains(t, err, "no paper")
	})
}
