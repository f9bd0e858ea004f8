package simulation_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/simulation"
)

// TestFound has a creation whose answer is lost, and an edit of a field it did not have before it is tried again.
func TestFound(t *testing.T) {
	t.Parallel()
	stage, err := simulation.NewStage(t.Context())
	require.NoError(t, err)
	defer func() { require.NoError(t, stage.Close()) }()
	const sf, erp = "salesforce", "erp"
	story := simulation.Story{Seed: 9, Processes: 1, Steps: []simulation.Step{
		create(erp, 1, "phone 1"), read(sf), read(erp), {Act: simulation.Fault, System: sf, Kind: simulation.LoseAnswer},
		edit(erp, 1, golden.Email, "email 4"), deliver(sf), read(erp), {Act: simulation.Wait, N: 10}, deliver(sf),
	}}
	t.Run("what was not sent yet is not taken for cleared where an earlier attempt is found", func(t *testing.T) {
		res, err := simulation.Play(t.Context(), stage, story, simulation.None)
		require.NoError(t, err)
		require.False(t, res.Failed(), "%s\n%s: %s\n%s", story, res.Rule, res.Detail, res.History)
	})
}
