package fold

import (
	"maps"
	"slices"

	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
)

// Undelivered says what a system does not hold of a loaded golden record: false when nothing. Fields are the names of
// those that differ in one of its records; none when the system has no record at all.
func (u *Unit) Undelivered(id golden.ID, system string) (fields []string, yes bool) {
	g := u.goldens[id]
	if g == nil || !u.needs(g, system) {
		return nil, false
	}
	if g.Deleted {
		return nil, true
	}
	live, _ := split(u.of[id], system)
	names := map[string]bool{}
	for _, row := range live {
		for f := range u.delta(g, row) {
			names[f] = true
		}
	}
	return slices.Sorted(maps.Keys(names)), true
}

// Remark has a loaded golden record compared with a system again when the unit is flushed, and marked if it differs.
func (u *Unit) Remark(id golden.ID, system string) { u.touch(id, system) }
