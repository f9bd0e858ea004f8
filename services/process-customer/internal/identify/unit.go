package identify

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/selfsame-io/selfsame/services/process-customer/internal/fold"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store"
	"github.com/selfsame-io/selfsame/services/process-customer/match"
)

// member is a unit at work.
type member struct {
	store.MatchUnit
	before store.MatchUnit
	// root is the golden record that it is part of now; its own when it is not joined to another one.
	root golden.ID
	// alone is true when nothing is joined to it and it is joined to nothing.
	alone bool
	// fresh is true when it was not known before.
	fresh bool
	// within are golden records that people or systems have merged into it, and what these were merged into.
	within   []golden.ID
	rows     []*store.Source
	prepared *match.Prepared
}

// work is what one transaction does.
type work struct {
	*judge
	tx       *store.Tx
	u        *fold.Unit
	byID     map[golden.ID]*member
	byNumber map[int64]*member // under its own number, and under those of what was merged into it
	// retired are units that have been merged into others by people or systems.
	retired []store.MatchUnit
	// person is true when a person causes it: the brake is for the model.
	person bool
	// sides are what verdicts say, once loaded.
	verdicts map[store.MatchPair]bool
}

func (d *judge) begin(tx *store.Tx, u *fold.Unit) *work {
	return &work{judge: d, tx: tx, u: u, byID: map[golden.ID]*member{}, byNumber: map[int64]*member{}, verdicts: map[store.MatchPair]bool{}}
}

// settle brings the index and the groups up to date with what has changed in golden records.
func (w *work) settle(ctx context.Context, ids []golden.ID, parted []fold.Parted) error {
	for _, p := range parted {
		ids = append(ids, p.From, p.Into)
	}
	if err := w.load(ctx, ids); err != nil {
		return err
	}
	if ours, err := w.ours(ctx); err != nil || !ours {
		// Another replica has put another model in force; what people did is noted all the same.
		return errors.Join(err, w.separate(ctx, parted), w.tx.AddMatchDue(ctx, distinct(ids), w.u.Now()))
	}
	touched, err := w.refresh(ctx)
	if err != nil {
		return err
	}
	for n, m := range w.byNumber {
		touched[n] = touched[n] || n == m.Number
	}
	if err := w.separate(ctx, parted); err != nil {
		return err
	}
	if err := w.regroup(ctx, touched); err != nil {
		return err
	}
	w.u.TakeChanged(w.object) // joining changes no unit of this kind
	w.u.TakeParted(w.object)
	return nil
}

// ours reports whether the index is one of the model that this process has.
func (w *work) ours(ctx context.Context) (bool, error) {
	model, _, err := w.tx.MatchModel(ctx, w.object)
	return model == w.digest, err
}

// load finds the units of golden records and of all that they are joined with.
func (w *work) load(ctx context.Context, ids []golden.ID) error {
	var want []golden.ID
	for _, id := range ids {
		if w.byID[w.u.Follow(id)] == nil && id.Object() == w.object {
			want = append(want, id)
		}
	}
	if len(want) == 0 {
		return nil
	}
	trees, err := w.u.Trees(ctx, want)
	if err != nil {
		return err
	}
	var nodes []golden.ID
	for _, t := range trees {
		nodes = append(append(nodes, t.Root), slices.Sorted(maps.Keys(t.Into))...)
	}
	stored, err := w.tx.MatchUnits(ctx, nodes)
	if err != nil {
		return err
	}
	known := make(map[golden.ID]store.MatchUnit, len(stored))
	for _, m := range stored {
		known[m.GoldenID] = m
	}
	var joined []golden.ID
	for _, m := range stored {
		if m.Joined {
			joined = append(joined, m.GoldenID)
		}
	}
	if err := w.u.LoadGoldens(ctx, joined); err != nil {
		return err
	}
	for _, t := range trees {
		if w.byID[t.Root] == nil {
			w.plant(t, known)
		}
	}
	return nil
}

// plant makes the units of one tree: its root, and what matching has joined to it. What people and systems have merged
// is part of the unit above.
func (w *work) plant(t fold.Tree, known map[golden.ID]store.MatchUnit) {
	isUnit := func(id golden.ID) bool { return id == t.Root || known[id].Joined }
	units := 0
	for _, id := range append([]golden.ID{t.Root}, slices.Sorted(maps.Keys(t.Into))...) {
		if !isUnit(id) {
			continue
		}
		units++
		m := &member{MatchUnit: known[id], before: known[id], root: t.Root}
		m.GoldenID = id
		if id == t.Root {
			m.Joined = false
		}
		w.byID[id] = m
		if m.Number != 0 {
			w.byNumber[m.Number] = m
		}
	}
	owner := func(id golden.ID) *member {
		for !isUnit(id) {
			id = t.Into[id]
		}
		return w.byID[id]
	}
	for id := range t.Into {
		if isUnit(id) {
			continue
		}
		m := owner(id)
		m.within = append(m.within, id)
		if was := known[id]; was.Number != 0 {
			w.byNumber[was.Number] = m
			if was.Live || was.Joined || len(was.Record) > 0 {
				w.retired = append(w.retired, was)
			}
		}
	}
	for _, home := range slices.Sorted(maps.Keys(t.Rows)) {
		m := owner(home)
		m.rows = append(m.rows, t.Rows[home]...)
	}
	for id := range t.Into {
		if m := w.byID[id]; m != nil {
			m.alone = false
		}
	}
	w.byID[t.Root].alone = units == 1
}

// weigh works out what a unit is compared by.
func (w *work) weigh(m *member) {
	values, gone := w.u.Weigh(w.object, m.rows)
	m.Systems = w.systemsOf(m.rows)
	m.Live = !gone && len(m.rows) > 0 && w.named(values)
	m.Keys, m.prepared = nil, nil
	if !m.Live && m.alone {
		m.Record = nil
		return
	}
	system, id := w.nameOf(m.rows)
	m.prepared = w.matcher.Prepare(w.record(system, id, values))
	m.Record = w.matcher.Encode(m.prepared)
	if m.Live {
		m.Keys = w.keys(m.prepared)
	}
}

// named reports whether values say enough to be found by: a customer needs a name, a contact one and a customer, because
// a name alone says nothing.
func (d *judge) named(v golden.Values) bool {
	if d.object == golden.Contact {
		return v[golden.Parent] != "" && (v[golden.LastName] != "" || v[golden.FirstName] != "")
	}
	return v[golden.Name] != ""
}

// own reports whether a record has said something of its own that is compared: it is not merely a copy that we made.
func (d *judge) own(row *store.Source) bool {
	return row.Ref.System != golden.SystemPin && row.MergedInto == "" &&
		slices.ContainsFunc(d.fields, func(f string) bool { return len(row.Claims[f]) > 0 })
}

// nameOf names a unit by the first of its records: by something that does not depend on when it arrived.
func (d *judge) nameOf(rows []*store.Source) (system, id string) {
	for _, row := range rows {
		if d.own(row) && (system == "" || row.Ref.System < system || (row.Ref.System == system && row.Ref.RecordID < id)) {
			system, id = row.Ref.System, row.Ref.RecordID
		}
	}
	return system, id
}

// systemsOf counts the live records by system that matching may not make too many of one customer.
func (d *judge) systemsOf(rows []*store.Source) string {
	n := map[string]int{}
	for _, row := range rows {
		if d.own(row) && !row.Deleted && !golden.Own(row.Ref.System) {
			n[row.Ref.System]++
		}
	}
	parts := make([]string, 0, len(n))
	for _, system := range slices.Sorted(maps.Keys(n)) {
		parts = append(parts, system+"="+strconv.Itoa(n[system]))
	}
	return strings.Join(parts, ",")
}

// compared returns the prepared record of a unit; nil when there is nothing to compare.
func (w *work) compared(m *member) (*match.Prepared, error) {
	if m.prepared != nil || len(m.Record) == 0 {
		return m.prepared, nil
	}
	p, err := w.matcher.Decode(m.Record)
	if err != nil {
		return nil, fmt.Errorf("unit %d: %w", m.Number, err)
	}
	m.prepared = p
	return p, nil
}

// loadNumbers loads units by number, with all that they are joined with.
func (w *work) loadNumbers(ctx context.Context, numbers []int64) error {
	var want []int64
	for _, n := range numbers {
		if w.byNumber[n] == nil {
			want = append(want, n)
		}
	}
	if len(want) == 0 {
		return nil
	}
	units, err := w.tx.MatchUnitsByNumber(ctx, want)
	if err != nil {
		return err
	}
	ids := make([]golden.ID, len(units))
	for i, m := range units {
		ids[i] = m.GoldenID
	}
	return w.load(ctx, ids)
}
