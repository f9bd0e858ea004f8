package fold

import (
	"context"
	"slices"

	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/match"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store"
)

// keysOf returns what a golden record, which is not changed any more, is recognised by.
func (u *Unit) keysOf(g *store.Golden) []store.Key {
	keys, known := u.keys[g]
	if !known {
		keys = keysOf(g)
		u.keys[g] = keys
	}
	return keys
}

// keysOf returns what a golden record is recognised by; nothing once it is deleted, so that a record made anew is new.
func keysOf(g *store.Golden) []store.Key {
	if g.Deleted || g.MergedInto != "" {
		return nil
	}
	var out []store.Key
	for _, k := range match.Keys(g.Object, g.Values, golden.ID(g.Values[golden.Parent])) {
		out = append(out, store.Key{Object: g.Object, Kind: string(k.Kind), Value: k.Value})
	}
	return out
}

// keeps reports whether a golden record is known to have all its keys, the very ones that it was read with. It is how an edit of
// what nobody is recognised by costs no look at keys, of which a large database has many pages.
func (u *Unit) keeps(g *store.Golden) bool {
	was := u.stored[g.ID]
	return was != nil && was.Keyed > 0 && was.Keyed == was.Version && was.Deleted == g.Deleted && (was.MergedInto == "") == (g.MergedInto == "") &&
		match.SameKeys(g.Object, was.Values, g.Values)
}

// flushKeys takes away the keys that golden records lost and gives them those they are to have, as far as they are free.
func (u *Unit) flushKeys(ctx context.Context, goldens []*store.Golden) error {
	want := map[store.Owned]bool{}
	var ids []golden.ID
	var look []*store.Golden
	for _, g := range goldens {
		if u.keeps(g) {
			g.Keyed = g.Version
			continue
		}
		look = append(look, g)
		if u.stored[g.ID] != nil {
			ids = append(ids, g.ID)
		}
		for _, k := range u.keysOf(g) {
			want[store.Owned{Key: k, GoldenID: g.ID}] = true
		}
	}
	have, err := u.tx.KeysOf(ctx, ids)
	if err != nil {
		return err
	}
	var add, drop []store.Owned
	for _, k := range have {
		if want[k] {
			delete(want, k)
		} else {
			drop = append(drop, k)
		}
	}
	if err := u.tx.DropKeys(ctx, drop); err != nil {
		return err
	}
	for k := range want {
		add = append(add, k)
	}
	slices.SortFunc(add, func(a, b store.Owned) int { return compareText(a.GoldenID, b.GoldenID) })
	given, err := u.giveKeys(ctx, add)
	if err != nil {
		return err
	}
	lacking := map[golden.ID]bool{}
	if given < len(add) { // somebody else has one
		if lacking, err = u.lacking(ctx, add); err != nil {
			return err
		}
	}
	for _, g := range look {
		if g.Keyed = g.Version; lacking[g.ID] {
			g.Keyed = 0
		}
	}
	return nil
}

// giveKeys gives golden records the keys that are free, each to the first that wants it, and returns how many were.
func (u *Unit) giveKeys(ctx context.Context, want []store.Owned) (int, error) {
	var free, others []store.Owned
	for _, k := range want {
		if u.free[k.Key] {
			delete(u.free, k.Key)
			free = append(free, k)
		} else {
			others = append(others, k)
		}
	}
	if err := u.tx.GiveKeys(ctx, free); err != nil {
		return 0, err
	}
	given, err := u.tx.AddKeys(ctx, others)
	return len(free) + given, err
}

// lacking returns the golden records that did not get a key.
func (u *Unit) lacking(ctx context.Context, wanted []store.Owned) (map[golden.ID]bool, error) {
	var ids []golden.ID
	for _, k := range wanted {
		ids = append(ids, k.GoldenID)
	}
	have, err := u.tx.KeysOf(ctx, slices.Compact(ids)) // they are sorted
	if err != nil {
		return nil, err
	}
	got := make(map[store.Owned]bool, len(have))
	for _, k := range have {
		got[k] = true
	}
	out := map[golden.ID]bool{}
	for _, k := range wanted {
		if !got[k] {
			out[k.GoldenID] = true
		}
	}
	return out, nil
}
