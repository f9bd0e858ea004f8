package experiencemobile_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/pkg/page"
	customerv1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/customer/v1"
)

// position is the sync token of the fake, of the same shape as the real one.
type position struct {
	P int64 `json:"p"`
	T int64 `json:"t"`
}

const fakeTokenLife = 30 * 24 * time.Hour

func syncToken(p position) (string, error) { return page.Encode(page.Hash("fake-changes"), p) }

func (f *fakeCustomers) ListCustomerChanges(_ context.Context, req *customerv1.ListCustomerChangesRequest) (*customerv1.ListCustomerChangesResponse, error) {
	at := position{T: f.now().Unix()}
	if err := page.Decode(req.GetToken(), page.Hash("fake-changes"), &at); err != nil {
		return nil, fault.New(fault.Invalid, "SYNC_TOKEN_INVALID", "the sync token is not one that this service gave out")
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.now().Sub(time.Unix(at.T, 0)) > fakeTokenLife || at.P > int64(len(f.touched)) {
		return nil, fault.New(fault.Precondition, "SYNC_TOKEN_EXPIRED", "changes since the sync token are no longer known")
	}
	size := int64(req.GetPageSize())
	if size == 0 {
		size = 100
	}
	out := &customerv1.ListCustomerChangesResponse{}
	end := at.P
	for _, id := range f.touched[at.P:] {
		if int64(len(out.GetChanges())) == size {
			break
		}
		end++
		if of := req.GetCustomerIds(); !f.older && len(of) > 0 && !slices.Contains(of, id) {
			continue
		}
		c := &customerv1.CustomerChange{CustomerId: id, Deleted: f.customers[id].GetDeleted() || f.merged[id] != "", MergedInto: f.merged[id]}
		if !c.GetDeleted() {
			c.Customer = proto.CloneOf(f.customers[id])
		}
		out.Changes = append(out.Changes, c)
	}
	out.More = end < int64(len(f.touched))
	var err error
	out.NextToken, err = syncToken(position{P: end, T: at.T})
	return out, err
}

func (f *fakeCustomers) ResolveCustomers(_ context.Context, req *customerv1.ResolveCustomersRequest) (*customerv1.ResolveCustomersResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.runs["resolve"]++
	if f.older {
		return nil, fault.New(fault.Unimplemented, "", "there is no such method")
	}
	if f.untold {
		return nil, fault.New(fault.Unavailable, "", "it is down")
	}
	out := &customerv1.ResolveCustomersResponse{}
	for _, id := range req.GetCustomerIds() {
		out.Customers = append(out.Customers, &customerv1.ResolvedCustomer{CustomerId: id, LeadsTo: f.led(id)})
	}
	return out, nil
}

// remove deletes a customer in every system.
func (f *fakeCustomers) remove(id string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	c := f.customers[id]
	c.Deleted = true
	f.put(c)
}

func (f *fakeCustomers) FindOrder(_ context.Context, req *customerv1.FindOrderRequest) (*customerv1.FindOrderResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	o := f.orders[req.GetOrderId()]
	if o == nil {
		return nil, fault.New(fault.NotFound, "ORDER_UNKNOWN", "the customer has no such order")
	}
	return &customerv1.FindOrderResponse{Order: f.order(req.GetOrderId()), CustomerId: f.led(o.GetCustomerId())}, nil
}

func (f *fakeCustomers) CancelOrder(_ context.Context, req *customerv1.CancelOrderRequest) (*customerv1.CancelOrderResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	o, err := f.cancellable(req)
	if err != nil {
		return nil, err
	}
	f.runs["cancel "+req.GetOrderId()]++
	f.states[req.GetOrderId()] = "CANCELLED"
	f.versions[req.GetOrderId()]++
	return &customerv1.CancelOrderResponse{Order: f.order(req.GetOrderId()), CustomerId: f.led(o.GetCustomerId())}, nil
}

// cancellable returns an order that can be called off.
func (f *fakeCustomers) cancellable(req *customerv1.CancelOrderRequest) (*customerv1.NewOrder, error) {
	o := f.orders[req.GetOrderId()]
	if o == nil || f.led(o.GetCustomerId()) != f.led(req.GetCustomerId()) {
		return nil, fault.New(fault.NotFound, "ORDER_UNKNOWN", "the customer has no such order")
	}
	if f.states[req.GetOrderId()] == "COMPLETED" {
		return nil, fault.New(fault.Precondition, "ORDER_CLOSED", "the order is closed")
	}
	return o, nil
}

// newOrder places an order without a request.
func (f *fakeCustomers) newOrder(customer, id string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.orders[id] = &customerv1.NewOrder{CustomerId: customer, Items: []*customerv1.NewOrderItem{{Sku: "pump", Quantity: "1"}}}
	f.versions[id], f.states[id] = 1, "RECEIVED"
}

// move changes the state of an order.
func (f *fakeCustomers) move(id, state string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.states[id] = state
	f.versions[id]++
}

func (f *fakeCustomers) ListCases(ctx context.Context, req *customerv1.ListCasesRequest) (*customerv1.ListCasesResponse, error) {
	if _, err := f.find(ctx, req.GetCustomerId()); err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	out := &customerv1.ListCasesResponse{}
	for id, c := range f.cases {
		if f.led(c.GetCustomerId()) == f.led(req.GetCustomerId()) {
			out.Cases = append(out.Cases, f.caseOf(id).GetSummary())
		}
	}
	return out, nil
}

func (f *fakeCustomers) caseOf(id string) *customerv1.CaseDetail {
	c := f.cases[id]
	return &customerv1.CaseDetail{
		Summary:     &customerv1.CaseSummary{Id: id, Number: "0001", Subject: c.GetSubject(), Status: "New", Priority: c.GetPriority(), CreateTime: timestamppb.New(readTime)},
		Description: c.GetDescription(),
	}
}

func (f *fakeCustomers) GetCaseView(_ context.Context, req *customerv1.GetCaseViewRequest) (*customerv1.GetCaseViewResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	c := f.cases[req.GetCaseId()]
	if c == nil {
		return nil, fault.New(fault.NotFound, "CASE_UNKNOWN", "there is no such case")
	}
	return &customerv1.GetCaseViewResponse{
		Case: f.caseOf(req.GetCaseId()), Customer: proto.CloneOf(f.customers[f.led(c.GetCustomerId())]),
		OrdersStatus:     &customerv1.SectionStatus{System: "erp", State: customerv1.SectionState_SECTION_STATE_UNAVAILABLE, Reason: "TIMEOUT"},
		WarrantiesStatus: &customerv1.SectionStatus{System: "erp", State: customerv1.SectionState_SECTION_STATE_OK, AsOf: timestamppb.New(f.now())},
		Warranties:       []*customerv1.WarrantySummary{{SerialNumber: "SN 1", Sku: "pump", Status: "ACTIVE"}},
	}, nil
}

func (f *fakeCustomers) OpenCase(ctx context.Context, req *customerv1.OpenCaseRequest) (*customerv1.OpenCaseResponse, error) {
	if err := f.openable(ctx, req.GetCase().GetCustomerId()); err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.runs["case "+req.GetCase().GetSubject()]++
	id := fmt.Sprintf("500%015d", len(f.cases))
	f.cases[id] = proto.CloneOf(req.GetCase())
	return &customerv1.OpenCaseResponse{Case: f.caseOf(id), CustomerId: f.led(req.GetCase().GetCustomerId())}, nil
}

// openable fails for a customer for whom no case can be opened.
func (f *fakeCustomers) openable(ctx context.Context, customer string) error {
	if customer == laterBuyer {
		return fault.New(fault.Conflict, "CUSTOMER_PENDING", "the CRM does not have the customer yet").WithRetryAfter(2 * time.Second)
	}
	_, err := f.find(ctx, customer)
	return err
}

func (f *fakeCustomers) GetAvailability(_ context.Context, req *customerv1.GetAvailabilityRequest) (*customerv1.GetAvailabilityResponse, error) {
	if req.GetSku() != "pump" {
		return nil, fault.New(fault.NotFound, "PRODUCT_UNKNOWN", "there is no such product")
	}
	return &customerv1.GetAvailabilityResponse{
		Sku: "pump", Name: "Pump", Unit: "C62", PriceAmount: "1299.90", PriceCurrency: "EUR", Active: true, Available: "3.5",
		Sites: []*customerv1.SiteAvailability{{Site: "Bonn", Available: "3.5", AsOf: timestamppb.New(readTime)}},
	}, nil
}

func (f *fakeCustomers) CheckCreateCustomer(_ context.Context, req *customerv1.CheckCreateCustomerRequest) (*customerv1.CheckCreateCustomerResponse, error) {
	c := proto.CloneOf(req.GetRequest().GetCustomer())
	f.mu.Lock()
	defer f.mu.Unlock()
	if c.GetName() == knownName {
		return &customerv1.CheckCreateCustomerResponse{Response: &customerv1.CreateCustomerResponse{Customer: proto.CloneOf(f.customers[known]), Existing: true}}, nil
	}
	return &customerv1.CheckCreateCustomerResponse{Response: &customerv1.CreateCustomerResponse{Customer: c}}, nil
}

func (f *fakeCustomers) CheckUpdateCustomer(ctx context.Context, req *customerv1.CheckUpdateCustomerRequest) (*customerv1.CheckUpdateCustomerResponse, error) {
	in := req.GetRequest().GetCustomer()
	c, err := f.find(ctx, in.GetId())
	switch {
	case err != nil:
		return nil, err
	case in.GetId() == mastered:
		return nil, fault.New(fault.Precondition, "FIELD_MASTERED", "the field is decided by another system")
	case notATag(in.GetEtag()):
		return nil, fault.InvalidField("request.customer.etag", "", "is not one that this service gave out")
	case in.GetEtag() != "" && in.GetEtag() != c.GetEtag():
		return nil, fault.New(fault.Conflict, fault.ReasonETagMismatch, "the customer has changed")
	}
	c.Phone = in.GetPhone()
	return &customerv1.CheckUpdateCustomerResponse{Response: &customerv1.UpdateCustomerResponse{Customer: c}}, nil
}

func (f *fakeCustomers) CheckPlaceOrder(ctx context.Context, req *customerv1.CheckPlaceOrderRequest) (*customerv1.CheckPlaceOrderResponse, error) {
	o := req.GetRequest().GetOrder()
	if _, err := f.find(ctx, o.GetCustomerId()); err != nil {
		return nil, err
	}
	for i, it := range o.GetItems() {
		if it.GetSku() == "unknown" {
			return nil, fault.InvalidField(fmt.Sprintf("order.items[%d].sku", i), "UNKNOWN_RECORD", "no product has this SKU")
		}
	}
	return &customerv1.CheckPlaceOrderResponse{TotalAmount: "21.00", TotalCurrency: "EUR"}, nil
}

func (f *fakeCustomers) CheckCancelOrder(_ context.Context, req *customerv1.CheckCancelOrderRequest) (*customerv1.CheckCancelOrderResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	o, err := f.cancellable(req.GetRequest())
	if err != nil {
		return nil, err
	}
	out := f.order(req.GetRequest().GetOrderId())
	out.State = "CANCELLED"
	return &customerv1.CheckCancelOrderResponse{Response: &customerv1.CancelOrderResponse{Order: out, CustomerId: f.led(o.GetCustomerId())}}, nil
}

func (f *fakeCustomers) CheckOpenCase(ctx context.Context, req *customerv1.CheckOpenCaseRequest) (*customerv1.CheckOpenCaseResponse, error) {
	c := req.GetRequest().GetCase()
	if err := f.openable(ctx, c.GetCustomerId()); err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return &customerv1.CheckOpenCaseResponse{Response: &customerv1.OpenCaseResponse{
		Case: &customerv1.CaseDetail{
			Summary: &customerv1.CaseSummary{Subject: c.GetSubject(), Priority: c.GetPriority()}, Description: c.GetDescription(),
		},
		CustomerId: f.led(c.GetCustomerId()),
	}}, nil
}

// The customer whose orders are queued: the ERP does not have it until the test says so.
const (
	laterBuyer = "c_later"
	neverBuyer = "c_never"
)

func (f *fakeCustomers) QueueOrder(_ context.Context, req *customerv1.QueueOrderRequest) (*customerv1.QueueOrderResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	o := &customerv1.Operation{
		Id: fmt.Sprintf("op_%d", len(f.operations)), CustomerId: f.led(req.GetOrder().GetCustomerId()), Owner: req.GetOwner(), CreateTime: timestamppb.New(f.now()),
		NextTryTime: timestamppb.New(f.now().Add(3500 * time.Millisecond)),
	}
	f.operations[o.GetId()] = o
	return &customerv1.QueueOrderResponse{Operation: proto.CloneOf(o)}, nil
}

func (f *fakeCustomers) GetOperation(_ context.Context, req *customerv1.GetOperationRequest) (*customerv1.GetOperationResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	o := f.operations[req.GetOperationId()]
	if o == nil {
		return nil, fault.New(fault.NotFound, "OPERATION_UNKNOWN", "there is no such operation")
	}
	return &customerv1.GetOperationResponse{Operation: proto.CloneOf(o)}, nil
}

// end ends an operation, with an order or a reason.
func (f *fakeCustomers) end(id, reason string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	o := f.operations[id]
	o.Done, o.NextTryTime = true, nil
	if o.Reason = reason; reason == "" {
		o.Order = &customerv1.OrderSummary{Id: "S-" + id, State: "RECEIVED", Version: 1}
	}
}

// notATag reports whether a text cannot be a version of the process layer.
func notATag(tag string) bool {
	return tag != "" && strings.Trim(tag, "0123456789") != ""
}
