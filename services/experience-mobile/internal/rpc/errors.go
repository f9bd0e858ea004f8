package rpc

import (
	"strings"

	"google.golang.org/grpc/connectivity"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/pkg/idempotent"
)

// Reasons of failures that are ours although the process layer reported them.
const (
	reasonUpstreamRefused = "UPSTREAM_REFUSED"
)

// translate tells an error of the process layer from the client's view.
func (s *Server) translate(err error) error {
	e, ok := fault.As(err)
	if !ok {
		return fault.Wrap(fault.Internal, "", err, "internal error")
	}
	switch e.Kind {
	case fault.Invalid:
		return invalid(e)
	case fault.Unauthenticated, fault.Forbidden, fault.Unimplemented:
		// The client was let in; it is this service that the process layer did not accept.
		return fault.Wrap(fault.Internal, reasonUpstreamRefused, err, "internal error")
	case fault.Internal:
		reason := fault.ReasonInternal
		if fault.ReasonOf(err) == idempotent.ReasonUnreadable {
			reason = idempotent.ReasonUnreadable // the client is to know that its change was made
		}
		return fault.Wrap(fault.Internal, reason, err, "internal error")
	case fault.Unavailable:
		out := fault.Wrap(fault.Unavailable, fault.ReasonOf(err), err, "the customer service does not answer")
		out.RetryAfter = e.RetryAfter
		return out
	case fault.Timeout:
		if state := s.state(); state != connectivity.Ready {
			return fault.Wrap(fault.Unavailable, fault.ReasonUnavailable, err, "the customer service does not answer")
		}
		return fault.Wrap(fault.Timeout, fault.ReasonOf(err), err, "the customer service did not answer in time")
	case fault.NotFound, fault.AlreadyExists, fault.Precondition, fault.Conflict, fault.Exhausted, fault.Canceled, fault.Uncertain:
	}
	return e
}

// invalid keeps a violation that the client can correct. Anything else invalid in a request that we made is our
// defect: the key and the ids in it do not come from the client.
func invalid(e *fault.Error) error {
	reason := fault.ReasonOf(e)
	if strings.HasPrefix(reason, "IDEMPOTENCY_") {
		return fault.Wrap(fault.Internal, reasonUpstreamRefused, e, "internal error")
	}
	out := *e
	out.Fields = nil
	for _, f := range e.Fields {
		f.Path = clientPath(f.Path)
		out.Fields = append(out.Fields, f)
	}
	return &out
}

// clientPath names a field of the process layer as the mobile contract does; they differ in the id only.
func clientPath(path string) string {
	switch path {
	case "id", "customer.id":
		return "customer_id"
	}
	return path
}
