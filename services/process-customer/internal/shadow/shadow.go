// Package shadow says how what would have been written to a system compares with what the system got from others.
//
// The problem: before Selfsame takes over from another integration, somebody has to know that it would write the same. In
// shadow mode the deliverer notes every field that it would write; this package compares the notes with what the system is
// known to hold. Invariant: a field is in exactly one of three states, and none is counted twice. It calls no system and
// changes nothing.
package shadow

import (
	"cmp"
	"context"
	"slices"

	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store"
)

// State is how a field that would have been written compares.
type State string

// The states.
const (
	// Matched: the system holds what would have been written.
	Matched State = "MATCHED"
	// Waiting: the system still holds what it held before.
	Waiting State = "WAITING"
	// Different: it holds something else.
	Different State = "DIFFERENT"
)

// States returns all of them.
func States() []State { return []State{Matched, Waiting, Different} }

// Write is a field that would have been written, with what the system holds now; Holds is personal data.
type Write struct {
	store.ShadowWrite
	State State
	Holds string
}

// Line counts the fields of one name; Field is empty for whole records.
type Line struct {
	Object golden.Object
	Field  string
	Count  map[State]int64
}

const pageSize = 500

// Page returns writes of a system in the order of their keys, after one, and where the next page begins; nil when there is
// none. It leaves out what is not intended any more.
func Page(ctx context.Context, r store.Reader, system string, after store.ShadowWrite, limit int) (writes []Write, next *store.ShadowWrite, err error) {
	noted, err := r.ShadowWrites(ctx, system, after, limit)
	if err != nil || len(noted) == 0 {
		return nil, nil, err
	}
	if len(noted) == limit {
		next = &store.ShadowWrite{GoldenID: noted[limit-1].GoldenID, RecordID: noted[limit-1].RecordID, Field: noted[limit-1].Field}
	}
	var ids []golden.ID
	for _, w := range noted {
		if n := len(ids); n == 0 || ids[n-1] != w.GoldenID {
			ids = append(ids, w.GoldenID)
		}
	}
	rows, err := r.SourcesOf(ctx, ids)
	if err != nil {
		return nil, nil, err
	}
	goldens, err := r.Goldens(ctx, ids)
	if err != nil {
		return nil, nil, err
	}
	values := map[golden.ID]golden.Values{}
	for _, g := range goldens {
		values[g.ID] = g.Values
	}
	of := map[golden.ID][]*store.Source{}
	for _, row := range rows {
		if row.Ref.System == system {
			of[row.GoldenID] = append(of[row.GoldenID], row)
		}
	}
	for _, n := range noted {
		w := compare(n, of[n.GoldenID])
		if w.State == Waiting && w.Kind == store.ShadowUpdate && values[w.GoldenID][w.Field] == w.Holds {
			continue // it was taken back
		}
		writes = append(writes, w)
	}
	return writes, next, nil
}

// compare says how a write compares with the records that the system has of its golden record.
func compare(w store.ShadowWrite, rows []*store.Source) Write {
	out := Write{ShadowWrite: w, State: Waiting}
	i := slices.IndexFunc(rows, func(r *store.Source) bool {
		return r.Ref.RecordID == w.RecordID || (w.RecordID == "" && !r.Deleted)
	})
	switch {
	case w.Kind == store.ShadowDelete:
		if i < 0 || rows[i].Deleted {
			out.State = Matched
		}
		return out
	case i < 0:
		return out // nobody has made it yet
	case w.Kind == store.ShadowLink:
		return out
	}
	out.Holds = rows[i].Shadow[w.Field]
	switch {
	case out.Holds == w.Intended:
		out.State = Matched
	case out.Holds != w.Before || w.Kind == store.ShadowCreate || rows[i].Deleted:
		out.State = Different
	}
	return out
}

// Parity counts the fields of a system, those that differ most often first. What concerns only our id is not counted.
func Parity(ctx context.Context, r store.Reader, system string) ([]Line, error) {
	type key struct {
		object golden.Object
		field  string
	}
	lines := map[key]*Line{}
	for next := (&store.ShadowWrite{}); next != nil; {
		var page []Write
		var err error
		page, next, err = Page(ctx, r, system, *next, pageSize)
		if err != nil {
			return nil, err
		}
		for _, w := range page {
			if w.Kind == store.ShadowLink {
				continue
			}
			k := key{w.Object, w.Field}
			if lines[k] == nil {
				lines[k] = &Line{Object: w.Object, Field: w.Field, Count: map[State]int64{}}
			}
			lines[k].Count[w.State]++
		}
	}
	out := make([]Line, 0, len(lines))
	for _, l := range lines {
		out = append(out, *l)
	}
	slices.SortFunc(out, func(a, b Line) int {
		return cmp.Or(cmp.Compare(b.Count[Different], a.Count[Different]), cmp.Compare(a.Object, b.Object), cmp.Compare(a.Field, b.Field))
	})
	return out, nil
}
