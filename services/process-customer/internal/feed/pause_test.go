package feed_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/services/process-customer/internal/engine/enginetest"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/source/sourcetest"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store"
)

func pause(t *testing.T, w *enginetest.World, yes bool) {
	t.Helper()
	require.NoError(t, w.Store.Tx(t.Context(), func(ctx context.Context, tx *store.Tx) error {
		return tx.SetControl(ctx, store.Control{System: "salesforce", Direction: store.DirectionIntake, Paused: yes, Since: w.Clock.Now()})
	}))
	w.Poke("salesforce")
}

func TestPause(t *testing.T) {
	w := setup(t)
	ctx, cancel := context.WithCancel(t.Context())
	run := func() chan error {
		done := make(chan error, 1)
		f := sf(w)
		go func() { done <- f.Run(ctx) }()
		return done
	}
	becomes := func(want string) {
		require.Eventually(t, func() bool {
			f, err := w.Store.Read().Feed(ctx, "salesforce")
			return err == nil && f.State == want
		}, time.Minute, 5*time.Millisecond, "state %s", want)
	}
	done := run()
	becomes(store.FeedLive)
	pause(t, w, true)
	becomes(store.FeedPaused)
	opened := w.SF.Calls(sourcetest.OpWatch)
	id := w.SF.Create(golden.Customer, "", golden.Values{golden.Name: "Waits"})

	// It survives a restart.
	cancel()
	require.NoError(t, <-done)
	ctx, cancel = context.WithCancel(t.Context())
	defer cancel()
	w.Start()
	w.Clock.Advance(time.Hour)
	done = run()
	fence := state(t, w).Fence
	require.Eventually(t, func() bool { // it has taken the feed several times, and left it alone
		f, err := w.Store.Read().Feed(ctx, "salesforce")
		return err == nil && f.Fence > fence+2
	}, time.Minute, 5*time.Millisecond)
	require.Equal(t, store.FeedPaused, state(t, w).State)
	require.Equal(t, opened, w.SF.Calls(sourcetest.OpWatch), "the system is left alone")

	pause(t, w, false)
	becomes(store.FeedLive)
	require.Eventually(t, func() bool {
		rows, err := w.Store.Read().Sources(ctx, "salesforce", golden.Customer, []string{id})
		return err == nil && len(rows) == 1
	}, time.Minute, 5*time.Millisecond, "what happened meanwhile is taken in")
	cancel()
	require.NoError(t, <-done)
}
