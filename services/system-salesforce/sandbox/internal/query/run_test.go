package query

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/schema"
	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/store"
	"github.com/stretchr/testify/require"
)

var start = time.Date(2026, 5, 14, 10, 0, 0, 0, time.UTC)

// random fills a store with accounts over a few seconds, changes some of them
// and deletes others.
func random(t *testing.T, rng *rand.Rand) (*store.Store, *schema.Schema) {
	t.Helper()
	s, err := schema.Load()
	require.NoError(t, err)
	now := start
	st := store.New(store.Options{Schema: s, Now: func() time.Time { return now }})
	o := s.Object("Account")
	var ids []string
	for range 300 {
		now = now.Add(time.Duration(rng.IntN(400)) * time.Millisecond)
		require.NoError(t, st.Write(store.Meta{}, func(tx *store.Tx) error {
			switch {
			case len(ids) > 10 && rng.IntN(4) == 0:
				_ = tx.Update(o, ids[rng.IntN(len(ids))], map[string]any{"ERP_Customer_Number__c": fmt.Sprint("n", rng.IntN(9))})
			case len(ids) > 10 && rng.IntN(9) == 0:
				_ = tx.Delete(o, ids[rng.IntN(len(ids))])
			default:
				id, err := tx.Create(o, map[string]any{"Name": fmt.Sprint("a", rng.IntN(50)), "ERP_Customer_Number__c": fmt.Sprint("N", rng.IntN(9)), "Selfsame_Id__c": fmt.Sprint(len(ids))})
				require.Nil(t, err)
				ids = append(ids, id)
			}
			return nil
		}))
	}
	return st, s
}

// Whatever path the planner takes, the answer is that of reading everything.
func TestAccessPathsAgreeWithAFullScan(t *testing.T) {
	t.Parallel()
	for seed := range uint64(4) {
		rng := rand.New(rand.NewPCG(seed, 1))
		st, s := random(t, rng)
		at := func() string {
			return start.Add(time.Duration(rng.IntN(70)) * time.Second).Format("2006-01-02T15:04:05.000Z")
		}
		for range 60 {
			x := at()
			where := []string{
				"SystemModstamp > " + x, "SystemModstamp >= " + x + " AND Name LIKE 'a1%'", "LastModifiedDate = " + x,
				fmt.Sprintf("SystemModstamp > %s OR (SystemModstamp = %s AND Id > '001bm0000000000')", x, x),
				"SystemModstamp > " + x + " OR Name = 'a3'", "ERP_Customer_Number__c = 'n3'", "ERP_Customer_Number__c IN ('n1','N2','n1') AND SystemModstamp < " + x,
				"Selfsame_Id__c IN ('1','5','999') OR Name = 'a3'", "NOT SystemModstamp > " + x, "Name != 'a7'",
			}[rng.IntN(10)]
			order := []string{"", " ORDER BY SystemModstamp, Id", " ORDER BY Name, Id", " ORDER BY LastModifiedDate DESC, Id"}[rng.IntN(4)]
			compare(t, st, s, "SELECT Id FROM Account WHERE "+where+order, order, rng.IntN(2) == 0)
		}
	}
}

func compare(t *testing.T, st *store.Store, s *schema.Schema, text, order string, withDeleted bool) {
	t.Helper()
	plan, fail := Compile(s, text, start)
	require.Nil(t, fail, text)
	limited, fail := Compile(s, text+" LIMIT 7", start)
	require.Nil(t, fail, text)
	_ = st.Read(func(v store.View) error {
		var want []*store.Record
		for r := range v.All(plan.Object) {
			if (withDeleted || !r.Deleted) && plan.where.match(v, r) {
				want = append(want, r)
			}
		}
		got := plan.Run(v, withDeleted)
		first := limited.Run(v, withDeleted)
		if order == "" {
			byID := func(a, b *store.Record) int { return strings.Compare(a.ID, b.ID) }
			got = slices.SortedFunc(slices.Values(got), byID)
			require.Len(t, first, min(7, len(want)), text)
		} else {
			want = plan.sort(v, want)
			require.Equal(t, ids(want[:min(7, len(want))]), ids(first), text)
		}
		require.Equal(t, ids(want), ids(got), text)
		return nil
	})
}

func ids(records []*store.Record) []string {
	out := make([]string, len(records))
	for i, r := range records {
		out[i] = r.ID
	}
	return out
}

func TestLike(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		text, pattern string
		want          bool
	}{
		{"", "", true}, {"", "%", true}, {"abc", "a%c", true}, {"abc", "a_c", true}, {"abc", "a_", false}, {"a%c", `a\%c`, true}, {"abc", `a\%c`, false},
		{"aaaaaaaaaaaaaaaaaaaaaaaaaaab", "%a%a%a%a%a%c", false}, {"mississippi", "m%iss%pi", true}, {"ü", "_", true},
	} {
		require.Equal(t, tc.want, like([]rune(tc.text), pattern(tc.pattern)), "%q like %q", tc.text, tc.pattern)
	}
}
