package store

import (
	"context"
	"sync/atomic"

	"github.com/selfsame-io/selfsame/pkg/db"
)

// learner has PostgreSQL look at the tables while a first load fills them. Without statistics it takes every table for
// nearly empty and reads it whole; by itself it looks after a minute at the earliest, which is most of a load. It is safe
// for concurrent use; the zero value is usable.
type learner struct {
	written atomic.Int64 // rows, by this process
	looked  atomic.Int64 // the milestone that was passed last
}

const (
	firstLook = 500
	lookAgain = 4       // times as many rows
	lastLook  = 500_000 // a table of that size is looked at by the server when a tenth of it has changed
)

// note counts rows that were committed. Statistics are only a hint: without them everything is right, but slow.
func (l *learner) note(ctx context.Context, d *db.DB, rows int64) {
	if rows == 0 || d.Engine() != db.PostgreSQL {
		return
	}
	written, passed := l.written.Add(rows), l.looked.Load()
	next := max(firstLook, passed*lookAgain)
	if written < next || next > lastLook || !l.looked.CompareAndSwap(passed, written) {
		return
	}
	_, _ = d.Exec(ctx, "ANALYZE golden, source_record, match_key, pending, inbox, subject_key")
}
