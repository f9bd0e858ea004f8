package rpc

import (
	"context"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/selfsame-io/selfsame/pkg/fault"
	erpv1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/erp/v1"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/backend"
)

type backendServer struct {
	erpv1.UnimplementedBackendServiceServer
	*Server
}

func (s *backendServer) GetCapabilities(ctx context.Context, _ *erpv1.GetCapabilitiesRequest) (*erpv1.GetCapabilitiesResponse, error) {
	c, err := s.store.Capabilities(ctx)
	if err != nil {
		return nil, err
	}
	m := &erpv1.Capabilities{
		Kind: c.Kind, Release: c.Release, CreateCustomers: c.CreateCustomers, DeleteCustomers: c.DeleteCustomers, WriteContacts: c.WriteContacts,
		WriteProducts: c.WriteProducts, SetInventory: c.SetInventory, CreateOrders: c.CreateOrders, SetOrderStatus: c.SetOrderStatus,
		WriteDeliveries: c.WriteDeliveries, WriteWarranties: c.WriteWarranties, Deliveries: c.Deliveries, Inventory: c.Inventory,
		DeepValidation: c.DeepValidation, UniqueKeys: c.UniqueKeys, NativeFeed: c.NativeFeed, MaxOrderLines: int32(c.MaxOrderLines), //nolint:gosec // small
		Units: c.Units, Currencies: c.Currencies, MergeCustomers: c.MergeCustomers, Missing: c.Missing,
	}
	if c.PollInterval > 0 {
		m.PollInterval = durationpb.New(c.PollInterval)
	}
	for path, n := range c.MaxLength {
		if m.MaxLength == nil {
			m.MaxLength = make(map[string]int32, len(c.MaxLength))
		}
		m.MaxLength[path] = int32(n) //nolint:gosec // lengths of texts
	}
	return &erpv1.GetCapabilitiesResponse{Capabilities: m}, nil
}

func (s *backendServer) CountDocuments(ctx context.Context, req *erpv1.CountDocumentsRequest) (*erpv1.CountDocumentsResponse, error) {
	from, err := time.Parse(time.DateOnly, req.GetFrom())
	if err != nil {
		return nil, fault.InvalidField("from", "", "not a day of the calendar")
	}
	until, err := time.Parse(time.DateOnly, req.GetUntil())
	if err != nil {
		return nil, fault.InvalidField("until", "", "not a day of the calendar")
	}
	counts, err := s.store.Documents(ctx, from, until)
	if err != nil {
		return nil, err
	}
	return &erpv1.CountDocumentsResponse{Counts: each(counts, func(c backend.DocumentCount) *erpv1.DocumentCount {
		return &erpv1.DocumentCount{Day: timestamppb.New(c.Day), Object: c.Object, Documents: c.Documents, Lines: c.Lines}
	})}, nil
}

func (s *customerServer) ValidateCustomer(ctx context.Context, req *erpv1.ValidateCustomerRequest) (*erpv1.ValidateCustomerResponse, error) {
	u, err := s.upsert(req.GetUpsert())
	if err != nil {
		return nil, err
	}
	res, err := s.store.ValidateCustomer(ctx, u)
	if err != nil {
		return nil, err
	}
	m := &erpv1.CustomerUpsertResult{Outcome: fromOutcome(res.Outcome)}
	if res.Err != nil {
		m.Error = recordError(res.Err)
	} else {
		m.Customer = fromCustomer(res.Record)
	}
	return &erpv1.ValidateCustomerResponse{Result: m}, nil
}

func (s *customerServer) FindCandidates(ctx context.Context, req *erpv1.FindCandidatesRequest) (*erpv1.FindCandidatesResponse, error) {
	limit := int(req.GetLimit())
	if limit == 0 {
		limit = 10
	}
	found, err := s.store.FindCandidates(ctx, toCustomer(req.GetCustomer()), limit)
	if err != nil {
		return nil, err
	}
	return &erpv1.FindCandidatesResponse{Candidates: each(found, func(c backend.Candidate) *erpv1.CustomerCandidate {
		return &erpv1.CustomerCandidate{Customer: fromCustomer(c.Customer), Score: int32(c.Score), MatchedFields: c.Matched} //nolint:gosec // 1 to 100
	})}, nil
}
