package fold_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/intake"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/source"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/source/sourcetest"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/survive"
)

// TestUndone is about records that are merged away, brought back and deleted within one second, which is one version in Salesforce, or
// in between two looks: whatever is told, and in what order, their system says in the end whether they went by a merge.
func TestUndone(t *testing.T) {
	t.Parallel()
	const merged, gone, lives = "merged", "gone", "lives"
	histories := map[string]string{ // e: edited, m: merged away, u: brought back, d: deleted; a space: what happened is told
		"em": merged, "m ": merged, "mud": gone, "m ud": gone, "mu d": gone, "emud": gone, "mudum": merged, "dum": merged, "d um": merged, "m ud um": merged,
		"mudu": lives, "m udu": lives, "m ud u": lives, "mu": lives,
	}
	orders := map[string]func([]source.Change){"as it happened": nil, "backwards": sourcetest.Reversed}
	if testing.Short() {
		histories = map[string]string{"em": merged, "mud": gone, "m ud": gone, "mudu": lives}
	} else {
		orders["shuffled"] = sourcetest.Shuffled(1)
	}
	rules := parse(t, strings.Replace(string(survive.DefaultText()), "  customer:\n", "  customer:\n    delete: [erp, salesforce]\n", 1))
	play := func(t *testing.T, system, history, end string, late bool, told string, order func([]source.Change), size int) {
		t.Helper()
		p := newPairOf(t, rules, func(o *sourcetest.Options) {
			o.LateSnapshots, o.BatchSize = late, size
			if o.ClockVersions {
				o.ClockStep = time.Second
			}
		})
		sys, other, winner, loser, twin := p.SF, p.ERP, p.a, p.b, p.erpB
		if system == "erp" {
			sys, other, winner, loser, twin = p.ERP, p.SF, p.erpA, p.erpB, p.b
		}
		p.Clock.Advance(time.Minute)
		p.Clock.Advance(time.Minute - p.Clock.Now().Sub(p.Clock.Now().Truncate(time.Minute)))
		if told == "" {
			sys.Hold()
		}
		first := int64(0)
		for _, act := range history {
			switch act {
			case 'e':
				sys.Edit(golden.Customer, loser, golden.Values{golden.Phone: "9"})
			case 'm':
				sys.Merge(golden.Customer, winner, loser, nil)
			case 'u':
				sys.Undelete(golden.Customer, loser)
			case 'd':
				sys.Delete(golden.Customer, loser)
			case ' ':
				if told != "" {
					require.NoError(t, p.Read(t.Context()))
				}
				continue
			}
			rec, _ := sys.Record(golden.Customer, loser)
			if first == 0 {
				first = rec.Version
			}
			require.True(t, system == "erp" || rec.Version == first, "all of it is one version")
		}
		sys.Release(order)
		p.Settle()
		p.Check()
		row, b := p.source(t, sys, loser), p.golden(t, p.idB)
		rec, ok := other.Record(golden.Customer, twin)
		require.True(t, ok)
		switch end {
		case merged:
			require.Equal(t, []any{true, winner, p.idA}, []any{row.Deleted, row.MergedInto, row.GoldenID})
			require.Equal(t, p.idA, b.MergedInto)
			require.False(t, rec.Deleted)
		case gone:
			require.Equal(t, []any{true, "", p.idB}, []any{row.Deleted, row.MergedInto, row.GoldenID})
			require.Equal(t, []any{golden.ID(""), true}, []any{b.MergedInto, b.Deleted})
			require.True(t, rec.Deleted, "its deletion counts, and is carried out")
		case lives:
			require.Equal(t, []any{false, "", p.idB}, []any{row.Deleted, row.MergedInto, row.GoldenID})
			require.Equal(t, []any{golden.ID(""), false}, []any{b.MergedInto, b.Deleted})
			require.NotEmpty(t, p.Twin(p.idB, other))
		}
		require.Equal(t, []any{golden.ID(""), false}, []any{p.golden(t, p.idA).MergedInto, p.golden(t, p.idA).Deleted}, "the winner is nobody else's")
		require.Empty(t, p.Dead())
	}
	for _, system := range []string{"salesforce", "erp"} {
		for history, end := range histories {
			for _, as := range []struct {
				late bool
				size int
			}{{true, 1}, {false, 1}, {false, 50}} {
				if testing.Short() && (as.late || as.size > 1) {
					continue
				}
				name := fmt.Sprintf("%s %q is %s, late %v, %d at a time", system, history, end, as.late, as.size)
				t.Run(name+", told at once", func(t *testing.T) {
					t.Parallel()
					play(t, system, history, end, as.late, "at once", nil, as.size)
				})
				for told, order := range orders {
					t.Run(name+", told "+told, func(t *testing.T) {
						t.Parallel()
						play(t, system, history, end, as.late, "", order, as.size)
					})
				}
			}
		}
	}
	t.Run("a merge that its system has forgotten stays one when it is told as a deletion", func(t *testing.T) {
		t.Parallel()
		p := newPair(t)
		p.SF.Merge(golden.Customer, p.a, p.b, nil)
		p.Settle()
		p.SF.Hide(golden.Customer, p.b, true) // purged: who may not see every record is told nothing
		row := p.source(t, p.SF, p.b)
		_, err := p.Intake.Take(t.Context(), row.Ref.System, intake.Batch{Changes: []source.Change{
			{ID: "again", Ref: row.Ref, Deleted: true, Version: row.Version + 1000, CommitTime: p.Clock.Now()},
		}})
		require.NoError(t, err)
		p.Settle()
		require.Equal(t, p.a, p.source(t, p.SF, p.b).MergedInto)
		require.Equal(t, p.idA, p.golden(t, p.idB).MergedInto)
	})
}

// source is what is known of a customer's record.
func (p *pair) source(t *testing.T, sys *sourcetest.Fake, id string) *store.Source {
	t.Helper()
	rows, err := p.Store.Read().Sources(t.Context(), sys.Name(), golden.Customer, []string{id})
	require.NoError(t, err)
	require.Len(t, rows, 1)
	return rows[0]
}
