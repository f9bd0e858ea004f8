package fold_test

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/engine/enginetest"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/source"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/source/sourcetest"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store/storetest"
)

// lateWorld has a customer whose phone "2" was sent to Salesforce by a call that nobody has answered, and that was
// overtaken by "3", which Salesforce has acknowledged. It returns the record there and what lets the first call arrive.
func lateWorld(t *testing.T) (w *enginetest.World, id string, arrive func()) {
	t.Helper()
	w = enginetest.New(t, storetest.Schema.Open(t, "sqlite"))
	id = w.SF.Create(golden.Customer, "", golden.Values{golden.Name: "Acme GmbH", golden.TaxID: "DE100000001", golden.Phone: "1"})
	w.Settle()
	erp := w.Twin(w.Golden(w.SF, golden.Customer, id).ID, w.ERP).Ref.RecordID
	for _, phone := range []string{"2", "3"} {
		w.Clock.Advance(time.Minute)
		w.ERP.Edit(golden.Customer, erp, golden.Values{golden.Phone: phone})
		require.NoError(t, w.Read(t.Context()))
		if phone == "2" {
			w.SF.Fail(sourcetest.OpUpsert, fault.New(fault.Timeout, fault.ReasonTimeout, "no answer"))
		}
		require.NoError(t, w.Deliver(t.Context()))
	}
	rec, ok := w.SF.Record(golden.Customer, id)
	require.True(t, ok)
	require.Equal(t, "3", rec.Values[golden.Phone])
	return w, id, func() {
		w.Clock.Advance(time.Minute)
		_, err := w.SF.Upsert(t.Context(), golden.Customer, []source.Write{{
			Ref: golden.Ref{System: "salesforce", Object: golden.Customer, RecordID: id}, Values: golden.Values{golden.Phone: "2"},
		}})
		require.NoError(t, err)
	}
}

// claimed reports whether a phone counts as the word of somebody in Salesforce.
func claimed(t *testing.T, w *enginetest.World, id, phone string) bool {
	t.Helper()
	rows, err := w.Store.Read().Sources(t.Context(), "salesforce", golden.Customer, []string{id})
	require.NoError(t, err)
	require.Len(t, rows, 1)
	return slices.ContainsFunc(rows[0].Claims[golden.Phone], func(c golden.Claim) bool { return c.Value == phone })
}

func TestLateWrites(t *testing.T) {
	t.Parallel()

	t.Run("one that is met by reading what somebody else has changed is ours, and is corrected", func(t *testing.T) {
		t.Parallel()
		w, id, arrive := lateWorld(t)
		w.SF.Edit(golden.Customer, id, golden.Values{golden.Website: "https://acme.example"})
		arrive()
		w.Settle()
		g := w.Golden(w.SF, golden.Customer, id)
		require.Equal(t, []string{"3", "https://acme.example"}, []string{g.Values[golden.Phone], g.Values[golden.Website]})
		require.False(t, claimed(t, w, id, "2"))
		w.Check()
	})

	t.Run("one that somebody else's change of something else has followed before either is read is ours, too", func(t *testing.T) {
		t.Parallel()
		w, id, arrive := lateWorld(t)
		w.Settle()
		arrive()
		w.Clock.Advance(time.Second)
		w.SF.Edit(golden.Customer, id, golden.Values{golden.Website: "https://acme.example"})
		w.Settle()
		g := w.Golden(w.SF, golden.Customer, id)
		require.Equal(t, []string{"3", "https://acme.example"}, []string{g.Values[golden.Phone], g.Values[golden.Website]})
		require.False(t, claimed(t, w, id, "2"))
		rec, _ := w.SF.Record(golden.Customer, id)
		require.Equal(t, "3", rec.Values[golden.Phone])
		w.Check()
	})

	t.Run("one that arrives before its successor is seen is told apart from an old reading", func(t *testing.T) {
		t.Parallel()
		w, id, arrive := lateWorld(t)
		arrive()
		require.NoError(t, w.Read(t.Context()))
		rows, err := w.Store.Read().Sources(t.Context(), "salesforce", golden.Customer, []string{id})
		require.NoError(t, err)
		require.Equal(t, "2", rows[0].Shadow[golden.Phone], "it is known to be there, and to be written over")
		w.Settle()
		require.Equal(t, "3", w.Golden(w.SF, golden.Customer, id).Values[golden.Phone])
		require.False(t, claimed(t, w, id, "2"))
		w.Check()
	})

	t.Run("a person who types the same value is heard", func(t *testing.T) {
		t.Parallel()
		w, id, _ := lateWorld(t)
		w.Clock.Advance(time.Minute)
		w.SF.Edit(golden.Customer, id, golden.Values{golden.Phone: "2"})
		w.Settle()
		require.Equal(t, "2", w.Golden(w.SF, golden.Customer, id).Values[golden.Phone])
		require.True(t, claimed(t, w, id, "2"))
		w.Check()
	})

	t.Run("a value that did arrive is nobody's word for good", func(t *testing.T) {
		t.Parallel()
		w, id, arrive := lateWorld(t)
		w.Settle()
		arrive()
		w.Settle()
		rec, _ := w.SF.Record(golden.Customer, id)
		require.Equal(t, "3", rec.Values[golden.Phone])
		require.Equal(t, store.Line{}.Parked, w.Line("salesforce").Parked)
		w.Check()
	})
}
