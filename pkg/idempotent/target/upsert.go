package target

import (
	"context"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/pkg/retry"
)

// Putter writes a record by its natural key: it creates the record or changes it to what req says, and says which. Two
// simultaneous creations of one key may fail with Conflict or AlreadyExists, as they do at Salesforce.
type Putter[Req, Res any] interface {
	Put(ctx context.Context, naturalKey string, req Req) (res Res, created bool, err error)
}

// Upsert has an effect by writing the whole wanted state under a natural key. The natural key is the identity, the
// idempotency key is not sent: another request for the same natural key is a later wish, not a mistake.
//
// It needs a target that keeps the natural key unique, and requests that say what is to be, not what to add. A late attempt
// can overwrite a newer state: give the target a version to compare where that matters.
type Upsert[Req, Res any] struct {
	// Target writes.
	Target Putter[Req, Res]
	// NaturalKey names the record that req is about; it must not be empty.
	NaturalKey func(Req) string
	// Retry says how often; every failure that may pass is repeated, an unknown outcome too.
	Retry retry.Policy
}

// Do implements Effect; key is not used.
func (u Upsert[Req, Res]) Do(ctx context.Context, _ string, req Req) (res Res, err error) {
	name := u.NaturalKey(req)
	if name == "" {
		// Some systems take an empty external id for "none" and make a new record each time.
		return res, fault.New(fault.Invalid, "", "the request has no natural key")
	}
	uncertain := false
	err = retry.Do(ctx, u.Retry, func(ctx context.Context) error {
		got, _, err := u.Target.Put(ctx, name, req)
		switch fault.KindOf(err) {
		case fault.AlreadyExists: // lost the race of creating: the next one changes what the winner made
			err = fault.Wrap(fault.Conflict, "", err, "the record was created at the same time")
		case fault.Uncertain:
			uncertain = true
			err = fault.Wrap(fault.Unavailable, "", err, "the answer of the target was lost")
		default:
		}
		if err == nil {
			res = got
		}
		return err
	})
	if err != nil && uncertain && fault.Retryable(err) {
		err = fault.Wrap(fault.Uncertain, fault.ReasonOutcomeUncertain, err, "the target may have done it; ask again")
	}
	return res, err
}
