package fold

import (
	"context"

	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store"
)

// A database that works in a process of its own has nothing to do while a batch is folded in, and the batch waits for it
// afterwards. So what the first changes of a batch have done is written while the next ones are folded in. It is what
// [Unit.Flush] would write: in the same transaction, and once more if a later change touches it again.

// ahead is what was written before Flush, as it was written: what is another one by then is written again.
type ahead struct {
	rows    map[golden.Ref]*store.Source
	goldens map[golden.ID]*store.Golden
}

// Ahead writes records that changes which were observed have touched, and those of their golden records whose keys need no
// look at the database. Call it between changes, about records that no later one is about. It is about speed only; nothing is
// marked, and nothing said, before Flush. SQLite gains nothing by it: both do the same.
func (u *Unit) Ahead(ctx context.Context, refs []golden.Ref) error {
	if len(u.doubts) > 0 {
		return nil // probably nothing will remain
	}
	var rows []*store.Source
	var goldens []*store.Golden
	var keys []store.Owned
	for _, ref := range refs {
		row := u.rows[ref]
		if row == nil || !u.dirtyRows[ref] || u.ahead.rows[ref] == row {
			continue
		}
		u.ahead.rows[ref] = row
		rows = append(rows, row)
		g := u.goldens[row.GoldenID]
		if g == nil || !u.dirtyGolden[g.ID] || u.ahead.goldens[g.ID] == g {
			continue
		}
		if !u.keeps(g) {
			own, free := u.claimFree(g)
			if !free {
				continue
			}
			keys = append(keys, own...)
			u.stored[g.ID] = g // should it change once more, it is to be asked which keys it has
		}
		g.Keyed, u.ahead.goldens[g.ID] = g.Version, g
		goldens = append(goldens, g)
	}
	if err := u.tx.PutSources(ctx, rows); err != nil {
		return err
	}
	if err := u.tx.GiveKeys(ctx, keys); err != nil {
		return err
	}
	return u.tx.PutGoldens(ctx, goldens)
}

// claimFree takes all keys of a golden record that is not stored yet out of those that are known to be free; false when it is
// stored or one of them is not.
func (u *Unit) claimFree(g *store.Golden) ([]store.Owned, bool) {
	if u.stored[g.ID] != nil || u.ahead.goldens[g.ID] != nil {
		return nil, false
	}
	keys := u.keysOf(g)
	for _, k := range keys {
		if !u.free[k] {
			return nil, false
		}
	}
	own := make([]store.Owned, 0, len(keys))
	for _, k := range keys {
		if u.free[k] {
			delete(u.free, k)
			own = append(own, store.Owned{Key: k, GoldenID: g.ID})
		}
	}
	return own, true
}
