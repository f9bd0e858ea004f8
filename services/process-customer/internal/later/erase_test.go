package later

import (
	"context"
	"database/sql"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/pkg/telemetry"
	customerv1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/customer/v1"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store/storetest"
)

func TestErase(t *testing.T) {
	t.Parallel()
	d := storetest.Schema.Open(t, "sqlite")
	ctx, now := t.Context(), time.Unix(1_800_000_000, 0).UTC()
	store, err := Open(ctx, d)
	require.NoError(t, err)
	for id, customer := range map[string]string{"a": "c_1", "b": "c_2"} {
		_, err := added(ctx, d, Operation{
			ID: id, Owner: "me", CustomerID: customer, Ref: "ref " + id, Created: now, Due: now, Order: &customerv1.NewOrder{CustomerId: customer, PurchaseOrder: "secret"},
		})
		require.NoError(t, err)
	}
	for range 2 { // erasing again changes nothing
		require.NoError(t, d.Tx(ctx, func(ctx context.Context, tx *sql.Tx) error { return Erase(ctx, tx, "c_1") }))
	}
	gone, err := store.Get(ctx, "a")
	require.NoError(t, err)
	require.True(t, gone.Done)
	require.Equal(t, []string{"", ReasonErased, ""}, []string{gone.Owner, gone.Reason, gone.Order.GetPurchaseOrder()})
	erp := &shop{placed: map[string]int{}}
	require.NoError(t, NewWorker(store, erp.place, func() time.Time { return now }, telemetry.Discard()).Round(ctx))
	require.Equal(t, map[string]int{"ref b": 1}, erp.placed, "only the other customer's order is placed")
}
