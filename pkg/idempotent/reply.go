package idempotent

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/pkg/telemetry"
)

// reply answers a call that is not to be executed.
func (a *attempt) reply(ctx context.Context, res Result) (any, error) {
	n := &a.note
	n.found(res)
	switch res.Outcome {
	case Replay:
		return a.replay(ctx, res)
	case Mismatch:
		n.outcome = outcomeMismatch
		return nil, fault.New(fault.Precondition, ReasonKeyReused, "the key was used for another request; use a new key")
	case InProgress:
		n.outcome = outcomeInProgress
		a.tell(ctx, true, StatusInProgress, nil)
		return nil, fault.New(fault.Conflict, ReasonInProgress, "a call with this key is in progress").WithRetryAfter(seconds(res.Remaining))
	case Gone:
		return nil, a.gone(res)
	default:
		n.outcome = outcomeUncertain
		return nil, fault.New(fault.Uncertain, fault.ReasonOutcomeUncertain, "an earlier attempt with this key may have been executed")
	}
}

// seconds rounds up, between 1 s and 30 s.
func seconds(d time.Duration) time.Duration {
	return min(max((d+time.Second-1)/time.Second*time.Second, time.Second), 30*time.Second)
}

func (a *attempt) gone(res Result) error {
	a.note.outcome = outcomeGone
	e := fault.New(fault.Precondition, ReasonResultGone, "the call was executed, its answer is no longer kept")
	if res.Answer.Resource != "" {
		e = e.WithMeta("resource", res.Answer.Resource)
	}
	return e
}

func (a *attempt) replay(ctx context.Context, res Result) (any, error) {
	s := a.server
	if span := trace.SpanFromContext(ctx); span.IsRecording() && !a.note.own {
		if link, ok := telemetry.LinkTo(res.Trace); ok {
			span.AddLink(link)
		}
	}
	plain, err := s.unseal(res.Answer.Body, func() []byte { return aad(res.Digest, res.Fence, "") })
	var k kept
	if err == nil {
		k, err = decode(plain, a.policy.answers)
	}
	if err != nil {
		// It was executed: executing again would be worse than no answer.
		a.note.outcome = outcomeUnreadable
		s.Log.ErrorContext(ctx, "stored idempotency answer cannot be read", slog.String(telemetry.KeyMethod, a.method),
			slog.String("key_digest", res.Digest.Short()), slog.String(telemetry.KeyError, err.Error()))
		return nil, fault.Wrap(fault.Internal, ReasonUnreadable, err, "the call was executed, its stored answer cannot be read")
	}
	said := StatusReplayed
	if a.note.own {
		said = StatusExecuted
	} else {
		a.note.outcome = outcomeReplayed
		if a.note.waited {
			a.note.outcome = outcomeWaited
		}
	}
	switch {
	case k.status != nil:
		a.tell(ctx, true, said, k.header)
		return nil, status.FromProto(k.status).Err()
	case k.omitted:
		return a.refetch(ctx, res, k.header)
	default:
		a.tell(ctx, false, said, k.header)
		return k.message, nil
	}
}

// refetch answers for a response that was too large to keep: with what the resource is now.
func (a *attempt) refetch(ctx context.Context, res Result, header metadata.MD) (any, error) {
	if a.server.Refetch == nil || res.Answer.Resource == "" {
		return nil, a.gone(res)
	}
	msg, err := a.server.Refetch(ctx, a.method, res.Answer.Resource, a.request)
	if err != nil {
		if fault.Is(err, fault.NotFound) {
			return nil, a.gone(res)
		}
		return nil, err
	}
	if msg == nil {
		return nil, errors.New("refetch returned neither a response nor an error")
	}
	a.tell(ctx, false, StatusReplayed, metadata.Join(header, metadata.Pairs(BodyMetadata, BodyRefetched)))
	return msg, nil
}

// tell sets the status of the key, and what was kept of the headers: as headers, or as trailers of an error.
func (a *attempt) tell(ctx context.Context, failed bool, said string, more metadata.MD) {
	set := grpc.SetHeader
	if failed {
		set = grpc.SetTrailer
	}
	if said == StatusReplayed && len(more) == 0 {
		_ = set(ctx, a.server.replayed) // fails only if there is nobody to tell
		return
	}
	md := make(metadata.MD, 1+len(more))
	for name, values := range more {
		md[name] = values
	}
	md[StatusMetadata] = []string{said}
	_ = set(ctx, md)
}
