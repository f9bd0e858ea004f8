package pubsub

import (
	"context"
	"errors"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/auth"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/pubsub/eventbus"
)

// stream runs one subscription; it always returns an error.
func (c *Client) stream(ctx context.Context, first *eventbus.FetchRequest, at Position, handle func(context.Context, Batch) error) error {
	session, err := c.sessions.Session(ctx)
	if err != nil {
		return err
	}
	err = c.receive(ctx, session, first, at, handle)
	if status.Code(err) == codes.Unauthenticated {
		if _, renewErr := c.sessions.Renew(ctx, session); renewErr != nil {
			return renewErr
		}
		return fault.Wrap(fault.Unavailable, ReasonFeedUnavailable, err, "the session of the change stream has ended")
	}
	return err
}

func (c *Client) receive(ctx context.Context, session auth.Session, first *eventbus.FetchRequest, at Position, handle func(context.Context, Batch) error) error {
	sctx, cancel := context.WithCancelCause(withSession(ctx, session))
	defer cancel(nil)
	dog := time.AfterFunc(c.watchdog, func() { cancel(errSilent) })
	defer dog.Stop()

	stream, err := c.api.Subscribe(sctx)
	if err != nil {
		return c.streamError(sctx, err, nil)
	}
	// A failed Send shows its reason in Recv.
	_ = stream.Send(first)
	for {
		answer, err := stream.Recv()
		if err != nil {
			return c.streamError(sctx, err, stream.Trailer())
		}
		dog.Stop() // the time the handler takes is not the stream's silence
		c.sessions.Accepted(session)
		batch, err := c.batch(ctx, session, answer, at)
		if err != nil {
			return err
		}
		if err := handle(ctx, batch); err != nil {
			return err
		}
		at = batch.Position
		if pending := answer.GetPendingNumRequested(); pending <= maxDemand/2 {
			_ = stream.Send(&eventbus.FetchRequest{TopicName: first.GetTopicName(), NumRequested: maxDemand - max(pending, 0)})
		}
		dog.Reset(c.watchdog)
	}
}

// withSession adds what every call of the API carries.
func withSession(ctx context.Context, s auth.Session) context.Context {
	return metadata.AppendToOutgoingContext(ctx, "accesstoken", s.Token, "instanceurl", s.InstanceURL, "tenantid", s.OrgID)
}

// streamError classifies the end of a stream. UNAUTHENTICATED is returned as it is, for the caller renews the session.
func (c *Client) streamError(ctx context.Context, err error, trailer metadata.MD) error {
	if errors.Is(context.Cause(ctx), errSilent) {
		return fault.Wrap(fault.Unavailable, ReasonFeedUnavailable, errSilent, "the change stream went silent")
	}
	code := strings.Join(trailer.Get("error-code"), " ")
	s := status.Convert(err)
	replay := strings.Contains(code, "replayid") || s.Code() == codes.InvalidArgument && code == "" && strings.Contains(strings.ToLower(s.Message()), "replay")
	switch {
	case s.Code() == codes.Unauthenticated:
		return err
	case replay:
		return fault.Wrap(fault.Precondition, fault.ReasonResumeTokenExpired, err, "Salesforce no longer keeps the changes after this position; read everything again")
	case s.Code() == codes.NotFound, s.Code() == codes.PermissionDenied:
		return fault.Wrap(fault.Precondition, ReasonFeedMissing, err, "the org does not publish these changes to the integration user; enable Change Data Capture for them")
	case s.Code() == codes.InvalidArgument, s.Code() == codes.Unimplemented:
		return fault.Wrap(fault.Internal, ReasonFeedUnavailable, err, "the change feed refuses the subscription")
	case s.Code() == codes.ResourceExhausted:
		return fault.Wrap(fault.Exhausted, ReasonFeedUnavailable, err, "the org has too many subscribers").WithRetryAfter(10 * time.Second)
	}
	// Everything else, the orderly end of the stream included, is a reason to subscribe again.
	return fault.Wrap(fault.Unavailable, ReasonFeedUnavailable, err, "the change stream ended")
}
