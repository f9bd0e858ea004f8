package identify

import (
	"bytes"
	"cmp"
	"context"
	"maps"
	"slices"

	"github.com/selfsame-io/selfsame/services/process-customer/internal/store"
	"github.com/selfsame-io/selfsame/services/process-customer/match"
)

// refresh brings the index, and the edges of the loaded units, up to date. It returns the numbers of the units whose
// edges, records or membership have changed.
func (w *work) refresh(ctx context.Context) (map[int64]bool, error) {
	touched := map[int64]bool{}
	changed, err := w.changed(ctx)
	if err != nil {
		return nil, err
	}
	for _, m := range changed {
		touched[m.Number] = true
	}
	ix := &indexing{work: w, changed: changed, touched: touched, buckets: map[int64][]int64{}}
	if err := ix.keys(ctx); err != nil {
		return nil, err
	}
	if err := ix.edges(ctx); err != nil {
		return nil, err
	}
	return touched, nil
}

// changed weighs the loaded units and stores those that are not as they were, with numbers for new ones.
func (w *work) changed(ctx context.Context) ([]*member, error) {
	var out, fresh []*member
	for _, id := range slices.Sorted(maps.Keys(w.byID)) {
		m := w.byID[id]
		w.weigh(m)
		if m.Number == 0 {
			if m.Live {
				fresh = append(fresh, m)
			}
			continue
		}
		if m.Live != m.before.Live || m.Systems != m.before.Systems || m.Joined != m.before.Joined || !bytes.Equal(m.Record, m.before.Record) {
			out = append(out, m)
		}
	}
	if len(fresh) > 0 {
		slices.SortFunc(fresh, func(a, b *member) int {
			return cmp.Or(w.u.Golden(a.root).Created.Compare(w.u.Golden(b.root).Created), cmp.Compare(a.GoldenID, b.GoldenID))
		})
		first, err := w.tx.NextMatchUnits(ctx, w.object, len(fresh))
		if err != nil {
			return nil, err
		}
		for i, m := range fresh {
			m.Number, m.fresh = first+int64(i), true
			w.byNumber[m.Number] = m
		}
		out = append(out, fresh...)
	}
	units := make([]store.MatchUnit, 0, len(out)+len(w.retired))
	for _, m := range out {
		units = append(units, m.MatchUnit)
	}
	for _, r := range w.retired {
		r.Live, r.Joined, r.Record, r.Keys = false, false, nil, nil
		units = append(units, r)
	}
	return out, w.tx.PutMatchUnits(ctx, units)
}

// indexing is the part of the work that is about keys and edges.
type indexing struct {
	*work
	changed []*member
	touched map[int64]bool
	buckets map[int64][]int64 // who has each key now
}

// keys has the changed units found by the keys that they have now, and retires keys that too many have.
func (x *indexing) keys(ctx context.Context) error {
	var drop, add []store.MatchBlock
	var look []int64
	for _, r := range x.retired {
		for _, k := range r.Keys {
			drop = append(drop, store.MatchBlock{Key: k, Unit: r.Number})
		}
	}
	for _, m := range x.changed {
		for _, k := range m.before.Keys {
			if !slices.Contains(m.Keys, k) {
				drop = append(drop, store.MatchBlock{Key: k, Unit: m.Number})
			}
		}
		look = append(look, m.Keys...)
	}
	if err := x.tx.DropMatchBlocks(ctx, drop); err != nil {
		return err
	}
	look = distinct(look)
	common, err := x.tx.MatchCommon(ctx, look)
	if err != nil {
		return err
	}
	look = slices.DeleteFunc(look, func(k int64) bool { return common[k] })
	if x.buckets, err = x.tx.MatchBuckets(ctx, look); err != nil {
		return err
	}
	for _, m := range x.changed {
		for _, k := range m.Keys {
			if !common[k] && !slices.Contains(x.buckets[k], m.Number) {
				x.buckets[k] = append(x.buckets[k], m.Number)
				add = append(add, store.MatchBlock{Key: k, Unit: m.Number})
			}
		}
	}
	var full []int64
	for _, k := range look {
		if len(x.buckets[k]) > match.KeyCap {
			full = append(full, k)
		}
	}
	add = slices.DeleteFunc(add, func(b store.MatchBlock) bool { return len(x.buckets[b.Key]) > match.KeyCap })
	if err := x.tx.AddMatchBlocks(ctx, add); err != nil {
		return err
	}
	if len(full) == 0 {
		return nil
	}
	if err := x.tx.RetireMatchKeys(ctx, x.object, full); err != nil {
		return err
	}
	return x.abandon(ctx, full)
}

// abandon drops the edges that only keys account for which too many have by now.
func (x *indexing) abandon(ctx context.Context, full []int64) error {
	var members []int64
	for _, k := range full {
		members = append(members, x.buckets[k]...)
		delete(x.buckets, k)
	}
	members = distinct(members)
	edges, err := x.tx.MatchEdges(ctx, members)
	if err != nil || len(edges) == 0 {
		return err
	}
	var ends, shared []int64
	for _, e := range edges {
		ends = append(ends, e.A, e.B)
	}
	units, err := x.tx.MatchUnitsByNumber(ctx, distinct(ends))
	if err != nil {
		return err
	}
	keys := map[int64][]int64{}
	for _, m := range units {
		keys[m.Number] = m.Keys
	}
	both := func(e store.MatchEdge) []int64 {
		var out []int64
		for _, k := range keys[e.A] {
			if slices.Contains(keys[e.B], k) {
				out = append(out, k)
			}
		}
		return out
	}
	for _, e := range edges {
		shared = append(shared, both(e)...)
	}
	common, err := x.tx.MatchCommon(ctx, distinct(shared))
	if err != nil {
		return err
	}
	var drop []store.MatchPair
	for _, e := range edges {
		if !slices.ContainsFunc(both(e), func(k int64) bool { return !common[k] }) {
			drop = append(drop, e.MatchPair)
			x.touched[e.A], x.touched[e.B] = true, true
		}
	}
	return x.tx.DropMatchEdges(ctx, drop)
}

// edges scores the changed units with all that share a key with them.
func (x *indexing) edges(ctx context.Context) error {
	var numbers []int64
	for _, m := range x.changed {
		numbers = append(numbers, m.Number)
	}
	for _, r := range x.retired {
		numbers = append(numbers, r.Number)
	}
	if len(numbers) == 0 {
		return nil
	}
	before, err := x.tx.MatchEdges(ctx, numbers)
	if err != nil {
		return err
	}
	found, err := x.score(ctx, before)
	if err != nil {
		return err
	}
	var put []store.MatchEdge
	var drop []store.MatchPair
	for _, e := range before {
		bits, still := found[e.MatchPair]
		switch {
		case still && bits == e.Bits:
			delete(found, e.MatchPair)
		case still:
			e.Bits = bits
			put = append(put, e)
			delete(found, e.MatchPair)
		case x.kept(e):
			continue
		default:
			drop = append(drop, e.MatchPair)
		}
		x.touched[e.A], x.touched[e.B] = true, true
	}
	for p, bits := range found {
		put = append(put, store.MatchEdge{MatchPair: p, Bits: bits})
		x.touched[p.A], x.touched[p.B] = true, true
	}
	slices.SortFunc(put, func(a, b store.MatchEdge) int { return cmp.Or(cmp.Compare(a.A, b.A), cmp.Compare(a.B, b.B)) })
	if err := x.tx.DropMatchEdges(ctx, drop); err != nil {
		return err
	}
	return x.tx.PutMatchEdges(ctx, put)
}

// kept reports whether an edge stays although nobody is found by it any more: a record that was deleted everywhere
// stays with those it belonged to.
func (x *indexing) kept(e store.MatchEdge) bool {
	dead := false
	for _, n := range []int64{e.A, e.B} {
		if m := x.byNumber[n]; m != nil {
			if m.Number != n {
				return false // merged into another unit by a person or a system
			}
			dead = dead || (!m.Live && len(m.Record) > 0)
		}
	}
	return dead
}

// score returns the pairs of the changed units that may be one. Whom a unit was found to be like before it is compared with again.
func (x *indexing) score(ctx context.Context, before []store.MatchEdge) (map[store.MatchPair]float64, error) {
	lists := make([][]int64, len(x.changed))
	like := map[int64][]int64{}
	for _, e := range before {
		like[e.A], like[e.B] = append(like[e.A], e.B), append(like[e.B], e.A)
	}
	var need []int64
	for i, m := range x.changed {
		lists[i] = known(candidates(m.Number, m.Keys, x.buckets), like[m.Number], m.Keys, x.buckets)
		for _, n := range lists[i] {
			if x.byNumber[n] == nil {
				need = append(need, n)
			}
		}
	}
	others, err := x.read(ctx, x.tx.Reader, distinct(need))
	if err != nil {
		return nil, err
	}
	found := map[store.MatchPair]float64{}
	for i, m := range x.changed {
		for _, n := range lists[i] {
			p := store.PairOf(m.Number, n)
			if _, done := found[p]; done {
				continue
			}
			other := others[n]
			if o := x.byNumber[n]; o != nil {
				if other, err = x.compared(o); err != nil {
					return nil, err
				}
			}
			if other == nil {
				continue
			}
			if s := x.matcher.Score(m.prepared, other); s.Veto == "" && s.Bits >= x.low {
				found[p] = s.Bits
			}
		}
	}
	return found, nil
}

// read returns prepared records of units. Those that another model has prepared are left out: they wait for this one.
func (d *judge) read(ctx context.Context, r store.Reader, numbers []int64) (map[int64]*match.Prepared, error) {
	stored, err := r.MatchRecords(ctx, numbers)
	if err != nil {
		return nil, err
	}
	out := make(map[int64]*match.Prepared, len(stored))
	for n, record := range stored {
		if p, err := d.matcher.Decode(record); err == nil {
			out[n] = p
		}
	}
	return out, nil
}

// The limits of comparing. Reading candidates is what a lookup among a million customers spends its time with, and the more
// there are, the more share a common key or two with anybody.
const (
	// maxCandidates is how many candidates are compared, those with the rarest keys first.
	maxCandidates = 48
	// fewCandidates of them may share less than a part of what the best one shares.
	fewCandidates = 16
	part          = 4
)

// candidates returns who shares keys with a unit, those with the rarest first, as far as they are compared.
func candidates(self int64, keys []int64, buckets map[int64][]int64) []int64 {
	type one struct {
		number int64
		weight float64
	}
	rows := 0
	for _, k := range keys {
		rows += len(buckets[k])
	}
	all := make([]one, 0, rows)
	for _, k := range keys {
		w := match.KeyWeight(max(1, len(buckets[k])))
		for _, n := range buckets[k] {
			if n != self {
				all = append(all, one{n, w})
			}
		}
	}
	// The weights of each in one order, so that their sum does not depend on that of the keys.
	slices.SortFunc(all, func(a, b one) int { return cmp.Or(cmp.Compare(a.number, b.number), cmp.Compare(b.weight, a.weight)) })
	found := all[:0]
	for _, c := range all {
		if last := len(found) - 1; last >= 0 && found[last].number == c.number {
			found[last].weight += c.weight
		} else {
			found = append(found, c)
		}
	}
	slices.SortFunc(found, func(a, b one) int { return cmp.Or(cmp.Compare(b.weight, a.weight), cmp.Compare(a.number, b.number)) })
	out := make([]int64, 0, min(len(found), maxCandidates))
	for i, c := range found[:min(len(found), maxCandidates)] {
		if i >= fewCandidates && c.weight < found[0].weight/part {
			break
		}
		out = append(out, c.number)
	}
	return out
}

// known adds to a unit's candidates those that it is known to be like and still shares a key with, however many share more by now:
// whether a pair is one may not depend on which of the two was looked up last.
func known(list, like, keys []int64, buckets map[int64][]int64) []int64 {
	for _, n := range like {
		if !slices.Contains(list, n) && slices.ContainsFunc(keys, func(k int64) bool { return slices.Contains(buckets[k], n) }) {
			list = append(list, n)
		}
	}
	return list
}

func distinct[T cmp.Ordered](list []T) []T {
	slices.Sort(list)
	return slices.Compact(list)
}
