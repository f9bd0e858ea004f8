package query

import (
	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/schema"
	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/store"
)

// BulkRefusal says why the Bulk APIs cannot run the plan: they know no
// aggregates, GROUP BY, OFFSET, child subqueries, compound fields and no
// unbounded FIELDS(). Nil means that they can.
func (p *Plan) BulkRefusal() *store.Error {
	refuse := func(message string) *store.Error { return &store.Error{Code: "API_ERROR", Message: message} }
	switch {
	case p.grouped:
		return refuse("GROUP BY not supported in Bulk Query")
	case p.Count || p.group != nil:
		return refuse("Aggregate functions not supported in Bulk Query")
	case p.offset > 0:
		return refuse("OFFSET not supported in Bulk Query")
	case p.unbounded:
		return malformed("The SOQL FIELDS function is not supported with an unbounded set of fields in this API.")
	}
	return p.out.bulk(refuse)
}

func (o *output) bulk(refuse func(string) *store.Error) *store.Error {
	for _, i := range o.items {
		switch {
		case i.child != nil:
			return refuse("Aggregate Relationships not supported in Bulk Query")
		case i.types != nil:
			return refuse("TYPEOF not supported in Bulk Query")
		case i.show != nil && !i.show.ref.named:
			return refuse("Functions not supported in Bulk Query")
		case i.into != nil:
			if err := i.into.bulk(refuse); err != nil {
				return err
			}
		case i.field.Type == schema.Address:
			return refuse("Selecting compound data not supported in Bulk Query")
		}
	}
	return nil
}
