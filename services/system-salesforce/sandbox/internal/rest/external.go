package rest

import (
	"net/http"
	"strings"

	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/render"
	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/schema"
	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/store"
)

// key finds the field that identifies a record in a path or collection call;
// nil if the name is no external id, or one that the user may not see.
func (c *call) key(o *schema.Object, name string) *schema.Field {
	f := o.Field(name)
	if f == nil || !f.ExternalID && f.Sys != schema.SysID || !c.rights().Sees(f) {
		return nil
	}
	return f
}

// external serves /sobjects/X/{field}/{value}.
func (c *call) external(o *schema.Object, name, value string) *answer {
	f := c.key(o, name)
	if f == nil {
		return notFound()
	}
	if f.Sys == schema.SysID {
		return c.row(o, value)
	}
	switch c.method {
	case http.MethodGet, http.MethodHead:
		return c.one(f, value, c.read)
	case http.MethodDelete:
		return c.one(f, value, func(o *schema.Object, id string) *answer {
			return c.change(func(tx *store.Tx) *store.Error { return tx.Delete(o, id) })
		})
	case http.MethodPatch, http.MethodPost:
		return c.upsert(f, value)
	}
	return wrongMethod(c.method)
}

// one does something with the only record that has the value.
func (c *call) one(f *schema.Field, value string, do func(*schema.Object, string) *answer) *answer {
	v, err := store.Convert(f, value)
	if err != nil {
		return refused(err)
	}
	var found []*store.Record
	_ = c.look(func(view store.View) error { // fn never fails
		found = view.Lookup(f, v)
		return nil
	})
	switch len(found) {
	case 0:
		return notFound()
	case 1:
		return do(f.Object, found[0].ID)
	}
	return c.several(found)
}

// several answers that a value is not unique.
func (c *call) several(found []*store.Record) *answer {
	urls := make([]string, len(found))
	for i, r := range found {
		urls[i] = render.Base(c.version) + "/sobjects/" + r.Object.Name + "/" + r.ID
	}
	return reply(http.StatusMultipleChoices, urls)
}

// firstCreatedFlag is the version since which an upsert tells what it did.
const firstCreatedFlag = 46

func (c *call) upsert(f *schema.Field, value string) *answer {
	in, a := c.record()
	if a != nil {
		return a
	}
	for name := range in {
		if strings.EqualFold(name, f.Name) {
			return fail(http.StatusBadRequest, "INVALID_FIELD", "The "+f.Name+" field should not be specified in the sobject data.", f.Name)
		}
	}
	updateOnly := strings.EqualFold(c.query.Get("updateOnly"), "true")
	var id string
	var created bool
	var many []*store.Record
	var refusal *store.Error
	_ = c.write(func(tx *store.Tx) error { // the refusal is kept
		id, created, many, refusal = tx.Upsert(f, value, in, updateOnly)
		return nil
	})
	switch {
	case many != nil:
		return c.several(many)
	case refusal != nil:
		return refused(refusal)
	case created && c.number < firstCreatedFlag:
		return c.created(f.Object, id, nil)
	case created:
		return c.created(f.Object, id, &created)
	case c.number < firstCreatedFlag:
		return empty(http.StatusNoContent)
	}
	s := success(id)
	s.Created = &created
	return reply(http.StatusOK, s)
}
