package fold

import (
	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store"
)

// A system whose deletion is final has its deletion carried out in the others. That a deletion there is ours is noted before
// it is made: however we hear of it, it is never taken for the word of a person, and what we deleted is made again when the
// customer is undeleted where that counts.

// removing notes that a record is about to be deleted by us, and with a customer its contacts, which its system may delete
// with it; or that it is not, after all.
func (u *Unit) removing(p *Plan, yes bool) {
	row := u.rows[p.Write.Ref]
	if row == nil || row.Deleted {
		return
	}
	set := func(r *store.Source) {
		if r.Deleted || r.Removed == yes {
			return
		}
		next := r.Clone()
		next.Removed = yes
		u.putRow(next)
	}
	set(row)
	if row.Ref.Object != golden.Customer {
		return
	}
	for _, r := range u.rows {
		if r.Ref.System == row.Ref.System && r.Ref.Object == golden.Contact && r.ParentID == row.Ref.RecordID && r.GoldenID != "" {
			set(r)
		}
	}
}

// AckDelete folds in that a record is gone because we deleted it.
func (u *Unit) AckDelete(p *Plan, version int64, changeID string) {
	row := u.rows[p.Write.Ref]
	if row == nil || (row.Deleted && row.Removed) {
		return
	}
	next := row.Clone()
	next.Deleted, next.Removed, next.LastChangeID = true, true, changeID
	next.Version = max(next.Version, version)
	u.putRow(next)
	u.touch(row.GoldenID, row.Ref.System)
	if u.goldens[row.GoldenID] != nil {
		u.merge(row.GoldenID, row.Ref, changeID)
	}
}

// dying reports whether a record, or that of its customer, is still to be deleted by us.
func (u *Unit) dying(row *store.Source) bool {
	g := u.goldens[row.GoldenID]
	if g == nil || g.Deleted {
		return true
	}
	parent := u.goldens[u.follow(golden.ID(g.Values[golden.Parent]))]
	return g.Object == golden.Contact && parent != nil && parent.Deleted
}
