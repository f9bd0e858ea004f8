package rpc

import (
	"context"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"

	"github.com/selfsame-io/selfsame/pkg/fault"
	customerv1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/customer/v1"
	mobilev1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/mobile/v1"
)

const (
	// ledFor is how long it is believed where an id leads. It bounds how long a caller sees a customer after a merge was taken back.
	ledFor = 10 * time.Second
	// ledMost is the most ids that are remembered.
	ledMost = 8192
	// atOnce is how many customers are read at the same time for one request.
	atOnce = 8
)

// merges remembers where ids lead: to themselves, or to the customer that theirs was merged into.
type merges struct {
	now func() time.Time

	mu sync.Mutex
	// Two generations: when the younger is full, it becomes the older, and what was there is forgotten.
	young, old map[string]led
}

type led struct {
	to    string
	until time.Time
}

func newMerges(now func() time.Time) *merges {
	return &merges{now: now, young: map[string]led{}}
}

func (m *merges) find(id string) (to string, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	l, ok := m.young[id]
	if !ok {
		l, ok = m.old[id]
	}
	if !ok || !m.now().Before(l.until) {
		return "", false
	}
	return l.to, true
}

func (m *merges) add(id, to string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.young) >= ledMost/2 {
		m.old, m.young = m.young, map[string]led{}
	}
	m.young[id] = led{to, m.now().Add(ledFor)}
}

// lead returns where each of the ids leads. One that nobody knows leads to itself.
func (s *Server) lead(ctx context.Context, ids []string) ([]string, error) {
	out := make([]string, len(ids))
	g, read := errgroup.WithContext(ctx)
	g.SetLimit(atOnce)
	for i, id := range ids {
		to, ok := s.merges.find(id)
		if ok {
			out[i] = to
			continue
		}
		g.Go(func() error {
			got, err := s.customers.GetCustomer(read, &customerv1.GetCustomerRequest{Id: id}, grpc.WaitForReady(false))
			switch {
			case fault.Is(err, fault.NotFound), fault.Is(err, fault.Invalid): // what cannot be an id leads nowhere either
				out[i] = id
			case err != nil:
				return err
			default:
				out[i] = got.GetCustomer().GetId()
			}
			s.merges.add(id, out[i])
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return nil, s.translate(err)
	}
	return out, nil
}

const (
	// maxCustomerID is the longest id; a longer one is of no customer.
	maxCustomerID = 64
	// anyCustomer is what customers lead to of whom it cannot be told: they may be one.
	anyCustomer = "any customer"
)

// leading returns where the customers of mutations lead, so that changes under several ids of one customer keep their order. What is not
// known is asked in one call. A process layer of an earlier release cannot tell: then each id is a customer of its own.
func (s *Server) leading(ctx context.Context, of []*mobilev1.Mutation) map[string]string {
	led := map[string]string{}
	for _, m := range of {
		if id := customerOf(m); id != "" && len(id) <= maxCustomerID {
			led[id] = id
		}
	}
	if len(led) < 2 {
		return led
	}
	ask := &customerv1.ResolveCustomersRequest{}
	for id := range led {
		if to, ok := s.merges.find(id); ok {
			led[id] = to
		} else {
			ask.CustomerIds = append(ask.CustomerIds, id)
		}
	}
	if len(ask.GetCustomerIds()) == 0 {
		return led
	}
	slices.Sort(ask.CustomerIds)
	ctx, cancel := s.begin(ctx)
	defer cancel()
	got, err := s.screens.ResolveCustomers(ctx, ask, grpc.WaitForReady(false))
	switch {
	case fault.Is(err, fault.Unimplemented):
	case err != nil:
		for id := range led {
			led[id] = anyCustomer
		}
	default:
		for _, c := range got.GetCustomers() {
			led[c.GetCustomerId()] = c.GetLeadsTo()
			s.merges.add(c.GetCustomerId(), c.GetLeadsTo())
		}
	}
	return led
}
