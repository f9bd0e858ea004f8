package storetest

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/services/process-customer/internal/store"
)

func control(t *testing.T, s *store.Store) {
	const system = "control"
	get := func() store.Control {
		c, err := s.Read().Control(t.Context(), system, store.DirectionDeliver)
		require.NoError(t, err)
		return c
	}
	set := func(c store.Control) {
		c.System, c.Direction = system, store.DirectionDeliver
		tx(t, s, func(ctx context.Context, tx *store.Tx) error { return tx.SetControl(ctx, c) })
	}
	require.Equal(t, 200, get().Allowance(at(0), 200), "nobody has said anything")
	set(store.Control{Paused: true, Reason: "why", Actor: "ada", Since: at(1)})
	c := get()
	require.Zero(t, c.Allowance(at(0), 200))
	require.Equal(t, []any{"why", "ada", at(1).UTC()}, []any{c.Reason, c.Actor, c.Since.UTC()})

	set(store.Control{PerMinute: 600})
	spend := func(now time.Time, want int) int {
		n := get().Allowance(now, want)
		tx(t, s, func(ctx context.Context, tx *store.Tx) error { return tx.Spend(ctx, get(), now, n) })
		return n
	}
	written := spend(at(10), 200)
	require.Equal(t, 50, written, "five seconds of an unused allowance are saved up")
	require.Zero(t, spend(at(10), 200))
	for i := range 60 {
		written += spend(at(11+i), 200)
	}
	require.Equal(t, 50+600, written, "not one more within the minute")
	require.Equal(t, 50, spend(at(10_000), 200), "and no more is saved up")
	set(store.Control{PerMinute: 1})
	require.Equal(t, 1, spend(at(20_000), 200))
	require.Zero(t, spend(at(20_059), 200))
	require.Equal(t, 1, spend(at(20_060), 200))
	set(store.Control{})
	require.Equal(t, 200, spend(at(20_061), 200))
}
