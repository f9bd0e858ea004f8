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
