package idempotency_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/suite"
	"github.com/selfsame-io/selfsame/suite/remote"
)

// How the killing test is run. It is void when a victim's deaths interrupted too few calls.
const (
	killRounds     = 6  // each kills every victim once
	callers        = 24 // half create customers, half place orders, each one call after another
	minInterrupted = 3  // calls per victim
)

// TestKilledAtAnyPoint kills every service again and again, at random moments, while clients create customers and place
// orders and go away in the middle themselves. Calls are held back a little on their way to the ERP and back, so that they
// are everywhere when the power fails. In the end every intention has one customer or one order, and everybody who was
// answered for a key was given the same answer.
func TestKilledAtAnyPoint(t *testing.T) {
	if testing.Short() {
		t.Skip("one of the long tests: make check runs it")
	}
	t.Parallel()
	w := setup(t, true)
	w.fault(t, remote.Fault{Kind: "delay", Method: "CreateOrder", DelayMS: 15, Times: 2000})
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	load := &load{w: w}
	var clients sync.WaitGroup
	for i := range callers {
		clients.Go(func() { load.client(ctx, t, i) })
	}
	victims := []string{suite.ExperienceMobile, suite.ProcessCustomer, suite.SystemERP, suite.SystemSalesforce}
	random := rand.New(rand.NewPCG(2026, 11))
	hurt := map[string]int{}
	for round := range killRounds {
		for _, victim := range victims {
			if round == killRounds/2 && victim == suite.ExperienceMobile {
				// From now on the answers of the ERP are held back instead: the effect is there and nobody knows.
				require.NoError(t, w.demo.ClearFaults(t.Context()))
				w.fault(t, remote.Fault{Kind: "hold_answer", Method: "CreateOrder", DelayMS: 15, Times: 2000})
			}
			timer := time.NewTimer(time.Duration(100+random.IntN(150)) * time.Millisecond)
			<-timer.C
			before := load.interrupted()
			w.again(t, victim)
			require.NotNil(t, load.progress(t), "the load goes on")
			hurt[victim] += load.interrupted() - before
		}
	}
	stop()
	clients.Wait()
	done := load.done()
	require.Greater(t, len(done), callers*2)
	for _, victim := range []string{suite.ExperienceMobile, suite.ProcessCustomer, suite.SystemERP} {
		require.GreaterOrEqual(t, hurt[victim], minInterrupted, "the run is void: the deaths of %s interrupted too few calls", victim)
	}
	require.GreaterOrEqual(t, load.left(), minInterrupted, "the run is void: too few clients went away")
	w.settle(t)
	placed, made := w.orders(t), w.customers(t)
	for _, d := range done {
		if d.in.path == "/v1/orders" {
			require.Equal(t, 1, placed[d.in.name], d.in.name)
		} else {
			require.Equal(t, 1, made[d.in.name], d.in.name)
		}
		w.same(t, d.in, d.a)
	}
	t.Logf("%d intentions, %d kills, interrupted calls by victim: %v, %d by clients themselves",
		len(done), killRounds*len(victims), hurt, load.left())
}

// load is many clients at once.
type load struct {
	w *world

	mu        sync.Mutex
	answered  []outcome
	cut, gone int
}

type outcome struct {
	in intent
	a  answer
}

// client sends one intention after another, each until it is answered. Sometimes it goes away itself.
func (l *load) client(ctx context.Context, t *testing.T, i int) {
	t.Helper()
	random := rand.New(rand.NewPCG(1, uint64(i)))
	for ctx.Err() == nil {
		in := l.w.customer(fmt.Sprintf("Killed %d", i))
		if i%2 == 0 {
			in = l.w.order(l.w.buyers[i/2%len(l.w.buyers)])
		}
		left := 0
		abandon := func() time.Duration {
			if random.IntN(6) > 0 {
				return 0
			}
			left++
			return time.Duration(1+random.IntN(40)) * time.Millisecond
		}
		// Not ctx: an intention that was begun is brought to its end.
		a, cut, err := l.w.persist(t.Context(), in, abandon)
		if err != nil {
			t.Error(err)
			return
		}
		l.mu.Lock()
		l.answered = append(l.answered, outcome{in, a})
		l.cut, l.gone = l.cut+cut, l.gone+left
		l.mu.Unlock()
	}
}

func (l *load) interrupted() int { l.mu.Lock(); defer l.mu.Unlock(); return l.cut }

func (l *load) left() int { l.mu.Lock(); defer l.mu.Unlock(); return l.gone }

func (l *load) done() []outcome {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]outcome(nil), l.answered...)
}

// progress waits until every client may have noticed: as many calls as there are clients have been answered since.
func (l *load) progress(t *testing.T) []outcome {
	t.Helper()
	want := len(l.done()) + callers
	require.Eventually(t, func() bool { return len(l.done()) >= want }, patience, 10*time.Millisecond)
	return l.done()
}
