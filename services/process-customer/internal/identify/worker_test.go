package identify

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestBusy_AScanThatNobodyGoesOnWithIsNone(t *testing.T) {
	both(t, Config{}, func(t *testing.T, b *bench) {
		b.Leave("a system that is not configured any more")
		busy, err := b.worker.busy(t.Context())
		require.NoError(t, err)
		require.False(t, busy)
	})
}
