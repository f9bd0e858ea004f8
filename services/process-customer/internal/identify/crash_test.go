package identify

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/services/process-customer/internal/engine"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/engine/enginetest"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/source"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store/storetest"
)

// TestJoin_DyingAtAnyPoint has two records joined, parted and joined again, and the process die at one point after the
// other: what comes after it ends where it would have ended.
func TestJoin_DyingAtAnyPoint(t *testing.T) {
	t.Parallel()
	if testing.Short() { // one of the points in the middle
		require.GreaterOrEqual(t, play(t, 48), 48)
		return
	}
	points := play(t, 0)
	require.Greater(t, points, 50)
	for at, step := 1, max(1, points/30); at <= points; at += step {
		play(t, at)
	}
}

// play lets the process die at a point, never when it is zero, and returns how many points there were.
func play(t *testing.T, at int) int {
	t.Helper()
	b := setup(t, storetest.Schema.Open(t, "sqlite"), Config{Mode: Join})
	k := enginetest.NewKiller(at)
	wrap := func(store func(engine.Store) engine.Store, system func(source.System) source.System) {
		b.Wrap(store, system)
		b.open()
	}
	safe := func() {
		wrap(func(s engine.Store) engine.Store { return s }, func(s source.System) source.System { return s })
	}
	wrap(k.Store, k.System)
	turn := func() {
		for range 3 {
			if err := b.Turn(t.Context()); err != nil {
				require.True(t, k.Dead(), "point %d: %v", at, err)
				safe()
			}
		}
	}
	sf := b.SF.Create(golden.Customer, "", acme(0))
	turn()
	erp := b.ERP.Create(golden.Customer, "", acme(1))
	turn()
	b.SF.Edit(golden.Customer, sf, golden.Values{golden.TaxID: "DE136695976"})
	b.ERP.Edit(golden.Customer, erp, golden.Values{golden.TaxID: "DE129274202"})
	turn()
	safe()
	b.settle()
	require.NotEqual(t, b.of(b.SF, sf), b.of(b.ERP, erp), "point %d", at)
	b.Check()
	b.ERP.Edit(golden.Customer, erp, golden.Values{golden.TaxID: "DE136695976"})
	b.settle()
	require.Equal(t, b.of(b.SF, sf), b.of(b.ERP, erp), "point %d", at)
	require.Len(t, live(b), 1, "point %d", at)
	b.Check()
	return k.Passed()
}
