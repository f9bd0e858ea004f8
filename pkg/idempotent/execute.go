package idempotent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/pkg/telemetry"
)

// attempt is one call to a protected method, and its execution if it comes to that. Its handler's context holds it.
type attempt struct {
	call
	server    *server
	policy    *policy
	request   proto.Message
	handler   grpc.UnaryHandler
	note      note
	claim     Claim
	grant     Grant
	stream    *stream
	direct    bool        // nothing is claimed: the answer itself is inserted in the transaction of the effect
	completed atomic.Bool // CompleteTx stored the answer

	stepsMu sync.Mutex
	steps   map[string][]byte // of earlier attempts, once they have been read
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

// execute runs the handler under its claim and settles the claim.
func (a *attempt) execute(ctx context.Context) (any, error) {
	if leave, _ := a.server.flights.enter(a.grant.Digest, a.claim.Fingerprint); leave != nil {
		defer leave()
	}
	a.note.executing(a.grant)
	resp, err := a.run(ctx)
	if err == nil && a.completed.Load() {
		a.note.answered(a.claim.Probe)
		a.stream.flush(false)
		return resp, nil
	}
	// The settlement must not depend on a caller that may be gone.
	settleCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	settled := a.settle(settleCtx, resp, err)
	switch {
	case settled == nil:
	case errors.Is(settled, ErrStale):
		return a.stale(settleCtx)
	case err == nil:
		// A success that is not stored must not be reported: the next call would execute again.
		a.note.outcome = outcomeStoreError
		return nil, fault.Wrap(fault.Unavailable, ReasonStoreUnavailable, settled,
			"the outcome could not be stored; repeat the call with the same key").WithRetryAfter(time.Second)
	default:
		a.server.Log.WarnContext(ctx, "idempotency claim not settled", slog.String(telemetry.KeyMethod, a.method),
			slog.String(telemetry.KeyError, settled.Error()))
	}
	a.stream.flush(err != nil)
	if err != nil {
		return nil, err
	}
	return resp, nil
}

// run calls the handler, with a heartbeat beside it. A panic is an error: nobody knows how far it came.
func (a *attempt) run(ctx context.Context) (resp any, err error) {
	inner := grpc.ServerTransportStreamFromContext(ctx)
	if inner == nil {
		inner = nowhere{a.method}
	}
	a.stream = &stream{ServerTransportStream: inner}
	c := a.call
	c.attempt = a
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cancel(nil)
	ctx, stop := context.WithTimeout(ctx, a.server.Budget)
	defer stop()
	ctx = context.WithValue(grpc.NewContextWithServerTransportStream(ctx, a.stream), callKey{}, c)
	rest := func() {}
	if !a.direct {
		rest = a.beat(ctx, cancel)
	}
	defer func() {
		if v := recover(); v != nil {
			resp, err = nil, fault.Wrap(fault.Internal, fault.ReasonPanic, fmt.Errorf("panic: %v\n%s", v, debug.Stack()), "internal error")
		}
		stop()
		rest()
	}()
	return a.handler(ctx, a.request)
}

// beat starts the heartbeat once a third of the lease is over: most handlers are done by then. The returned function
// waits for its end; ctx must have ended.
func (a *attempt) beat(ctx context.Context, cancel context.CancelCauseFunc) func() {
	ended, begun := make(chan struct{}), time.Now()
	timer := time.AfterFunc(a.server.Lease/3, func() {
		defer close(ended)
		a.heartbeat(ctx, begun, cancel)
	})
	return func() {
		if !timer.Stop() {
			<-ended
		}
	}
}

// errLease ends a handler whose claim may have run out, because the store was not reached in time.
var errLease = errors.New("the lease of the idempotency claim could not be extended")

// heartbeat keeps the claim alive until ctx ends. When the claim is lost, it ends the handler; when the store has not
// answered for most of a lease too, since another attempt may begin then, and the calls of this one must not come after it.
func (a *attempt) heartbeat(ctx context.Context, begun time.Time, cancel context.CancelCauseFunc) {
	lease := a.server.Lease
	end := begun.Add(lease - lease/10) // clocks run differently, and cancelling takes time
	for ctx.Err() == nil {
		sent := time.Now()
		beat, done := context.WithDeadline(ctx, end)
		err := a.server.store.Heartbeat(beat, a.grant, lease)
		done()
		switch {
		case errors.Is(err, ErrStale):
			if !a.completed.Load() {
				cancel(ErrStale)
			}
			return
		case err == nil:
			end = sent.Add(lease - lease/10)
		case ctx.Err() == nil:
			a.server.Log.WarnContext(ctx, "idempotency heartbeat failed", slog.String(telemetry.KeyError, err.Error()))
		}
		if !time.Now().Before(end) {
			cancel(errLease)
			return
		}
		next := time.NewTimer(min(lease/3, time.Until(end)))
		select {
		case <-ctx.Done():
			next.Stop()
		case <-next.C:
		}
	}
}

// settle tells the store what became of the attempt.
func (a *attempt) settle(ctx context.Context, resp any, failed error) error {
	ctx, end := spanned(ctx, "idempotency settle")
	defer end()
	store, g := a.server.store, a.grant
	switch fateOf(failed, a.policy.successOnly) {
	case fateReleased:
		a.note.released()
		return tell(ctx, func() error { return store.Release(ctx, g) })
	case fateUncertain:
		if a.claim.Takeover || a.claim.Probe {
			// The next call may try again at once: it is safe, or it looks first.
			return tell(ctx, func() error { return store.Heartbeat(ctx, g, 0) })
		}
		return tell(ctx, func() error { return store.Uncertain(ctx, g) })
	default:
		kept, err := a.answer(resp, failed)
		if err != nil {
			return err
		}
		if err = tell(ctx, func() error { return store.Complete(ctx, g, kept) }); err == nil {
			a.note.answered(a.claim.Probe)
		}
		return err
	}
}

// tell tries three times: what the store does not learn now costs the next caller a lease.
func tell(ctx context.Context, say func() error) error {
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

// unread is the answer while the store does not say what became of the key.
func (a *attempt) unread(err error) error {
	a.note.outcome = outcomeStoreError
	return fault.Wrap(fault.Unavailable, ReasonStoreUnavailable, err,
		"the outcome could not be read; repeat the call with the same key").WithRetryAfter(time.Second)
}

// stale answers for an attempt that no longer holds its claim: with what is stored, never with its own result.
func (a *attempt) stale(ctx context.Context) (any, error) {
	res, err := a.server.store.Look(ctx, a.grant)
	switch {
	case errors.Is(err, ErrStale): // purged meanwhile
		res = Result{Outcome: InDoubt, Digest: a.grant.Digest, Fence: a.grant.Fence}
	case err != nil:
		return nil, a.unread(err)
	}
	// With our fence it is our own answer that is stored, and only the store's reply was lost.
	a.note.own = res.Outcome == Replay && res.Fence == a.grant.Fence
	return a.reply(ctx, res)
}
