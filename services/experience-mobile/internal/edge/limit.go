package edge

import (
	"net/http"
	"strings"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

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

// limit refuses a caller that writes faster than it may, before its key is looked at: a 429 is never remembered.
func (e *edge) limit(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := callOf(r.Context())
		if c.route.writes && !e.quota.take(c.principal.Subject) {
			e.refuse(w, r, e.problems.New(fault.ReasonExhausted, "This caller sends too many writes."))
			return
		}
		next.ServeHTTP(w, r)
	})
}

// maxBuckets bounds the callers that are told apart; beyond it those with nothing to forget are forgotten.
const maxBuckets = 10_000

// quota is a token bucket per caller. It is safe for concurrent use.
type quota struct {
	perSecond float64
	now       func() time.Time

	mu      sync.Mutex
	buckets map[string]bucket
}

type bucket struct {
	tokens float64
	at     time.Time
}

func newQuota(perSecond int, now func() time.Time) *quota {
	return &quota{perSecond: float64(perSecond), now: now, buckets: map[string]bucket{}}
}

func (q *quota) burst() float64 { return 2 * q.perSecond }

func (q *quota) take(caller string) bool {
	if q.perSecond <= 0 {
		return true
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	now := q.now()
	b, known := q.buckets[caller]
	if !known {
		if len(q.buckets) >= maxBuckets {
			q.forget(now)
		}
		b = bucket{tokens: q.burst(), at: now}
	}
	b.tokens = min(q.burst(), b.tokens+now.Sub(b.at).Seconds()*q.perSecond)
	b.at = now
	allowed := b.tokens >= 1
	if allowed {
		b.tokens--
	}
	q.buckets[caller] = b
	return allowed
}

// forget drops the buckets that are full again, which are as good as new.
func (q *quota) forget(now time.Time) {
	for caller, b := range q.buckets {
		if b.tokens+now.Sub(b.at).Seconds()*q.perSecond >= q.burst() {
			delete(q.buckets, caller)
		}
	}
}
