package target_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/pkg/db/dbtest"
	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/pkg/idempotent"
	"github.com/selfsame-io/selfsame/pkg/idempotent/redisstore"
	"github.com/selfsame-io/selfsame/pkg/idempotent/target"
)

// ledger is a target without keys and without unique references: it creates whatever it is asked to, and its search shows
// a record only some time after it was made, as a search index does.
type ledger struct {
	lag time.Duration

	mu      sync.Mutex
	made    []entry
	lookups int
	// onCreate and onLookUp decide what happens to a request; they may wait.
	onCreate    func(ctx context.Context, make func()) error
	onLookUp    func(ctx context.Context) error
	afterLookUp func()
}

type entry struct {
	ref     string
	visible time.Time
	id      int
}

func (l *ledger) LookUp(ctx context.Context, ref, _ string) (int, bool, error) {
	if l.afterLookUp != nil {
		defer l.afterLookUp()
	}
	if l.onLookUp != nil {
		if err := l.onLookUp(ctx); err != nil {
			return 0, false, err
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lookups++
	for _, e := range l.made {
		if e.ref == ref && !e.visible.After(time.Now()) {
			return e.id, true, nil
		}
	}
	return 0, false, nil
}

func (l *ledger) Create(ctx context.Context, ref, _ string) (int, error) {
	create := func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.made = append(l.made, entry{ref, time.Now().Add(l.lag), len(l.made) + 1})
	}
	if l.onCreate != nil {
		if err := l.onCreate(ctx, create); err != nil {
			return 0, err
		}
	} else {
		create()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.made), nil
}

func (l *ledger) effects() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.made)
}

func guard(store idempotent.Store, l *ledger) target.Guard[string, int] {
	return target.Guard[string, int]{Store: store, Name: "ledger.entry", Target: l, Call: 2 * time.Second, Settle: time.Second}
}

// inBubble runs fn with a clock that jumps.
func inBubble(t *testing.T, fn func(t *testing.T, store *failing, l *ledger, g target.Guard[string, int])) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store, l := &failing{Store: idempotent.NewMemoryStore(nil)}, &ledger{lag: 800 * time.Millisecond}
		fn(t, store, l, guard(store, l))
	})
}

// failing is a store that can be switched off.
type failing struct {
	idempotent.Store
	mu                         sync.Mutex
	down, noCompletes, noBeats bool
}

var errDown = errors.New("store is down")

func (f *failing) is(what *bool) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.down || *what
}

func (f *failing) set(what *bool, v bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	*what = v
}

func (f *failing) Begin(ctx context.Context, c idempotent.Claim) (idempotent.Result, error) {
	if f.is(&f.down) {
		return idempotent.Result{}, errDown
	}
	return f.Store.Begin(ctx, c)
}

func (f *failing) Complete(ctx context.Context, g idempotent.Grant, a idempotent.Answer) error {
	if f.is(&f.noCompletes) {
		return errDown
	}
	return f.Store.Complete(ctx, g, a)
}

func (f *failing) Heartbeat(ctx context.Context, g idempotent.Grant, lease time.Duration) error {
	if f.is(&f.noBeats) {
		return errDown
	}
	return f.Store.Heartbeat(ctx, g, lease)
}

func TestGuard_AnswersFromTheNote(t *testing.T) {
	inBubble(t, func(t *testing.T, _ *failing, l *ledger, g target.Guard[string, int]) {
		var _ target.Effect[string, int] = g
		for range 3 {
			id, err := g.Do(t.Context(), key("a"), "one")
			require.NoError(t, err)
			require.Equal(t, 1, id)
		}
		require.Equal(t, 1, l.effects())
		require.Equal(t, 1, l.lookups)
		_, err := g.Do(t.Context(), key("a"), "two")
		require.Equal(t, target.ReasonKeyReused, fault.ReasonOf(err))
	})
}

func TestGuard_Hole1_AHolderThatStoodStillDoesNotCreate(t *testing.T) {
	inBubble(t, func(t *testing.T, _ *failing, l *ledger, g target.Guard[string, int]) {
		first := true
		var mu sync.Mutex
		l.afterLookUp = func() {
			mu.Lock()
			mine := first
			first = false
			mu.Unlock()
			if mine {
				time.Sleep(10 * time.Second) // found nothing, then the process stands still, whatever its deadlines say
			}
		}
		done := make(chan error, 1)
		go func() {
			_, err := g.Do(t.Context(), key("a"), "one")
			done <- err
		}()
		time.Sleep(4 * time.Second)
		_, err := g.Do(t.Context(), key("a"), "one")
		require.NoError(t, err, "taken over after the lease")
		require.True(t, fault.Is(<-done, fault.Conflict), "the first one finds that it lost the claim")
		require.Equal(t, 1, l.effects())
	})
}

func TestGuard_Hole2_ADeathBetweenCreatingAndNotingIsFoundByLooking(t *testing.T) {
	inBubble(t, func(t *testing.T, store *failing, l *ledger, g target.Guard[string, int]) {
		store.set(&store.noCompletes, true)
		_, err := g.Do(t.Context(), key("a"), "one")
		require.True(t, fault.Is(err, fault.Unavailable), "an effect without a note is not reported: %v", err)
		_, err = g.Do(t.Context(), key("a"), "one")
		require.True(t, fault.Is(err, fault.Conflict), "the claim still lives: %v", err)
		store.set(&store.noCompletes, false)
		time.Sleep(fault.RetryAfter(err))
		id, err := g.Do(t.Context(), key("a"), "one")
		require.NoError(t, err)
		require.Equal(t, 1, id)
		require.Equal(t, 1, l.effects())
	})
}

func lostAnswer(_ context.Context, create func()) error {
	create()
	return fault.New(fault.Timeout, "", "no answer")
}

func TestGuard_Hole3_ASearchThatLagsIsNotAskedTooEarly(t *testing.T) {
	inBubble(t, func(t *testing.T, _ *failing, l *ledger, g target.Guard[string, int]) {
		l.onCreate = lostAnswer
		_, err := g.Do(t.Context(), key("a"), "one")
		require.True(t, fault.Is(err, fault.Uncertain), "%v", err)
		require.Equal(t, time.Second, fault.RetryAfter(err))
		for range 5 {
			_, err := g.Do(t.Context(), key("a"), "one")
			require.True(t, fault.Is(err, fault.Conflict), "%v", err)
		}
		time.Sleep(time.Second)
		id, err := g.Do(t.Context(), key("a"), "one")
		require.NoError(t, err)
		require.Equal(t, 1, id)
		require.Equal(t, 1, l.effects())
	})
}

func TestGuard_Hole3_IsThereWithoutSettling(t *testing.T) {
	inBubble(t, func(t *testing.T, _ *failing, l *ledger, g target.Guard[string, int]) {
		g.Settle = 100 * time.Millisecond // less than the search lags
		l.onCreate = lostAnswer
		for range 2 {
			_, err := g.Do(t.Context(), key("a"), "one")
			require.Error(t, err)
			time.Sleep(g.Settle)
		}
		require.Equal(t, 2, l.effects(), "the test above must be able to fail")
	})
}

func TestGuard_Hole4_AnUnknownOutcomeKeepsTheClaimARefusalDoesNot(t *testing.T) {
	inBubble(t, func(t *testing.T, _ *failing, l *ledger, g target.Guard[string, int]) {
		l.onCreate = func(context.Context, func()) error { return fault.New(fault.Invalid, "", "no") }
		for range 3 {
			_, err := g.Do(t.Context(), key("a"), "one")
			require.True(t, fault.Is(err, fault.Invalid), "given back at once: %v", err)
		}
		l.onCreate = func(context.Context, func()) error {
			return idempotent.NotExecuted(fault.New(fault.Unavailable, "", "connection refused"))
		}
		for range 3 {
			_, err := g.Do(t.Context(), key("a"), "one")
			require.True(t, fault.Is(err, fault.Unavailable), "%v", err)
		}
		l.onCreate = func(context.Context, func()) error { return errors.New("who knows") }
		_, err := g.Do(t.Context(), key("a"), "one")
		require.True(t, fault.Is(err, fault.Uncertain), "%v", err)
		_, err = g.Do(t.Context(), key("a"), "one")
		require.True(t, fault.Is(err, fault.Conflict), "%v", err)
		time.Sleep(time.Second)
		l.onCreate = nil
		_, err = g.Do(t.Context(), key("a"), "one")
		require.NoError(t, err)
		require.Equal(t, 1, l.effects())
	})
}

func TestGuard_Hole5_ALostNoteOrAStoreThatIsDownIsNoPermission(t *testing.T) {
	inBubble(t, func(t *testing.T, store *failing, l *ledger, g target.Guard[string, int]) {
		_, err := g.Do(t.Context(), key("a"), "one")
		require.NoError(t, err)
		time.Sleep(time.Second)
		store.Store = idempotent.NewMemoryStore(nil) // everything forgotten
		id, err := g.Do(t.Context(), key("a"), "one")
		require.NoError(t, err)
		require.Equal(t, 1, id)
		store.set(&store.down, true)
		_, err = g.Do(t.Context(), key("b"), "two")
		require.Equal(t, idempotent.ReasonStoreUnavailable, fault.ReasonOf(err))
		require.Equal(t, 1, l.effects())
		store.set(&store.down, false)
		store.set(&store.noBeats, true)
		_, err = g.Do(t.Context(), key("c"), "three")
		require.Equal(t, idempotent.ReasonStoreUnavailable, fault.ReasonOf(err), "a claim that cannot be renewed creates nothing")
		require.Equal(t, 1, l.effects())
	})
}

func TestGuard_ALookUpThatFailsGivesTheClaimBack(t *testing.T) {
	inBubble(t, func(t *testing.T, _ *failing, l *ledger, g target.Guard[string, int]) {
		l.onLookUp = func(context.Context) error { return fault.New(fault.Unavailable, "", "search is down") }
		for range 3 {
			_, err := g.Do(t.Context(), key("a"), "one")
			require.True(t, fault.Is(err, fault.Unavailable), "%v", err)
		}
		require.Zero(t, l.effects(), "what cannot be looked up is not created")
		l.onLookUp = nil
		_, err := g.Do(t.Context(), key("a"), "one")
		require.NoError(t, err)
	})
}

func TestGuard_AfterTheRetentionItLooks(t *testing.T) {
	inBubble(t, func(t *testing.T, _ *failing, l *ledger, g target.Guard[string, int]) {
		g.Retention = time.Hour
		_, err := g.Do(t.Context(), key("a"), "one")
		require.NoError(t, err)
		time.Sleep(2 * time.Hour)
		id, err := g.Do(t.Context(), key("a"), "one")
		require.NoError(t, err)
		require.Equal(t, 1, id)
		l.mu.Lock()
		l.made = nil // deleted at the target
		l.mu.Unlock()
		_, err = g.Do(t.Context(), key("a"), "one")
		require.Equal(t, target.ReasonResultGone, fault.ReasonOf(err))
		require.Zero(t, l.effects(), "not made again")
	})
}

// Many callers, lost answers, refusals, deaths before the note, and a search that lags: one entry per key.
func TestGuard_RandomTroubles(t *testing.T) {
	t.Parallel()
	for seed := range uint64(100) {
		synctest.Test(t, func(t *testing.T) {
			rng := mathrand.New(mathrand.NewPCG(seed, 5))
			var mu sync.Mutex
			dice := func(n int) int {
				mu.Lock()
				defer mu.Unlock()
				return rng.IntN(n)
			}
			store, l := &failing{Store: idempotent.NewMemoryStore(nil)}, &ledger{lag: 900 * time.Millisecond}
			l.onCreate = func(ctx context.Context, create func()) error {
				time.Sleep(time.Duration(dice(1500)) * time.Millisecond)
				switch dice(4) {
				case 0:
					create()
					return fault.New(fault.Timeout, "", "no answer")
				case 1:
					return fault.New(fault.Unavailable, "", "no answer either")
				case 2:
					return idempotent.NotExecuted(fault.New(fault.Unavailable, "", "refused"))
				default:
					create()
					return nil
				}
			}
			g := guard(store, l)
			var wg sync.WaitGroup
			for w := range 4 {
				wg.Go(func() {
					for range 400 {
						if w == 0 {
							store.set(&store.noCompletes, dice(3) == 0)
						}
						if _, err := g.Do(t.Context(), key("a"), "one"); err == nil {
							return
						}
						time.Sleep(time.Duration(1+dice(500)) * time.Millisecond)
					}
					t.Errorf("seed %d: no answer", seed)
				})
			}
			wg.Wait()
			require.Equal(t, 1, l.effects(), "seed %d", seed)
		})
	}
}

func TestGuard_OnEveryStore(t *testing.T) {
	t.Parallel()
	stores := map[string]func(t *testing.T) idempotent.Store{
		"redis": func(t *testing.T) idempotent.Store {
			url := dbtest.Redis(t)
			s, closeStore, err := redisstore.Open(t.Context(), url, []byte("0123456789abcdef"), redisstore.Options{Prefix: "guard-" + strings.ToLower(rand.Text()) + ":"})
			require.NoError(t, err)
			t.Cleanup(func() { require.NoError(t, closeStore()) })
			return s
		},
	}
	for _, engine := range []string{"sqlite", "postgres"} {
		stores[engine] = func(t *testing.T) idempotent.Store {
			s, err := idempotent.NewSQLStore(dbtest.Open(t, engine), []byte("0123456789abcdef"), nil)
			require.NoError(t, err)
			return s
		}
	}
	for name, open := range stores {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := &ledger{}
			g := guard(open(t), l)
			g.Call, g.Settle = 10*time.Second, 10*time.Millisecond
			var wg sync.WaitGroup
			for i := range 40 {
				wg.Go(func() {
					what := fmt.Sprint("entry ", i%4)
					for {
						_, err := g.Do(t.Context(), key(what), what)
						if err == nil {
							return
						}
						if !fault.Is(err, fault.Conflict) {
							t.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
			require.Equal(t, 4, l.effects())
		})
	}
}
