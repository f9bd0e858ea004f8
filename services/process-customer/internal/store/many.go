package store

import (
	"context"
	"math/bits"
	"slices"
	"strconv"
	"strings"
)

// Statements are about many rows at once, and the engines differ in what that costs. SQLite gets one parameter per value.
// PostgreSQL reads and plans every statement of a transaction as it is given, which for thousands of parameters takes longer
// than what they are for: it gets one array per column, so that a statement is the same short text for any number of rows.
//
// Rows are written to SQLite one by one. Their statement is compiled once. One about many rows is compiled each time, and SQLite
// keeps a copy of every page that it changes, to be able to take the first rows back should a later one be refused: the more records
// there are, the more pages these are.

const (
	// maxRows bounds the rows of one statement on SQLite, so that their values stay below its limit.
	maxRows = 200
	// maxArray bounds them on PostgreSQL, so that one statement needs no more memory than a batch of changes.
	maxArray = 1000
)

// most returns how many rows one statement may be about.
func (r Reader) most() int {
	if r.q.arrays {
		return maxArray
	}
	return maxRows
}

// chunks calls fn with the ids in runs that one statement may be about.
func chunks[T any](r Reader, ids []T, fn func([]T) error) error {
	for len(ids) > 0 {
		n := min(len(ids), r.most())
		if err := fn(ids[:n]); err != nil {
			return err
		}
		ids = ids[n:]
	}
	return nil
}

// among renders the condition that a column is one of n values, whose parameters follow skip others: see bound.
func (r Reader) among(skip, n int) string {
	if r.q.arrays {
		return "= ANY($" + strconv.Itoa(skip+1) + ")"
	}
	var b strings.Builder
	b.WriteString("IN (")
	for i := range listed(n) {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString("$" + strconv.Itoa(skip+i+1))
	}
	b.WriteByte(')')
	return b.String()
}

// oneOf renders the condition that a column is one of n texts, each of which an index has few rows for: see bound. For = ANY
// PostgreSQL estimates how many rows every single one has, which takes longer than to read them. So here it joins with them; where
// all depends on an index of few rows being used, however many it is thought to have, among is right.
func (r Reader) oneOf(skip, n int) string {
	if r.q.arrays {
		return "IN (SELECT unnest($" + strconv.Itoa(skip+1) + "::TEXT[]))"
	}
	return r.among(skip, n)
}

// listed returns how many parameters SQLite gets for n values: of few lengths, so that most statements are compiled already.
func listed(n int) int {
	switch {
	case n == 0:
		return 0
	case n > maxRows/2:
		return max(n, maxRows)
	default:
		return 1 << bits.Len(uint(n-1)) //nolint:gosec // positive
	}
}

// bound returns the arguments of a statement with a condition of among or oneOf: the fixed ones and the values, on SQLite the last
// one as often as the list is longer.
func bound[T any](r Reader, fixed []any, values []T) []any {
	out := make([]any, 0, len(fixed)+listed(len(values)))
	out = append(out, fixed...)
	if r.q.arrays {
		return append(out, values)
	}
	for _, v := range values {
		out = append(out, v)
	}
	for range listed(len(values)) - len(values) {
		out = append(out, out[len(out)-1])
	}
	return out
}

// insert writes rows: head, where they come from, tail. Rows of one statement must differ in what tail calls a conflict. The
// caller may go on before they are written (see behind); it must not change what they hold.
func (t *Tx) insert(ctx context.Context, what, head, tail string, rows [][]any) error {
	t.inserted += int64(len(rows))
	if !t.q.arrays && len(rows) > 0 {
		text, _ := t.table(0, nil, rows[:1])
		text = head + " " + text + " " + tail
		for _, row := range rows {
			if err := t.tx.behind(ctx, what, text, row); err != nil {
				return err
			}
		}
		return nil
	}
	for len(rows) > 0 {
		n := min(len(rows), t.most())
		text, args := t.table(0, nil, rows[:n])
		if err := t.tx.behind(ctx, what, head+" "+text+" "+tail, args); err != nil {
			return err
		}
		rows = rows[n:]
	}
	return nil
}

// upsert says how rows replace those that are there: indexed are the columns that the indexes of the table know, free the others
// that change.
type upsert struct {
	into, key     string
	indexed, free []string
}

// put writes rows, each in the place of the one with its key. SQLite changes the entries of each index whose columns are assigned, equal
// or not, and these are all over the database: it is given the free ones alone where the others remain. PostgreSQL compares them by itself.
func (t *Tx) put(ctx context.Context, what string, u upsert, rows [][]any) error {
	head := "INSERT INTO " + u.into
	conflict := "ON CONFLICT (" + u.key + ") DO UPDATE SET "
	all := conflict + excluded(slices.Concat(u.indexed, u.free), ", ")
	if t.q.arrays || len(rows) == 0 {
		return t.insert(ctx, what, head, all, rows)
	}
	text, _ := t.table(0, nil, rows[:1])
	text = head + " " + text + " "
	same := text + conflict + excluded(u.free, ", ") + " WHERE " + excluded(u.indexed, " AND ")
	for _, row := range rows {
		n, err := t.exec(ctx, what, same, row...)
		if err == nil && n == 0 {
			_, err = t.exec(ctx, what, text+all, row...)
		}
		if err != nil {
			return err
		}
	}
	t.inserted += int64(len(rows))
	return nil
}

// excluded renders that columns are what was to be inserted, to assign or to compare.
func excluded(columns []string, between string) string {
	out := make([]string, len(columns))
	for i, c := range columns {
		out[i] = c + " = excluded." + c
	}
	return strings.Join(out, between)
}

// table renders rows as a query that returns them, with columns column1, column2 and so on, and its arguments, whose numbers
// follow skip others. Casts, if any, are the types of the columns: INSERT knows them, nobody else does.
func (r Reader) table(skip int, casts []string, rows [][]any) (string, []any) {
	if r.q.arrays {
		return arrays(skip, rows)
	}
	var b strings.Builder
	args := make([]any, 0, len(rows)*len(rows[0]))
	b.WriteString("VALUES ")
	n := skip
	for i, row := range rows {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteByte('(')
		for j, v := range row {
			if j > 0 {
				b.WriteByte(',')
			}
			n++
			if i == 0 && casts != nil {
				b.WriteString("CAST($" + strconv.Itoa(n) + " AS " + casts[j] + ")")
			} else {
				b.WriteString("$" + strconv.Itoa(n))
			}
			args = append(args, v)
		}
		b.WriteByte(')')
	}
	return b.String(), args
}

// arrays renders rows as arrays of their columns. The type of a column is that of its value in the first row.
func arrays(skip int, rows [][]any) (string, []any) {
	var params, names strings.Builder
	args := make([]any, len(rows[0]))
	for j := range args {
		array, kind := column(rows, j)
		if j > 0 {
			params.WriteByte(',')
			names.WriteByte(',')
		}
		args[j] = array
		params.WriteString("$" + strconv.Itoa(skip+j+1) + "::" + kind + "[]")
		names.WriteString("column" + strconv.Itoa(j+1))
	}
	return "SELECT * FROM unnest(" + params.String() + ") AS many (" + names.String() + ")", args
}

// column returns the values of a column as an array, and their type. What no column of ours holds is left to the driver, which
// knows how to send it or says so.
func column(rows [][]any, j int) (array any, kind string) {
	var ok bool
	switch rows[0][j].(type) {
	case string:
		array, ok = values[string](rows, j)
		kind = "TEXT"
	case int, int64:
		array, ok = numbers(rows, j)
		kind = "BIGINT"
	case bool:
		array, ok = values[bool](rows, j)
		kind = "BOOLEAN"
	case []byte, nil: // nothing else may be missing
		array, ok = blobs(rows, j)
		kind = "BYTEA"
	case float64:
		array, ok = values[float64](rows, j)
		kind = "DOUBLE PRECISION"
	default:
		kind = "TEXT"
	}
	if !ok {
		mixed := make([]any, len(rows))
		for i, row := range rows {
			mixed[i] = row[j]
		}
		array = mixed
	}
	return array, kind
}

// values returns the values of a column; false when one is of another type.
func values[T any](rows [][]any, j int) ([]T, bool) {
	out := make([]T, len(rows))
	for i, row := range rows {
		var ok bool
		if out[i], ok = row[j].(T); !ok {
			return nil, false
		}
	}
	return out, true
}

func numbers(rows [][]any, j int) ([]int64, bool) {
	out := make([]int64, len(rows))
	for i, row := range rows {
		switch v := row[j].(type) {
		case int:
			out[i] = int64(v)
		case int64:
			out[i] = v
		default:
			return nil, false
		}
	}
	return out, true
}

func blobs(rows [][]any, j int) ([][]byte, bool) {
	out := make([][]byte, len(rows))
	for i, row := range rows {
		switch v := row[j].(type) {
		case []byte:
			out[i] = v
		case nil:
		default:
			return nil, false
		}
	}
	return out, true
}
