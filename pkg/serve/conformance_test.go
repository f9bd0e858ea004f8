package serve_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/pkg/serve"
	_ "github.com/selfsame-io/selfsame/proto/gen/selfsame/customer/v1"   // to be looked at
	_ "github.com/selfsame-io/selfsame/proto/gen/selfsame/erp/v1"        // to be looked at
	_ "github.com/selfsame-io/selfsame/proto/gen/selfsame/salesforce/v1" // to be looked at
)

// TestConformance is the part of the table of idempotency that is the connection's work.
func TestConformance(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		run  func(t *testing.T)
	}{
		{"J-03 under overload repeated calls stop", overload},
		{"J-08 a server that is not healthy gets no new calls", unhealthy},
		{"J-10 who pings too often is sent away, and our own client does not", pings},
		{"J-12 nothing that must not be repeated is, and nothing is hedged", serviceConfigs},
		{"N-01 without the right certificate there is no connection", certificates},
		{"N-05 one client cannot have more than its share of handlers", manyStreams},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.run(t)
		})
	}
}

func pings(t *testing.T) {
	require.Less(t, serve.PingAllowed, serve.PingEvery)
	r := start(t, serve.Service{Name: "test", Register: impl{}.register(t)})
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", r.addrs.GRPC)
	require.NoError(t, err)
	defer func() { require.NoError(t, conn.Close()) }()
	require.NoError(t, conn.SetDeadline(time.Now().Add(time.Minute)))
	// The beginning of HTTP/2, empty settings, and a few frames of type ping, length 8.
	hello := append([]byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), 0, 0, 0, 4, 0, 0, 0, 0, 0)
	for range 5 {
		hello = append(hello, 0, 0, 8, 6, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8)
	}
	_, err = conn.Write(hello)
	require.NoError(t, err)
	for {
		var head [9]byte
		_, err := io.ReadFull(conn, head[:])
		require.NoError(t, err, "it was not sent away")
		body := make([]byte, int(head[0])<<16|int(head[1])<<8|int(head[2]))
		_, err = io.ReadFull(conn, body)
		require.NoError(t, err)
		if head[3] == 7 { // GOAWAY
			require.Contains(t, string(body), "too_many_pings")
			return
		}
	}
}

func overload(t *testing.T) {
	var attempts atomic.Int64
	r := start(t, serve.Service{Name: "test", Register: impl{unary: func(context.Context) error {
		attempts.Add(1)
		return fault.New(fault.Unavailable, "", "overloaded")
	}}.register(t)})
	fd, err := contract()
	require.NoError(t, err)
	conn := r.dial(serve.ClientOptions{Services: []protoreflect.ServiceDescriptor{fd.Services().Get(0)}})
	for range 20 {
		require.Equal(t, fault.Unavailable, fault.KindOf(call(t.Context(), t, conn, "Read")))
	}
	require.Greater(t, attempts.Load(), int64(20), "at first they are repeated")
	require.LessOrEqual(t, attempts.Load(), int64(30))
}

func unhealthy(t *testing.T) {
	var healthy atomic.Bool
	healthy.Store(true)
	var handled atomic.Int64
	r := start(t, serve.Service{
		Name: "test", Register: impl{unary: func(context.Context) error { handled.Add(1); return nil }}.register(t),
		Checks: []serve.Check{{Name: "store", Ready: func(context.Context) error {
			if !healthy.Load() {
				return errors.New("gone")
			}
			return nil
		}}},
	})
	conn := r.dial(serve.ClientOptions{})
	require.NoError(t, call(t.Context(), t, conn, "Write"))
	healthy.Store(false)
	short := func() error {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		return call(ctx, t, conn, "Write")
	}
	// Not until a call fails: on a slow machine one may do so by itself.
	require.Eventually(t, func() bool { return conn.GetState() == connectivity.TransientFailure }, time.Minute, 5*time.Millisecond, "the client hears of it")
	before := handled.Load()
	for range 5 {
		require.Error(t, short())
	}
	require.Equal(t, before, handled.Load(), "nothing reaches it")
	healthy.Store(true)
	require.NoError(t, call(t.Context(), t, conn, "Write"), "and it waits until it is well again")
}

// serviceConfigs reads what Dial tells gRPC about every service of the suite.
func serviceConfigs(t *testing.T) {
	var services []protoreflect.ServiceDescriptor
	protoregistry.GlobalFiles.RangeFiles(func(f protoreflect.FileDescriptor) bool {
		for i := range f.Services().Len() {
			if strings.HasPrefix(string(f.Package()), "selfsame.") {
				services = append(services, f.Services().Get(i))
			}
		}
		return true
	})
	require.Greater(t, len(services), 8)
	text, err := serve.ServiceConfig(services...)
	require.NoError(t, err)
	require.NotContains(t, text, "hedgingPolicy")
	var config struct {
		MethodConfig []struct {
			Name        []struct{ Service, Method string }
			RetryPolicy struct{ MaxAttempts int }
		}
		RetryThrottling struct{ MaxTokens int }
	}
	require.NoError(t, json.Unmarshal([]byte(text), &config))
	require.Positive(t, config.RetryThrottling.MaxTokens)
	repeated := 0
	for _, c := range config.MethodConfig {
		require.LessOrEqual(t, c.RetryPolicy.MaxAttempts, 5, "more are not made, and nobody says so")
		for _, n := range c.Name {
			d, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(n.Service + "." + n.Method))
			require.NoError(t, err, "no policy is for a whole service")
			o, ok := d.Options().(*descriptorpb.MethodOptions)
			require.True(t, ok)
			require.NotEqual(t, descriptorpb.MethodOptions_IDEMPOTENCY_UNKNOWN, o.GetIdempotencyLevel(), "%s.%s would be repeated without a key", n.Service, n.Method)
			repeated++
		}
	}
	require.Greater(t, repeated, 10)
}

func certificates(t *testing.T) {
	a := newAuthority(t)
	var handled atomic.Int64
	cfg := serve.DefaultConfig()
	cfg.TLS = a.issue("server", "server")
	r := start(t, serve.Service{Name: "test", Config: cfg, Register: impl{unary: func(context.Context) error { handled.Add(1); return nil }}.register(t)})
	for why, files := range map[string]serve.TLS{
		"no certificate": {ClientCAFile: a.ca()}, "plaintext": {}, "another authority's": newAuthority(t).issue("client", "mobile"),
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		require.Error(t, call(ctx, t, r.dial(serve.ClientOptions{TLS: files}), "Write"), why)
		cancel()
	}
	require.Zero(t, handled.Load())
	require.NoError(t, call(t.Context(), t, r.dial(serve.ClientOptions{TLS: a.issue("client", "mobile")}), "Write"))
}

func manyStreams(t *testing.T) {
	const limit = 250
	release := make(chan struct{})
	var now, most atomic.Int64
	r := start(t, serve.Service{Name: "test", Register: impl{unary: func(ctx context.Context) error {
		n := now.Add(1)
		defer now.Add(-1)
		for have := most.Load(); n > have && !most.CompareAndSwap(have, n); have = most.Load() {
		}
		select {
		case <-release:
		case <-ctx.Done():
		}
		return nil
	}}.register(t)})
	conn := r.dial(serve.ClientOptions{Timeout: 5 * time.Minute})
	var calls sync.WaitGroup
	for range 2 * limit {
		calls.Go(func() {
			if err := call(t.Context(), t, conn, "Write", grpc.WaitForReady(true)); err != nil {
				t.Error(err)
			}
		})
	}
	require.Eventually(t, func() bool { return now.Load() >= limit-1 }, 2*time.Minute, time.Millisecond, "one stream watches the health")
	close(release)
	calls.Wait()
	require.LessOrEqual(t, most.Load(), int64(limit))
}
