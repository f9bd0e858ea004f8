package target

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/pkg/idempotent"
)

// Searchable is a target that offers nothing for repeated calls, but can be searched by a reference that a record carries.
type Searchable[Req, Res any] interface {
	// LookUp finds the record that was created with the key as its reference.
	LookUp(ctx context.Context, key string, req Req) (res Res, found bool, err error)
	// Create makes a record that carries the key as its reference. An error says what it means for the effect: a refusal
	// by its kind, idempotent.NotExecuted for what cannot have arrived; everything else may have had the effect.
	Create(ctx context.Context, key string, req Req) (Res, error)
}

// Guard is the recipe "lock in Redis, look up, create, note it" with its five holes closed:
//
//  1. The lock ends while its holder still works, and two create. The claim is renewed just before creating, for longer than
//     creating may take; a holder that lost it does not create.
//  2. The holder dies between creating and noting. The next one looks up before it creates, always.
//  3. The search lags behind, and what exists is not found. A claim outlives the call by Settle, so nobody looks earlier.
//  4. The lock is released by somebody else, or although nobody knows whether the record was created. Claims have an owner
//     and a fence, and an unknown outcome keeps the claim for Settle.
//  5. The note is lost or has expired, and the call counts as new. The look-up comes before every creation, and a store that
//     does not answer is an error, not permission.
//
// It needs a target that shows a record within Settle after the call for it ended. A process that stands still between the
// renewal and the sending, for longer than Call and Settle together, and then sends although its deadline has passed, is
// beyond it: only a target that knows keys can refuse that.
type Guard[Req, Res any] struct {
	// Store keeps claims and results. Its records may be lost: then there is one look-up more.
	Store idempotent.Store
	// Name is that of the effect, part of the scope of its keys.
	Name string
	// Target is searched and written.
	Target Searchable[Req, Res]
	// Fingerprint is the identity of the request; nil compares its JSON.
	Fingerprint func(Req) []byte
	// Call bounds looking up and creating, each; zero means 10 s.
	Call time.Duration
	// Settle is how long after a call ended its record may be invisible to a search; zero means 1 s.
	Settle time.Duration
	// Retention is how long results are kept; zero means 30 days.
	Retention time.Duration
}

func (g Guard[Req, Res]) withDefaults() Guard[Req, Res] {
	if g.Call <= 0 {
		g.Call = 10 * time.Second
	}
	if g.Settle <= 0 {
		g.Settle = time.Second
	}
	if g.Retention <= 0 {
		g.Retention = 30 * 24 * time.Hour
	}
	return g
}

// Do implements Effect. Besides the errors of the target: Conflict (another attempt is at work; RetryAfter says how long),
// Uncertain (ask again after Settle), Unavailable (the store does not answer; nothing was done), Precondition KEY_REUSED.
func (g Guard[Req, Res]) Do(ctx context.Context, key string, req Req) (res Res, err error) {
	g = g.withDefaults()
	print, err := fingerprint(g.Fingerprint, req)
	if err != nil {
		return res, err
	}
	begun, err := g.Store.Begin(ctx, idempotent.Claim{
		Scope: idempotent.Scope{Method: "target/" + g.Name, Key: key}, Fingerprint: print, Owner: []byte(rand.Text()),
		Lease: g.Call + g.Settle, Retention: g.Retention, Probe: true,
	})
	if err != nil {
		return res, storeDown(err)
	}
	switch begun.Outcome {
	case idempotent.Granted:
		return g.attempt(ctx, key, req, begun.Grant)
	case idempotent.Replay:
		return decode[Res](begun.Answer)
	case idempotent.Mismatch:
		return res, reused()
	case idempotent.Gone:
		return g.gone(ctx, key, req)
	default:
		return res, fault.New(fault.Conflict, ReasonInProgress, "another attempt is at work").WithRetryAfter(begun.Remaining)
	}
}

// gone: it is done, and the note is no longer kept.
func (g Guard[Req, Res]) gone(ctx context.Context, key string, req Req) (res Res, err error) {
	res, found, err := g.lookUp(ctx, key, req)
	if err == nil && !found {
		err = fault.New(fault.Precondition, ReasonResultGone, "it was done, and what it made is gone")
	}
	return res, err
}

func (g Guard[Req, Res]) lookUp(ctx context.Context, key string, req Req) (Res, bool, error) {
	ctx, cancel := context.WithTimeout(ctx, g.Call)
	defer cancel()
	return g.Target.LookUp(ctx, key, req)
}

func (g Guard[Req, Res]) attempt(ctx context.Context, key string, req Req, grant idempotent.Grant) (Res, error) {
	var none Res
	res, found, err := g.lookUp(ctx, key, req)
	if err != nil {
		// Looking changes nothing; the claim is given back, and keeps in mind what was before it.
		return none, errors.Join(err, g.tell(ctx, func(ctx context.Context) error { return g.Store.Release(ctx, grant) }))
	}
	if found {
		return res, g.note(ctx, grant, res)
	}
	if err := g.Store.Heartbeat(ctx, grant, g.Call+g.Settle); err != nil {
		if errors.Is(err, idempotent.ErrStale) {
			return none, fault.Wrap(fault.Conflict, ReasonInProgress, err, "another attempt took over").WithRetryAfter(g.Settle)
		}
		return none, storeDown(err)
	}
	create, cancel := context.WithTimeout(ctx, g.Call)
	defer cancel()
	res, err = g.Target.Create(create, key, req)
	switch {
	case err == nil:
		return res, g.note(ctx, grant, res)
	case fault.Is(err, fault.AlreadyExists):
		// Somebody was there in spite of everything, or an earlier call arrived late.
		if res, found, lookErr := g.lookUp(ctx, key, req); lookErr == nil && found {
			return res, g.note(ctx, grant, res)
		}
		return none, g.keep(ctx, grant, err)
	case idempotent.MayHaveExecuted(err):
		return none, g.keep(ctx, grant, err)
	default:
		return none, errors.Join(err, g.tell(ctx, func(ctx context.Context) error { return g.Store.Release(ctx, grant) }))
	}
}

// keep lets nobody look for the record before it can be seen.
func (g Guard[Req, Res]) keep(ctx context.Context, grant idempotent.Grant, cause error) error {
	err := g.tell(ctx, func(ctx context.Context) error { return g.Store.Heartbeat(ctx, grant, g.Settle) })
	return fault.Wrap(fault.Uncertain, fault.ReasonOutcomeUncertain, errors.Join(cause, err), "the target may have done it; ask again with the same key").
		WithRetryAfter(g.Settle)
}

// note stores the result. If that fails, the result is not given out as one: the next call finds it by looking.
func (g Guard[Req, Res]) note(ctx context.Context, grant idempotent.Grant, res Res) error {
	body, err := json.Marshal(res)
	if err != nil {
		return fmt.Errorf("store the result: %w", err)
	}
	err = g.tell(ctx, func(ctx context.Context) error {
		return g.Store.Complete(ctx, grant, idempotent.Answer{OK: true, Body: body})
	})
	if err != nil && !errors.Is(err, idempotent.ErrStale) {
		return storeDown(err)
	}
	return nil // stale: whoever took over looks up and finds the same record
}

// tell talks to the store although the caller may have gone.
func (g Guard[Req, Res]) tell(ctx context.Context, say func(ctx context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	return say(ctx)
}

func storeDown(err error) error {
	return fault.Wrap(fault.Unavailable, idempotent.ReasonStoreUnavailable, err, "the idempotency store does not answer")
}

func decode[Res any](a idempotent.Answer) (res Res, err error) {
	if err := json.Unmarshal(a.Body, &res); err != nil {
		return res, fmt.Errorf("read the stored result: %w", err)
	}
	return res, nil
}

// fingerprint is the first byte of the algorithm and what identifies the request.
func fingerprint[Req any](of func(Req) []byte, req Req) ([]byte, error) {
	if of != nil {
		return of(req), nil
	}
	b, err := json.Marshal(req)
	if err != nil {
		return nil, fmt.Errorf("identify the request: %w", err)
	}
	return hash(b), nil
}
