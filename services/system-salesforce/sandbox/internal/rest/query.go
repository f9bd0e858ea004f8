package rest

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/query"
	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/render"
	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/schema"
	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/sfid"
	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/store"
)

// The page sizes that a client may ask for.
const (
	minPage = 200
	maxPage = 2000
)

// cursorAge is how long the rest of an answer can be fetched.
const cursorAge = 48 * time.Hour

// maxCursors is how many unfinished answers are kept; the oldest goes first.
const maxCursors = 200

// cursors are the unfinished query answers. Their rows are a snapshot.
type cursors struct {
	now  func() time.Time
	mu   sync.Mutex
	last int
	open map[string]*cursor
	age  []string
}

type cursor struct {
	plan  *query.Plan
	rows  []*store.Record
	page  int
	since time.Time
}

func newCursors(now func() time.Time) *cursors {
	return &cursors{now: now, open: map[string]*cursor{}}
}

func (s *cursors) put(c *cursor) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last++
	id := sfid.New("01g", s.last)
	c.since = s.now()
	s.open[id] = c
	s.age = append(s.age, id)
	for len(s.age) > maxCursors {
		delete(s.open, s.age[0])
		s.age = s.age[1:]
	}
	return id
}

func (s *cursors) get(id string) *cursor {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.open[id]
	if c == nil || s.now().Sub(c.since) > cursorAge {
		return nil
	}
	return c
}

// queries serves /query and /queryAll and their continuations.
func (c *call) queries(seg []string) *answer {
	if c.method != http.MethodGet && c.method != http.MethodHead {
		return wrongMethod(c.method)
	}
	switch len(seg) {
	case 1:
		return c.ask(c.query.Get("q"), seg[0] == "queryAll")
	case 2:
		return c.next(seg[1])
	}
	return notFound()
}

func (c *call) ask(text string, withDeleted bool) *answer {
	if text == "" {
		return fail(http.StatusBadRequest, "MALFORMED_QUERY", "a query has to be given in the parameter q")
	}
	plan, err := query.Compile(c.opt.Schema, text, c.opt.Now())
	if err != nil {
		return refused(err)
	}
	if c.query.Get("columns") == "true" {
		return columns(plan)
	}
	var out *answer
	_ = c.look(func(v store.View) error { // fn never fails
		rows := plan.Run(v, withDeleted)
		if plan.Count {
			out = raw(http.StatusOK, fmt.Appendf(nil, `{"totalSize":%d,"done":true,"records":[]}`, len(rows)))
			return nil
		}
		cur := &cursor{plan: plan, rows: rows, page: c.pageSize()}
		id := ""
		if len(rows) > cur.page {
			id = c.cursors.put(cur)
		}
		out = c.page(v, cur, id, 0)
		return nil
	})
	return out
}

func (c *call) pageSize() int {
	for part := range strings.SplitSeq(c.r.Header.Get("Sforce-Query-Options"), ",") {
		if k, v, ok := strings.Cut(part, "="); ok && strings.EqualFold(strings.TrimSpace(k), "batchSize") {
			if n, err := strconv.Atoi(strings.TrimSpace(v)); err == nil {
				return min(maxPage, max(minPage, n))
			}
		}
	}
	return maxPage
}

func (c *call) next(locator string) *answer {
	id, from, _ := strings.Cut(locator, "-")
	offset, err := strconv.Atoi(from)
	cur := c.cursors.get(id)
	if cur == nil || err != nil || offset < 0 || offset > len(cur.rows) {
		return fail(http.StatusBadRequest, "INVALID_QUERY_LOCATOR", "invalid query locator")
	}
	var out *answer
	_ = c.look(func(v store.View) error { // fn never fails
		out = c.page(v, cur, id, offset)
		return nil
	})
	return out
}

func (c *call) page(v store.View, cur *cursor, id string, from int) *answer {
	to := min(len(cur.rows), from+cur.page)
	b := make([]byte, 0, 256+256*(to-from))
	b = fmt.Appendf(b, `{"totalSize":%d,"done":%t,`, len(cur.rows), to == len(cur.rows))
	if to < len(cur.rows) {
		b = fmt.Appendf(b, `"nextRecordsUrl":"%s/query/%s-%d",`, render.Base(c.version), id, to)
	}
	b = append(b, `"records":[`...)
	for i, r := range cur.rows[from:to] {
		if i > 0 {
			b = append(b, ',')
		}
		b = cur.plan.Append(b, v, c.version, r)
	}
	return raw(http.StatusOK, append(b, ']', '}'))
}

// columns describes the answer instead of giving it.
func columns(p *query.Plan) *answer {
	type column struct {
		Name        string `json:"columnName"`
		Display     string `json:"displayName"`
		Aggregate   bool   `json:"aggregate"`
		Custom      bool   `json:"custom"`
		BooleanType bool   `json:"booleanType"`
		NumberType  bool   `json:"numberType"`
		TextType    bool   `json:"textType"`
		ApexType    string `json:"apexType"`
		ForeignKey  any    `json:"foreignKeyName"`
		Insertable  bool   `json:"insertable"`
		Updatable   bool   `json:"updatable"`
		Join        []any  `json:"joinColumns"`
	}
	out := []column{}
	hasID := false
	for _, col := range p.Columns() {
		f := col.Field
		hasID = hasID || col.Path == "Id"
		out = append(out, column{
			Name: col.Path, Display: col.Path, Custom: f.Custom(), BooleanType: f.Type == schema.Boolean, NumberType: f.Type.Number(),
			TextType: f.Type.Text(), ApexType: apexType(f.Type), Insertable: !f.ReadOnly(), Updatable: !f.ReadOnly(), Join: []any{},
		})
	}
	return reply(http.StatusOK, map[string]any{
		"columnMetadata": out, "entityName": p.Object.Name, "groupBy": false, "idSelected": hasID, "keyPrefix": p.Object.Prefix,
	})
}

func apexType(t schema.Type) string {
	switch {
	case t == schema.ID || t == schema.Reference:
		return "Id"
	case t == schema.Boolean:
		return "Boolean"
	case t == schema.Int:
		return "Integer"
	case t.Number():
		return "Double"
	case t == schema.Date:
		return "Date"
	case t == schema.DateTime:
		return "Datetime"
	}
	return "String"
}
