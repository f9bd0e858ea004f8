package fold

import (
	"context"
	"slices"
	"time"

	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store"
)

// sayMargin is how much later than the value it replaces something said through the API counts: more than the widest
// time bucket of the default rules, within which the system's priority would decide.
const sayMargin = 5 * time.Second

// maxChildren bounds the contacts that are looked at again when a customer comes back to a system.
const maxChildren = 10_000

// LoadRecords loads records of one system by id.
func (u *Unit) LoadRecords(ctx context.Context, system string, obj golden.Object, ids []string) error {
	return u.loadRows(ctx, system, obj, ids)
}

// Adopt gives contacts their customer that were taken in before it. Call it after the customers of a batch.
func (u *Unit) Adopt(ctx context.Context, system string) error {
	var ids []string
	for ref := range u.linked {
		if ref.System == system {
			ids = append(ids, ref.RecordID)
		}
	}
	if len(ids) == 0 {
		return nil
	}
	slices.Sort(ids)
	orphans, err := u.tx.Orphans(ctx, system, ids)
	if err != nil || len(orphans) == 0 {
		return err
	}
	known := make([]golden.ID, len(orphans))
	for i, o := range orphans {
		known[i] = o.GoldenID
		if u.rows[o.Ref] == nil {
			u.know(o)
		}
	}
	if err := u.LoadGoldens(ctx, known); err != nil {
		return err
	}
	for _, o := range orphans {
		row := u.rows[o.Ref]
		parent := u.rows[golden.Ref{System: system, Object: golden.Customer, RecordID: row.ParentID}]
		if _, held := row.Shadow[golden.Parent]; held && nobodys(parent) {
			next := row.Clone()
			delete(next.Shadow, golden.Parent)
			u.putRow(next)
			u.touch(next.GoldenID, system)
			continue
		}
		if !row.ParentOpen || parent == nil || parent.GoldenID == "" || row.GoldenID == "" {
			continue
		}
		next := row.Clone()
		next.ParentOpen = false
		next.Shadow[golden.Parent] = string(parent.GoldenID)
		next.Claims[golden.Parent] = u.rules.Absorb(next.Claims[golden.Parent], golden.Claim{
			Field: golden.Parent, Value: string(parent.GoldenID), Ref: row.Ref, Version: row.Version, EventTime: row.EventTime, ChangeID: row.LastChangeID,
		})
		u.putRow(next)
		u.touch(next.GoldenID, system)
		u.merge(next.GoldenID, row.Ref, row.LastChangeID)
	}
	return nil
}

// Flush writes everything the unit has worked out and marks the deliveries that follow from it.
func (u *Unit) Flush(ctx context.Context) error {
	if u.f.identity != nil {
		if err := u.f.identity.Settle(ctx, u.tx, u); err != nil {
			return err
		}
	}
	if err := u.flushRows(ctx); err != nil {
		return err
	}
	if err := u.flushGoldens(ctx); err != nil {
		return err
	}
	if err := u.flushMoves(ctx); err != nil {
		return err
	}
	if err := u.flushIntents(ctx); err != nil {
		return err
	}
	if err := u.flushQuestions(ctx); err != nil {
		return err
	}
	trail, err := u.tx.Prepare(ctx, u.events) // nothing is noted from here on
	if err != nil {
		return err
	}
	if err := u.flushMarks(ctx); err != nil {
		return err
	}
	if err := u.tx.Seal(ctx, trail); err != nil { // while the marks are written
		return err
	}
	if err := u.wake(ctx); err != nil {
		return err
	}
	return u.tx.AddTrail(ctx, trail)
}

func (u *Unit) flushRows(ctx context.Context) error {
	type group struct {
		system string
		object golden.Object
		epoch  int64
	}
	met := map[group][]string{}
	for ref, epoch := range u.met {
		if !u.dirtyRows[ref] && u.rows[ref] != nil {
			g := group{ref.System, ref.Object, epoch}
			met[g] = append(met[g], ref.RecordID)
		}
	}
	for g, ids := range met {
		if err := u.tx.Meet(ctx, g.system, g.object, g.epoch, ids); err != nil {
			return err
		}
	}
	var rows []*store.Source
	for ref, dirty := range u.dirtyRows {
		if row := u.rows[ref]; dirty && u.ahead.rows[ref] != row {
			rows = append(rows, row)
		}
	}
	slices.SortFunc(rows, compareRows)
	return u.tx.PutSources(ctx, rows)
}

func (u *Unit) flushGoldens(ctx context.Context) error {
	var goldens []*store.Golden
	for id, dirty := range u.dirtyGolden {
		if g := u.goldens[id]; dirty && u.ahead.goldens[id] != g {
			goldens = append(goldens, g)
		}
	}
	slices.SortFunc(goldens, func(a, b *store.Golden) int { return compareText(a.ID, b.ID) })
	if err := u.flushKeys(ctx, goldens); err != nil {
		return err
	}
	return u.tx.PutGoldens(ctx, goldens)
}

func (u *Unit) flushIntents(ctx context.Context) error {
	var put, drop []store.Intent
	for k, dirty := range u.dirtyIntent {
		in, ok := u.intents[k]
		switch {
		case !dirty || !ok:
		case len(in.Sent) == 0 && len(in.Late) == 0:
			// Nothing to remember but that a record is being created, which a create without values would lose: it always has a name.
			drop = append(drop, in)
		default:
			put = append(put, in)
		}
	}
	if err := u.tx.DropIntents(ctx, drop); err != nil {
		return err
	}
	return u.tx.PutIntents(ctx, put)
}

func (u *Unit) flushMarks(ctx context.Context) error {
	var marks []store.Mark
	done := map[store.Mark]bool{}
	add := func(id golden.ID, obj golden.Object, system string) {
		m := store.Mark{System: system, Object: obj, GoldenID: id, Traceparent: u.traceparent}
		if len(u.revived) > 0 { // else each is met once
			if done[m] {
				return
			}
			done[m] = true
		}
		u.marked[id] = true
		marks = append(marks, m)
	}
	for id, t := range u.touched {
		g := u.goldens[id]
		if g == nil {
			continue
		}
		for _, system := range u.f.systems {
			if (t.all || slices.Contains(t.systems, system)) && u.needs(g, system) {
				add(id, g.Object, system)
			}
		}
	}
	for id, systems := range u.revived {
		children, err := u.tx.ListChildren(ctx, id, "", maxChildren)
		if err != nil {
			return err
		}
		for _, c := range children {
			for _, system := range u.f.systems {
				if systems[""] || systems[system] {
					add(c.ID, c.Object, system)
				}
			}
		}
	}
	slices.SortFunc(marks, func(a, b store.Mark) int {
		if n := compareText(a.System, b.System); n != 0 {
			return n
		}
		return compareText(a.GoldenID, b.GoldenID)
	})
	return u.tx.Mark(ctx, marks, u.now)
}

// wake makes contacts due that wait for customers which a system has from now on.
func (u *Unit) wake(ctx context.Context) error {
	parents := map[string][]golden.ID{}
	for ref := range u.linked {
		if row := u.rows[ref]; row != nil && row.GoldenID != "" {
			parents[ref.System] = append(parents[ref.System], row.GoldenID)
		}
	}
	for system, ids := range parents {
		slices.Sort(ids)
		if err := u.tx.Wake(ctx, system, ids, u.now); err != nil {
			return err
		}
		parked, err := u.tx.ParkedUnder(ctx, system, ids)
		if err != nil {
			return err
		}
		var marks []store.Mark
		for _, id := range parked {
			marks = append(marks, store.Mark{System: system, Object: golden.Contact, GoldenID: id, Traceparent: u.traceparent})
		}
		if err := u.tx.Mark(ctx, marks, u.now); err != nil {
			return err
		}
	}
	return nil
}

func compareText[T ~string](a, b T) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	default:
		return 0
	}
}
