package rpc

import (
	"context"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	"github.com/selfsame-io/selfsame/pkg/caller"
	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/pkg/idempotent"
	"github.com/selfsame-io/selfsame/pkg/serve"
	mobilev1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/mobile/v1"
	optionsv1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/options/v1"
	"github.com/selfsame-io/selfsame/services/experience-mobile/internal/auth"
	"github.com/selfsame-io/selfsame/services/experience-mobile/internal/edge"
)

const (
	prefix = "/selfsame.mobile.v1.MobileService/"
	// margin is kept back from the deadline, so that a call below that is late can still be told as such.
	margin = 50 * time.Millisecond
)

// Verifier checks a bearer token.
type Verifier interface {
	Verify(ctx context.Context, token string) (auth.Principal, error)
}

// Trusted takes the identity of the caller from metadata. Use it only on the connection that the edge has inside
// the process: there, and only there, the metadata says what the edge verified.
func Trusted() grpc.UnaryServerInterceptor {
	methods := readMethods()
	return func(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
		if !strings.HasPrefix(info.FullMethod, prefix) {
			return handler(ctx, req)
		}
		p, ok := principalOfEdge(ctx)
		if !ok {
			return nil, fault.New(fault.Unauthenticated, "", "the edge named no caller")
		}
		return admit(caller.With(withPrincipal(ctx, p), caller.Identity{Name: p.Subject, Verified: true}), methods.of(info.FullMethod), req, handler)
	}
}

// Bearer takes the identity of the caller from a token in the metadata "authorization", as the REST edge does from
// the header. It is for the gRPC port, where metadata alone proves nothing.
func Bearer(tokens Verifier) grpc.UnaryServerInterceptor {
	methods := readMethods()
	return func(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
		if !strings.HasPrefix(info.FullMethod, prefix) {
			return handler(ctx, req)
		}
		token, err := auth.Bearer(metadata.ValueFromIncomingContext(ctx, "authorization"))
		if err != nil {
			return nil, err
		}
		principal, err := tokens.Verify(ctx, token)
		if err != nil {
			return nil, err
		}
		if err := principal.Require(methods.of(info.FullMethod).scope); err != nil {
			return nil, err
		}
		return admit(caller.With(withPrincipal(ctx, principal), caller.Identity{Name: principal.Subject, Verified: true}), methods.of(info.FullMethod), req, handler)
	}
}

// admit applies the rules that do not depend on who calls: the key of a write, and required fields.
func admit(ctx context.Context, m method, req any, handler grpc.UnaryHandler) (any, error) {
	if m.needsKey && !onlyChecked(req) {
		key, err := keyOf(ctx)
		if err != nil {
			return nil, err
		}
		ctx = idempotent.WithKey(ctx, key)
	}
	if fields := required(req); len(fields) > 0 {
		e := fault.New(fault.Invalid, fault.ReasonValidationFailed, "the request is not valid")
		e.Fields = fields
		return nil, e
	}
	return handler(ctx, req)
}

func keyOf(ctx context.Context) (string, error) {
	v := metadata.ValueFromIncomingContext(ctx, edge.MetaKey)
	switch len(v) {
	case 0:
		return "", fault.New(fault.Invalid, idempotent.ReasonKeyMissing, "this call needs an idempotency key")
	case 1:
		key, err := idempotent.ParseKey(v[0])
		return string(key), err
	}
	return "", fault.New(fault.Invalid, idempotent.ReasonKeyInvalid, "the idempotency key must be given once")
}

// onlyChecked reports whether the request has no effect because it asks for none.
func onlyChecked(req any) bool {
	r, ok := req.(interface{ GetValidateOnly() bool })
	return ok && r.GetValidateOnly()
}

// method is what the contract says about a method of MobileService.
type method struct {
	// needsKey is true when it wants a key of the caller: with an effect, and without keys of its own.
	needsKey bool
	// scope is what a token must carry.
	scope string
}

// methods are known by their full names.
type methods map[string]method

// of returns a method; one that is not known needs the most.
func (m methods) of(fullMethod string) method {
	if known, ok := m[fullMethod]; ok {
		return known
	}
	return method{needsKey: true, scope: auth.ScopeWrite}
}

// readMethods reads the contract, once: extensions of descriptors are expensive to look at.
func readMethods() methods {
	out := methods{}
	all := mobilev1.File_selfsame_mobile_v1_mobile_service_proto.Services().ByName("MobileService").Methods()
	for i := range all.Len() {
		m := all.Get(i)
		one := method{needsKey: true, scope: auth.ScopeWrite}
		if policy, ok := proto.GetExtension(m.Options(), optionsv1.E_Idempotency).(*optionsv1.IdempotencyPolicy); ok {
			one.needsKey = policy.GetKey() != optionsv1.KeyRequirement_KEY_REQUIREMENT_NATURAL
		}
		if readOnly(m) {
			one = method{scope: auth.ScopeRead}
		}
		out[prefix+string(m.Name())] = one
	}
	return out
}

// begin keeps a margin of the deadline and names the caller to the process layer, which may believe it because of
// who we are.
func (s *Server) begin(ctx context.Context) (context.Context, context.CancelFunc) {
	pairs := append(make([]string, 0, 4), edge.MetaPrincipal, principalOf(ctx))
	if v := metadata.ValueFromIncomingContext(ctx, edge.MetaRequestID); len(v) == 1 {
		pairs = append(pairs, edge.MetaRequestID, v[0])
	}
	ctx = metadata.AppendToOutgoingContext(ctx, pairs...)
	at, ok := ctx.Deadline()
	if !ok {
		return ctx, func() {}
	}
	return serve.Within(ctx, time.Until(at)-margin)
}

func principalOf(ctx context.Context) string { return caller.From(ctx).Name }

func ifMatch(ctx context.Context) string {
	if v := metadata.ValueFromIncomingContext(ctx, edge.MetaIfMatch); len(v) == 1 {
		return v[0]
	}
	return ""
}
