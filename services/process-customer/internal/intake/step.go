package intake

import (
	"context"
	"errors"
	"log/slog"

	"github.com/selfsame-io/selfsame/pkg/telemetry"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/fold"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/source"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store"
)

// run is the work of one transaction.
type run struct {
	in      *Intake
	system  string
	batch   Batch
	force   *poison // parks everything, whatever it is
	tx      *store.Tx
	unit    *fold.Unit
	inbox   []store.Inbox
	effects []fold.Effect
	letters []store.DeadLetter
	healthy map[golden.Ref]int64 // records that could be taken in, with the newest version; 0 when that is not known
	counts  map[string]int
	said    []saying
}

// saying is a line for the log, which is written once the transaction has been committed: it may run more than once.
type saying struct {
	level slog.Level
	text  string
	attrs []slog.Attr
}

func (r *run) say(level slog.Level, text string, attrs ...slog.Attr) {
	r.said = append(r.said, saying{level, text, append(attrs, slog.String(telemetry.KeySystem, r.system))})
}

// step is the transaction.
func (in *Intake) step(ctx context.Context, system string, b Batch, force *poison) (Outcome, error) {
	var out Outcome
	var said []saying
	err := in.store.Tx(ctx, func(ctx context.Context, tx *store.Tx) error {
		unit, err := in.folder.Begin(ctx, tx, telemetry.Traceparent(ctx))
		if err != nil {
			return err
		}
		r := &run{in: in, system: system, batch: b, force: force, tx: tx, unit: unit, healthy: map[golden.Ref]int64{}, counts: map[string]int{}}
		if err := r.observe(ctx); err != nil {
			return err
		}
		if doubts := unit.Doubts(); len(doubts) > 0 && !b.believe {
			return doubtful(doubts)
		}
		if err := unit.Flush(ctx); err != nil {
			return err
		}
		if err := r.record(ctx); err != nil {
			return err
		}
		if err := r.also(ctx); err != nil {
			return err
		}
		out, said = Outcome{Counts: r.counts}, r.said
		if b.Feed == nil {
			return nil
		}
		out.Feed, err = tx.SaveFeed(ctx, *b.Feed)
		return err
	})
	if err != nil {
		return out, err
	}
	for _, l := range said {
		in.log.LogAttrs(ctx, l.level, l.text, l.attrs...)
	}
	return out, nil
}

// observe folds the new changes of the batch in: customers first, because contacts belong to them.
func (r *run) observe(ctx context.Context) error {
	if err := r.erased(ctx); err != nil {
		return err
	}
	fresh, err := r.unseen(ctx)
	if err != nil {
		return err
	}
	byObject := map[golden.Object][]source.Change{}
	for _, c := range fresh {
		if r.usable(c) {
			byObject[c.Ref.Object] = append(byObject[c.Ref.Object], c)
		}
	}
	for _, obj := range golden.Objects() {
		changes := byObject[obj]
		if len(changes) == 0 {
			continue
		}
		if err := r.unit.LoadBatch(ctx, r.system, obj, changes); err != nil {
			return err
		}
		if back := r.returned(changes); len(back) > 0 {
			return back
		}
		if err := r.tx.Expect(ctx, r.changing(changes)); err != nil {
			return err
		}
		if err := r.all(ctx, changes); err != nil {
			return err
		}
		if obj == golden.Customer {
			if err := r.unit.Adopt(ctx, r.system); err != nil {
				return err
			}
		}
	}
	return nil
}

// all folds changes in. What the first ones did is written while the next are folded in.
func (r *run) all(ctx context.Context, changes []source.Change) error {
	last := make(map[golden.Ref]int, len(changes))
	for i := range changes {
		last[changes[i].Ref] = i
	}
	var done []golden.Ref
	for i := range changes {
		r.one(changes[i])
		if last[changes[i].Ref] == i {
			done = append(done, changes[i].Ref)
		}
		if (i+1)%r.in.ahead == 0 && i+1 < len(changes) {
			if err := r.unit.Ahead(ctx, done); err != nil {
				return err
			}
			done = done[:0]
		}
	}
	return nil
}

// changing returns the golden records that probably change by the changes, as far as they are known.
func (r *run) changing(changes []source.Change) []golden.ID {
	var ids []golden.ID
	seen := make(map[golden.ID]bool, len(changes))
	for i := range changes {
		c := &changes[i]
		row := r.unit.Row(c.Ref)
		if row == nil || row.GoldenID == "" || seen[row.GoldenID] || c.OwnWrite || (c.Record != nil && c.Record.Version <= row.Version) {
			continue
		}
		seen[row.GoldenID] = true
		ids = append(ids, row.GoldenID)
	}
	return ids
}

// unseen counts the duplicates and returns the rest.
func (r *run) unseen(ctx context.Context) ([]source.Change, error) {
	ids := make([]string, 0, len(r.batch.Changes))
	for i := range r.batch.Changes {
		if !bad(r.batch.Changes[i].ID) {
			ids = append(ids, r.batch.Changes[i].ID)
		}
	}
	seen, err := r.tx.Seen(ctx, r.system, ids)
	if err != nil {
		return nil, err
	}
	fresh := make([]source.Change, 0, len(ids))
	inBatch := map[string]bool{}
	for _, c := range r.batch.Changes {
		if _, known := seen[c.ID]; known || inBatch[c.ID] {
			r.counts[Duplicate]++
			continue
		}
		inBatch[c.ID] = true
		fresh = append(fresh, c)
	}
	return fresh, nil
}

// usable parks what cannot be taken in and notes overflows, which the feed answers with a scan.
func (r *run) usable(c source.Change) bool {
	p := invalid(r.system, &c)
	if r.force != nil {
		p = r.force
	}
	if p != nil {
		r.park(c, *p)
		return false
	}
	if c.Overflow {
		r.add(c, fold.Effect{State: store.Unchanged})
		return false
	}
	return true
}

// one folds one change in. What it did is undone when it fails.
func (r *run) one(c source.Change) {
	var eff fold.Effect
	err := r.unit.Try(func() error {
		var err error
		eff, err = r.unit.Observe(c, r.batch.ScanEpoch)
		return err
	})
	if err != nil {
		r.say(slog.LevelError, "change parked", slog.String(telemetry.KeyChangeID, c.ID),
			slog.String(telemetry.KeyRecordID, c.Ref.RecordID), slog.String(telemetry.KeyReason, ReasonPanic))
		r.park(c, poison{ReasonPanic, "", "taking the change in failed"})
		return
	}
	if eff.State != store.Superseded { // an older look says nothing about what could not be taken in since
		if have, ok := r.healthy[c.Ref]; !ok || (have != 0 && (c.Version > have || c.Version == 0)) {
			r.healthy[c.Ref] = c.Version
		}
	}
	r.add(c, eff)
}

func (r *run) add(c source.Change, eff fold.Effect) {
	r.inbox = append(r.inbox, store.Inbox{
		System: r.system, ChangeID: c.ID, Object: c.Ref.Object, RecordID: c.Ref.RecordID, GoldenID: eff.GoldenID, State: eff.State,
		Echo: eff.Echo, Received: r.unit.Now(),
	})
	r.effects = append(r.effects, eff)
}

func (r *run) park(c source.Change, p poison) {
	ref := c.Ref
	if bad(ref.RecordID) {
		ref.RecordID = ""
	}
	ref.System = r.system
	id := c.ID
	if id == "" || bad(id) {
		// Without an id of its own the change is known by its letter, and cannot be told from its next delivery.
		id = "unreadable/" + newDeadID()
	}
	r.letters = append(r.letters, store.DeadLetter{
		ID: newDeadID(), Direction: store.DirectionIntake, Ref: ref, ChangeID: id, Version: c.Version, Reason: p.reason, Field: p.field, Message: p.message,
		Attempts: 1, Parked: r.unit.Now(),
	})
	r.inbox = append(r.inbox, store.Inbox{
		System: r.system, ChangeID: id, Object: ref.Object, RecordID: ref.RecordID, State: store.Parked, Received: r.unit.Now(),
	})
	r.effects = append(r.effects, fold.Effect{State: store.Parked})
}

// record writes inbox, ledger and dead letters.
func (r *run) record(ctx context.Context) error {
	traceparent := telemetry.Traceparent(ctx)
	for i := range r.inbox {
		row := &r.inbox[i]
		row.Traceparent = traceparent
		if row.State == store.Applied && r.unit.Marked(row.GoldenID) {
			row.State = store.Retrying
		}
		r.counts[row.State]++
	}
	if err := r.tx.AddInbox(ctx, r.inbox); err != nil {
		return err
	}
	if n := int64(r.counts[Duplicate]); n > 0 {
		r.tx.AddTotals("duplicates", map[string]int64{r.system: n})
	}
	if err := r.tx.Park(ctx, oncePerRecord(r.letters)); err != nil {
		return err
	}
	return r.resolve(ctx)
}

// also does what the batch asks for beside.
func (r *run) also(ctx context.Context) error {
	if r.batch.Also == nil {
		return nil
	}
	var taken []golden.Ref
	for i := range r.inbox {
		if row := &r.inbox[i]; row.State != store.Parked {
			taken = append(taken, golden.Ref{System: r.system, Object: row.Object, RecordID: row.RecordID})
		}
	}
	return r.batch.Also(ctx, r.tx, taken)
}

// oncePerRecord joins letters about one record: a statement may not touch one row twice.
func oncePerRecord(letters []store.DeadLetter) []store.DeadLetter {
	at := map[golden.Ref]int{}
	var out []store.DeadLetter
	for _, l := range letters {
		if i, ok := at[l.Ref]; ok {
			l.Attempts, l.Version = l.Attempts+out[i].Attempts, max(l.Version, out[i].Version)
			out[i] = l
			continue
		}
		at[l.Ref] = len(out)
		out = append(out, l)
	}
	return out
}

// resolve closes the dead letters of records that could be taken in now: a look at a record that is not older says all
// that the parked change would have said.
func (r *run) resolve(ctx context.Context) error {
	ids := make([]string, 0, len(r.healthy))
	for ref := range r.healthy {
		ids = append(ids, ref.RecordID)
	}
	for _, l := range r.letters { // parked in this very batch, perhaps after it was read
		if version, ok := r.healthy[l.Ref]; ok && version <= l.Version {
			delete(r.healthy, l.Ref)
		}
	}
	open, err := r.tx.OpenIntake(ctx, r.system, ids)
	if err != nil {
		return err
	}
	var errs []error
	for _, d := range open {
		if version, ok := r.healthy[d.Ref]; !ok || (version != 0 && version < d.Version) {
			continue
		}
		_, err := r.tx.SettleDead(ctx, []string{d.ID}, store.DeadResolved, "", r.unit.Now())
		errs = append(errs, err, r.tx.MoveParked(ctx, d.Ref, store.Superseded))
	}
	return errors.Join(errs...)
}
