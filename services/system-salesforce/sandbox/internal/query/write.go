package query

import (
	"fmt"

	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/render"
	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/store"
)

// Writer writes rows of an answer as JSON. It is valid as long as its view and
// not safe for concurrent use.
type Writer struct {
	version string
	x       *run
	page    int
	more    func(child *Plan, rows []*store.Record, from int) string
	rows    int
}

// NewWriter makes a writer for rows of one version's answers. A child subquery
// with more than page rows is cut, and more, which keeps the rows, gives the
// URL of the rest; a page of 0 means that nothing is cut.
func NewWriter(v store.View, withDeleted bool, version string, page int, more func(child *Plan, rows []*store.Record, from int) string) *Writer {
	return &Writer{version: version, x: newRun(v, withDeleted), page: page, more: more}
}

// Rows is how many records were written, those of child subqueries included.
func (w *Writer) Rows() int { return w.rows }

// Append writes one row.
func (w *Writer) Append(b []byte, p *Plan, r *store.Record) []byte {
	w.rows++
	return w.record(b, p.out, r)
}

func (w *Writer) record(b []byte, out *output, r *store.Record) []byte {
	b = render.Attributes(append(b, '{'), w.version, r)
	for _, i := range out.items {
		b = append(b, ',')
		switch {
		case i.child != nil:
			b = append(render.String(b, i.field.ChildRelationship), ':')
			b = w.children(b, i.child, r)
		case i.show != nil:
			b = append(render.String(b, i.show.name), ':')
			b = i.show.value(b, w.x.v, r)
		case i.types != nil:
			b = append(render.String(b, i.field.Relationship), ':')
			if parent := Parent(w.x.v, r, i.field); parent != nil {
				b = w.record(b, i.types.of(parent.Object), parent)
			} else {
				b = append(b, "null"...)
			}
		case i.into == nil:
			b = render.Member(b, r, i.field)
		default:
			b = append(render.String(b, i.field.Relationship), ':')
			if parent := Parent(w.x.v, r, i.field); parent != nil {
				b = w.record(b, i.into, parent)
			} else {
				b = append(b, "null"...)
			}
		}
	}
	return append(b, '}')
}

func (w *Writer) children(b []byte, p *Plan, parent *store.Record) []byte {
	rows := p.childrenOf(w.x, parent)
	if len(rows) == 0 {
		return append(b, "null"...)
	}
	here := len(rows)
	if w.page > 0 && here > w.page {
		here = w.page
	}
	b = fmt.Appendf(b, `{"totalSize":%d,"done":%t,`, len(rows), here == len(rows))
	if here < len(rows) {
		b = append(b, `"nextRecordsUrl":`...)
		b = append(render.String(b, w.more(p, rows, here)), ',')
	}
	b = append(b, `"records":[`...)
	for i, r := range rows[:here] {
		if i > 0 {
			b = append(b, ',')
		}
		b = w.Append(b, p, r)
	}
	return append(b, ']', '}')
}

// Append writes one row of the answer as JSON, child subqueries in full.
func (p *Plan) Append(b []byte, v store.View, version string, r *store.Record) []byte {
	return NewWriter(v, false, version, 0, nil).Append(b, p, r)
}

// AppendGroup writes one row of an aggregate answer as JSON.
func (p *Plan) AppendGroup(b []byte, g *Group) []byte {
	b = append(b, `{"attributes":{"type":"AggregateResult"}`...)
	for _, cell := range p.group.cells {
		b = append(b, ',')
		b = append(render.String(b, cell.name), ':')
		if cell.localized {
			b = localized(b, p.group.field(cell.slot), g.values[cell.slot])
			continue
		}
		b = render.Scalar(b, p.group.field(cell.slot), g.values[cell.slot])
	}
	return append(b, '}')
}
