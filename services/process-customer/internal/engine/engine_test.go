package engine_test

import (
	"flag"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/selfsame-io/selfsame/pkg/db"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/engine/enginetest"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store/storetest"
)

func TestMain(m *testing.M) {
	flag.Parse()
	if testing.Short() {
		// The fast tests play few histories, `make check` as many as the property asks for.
		if err := flag.Set("rapid.checks", "8"); err != nil {
			panic(err)
		}
	}
	goleak.VerifyTestMain(m)
}

func TestFirstSync(t *testing.T) {
	t.Parallel()
	storetest.Schema.Each(t, func(t *testing.T, d *db.DB) {
		w := enginetest.New(t, d)
		acme := w.SF.Create(golden.Customer, "", golden.Values{golden.Name: "Acme GmbH", golden.TaxID: "DE123456788", golden.Phone: "+49 30 1", golden.Segment: "Industry"})
		anna := w.SF.Create(golden.Contact, acme, golden.Values{golden.FirstName: "Anna", golden.LastName: "Arndt", golden.Email: "anna@acme.example"})
		known := w.ERP.Create(golden.Customer, "", golden.Values{golden.Name: "ACME", golden.TaxID: "DE 123 456 788", golden.Street: "Hauptstr. 1", golden.City: "Köln"})
		other := w.ERP.Create(golden.Customer, "", golden.Values{golden.Name: "Other AG"})
		w.Settle()
		w.Check()

		g := w.Golden(w.SF, golden.Customer, acme)
		require.Equal(t, g.ID, w.Golden(w.ERP, golden.Customer, known).ID, "the tax number says that they are one")
		require.Equal(t, known, g.Values[golden.ERPNumber])
		require.Len(t, w.SF.Records(golden.Customer), 2)
		require.Len(t, w.ERP.Records(golden.Customer), 2)
		require.Equal(t, "Other AG", w.Twin(w.Golden(w.ERP, golden.Customer, other).ID, w.SF).Values[golden.Name])
		twin := w.Twin(w.Golden(w.SF, golden.Contact, anna).ID, w.ERP)
		require.Equal(t, known, twin.ParentID)
	})
}
