package rest

import (
	"net/http"
	"strings"

	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/render"
	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/sfid"
	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/store"
)

// maxRetrieved is how many records one retrieve may name.
const maxRetrieved = 2000

// retrieve reads many records of one object; a missing one is null.
func (c *call) retrieve(object string) *answer {
	o := c.opt.Schema.Object(object)
	if o == nil {
		return notFound()
	}
	var in struct {
		IDs    []string `json:"ids"`
		Fields []string `json:"fields"`
	}
	if c.method == http.MethodPost {
		if a := c.body(&in); a != nil {
			return a
		}
	} else {
		in.IDs, in.Fields = list(c.query.Get("ids")), list(c.query.Get("fields"))
	}
	switch {
	case len(in.IDs) == 0:
		return fail(http.StatusBadRequest, "MISSING_ARGUMENT", "The ids parameter is required")
	case len(in.Fields) == 0:
		return fail(http.StatusBadRequest, "MISSING_ARGUMENT", "The fields parameter is required")
	case len(in.IDs) > maxRetrieved:
		return tooMany(maxRetrieved)
	}
	fields, err := c.named(o, in.Fields)
	if err != nil {
		return refused(err)
	}
	rows := make([]*store.Record, len(in.IDs))
	_ = c.look(func(v store.View) error { // fn never fails
		for i, given := range in.IDs {
			if id, ok := sfid.Normal(strings.TrimSpace(given)); ok && id[:3] == o.Prefix {
				rows[i] = v.Get(o, id)
			}
		}
		return nil
	})
	b := []byte{'['}
	hidden := c.hidden()
	for i, r := range rows {
		if i > 0 {
			b = append(b, ',')
		}
		if r == nil || r.Deleted || hidden != nil && hidden(r.ID) {
			b = append(b, "null"...)
			continue
		}
		b = render.Record(b, c.version, r, fields)
	}
	return raw(http.StatusOK, append(b, ']'))
}

func list(s string) []string {
	if s == "" {
		return nil
	}
	return strings.Split(s, ",")
}
