package rpc

import (
	"context"
	"slices"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/pkg/idempotent"
	"github.com/selfsame-io/selfsame/pkg/page"
	customerv1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/customer/v1"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/source"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store"
)

const (
	reasonCaseUnknown    = "CASE_UNKNOWN"
	reasonProductUnknown = "PRODUCT_UNKNOWN"
	// stepOpenCase names the one effect of OpenCase. It is part of the case's external id: never change it.
	stepOpenCase = "crm.case.open"
	stepCancel   = "erp.order.cancel"
)

// screens implements ScreenService.
type screens struct {
	customerv1.UnimplementedScreenServiceServer
	d Deps
	// customers is the service whose writes are checked here.
	customers *customers
}

// owner returns the golden customer that has a system's record; an empty id when none has.
func (s *screens) owner(ctx context.Context, system, record string) (golden.ID, error) {
	r := s.d.Store.Read()
	rows, err := r.Sources(ctx, system, golden.Customer, []string{record})
	if err != nil || len(rows) == 0 || rows[0].GoldenID == "" {
		return "", err
	}
	g, err := find(ctx, r, golden.Customer, string(rows[0].GoldenID))
	if fault.Is(err, fault.NotFound) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	return g.ID, nil
}

// order returns an order and its golden customer.
func (s *screens) order(ctx context.Context, id string) (source.Order, golden.ID, error) {
	o, record, err := s.d.Orders.Order(ctx, id)
	if fault.Is(err, fault.NotFound) {
		return source.Order{}, "", unknownOrder()
	}
	if err != nil {
		return source.Order{}, "", err
	}
	customer, err := s.owner(ctx, s.d.Orders.Name(), record)
	if err == nil && customer == "" {
		err = unknownOrder()
	}
	return o, customer, err
}

// ResolveCustomers follows merges as far as a read of one customer does.
func (s *screens) ResolveCustomers(ctx context.Context, req *customerv1.ResolveCustomersRequest) (*customerv1.ResolveCustomersResponse, error) {
	into := map[golden.ID]golden.ID{}
	var ask []golden.ID
	for _, text := range req.GetCustomerIds() {
		if id, ok := golden.ParseID(text); ok && id.Object() == golden.Customer { // any other leads to itself
			ask = append(ask, id)
		}
	}
	r := s.d.Store.Read()
	for range mostMerges {
		slices.Sort(ask)
		found, err := r.Goldens(ctx, slices.Compact(ask))
		if err != nil {
			return nil, err
		}
		ask = nil
		for _, g := range found {
			if g.MergedInto != "" {
				into[g.ID] = g.MergedInto
				ask = append(ask, g.MergedInto)
			}
		}
		if len(ask) == 0 {
			break
		}
	}
	resp := &customerv1.ResolveCustomersResponse{}
	for _, text := range req.GetCustomerIds() {
		to := golden.ID(text)
		for n := 0; n < mostMerges && into[to] != ""; n++ {
			to = into[to]
		}
		resp.Customers = append(resp.Customers, &customerv1.ResolvedCustomer{CustomerId: text, LeadsTo: string(to)})
	}
	return resp, nil
}

func (s *screens) FindOrder(ctx context.Context, req *customerv1.FindOrderRequest) (*customerv1.FindOrderResponse, error) {
	o, customer, err := s.order(ctx, req.GetOrderId())
	if err != nil {
		return nil, err
	}
	return &customerv1.FindOrderResponse{Order: orderSummary(o), CustomerId: string(customer)}, nil
}

// orderOf returns the golden customer of an order; the order of another than the request names is not found.
func (s *screens) orderOf(ctx context.Context, req *customerv1.CancelOrderRequest) (golden.ID, error) {
	c, err := shown(ctx, s.d.Store.Brief(), req.GetCustomerId())
	if err != nil {
		return "", err
	}
	_, customer, err := s.order(ctx, req.GetOrderId())
	if err == nil && customer != c.Golden.ID {
		err = unknownOrder()
	}
	return customer, err
}

func (s *screens) CancelOrder(ctx context.Context, req *customerv1.CancelOrderRequest) (*customerv1.CancelOrderResponse, error) {
	customer, err := s.orderOf(ctx, req)
	if err != nil {
		return nil, err
	}
	o, err := s.d.Orders.Cancel(idempotent.Child(ctx, stepCancel, req.GetOrderId()), req.GetOrderId())
	if err != nil {
		return nil, err
	}
	return &customerv1.CancelOrderResponse{Order: orderSummary(o), CustomerId: string(customer)}, nil
}

func (s *screens) ListCases(ctx context.Context, req *customerv1.ListCasesRequest) (*customerv1.ListCasesResponse, error) {
	size, err := page.Size(req.GetPageSize(), 50, 200)
	if err != nil {
		return nil, err
	}
	c, err := shown(ctx, s.d.Store.Brief(), req.GetCustomerId())
	if err != nil {
		return nil, err
	}
	accounts := recordsIn(c.Links, s.d.Cases.Name())
	if len(accounts) == 0 {
		return &customerv1.ListCasesResponse{}, nil
	}
	cases, next, err := s.d.Cases.CasePage(ctx, accounts, req.GetOpenOnly(), size, req.GetPageToken())
	if err != nil {
		return nil, err
	}
	resp := &customerv1.ListCasesResponse{NextPageToken: next}
	for _, one := range cases {
		resp.Cases = append(resp.Cases, caseSummary(one))
	}
	return resp, nil
}

func (s *screens) GetCaseView(ctx context.Context, req *customerv1.GetCaseViewRequest) (*customerv1.GetCaseViewResponse, error) {
	found, account, err := s.d.Cases.Case(ctx, req.GetCaseId())
	if fault.Is(err, fault.NotFound) || fault.Is(err, fault.Invalid) { // what is no id of the CRM names no case
		return nil, unknownCase()
	}
	if err != nil {
		return nil, err
	}
	id, err := s.owner(ctx, s.d.Cases.Name(), account)
	if err != nil {
		return nil, err
	}
	if id == "" {
		return nil, unknownCase()
	}
	c, err := shown(ctx, s.d.Store.Brief(), string(id))
	if err != nil {
		return nil, err
	}
	resp := &customerv1.GetCaseViewResponse{Case: caseDetail(found), Customer: customer(c.Golden, c.Links, c.Marked)}
	v := s.d.View.View(ctx, c.Golden.ID, systemsOf(c.Links))
	resp.OrdersStatus, resp.WarrantiesStatus = section(v.Orders), section(v.Warranties)
	for _, o := range v.Orders.Items {
		resp.Orders = append(resp.Orders, orderSummary(o))
	}
	for _, w := range v.Warranties.Items {
		resp.Warranties = append(resp.Warranties, warrantySummary(w))
	}
	return resp, nil
}

// unknownCase is said of a case of an account that is no customer of ours too.
func unknownCase() error {
	return fault.New(fault.NotFound, reasonCaseUnknown, "there is no such case")
}

// OpenCase has one effect, and the CRM knows it by an external id that follows from the key.
func (s *screens) OpenCase(ctx context.Context, req *customerv1.OpenCaseRequest) (*customerv1.OpenCaseResponse, error) {
	asked := req.GetCase()
	seed, err := effectID(ctx, "open-case")
	if err != nil {
		return nil, err
	}
	customer, account, err := s.account(ctx, asked.GetCustomerId())
	if err != nil {
		return nil, err
	}
	opened, err := s.d.Cases.OpenCase(idempotent.Child(ctx, stepOpenCase, ""), source.NewCase{
		ExternalID: idempotent.ChildOf(seed, stepOpenCase, ""), Account: account, Subject: asked.GetSubject(),
		Description: asked.GetDescription(), Priority: asked.GetPriority(),
	})
	if err != nil {
		return nil, err
	}
	return &customerv1.OpenCaseResponse{Case: caseDetail(opened), CustomerId: string(customer)}, nil
}

// account returns for whom a case is opened: the golden customer, and its record in the CRM.
func (s *screens) account(ctx context.Context, customer string) (id golden.ID, record string, err error) {
	c, err := living(ctx, s.d.Store.Brief(), customer)
	if err != nil {
		return "", "", err
	}
	accounts := recordsIn(c.Links, s.d.Cases.Name())
	if len(accounts) == 0 {
		return "", "", fault.New(fault.Conflict, source.ReasonCustomerPending, "the CRM does not have the customer yet").WithRetryAfter(pendingWait)
	}
	return c.Golden.ID, accounts[0], nil
}

func (s *screens) GetAvailability(ctx context.Context, req *customerv1.GetAvailabilityRequest) (*customerv1.GetAvailabilityResponse, error) {
	p, err := s.d.Orders.Stock(ctx, req.GetSku())
	if fault.Is(err, fault.NotFound) {
		return nil, fault.New(fault.NotFound, reasonProductUnknown, "there is no such product")
	}
	if err != nil {
		return nil, err
	}
	resp := &customerv1.GetAvailabilityResponse{
		Sku: p.SKU, Name: p.Name, Unit: p.Unit, PriceAmount: p.PriceAmount, PriceCurrency: p.PriceCurrency, Active: p.Active, Available: p.Available,
	}
	for _, site := range p.Sites {
		resp.Sites = append(resp.Sites, &customerv1.SiteAvailability{Site: site.Site, Available: site.Available, AsOf: stamp(site.AsOf)})
	}
	return resp, nil
}

// systemsOf returns the ids of the live records by system.
func systemsOf(links []store.Link) map[string][]string {
	out := map[string][]string{}
	for _, l := range links {
		if out[l.Ref.System] == nil && l.Ref.System != golden.SystemAPI {
			if ids := recordsIn(links, l.Ref.System); len(ids) > 0 {
				out[l.Ref.System] = ids
			}
		}
	}
	return out
}

func caseSummary(c source.Case) *customerv1.CaseSummary {
	return &customerv1.CaseSummary{
		Id: c.ID, Number: c.Number, Subject: c.Subject, Status: c.Status, Priority: c.Priority, CreateTime: stamp(c.Created),
	}
}

func caseDetail(c source.CaseDetail) *customerv1.CaseDetail {
	return &customerv1.CaseDetail{
		Summary: caseSummary(c.Case), Description: c.Description, Closed: c.Closed, Type: c.Type, Origin: c.Origin, Etag: c.ETag,
		UpdateTime: stamp(c.Updated),
	}
}

func warrantySummary(w source.Warranty) *customerv1.WarrantySummary {
	return &customerv1.WarrantySummary{SerialNumber: w.SerialNumber, Sku: w.SKU, Status: w.Status, EndTime: stamp(w.End)}
}
