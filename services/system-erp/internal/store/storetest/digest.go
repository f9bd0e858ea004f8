package storetest

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/pkg/db"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/erp"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/store"
)

func digests(t *testing.T, open Open) {
	digest := func(t *testing.T, s store.Store, spans ...store.Span) []store.Digest {
		t.Helper()
		got, err := s.Customers().Digest(t.Context(), spans)
		require.NoError(t, err)
		require.Len(t, got, len(spans))
		return got
	}
	cases(t, open, map[string]func(t *testing.T, s store.Store){
		"nothing sums up to nothing": func(t *testing.T, s store.Store) {
			require.Equal(t, []store.Digest{{}, {}}, digest(t, s, store.Span{}, store.Span{From: 5, Until: 6}))
			stamps, err := s.Contacts().Stamps(t.Context(), store.Span{}, nil, 10)
			require.NoError(t, err)
			require.Empty(t, stamps)
		},
		"a digest is what its records are, deleted ones left out": func(t *testing.T, s store.Store) {
			var want store.Digest
			var ids []string
			for i := range 7 {
				c := makeCustomer(t, s, fmt.Sprint(i))
				if i == 3 {
					_, err := s.Customers().Delete(t.Context(), c.ID)
					require.NoError(t, err)
					continue
				}
				at := db.Micros(c.Updated)
				want.Count++
				want.Sum += at % store.DigestModulus
				if want.First == 0 || at < want.First {
					want.First = at
				}
				want.Last = max(want.Last, at)
				ids = append(ids, c.ID)
			}
			require.Equal(t, want, digest(t, s, store.Span{})[0])
			halves := digest(t, s, store.Span{Until: want.Last}, store.Span{From: want.Last})
			require.Equal(t, want.Count, halves[0].Count+halves[1].Count)
			require.Equal(t, want.Sum, halves[0].Sum+halves[1].Sum)
			require.Equal(t, want.Last, halves[1].First)

			var got []string
			var after *store.StampCursor
			for {
				page, err := s.Customers().Stamps(t.Context(), store.Span{}, after, 2)
				require.NoError(t, err)
				for _, r := range page {
					got = append(got, r.ID)
					after = &store.StampCursor{At: r.At, ID: r.ID}
				}
				if len(page) < 2 {
					break
				}
			}
			require.ElementsMatch(t, ids, got)
		},
		"a change moves its record to the end": func(t *testing.T, s store.Store) {
			first := makeCustomer(t, s, "first")
			makeCustomer(t, s, "second")
			before := digest(t, s, store.Span{})[0]
			_, err := s.Customers().Update(t.Context(), store.Upsert[erp.Customer]{Record: erp.Customer{Head: erp.Head{ID: first.ID}, Name: "Other"}})
			require.NoError(t, err)
			after := digest(t, s, store.Span{})[0]
			require.Equal(t, before.Count, after.Count)
			require.NotEqual(t, before.Sum, after.Sum)
			recent, err := s.Customers().Stamps(t.Context(), store.Span{From: before.Last + 1}, nil, 10)
			require.NoError(t, err)
			if len(recent) > 0 { // unless all of it was one microsecond
				require.Equal(t, first.ID, recent[0].ID)
			}
			none, err := s.Customers().Stamps(t.Context(), store.Span{From: db.Micros(time.Now().Add(time.Hour))}, nil, 10)
			require.NoError(t, err)
			require.Empty(t, none)
		},
	})
}
