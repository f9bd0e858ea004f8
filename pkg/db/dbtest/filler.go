package dbtest

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/selfsame-io/selfsame/pkg/db"
)

// filler makes rows from the schema.
type filler struct {
	t      *testing.T
	d      *db.DB
	values map[string][]any // see [Migrations]
	used   map[string]bool  // which of them there was a column for
	after  string           // the last migration; each statement has it, lest it was prepared for the schema before
	number int64            // of the last row
}

// column is one that a row must have a value for.
type column struct {
	name, kind string
	null       bool
	primary    bool   // part of the primary key
	unique     bool   // part of another key
	parent     string // table that has the value as key, if not empty
	key        string
	listed     []any // its values, if they are given
}

// columnsQuery returns the columns of a table, without those that the database fills.
func columnsQuery(engine db.Engine) string {
	if engine == db.PostgreSQL {
		return `SELECT a.attname, format_type(a.atttypid, NULL), NOT a.attnotnull,
			EXISTS (SELECT 1 FROM pg_index i WHERE i.indrelid = a.attrelid AND i.indisprimary AND a.attnum = ANY (i.indkey)),
			EXISTS (SELECT 1 FROM pg_index i WHERE i.indrelid = a.attrelid AND i.indisunique AND NOT i.indisprimary AND a.attnum = ANY (i.indkey)),
			COALESCE(CAST(CAST(f.confrelid AS regclass) AS TEXT), ''),
			COALESCE((SELECT k.attname FROM pg_attribute k WHERE k.attrelid = f.confrelid AND k.attnum = f.confkey[array_position(f.conkey, a.attnum)]), '')
			FROM pg_attribute a LEFT JOIN pg_constraint f ON f.conrelid = a.attrelid AND f.contype = 'f' AND a.attnum = ANY (f.conkey)
			WHERE a.attrelid = CAST($1 AS regclass) AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '' AND a.attidentity = ''
			ORDER BY a.attnum`
	}
	return `SELECT c.name, lower(c.type), c."notnull" = 0 AND c.pk = 0, c.pk > 0,
		EXISTS (SELECT 1 FROM pragma_index_list($1) l, pragma_index_info(l.name) i WHERE l."unique" AND l.origin <> 'pk' AND i.name = c.name),
		COALESCE(f."table", ''), COALESCE(f."to", '')
		FROM pragma_table_info($1) c LEFT JOIN pragma_foreign_key_list($1) f ON f."from" = c.name ORDER BY c.cid`
}

// columns returns those of a table.
func (f *filler) columns(table string) ([]column, error) {
	rows, err := f.d.Read().QueryContext(f.t.Context(), columnsQuery(f.d.Engine()), table)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []column
	for rows.Next() {
		var c column
		if err := rows.Scan(&c.name, &c.kind, &c.null, &c.primary, &c.unique, &c.parent, &c.key); err != nil {
			return nil, err
		}
		c.listed = f.values[table+"."+c.name]
		f.used[table+"."+c.name] = true
		out = append(out, c)
	}
	return out, rows.Err()
}

// rows returns those of a table.
func (f *filler) rows(table string) (content, error) {
	rows, err := f.d.Read().QueryContext(f.t.Context(), "SELECT * FROM "+table+" -- after "+f.after)
	if err != nil {
		return content{}, err
	}
	defer rows.Close()
	var out content
	if out.columns, err = rows.Columns(); err != nil {
		return content{}, err
	}
	for rows.Next() {
		row, to := make([]any, len(out.columns)), make([]any, len(out.columns))
		for i := range row {
			to[i] = &row[i]
		}
		if err := rows.Scan(to...); err != nil {
			return content{}, err
		}
		out.rows = append(out.rows, row)
	}
	return out, rows.Err()
}

// read returns what is in each table.
func (f *filler) read() (map[string]content, error) {
	out := map[string]content{}
	for _, table := range Tables(f.t, f.d) {
		var err error
		if out[table], err = f.rows(table); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// fill adds rows to each table that has none, is new, or has a new column: what was there before the migration tells. It notes in
// after what is there then.
func (f *filler) fill(before, after map[string]content) error {
	waiting := map[string][]column{}
	var err error
	for table, is := range after {
		was, ok := before[table]
		if ok && len(is.rows) > 0 && !slices.ContainsFunc(is.columns, func(c string) bool { return !slices.Contains(was.columns, c) }) {
			continue
		}
		if waiting[table], err = f.columns(table); err != nil {
			return err
		}
	}
	for len(waiting) > 0 {
		n := len(waiting)
		for _, table := range slices.Sorted(maps.Keys(waiting)) {
			columns := waiting[table]
			if slices.ContainsFunc(columns, func(c column) bool { return c.parent != table && waiting[c.parent] != nil }) {
				continue // after those that its rows refer to
			}
			if err := f.table(table, columns, before[table].columns, after); err != nil {
				return fmt.Errorf("%s cannot be filled after %s: %w", table, f.after, err)
			}
			if after[table], err = f.rows(table); err != nil {
				return err
			}
			delete(waiting, table)
		}
		if len(waiting) == n {
			return fmt.Errorf("tables refer to each other: %v", slices.Sorted(maps.Keys(waiting)))
		}
	}
	return nil
}

// table adds rows to one: as many as there are values given for a column, or two. They differ in every column, and where a value
// may be missing the second has none. For each column of the primary key there is another row like the first but for that column.
func (f *filler) table(name string, columns []column, known []string, after map[string]content) error {
	n := 2
	keyed, free := false, false // there can be other keys than those given
	parents := map[string][]any{}
	for _, c := range columns {
		n = cmp.Or(len(c.listed), n)
		keyed, free = keyed || c.primary, free || c.primary && c.listed == nil
		if c.parent == "" {
			continue
		}
		from := after[c.parent]
		for _, row := range from.rows {
			parents[c.name] = append(parents[c.name], row[slices.Index(from.columns, c.key)])
		}
		slices.SortFunc(parents[c.name], func(a, b any) int { return cmp.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
	}
	value := func(c column, i int) (any, error) {
		keys := parents[c.name]
		switch {
		case c.listed != nil:
			if len(c.listed) != n {
				return nil, fmt.Errorf("%d values are given for %s, and %d for another column", len(c.listed), c.name, n)
			}
			return c.listed[i], nil
		case c.null && (i == 1 || c.parent != "" && len(keys) == 0):
			return nil, nil
		case len(keys) > 0:
			return keys[i%len(keys)], nil
		default:
			return c.value(f.number)
		}
	}
	if keyed && !free && len(after[name].rows) > 0 {
		return f.update(name, slices.DeleteFunc(columns, func(c column) bool { return len(known) == 0 || slices.Contains(known, c.name) }), value)
	}
	var rows [][]any
	for i := range n {
		f.number++
		row := make([]any, len(columns))
		for k, c := range columns {
			var err error
			if row[k], err = value(c, i); err != nil {
				return err
			}
		}
		rows = append(rows, row)
	}
	for _, other := range columns {
		if !other.primary || other.listed != nil {
			continue
		}
		f.number++
		row := slices.Clone(rows[0])
		for k, c := range columns {
			if c.name != other.name && (!c.unique || c.primary || c.listed != nil) {
				continue
			}
			var err error
			if row[k], err = value(c, min(1, n-1)); err != nil {
				return err
			}
		}
		rows = append(rows, row)
	}
	names, places := make([]string, len(columns)), make([]string, len(columns))
	for k, c := range columns {
		names[k], places[k] = c.name, fmt.Sprintf("$%d", k+1)
	}
	insert := fmt.Sprintf("INSERT INTO %s (%s) VALUES (%s) -- after %s", name, strings.Join(names, ", "), strings.Join(places, ", "), f.after)
	return f.d.Tx(f.t.Context(), func(ctx context.Context, tx *sql.Tx) error {
		for _, row := range rows {
			if _, err := tx.ExecContext(ctx, insert, row...); err != nil {
				return err
			}
		}
		return nil
	})
}

// update gives columns a value in the rows that a table has.
func (f *filler) update(table string, columns []column, value func(column, int) (any, error)) error {
	for _, c := range columns {
		f.number++
		v, err := value(c, 0)
		if err != nil {
			return err
		}
		if _, err := f.d.Exec(f.t.Context(), fmt.Sprintf("UPDATE %s SET %s = $1 -- after %s", table, c.name, f.after), v); err != nil {
			return err
		}
	}
	return nil
}

// value returns one that no row with another number has, as far as there are so many.
func (c column) value(number int64) (any, error) {
	switch c.kind {
	case "bigint":
		return 1<<40 + number, nil // does not fit into a smaller one
	case "integer":
		return 1<<20 + number, nil
	case "double precision":
		return float64(number) + 0.25, nil
	case "boolean":
		return number%2 == 1, nil
	case "text":
		return fmt.Sprintf("Row %d of '%s', ü", number, c.name), nil
	case "bytea":
		return fmt.Appendf([]byte{0, 255}, "%s %d", c.name, number), nil
	default:
		return nil, fmt.Errorf("no value is known for the type %q of %s: give some", c.kind, c.name)
	}
}

// sameSchema returns an error if one database has another schema than another, or rows that its own schema refuses.
func sameSchema(ctx context.Context, want, have *db.DB) error {
	schema := func(d *db.DB) ([]string, error) {
		if d.Engine() == db.PostgreSQL {
			return texts(ctx, d, postgresSchema)
		}
		return texts(ctx, d, "SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY type, name")
	}
	wanted, err := schema(want)
	if err != nil {
		return err
	}
	had, err := schema(have)
	if err != nil {
		return err
	}
	if !slices.Equal(wanted, had) {
		return fmt.Errorf("the schema is\n%s\nbut in a database without rows\n%s", strings.Join(had, "\n"), strings.Join(wanted, "\n"))
	}
	if have.Engine() == db.PostgreSQL {
		return nil
	}
	refused, err := texts(ctx, have, `SELECT integrity_check FROM pragma_integrity_check WHERE integrity_check <> 'ok'
		UNION ALL SELECT "table" || ' refers to no row of ' || parent FROM pragma_foreign_key_check`)
	if err == nil && len(refused) > 0 {
		err = fmt.Errorf("rows are refused: %s", strings.Join(refused, ", "))
	}
	return err
}

const postgresSchema = `
	WITH here AS (SELECT oid, nspname FROM pg_namespace WHERE nspname = current_schema())
	SELECT concat_ws(' ', 'column', c.relname, a.attname, format_type(a.atttypid, a.atttypmod), CASE WHEN a.attnotnull THEN 'NOT NULL' END,
		pg_get_expr(d.adbin, d.adrelid)) AS line
		FROM here JOIN pg_class c ON c.relnamespace = here.oid AND c.relkind IN ('r', 'p', 'v', 'm') JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
		AND NOT a.attisdropped LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
	UNION ALL SELECT concat_ws(' ', 'constraint', CAST(k.conrelid AS regclass), k.conname, pg_get_constraintdef(k.oid))
		FROM here JOIN pg_constraint k ON k.connamespace = here.oid
	UNION ALL SELECT replace(indexdef, here.nspname || '.', '') FROM here JOIN pg_indexes ON schemaname = nspname
	ORDER BY line`

// texts returns the one column that a query has.
func texts(ctx context.Context, d *db.DB, query string) ([]string, error) {
	rows, err := d.Read().QueryContext(ctx, query)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []string
	for rows.Next() {
		var text string
		if err := rows.Scan(&text); err != nil {
			return nil, err
		}
		out = append(out, text)
	}
	return out, rows.Err()
}
