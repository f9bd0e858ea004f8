package serve

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"
)

func TestReadiness_OneSlowLookSaysNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		hangs, refused := false, error(nil)
		r := newReadiness([]Check{{Name: "store", Ready: func(ctx context.Context) error {
			if hangs {
				<-ctx.Done()
				return ctx.Err()
			}
			return refused
		}}})
		hangs = true
		require.False(t, r.poll(t.Context()), "it has never been ready")
		hangs = false
		require.True(t, r.poll(t.Context()))
		hangs = true
		require.True(t, r.poll(t.Context()))
		require.Contains(t, r.page().Checks["store"], "no answer in time")
		require.False(t, r.poll(t.Context()), "the second in a row")
		require.False(t, r.poll(t.Context()))
		hangs = false
		require.True(t, r.poll(t.Context()))
		hangs = true
		require.True(t, r.poll(t.Context()))
		hangs, refused = false, errors.New("closed")
		require.False(t, r.poll(t.Context()), "a refusal is an answer")
	})
}
