package faults

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestChanceIsRepeatable(t *testing.T) {
	t.Parallel()
	run := func(seed int64) (fired []int) {
		f := New(seed, nil)
		require.NoError(t, f.Set(Plan{LockRow: &Rule{Probability: 0.2}}))
		for i := range 500 {
			if f.LockRecord("Account", "", nil) {
				fired = append(fired, i)
			}
		}
		return fired
	}
	first, again := run(1), run(1)
	require.Equal(t, first, again)
	require.NotEqual(t, run(1), run(2))
	require.InDelta(t, 100, len(run(1)), 40)
}

func TestRulesMatchAndRunOut(t *testing.T) {
	t.Parallel()
	f := New(1, nil)
	require.NoError(t, f.Set(Plan{LoseAck: &Rule{Method: "PATCH", PathPrefix: "/a", PathContains: "x", Count: 1}}))
	require.False(t, f.LoseAck("POST", "/a/x"))
	require.False(t, f.LoseAck("PATCH", "/b/a/x"))
	require.False(t, f.LoseAck("PATCH", "/a/y"))
	require.Equal(t, 1, f.Plan().LoseAck.Count)
	require.True(t, f.LoseAck("patch", "/a/x"))
	require.False(t, f.LoseAck("PATCH", "/a/x"))
	require.Nil(t, f.Plan().LoseAck)
}

func TestShownPlansAreCopies(t *testing.T) {
	t.Parallel()
	f := New(1, nil)
	require.NoError(t, f.Set(Plan{LockRow: &Rule{Count: 2}}))
	f.Plan().LockRow.Count = 99
	require.Equal(t, 2, f.Plan().LockRow.Count)
}
