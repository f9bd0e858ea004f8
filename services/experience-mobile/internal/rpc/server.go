// Package rpc implements MobileService over CustomerService of the process layer: one call each, shaped by package
// view.
//
// The invariants: every effect below carries a key derived from the caller's own key and the caller's identity, so a
// retry at any layer meets the same key and two callers never share one; and an error of the process layer is told
// again from the client's view, so that what is our own fault never looks like the client's.
//
// The package keeps no state but where ids of customers led seconds ago. Whether a request was seen before is decided where the effect happens.
package rpc

import (
	"context"
	"net/url"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/pkg/idempotent"
	customerv1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/customer/v1"
	mobilev1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/mobile/v1"
	"github.com/selfsame-io/selfsame/services/experience-mobile/internal/edge"
	"github.com/selfsame-io/selfsame/services/experience-mobile/internal/problem"
	"github.com/selfsame-io/selfsame/services/experience-mobile/internal/view"
)

// Largest pages of the process layer; a larger wish is met with these (AIP-158).
const (
	maxCustomers = 500
	maxOrders    = 200
	maxContacts  = 500
)

// Server is MobileService. Make it with New; it is safe for concurrent use.
type Server struct {
	mobilev1.UnimplementedMobileServiceServer

	customers customerv1.CustomerServiceClient
	screens   customerv1.ScreenServiceClient
	state     func() connectivity.State
	problems  *problem.Table
	merges    *merges
	// self is the service itself, behind its own checks: a batch is many requests.
	self mobilev1.MobileServiceClient
}

// New returns the service on a connection to process-customer.
func New(conn *grpc.ClientConn) *Server {
	return &Server{
		customers: customerv1.NewCustomerServiceClient(conn), screens: customerv1.NewScreenServiceClient(conn), state: conn.GetState,
		problems: problem.NewTable(), merges: newMerges(time.Now),
	}
}

// Through says how the service reaches itself. Call it before anything is served; without it, batches are refused.
func (s *Server) Through(inside grpc.ClientConnInterface) {
	s.self = mobilev1.NewMobileServiceClient(inside)
}

// GetCustomer implements MobileService.
func (s *Server) GetCustomer(ctx context.Context, req *mobilev1.GetCustomerRequest) (*mobilev1.GetCustomerResponse, error) {
	ctx, cancel := s.begin(ctx)
	defer cancel()
	if err := s.sees(ctx, req.GetCustomerId()); err != nil {
		return nil, err
	}
	v, err := s.customers.GetCustomerView(ctx, &customerv1.GetCustomerViewRequest{
		Id: req.GetCustomerId(), LocalOnly: req.GetSummary(),
	}, grpc.WaitForReady(false))
	if err != nil {
		return nil, s.translate(err)
	}
	return &mobilev1.GetCustomerResponse{Customer: view.Screen(v)}, nil
}

// ListCustomers implements MobileService.
func (s *Server) ListCustomers(ctx context.Context, req *mobilev1.ListCustomersRequest) (*mobilev1.ListCustomersResponse, error) {
	ctx, cancel := s.begin(ctx)
	defer cancel()
	if principal(ctx).Restricted {
		return s.listOwned(ctx, req)
	}
	got, err := s.customers.ListCustomers(ctx, &customerv1.ListCustomersRequest{
		PageSize: min(req.GetPageSize(), maxCustomers), PageToken: req.GetPageToken(), NamePrefix: req.GetNamePrefix(),
	}, grpc.WaitForReady(false))
	if err != nil {
		return nil, s.translate(err)
	}
	out := &mobilev1.ListCustomersResponse{NextPageToken: got.GetNextPageToken()}
	for _, c := range got.GetCustomers() {
		out.Customers = append(out.Customers, view.Customer(c))
	}
	return out, nil
}

// ListOrders implements MobileService.
func (s *Server) ListOrders(ctx context.Context, req *mobilev1.ListOrdersRequest) (*mobilev1.ListOrdersResponse, error) {
	ctx, cancel := s.begin(ctx)
	defer cancel()
	if err := s.sees(ctx, req.GetCustomerId()); err != nil {
		return nil, err
	}
	got, err := s.customers.ListOrders(ctx, &customerv1.ListOrdersRequest{
		CustomerId: req.GetCustomerId(), PageSize: min(req.GetPageSize(), maxOrders), PageToken: req.GetPageToken(),
	}, grpc.WaitForReady(false))
	if err != nil {
		return nil, s.translate(err)
	}
	out := &mobilev1.ListOrdersResponse{NextPageToken: got.GetNextPageToken()}
	for _, o := range got.GetOrders() {
		out.Orders = append(out.Orders, view.Order(o))
	}
	return out, nil
}

// ListContacts implements MobileService.
func (s *Server) ListContacts(ctx context.Context, req *mobilev1.ListContactsRequest) (*mobilev1.ListContactsResponse, error) {
	ctx, cancel := s.begin(ctx)
	defer cancel()
	if err := s.sees(ctx, req.GetCustomerId()); err != nil {
		return nil, err
	}
	got, err := s.customers.ListContacts(ctx, &customerv1.ListContactsRequest{
		CustomerId: req.GetCustomerId(), PageSize: min(req.GetPageSize(), maxContacts), PageToken: req.GetPageToken(),
	}, grpc.WaitForReady(false))
	if err != nil {
		return nil, s.translate(err)
	}
	out := &mobilev1.ListContactsResponse{NextPageToken: got.GetNextPageToken()}
	for _, c := range got.GetContacts() {
		out.Contacts = append(out.Contacts, view.Contact(c))
	}
	return out, nil
}

// CreateCustomer implements MobileService.
func (s *Server) CreateCustomer(ctx context.Context, req *mobilev1.CreateCustomerRequest) (*mobilev1.CreateCustomerResponse, error) {
	ctx, cancel := s.begin(ctx)
	defer cancel()
	if principal(ctx).Restricted {
		return nil, fault.New(fault.Forbidden, "", "who sees only some customers cannot make one")
	}
	below := &customerv1.CreateCustomerRequest{Customer: view.Writable(req.GetCustomer())}
	if req.GetValidateOnly() {
		got, err := s.screens.CheckCreateCustomer(ctx, &customerv1.CheckCreateCustomerRequest{Request: below}, grpc.WaitForReady(false))
		if err != nil {
			return nil, s.translate(checked(err))
		}
		return &mobilev1.CreateCustomerResponse{Customer: view.Customer(got.GetResponse().GetCustomer())}, nil
	}
	var note notes
	got, err := s.customers.CreateCustomer(idempotent.Child(ctx, "create-customer", principalOf(ctx)), below, note.collect()...)
	note.pass(ctx, err)
	if err != nil {
		return nil, s.translate(err)
	}
	if !got.GetExisting() {
		setHeader(ctx, edge.MetaCreated, "true", edge.MetaLocation, "/v1/customers/"+url.PathEscape(got.GetCustomer().GetId()))
	}
	return &mobilev1.CreateCustomerResponse{Customer: view.Customer(got.GetCustomer())}, nil
}

// UpdateCustomer implements MobileService.
func (s *Server) UpdateCustomer(ctx context.Context, req *mobilev1.UpdateCustomerRequest) (*mobilev1.UpdateCustomerResponse, error) {
	ctx, cancel := s.begin(ctx)
	defer cancel()
	if err := s.sees(ctx, req.GetCustomerId()); err != nil {
		return nil, err
	}
	mask, refused := view.Mask(named(ctx, req))
	if len(refused) > 0 {
		e := fault.New(fault.Invalid, fault.ReasonValidationFailed, "a field cannot be written")
		for _, p := range refused {
			e.Fields = append(e.Fields, fault.Field{Path: "customer." + p, Reason: "READ_ONLY", Description: "the field is set by the service"})
		}
		return nil, e
	}
	if len(mask) == 0 {
		return nil, fault.InvalidField("customer", "EMPTY", "the body names no field to change")
	}
	change := view.Writable(req.GetCustomer())
	change.Id, change.Etag = req.GetCustomerId(), view.Version(ifMatch(ctx))
	below := &customerv1.UpdateCustomerRequest{Customer: change, UpdateMask: &fieldmaskpb.FieldMask{Paths: mask}}
	if req.GetValidateOnly() {
		got, err := s.screens.CheckUpdateCustomer(ctx, &customerv1.CheckUpdateCustomerRequest{Request: below}, grpc.WaitForReady(false))
		if err != nil {
			return nil, s.withCurrentTag(ctx, req.GetCustomerId(), s.translate(anotherState(checked(err))))
		}
		return &mobilev1.UpdateCustomerResponse{Customer: view.Customer(got.GetResponse().GetCustomer())}, nil
	}
	var note notes
	got, err := s.customers.UpdateCustomer(idempotent.Child(ctx, "update-customer", principalOf(ctx)), below, note.collect()...)
	note.pass(ctx, err)
	if err != nil {
		return nil, s.withCurrentTag(ctx, req.GetCustomerId(), s.translate(anotherState(err)))
	}
	return &mobilev1.UpdateCustomerResponse{Customer: view.Customer(got.GetCustomer())}, nil
}

// named are the fields that an update names. Of a merge patch, an object that is there names its members: an address without any
// changes nothing. Any other mask that has the address means all of it.
func named(ctx context.Context, req *mobilev1.UpdateCustomerRequest) []string {
	paths := req.GetUpdateMask().GetPaths()
	if v := metadata.ValueFromIncomingContext(ctx, edge.MetaMerge); len(v) == 1 && req.GetCustomer().GetAddress() != nil {
		paths = slices.DeleteFunc(slices.Clone(paths), func(p string) bool { return p == "address" })
	}
	return paths
}

// anotherState takes a tag that the process layer never gave out for what it is to a client: not the one of the customer.
func anotherState(err error) error {
	e, ok := fault.As(err)
	if ok && e.Kind == fault.Invalid && len(e.Fields) == 1 && e.Fields[0].Path == "customer.etag" {
		return fault.New(fault.Conflict, fault.ReasonETagMismatch, "the customer has another state")
	}
	return err
}

// withCurrentTag adds to a mismatch what the tag is now, so that the client can decide without another call. It is a
// courtesy: if the customer cannot be read, the mismatch alone is told.
func (s *Server) withCurrentTag(ctx context.Context, id string, err error) error {
	e, ok := fault.As(err)
	if !ok || fault.ReasonOf(err) != fault.ReasonETagMismatch {
		return err
	}
	got, readErr := s.customers.GetCustomer(ctx, &customerv1.GetCustomerRequest{Id: id}, grpc.WaitForReady(false))
	if readErr != nil {
		return err
	}
	return e.WithMeta("etag", view.Customer(got.GetCustomer()).GetEtag())
}

// notes are what the process layer says about the key, beside its answer.
type notes struct{ header, trailer metadata.MD }

func (n *notes) collect() []grpc.CallOption {
	return []grpc.CallOption{grpc.WaitForReady(false), grpc.Header(&n.header), grpc.Trailer(&n.trailer)}
}

// pass tells the caller the same: as a header on success; as a trailer on failure, because a header there would
// disable the retries of a gRPC client.
func (n *notes) pass(ctx context.Context, err error) {
	status := append(n.header.Get(edge.MetaStatus), n.trailer.Get(edge.MetaStatus)...)
	if len(status) == 0 {
		return
	}
	if err == nil {
		setHeader(ctx, edge.MetaStatus, status[0])
		return
	}
	// Fails only outside a real call, where nobody listens.
	_ = grpc.SetTrailer(ctx, metadata.Pairs(edge.MetaStatus, status[0]))
}

// setHeader tells pairs of name and value.
func setHeader(ctx context.Context, pairs ...string) {
	// Fails only outside a real call, where nobody listens.
	_ = grpc.SetHeader(ctx, metadata.Pairs(pairs...))
}

// required are the rules that the contract states as field behavior, for which there is no validation rule: a blank
// name would otherwise be found only after another violation was corrected.
func required(req any) []fault.Field {
	missing := false
	switch r := req.(type) {
	case *mobilev1.CreateCustomerRequest:
		missing = r.GetCustomer() != nil && strings.TrimSpace(r.GetCustomer().GetName()) == ""
	case *mobilev1.UpdateCustomerRequest:
		for _, p := range r.GetUpdateMask().GetPaths() {
			missing = missing || (p == "name" && strings.TrimSpace(r.GetCustomer().GetName()) == "")
		}
	}
	if !missing {
		return nil
	}
	return []fault.Field{{Path: "customer.name", Reason: "REQUIRED", Description: "a customer must have a name"}}
}
