package faults

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestTheSameSeedGivesTheSameFaults(t *testing.T) {
	t.Parallel()
	plan := func(seed int64) Plan {
		return Plan{Seed: seed, Rules: []Scripted{
			{Effect: LockRow, Object: "Account", Probability: 0.3},
			{Effect: Drop, Probability: 0.2},
			{Effect: Error, Method: "PATCH", Probability: 0.5, Count: 20},
		}}
	}
	run := func(f *Faults, p Plan) []Firing {
		require.NoError(t, f.Set(p))
		for i := range 200 {
			id := fmt.Sprint("record", i)
			f.LockRecord([]string{"Account", "Contact"}[i%2], id, nil)
			f.Copies("Account", "UPDATE", []string{id})
			f.judge("PATCH", "/x")
		}
		return f.Log()
	}
	first := run(New(1, nil), plan(42))
	require.Greater(t, len(first), 60)
	again := New(2, nil)
	require.Equal(t, first, run(again, plan(42)))
	require.Equal(t, first, run(again, plan(42)), "setting the plan starts its chances afresh")
	require.NotEqual(t, first, run(again, plan(43)))
}

// A rule must not change what another one does.
func TestRulesDoNotDisturbEachOther(t *testing.T) {
	t.Parallel()
	locked := func(rules ...Scripted) (out []int) {
		f := New(5, nil)
		require.NoError(t, f.Set(Plan{Rules: rules}))
		for i := range 100 {
			f.Copies("Account", "CREATE", nil)
			if f.LockRecord("Account", "x", nil) {
				out = append(out, i)
			}
		}
		return out
	}
	rule := Scripted{Effect: LockRow, Probability: 0.4}
	require.Equal(t, locked(rule), locked(rule, Scripted{Effect: Drop, Probability: 0.4}))
}

func TestRulesWaitCountAndEnd(t *testing.T) {
	t.Parallel()
	at := time.Unix(1_800_000_000, 0)
	f := New(1, func() time.Time { return at })
	require.NoError(t, f.Set(Plan{Rules: []Scripted{
		{Name: "late", Effect: Quota, After: 2, Count: 1},
		{Name: "timed", Effect: Unauthorized, Start: "10s", For: "5s"},
	}}))
	status := func() int { return f.judge("GET", "/a").status }
	require.Equal(t, []int{0, 0, 403, 0}, []int{status(), status(), status(), status()})
	at = at.Add(10 * time.Second)
	require.Equal(t, 401, status())
	at = at.Add(5 * time.Second)
	require.Zero(t, status())
	shown := f.Plan().Rules
	require.Equal(t, []int{5, 1, 1}, []int{shown[0].Matched, shown[0].Fired, shown[1].Fired})
	require.NoError(t, f.Set(f.Plan()), "a plan that was shown can be set again")
	require.Zero(t, f.Plan().Rules[0].Fired)
}

func TestRecordsAreFoundByIDAndParent(t *testing.T) {
	t.Parallel()
	f := New(1, nil)
	require.NoError(t, f.Set(Plan{Rules: []Scripted{{Effect: LockRow, Parent: "001000000000001"}, {Effect: LockRow, Record: "003000000000002AAA"}}}))
	parents := func(ids ...string) func() []string { return func() []string { return ids } }
	require.True(t, f.LockRecord("Contact", "003000000000001AAA", parents("001000000000001AAA")))
	require.False(t, f.LockRecord("Contact", "003000000000001AAA", parents("001000000000002AAA")))
	require.True(t, f.LockRecord("Contact", "003000000000002AAA", parents()))
}

func TestBadRulesAreRefused(t *testing.T) {
	t.Parallel()
	f := New(1, nil)
	for name, r := range map[string]Scripted{
		"an unknown effect":         {Effect: "explode"},
		"a chance above one":        {Effect: Quota, Probability: 1.5},
		"a negative count":          {Effect: Quota, Count: -1},
		"latency without a delay":   {Effect: Latency},
		"a delay that is none":      {Effect: Latency, Delay: "soon"},
		"a status that is no error": {Effect: Error, Status: 200},
		"a start before the plan":   {Effect: Quota, Start: "-1s"},
	} {
		require.Error(t, f.Set(Plan{Rules: []Scripted{r}}), name)
	}
	require.Empty(t, f.Plan().Rules)
}
