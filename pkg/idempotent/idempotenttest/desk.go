package idempotenttest

import (
	"context"
	"database/sql"
	"errors"
	"strings"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/pkg/idempotent"
)

func recoverable(key string) idempotent.Claim {
	c := claim(key)
	c.Takeover = true
	return c
}

func ownerCounts(f fixture) {
	g := f.granted(claim("k"))
	other := g
	other.Owner = []byte("somebody else")
	ctx := f.t.Context()
	require.ErrorIs(f.t, f.store.Complete(ctx, other, answer("x")), idempotent.ErrStale)
	require.ErrorIs(f.t, f.store.Heartbeat(ctx, other, lease), idempotent.ErrStale)
	require.ErrorIs(f.t, f.store.Release(ctx, other), idempotent.ErrStale)
	require.ErrorIs(f.t, f.store.Uncertain(ctx, other), idempotent.ErrStale)
	require.ErrorIs(f.t, f.store.Step(ctx, other, "s", []byte("x")), idempotent.ErrStale)
	require.NoError(f.t, f.store.Complete(ctx, g, answer("one")))
}

func steps(f fixture) {
	ctx := f.t.Context()
	first := f.granted(recoverable("k"))
	got, err := f.store.Steps(ctx, first)
	require.NoError(f.t, err)
	require.Empty(f.t, got)
	require.NoError(f.t, f.store.Step(ctx, first, "crm", []byte("account 1")))
	require.NoError(f.t, f.store.Step(ctx, first, "nothing to tell", nil))
	require.NoError(f.t, f.store.Step(ctx, first, "crm", []byte("account 2")), "its first result stays")
	f.clock.Advance(lease)
	second := f.granted(recoverable("k"))
	require.NoError(f.t, f.store.Step(ctx, second, "erp", []byte("customer 7")))
	for range 2 {
		got, err = f.store.Steps(ctx, second)
		require.NoError(f.t, err)
		require.Len(f.t, got, 3)
		require.Equal(f.t, "account 1", string(got["crm"]))
		require.Equal(f.t, "customer 7", string(got["erp"]))
		require.Empty(f.t, got["nothing to tell"])
		_, err = f.store.Purge(ctx, 100)
		require.NoError(f.t, err)
	}
	other, err := f.store.Steps(ctx, f.granted(recoverable("another")))
	require.NoError(f.t, err)
	require.Empty(f.t, other)

	require.NoError(f.t, f.store.Complete(ctx, second, answer("x")))
	f.clock.Advance(2 * (retention + idempotent.DefaultTombstone))
	for range 3 {
		_, err = f.store.Purge(ctx, 100)
		require.NoError(f.t, err)
	}
	f.clock.Advance(2 * idempotent.DefaultTombstone)
	for range 3 {
		_, err = f.store.Purge(ctx, 100)
		require.NoError(f.t, err)
	}
	g := f.granted(recoverable("k"))
	require.Equal(f.t, int64(1), g.Fence)
	got, err = f.store.Steps(ctx, g)
	require.NoError(f.t, err)
	require.Empty(f.t, got, "a forgotten key has forgotten steps")
}

func staleStep(f fixture) {
	ctx := f.t.Context()
	old := f.granted(recoverable("k"))
	f.clock.Advance(lease)
	current := f.granted(recoverable("k"))
	require.ErrorIs(f.t, f.store.Step(ctx, old, "s", []byte("old")), idempotent.ErrStale)
	require.NoError(f.t, f.store.Step(ctx, current, "s", []byte("new")))
	require.ErrorIs(f.t, f.store.Step(ctx, old, "s", []byte("old")), idempotent.ErrStale)
	got, err := f.store.Steps(ctx, current)
	require.NoError(f.t, err)
	require.Equal(f.t, "new", string(got["s"]))
	require.NoError(f.t, f.store.Complete(ctx, current, answer("x")))
	require.ErrorIs(f.t, f.store.Step(ctx, current, "t", nil), idempotent.ErrStale)
}

func resolve(f fixture) {
	ctx := f.t.Context()
	doubtful := func(key string) idempotent.Grant {
		g := f.granted(claim(key))
		require.NoError(f.t, f.store.Uncertain(ctx, g))
		g.Owner = nil // whoever resolves was not the owner
		return g
	}
	executed := idempotent.Verdict{Executed: true, Answer: answer("found")}

	g := doubtful("done")
	require.NoError(f.t, f.store.Resolve(ctx, g, executed))
	res := f.outcome(claim("done"), idempotent.Replay)
	require.Equal(f.t, answer("found"), res.Answer)
	require.Equal(f.t, int64(2), res.Fence)
	require.ErrorIs(f.t, f.store.Resolve(ctx, g, executed), idempotent.ErrStale)
	require.ErrorIs(f.t, f.store.Resolve(ctx, g, idempotent.Verdict{}), idempotent.ErrStale)

	g = doubtful("not done")
	wrong := g
	wrong.Fence++
	require.ErrorIs(f.t, f.store.Resolve(ctx, wrong, idempotent.Verdict{}), idempotent.ErrStale)
	require.NoError(f.t, f.store.Resolve(ctx, g, idempotent.Verdict{}))
	again := f.granted(claim("not done"))
	require.Equal(f.t, int64(2), again.Fence)
	require.False(f.t, again.Recovery)

	vanished := f.granted(claim("vanished"))
	f.clock.Advance(lease)
	require.NoError(f.t, f.store.Resolve(ctx, vanished, executed))
	require.ErrorIs(f.t, f.store.Complete(ctx, vanished, answer("late")), idempotent.ErrStale)
	require.Equal(f.t, answer("found"), f.outcome(claim("vanished"), idempotent.Replay).Answer)
	require.ErrorIs(f.t, f.store.Resolve(ctx, idempotent.Grant{Digest: f.store.Digest(claim("never").Scope), Fence: 1}, executed), idempotent.ErrStale)
}

func resolveLiving(f fixture) {
	ctx := f.t.Context()
	g := f.granted(claim("k"))
	require.ErrorIs(f.t, f.store.Resolve(ctx, g, idempotent.Verdict{}), idempotent.ErrStale)
	f.outcome(claim("k"), idempotent.InProgress)
	require.NoError(f.t, f.store.Resolve(ctx, g, idempotent.Verdict{Force: true}))
	require.ErrorIs(f.t, f.store.Complete(ctx, g, answer("late")), idempotent.ErrStale)
	require.Equal(f.t, int64(2), f.granted(claim("k")).Fence)
}

func erase(f fixture) {
	ctx := f.t.Context()
	for _, key := range []string{"a", "b", "c"} {
		a := answer(key)
		a.Subject = map[string]string{"a": "customers/1", "b": "customers/1", "c": "customers/2"}[key]
		require.NoError(f.t, f.store.Complete(ctx, f.granted(claim(key)), a))
	}
	n, err := f.store.Erase(ctx, "customers/1")
	require.NoError(f.t, err)
	require.Equal(f.t, 2, n)
	for _, key := range []string{"a", "b"} {
		res := f.outcome(claim(key), idempotent.Gone)
		require.Empty(f.t, res.Answer.Body)
		require.Equal(f.t, "things/"+key, res.Answer.Resource)
	}
	f.outcome(claim("c"), idempotent.Replay)
	n, err = f.store.Erase(ctx, "customers/1")
	require.NoError(f.t, err)
	require.Zero(f.t, n)
	f.clock.Advance(idempotent.DefaultTombstone - time.Second)
	f.outcome(claim("a"), idempotent.Gone)
}

func eraseTx(f fixture) {
	if !f.store.Capabilities().Transactional {
		return
	}
	store, ok := f.store.(Transactional)
	require.True(f.t, ok, "a transactional store erases in a transaction")
	ctx := f.t.Context()
	for _, key := range []string{"a", "b", "c"} {
		a := answer(key)
		a.Subject = map[string]string{"a": "customers/1", "b": "customers/1", "c": "customers/2"}[key]
		require.NoError(f.t, f.store.Complete(ctx, f.granted(claim(key)), a))
	}
	erased := func(end error) int {
		var n int
		err := store.Tx(ctx, func(ctx context.Context, tx *sql.Tx) (err error) {
			n, err = store.EraseTx(ctx, tx, "customers/1")
			return errors.Join(err, end)
		})
		require.ErrorIs(f.t, err, end)
		return n
	}
	undone := errors.New("undone")
	require.Equal(f.t, 2, erased(undone))
	for _, key := range []string{"a", "b", "c"} {
		require.Equal(f.t, []byte(key), f.outcome(claim(key), idempotent.Replay).Answer.Body, "a transaction that is rolled back erases nothing")
	}
	require.Equal(f.t, 2, erased(nil))
	for _, key := range []string{"a", "b"} {
		res := f.outcome(claim(key), idempotent.Gone)
		require.Empty(f.t, res.Answer.Body)
		require.Equal(f.t, "things/"+key, res.Answer.Resource)
	}
	f.outcome(claim("c"), idempotent.Replay)
	require.Zero(f.t, erased(nil))
}

func expire(f fixture) {
	ctx := f.t.Context()
	c := claim("k")
	d := f.store.Digest(c.Scope)
	require.ErrorIs(f.t, f.store.Expire(ctx, d), idempotent.ErrNoRecord)
	g := f.granted(c)
	require.Equal(f.t, d, g.Digest)
	require.ErrorIs(f.t, f.store.Expire(ctx, d), idempotent.ErrStale)
	require.NoError(f.t, f.store.Complete(ctx, g, answer("one")))
	require.NoError(f.t, f.store.Expire(ctx, d))
	require.Equal(f.t, "things/one", f.outcome(claim("k"), idempotent.Gone).Answer.Resource)
	require.ErrorIs(f.t, f.store.Expire(ctx, d), idempotent.ErrStale)
}

// all reads every page of a filter.
func (f fixture) all(filter idempotent.Filter) map[idempotent.Digest]idempotent.Entry {
	f.t.Helper()
	out := map[idempotent.Digest]idempotent.Entry{}
	for range 100 {
		page, err := f.store.List(f.t.Context(), filter)
		require.NoError(f.t, err)
		for _, e := range page.Entries {
			require.NotContains(f.t, out, e.Digest, "listed twice")
			out[e.Digest] = e
		}
		if page.Next == "" {
			return out
		}
		filter.Cursor = page.Next
	}
	require.Fail(f.t, "pages do not end")
	return nil
}

func list(f fixture) {
	ctx := f.t.Context()
	begun := f.clock.Now()
	require.NoError(f.t, f.store.Complete(ctx, f.granted(claim("done")), answer("one")))
	require.NoError(f.t, f.store.Uncertain(ctx, f.granted(claim("uncertain"))))
	require.NoError(f.t, f.store.Release(ctx, f.granted(claim("released"))))
	f.clock.Advance(time.Minute)
	other := claim("claimed")
	other.Scope.Method = "/other"
	f.granted(other)

	all := f.all(idempotent.Filter{})
	require.Len(f.t, all, 4)
	require.Equal(f.t, all, f.all(idempotent.Filter{Limit: 1}), "in pages of one")
	done := f.store.Digest(claim("done").Scope)
	want := idempotent.Entry{
		Digest: done, Method: "/m", State: idempotent.Done, Fence: 1, ClaimedAt: begun, LeaseUntil: begun.Add(lease), ExpiresAt: begun.Add(retention),
		OK: true, Bytes: 3, Resource: "things/one", Trace: "trace-1",
	}
	require.Equal(f.t, want, all[done])
	shown, err := f.store.Show(ctx, done)
	require.NoError(f.t, err)
	require.Equal(f.t, want, shown)
	_, err = f.store.Show(ctx, f.store.Digest(claim("never").Scope))
	require.ErrorIs(f.t, err, idempotent.ErrNoRecord)

	only := func(filter idempotent.Filter, keys ...string) {
		f.t.Helper()
		got := f.all(filter)
		require.Len(f.t, got, len(keys))
		for _, key := range keys {
			c := claim(key)
			if key == "claimed" {
				c = other
			}
			require.Contains(f.t, got, f.store.Digest(c.Scope))
		}
	}
	only(idempotent.Filter{States: []idempotent.State{idempotent.Uncertain}}, "uncertain")
	only(idempotent.Filter{States: []idempotent.State{idempotent.Claimed, idempotent.Released}}, "claimed", "released")
	only(idempotent.Filter{Method: "/other"}, "claimed")
	only(idempotent.Filter{ClaimedBefore: begun.Add(time.Second)}, "done", "uncertain", "released")
	only(idempotent.Filter{Prefix: done.Short()}, "done")
	only(idempotent.Filter{Prefix: strings.ToUpper(done.String())}, "done")
	only(idempotent.Filter{States: []idempotent.State{idempotent.Tombstone}})
	for _, bad := range []idempotent.Filter{{Prefix: "x"}, {Cursor: "no cursor"}} {
		_, err := f.store.List(ctx, bad)
		require.Error(f.t, err)
	}
}

func stats(f fixture) {
	ctx := f.t.Context()
	f.granted(recoverable("abandoned"))
	require.NoError(f.t, f.store.Uncertain(ctx, f.granted(claim("uncertain"))))
	f.clock.Advance(time.Minute)
	f.granted(claim("open"))
	require.NoError(f.t, f.store.Complete(ctx, f.granted(claim("done")), answer("one")))
	f.clock.Advance(time.Second)
	st, err := f.store.Stats(ctx)
	require.NoError(f.t, err)
	require.Equal(f.t, int64(2), st.Open)
	require.Equal(f.t, time.Minute+time.Second, st.OldestOpen)
	require.Equal(f.t, int64(1), st.Abandoned)
	require.Equal(f.t, int64(1), st.Uncertain)
	require.Equal(f.t, time.Minute+time.Second, st.OldestUncertain)
	f.clock.Advance(idempotent.GivenUp)
	st, err = f.store.Stats(ctx)
	require.NoError(f.t, err)
	require.Equal(f.t, int64(1), st.Open, "nobody has to act on the claim that may be executed again")
	require.Equal(f.t, int64(1), st.Abandoned, "the one that nobody may execute again")
	require.Equal(f.t, idempotent.GivenUp+time.Second, st.OldestOpen)
}

func forever(f fixture) {
	c := claim("k")
	c.Retention = idempotent.Forever
	require.NoError(f.t, f.store.Complete(f.t.Context(), f.granted(c), answer("one")))
	f.clock.Advance(50 * 365 * 24 * time.Hour)
	n, err := f.store.Purge(f.t.Context(), 100)
	require.NoError(f.t, err)
	require.Zero(f.t, n)
	f.outcome(claim("k"), idempotent.Replay)
}

func capabilities(f fixture) {
	require.NotZero(f.t, f.store.Capabilities().Durability)
}

func mismatchTells(f fixture) {
	f.granted(claim("k"))
	c := claim("k")
	c.Fingerprint = []byte("another")
	res := f.outcome(c, idempotent.Mismatch)
	require.Equal(f.t, "request", string(res.Fingerprint))
	require.Equal(f.t, f.store.Digest(c.Scope), res.Digest)
}
