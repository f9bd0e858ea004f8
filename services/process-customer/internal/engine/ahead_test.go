package engine_test

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/services/process-customer/internal/engine"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/engine/enginetest"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/source/sourcetest"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store/storetest"
)

// TestAhead takes the same batches in, writing what changes did ahead of the next ones or only in the end.
func TestAhead(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"sqlite", "postgres"} {
		t.Run(name+": when something was written makes no difference", func(t *testing.T) {
			t.Parallel()
			want, few := aheadOf(t, name, math.MaxInt)
			often := []int{1, 2}
			if testing.Short() {
				often = often[:1]
			}
			for _, n := range often {
				got, many := aheadOf(t, name, n)
				require.Equal(t, want, got, "written after every %d changes", n)
				require.Greater(t, many, few, "records are written more often")
			}
		})
	}
}

// aheadOf returns what both systems hold and by what customers are recognised, after batches that touch things again and again, and
// how many times records of systems were written, in one statement or one after the other.
func aheadOf(t *testing.T, name string, n int) (out []string, writes int64) {
	t.Helper()
	w := enginetest.NewWith(t, storetest.Schema.Open(t, name), func(o *sourcetest.Options) { o.PageSize, o.BatchSize = 100, 100 })
	w.Ahead = n
	var wrote atomic.Int64
	var writing atomic.Bool
	w.Wrap(func(engine.Store) engine.Store {
		return w.Store.Through(func(_ context.Context, query string, args []any) (string, []any, error) {
			if now := strings.Contains(query, "INSERT INTO source_record"); !writing.Swap(now) && now {
				wrote.Add(1)
			}
			return query, args, nil
		})
	}, nil)
	w.Start()
	who := func(i int, tax, phone string) golden.Values {
		return golden.Values{golden.Name: fmt.Sprintf("Customer %d GmbH", i), golden.TaxID: "DE10000000" + tax, golden.PostalCode: "50667", golden.Phone: phone}
	}
	moved := func(i int, tax, phone string) golden.Values {
		v := who(i, tax, phone)
		v[golden.PostalCode] = "50668"
		return v
	}
	// One scan: the third and the fifth belong to a customer that an earlier one has made, and change what it is recognised by.
	ids := []string{
		w.ERP.Create(golden.Customer, "", who(1, "1", "1")), w.ERP.Create(golden.Customer, "", who(2, "2", "2")),
		w.ERP.Create(golden.Customer, "", moved(1, "1", "3")), w.ERP.Create(golden.Customer, "", who(4, "4", "4")),
		w.ERP.Create(golden.Customer, "", moved(2, "2", "5")),
	}
	w.ERP.Create(golden.Contact, ids[3], golden.Values{golden.LastName: "Kern", golden.Email: "kern@example.com"})
	w.SF.Create(golden.Customer, "", who(4, "4", "6"))
	w.Settle()
	first := recognised(t, w, ids)
	w.Clock.Advance(time.Hour)
	edit := func(i int, field, value string) { w.ERP.Edit(golden.Customer, ids[i], golden.Values{field: value}) }
	edit(0, golden.Phone, "10") // one record again and again, with others in between
	edit(1, golden.TaxID, "DE100000007")
	edit(0, golden.Name, "Renamed 1 GmbH")
	edit(3, golden.TaxID, "DE100000002")
	edit(2, golden.Name, "Renamed 3 GmbH")
	edit(0, golden.Phone, "11")
	w.ERP.Delete(golden.Customer, ids[4])
	w.Settle()
	w.Check()
	return slices.Concat(first, recognised(t, w, ids), picture(t, w.SF), picture(t, w.ERP)), wrote.Load()
}

// recognised returns by what the customers of records are recognised, and what happened to them.
func recognised(t *testing.T, w *enginetest.World, ids []string) []string {
	t.Helper()
	known, err := w.Store.Read().Known(t.Context(), w.ERP.Name(), golden.Customer, ids)
	require.NoError(t, err)
	var owners []golden.ID
	for _, id := range ids {
		owners = append(owners, known[id].GoldenID)
	}
	keys, err := w.Store.Read().KeysOf(t.Context(), owners)
	require.NoError(t, err)
	require.NotEmpty(t, keys)
	var out []string
	for i, id := range owners {
		out = append(out, fmt.Sprintf("%d: %v", i, w.Events(id)))
	}
	for _, k := range keys {
		out = append(out, fmt.Sprintf("%s %q of customer %d", k.Kind, k.Value, slices.Index(owners, k.GoldenID)))
	}
	slices.Sort(out)
	return out
}
