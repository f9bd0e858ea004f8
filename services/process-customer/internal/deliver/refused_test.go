package deliver_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/deadletter"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/source/sourcetest"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store"
)

// TestRefused is about records that a system does not take, or does not show.
func TestRefused(t *testing.T) {
	t.Parallel()
	t.Run("one refused record of a batch is parked and the others arrive", func(t *testing.T) {
		w := setup(t)
		var ids []string
		for i := range 5 {
			ids = append(ids, w.SF.Create(golden.Customer, "", golden.Values{golden.Name: fmt.Sprintf("Customer %d", i)}))
		}
		require.NoError(t, w.Read(t.Context()))
		bad := w.Golden(w.SF, golden.Customer, ids[2])
		w.ERP.Refuse(string(bad.ID), -1, sourcetest.Permanent())
		w.Settle()
		require.Len(t, w.ERP.Records(golden.Customer), 4)
		dead := w.Dead()
		require.Len(t, dead, 1)
		require.Equal(t, bad.ID, dead[0].GoldenID)
		require.Equal(t, "RECORD_REFUSED", dead[0].Reason)
		require.EqualValues(t, 1, w.Line("salesforce").Parked)
		require.Contains(t, w.Events(bad.ID), "parked")

		w.ERP.Refuse(string(bad.ID), 0, nil)
		n, err := w.Desk().Retry(t.Context(), []string{dead[0].ID}, "", deadletter.SameStep)
		require.NoError(t, err)
		require.Equal(t, 1, n)
		w.Settle()
		w.Check()
		require.Empty(t, w.Dead())
		line := w.Line("salesforce")
		require.Zero(t, line.Parked+line.Retrying)
		n, err = w.Desk().Retry(t.Context(), []string{dead[0].ID}, "", deadletter.SameStep)
		require.NoError(t, err)
		require.Zero(t, n, "it is settled")
	})
	t.Run("a later change that arrives resolves the dead letter", func(t *testing.T) {
		w := setup(t)
		id := w.SF.Create(golden.Customer, "", golden.Values{golden.Name: "Acme"})
		require.NoError(t, w.Read(t.Context()))
		g := w.Golden(w.SF, golden.Customer, id)
		w.ERP.Refuse(string(g.ID), 1, sourcetest.Permanent())
		w.Settle()
		letter := w.Dead()[0]
		w.SF.Edit(golden.Customer, id, golden.Values{golden.Phone: "1"})
		w.Settle()
		w.Check()
		got, err := w.Store.Read().DeadLetter(t.Context(), letter.ID)
		require.NoError(t, err)
		require.Equal(t, store.DeadResolved, got.State)
		require.Zero(t, w.Line("salesforce").Parked)
	})
	t.Run("a letter that is discarded refuses what it held", func(t *testing.T) {
		w := setup(t)
		id := w.SF.Create(golden.Customer, "", golden.Values{golden.Name: "Acme"})
		require.NoError(t, w.Read(t.Context()))
		w.ERP.Refuse(string(w.Golden(w.SF, golden.Customer, id).ID), -1, sourcetest.Permanent())
		w.Settle()
		got, err := w.Desk().Discard(t.Context(), w.Dead()[0].ID, "not wanted in the ERP")
		require.NoError(t, err)
		require.Equal(t, store.DeadDiscarded, got.State)
		line := w.Line("salesforce")
		require.EqualValues(t, 1, line.Refused)
		require.True(t, line.Balanced())
		again, err := w.Desk().Discard(t.Context(), got.ID, "twice")
		require.NoError(t, err)
		require.Equal(t, "not wanted in the ERP", again.Note)
		_, err = w.Desk().Discard(t.Context(), "d_none", "x")
		require.Equal(t, fault.NotFound, fault.KindOf(err))
	})
	t.Run("a record that is hidden from us is not taken for a deleted one, and its delivery becomes a dead letter", func(t *testing.T) {
		w := setup(t)
		id := w.SF.Create(golden.Customer, "", golden.Values{golden.Name: "Acme"})
		w.Settle()
		customer := w.Golden(w.SF, golden.Customer, id).ID
		w.SF.Hide(golden.Customer, id, true)
		w.ERP.Edit(golden.Customer, w.Twin(customer, w.ERP).Ref.RecordID, golden.Values{golden.Phone: "+41 1"})
		w.Settle()
		require.Len(t, w.Dead(), 1)
		require.Equal(t, sourcetest.ReasonRecordUnknown, w.Dead()[0].Reason)
		require.NotContains(t, w.Events(customer), "deleted")
		w.SF.Hide(golden.Customer, id, false)
		_, err := w.Desk().Retry(t.Context(), nil, "salesforce", deadletter.SameStep)
		require.NoError(t, err)
		w.Settle()
		w.Check()
		rec, _ := w.SF.Record(golden.Customer, id)
		require.Equal(t, "+41 1", rec.Values[golden.Phone])
	})
	t.Run("a record that was deleted is found out however often its delivery was tried before", func(t *testing.T) {
		w := setup(t)
		id := w.SF.Create(golden.Customer, "", golden.Values{golden.Name: "Acme"})
		w.Settle()
		customer := w.Golden(w.SF, golden.Customer, id).ID
		w.SF.Refuse(id, 6, sourcetest.Transient())
		w.ERP.Edit(golden.Customer, w.Twin(customer, w.ERP).Ref.RecordID, golden.Values{golden.Phone: "+41 1"})
		require.NoError(t, w.Read(t.Context()))
		for range 6 {
			require.NoError(t, w.Deliver(t.Context()))
			w.Clock.Advance(time.Hour)
		}
		rec, _ := w.SF.Record(golden.Customer, id)
		require.NotEqual(t, "+41 1", rec.Values[golden.Phone], "it is still to be written")
		w.SF.Drop(1)
		w.SF.Delete(golden.Customer, id)
		w.Settle()
		rows, err := w.Store.Read().Sources(t.Context(), "salesforce", golden.Customer, []string{id})
		require.NoError(t, err)
		require.True(t, rows[0].Deleted)
		require.Empty(t, w.Dead())
	})
	t.Run("a record that is locked for now is tried again with growing waits", func(t *testing.T) {
		w := setup(t)
		id := w.SF.Create(golden.Customer, "", golden.Values{golden.Name: "Acme"})
		require.NoError(t, w.Read(t.Context()))
		w.ERP.Refuse(string(w.Golden(w.SF, golden.Customer, id).ID), 2, sourcetest.Transient())
		require.NoError(t, w.Deliver(t.Context()))
		require.EqualValues(t, 1, backlog(t, w).Retrying)
		calls := w.ERP.Calls(sourcetest.OpUpsert)
		require.NoError(t, w.Deliver(t.Context()))
		require.Equal(t, calls, w.ERP.Calls(sourcetest.OpUpsert), "not before it is due")
		w.Settle()
		w.Check()
		require.Contains(t, w.Events(w.Golden(w.SF, golden.Customer, id).ID), "failed")
	})
	t.Run("an unclassified failure of one record becomes a dead letter after some attempts", func(t *testing.T) {
		w := setup(t)
		id := w.SF.Create(golden.Customer, "", golden.Values{golden.Name: "Acme"})
		require.NoError(t, w.Read(t.Context()))
		w.ERP.Refuse(string(w.Golden(w.SF, golden.Customer, id).ID), -1, fault.New(fault.Internal, "BUG", "a defect"))
		w.Settle()
		require.Len(t, w.Dead(), 1)
		require.Equal(t, 5, w.Dead()[0].Attempts)
	})
	t.Run("a conflict is read, taken in and written again over the newer version", func(t *testing.T) {
		w := setup(t)
		id := w.SF.Create(golden.Customer, "", golden.Values{golden.Name: "Acme", golden.Phone: "1", golden.Website: "https://a.example"})
		w.Settle()
		erpID := w.Twin(w.Golden(w.SF, golden.Customer, id).ID, w.ERP).Ref.RecordID
		w.SF.Edit(golden.Customer, id, golden.Values{golden.Phone: "2"})
		require.NoError(t, w.Read(t.Context()))
		w.ERP.Edit(golden.Customer, erpID, golden.Values{golden.City: "Köln"}) // not read yet
		require.NoError(t, w.Deliver(t.Context()))
		rec, _ := w.ERP.Record(golden.Customer, erpID)
		require.Equal(t, "2", rec.Values[golden.Phone])
		require.Equal(t, 1, w.ERP.Calls(sourcetest.OpFetch))
		w.Settle()
		w.Check()
		sf, _ := w.SF.Record(golden.Customer, id)
		require.Equal(t, "Köln", sf.Values[golden.City])
	})
	t.Run("a record that was deleted meanwhile is noticed and left alone", func(t *testing.T) {
		w := setup(t)
		w.Deleting = true
		id := w.SF.Create(golden.Customer, "", golden.Values{golden.Name: "Acme"})
		w.Settle()
		w.ERP.Hold()
		w.ERP.Delete(golden.Customer, w.Twin(w.Golden(w.SF, golden.Customer, id).ID, w.ERP).Ref.RecordID)
		w.SF.Edit(golden.Customer, id, golden.Values{golden.Phone: "2"})
		w.Settle()
		require.Empty(t, w.ERP.Records(golden.Customer))
		require.Empty(t, w.Dead())
		w.ERP.Release(nil)
		w.Settle()
		w.Check()
	})
}
