package idempotent

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/pkg/db/dbtest"
)

// What runs now and then in a store of millions of records must not read them all while calls wait for the writer.
func TestSQLStore_ReadsNotEverything(t *testing.T) {
	t.Parallel()
	d := dbtest.Open(t, "sqlite")
	s, err := NewSQLStore(d, []byte("0123456789abcdef"), nil)
	require.NoError(t, err)
	tombstone := time.Hour.Microseconds()
	for name, st := range map[string]struct {
		text string
		args []any
	}{
		"answers past their retention":     {sqlBury, []any{s.at(), tombstone, 10}},
		"claims whose owner vanished":      {sqlVanished, []any{s.at(), 10}},
		"tombstones past their time":       {sqlForgetTombs, []any{s.at(), 10}},
		"releases past their time":         {sqlForgetReleased, []any{s.at(), tombstone, 10}},
		"abandoned claims past their time": {sqlForgetAbandoned, []any{s.at(), tombstone, 10}},
		"answers about a subject":          {sqlErase, []any{s.at(), tombstone, []byte("x")}},
		"what is open":                     {sqlOpen, []any{s.at(), tombstone}},
	} {
		t.Run(name, func(t *testing.T) {
			rows, err := d.Read().QueryContext(t.Context(), "EXPLAIN QUERY PLAN "+s.sql(st.text), st.args...)
			require.NoError(t, err)
			defer rows.Close()
			var plan []string
			for rows.Next() {
				var id, parent, unused int
				var step string
				require.NoError(t, rows.Scan(&id, &parent, &unused, &step))
				plan = append(plan, step)
			}
			require.NoError(t, rows.Err())
			require.NotEmpty(t, plan)
			for _, step := range plan {
				all := strings.HasPrefix(step, "SCAN idempotency") || strings.HasSuffix(step, "idempotency_ended (state=?)")
				require.False(t, all, "%q", plan)
			}
		})
	}
}
