package deliver_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/services/process-customer/internal/engine/enginetest"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/source/sourcetest"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store/storetest"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/survive"
)

// braked is a world in which the ERP decides which customers and contacts there are, with five customers that have a contact
// each, and a brake at three.
func braked(t *testing.T) (w *enginetest.World, customers []string) {
	t.Helper()
	t.Parallel()
	w = enginetest.New(t, storetest.Schema.Open(t, "sqlite"))
	rules, err := survive.Parse([]byte(`{version: 1, systems: {erp: {priority: 2}, salesforce: {priority: 1}}, objects: {customer: {delete: [erp]}, contact: {delete: [erp]}}}`))
	require.NoError(t, err)
	w.Rules, w.DeleteBrake, w.Deleting = rules, 3, true
	w.Start()
	for i := range 5 {
		id := w.ERP.Create(golden.Customer, "", golden.Values{golden.Name: fmt.Sprintf("Company %x", i*7919)})
		w.ERP.Create(golden.Contact, id, golden.Values{golden.LastName: fmt.Sprintf("Name %x", i*7919)})
		customers = append(customers, id)
	}
	w.Settle()
	require.Len(t, w.SF.Records(golden.Contact), 5)
	return w, customers
}

// hour takes everything in and delivers, and does so again more than an hour later.
func hour(t *testing.T, w *enginetest.World) {
	t.Helper()
	for range 2 {
		require.NoError(t, w.Turn(t.Context()))
		w.Clock.Advance(61 * time.Minute)
	}
}

func waiting(t *testing.T, w *enginetest.World) []store.Held {
	t.Helper()
	held, err := w.Store.Read().Held(t.Context(), "", store.Held{}, 100)
	require.NoError(t, err)
	return held
}

func TestBrake(t *testing.T) {
	t.Parallel()
	t.Run("a flood of deletions stops, and goes on when a person says so", func(t *testing.T) {
		w, customers := braked(t)
		for _, id := range customers {
			w.ERP.Delete(golden.Customer, id)
		}
		hour(t, w)
		require.Len(t, w.SF.Records(golden.Customer), 5, "not one, however long nobody looks")
		require.Zero(t, w.SF.Calls(sourcetest.OpRemove))
		held := waiting(t, w)
		require.Len(t, held, 5)
		require.Equal(t, "salesforce", held[0].System)
		events := w.Events(held[0].GoldenID)
		require.Equal(t, "deletion_held", events[len(events)-1], "said once, although it was looked at again and again")

		// A later one waits as well, and is not among those that were confirmed.
		w.Start()
		extra := w.ERP.Create(golden.Customer, "", golden.Values{golden.Name: "Late and lonely"})
		hour(t, w)
		w.ERP.Delete(golden.Customer, extra)
		hour(t, w)
		require.Len(t, waiting(t, w), 6)
		require.NoError(t, w.Store.Tx(t.Context(), func(ctx context.Context, tx *store.Tx) error {
			n, err := tx.Confirm(ctx, "salesforce", held[4].Since, w.Clock.Now())
			require.EqualValues(t, 5, n)
			return err
		}))
		w.SF.LoseAcks(1, nil) // a confirmed deletion of which nobody knows whether it happened is not asked about again
		hour(t, w)
		require.Len(t, w.SF.Records(golden.Customer), 1)
		require.Len(t, waiting(t, w), 1)
		require.Empty(t, w.Dead())
	})
	if testing.Short() {
		return // the others play the same world in more ways
	}
	t.Run("who undeletes the records releases it", func(t *testing.T) {
		w, customers := braked(t)
		for _, id := range customers {
			w.ERP.Delete(golden.Customer, id)
		}
		hour(t, w)
		for _, id := range customers {
			w.ERP.Undelete(golden.Customer, id)
		}
		hour(t, w)
		require.Empty(t, waiting(t, w))
		w.Settle()
		w.Check()
		require.Len(t, w.SF.Records(golden.Customer), 5)
		require.Zero(t, w.SF.Calls(sourcetest.OpRemove))
		w.ERP.Delete(golden.Customer, customers[0])
		w.Settle()
		require.Len(t, w.SF.Records(golden.Customer), 4)
	})
	t.Run("who takes the authority away releases it: the customers live on", func(t *testing.T) {
		w, customers := braked(t)
		for _, id := range customers {
			w.ERP.Delete(golden.Customer, id)
		}
		hour(t, w)
		held := waiting(t, w)
		require.Len(t, held, 5)
		w.Rules = survive.Default()
		w.Start()
		require.NoError(t, w.Store.Tx(t.Context(), func(ctx context.Context, tx *store.Tx) error {
			unit, err := w.Folder.Begin(ctx, tx, "")
			require.NoError(t, err)
			for _, h := range held {
				require.NoError(t, unit.LoadGoldens(ctx, []golden.ID{h.GoldenID}))
				require.True(t, unit.Remerge(h.GoldenID, "rules"))
			}
			return unit.Flush(ctx)
		}))
		w.Settle()
		require.Empty(t, waiting(t, w))
		require.Len(t, w.SF.Records(golden.Customer), 5)
		require.Zero(t, w.SF.Calls(sourcetest.OpRemove))
	})
	t.Run("what was undeleted while the target was down is a deletion no more", func(t *testing.T) {
		w, customers := braked(t)
		for _, id := range customers {
			w.ERP.Delete(golden.Customer, id)
		}
		hour(t, w)
		require.Len(t, waiting(t, w), 5)
		for i, id := range customers {
			w.ERP.Undelete(golden.Customer, id)
			w.ERP.Edit(golden.Customer, id, golden.Values{golden.Phone: fmt.Sprint(i)})
		}
		require.NoError(t, w.Read(t.Context()))
		w.SF.SetDown(sourcetest.Unreachable())
		for range 2 {
			require.NoError(t, w.Deliver(t.Context()))
			w.Clock.Advance(61 * time.Minute)
		}
		require.Empty(t, waiting(t, w))
		w.SF.SetDown(nil)
		w.ERP.Delete(golden.Customer, customers[0])
		w.Settle()
		require.Empty(t, waiting(t, w))
		require.Len(t, w.SF.Records(golden.Customer), 4)
	})
	t.Run("a few at a time are carried out unasked, more within an hour are not", func(t *testing.T) {
		w, customers := braked(t)
		for i, id := range customers[:4] {
			w.ERP.Delete(golden.Customer, id)
			require.NoError(t, w.Turn(t.Context()))
			require.Len(t, w.SF.Records(golden.Customer), 5-min(i+1, 3))
		}
		require.Len(t, waiting(t, w), 1)
	})
	t.Run("what is held takes nothing of a throttle's allowance", func(t *testing.T) {
		w, customers := braked(t)
		edited := w.Golden(w.ERP, golden.Customer, customers[4]).ID
		for _, id := range customers[:4] {
			w.ERP.Delete(golden.Customer, id)
		}
		require.NoError(t, w.Read(t.Context()))
		w.ERP.Edit(golden.Customer, customers[4], golden.Values{golden.Phone: "5"})
		require.NoError(t, w.Store.Tx(t.Context(), func(ctx context.Context, tx *store.Tx) error {
			return tx.SetControl(ctx, store.Control{System: "salesforce", Direction: store.DirectionDeliver, PerMinute: 48}) // four within five seconds
		}))
		require.NoError(t, w.Turn(t.Context()))
		require.Len(t, waiting(t, w), 4)
		require.Equal(t, "5", w.Twin(edited, w.SF).Values[golden.Phone])
	})
	t.Run("the contacts of customers that are gone go with them", func(t *testing.T) {
		w, customers := braked(t)
		for _, id := range customers[:3] {
			w.ERP.Delete(golden.Customer, id)
		}
		for _, contact := range w.ERP.Records(golden.Contact) {
			if contact.ParentID != customers[3] && contact.ParentID != customers[4] {
				w.ERP.Delete(golden.Contact, contact.Ref.RecordID)
			}
		}
		w.Settle()
		require.Empty(t, waiting(t, w))
		require.Len(t, w.SF.Records(golden.Contact), 2)
	})
}
