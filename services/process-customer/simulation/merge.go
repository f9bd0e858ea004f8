package simulation

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"

	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/source"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store"
)

// People find that two customers are one, and merge their records in one of the systems; sometimes they take it back.
// Contacts go with them, or are left behind. What they have made one is one customer in every system, whatever was told, and
// in what order; what they have separated again is two.

// Kinds of Merge.
const (
	TakesContacts  = "with its contacts"
	LeavesContacts = "and its contacts are left behind"
)

// merges puts merges into one story of four, drawn apart from everything else: other stories are what they were without them.
func merges(s *Story) {
	r := rand.New(rand.NewPCG(s.Seed, 0x3e26e)) //nolint:gosec // a story, not a secret
	if r.IntN(4) > 0 {
		return
	}
	system := func() string { return []string{salesforce, erp}[r.IntN(2)] }
	insert := func(at int, steps ...Step) { s.Steps = slices.Insert(s.Steps, at, steps...) }
	for n := range 1 + r.IntN(3) {
		sys, winner := system(), 1+r.IntN(2)
		merge := Step{Act: Merge, System: sys, Who: winner, N: 3 - winner, Kind: TakesContacts}
		if n > 0 && r.IntN(3) == 0 { // a third one joins them
			merge.N = 3
		}
		if r.IntN(3) == 0 {
			merge.Kind = LeavesContacts
		}
		if r.IntN(2) == 0 {
			merge.Value = fmt.Sprintf("phone of both %d", n)
		}
		at := len(s.Steps)/4 + r.IntN(1+len(s.Steps)-len(s.Steps)/4)
		later := func() int { return at + r.IntN(1+len(s.Steps)-at) }
		if r.IntN(2) == 0 { // it is taken back
			insert(later(), Step{Act: Undelete, System: sys, Who: merge.N})
		}
		insert(later(), Step{Act: Edit, System: system(), Who: 1 + r.IntN(2), Field: golden.Phone, Value: fmt.Sprintf("phone after %d", n)})
		switch r.IntN(6) {
		case 0:
			insert(later(), Step{Act: Release, System: sys, N: r.IntN(1000)})
			insert(at, Step{Act: Hold, System: sys})
			at++
		case 1:
			insert(later(), Step{Act: Again, System: sys, N: 1 + r.IntN(4)})
		case 2:
			insert(later(), Step{Act: Crash, Process: r.IntN(s.Processes), N: 1 + r.IntN(60)})
		case 3:
			inside := merge
			kind := []string{WhileWriting, WhileFetching, WhileWatching}[r.IntN(3)]
			merge = Step{Act: Meanwhile, System: system(), Kind: kind, After: r.IntN(2) == 0, Then: &inside}
		case 4:
			insert(at, Step{Act: []Act{Lose, Overflow}[r.IntN(2)], System: sys, N: 1 + r.IntN(4)})
			at++
		}
		insert(at, Step{Act: Edit, System: system(), Who: merge.loser(), Field: golden.Phone, Value: fmt.Sprintf("phone before %d", n)}, merge)
	}
	for who := 2; who > 0; who-- {
		sys := system()
		insert(0, Step{Act: Create, System: sys, Who: who, Value: fmt.Sprintf("phone of %d", who)},
			Step{Act: Create, System: sys, Who: who, Person: 1, Value: "phone"})
	}
}

// loser is which customer a merge makes an end of, also inside of another step.
func (s Step) loser() int {
	if s.Then != nil {
		return s.Then.N
	}
	return s.N
}

// union is what people have made of customers.
type union struct {
	// known are the records that people mean by a customer since they have merged it.
	known map[place]string
	// joined are the customers that were ever merged, each with the others; loose those of which nothing more can be said, because
	// a record came that nobody could know to be theirs, or because people contradicted each other.
	joined map[int]map[int]bool
	loose  map[int]bool
	// merged are the merges that people ever made, by the customer that went; parted those customers that came back from one.
	merged map[merger]bool
	parted map[int]bool
	// born are the golden records that records of ours were made for.
	born map[golden.Ref]golden.ID
}

// merger is a merge in a system by which a customer went.
type merger struct {
	system string
	loser  int
}

func newUnion() union {
	return union{known: map[place]string{}, joined: map[int]map[int]bool{}, loose: map[int]bool{}, merged: map[merger]bool{}, parted: map[int]bool{}, born: map[golden.Ref]golden.ID{}}
}

// merge has people put customer Who in the place of customer N in a system.
func (w *world) merge(ctx context.Context, l *line, s Step) {
	winner, ok := w.find(l, s.Who, 0)
	loser, found := w.find(l, s.N, 0)
	if !ok || !found || winner.Deleted || loser.Deleted || winner.Ref == loser.Ref {
		return
	}
	w.stats.Edits++
	w.stats.Merges++
	for _, n := range []int{s.Who, s.N} {
		for _, each := range w.lines {
			if rec, ok := w.find(each, n, 0); ok {
				w.union.known[place{each.name, n, 0}] = rec.Ref.RecordID
				w.truth.who[rec.Ref] = n
			}
		}
	}
	w.join(s.Who, s.N)
	w.union.merged[merger{l.name, s.N}] = true
	w.contradicted(s.N)
	if s.Value != "" {
		w.set(ctx, l, winner, Step{Act: Edit, System: l.name, Who: s.Who, Field: golden.Phone}, s.Value)
	}
	if s.Kind == TakesContacts {
		for _, c := range l.records(golden.Contact) {
			if c.ParentID == loser.Ref.RecordID {
				l.fake.Reparent(c.Ref.RecordID, winner.Ref.RecordID)
			}
		}
	}
	w.note("   %s %s takes the place of %s", l.name, winner.Ref.RecordID, loser.Ref.RecordID)
	if row := w.row(ctx, loser.Ref); row == nil || row.GoldenID == "" {
		w.loosen(s.N) // nobody can know whose record it was
	}
	l.fake.Merge(golden.Customer, winner.Ref.RecordID, loser.Ref.RecordID, nil)
	w.unheard(ctx, s.Who, winner.Ref)
}

// join remembers that two customers were one.
func (w *world) join(a, b int) {
	all := map[int]bool{a: true, b: true}
	maps.Copy(all, w.union.joined[a])
	maps.Copy(all, w.union.joined[b])
	for n := range all {
		w.union.joined[n] = all
	}
}

// part sees that a merge is about to be taken back.
func (w *world) part(rec source.Record) {
	if n := w.truth.who[rec.Ref]; rec.MergedInto != "" {
		w.union.parted[n] = true
		w.contradicted(n)
	}
}

// contradicted asks nothing any more of customers that people have merged in both systems, and have taken a merge of back: what
// belongs together then depends on which of two feeds is heard first.
func (w *world) contradicted(n int) {
	systems, back := map[string]bool{}, false
	for m := range w.union.merged {
		if w.union.joined[n][m.loser] {
			systems[m.system] = true
			back = back || w.union.parted[m.loser]
		}
	}
	if back && len(systems) > 1 {
		w.loosen(n)
	}
}

func (w *world) loosen(n int) {
	w.union.loose[n] = true
	for o := range w.union.joined[n] {
		w.union.loose[o] = true
	}
}

// unheard sees whether a customer is merged of which some system has a record that we have not heard of: while it is one with
// another it need not be recognised, because it is recognised by what the customer is now.
func (w *world) unheard(ctx context.Context, n int, except ...golden.Ref) {
	of := w.unions()
	if !slices.ContainsFunc(slices.Collect(maps.Keys(of)), func(o int) bool { return o != n && of[o] == of[n] }) {
		return
	}
	for _, l := range w.lines {
		for _, rec := range l.records(golden.Customer) {
			who := w.numbered(rec)
			if row := w.row(ctx, rec.Ref); !slices.Contains(except, rec.Ref) && of[who] == of[n] && (row == nil || row.GoldenID == "") {
				w.loosen(n)
			}
		}
	}
}

// numbered returns which customer a record was made for.
func (w *world) numbered(rec source.Record) int {
	if n := w.truth.who[rec.Ref]; n > 0 {
		return n
	}
	return numberOf(rec.Values[golden.TaxID])
}

// unions returns which customers are one, by what the systems say: of each the least of those it is one with.
func (w *world) unions() (of map[int]int) {
	of = map[int]int{}
	for n := 1; n <= customers; n++ {
		of[n] = n
	}
	for ref, n := range w.truth.who {
		rec, _ := w.line(ref.System).fake.Record(golden.Customer, ref.RecordID)
		if !rec.Deleted || rec.MergedInto == "" {
			continue
		}
		into := w.truth.who[golden.Ref{System: ref.System, Object: ref.Object, RecordID: rec.MergedInto}]
		a, b := of[n], of[into]
		for o, root := range of {
			if root == a || root == b {
				of[o] = min(a, b)
			}
		}
	}
	return of
}

// mergers checks what became of the customers that people have merged.
func (w *world) mergers(ctx context.Context) {
	if len(w.union.joined) == 0 {
		return
	}
	of := w.unions()
	owner := map[golden.ID]int{}
	owned := map[int]map[golden.ID]bool{}
	for _, l := range w.lines {
		w.losers(ctx, l)
		for _, rec := range l.records(golden.Customer) {
			row, n := w.row(ctx, rec.Ref), w.numbered(rec)
			if row == nil || row.GoldenID == "" || n == 0 || w.unsure(n) {
				continue
			}
			g, _ := w.golden(ctx, row.GoldenID)
			if g.MergedInto != "" {
				breach("what was merged away has no records", "%s %s belongs to %s, which went into %s", l.name, rec.Ref.RecordID, g.ID, g.MergedInto)
			}
			if owned[of[n]] == nil {
				owned[of[n]] = map[golden.ID]bool{}
			}
			owned[of[n]][g.ID] = true
			if other, taken := owner[g.ID]; taken && other != of[n] {
				breach("customers that nobody has merged are two", "%s is customer %d and customer %d", g.ID, other, of[n])
			}
			owner[g.ID] = of[n]
		}
	}
	for n, ids := range owned {
		if len(ids) > 1 {
			breach("merged customers are one golden record", "customer %d is %v", n, slices.Sorted(maps.Keys(ids)))
		}
	}
}

// unsure reports whether nothing can be asked about what a customer is merged with.
func (w *world) unsure(n int) bool {
	for o := range w.union.joined[n] {
		if w.union.loose[o] || w.truth.deleted[o] || w.truth.planted[o] {
			return true
		}
	}
	return w.union.loose[n] || w.truth.deleted[n] || w.truth.planted[n]
}

// losers checks that a record in whose place another one was put is known for what it is, and keeps what it said.
func (w *world) losers(ctx context.Context, l *line) {
	for n := 1; n <= customers; n++ {
		ref := golden.Ref{System: l.name, Object: golden.Customer, RecordID: w.union.known[place{l.name, n, 0}]}
		rec, _ := l.fake.Record(golden.Customer, ref.RecordID)
		row := w.row(ctx, ref)
		if rec.MergedInto == "" || row == nil || len(w.truth.planted) > 0 {
			continue
		}
		if !row.Deleted {
			breach("what was merged away does not come back", "%s %s is taken for a live one", l.name, ref.RecordID)
		}
		if row.MergedInto != rec.MergedInto && !w.truth.tried[ref] {
			breach("a merge is no deletion", "%s %s went into %s, we believe %q", l.name, ref.RecordID, rec.MergedInto, row.MergedInto)
		}
		for field, claims := range row.Claims {
			if !slices.ContainsFunc(alone, func(f string) bool { return f == field }) {
				continue
			}
			for _, c := range claims {
				if !slices.Contains(w.truth.ever[ref][field], c.Value) {
					breach("no word is put into a person's mouth", "%s of %s %s: nobody typed %q there", field, l.name, ref.RecordID, c.Value)
				}
			}
		}
		w.heir(ctx, l, ref, rec.MergedInto, row)
	}
}

// heir checks that a record that was merged away belongs to whom it was merged into.
func (w *world) heir(ctx context.Context, l *line, ref golden.Ref, into string, row *store.Source) {
	winner := w.row(ctx, golden.Ref{System: l.name, Object: golden.Customer, RecordID: into})
	if row.GoldenID == "" || winner == nil || winner.GoldenID == "" || w.unsure(w.truth.who[ref]) {
		return
	}
	if row.GoldenID != winner.GoldenID {
		breach("merged customers are one golden record", "%s %s is %s, and %s, which took its place, is %s", l.name, ref.RecordID, row.GoldenID, into, winner.GoldenID)
	}
}

// separated reports whether a record that we are about to delete was with another customer, which people have deleted where
// that counts, until just now: whoever deletes cannot know of a merge, or its end, that is heard of meanwhile.
func (w *world) separated(row *store.Source) bool {
	for ref := range w.truth.ended {
		if w.rules.Deletes(ref.Object, ref.System) && w.union.joined[w.truth.who[row.Ref]][w.truth.who[ref]] {
			return true
		}
	}
	return false
}
