package simulation

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/selfsame-io/selfsame/services/process-customer/internal/fold"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/source"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store"
)

// judge says whether the promise was kept. It begins with what the systems hold.
func (w *world) judge(ctx context.Context) {
	defer w.look(ctx)()
	w.ledger(ctx)
	w.letters(ctx)
	ids := map[int]map[golden.ID]bool{}
	for _, l := range w.lines {
		w.duplicates(ctx, l)
		for _, obj := range golden.Objects() {
			for _, rec := range l.records(obj) {
				id := w.record(ctx, l, rec)
				if n := numberOf(rec.Values[golden.TaxID]); n > 0 && id != "" {
					if ids[n] == nil {
						ids[n] = map[golden.ID]bool{}
					}
					ids[n][id] = true
				}
			}
		}
	}
	for n := 1; n <= customers; n++ {
		if of := ids[n]; len(of) > 1 && !w.truth.deleted[n] && w.union.joined[n] == nil && !w.truth.planted[n] {
			breach("a customer is one golden record", "customer %d is %v", n, slices.Sorted(maps.Keys(of)))
		}
	}
	w.everywhere(ctx)
	w.deletions(ctx)
	w.mergers(ctx)
	w.answers(ctx)
}

// ledger checks that everything that came in is accounted for, and once.
func (w *world) ledger(ctx context.Context) {
	lines, err := w.stage.store.Read().Ledger(ctx)
	if err != nil {
		breach("the simulation is sound", "read the ledger: %v", err)
	}
	for _, l := range lines {
		if !l.Balanced() {
			breach("the ledger balances", "%+v", l)
		}
		if len(w.truth.planted) == 0 && l.Retrying+l.Parked+l.Refused > 0 {
			breach("what came in is settled when all is at rest", "%+v", l)
		}
	}
	for _, l := range w.lines {
		if l.expired {
			continue // what was told and not taken in before a crash is read again, under another name
		}
		ids := slices.Sorted(maps.Keys(l.told))
		seen, err := w.stage.store.Read().Seen(ctx, l.name, ids)
		if err != nil {
			breach("the simulation is sound", "read the inbox: %v", err)
		}
		for _, id := range ids {
			if _, ok := seen[id]; !ok {
				breach("what the feed told is in the ledger", "%s is not", id)
			}
		}
	}
}

// letters checks that only what was planted is a dead letter.
func (w *world) letters(ctx context.Context) {
	for _, d := range w.parked(ctx) {
		if len(w.truth.planted) == 0 {
			breach("dead letters are planted", "%s %s %s %s: %s %s", d.Direction, d.Ref.System, d.Ref.Object, d.Ref.RecordID, d.Reason, d.Message)
		}
	}
}

// duplicates checks that we made no record twice.
func (w *world) duplicates(ctx context.Context, l *line) {
	if len(w.truth.deleted)+len(w.union.joined) > 0 {
		w.twice(ctx, l) // what was deleted before anybody heard of it is rightly made again
		return
	}
	if twice := l.fake.Duplicates(); len(twice) > 0 {
		breach("no record is made twice", "%s in %s", twice, l.name)
	}
}

// record checks one record of a system against its golden record and returns whose it is.
func (w *world) record(ctx context.Context, l *line, rec source.Record) golden.ID {
	row := w.row(ctx, rec.Ref)
	if row == nil || row.GoldenID == "" {
		if len(w.truth.planted) > 0 {
			return ""
		}
		breach("every record is known", "%s %s is not", l.name, rec.Ref.RecordID)
	}
	g, rows := w.golden(ctx, row.GoldenID)
	if w.unread(ctx, l.name, rec.Ref.RecordID) {
		return g.ID
	}
	if want := golden.ValuesOf(fold.Decide(g.Object, rows, w.rules)); !maps.Equal(want, g.Values) {
		breach("a golden record is what its claims say", "%s is %v and not %v", g.ID, g.Values, want)
	}
	if g.Deleted && !w.stuck(ctx, l.name, g) {
		breach("what lives in a system is not deleted here", "%s is deleted but %s has %s", g.ID, l.name, rec.Ref.RecordID)
	}
	if w.stuck(ctx, l.name, g) {
		return g.ID
	}
	if source.GoldenIDOf(rec.ExternalID) != g.ID {
		breach("every record carries our id", "%s %s carries %q and not %s", l.name, rec.Ref.RecordID, rec.ExternalID, g.ID)
	}
	for _, field := range l.fake.Fields(g.Object) {
		want, said := g.Values[field]
		if field == golden.Parent || !said || !w.rules.WritesTo(g.Object, field, l.name) {
			continue
		}
		if rec.Values[field] != want {
			breach("the systems hold what the golden record says", "%s of %s %s is %q and not %q", field, l.name, rec.Ref.RecordID, rec.Values[field], want)
		}
	}
	for field, value := range rec.Values {
		if len(value) > endless {
			if l.checks { // it counts its versions one by one, so an older reading is known for one
				breach("what cannot be taken in is a dead letter", "%s of %s %s is none", field, l.name, rec.Ref.RecordID)
			}
			continue
		}
		if have, known := row.Shadow[field]; known && have != value {
			breach("what a system holds is known", "%s of %s %s is %q, taken for %q", field, l.name, rec.Ref.RecordID, value, have)
		}
	}
	w.words(g, row, rec)
	w.invented(row)
	w.parent(ctx, l, g, rec)
	return g.ID
}

// words checks that nothing a person said was lost: it is a claim, whoever wins.
func (w *world) words(g *store.Golden, row *store.Source, rec source.Record) {
	for field, value := range w.truth.last[rec.Ref] {
		if w.truth.excused[rec.Ref][field] || g.Values[field] == value {
			continue
		}
		list := row.Claims[field]
		if len(list) == 0 && value == "" {
			continue // a record that was empty when it was first seen says nothing
		}
		if len(list) == 0 || list[0].Value != value {
			breach("no word of a person is lost", "%s of %s %s: a person said %q, we know of %v", field, rec.Ref.System, rec.Ref.RecordID, value, list)
		}
	}
}

// alone are fields that move with no other: a claim about one is a word about that one.
var alone = []string{golden.Phone, golden.Website, golden.Email, golden.Title, golden.Mobile}

// invented checks that we take for a person's word only what a person has typed there. What we wrote ourselves comes
// back in many ways, early and late.
func (w *world) invented(row *store.Source) {
	for _, field := range alone {
		for _, c := range row.Claims[field] {
			if len(c.Value) < endless && !slices.Contains(w.truth.ever[row.Ref][field], c.Value) {
				breach("no word is put into a person's mouth", "%s of %s %s: nobody typed %q there (%s)", field, row.Ref.System, row.Ref.RecordID, c.Value, c.ChangeID)
			}
		}
	}
}

// parent checks whom a contact belongs to.
func (w *world) parent(ctx context.Context, l *line, g *store.Golden, rec source.Record) {
	of := golden.ID(g.Values[golden.Parent])
	if g.Object != golden.Contact || of == "" {
		return
	}
	_, rows := w.golden(ctx, w.follow(ctx, of))
	var live []string
	for _, r := range rows {
		if r.Ref.System == l.name && !r.Deleted {
			live = append(live, r.Ref.RecordID)
		}
	}
	if len(live) == 0 || slices.Contains(live, rec.ParentID) {
		return
	}
	// A person gave it to a customer that waits for a person: whose it is shows when that one can be taken in. Until then the
	// person's word is not taken back.
	if of := w.row(ctx, rec.Ref); of == nil || !of.ParentOpen || !w.unread(ctx, l.name, rec.ParentID) {
		breach("a contact has the same customer in every system", "%s %s belongs to %q and not to one of %v", l.name, rec.Ref.RecordID, rec.ParentID, live)
	}
}

// everywhere checks that every golden record is in every system, unless a person has deleted it there.
func (w *world) everywhere(ctx context.Context) {
	seen := map[golden.ID]bool{}
	for _, l := range w.lines {
		for _, obj := range golden.Objects() {
			for _, rec := range l.records(obj) {
				row := w.row(ctx, rec.Ref)
				if row == nil || row.GoldenID == "" || seen[row.GoldenID] {
					continue
				}
				if w.unread(ctx, l.name, rec.Ref.RecordID) {
					continue // that it lives may be what could not be taken in
				}
				seen[row.GoldenID] = true
				g, rows := w.golden(ctx, row.GoldenID)
				w.present(ctx, g, rows)
			}
		}
	}
}

func (w *world) present(ctx context.Context, g *store.Golden, rows []*store.Source) {
	for _, l := range w.lines {
		had := slices.ContainsFunc(rows, func(r *store.Source) bool {
			rec, _ := l.fake.Record(r.Ref.Object, r.Ref.RecordID)
			ours := rec.Deleted && w.truth.removed[r.Ref] && !w.truth.killed[r.Ref] // what we deleted is made again
			return r.Ref.System == l.name && !ours
		})
		if !had && !w.stuck(ctx, l.name, g) && !w.orphaned(ctx, l.name, g) {
			breach("every customer and contact is in every system", "%s is not in %s", g.ID, l.name)
		}
	}
}

// orphaned reports whether a contact cannot be in a system because its customer is not.
func (w *world) orphaned(ctx context.Context, system string, g *store.Golden) bool {
	parent := golden.ID(g.Values[golden.Parent])
	if g.Object != golden.Contact || parent == "" {
		return false
	}
	_, rows := w.golden(ctx, w.follow(ctx, parent))
	return !slices.ContainsFunc(rows, func(r *store.Source) bool { return r.Ref.System == system && !r.Deleted })
}

// answers checks that what our API has acknowledged is there.
func (w *world) answers(ctx context.Context) {
	for _, c := range w.calls {
		if !c.answered {
			breach("a repeated call is answered", "%s is not", c.key)
		}
		if !c.ok {
			continue
		}
		g, rows := w.golden(ctx, w.follow(ctx, c.id))
		if c.step.Act == Order || g.Values[c.step.Field] == c.step.Value {
			continue
		}
		api := slices.IndexFunc(rows, func(r *store.Source) bool { return r.Ref.System == golden.SystemAPI && r.Ref.RecordID == string(c.id) })
		if api < 0 || !slices.ContainsFunc(w.calls, func(o *call) bool {
			claims := rows[api].Claims[c.step.Field]
			return o.ok && o.id == c.id && len(claims) > 0 && claims[0].Value == o.step.Value
		}) {
			breach("no acknowledged call is lost", "%s said %s=%q of %s", c.key, c.step.Field, c.step.Value, c.id)
		}
	}
}

// follow returns the golden record that one was merged into, itself when it was not.
func (w *world) follow(ctx context.Context, id golden.ID) golden.ID {
	for range customers {
		g, _ := w.golden(ctx, id)
		if g.MergedInto == "" {
			break
		}
		id = g.MergedInto
	}
	return id
}

// marks returns the marks that are left although nobody has to help first.
func (w *world) marks(ctx context.Context) []string {
	defer w.look(ctx)()
	var out []string
	ids := map[golden.ID]bool{}
	for _, l := range w.lines {
		for _, obj := range golden.Objects() {
			for _, rec := range l.records(obj) {
				if row := w.row(ctx, rec.Ref); row != nil && row.GoldenID != "" {
					ids[row.GoldenID] = true
				}
			}
		}
	}
	marked, err := w.stage.store.Read().Marked(ctx, slices.Sorted(maps.Keys(ids)))
	if err != nil {
		breach("the simulation is sound", "read marks: %v", err)
	}
	for _, id := range slices.Sorted(maps.Keys(marked)) {
		g, _ := w.golden(ctx, id)
		for _, system := range marked[id] {
			if !w.stuck(ctx, system, g) {
				out = append(out, string(id)+" in "+system)
			}
		}
	}
	if backlogs, err := w.stage.store.Read().Backlogs(ctx); len(w.truth.planted) == 0 && len(out) == 0 && (err != nil || len(backlogs) > 0) {
		out = append(out, "of records that no system has")
	}
	return out
}

// epilogue has one more word said about every customer, long after everything else: it wins, everywhere.
func (w *world) epilogue(ctx context.Context) {
	w.note("everybody sets the phone of a customer for the last time")
	w.clock.advance(10 * time.Minute)
	type word struct {
		ref   golden.Ref
		value string
	}
	var want []word
	said, spoken := map[golden.Ref]bool{}, map[int]bool{}
	for n := 1; n <= customers; n++ {
		l := w.lines[(n+int(w.story.Seed%2))%len(w.lines)] //nolint:gosec // 0 or 1
		rec, ok := w.find(l, n, 0)
		if !ok || rec.Deleted || said[rec.Ref] || slices.ContainsFunc(slices.Sorted(maps.Keys(w.union.joined[n])), func(o int) bool { return o < n && spoken[o] }) {
			continue // one word about customers that are one
		}
		s := Step{Act: Retype, System: l.name, Who: n, Field: golden.Phone}
		value := s.Field + " at last"
		if old := w.truth.typed[topic(n, 0, s.Field)]; n%2 == 0 && len(old) > 0 {
			value = old[int(w.story.Seed/2)%len(old)] //nolint:gosec // an index
		}
		if rec.Values[s.Field] == value {
			continue
		}
		w.set(ctx, l, rec, s, value)
		said[rec.Ref], spoken[n] = true, true
		want = append(want, word{rec.Ref, value})
	}
	w.settle(ctx)
	w.judge(ctx)
	for _, said := range want {
		row := w.row(ctx, said.ref)
		if row == nil || row.GoldenID == "" {
			continue // judge has seen to it that this is a dead letter's fault
		}
		g, _ := w.golden(ctx, row.GoldenID)
		if w.unread(ctx, said.ref.System, said.ref.RecordID) {
			continue
		}
		if g.Values[golden.Phone] != said.value {
			breach("the last word wins", "a person said %q in %s, %s says %q", said.value, said.ref.System, g.ID, g.Values[golden.Phone])
		}
	}
}
