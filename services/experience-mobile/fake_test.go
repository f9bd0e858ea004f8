package experiencemobile_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/pkg/page"
	customerv1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/customer/v1"
)

// Ids and names that make the fake behave: the request itself carries the fault, so tests may run at once.
const (
	known       = "c_known"
	slow        = "c_slow"
	leaky       = "c_leaky"
	unavailable = "c_unavailable"
	partial     = "c_partial"
	mastered    = "c_mastered"
	uncertain   = "c_uncertain"
	refusing    = "c_refusing"
	slowName    = "Slow GmbH"
	knownName   = "Known GmbH"
	secretText  = "pq: password authentication failed for user erp at 10.0.0.3"
)

var readTime = time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)

// fakeCustomers is a process-customer in memory.
type fakeCustomers struct {
	customerv1.UnimplementedCustomerServiceServer
	customerv1.UnimplementedScreenServiceServer

	mu         sync.Mutex
	customers  map[string]*customerv1.Customer
	version    map[string]int
	creates    map[string]int  // by name
	begun      map[string]bool // by name
	updates    []*customerv1.UpdateCustomerRequest
	lists      []*customerv1.ListCustomersRequest
	seen       []metadata.MD
	left       []time.Duration                 // what each call had left until its deadline
	answered   []proto.Message                 // what each call that succeeded was answered
	orders     map[string]*customerv1.NewOrder // by number
	release    chan struct{}                   // closed lets slow creations go on
	runs       map[string]int                  // executions of a creation, by name
	script     map[string][]func(ctx context.Context) error
	touched    []string                       // ids of customers in the order of their changes
	versions   map[string]int64               // of orders, by number
	states     map[string]string              // of orders, by number
	cases      map[string]*customerv1.NewCase // by id
	operations map[string]*customerv1.Operation
	alone      map[string]chan struct{} // creations by name that wait for their channel
	merged     map[string]string        // the customer that one was merged into
	older      bool                     // it is of a release that lists changes of everybody only, and does not say where ids lead
	untold     bool                     // it does not answer where ids lead
	now        func() time.Time
	fails      func() error // of every call, when it is set
}

func newFake() *fakeCustomers {
	f := &fakeCustomers{
		now:       time.Now,
		customers: map[string]*customerv1.Customer{}, version: map[string]int{}, creates: map[string]int{}, begun: map[string]bool{}, orders: map[string]*customerv1.NewOrder{}, release: make(chan struct{}),
		runs: map[string]int{}, script: map[string][]func(ctx context.Context) error{}, alone: map[string]chan struct{}{},
		merged:   map[string]string{},
		versions: map[string]int64{}, states: map[string]string{}, cases: map[string]*customerv1.NewCase{}, operations: map[string]*customerv1.Operation{},
	}
	for _, id := range []string{known, slow, leaky, unavailable, partial, mastered, uncertain, refusing} {
		f.put(&customerv1.Customer{
			Id: id, Name: knownName, Email: "office@known.example", Phone: "+49 228 1", TaxId: "DE123456789",
			Address:    &customerv1.Address{Street: "Hauptstraße 1", City: "Bonn", PostalCode: "53111", Country: "DE"},
			CreateTime: timestamppb.New(readTime), UpdateTime: timestamppb.New(readTime),
			Sources: []*customerv1.SourceRecord{{System: "salesforce", RecordId: "001"}, {System: "erp", RecordId: "17", Pending: true}},
		})
	}
	return f
}

func (f *fakeCustomers) put(c *customerv1.Customer) {
	f.version[c.GetId()]++
	c.Etag = fmt.Sprint(f.version[c.GetId()])
	f.customers[c.GetId()] = c
	f.touched = append(f.touched, c.GetId())
}

// record keeps the metadata of every call, and its answer.
func (f *fakeCustomers) record(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	md, _ := metadata.FromIncomingContext(ctx)
	at, _ := ctx.Deadline()
	f.mu.Lock()
	f.seen, f.left = append(f.seen, md), append(f.left, time.Until(at))
	fails := f.fails
	f.mu.Unlock()
	if fails != nil {
		return nil, fails()
	}
	resp, err := handler(ctx, req)
	if m, ok := resp.(proto.Message); ok && err == nil {
		f.mu.Lock()
		f.answered = append(f.answered, m)
		f.mu.Unlock()
	}
	return resp, err
}

// failWith lets every call fail; nil lets them work again.
func (f *fakeCustomers) failWith(fails func() error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fails = fails
}

// lastLeft is how long the last call had until its deadline.
func (f *fakeCustomers) lastLeft() time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.left[len(f.left)-1]
}

// fault fails as the id demands.
func (f *fakeCustomers) fault(ctx context.Context, id string) error {
	switch id {
	case slow:
		<-ctx.Done()
		return ctx.Err()
	case leaky:
		return fault.New(fault.Internal, "", "%s", secretText)
	case unavailable:
		return fault.New(fault.Unavailable, "ERP_UNAVAILABLE", "%s", secretText).WithRetryAfter(7 * time.Second)
	case refusing:
		return fault.New(fault.Forbidden, "", "%s", secretText)
	}
	return nil
}

func (f *fakeCustomers) find(ctx context.Context, id string) (*customerv1.Customer, error) {
	if err := f.fault(ctx, id); err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	c := f.customers[f.led(id)]
	if c == nil {
		return nil, fault.New(fault.NotFound, "CUSTOMER_UNKNOWN", "there is no such record")
	}
	return proto.CloneOf(c), nil
}

// led is where an id leads.
func (f *fakeCustomers) led(id string) string {
	if to := f.merged[id]; to != "" {
		return to
	}
	return id
}

// merge makes one customer of two.
func (f *fakeCustomers) merge(from, into string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.merged[from] = into
	f.put(f.customers[from])
	f.put(f.customers[into])
}

func (f *fakeCustomers) GetCustomer(ctx context.Context, req *customerv1.GetCustomerRequest) (*customerv1.GetCustomerResponse, error) {
	c, err := f.find(ctx, req.GetId())
	return &customerv1.GetCustomerResponse{Customer: c}, err
}

func (f *fakeCustomers) GetCustomerView(ctx context.Context, req *customerv1.GetCustomerViewRequest) (*customerv1.GetCustomerViewResponse, error) {
	c, err := f.find(ctx, req.GetId())
	if err != nil {
		return nil, err
	}
	v := &customerv1.GetCustomerViewResponse{Customer: c}
	if req.GetLocalOnly() {
		return v, nil
	}
	ok := func(system string) *customerv1.SectionStatus {
		return &customerv1.SectionStatus{System: system, State: customerv1.SectionState_SECTION_STATE_OK, AsOf: timestamppb.New(f.now())}
	}
	v.OrdersStatus, v.CasesStatus, v.WarrantiesStatus = ok("erp"), ok("salesforce"), ok("erp")
	v.Orders = []*customerv1.OrderSummary{{Id: "4711", State: "CONFIRMED", TotalAmount: "1299.90", TotalCurrency: "EUR", OrderTime: timestamppb.New(readTime)}}
	if req.GetId() == partial {
		v.Orders = nil
		v.OrdersStatus = &customerv1.SectionStatus{System: "erp", State: customerv1.SectionState_SECTION_STATE_UNAVAILABLE, Reason: "TIMEOUT"}
		v.WarrantiesStatus = &customerv1.SectionStatus{System: "erp", State: customerv1.SectionState_SECTION_STATE_STALE, Reason: "CIRCUIT_OPEN", AsOf: timestamppb.New(readTime)}
	}
	return v, nil
}

func (f *fakeCustomers) ListCustomers(_ context.Context, req *customerv1.ListCustomersRequest) (*customerv1.ListCustomersResponse, error) {
	var cursor string
	if err := page.Decode(req.GetPageToken(), page.Hash(req.GetNamePrefix()), &cursor); err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.lists = append(f.lists, proto.CloneOf(req))
	size := int(req.GetPageSize())
	if size == 0 {
		size = 50
	}
	out := &customerv1.ListCustomersResponse{}
	for _, id := range slices.Sorted(maps.Keys(f.customers)) {
		c := f.customers[id]
		if id <= cursor || c.GetDeleted() || f.merged[id] != "" || !strings.HasPrefix(c.GetName(), req.GetNamePrefix()) {
			continue
		}
		if len(out.Customers) == size {
			token, err := page.Encode(page.Hash(req.GetNamePrefix()), out.GetCustomers()[size-1].GetId())
			out.NextPageToken = token
			return out, err
		}
		out.Customers = append(out.Customers, proto.CloneOf(c))
	}
	return out, nil
}

func (f *fakeCustomers) ListOrders(ctx context.Context, req *customerv1.ListOrdersRequest) (*customerv1.ListOrdersResponse, error) {
	if _, err := f.find(ctx, req.GetCustomerId()); err != nil {
		return nil, err
	}
	return &customerv1.ListOrdersResponse{Orders: []*customerv1.OrderSummary{{Id: "4711", ItemCount: 2, TotalAmount: "1.00", TotalCurrency: "EUR"}}}, nil
}

func (f *fakeCustomers) PlaceOrder(ctx context.Context, req *customerv1.PlaceOrderRequest) (*customerv1.PlaceOrderResponse, error) {
	asked := req.GetOrder()
	f.mu.Lock()
	f.runs["order "+asked.GetCustomerId()]++
	f.mu.Unlock()
	c, err := f.find(ctx, asked.GetCustomerId())
	if err != nil {
		return nil, err
	}
	for i, it := range asked.GetItems() {
		if it.GetSku() == "unknown" {
			return nil, fault.InvalidField(fmt.Sprintf("order.items[%d].sku", i), "UNKNOWN_RECORD", "no product has this SKU")
		}
	}
	switch asked.GetCustomerId() {
	case mastered:
		return nil, fault.New(fault.Precondition, "CUSTOMER_BLOCKED", "the customer is blocked for orders")
	case uncertain, laterBuyer, neverBuyer:
		return nil, fault.New(fault.Conflict, "CUSTOMER_PENDING", "the ERP does not have the customer yet").WithRetryAfter(2 * time.Second)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	id := fmt.Sprintf("S%d", len(f.orders)+1)
	f.orders[id] = proto.CloneOf(asked)
	f.versions[id], f.states[id] = 1, "RECEIVED"
	return &customerv1.PlaceOrderResponse{Order: f.order(id), CustomerId: c.GetId()}, nil
}

func (f *fakeCustomers) order(id string) *customerv1.OrderSummary {
	return &customerv1.OrderSummary{Id: id, State: f.states[id], Version: f.versions[id], ItemCount: int32(len(f.orders[id].GetItems())), TotalAmount: "2.00", TotalCurrency: "EUR"}
}

func (f *fakeCustomers) GetOrder(_ context.Context, req *customerv1.GetOrderRequest) (*customerv1.GetOrderResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if o := f.orders[req.GetOrderId()]; o == nil || f.led(o.GetCustomerId()) != f.led(req.GetCustomerId()) {
		return nil, fault.New(fault.NotFound, "ORDER_UNKNOWN", "the customer has no such order")
	}
	return &customerv1.GetOrderResponse{Order: f.order(req.GetOrderId())}, nil
}

// placed returns how many orders a customer has.
func (f *fakeCustomers) placed(customer string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := 0
	for _, o := range f.orders {
		if o.GetCustomerId() == customer {
			n++
		}
	}
	return n
}

func (f *fakeCustomers) ListContacts(ctx context.Context, req *customerv1.ListContactsRequest) (*customerv1.ListContactsResponse, error) {
	if _, err := f.find(ctx, req.GetCustomerId()); err != nil {
		return nil, err
	}
	return &customerv1.ListContactsResponse{Contacts: []*customerv1.Contact{{Id: "p_1", FirstName: "Erika", LastName: "Muster"}}}, nil
}

func (f *fakeCustomers) CreateCustomer(ctx context.Context, req *customerv1.CreateCustomerRequest) (*customerv1.CreateCustomerResponse, error) {
	c := proto.CloneOf(req.GetCustomer())
	f.mu.Lock()
	f.begun[c.GetName()] = true
	f.runs[c.GetName()]++
	wait := f.alone[c.GetName()]
	var next func(context.Context) error
	if steps := f.script[c.GetName()]; len(steps) > 0 {
		next, f.script[c.GetName()] = steps[0], steps[1:]
	}
	f.mu.Unlock()
	if wait != nil {
		select {
		case <-wait:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	if next != nil {
		if err := next(ctx); err != nil {
			return nil, err
		}
	}
	if c.GetName() == slowName {
		select {
		case <-f.release:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.creates[c.GetName()]++
	if c.GetName() == knownName {
		return &customerv1.CreateCustomerResponse{Customer: proto.CloneOf(f.customers[known]), Existing: true}, nil
	}
	c.Id = fmt.Sprintf("c_%d", len(f.customers))
	f.put(c)
	return &customerv1.CreateCustomerResponse{Customer: proto.CloneOf(c)}, nil
}

func (f *fakeCustomers) UpdateCustomer(ctx context.Context, req *customerv1.UpdateCustomerRequest) (*customerv1.UpdateCustomerResponse, error) {
	in := req.GetCustomer()
	c, err := f.find(ctx, in.GetId())
	if err != nil {
		return nil, err
	}
	switch {
	case in.GetId() == mastered:
		return nil, fault.New(fault.Precondition, "FIELD_MASTERED", "the field is decided by another system")
	case in.GetId() == uncertain:
		return nil, fault.New(fault.Uncertain, "", "the outcome is not known")
	case notATag(in.GetEtag()):
		return nil, fault.InvalidField("customer.etag", "", "is not one that this service gave out")
	case in.GetEtag() != "" && in.GetEtag() != c.GetEtag():
		return nil, fault.New(fault.Conflict, fault.ReasonETagMismatch, "the customer has changed")
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.updates = append(f.updates, proto.CloneOf(req))
	for _, p := range req.GetUpdateMask().GetPaths() {
		from, to := in.ProtoReflect(), c.ProtoReflect()
		if part, ok := strings.CutPrefix(p, "address."); ok {
			if c.Address == nil {
				c.Address = &customerv1.Address{}
			}
			p, from, to = part, in.GetAddress().ProtoReflect(), c.GetAddress().ProtoReflect()
		}
		fd := to.Descriptor().Fields().ByTextName(p)
		if fd == nil {
			return nil, fault.InvalidField("update_mask", "", "there is no field %s", p)
		}
		if from.Has(fd) {
			to.Set(fd, from.Get(fd))
		} else {
			to.Clear(fd)
		}
	}
	f.put(c)
	return &customerv1.UpdateCustomerResponse{Customer: proto.CloneOf(c)}, nil
}

// plan makes the next creations of a name do these before they succeed: an error ends that one.
func (f *fakeCustomers) plan(name string, steps ...func(ctx context.Context) error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.script[name] = steps
}

// hold makes creations of a name wait until the function is called.
func (f *fakeCustomers) hold(name string) (release func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.alone[name] = make(chan struct{})
	return sync.OnceFunc(func() { close(f.alone[name]) })
}

// ran returns how often a creation was executed.
func (f *fakeCustomers) ran(name string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.runs[name]
}

func (f *fakeCustomers) created(name string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.creates[name]
}

func (f *fakeCustomers) add(id string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.put(&customerv1.Customer{Id: id, Name: "Own " + id, Phone: "1", Address: &customerv1.Address{Street: "Old", City: "Bonn"}})
}

func (f *fakeCustomers) get(id string) *customerv1.Customer {
	f.mu.Lock()
	defer f.mu.Unlock()
	return proto.CloneOf(f.customers[id])
}

// listOf returns the last list request with this name prefix.
func (f *fakeCustomers) listOf(prefix string) *customerv1.ListCustomersRequest {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := len(f.lists) - 1; i >= 0; i-- {
		if f.lists[i].GetNamePrefix() == prefix {
			return f.lists[i]
		}
	}
	return nil
}

// maskOf returns the mask of the last update of a customer.
func (f *fakeCustomers) maskOf(id string) []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := len(f.updates) - 1; i >= 0; i-- {
		if f.updates[i].GetCustomer().GetId() == id {
			return f.updates[i].GetUpdateMask().GetPaths()
		}
	}
	return nil
}

// started reports whether a creation has begun.
func (f *fakeCustomers) started(name string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.begun[name]
}

func (f *fakeCustomers) metadata() []metadata.MD {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]metadata.MD(nil), f.seen...)
}
