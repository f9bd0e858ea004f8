package idempotent

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/selfsame-io/selfsame/pkg/fault"
)

// Step runs one step of a handler and records its result, so that an attempt that takes over after a crash gets the
// result instead of doing the step again. Name is a constant in the code, with the item it is about if there are many
// ("order.line/7"). A step that may have happened although it was not recorded is done again: what it calls must carry
// a child key. Without a claim Step only calls do.
//
// An error that wraps ErrStale means that another attempt took over: the handler must stop.
func Step(ctx context.Context, name string, do func(ctx context.Context) ([]byte, error)) ([]byte, error) {
	c, _ := callFrom(ctx)
	a := c.attempt
	if a == nil || a.direct {
		return do(ctx)
	}
	recorded, err := a.recorded(ctx)
	if err != nil {
		return nil, err
	}
	place := func() []byte { return aad(a.grant.Digest, 0, "step/"+name) }
	if sealed, ok := recorded[name]; ok {
		result, err := a.server.unseal(sealed, place)
		if err != nil {
			return nil, fault.Wrap(fault.Internal, ReasonUnreadable, err, "a recorded step cannot be read")
		}
		return result[min(1, len(result)):], nil
	}
	result, err := do(ctx)
	if err != nil {
		return nil, err
	}
	sealed, err := a.server.seal(append([]byte{plainVersion}, result...), place)
	if err != nil {
		return nil, err
	}
	err = tell(ctx, func() error { return a.server.store.Step(ctx, a.grant, name, sealed) })
	switch {
	case errors.Is(err, ErrStale):
		return nil, fmt.Errorf("step %s: %w", name, err)
	case err != nil:
		return nil, fault.Wrap(fault.Unavailable, ReasonStoreUnavailable, err, "the step could not be recorded").WithRetryAfter(time.Second)
	}
	return result, nil
}

// StepMessage is Step with a message as its result.
func StepMessage[M any, P interface {
	*M
	proto.Message
}](ctx context.Context, name string, do func(ctx context.Context) (P, error)) (P, error) {
	var made P
	b, err := Step(ctx, name, func(ctx context.Context) ([]byte, error) {
		var err error
		if made, err = do(ctx); err != nil {
			return nil, err
		}
		return proto.Marshal(made)
	})
	if err != nil || made != nil {
		return made, err
	}
	made = P(new(M))
	if err := proto.Unmarshal(b, made); err != nil {
		return nil, fault.Wrap(fault.Internal, ReasonUnreadable, err, "a recorded step cannot be read")
	}
	return made, nil
}

// recorded reads the steps of earlier attempts, once.
func (a *attempt) recorded(ctx context.Context) (map[string][]byte, error) {
	if a.grant.Fence == 1 {
		return nil, nil
	}
	a.stepsMu.Lock()
	defer a.stepsMu.Unlock()
	if a.steps != nil {
		return a.steps, nil
	}
	steps, err := a.server.store.Steps(ctx, a.grant)
	if err != nil {
		return nil, fault.Wrap(fault.Unavailable, ReasonStoreUnavailable, err, "the recorded steps cannot be read").WithRetryAfter(time.Second)
	}
	if steps == nil {
		steps = map[string][]byte{}
	}
	a.steps = steps
	return steps, nil
}
