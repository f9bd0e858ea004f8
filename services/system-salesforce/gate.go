package systemsalesforce

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/pkg/priority"
	"github.com/selfsame-io/selfsame/pkg/retry"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/describe"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/mapping"
)

// operations is the service that answers also while the gate is closed: it tells why.
const operations = "/selfsame.salesforce.v1.OperationsService/"

// ReasonMismatch means that the mapping names what the org does not have, or hides from the integration user. A person must change
// one of them; the service notices by itself.
const ReasonMismatch = "MAPPING_MISMATCH"

// gate keeps calls out until the org has been reached and the mapping fits it. After that it stays open: an outage shows in the
// calls themselves.
type gate struct {
	describe func(ctx context.Context, object string) (*mapping.Schema, error)
	forget   func(object string)
	mapping  *mapping.Mapping
	// settle ends what an earlier process left running in the org and might write old values; nil if there is nothing to do.
	settle   func(ctx context.Context) error
	log      *slog.Logger
	backoff  retry.Backoff
	mismatch retry.Backoff // a person is not that fast, and each look costs calls

	mu     sync.Mutex
	closed error // why; nil when open
}

func newGate(descriptions *describe.Cache, m *mapping.Mapping, log *slog.Logger) *gate {
	return &gate{
		describe: descriptions.Schema, forget: descriptions.Forget, mapping: m, log: log,
		backoff:  retry.Backoff{Min: 500 * time.Millisecond, Max: 5 * time.Second, Jitter: 0.2},
		mismatch: retry.Backoff{Min: time.Second, Max: 5 * time.Minute, Jitter: 0.2},
		closed:   fault.New(fault.Unavailable, fault.ReasonNotReady, "the service has not reached Salesforce yet").WithRetryAfter(time.Second),
	}
}

func (g *gate) ready() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.closed
}

func (g *gate) set(err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = err
}

// run opens the gate and ends. A mapping that does not fit the org is looked at again and again, ever more rarely: a person must
// change one of them, and then no restart is needed.
func (g *gate) run(ctx context.Context) error {
	ctx = priority.With(ctx, priority.Interactive) // without these few calls nobody gets anything
	mismatches := 0
	for attempt := 1; ; attempt++ {
		err := g.check(ctx)
		if err == nil && g.settle != nil {
			err = g.settle(ctx)
		}
		if err == nil {
			g.set(nil)
			g.log.Info("salesforce reached and mapping checked")
			return nil
		}
		if ctx.Err() != nil {
			return nil
		}
		wait := max(g.backoff.Next(attempt), min(fault.RetryAfter(err), time.Minute))
		if fault.ReasonOf(err) == ReasonMismatch {
			mismatches++
			wait = g.mismatch.Next(mismatches)
			g.log.LogAttrs(ctx, slog.LevelError, "the mapping does not fit the org", slog.String("error", err.Error()), slog.Duration("again_in", wait))
		} else {
			g.log.LogAttrs(ctx, slog.LevelWarn, "salesforce not reached yet",
				slog.Int("attempt", attempt), slog.String("reason", fault.ReasonOf(err)), slog.String("error", err.Error()))
		}
		g.set(waiting(err))
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C:
		}
	}
}

// check compares the mapping of every object that the org must have with the org.
func (g *gate) check(ctx context.Context) error {
	var problems []error
	for _, o := range g.mapping.Objects() {
		if !o.Required {
			continue // compared when it is asked for
		}
		schema, err := g.describe(ctx, o.SObject)
		if fault.Is(err, fault.NotFound) {
			problems = append(problems, fmt.Errorf("objects.%s.sobject: the org has no object %s that the integration user may see", o.Name, o.SObject))
			continue
		}
		if err != nil {
			return err
		}
		if err := o.Fits(schema); err != nil {
			problems = append(problems, err)
		}
	}
	if len(problems) == 0 {
		return nil
	}
	for _, o := range g.mapping.Objects() {
		g.forget(o.SObject)
	}
	return fault.New(fault.Unavailable, ReasonMismatch, "the mapping does not fit the org: %v", errors.Join(problems...)).WithRetryAfter(mismatchRetry)
}

// mismatchRetry is when callers ask again while the mapping does not fit the org.
const mismatchRetry = 10 * time.Second

// waiting is what callers are told meanwhile: whatever is wrong between us and Salesforce, their calls may come again.
func waiting(err error) error {
	if fault.Is(err, fault.Unavailable) {
		return err
	}
	return fault.Wrap(fault.Unavailable, fault.ReasonOf(err), err, "the service cannot work with Salesforce yet").WithRetryAfter(5 * time.Second)
}

func (g *gate) admit(method string) error {
	if !strings.HasPrefix(method, "/selfsame.salesforce.v1.") || strings.HasPrefix(method, operations) {
		return nil // health, reflection, and what tells why
	}
	return g.ready()
}

func (g *gate) unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	if err := g.admit(info.FullMethod); err != nil {
		return nil, err
	}
	return handler(ctx, req)
}

func (g *gate) stream(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	if err := g.admit(info.FullMethod); err != nil {
		return err
	}
	return handler(srv, ss)
}
