package simulation

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/source"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/source/sourcetest"
)

// line is one system and the way to it, the same for all processes.
type line struct {
	w       *world
	name    string
	fake    *sourcetest.Fake
	checks  bool     // whether the system refuses writes to another version
	names   bool     // whether it says whose a change is
	faults  []string // how the next writing calls end
	late    []straggler
	armed   []Step // what happens during coming calls
	poison  map[int]string
	lost    bool // the feed lost changes and did not say so
	owes    bool // the feed lost changes and has yet to say so
	told    map[string]bool
	absent  map[string]bool // external ids that were looked up and not there
	expired bool            // the feed forgot what it had told
	gaps    bool            // the feed lost changes, whether it said so or not
}

// straggler is a write that arrives after its caller has given up.
type straggler struct {
	object golden.Object
	writes []source.Write
	gone   []string // records to be deleted
}

// own has the feed say that it lost count, if it did.
func (l *line) own() {
	if l.owes {
		l.owes = false
		l.fake.Drop(0)
		l.fake.Overflow("")
	}
}

// meanwhile lets happen what the story has planned for the next call of a kind.
func (l *line) meanwhile(ctx context.Context, kind string, after bool) {
	for i, s := range l.armed {
		if s.Kind == kind && s.After == after {
			l.armed = slices.Delete(l.armed, i, i+1)
			l.w.note("   meanwhile: %s", s.Then)
			l.w.do(ctx, *s.Then)
			return
		}
	}
}

// upsert carries a call out, as the next planned fault says.
func (l *line) upsert(ctx context.Context, obj golden.Object, writes []source.Write, seen map[golden.Ref]source.Record) ([]source.Result, error) {
	kind := l.planned()
	for _, w := range writes {
		l.w.attempted(l, obj, w)
		if l.poison[l.w.whose(l, obj, w)] == RefusesWholeCall {
			return nil, fault.New(fault.Invalid, fault.ReasonValidationFailed, "a record of the call is not taken")
		}
	}
	if kind == Straggle {
		l.late = append(l.late, straggler{object: obj, writes: slices.Clone(writes)})
	}
	return l.under(kind, len(writes), func(from, to int) ([]source.Result, error) {
		return l.write(ctx, obj, writes[from:to], func(ref golden.Ref, field, value string) bool {
			rec, looked := seen[ref]
			return looked && rec.Values[field] != value
		})
	})
}

// planned returns how the next call that changes something is to end.
func (l *line) planned() string {
	if len(l.faults) == 0 {
		return ""
	}
	var kind string
	kind, l.faults = l.faults[0], l.faults[1:]
	l.w.stats.Faults++
	l.w.note("   %s", kind)
	return kind
}

// under carries a call about n records out as a fault says; do does it for a part of them.
func (l *line) under(kind string, n int, do func(from, to int) ([]source.Result, error)) ([]source.Result, error) {
	away := fault.New(fault.Unavailable, fault.ReasonUnavailable, "the connection was lost")
	switch kind {
	case LoseRequest:
		return nil, away
	case Straggle:
		return nil, fault.New(fault.Timeout, fault.ReasonTimeout, "the system did not answer in time")
	case Quota:
		return nil, fault.New(fault.Exhausted, "QUOTA_EXHAUSTED", "the allowance is used up").WithRetryAfter(90 * time.Second)
	case HalfWritten:
		if _, err := do(0, (n+1)/2); err != nil {
			return nil, err
		}
		return nil, away
	case SomeLocked, SomeConflict, SomeUnsure:
		return l.partly(kind, n, do)
	}
	res, err := do(0, n)
	switch {
	case err != nil:
		return nil, err
	case kind == LoseAnswer:
		return nil, away
	case kind == Unsure:
		return nil, fault.New(fault.Uncertain, fault.ReasonOutcomeUncertain, "nobody knows what was written")
	}
	return res, nil
}

// partly fails every second record.
func (l *line) partly(kind string, n int, do func(from, to int) ([]source.Result, error)) ([]source.Result, error) {
	out := make([]source.Result, n)
	for i := range n {
		if i%2 == 0 {
			switch kind {
			case SomeLocked:
				out[i].Err = sourcetest.Transient()
				continue
			case SomeConflict:
				out[i].Err = fault.New(fault.Conflict, fault.ReasonETagMismatch, "the record has another version")
				continue
			}
		}
		res, err := do(i, i+1)
		if err != nil {
			return nil, err
		}
		out[i] = res[0]
		if i%2 == 0 && res[0].Err == nil {
			out[i] = source.Result{Err: fault.New(fault.Uncertain, fault.ReasonOutcomeUncertain, "nobody knows whether the record was written")}
		}
	}
	return out, nil
}

// write has the system write, and watches what that does to what people have written. Unseen reports whether who writes had looked
// before a value was typed.
func (l *line) write(ctx context.Context, obj golden.Object, writes []source.Write, unseen func(ref golden.Ref, field, value string) bool) ([]source.Result, error) {
	before := make([]source.Record, len(writes))
	for i, w := range writes {
		if w.Ref.RecordID != "" {
			before[i], _ = l.fake.Record(obj, w.Ref.RecordID)
		} else {
			before[i], _ = l.fake.Holder(obj, w.ExternalID)
		}
	}
	for _, w := range writes {
		if l.poison[l.w.whose(l, obj, w)] == RefusesRecord {
			l.fake.Refuse(cmp.Or(w.Ref.RecordID, w.ExternalID), 1, sourcetest.Permanent())
		}
	}
	res, err := l.fake.Upsert(ctx, obj, writes)
	if err != nil {
		return nil, err
	}
	for i, w := range writes {
		if res[i].Err == nil && res[i].Created {
			l.w.union.born[golden.Ref{System: l.name, Object: obj, RecordID: res[i].RecordID}] = source.GoldenIDOf(w.ExternalID)
		}
		if res[i].Err == nil && before[i].Ref.RecordID != "" {
			after, _ := l.fake.Record(obj, before[i].Ref.RecordID)
			l.w.overwritten(ctx, l, w, before[i], after, unseen)
			if unseen == nil && !l.names {
				l.w.unattributed(before[i], after)
			}
		}
	}
	return res, nil
}

// land lets the stragglers arrive.
func (l *line) land(ctx context.Context) {
	late := l.late
	l.late = nil
	for _, s := range late {
		if len(s.gone) > 0 {
			l.w.note("   %s: a deletion of %d records arrives late", l.name, len(s.gone))
			_, _ = l.delete(ctx, s.object, s.gone) // nobody waits for the answer
			continue
		}
		l.w.note("   %s: a write of %d records arrives late", l.name, len(s.writes))
		if _, err := l.write(ctx, s.object, s.writes, nil); err != nil {
			l.w.note("   and fails: %s", fault.ReasonOf(err))
		}
	}
}

// link is the line as one process uses it.
type link struct {
	p    *process
	line *line
	seen map[golden.Ref]source.Record // what it has read first since it began to deliver
}

// Name returns the name of the system.
func (k *link) Name() string { return k.line.name }

// Fields returns the fields of the system.
func (k *link) Fields(obj golden.Object) []string { return k.line.fake.Fields(obj) }

// ChecksVersions reports whether the system does.
func (k *link) ChecksVersions() bool { return k.line.checks }

// Upsert writes.
func (k *link) Upsert(ctx context.Context, obj golden.Object, writes []source.Write) ([]source.Result, error) {
	if err := k.p.point(); err != nil {
		return nil, err
	}
	w := k.line.w
	w.stats.Calls++
	for _, x := range writes {
		w.note("   %s writes to %s: %s", processName(k.p.number), k.line.name, describe(x))
	}
	k.line.meanwhile(ctx, WhileWriting, false)
	res, err := k.line.upsert(ctx, obj, writes, k.seen)
	k.line.meanwhile(ctx, WhileWriting, true)
	switch {
	case err != nil:
		w.note("   -> %s", fault.ReasonOf(err))
	default:
		for _, r := range res {
			if r.Err != nil {
				w.note("   -> %s", fault.ReasonOf(r.Err))
			} else {
				w.note("   -> %s version %d", r.RecordID, r.Version)
			}
		}
	}
	if dead := k.p.point(); dead != nil {
		return nil, dead
	}
	return res, err
}

// Find looks records up by our id, and has the world remember which were not there.
func (k *link) Find(ctx context.Context, obj golden.Object, externalIDs []string) ([]source.Record, error) {
	if err := k.p.point(); err != nil {
		return nil, err
	}
	k.line.w.stats.Calls++
	recs, err := k.line.fake.Find(ctx, obj, externalIDs)
	k.line.w.note("   %s looks %d ids up in %s: %d, %s", processName(k.p.number), len(externalIDs), k.line.name, len(recs), fault.ReasonOf(err))
	if err == nil {
		for _, id := range externalIDs {
			k.line.absent[id] = true
		}
		for _, rec := range recs {
			delete(k.line.absent, rec.ExternalID)
		}
	}
	if err := k.p.point(); err != nil {
		return nil, err
	}
	return recs, err
}

// Fetch reads records; what happens meanwhile makes them old.
func (k *link) Fetch(ctx context.Context, obj golden.Object, ids []string) ([]source.Record, []string, error) {
	if err := k.p.point(); err != nil {
		return nil, nil, err
	}
	k.line.w.stats.Calls++
	k.line.meanwhile(ctx, WhileFetching, false)
	recs, missing, err := k.line.fake.Fetch(ctx, obj, ids)
	k.line.w.note("   %s fetches %v from %s: %s", processName(k.p.number), ids, k.line.name, fault.ReasonOf(err))
	for _, rec := range recs {
		if _, seen := k.seen[rec.Ref]; !seen {
			k.seen[rec.Ref] = rec
		}
	}
	k.line.meanwhile(ctx, WhileFetching, true)
	if err := k.p.point(); err != nil {
		return nil, nil, err
	}
	return recs, missing, err
}

// List reads a page.
func (k *link) List(ctx context.Context, obj golden.Object, token string) ([]source.Record, string, error) {
	if err := k.p.point(); err != nil {
		return nil, "", err
	}
	k.line.w.stats.Calls++
	k.line.meanwhile(ctx, WhileListing, false)
	recs, next, err := k.line.fake.List(ctx, obj, token)
	k.line.w.note("   %s lists %d %ss of %s %s", processName(k.p.number), len(recs), obj, k.line.name, fault.ReasonOf(err))
	k.line.meanwhile(ctx, WhileListing, true)
	if err := k.p.point(); err != nil {
		return nil, "", err
	}
	return recs, next, err
}

// Watch reads the feed.
func (k *link) Watch(ctx context.Context, token string, fn func(source.Batch) error) error {
	if err := k.p.point(); err != nil {
		return err
	}
	k.line.w.stats.Calls++
	return k.line.fake.Watch(ctx, token, func(b source.Batch) error {
		for _, c := range b.Changes {
			k.line.w.note("   %s tells %s: %s", k.line.name, processName(k.p.number), tell(c))
			if !c.Overflow {
				k.line.told[c.ID] = true
			}
		}
		k.line.meanwhile(ctx, WhileWatching, true)
		if err := k.p.point(); err != nil {
			return err
		}
		return fn(b)
	})
}

// describe is a write in words.
func describe(w source.Write) string {
	to := w.Ref.RecordID
	if to == "" {
		to = "a new " + string(w.Ref.Object)
	}
	var b strings.Builder
	b.WriteString(to)
	if w.ExternalID != "" {
		b.WriteString(" as " + short(w.ExternalID))
	}
	b.WriteString(fields(w.Ref.Object, w.Values))
	return b.String()
}

func short(id string) string { return id[:min(len(id), 8)] }

// fields is what values say, without the fields that every record of the simulation has.
func fields(obj golden.Object, v golden.Values) string {
	var b strings.Builder
	for _, f := range golden.Fields(obj) {
		value, ok := v[f]
		if !ok || f == golden.TaxID || f == golden.Parent {
			continue
		}
		if value != "" || len(v) < 4 {
			b.WriteString(" " + f + "=" + short(value + "        ")[:min(8, len(value))])
		}
	}
	return b.String()
}

func tell(c source.Change) string {
	own := ""
	if c.OwnWrite {
		own = ", our own"
	}
	switch {
	case c.Overflow:
		return c.ID + " overflow"
	case c.Record == nil:
		return c.ID + " " + c.Ref.RecordID + " is gone" + own
	default:
		return c.ID + " " + c.Ref.RecordID + fields(c.Ref.Object, c.Record.Values) + own
	}
}
