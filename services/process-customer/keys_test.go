package processcustomer_test

import (
	"context"
	"io"
	"net"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/pkg/conf"
	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/pkg/serve"
	"github.com/selfsame-io/selfsame/pkg/telemetry"
	idempotencyv1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/idempotency/v1"
	processcustomer "github.com/selfsame-io/selfsame/services/process-customer"
)

// wide is a listener that claims to be reachable from other machines, as 0.0.0.0 is.
type wide struct{ net.Listener }

func (wide) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4zero, Port: 9} }

func TestKeys_AreForOperators(t *testing.T) {
	t.Parallel()
	ln, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	cfg := processcustomer.DefaultConfig()
	cfg.Store.DSN, cfg.Serve.Ops = conf.Secret("sqlite:"+t.TempDir()+"/customer.db"), ""
	cfg.Salesforce.Target, cfg.ERP.Target = "127.0.0.1:1", "127.0.0.1:1"
	cfg.TelemetryOptions = []telemetry.Option{telemetry.WithLogWriter(io.Discard)}
	cfg.Listener = wide{ln}
	started := make(chan serve.Addrs, 1)
	cfg.Started = func(a serve.Addrs) { started <- a }
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- processcustomer.Run(ctx, cfg) }()
	defer func() { cancel(); require.NoError(t, <-ended) }()
	<-started
	conn, err := serve.Dial(ln.Addr().String(), serve.ClientOptions{CallerName: "ops"})
	require.NoError(t, err)
	defer func() { require.NoError(t, conn.Close()) }()
	_, err = idempotencyv1.NewKeysServiceClient(conn).ListKeys(t.Context(), &idempotencyv1.ListKeysRequest{})
	require.Equal(t, serve.ReasonOperatorRequired, fault.ReasonOf(err))
}
