package reconcile_test

import (
	"context"
	"flag"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/services/process-customer/internal/engine/enginetest"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/reconcile"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/source/sourcetest"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store/storetest"
)

// records is how many TestCompare_Large compares: go test ./internal/reconcile -run Compare_Large -v -args -records 100000
var records = flag.Int("records", 0, "records that are compared; 3000 when 0")

// TestCompare_Large counts the calls of a comparison of very many records, which are known without having been synchronised:
// systems in memory that count calls as the real ones do, pages of 2,000 and a call per digest there, of 1,000 and a call for
// many digests here.
func TestCompare_Large(t *testing.T) {
	t.Parallel()
	n := *records
	if n == 0 {
		if n = 3000; testing.Short() {
			n = 1200
		}
	}
	for _, system := range []string{"salesforce", "erp"} {
		t.Run("calls do not grow with the records of "+system, func(t *testing.T) {
			t.Parallel()
			d, err := storetest.Schema.Private(t.Context())
			require.NoError(t, err)
			defer d.Close()
			b := &bench{World: enginetest.NewWith(t, d, func(o *sourcetest.Options) {
				o.PageSize = map[string]int{"salesforce": 2000, "erp": 1000}[o.Name]
			}), t: t}
			b.Settle() // both systems were read before anything was in them
			b.begin(reconcile.Config{}, b.Store)
			there := map[string]*sourcetest.Fake{"salesforce": b.SF, "erp": b.ERP}[system]
			ids := make([]string, n)
			for i := range ids {
				ids[i] = there.Create(golden.Customer, "", golden.Values{golden.Name: fmt.Sprintf("Company %d", i)})
			}
			b.know(there)
			for range 2 { // the first comparison lists everything, the second what is recent
				run, found := b.compare(system, false, false)
				require.Equal(t, store.RunDone, run.State, run.Reason)
				require.Empty(t, found)
				b.Clock.Advance(time.Hour)
			}
			equal, found := b.compare(system, false, false)
			require.Empty(t, found)
			require.EqualValues(t, n, equal.Compared)
			for i := range 20 {
				there.Edit(golden.Customer, ids[i*n/20], golden.Values{golden.Phone: fmt.Sprint(i)})
			}
			b.Clock.Advance(time.Hour)
			differ, found := b.compare(system, false, false)
			require.Len(t, found, 20)
			t.Logf("%s: %d records that agree took %d calls, with 20 differences %d; reading them takes %d in pages, %d one by one",
				system, n, equal.Calls, differ.Calls, differ.ReadCalls, n)
			require.LessOrEqual(t, equal.Calls, int64(6))
			require.LessOrEqual(t, differ.Calls, int64(8))

			// What stands differently at known times, and one record that is not there any more.
			for i := range 20 {
				there.Slip(golden.Customer, ids[i*n/20+1], golden.Values{golden.Phone: fmt.Sprint(i)})
			}
			there.Drop(1)
			there.Delete(golden.Customer, ids[n/2+2])
			values, found := b.look(system, store.DepthValues, false)
			require.Equal(t, map[string]int{"DIFFERENT OPEN": 40, "MISSING_THERE OPEN": 1}, kinds(found))
			t.Logf("%s: comparing the values of %d records took %d calls, with 41 differences", system, n, values.Calls)
			require.LessOrEqual(t, values.Calls, values.ReadCalls+3, "the pages, the differences, and what else is where one is missing")
		})
	}
}

// know stores every record of a system as known, as a first sync leaves it.
func (b *bench) know(sys *sourcetest.Fake) {
	b.t.Helper()
	for token, i := "", 0; ; {
		recs, next, err := sys.List(b.t.Context(), golden.Customer, token)
		require.NoError(b.t, err)
		var rows []*store.Source
		for _, rec := range recs {
			i++
			rows = append(rows, &store.Source{
				Ref: rec.Ref, GoldenID: golden.ID(fmt.Sprintf("c_%026d", i)), Version: rec.Version, EventTime: rec.EventTime, Shadow: rec.Values,
			})
		}
		require.NoError(b.t, b.Store.Tx(b.t.Context(), func(ctx context.Context, tx *store.Tx) error { return tx.PutSources(ctx, rows) }))
		if token = next; token == "" {
			return
		}
	}
}
