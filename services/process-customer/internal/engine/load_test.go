package engine_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/services/process-customer/internal/engine/enginetest"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/source/sourcetest"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store/storetest"
)

// fill makes n customers and half as many contacts again in Salesforce.
func fill(w *enginetest.World, customers, contacts int) {
	ids := make([]string, customers)
	for i := range customers {
		ids[i] = w.SF.Create(golden.Customer, "", golden.Values{
			golden.Name: fmt.Sprintf("Customer %d GmbH", i), golden.TaxID: fmt.Sprintf("DE%09d", i), golden.Email: fmt.Sprintf("office@c%d.example", i),
			golden.Phone: fmt.Sprintf("+49 30 %d", i), golden.Street: fmt.Sprintf("Hauptstr. %d", i), golden.City: "Köln", golden.PostalCode: "50667",
			golden.Country: "DE", golden.Segment: "Industry",
		})
	}
	for i := range contacts {
		w.SF.Create(golden.Contact, ids[i%customers], golden.Values{
			golden.FirstName: "Anna", golden.LastName: fmt.Sprintf("Person %d", i), golden.Email: fmt.Sprintf("p%d@c%d.example", i, i%customers),
			golden.Phone: fmt.Sprintf("+49 30 %d", i),
		})
	}
}

func TestCallsPerRecord(t *testing.T) {
	t.Parallel()
	t.Run("a first sync needs at most two calls for a hundred records", func(t *testing.T) {
		t.Parallel()
		w := enginetest.New(t, storetest.Schema.Open(t, "sqlite"))
		customers, contacts := 200, 300
		if testing.Short() {
			customers, contacts = 60, 90
		}
		fill(w, customers, contacts)
		require.NoError(t, w.Turn(t.Context()))
		require.Len(t, w.ERP.Records(golden.Contact), contacts)
		calls := w.ERP.Calls(sourcetest.OpUpsert) + w.ERP.Calls(sourcetest.OpFetch) + w.SF.Calls(sourcetest.OpUpsert) + w.SF.Calls(sourcetest.OpFetch)
		require.LessOrEqual(t, calls, 10, "for %d records written", customers+contacts)
		require.Equal(t, min(200, contacts), w.ERP.LargestBatch())
		w.Settle()
		w.Check()
	})
}

func BenchmarkFirstSync(b *testing.B) {
	for _, engine := range []string{"sqlite", "postgres"} {
		b.Run(engine, func(b *testing.B) {
			for b.Loop() {
				b.StopTimer()
				w := enginetest.NewWith(b, storetest.Schema.Open(b, engine), func(o *sourcetest.Options) { o.PageSize, o.BatchSize = 1000, 200 })
				fill(w, 10_000, 15_000)
				b.StartTimer()
				begun := time.Now()
				require.NoError(b, w.Read(b.Context()))
				b.ReportMetric(time.Since(begun).Seconds(), "s/read")
				require.NoError(b, w.Deliver(b.Context()))
				b.ReportMetric(time.Since(begun).Seconds(), "s/delivered")
				require.NoError(b, w.Read(b.Context()))
				require.NoError(b, w.Deliver(b.Context()))
				b.ReportMetric(time.Since(begun).Seconds(), "s/settled")
				require.Len(b, w.ERP.Records(golden.Contact), 15_000)
			}
		})
	}
}

// BenchmarkEdits takes in edits of customers that are known, a batch at a time.
func BenchmarkEdits(b *testing.B) {
	for _, engine := range []string{"sqlite", "postgres"} {
		b.Run(engine, func(b *testing.B) {
			c := newCrowd(b, storetest.Schema.Open(b, engine), 10*perBatch)
			n := 0
			for b.Loop() {
				n++
				c.take(c.edits())
			}
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(n*perBatch), "µs/change")
		})
	}
}
