package fault

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"slices"
	"strconv"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
)

// pushbackKey is the only retry hint that grpc-go obeys; it ignores google.rpc.RetryInfo. It must be a trailer:
// a header would end the client's retries altogether.
const pushbackKey = "grpc-retry-pushback-ms"

// UnaryServer turns the handler's error into a status and logs it once: Internal as an error with its cause,
// what we coped with as a warning, what the caller did wrong at debug level.
func UnaryServer(log *slog.Logger) grpc.UnaryServerInterceptor {
	log = orDiscard(log)
	return func(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
		resp, err := handler(ctx, req)
		if err == nil {
			return resp, nil
		}
		report(ctx, log, info.FullMethod, err)
		if ms, ok := pushback(err); ok {
			// Fails only outside a real call, where no client waits for the hint.
			_ = grpc.SetTrailer(ctx, metadata.Pairs(pushbackKey, ms))
		}
		return nil, told(err)
	}
}

// told returns what is told of err: the word of this service, also where the handler made a status that says nothing of whose it is.
func told(err error) error {
	s := ToStatus(err)
	if slices.ContainsFunc(s.Details(), func(d any) bool { _, ok := d.(*errdetails.ErrorInfo); return ok }) {
		return s.Err()
	}
	marked, err := s.WithDetails(&errdetails.ErrorInfo{Domain: Domain, Reason: fromStatus(s).reason()})
	if err != nil {
		return s.Err()
	}
	return marked.Err()
}

// StreamServer is UnaryServer for streams.
func StreamServer(log *slog.Logger) grpc.StreamServerInterceptor {
	log = orDiscard(log)
	return func(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
		err := handler(srv, ss)
		if err == nil {
			return nil
		}
		report(ss.Context(), log, info.FullMethod, err)
		if ms, ok := pushback(err); ok {
			ss.SetTrailer(metadata.Pairs(pushbackKey, ms))
		}
		return told(err)
	}
}

func orDiscard(log *slog.Logger) *slog.Logger {
	if log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return log
}

// pushback returns the value of the retry hint: a delay, or a negative number that forbids the retry.
func pushback(err error) (string, bool) {
	switch after := RetryAfter(err); {
	case KindOf(err) == Uncertain:
		return "-1", true
	case after > 0:
		ms := (after + time.Millisecond - 1) / time.Millisecond
		return strconv.FormatInt(int64(ms), 10), true
	default:
		return "", false
	}
}

func report(ctx context.Context, log *slog.Logger, method string, err error) {
	kind := KindOf(err)
	level := slog.LevelDebug
	switch kind {
	case Internal:
		level = slog.LevelError
	case Unavailable, Timeout, Uncertain, Exhausted:
		level = slog.LevelWarn
	}
	if !log.Enabled(ctx, level) {
		return
	}
	log.LogAttrs(ctx, level, "call failed",
		slog.String("method", method),
		slog.String("kind", kind.String()),
		slog.String("reason", ReasonOf(err)),
		slog.String("error", err.Error()))
}

// fromCall turns the status of a failed call into an *Error. What stands in the place of a service of this suite, or on the way to it - a
// proxy without a route, the bounds of a library - is not believed what only the service can know, that there is no such record, say:
// then the service is Unavailable, with the reason FOREIGN_ANSWER, and nothing is known of an effect.
func fromCall(err error) error {
	if err != nil && !Ours(err) {
		switch KindOf(err) {
		case Invalid, NotFound, AlreadyExists, Precondition, Conflict, Exhausted:
			return Wrap(Unavailable, ReasonForeignAnswer, err, "something else answered in the place of the service")
		case Internal, Unauthenticated, Forbidden, Unimplemented, Unavailable, Timeout, Canceled, Uncertain:
		}
	}
	return FromStatus(err)
}

// UnaryClient turns the status of a failed call into an *Error. The service that is called is one of this suite: of others it believes
// that they are away, refuse the caller or do not know the method, and nothing else.
func UnaryClient() grpc.UnaryClientInterceptor {
	return func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
		return fromCall(invoke(ctx, method, req, reply, cc, opts...))
	}
}

// StreamClient turns the status of a failed stream into an *Error; io.EOF stays io.EOF.
func StreamClient() grpc.StreamClientInterceptor {
	return func(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, streamer grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
		cs, err := streamer(ctx, desc, cc, method, opts...)
		if err != nil {
			return nil, fromCall(err)
		}
		return clientStream{cs}, nil
	}
}

type clientStream struct{ grpc.ClientStream }

func (s clientStream) Header() (metadata.MD, error) {
	md, err := s.ClientStream.Header()
	return md, streamErr(err)
}

func (s clientStream) SendMsg(m any) error { return streamErr(s.ClientStream.SendMsg(m)) }

func (s clientStream) RecvMsg(m any) error { return streamErr(s.ClientStream.RecvMsg(m)) }

func (s clientStream) CloseSend() error { return streamErr(s.ClientStream.CloseSend()) }

func streamErr(err error) error {
	if err == nil || errors.Is(err, io.EOF) {
		return err
	}
	return fromCall(err)
}
