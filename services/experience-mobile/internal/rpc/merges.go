package rpc

import (
	"context"
	"maps"
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

const (
	// maxCustomerID is the longest id; a longer one is of no customer.
	maxCustomerID = 64
	// askedAtOnce is the most ids that one call asks about.
	askedAtOnce = 500
	// anyCustomer is what customers lead to of whom it cannot be told: they may be one.
	anyCustomer = "any customer"
)

// lead returns where each of the ids leads. One that nobody knows leads to itself.
func (s *Server) lead(ctx context.Context, ids []string) ([]string, error) {
	led := make(map[string]string, len(ids))
	var ask []string
	for _, id := range ids {
		if _, ok := led[id]; ok {
			continue
		}
		led[id] = id
		if id == "" || len(id) > maxCustomerID {
			continue
		}
		if to, ok := s.merges.find(id); ok {
			led[id] = to
		} else {
			ask = append(ask, id)
		}
	}
	for some := range slices.Chunk(ask, askedAtOnce) {
		found, err := s.resolve(ctx, some)
		if err != nil {
			return nil, s.translate(err)
		}
		for i, to := range found {
			led[some[i]] = to
			s.merges.add(some[i], to)
		}
	}
	out := make([]string, len(ids))
	for i, id := range ids {
		out[i] = led[id]
	}
	return out, nil
}

// resolve asks where ids lead.
func (s *Server) resolve(ctx context.Context, ids []string) ([]string, error) {
	got, err := s.screens.ResolveCustomers(ctx, &customerv1.ResolveCustomersRequest{CustomerIds: ids}, grpc.WaitForReady(false))
	switch {
	case fault.Is(err, fault.Unimplemented): // a process layer of an earlier release
		return s.read(ctx, ids)
	case err != nil:
		return nil, err
	case len(got.GetCustomers()) != len(ids):
		return nil, fault.New(fault.Internal, "", "asked where %d customers lead, %d were told", len(ids), len(got.GetCustomers()))
	}
	to := make([]string, len(ids))
	for i, c := range got.GetCustomers() {
		to[i] = c.GetLeadsTo()
	}
	return to, nil
}

// read finds where ids lead by reading the customers, which leads from an old id to the one that remains.
func (s *Server) read(ctx context.Context, ids []string) ([]string, error) {
	to := make([]string, len(ids))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(atOnce)
	for i, id := range ids {
		g.Go(func() error {
			got, err := s.customers.GetCustomer(ctx, &customerv1.GetCustomerRequest{Id: id}, grpc.WaitForReady(false))
			switch {
			case fault.Is(err, fault.NotFound), fault.Is(err, fault.Invalid): // what cannot be an id leads nowhere either
				to[i] = id
			case err != nil:
				return err
			default:
				to[i] = got.GetCustomer().GetId()
			}
			return nil
		})
	}
	return to, g.Wait()
}

// leading returns where the customers of mutations lead, so that changes under several ids of one customer keep their order.
func (s *Server) leading(ctx context.Context, of []*mobilev1.Mutation) map[string]string {
	led := map[string]string{}
	for _, m := range of {
		if id := customerOf(m); id != "" {
			led[id] = id
		}
	}
	if len(led) < 2 {
		return led
	}
	ctx, cancel := s.begin(ctx)
	defer cancel()
	ids := slices.Sorted(maps.Keys(led))
	to, err := s.lead(ctx, ids)
	for i, id := range ids {
		if err != nil {
			led[id] = anyCustomer
		} else {
			led[id] = to[i]
		}
	}
	return led
}
