package store_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store/storetest"
)

func TestLearn(t *testing.T) {
	t.Parallel()
	d := storetest.Schema.Open(t, "postgres")
	s, err := store.Open(t.Context(), d)
	require.NoError(t, err)
	_, err = d.Exec(t.Context(), "ALTER TABLE source_record SET (autovacuum_enabled = false)") // nobody else looks meanwhile
	require.NoError(t, err)
	estimate := func() (rows float64) {
		require.NoError(t, d.Read().QueryRowContext(t.Context(), "SELECT reltuples FROM pg_class WHERE oid = 'source_record'::regclass").Scan(&rows))
		return rows
	}
	load := func(from, n int) {
		rows := make([]*store.Source, n)
		for i := range rows {
			id := fmt.Sprintf("BP%06d", from+i)
			rows[i] = &store.Source{Ref: golden.Ref{System: "erp", Object: golden.Customer, RecordID: id}, GoldenID: golden.ID("g" + id), EventTime: time.Unix(1, 0)}
		}
		require.NoError(t, s.Tx(t.Context(), func(ctx context.Context, tx *store.Tx) error { return tx.PutSources(ctx, rows) }))
	}
	load(0, 10)
	require.Negative(t, estimate(), "ten rows are not worth a look")
	load(10, 490)
	require.InDelta(t, 500, estimate(), 0, "the first load is looked at, or it would be planned as if there were nothing")
	load(500, 1500)
	require.InDelta(t, 2000, estimate(), 0)

	s, err = store.Open(t.Context(), d) // another process
	require.NoError(t, err)
	load(2000, 500)
	require.InDelta(t, 2000, estimate(), 0, "a table that is known about as it is costs no look after every start")
	load(2500, 2500)
	require.InDelta(t, 5000, estimate(), 0)
}
