package idempotency_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	customerv1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/customer/v1"
	erpv1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/erp/v1"
	idempotencyv1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/idempotency/v1"
	"github.com/selfsame-io/selfsame/suite"
	"github.com/selfsame-io/selfsame/suite/crm"
	"github.com/selfsame-io/selfsame/suite/remote"
)

// TestConformance is the part of the table of idempotency that needs real processes: the cases run one after another
// against one suite, because each of them kills or stops what the others stand on.
func TestConformance(t *testing.T) {
	if testing.Short() {
		t.Skip("one of the long tests: make check runs it")
	}
	t.Parallel()
	w := setup(t, true)
	for _, c := range []struct {
		name string
		run  func(t *testing.T, w *world)
	}{
		{"F-01 killed before it claimed: the retry is executed", killedBeforeClaim},
		{"F-02 killed after it claimed and before the effect: the retry waits for the lease, not for the record", killedBeforeEffect},
		{"F-03 killed after the effect: the retry finds it", killedAfterEffect},
		{"F-03 the ERP is killed after the effect: the retry finds it", killedERP},
		{"F-12 killed after the answer was stored: the retry gets it", killedAfterAnswer},
		{"F-15 stopped in order while fifty calls run: none is lost and none is done twice", stoppedInOrder},
		{"F-16 the edge is killed while it waits for the answer: another finds it", killedEdge},
		{"F-18 everything is down for longer than the lease: what was accepted comes to its end without its client", allDown},
		{"G-06 the answer of the ERP is lost: the retry finds the order", lostAnswer},
		{"I-05 one system takes the customer and the other fails: each has it once in the end", halfDelivered},
		{"I-05 the service of Salesforce is killed before and after the effect: one account in the end", killedSalesforce},
		{"J-09 a rolling restart under load fails no call for good", rollingRestart},
		{"M-08 who looks for a write later finds when it was made, what it made, and where", audited},
		{"O-01 what was committed is published, whoever dies before it is", published},
		{"O-08 what could not be delivered is set aside, and delivered once when it can", setAside},
		{"O-09 reading everything again makes nothing again", readAgain},
		{"E-11 two keys for one business object: one object", oneObject},
		{"O-07 two taps with two keys: the customer is found, not made again", oneObject},
	} {
		ok := t.Run(c.name, func(t *testing.T) {
			// The case before killed somebody: everything answers again before the next begins, which sends some requests once only.
			require.NoError(t, w.demo.ClearFaults(t.Context()))
			w.until(t, w.order(w.buyers[0]))
			c.run(t, w)
		})
		require.True(t, ok, "the cases after it would wait for what it left behind")
	}
}

// once proves that an order was placed once, and that a further retry gets the same answer.
func (w *world) once(t *testing.T, in intent, a answer) {
	t.Helper()
	require.Equal(t, 201, a.status)
	again := w.until(t, in)
	require.True(t, again.replayed)
	require.Equal(t, string(a.body), string(again.body))
	require.Equal(t, a.location, again.location)
	require.Equal(t, 1, w.orders(t)[in.name], in.name)
}

// sending sends an intent and gives up when the test says so.
func (w *world) sending(t *testing.T, in intent) (result <-chan error, leave func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		a, err := w.send(ctx, in)
		if err == nil {
			err = fmt.Errorf("answered %d %s", a.status, a.code)
		}
		done <- err
	}()
	return done, cancel
}

func killedBeforeClaim(t *testing.T, w *world) {
	in := w.order(w.buyers[0])
	require.NoError(t, w.suite.Kill(suite.ProcessCustomer))
	a, err := w.send(t.Context(), in)
	require.NoError(t, err)
	require.Equal(t, 503, a.status)
	require.True(t, a.retry)
	require.NoError(t, w.suite.StartService(t.Context(), suite.ProcessCustomer))
	a = w.until(t, in)
	require.False(t, a.replayed)
	w.once(t, in, a)
}

func killedBeforeEffect(t *testing.T, w *world) {
	hits := w.fault(t, remote.Fault{Kind: "delay", Method: "CreateOrder", Times: 1, DelayMS: 60_000})
	in := w.order(w.buyers[0])
	first, leave := w.sending(t, in)
	defer leave()
	require.Eventually(t, func() bool { return hits() == 1 }, patience, 5*time.Millisecond)
	killed := time.Now()
	w.again(t, suite.ProcessCustomer)
	<-first
	require.Zero(t, w.orders(t)[in.name], "it was killed before the effect")
	refused := 0
	for {
		a, err := w.send(t.Context(), in)
		if err == nil && a.status < 300 {
			w.once(t, in, a)
			break
		}
		if err == nil && a.code == "IDEMPOTENCY_IN_PROGRESS" {
			refused++
		}
		require.Less(t, time.Since(killed), time.Minute, "a key is not blocked for longer than the lease")
	}
	require.GreaterOrEqual(t, w.newest(t, "PlaceOrder").GetAttempt(), int64(2))
	t.Logf("blocked for %v, refused %d times", time.Since(killed).Round(time.Millisecond), refused)
}

func killedAfterEffect(t *testing.T, w *world) {
	w.fault(t, remote.Fault{Kind: "hold_answer", Method: "CreateOrder", Times: 1, DelayMS: 60_000})
	in := w.order(w.buyers[1])
	first, leave := w.sending(t, in)
	defer leave()
	require.Eventually(t, func() bool { return w.orders(t)[in.name] == 1 }, patience, 5*time.Millisecond)
	w.again(t, suite.ProcessCustomer)
	<-first
	a := w.until(t, in)
	require.False(t, a.replayed, "no answer had been stored")
	w.once(t, in, a)
}

func killedAfterAnswer(t *testing.T, w *world) {
	w.fault(t, remote.Fault{Kind: "hold_answer", Method: "CreateOrder", Times: 1, DelayMS: 2_000})
	in := w.order(w.buyers[2])
	first, leave := w.sending(t, in)
	require.Eventually(t, func() bool { return w.orders(t)[in.name] == 1 }, patience, 5*time.Millisecond)
	leave() // nobody hears the answer
	require.Error(t, <-first)
	require.Eventually(t, func() bool {
		k := w.newest(t, "PlaceOrder")
		return k.GetState() == idempotencyv1.KeyState_KEY_STATE_DONE && k.GetOk()
	}, patience, 5*time.Millisecond)
	w.again(t, suite.ProcessCustomer)
	a := w.until(t, in)
	require.True(t, a.replayed)
	w.once(t, in, a)
}

func stoppedInOrder(t *testing.T, w *world) {
	hits := w.fault(t, remote.Fault{Kind: "delay", Method: "CreateOrder", Times: 50, DelayMS: 200})
	intents := make([]intent, 50)
	answers := make([]answer, 50)
	var calls sync.WaitGroup
	for i := range intents {
		intents[i] = w.order(w.buyers[i%len(w.buyers)])
		calls.Go(func() {
			var err error
			if answers[i], _, err = w.persist(t.Context(), intents[i], nil); err != nil {
				t.Error(err)
			}
		})
	}
	require.Eventually(t, func() bool { return hits() >= 10 }, patience, time.Millisecond)
	require.NoError(t, w.suite.StopService(suite.ProcessCustomer))
	require.NoError(t, w.suite.StartService(t.Context(), suite.ProcessCustomer))
	calls.Wait()
	for i, in := range intents {
		w.same(t, in, answers[i])
	}
	w.placedOnce(t, intents)
}

// same proves that a retry gets the same answer.
func (w *world) same(t *testing.T, in intent, a answer) {
	t.Helper()
	again := w.until(t, in)
	require.True(t, again.replayed, in.name)
	require.Equal(t, string(a.body), string(again.body), in.name)
}

func (w *world) placedOnce(t *testing.T, intents []intent) {
	t.Helper()
	placed := w.orders(t)
	for _, in := range intents {
		require.Equal(t, 1, placed[in.name], in.name)
	}
}

func killedEdge(t *testing.T, w *world) {
	w.fault(t, remote.Fault{Kind: "hold_answer", Method: "CreateOrder", Times: 1, DelayMS: 500})
	in := w.order(w.buyers[3])
	first, leave := w.sending(t, in)
	defer leave()
	require.Eventually(t, func() bool { return w.orders(t)[in.name] == 1 }, patience, 5*time.Millisecond)
	w.again(t, suite.ExperienceMobile)
	require.Error(t, <-first)
	a := w.until(t, in)
	require.True(t, a.replayed, "the call below went on without its caller")
	w.once(t, in, a)
}

func allDown(t *testing.T, w *world) {
	w.fault(t, remote.Fault{Kind: "hold_answer", Method: "CreateOrder", Times: 1, DelayMS: 60_000})
	order, customer := w.order(w.buyers[0]), w.customer("All Down")
	first, leave := w.sending(t, order)
	defer leave()
	require.Eventually(t, func() bool { return w.orders(t)[order.name] == 1 }, patience, 5*time.Millisecond)
	w.until(t, customer)
	// Nobody asks for this one again: it was accepted while the ERP takes no orders.
	w.fault(t, remote.Fault{Kind: "down", Method: "CreateOrder"})
	accepted := w.order(w.buyers[1])
	accepted.later = true
	require.Equal(t, http.StatusAccepted, w.until(t, accepted).status)
	services := []string{suite.ProcessCustomer, suite.ExperienceMobile, suite.SystemERP, suite.SystemSalesforce}
	placed := w.orders(t)
	for _, s := range services {
		require.NoError(t, w.suite.Kill(s))
	}
	<-first
	require.NoError(t, w.demo.ClearFaults(t.Context()))
	timer := time.NewTimer(2 * lease)
	<-timer.C
	require.Zero(t, placed[accepted.name])
	for _, s := range services {
		require.NoError(t, w.suite.StartService(t.Context(), s))
	}
	w.settle(t) // the customer reaches both systems without anybody asking again
	require.Equal(t, 1, w.customers(t)[customer.name])
	require.Eventually(t, func() bool { return w.orders(t)[accepted.name] == 1 }, patience, 10*time.Millisecond)
	w.once(t, order, w.until(t, order))
}

func lostAnswer(t *testing.T, w *world) {
	hits := w.fault(t, remote.Fault{Kind: "lose_ack", Method: "CreateOrder", Times: 2})
	in := w.order(w.buyers[1])
	a := w.until(t, in)
	require.Equal(t, 2, hits())
	w.once(t, in, a)
}

func halfDelivered(t *testing.T, w *world) {
	// Once: the news of what was made may come before the second try, which is then not needed.
	hits := w.fault(t, remote.Fault{Kind: "lose_ack", Method: "BatchUpsertCustomers", Times: 1})
	in := w.customer("Half Delivered")
	a := w.until(t, in)
	require.Eventually(t, func() bool { return hits() == 1 }, patience, 10*time.Millisecond)
	w.settle(t)
	require.Equal(t, 1, w.customers(t)[in.name])
	w.same(t, in, a)
}

func rollingRestart(t *testing.T, w *world) {
	ctx, stop := context.WithCancel(t.Context())
	var mu sync.Mutex
	var intents []intent
	var calls sync.WaitGroup
	var tries atomic.Int64
	free := make(chan struct{}, 64) // more at once would only be a heap that grows while a slow machine restarts
	calls.Go(func() {
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for n := 0; ; n++ {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			select {
			case <-ctx.Done():
				return
			case free <- struct{}{}:
			}
			in := w.order(w.buyers[n%len(w.buyers)])
			mu.Lock()
			intents = append(intents, in)
			mu.Unlock()
			calls.Go(func() {
				defer func() { <-free }()
				if _, interrupted, err := w.persist(t.Context(), in, nil); err != nil {
					t.Error(err)
				} else {
					tries.Add(int64(interrupted))
				}
			})
		}
	})
	sent := func() int { mu.Lock(); defer mu.Unlock(); return len(intents) }
	for sent() < 200 {
		for _, s := range []string{suite.ProcessCustomer, suite.ExperienceMobile, suite.SystemERP} {
			require.NoError(t, w.suite.StopService(s))
			require.NoError(t, w.suite.StartService(t.Context(), s))
		}
	}
	stop()
	calls.Wait()
	mu.Lock()
	defer mu.Unlock()
	w.placedOnce(t, intents)
	t.Logf("%d orders through a rolling restart, %d tries were interrupted", len(intents), tries.Load())
}

func audited(t *testing.T, w *world) {
	in, began := w.customer("Audited"), time.Now()
	a := w.until(t, in)
	w.settle(t)
	var c struct{ CustomerID string }
	require.NoError(t, json.Unmarshal(a.body, &c))
	k := w.newest(t, "CreateCustomer")
	require.Equal(t, "customers/"+c.CustomerID, k.GetResource())
	require.True(t, k.GetOk())
	require.Len(t, k.GetTraceId(), 32)
	require.WithinDuration(t, began, k.GetClaimTime().AsTime(), patience)
	events, err := w.demo.Operations.ListEvents(t.Context(), &customerv1.ListEventsRequest{Id: c.CustomerID, PageSize: 1000})
	require.NoError(t, err)
	records := map[string]string{}
	for _, e := range events.GetEvents() {
		if e.GetRecordId() != "" {
			records[e.GetSystem()] = e.GetRecordId()
		}
	}
	require.NotEmpty(t, records["erp"])
	require.NotEmpty(t, records["salesforce"])
}

func published(t *testing.T, w *world) {
	hits := w.fault(t, remote.Fault{Kind: "delay", Method: "BatchUpsertCustomers", Times: 1, DelayMS: 60_000})
	in := w.customer("Published")
	a := w.until(t, in)
	require.Eventually(t, func() bool { return hits() == 1 }, patience, time.Millisecond)
	w.again(t, suite.ProcessCustomer)
	w.settle(t)
	require.Equal(t, 1, w.customers(t)[in.name])
	w.same(t, in, a)
}

func setAside(t *testing.T, w *world) {
	name := w.customer("Set Aside").name
	made, err := w.demo.ERPCustomers.CreateCustomer(t.Context(), &erpv1.CreateCustomerRequest{Customer: &erpv1.Customer{Name: name, Email: "not an address"}})
	require.NoError(t, err)
	dead := func() int {
		got, err := w.demo.Operations.ListDeadLetters(t.Context(), &customerv1.ListDeadLettersRequest{PageSize: 500})
		require.NoError(t, err)
		return len(got.GetDeadLetters())
	}
	require.Eventually(t, func() bool { return dead() == 1 }, patience, 10*time.Millisecond)
	for range 2 { // still poison: it comes back
		_, err = w.demo.Operations.RetryDeadLetters(t.Context(), &customerv1.RetryDeadLettersRequest{System: "salesforce"})
		require.NoError(t, err)
		require.Eventually(t, func() bool { return dead() == 1 }, patience, 10*time.Millisecond)
	}
	_, err = w.demo.ERPCustomers.UpdateCustomer(t.Context(), &erpv1.UpdateCustomerRequest{
		Customer: &erpv1.Customer{Id: made.GetCustomer().GetId(), Email: "info@aside.example"}, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"email"}},
	})
	require.NoError(t, err)
	accounts := func() int {
		found, err := w.demo.CRM.Query(t.Context(), "SELECT Id FROM Account WHERE Name = "+crm.Quote(name))
		require.NoError(t, err)
		return len(found)
	}
	// The letter may come back once more: its last try was with the address that was wrong.
	require.Eventually(t, func() bool { return accounts() > 0 && dead() == 0 }, patience, 10*time.Millisecond)
	w.settle(t)
	require.Equal(t, 1, accounts())
}

func readAgain(t *testing.T, w *world) {
	in := w.customer("Read Again")
	a := w.until(t, in)
	w.settle(t)
	before := w.customers(t)
	for _, system := range []string{"erp", "salesforce"} {
		_, err := w.demo.Operations.Resync(t.Context(), &customerv1.ResyncRequest{System: system})
		require.NoError(t, err)
	}
	w.settle(t)
	require.Equal(t, before, w.customers(t))
	w.same(t, in, a)
}

func oneObject(t *testing.T, w *world) {
	name := w.customer("One Object").name
	tax := fmt.Sprintf("DE%09d", w.serial.Load())
	var made [8]answer
	var calls sync.WaitGroup
	for i := range made {
		in := w.newIntent("/v1/customers", map[string]any{"name": name, "taxId": tax})
		calls.Go(func() {
			var err error
			if made[i], _, err = w.persist(t.Context(), in, nil); err != nil {
				t.Error(err)
			}
		})
	}
	calls.Wait()
	created := 0
	for _, a := range made {
		if a.status == http.StatusCreated {
			created++
		}
	}
	require.Equal(t, 1, created, "one made it, the others were told that it exists")
	list, err := w.demo.Customers.ListCustomers(t.Context(), &customerv1.ListCustomersRequest{NamePrefix: name})
	require.NoError(t, err)
	require.Len(t, list.GetCustomers(), 1)
	w.settle(t)
	require.Equal(t, 1, w.customers(t)[name])
}

// TestAThousandCallsWithOneKey sends one order a thousand times at once: one execution, a thousand equal answers.
func TestAThousandCallsWithOneKey(t *testing.T) {
	t.Parallel()
	calls := 1000
	if testing.Short() {
		calls = 200
	}
	w := setup(t, false)
	in := w.order(w.buyers[0])
	bodies := make([]string, calls)
	var all sync.WaitGroup
	var replayed atomic.Int64
	for i := range calls {
		all.Go(func() {
			a, _, err := w.persist(t.Context(), in, nil)
			if err != nil {
				t.Error(err)
				return
			}
			bodies[i] = string(a.body)
			if a.replayed {
				replayed.Add(1)
			}
		})
	}
	all.Wait()
	for _, b := range bodies {
		require.Equal(t, bodies[0], b)
	}
	// Who did it may have been told to come again while it was under way, and is then a replay too.
	require.GreaterOrEqual(t, replayed.Load(), int64(calls-1), "all but one were replays")
	require.Equal(t, 1, w.orders(t)[in.name])
	var through struct{ Totals map[string]int }
	_, err := w.demo.JSON(t.Context(), http.MethodGet, w.demo.State.Control+"/calls", nil, &through)
	require.NoError(t, err)
	// On a machine that stands still for seconds the one execution may have asked again, with the key of its step.
	require.Less(t, through.Totals["/selfsame.erp.v1.OrderService/CreateOrder"], 10, "the ERP was not asked a thousand times")
}

// TestCallersDoNotShareKeys sends one order under one key as two users: each has its own.
func TestCallersDoNotShareKeys(t *testing.T) {
	t.Parallel()
	w := setup(t, false)
	in := w.order(w.buyers[0])
	seen := map[string]bool{}
	for _, user := range []string{"ada", "bob"} {
		var err error
		in.token, err = w.demo.Token(t.Context(), user, "customers.read customers.write", time.Hour)
		require.NoError(t, err)
		made, again := w.until(t, in), w.until(t, in)
		require.Equal(t, 201, made.status)
		require.True(t, again.replayed)
		require.Equal(t, made.location, again.location)
		seen[made.location] = true
	}
	require.Len(t, seen, 2, "two orders")
	require.Equal(t, 2, w.orders(t)[in.name])
	var err error
	in.token, err = w.demo.Token(t.Context(), "ada", "customers.read", time.Hour)
	require.NoError(t, err)
	a, _, err := w.persist(t.Context(), in, nil)
	require.Error(t, err)
	require.Equal(t, 403, a.status, "who may no longer order does not see the old order")
}
