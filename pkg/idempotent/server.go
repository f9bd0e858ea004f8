package idempotent

import (
	"context"
	"crypto/rand"
	"slices"
	"sync"
	"time"

	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	"github.com/selfsame-io/selfsame/pkg/caller"
	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/pkg/telemetry"
)

type server struct {
	Options
	store    Store
	tx       transactional // the store, if it is one
	slow     bool          // the store may keep a call waiting
	policies policies
	canon    canon
	headers  map[string]bool
	replayed metadata.MD // what is mostly said, which streams copy
	waiters  chan struct{}
	flights  flights
	breaker  breaker
	quota    *quota
	meters   meters
	spare    sync.Pool // of *attempt that nobody refers to
}

// UnaryServer returns the interceptor that protects the methods whose contract says so. It belongs inside
// authentication, authorization and validation (serve runs it there): those run again for every repeated call.
//
// A claimed handler runs on a context that does not end with the caller's, for at most Budget: a caller that goes away
// must not cut a write in half.
func UnaryServer(store Store, o Options) grpc.UnaryServerInterceptor {
	return newServer(store, o).intercept
}

func newServer(store Store, o Options) *server {
	can := store.Capabilities()
	s := &server{Options: o.withDefaults(), store: store, slow: can.Shared || can.Durability != Volatile}
	s.tx, _ = store.(transactional)
	s.headers = headerSet(s.Headers)
	s.replayed = metadata.Pairs(StatusMetadata, StatusReplayed)
	s.waiters = make(chan struct{}, s.MaxWaiters)
	s.quota = newQuota(s.Quota)
	s.meters = newMeters(s.Meter, s.Log)
	return s
}

func (s *server) intercept(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	pol := s.policies.of(info.FullMethod)
	key, err := incoming(ctx)
	if pol.read && err != nil {
		key, err = "", nil // it would have been ignored
	}
	n := note{method: info.FullMethod}
	if err != nil {
		n.outcome = outcomeInvalid
		s.count(ctx, &n)
		return nil, err
	}
	if key == "" {
		if pol.required {
			n.outcome = outcomeInvalid
			s.count(ctx, &n)
			return nil, fault.New(fault.Invalid, ReasonKeyMissing, "the method needs an idempotency key (metadata %s)", Metadata)
		}
		return handler(ctx, req)
	}
	c := call{key: string(key), principal: caller.From(ctx).Name, method: info.FullMethod, root: s.root(ctx)}
	msg, isProto := req.(proto.Message)
	if !pol.protected || !isProto {
		if !pol.read && !pol.natural && !s.IgnoreUnsupported {
			n.outcome = outcomeUnsupported
			s.count(ctx, &n)
			return nil, fault.New(fault.Unimplemented, ReasonNotSupported, "the method cannot honour an idempotency key; it must be called without")
		}
		n.outcome = outcomeIgnored
		s.count(ctx, &n)
		_ = grpc.SetHeader(ctx, metadata.Pairs(StatusMetadata, StatusIgnored))
		return handler(context.WithValue(ctx, callKey{}, c), req)
	}
	a, ok := s.spare.Get().(*attempt)
	if !ok {
		a = &attempt{}
	}
	a.server, a.call, a.policy, a.request, a.handler, a.note = s, c, pol, msg, handler, n
	resp, err := a.serve(ctx, key)
	s.count(ctx, &a.note)
	if a.stream == nil { // a handler that began may have passed it on
		*a = attempt{}
		s.spare.Put(a)
	}
	return resp, err
}

// serve is a call to a protected method with a key.
func (a *attempt) serve(ctx context.Context, key Key) (any, error) {
	s := a.server
	if err := s.admit(ctx, key, &a.note); err != nil {
		return nil, err
	}
	p := s.Principal(ctx)
	if wait, ok := s.quota.take(p, s.Now()); !ok {
		a.note.outcome = outcomeLimited
		return nil, fault.New(fault.Exhausted, ReasonQuotaExceeded, "too many idempotency keys").WithRetryAfter(wait)
	}
	a.claim = Claim{
		Scope:       Scope{Principal: p, Method: a.method, Key: a.key},
		Fingerprint: s.canon.fingerprint(s.FingerprintVersion, a.method, a.request, a.policy.exclude),
		Owner:       owner(),
		Lease:       s.Lease, Retention: a.policy.retention,
		Takeover: a.policy.takeover, Probe: a.policy.probe && slices.Contains(s.Probes, a.method),
	}
	if trace.SpanContextFromContext(ctx).IsValid() {
		a.claim.Trace = telemetry.Traceparent(ctx)
	}
	if a.claim.Retention <= 0 {
		a.claim.Retention = s.Retention
	}
	if a.policy.transactional && s.tx != nil {
		resp, done, err := a.transact(ctx)
		if done {
			return resp, err
		}
	}
	res, err := a.acquire(ctx)
	if err != nil {
		a.giveBack(ctx)
		return nil, a.storeDown(ctx, err)
	}
	if res.Outcome != Granted {
		return a.reply(ctx, res)
	}
	a.grant = res.Grant
	return a.execute(ctx)
}

// admit refuses a key whose time, or a call whose deadline, rules out that it is kept.
func (s *server) admit(ctx context.Context, key Key, n *note) error {
	made, ok := key.madeAt()
	switch {
	case !ok:
		n.ageless = true
	case s.Now().Sub(made) > s.Horizon:
		n.outcome = outcomeExpired
		return fault.New(fault.Precondition, ReasonKeyExpired, "the key is older than what is remembered; look the result up, then use a new key")
	case made.Sub(s.Now()) > s.Ahead:
		n.outcome = outcomeInvalid
		return invalidKey("was made in the future")
	}
	if at, ok := ctx.Deadline(); ok && time.Until(at) < s.MinTime {
		n.outcome = outcomeInvalid
		return fault.New(fault.Timeout, fault.ReasonDeadlineTooShort, "the deadline is too near to begin")
	}
	return nil
}

// owner is 16 random bytes.
func owner() []byte {
	b := make([]byte, 16)
	_, _ = rand.Read(b) // never fails
	return b
}

// incoming returns the key of the call; "" if it has none.
func incoming(ctx context.Context) (Key, error) {
	values := metadata.ValueFromIncomingContext(ctx, Metadata)
	switch len(values) {
	case 0:
		return "", nil
	case 1:
		return ParseKey(values[0])
	default:
		return "", invalidKey("must be given once")
	}
}
