package dbtest

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/pkg/db"
)

// Migrations are those of one set of tables. [Migrations.Test] applies them one by one to a database in which every table has rows:
// a table as soon as a migration has made it, and again when one has added a column. No migration may lose a row or change a value.
type Migrations struct {
	// Files and Table are those that [db.DB.Migrate] takes.
	Files fs.FS
	Table string
	// Values has, by "table.column", a value for each row of the table where not every value will do, because a CHECK refuses it or
	// Works reads it. All other values are made from the schema.
	Values map[string][]any
	// Intended gives the reason why a migration loses what it loses: by "00007_name.sql table" rows, by "00007_name.sql table.column"
	// the column or its values.
	Intended map[string]string
	// Seed adds rows by hand that Works knows, to the tables of the first migration. It may be nil.
	Seed func(t *testing.T, d *db.DB)
	// Works opens the tables as production does, and reads and writes them.
	Works func(t *testing.T, d *db.DB)
}

// Test fails if a migration loses or changes what is stored, cannot be applied to it, or leaves another schema than in a database
// without rows, or if there is a table that it cannot fill. It runs on each engine, in parallel.
func (m Migrations) Test(t *testing.T) {
	t.Helper()
	Each(t, func(t *testing.T, d *db.DB) {
		require.NoError(t, m.check(t, d))
		m.Works(t, d)
	})
}

// check is all of Test but Works.
func (m Migrations) check(t *testing.T, d *db.DB) error {
	files, err := m.flat(d.Engine())
	if err != nil {
		return err
	}
	w := filler{t: t, d: d, values: m.Values, used: map[string]bool{}}
	applied := fstest.MapFS{}
	var before map[string]content
	for i, name := range slices.Sorted(maps.Keys(files)) {
		applied[name] = files[name]
		if err := d.Migrate(t.Context(), applied, m.Table); err != nil {
			return fmt.Errorf("%s on tables with rows: %w", name, err)
		}
		if i == 0 && m.Seed != nil {
			m.Seed(t, d)
		}
		w.after = name
		after, err := w.read()
		if err != nil {
			return err
		}
		if err := m.compare(name, before, after, w.used); err != nil {
			return err
		}
		if err := w.fill(before, after); err != nil {
			return err
		}
		before = after
	}
	for key := range m.Values {
		if !w.used[key] {
			return fmt.Errorf("there are values for %s, but no such column", key)
		}
	}
	for key, reason := range m.Intended {
		if name, _, _ := strings.Cut(key, " "); files[name] != nil && !w.used[key] {
			return fmt.Errorf("%s is listed as intended, but nothing is lost", key)
		}
		if reason == "" {
			return fmt.Errorf("%s is listed as intended without a reason", key)
		}
	}
	fresh := Open(t, d.Engine().String())
	if err := fresh.Migrate(t.Context(), applied, m.Table); err != nil {
		return err
	}
	return sameSchema(t.Context(), fresh, d)
}

// flat returns the migrations of an engine by their names.
func (m Migrations) flat(engine db.Engine) (fstest.MapFS, error) {
	out := fstest.MapFS{}
	for _, pattern := range []string{"*.sql", engine.String() + "/*.sql"} {
		names, err := fs.Glob(m.Files, pattern)
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			text, err := fs.ReadFile(m.Files, name)
			if err != nil {
				return nil, err
			}
			out[path.Base(name)] = &fstest.MapFile{Data: text}
		}
	}
	if len(out) == 0 {
		return nil, errors.New("there are no migrations")
	}
	return out, nil
}

// compare returns an error for each table of which a migration has lost or changed something that it is not meant to, and notes in
// used what is meant.
func (m Migrations) compare(name string, before, after map[string]content, used map[string]bool) error {
	intended := func(what string) bool {
		_, ok := m.Intended[name+" "+what]
		used[name+" "+what] = used[name+" "+what] || ok
		return ok
	}
	var problems []error
	for _, table := range slices.Sorted(maps.Keys(before)) {
		was := before[table]
		is, ok := after[table]
		if !ok && !intended(table) {
			problems = append(problems, fmt.Errorf("%s drops the table %s", name, table))
		}
		if !ok {
			continue
		}
		var left []string
		for _, column := range was.columns {
			switch {
			case intended(table + "." + column):
			case !slices.Contains(is.columns, column):
				problems = append(problems, fmt.Errorf("%s drops the column %s.%s", name, table, column))
			default:
				left = append(left, column)
			}
		}
		have := map[string]int{}
		for _, row := range is.texts(left) {
			have[row]++
		}
		var gone []string
		for _, row := range was.texts(left) {
			if have[row]--; have[row] < 0 {
				gone = append(gone, row)
			}
		}
		if len(gone) > 0 && !intended(table) {
			problems = append(problems, fmt.Errorf("%s loses or changes %d of %d rows of %s, one of them %s",
				name, len(gone), len(was.rows), table, gone[0]))
		}
	}
	return errors.Join(problems...)
}

// content is what a table holds.
type content struct {
	columns []string
	rows    [][]any
}

// texts returns the rows as texts that tell them apart by some of the columns.
func (c content) texts(columns []string) []string {
	var out []string
	for _, row := range c.rows {
		var b strings.Builder
		for i, value := range row {
			if slices.Contains(columns, c.columns[i]) {
				fmt.Fprintf(&b, "%s=%#v ", c.columns[i], value)
			}
		}
		out = append(out, b.String())
	}
	return out
}
