package fault_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	"github.com/selfsame-io/selfsame/pkg/fault"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var kinds = []fault.Kind{
	fault.Internal, fault.Invalid, fault.Unauthenticated, fault.Forbidden, fault.NotFound, fault.AlreadyExists,
	fault.Precondition, fault.Conflict, fault.Exhausted, fault.Unavailable, fault.Timeout, fault.Canceled,
	fault.Uncertain, fault.Unimplemented,
}

func TestRoundTrip(t *testing.T) {
	t.Parallel()
	for _, k := range kinds {
		t.Run(k.String()+" keeps kind, reason, message and details", func(t *testing.T) {
			t.Parallel()
			sent := &fault.Error{
				Kind: k, Reason: "SOME_REASON", Message: "what happened", RetryAfter: 1500 * time.Millisecond,
				Meta:   map[string]string{"limit": "5"},
				Fields: []fault.Field{{Path: "customer.email", Reason: "string.email", Description: "must be an address"}},
				Cause:  errors.New("secret cause"),
			}
			st := fault.ToStatus(fmt.Errorf("while testing: %w", sent))
			require.NotContains(t, st.String(), "secret cause")
			require.NotContains(t, st.String(), "while testing")
			got, ok := fault.As(fault.FromStatus(st.Err()))
			require.True(t, ok)
			want := *sent
			want.Cause = nil
			require.Equal(t, &want, got)
		})
		t.Run(k.String()+" has a reason of its own", func(t *testing.T) {
			t.Parallel()
			got := fault.FromStatus(fault.ToStatus(&fault.Error{Kind: k}).Err())
			require.Equal(t, k, fault.KindOf(got))
			require.Equal(t, fault.ReasonOf(&fault.Error{Kind: k}), fault.ReasonOf(got))
		})
	}
}

func TestToStatus(t *testing.T) {
	t.Parallel()
	t.Run("an error nobody classified leaves with a fixed text", func(t *testing.T) {
		t.Parallel()
		st := fault.ToStatus(errors.New("password hunter2"))
		require.Equal(t, codes.Internal, st.Code())
		require.Equal(t, "internal error", st.Message())
	})
	t.Run("a status made by a handler passes", func(t *testing.T) {
		t.Parallel()
		st := fault.ToStatus(fmt.Errorf("private words: %w", status.Error(codes.OutOfRange, "page 9")))
		require.Equal(t, codes.OutOfRange, st.Code())
		require.Equal(t, "page 9", st.Message())
	})
	t.Run("the end of a context has its code", func(t *testing.T) {
		t.Parallel()
		require.Equal(t, codes.DeadlineExceeded, fault.ToStatus(fmt.Errorf("read: %w", context.DeadlineExceeded)).Code())
		require.Equal(t, codes.Canceled, fault.ToStatus(context.Canceled).Code())
		require.Equal(t, codes.OK, fault.ToStatus(nil).Code())
	})
	t.Run("broken UTF-8 does not cost the details", func(t *testing.T) {
		t.Parallel()
		e := fault.New(fault.Invalid, "BAD\xff", "text \xff").WithMeta("k\xff", "v\xff")
		got, ok := fault.As(fault.FromStatus(fault.ToStatus(e).Err()))
		require.True(t, ok)
		require.Equal(t, "BAD\uFFFD", got.Reason)
		require.Equal(t, map[string]string{"k\uFFFD": "v\uFFFD"}, got.Meta)
	})
	t.Run("status.Code sees the kind without an interceptor, and no cause", func(t *testing.T) {
		t.Parallel()
		err := fault.Wrap(fault.NotFound, "", errors.New("row 7"), "no such customer")
		require.Equal(t, codes.NotFound, status.Code(err))
		require.NotContains(t, status.Convert(err).String(), "row 7")
	})
}

func TestRetryable(t *testing.T) {
	t.Parallel()
	yes := map[fault.Kind]bool{fault.Unavailable: true, fault.Conflict: true, fault.Timeout: true}
	for _, k := range kinds {
		require.Equal(t, yes[k], fault.Retryable(fault.New(k, "", "x")), "%v", k)
	}
	require.True(t, fault.Retryable(fault.New(fault.Exhausted, "", "x").WithRetryAfter(time.Second)))
	require.False(t, fault.Retryable(errors.New("who knows")))
	require.False(t, fault.Retryable(nil))
}

func TestCopiesLeaveTheOriginal(t *testing.T) {
	t.Parallel()
	base := fault.New(fault.Conflict, "R", "m").WithMeta("a", "1")
	_ = base.WithMeta("b", "2")
	_ = base.WithRetryAfter(time.Second)
	require.Equal(t, map[string]string{"a": "1"}, base.Meta)
	require.Zero(t, base.RetryAfter)
}

// failing answers every call with the same error.
type failing struct {
	healthpb.UnimplementedHealthServer
	err error
}

func (f failing) Check(context.Context, *healthpb.HealthCheckRequest) (*healthpb.HealthCheckResponse, error) {
	return nil, f.err
}

func (f failing) Watch(_ *healthpb.HealthCheckRequest, s healthpb.Health_WatchServer) error {
	if err := s.Send(&healthpb.HealthCheckResponse{}); err != nil {
		return err
	}
	return f.err
}

func dial(t *testing.T, err error, log *slog.Logger) healthpb.HealthClient {
	t.Helper()
	srv := grpc.NewServer(grpc.UnaryInterceptor(fault.UnaryServer(log)), grpc.StreamInterceptor(fault.StreamServer(log)))
	healthpb.RegisterHealthServer(srv, failing{err: err})
	return connect(t, srv)
}

// connect returns a client, as of this suite, of srv.
func connect(t *testing.T, srv *grpc.Server) healthpb.HealthClient {
	t.Helper()
	ln := bufconn.Listen(1 << 16)
	done := make(chan error, 1)
	go func() { done <- srv.Serve(ln) }()
	conn, err := grpc.NewClient("passthrough:///x", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return ln.DialContext(ctx) }),
		grpc.WithUnaryInterceptor(fault.UnaryClient()), grpc.WithStreamInterceptor(fault.StreamClient()))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, conn.Close()); srv.Stop(); require.NoError(t, <-done) })
	return healthpb.NewHealthClient(conn)
}

func TestInterceptors(t *testing.T) {
	t.Parallel()
	t.Run("the client sees the server's error, the log its cause, once", func(t *testing.T) {
		t.Parallel()
		var logs bytes.Buffer
		sent := fault.Wrap(fault.Internal, "BROKEN", errors.New("disk on fire"), "cannot do that")
		_, err := dial(t, sent, slog.New(slog.NewJSONHandler(&logs, nil))).Check(t.Context(), &healthpb.HealthCheckRequest{})
		require.Equal(t, fault.Internal, fault.KindOf(err))
		require.Equal(t, "BROKEN", fault.ReasonOf(err))
		require.NotContains(t, err.Error(), "fire")
		require.Equal(t, 1, bytes.Count(logs.Bytes(), []byte("disk on fire")))
	})
	t.Run("a stream ends with the same error", func(t *testing.T) {
		t.Parallel()
		sent := fault.New(fault.Precondition, fault.ReasonResumeTokenExpired, "too old").WithRetryAfter(time.Second)
		stream, err := dial(t, sent, nil).Watch(t.Context(), &healthpb.HealthCheckRequest{})
		require.NoError(t, err)
		_, err = stream.Recv()
		require.NoError(t, err)
		_, err = stream.Recv()
		require.Equal(t, fault.ReasonResumeTokenExpired, fault.ReasonOf(err))
		require.Equal(t, []string{"1000"}, stream.Trailer()["grpc-retry-pushback-ms"])
	})
	t.Run("a stream that ends well ends with EOF", func(t *testing.T) {
		t.Parallel()
		stream, err := dial(t, nil, nil).Watch(t.Context(), &healthpb.HealthCheckRequest{})
		require.NoError(t, err)
		_, err = stream.Recv()
		require.NoError(t, err)
		_, err = stream.Recv()
		require.Equal(t, io.EOF, err)
	})
	for name, tt := range map[string]struct {
		err  error
		want []string
	}{
		"a delay is rounded up to milliseconds": {fault.New(fault.Unavailable, "", "x").WithRetryAfter(1500 * time.Microsecond), []string{"2"}},
		"an uncertain outcome forbids a retry":  {fault.New(fault.Uncertain, "", "x").WithRetryAfter(time.Second), []string{"-1"}},
		"nothing is said about anything else":   {fault.New(fault.Invalid, "", "x"), nil},
	} {
		t.Run("pushback: "+name, func(t *testing.T) {
			t.Parallel()
			var header, trailer metadata.MD
			_, err := dial(t, tt.err, nil).Check(t.Context(), &healthpb.HealthCheckRequest{}, grpc.Header(&header), grpc.Trailer(&trailer))
			require.Equal(t, fault.KindOf(tt.err), fault.KindOf(err))
			require.Equal(t, tt.want, trailer["grpc-retry-pushback-ms"])
			require.Empty(t, header["grpc-retry-pushback-ms"], "a header would end the client's retries")
		})
	}
	t.Run("the wire carries google.rpc details", func(t *testing.T) {
		t.Parallel()
		st := fault.ToStatus(fault.InvalidField("name", "", "is empty").WithRetryAfter(time.Second))
		var types []string
		for _, d := range st.Details() {
			types = append(types, fmt.Sprintf("%T", d))
		}
		require.Equal(t, []string{"*errdetails.ErrorInfo", "*errdetails.RetryInfo", "*errdetails.BadRequest"}, types)
		info, ok := st.Details()[0].(*errdetails.ErrorInfo)
		require.True(t, ok)
		require.Equal(t, fault.Domain, info.GetDomain())
	})
}

func ExampleWrap() {
	cause := errors.New("dial tcp 10.0.0.7:5432: connection refused")
	err := fault.Wrap(fault.Unavailable, fault.ReasonStoreUnavailable, cause, "the database does not answer")

	fmt.Println(err)                   // for the log
	fmt.Println(fault.ToStatus(err))   // for the caller
	fmt.Println(fault.Retryable(err))  // for the decision
	fmt.Println(errors.Is(err, cause)) // for the code in between
	// Output:
	// STORE_UNAVAILABLE: the database does not answer: dial tcp 10.0.0.7:5432: connection refused
	// rpc error: code = Unavailable desc = the database does not answer
	// true
	// true
}

func TestResumeTime(t *testing.T) {
	t.Parallel()
	refused := fault.New(fault.Exhausted, "API_BUDGET_EXHAUSTED", "kept for others")
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	require.True(t, fault.ResumeTime(fmt.Errorf("write: %w", refused.WithMeta(fault.MetaResume, at.Format(time.RFC3339)))).Equal(at))
	for _, err := range []error{nil, errors.New("x"), refused, refused.WithMeta(fault.MetaResume, "soon")} {
		require.Zero(t, fault.ResumeTime(err))
	}
}

func TestOurs(t *testing.T) {
	t.Parallel()
	foreign, err := status.New(codes.NotFound, "no route").WithDetails(&errdetails.ErrorInfo{Domain: "proxy.example", Reason: "NO_ROUTE"})
	require.NoError(t, err)
	for name, e := range map[string]error{"nil": nil, "plain": errors.New("x"), "a status": status.Error(codes.NotFound, "x"), "of another": foreign.Err(), "a deadline": context.DeadlineExceeded} {
		require.False(t, fault.Ours(e), name)
	}
	made := fault.New(fault.NotFound, "X", "there is none")
	for name, e := range map[string]error{"made here": made, "wrapped": fmt.Errorf("reading: %w", made), "over the wire": fault.ToStatus(made).Err(), "over the wire, read": fault.FromStatus(fault.ToStatus(made).Err())} {
		require.True(t, fault.Ours(e), name)
	}
}

// TestClient_Strangers puts something else in the place of the service: with each code, and with the ErrorInfo of another domain.
func TestClient_Strangers(t *testing.T) {
	t.Parallel()
	var code atomic.Uint32
	srv := grpc.NewServer(grpc.UnknownServiceHandler(func(any, grpc.ServerStream) error {
		s, err := status.New(codes.Code(code.Load()), "no route").WithDetails(&errdetails.ErrorInfo{Domain: "proxy.example", Reason: "NO_ROUTE"})
		require.NoError(t, err)
		return s.Err()
	}))
	client := connect(t, srv)
	for c := codes.Canceled; c <= codes.Unauthenticated; c++ {
		code.Store(uint32(c))
		want, believed := fault.KindOf(status.Error(c, "")), true
		switch want {
		case fault.Invalid, fault.NotFound, fault.AlreadyExists, fault.Precondition, fault.Conflict, fault.Exhausted:
			want, believed = fault.Unavailable, false
		}
		_, unary := client.Check(t.Context(), &healthpb.HealthCheckRequest{})
		stream, err := client.Watch(t.Context(), &healthpb.HealthCheckRequest{})
		require.NoError(t, err)
		_, streamed := stream.Recv()
		for _, err := range []error{unary, streamed} {
			require.Equal(t, want, fault.KindOf(err), c)
			require.Equal(t, believed, fault.ReasonOf(err) == "NO_ROUTE", c)
			require.Equal(t, believed, fault.ReasonOf(err) != fault.ReasonForeignAnswer, c)
			require.Equal(t, believed, strings.Contains(fault.ToStatus(err).Message(), "route"), c)
		}
	}
}
