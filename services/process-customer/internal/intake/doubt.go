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

// returned ends a transaction that would take in records of which the same version is told, or known, as deleted and as living, or
// as gone by a merge and for themselves: only their system can say which of the two came last.
type returned []golden.Ref

// Error says how many records there are.
func (r returned) Error() string {
	return fmt.Sprintf("%d records have come to two ends in the same version", len(r))
}

// fate is what became of a record in a version.
type fate struct {
	version int64
	deleted bool
	into    string // what a merge put in its place
}

// open reports whether a record that came to the fate before, and of which this one is told, may have come to either. Who went by a merge
// and is deleted later for itself, or merged into another, was back in between, or the merge was told again by somebody who has forgotten
// it.
func (is fate) open(before fate) bool {
	other := is.deleted != before.deleted || is.into != before.into
	return other && (is.version == before.version || (is.version > before.version && is.deleted && before.into != ""))
}

// returned returns the loaded records that seem to be back, or gone in another way, without being any newer.
func (r *run) returned(changes []source.Change) returned {
	if r.in.systems[r.system] == nil {
		return nil
	}
	was := map[golden.Ref]fate{}
	var back returned
	for i := range changes {
		c := &changes[i]
		is := fate{c.Version, c.Deleted, c.MergedInto}
		switch {
		case c.Record != nil:
			is.version = c.Record.Version
		case !c.Deleted || c.Version == 0:
			continue // it says nothing, or not in which version
		}
		before, met := was[c.Ref]
		if row := r.unit.Row(c.Ref); !met && row != nil {
			before, met = fate{row.Version, row.Deleted, row.MergedInto}, true
		}
		if met && is.open(before) && !r.batch.again[c.Ref] {
			back = append(back, c.Ref)
		}
		if !met || is.version >= before.version {
			was[c.Ref] = is
		}
	}
	return back
}

// reread reads such records and returns the changes with what they hold now. What is gone without a word of a merge was not merged,
// whatever was told before.
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
	out := allAsRead(changes, read, gone)
	for i := range out {
		if rec, ok := gone[out[i].Ref]; ok {
			out[i].MergedInto, out[i].Reread = rec.MergedInto, true
		}
	}
	return out, nil
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
