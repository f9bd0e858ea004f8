package enrich

import (
	"context"
	"log/slog"
	"slices"
	"time"

	"github.com/failsafe-go/failsafe-go/circuitbreaker"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
)

// circuitWindow is the number of last answers that a circuit looks at.
const circuitWindow = 10

// branch asks one system for one section.
type branch[T any] struct {
	config  Config
	system  string
	section string
	read    func(ctx context.Context, ids []string) ([]T, error)
	circuit circuitbreaker.CircuitBreaker[any]
	memory  *memory[T]
}

func newBranch[T any](c Config, system, section string, read func(context.Context, []string) ([]T, error)) *branch[T] {
	return &branch[T]{
		config: c, system: system, section: section, read: read, memory: newMemory[T](c.Remember),
		circuit: circuitbreaker.NewBuilder[any]().
			WithFailureThresholdRatio(uint(c.Failures), circuitWindow). //nolint:gosec // checked to be between 1 and 10
			WithDelay(c.Rest).
			Build(),
	}
}

// ask returns the section of one customer. Limited is ctx with the time that there is for it.
func (b *branch[T]) ask(ctx, limited context.Context, id golden.ID, links map[string][]string) Section[T] {
	ids := links[b.system]
	if !slices.IsSorted(ids) {
		ids = slices.Sorted(slices.Values(ids))
	}
	if len(ids) == 0 {
		return Section[T]{System: b.system, State: OK, AsOf: b.config.Now()}
	}
	if !b.circuit.TryAcquirePermit() {
		return b.fallBack(id, ids, ReasonCircuitOpen)
	}
	items, err := b.call(limited, ids)
	if err == nil {
		b.circuit.RecordSuccess()
		now := b.config.Now()
		b.memory.put(id, answer[T]{ids: ids, items: items, at: now})
		return Section[T]{System: b.system, State: OK, AsOf: now, Items: items}
	}
	reason := reasonOf(ctx, err)
	b.record(ctx, err)
	b.config.Log.LogAttrs(ctx, slog.LevelWarn, "section of a view failed",
		slog.String("system", b.system), slog.String("section", b.section), slog.String("customer_id", string(id)),
		slog.String("reason", reason), slog.String("cause", fault.ReasonOf(err)))
	return b.fallBack(id, ids, reason)
}

// call reads. A panic of one branch may not take the others along.
func (b *branch[T]) call(ctx context.Context, ids []string) (items []T, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fault.New(fault.Internal, fault.ReasonPanic, "reading %s panicked", b.section)
		}
	}()
	return b.read(ctx, ids)
}

// record tells the circuit. That the caller gave up says nothing about the system, except that a trial of a half-open
// circuit has to end in one way or the other.
func (b *branch[T]) record(ctx context.Context, err error) {
	switch {
	case ctx.Err() != nil && !b.circuit.IsHalfOpen():
	case ctx.Err() != nil || broken(err):
		b.circuit.RecordFailure()
	default:
		b.circuit.RecordSuccess()
	}
}

// broken reports whether err says that the system, and not only this customer, is in trouble.
func broken(err error) bool {
	switch fault.KindOf(err) {
	case fault.Unavailable, fault.Timeout, fault.Exhausted, fault.Internal, fault.Canceled:
		return true
	default:
		return false
	}
}

func reasonOf(ctx context.Context, err error) string {
	switch fault.KindOf(err) {
	case fault.Timeout:
		return ReasonTimeout
	case fault.Unavailable:
		return ReasonUnavailable
	case fault.Exhausted:
		return ReasonExhausted
	case fault.Canceled:
		if ctx.Err() != nil {
			return ReasonCanceled
		}
		return ReasonTimeout // the branch's own deadline, seen as a cancelled call
	default:
		return ReasonFailed
	}
}

// fallBack returns the last answer about the same records, if it is not too old.
func (b *branch[T]) fallBack(id golden.ID, ids []string, reason string) Section[T] {
	last, ok := b.memory.get(id)
	if !ok || !slices.Equal(last.ids, ids) || b.config.Now().Sub(last.at) > b.config.MaxAge {
		return Section[T]{System: b.system, State: Unavailable, Reason: reason}
	}
	return Section[T]{System: b.system, State: Stale, Reason: reason, AsOf: last.at, Items: last.items}
}

// answer is what a system last said about a customer's records.
type answer[T any] struct {
	ids   []string
	items []T
	at    time.Time
}
