// Package idempotenttest is the contract of an idempotent.Store, run against every implementation.
package idempotenttest

import (
	"context"
	"crypto/rand"
	"database/sql"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/pkg/idempotent"
)

// Clock is a clock that a test moves. It is safe for concurrent use.
type Clock struct {
	mu sync.Mutex
	at time.Time
}

// NewClock returns a clock at a fixed time.
func NewClock() *Clock { return &Clock{at: time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)} }

// Now returns the time of the clock.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

// Advance moves the clock.
func (c *Clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

const (
	lease     = 30 * time.Second
	retention = 24 * time.Hour
)

// fixture is a fresh store with its clock.
type fixture struct {
	t     *testing.T
	store idempotent.Store
	clock *Clock
}

// claim is a claim for key by a new caller.
func claim(key string) idempotent.Claim {
	return idempotent.Claim{
		Scope:       idempotent.Scope{Principal: "p", Method: "/m", Key: key},
		Fingerprint: []byte("request"), Owner: []byte(rand.Text()), Lease: lease, Retention: retention, Trace: "trace-1",
	}
}

func (f fixture) begin(c idempotent.Claim) idempotent.Result {
	f.t.Helper()
	res, err := f.store.Begin(f.t.Context(), c)
	require.NoError(f.t, err)
	return res
}

func (f fixture) granted(c idempotent.Claim) idempotent.Grant {
	f.t.Helper()
	res := f.begin(c)
	require.Equal(f.t, idempotent.Granted, res.Outcome)
	return res.Grant
}

func (f fixture) outcome(c idempotent.Claim, want idempotent.Outcome) idempotent.Result {
	f.t.Helper()
	res := f.begin(c)
	require.Equal(f.t, want, res.Outcome)
	return res
}

func answer(text string) idempotent.Answer {
	return idempotent.Answer{OK: true, Body: []byte(text), Resource: "things/" + text}
}

// Transactional is what a store must implement that declares to be so.
type Transactional interface {
	idempotent.Store
	// EraseTx does what Erase does in a transaction of the store's database.
	EraseTx(ctx context.Context, tx *sql.Tx, subject string) (int, error)
	// Tx runs fn in such a transaction. It is for the test only.
	Tx(ctx context.Context, fn func(ctx context.Context, tx *sql.Tx) error) error
}

// Run checks a store. newStore returns a fresh store whose clock is now; one that declares to be transactional is a Transactional.
func Run(t *testing.T, newStore func(t *testing.T, now func() time.Time) idempotent.Store) {
	t.Helper()
	for name, test := range map[string]func(fixture){
		"one claim is granted, the others wait":                     claims,
		"an answer is stored once and replayed unchanged":           answers,
		"scopes share nothing":                                      scopes,
		"another request is refused in every state":                 mismatch,
		"a vanished attempt is taken over after its lease":          takeover,
		"a vanished attempt of a manual method is in doubt":         doubt,
		"an uncertain outcome is only for those who look first":     uncertain,
		"a released key is granted again":                           released,
		"a release does not forget an earlier attempt":              releasedLater,
		"what may have had its effect is remembered as long":        remembered,
		"a vanished claim that nobody repeats becomes uncertain":    nobodyRepeats,
		"a stale owner changes nothing":                             stale,
		"a heartbeat keeps the claim, also a late one":              heartbeat,
		"a caller that did not hear its grant gets it again":        sameOwner,
		"an answer is kept for its retention, then only its name":   gone,
		"purge leaves what lives and what nobody knows":             purge,
		"an answer without a body is gone at once":                  tooLarge,
		"one of many simultaneous claims is granted":                race,
		"one of many simultaneous takeovers is granted":             takeoverRace,
		"random histories keep one answer and growing fences":       histories,
		"purging while others claim loses nothing":                  purgeRace,
		"the trace of the first execution comes with its answer":    trace,
		"an ended claim may be taken over at once (heartbeat of 0)": ended,
		"a grant of another owner with the same fence is stale":     ownerCounts,
		"steps outlive their attempt and keep their first result":   steps,
		"a stale attempt records no step":                           staleStep,
		"a verdict settles what nobody knew, once":                  resolve,
		"a verdict leaves a living claim alone unless forced":       resolveLiving,
		"erasing a subject leaves tombstones":                       erase,
		"erasing in a transaction is one with it":                   eraseTx,
		"an expired answer is gone and not executed again":          expire,
		"operators find records by state, method, digest and age":   list,
		"stats tell what is open, abandoned and uncertain":          stats,
		"an answer kept forever is never purged":                    forever,
		"a store declares its durability":                           capabilities,
		"a mismatch tells the stored fingerprint":                   mismatchTells,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			clock := NewClock()
			test(fixture{t, newStore(t, clock.Now), clock})
		})
	}
}

func claims(f fixture) {
	g := f.granted(claim("k"))
	require.Equal(f.t, int64(1), g.Fence)
	require.False(f.t, g.Recovery)
	f.clock.Advance(10 * time.Second)
	res := f.outcome(claim("k"), idempotent.InProgress)
	require.Equal(f.t, 20*time.Second, res.Remaining)
}

func answers(f fixture) {
	g := f.granted(claim("k"))
	require.NoError(f.t, f.store.Complete(f.t.Context(), g, answer("one")))
	for range 3 {
		require.Equal(f.t, answer("one"), f.outcome(claim("k"), idempotent.Replay).Answer)
	}
	require.ErrorIs(f.t, f.store.Complete(f.t.Context(), g, answer("two")), idempotent.ErrStale)
	require.ErrorIs(f.t, f.store.Release(f.t.Context(), g), idempotent.ErrStale)
	require.ErrorIs(f.t, f.store.Uncertain(f.t.Context(), g), idempotent.ErrStale)
	require.ErrorIs(f.t, f.store.Heartbeat(f.t.Context(), g, lease), idempotent.ErrStale)
	require.Equal(f.t, answer("one"), f.outcome(claim("k"), idempotent.Replay).Answer)
	looked, err := f.store.Look(f.t.Context(), g)
	require.NoError(f.t, err)
	require.Equal(f.t, idempotent.Replay, looked.Outcome)
	require.Equal(f.t, g.Fence, looked.Fence)

	failed := idempotent.Answer{Body: []byte("status")}
	require.NoError(f.t, f.store.Complete(f.t.Context(), f.granted(claim("error")), failed))
	require.Equal(f.t, failed, f.outcome(claim("error"), idempotent.Replay).Answer)
}

func scopes(f fixture) {
	base := claim("k")
	require.NoError(f.t, f.store.Complete(f.t.Context(), f.granted(base), answer("one")))
	for _, s := range []idempotent.Scope{
		{Principal: "q", Method: "/m", Key: "k"},
		{Principal: "p", Method: "/n", Key: "k"},
		{Principal: "p", Method: "/m", Key: "l"},
		{Principal: "p/", Method: "m", Key: "k"},
		{Principal: "", Method: "p/m", Key: "k"},
	} {
		c := claim("")
		c.Scope = s
		f.granted(c)
	}
}

func mismatch(f fixture) {
	other := func(key string) idempotent.Claim {
		c := claim(key)
		c.Fingerprint, c.Takeover, c.Probe = []byte("another request"), true, true
		return c
	}
	check := func(key string) { f.t.Helper(); f.outcome(other(key), idempotent.Mismatch) }
	f.granted(claim("running"))
	check("running")
	require.NoError(f.t, f.store.Complete(f.t.Context(), f.granted(claim("done")), answer("x")))
	require.Empty(f.t, f.outcome(other("done"), idempotent.Mismatch).Answer.Body, "the answer is not shown")
	require.NoError(f.t, f.store.Release(f.t.Context(), f.granted(claim("released"))))
	check("released")
	require.NoError(f.t, f.store.Uncertain(f.t.Context(), f.granted(claim("uncertain"))))
	check("uncertain")
	f.clock.Advance(2 * lease)
	check("running") // its owner vanished
	f.clock.Advance(retention)
	check("done") // its answer is gone
}

func takeover(f fixture) {
	first := claim("k")
	first.Takeover = true
	f.granted(first)
	second := claim("k")
	second.Takeover = true
	f.clock.Advance(lease - time.Microsecond)
	f.outcome(second, idempotent.InProgress)
	f.clock.Advance(time.Microsecond)
	g := f.granted(second)
	require.Equal(f.t, int64(2), g.Fence)
	require.True(f.t, g.Recovery)
	f.outcome(claim("k"), idempotent.InProgress)
}

func doubt(f fixture) {
	g := f.granted(claim("k"))
	f.clock.Advance(lease)
	f.outcome(claim("k"), idempotent.InDoubt)
	require.ErrorIs(f.t, f.store.Complete(f.t.Context(), g, answer("late")), idempotent.ErrStale, "the doubt has been told to a caller")
	f.outcome(claim("k"), idempotent.InDoubt)
}

func uncertain(f fixture) {
	require.NoError(f.t, f.store.Uncertain(f.t.Context(), f.granted(claim("k"))))
	f.outcome(claim("k"), idempotent.InDoubt)
	f.clock.Advance(1000 * retention)
	f.outcome(claim("k"), idempotent.InDoubt)
	probing := claim("k")
	probing.Probe = true
	g := f.granted(probing)
	require.Equal(f.t, int64(2), g.Fence)
	require.True(f.t, g.Recovery)
	require.NoError(f.t, f.store.Complete(f.t.Context(), g, answer("found")))
	f.outcome(claim("k"), idempotent.Replay)
}

func released(f fixture) {
	require.NoError(f.t, f.store.Release(f.t.Context(), f.granted(claim("k"))))
	g := f.granted(claim("k"))
	require.Equal(f.t, int64(2), g.Fence)
	require.False(f.t, g.Recovery, "nothing was executed")
}

// releasedLater: the first attempt may have had its effect, the second says that itself did nothing.
func releasedLater(f fixture) {
	ctx := f.t.Context()
	first := f.granted(recoverable("k"))
	f.clock.Advance(2 * lease)
	second := f.granted(recoverable("k"))
	require.True(f.t, second.Recovery)
	require.NoError(f.t, f.store.Release(ctx, second))
	c := recoverable("k")
	third := f.granted(c)
	require.True(f.t, third.Recovery, "nobody knows yet what became of the first attempt")
	require.Equal(f.t, third, f.granted(c), "also for a caller that did not hear it")
	require.NoError(f.t, f.store.Uncertain(ctx, third))
	require.ErrorIs(f.t, f.store.Complete(ctx, first, answer("x")), idempotent.ErrStale)
	require.NoError(f.t, f.store.Resolve(ctx, third, idempotent.Verdict{}))
	require.False(f.t, f.granted(recoverable("k")).Recovery, "whoever resolves speaks for all attempts")
}

func stale(f fixture) {
	first := claim("k")
	old := f.granted(first)
	f.clock.Advance(2 * lease)
	second := claim("k")
	second.Takeover = true
	current := f.granted(second)
	ctx := f.t.Context()
	for range 2 {
		require.ErrorIs(f.t, f.store.Heartbeat(ctx, old, lease), idempotent.ErrStale)
		require.ErrorIs(f.t, f.store.Release(ctx, old), idempotent.ErrStale)
		require.ErrorIs(f.t, f.store.Uncertain(ctx, old), idempotent.ErrStale)
		require.ErrorIs(f.t, f.store.Complete(ctx, old, answer("old")), idempotent.ErrStale)
	}
	looked, err := f.store.Look(ctx, old)
	require.NoError(f.t, err)
	require.Equal(f.t, idempotent.InProgress, looked.Outcome)
	require.NoError(f.t, f.store.Complete(ctx, current, answer("new")))
	require.ErrorIs(f.t, f.store.Complete(ctx, old, answer("old")), idempotent.ErrStale)
	looked, err = f.store.Look(ctx, old)
	require.NoError(f.t, err)
	require.Equal(f.t, answer("new"), looked.Answer)
	require.Equal(f.t, current.Fence, looked.Fence)
}

func heartbeat(f fixture) {
	g := f.granted(claim("k"))
	other := claim("k")
	other.Takeover = true
	for range 5 {
		f.clock.Advance(lease - time.Second)
		require.NoError(f.t, f.store.Heartbeat(f.t.Context(), g, lease))
		f.outcome(other, idempotent.InProgress)
	}
	f.clock.Advance(2 * lease)
	require.NoError(f.t, f.store.Heartbeat(f.t.Context(), g, lease), "late, but nobody took over")
	f.outcome(other, idempotent.InProgress)
	f.clock.Advance(2 * lease)
	require.NoError(f.t, f.store.Complete(f.t.Context(), g, answer("late")), "late, but nobody took over")
}

func ended(f fixture) {
	g := f.granted(claim("k"))
	require.NoError(f.t, f.store.Heartbeat(f.t.Context(), g, 0))
	second := claim("k")
	second.Takeover = true
	require.Equal(f.t, int64(2), f.granted(second).Fence)
	require.ErrorIs(f.t, f.store.Complete(f.t.Context(), g, answer("old")), idempotent.ErrStale)
}

func sameOwner(f fixture) {
	c := claim("k")
	g := f.granted(c)
	require.Equal(f.t, g, f.granted(c))
	f.outcome(claim("k"), idempotent.InProgress)
}

func trace(f fixture) {
	require.NoError(f.t, f.store.Complete(f.t.Context(), f.granted(claim("k")), answer("x")))
	later := claim("k")
	later.Trace = "trace-2"
	require.Equal(f.t, "trace-1", f.outcome(later, idempotent.Replay).Trace)
}
