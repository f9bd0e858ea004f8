package rpc

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	"github.com/selfsame-io/selfsame/pkg/fault"
	mobilev1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/mobile/v1"
	"github.com/selfsame-io/selfsame/services/experience-mobile/internal/edge"
	"github.com/selfsame-io/selfsame/services/experience-mobile/internal/problem"
)

// Kinds of queued changes.
const (
	kindCreate  = "CREATE_CUSTOMER"
	kindUpdate  = "UPDATE_CUSTOMER"
	kindPlace   = "PLACE_ORDER"
	kindCancel  = "CANCEL_ORDER"
	kindOpen    = "OPEN_CASE"
	applyMargin = 250 * time.Millisecond
)

// ApplyMutations implements MobileService. Every mutation goes the way of a request of its own, with its own key: the
// same checks, the same answers, and a retry of either meets what the other has done. When the batch is only checked, no
// mutation waits for another: nothing is done that it could be behind.
func (s *Server) ApplyMutations(ctx context.Context, req *mobilev1.ApplyMutationsRequest) (*mobilev1.ApplyMutationsResponse, error) {
	if s.self == nil {
		return nil, fault.New(fault.Unimplemented, "", "batches are not served here")
	}
	out := &mobilev1.ApplyMutationsResponse{}
	behind := map[string]bool{} // records with a change that is still to come
	var led map[string]string   // where their customers lead; needed when something is behind
	known := func(m *mobilev1.Mutation) string {
		if to, ok := led[customerOf(m)]; ok {
			return to
		}
		return recordOf(m)
	}
	for i, m := range req.GetBatch().GetMutations() {
		a := &application{server: s, index: i, mutation: m, only: req.GetValidateOnly(), result: &mobilev1.MutationResult{Key: m.GetKey()}}
		record := known(m)
		at, bounded := ctx.Deadline()
		switch {
		case record != "" && behind[record]:
			a.refuse(s.problems.New(problem.PredecessorFailed, ""))
		case bounded && time.Until(at) < applyMargin:
			a.refuse(s.problems.New(fault.ReasonDeadlineTooShort, ""))
		default:
			a.run(ctx)
		}
		if record != "" && !a.only && a.result.GetProblem().GetRetryable() {
			if led == nil {
				led = s.leading(ctx, req.GetBatch().GetMutations()[i:])
			}
			behind[known(m)] = true
		}
		out.Results = append(out.Results, a.result)
	}
	return out, nil
}

// recordOf names the record whose changes keep their order.
func recordOf(m *mobilev1.Mutation) string {
	if m.GetKind() == kindCancel {
		return "order " + m.GetOrderId()
	}
	return customerOf(m)
}

// customerOf names the customer that a mutation changes or adds to; empty if it names none.
func customerOf(m *mobilev1.Mutation) string {
	switch m.GetKind() {
	case kindUpdate:
		return m.GetCustomerId()
	case kindPlace:
		return m.GetOrder().GetCustomerId()
	case kindOpen:
		return m.GetCase().GetCustomerId()
	}
	return ""
}

// application is one mutation under way.
type application struct {
	server   *Server
	index    int
	mutation *mobilev1.Mutation
	only     bool // it is checked and not done
	result   *mobilev1.MutationResult
	header   metadata.MD
}

func (a *application) run(ctx context.Context) {
	if code := edge.KeyProblem(a.mutation.GetKey()); code != "" {
		a.refuse(a.server.problems.New(code, "", problem.At(a.at("key"), code, "The key is not one that the header Idempotency-Key could carry.")))
		return
	}
	var lines []string
	if line := a.mutation.GetIfMatch(); line != "" {
		lines = append(lines, line)
	}
	ifMatch, ok := edge.ParseIfMatch(lines)
	if !ok {
		a.refuse(a.server.problems.New(problem.IfMatchInvalid, "", problem.At(a.at("if_match"), problem.IfMatchInvalid, "The value is not one entity tag in double quotes.")))
		return
	}
	pairs := []string{edge.MetaPrincipal, principalOf(ctx), edge.MetaKey, a.mutation.GetKey()}
	if ifMatch != "" {
		pairs = append(pairs, edge.MetaIfMatch, ifMatch)
	}
	if p := principal(ctx); p.Restricted {
		pairs = append(pairs, edge.MetaCustomers, strings.Join(p.Customers, ","))
	}
	if v := metadata.ValueFromIncomingContext(ctx, edge.MetaRequestID); len(v) == 1 {
		pairs = append(pairs, edge.MetaRequestID, v[0])
	}
	if err := a.call(metadata.NewOutgoingContext(ctx, metadata.Pairs(pairs...))); err != nil {
		a.refuse(a.server.problems.FromError(err, func(f fault.Field) problem.Violation {
			return problem.At(a.at(f.Path), edge.ViolationCode(f.Reason), f.Description)
		}))
		return
	}
	a.result.Status = http.StatusOK
	if v := a.header.Get(edge.MetaCreated); len(v) > 0 && v[0] == "true" {
		a.result.Status = http.StatusCreated
		if v := a.header.Get(edge.MetaLocation); len(v) > 0 {
			a.result.Location = v[0]
		}
	}
}

// call sends the request that the mutation stands for.
func (a *application) call(ctx context.Context) error {
	m, header := a.mutation, grpc.Header(&a.header)
	switch m.GetKind() {
	case kindCreate:
		got, err := a.server.self.CreateCustomer(ctx, &mobilev1.CreateCustomerRequest{Customer: m.GetCustomer(), ValidateOnly: a.only}, header)
		a.result.Customer = got.GetCustomer()
		return err
	case kindUpdate:
		mask, err := maskOf(m.GetFields())
		if err != nil {
			return err
		}
		changed := m.GetCustomer()
		if changed == nil {
			changed = &mobilev1.Customer{} // every field named is cleared
		}
		got, err := a.server.self.UpdateCustomer(ctx, &mobilev1.UpdateCustomerRequest{
			CustomerId: m.GetCustomerId(), Customer: changed, UpdateMask: mask, ValidateOnly: a.only,
		}, header)
		a.result.Customer = got.GetCustomer()
		return err
	case kindPlace:
		got, err := a.server.self.PlaceOrder(ctx, &mobilev1.PlaceOrderRequest{Order: m.GetOrder(), ValidateOnly: a.only}, header)
		a.result.Order = got.GetOrder()
		return err
	case kindCancel:
		got, err := a.server.self.CancelOrder(ctx, &mobilev1.CancelOrderRequest{OrderId: m.GetOrderId(), ValidateOnly: a.only}, header)
		a.result.Order = got.GetOrder()
		return err
	case kindOpen:
		got, err := a.server.self.OpenCase(ctx, &mobilev1.OpenCaseRequest{Case: m.GetCase(), ValidateOnly: a.only}, header)
		a.result.Case = got.GetCase()
		return err
	}
	return fault.InvalidField("kind", "UNKNOWN_KIND", "this service does not know this kind of change")
}

// maskOf turns names as a client writes them, "address.postalCode" say, into paths.
func maskOf(names []string) (*fieldmaskpb.FieldMask, error) {
	mask := &fieldmaskpb.FieldMask{}
	for i, name := range names {
		var path []string
		message := (&mobilev1.Customer{}).ProtoReflect().Descriptor()
		for part := range strings.SplitSeq(name, ".") {
			var f protoreflect.FieldDescriptor
			if message != nil {
				f = message.Fields().ByJSONName(part)
			}
			if f == nil {
				return nil, fault.InvalidField(fmt.Sprintf("fields[%d]", i), "UNKNOWN_FIELD", "there is no such field")
			}
			path, message = append(path, string(f.Name())), f.Message()
		}
		mask.Paths = append(mask.Paths, strings.Join(path, "."))
	}
	if len(mask.Paths) == 0 {
		return nil, fault.InvalidField("fields", "EMPTY", "the change names no field")
	}
	return mask, nil
}

// at places a field of the mutation in the body of the whole request.
func (a *application) at(path string) string {
	return fmt.Sprintf("/mutations/%d", a.index) + edge.Pointer(path)
}

func (a *application) refuse(p problem.Problem) {
	a.result.Status = int32(p.Status) //nolint:gosec // an HTTP status
	a.result.Problem = &mobilev1.MutationProblem{
		Code: p.Code, Title: p.Title, Detail: p.Detail, Retryable: p.Retryable,
		RetryAfter: int32((p.RetryAfter + time.Second - 1) / time.Second), //nolint:gosec // minutes at most
	}
	for _, v := range p.Errors {
		one := &mobilev1.MutationViolation{Code: v.Code, Detail: v.Detail}
		if v.Pointer != nil {
			one.Pointer = *v.Pointer
		}
		a.result.Problem.Errors = append(a.result.Problem.Errors, one)
	}
}
