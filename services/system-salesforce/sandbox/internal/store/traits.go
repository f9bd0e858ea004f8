package store

import (
	"fmt"

	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/schema"
)

// traits are the fields of an object that every write has to look at.
type traits struct {
	// preset have a value in a new record even if none is given.
	preset                                          []*schema.Field
	required, unique, numbered, calculated, stamped []*schema.Field
}

func traitsOf(o *schema.Object) (t traits) {
	add := func(to *[]*schema.Field, f *schema.Field, is bool) {
		if is {
			*to = append(*to, f)
		}
	}
	for _, f := range o.Fields {
		add(&t.preset, f, f.Owner || f.Default != "" || f.Type == schema.Boolean && f.Sys == schema.NotSystem)
		add(&t.required, f, f.Required)
		add(&t.unique, f, f.Unique)
		add(&t.numbered, f, f.AutoNumber > 0)
		add(&t.calculated, f, f.CalcField != "")
		add(&t.stamped, f, f.StampField != "")
	}
	return t
}

func (t *traits) missing(r *Record) *Error {
	var missing []string
	for _, f := range t.required {
		if r.Get(f) == nil {
			missing = append(missing, f.Name)
		}
	}
	if missing == nil {
		return nil
	}
	return refuse("REQUIRED_FIELD_MISSING", "Required fields are missing: "+list(missing), missing...)
}

func (tx *Tx) unique(r *Record) *Error {
	t := tx.s.tables[r.Object]
	for _, f := range t.unique {
		for _, row := range t.found(f, r.Get(f)) {
			if other := t.rows[row]; other.ID != r.ID {
				if !tx.sees(other.ID) {
					return refuse("DUPLICATE_VALUE", "duplicate value found: <unknown> duplicates value on record with id: <unknown>")
				}
				return refuse("DUPLICATE_VALUE", fmt.Sprintf("duplicate value found: %s duplicates value on record with id: %s", f.Name, other.ID))
			}
		}
	}
	return nil
}

// derive sets the fields that follow from others.
func (t *traits) derive(old, r *Record, now int64) {
	for _, f := range t.calculated {
		is := false
		v := r.Get(r.Object.Field(f.CalcField))
		for _, want := range f.CalcIn {
			is = is || v == want
		}
		r.set(f, is)
	}
	for _, f := range t.stamped {
		flag := r.Object.Field(f.StampField)
		on, _ := r.Get(flag).(bool)
		was := old != nil && old.Get(flag) == true
		switch {
		case on && !was:
			r.set(f, now*1000)
		case !on:
			r.set(f, nil)
		}
	}
}
