package deliver_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/services/process-customer/internal/engine/enginetest"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/source/sourcetest"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store"
)

// TestParkedParent is about the contacts of a customer that a system refuses for good: nothing waits for ever.
func TestParkedParent(t *testing.T) {
	t.Parallel()
	refused := func(t *testing.T) (w *enginetest.World, id golden.ID) {
		w = setup(t)
		acme := w.SF.Create(golden.Customer, "", golden.Values{golden.Name: "Acme"})
		for _, name := range []string{"Arndt", "Berg"} {
			w.SF.Create(golden.Contact, acme, golden.Values{golden.LastName: name})
		}
		require.NoError(t, w.Read(t.Context()))
		id = w.Golden(w.SF, golden.Customer, acme).ID
		w.ERP.Refuse(string(id), 1, sourcetest.Permanent())
		w.Settle()
		return w, id
	}
	reasons := func(w *enginetest.World) map[string]int {
		out := map[string]int{}
		for _, l := range w.Dead() {
			out[l.Reason]++
		}
		return out
	}
	t.Run("they are dead letters as it is, and nothing is pending", func(t *testing.T) {
		w, _ := refused(t)
		w.Check()
		require.Equal(t, map[string]int{"RECORD_REFUSED": 1, store.ReasonParentParked: 2}, reasons(w))
		require.Zero(t, backlog(t, w).Pending)
		require.EqualValues(t, 3, w.Line("salesforce").Parked)
	})
	t.Run("they go on by themselves when it does", func(t *testing.T) {
		w, id := refused(t)
		for _, l := range w.Dead() {
			if l.GoldenID == id {
				n, err := w.Desk().Retry(t.Context(), []string{l.ID}, "", 0)
				require.NoError(t, err)
				require.Equal(t, 1, n)
			}
		}
		w.Settle()
		w.Check()
		require.Empty(t, w.Dead())
		require.Len(t, w.ERP.Records(golden.Contact), 2)
		require.Zero(t, w.Line("salesforce").Parked)
	})
	if testing.Short() {
		return
	}
	t.Run("an edit of one that is parked parks it again", func(t *testing.T) {
		w, _ := refused(t)
		w.SF.Edit(golden.Contact, w.SF.Records(golden.Contact)[0].Ref.RecordID, golden.Values{golden.Phone: "1"})
		w.Settle()
		w.Clock.Advance(time.Hour)
		w.Settle()
		require.Equal(t, map[string]int{"RECORD_REFUSED": 1, store.ReasonParentParked: 2}, reasons(w))
	})
}
