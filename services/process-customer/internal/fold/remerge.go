package fold

import "github.com/selfsame-io/selfsame/services/process-customer/internal/golden"

// Remerge computes a loaded golden record again under the rules in force and has every system compared with it. It
// reports whether the record changed.
func (u *Unit) Remerge(id golden.ID, changeID string) bool {
	if u.goldens[id] == nil {
		return false
	}
	u.touch(id, "")
	return u.merge(id, golden.Ref{Object: id.Object()}, changeID)
}
