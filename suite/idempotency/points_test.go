package idempotency_test

import (
	"context"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/suite"
)

// TestKilledAtEveryPoint places an order and creates a customer once, notes every span that a service ended for it, and then does
// both again for each of these points: the service stops there and is killed, and the client sends the same key until it is answered.
// So does the client itself, at every point of the edge and of process-customer: it goes away there, and comes again. Each time
// there is one order or customer, and one answer.
func TestKilledAtEveryPoint(t *testing.T) {
	if testing.Short() {
		t.Skip("one of the long tests: make check runs it")
	}
	// Not beside the others: each of them runs all services, and kills them.
	w, s := setupMortal(t)
	buyers := 0
	var done []outcome
	for _, c := range []struct {
		what string
		make func() intent
		// must are services and, in part, names of points without which the test would show nothing.
		must [][2]string
	}{
		{
			"order", func() intent { buyers++; return w.order(w.buyers[buyers%len(w.buyers)]) },
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
			"customer", func() intent { return w.customer("At every point") },
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
	} {
		w.traced(t, s, c.make()) // statements are compiled and connections made
		points := w.traced(t, s, c.make())
		t.Logf("%s: %d points", c.what, len(points))
		for _, must := range c.must {
			require.True(t, slices.ContainsFunc(points, func(p point) bool { return p.Service == must[0] && strings.Contains(p.Name, must[1]) }),
				"no point of %s is after %s, only %v", must[0], must[1], points)
		}
		w.missed = 0
		before := len(done)
		for _, p := range points {
			t.Run(fmt.Sprintf("%s: %s is killed %s", c.what, p.Service, p), func(t *testing.T) { done = append(done, w.dieAt(t, s, p, c.make(), false)) })
			if p.Service == suite.ExperienceMobile || p.Service == suite.ProcessCustomer && p.Trace != "" {
				t.Run(fmt.Sprintf("%s: the client goes away at %s", c.what, p), func(t *testing.T) { done = append(done, w.dieAt(t, s, p, c.make(), true)) })
			}
		}
		// Work that is done in batches may take another way the next time, which a busy machine makes likelier.
		require.LessOrEqual(t, w.missed, (len(done)-before)/2, "most points were not met again")
	}
	w.settle(t)
	t.Logf("%d calls were interrupted", len(done))
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

// afterAnswer is how long a test waits for a point after the answer, which a delivery may be far behind.
const afterAnswer = 30 * time.Second

// own is the trace of a call, in a list of points.
const own = "own"

// delivery are what services do for a delivery, which has a trace of its own, and with what comes back from it.
var delivery = regexp.MustCompile(`^(send|process) |/BatchUpsert|^PATCH$`)

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

// dieAt sends an intent and kills the service that reaches the point, or lets the client go away there.
func (w *world) dieAt(t *testing.T, s stops, p point, in intent, client bool) outcome {
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
	var r result
	answered, end := false, time.Now().Add(patience)
	for tick := time.NewTicker(time.Millisecond); !s.reached(p) && time.Now().Before(end); <-tick.C {
		select {
		case r = <-first:
			// What follows the answer comes soon, or not this time: another way through the code may ask less.
			answered, end = true, time.Now().Add(afterAnswer)
		default:
		}
	}
	switch {
	case !s.reached(p):
		s.clear(t, p)
		t.Logf("nobody came to %s", p)
		w.missed++
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
	return outcome{in, a}
}

func newTrace() string {
	var b [16]byte
	for i := range b {
		b[i] = byte(1 + rand.IntN(255))
	}
	return hex.EncodeToString(b[:])
}
