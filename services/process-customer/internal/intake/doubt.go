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
	for asked := 0; ; asked++ {
		b.believe = asked >= maxAsked || in.systems[system] == nil
		out, err := in.step(ctx, system, b, nil)
		var doubts doubtful
		if !errors.As(err, &doubts) {
			return out, err
		}
		if b.Changes, err = in.ask(ctx, in.systems[system], b.Changes, doubts); err != nil {
			return Outcome{}, err
		}
	}
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
		if asRead(c, read, gone) {
			c.Asked = known[c.Ref]
		}
	}
	return out, nil
}
