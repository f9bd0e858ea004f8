// Package enrich asks several systems at once for what belongs to a customer and answers with what came in time.
//
// Invariant: View never fails and never takes longer than its deadline, which all sections have. Each has a circuit and
// a memory of its own, so a slow or broken system costs its own section and no other; an earlier answer is shown with
// its age and is never passed off as fresh.
//
// The package does not retry: a screen waits for it.
package enrich

import (
	"context"
	"log/slog"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/selfsame-io/selfsame/pkg/priority"
	"github.com/selfsame-io/selfsame/pkg/serve"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/source"
)

// Items is the greatest number of entries in a section.
const Items = 20

// State says how far a section can be trusted.
type State string

// The states of a section.
const (
	// OK is fresh from the system.
	OK State = "OK"
	// Stale is an earlier answer, because the system gave none now.
	Stale State = "STALE"
	// Unavailable means that there is neither a new nor an earlier answer.
	Unavailable State = "UNAVAILABLE"
)

// Stable reasons of a section that is not OK.
const (
	// ReasonTimeout means that the system did not answer in time.
	ReasonTimeout = "TIMEOUT"
	// ReasonUnavailable means that the system could not be reached.
	ReasonUnavailable = "UNAVAILABLE"
	// ReasonCircuitOpen means that the system was not asked because it failed just before.
	ReasonCircuitOpen = "CIRCUIT_OPEN"
	// ReasonExhausted means that a quota is used up.
	ReasonExhausted = "EXHAUSTED"
	// ReasonFailed means that the system answered with an error.
	ReasonFailed = "FAILED"
	// ReasonCanceled means that the caller went away.
	ReasonCanceled = "CANCELED"
)

// Section is one part of a view.
type Section[T any] struct {
	// System is the configured name of the system asked.
	System string
	// State says how far Items can be trusted.
	State State
	// Reason is set when State is not OK.
	Reason string
	// AsOf is when Items were read; zero when there are none to read.
	AsOf time.Time
	// Items belong to the cache too and must not be changed.
	Items []T
}

// View is what several systems know about one customer.
type View struct {
	Orders     Section[source.Order]
	Cases      Section[source.Case]
	Warranties Section[source.Warranty]
}

// ERP is what a view needs of the ERP; *source.ERP is one.
type ERP interface {
	Name() string
	Orders(ctx context.Context, customers []string, size int, pageToken string) ([]source.Order, string, error)
	Warranties(ctx context.Context, customers []string, size int) ([]source.Warranty, error)
}

// CRM is what a view needs of the CRM; *source.Salesforce is one.
type CRM interface {
	Name() string
	Cases(ctx context.Context, accounts []string, openOnly bool, size int) ([]source.Case, error)
}

// Config says how patient an Enricher is. The zero value means the defaults.
type Config struct {
	// Timeout is that of each section; 800 ms when zero.
	Timeout time.Duration
	// Remember is the number of customers whose last answers are kept per section; 10,000 when zero.
	Remember int
	// MaxAge is how old a stale answer may be; 24 hours when zero.
	MaxAge time.Duration
	// Failures among ten answers open a section's circuit; 5 when zero, at most 10.
	Failures int
	// Rest is how long an open circuit leaves its system alone; 5 s when zero.
	Rest time.Duration
	// Now is the clock; time.Now when nil.
	Now func() time.Time
	// Log gets one warning per section that failed; nothing is logged when nil.
	Log *slog.Logger
}

func (c Config) withDefaults() Config {
	if c.Timeout <= 0 {
		c.Timeout = 800 * time.Millisecond
	}
	if c.Remember <= 0 {
		c.Remember = 10_000
	}
	if c.MaxAge <= 0 {
		c.MaxAge = 24 * time.Hour
	}
	if c.Failures <= 0 || c.Failures > circuitWindow {
		c.Failures = 5
	}
	if c.Rest <= 0 {
		c.Rest = 5 * time.Second
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c
}

// Enricher makes views. It is safe for concurrent use; what it remembers is its only state.
type Enricher struct {
	timeout    time.Duration
	orders     *branch[source.Order]
	cases      *branch[source.Case]
	warranties *branch[source.Warranty]
}

// New returns an enricher that asks erp and crm.
func New(erp ERP, crm CRM, c Config) *Enricher {
	c = c.withDefaults()
	return &Enricher{
		timeout: c.Timeout,
		orders: newBranch(c, erp.Name(), "orders", func(ctx context.Context, ids []string) ([]source.Order, error) {
			orders, _, err := erp.Orders(ctx, ids, Items, "")
			return orders, err
		}),
		cases: newBranch(c, crm.Name(), "cases", func(ctx context.Context, ids []string) ([]source.Case, error) {
			return crm.Cases(ctx, ids, true, Items)
		}),
		warranties: newBranch(c, erp.Name(), "warranties", func(ctx context.Context, ids []string) ([]source.Warranty, error) {
			return erp.Warranties(ctx, ids, Items)
		}),
	}
}

// View asks for everything at once. Links are the ids of the customer's live records by system; a system without any
// has nothing to say, which is an answer and no failure.
func (e *Enricher) View(ctx context.Context, id golden.ID, links map[string][]string) View {
	if priority.Stated(ctx) == priority.Unset {
		ctx = priority.With(ctx, priority.Interactive) // a screen waits for it
	}
	// They begin at once and have the same time, so one clock is enough.
	limited, cancel := serve.Within(ctx, e.timeout)
	defer cancel()
	var v View
	var g errgroup.Group
	g.Go(func() error { roomy(); v.Orders = e.orders.ask(ctx, limited, id, links); return nil })
	g.Go(func() error { roomy(); v.Cases = e.cases.ask(ctx, limited, id, links); return nil })
	v.Warranties = e.warranties.ask(ctx, limited, id, links) // here, where the stack has grown already
	// No branch returns an error: what went wrong is in its section.
	_ = g.Wait()
	return v
}

// room is how much a call takes of a goroutine's stack, and some more.
const room = 12 << 10

// roomy makes room on the stack of a goroutine that has just begun. A stack grows by being copied, frame by frame, and a call has a hundred of
// them where it would otherwise grow: that was a thirteenth of the work of a view. Here there are three.
//
//go:noinline
func roomy() {
	var b [room]byte
	touch(&b)
}

//go:noinline
func touch(b *[room]byte) { b[0] = 1 }

// Forget drops what is remembered of a customer.
func (e *Enricher) Forget(id golden.ID) {
	e.orders.memory.drop(id)
	e.cases.memory.drop(id)
	e.warranties.memory.drop(id)
}
