package intake

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/selfsame-io/selfsame/services/process-customer/internal/fold"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/source"
)

// doubtful ends a transaction in which a snapshot turned out to be possibly older than what is known.
type doubtful []fold.Doubt

// Error says how many records are in doubt.
func (d doubtful) Error() string { return fmt.Sprintf("%d records have to be read again", len(d)) }

// maxAsked is how often a batch is asked about. Each answer can only be in doubt again when we wrote to the record, or
// heard of it, between the question and the transaction.
const maxAsked = 4

// certain takes a batch in after all doubts about it were asked. A system that is never at rest is believed in the end:
// its next change corrects what was concluded.
func (in *Intake) certain(ctx context.Context, system string, b Batch) (Outcome, error) {
	sys := in.systems[system]
	again := map[golden.Ref]bool{}
	b.again = again
	for asked := 0; ; {
		b.believe = asked >= maxAsked || sys == nil
		out, err := in.step(ctx, system, b, nil)
		var back returned
		var doubts doubtful
		switch {
		case errors.As(err, &back):
			b.Changes, err = in.reread(ctx, sys, b.Changes, back)
			for _, ref := range back {
				again[ref] = true
			}
		case errors.As(err, &doubts):
			b.Changes, err = in.ask(ctx, sys, b.Changes, doubts)
			asked++
		default:
			return out, err
		}
		if err != nil {
			return Outcome{}, unanswered{err}
		}
	}
}

// unanswered is why a system did not say what it was asked. It says nothing about the changes.
type unanswered struct{ error }

// Unwrap returns the system's error.
func (e unanswered) Unwrap() error { return e.error }

// returned ends a transaction that would take in records of which the same version is told, or known, as deleted and as living:
// only their system can say which of the two came last.
type returned []golden.Ref

// Error says how many records there are.
func (r returned) Error() string {
	return fmt.Sprintf("%d records are deleted and living in the same version", len(r))
}

// returned returns the loaded records that seem to be back, or gone, without being any newer.
func (r *run) returned(changes []source.Change) returned {
	if r.in.systems[r.system] == nil {
		return nil
	}
	type state struct {
		version int64
		deleted bool
	}
	was := map[golden.Ref]state{}
	var back returned
	for i := range changes {
		c := &changes[i]
		is := state{c.Version, c.Deleted}
		switch {
		case c.Record != nil:
			is.version = c.Record.Version
		case !c.Deleted || c.Version == 0:
			continue // it says nothing, or not in which version
		}
		before, met := was[c.Ref]
		if row := r.unit.Row(c.Ref); !met && row != nil {
			before, met = state{row.Version, row.Deleted}, true
		}
		if met && is.version == before.version && is.deleted != before.deleted && !r.batch.again[c.Ref] {
			back = append(back, c.Ref)
		}
		if !met || is.version >= before.version {
			was[c.Ref] = is
		}
	}
	return back
}

// reread reads such records and returns the changes with what they hold now.
func (in *Intake) reread(ctx context.Context, sys source.System, changes []source.Change, back returned) ([]source.Change, error) {
	read := map[golden.Ref]*source.Record{}
	gone := map[golden.Ref]source.Record{}
	for _, obj := range golden.Objects() {
		var ids []string
		for _, ref := range back {
			if ref.Object == obj && !slices.Contains(ids, ref.RecordID) {
				ids = append(ids, ref.RecordID)
			}
		}
		if err := fetch(ctx, sys, obj, ids, read, gone); err != nil {
			return nil, err
		}
	}
	return allAsRead(changes, read, gone), nil
}

// ask reads the records in doubt and returns the changes with what they hold now.
func (in *Intake) ask(ctx context.Context, sys source.System, changes []source.Change, doubts doubtful) ([]source.Change, error) {
	known := map[golden.Ref]string{}
	ids := map[golden.Object][]string{}
	for _, d := range doubts {
		known[d.Ref] = d.Known
		ids[d.Ref.Object] = append(ids[d.Ref.Object], d.Ref.RecordID)
	}
	read := map[golden.Ref]*source.Record{}
	gone := map[golden.Ref]source.Record{}
	for _, obj := range golden.Objects() {
		if err := fetch(ctx, sys, obj, ids[obj], read, gone); err != nil {
			return nil, err
		}
	}
	out := slices.Clone(changes)
	for i := range out {
		c := &out[i]
		if known[c.Ref] == "" || c.Overflow {
			continue
		}
		before := c.Record
		if asRead(c, read, gone) {
			c.Asked = known[c.Ref]
			c.Newer = c.Newer || (before != nil && c.Record.EventTime.After(before.EventTime))
		}
	}
	return out, nil
}
