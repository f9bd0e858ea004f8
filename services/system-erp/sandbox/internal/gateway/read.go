package gateway

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"

	"github.com/selfsame-io/selfsame/services/system-erp/sandbox/internal/business"
	"github.com/selfsame-io/selfsame/services/system-erp/sandbox/internal/edm"
	"github.com/selfsame-io/selfsame/services/system-erp/sandbox/internal/message"
	"github.com/selfsame-io/selfsame/services/system-erp/sandbox/internal/query"
	"github.com/selfsame-io/selfsame/services/system-erp/sandbox/internal/store"
)

func (s *Server) read(q request, c *business.Call, p place) (answer, error) {
	o, err := query.Parse(p.set, q.query, q.lang)
	if err != nil {
		return answer{}, err
	}
	r := renderer{base: q.base, lang: q.lang, tx: c.Tx}
	if p.keyed {
		if p.row == nil {
			return answer{}, notFound(p.set)
		}
		a := json(http.StatusOK, append(r.entity([]byte(`{"d":`), p.set, p.row, o.Shape), '}'))
		if tag := tagOf(p.set, p.row); tag != "" {
			a.header.Set("Etag", tag)
		}
		return a, nil
	}
	if p.count {
		return answer{status: http.StatusOK, header: http.Header{"Content-Type": {"text/plain;charset=utf-8"}}, body: []byte(strconv.Itoa(len(s.rows(c, p, o, -1))))}, nil
	}
	return s.page(q, c, p, o, r)
}

// rows returns what an address and a filter choose, in order; at most limit when the order allows to stop early.
func (s *Server) rows(c *business.Call, p place, o query.Options, limit int) []store.Row {
	var out []store.Row
	take := func(r store.Row) bool {
		if o.Filter(r) {
			out = append(out, r)
		}
		return o.Less != nil || limit < 0 || len(out) < limit
	}
	switch {
	case p.nav != nil:
		c.Tx.Follow(p.from, p.owner, p.nav, take)
	case o.Keys != nil:
		key := &p.set.Props[p.set.Keys()[0]]
		parts := make([]string, len(o.Keys))
		for i, v := range o.Keys {
			parts[i] = store.Part(key, v)
		}
		slices.Sort(parts)
		for _, part := range parts {
			if r, ok := c.Tx.Get(p.set, part); ok && !take(r) {
				break
			}
		}
	default:
		c.Tx.Scan(p.set, "", take)
	}
	if o.Less != nil {
		slices.SortStableFunc(out, o.Less)
	}
	return out
}

// page answers with one page of rows and the address of the next.
func (s *Server) page(q request, c *business.Call, p place, o query.Options, r renderer) (answer, error) {
	size := s.PageSize
	if o.Top >= 0 {
		size = s.PageSizeTop
	}
	// $top is counted over all pages: what the token skipped has been sent.
	from, until := o.Skip+o.SkipToken, o.Skip+o.SkipToken+size
	if o.Top >= 0 {
		until = min(until, o.Skip+o.Top)
	}
	limit := until + 1
	if o.Count {
		limit = -1
	}
	rows := s.rows(c, p, o, limit)
	all := len(rows)
	more := all > until && (o.Top < 0 || until < o.Skip+o.Top)
	rows = rows[min(from, all):min(max(until, from), all)]
	b := []byte(`{"d":{`)
	if o.Count {
		b = fmt.Appendf(b, `"__count":"%d",`, all)
	}
	b = append(b, `"results":[`...)
	for i, row := range rows {
		if i > 0 {
			b = append(b, ',')
		}
		b = r.entity(b, p.set, row, o.Shape)
	}
	b = append(b, ']')
	if more {
		next := url.Values{}
		for k, v := range q.query {
			next[k] = v
		}
		next.Set("$skiptoken", strconv.Itoa(o.SkipToken+len(rows)))
		b = append(b, `,"__next":`...)
		b = edm.AppendString(b, q.base+q.path+"?"+next.Encode())
	}
	return json(http.StatusOK, append(b, "}}"...)), nil
}

func (s *Server) function(q request, c *business.Call, f *edm.Function) (answer, error) {
	args := map[string]any{}
	for i := range f.Params {
		p := &f.Params[i]
		text := q.query.Get(p.Name)
		if text == "" {
			return answer{}, message.New(http.StatusBadRequest, "005056A509B11EE1B9A8FEC11C21D78E", "The parameter %s is missing", p.Name)
		}
		literal, err := query.Literals(text)
		if err != nil {
			return answer{}, err
		}
		if args[p.Name], err = p.FromLiteral(literal[""], q.lang); err != nil {
			return answer{}, err
		}
	}
	row, err := s.Laws.Function(c, f, args)
	if err != nil {
		return answer{}, err
	}
	r := renderer{base: q.base, lang: q.lang, tx: c.Tx}
	if f.Many {
		return json(http.StatusOK, append(r.complex([]byte(`{"d":{"results":[`), f.Returns, row), "]}}"...)), nil
	}
	// The record stands alone: so SAP's own client reads it.
	return json(http.StatusOK, append(r.complex([]byte(`{"d":`), f.Returns, row), '}')), nil
}
