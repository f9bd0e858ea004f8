package rest

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/render"
	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/schema"
	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/sfid"
	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/store"
)

// sobjects serves everything under /sobjects.
func (c *call) sobjects(seg []string) *answer {
	if len(seg) == 0 {
		return c.get(func() *answer { return c.described(c.describeGlobal) })
	}
	o := c.opt.Schema.Object(seg[0])
	if o == nil {
		return notFound()
	}
	switch len(seg) {
	case 1:
		if c.method == http.MethodPost {
			return c.create(o)
		}
		return c.get(func() *answer { return c.basic(o) })
	case 2:
		switch seg[1] {
		case "describe":
			return c.get(func() *answer { return c.described(func() *answer { return c.describe(o) }) })
		case "updated", "deleted":
			return c.get(func() *answer { return c.replication(o.Name, seg[1]) })
		case "Id":
			if c.method == http.MethodPost {
				return c.create(o)
			}
		}
		return c.row(o, seg[1])
	case 3:
		return c.external(o, seg[1], seg[2])
	}
	return notFound()
}

func (c *call) create(o *schema.Object) *answer {
	in, a := c.record()
	if a != nil {
		return a
	}
	var id string
	var refusal *store.Error
	_ = c.write(func(tx *store.Tx) error { // the refusal is kept
		id, refusal = tx.Create(o, in)
		return nil
	})
	if refusal != nil {
		return refused(refusal)
	}
	return c.created(o, id, nil)
}

func (c *call) created(o *schema.Object, id string, flag *bool) *answer {
	s := success(id)
	s.Created = flag
	a := reply(http.StatusCreated, s)
	a.header.Set("Location", render.Base(c.version)+"/sobjects/"+o.Name+"/"+id)
	return a
}

// recordID checks the form of an id in a path.
func recordID(o *schema.Object, given string) (string, *store.Error) {
	id, ok := sfid.Normal(given)
	if !ok || id[:3] != o.Prefix {
		return "", &store.Error{Code: "MALFORMED_ID", Message: fmt.Sprintf("%s ID: id value of incorrect type: %s", o.Label, given), Fields: []string{"Id"}}
	}
	return id, nil
}

func (c *call) row(o *schema.Object, given string) *answer {
	id, err := recordID(o, given)
	if err != nil {
		return refused(err)
	}
	cond, a := c.conditions(o)
	if a != nil {
		return a
	}
	switch c.method {
	case http.MethodGet, http.MethodHead:
		return c.readIf(o, id, cond)
	case http.MethodPatch:
		in, a := c.record()
		if a != nil {
			return a
		}
		var stop *answer
		done := c.change(func(tx *store.Tx) *store.Error {
			if r := tx.Get(o, id); r != nil && !r.Deleted {
				if stop = cond.check(c.method, r); stop != nil {
					return nil
				}
			}
			return tx.Update(o, id, in)
		})
		if stop != nil {
			return stop
		}
		return done
	case http.MethodDelete:
		return c.change(func(tx *store.Tx) *store.Error { return tx.Delete(o, id) })
	}
	return wrongMethod(c.method)
}

// change runs a write of one row that exists, and answers 204.
func (c *call) change(fn func(tx *store.Tx) *store.Error) *answer {
	var refusal *store.Error
	_ = c.write(func(tx *store.Tx) error { // the refusal is kept
		refusal = fn(tx)
		return nil
	})
	switch {
	case refusal == nil:
		return empty(http.StatusNoContent)
	case refusal.Code == "INVALID_CROSS_REFERENCE_KEY" && refusal.Fields == nil:
		return notFound()
	}
	return refused(refusal)
}

func (c *call) read(o *schema.Object, id string) *answer {
	return c.readIf(o, id, conditions{})
}

func (c *call) readIf(o *schema.Object, id string, cond conditions) *answer {
	fields, err := c.fields(o)
	if err != nil {
		return refused(err)
	}
	var r *store.Record
	_ = c.look(func(v store.View) error { // fn never fails
		r = v.Get(o, id)
		return nil
	})
	switch {
	case r == nil || !c.shows(r):
		return notFound()
	case r.Deleted:
		return fail(http.StatusNotFound, "ENTITY_IS_DELETED", "entity is deleted")
	}
	if stop := cond.check(c.method, r); stop != nil {
		return stop
	}
	a := raw(http.StatusOK, render.Record(nil, c.version, r, fields))
	validators(a, r)
	return a
}

// fields reads the parameter "fields"; without it all fields are meant that the
// user may see.
func (c *call) fields(o *schema.Object) ([]*schema.Field, *store.Error) {
	given := c.query.Get("fields")
	if given != "" {
		return c.named(o, strings.Split(given, ","))
	}
	rights := c.rights()
	if rights == nil {
		return o.Fields, nil
	}
	return slices.DeleteFunc(slices.Clone(o.Fields), func(f *schema.Field) bool { return !rights.Sees(f) }), nil
}

func (c *call) named(o *schema.Object, names []string) ([]*schema.Field, *store.Error) {
	out := make([]*schema.Field, 0, len(names))
	seen, rights := map[*schema.Field]bool{}, c.rights()
	for _, name := range names {
		f := o.Field(strings.TrimSpace(name))
		if f == nil || !rights.Sees(f) {
			return nil, &store.Error{Code: "INVALID_FIELD", Message: fmt.Sprintf("No such column '%s' on sobject of type %s", strings.TrimSpace(name), o.Name)}
		}
		if !seen[f] {
			seen[f] = true
			out = append(out, f)
		}
	}
	return out, nil
}
