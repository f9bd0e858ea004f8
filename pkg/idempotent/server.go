package idempotent

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/selfsame-io/selfsame/pkg/caller"
	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/pkg/telemetry"
)

// Reasons of this package.
const (
	ReasonKeyMissing       = "IDEMPOTENCY_KEY_MISSING"
	ReasonKeyInvalid       = "IDEMPOTENCY_KEY_INVALID"
	ReasonKeyReused        = "IDEMPOTENCY_KEY_REUSED"
	ReasonKeyExpired       = "IDEMPOTENCY_KEY_EXPIRED"
	ReasonInProgress       = "IDEMPOTENCY_IN_PROGRESS"
	ReasonResultGone       = "IDEMPOTENCY_RESULT_GONE"
	ReasonStoreUnavailable = "IDEMPOTENCY_STORE_UNAVAILABLE"
)

// StatusMetadata tells the caller what became of its key: a header on success, a trailer on an error (a header there
// would switch off grpc-go's own retries).
const StatusMetadata = "idempotency-status"

// Values of StatusMetadata.
const (
	StatusExecuted   = "executed"
	StatusReplayed   = "replayed"
	StatusInProgress = "in-progress"
	StatusIgnored    = "ignored"
)

// Options of the server interceptor. The zero value is usable.
type Options struct {
	// Log receives what the caller does not see; nil discards it.
	Log *slog.Logger
	// Meter counts selfsame.idempotency.requests by method and outcome; nil counts nothing.
	Meter metric.MeterProvider
	// Lease is how long a claim lives without a heartbeat, which comes every third of it; zero means 30 s.
	Lease time.Duration
	// Wait is how long a call waits for another one with its key; zero means 2 s.
	Wait time.Duration
	// MaxWaiters bounds how many calls wait at once; zero means 64.
	MaxWaiters int
	// Budget is how long a handler may run, whether the caller still waits or not; zero means 30 s.
	Budget time.Duration
	// Retention is how long answers are kept if the contract does not say; zero means 7 days.
	Retention time.Duration
	// Horizon is how old a key that carries its time (UUIDv7) may be: older than everything that could be remembered,
	// it is refused instead of executed again. Zero means 90 days.
	Horizon time.Duration
	// Principal returns the verified caller, which separates the keys of callers; nil means caller.From.
	Principal func(ctx context.Context) string
	// Probes are the full methods, declared RECOVERY_PROBE, whose handlers look for the effect of an earlier attempt
	// before they act when [Recovering] says so. Only these are executed again after an uncertain attempt.
	Probes []string
	// Resource names what a response is about ("customers/42"); it is remembered longer than the response.
	Resource func(resp proto.Message) string
	// Now is the clock for the age of keys; nil means time.Now.
	Now func() time.Time
}

func (o Options) withDefaults() Options {
	set := func(d *time.Duration, def time.Duration) {
		if *d <= 0 {
			*d = def
		}
	}
	set(&o.Lease, 30*time.Second)
	set(&o.Wait, 2*time.Second)
	set(&o.Budget, 30*time.Second)
	set(&o.Retention, 7*24*time.Hour)
	set(&o.Horizon, DefaultTombstone)
	if o.MaxWaiters <= 0 {
		o.MaxWaiters = 64
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Meter == nil {
		o.Meter = noop.NewMeterProvider()
	}
	if o.Principal == nil {
		o.Principal = func(ctx context.Context) string {
			id := caller.From(ctx)
			if id.Verified {
				return "verified:" + id.Name
			}
			return id.Name
		}
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return o
}

// attempt is one execution, as its handler's context holds it.
type attempt struct {
	grant     Grant
	resource  func(proto.Message) string
	completed atomic.Bool // CompleteTx stored the answer
}

// Recovering reports whether an earlier attempt of the current call may already have had effects: a handler of a
// RECOVERY_PROBE method then asks the target by its child keys first.
func Recovering(ctx context.Context) bool {
	c, _ := callFrom(ctx)
	return c.attempt != nil && c.attempt.grant.Recovery
}

// Fence returns the number of the current attempt, from 1, which grows with every attempt; 0 for a call without a claim.
func Fence(ctx context.Context) int64 {
	c, _ := callFrom(ctx)
	if c.attempt == nil {
		return 0
	}
	return c.attempt.grant.Fence
}

type server struct {
	Options
	store    Store
	policies policies
	waiters  chan struct{}
	requests metric.Int64Counter
}

// UnaryServer returns the interceptor that protects the methods whose contract says so. It belongs inside
// authentication, authorization and validation (serve runs it there): those run again for every repeated call.
//
// A claimed handler runs on a context that does not end with the caller's, for at most Budget: a caller that goes away
// must not cut a write in half.
func UnaryServer(store Store, o Options) grpc.UnaryServerInterceptor {
	s := &server{Options: o.withDefaults(), store: store}
	s.waiters = make(chan struct{}, s.MaxWaiters)
	var err error
	s.requests, err = s.Meter.Meter("github.com/selfsame-io/selfsame/pkg/idempotent").Int64Counter("selfsame.idempotency.requests",
		metric.WithUnit("{request}"), metric.WithDescription("Calls to protected methods by outcome."))
	if err != nil {
		s.requests = noop.Int64Counter{}
		s.Log.Warn("metric not available", slog.String(telemetry.KeyError, err.Error()))
	}
	return s.intercept
}

func (s *server) intercept(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	pol := s.policies.of(info.FullMethod)
	key, err := incoming(ctx)
	if err != nil {
		return nil, err
	}
	principal := s.Principal(ctx)
	c := call{key: string(key), principal: caller.From(ctx).Name, method: info.FullMethod}
	msg, isProto := req.(proto.Message)
	switch {
	case key == "" && pol.required:
		return nil, fault.New(fault.Invalid, ReasonKeyMissing, "the method needs an idempotency key (metadata %s)", Metadata)
	case key == "":
		return handler(ctx, req)
	case !pol.protected || !isProto:
		_ = grpc.SetHeader(ctx, metadata.Pairs(StatusMetadata, StatusIgnored))
		return handler(context.WithValue(ctx, callKey{}, c), req)
	}
	if made, ok := key.madeAt(); ok && s.Now().Sub(made) > s.Horizon {
		s.count(ctx, info.FullMethod, "expired", 0)
		return nil, fault.New(fault.Precondition, ReasonKeyExpired, "the key is older than what is remembered; look the result up, then use a new key")
	}
	retention := pol.retention
	if retention <= 0 {
		retention = s.Retention
	}
	claim := Claim{
		Scope:       Scope{Principal: principal, Method: info.FullMethod, Key: string(key)},
		Fingerprint: Fingerprint(info.FullMethod, msg),
		Owner:       []byte(rand.Text()),
		Lease:       s.Lease, Retention: retention,
		Takeover: pol.takeover, Probe: pol.probe && slices.Contains(s.Probes, info.FullMethod),
		Trace: telemetry.Traceparent(ctx),
	}
	res, err := s.claim(ctx, claim)
	if err != nil {
		return nil, s.storeDown(ctx, info.FullMethod, err)
	}
	if res.Outcome != Granted {
		return s.answer(ctx, info.FullMethod, res)
	}
	c.attempt = &attempt{grant: res.Grant, resource: s.Resource}
	return s.execute(context.WithValue(ctx, callKey{}, c), req, info.FullMethod, claim, handler)
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

// claim begins, and waits while another call with the same key executes.
func (s *server) claim(ctx context.Context, c Claim) (Result, error) {
	res, err := s.begin(ctx, c)
	if err != nil || res.Outcome != InProgress {
		return res, err
	}
	select {
	case s.waiters <- struct{}{}:
		defer func() { <-s.waiters }()
	default:
		return res, nil // enough wait already
	}
	limit := s.Wait
	if at, ok := ctx.Deadline(); ok {
		limit = min(limit, time.Until(at)-100*time.Millisecond)
	}
	end := time.Now().Add(limit)
	for pause := 10 * time.Millisecond; ; pause = min(2*pause, 100*time.Millisecond) {
		left := time.Until(end)
		if left <= 0 {
			return res, nil
		}
		t := time.NewTimer(min(pause, left))
		select {
		case <-ctx.Done():
			t.Stop()
			return Result{}, ctx.Err()
		case <-t.C:
		}
		if res, err = s.begin(ctx, c); err != nil || res.Outcome != InProgress {
			return res, err
		}
	}
}

// begin tries twice: if the store's answer to the first try was lost, the second finds its own claim.
func (s *server) begin(ctx context.Context, c Claim) (Result, error) {
	res, err := s.store.Begin(ctx, c)
	if err != nil && ctx.Err() == nil {
		res, err = s.store.Begin(ctx, c)
	}
	return res, err
}

func (s *server) storeDown(ctx context.Context, method string, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	s.count(ctx, method, "store_error", 0)
	return fault.Wrap(fault.Unavailable, ReasonStoreUnavailable, err, "the idempotency store does not answer; nothing was done").
		WithRetryAfter(time.Second)
}

// answer answers a call that is not to be executed.
func (s *server) answer(ctx context.Context, method string, res Result) (any, error) {
	switch res.Outcome {
	case Replay:
		return s.replay(ctx, method, res)
	case Mismatch:
		s.count(ctx, method, "mismatch", res.Fence)
		return nil, fault.New(fault.Precondition, ReasonKeyReused, "the key was used for another request; use a new key")
	case InProgress:
		s.count(ctx, method, "in_progress", res.Fence)
		_ = grpc.SetTrailer(ctx, metadata.Pairs(StatusMetadata, StatusInProgress))
		after := min(max(res.Remaining.Round(time.Second), time.Second), 30*time.Second)
		return nil, fault.New(fault.Conflict, ReasonInProgress, "a call with this key is in progress").WithRetryAfter(after)
	case Gone:
		s.count(ctx, method, "gone", res.Fence)
		e := fault.New(fault.Precondition, ReasonResultGone, "the call was executed, its answer is no longer kept")
		if res.Answer.Resource != "" {
			e = e.WithMeta("resource", res.Answer.Resource)
		}
		return nil, e
	default:
		s.count(ctx, method, "uncertain", res.Fence)
		return nil, fault.New(fault.Uncertain, fault.ReasonOutcomeUncertain, "an earlier attempt with this key may have been executed")
	}
}

func (s *server) replay(ctx context.Context, method string, res Result) (any, error) {
	s.count(ctx, method, "replayed", res.Fence)
	if link, ok := telemetry.LinkTo(res.Trace); ok {
		trace.SpanFromContext(ctx).AddLink(link)
	}
	msg, st, err := res.Answer.open()
	switch {
	case err != nil:
		return nil, fmt.Errorf("replay: %w", err)
	case st != nil:
		_ = grpc.SetTrailer(ctx, metadata.Pairs(StatusMetadata, StatusReplayed))
		return nil, status.FromProto(st).Err()
	default:
		_ = grpc.SetHeader(ctx, metadata.Pairs(StatusMetadata, StatusReplayed))
		return msg, nil
	}
}

// execute runs the handler under its claim and settles the claim.
func (s *server) execute(ctx context.Context, req any, method string, claim Claim, handler grpc.UnaryHandler) (any, error) {
	c, _ := callFrom(ctx)
	outcome := "executed"
	if c.attempt.grant.Fence > 1 {
		outcome = "takeover"
	}
	s.count(ctx, method, outcome, c.attempt.grant.Fence)
	resp, err := s.run(ctx, req, handler, c.attempt.grant)
	if err == nil && c.attempt.completed.Load() {
		_ = grpc.SetHeader(ctx, metadata.Pairs(StatusMetadata, StatusExecuted))
		return resp, nil
	}
	// The settlement must not depend on a caller that may be gone.
	settleCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	settled := s.settle(settleCtx, c.attempt.grant, claim, resp, err)
	switch {
	case settled == nil:
	case errors.Is(settled, ErrStale):
		return s.stale(settleCtx, ctx, method, c.attempt.grant)
	case err == nil:
		// A success that is not stored must not be reported: the next call would execute again.
		s.count(ctx, method, "store_error", c.attempt.grant.Fence)
		return nil, fault.Wrap(fault.Unavailable, ReasonStoreUnavailable, settled,
			"the outcome could not be stored; repeat the call with the same key").WithRetryAfter(time.Second)
	default:
		s.Log.WarnContext(ctx, "idempotency claim not settled", slog.String(telemetry.KeyMethod, method),
			slog.String(telemetry.KeyError, settled.Error()))
	}
	if err != nil {
		_ = grpc.SetTrailer(ctx, metadata.Pairs(StatusMetadata, StatusExecuted))
		return nil, err
	}
	_ = grpc.SetHeader(ctx, metadata.Pairs(StatusMetadata, StatusExecuted))
	return resp, nil
}

// run calls the handler, with a heartbeat beside it. A panic is an error: nobody knows how far it came.
func (s *server) run(ctx context.Context, req any, handler grpc.UnaryHandler, g Grant) (resp any, err error) {
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cancel(nil)
	ctx, stop := context.WithTimeout(ctx, s.Budget)
	defer stop()
	beating := make(chan struct{})
	go func() {
		defer close(beating)
		s.heartbeat(ctx, g, cancel)
	}()
	defer func() {
		if v := recover(); v != nil {
			resp, err = nil, fault.Wrap(fault.Internal, fault.ReasonPanic, fmt.Errorf("panic: %v\n%s", v, debug.Stack()), "internal error")
		}
		stop()
		<-beating
	}()
	return handler(ctx, req)
}

// heartbeat keeps the claim alive until ctx ends. When the claim is lost, it ends the handler.
func (s *server) heartbeat(ctx context.Context, g Grant, cancel context.CancelCauseFunc) {
	tick := time.NewTicker(s.Lease / 3)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		err := s.store.Heartbeat(ctx, g, s.Lease)
		if errors.Is(err, ErrStale) {
			c, _ := callFrom(ctx)
			if c.attempt == nil || !c.attempt.completed.Load() {
				cancel(ErrStale)
			}
			return
		}
		if err != nil && ctx.Err() == nil {
			s.Log.WarnContext(ctx, "idempotency heartbeat failed", slog.String(telemetry.KeyError, err.Error()))
		}
	}
}

// settle tells the store what became of the attempt.
func (s *server) settle(ctx context.Context, g Grant, claim Claim, resp any, failed error) error {
	switch fateOf(failed) {
	case fateReleased:
		return s.tell(ctx, func() error { return s.store.Release(ctx, g) })
	case fateUncertain:
		if claim.Takeover || claim.Probe {
			// The next call may try again at once: it is safe, or it looks first.
			return s.tell(ctx, func() error { return s.store.Heartbeat(ctx, g, 0) })
		}
		return s.tell(ctx, func() error { return s.store.Uncertain(ctx, g) })
	default:
		a, err := errAnswer(failed)
		if failed == nil {
			a, err = okAnswer(resp, s.Resource)
		}
		if err != nil {
			return err
		}
		return s.tell(ctx, func() error { return s.store.Complete(ctx, g, a) })
	}
}

// tell tries three times: what the store does not learn now costs the next caller a lease.
func (s *server) tell(ctx context.Context, say func() error) error {
	for pause := 50 * time.Millisecond; ; pause *= 2 {
		err := say()
		if err == nil || errors.Is(err, ErrStale) || pause > 100*time.Millisecond {
			return err
		}
		t := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			t.Stop()
			return err
		case <-t.C:
		}
	}
}

// stale answers for an attempt that no longer holds its claim: with what is stored, never with its own result.
func (s *server) stale(ctx, callCtx context.Context, method string, g Grant) (any, error) {
	res, err := s.store.Look(ctx, g)
	switch {
	case errors.Is(err, ErrStale): // purged meanwhile
		res = Result{Outcome: InDoubt}
	case err != nil:
		return nil, fault.Wrap(fault.Unavailable, ReasonStoreUnavailable, err,
			"the outcome could not be read; repeat the call with the same key").WithRetryAfter(time.Second)
	}
	if res.Outcome == Replay && res.Fence == g.Fence {
		// Our own answer is stored; only the store's reply was lost.
		msg, st, err := res.Answer.open()
		switch {
		case err != nil:
			return nil, fmt.Errorf("replay: %w", err)
		case st != nil:
			_ = grpc.SetTrailer(callCtx, metadata.Pairs(StatusMetadata, StatusExecuted))
			return nil, status.FromProto(st).Err()
		}
		_ = grpc.SetHeader(callCtx, metadata.Pairs(StatusMetadata, StatusExecuted))
		return msg, nil
	}
	return s.answer(callCtx, method, res)
}

// count notes the outcome in the metric and on the span; never the key.
func (s *server) count(ctx context.Context, method, outcome string, fence int64) {
	s.requests.Add(ctx, 1, metric.WithAttributes(
		attribute.String("rpc.method", method), attribute.String("selfsame.outcome", outcome)))
	trace.SpanFromContext(ctx).SetAttributes(
		attribute.String("idempotency.outcome", outcome), attribute.Int64("idempotency.attempt", fence))
}
