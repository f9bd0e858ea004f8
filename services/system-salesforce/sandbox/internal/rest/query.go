package rest

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/query"
	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/render"
	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/store"
)

// The page sizes that a client may ask for.
const (
	minPage = 200
	maxPage = 2000
)

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
	if q := permissionQuery().FindStringSubmatch(text); q != nil {
		return c.permissions(q[1])
	}
	plan, err := query.CompileAs(c.opt.Schema, text, query.Options{Now: c.opt.Now(), Version: c.number, Hidden: c.hidden(), Fields: c.rights(), User: c.session.User.ID})
	if err != nil {
		return refused(err)
	}
	if c.query.Get("columns") == "true" {
		return columns(plan)
	}
	var out *answer
	_ = c.state(plan)(func(v store.View) error { // fn never fails
		switch {
		case plan.Aggregated():
			out = c.groups(v, plan, withDeleted)
		case plan.Count:
			out = raw(http.StatusOK, fmt.Appendf(nil, `{"totalSize":%d,"done":true,"records":[]}`, len(plan.Run(v, withDeleted))))
		default:
			cur := &cursor{plan: plan, rows: plan.Run(v, withDeleted), page: c.pageSize(), withDeleted: withDeleted, user: c.session.User.ID}
			out = c.page(v, cur, "", 0)
		}
		return nil
	})
	return out
}

// groups answers an aggregate query, for which there are no pages.
func (c *call) groups(v store.View, plan *query.Plan, withDeleted bool) *answer {
	groups := plan.Groups(v, withDeleted)
	if len(groups) > maxPage {
		return fail(http.StatusBadRequest, "EXCEEDED_ID_LIMIT", "Aggregate query does not support queryMore(), use LIMIT to restrict the results to a single batch")
	}
	b := fmt.Appendf(nil, `{"totalSize":%d,"done":true,"records":[`, len(groups))
	for i, g := range groups {
		if i > 0 {
			b = append(b, ',')
		}
		b = plan.AppendGroup(b, g)
	}
	return raw(http.StatusOK, append(b, ']', '}'))
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
	cur := c.cursors.get(id, c.session.User.ID)
	if cur == nil || err != nil || offset < 0 || offset > len(cur.rows) {
		return fail(http.StatusBadRequest, "INVALID_QUERY_LOCATOR", "invalid query locator")
	}
	var out *answer
	_ = c.state(cur.plan)(func(v store.View) error { // fn never fails
		out = c.page(v, cur, id, offset)
		return nil
	})
	return out
}

// page answers with the rows of a cursor from a place on. Children count, too,
// so that a page is never much longer than asked for; it holds at least one
// row. A cursor without an id is kept only if there is more.
func (c *call) page(v store.View, cur *cursor, id string, from int) *answer {
	w := query.NewWriter(v, cur.withDeleted, c.version, cur.page, func(child *query.Plan, rows []*store.Record, at int) string {
		rest := &cursor{plan: child, rows: rows, page: cur.page, withDeleted: cur.withDeleted, user: cur.user}
		return c.locator(c.cursors.put(rest), at)
	})
	rows := make([]byte, 0, 256*min(cur.page, len(cur.rows)-from))
	to := from
	for ; to < len(cur.rows) && w.Rows() < cur.page; to++ {
		if to > from {
			rows = append(rows, ',')
		}
		rows = w.Append(rows, cur.plan, cur.rows[to])
	}
	b := make([]byte, 0, len(rows)+256)
	b = fmt.Appendf(b, `{"totalSize":%d,"done":%t,`, len(cur.rows), to == len(cur.rows))
	if to < len(cur.rows) {
		if id == "" {
			id = c.cursors.put(cur)
		}
		b = fmt.Appendf(b, `"nextRecordsUrl":"%s",`, c.locator(id, to))
	}
	b = append(append(b, `"records":[`...), rows...)
	return raw(http.StatusOK, append(b, ']', '}'))
}

func (c *call) locator(id string, at int) string {
	return fmt.Sprintf("%s/query/%s-%d", render.Base(c.version), id, at)
}
