package tryton

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/selfsame-io/selfsame/services/system-erp/internal/erp"
)

// record is one record as the server writes it.
type record map[string]any

func (r record) str(name string) string {
	s, _ := r[name].(string)
	return s
}

func (r record) flag(name string) bool {
	b, _ := r[name].(bool)
	return b
}

func (r record) id(name string) int64 {
	n, ok := r[name].(json.Number)
	if !ok {
		return 0
	}
	v, err := n.Int64()
	if err != nil {
		return 0
	}
	return v
}

func (r record) ids(name string) []int64 {
	list, _ := r[name].([]any)
	var out []int64
	for _, v := range list {
		if n, ok := v.(json.Number); ok {
			if id, err := n.Int64(); err == nil {
				out = append(out, id)
			}
		}
	}
	return out
}

func (r record) sub(name string) record {
	m, _ := r[name].(map[string]any)
	return m
}

// time reads a date and time, which the server keeps in UTC; zero for none.
func (r record) time(name string) time.Time {
	m := r.sub(name)
	if m == nil {
		return time.Time{}
	}
	return time.Date(int(m.id("year")), time.Month(m.id("month")), int(m.id("day")), int(m.id("hour")), int(m.id("minute")),
		int(m.id("second")), int(m.id("microsecond"))*1000, time.UTC)
}

// day reads a date as text.
func (r record) day(name string) string {
	if m := r.sub(name); m != nil {
		return fmt.Sprintf("%04d-%02d-%02d", m.id("year"), m.id("month"), m.id("day"))
	}
	return ""
}

// changed is when the record was written last.
func (r record) changed() time.Time {
	if t := r.time("write_date"); !t.IsZero() {
		return t
	}
	return r.time("create_date")
}

// decimal reads a Numeric or a Float.
func (r record) decimal(name string) (erp.Decimal, error) {
	s := ""
	switch v := r[name].(type) {
	case nil:
		return erp.Decimal{}, nil
	case json.Number:
		s = v.String()
	case map[string]any:
		s, _ = v["decimal"].(string)
	}
	if strings.ContainsAny(s, "eE") {
		f, err := strconv.ParseFloat(s, 64)
		if err != nil {
			return erp.Decimal{}, fmt.Errorf("read %s: %w", name, err)
		}
		s = strconv.FormatFloat(f, 'f', -1, 64)
	}
	if whole, frac, ok := strings.Cut(s, "."); ok {
		// What is beyond six digits is zero in everything Tryton keeps by its default precision.
		if frac = strings.TrimRight(frac, "0"); frac == "" {
			s = whole
		} else {
			s = whole + "." + frac
		}
	}
	d, err := erp.ParseDecimal(s)
	if err != nil {
		return d, fmt.Errorf("read %s: %w", name, err)
	}
	return d, nil
}

func numeric(d erp.Decimal) any {
	return map[string]string{"__class__": "Decimal", "decimal": d.String()}
}

// float writes a quantity, which Tryton keeps as a float: the shortest number that reads back the same.
func float(d erp.Decimal) any { return json.Number(d.String()) }

func moment(t time.Time) any {
	t = t.UTC()
	return map[string]any{
		"__class__": "datetime", "year": t.Year(), "month": int(t.Month()), "day": t.Day(), "hour": t.Hour(), "minute": t.Minute(),
		"second": t.Second(), "microsecond": t.Nanosecond() / 1000,
	}
}

func date(s string) any {
	t, err := time.Parse(time.DateOnly, s)
	if err != nil {
		return nil
	}
	return map[string]any{"__class__": "date", "year": t.Year(), "month": int(t.Month()), "day": t.Day()}
}

// clause is one condition of a search.
func clause(field, op string, value any) []any { return []any{field, op, value} }

func or(clauses ...[]any) []any {
	out := []any{"OR"}
	for _, c := range clauses {
		out = append(out, c)
	}
	return out
}

// read reads records by id; ids that do not exist make Tryton refuse all, so they are asked for by search where unknown.
func (s *System) read(ctx context.Context, model string, ids []int64, fields ...string) ([]record, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	ids = slices.Compact(slices.Sorted(slices.Values(ids)))
	var out []record
	err := s.client.call(ctx, false, &out, "model."+model+".read", ids, append([]string{"id"}, fields...), s.context(ctx, nil))
	return out, err
}

// search returns ids in an order.
func (s *System) search(ctx context.Context, model string, domain []any, limit int, order ...[]string) ([]int64, error) {
	if order == nil {
		order = [][]string{{"id", "ASC"}}
	}
	var out []int64
	var max any
	if limit > 0 {
		max = limit
	}
	err := s.client.call(ctx, false, &out, "model."+model+".search", domain, 0, max, order, s.context(ctx, nil))
	return out, err
}

// find searches and reads.
func (s *System) find(ctx context.Context, model string, domain []any, limit int, fields ...string) ([]record, error) {
	var out []record
	var max any
	if limit > 0 {
		max = limit
	}
	err := s.client.call(ctx, false, &out, "model."+model+".search_read", domain, 0, max, [][]string{{"id", "ASC"}},
		append([]string{"id"}, fields...), s.context(ctx, nil))
	return out, err
}

// context is what every call says about itself: company, and that archived records are meant too.
func (s *System) context(_ context.Context, more map[string]any) map[string]any {
	out := map[string]any{"active_test": false, "language": "en"}
	if m := s.master.Load(); m != nil {
		out["company"] = m.company
	}
	maps.Copy(out, more)
	return out
}

func number(s string) (int64, bool) {
	n, err := strconv.ParseInt(s, 10, 64)
	return n, err == nil && n > 0 && n < 1<<31 && strconv.FormatInt(n, 10) == s
}

func numbers(ids []string) []int64 {
	var out []int64
	for _, s := range ids {
		if n, ok := number(s); ok {
			out = append(out, n)
		}
	}
	return out
}

func name(id int64) string { return strconv.FormatInt(id, 10) }
