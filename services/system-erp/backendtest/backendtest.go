// Package backendtest is the acceptance test of a back end: every one passes it unchanged, against the ERP itself or against
// something that speaks and fails like it.
//
// Each case gets a World of its own, but the ERP behind it may be one for all and keep what others left: every key, name and
// number of a case is its own, and a case looks only at what it made. The cases run one after another unless the World says
// that they may run side by side.
package backendtest

import (
	"context"
	"fmt"
	"maps"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/backend"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/erp"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/store"
)

// Fault is something that happens between a back end and its ERP.
type Fault uint8

// The faults. Each concerns writes only; reads go through.
const (
	// LoseAnswer lets the write be executed and loses the answer.
	LoseAnswer Fault = iota + 1
	// Drop loses the write before it is executed, in a way that looks the same.
	Drop
	// Lock answers that somebody works on the record; nothing is executed.
	Lock
	// Die lets the write be executed, and from the moment of its answer on the back end cannot reach its own database: the
	// process is as good as dead. Only Restart helps.
	Die
)

// World is one back end and what the suite may do to the world around it.
type World struct {
	// Backend is the back end, new and with an empty database of its own.
	Backend backend.Backend
	// Restart returns the back end of a new process on the same database and the same ERP.
	Restart func(t *testing.T) backend.Backend
	// Lost returns the back end of a new process on an empty database and the same ERP; nil only with Options.Within.
	Lost func(t *testing.T) backend.Backend
	// Sync brings mirror and feed up to date with the ERP; nil where they always are.
	Sync func(ctx context.Context, b backend.Backend) error
	// Advance moves the back end's clock; nil where it keeps no leases.
	Advance func(d time.Duration)
	// Lease and Settle are how long a dead writer blocks a name and how long a lost write may still arrive.
	Lease, Settle time.Duration
	// Arm makes the next n writes that reach the ERP meet a fault; nil only with Options.Within.
	Arm func(f Fault, n int)
	// Outage takes the ERP away, for reading too, and brings it back: no connection is made. Nil only with Options.Within.
	Outage func(away bool)
	// Between calls do before the n-th statement from now on, once; an error of do is what the statement ends with. It is
	// needed with Options.Within only.
	Between func(n int, do func() error)
	// Outside is the ERP without the back end.
	Outside Outside
	// SKUs are at least two active products with a price in one currency, in pieces.
	SKUs []string
	// Bad are writes that must be refused at the border, with the path; they may be empty.
	Bad []Violation
	// Large is how many records are "many": 2,500, or fewer in fast tests.
	Large int
	// Prefix makes keys and names unique in this ERP.
	Prefix string
}

// Outside looks at the ERP, and works in it, behind the back end's back.
type Outside interface {
	// Customers returns the ids of the customers that carry a reference.
	Customers(ctx context.Context, ref erp.Ref) ([]string, error)
	// Orders returns the ids of the orders that carry a client reference.
	Orders(ctx context.Context, clientRef string) ([]string, error)
	// Rename changes a customer's name as somebody at a desk would.
	Rename(ctx context.Context, id, name string) error
	// Make makes a customer that carries a reference, whether or not there is one already.
	Make(ctx context.Context, name string, ref erp.Ref) (id string, err error)
}

// Violation is a customer or an order that cannot be held.
type Violation struct {
	Name     string
	Customer *erp.Customer
	// Item replaces the line of an order that would be accepted.
	Item         *erp.Item
	Path, Reason string
}

// Open makes a World.
type Open func(t *testing.T) *World

// Options say how the suite is run.
type Options struct {
	// Parallel is true when cases may run side by side.
	Parallel bool
	// Shared is true when the cases of a group share a World, which saves making one for each; they then run one after
	// another.
	Shared bool
	// Within is true for a back end that is its own ERP: nothing is in between that could be lost.
	Within bool
	// Only picks cases by name; nil for all. It is for fast tests against an ERP that is slow.
	Only func(name string) bool
}

// Run runs the suite.
func Run(t *testing.T, o Options, open Open) {
	lost := faultCases()
	if o.Within {
		lost = withinCases()
	}
	for _, group := range []struct {
		name  string
		cases map[string]func(t *testing.T, w *World)
	}{
		{"customers", customerCases()}, {"orders", orderCases()}, {"lost and late", lost}, {"feed", feedCases()}, {"advice", adviceCases()},
	} {
		t.Run(group.name, func(t *testing.T) {
			if o.Parallel {
				t.Parallel()
			}
			if o.Only != nil {
				maps.DeleteFunc(group.cases, func(name string, _ func(*testing.T, *World)) bool { return !o.Only(name) })
			}
			var shared *World
			if o.Shared && len(group.cases) > 0 {
				shared = open(t)
			}
			for name, fn := range group.cases {
				t.Run(name, func(t *testing.T) {
					switch {
					case shared != nil:
						fn(t, shared)
						return
					case o.Parallel:
						t.Parallel()
					}
					fn(t, open(t))
				})
			}
		})
	}
}

// ref is a reference of this world.
func (w *World) ref(key string) erp.Ref {
	return erp.Ref{System: "selfsame", Type: "customer", Value: w.Prefix + key}
}

// name is a name of this world.
func (w *World) name(key string) string { return "Customer " + w.Prefix + key }

func (w *World) sync(t *testing.T) {
	t.Helper()
	if w.Sync != nil {
		require.NoError(t, w.Sync(t.Context(), w.Backend))
	}
}

func (w *World) advance(d time.Duration) {
	if w.Advance != nil {
		w.Advance(d)
	}
}

type upsert = store.Upsert[erp.Customer]

// one upserts one customer.
func one(t *testing.T, b backend.Backend, u upsert) store.Result[erp.Customer] {
	t.Helper()
	res, err := b.Customers().Upsert(t.Context(), []upsert{u})
	require.NoError(t, err)
	require.Len(t, res, 1)
	return res[0]
}

// customer makes a customer that may order.
func (w *World) customer(t *testing.T, key string) erp.Customer {
	t.Helper()
	res := one(t, w.Backend, upsert{Key: w.ref(key), Record: w.company(key)})
	require.NoError(t, res.Err)
	return res.Record
}

func (w *World) company(key string) erp.Customer {
	return erp.Customer{
		Kind: erp.Organization, Name: w.name(key), Email: "info@customer.example", Phone: "+49 30 1234567",
		Addresses: []erp.Address{{Usage: erp.UsageDefault, Street: "Weg 1\nHinterhaus", City: "Köln", PostalCode: "50667", Country: "DE"}},
	}
}

// order is an order that can be placed.
func (w *World) order(customer, key string) erp.Order {
	return erp.Order{ClientRef: w.Prefix + key, CustomerID: customer, Items: []erp.Item{
		{SKU: w.SKUs[0], Quantity: dec("2")}, {SKU: w.SKUs[1], Quantity: dec("3")},
	}}
}

func dec(s string) erp.Decimal {
	d, err := erp.ParseDecimal(s)
	if err != nil {
		panic(err)
	}
	return d
}

// together runs fn n times at once.
func together(t *testing.T, n int, fn func(i int) error) {
	t.Helper()
	var g errgroup.Group
	start := make(chan struct{})
	for i := range n {
		g.Go(func() error { <-start; return fn(i) })
	}
	close(start)
	require.NoError(t, g.Wait())
}

// refused checks kind, reason (of the field if one is to blame) and path.
func refused(t *testing.T, err error, kind fault.Kind, reason, path string) {
	t.Helper()
	require.Error(t, err)
	f, ok := fault.As(err)
	require.True(t, ok, "not a fault: %v", err)
	require.Equal(t, kind, f.Kind, "%v", err)
	have, at := fault.ReasonOf(err), ""
	if len(f.Fields) > 0 {
		at = f.Fields[0].Path
		if f.Fields[0].Reason != "" {
			have = f.Fields[0].Reason
		}
	}
	require.Equal(t, reason, have, "%v", err)
	require.Equal(t, path, at)
}

func (w *World) capabilities(t *testing.T) backend.Capabilities {
	t.Helper()
	c, err := w.Backend.Capabilities(t.Context())
	require.NoError(t, err)
	require.NotEmpty(t, c.Kind)
	return c
}

// missing checks the refusal of what a back end does not do.
func missing(t *testing.T, err error) {
	t.Helper()
	refused(t, err, fault.Unimplemented, backend.ReasonCapability, "")
}

func key(i int) string { return fmt.Sprintf("-%05d", i) }
