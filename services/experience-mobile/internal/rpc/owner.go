package rpc

import (
	"context"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/pkg/page"
	customerv1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/customer/v1"
	mobilev1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/mobile/v1"
	"github.com/selfsame-io/selfsame/services/experience-mobile/internal/auth"
	"github.com/selfsame-io/selfsame/services/experience-mobile/internal/edge"
	"github.com/selfsame-io/selfsame/services/experience-mobile/internal/view"
)

type principalKey struct{}

// withPrincipal notes whose call it is, for the checks of ownership.
func withPrincipal(ctx context.Context, p auth.Principal) context.Context {
	return context.WithValue(ctx, principalKey{}, p)
}

// principal of the call. Without one, nobody's records are seen.
func principal(ctx context.Context) auth.Principal {
	p, ok := ctx.Value(principalKey{}).(auth.Principal)
	if !ok {
		return auth.Principal{Restricted: true}
	}
	return p
}

// principalOfEdge reads what the edge says about the caller.
func principalOfEdge(ctx context.Context) (auth.Principal, bool) {
	v := metadata.ValueFromIncomingContext(ctx, edge.MetaPrincipal)
	if len(v) != 1 || v[0] == "" {
		return auth.Principal{}, false
	}
	p := auth.Principal{Subject: v[0]}
	if owned := metadata.ValueFromIncomingContext(ctx, edge.MetaCustomers); len(owned) > 0 {
		p.Restricted = true
		p.Customers = strings.FieldsFunc(owned[0], func(r rune) bool { return r == ',' })
	}
	return p, true
}

// sees fails exactly as for a customer that does not exist, if the customer is not the caller's.
func (s *Server) sees(ctx context.Context, customer string) error {
	owned, err := s.owns(ctx, customer)
	if err == nil && !owned {
		err = fault.New(fault.NotFound, "CUSTOMER_UNKNOWN", "there is no such record")
	}
	return err
}

// owns reports whether a customer is the caller's. A merge says that two customers are one, and the process layer leads from the
// old id to the one that remains; so does the claim of a token: it names a customer, whichever of its ids it names. Looking at
// the words alone would lock out whose token names the old id, or show them one half of their records.
func (s *Server) owns(ctx context.Context, customer string) (bool, error) {
	p := principal(ctx)
	if p.Sees(customer) {
		return true, nil
	}
	if len(p.Customers) == 0 {
		return false, nil
	}
	to, err := s.lead(ctx, append([]string{customer}, p.Customers...))
	if err != nil {
		return false, err
	}
	return slices.Contains(to[1:], to[0]), nil
}

// same reports whether two ids are of one customer.
func (s *Server) same(ctx context.Context, a, b string) (bool, error) {
	if a == b {
		return true, nil
	}
	to, err := s.lead(ctx, []string{a, b})
	return err == nil && to[0] == to[1], err
}

func unknownOrder() error {
	return fault.New(fault.NotFound, "ORDER_UNKNOWN", "the customer has no such order")
}

func unknownCase() error { return fault.New(fault.NotFound, "CASE_UNKNOWN", "there is no such case") }

// holder tells callers apart whose tokens must not be mixed: by who they are and what they see, which are the ids in order.
func holder(ctx context.Context, kind string, ids []string) string {
	parts := []string{kind, principalOf(ctx)}
	if principal(ctx).Restricted {
		parts = append(append(parts, "restricted"), ids...)
	}
	return page.Hash(parts...)
}

// listOwned is ListCustomers for a caller who sees only some: those are read one by one, so that nothing else can appear.
func (s *Server) listOwned(ctx context.Context, req *mobilev1.ListCustomersRequest) (*mobilev1.ListCustomersResponse, error) {
	size, err := page.Size(min(req.GetPageSize(), maxCustomers), 50, maxCustomers)
	if err != nil {
		return nil, err
	}
	ids := slices.Compact(slices.Sorted(slices.Values(principal(ctx).Customers)))
	filter := page.Hash(holder(ctx, "customers", ids), req.GetNamePrefix())
	var after string
	if err := page.Decode(req.GetPageToken(), filter, &after); err != nil {
		return nil, err
	}
	found := make([]*mobilev1.Customer, len(ids))
	g, read := errgroup.WithContext(ctx)
	g.SetLimit(atOnce)
	for i, id := range ids {
		g.Go(func() error {
			got, err := s.customers.GetCustomer(read, &customerv1.GetCustomerRequest{Id: id}, grpc.WaitForReady(false))
			if fault.Is(err, fault.NotFound) || fault.Is(err, fault.Invalid) || (err == nil && got.GetCustomer().GetDeleted()) {
				return nil
			}
			if err != nil {
				return err
			}
			found[i] = view.Customer(got.GetCustomer())
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return nil, s.translate(err)
	}
	// Several may have led to one customer, which has another place in the order than they.
	slices.SortFunc(found, func(a, b *mobilev1.Customer) int { return strings.Compare(a.GetCustomerId(), b.GetCustomerId()) })
	out := &mobilev1.ListCustomersResponse{}
	for _, c := range found {
		if c == nil || c.GetCustomerId() <= after {
			continue
		}
		after = c.GetCustomerId()
		if !strings.HasPrefix(strings.ToLower(c.GetName()), strings.ToLower(req.GetNamePrefix())) {
			continue
		}
		if len(out.Customers) == size {
			out.NextPageToken, err = page.Encode(filter, out.Customers[size-1].GetCustomerId())
			return out, err
		}
		out.Customers = append(out.Customers, c)
	}
	return out, nil
}
