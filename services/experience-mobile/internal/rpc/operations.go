package rpc

import (
	"context"
	"net/url"
	"strconv"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/pkg/idempotent"
	"github.com/selfsame-io/selfsame/pkg/page"
	customerv1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/customer/v1"
	mobilev1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/mobile/v1"
	"github.com/selfsame-io/selfsame/services/experience-mobile/internal/edge"
	"github.com/selfsame-io/selfsame/services/experience-mobile/internal/problem"
)

// stateQueued is the state of an order that has no number yet.
const stateQueued = "QUEUED"

// longestWait is the longest that a client is told to wait before it asks again.
const longestWait = 300

// mayWait reports whether an order that failed may be placed later: the caller takes "later" for an answer, and the failure
// is one that may pass. Where the outcome is not known, the same reference finds the order if it was placed.
func mayWait(ctx context.Context, err error) bool {
	if v := metadata.ValueFromIncomingContext(ctx, edge.MetaAsync); len(v) != 1 || v[0] != "true" {
		return false
	}
	switch fault.KindOf(err) {
	case fault.Unavailable, fault.Timeout, fault.Uncertain, fault.Exhausted:
		return true
	default:
		return fault.ReasonOf(err) == problem.CustomerPending
	}
}

// queue has an order placed later, under the key that it was to be placed with now. It returns nil if that cannot be
// promised either: then the first failure is told.
func (s *Server) queue(ctx context.Context, below *customerv1.PlaceOrderRequest) *mobilev1.PlaceOrderResponse {
	var note notes
	got, err := s.screens.QueueOrder(idempotent.Child(ctx, "place-order", principalOf(ctx)),
		&customerv1.QueueOrderRequest{Order: below.GetOrder(), Owner: operationOwner(ctx)}, note.collect()...)
	if err != nil {
		return nil
	}
	note.pass(ctx, nil)
	setHeader(ctx, edge.MetaAccepted, "true", edge.MetaLocation, "/v1/operations/"+url.PathEscape(got.GetOperation().GetId()),
		edge.MetaRetry, wait(got.GetOperation()))
	return &mobilev1.PlaceOrderResponse{Order: &mobilev1.Order{
		State: stateQueued, CustomerId: got.GetOperation().GetCustomerId(), ItemCount: int32(len(below.GetOrder().GetItems())), //nolint:gosec // at most 200
	}}
}

// operationOwner names the caller to the process layer without telling who it is.
func operationOwner(ctx context.Context) string { return page.Hash("operation", principalOf(ctx)) }

// wait is in how many seconds it is worth asking again.
func wait(o *customerv1.Operation) string {
	seconds := int(time.Until(o.GetNextTryTime().AsTime()) / time.Second)
	return strconv.Itoa(min(max(seconds, 1), longestWait))
}

// GetOperation implements MobileService.
func (s *Server) GetOperation(ctx context.Context, req *mobilev1.GetOperationRequest) (*mobilev1.GetOperationResponse, error) {
	ctx, cancel := s.begin(ctx)
	defer cancel()
	got, err := s.screens.GetOperation(ctx, &customerv1.GetOperationRequest{OperationId: req.GetOperationId()}, grpc.WaitForReady(false))
	if err != nil {
		return nil, s.translate(err)
	}
	o := got.GetOperation()
	owned := o.GetOwner() == operationOwner(ctx)
	if owned {
		if owned, err = s.owns(ctx, o.GetCustomerId()); err != nil {
			return nil, err
		}
	}
	if !owned {
		return nil, fault.New(fault.NotFound, "OPERATION_UNKNOWN", "there is no such operation")
	}
	out := &mobilev1.Operation{OperationId: o.GetId(), Done: o.GetDone(), CreateTime: o.GetCreateTime()}
	switch {
	case !o.GetDone():
		setHeader(ctx, edge.MetaRetry, wait(o))
	case o.GetOrder() != nil:
		out.Response = orderOf(o.GetOrder(), o.GetCustomerId())
	default:
		p := s.problems.FromError(fault.New(fault.Precondition, o.GetReason(), "%s", o.GetMessage()), nil)
		out.Error = &mobilev1.MutationProblem{Code: p.Code, Title: p.Title, Detail: p.Detail}
	}
	return &mobilev1.GetOperationResponse{Operation: out}, nil
}
