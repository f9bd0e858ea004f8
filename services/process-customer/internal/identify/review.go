package identify

import (
	"context"
	"fmt"
	"slices"

	"github.com/selfsame-io/selfsame/pkg/caller"
	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/pkg/telemetry"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/fold"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store"
	"github.com/selfsame-io/selfsame/services/process-customer/match"
)

// Reasons of refused calls.
const (
	// ReasonUnknown means that there is no such customer, or that it cannot be matched: it is deleted or has no name.
	ReasonUnknown = "CUSTOMER_UNKNOWN"
	// ReasonContradiction means that somebody has said the opposite about others of the same groups.
	ReasonContradiction = "MATCH_CONTRADICTS"
	// ReasonModelReplaced means that another replica has put another model in force.
	ReasonModelReplaced = "MODEL_REPLACED"
	// ReasonNotMatched means that matching is off for this kind of record.
	ReasonNotMatched = "MATCHING_OFF"
	// ReasonMerged means that a person or a system has merged the two: taking that back is another call.
	ReasonMerged = "MERGED_BY_HAND"
)

// Desk is where people decide about pairs. It is safe for concurrent use.
type Desk struct {
	decider *Decider
	store   Store
	folder  *fold.Folder
	marked  func()
}

// NewDesk returns a desk. Marked is called after deliveries were marked.
func NewDesk(d *Decider, s Store, f *fold.Folder, marked func()) *Desk {
	return &Desk{decider: d, store: s, folder: f, marked: marked}
}

// Status says how matching stands.
type Status struct {
	Mode, Model string
	Bands       match.Bands
	store.MatchCounts
}

// knows returns why nothing can be said about a kind.
func (d *Desk) knows(obj golden.Object) error {
	if d.decider.of(obj) == nil {
		return fault.New(fault.Precondition, ReasonNotMatched, "matching is off for this kind of record: match.contacts")
	}
	return nil
}

// Status says how matching of a kind stands.
func (d *Desk) Status(ctx context.Context, obj golden.Object) (Status, error) {
	counts, err := d.store.Read().CountMatching(ctx, obj)
	st := Status{Mode: Off, MatchCounts: counts}
	if j := d.decider.of(obj); j != nil {
		st.Mode, st.Model, st.Bands = j.mode, j.digest, j.Bands()
	}
	return st, err
}

// Model returns the mode of a kind, and the digest of its model.
func (d *Desk) Model(obj golden.Object) (mode, digest string) {
	if j := d.decider.of(obj); j != nil {
		return j.mode, j.digest
	}
	return Off, ""
}

// Of returns the open questions about a golden record, that record on the left. It runs in the caller's transaction.
func (d *Desk) Of(ctx context.Context, r store.Reader, id golden.ID) ([]Pair, error) {
	units, err := r.MatchUnits(ctx, []golden.ID{id})
	if err != nil || len(units) == 0 {
		return nil, err
	}
	edges, err := r.MatchEdges(ctx, []int64{units[0].Number})
	if err != nil {
		return nil, err
	}
	edges = slices.DeleteFunc(edges, func(e store.MatchEdge) bool { return !e.Asked })
	out, err := pairs(ctx, r, edges)
	for i := range out {
		if out[i].Left != id {
			out[i].Left, out[i].Right = out[i].Right, out[i].Left
		}
	}
	return out, err
}

// Pair are two customers, or two contacts, that may be one.
type Pair struct {
	Edge        store.MatchEdge
	Left, Right golden.ID
	// Probability that they are one, by the model.
	Probability float64
}

// Asked returns open questions about a kind, about every kind when it is empty, the most likely first, after the given one;
// the zero edge begins.
func (d *Desk) Asked(ctx context.Context, obj golden.Object, after store.MatchEdge, limit int) ([]Pair, error) {
	r := d.store.Read()
	edges, err := r.AskedPairs(ctx, obj, after, limit)
	if err != nil {
		return nil, err
	}
	return pairs(ctx, r, edges)
}

func pairs(ctx context.Context, r store.Reader, edges []store.MatchEdge) ([]Pair, error) {
	var numbers []int64
	for _, e := range edges {
		numbers = append(numbers, e.A, e.B)
	}
	units, err := r.MatchUnitsByNumber(ctx, distinct(numbers))
	if err != nil {
		return nil, err
	}
	id := map[int64]golden.ID{}
	for _, m := range units {
		id[m.Number] = m.GoldenID
	}
	out := make([]Pair, len(edges))
	for i, e := range edges {
		out[i] = Pair{Edge: e, Left: id[e.A], Right: id[e.B], Probability: match.Score{Bits: e.Bits}.Probability()}
	}
	return out, nil
}

// Comparison shows two customers, or two contacts, side by side.
type Comparison struct {
	Pair
	// LeftValues and RightValues are what is compared: what each is without the other.
	LeftValues, RightValues golden.Values
	// Veto is why they cannot be one by the model; empty when nothing forbids it.
	Veto     string
	Evidence []match.Evidence
	// Together is true when they are one customer now.
	Together bool
	// Verdict is what a person has said; nil when nobody has.
	Verdict *store.MatchVerdict
}

// Show compares two customers, or two contacts, by the model, whether anybody asks about them or not.
func (d *Desk) Show(ctx context.Context, left, right golden.ID) (Comparison, error) {
	var c Comparison
	err := d.act(ctx, left, right, func(ctx context.Context, w *work) error {
		c = Comparison{Pair: Pair{Left: left, Right: right}}
		a, b, err := w.two(ctx, left, right)
		if err != nil {
			return err
		}
		c.LeftValues, _ = w.u.Weigh(w.object, a.rows)
		c.RightValues, _ = w.u.Weigh(w.object, b.rows)
		c.Together = a.root == b.root
		x, y := w.prepare(a, c.LeftValues), w.prepare(b, c.RightValues)
		var s match.Score
		s, c.Evidence = w.matcher.Explain(x, y)
		c.Veto, c.Probability = s.Veto, match.Score{Bits: s.Bits}.Probability()
		c.Edge = store.MatchEdge{MatchPair: store.PairOf(a.Number, b.Number), Bits: s.Bits}
		said, err := w.tx.MatchVerdicts(ctx, []int64{a.Number})
		if err != nil {
			return err
		}
		for _, v := range said {
			if v.MatchPair == c.Edge.MatchPair {
				c.Verdict = &v
			}
		}
		edges, err := w.tx.MatchEdges(ctx, []int64{a.Number})
		for _, e := range edges {
			if e.MatchPair == c.Edge.MatchPair {
				c.Edge.Asked, c.Edge.Since = e.Asked, e.Since
			}
		}
		return err
	})
	return c, err
}

func (w *work) prepare(m *member, v golden.Values) *match.Prepared {
	system, id := w.nameOf(m.rows)
	return w.matcher.Prepare(w.record(system, id, v))
}

// two returns the units that two customers stand for.
func (w *work) two(ctx context.Context, left, right golden.ID) (a, b *member, err error) {
	if err := w.load(ctx, []golden.ID{left, right}); err != nil {
		return nil, nil, err
	}
	find := func(id golden.ID) *member {
		if m := w.byID[id]; m != nil {
			return m
		}
		for _, m := range w.byID {
			if slices.Contains(m.within, id) {
				return m
			}
		}
		return nil
	}
	a, b = find(left), find(right)
	if a == nil || b == nil {
		return nil, nil, fault.New(fault.NotFound, ReasonUnknown, "there is no such customer")
	}
	if a == b {
		return nil, nil, fault.New(fault.Precondition, ReasonMerged, "the two are one by a person's or a system's merge: unmerge them first")
	}
	return a, b, nil
}

// Answer notes what a person says about two customers and does what follows from it: the same are merged, and what
// matching had joined is parted when they are not. It outranks the model for ever. Saying the same again changes nothing.
func (d *Desk) Answer(ctx context.Context, left, right golden.ID, same bool, note string) error {
	err := d.act(ctx, left, right, func(ctx context.Context, w *work) error {
		a, b, err := w.two(ctx, left, right)
		if err != nil {
			return err
		}
		if ours, err := w.ours(ctx); err != nil {
			return err
		} else if !ours {
			return fault.New(fault.Unavailable, ReasonModelReplaced, "another replica matches by another model")
		}
		touched, err := w.refresh(ctx)
		if err != nil {
			return err
		}
		if a.Number == 0 || b.Number == 0 {
			return fault.New(fault.NotFound, ReasonUnknown, "there is no such customer, or it cannot be matched: it is deleted or has no name")
		}
		if err := w.contradicted(ctx, a, b, same); err != nil {
			return err
		}
		err = w.tx.PutMatchVerdicts(ctx, []store.MatchVerdict{{
			MatchPair: store.PairOf(a.Number, b.Number), Same: same, Actor: caller.From(ctx).Name, Note: note, At: w.u.Now(),
		}})
		if err != nil {
			return err
		}
		kind := map[bool]string{true: "match_confirmed", false: "match_rejected"}[same]
		w.u.Note(store.Event{GoldenID: a.GoldenID, Kind: kind, Reason: string(b.GoldenID)})
		w.u.Note(store.Event{GoldenID: b.GoldenID, Kind: kind, Reason: string(a.GoldenID)})
		w.person = true
		touched[a.Number], touched[b.Number] = true, true
		if err := w.regroup(ctx, touched); err != nil {
			return err
		}
		w.u.TakeChanged(w.object)
		w.u.TakeParted(w.object)
		return w.u.Flush(ctx)
	})
	if err != nil {
		return fmt.Errorf("answer about a pair: %w", err)
	}
	d.marked()
	return nil
}

// contradicted refuses a word that cannot hold beside earlier ones: two are the same of which others in their groups were
// said not to be, or two are not the same that others' being the same makes one.
func (w *work) contradicted(ctx context.Context, a, b *member, same bool) error {
	pair := store.PairOf(a.Number, b.Number)
	// Who is one with each by people's words alone.
	side := func(from *member) (map[*member]bool, error) {
		seen := map[*member]bool{from: true}
		queue := []*member{from}
		for len(queue) > 0 {
			said, err := w.saidAbout(ctx, queue[0])
			if err != nil {
				return nil, err
			}
			queue = queue[1:]
			for _, v := range said {
				if !v.Same || v.MatchPair == pair {
					continue
				}
				for _, n := range []int64{v.A, v.B} {
					if m := w.byNumber[n]; m != nil && !seen[m] {
						seen[m] = true
						queue = append(queue, m)
					}
				}
			}
		}
		return seen, nil
	}
	left, err := side(a)
	if err != nil {
		return err
	}
	if !same {
		if left[b] {
			return fault.New(fault.Precondition, ReasonContradiction, "others were said to be the same as both")
		}
		return nil
	}
	right, err := side(b)
	if err != nil {
		return err
	}
	for m := range left {
		said, err := w.saidAbout(ctx, m)
		if err != nil {
			return err
		}
		for _, v := range said {
			if v.Same || v.MatchPair == pair {
				continue
			}
			if x, y := w.byNumber[v.A], w.byNumber[v.B]; (left[x] && right[y]) || (left[y] && right[x]) {
				return fault.New(fault.Precondition, ReasonContradiction, "somebody has said that others of these two groups are not the same")
			}
		}
	}
	return nil
}

// saidAbout returns the verdicts about a unit, with the units they name loaded.
func (w *work) saidAbout(ctx context.Context, m *member) ([]store.MatchVerdict, error) {
	numbers := []int64{m.Number}
	for n, other := range w.byNumber {
		if other == m && n != m.Number {
			numbers = append(numbers, n)
		}
	}
	said, err := w.tx.MatchVerdicts(ctx, numbers)
	if err != nil {
		return nil, err
	}
	var ends []int64
	for _, v := range said {
		ends = append(ends, v.A, v.B)
	}
	return said, w.loadNumbers(ctx, distinct(ends))
}

// act does something about two records of a kind in a transaction that holds the identity lock.
func (d *Desk) act(ctx context.Context, left, right golden.ID, do func(ctx context.Context, w *work) error) error {
	obj := left.Object()
	if right.Object() != obj {
		return fault.New(fault.Precondition, ReasonUnknown, "a customer and a contact are never the same")
	}
	if err := d.knows(obj); err != nil {
		return err
	}
	return d.store.Tx(ctx, func(ctx context.Context, tx *store.Tx) error {
		u, err := d.folder.Begin(ctx, tx, telemetry.Traceparent(ctx))
		if err != nil {
			return err
		}
		return do(ctx, d.decider.of(obj).begin(tx, u))
	})
}
