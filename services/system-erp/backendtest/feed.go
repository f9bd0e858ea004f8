package backendtest

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/services/system-erp/internal/erp"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/store"
)

// changes reads the feed after a position, in calls of limit, and checks that it has no holes.
func (w *World) changes(t *testing.T, after int64, limit int) (list []store.Change, calls int) {
	t.Helper()
	for {
		page, err := w.Backend.Changes(t.Context(), after, limit)
		require.NoError(t, err)
		calls++
		for _, c := range page {
			require.Equal(t, after+1, c.Position, "no hole")
			after = c.Position
		}
		list = append(list, page...)
		if len(page) < limit {
			return list, calls
		}
	}
}

func (w *World) newest(t *testing.T) int64 {
	t.Helper()
	b, err := w.Backend.Bounds(t.Context())
	require.NoError(t, err)
	return b.Newest
}

func feedCases() map[string]func(t *testing.T, w *World) {
	return map[string]func(t *testing.T, w *World){
		"every write is a change, and a write that changes nothing is none": func(t *testing.T, w *World) {
			w.sync(t)
			at := w.newest(t)
			c := w.customer(t, "f")
			require.NoError(t, one(t, w.Backend, upsert{Key: w.ref("f"), Record: w.company("f")}).Err)
			require.NoError(t, one(t, w.Backend, upsert{Key: w.ref("f"), Record: erp.Customer{Name: w.name("f2")}}).Err)
			w.sync(t)
			var mine []store.ChangeKind
			list, _ := w.changes(t, at, 100)
			for _, ch := range list {
				if ch.Customer != nil && ch.Customer.ID == c.ID {
					mine = append(mine, ch.Kind)
				}
			}
			require.Equal(t, []store.ChangeKind{store.ChangeCreated, store.ChangeUpdated}, mine, "what we wrote does not come back as news")
		},
		"what others change in the ERP is seen": func(t *testing.T, w *World) {
			c := w.customer(t, "out")
			w.sync(t)
			at := w.newest(t)
			require.NoError(t, w.Outside.Rename(t.Context(), c.ID, w.name("out2")))
			w.sync(t)
			list, _ := w.changes(t, at, 100)
			require.True(t, slices.ContainsFunc(list, func(ch store.Change) bool {
				return ch.Customer != nil && ch.Customer.ID == c.ID && ch.Customer.Name == w.name("out2") && ch.Kind == store.ChangeUpdated
			}))
			now, err := w.Backend.Customers().Lookup(t.Context(), w.ref("out"))
			require.NoError(t, err)
			require.Equal(t, w.name("out2"), now.Name)
			require.Greater(t, now.Version, c.Version)
			// A writer who knows the state before is told so.
			res := one(t, w.Backend, upsert{Key: w.ref("out"), Record: erp.Customer{Name: w.name("out3")}, Expected: c.Version})
			require.Error(t, res.Err)
		},
		"a change made in the ERP between our reading and writing is not overwritten": func(t *testing.T, w *World) {
			c := w.customer(t, "race")
			require.NoError(t, w.Outside.Rename(t.Context(), c.ID, w.name("race2")))
			// Nothing was synchronised: the back end must look for itself.
			res := one(t, w.Backend, upsert{Key: w.ref("race"), Record: erp.Customer{Phone: "+49 40 1"}})
			require.NoError(t, res.Err)
			require.Equal(t, []string{w.name("race2"), "+49 40 1"}, []string{res.Record.Name, res.Record.Phone})
			stale := one(t, w.Backend, upsert{Key: w.ref("race"), Record: erp.Customer{Name: "x"}, Expected: c.Version})
			require.Error(t, stale.Err)
		},
		"customers of others appear with what they are": func(t *testing.T, w *World) {
			w.sync(t)
			at := w.newest(t)
			id, err := w.Outside.Make(t.Context(), w.name("new"), w.ref("new"))
			require.NoError(t, err)
			w.sync(t)
			list, _ := w.changes(t, at, 100)
			i := slices.IndexFunc(list, func(ch store.Change) bool { return ch.Customer != nil && ch.Customer.ID == id })
			require.GreaterOrEqual(t, i, 0)
			require.Equal(t, store.ChangeCreated, list[i].Kind)
			c, err := w.Backend.Customers().Lookup(t.Context(), w.ref("new"))
			require.NoError(t, err)
			require.Equal(t, id, c.ID, "a reference the ERP carries is found")
		},
		"writers at once leave a feed without holes": func(t *testing.T, w *World) {
			at := w.newest(t)
			n := min(w.Large, 40)
			together(t, 4, func(worker int) error {
				var batch []upsert
				for i := worker; i < n; i += 4 {
					batch = append(batch, upsert{Key: w.ref("w" + key(i)), Record: erp.Customer{Name: w.name("w" + key(i))}})
				}
				res, err := w.Backend.Customers().Upsert(t.Context(), batch)
				if err != nil {
					return err
				}
				for _, r := range res {
					if r.Err != nil {
						return r.Err
					}
				}
				return nil
			})
			list, calls := w.changes(t, at, 1000)
			require.GreaterOrEqual(t, len(list), n)
			require.LessOrEqual(t, calls, len(list)/1000+1)
		},
	}
}
