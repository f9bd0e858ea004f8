package serve_test

import (
	"context"
	"io"
	"net"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/pkg/serve"
)

// wide is a listener that claims to be reachable from other machines, as 0.0.0.0 is.
type wide struct{ net.Listener }

func (wide) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4zero, Port: 9} }

func TestOperatorServices(t *testing.T) {
	t.Parallel()
	service := func(cfg serve.Config, guarded ...string) serve.Service {
		i := impl{unary: func(context.Context) error { return nil }, stream: func(grpc.ServerStream) error { return nil }}
		return serve.Service{Name: "test", Config: cfg, Register: i.register(t), OperatorServices: guarded}
	}
	const own = "servetest.TestService"
	watch := func(conn *grpc.ClientConn) error {
		ss, err := conn.NewStream(t.Context(), &grpc.StreamDesc{ServerStreams: true}, "/"+own+"/Watch")
		require.NoError(t, err)
		require.NoError(t, ss.SendMsg(request(t, "")))
		require.NoError(t, ss.CloseSend())
		if err = ss.RecvMsg(request(t, "")); err == io.EOF { //nolint:errorlint // gRPC returns it bare
			return nil
		}
		return err
	}
	refused := func(err error) {
		t.Helper()
		require.Equal(t, fault.Forbidden, fault.KindOf(err))
		require.Equal(t, serve.ReasonOperatorRequired, fault.ReasonOf(err))
	}

	t.Run("on a plaintext port of this machine whoever is here may", func(t *testing.T) {
		t.Parallel()
		conn := start(t, service(serve.DefaultConfig(), own)).dial(serve.ClientOptions{CallerName: "somebody"})
		require.NoError(t, call(t.Context(), t, conn, "Write"))
		require.NoError(t, watch(conn))
	})
	t.Run("on a port that others reach nobody may, whatever name they give themselves", func(t *testing.T) {
		t.Parallel()
		ln, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
		require.NoError(t, err)
		s := service(serve.DefaultConfig(), own)
		s.Listener = wide{ln}
		r := start(t, s)
		r.addrs.GRPC = ln.Addr().String()
		conn := r.dial(serve.ClientOptions{CallerName: "spiffe://test/operator"})
		refused(call(t.Context(), t, conn, "Write"))
		refused(watch(conn))
	})
	t.Run("with certificates those who are named may", func(t *testing.T) {
		t.Parallel()
		a := newAuthority(t)
		cfg := serve.DefaultConfig()
		cfg.TLS, cfg.Operators = a.issue("server", "server"), "spiffe://test/ada, spiffe://test/bob"
		r := start(t, service(cfg, own))
		for _, name := range []string{"ada", "bob"} {
			require.NoError(t, call(t.Context(), t, r.dial(serve.ClientOptions{TLS: a.issue(name, name)}), "Write"), name)
		}
		conn := r.dial(serve.ClientOptions{TLS: a.issue("mobile", "mobile"), CallerName: "spiffe://test/ada"})
		refused(call(t.Context(), t, conn, "Write"))
		refused(watch(conn))
	})
	t.Run("with certificates and nobody named nobody may", func(t *testing.T) {
		t.Parallel()
		a := newAuthority(t)
		cfg := serve.DefaultConfig()
		cfg.TLS = a.issue("server", "server")
		refused(call(t.Context(), t, start(t, service(cfg, own)).dial(serve.ClientOptions{TLS: a.issue("ada", "ada")}), "Write"))
	})
	t.Run("other services are for everybody", func(t *testing.T) {
		t.Parallel()
		a := newAuthority(t)
		cfg := serve.DefaultConfig()
		cfg.TLS, cfg.Operators = a.issue("server", "server"), "spiffe://test/ada"
		conn := start(t, service(cfg, "servetest.Other", "servetest.Test")).dial(serve.ClientOptions{TLS: a.issue("mobile", "mobile")})
		require.NoError(t, call(t.Context(), t, conn, "Write"))
	})
	t.Run("operators without certificates are a mistake", func(t *testing.T) {
		t.Parallel()
		cfg := serve.DefaultConfig()
		cfg.Operators = "ada"
		require.ErrorContains(t, cfg.Validate(), "operators")
	})
}
