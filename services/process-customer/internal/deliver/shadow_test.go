package deliver_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/services/process-customer/internal/engine/enginetest"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/shadow"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/source/sourcetest"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store"
)

func setShadow(t *testing.T, w *enginetest.World, on bool) {
	t.Helper()
	require.NoError(t, w.Store.Tx(t.Context(), func(ctx context.Context, tx *store.Tx) error {
		if err := tx.LockIdentity(ctx); err != nil {
			return err
		}
		if err := tx.SetControl(ctx, store.Control{System: "erp", Direction: store.DirectionDeliver, Shadow: on, Since: w.Clock.Now()}); err != nil || on {
			return err
		}
		return tx.EndShadow(ctx, "erp", "", w.Clock.Now())
	}))
}

// parity returns how the fields of the ERP compare, "field state" by count.
func parity(t *testing.T, w *enginetest.World) map[string]int {
	t.Helper()
	writes, _, err := shadow.Page(t.Context(), w.Store.Read(), "erp", store.ShadowWrite{}, 1000)
	require.NoError(t, err)
	out := map[string]int{}
	for _, x := range writes {
		out[x.Kind+" "+x.Field+" "+string(x.State)]++
	}
	return out
}

func TestShadow(t *testing.T) {
	t.Parallel()
	t.Run("what would be written is noted and not written, and written when it ends", func(t *testing.T) {
		w := setup(t)
		setShadow(t, w, true)
		acme := w.SF.Create(golden.Customer, "", golden.Values{golden.Name: "Acme", golden.Phone: "1"})
		w.SF.Create(golden.Contact, acme, golden.Values{golden.LastName: "Arndt"})
		w.Settle()
		require.Zero(t, w.ERP.Calls(sourcetest.OpUpsert)+w.ERP.Calls(sourcetest.OpFind))
		require.Equal(t, map[string]int{"create name WAITING": 1, "create phone WAITING": 1, "create last_name WAITING": 1, "create customer WAITING": 1}, parity(t, w))
		require.Zero(t, backlog(t, w).Pending, "its contact does not wait for a customer that nobody makes")
		w.SF.Edit(golden.Customer, acme, golden.Values{golden.Phone: "2"})
		w.Settle()
		require.Len(t, parity(t, w), 4, "a newer intention takes the place of the older one")
		out, err := w.Store.Read().Outflows(t.Context())
		require.NoError(t, err)
		require.True(t, out[0].Balanced(), "%+v", out[0])
		require.EqualValues(t, 3, out[0].Shadowed)

		setShadow(t, w, false)
		w.Settle()
		w.Check()
		require.Empty(t, parity(t, w))
		require.Equal(t, "2", w.ERP.Records(golden.Customer)[0].Values[golden.Phone])
		require.Len(t, w.ERP.Records(golden.Contact), 1)
		out, err = w.Store.Read().Outflows(t.Context())
		require.NoError(t, err)
		require.True(t, out[0].Balanced(), "%+v", out[0])
	})
	t.Run("what another integration writes is compared, field by field", func(t *testing.T) {
		w := setup(t)
		acme := w.SF.Create(golden.Customer, "", golden.Values{golden.Name: "Acme", golden.Phone: "1", golden.Website: "a", golden.Email: "a@a.example"})
		w.Settle()
		erpID := w.ERP.Records(golden.Customer)[0].Ref.RecordID
		setShadow(t, w, true)
		w.SF.Edit(golden.Customer, acme, golden.Values{golden.Phone: "2", golden.Website: "b", golden.Email: "b@b.example"})
		w.Settle()
		require.Equal(t, map[string]int{"update phone WAITING": 1, "update website WAITING": 1, "update email WAITING": 1}, parity(t, w))
		w.ERP.Edit(golden.Customer, erpID, golden.Values{golden.Phone: "2", golden.Website: "https://b"}) // the other integration, in its own way
		w.Settle()
		require.Equal(t, map[string]int{"update phone MATCHED": 1, "update website DIFFERENT": 1, "update email WAITING": 1}, parity(t, w))
		lines, err := shadow.Parity(t.Context(), w.Store.Read(), "erp")
		require.NoError(t, err)
		require.Equal(t, golden.Website, lines[0].Field, "what differs comes first")

		w.SF.Edit(golden.Customer, acme, golden.Values{golden.Email: "a@a.example"})
		w.Settle()
		require.NotContains(t, parity(t, w), "update email WAITING", "an intention that was taken back is none")
	})
	if testing.Short() {
		return
	}
	t.Run("a record that another integration makes is one that would have been created", func(t *testing.T) {
		w := setup(t)
		setShadow(t, w, true)
		w.SF.Create(golden.Customer, "", golden.Values{golden.Name: "Acme", golden.TaxID: "DE100000001", golden.Phone: "1"})
		w.Settle()
		w.ERP.Create(golden.Customer, "", golden.Values{golden.Name: "ACME", golden.TaxID: "DE100000001", golden.Phone: "1"})
		w.Settle()
		got := parity(t, w)
		require.Equal(t, 1, got["create phone MATCHED"], "%v", got)
		require.Equal(t, 1, got["create tax_id MATCHED"], "%v", got)
		require.Equal(t, 1, got["create name DIFFERENT"], "%v", got)
		require.Zero(t, w.ERP.Calls(sourcetest.OpUpsert))
		setShadow(t, w, false)
		w.Settle()
		w.Check()
		require.Len(t, w.ERP.Records(golden.Customer), 1)
	})
}
