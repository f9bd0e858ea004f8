package edge

import (
	"container/list"
	"fmt"
	"math"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/failsafe-go/failsafe-go/adaptivelimiter"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"golang.org/x/time/rate"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/services/experience-mobile/internal/problem"
)

// Bounds of a request's headers. The server below allows more, for its own errors.
const (
	maxHeaderBytes = 16 << 10
	maxHeaderLines = 100
)

// inspect refuses headers without measure, and counts those that other gateways take for metadata. They end here in
// any case (see strip); the count shows that somebody tries.
func (e *edge) inspect(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		size, lines := 0, 0
		for name, values := range r.Header {
			lines += len(values)
			for _, v := range values {
				size += len(name) + len(v) + 4
			}
			if kind := pretends(name); kind != "" {
				e.stripped.Add(r.Context(), int64(len(values)), metric.WithAttributes(attribute.String("selfsame.kind", kind)))
			}
		}
		if size > maxHeaderBytes || lines > maxHeaderLines {
			e.refuse(w, r, e.problems.New(problem.HeadersTooLarge, ""))
			return
		}
		next.ServeHTTP(w, r)
	})
}

// pretends returns what a header by this name tries to be; "" for any other.
func pretends(name string) string {
	switch {
	case strings.HasPrefix(name, "Grpc-"):
		return "grpc"
	case strings.HasPrefix(name, "Selfsame-"), strings.HasPrefix(name, "Idempotency-") && name != "Idempotency-Key":
		return "internal"
	case name == "X-Http-Method-Override":
		return "method"
	}
	return ""
}

// Load is how much of everything is let in. The zero value lets everything in.
type Load struct {
	// CallerPerMinute is how many requests a caller may send in a minute, and at once after a pause; zero: no limit.
	CallerPerMinute int
	// TotalPerSecond is how many requests all callers together may send, twice that at once; zero: no limit.
	TotalPerSecond int
	// Shed turns requests away when more are under way than can be done: the bound follows from how the time to answer
	// grows with the number of requests under way.
	Shed bool
}

const (
	// Below leastLimit requests under way below nothing waits; above mostLimit everything does.
	leastLimit = 64
	firstLimit = 256
	mostLimit  = 5000
	// For each request under way so many may wait, each for so long. Those beyond the first number are turned away more and
	// more often, those beyond the second always.
	someWait, mostWait = 1, 2
	waitFor            = 250 * time.Millisecond
)

func newShedder(l Load) adaptivelimiter.AdaptiveLimiter[any] {
	if !l.Shed {
		return nil
	}
	return adaptivelimiter.NewBuilder[any]().WithLimits(leastLimit, mostLimit, firstLimit).WithQueueing(someWait, mostWait).Build()
}

// shedRate turns requests away beyond the total rate, before they cost anything.
func (e *edge) shedRate(next http.Handler) http.Handler {
	if e.total == nil {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !e.total.Allow() {
			e.turnAway(w, r, "rate")
			return
		}
		next.ServeHTTP(w, r)
	})
}

// shed lets as many requests go below as can be done, has some wait for a moment and turns the others away. What is answered here, and a client that
// dribbles its body, takes no place. Whoever is turned away did not begin, and may come again.
func (e *edge) shed(next http.Handler) http.Handler {
	if e.under == nil {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		permit, err := e.under.AcquirePermitWithMaxWait(r.Context(), waitFor)
		if err != nil {
			e.turnAway(w, r, "concurrency")
			return
		}
		defer permit.Record()
		next.ServeHTTP(w, r)
	})
}

func (e *edge) turnAway(w http.ResponseWriter, r *http.Request, why string) {
	e.turned.Add(r.Context(), 1, metric.WithAttributes(attribute.String("selfsame.reason", why)))
	e.refuse(w, r, e.problems.New(problem.Overloaded, ""))
}

// limit refuses a caller that asks for too much, before its key is looked at: a 429 is never remembered.
func (e *edge) limit(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := callOf(r.Context())
		if c.route.writes {
			if wait := e.writes.take(c.principal.Subject, 1); wait > 0 {
				e.tooManyWrites(w, r, wait)
				return
			}
		}
		if e.calls.limited() {
			wait := e.calls.take(c.principal.Subject, 1)
			e.calls.describe(w.Header(), "caller", c.principal.Subject)
			if wait > 0 {
				e.slowDown(w, r, "This caller sends too many requests.", wait)
				return
			}
		}
		next.ServeHTTP(w, r)
	})
}

// limitBatch counts a batch as the writes that it carries, as soon as they are known. All of it is refused or none.
func (e *edge) limitBatch(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := callOf(r.Context())
		if c.writes > 1 {
			e.writes.give(c.principal.Subject, 1) // of the request itself
			if wait := e.writes.take(c.principal.Subject, c.writes); wait > 0 {
				e.tooManyWrites(w, r, wait)
				return
			}
		}
		next.ServeHTTP(w, r)
	})
}

func (e *edge) tooManyWrites(w http.ResponseWriter, r *http.Request, wait time.Duration) {
	e.writes.describe(w.Header(), "writes", callOf(r.Context()).principal.Subject)
	e.slowDown(w, r, "This caller sends too many writes.", wait)
}

func (e *edge) slowDown(w http.ResponseWriter, r *http.Request, detail string, wait time.Duration) {
	p := e.problems.New(fault.ReasonExhausted, detail)
	p.RetryAfter = max(wait, time.Second)
	e.refuse(w, r, p)
}

// maxBuckets bounds the callers that are told apart; beyond it the one that has been away for longest is forgotten.
const maxBuckets = 10_000

// quota is a token bucket per caller. It is safe for concurrent use.
type quota struct {
	per   rate.Limit
	burst int
	now   func() time.Time

	mu      sync.Mutex
	buckets map[string]*list.Element // of bucket
	recent  *list.List               // the caller that came last first
}

// bucket is what a caller has left, which is less than nothing after a batch larger than what may come at once.
type bucket struct {
	caller string
	tokens float64
	at     time.Time
}

func newQuota(per rate.Limit, burst int, now func() time.Time) *quota {
	return &quota{per: per, burst: burst, now: now, buckets: map[string]*list.Element{}, recent: list.New()}
}

func (q *quota) limited() bool { return q.burst > 0 }

// take returns zero if the caller may do n things now, otherwise how long it has to wait. More than may come at once need everything
// that may, and are paid for afterwards: else they could never be done.
func (q *quota) take(caller string, n int) time.Duration {
	if !q.limited() {
		return 0
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	b := q.bucket(caller)
	if missing := float64(min(n, q.burst)) - b.tokens; missing > 0 {
		return max(time.Duration(missing/float64(q.per)*float64(time.Second)), time.Millisecond)
	}
	b.tokens -= float64(n)
	return 0
}

// give takes back that n were taken.
func (q *quota) give(caller string, n int) {
	if !q.limited() {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	b := q.bucket(caller)
	b.tokens = min(b.tokens+float64(n), float64(q.burst))
}

// bucket returns the caller's as it is now; the lock is held.
func (q *quota) bucket(caller string) *bucket {
	now := q.now()
	if known, ok := q.buckets[caller]; ok {
		q.recent.MoveToFront(known)
		b := known.Value.(*bucket) //nolint:forcetypeassert // holds nothing else
		if passed := now.Sub(b.at); passed > 0 {
			b.tokens, b.at = min(b.tokens+passed.Seconds()*float64(q.per), float64(q.burst)), now
		}
		return b
	}
	if len(q.buckets) >= maxBuckets {
		oldest := q.recent.Remove(q.recent.Back()).(*bucket) //nolint:forcetypeassert // holds nothing else
		delete(q.buckets, oldest.caller)
	}
	b := &bucket{caller: caller, tokens: float64(q.burst), at: now}
	q.buckets[caller] = q.recent.PushFront(b)
	return b
}

// describe tells the caller what is left of a limit (an IETF draft: only Retry-After is promised).
func (q *quota) describe(h http.Header, name, caller string) {
	q.mu.Lock()
	tokens := q.bucket(caller).tokens
	q.mu.Unlock()
	window := int(math.Round(float64(q.burst) / float64(q.per)))
	full := int(math.Ceil((float64(q.burst) - tokens) / float64(q.per)))
	h.Set("RateLimit-Policy", fmt.Sprintf(`"%s";q=%d;w=%d`, name, q.burst, window))
	h.Set("RateLimit", fmt.Sprintf(`"%s";r=%d;t=%d`, name, int(max(0, tokens)), full))
}
