package idempotency_test

import (
	"context"
	crand "crypto/rand"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/pkg/conf"
	"github.com/selfsame-io/selfsame/pkg/db/dbtest"
	"github.com/selfsame-io/selfsame/suite"
)

// TestKilledAtEveryPoint places an order and creates a customer once, notes every span that a service ended for it, and then does
// both again for each of these points: the service stops there and is killed, and the client sends the same key until it is answered.
// So does the client itself, at every point of the edge and of process-customer: it goes away there, and comes again. Each time
// there is one order or customer, and one answer.
//
// A point that nobody comes to is sought again with another order or customer. Those that each of several calls passed in its own trace
// must all be met. Nine in ten must of all: what is only asked now and then, or again because somebody else wrote, need not be asked when it
// is sought; what is delivered, and what comes back from it, is done in batches, which take another way when two things come together.
func TestKilledAtEveryPoint(t *testing.T) {
	if testing.Short() {
		t.Skip("one of the long tests: make check runs it")
	}
	// Not beside the others: each of them runs all services, and kills them.
	w, s := setupMortal(t, asTheyAre)
	all := func(points []point) []point { return points }
	w.killAtPoints(t, s, all, []kind{
		{
			"order", w.someOrder,
			[][2]string{
				{suite.ExperienceMobile, "/v1/orders"},
				{suite.ProcessCustomer, "idempotency begin"},
				{suite.ProcessCustomer, "sql"},
				{suite.ProcessCustomer, "idempotency settle"},
				{suite.ProcessCustomer, "/PlaceOrder"},
				{suite.SystemERP, "sql"},
				{suite.SystemERP, "/CreateOrder"},
			},
		},
		{
			"customer", w.someCustomer,
			[][2]string{
				{suite.ExperienceMobile, "/v1/customers"},
				{suite.ProcessCustomer, "sql"},
				{suite.ProcessCustomer, "/CreateCustomer"},
				{suite.ProcessCustomer, "send erp"},
				{suite.ProcessCustomer, "send salesforce"},
				{suite.SystemERP, "/BatchUpsertCustomers"},
				{suite.SystemSalesforce, "PATCH"},
				{suite.SystemSalesforce, "/BatchUpsertAccounts"},
			},
		},
	})
}

// TestKilledWithKeysInRedis does so at some points while process-customer has PostgreSQL and keeps its keys in Redis: an answer is
// stored after its effect then, not with it, so a death between the two leaves an effect without an answer.
func TestKilledWithKeysInRedis(t *testing.T) {
	if testing.Short() {
		t.Skip("one of the long tests: make check runs it")
	}
	dsn, redis := conf.Secret(dbtest.DSN(t, "postgres")), conf.Secret(dbtest.Redis(t))
	w, s := setupMortal(t, func(c *suite.Configs) {
		c.ProcessCustomer.Store.DSN, c.ProcessCustomer.Store.Keys = dsn, redis
		// On PostgreSQL there may be others who deliver: what a killed process had begun waits for its lease.
		c.ProcessCustomer.Deliver.Timeout, c.ProcessCustomer.Deliver.Lease = 4*time.Second, 5*time.Second
	})
	chosen := func(points []point) []point {
		var out []point
		for i, p := range points {
			begun := p.Service == suite.ProcessCustomer && p.Name == "idempotency begin"
			// The last that a system does before the answer is kept, and after it.
			last := i+1 < len(points) && points[i+1].Name == "idempotency settle"
			if begun || last || p.Name == "idempotency settle" || p.Service != suite.ExperienceMobile && strings.Contains(p.Name, "/") {
				out = append(out, p)
			}
		}
		return out
	}
	w.killAtPoints(t, s, chosen, []kind{
		{
			"order", w.someOrder,
			[][2]string{
				{suite.ProcessCustomer, "idempotency begin"},
				{suite.ProcessCustomer, "idempotency settle"},
				{suite.ProcessCustomer, "/PlaceOrder"},
				{suite.SystemERP, "/CreateOrder"},
			},
		},
		{
			"customer", w.someCustomer,
			[][2]string{
				{suite.ProcessCustomer, "idempotency begin"},
				{suite.ProcessCustomer, "idempotency settle"},
				{suite.ProcessCustomer, "/CreateCustomer"},
				{suite.SystemERP, "/BatchUpsertCustomers"},
				{suite.SystemSalesforce, "/BatchUpsertAccounts"},
			},
		},
	})
}

// kind is what intents are about.
type kind struct {
	what string
	make func() intent
	// must are services and, in part, names of points without which the test would show nothing.
	must [][2]string
}

func (w *world) someOrder() intent { return w.order(w.buyers[int(w.serial.Load())%len(w.buyers)]) }

// someCustomer has a name like nobody else's: what many have in common is looked for, and kept, in another way.
func (w *world) someCustomer() intent { return w.customer(crand.Text()) }

// killAtPoints kills services, and lets clients go away, at those points of each kind that are chosen.
func (w *world) killAtPoints(t *testing.T, s stops, chosen func([]point) []point, kinds []kind) {
	t.Helper()
	var done []outcome
	for _, c := range kinds {
		points, certain := w.points(t, s, c.make)
		points = chosen(points)
		for _, must := range c.must {
			require.True(t, slices.ContainsFunc(points, func(p point) bool { return p.Service == must[0] && strings.Contains(p.Name, must[1]) }),
				"no point of %s is after %s, only %v", must[0], must[1], points)
		}
		sought, missed := 0, 0
		at := func(p point, client bool) func(*testing.T) {
			return func(t *testing.T) {
				met := false
				for try := 0; try < tries && !met; try++ {
					var d outcome
					d, met = w.dieAt(t, s, p, c.make(), client)
					done = append(done, d)
				}
				sought++
				if met {
					return
				}
				missed++
				t.Logf("nobody came to %s", p)
				require.False(t, certain[p], "each point that the call itself passes is met")
			}
		}
		for _, p := range points {
			t.Run(fmt.Sprintf("%s: %s is killed %s", c.what, p.Service, p), at(p, false))
			if p.Service == suite.ExperienceMobile || p.Service == suite.ProcessCustomer && p.Trace != "" {
				t.Run(fmt.Sprintf("%s: the client goes away at %s", c.what, p), at(p, true))
			}
		}
		t.Logf("%s: %d points, %d of %d times nobody came", c.what, len(points), missed, sought)
		require.LessOrEqual(t, missed, sought/10, "too many points were not met again")
	}
	w.settle(t)
	t.Logf("%d calls", len(done))
	placed, made := w.orders(t), w.customers(t)
	for _, d := range done {
		w.same(t, d.in, d.a)
		if d.in.path == "/v1/orders" {
			require.Equal(t, 1, placed[d.in.name], d.in.name)
			continue
		}
		require.Equal(t, 1, made[d.in.name], d.in.name)
		require.Len(t, w.accounts(t, d.in.name), 1, d.in.name)
	}
}

const (
	tries = 3 // that a point is sought
	// afterwards is how long a test waits for a point when all that followed the answer has come to its end.
	afterwards = time.Second
)

// own is the trace of a call, in a list of points.
const own = "own"

// delivery are what services do for a delivery, which has a trace of its own, and with what comes back from it.
var delivery = regexp.MustCompile(`^(send|process) |/BatchUpsert|^PATCH$`)

// recordings is how many intents show which points there are.
const recordings = 3

// points brings intents of a kind to their end and returns the points that were passed: all of their own traces, and of what follows the
// first of each kind. Those of the own trace that each of them passed are certain: also the last, for which process-customer has just been
// started, as it has after it was killed.
func (w *world) points(t *testing.T, s stops, make func() intent) (out []point, certain map[point]bool) {
	t.Helper()
	w.traced(t, s, make()) // statements are compiled and connections made
	passed, certain := map[point]int{}, map[point]bool{}
	for i := range recordings {
		if i == recordings-1 {
			w.again(t, suite.ProcessCustomer)
		}
		for _, p := range w.traced(t, s, make()) {
			if passed[p]++; passed[p] == 1 {
				out = append(out, p)
			}
			certain[p] = p.Trace == own && passed[p] == recordings
		}
	}
	return out, certain
}

// traced brings an intent to its end and returns the points that were passed: all of its own trace, and of what follows the first of
// each kind.
func (w *world) traced(t *testing.T, s stops, in intent) []point {
	t.Helper()
	in.trace = newTrace()
	all := s.record(t, func() {
		w.until(t, in)
		w.settle(t)
	})
	var out []point
	for _, service := range []string{suite.ExperienceMobile, suite.ProcessCustomer, suite.SystemERP, suite.SystemSalesforce} {
		count := map[string]int{}
		for _, span := range all[service] {
			trace, name := own, span[1]
			if span[0] != in.trace {
				if trace = ""; !delivery.MatchString(name) || count[" "+name] > 0 {
					continue
				}
			}
			count[trace+" "+name]++
			out = append(out, point{Service: service, Trace: trace, Name: name, Nth: count[trace+" "+name]})
		}
	}
	return out
}

// dieAt sends an intent and kills the service that reaches the point, or lets the client go away there. It reports whether somebody
// came to the point.
func (w *world) dieAt(t *testing.T, s stops, p point, in intent, client bool) (outcome, bool) {
	t.Helper()
	in.trace = newTrace()
	if p.Trace == own {
		p.Trace = in.trace
	} else {
		w.settle(t) // or it would be reached for another customer
	}
	s.set(t, p)
	type result struct {
		a   answer
		err error
	}
	sent, cancel := context.WithCancel(t.Context())
	defer cancel()
	first := make(chan result, 1)
	go func() {
		a, err := w.send(sent, in)
		first <- result{a, err}
	}()
	looking, enough := context.WithCancel(t.Context())
	var settling sync.WaitGroup
	settled := make(chan struct{})
	var r result
	answered, end := false, time.Now().Add(patience)
	for tick := time.NewTicker(time.Millisecond); !s.reached(p) && time.Now().Before(end); <-tick.C {
		select {
		case r = <-first:
			answered = true
			settling.Go(func() {
				if _, err := w.demo.Settle(looking, nil); err == nil {
					close(settled)
				}
			})
		case <-settled: // what follows comes soon, or not this time: another way through the code may ask less
			settled, end = nil, time.Now().Add(afterwards)
		default:
		}
	}
	enough()
	settling.Wait()
	met := s.reached(p)
	switch {
	case !met:
		s.clear(t, p)
	case client:
		cancel()
		s.on(t, p)
	default:
		w.again(t, p.Service)
	}
	a := w.until(t, in)
	if !answered {
		r = <-first
	}
	if r.err == nil && r.a.status < 300 {
		require.Equal(t, string(r.a.body), string(a.body), "whoever was answered before the end was told the same")
	}
	w.same(t, in, a)
	return outcome{in, a}, met
}

func newTrace() string {
	var b [16]byte
	for i := range b {
		b[i] = byte(1 + rand.IntN(255))
	}
	return hex.EncodeToString(b[:])
}
