package reconcile

import (
	"context"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/selfsame-io/selfsame/pkg/telemetry"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/audit"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/intake"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/source"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store"
)

const (
	// maxTwice bounds the duplicates that are reported.
	maxTwice = 10_000
	// maxFound is how many findings are held until they are stored.
	maxFound = 1000
)

func keys[V any](m map[string]V) iter.Seq[string] { return maps.Keys(m) }

// judge reads suspects and says what is wrong with them. What is known is looked at after the reading, so news that came
// meanwhile is not taken for a difference; and before, so that a record which is older than what was known by then is known to have
// been set back.
func (c *comparison) judge(ctx context.Context, obj golden.Object, ids []string) error {
	for part := range slices.Chunk(ids, fetchSize) {
		before, err := c.r.store.Read().Known(ctx, c.run.System, obj, part)
		if err != nil {
			return err
		}
		recs, missing, err := c.sys.Fetch(ctx, obj, part)
		if serr := c.called(ctx, 1); err == nil {
			err = serr
		}
		if err != nil {
			return err
		}
		rows, err := c.r.store.Read().Sources(ctx, c.run.System, obj, part)
		if err != nil {
			return err
		}
		known := map[string]*store.Source{}
		for _, row := range rows {
			known[row.Ref.RecordID] = row
		}
		for _, rec := range recs {
			if rec.Deleted {
				missing = append(missing, rec.Ref.RecordID)
			}
		}
		var found []store.Finding
		var changes []source.Change
		why := "reconcile/" + c.run.ID
		for i := range recs {
			if rec := &recs[i]; !rec.Deleted {
				row := known[rec.Ref.RecordID]
				back := row != nil && rec.Version < row.Version && row.Version == before[rec.Ref.RecordID].Version
				f, differs := c.difference(rec, row, back)
				if f.Kind != "" {
					found = append(found, f)
				}
				if differs {
					ch := intake.Reading(why, *rec)
					if back {
						ch.SetBack = row.Version
					}
					changes = append(changes, ch)
				}
			}
		}
		for _, id := range missing {
			row := known[id]
			if row == nil || row.Deleted {
				continue
			}
			ref := golden.Ref{System: c.run.System, Object: obj, RecordID: id}
			found = append(found, c.finding(ref, MissingThere, row.GoldenID, row.EventTime, nil))
			changes = append(changes, intake.Gone(why, ref, 0, c.r.now()))
		}
		if err := c.states(ctx, found); err != nil {
			return err
		}
		if err := c.repair(ctx, changes, found); err != nil {
			return err
		}
		if err := c.found(ctx, found); err != nil {
			return err
		}
	}
	return nil
}

// found keeps findings. Many are stored before the end of the run: what is found is true whatever becomes of it.
func (c *comparison) found(ctx context.Context, found []store.Finding) error {
	c.findings = append(c.findings, found...)
	if len(c.findings) < maxFound {
		return nil
	}
	err := c.r.store.Tx(ctx, func(ctx context.Context, tx *store.Tx) error {
		if err := tx.LockIdentity(ctx); err != nil {
			return err
		}
		if err := tx.SaveRun(ctx, c.run, c.r.now(), lease); err != nil {
			return err
		}
		return tx.PutFindings(ctx, once(c.findings))
	})
	c.findings = nil
	return err
}

// difference compares a record as it was read with what is known of it. Back is true when it was read after what is known and shows
// an older version. A record may have a newer stamp and hold nothing new, or hold nothing in a field that nobody has heard of: that
// is no finding, but worth taking in.
func (c *comparison) difference(rec *source.Record, row *store.Source, back bool) (store.Finding, bool) {
	if row == nil || row.Deleted {
		var id golden.ID
		if row != nil {
			id = row.GoldenID
		}
		return c.finding(rec.Ref, MissingHere, id, rec.EventTime, nil), true
	}
	if row.Version > rec.Version && !back {
		return store.Finding{}, false
	}
	var changes []audit.Field
	news := row.Version != rec.Version || !row.EventTime.Equal(rec.EventTime)
	for _, field := range golden.Fields(rec.Ref.Object) {
		value, said := rec.Values[field]
		have, told := row.Shadow[field]
		news = news || (said && !told)
		if said && have != value {
			changes = append(changes, audit.Field{Name: field, Before: have, After: value})
		}
	}
	if rec.ParentID != row.ParentID {
		changes = append(changes, audit.Field{Name: golden.Parent, Before: row.ParentID, After: rec.ParentID})
	}
	if rec.ExternalID != row.ExternalID {
		changes = append(changes, audit.Field{Name: "external_id", Before: row.ExternalID, After: rec.ExternalID})
	}
	if back {
		changes = append(changes, audit.Field{Name: "version", Before: strconv.FormatInt(row.Version, 10), After: strconv.FormatInt(rec.Version, 10)})
	}
	if len(changes) == 0 {
		return store.Finding{}, news
	}
	f := c.finding(rec.Ref, Different, row.GoldenID, rec.EventTime, changes)
	if back || (row.Version == rec.Version && row.EventTime.Equal(rec.EventTime) && f.State == store.FindingOpen) {
		f.Since = f.Seen // nobody tells when it came to hold something else
	}
	if back {
		f.State = store.FindingOpen // no event will tell
	}
	return f, true
}

// finding returns a finding. One that is so young that news of it may be on its way is in flight.
func (c *comparison) finding(ref golden.Ref, kind string, id golden.ID, since time.Time, changes []audit.Field) store.Finding {
	now := c.r.now()
	if kind == MissingThere || since.IsZero() || since.After(now) {
		since = now // nobody tells when it was deleted
	}
	state := store.FindingOpen
	if kind != Duplicate && kind != MissingThere && now.Sub(since) < c.r.cfg.Settle {
		state = store.FindingInFlight
	}
	return store.Finding{Ref: ref, Kind: kind, GoldenID: id, State: state, Changes: changes, Since: since, Seen: now, RunID: c.run.ID}
}

// states says of findings whether they are accepted, held by a dead letter, or perhaps about to end by themselves.
func (c *comparison) states(ctx context.Context, found []store.Finding) error {
	var ids []golden.ID
	for i := range found {
		if found[i].GoldenID != "" {
			ids = append(ids, found[i].GoldenID)
		}
	}
	r := c.r.store.Read()
	marked, err := r.Marked(ctx, ids)
	if err != nil {
		return err
	}
	parked, err := r.OpenDeliver(ctx, c.run.System, ids)
	if err != nil {
		return err
	}
	unread, err := c.unread(ctx, found)
	if err != nil {
		return err
	}
	for i := range found {
		f := &found[i]
		_, held := parked[f.GoldenID]
		switch {
		case c.ignored(f):
			f.State = store.FindingIgnored
		case held || unread[f.Ref]:
			f.State = store.FindingParked
		case slices.Contains(marked[f.GoldenID], c.run.System):
			f.State = store.FindingInFlight
		}
	}
	return nil
}

// unread returns the records of findings that could not be taken in.
func (c *comparison) unread(ctx context.Context, found []store.Finding) (map[golden.Ref]bool, error) {
	ids := make([]string, 0, len(found))
	for i := range found {
		ids = append(ids, found[i].Ref.RecordID)
	}
	letters, err := c.r.store.Read().OpenIntake(ctx, c.run.System, ids)
	out := map[golden.Ref]bool{}
	for _, l := range letters {
		out[l.Ref] = true
	}
	return out, err
}

// ignored reports whether rules accept the finding: as a whole, or every field of it.
func (c *comparison) ignored(f *store.Finding) bool {
	accepted := map[string]bool{}
	for _, r := range c.ignore {
		if (r.Object != "" && r.Object != f.Ref.Object) || (r.RecordID != "" && r.RecordID != f.Ref.RecordID && r.RecordID != string(f.GoldenID)) {
			continue
		}
		if r.Field == "" {
			return true
		}
		accepted[r.Field] = true
	}
	if len(f.Changes) == 0 {
		return false
	}
	for _, ch := range f.Changes {
		if !accepted[ch.Name] {
			return false
		}
	}
	return true
}

// repair takes what was read in, as a reading like any other. Accepted differences are left alone. What is repaired is counted and stored
// by the transaction that takes it in.
func (c *comparison) repair(ctx context.Context, changes []source.Change, found []store.Finding) error {
	if !c.run.Repair || len(changes) == 0 {
		return nil
	}
	at := map[golden.Ref]*store.Finding{}
	for i := range found {
		at[found[i].Ref] = &found[i]
	}
	var take []source.Change
	for _, ch := range changes {
		if f := at[ch.Ref]; f == nil || f.State != store.FindingIgnored {
			take = append(take, ch)
		}
	}
	if len(take) == 0 {
		return nil
	}
	also := func(ctx context.Context, tx *store.Tx, taken []golden.Ref) error {
		var repaired []store.Finding
		for _, ref := range taken {
			if f := at[ref]; f != nil {
				one := *f
				one.State = store.FindingRepaired
				repaired = append(repaired, one)
			}
		}
		return tx.Repaired(ctx, c.run, once(repaired))
	}
	out, err := c.r.take(ctx, c.run.System, intake.Batch{Changes: take, Also: also})
	if err != nil {
		return fmt.Errorf("repair: %w", err)
	}
	unread := map[golden.Ref]bool{}
	if out.Counts[store.Parked] > 0 {
		if unread, err = c.unread(ctx, found); err != nil {
			return err
		}
	}
	for _, ch := range take {
		switch f := at[ch.Ref]; {
		case f == nil:
		case unread[ch.Ref]:
			f.State = store.FindingParked
		default:
			f.State = store.FindingRepaired
		}
	}
	return nil
}

// twice reports records of the system that are the same customer or contact.
func (c *comparison) twice(ctx context.Context, obj golden.Object) error {
	rows, err := c.r.store.Read().Twice(ctx, c.run.System, obj, maxTwice)
	if err != nil {
		return err
	}
	var found []store.Finding
	for _, row := range rows {
		found = append(found, c.finding(row.Ref, Duplicate, row.GoldenID, row.EventTime, nil))
	}
	if err := c.states(ctx, found); err != nil {
		return err
	}
	return c.found(ctx, found)
}

// undelivered looks for golden records that the system does not hold although nothing waits to write them. No call is made.
func (c *comparison) undelivered(ctx context.Context, obj golden.Object) error {
	for after := golden.ID(""); ; {
		page, err := c.r.store.Read().ListGoldens(ctx, obj, "", after, fetchSize)
		if err != nil || len(page) == 0 {
			return err
		}
		ids := make([]golden.ID, len(page))
		for i, g := range page {
			ids[i] = g.ID
		}
		after = ids[len(ids)-1]
		if err := c.undeliveredOf(ctx, obj, ids); err != nil {
			return err
		}
	}
}

func (c *comparison) undeliveredOf(ctx context.Context, obj golden.Object, ids []golden.ID) error {
	var found []store.Finding
	err := c.r.store.Tx(ctx, func(ctx context.Context, tx *store.Tx) error {
		found = nil
		unit, err := c.r.folder.Begin(ctx, tx, telemetry.Traceparent(ctx))
		if err != nil {
			return err
		}
		if err := unit.LoadForPlan(ctx, c.run.System, ids); err != nil {
			return err
		}
		marked, err := tx.Marked(ctx, ids)
		if err != nil {
			return err
		}
		held, err := tx.OpenDeliver(ctx, c.run.System, ids)
		if err != nil {
			return err
		}
		for _, id := range ids {
			if _, parked := held[id]; parked || slices.Contains(marked[id], c.run.System) {
				continue
			}
			// A plan without writes is one that has to wait, or that the rules forbid.
			fields, yes := unit.Undelivered(id, c.run.System)
			plan := unit.Plan(id, c.run.System)
			if !yes || plan.Wait || len(plan.Plans) == 0 {
				continue
			}
			f := c.finding(golden.Ref{System: c.run.System, Object: obj, RecordID: string(id)}, Undelivered, id, unit.Golden(id).Updated, nil)
			for _, name := range fields {
				f.Changes = append(f.Changes, audit.Field{Name: name, After: unit.Golden(id).Values[name]})
			}
			found = append(found, f)
			if c.run.Repair && !c.ignored(&f) {
				unit.Remark(id, c.run.System)
			}
		}
		if !c.run.Repair || len(found) == 0 {
			return nil
		}
		if err := unit.Flush(ctx); err != nil {
			return err
		}
		var repaired []store.Finding
		for i := range found {
			if one := found[i]; !c.ignored(&one) {
				one.State = store.FindingInFlight
				repaired = append(repaired, one)
			}
		}
		return tx.Repaired(ctx, c.run, repaired)
	})
	if err != nil {
		return err
	}
	if c.run.Repair && len(found) > 0 {
		c.r.marked()
	}
	if err := c.states(ctx, found); err != nil { // what was marked just now is in flight
		return err
	}
	return c.found(ctx, found)
}

// finish stores what the run has come to. What a run that is done has not met is settled.
func (c *comparison) finish(ctx context.Context, tx *store.Tx) error {
	if err := tx.LockIdentity(ctx); err != nil {
		return err
	}
	if err := tx.SaveRun(ctx, c.run, c.r.now(), 0); err != nil {
		return err
	}
	if c.run.State != store.RunDone {
		return nil
	}
	if err := tx.PutFindings(ctx, once(c.findings)); err != nil {
		return err
	}
	if _, err := tx.DropFindings(ctx, c.run.System, c.run.ID); err != nil {
		return err
	}
	for obj, mark := range c.marks {
		if err := tx.PutReconcileMark(ctx, c.run.System, obj, mark); err != nil {
			return err
		}
	}
	return nil
}

// once leaves one finding per key: a statement may not touch one row twice.
func once(in []store.Finding) []store.Finding {
	type key struct {
		ref  golden.Ref
		kind string
	}
	seen := map[key]bool{}
	var out []store.Finding
	for i := range in {
		if k := (key{in[i].Ref, in[i].Kind}); !seen[k] {
			seen[k] = true
			out = append(out, in[i])
		}
	}
	return out
}
