package write

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"net/url"
	"slices"
	"strings"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/mapping"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/rest"
)

// maxList bounds the encoded length of an IN list; a URL takes 16,384 bytes in all.
const maxList = 11_000

// readBack asks what became of rows whose write got no answer. Only a record that shows every value that was to be written settles
// the question: one that does not may still be written by a call that is under way.
func (b *batch) readBack(ctx context.Context, index []int) {
	columns := map[string]bool{}
	for _, i := range index {
		if b.rows[i].own {
			delete(b.rows[i].Fields, b.object.ExternalID()) // by which the record is found, in whatever case it is written
		}
		for c := range b.rows[i].Fields {
			columns[c] = true
		}
	}
	found, err := b.read(ctx, index, slices.Sorted(maps.Keys(columns)))
	shown := 0
	for _, i := range index {
		if row, ok := found[i]; ok && shows(row, b.rows[i].Fields) {
			id, _ := row["Id"].(string)
			b.out[i] = Outcome{ID: rest.FullID(id)}
			shown++
		}
	}
	b.w.settled.Add(ctx, int64(shown), metric.WithAttributes(attribute.String("selfsame.outcome", "written")))
	b.w.settled.Add(ctx, int64(len(index)-shown), metric.WithAttributes(attribute.String("selfsame.outcome", "uncertain")))
	reason := ""
	if err != nil {
		reason = fault.ReasonOf(err)
	}
	b.w.o.Log.LogAttrs(ctx, slog.LevelWarn, "records read back because their write got no answer", slog.String("object", b.object.Name),
		slog.Int("records", len(index)), slog.Int("written", shown), slog.String("reason", reason))
}

// read finds the rows as they are now, by their place in the batch. What was found before an error is returned with it.
func (b *batch) read(ctx context.Context, index []int, columns []string) (map[int]rest.Record, error) {
	o := b.object
	byID, byKey := map[string]int{}, map[string]int{}
	var ids, keys []string
	for _, i := range index {
		if id := b.rows[i].ID; id != "" {
			byID[rest.FullID(id)] = i
			ids = append(ids, id)
			continue
		}
		// Salesforce takes external ids that differ in case for the same, unless the field says otherwise; the batch does not hold both.
		byKey[strings.ToLower(b.rows[i].ExternalID)] = i
		keys = append(keys, b.rows[i].ExternalID)
	}
	out := make(map[int]rest.Record, len(index))
	fields := append([]string{"Id"}, columns...)
	if len(ids) > 0 {
		rows, err := b.w.o.CRM.Retrieve(ctx, o.SObject, ids, fields)
		if err != nil {
			return out, fmt.Errorf("read by id: %w", err)
		}
		for _, row := range rows {
			if id, _ := row["Id"].(string); id != "" {
				out[byID[rest.FullID(id)]] = row
			}
		}
	}
	if len(keys) > 0 && !slices.Contains(fields, o.ExternalID()) {
		fields = append(fields, o.ExternalID())
	}
	rows, err := b.w.ByExternalID(ctx, o, keys, fields)
	if err != nil {
		return out, fmt.Errorf("read by external id: %w", err)
	}
	for j, row := range rows {
		if row != nil {
			out[byKey[strings.ToLower(keys[j])]] = row
		}
	}
	return out, nil
}

// lists divides keys so that each part fits into a URL.
func lists(keys []string) func(yield func([]string) bool) {
	return func(yield func([]string) bool) {
		start, size := 0, 0
		for i, k := range keys {
			n := len(url.QueryEscape(rest.Quote(k))) + len("%2C+")
			if i > start && size+n > maxList {
				if !yield(keys[start:i]) {
					return
				}
				start, size = i, 0
			}
			size += n
		}
		if start < len(keys) {
			yield(keys[start:])
		}
	}
}

// shows reports whether a record holds all the values. Without values it shows nothing: it may have been there before.
func shows(row rest.Record, values map[string]any) bool {
	if len(values) == 0 {
		return false
	}
	for column, want := range values {
		got := row[column]
		if relation, field, dotted := strings.Cut(column, "."); dotted {
			parent, _ := row[relation].(map[string]any)
			got = parent[field]
		}
		if !same(want, got) {
			return false
		}
	}
	return true
}

// same compares a value as it was written with one as it was read.
func same(want, got any) bool {
	switch w := want.(type) {
	case nil:
		return got == nil
	case json.Number:
		g, ok := got.(json.Number)
		a, _ := mapping.Decimal(w.String())
		b, _ := mapping.Decimal(g.String())
		return ok && a == b
	case string:
		g, ok := got.(string)
		if strings.TrimSpace(w) == g {
			return ok || w == ""
		}
		a, err1 := mapping.Time(w)
		b, err2 := mapping.Time(g)
		return err1 == nil && err2 == nil && a.Equal(b) || sameID(w, g)
	}
	return want == got
}

// sameID compares ids of 15 and 18 characters.
func sameID(a, b string) bool { return len(a) == 15 && rest.FullID(a) == b }

// ByExternalID reads records by external id: one for each key, in order; nil for a key that names no live record.
func (w *Writer) ByExternalID(ctx context.Context, o *mapping.Object, keys, columns []string) ([]rest.Record, error) {
	found := map[string]rest.Record{}
	for part := range lists(keys) {
		rows, err := w.o.CRM.Query(ctx, "SELECT "+strings.Join(columns, ", ")+" FROM "+o.SObject+" WHERE "+o.ExternalID()+" IN ("+rest.QuoteAll(part)+")")
		if err != nil {
			return nil, err
		}
		for _, row := range rows {
			key, _ := row[o.ExternalID()].(string)
			found[strings.ToLower(key)] = row
		}
	}
	out := make([]rest.Record, len(keys))
	for i, k := range keys {
		out[i] = found[strings.ToLower(k)]
	}
	return out, nil
}
