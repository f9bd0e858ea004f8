package reconcile

import (
	"context"
	"fmt"
	"iter"
	"maps"
	"slices"
	"time"

	"github.com/selfsame-io/selfsame/pkg/telemetry"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/audit"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/intake"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/source"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store"
)

// maxTwice bounds the duplicates that are reported.
const maxTwice = 10_000

func keys[V any](m map[string]V) iter.Seq[string] { return maps.Keys(m) }

// judge reads suspects and says what is wrong with them. What is known is looked at after the reading, so news that came
// meanwhile is not taken for a difference.
func (c *comparison) judge(ctx context.Context, obj golden.Object, ids []string) error {
	for part := range slices.Chunk(ids, fetchSize) {
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
				f, differs := c.difference(rec, known[rec.Ref.RecordID])
				if f.Kind != "" {
					found = append(found, f)
				}
				if differs {
					changes = append(changes, intake.Reading(why, *rec))
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
		c.findings = append(c.findings, found...)
	}
	return nil
}

// difference compares a record as it was read with what is known of it. A record may have a newer stamp and hold nothing
// new: that is no finding, but worth taking in.
func (c *comparison) difference(rec *source.Record, row *store.Source) (store.Finding, bool) {
	if row == nil || row.Deleted {
		var id golden.ID
		if row != nil {
			id = row.GoldenID
		}
		return c.finding(rec.Ref, MissingHere, id, rec.EventTime, nil), true
	}
	if row.Version > rec.Version {
		return store.Finding{}, false
	}
	var changes []audit.Field
	for _, field := range golden.Fields(rec.Ref.Object) {
		value, said := rec.Values[field]
		if have, told := row.Shadow[field]; said && (!told || have != value) {
			changes = append(changes, audit.Field{Name: field, Before: have, After: value})
		}
	}
	if rec.ParentID != row.ParentID {
		changes = append(changes, audit.Field{Name: golden.Parent, Before: row.ParentID, After: rec.ParentID})
	}
	if rec.ExternalID != row.ExternalID {
		changes = append(changes, audit.Field{Name: "external_id", Before: row.ExternalID, After: rec.ExternalID})
	}
	if len(changes) == 0 {
		return store.Finding{}, row.Version != rec.Version || !row.EventTime.Equal(rec.EventTime)
	}
	return c.finding(rec.Ref, Different, row.GoldenID, rec.EventTime, changes), true
}

func (c *comparison) finding(ref golden.Ref, kind string, id golden.ID, since time.Time, changes []audit.Field) store.Finding {
	now := c.r.now()
	if kind == MissingThere || since.IsZero() || since.After(now) {
		since = now // nobody tells when it was deleted
	}
	return store.Finding{Ref: ref, Kind: kind, GoldenID: id, State: store.FindingOpen, Changes: changes, Since: since, Seen: now, RunID: c.run.ID}
}

// states says of findings whether they are accepted, held by a dead letter, or perhaps about to end by themselves.
func (c *comparison) states(ctx context.Context, found []store.Finding) error {
	var ids []golden.ID
	var records []string
	for i := range found {
		if found[i].GoldenID != "" {
			ids = append(ids, found[i].GoldenID)
		}
		records = append(records, found[i].Ref.RecordID)
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
	letters, err := r.OpenIntake(ctx, c.run.System, records)
	if err != nil {
		return err
	}
	unread := map[golden.Ref]bool{}
	for _, l := range letters {
		unread[l.Ref] = true
	}
	for i := range found {
		f := &found[i]
		_, held := parked[f.GoldenID]
		switch {
		case c.ignored(f):
			f.State = store.FindingIgnored
		case held || unread[f.Ref]:
			f.State = store.FindingParked
		case slices.Contains(marked[f.GoldenID], c.run.System), f.Kind != Duplicate && f.Kind != MissingThere && c.r.now().Sub(f.Since) < c.r.cfg.Settle:
			f.State = store.FindingInFlight
		}
	}
	return nil
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

// repair takes what was read in, as a reading like any other. Accepted differences are left alone.
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
	out, err := c.r.take(ctx, c.run.System, intake.Batch{Changes: take})
	if err != nil {
		return fmt.Errorf("repair: %w", err)
	}
	if out.Counts[store.Parked] > 0 {
		return c.states(ctx, found) // some became dead letters; which ones are repaired the next comparison says
	}
	for _, ch := range take {
		if f := at[ch.Ref]; f != nil {
			f.State = store.FindingRepaired
			c.run.Repaired++
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
	err = c.states(ctx, found)
	c.findings = append(c.findings, found...)
	return err
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
		return unit.Flush(ctx)
	})
	if err != nil {
		return err
	}
	if c.run.Repair && len(found) > 0 {
		for i := range found {
			if !c.ignored(&found[i]) {
				c.run.Repaired++
			}
		}
		c.r.marked()
	}
	err = c.states(ctx, found) // what was marked just now is in flight
	c.findings = append(c.findings, found...)
	return err
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
