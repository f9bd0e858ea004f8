package fold

import (
	"slices"

	"github.com/selfsame-io/selfsame/services/process-customer/internal/source"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store"
)

// A system that was restored from a backup holds records in versions below those that are known. Nothing that was said since is
// forgotten here: what such a record has lost is written to it again. What somebody has changed in it after the restoration is news,
// in whatever version, and so is every change that comes.

// setBack has the claims of a record that was set back give way to its next versions.
func setBack(row, next *store.Source, rec *source.Record) {
	newest := rec.Version
	if rec.EventTime.After(row.EventTime) {
		newest-- // it was changed since: what it holds is the newer word
	}
	for field, list := range next.Claims {
		list = slices.Clone(list)
		for i := range list {
			list[i].Version = min(list[i].Version, newest-int64(i))
		}
		next.Claims[field] = list
	}
}

// lost reports whether a reading shows a record as it once was, and nothing that was said since.
func lost(row *store.Source, c source.Change) bool {
	return row != nil && c.SetBack > 0 && c.SetBack == row.Version && c.Record.Version < row.Version && !c.Record.EventTime.After(row.EventTime)
}
