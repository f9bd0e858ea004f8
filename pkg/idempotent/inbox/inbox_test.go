package inbox_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/selfsame-io/selfsame/pkg/db"
	"github.com/selfsame-io/selfsame/pkg/db/dbtest"
	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/pkg/idempotent"
	"github.com/selfsame-io/selfsame/pkg/idempotent/idempotenttest"
	"github.com/selfsame-io/selfsame/pkg/idempotent/inbox"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var schema = fstest.MapFS{"00001_effect.sql": {Data: []byte("-- +goose Up\nCREATE TABLE effect (what TEXT NOT NULL);")}}

// world is an inbox whose effect is a row in a table without any constraint: a second execution is a second row.
type world struct {
	t     *testing.T
	db    *db.DB
	clock *idempotenttest.Clock
	in    *inbox.Inbox
}

func setup(t *testing.T, d *db.DB) *world {
	t.Helper()
	require.NoError(t, d.Migrate(t.Context(), schema, "effect_migrations"))
	w := &world{t: t, db: d, clock: idempotenttest.NewClock()}
	w.in = w.inbox("orders")
	return w
}

func (w *world) inbox(consumer string) *inbox.Inbox {
	w.t.Helper()
	in, err := inbox.New(w.db, consumer, inbox.Options{Retention: 24 * time.Hour, Now: w.clock.Now})
	require.NoError(w.t, err)
	return in
}

func each(t *testing.T, fn func(w *world)) {
	t.Helper()
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) { fn(setup(t, d)) })
}

func effect(what string) func(ctx context.Context, tx *sql.Tx) error {
	return func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "INSERT INTO effect (what) VALUES ($1)", what)
		return err
	}
}

func (w *world) handle(m inbox.Message) inbox.Verdict {
	w.t.Helper()
	v, err := w.in.Handle(w.t.Context(), m, effect(name(m)))
	require.NoError(w.t, err)
	return v
}

func name(m inbox.Message) string { return m.ID + m.Stream + fmt.Sprint(m.Position) }

// effects counts executions by message.
func (w *world) effects() map[string]int {
	w.t.Helper()
	rows, err := w.db.Read().QueryContext(w.t.Context(), "SELECT what, COUNT(*) FROM effect GROUP BY what")
	require.NoError(w.t, err)
	defer rows.Close()
	out := map[string]int{}
	for rows.Next() {
		var (
			what string
			n    int
		)
		require.NoError(w.t, rows.Scan(&what, &n))
		out[what] = n
	}
	require.NoError(w.t, rows.Err())
	return out
}

func (w *world) stats() inbox.Stats {
	w.t.Helper()
	s, err := w.in.Stats(w.t.Context())
	require.NoError(w.t, err)
	return s
}

func TestConformance(t *testing.T) {
	t.Parallel()
	t.Run("O-02 deliveries at the same time have one effect", simultaneousDeliveries)
	t.Run("O-03 a crash before the acknowledgement has one effect", crashInTheHandler)
	t.Run("O-04 a duplicate after the window of the broker is recognised", remembers)
	t.Run("O-05 out of order, the newest state is kept and older ones are counted", newestVersion)
	t.Run("O-06 Salesforce events replayed from a replay id have one effect", replayFromTheBeginning)
	t.Run("O-08 a poison message is parked after five failures, and retried once in effect", poison)
}

func TestHandle_ProcessesOnceWhoeverDelivers(t *testing.T) {
	each(t, func(w *world) {
		m := inbox.Message{ID: "event-1", Body: []byte("x")}
		require.Equal(w.t, inbox.Processed, w.handle(m))
		require.Equal(w.t, inbox.Duplicate, w.handle(m))
		v, err := w.inbox("billing").Handle(w.t.Context(), m, effect("billing"))
		require.NoError(w.t, err)
		require.Equal(w.t, inbox.Processed, v, "consumers know nothing of each other")
		require.Equal(w.t, map[string]int{name(m): 1, "billing": 1}, w.effects())
	})
}

func simultaneousDeliveries(t *testing.T) {
	each(t, func(w *world) {
		var processed atomic.Int64
		var wg sync.WaitGroup
		for i := range 5 {
			m := inbox.Message{ID: fmt.Sprint("event-", i)}
			for range 20 {
				wg.Go(func() {
					v, err := w.in.Handle(w.t.Context(), m, effect(name(m)))
					if err != nil {
						w.t.Error(err)
					}
					if v == inbox.Processed {
						processed.Add(1)
					}
				})
			}
		}
		wg.Wait()
		require.Equal(w.t, int64(5), processed.Load())
		for what, n := range w.effects() {
			require.Equal(w.t, 1, n, what)
		}
	})
}

func crashInTheHandler(t *testing.T) {
	each(t, func(w *world) {
		m := inbox.Message{ID: "event-1", Object: "o", Version: inbox.Version{Major: 3}}
		down := fault.New(fault.Unavailable, "", "down")
		_, err := w.in.Handle(w.t.Context(), m, func(ctx context.Context, tx *sql.Tx) error {
			return errors.Join(effect("half")(ctx, tx), down)
		})
		require.ErrorIs(w.t, err, down)
		require.Empty(w.t, w.effects())
		require.Equal(w.t, inbox.Processed, w.handle(m), "the redelivery is processed")
		require.Equal(w.t, inbox.Duplicate, w.handle(m), "and after a crash before the acknowledgement not again")
	})
}

func remembers(t *testing.T) {
	each(t, func(w *world) {
		m := inbox.Message{ID: "event-1", Object: "o", Version: inbox.Version{Major: 1}}
		w.handle(m)
		w.clock.Advance(23 * time.Hour)
		n, err := w.in.Purge(w.t.Context(), 100)
		require.NoError(w.t, err)
		require.Zero(w.t, n)
		require.Equal(w.t, inbox.Duplicate, w.handle(m), "long after every broker's own window")
		w.clock.Advance(time.Hour)
		n, err = w.in.Purge(w.t.Context(), 100)
		require.NoError(w.t, err)
		require.Equal(w.t, 2, n, "the message and the version of its object")
		require.Equal(w.t, inbox.Processed, w.handle(m), "what comes later than the retention is processed again")
	})
}

func newestVersion(t *testing.T) {
	each(t, func(w *world) {
		rng := rand.New(rand.NewPCG(1, 2))
		for round := range 20 {
			object, last := fmt.Sprint("o", round), int64(-1)
			skipped := 0
			for _, v := range append(rng.Perm(8), rng.Perm(8)...) { // every message twice
				m := inbox.Message{ID: fmt.Sprint(round, "/", v), Object: object, Version: inbox.Version{Major: int64(v / 4), Minor: int64(v % 4)}}
				verdict := w.handle(m)
				if verdict == inbox.Processed {
					require.Greater(w.t, int64(v), last, "an older version never follows a newer one")
					last = int64(v)
				}
				if verdict == inbox.Stale {
					skipped++
				}
			}
			require.Equal(w.t, int64(7), last)
			processed := 0
			for v := range 8 {
				processed += w.effects()[name(inbox.Message{ID: fmt.Sprint(round, "/", v)})]
			}
			require.Equal(w.t, 8, processed+skipped, "every message is either processed or counted as older")
		}
	})
}

func TestHandle_EqualVersionsAreAllProcessed(t *testing.T) {
	each(t, func(w *world) {
		for _, id := range []string{"a", "b"} {
			require.Equal(w.t, inbox.Processed, w.handle(inbox.Message{ID: id, Object: "o", Version: inbox.Version{Major: 1}}))
		}
	})
}

func TestHandle_RefusesAMessageWithoutIdentity(t *testing.T) {
	each(t, func(w *world) {
		_, err := w.in.Handle(w.t.Context(), inbox.Message{Body: []byte("x")}, effect("x"))
		require.Equal(w.t, inbox.ReasonMessageInvalid, fault.ReasonOf(err))
	})
}

func TestHandle_ParksAChangedBodyUnderTheSameID(t *testing.T) {
	each(t, func(w *world) {
		m := inbox.Message{ID: "event-1", Body: []byte("x")}
		w.handle(m)
		m.Body = []byte("y")
		var v inbox.Verdict
		for range 5 {
			var err error
			v, err = w.in.Handle(w.t.Context(), m, effect("changed"))
			if err != nil {
				require.Equal(w.t, inbox.ReasonMessageChanged, fault.ReasonOf(err))
			}
		}
		require.Equal(w.t, inbox.Parked, v)
		require.Zero(w.t, w.effects()["changed"])
		parked, err := w.in.Parked(w.t.Context(), "", 10)
		require.NoError(w.t, err)
		require.Len(w.t, parked, 1)
		require.Equal(w.t, "y", string(parked[0].Message.Body))
		m.Body = []byte("x")
		require.Equal(w.t, inbox.Duplicate, w.handle(m), "the message itself is as processed as before")
	})
}

func poison(t *testing.T) {
	each(t, func(w *world) {
		m := inbox.Message{ID: "poison", Object: "o", Version: inbox.Version{Major: 4, Minor: 2}, Body: []byte("bad")}
		bad := func(context.Context, *sql.Tx) error {
			return fault.New(fault.Invalid, "ORDER_WITHOUT_LINES", "no lines")
		}
		outage := func(context.Context, *sql.Tx) error { return fault.New(fault.Unavailable, "", "down") }
		for range 10 {
			_, err := w.in.Handle(w.t.Context(), m, outage)
			require.Error(w.t, err, "an outage says nothing about the message")
		}
		for range 4 {
			_, err := w.in.Handle(w.t.Context(), m, bad)
			require.Equal(w.t, "ORDER_WITHOUT_LINES", fault.ReasonOf(err))
		}
		require.Equal(w.t, inbox.Stats{Failing: 1}, w.stats())
		v, err := w.in.Handle(w.t.Context(), m, bad)
		require.NoError(w.t, err)
		require.Equal(w.t, inbox.Parked, v)
		require.Equal(w.t, inbox.Parked, w.handle(m), "a further delivery is acknowledged, not processed")

		parked, err := w.in.Parked(w.t.Context(), "", 10)
		require.NoError(w.t, err)
		require.Len(w.t, parked, 1)
		p := parked[0]
		require.Equal(w.t, m, p.Message)
		require.Equal(w.t, "ORDER_WITHOUT_LINES", p.Reason)
		require.Equal(w.t, int64(5), p.Attempts)
		require.Equal(w.t, w.clock.Now(), p.At)
		more, err := w.in.Parked(w.t.Context(), p.Handle, 10)
		require.NoError(w.t, err)
		require.Empty(w.t, more)
		w.clock.Advance(1000 * time.Hour)
		_, err = w.in.Purge(w.t.Context(), 100)
		require.NoError(w.t, err)
		require.Equal(w.t, int64(1), w.stats().Parked, "waits for a person for ever")

		_, err = w.in.Retry(w.t.Context(), p.Handle, func(context.Context, *sql.Tx, inbox.Message) error { return errors.New("still bad") })
		require.ErrorContains(w.t, err, "still bad")
		var wg sync.WaitGroup
		for range 10 { // ten people retry at once
			wg.Go(func() {
				v, err := w.in.Retry(w.t.Context(), p.Handle, func(ctx context.Context, tx *sql.Tx, m inbox.Message) error {
					return effect(name(m))(ctx, tx)
				})
				if err != nil && fault.KindOf(err) != fault.NotFound || v == inbox.Parked {
					w.t.Error(v, err)
				}
			})
		}
		wg.Wait()
		require.Equal(w.t, map[string]int{name(m): 1}, w.effects())
		require.Equal(w.t, inbox.Duplicate, w.handle(m))
	})
}

func TestRetry_SkipsWhatIsOlderByNow(t *testing.T) {
	each(t, func(w *world) {
		m := inbox.Message{ID: "poison", Object: "o", Version: inbox.Version{Major: 1}}
		for range 5 {
			_, _ = w.in.Handle(w.t.Context(), m, func(context.Context, *sql.Tx) error { return errors.New("bad") })
		}
		w.handle(inbox.Message{ID: "newer", Object: "o", Version: inbox.Version{Major: 2}})
		parked, err := w.in.Parked(w.t.Context(), "", 1)
		require.NoError(w.t, err)
		v, err := w.in.Retry(w.t.Context(), parked[0].Handle, func(context.Context, *sql.Tx, inbox.Message) error { panic("must not run") })
		require.NoError(w.t, err)
		require.Equal(w.t, inbox.Stale, v)
	})
}

func TestDiscard_ForgetsTheContentAndKeepsTheVerdict(t *testing.T) {
	each(t, func(w *world) {
		m := inbox.Message{ID: "poison", Body: []byte("canary")}
		for range 5 {
			_, _ = w.in.Handle(w.t.Context(), m, func(context.Context, *sql.Tx) error { return errors.New("bad") })
		}
		parked, err := w.in.Parked(w.t.Context(), "", 1)
		require.NoError(w.t, err)
		require.NoError(w.t, w.in.Discard(w.t.Context(), parked[0].Handle, "sent by mistake"))
		require.Equal(w.t, inbox.Duplicate, w.handle(m), "a late delivery is not processed either")
		require.True(w.t, fault.Is(w.in.Discard(w.t.Context(), parked[0].Handle, "again"), fault.NotFound))
		require.True(w.t, fault.Is(w.in.Discard(w.t.Context(), "nonsense", ""), fault.Invalid))
		var n int
		require.NoError(w.t, w.db.Read().QueryRowContext(w.t.Context(), "SELECT COUNT(*) FROM inbox_message WHERE body IS NOT NULL").Scan(&n))
		require.Zero(w.t, n)
	})
}

func TestCheckpoint_KeepsNothingBelow(t *testing.T) {
	each(t, func(w *world) {
		const total, every = 200, 25
		most := int64(0)
		for i := range int64(total) {
			m := inbox.Message{Stream: "log", Position: i * 3} // positions have gaps
			require.Equal(w.t, inbox.Processed, w.handle(m))
			most = max(most, w.stats().Remembered)
			if i%every == every-1 {
				require.NoError(w.t, w.in.Checkpoint(w.t.Context(), "log", m.Position, []byte("here")))
			}
		}
		require.LessOrEqual(w.t, most, int64(every), "what is kept is bounded by the distance between checkpoints")
		for i := range int64(total) {
			require.Equal(w.t, inbox.Duplicate, w.handle(inbox.Message{Stream: "log", Position: i * 3}))
		}
		require.Equal(w.t, inbox.Processed, w.handle(inbox.Message{Stream: "log", Position: total * 3}))
		require.NoError(w.t, w.in.Checkpoint(w.t.Context(), "log", 5, []byte("older")))
		at, token, ok, err := w.in.Position(w.t.Context(), "log")
		require.NoError(w.t, err)
		require.True(w.t, ok)
		require.Equal(w.t, int64((total-1)*3), at, "an older checkpoint changes nothing")
		require.Equal(w.t, "here", string(token))
	})
}

// A member that lost its partition goes on with what it had read, while the new owner processes and checkpoints.
func TestCheckpoint_DoesNotForgetBeforeALateDeliveryKnows(t *testing.T) {
	each(t, func(w *world) {
		const n = 60
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for i := range int64(n) {
					m := inbox.Message{Stream: "log", Position: i}
					if _, err := w.in.Handle(w.t.Context(), m, effect(name(m))); err != nil {
						w.t.Error(err)
					}
					if err := w.in.Checkpoint(w.t.Context(), "log", i, nil); err != nil {
						w.t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		require.Len(w.t, w.effects(), n)
		for what, times := range w.effects() {
			require.Equal(w.t, 1, times, what)
		}
	})
}

// target does an effect with the same key once; it counts what it was asked.
type target struct {
	mu    sync.Mutex
	asked map[string]int
}

func (g *target) do(ctx context.Context, step string) {
	parent, _ := idempotent.FromContext(ctx)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.asked[idempotent.ChildOf(parent, step, "")]++
}

func TestCall_UsesTheSameKeysAfterACrash(t *testing.T) {
	each(t, func(w *world) {
		g := &target{asked: map[string]int{}}
		m := inbox.Message{ID: "event-1", Object: "o", Version: inbox.Version{Major: 2}}
		crash := fault.New(fault.Unavailable, "", "the process died after the effect")
		for range 3 {
			_, err := w.in.Call(w.t.Context(), m, func(ctx context.Context) error {
				g.do(ctx, "erp.order")
				return crash
			})
			require.ErrorIs(w.t, err, crash)
		}
		v, err := w.in.Call(w.t.Context(), m, func(ctx context.Context) error { g.do(ctx, "erp.order"); return nil })
		require.NoError(w.t, err)
		require.Equal(w.t, inbox.Processed, v)
		require.Len(w.t, g.asked, 1, "one key: the target can tell that it is one effect")
		v, err = w.in.Call(w.t.Context(), m, func(context.Context) error { panic("must not run") })
		require.NoError(w.t, err)
		require.Equal(w.t, inbox.Duplicate, v)
		v, err = w.in.Call(w.t.Context(), inbox.Message{ID: "old", Object: "o", Version: inbox.Version{Major: 1}},
			func(context.Context) error { panic("must not run") })
		require.NoError(w.t, err)
		require.Equal(w.t, inbox.Stale, v)
	})
}

func TestNew_RefusesAConsumerWithoutAName(t *testing.T) {
	t.Parallel()
	_, err := inbox.New(dbtest.Open(t, "sqlite"), "", inbox.Options{})
	require.Error(t, err)
}
