package source

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/selfsame-io/selfsame/pkg/fault"
)

// Deadlines of calls whose context has none that is sooner. A batch of writes may be many calls to the vendor.
const (
	readTimeout  = 30 * time.Second
	writeTimeout = 2 * time.Minute
)

// silence is how long a feed may say nothing before it is opened again. Both feeds send heartbeats far more often, so
// this only ends streams that are dead without anybody having noticed.
const silence = 5 * time.Minute

// maxFetch is the greatest number of ids in one call of the system services.
const maxFetch = 1000

var errSilent = errors.New("the feed said nothing for too long")

// follow hands batches to fn until the stream ends. Open starts the stream and returns what reads the next batch.
func follow(ctx context.Context, quiet time.Duration, open func(context.Context) (func() (Batch, error), error), fn func(Batch) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watchdog := time.AfterFunc(quiet, func() { cancel(errSilent) })
	defer watchdog.Stop()
	next, err := open(ctx)
	for err == nil {
		var batch Batch
		if batch, err = next(); err != nil {
			break
		}
		// The time that fn takes is not the feed's silence.
		watchdog.Stop()
		if err := fn(batch); err != nil {
			return err
		}
		watchdog.Reset(quiet)
	}
	switch {
	case errors.Is(err, io.EOF):
		return nil
	case errors.Is(context.Cause(ctx), errSilent):
		return fault.Wrap(fault.Unavailable, fault.ReasonUnavailable, errSilent, "the feed said nothing for %s", quiet)
	default:
		return fault.FromStatus(err)
	}
}

// piecemeal makes one call for all items. The services refuse a batch as a whole when one record of it breaks their
// contract, so a refused batch is cut in half until the culprits stand alone; everybody else gets through.
func piecemeal[T any](ctx context.Context, items []T, call func(context.Context, []T) ([]Result, error)) ([]Result, error) {
	results, err := call(ctx, items)
	if err == nil && len(results) != len(items) {
		err = fault.New(fault.Internal, fault.ReasonInternal, "the service answered %d of %d records", len(results), len(items))
	}
	if err == nil {
		return results, nil
	}
	err = fault.FromStatus(err)
	if !fault.Is(err, fault.Invalid) {
		return nil, err
	}
	if len(items) == 1 {
		return []Result{{Err: err}}, nil
	}
	out := make([]Result, 0, len(items))
	for _, half := range [][]T{items[:len(items)/2], items[len(items)/2:]} {
		part, err := piecemeal(ctx, half, call)
		if err != nil {
			// The other half may have been written, so this is no longer the failure of everything.
			part = slices.Repeat([]Result{{Err: err}}, len(half))
		}
		out = append(out, part...)
	}
	return out, nil
}

// recordError is what both services say about a record they did not write.
type recordError interface {
	GetReason() string
	GetMessage() string
	GetField() string
	GetRetryable() bool
}

// refusal classifies why one record was not written.
func refusal(e recordError, uncertain bool) error {
	reason, field := e.GetReason(), e.GetField()
	out := &fault.Error{Kind: fault.Precondition, Reason: reason, Message: e.GetMessage()}
	if field != "" {
		out.Fields = []fault.Field{{Path: field, Reason: reason, Description: e.GetMessage()}}
	}
	switch {
	case uncertain:
		out.Kind = fault.Uncertain
	case reason == fault.ReasonETagMismatch:
		out.Kind = fault.Conflict
	case e.GetRetryable():
		out.Kind = fault.Unavailable
	case gone(reason) && (field == "" || field == "id" || strings.HasSuffix(field, ".id")):
		out.Kind = fault.NotFound
	case reason == "REFERENCE_TAKEN" || reason == "DUPLICATE_VALUE":
		out.Kind = fault.AlreadyExists
	case field != "":
		out.Kind = fault.Invalid
	}
	return out
}

// gone reports whether a reason of one of the services means that the record is not there.
func gone(reason string) bool {
	switch reason {
	case fault.ReasonNotFound, "RECORD_DELETED", "RECORD_NOT_FOUND", "UNKNOWN_RECORD":
		return true
	default:
		return false
	}
}

// checkSize refuses more writes than fit into one call.
func checkSize(writes []Write) error {
	if len(writes) > MaxWrites {
		return fault.New(fault.Invalid, fault.ReasonValidationFailed, "%d writes in one call, at most %d", len(writes), MaxWrites)
	}
	return nil
}

// timeOf returns the zero time for an absent timestamp.
func timeOf(t *timestamppb.Timestamp) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.AsTime()
}

// chunks calls fn with at most maxFetch ids at a time.
func chunks(ids []string, fn func([]string) error) error {
	for part := range slices.Chunk(ids, maxFetch) {
		if err := fn(part); err != nil {
			return err
		}
	}
	return nil
}
