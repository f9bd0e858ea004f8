package idempotent

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/pkg/db/dbtest"
)

// A condition that SQLite checks with a table of its own costs more than to store the record.
func TestSQLStore_FillsNoTablesOfItsOwn(t *testing.T) {
	t.Parallel()
	d := dbtest.Open(t, "sqlite")
	secret, claim := []byte("0123456789abcdef"), Claim{Scope: Scope{Method: "/m", Key: "k"}, Fingerprint: []byte("f"), Owner: []byte("o"), Lease: time.Minute}
	digest := claim.Scope.Digest(secret)
	// As it was made by the release before.
	require.NoError(t, d.Migrate(t.Context(), release(t, len(earlier)), migrationTable))
	old := &SQLStore{now: time.Now}
	_, err := d.Exec(t.Context(), strings.ReplaceAll(sqlInsert, "{now}", "CAST($1 AS BIGINT)"), old.claimArgs(digest, claim)...)
	require.NoError(t, err)

	s, err := NewSQLStore(d, secret, nil)
	require.NoError(t, err)
	e, err := s.Show(t.Context(), digest)
	require.NoError(t, err)
	require.Equal(t, Claimed, e.State, "what was stored is still there")
	_, err = d.Exec(t.Context(), "UPDATE idempotency SET state = 'x'")
	require.ErrorContains(t, err, "CHECK", "and the condition still holds")
	for name, st := range map[string]struct {
		text string
		args int
	}{"claim": {sqlInsert, 9}, "take over": {sqlTake, 13}, "answer": {sqlComplete, 9}, "effect and answer": {sqlAnswer, 11}} {
		t.Run(name, func(t *testing.T) {
			args := make([]any, st.args)
			for i := range args {
				args[i] = int64(i)
			}
			require.NotContains(t, dbtest.Steps(t, d, s.sql(st.text), args...), "OpenEphemeral")
		})
	}
}

// What a call does with its own record must cost the same however many other claims are open, or were until the last vacuum: PostgreSQL
// finds the record by its key, also when it knows that hardly any of the records is open.
func TestSQLStore_FindsByKey(t *testing.T) {
	t.Parallel()
	d := dbtest.Open(t, "postgres")
	s, err := NewSQLStore(d, []byte("0123456789abcdef"), nil)
	require.NoError(t, err)
	_, err = d.Exec(t.Context(), `INSERT INTO idempotency (k, fp, state, fence, owner, recoverable, lease_until, expires_at, answer_ok, resource, trace)
 SELECT sha256(i::text::bytea), 'f', 'd', 1, 'o', FALSE, 0, i, TRUE, '', '' FROM generate_series(1, 20000) AS i`)
	require.NoError(t, err)
	_, err = d.Exec(t.Context(), "ANALYZE idempotency")
	require.NoError(t, err)
	for name, st := range map[string]struct {
		text string
		args int
	}{
		"read":                 {sqlRead, 2},
		"read to decide":       {sqlDecide, 2},
		"read many":            {sqlReadMany, 2},
		"take over":            {sqlTake, 13},
		"doubt":                {sqlDoubt, 4},
		"heartbeat":            {sqlHeartbeat, 6},
		"answer":               {sqlComplete, 9},
		"answer many":          {sqlCompleteMany, 9},
		"end":                  {sqlEnd, 6},
		"step":                 {sqlStep, 6},
		"whether it is held":   {sqlHeld, 4},
		"resolve, executed":    {sqlResolveDone, 9},
		"resolve, released":    {sqlResolveReleased, 5},
		"forget the answer of": {sqlExpire, 3},
	} {
		t.Run(name, func(t *testing.T) {
			text := s.sql(st.text)
			if st.text == sqlReadMany {
				text += "= ANY($2)"
			}
			var plan []string
			require.NoError(t, d.Tx(t.Context(), func(ctx context.Context, tx *sql.Tx) error {
				plan = nil
				for _, before := range []string{"SET LOCAL plan_cache_mode = force_generic_plan", "PREPARE by_key AS " + text} {
					if _, err := tx.ExecContext(ctx, before); err != nil {
						return err
					}
				}
				rows, err := tx.QueryContext(ctx, "EXPLAIN EXECUTE by_key("+strings.Repeat("NULL, ", st.args-1)+"NULL)")
				if err != nil {
					return err
				}
				defer rows.Close()
				for rows.Next() {
					var line string
					if err := rows.Scan(&line); err != nil {
						return err
					}
					plan = append(plan, line)
				}
				if err := rows.Err(); err != nil {
					return err
				}
				_, err = tx.ExecContext(ctx, "DEALLOCATE by_key")
				return err
			}))
			all := fmt.Sprint(plan)
			require.Contains(t, all, "idempotency_pkey")
			require.NotContains(t, all, "idempotency_open")
			require.NotContains(t, all, "Seq Scan on idempotency ")
		})
	}
}

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
