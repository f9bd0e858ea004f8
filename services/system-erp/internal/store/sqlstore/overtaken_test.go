package sqlstore

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/services/system-erp/internal/erp"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/store"
)

// TestOvertaken lets another replica finish the same upsert between any two statements of this one. Where each statement sees
// what was committed before it, half of the other's record may come into view; the upsert must then find that record, and
// never be refused because of it.
func TestOvertaken(t *testing.T) {
	t.Parallel()
	d := template.Open(t, "postgres") // on SQLite nobody can overtake a writer
	slow, fast := open(t, d, Options{}), open(t, d, Options{})
	steps := 0
	for at := 1; ; at++ {
		name := time.Duration(at).String()
		batch := []store.Upsert[erp.Customer]{{
			Key: erp.Ref{System: "z", Type: "t", Value: name},
			Record: erp.Customer{
				Head: erp.Head{Refs: []erp.Ref{{System: "a", Type: "t", Value: name}}}, Name: name, Number: name,
				TaxIDs: []erp.TaxID{{Scheme: "s", Value: "1"}}, Addresses: []erp.Address{{City: "C"}},
			},
		}}
		seen, won, gaveUp := 0, false, false
		slow.wrap = func(q execer) execer {
			return between{execer: q, at: at, seen: &seen, do: func() error {
				// Once this writer holds the reference, the other has to wait for it and gives up.
				ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
				defer cancel()
				res, err := fast.Customers().Upsert(ctx, batch)
				won, gaveUp = err == nil && res[0].Outcome == erp.Created, err != nil
				return nil
			}}
		}
		res, err := slow.Customers().Upsert(t.Context(), batch)
		require.NoError(t, err)
		require.NoError(t, res[0].Err, "overtaken before statement %d", at)
		if seen < at {
			break
		}
		steps = at
		want := erp.Created
		if won {
			want = erp.Unchanged
		}
		if gaveUp && res[0].Outcome == erp.Unchanged {
			want = erp.Unchanged // its time was over while it committed
		}
		require.Equal(t, want, res[0].Outcome, "overtaken before statement %d", at)
		found, err := fast.Customers().Lookup(t.Context(), batch[0].Key)
		require.NoError(t, err)
		require.Equal(t, res[0].Record, found)
	}
	require.GreaterOrEqual(t, steps, 6)
}
