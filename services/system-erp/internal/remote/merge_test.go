package remote_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/erp"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/store"
)

func TestMerges_AreToldAsTheERPSaysThem(t *testing.T) {
	t.Parallel()
	s, l, c := engine(t)
	made := func(name string) erp.Customer {
		res, err := s.Customers().Upsert(t.Context(), []store.Upsert[erp.Customer]{{
			Record: erp.Customer{Name: name}, Key: erp.Ref{System: "selfsame", Type: "customer", Value: name},
		}})
		require.NoError(t, err)
		require.NoError(t, res[0].Err)
		return res[0].Record
	}
	stays, goes, archived := made("Stays"), made("Goes"), made("Archived")
	require.NoError(t, s.Sync(t.Context()))
	last := func() int64 {
		b, err := s.Bounds(t.Context())
		require.NoError(t, err)
		return b.Newest
	}
	before := last()
	l.set(func() {
		gone := func(id, into string) {
			e := l.customers[id]
			e.c.Deleted, e.c.MergedInto, e.c.Updated = true, into, c.now()
			e.tag++
		}
		gone(goes.ID, stays.ID)
		gone(archived.ID, "")
	})
	require.NoError(t, s.Sync(t.Context()))
	told, err := s.Changes(t.Context(), before, 10)
	require.NoError(t, err)
	into := map[string]string{}
	for _, change := range told {
		require.Equal(t, store.ChangeDeleted, change.Kind)
		into[change.Customer.ID] = change.Customer.MergedInto
	}
	require.Equal(t, map[string]string{goes.ID: stays.ID, archived.ID: ""}, into)

	before = last()
	require.NoError(t, s.Sync(t.Context()))
	require.Equal(t, before, last(), "what is known already is not told again")
	l.set(func() {
		e := l.customers[archived.ID]
		e.c.MergedInto, e.c.Updated = stays.ID, c.now()
		e.tag++
	})
	require.NoError(t, s.Sync(t.Context()))
	found, err := s.Customers().Get(t.Context(), []string{archived.ID})
	require.NoError(t, err)
	require.Equal(t, stays.ID, found[archived.ID].MergedInto, "that it was a merge may be known later than that it is gone")
	require.Equal(t, before+1, last())

	_, err = s.MergeCustomers(t.Context(), stays.ID, goes.ID)
	require.Equal(t, fault.Unimplemented, fault.KindOf(err), "a foreign ERP merges by its own tools")
}
