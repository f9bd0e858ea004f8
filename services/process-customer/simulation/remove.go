package simulation

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/source"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/survive"
)

// rulesOf returns the built-in ones, with the authority over deletions that the story gives.
func (s *Stage) rulesOf(story Story) (*survive.Rules, error) {
	if r := s.rules[story.Deletes]; r != nil {
		return r, nil
	}
	text := string(survive.DefaultText())
	if story.Deletes != "" {
		for _, obj := range golden.Objects() {
			head := fmt.Sprintf("  %s:\n", obj)
			text = strings.Replace(text, head, head+"    delete: ["+story.Deletes+"]\n", 1)
		}
	}
	r, err := survive.Parse([]byte(text))
	if err != nil {
		return nil, fmt.Errorf("rules of the story: %w", err)
	}
	s.rules[story.Deletes] = r
	return r, nil
}

// Remove deletes records, as a rule about deletions says.
func (k *link) Remove(ctx context.Context, obj golden.Object, ids []string) ([]source.Result, error) {
	if err := k.p.point(); err != nil {
		return nil, err
	}
	w := k.line.w
	w.stats.Calls++
	w.note("   %s deletes %v in %s", processName(k.p.number), ids, k.line.name)
	k.line.meanwhile(ctx, WhileWriting, false)
	for _, id := range ids {
		w.entitled(ctx, golden.Ref{System: k.line.name, Object: obj, RecordID: id})
	}
	kind := k.line.planned()
	if kind == Straggle {
		k.line.late = append(k.line.late, straggler{object: obj, gone: slices.Clone(ids)})
	}
	res, err := k.line.under(kind, len(ids), func(from, to int) ([]source.Result, error) {
		return k.line.delete(ctx, obj, ids[from:to])
	})
	k.line.meanwhile(ctx, WhileWriting, true)
	if dead := k.p.point(); dead != nil {
		return nil, dead
	}
	return res, err
}

// delete has the system delete, and remembers that it was we who did.
func (l *line) delete(ctx context.Context, obj golden.Object, ids []string) ([]source.Result, error) {
	live := map[golden.Ref]bool{}
	for _, id := range ids {
		l.w.truth.tried[golden.Ref{System: l.name, Object: obj, RecordID: id}] = true
		if rec, ok := l.fake.Record(obj, id); ok && !rec.Deleted {
			live[rec.Ref] = true
		}
		for _, c := range l.records(golden.Contact) {
			if obj == golden.Customer && c.ParentID == id {
				l.w.truth.tried[c.Ref] = true // a system may delete them with it
			}
		}
		for _, ref := range l.w.dead(l, golden.Contact) {
			if row := l.w.row(ctx, ref); obj == golden.Customer && row != nil && row.ParentID == id && !row.Deleted {
				l.w.truth.tried[ref] = true // and nobody can tell that from what a person has done and was not heard of
			}
		}
	}
	res, err := l.fake.Remove(ctx, obj, ids)
	for ref := range live {
		if rec, _ := l.fake.Record(obj, ref.RecordID); rec.Deleted {
			l.w.truth.removed[ref] = true
			l.w.stats.Deletions++
		}
	}
	return res, err
}

// entitled checks that a record which we are about to delete belongs to somebody whom people have deleted where that counts.
// They may have undeleted it since: nobody can know that before it is told.
func (w *world) entitled(ctx context.Context, ref golden.Ref) {
	row := w.row(ctx, ref)
	if row == nil || row.GoldenID == "" {
		breach("nothing is deleted that no rule says so of", "%s %s, which is nobody's", ref.System, ref.RecordID)
	}
	_, rows := w.golden(ctx, row.GoldenID)
	if len(w.union.joined) > 0 && w.separated(row) {
		return
	}
	if !slices.ContainsFunc(rows, func(r *store.Source) bool { return w.rules.Deletes(ref.Object, r.Ref.System) && w.truth.ended[r.Ref] }) {
		breach("nothing is deleted that no rule says so of", "%s %s of %s", ref.System, ref.RecordID, row.GoldenID)
	}
}

// deletions checks what became of the records that people, or we, have deleted and nobody has brought back.
func (w *world) deletions(ctx context.Context) {
	for _, l := range w.lines {
		for _, obj := range golden.Objects() {
			for _, ref := range w.dead(l, obj) {
				w.deletion(ctx, l, ref)
			}
		}
	}
}

// dead are the deleted records of a system, in a fixed order.
func (w *world) dead(l *line, obj golden.Object) []golden.Ref {
	var out []golden.Ref
	for ref := range w.truth.ended {
		if ref.System == l.name && ref.Object == obj {
			out = append(out, ref)
		}
	}
	for ref := range w.truth.removed {
		if ref.System == l.name && ref.Object == obj && !w.truth.ended[ref] {
			out = append(out, ref)
		}
	}
	out = slices.DeleteFunc(out, func(ref golden.Ref) bool {
		rec, ok := l.fake.Record(obj, ref.RecordID)
		return !ok || !rec.Deleted
	})
	slices.SortFunc(out, func(a, b golden.Ref) int { return compare(a.RecordID, b.RecordID) })
	return out
}

func (w *world) deletion(ctx context.Context, l *line, ref golden.Ref) {
	row := w.row(ctx, ref)
	if row == nil || row.GoldenID == "" {
		return // gone before anybody had heard of it
	}
	if w.unread(ctx, l.name, ref.RecordID) {
		return
	}
	if !row.Deleted {
		breach("what was deleted stays deleted", "%s %s is taken for a live one", l.name, ref.RecordID)
	}
	// What is gone is not read again after a gap: nobody is told then that it was back meanwhile.
	if rec, _ := l.fake.Record(ref.Object, ref.RecordID); rec.MergedInto == "" && row.MergedInto != "" && !l.gaps {
		breach("a deletion is no merge", "%s %s was deleted for itself, we believe that it went into %s", l.name, ref.RecordID, row.MergedInto)
	}
	if !w.truth.killed[ref] || w.truth.tried[ref] || !w.rules.Deletes(ref.Object, l.name) {
		return // when we were deleting it at the same moment, nobody can know that a person did, too
	}
	g, rows := w.golden(ctx, row.GoldenID)
	lives := slices.ContainsFunc(rows, func(r *store.Source) bool {
		rec, ok := l.fake.Record(ref.Object, r.Ref.RecordID)
		return r.Ref.System == l.name && ok && !rec.Deleted
	})
	if !lives && !g.Deleted {
		breach("a deletion where it counts is one everywhere", "%s of %s %s lives", g.ID, l.name, ref.RecordID)
	}
}

// twice checks, where records were deleted and made again, that there is one live record of ours of each golden record.
func (w *world) twice(ctx context.Context, l *line) {
	for _, obj := range golden.Objects() {
		ours := map[golden.ID][]string{}
		made := slices.Collect(maps.Values(w.truth.made))
		for _, rec := range l.records(obj) {
			row := w.row(ctx, rec.Ref)
			if row == nil || row.GoldenID == "" || w.truth.back[rec.Ref] || slices.Contains(made, rec.Ref.RecordID) {
				continue
			}
			id := cmp.Or(w.union.born[rec.Ref], row.GoldenID) // of two customers that were merged each may have one
			ours[id] = append(ours[id], rec.Ref.RecordID)
		}
		for _, id := range slices.Sorted(maps.Keys(ours)) {
			if len(ours[id]) > 1 {
				breach("no record is made twice", "%s is %v in %s", id, ours[id], l.name)
			}
		}
	}
}
