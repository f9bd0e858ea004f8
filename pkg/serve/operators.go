package serve

import (
	"context"
	"log/slog"
	"net"
	"slices"
	"strings"

	"google.golang.org/grpc"

	"github.com/selfsame-io/selfsame/pkg/caller"
	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/pkg/telemetry"
)

// ReasonOperatorRequired means that a call to a service for operators came from nobody who is known as one.
const ReasonOperatorRequired = "OPERATOR_REQUIRED"

// operators decides who may call the services for operators. An operator is known by the certificate of the connection and
// named in the configuration. When nobody is named and the server speaks plaintext on this machine alone (a loopback address,
// or no address at all), whoever has reached it is on this machine, and may. What a caller calls itself never counts.
type operators struct {
	services []string
	names    []string
	local    bool
	log      *slog.Logger
}

func newOperators(s Service, at net.Addr) *operators {
	o := &operators{services: s.OperatorServices, log: s.Telemetry.Log}
	for name := range strings.SplitSeq(s.Config.Operators, ",") {
		if name = strings.TrimSpace(name); name != "" {
			o.names = append(o.names, name)
		}
	}
	o.local = len(o.names) == 0 && !s.Config.TLS.Enabled() && onlyHere(at)
	return o
}

// onlyHere reports whether an address cannot be reached from another machine.
func onlyHere(at net.Addr) bool {
	tcp, ok := at.(*net.TCPAddr)
	return !ok || tcp.IP.IsLoopback()
}

func (o *operators) check(ctx context.Context, method string) error {
	service, _, _ := strings.Cut(strings.TrimPrefix(method, "/"), "/")
	if !slices.Contains(o.services, service) {
		return nil
	}
	who := caller.From(ctx)
	if o.local || who.Verified && slices.Contains(o.names, who.Name) {
		return nil
	}
	o.log.WarnContext(ctx, "call to a service for operators refused", slog.String(telemetry.KeyMethod, method),
		slog.Bool("verified", who.Verified))
	return fault.New(fault.Forbidden, ReasonOperatorRequired,
		"%s is for operators: who may call it is named in serve.operators and shows a certificate", service)
}

func (o *operators) unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	if err := o.check(ctx, info.FullMethod); err != nil {
		return nil, err
	}
	return handler(ctx, req)
}

func (o *operators) stream(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	if err := o.check(ss.Context(), info.FullMethod); err != nil {
		return err
	}
	return handler(srv, ss)
}
