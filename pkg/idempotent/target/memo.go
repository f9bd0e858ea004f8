package target

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/pkg/idempotent"
)

// Memo keeps the results of computations that are expensive and have no effect: the answer of a language model, an
// embedding, a report. For one id it is computed once, by one replica; the others wait for it, and afterwards it is read.
//
// Nothing depends on it being computed only once: after a crash, a lost record or a purge it is computed again. A failure is
// not kept.
type Memo[Res any] struct {
	// Store keeps results; a volatile one is enough.
	Store idempotent.Store
	// Name is that of the computation, version included: "case-summary/v3".
	Name string
	// Lease is how long a computation may be silent before another replica takes over; it is renewed every third of it.
	// Zero means 15 s.
	Lease time.Duration
	// Retention is how long results are kept; zero means 30 days.
	Retention time.Duration
	// MaxResult is the largest result that is kept, as JSON; zero means 1 MiB. A larger one is computed each time.
	MaxResult int
}

func hash(b []byte) []byte {
	h := sha256.Sum256(b)
	return append([]byte{1}, h[:]...)
}

// Get returns the result for an id, and whether it was there before. Input is what it is computed from: the same id with
// another input is refused (Precondition KEY_REUSED), since one of the two would get the other's answer. It waits for
// another computation until ctx ends.
func (m Memo[Res]) Get(ctx context.Context, id string, input []byte, compute func(ctx context.Context) (Res, error)) (res Res, hit bool, err error) {
	if m.Lease <= 0 {
		m.Lease = 15 * time.Second
	}
	if m.Retention <= 0 {
		m.Retention = 30 * 24 * time.Hour
	}
	if m.MaxResult <= 0 {
		m.MaxResult = 1 << 20
	}
	claim := idempotent.Claim{
		Scope: idempotent.Scope{Method: "memo/" + m.Name, Key: id}, Fingerprint: hash(input), Owner: []byte(rand.Text()),
		Lease: m.Lease, Retention: m.Retention, Takeover: true,
	}
	for pause := 10 * time.Millisecond; ; pause = min(2*pause, m.Lease/3) {
		begun, err := m.Store.Begin(ctx, claim)
		if err != nil {
			return res, false, storeDown(err)
		}
		switch begun.Outcome {
		case idempotent.Replay:
			res, err := decode[Res](begun.Answer)
			return res, true, err
		case idempotent.Mismatch:
			return res, false, reused()
		case idempotent.Gone: // too large to keep, or past its retention
			res, err := compute(ctx)
			return res, false, err
		case idempotent.Granted:
			res, err := m.compute(ctx, begun.Grant, compute)
			if errors.Is(err, idempotent.ErrStale) {
				continue // another replica has it
			}
			return res, false, err
		default:
		}
		t := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			t.Stop()
			return res, false, fault.Wrap(fault.Timeout, "", ctx.Err(), "the result is being computed")
		case <-t.C:
		}
	}
}

// compute runs under a heartbeat; when the claim is lost, it stops.
func (m Memo[Res]) compute(ctx context.Context, g idempotent.Grant, compute func(ctx context.Context) (Res, error)) (res Res, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	beating := make(chan struct{})
	go func() {
		defer close(beating)
		tick := time.NewTicker(m.Lease / 3)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			if err := m.Store.Heartbeat(ctx, g, m.Lease); errors.Is(err, idempotent.ErrStale) {
				cancel(idempotent.ErrStale)
				return
			}
		}
	}()
	defer func() {
		cancel(nil)
		<-beating
		if v := recover(); v != nil {
			m.release(ctx, g)
			panic(v)
		}
	}()
	res, err = compute(ctx)
	if errors.Is(context.Cause(ctx), idempotent.ErrStale) {
		return res, idempotent.ErrStale
	}
	if err != nil {
		m.release(ctx, g)
		return res, err
	}
	body, err := json.Marshal(res)
	if err != nil {
		m.release(ctx, g)
		return res, fmt.Errorf("store the result: %w", err)
	}
	a := idempotent.Answer{OK: true, Body: body}
	if len(body) > m.MaxResult {
		a.Body = nil
	}
	tell, stop := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer stop()
	// Whatever the store says, this is the result: it has no effect that could happen twice.
	_ = m.Store.Complete(tell, g, a)
	return res, nil
}

func (m Memo[Res]) release(ctx context.Context, g idempotent.Grant) {
	ctx, stop := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer stop()
	_ = m.Store.Release(ctx, g) // if that is not heard, the lease ends by itself
}
