package store

import (
	"slices"
	"strings"

	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/schema"
)

// Record is one version of one row. It never changes after it was stored, so
// it may be read without a lock for as long as the reader likes.
//
// Values are string (texts, picklists, ids), float64 (all numbers), bool, and
// int64 (milliseconds since 1970 for dates and times). Nulls are not stored.
type Record struct {
	Object     *schema.Object
	ID         string
	CreatedBy  string
	ModifiedBy string
	// Created and Modified are seconds since 1970: the system times of
	// Salesforce have no finer grain.
	Created  int64
	Modified int64
	Deleted  bool

	with  string // the record whose deletion took this one along
	row   int32
	cells []cell
}

type cell struct {
	slot uint16
	v    any
}

// Get returns the value of a field, nil for null. A checkbox is never null.
func (r *Record) Get(f *schema.Field) any {
	switch f.Sys {
	case schema.SysID:
		return r.ID
	case schema.SysDeleted:
		return r.Deleted
	case schema.SysCreated:
		return r.Created * 1000
	case schema.SysModified, schema.SysModstamp:
		return r.Modified * 1000
	case schema.SysCreatedBy:
		return text(r.CreatedBy)
	case schema.SysModifiedBy:
		return text(r.ModifiedBy)
	}
	if len(f.Concat) > 0 {
		return r.concat(f)
	}
	if i, ok := r.find(f.Slot); ok {
		return r.cells[i].v
	}
	if f.Type == schema.Boolean {
		return false
	}
	return nil
}

func text(s string) any {
	if s == "" {
		return nil
	}
	return s
}

func (r *Record) concat(f *schema.Field) any {
	var parts []string
	for _, name := range f.Concat {
		if s, _ := r.Get(r.Object.Field(name)).(string); s != "" {
			parts = append(parts, s)
		}
	}
	return text(strings.Join(parts, " "))
}

func (r *Record) find(slot int) (int, bool) {
	return slices.BinarySearchFunc(r.cells, uint16(slot), func(c cell, s uint16) int { return int(c.slot) - int(s) })
}

// set is used only on a version that no reader has seen yet.
func (r *Record) set(f *schema.Field, v any) {
	i, found := r.find(f.Slot)
	switch {
	case v == nil && found:
		r.cells = slices.Delete(r.cells, i, i+1)
	case v == nil:
	case found:
		r.cells[i].v = v
	default:
		r.cells = slices.Insert(r.cells, i, cell{uint16(f.Slot), v})
	}
}

// next returns an own copy to make the following version of.
func (r *Record) next() *Record {
	c := *r
	c.cells = make([]cell, len(r.cells), len(r.cells)+2)
	copy(c.cells, r.cells)
	return &c
}
