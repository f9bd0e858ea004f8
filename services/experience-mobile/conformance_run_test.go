package experiencemobile_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/protobuf/proto"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/pkg/idempotent"
	customerv1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/customer/v1"
	mobilev1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/mobile/v1"
	experiencemobile "github.com/selfsame-io/selfsame/services/experience-mobile"
	"github.com/selfsame-io/selfsame/services/experience-mobile/internal/openapi"
)

// begin sends a creation that process-customer holds, and returns when its handler runs.
func (w *world) begin(t *testing.T, name, k string, options ...option) <-chan answer {
	t.Helper()
	first := make(chan answer, 1)
	send := func() answer { return w.create(t, name, k, options...) }
	go func() { first <- send() }()
	require.Eventually(t, func() bool { return w.fake.started(name) }, time.Minute, 2*time.Millisecond)
	return first
}

func panics(context.Context) error { panic("planned: " + secretText) }

func fails(err error) func(context.Context) error { return func(context.Context) error { return err } }

func conflict() error { return fault.New(fault.Conflict, "", "another change was faster") }

func waits(d time.Duration) func(*below) { return func(b *below) { b.options.Wait = d } }

func replayCases() []conformance {
	return []conformance{
		{"D-01 a repeated create is answered as the first, with status, location and body", func(t *testing.T, w *world) {
			first, again := w.create(t, "D01", "d01"), w.create(t, "D01", "d01")
			require.Equal(t, []int{201, 201}, []int{first.status, again.status})
			require.Equal(t, first.body, again.body)
			for _, name := range []string{"Location", "ETag", "Content-Type", "Idempotency-Key"} {
				require.NotEmpty(t, first.header.Get(name), name)
				require.Equal(t, first.header.Get(name), again.header.Get(name), name)
			}
			require.Equal(t, "true", again.header.Get("Idempotent-Replayed"))
			require.Equal(t, "replayed", again.header.Get("Idempotency-Status"))
			require.Equal(t, 1, w.fake.ran("D01"))
		}},
		{"D-02 a first answer is marked as executed", func(t *testing.T, w *world) {
			a := w.create(t, "D02", "d02")
			require.Equal(t, "executed", a.header.Get("Idempotency-Status"))
			require.Empty(t, a.header.Values("Idempotent-Replayed"))
		}},
		{"D-03 a replay is the answer of then, not the state of now", func(t *testing.T, w *world) {
			w.fake.add("c_d03")
			change := func() answer {
				return w.do(t, "PATCH", "/v1/customers/c_d03", key("d03"), body(`{"phone":"old"}`))
			}
			first := change()
			require.Equal(t, 200, w.do(t, "PATCH", "/v1/customers/c_d03", key("d03-other"), body(`{"phone":"new"}`)).status)
			require.Equal(t, first.body, change().body)
			require.Equal(t, "new", w.fake.get("c_d03").GetPhone(), "and nothing is set back")
		}},
		{"D-04 a final refusal is replayed with its code, and marked", func(t *testing.T, _ *world) {
			w := setup(t)
			send := func() answer {
				return w.do(t, "POST", "/v1/orders", key("d04"), body(`{"customerId":"`+mastered+`","items":[{"sku":"a","quantity":"1"}]}`))
			}
			first, again := send(), send()
			p, q := first.problem(t, 409, "CUSTOMER_BLOCKED"), again.problem(t, 409, "CUSTOMER_BLOCKED")
			require.Equal(t, p.Detail, q.Detail)
			require.Equal(t, "executed", first.header.Get("Idempotency-Status"))
			require.Equal(t, "true", again.header.Get("Idempotent-Replayed"))
			require.Equal(t, 1, w.fake.ran("order "+mastered))
		}},
		{"D-05 nothing but named headers is in an answer, first or replayed", func(t *testing.T, w *world) {
			for range 2 {
				for name := range w.create(t, "D05", "d05").header {
					require.Contains(t, []string{
						"Cache-Control", "Content-Length", "Content-Type", "Date", "Etag", "Idempotency-Key", "Idempotency-Status", "Idempotent-Replayed",
						"Location", "Referrer-Policy", "Vary", "X-Content-Type-Options", "X-Request-Id",
					}, name)
				}
			}
		}},
		{"D-07 a replay is readable whatever encoding the first client took", func(t *testing.T, w *world) {
			packed := with("Accept-Encoding", "gzip, br")
			first, again := w.create(t, "D07", "d07", packed), w.create(t, "D07", "d07")
			require.Equal(t, first.json(t, 201), again.json(t, 201))
			require.Empty(t, first.header.Get("Content-Encoding"))
			plain, later := w.create(t, "D07 b", "d07-b"), w.create(t, "D07 b", "d07-b", packed)
			require.Equal(t, plain.json(t, 201), later.json(t, 201))
		}},
		{"D-10 a thousand retries at once are a thousand replays and no write", func(t *testing.T, _ *world) {
			w := setup(t)
			first := w.create(t, "D10", "d10")
			require.Equal(t, 201, first.status)
			wrote := w.below.completed.Load()
			w.together(t, many(1000), func(int) {
				if a := w.create(t, "D10", "d10"); a.status != 201 || a.body != first.body || a.header.Get("Idempotent-Replayed") != "true" {
					t.Errorf("%d %s", a.status, a.body)
				}
			})
			require.Equal(t, 1, w.fake.ran("D10"))
			require.Equal(t, wrote, w.below.completed.Load())
		}},
		{"D-11 a replay has a request id and a date of its own", func(t *testing.T, w *world) {
			first, again := w.create(t, "D11", "d11"), w.create(t, "D11", "d11")
			require.NotEqual(t, first.header.Get("X-Request-Id"), again.header.Get("X-Request-Id"))
			at, err := http.ParseTime(again.header.Get("Date"))
			require.NoError(t, err)
			require.WithinDuration(t, time.Now(), at, time.Minute)
		}},
	}
}

// many is how often a case repeats itself: a tenth of n when tests are to be short, on machines that everybody waits for.
func many(n int) int {
	if testing.Short() {
		return n / 10
	}
	return n
}

// together runs n calls, at most 64 at a time: a test has no more connections.
func (w *world) together(t *testing.T, n int, call func(i int)) {
	t.Helper()
	var next atomic.Int64
	var all sync.WaitGroup
	for range min(n, 64) {
		all.Go(func() {
			for i := next.Add(1); i <= int64(n); i = next.Add(1) {
				call(int(i))
			}
		})
	}
	all.Wait()
}

func concurrencyCases() []conformance {
	return []conformance{
		{"E-01 two hundred calls over three replicas are one execution", func(t *testing.T, _ *world) {
			w := setupOver(t, newBelow(waits(10*time.Second)))
			replicas := []*world{w, w.another(t), w.another(t)}
			w.fake.plan("E01", func(context.Context) error {
				timer := time.NewTimer(50 * time.Millisecond)
				<-timer.C
				return nil
			})
			bodies := make([]string, 201)
			w.together(t, many(200), func(i int) {
				a := replicas[i%3].create(t, "E01", "e01")
				switch {
				case a.status == 201:
					bodies[i] = a.body
				case a.status != 409:
					t.Errorf("call %d: %d %s", i, a.status, a.body)
				}
			})
			answered := 0
			for _, b := range bodies[1:] {
				if b != "" {
					answered++
					require.Equal(t, bodies[1:][firstOf(bodies[1:])], b)
				}
			}
			require.Positive(t, answered)
			require.Equal(t, 1, w.fake.ran("E01"))
		}},
		{"E-02 whoever loses the race is never told of a failure of ours", func(t *testing.T, w *world) {
			rounds := many(20)
			for round := range rounds {
				w.together(t, 8, func(int) {
					if a := w.create(t, "E02", fmt.Sprintf("e02-%d", round)); a.status >= 500 {
						t.Errorf("round %d: %d %s", round, a.status, a.body)
					}
				})
			}
			require.Equal(t, rounds, w.fake.ran("E02"))
		}},
		{"E-03 a second call waits for the first and gets its answer", func(t *testing.T, _ *world) {
			w := setupOver(t, newBelow(waits(15*time.Second)))
			release := w.fake.hold("E03")
			first := w.begin(t, "E03", "e03")
			before := w.below.begun.Load()
			second := make(chan answer, 1)
			go func() { second <- w.create(t, "E03", "e03") }()
			require.Eventually(t, func() bool { return w.below.begun.Load() > before+2 }, time.Minute, time.Millisecond, "it asks again and again")
			release()
			a, b := <-first, <-second
			require.Equal(t, 201, b.status, "not 409")
			require.Equal(t, a.body, b.body)
			require.Equal(t, "true", b.header.Get("Idempotent-Replayed"))
		}},
		{"E-04 when the first gives up, exactly one of those who wait takes over", func(t *testing.T, _ *world) {
			w := setupOver(t, newBelow(waits(15*time.Second)))
			release := w.fake.hold("E04")
			w.fake.plan("E04", fails(conflict()))
			first := w.begin(t, "E04", "e04")
			before := w.below.begun.Load()
			answers := make(chan answer, 8)
			for range 8 {
				go func() { answers <- w.create(t, "E04", "e04") }()
			}
			require.Eventually(t, func() bool { return w.below.begun.Load() >= before+8 }, time.Minute, time.Millisecond)
			release()
			(<-first).problem(t, 409, "CONFLICT")
			executed := 0
			for range 8 {
				a := <-answers
				require.Equal(t, 201, a.status, a.body)
				if a.header.Get("Idempotency-Status") == "executed" {
					executed++
				}
			}
			require.Equal(t, 1, executed)
			require.Equal(t, 2, w.fake.ran("E04"))
			require.Equal(t, 1, w.fake.created("E04"))
		}},
		{"E-05 who waited long enough is told when to come back", func(t *testing.T, w *world) {
			release := w.fake.hold("E05")
			defer release()
			first := w.begin(t, "E05", "e05")
			a := w.create(t, "E05", "e05")
			require.True(t, *a.problem(t, 409, "IDEMPOTENCY_IN_PROGRESS").Retryable)
			require.Equal(t, "in-progress", a.header.Get("Idempotency-Status"))
			after, err := strconv.Atoi(a.header.Get("Retry-After"))
			require.NoError(t, err)
			require.True(t, after >= 1 && after <= 30, after)
			release()
			require.Equal(t, 201, (<-first).status)
		}},
		{"E-06 who waits is told 409 before its time is over, not 504 after it", func(t *testing.T, _ *world) {
			w := setupOver(t, newBelow(waits(time.Minute)))
			hurried := w.another(t, func(c *experiencemobile.Config) { c.Budget = time.Second })
			release := w.fake.hold("E06")
			defer release()
			first := w.begin(t, "E06", "e06")
			require.Eventually(t, func() bool { // the answer has 50 ms for its way, which may not be enough on a busy machine
				a := hurried.create(t, "E06", "e06")
				if a.status == 504 {
					return false
				}
				a.problem(t, 409, "IDEMPOTENCY_IN_PROGRESS")
				return true
			}, time.Minute, time.Millisecond)
			release()
			require.Equal(t, 201, (<-first).status)
		}},
		{"E-07 those who wait are bounded, the others are told at once", func(t *testing.T, _ *world) {
			w := setupOver(t, newBelow(waits(15*time.Second), func(b *below) { b.options.MaxWaiters = 4 }))
			release := w.fake.hold("E07")
			first := w.begin(t, "E07", "e07")
			answers := make(chan answer, 20)
			for range 20 {
				go func() { answers <- w.create(t, "E07", "e07") }()
			}
			for range 16 {
				(<-answers).problem(t, 409, "IDEMPOTENCY_IN_PROGRESS")
			}
			release()
			require.Equal(t, 201, (<-first).status)
			for range 4 {
				require.Equal(t, "true", (<-answers).header.Get("Idempotent-Replayed"))
			}
		}},
		{"E-08 a client that stops waiting frees its place, and the first goes on", func(t *testing.T, _ *world) {
			w := setupOver(t, newBelow(waits(15*time.Second), func(b *below) { b.options.MaxWaiters = 1 }))
			release := w.fake.hold("E08")
			first := w.begin(t, "E08", "e08")
			before := w.below.begun.Load()
			ctx, leave := context.WithCancel(t.Context())
			gone := make(chan error, 1)
			go func() { gone <- w.impatient(t, ctx, "E08", "e08") }()
			require.Eventually(t, func() bool { return w.below.begun.Load() > before+2 }, time.Minute, time.Millisecond)
			leave()
			require.Error(t, <-gone)
			second := make(chan answer, 1)
			require.Eventually(t, func() bool { // the place is free when somebody else may wait instead of being told 409 at once
				seen := w.below.begun.Load()
				go func() { second <- w.create(t, "E08", "e08") }()
				for w.below.begun.Load() < seen+3 {
					select {
					case a := <-second:
						a.problem(t, 409, "IDEMPOTENCY_IN_PROGRESS")
						return false
					default:
					}
				}
				return true
			}, time.Minute, 10*time.Millisecond)
			release()
			require.Equal(t, 201, (<-first).status)
			require.Equal(t, "true", (<-second).header.Get("Idempotent-Replayed"))
			require.Equal(t, 1, w.fake.ran("E08"))
		}},
	}
}

func firstOf(texts []string) int {
	for i, s := range texts {
		if s != "" {
			return i
		}
	}
	return 0
}

// impatient sends a creation that ends with ctx.
func (w *world) impatient(t *testing.T, ctx context.Context, name, k string) error { //nolint:revive // the test comes first here
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.base+"/v1/customers", strings.NewReader(`{"name":"`+name+`"}`))
	require.NoError(t, err)
	req.Header = http.Header{"Content-Type": {"application/json"}, "Authorization": {"Bearer " + w.token(t, "user-1", readAll)}}
	key(k)(&request{header: req.Header})
	resp, err := w.client.Do(req)
	if err != nil {
		return err
	}
	return resp.Body.Close()
}

func failureCases() []conformance {
	return []conformance{
		{"F-05 an owner that is alive is never taken over, however long it takes", func(t *testing.T, _ *world) {
			// A lease that a machine which stands still for a second does not miss; pkg/idempotent has the same with a clock of its own.
			const lease = 3 * time.Second
			w := setupOver(t, newBelow(waits(200*time.Millisecond), func(b *below) { b.options.Lease = lease }))
			release := w.fake.hold("F05")
			first := w.begin(t, "F05", "f05")
			for end := time.Now().Add(lease + time.Second); time.Now().Before(end); {
				w.create(t, "F05", "f05").problem(t, 409, "IDEMPOTENCY_IN_PROGRESS")
			}
			release()
			require.Equal(t, 201, (<-first).status)
			require.Equal(t, 1, w.fake.ran("F05"))
		}},
		{"F-13 a panic is told as a failure without its stack, and a retry finishes the work", func(t *testing.T, w *world) {
			w.fake.plan("F13", panics)
			a := w.create(t, "F13", "f13")
			a.problem(t, 500, "INTERNAL")
			require.NotContains(t, a.body, "planned")
			require.NotContains(t, a.body, ".go:")
			require.Equal(t, 201, w.create(t, "F13", "f13").status)
			require.Equal(t, 2, w.fake.ran("F13"))
		}},
		{"G-01 after a refused request the corrected one may use the same key", func(t *testing.T, w *world) {
			w.do(t, "POST", "/v1/customers", key("g01"), body(`{"name":"G01","email":"nobody"}`)).problem(t, 400, "VALIDATION_FAILED")
			w.do(t, "POST", "/v1/customers", key("g01"), body(`{"name":""}`)).problem(t, 400, "VALIDATION_FAILED")
			require.Equal(t, 201, w.create(t, "G01", "g01").status)
		}},
		{"G-02 a denied call leaves nothing behind", func(t *testing.T, w *world) {
			poor := with("Authorization", "Bearer "+w.token(t, "user-1", "customers.read"))
			w.create(t, "G02 before", "g02", poor).problem(t, 403, "INSUFFICIENT_SCOPE")
			require.Equal(t, 201, w.create(t, "G02", "g02").status)
		}},
		{"G-03 a call that came too fast leaves nothing behind", func(t *testing.T, _ *world) {
			w := setup(t, func(c *experiencemobile.Config) { c.WriteLimit = 1 })
			var mu sync.Mutex
			sent, limited, refused := 0, 0, ""
			for range 100 { // until it is: how fast this machine sends is not what is tested
				w.together(t, 16, func(int) {
					mu.Lock()
					sent++
					k := fmt.Sprintf("g03-%d", sent)
					mu.Unlock()
					if a := w.create(t, "G03", k); a.status == 429 {
						mu.Lock()
						defer mu.Unlock()
						limited, refused = limited+1, k
						if p := a.code(); p != "EXHAUSTED" || a.header.Get("Retry-After") == "" {
							t.Errorf("%s %s", p, a.body)
						}
					}
				})
				if limited > 0 {
					break
				}
			}
			require.Positive(t, limited)
			require.Equal(t, sent-limited, w.fake.ran("G03"))
			require.Equal(t, 201, w.another(t).create(t, "G03", refused).status, "the key is as good as new")
		}},
		{"G-04 a call without credentials leaves nothing behind", func(t *testing.T, w *world) {
			w.create(t, "G04 before", "g04", anonymous()).problem(t, 401, "TOKEN_MISSING")
			require.Equal(t, 201, w.create(t, "G04", "g04").status)
		}},
		{"G-05 what was not executed below is executed by the retry", func(t *testing.T, w *world) {
			w.fake.plan("G05", fails(idempotent.NotExecuted(fault.New(fault.Unavailable, "", "connection refused"))))
			require.True(t, *w.create(t, "G05", "g05").problem(t, 503, "UNAVAILABLE").Retryable)
			a := w.create(t, "G05", "g05")
			require.Equal(t, 201, a.status)
			require.Equal(t, "executed", a.header.Get("Idempotency-Status"))
			require.Equal(t, 2, w.fake.ran("G05"))
		}},
		{"G-07 a refusal by a rule stays, until a new key asks again", func(t *testing.T, w *world) {
			w.fake.plan("G07", fails(fault.New(fault.Precondition, "CUSTOMER_BLOCKED", "the customer is blocked for orders")))
			w.create(t, "G07", "g07").problem(t, 409, "CUSTOMER_BLOCKED")
			w.create(t, "G07", "g07").problem(t, 409, "CUSTOMER_BLOCKED")
			require.Equal(t, 1, w.fake.ran("G07"))
			require.Equal(t, 201, w.create(t, "G07", "g07-new").status)
		}},
		{"G-08 a failure of ours is never frozen: the retry after the repair succeeds", func(t *testing.T, w *world) {
			w.fake.plan("G08", fails(fault.New(fault.Internal, "", "%s", secretText)), fails(fault.New(fault.Internal, "", "%s", secretText)))
			w.create(t, "G08", "g08").problem(t, 500, "INTERNAL")
			w.create(t, "G08", "g08").problem(t, 500, "INTERNAL")
			require.Equal(t, 201, w.create(t, "G08", "g08").status)
		}},
		{"G-10 a success that could not be stored is not reported as one", func(t *testing.T, _ *world) {
			w := setupOver(t, newBelow(func(b *below) { b.options.Lease = 300 * time.Millisecond }))
			w.below.mute.Store(true)
			a := w.create(t, "G10", "g10")
			require.NotContains(t, a.body, "Nothing was changed")
			require.True(t, *a.problem(t, 503, "IDEMPOTENCY_STORE_UNAVAILABLE").Retryable)
			w.below.mute.Store(false)
			require.Eventually(t, func() bool { return w.create(t, "G10", "g10").status == 201 }, 40*time.Second, 200*time.Millisecond)
			require.Equal(t, "true", w.create(t, "G10", "g10").header.Get("Idempotent-Replayed"))
		}},
		{"G-11 a client that goes away does not cut the write in half", func(t *testing.T, w *world) {
			release := w.fake.hold("G11")
			ctx, leave := context.WithCancel(t.Context())
			gone := make(chan error, 1)
			go func() { gone <- w.impatient(t, ctx, "G11", "g11") }()
			require.Eventually(t, func() bool { return w.fake.started("G11") }, time.Minute, time.Millisecond)
			leave()
			require.Error(t, <-gone)
			release()
			require.Eventually(t, func() bool { return w.create(t, "G11", "g11").header.Get("Idempotent-Replayed") == "true" }, time.Minute, 10*time.Millisecond)
			require.Equal(t, 1, w.fake.ran("G11"))
		}},
		{"G-12 what a retry meets after every kind of failure", everyFailure},
	}
}

// everyFailure lets a first try fail in every way there is. Stays says that the retry gets the same answer instead of
// being executed.
func everyFailure(t *testing.T, w *world) {
	for _, c := range []struct {
		kind   fault.Kind
		status int
		stays  bool
	}{
		{fault.Internal, 500, false},
		{fault.Invalid, 400, false},
		{fault.Unauthenticated, 500, false},
		{fault.Forbidden, 500, false},
		{fault.NotFound, 404, true},
		{fault.AlreadyExists, 409, true},
		{fault.Precondition, 409, true},
		{fault.Conflict, 409, false},
		{fault.Exhausted, 429, false},
		{fault.Unavailable, 503, false},
		{fault.Timeout, 504, false},
		{fault.Canceled, 499, false},
		{fault.Uncertain, 409, false},
		{fault.Unimplemented, 500, false},
	} {
		name, k := "G12 "+c.kind.String(), "g12-"+c.kind.String()
		w.fake.plan(name, fails(fault.New(c.kind, "", "planned")))
		require.Equal(t, c.status, w.anyStatus(t, name, k), name)
		again := w.anyStatus(t, name, k)
		if c.stays {
			require.Equal(t, c.status, again, name)
			require.Equal(t, 1, w.fake.ran(name), name)
		} else {
			require.Equal(t, 201, again, name)
			require.Equal(t, 2, w.fake.ran(name), name)
		}
	}
}

// anyStatus creates without comparing the answer with the published description: 499 is nobody's to read.
func (w *world) anyStatus(t *testing.T, name, k string) int {
	t.Helper()
	text := `{"name":"` + name + `"}`
	return w.raw(t, fmt.Sprintf("POST /v1/customers HTTP/1.1\r\nHost: x\r\nAuthorization: %s\r\nContent-Type: application/json\r\n"+
		"Content-Length: %d\r\nConnection: close\r\nIdempotency-Key: a-key-for-the-test:%s\r\n\r\n%s", w.user1(t), len(text), k, text))
}

// clock is time that a test moves.
type clock struct{ at atomic.Int64 }

func newClock() *clock {
	c := &clock{}
	c.at.Store(time.Now().UnixNano())
	return c
}

func (c *clock) now() time.Time { return time.Unix(0, c.at.Load()) }

func (c *clock) advance(d time.Duration) { c.at.Add(int64(d)) }

func timeCases() []conformance {
	over := func(t *testing.T) (*world, *clock) {
		c := newClock()
		return setupOver(t, newBelow(func(b *below) {
			b.now = c.now
			b.options.Resource = func(m proto.Message) string {
				if r, ok := m.(*customerv1.CreateCustomerResponse); ok {
					return "customers/" + r.GetCustomer().GetId()
				}
				return ""
			}
		})), c
	}
	return []conformance{
		{"H-01 after the answer is forgotten the key still is not, and leads to what was made", func(t *testing.T, _ *world) {
			w, c := over(t)
			first := w.create(t, "H01", "h01")
			c.advance(8 * 24 * time.Hour)
			p := w.create(t, "H01", "h01").problem(t, 410, "IDEMPOTENCY_RESULT_GONE")
			require.Equal(t, first.header.Get("Location"), p.Instance)
			require.False(t, *p.Retryable)
			require.Equal(t, 1, w.fake.ran("H01"))
		}},
		{"H-02 a key that says it is older than anything remembered is refused", func(t *testing.T, w *world) {
			send := func(k string) answer { return w.do(t, "POST", "/v1/customers", body(`{"name":"H02"}`), rawKey(k)) }
			a := send(uuidV7(time.Now().Add(-91 * 24 * time.Hour)))
			require.False(t, *a.problem(t, 412, "IDEMPOTENCY_KEY_EXPIRED").Retryable)
			require.Zero(t, w.fake.ran("H02"))
			require.Equal(t, 201, send(uuidV7(time.Now().Add(-89*24*time.Hour))).status)
		}},
		{"H-03 a key from the future is refused, one from a clock that is a little ahead is not", func(t *testing.T, w *world) {
			send := func(k string) answer { return w.do(t, "POST", "/v1/customers", body(`{"name":"H03"}`), rawKey(k)) }
			send(uuidV7(time.Now().Add(6*time.Minute))).problem(t, 400, "IDEMPOTENCY_KEY_INVALID")
			require.Zero(t, w.fake.ran("H03"))
			require.Equal(t, 201, send(uuidV7(time.Now().Add(4*time.Minute))).status)
		}},
		{"H-04 a key without a time is executed again after everything is forgotten", func(t *testing.T, _ *world) {
			w, c := over(t)
			require.Equal(t, 201, w.create(t, "H04", "h04").status)
			c.advance(100 * 24 * time.Hour)
			for range 2 { // the answer becomes a tombstone, and that goes
				_, err := w.below.Purge(t.Context(), 100)
				require.NoError(t, err)
				c.advance(100 * 24 * time.Hour)
			}
			require.Equal(t, "executed", w.create(t, "H04", "h04").header.Get("Idempotency-Status"), "the documented hole: send a UUIDv7")
			require.Equal(t, 2, w.fake.ran("H04"))
		}},
		{"H-09 how long answers are kept is published, and is what the contract says", publishedRetention},
	}
}

// publishedRetention compares the description and the page for callers with the contract.
func publishedRetention(t *testing.T, _ *world) {
	var doc struct {
		Paths map[string]map[string]struct {
			Policy map[string]any `json:"x-idempotency"`
		} `json:"paths"`
	}
	require.NoError(t, json.Unmarshal(openapi.Document(), &doc))
	page, err := os.ReadFile("../../docs/idempotency.md")
	require.NoError(t, err)
	methods := mobilev1.File_selfsame_mobile_v1_mobile_service_proto.Services().ByName("MobileService").Methods()
	published := 0
	for i := range methods.Len() {
		terms, writes := idempotent.TermsOf(methods.Get(i))
		if !writes || terms.Key == "natural" {
			continue // each change within has the key of the route that it stands for
		}
		rule, ok := proto.GetExtension(methods.Get(i).Options(), annotations.E_Http).(*annotations.HttpRule)
		require.True(t, ok)
		verb, path := "post", rule.GetPost()
		if path == "" {
			verb, path = "patch", rule.GetPatch()
		}
		days := int(terms.Retention / (24 * time.Hour))
		require.Equal(t, fmt.Sprintf("P%dD", days), doc.Paths[path][verb].Policy["retention"], path)
		require.Equal(t, "wait", doc.Paths[path][verb].Policy["inFlight"], path)
		require.Regexp(t, regexp.QuoteMeta("| `"+strings.ToUpper(verb)+" "+path+"`")+fmt.Sprintf(`[^\n]*\| %d days \|`, days), string(page), "docs/idempotency.md")
		published++
	}
	require.Equal(t, 5, published)
	require.Contains(t, string(page), fmt.Sprintf("%d days", idempotent.DefaultTombstone/(24*time.Hour)))
}

func uuidV7(at time.Time) string {
	ms := at.UnixMilli()
	return fmt.Sprintf("%08x-%04x-7abc-8def-0123456789ab", ms>>16, ms&0xffff)
}
