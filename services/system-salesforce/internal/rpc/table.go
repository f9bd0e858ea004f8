package rpc

import (
	"github.com/selfsame-io/selfsame/pkg/fault"
	salesforcev1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/salesforce/v1"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/mapping"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/write"
)

// table is where the reading of a message of columns stands.
type table struct {
	reader *mapping.Table
	schema *mapping.Schema // that the reader was made for
	in     *salesforcev1.UpsertTable
	row    int
	kept   []int // by column, how many places of kept lie behind
}

// begin takes a message of columns.
func (l *load) begin(in *salesforcev1.UpsertTable) error {
	n := len(in.GetExternalIds())
	if len(in.GetColumns()) != len(l.fields) {
		return fault.InvalidField("table.columns", fault.ReasonValidationFailed, "a table has one column for each field of the header")
	}
	for _, c := range in.GetColumns() {
		if len(c.GetValues()) != n {
			return fault.InvalidField("table.columns.values", fault.ReasonValidationFailed, "a column has one value for each record")
		}
		last := -1
		for _, place := range c.GetKept() {
			if int(place) <= last || int(place) >= n {
				return fault.InvalidField("table.columns.kept", fault.ReasonValidationFailed, "places are in ascending order and name records of the table")
			}
			last = int(place)
		}
	}
	if l.table == nil {
		l.table = &table{kept: make([]int, len(l.fields))}
	}
	l.table.in, l.table.row = in, 0
	clear(l.table.kept)
	return nil
}

// nextInTable returns the next row of the table that can be written; false when there is none left.
func (l *load) nextInTable() (write.Row, bool, error) {
	t := l.table
	if t == nil {
		return write.Row{}, false, nil
	}
	for t.row < len(t.in.GetExternalIds()) {
		if t.reader == nil || t.schema != l.schema {
			t.reader, t.schema = l.object.Table(l.fields, l.schema), l.schema
		}
		key := t.in.GetExternalIds()[t.row]
		fields, p := t.reader.Row(t.at)
		t.row++
		switch {
		case key == "":
			p = &mapping.Problem{Field: "external_id", Reason: reasonNoKey, Message: "a record of a stream needs an external id"}
		case p == nil:
			p = l.server.check(l.ctx, l.object, fields, &l.schema)
		}
		if p == nil {
			return write.Row{ExternalID: key, Fields: fields}, true, nil
		}
		if err := l.report(key, problem(p)); err != nil {
			return write.Row{}, false, err
		}
	}
	return write.Row{}, false, nil
}

// at returns the text of a column for the row at hand; rows come in order.
func (t *table) at(column int) (string, bool) {
	c := t.in.GetColumns()[column]
	kept := c.GetKept()
	for t.kept[column] < len(kept) && int(kept[t.kept[column]]) < t.row {
		t.kept[column]++
	}
	if t.kept[column] < len(kept) && int(kept[t.kept[column]]) == t.row {
		return "", false
	}
	return c.GetValues()[t.row], true
}
