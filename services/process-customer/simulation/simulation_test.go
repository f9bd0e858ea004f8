package simulation_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/selfsame-io/selfsame/services/process-customer/simulation"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestDeterminism(t *testing.T) {
	t.Parallel()
	t.Run("the same seed gives the same history, byte for byte, on any stage", func(t *testing.T) {
		t.Parallel()
		seeds := uint64(30)
		if testing.Short() {
			seeds = 2
		}
		first, err := simulation.NewStage(t.Context())
		require.NoError(t, err)
		defer func() { require.NoError(t, first.Close()) }()
		second, err := simulation.NewStage(t.Context())
		require.NoError(t, err)
		defer func() { require.NoError(t, second.Close()) }()
		for seed := range seeds {
			a, err := simulation.Play(t.Context(), first, simulation.Plan(seed), simulation.None)
			require.NoError(t, err)
			b, err := simulation.Play(t.Context(), second, simulation.Plan(seed), simulation.None)
			require.NoError(t, err)
			require.Equal(t, string(a.History), string(b.History), "seed %d", seed)
			require.Equal(t, a.Digest(), b.Digest())
		}
	})
}
