package idempotenttest

import (
	"time"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/pkg/idempotent"
)

func gone(f fixture) {
	require.NoError(f.t, f.store.Complete(f.t.Context(), f.granted(claim("k")), answer("one")))
	f.clock.Advance(retention - time.Microsecond)
	f.outcome(claim("k"), idempotent.Replay)
	f.clock.Advance(time.Microsecond)
	for range 2 { // before and after Purge made it a tombstone
		res := f.outcome(claim("k"), idempotent.Gone)
		require.Equal(f.t, "things/one", res.Answer.Resource)
		require.Empty(f.t, res.Answer.Body)
		_, err := f.store.Purge(f.t.Context(), 100)
		require.NoError(f.t, err)
	}
	f.clock.Advance(idempotent.DefaultTombstone)
	require.Equal(f.t, int64(2), f.granted(claim("k")).Fence, "forgotten in the end")
}

func tooLarge(f fixture) {
	require.NoError(f.t, f.store.Complete(f.t.Context(), f.granted(claim("k")), idempotent.Answer{OK: true, Resource: "things/1"}))
	require.Equal(f.t, "things/1", f.outcome(claim("k"), idempotent.Gone).Answer.Resource)
}

func purge(f fixture) {
	ctx := f.t.Context()
	count := func() int {
		n, err := f.store.Purge(ctx, 100)
		require.NoError(f.t, err)
		return n
	}
	live := f.granted(claim("live"))
	vanished := claim("vanished, recoverable")
	vanished.Takeover = true
	f.granted(vanished)
	f.granted(claim("vanished, manual"))
	require.NoError(f.t, f.store.Complete(ctx, f.granted(claim("done")), answer("x")))
	require.NoError(f.t, f.store.Release(ctx, f.granted(claim("released"))))
	require.NoError(f.t, f.store.Uncertain(ctx, f.granted(claim("uncertain"))))
	require.Zero(f.t, count(), "nothing is old")

	f.clock.Advance(retention + lease)
	require.NoError(f.t, f.store.Heartbeat(ctx, live, lease))
	require.Equal(f.t, 3, count(), "done is a tombstone, released is removed, the manual one is in doubt")
	require.Zero(f.t, count())
	f.outcome(claim("live"), idempotent.InProgress)
	f.outcome(claim("done"), idempotent.Gone)
	f.outcome(claim("uncertain"), idempotent.InDoubt)
	f.outcome(claim("vanished, manual"), idempotent.InDoubt)
	require.Equal(f.t, int64(1), f.granted(claim("released")).Fence)
	vanished.Owner = []byte("another owner")
	again := f.granted(vanished)
	require.True(f.t, again.Recovery, "the vanished attempt may have had its effect")
	require.NoError(f.t, f.store.Complete(ctx, live, answer("x")))

	f.clock.Advance(1000 * idempotent.DefaultTombstone)
	count()
	f.outcome(claim("uncertain"), idempotent.InDoubt)
	require.Equal(f.t, int64(1), f.granted(claim("done")).Fence)
}

// remembered: what may have had its effect is known as long as an answer and its tombstone would be.
func remembered(f fixture) {
	ctx := f.t.Context()
	f.granted(recoverable("abandoned"))
	f.granted(recoverable("released"))
	f.clock.Advance(lease)
	second := f.granted(recoverable("released"))
	require.True(f.t, second.Recovery)
	require.NoError(f.t, f.store.Release(ctx, second))
	f.clock.Advance(retention + idempotent.DefaultTombstone - time.Second)
	_, err := f.store.Purge(ctx, 100)
	require.NoError(f.t, err)
	for _, key := range []string{"abandoned", "released"} {
		other := recoverable(key)
		other.Fingerprint = []byte("another")
		f.outcome(other, idempotent.Mismatch)
		d, err := f.store.Show(ctx, f.store.Digest(other.Scope))
		require.NoError(f.t, err)
		require.True(f.t, d.Recoverable)
	}
	f.clock.Advance(2 * time.Second)
	_, err = f.store.Purge(ctx, 100)
	require.NoError(f.t, err)
	require.Equal(f.t, int64(1), f.granted(recoverable("abandoned")).Fence, "forgotten in the end")
	require.Equal(f.t, int64(1), f.granted(recoverable("released")).Fence)
}

// nobodyRepeats: a claim that nobody may execute again is uncertain once a purge saw its lease over.
func nobodyRepeats(f fixture) {
	g := f.granted(claim("manual"))
	f.clock.Advance(lease - time.Microsecond)
	_, err := f.store.Purge(f.t.Context(), 100)
	require.NoError(f.t, err)
	require.NoError(f.t, f.store.Heartbeat(f.t.Context(), g, lease), "it lived")
	f.clock.Advance(lease)
	n, err := f.store.Purge(f.t.Context(), 100)
	require.NoError(f.t, err)
	require.Equal(f.t, 1, n)
	st, err := f.store.Stats(f.t.Context())
	require.NoError(f.t, err)
	require.Equal(f.t, int64(1), st.Uncertain, "what the alert counts")
	require.Zero(f.t, st.Open)
	f.outcome(claim("manual"), idempotent.InDoubt)
}
