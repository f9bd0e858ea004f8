package idempotent

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestAsk_ACallerWhoLeavesSaysNothingAboutTheStore(t *testing.T) {
	t.Parallel()
	a := &attempt{server: &server{slow: true, Options: Options{StoreTimeout: time.Second}}}
	failing := func(context.Context, Claim) (Result, error) { return Result{}, errors.New("down") }
	for range breakAfter {
		_, err := a.ask(t.Context(), failing)
		require.ErrorContains(t, err, "down")
	}
	a.server.breaker.until = time.Now().Add(-time.Second) // one call may try again
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := a.ask(gone, failing)
	require.Error(t, err)
	_, err = a.ask(t.Context(), failing)
	require.ErrorIs(t, err, errBroken, "the breaker is open still")
}

// elsewhere is a store that others share, and that keeps nothing when it ends: a Redis without a file.
type elsewhere struct{ *MemoryStore }

func (elsewhere) Capabilities() Capabilities { return Capabilities{Durability: Volatile, Shared: true} }

func TestAsk_AVolatileStoreMayKeepACallWaitingIfItIsShared(t *testing.T) {
	t.Parallel()
	a := &attempt{server: newServer(elsewhere{NewMemoryStore(nil)}, Options{StoreTimeout: 10 * time.Millisecond})}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	_, err := a.ask(ctx, func(ctx context.Context, _ Claim) (Result, error) {
		<-ctx.Done()
		return Result{}, ctx.Err()
	})
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.NoError(t, ctx.Err(), "the limit is that of the store, not of the call")
}
