package rest

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/failsafe-go/failsafe-go/circuitbreaker"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/auth"
)

// ReasonCircuitOpen is a call that was not made because most of the last ones failed.
const ReasonCircuitOpen = "SALESFORCE_CIRCUIT_OPEN"

const (
	// A repetition is paid for by calls that were not repeated: seven of them pay for one, and ten are lent in advance.
	retryDeposit = 0.15
	retryCredit  = 10.0

	circuitWindow = 20 // calls that are looked at
	circuitPeriod = 10 * time.Second
)

// guard keeps a failing org from being hammered: by repetitions, which a budget bounds, and by calls that will fail anyway, which
// a circuit breaker holds back.
type guard struct {
	circuit circuitbreaker.CircuitBreaker[any]
	pause   time.Duration

	mu     sync.Mutex
	tokens float64

	repeated metric.Int64Counter
}

func newGuard(o Options) *guard {
	g := &guard{pause: o.CircuitPause, tokens: retryCredit}
	g.circuit = circuitbreaker.NewBuilder[any]().
		WithFailureRateThreshold(0.5, circuitWindow, circuitPeriod).
		WithDelay(o.CircuitPause).
		WithSuccessThreshold(1).
		Build()
	meter := o.Meter.Meter("github.com/selfsame-io/selfsame/services/system-salesforce/internal/rest")
	// An instrument that cannot be made is a no-op; the service's own metrics report such errors.
	g.repeated, _ = meter.Int64Counter("selfsame.salesforce.api.repeated", metric.WithDescription("calls repeated after a failure, and failures not repeated for want of budget"))
	_, _ = meter.Int64ObservableGauge("selfsame.salesforce.circuit.open", metric.WithDescription("1 while calls are held back because most of the last ones failed"),
		metric.WithInt64Callback(func(_ context.Context, ob metric.Int64Observer) error {
			if g.circuit.IsOpen() {
				ob.Observe(1)
			} else {
				ob.Observe(0)
			}
			return nil
		}))
	return g
}

// admit refuses a call while the circuit is open. Every admitted call must be settled.
func (g *guard) admit() *fault.Error {
	if g.circuit.TryAcquirePermit() {
		return nil
	}
	wait := g.circuit.RemainingDelay()
	if wait <= 0 {
		wait = time.Second
	}
	return fault.New(fault.Unavailable, ReasonCircuitOpen, "calls to Salesforce are held back because most of the last ones failed").WithRetryAfter(wait)
}

// settle tells how an admitted call went. Only an org that does not answer, or answers that it cannot serve, counts as failing;
// refusals prove that it works.
func (g *guard) settle(t *trouble) {
	switch {
	case t == nil || !t.failing():
		g.circuit.RecordSuccess()
	case fault.Is(t.err, fault.Canceled) && !g.circuit.IsHalfOpen():
		g.circuit.RecordSuccess() // the caller went away; that says nothing
	default:
		g.circuit.RecordFailure()
	}
}

// failing reports whether the failure says that the org does not work.
func (t *trouble) failing() bool {
	switch t.err.Reason {
	case auth.ReasonUnreachable, ReasonUnavailable, fault.ReasonTimeout, fault.ReasonCanceled:
		return true
	}
	return false
}

// earn notes a call; spend takes what a repetition costs and reports whether there was enough.
func (g *guard) earn() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.tokens = min(g.tokens+retryDeposit, retryCredit)
}

func (g *guard) spend(ctx context.Context, reason string) bool {
	g.mu.Lock()
	enough := g.tokens >= 1
	if enough {
		g.tokens--
	}
	g.mu.Unlock()
	outcome := "repeated"
	if !enough {
		outcome = "no_budget"
	}
	g.repeated.Add(ctx, 1, metric.WithAttributes(attribute.String("selfsame.reason", reason), attribute.String("selfsame.outcome", outcome)))
	return enough
}

// pause is the wait before a repetition: exponential with full jitter, so that clients which failed together do not come back
// together.
func pause(attempt int) time.Duration {
	return 10*time.Millisecond + rand.N(retryPause<<(2*attempt))
}

// Repeat waits before repetition number attempt (0 is the first) of something that failed with reason, and reports whether it may
// be made: there is budget for it, and ctx has not ended. It is for repetitions that consist of calls of their own.
func (c *Client) Repeat(ctx context.Context, attempt int, reason string) bool {
	return c.guard.spend(ctx, reason) && sleep(ctx, pause(attempt))
}
