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
	// circuitPatience is how long the org must have had for its answer before a missing one is held against it.
	circuitPatience = 10 * time.Second
	// silentCalls is how many calls at least must have waited in vain before an org is called silent.
	silentCalls = 3
)

// guard keeps a failing org from being hammered: by repetitions, which a budget bounds, and by calls that will fail anyway, which
// a circuit breaker holds back.
type guard struct {
	circuit circuitbreaker.CircuitBreaker[any]
	pause   time.Duration

	mu     sync.Mutex
	tokens float64
	quiet  silence

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

// held refuses a call while the circuit is open, without asking to be admitted.
func (g *guard) held() *fault.Error {
	if wait := g.circuit.RemainingDelay(); wait > 0 {
		return errHeld(wait)
	}
	return nil
}

// admit refuses a call while the circuit is open, or half open and trying another one. Every admitted call must be settled.
func (g *guard) admit() *fault.Error {
	if g.circuit.TryAcquirePermit() {
		return nil
	}
	wait := g.circuit.RemainingDelay()
	if wait <= 0 {
		wait = time.Second
	}
	return errHeld(wait)
}

func errHeld(wait time.Duration) *fault.Error {
	return fault.New(fault.Unavailable, ReasonCircuitOpen, "calls to Salesforce are held back because most of the last ones failed").WithRetryAfter(wait)
}

// settle tells how an admitted call went that took so long. Only an org that does not answer, or answers that it cannot serve,
// counts as failing; refusals prove that it works. A caller that went away, or did not give it time to answer, says nothing by itself;
// callers who wait in vain one after the other say that the org is silent.
func (g *guard) settle(t *trouble, took time.Duration) {
	late := t != nil && fault.Is(t.err, fault.Timeout) && t.err.Reason == fault.ReasonTimeout
	switch {
	case t == nil:
		g.circuit.RecordSuccess()
	case late && g.unanswered(took):
		g.circuit.Open()
		return
	case fault.Is(t.err, fault.Canceled), late && took < circuitPatience:
		g.forget()
		return
	case !t.failing():
		g.circuit.RecordSuccess()
	default:
		g.circuit.RecordFailure()
	}
	if t == nil || t.err.Reason != auth.ReasonUnreachable && !late {
		g.answered()
	}
}

// silence is for how long calls have waited since the last answer of any kind. Calls that wait side by side count once: the org was
// given that time once. Its zero value has heard nothing and waited for nothing.
type silence struct {
	calls  int
	waited time.Duration
	until  time.Time // up to when the waiting is counted
}

// unanswered notes a call that waited in vain, and reports whether the org is silent: it had as much time, in all, as one patient call
// gives it, and answered nobody. Time in which no call waited proves nothing.
func (g *guard) unanswered(took time.Duration) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	q, now := &g.quiet, time.Now()
	q.calls++
	if begun := now.Add(-took); begun.After(q.until) {
		q.waited += took
	} else if now.After(q.until) {
		q.waited += now.Sub(q.until)
	}
	q.until = now
	return q.calls >= silentCalls && q.waited >= circuitPatience
}

// answered ends a silence. An answer proves nothing about calls that wait on, but they are counted from here.
func (g *guard) answered() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.quiet = silence{until: time.Now()}
}

// forget settles a call that says nothing. The breaker has no such word: while it is closed a permit costs nothing, and half open
// it is made half open anew, so that the next call may find out.
func (g *guard) forget() {
	if g.circuit.IsHalfOpen() {
		g.circuit.Open()
		g.circuit.HalfOpen()
	}
}

// failing reports whether the failure says that the org does not work.
func (t *trouble) failing() bool {
	switch t.err.Reason {
	case auth.ReasonUnreachable, ReasonUnavailable, fault.ReasonTimeout:
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
