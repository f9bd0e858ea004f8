package faultproxy

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
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
	"google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// callee counts what it committed and echoes what it was told.
type callee struct {
	grpc_testing.UnimplementedTestServiceServer
	commits  atomic.Int64
	deadline atomic.Int64
}

func (c *callee) UnaryCall(ctx context.Context, in *grpc_testing.SimpleRequest) (*grpc_testing.SimpleResponse, error) {
	if d, ok := ctx.Deadline(); ok {
		c.deadline.Store(int64(time.Until(d)))
	}
	if in.GetResponseStatus().GetCode() != 0 {
		_ = grpc.SetTrailer(ctx, metadata.Pairs("grpc-retry-pushback-ms", "70"))
		st, err := status.New(codes.Code(in.GetResponseStatus().GetCode()), "refused").WithDetails(&errdetails.ErrorInfo{Reason: "WHY"})
		if err != nil {
			return nil, err
		}
		return nil, st.Err()
	}
	c.commits.Add(1)
	md, _ := metadata.FromIncomingContext(ctx)
	if err := grpc.SetHeader(ctx, metadata.Pairs("saw", strings.Join(md.Get("idempotency-key"), ","))); err != nil {
		return nil, err
	}
	_ = grpc.SetTrailer(ctx, metadata.Pairs("idempotency-status", "executed"))
	return &grpc_testing.SimpleResponse{Payload: in.GetPayload()}, nil
}

func (c *callee) StreamingOutputCall(_ *grpc_testing.StreamingOutputCallRequest, s grpc.ServerStreamingServer[grpc_testing.StreamingOutputCallResponse]) error {
	for range 3 {
		if err := s.Send(&grpc_testing.StreamingOutputCallResponse{}); err != nil {
			return err
		}
	}
	<-s.Context().Done()
	return s.Context().Err()
}

func (c *callee) FullDuplexCall(s grpc.BidiStreamingServer[grpc_testing.StreamingOutputCallRequest, grpc_testing.StreamingOutputCallResponse]) error {
	for {
		in, err := s.Recv()
		if errors.Is(err, io.EOF) {
			s.SetTrailer(metadata.Pairs("end", "yes"))
			return nil
		}
		if err != nil {
			return err
		}
		if err := s.Send(&grpc_testing.StreamingOutputCallResponse{Payload: in.GetPayload()}); err != nil {
			return err
		}
	}
}

func setup(t *testing.T, faults ...Fault) (*callee, *Proxy, grpc_testing.TestServiceClient) {
	t.Helper()
	listen := func() net.Listener {
		lis, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
		require.NoError(t, err)
		return lis
	}
	c, back, front := &callee{}, listen(), listen()
	srv := grpc.NewServer()
	grpc_testing.RegisterTestServiceServer(srv, c)
	served := make(chan error, 2)
	go func() { served <- srv.Serve(back) }()

	p, err := New(Options{Target: back.Addr().String(), Faults: faults})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	go func() { served <- p.Run(ctx, front, nil) }()

	conn, err := grpc.NewClient(front.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDisableRetry())
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, conn.Close())
		cancel()
		srv.Stop()
		for range 2 {
			<-served
		}
	})
	return c, p, grpc_testing.NewTestServiceClient(conn)
}

func TestProxy(t *testing.T) {
	t.Parallel()

	t.Run("a unary call passes with metadata, trailers, deadline and body", func(t *testing.T) {
		t.Parallel()
		c, _, client := setup(t)
		ctx, cancel := context.WithTimeout(metadata.AppendToOutgoingContext(t.Context(), "idempotency-key", "k1"), 20*time.Second)
		defer cancel()
		var header, trailer metadata.MD
		out, err := client.UnaryCall(ctx, &grpc_testing.SimpleRequest{Payload: &grpc_testing.Payload{Body: []byte("hello")}}, grpc.Header(&header), grpc.Trailer(&trailer))
		require.NoError(t, err)
		require.Equal(t, "hello", string(out.GetPayload().GetBody()))
		require.Equal(t, []string{"k1"}, header.Get("saw"))
		require.Equal(t, []string{"executed"}, trailer.Get("idempotency-status"))
		require.Positive(t, c.deadline.Load())
		require.LessOrEqual(t, time.Duration(c.deadline.Load()), 20*time.Second)
	})

	t.Run("a refusal passes with its details and trailers and without headers", func(t *testing.T) {
		t.Parallel()
		_, _, client := setup(t)
		var header, trailer metadata.MD
		_, err := client.UnaryCall(t.Context(), &grpc_testing.SimpleRequest{ResponseStatus: &grpc_testing.EchoStatus{Code: int32(codes.ResourceExhausted)}}, grpc.Header(&header), grpc.Trailer(&trailer))
		st := status.Convert(err)
		require.Equal(t, codes.ResourceExhausted, st.Code())
		require.Len(t, st.Details(), 1)
		require.Equal(t, []string{"70"}, trailer.Get("grpc-retry-pushback-ms"))
		require.Empty(t, header)
	})

	t.Run("a held answer comes late, and the callee has done its work before", func(t *testing.T) {
		t.Parallel()
		c, p, client := setup(t, Fault{Kind: HoldAnswer, Delay: time.Hour, Method: "Unary*", Times: 1})
		ctx, leave := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() {
			_, err := client.UnaryCall(ctx, &grpc_testing.SimpleRequest{})
			done <- err
		}()
		require.Eventually(t, func() bool { return c.commits.Load() == 1 }, time.Minute, time.Millisecond)
		require.Equal(t, 1, p.Faults()[0].Hits)
		select {
		case err := <-done:
			require.Fail(t, "the answer was not held", "%v", err)
		default:
		}
		leave()
		require.Equal(t, codes.Canceled, status.Code(<-done))
		_, err := p.Set(Fault{Kind: HoldAnswer})
		require.Error(t, err, "for how long?")
	})

	t.Run("a lost acknowledgement is unavailable to the caller and committed by the callee", func(t *testing.T) {
		t.Parallel()
		c, p, client := setup(t, Fault{Kind: LoseAck, Method: "Unary*", Times: 1})
		var header metadata.MD
		_, err := client.UnaryCall(t.Context(), &grpc_testing.SimpleRequest{}, grpc.Header(&header))
		require.Equal(t, codes.Unavailable, status.Code(err))
		require.Empty(t, header, "the answer's headers are lost too")
		require.EqualValues(t, 1, c.commits.Load())

		_, err = client.UnaryCall(t.Context(), &grpc_testing.SimpleRequest{})
		require.NoError(t, err, "the fault was set once")
		require.EqualValues(t, 2, c.commits.Load())
		require.Equal(t, 1, p.Faults()[0].Hits)
	})

	t.Run("a bidirectional stream passes both ways and ends with its trailer", func(t *testing.T) {
		t.Parallel()
		_, _, client := setup(t)
		s, err := client.FullDuplexCall(t.Context())
		require.NoError(t, err)
		for _, body := range []string{"a", "b", "c"} {
			require.NoError(t, s.Send(&grpc_testing.StreamingOutputCallRequest{Payload: &grpc_testing.Payload{Body: []byte(body)}}))
			out, err := s.Recv()
			require.NoError(t, err)
			require.Equal(t, body, string(out.GetPayload().GetBody()))
		}
		require.NoError(t, s.CloseSend())
		_, err = s.Recv()
		require.ErrorIs(t, err, io.EOF)
		require.Equal(t, []string{"yes"}, s.Trailer().Get("end"))
	})

	t.Run("going down cuts streams under way, refuses calls, and clearing it lets them pass", func(t *testing.T) {
		t.Parallel()
		c, p, client := setup(t)
		s, err := client.StreamingOutputCall(t.Context(), &grpc_testing.StreamingOutputCallRequest{})
		require.NoError(t, err)
		for range 3 {
			_, err = s.Recv()
			require.NoError(t, err)
		}
		f, err := p.Set(Fault{Kind: Down})
		require.NoError(t, err)
		_, err = s.Recv()
		require.Equal(t, codes.Unavailable, status.Code(err))
		_, err = client.UnaryCall(t.Context(), &grpc_testing.SimpleRequest{})
		require.Equal(t, codes.Unavailable, status.Code(err))
		require.Zero(t, c.commits.Load())

		require.True(t, p.Clear(f.ID))
		_, err = client.UnaryCall(t.Context(), &grpc_testing.SimpleRequest{})
		require.NoError(t, err)
	})

	t.Run("a delay ends with the caller's deadline", func(t *testing.T) {
		t.Parallel()
		c, _, client := setup(t, Fault{Kind: Delay, Delay: time.Hour})
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		_, err := client.UnaryCall(ctx, &grpc_testing.SimpleRequest{})
		require.Equal(t, codes.DeadlineExceeded, status.Code(err))
		require.Zero(t, c.commits.Load())
	})
}

func TestProxy_Control(t *testing.T) {
	t.Parallel()
	do := func(t *testing.T, h http.Handler, method, path, body string) (int, map[string]any) {
		t.Helper()
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), method, path, strings.NewReader(body)))
		out := map[string]any{}
		if w.Body.Len() > 0 {
			require.NoError(t, json.Unmarshal(w.Body.Bytes(), &out))
		}
		return w.Code, out
	}

	t.Run("a fault is set, counted, listed and cleared", func(t *testing.T) {
		t.Parallel()
		_, p, client := setup(t)
		h := p.Control()
		code, out := do(t, h, "POST", "/faults", `{"kind":"lose_ack","method":"UnaryCall","times":1}`)
		require.Equal(t, http.StatusCreated, code)
		_, err := client.UnaryCall(t.Context(), &grpc_testing.SimpleRequest{})
		require.Equal(t, codes.Unavailable, status.Code(err))
		id, _ := out["id"].(string)
		_, out = do(t, h, "GET", "/faults", "")
		require.Contains(t, out["faults"], map[string]any{"id": id, "kind": "lose_ack", "method": "UnaryCall", "times": 1.0, "hits": 1.0})
		code, _ = do(t, h, "DELETE", "/faults/"+id, "")
		require.Equal(t, http.StatusNoContent, code)
		code, _ = do(t, h, "DELETE", "/faults/"+id, "")
		require.Equal(t, http.StatusNotFound, code)
		_, out = do(t, h, "GET", "/calls", "")
		require.Equal(t, map[string]any{"/grpc.testing.TestService/UnaryCall": 1.0}, out["totals"])
	})

	for name, body := range map[string]string{
		"an unknown kind":            `{"kind":"explode"}`,
		"an unknown field":           `{"kind":"down","often":3}`,
		"a delay without a length":   `{"kind":"delay"}`,
		"a length without a delay":   `{"kind":"down","delay_ms":5}`,
		"a negative number of times": `{"kind":"down","times":-1}`,
		"a broken pattern":           `{"kind":"down","method":"[a"}`,
		"something that is not JSON": `down`,
	} {
		t.Run(name+" is refused", func(t *testing.T) {
			t.Parallel()
			p, err := New(Options{Target: "127.0.0.1:1"})
			require.NoError(t, err)
			t.Cleanup(func() { require.NoError(t, p.conn.Close()) })
			code, out := do(t, p.Control(), "POST", "/faults", body)
			require.Equal(t, http.StatusBadRequest, code)
			require.NotEmpty(t, out["error"])
			require.Empty(t, p.Faults())
		})
	}
}
