package rest

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/schema"
	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/sfid"
	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/store"
)

// maxRecords is how many records one collection call may write.
const maxRecords = 200

// collections serves everything under /composite/sobjects.
func (c *call) collections(seg []string) *answer {
	switch {
	case len(seg) == 0 && c.method == http.MethodPost:
		return c.writeAll(c.insertOne)
	case len(seg) == 0 && c.method == http.MethodPatch:
		return c.writeAll(c.updateOne)
	case len(seg) == 0 && c.method == http.MethodDelete:
		return c.deleteAll()
	case len(seg) == 2 && c.method == http.MethodPatch:
		return c.upsertAll(seg[0], seg[1])
	case len(seg) == 1 && (c.method == http.MethodGet || c.method == http.MethodPost):
		return c.retrieve(seg[0])
	case len(seg) > 2:
		return notFound()
	}
	return wrongMethod(c.method)
}

type collection struct {
	AllOrNone bool             `json:"allOrNone"`
	Records   []map[string]any `json:"records"`
}

func (c *call) collection() (collection, *answer) {
	var in collection
	if a := c.body(&in); a != nil {
		return in, a
	}
	if len(in.Records) > maxRecords {
		return in, tooMany(maxRecords)
	}
	return in, nil
}

func tooMany(n int) *answer {
	return fail(http.StatusBadRequest, "EXCEEDED_ID_LIMIT", fmt.Sprintf("record limit reached. cannot submit more than %d records into this call", n))
}

// one writes one record and returns its result.
type one func(tx *store.Tx, record map[string]any) saved

func (c *call) writeAll(write one) *answer {
	in, a := c.collection()
	if a != nil {
		return a
	}
	return c.each(in.AllOrNone, len(in.Records), func(tx *store.Tx, i int) saved { return write(tx, in.Records[i]) })
}

// each writes n records in one transaction. With allOrNone, one failure undoes
// everything and every other record says so.
func (c *call) each(allOrNone bool, n int, write func(tx *store.Tx, i int) saved) *answer {
	results := make([]saved, n)
	failed := false
	_ = c.write(func(tx *store.Tx) error { // failures are in the results
		mark := tx.Mark()
		for i := range n {
			results[i] = write(tx, i)
			failed = failed || !results[i].Success
		}
		if failed && allOrNone {
			tx.Rollback(mark)
			for i, r := range results {
				if r.Success {
					results[i] = failure("", &store.Error{
						Code:    "ALL_OR_NONE_OPERATION_ROLLED_BACK",
						Message: "Record rolled back because not all records were valid and the request was using AllOrNone header",
					})
				}
			}
		}
		return nil
	})
	a := reply(http.StatusOK, results)
	a.partial = failed
	return a
}

// typeOf finds the object that a record says it is.
func (c *call) typeOf(record map[string]any) (*schema.Object, *store.Error) {
	attributes, _ := record["attributes"].(map[string]any)
	name, _ := attributes["type"].(string)
	if o := c.opt.Schema.Object(name); o != nil {
		return o, nil
	}
	return nil, &store.Error{Code: "INVALID_TYPE", Message: fmt.Sprintf("sObject type '%s' is not supported.", name)}
}

func (c *call) insertOne(tx *store.Tx, record map[string]any) saved {
	o, err := c.typeOf(record)
	if err != nil {
		return failure("", err)
	}
	id, err := tx.Create(o, record)
	if err != nil {
		return failure("", err)
	}
	return success(id)
}

// takeID removes the id, in either spelling, from a record.
func takeID(record map[string]any) string {
	for name, v := range record {
		if strings.EqualFold(name, "Id") {
			delete(record, name)
			id, _ := v.(string)
			return id
		}
	}
	return ""
}

func (c *call) updateOne(tx *store.Tx, record map[string]any) saved {
	given := takeID(record)
	if given == "" {
		return failure("", &store.Error{Code: "MISSING_ARGUMENT", Message: "Id not specified in an update call"})
	}
	o, err := c.typeOf(record)
	if err != nil && record["attributes"] != nil {
		return failure("", err)
	}
	if o == nil && len(given) > 3 {
		o = c.opt.Schema.ByPrefix(given[:3])
	}
	if o == nil {
		return failure("", &store.Error{Code: "MALFORMED_ID", Message: "malformed id " + given})
	}
	id, err := recordID(o, given)
	if err == nil {
		err = tx.Update(o, id, record)
	}
	if err != nil {
		return failure(given, err)
	}
	return success(id)
}

func (c *call) upsertAll(object, field string) *answer {
	o := c.opt.Schema.Object(object)
	if o == nil {
		return notFound()
	}
	f := c.key(o, field)
	if f == nil {
		return notFound()
	}
	in, a := c.collection()
	if a != nil {
		return a
	}
	keys := make([]any, len(in.Records))
	seen := map[string]int{}
	for i, r := range in.Records {
		keys[i] = take(r, f.Name)
		if k := fmt.Sprint(keys[i]); keys[i] != nil {
			seen[strings.ToLower(k)]++
		}
	}
	return c.each(in.AllOrNone, len(in.Records), func(tx *store.Tx, i int) saved {
		if t, err := c.typeOf(in.Records[i]); in.Records[i]["attributes"] != nil && (err != nil || t != o) {
			return failure("", &store.Error{Code: "INVALID_TYPE", Message: "The record's type is not " + o.Name})
		}
		if k := fmt.Sprint(keys[i]); keys[i] != nil && seen[strings.ToLower(k)] > 1 {
			return failure("", &store.Error{Code: "DUPLICATE_VALUE", Message: "Duplicate external id specified: " + k, Fields: []string{f.Name}})
		}
		return upsertOne(tx, f, keys[i], in.Records[i])
	})
}

// take removes a field, in any spelling, from a record.
func take(record map[string]any, field string) any {
	for name, v := range record {
		if strings.EqualFold(name, field) {
			delete(record, name)
			return v
		}
	}
	return nil
}

func upsertOne(tx *store.Tx, f *schema.Field, value any, record map[string]any) saved {
	var id string
	var created bool
	var err *store.Error
	if f.Sys == schema.SysID {
		id, created, err = upsertByID(tx, f.Object, value, record)
	} else {
		takeEmptyID(record)
		id, created, _, err = tx.Upsert(f, value, record, false)
	}
	if err != nil {
		return failure("", err)
	}
	s := success(id)
	s.Created = &created
	return s
}

// takeEmptyID drops an id without a value, which some clients always send.
func takeEmptyID(record map[string]any) {
	for name, v := range record {
		if strings.EqualFold(name, "Id") && (v == nil || v == "") {
			delete(record, name)
			return
		}
	}
}

func upsertByID(tx *store.Tx, o *schema.Object, value any, record map[string]any) (string, bool, *store.Error) {
	given, _ := value.(string)
	if given == "" {
		id, err := tx.Create(o, record)
		return id, true, err
	}
	id, err := recordID(o, given)
	if err != nil {
		return "", false, err
	}
	return id, false, tx.Update(o, id, record)
}

func (c *call) deleteAll() *answer {
	ids := strings.Split(c.query.Get("ids"), ",")
	if c.query.Get("ids") == "" {
		return fail(http.StatusBadRequest, "MISSING_ARGUMENT", "The ids parameter is required")
	}
	if len(ids) > maxRecords {
		return tooMany(maxRecords)
	}
	allOrNone := strings.EqualFold(c.query.Get("allOrNone"), "true")
	return c.each(allOrNone, len(ids), func(tx *store.Tx, i int) saved {
		id, ok := sfid.Normal(strings.TrimSpace(ids[i]))
		var o *schema.Object
		if ok {
			o = c.opt.Schema.ByPrefix(id[:3])
		}
		if o == nil {
			return failure(ids[i], &store.Error{Code: "MALFORMED_ID", Message: "malformed id " + ids[i]})
		}
		if err := tx.Delete(o, id); err != nil {
			return failure(id, err)
		}
		return success(id)
	})
}
