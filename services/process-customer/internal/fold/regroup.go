package fold

import (
	"context"
	"maps"
	"slices"

	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store"
)

// Identity decides which golden records are one, by more than exact keys.
type Identity interface {
	// Decides reports whether Settle, and not exact keys, decides whose a new record of a kind is.
	Decides(obj golden.Object) bool
	// Settle looks again at what the unit has changed (TakeChanged, TakeParted), before anything is written. It may join
	// and part golden records of the unit.
	Settle(ctx context.Context, tx *store.Tx, u *Unit) error
	// Find returns the golden record that values mean, without changing anything; empty when there is none.
	Find(ctx context.Context, r store.Reader, obj golden.Object, values golden.Values) (golden.ID, error)
}

// Parted says that a golden record was taken out of another one.
type Parted struct{ From, Into golden.ID }

// TakeChanged returns the golden records of a kind whose records, or what these say, have changed since it was called last,
// sorted.
func (u *Unit) TakeChanged(obj golden.Object) []golden.ID {
	var ids []golden.ID
	for id := range u.said {
		if id.Object() == obj {
			ids = append(ids, id)
			delete(u.said, id)
		}
	}
	slices.Sort(ids)
	return ids
}

// TakeParted returns the merges of golden records of a kind that were taken back since it was called last.
func (u *Unit) TakeParted(obj golden.Object) []Parted {
	var out, rest []Parted
	for _, p := range u.apart {
		if p.From.Object() == obj {
			out = append(out, p)
		} else {
			rest = append(rest, p)
		}
	}
	u.apart = rest
	return out
}

// Prompt has what the unit changes matched before it ends, also where that could wait.
func (u *Unit) Prompt() { u.prompt = true }

// Prompted reports whether Prompt was called.
func (u *Unit) Prompted() bool { return u.prompt }

// Follow returns the loaded golden record that one was merged into, itself when it was not.
func (u *Unit) Follow(id golden.ID) golden.ID { return u.follow(id) }

// Weigh returns what the rules make of some records of one kind, and whether every system has deleted them.
func (u *Unit) Weigh(obj golden.Object, rows []*store.Source) (golden.Values, bool) {
	return golden.ValuesOf(choose(obj, rows, u.rules)), gone(obj, rows, u.rules)
}

// Tree is a golden record that was not merged, with all that were merged into it, directly or not.
type Tree struct {
	Root golden.ID
	// Into says what each of the others was merged into.
	Into map[golden.ID]golden.ID
	// Rows are the records, by the golden record that they belong to without the merges.
	Rows map[golden.ID][]*store.Source
}

// Trees returns the trees that golden records are in, each once, in the order of their roots. Unknown ones are left out.
func (u *Unit) Trees(ctx context.Context, ids []golden.ID) ([]Tree, error) {
	if err := u.LoadGoldens(ctx, ids); err != nil {
		return nil, err
	}
	roots := map[golden.ID]bool{}
	for _, id := range ids {
		if u.goldens[id] != nil {
			roots[u.follow(id)] = true
		}
	}
	into := map[golden.ID]golden.ID{}
	level := slices.Sorted(maps.Keys(roots))
	for range maxDepth {
		next, err := u.below(ctx, level)
		if err != nil {
			return nil, err
		}
		maps.Copy(into, next)
		if level = slices.Sorted(maps.Keys(next)); len(level) == 0 {
			break
		}
	}
	homes, err := u.homes(ctx, into)
	if err != nil {
		return nil, err
	}
	trees := map[golden.ID]*Tree{}
	for root := range roots {
		t := &Tree{Root: root, Into: map[golden.ID]golden.ID{}, Rows: map[golden.ID][]*store.Source{}}
		for _, row := range u.of[root] {
			home, moved := homes[row.Ref]
			if !moved {
				home = root
			}
			t.Rows[home] = append(t.Rows[home], row)
		}
		trees[root] = t
	}
	for id, to := range into {
		root := to
		for up, ok := into[root]; ok; up, ok = into[root] {
			root = up
		}
		if t := trees[root]; t != nil {
			t.Into[id] = to
		}
	}
	out := make([]Tree, 0, len(trees))
	for _, root := range slices.Sorted(maps.Keys(trees)) {
		out = append(out, *trees[root])
	}
	return out, nil
}

// maxDepth bounds how often what was merged is merged again.
const maxDepth = 16

// below returns what was merged into golden records, as the unit knows it by now.
func (u *Unit) below(ctx context.Context, ids []golden.ID) (map[golden.ID]golden.ID, error) {
	stored, err := u.tx.MergedBelow(ctx, ids)
	if err != nil {
		return nil, err
	}
	out := map[golden.ID]golden.ID{}
	for id, to := range stored {
		if u.goldens[id] == nil {
			out[id] = to
		}
	}
	for id, g := range u.goldens {
		if g.MergedInto != "" && slices.Contains(ids, g.MergedInto) {
			out[id] = g.MergedInto
		}
	}
	return out, nil
}

// homes returns where the records of merged golden records were before the first of the merges took them away.
func (u *Unit) homes(ctx context.Context, into map[golden.ID]golden.ID) (map[golden.Ref]golden.ID, error) {
	if len(into) == 0 {
		return nil, nil
	}
	var stored []golden.ID
	for id := range into {
		if !u.parted[id] {
			stored = append(stored, id)
		}
	}
	slices.Sort(stored)
	moves, err := u.tx.MovesFrom(ctx, stored)
	if err != nil {
		return nil, err
	}
	depth := func(id golden.ID) (n int) {
		for up, ok := into[id]; ok; up, ok = into[up] {
			n++
		}
		return n
	}
	out := map[golden.Ref]golden.ID{}
	for _, m := range append(moves, u.moves...) {
		if _, merged := into[m.From]; !merged {
			continue
		}
		if have, ok := out[m.Ref]; !ok || depth(m.From) > depth(have) {
			out[m.Ref] = m.From
		}
	}
	return out, nil
}
