package storetest

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store"
)

func outflow(t *testing.T, s *store.Store) {
	const system = "outflow"
	ids := []golden.ID{newID(t, golden.Customer), newID(t, golden.Customer), newID(t, golden.Customer)}
	mark := func(ids ...golden.ID) {
		var marks []store.Mark
		for _, id := range ids {
			marks = append(marks, store.Mark{System: system, Object: golden.Customer, GoldenID: id})
		}
		tx(t, s, func(ctx context.Context, tx *store.Tx) error { return tx.Mark(ctx, marks, at(0)) })
	}
	look := func() store.Outflow {
		lines, err := s.Read().Outflows(t.Context())
		require.NoError(t, err)
		for _, l := range lines {
			if l.System == system {
				return l
			}
		}
		return store.Outflow{}
	}
	mark(ids...)
	mark(ids[0], ids[1])
	require.Equal(t, store.Outflow{System: system, Marked: 3, Pending: 3, Coalesced: 2}, look())

	var claimed []store.Claimed
	tx(t, s, func(ctx context.Context, tx *store.Tx) error {
		var err error
		claimed, err = tx.Claim(ctx, system, golden.Customer, store.LevelSync, at(1), time.Minute, 10)
		return err
	})
	require.Len(t, claimed, 3)
	mark(claimed[1].GoldenID)
	done := func(c []store.Claimed, outcome store.Outcome) {
		tx(t, s, func(ctx context.Context, tx *store.Tx) error { _, err := tx.Done(ctx, system, c, outcome); return err })
	}
	done(claimed[:2], store.Delivered)
	require.Equal(t, store.Outflow{System: system, Marked: 3, Delivered: 1, Pending: 2, Coalesced: 3}, look(), "what was marked again is not done")
	done(claimed[2:], store.LetterWritten)
	done(claimed, store.Delivered)
	require.Equal(t, store.Outflow{System: system, Marked: 3, Delivered: 1, Parked: 1, Pending: 1, Coalesced: 3}, look(), "nothing ends twice")
	mark(claimed[0].GoldenID)
	got := look()
	require.EqualValues(t, 4, got.Marked, "a new mark after the old one ended")
	require.True(t, got.Balanced())
	tx(t, s, func(ctx context.Context, tx *store.Tx) error {
		_, err := tx.SQL().ExecContext(ctx, "DELETE FROM pending WHERE system = $1 AND golden_id = $2", system, string(claimed[0].GoldenID))
		return err
	})
	got = look()
	require.False(t, got.Balanced(), "a mark that disappears without an outcome shows")
}
