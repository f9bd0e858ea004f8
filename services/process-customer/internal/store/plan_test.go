package store_test

import (
	"context"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store/storetest"
)

func TestLosersAreFoundByTheirIndex(t *testing.T) {
	t.Parallel()
	d := storetest.Schema.Open(t, "sqlite")
	s, err := store.Open(t.Context(), d)
	require.NoError(t, err)
	var text string
	var with []any
	through := s.Through(func(_ context.Context, query string, args []any) (string, []any, error) {
		text, with = query, args
		return query, args, nil
	})
	_, err = through.Read().LosersTo(t.Context(), "erp", golden.Customer, []string{"1", "2"})
	require.NoError(t, err)
	rows, err := d.Read().QueryContext(t.Context(), "EXPLAIN QUERY PLAN "+text, with...)
	require.NoError(t, err)
	defer rows.Close()
	var plan []string
	for rows.Next() {
		var step string
		var other [3]int
		require.NoError(t, rows.Scan(&other[0], &other[1], &other[2], &step))
		plan = append(plan, step)
	}
	require.NoError(t, rows.Err())
	require.Contains(t, strings.Join(plan, "\n"), "source_record_merged (system=? AND merged_into=?)", "or every new record reads all that are known")
}
