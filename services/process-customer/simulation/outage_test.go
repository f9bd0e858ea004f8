package simulation_test

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/simulation"
)

// TestOutage has the ERP away for ten minutes while people work in both systems: an outage that is longer than any retry is
// patient, in the time of the simulation.
func TestOutage(t *testing.T) {
	t.Parallel()
	const sf, erp, turns, pause = "salesforce", "erp", 15, 40 // seconds
	steps := []simulation.Step{
		create(sf, 1, "phone 1"), create(erp, 2, "phone 2"), read(sf), read(erp), deliver(sf), deliver(erp), read(sf), read(erp),
		{Act: simulation.Down, System: erp},
	}
	for n := range turns {
		text := string(rune('a' + n))
		steps = append(steps,
			edit(sf, 1, golden.Phone, "phone "+text), edit(sf, 2, golden.Website, "website "+text), edit(erp, 2, golden.Street, "street "+text),
			read(sf), read(erp), deliver(sf), deliver(erp), simulation.Step{Act: simulation.Wait, N: pause})
		switch n {
		case 3:
			steps = append(steps, create(sf, 3, "phone 3"))
		case 6: // the process that waits dies, and another one goes on waiting
			steps = append(steps, simulation.Step{Act: simulation.Crash, N: 5})
		case 9: // and the other system has no calls left
			steps = append(steps, simulation.Step{Act: simulation.Fault, System: sf, Kind: simulation.Quota})
		}
	}
	require.GreaterOrEqual(t, turns*pause, 600)
	steps = append(steps, simulation.Step{Act: simulation.Up, System: erp})
	stage, err := simulation.NewStage(t.Context())
	require.NoError(t, err)
	defer func() { require.NoError(t, stage.Close()) }()
	story := simulation.Story{Seed: 10, Late: true, Coarse: true, Processes: 1, Steps: steps}
	res, err := simulation.Play(t.Context(), stage, story, simulation.None)
	require.NoError(t, err)
	require.False(t, res.Failed(), "%s\n%s: %s\n%s", story, res.Rule, res.Detail, res.History)
	require.Equal(t, 1, res.Stats.Crashes)
	refused := bytes.Count(res.History, []byte("-> UNAVAILABLE"))
	require.Positive(t, refused, "it was tried meanwhile")
	require.Less(t, refused, 2*turns, "and not all the time: what waits is one call, now and then")
	// Ten minutes of edits of one customer are one write once the ERP is there again.
	_, after, ok := bytes.Cut(res.History, []byte("all faults end"))
	require.True(t, ok)
	settled, _, ok := bytes.Cut(after, []byte("at rest"))
	require.True(t, ok)
	require.Equal(t, 1, bytes.Count(settled, []byte("phone=phone "+string(rune('a'+turns-1))+"\n")), "%s", settled)
}
