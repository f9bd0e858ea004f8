package fold_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/pkg/telemetry"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/engine/enginetest"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/erase"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/intake"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/source"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store/storetest"
)

// TestWorkedExample16 is the last of the worked examples: the record of one system is erased, its events come again, older
// and newer ones, and the customer lives on what the other system said itself.
func TestWorkedExample16(t *testing.T) {
	t.Parallel()
	w := enginetest.New(t, storetest.Schema.Open(t, "sqlite"))
	w.Rules = parse(t, exampleRules)
	w.Start()
	w.Deleting = true
	w.Settle()
	bp7 := w.ERP.Create(golden.Customer, "", golden.Values{
		golden.Name: "ACME GmbH", golden.TaxID: "DE100000001", golden.Street: "Ring 9", golden.PostalCode: "20095", golden.City: "Hamburg", golden.Email: "b@x.de", golden.Phone: "040 2",
	})
	w.Settle()
	w.Clock.Advance(time.Minute)
	a := w.SF.Records(golden.Customer)[0].Ref.RecordID
	w.SF.Edit(golden.Customer, a, golden.Values{golden.Name: "Acme", golden.Email: "a@x.de", golden.Phone: "030 1", golden.Street: "Hauptstr 1"})
	w.Settle()
	id := w.Golden(w.ERP, golden.Customer, bp7).ID
	values := func() golden.Values {
		g, err := w.Store.Read().Goldens(t.Context(), []golden.ID{id})
		require.NoError(t, err)
		require.Len(t, g, 1)
		require.False(t, g[0].Deleted)
		return g[0].Values
	}
	require.Equal(t, []string{"Acme", "a@x.de", "030 1"}, pick(values(), golden.Name, golden.Email, golden.Phone))
	old := w.SF.Changes()

	desk := erase.New(erase.Deps{
		Store: w.Store, Folder: w.Folder, Systems: w.Systems, Now: w.Clock.Now, Telemetry: telemetry.Discard(),
		Answers: func(context.Context, string) (int, error) { return 0, nil },
	})
	_, err := desk.Erase(t.Context(), erase.Request{ID: id, Systems: []string{"salesforce"}, Reason: "asked for it"})
	require.NoError(t, err)
	own := []string{"ACME GmbH", "b@x.de", "040 2", "Ring 9"}
	own16 := func() []string { return pick(values(), golden.Name, golden.Email, golden.Phone, golden.Street) }
	require.Equal(t, own, own16(), "the golden record lives on the ERP's own words")
	_, err = desk.Round(t.Context())
	require.NoError(t, err)
	require.Empty(t, w.SF.Records(golden.Customer))

	newer := source.Change{ID: "newer", Ref: old[0].Ref, Version: old[0].Version + 1_000_000, CommitTime: w.Clock.Now()}
	newer.Record = &source.Record{Ref: newer.Ref, Version: newer.Version, EventTime: newer.CommitTime, Values: golden.Values{golden.Name: "Again", golden.Email: "a@x.de"}}
	for _, c := range append(old, newer) {
		c.ID += " again"
		out, err := w.Intake.Take(t.Context(), "salesforce", intake.Batch{Changes: []source.Change{c}})
		require.NoError(t, err)
		require.Equal(t, map[string]int{store.Refused: 1}, out.Counts, "void for ever")
	}
	_, err = desk.Round(t.Context())
	require.NoError(t, err)
	w.Settle()
	require.Equal(t, own, own16())
	require.Empty(t, w.SF.Records(golden.Customer), "it is not made there again, either")
	rec, ok := w.ERP.Record(golden.Customer, bp7)
	require.True(t, ok)
	require.Equal(t, "b@x.de", rec.Values[golden.Email])
}
