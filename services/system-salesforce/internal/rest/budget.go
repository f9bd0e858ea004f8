package rest

import (
	"context"
	"net/http"
	"sync"

	"github.com/selfsame-io/selfsame/pkg/fault"
)

// Budget decides whether and when a call may be made. Package budget has one that all replicas share; a client without any
// uses one of its own, which knows no priorities.
type Budget interface {
	// Begin waits for a call slot and takes one call of the org's allowance, at the priority of ctx. end must be called once,
	// when the call is over and its answer has been read.
	//
	// Errors: Exhausted with RetryAfter when the call has to wait; Timeout when ctx ended before a slot was free.
	Begin(ctx context.Context) (end func(CallOutcome), err error)
}

// CallOutcome is what one call told about the allowance.
type CallOutcome struct {
	// Sends is how often a request left for Salesforce: 0 when none did, 2 when the session had to be renewed.
	Sends int
	// Used and Limit are the figures of Sforce-Limit-Info; both are 0 when no answer carried them.
	Used, Limit int64
	// Exhausted is true when Salesforce refused the call because the allowance is used up.
	Exhausted bool
	// Crowded is true when Salesforce refused the call because too many run at once.
	Crowded bool
	// Served is true when Salesforce did what was asked.
	Served bool
}

// note adds what one answer says.
func (o *CallOutcome) note(header http.Header) {
	if used, limit, ok := parseUsage(header.Get("Sforce-Limit-Info")); ok {
		o.Used, o.Limit = used, limit
	}
}

// failed adds what a refusal says.
func (o *CallOutcome) failed(t *trouble) {
	if t != nil && t.err != nil {
		o.Exhausted = o.Exhausted || t.err.Reason == ReasonLimit
		o.Crowded = o.Crowded || t.err.Reason == ReasonConcurrency
	}
}

// alone is the budget of a client without any: a number of slots, and a pause after the allowance was used up.
type alone struct {
	c     *Client
	slots chan struct{}
	limit limiter
}

// Begin implements Budget.
func (b *alone) Begin(ctx context.Context) (func(CallOutcome), error) {
	if err := b.limit.allow(b.c.o.Now()); err != nil {
		return nil, err
	}
	select {
	case b.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, fault.Wrap(fault.Timeout, fault.ReasonTimeout, ctx.Err(), "no call slot became free in time")
	}
	var once sync.Once
	return func(o CallOutcome) {
		once.Do(func() {
			switch {
			case o.Exhausted:
				b.limit.exhausted(b.c.o.Now())
			case o.Served:
				b.limit.served()
			}
			<-b.slots
		})
	}, nil
}
