package deliver_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/pkg/db"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/engine/enginetest"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store/storetest"
)

func TestPause(t *testing.T) {
	t.Parallel()
	storetest.Schema.Each(t, func(t *testing.T, d *db.DB) {
		w := enginetest.New(t, d)
		w.Settle()
		set := func(c store.Control) {
			c.System, c.Direction = "erp", store.DirectionDeliver
			require.NoError(t, w.Store.Tx(t.Context(), func(ctx context.Context, tx *store.Tx) error { return tx.SetControl(ctx, c) }))
		}
		for i := range 30 {
			w.SF.Create(golden.Customer, "", golden.Values{golden.Name: fmt.Sprintf("Company %x", i*7919)})
		}
		set(store.Control{Paused: true})
		require.NoError(t, w.Read(t.Context()))
		require.NoError(t, w.Deliver(t.Context()))
		require.Empty(t, w.ERP.Records(golden.Customer))
		require.Positive(t, w.SF.TotalWrites(), "the other system goes on")
		w.Start()
		require.NoError(t, w.Recover(t.Context()))
		require.NoError(t, w.Deliver(t.Context()))
		require.Empty(t, w.ERP.Records(golden.Customer), "it survives a restart")

		set(store.Control{PerMinute: 120})
		var made []int
		for range 4 {
			require.NoError(t, w.Deliver(t.Context()))
			made = append(made, len(w.ERP.Records(golden.Customer)))
			w.Clock.Advance(time.Second)
		}
		require.Equal(t, 10, made[0], "five seconds' worth at once")
		require.LessOrEqual(t, made[3], 10+2*4, "then two a second")
		require.Greater(t, made[3], made[0])
		set(store.Control{})
		w.Settle()
		w.Check()
		require.Len(t, w.ERP.Records(golden.Customer), 30, "nothing was lost")
	})
}
