package rpc

import (
	"context"
	"database/sql"
	"errors"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/pkg/page"
	erpv1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/erp/v1"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/erp"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/store"
)

type customerServer struct {
	erpv1.UnimplementedCustomerServiceServer
	*Server
}

func (s *customerServer) GetCustomer(ctx context.Context, req *erpv1.GetCustomerRequest) (*erpv1.GetCustomerResponse, error) {
	c, err := byID(ctx, s.store.Customers(), req.GetId(), "customer")
	if err != nil {
		return nil, err
	}
	return &erpv1.GetCustomerResponse{Customer: fromCustomer(c)}, nil
}

func (s *customerServer) BatchGetCustomers(ctx context.Context, req *erpv1.BatchGetCustomersRequest) (*erpv1.BatchGetCustomersResponse, error) {
	found, missing, err := ordered(ctx, s.store.Customers(), req.GetIds())
	if err != nil {
		return nil, err
	}
	return &erpv1.BatchGetCustomersResponse{Customers: each(found, fromCustomer), MissingIds: missing}, nil
}

func (s *customerServer) ListCustomers(ctx context.Context, req *erpv1.ListCustomersRequest) (*erpv1.ListCustomersResponse, error) {
	size, err := page.Size(req.GetPageSize(), 500, 1000)
	if err != nil {
		return nil, err
	}
	found, next, err := paged(req.GetPageToken(), page.Hash("customers"), size, func(after *string, limit int) ([]erp.Customer, error) {
		return s.store.Customers().List(ctx, deref(after), limit)
	}, func(c erp.Customer) string { return c.ID })
	if err != nil {
		return nil, err
	}
	return &erpv1.ListCustomersResponse{Customers: each(found, fromCustomer), NextPageToken: next}, nil
}

func (s *customerServer) LookupCustomer(ctx context.Context, req *erpv1.LookupCustomerRequest) (*erpv1.LookupCustomerResponse, error) {
	c, err := s.store.Customers().Lookup(ctx, toRef(req.GetRef()))
	if err != nil {
		return nil, err
	}
	return &erpv1.LookupCustomerResponse{Customer: fromCustomer(c)}, nil
}

func (s *customerServer) CreateCustomer(ctx context.Context, req *erpv1.CreateCustomerRequest) (*erpv1.CreateCustomerResponse, error) {
	if err := assigned("customer", req.GetCustomer()); err != nil {
		return nil, err
	}
	if req.GetCustomer().GetMergedInto() != "" {
		return nil, notWritable("customer.merged_into")
	}
	var resp *erpv1.CreateCustomerResponse
	_, err := s.store.Customers().Create(ctx, toCustomer(req.GetCustomer()), func(ctx context.Context, tx *sql.Tx, c erp.Customer) error {
		resp = &erpv1.CreateCustomerResponse{Customer: fromCustomer(c), Outcome: fromOutcome(erp.Created)}
		return s.answer(ctx, tx, resp)
	})
	s.counted(ctx, "customer", created(err), err)
	if err != nil {
		return nil, err
	}
	return resp, nil
}

func (s *customerServer) UpdateCustomer(ctx context.Context, req *erpv1.UpdateCustomerRequest) (*erpv1.UpdateCustomerResponse, error) {
	mask, err := maskOf(s.customers, req.GetUpdateMask(), true)
	if err != nil {
		return nil, err
	}
	if req.GetCustomer().GetId() == "" {
		return nil, noID("customer")
	}
	res, err := s.store.Customers().Update(ctx, store.Upsert[erp.Customer]{
		Record: toCustomer(req.GetCustomer()), Mask: mask, Expected: req.GetExpectedVersion(),
	})
	s.counted(ctx, "customer", res.Outcome, err)
	if err != nil {
		return nil, err
	}
	return &erpv1.UpdateCustomerResponse{Customer: fromCustomer(res.Record), Outcome: fromOutcome(res.Outcome)}, nil
}

func (s *customerServer) DeleteCustomer(ctx context.Context, req *erpv1.DeleteCustomerRequest) (*erpv1.DeleteCustomerResponse, error) {
	res, err := s.store.Customers().Delete(ctx, req.GetId())
	s.counted(ctx, "customer", res.Outcome, err)
	if err == nil || fault.Is(err, fault.NotFound) {
		err = errors.Join(err, s.forgotten(ctx, req.GetId()))
	}
	if err != nil {
		return nil, err
	}
	return &erpv1.DeleteCustomerResponse{Customer: fromCustomer(res.Record), Outcome: fromOutcome(res.Outcome)}, nil
}

func (s *customerServer) MergeCustomers(ctx context.Context, req *erpv1.MergeCustomersRequest) (*erpv1.MergeCustomersResponse, error) {
	res, err := s.store.MergeCustomers(ctx, req.GetId(), req.GetInto())
	s.counted(ctx, "customer", res.Outcome, err)
	if err != nil {
		return nil, err
	}
	if err := s.forgotten(ctx, req.GetId()); err != nil {
		return nil, err
	}
	return &erpv1.MergeCustomersResponse{Customer: fromCustomer(res.Record), Outcome: fromOutcome(res.Outcome)}, nil
}

func (s *customerServer) BatchUpsertCustomers(ctx context.Context, req *erpv1.BatchUpsertCustomersRequest) (*erpv1.BatchUpsertCustomersResponse, error) {
	results, err := batch(ctx, s.Server, "customer", req.GetUpserts(), s.upsert, s.store.Customers().Upsert)
	if err != nil {
		return nil, err
	}
	return &erpv1.BatchUpsertCustomersResponse{Results: each(results, func(r store.Result[erp.Customer]) *erpv1.CustomerUpsertResult {
		if r.Err != nil {
			return &erpv1.CustomerUpsertResult{Outcome: fromOutcome(erp.Refused), Error: recordError(r.Err)}
		}
		return &erpv1.CustomerUpsertResult{Outcome: fromOutcome(r.Outcome), Customer: fromCustomer(r.Record)}
	})}, nil
}

func (s *customerServer) upsert(u *erpv1.CustomerUpsert) (store.Upsert[erp.Customer], error) {
	out := store.Upsert[erp.Customer]{Record: toCustomer(u.GetCustomer()), Key: toRef(u.GetKey()), Expected: u.GetExpectedVersion()}
	if u.GetCustomer().GetDeleted() {
		return out, notWritable("customer.deleted")
	}
	if u.GetCustomer().GetMergedInto() != "" {
		return out, notWritable("customer.merged_into")
	}
	var err error
	out.Mask, err = maskOf(s.customers, u.GetUpdateMask(), false)
	return out, err
}
