package fold

import (
	"fmt"
	"slices"

	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store"
)

// A snapshot tells what a record held when it was read, which is not when it arrives. Where versions say which of two
// readings is the newer one, the older one is dropped. They do not where a system acknowledges a write without the new
// version, or counts versions so coarsely that two changes share one: an older reading then looks like somebody's edit.
// Such a reading is in doubt, and the record is read once more before anything is concluded.

// Doubt is a record of which a snapshot may be older than what is known.
type Doubt struct {
	// Ref names the record.
	Ref golden.Ref
	// Known says what was known when the doubt came up. A reading that is asked for now and taken in while the same is
	// known is not in doubt: see [source.Change.Asked].
	Known string
}

// Doubts returns the records that have to be read again before this unit may be flushed; none when all is certain.
func (u *Unit) Doubts() []Doubt { return slices.Clone(u.doubts) }

// doubted reports whether a field of a snapshot that says something else than is known may only be old.
func doubted(row *store.Source, version int64, known bool, sent []store.Sent) bool {
	if slices.ContainsFunc(sent, func(s store.Sent) bool { return !s.Past }) {
		return true // ours was acknowledged, or nobody knows, and it has not been seen yet
	}
	return row != nil && known && version == row.Version && row.LastChangeID != ""
}

// knowledge is what a later doubt about a record is compared with.
func knowledge(row *store.Source, in store.Intent) string {
	if row == nil {
		return "new"
	}
	n := 0
	for _, list := range in.Sent {
		n += len(list)
		for i, s := range list {
			if s.Acked {
				n += 100 * (i + 1)
			}
			if s.Past {
				n += 10_000 * (i + 1)
			}
		}
	}
	return fmt.Sprintf("%d/%s/%d/%d", row.Version, row.LastChangeID, in.At.UnixMicro(), n)
}

// doubt notes that a record has to be read again.
func (u *Unit) doubt(ref golden.Ref, known string) {
	for i := range u.doubts {
		if u.doubts[i].Ref == ref {
			u.doubts[i].Known = known
			return
		}
	}
	u.doubts = append(u.doubts, Doubt{Ref: ref, Known: known})
}
