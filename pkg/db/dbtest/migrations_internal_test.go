package dbtest

import (
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/pkg/db"
)

const up = "-- +goose Up\n"

// planted are migrations with another one behind them.
func planted(last string) Migrations {
	return Migrations{
		Files: fstest.MapFS{
			"00001_init.sql": {Data: []byte(up + `
				CREATE TABLE owner (id TEXT NOT NULL PRIMARY KEY, name TEXT NOT NULL, chief TEXT REFERENCES owner (id));
				CREATE TABLE clock (id BIGINT NOT NULL PRIMARY KEY CHECK (id = 1), at BIGINT NOT NULL);`)},
			"00002_notes.sql": {Data: []byte(up + `
				ALTER TABLE owner ADD COLUMN email TEXT NOT NULL DEFAULT '';
				ALTER TABLE clock ADD COLUMN zone TEXT NOT NULL DEFAULT '';
				CREATE TABLE a_note (owner_id TEXT NOT NULL REFERENCES owner (id), line BIGINT NOT NULL, state TEXT NOT NULL CHECK (state IN ('a', 'b', 'c')),
				 text TEXT NOT NULL DEFAULT '', data BYTEA, weight DOUBLE PRECISION NOT NULL, done BOOLEAN NOT NULL, PRIMARY KEY (owner_id, line));`)},
			"00003_last.sql": {Data: []byte(up + last)},
		},
		Table:  "planted_migration",
		Values: map[string][]any{"clock.id": {1}, "a_note.state": {"a", "b", "c"}},
	}
}

// copied is a migration that makes the notes anew.
func copied(key, columns, where string) string {
	return `CREATE TABLE new_note (owner_id TEXT NOT NULL REFERENCES owner (id), line BIGINT NOT NULL, state TEXT NOT NULL, text TEXT NOT NULL DEFAULT '',
		data BYTEA, weight DOUBLE PRECISION NOT NULL DEFAULT 0, done BOOLEAN NOT NULL, PRIMARY KEY (` + key + `));
		INSERT INTO new_note (` + columns + `) SELECT ` + columns + ` FROM a_note ` + where + `;
		DROP TABLE a_note;
		ALTER TABLE new_note RENAME TO a_note;`
}

const (
	noteKey = "owner_id, line"
	note    = "owner_id, line, state, text, data, weight, done"
)

func TestMigrations(t *testing.T) {
	t.Parallel()
	m := planted(copied(noteKey, note, ""))
	m.Seed = func(t *testing.T, d *db.DB) {
		_, err := d.Exec(t.Context(), "INSERT INTO owner (id, name) VALUES ('1', 'by hand')")
		require.NoError(t, err)
	}
	worked := make(chan struct{}, 2)
	m.Works = func(t *testing.T, d *db.DB) {
		for query, want := range map[string]int{
			"SELECT COUNT(*) FROM owner":                                                                                     7, // by hand, and twice: two, and one for the key
			"SELECT COUNT(*) FROM owner WHERE name = 'by hand' AND email = ''":                                               1,
			"SELECT COUNT(*) FROM owner WHERE email <> ''":                                                                   3,
			"SELECT COUNT(*) FROM clock WHERE zone <> ''":                                                                    1,
			"SELECT COUNT(*) FROM a_note":                                                                                    5,
			"SELECT COUNT(*) FROM a_note WHERE data IS NULL":                                                                 1,
			"SELECT COUNT(DISTINCT state) FROM a_note":                                                                       3,
			"SELECT COUNT(*) FROM a_note x JOIN a_note y ON x.line = y.line AND x.owner_id < y.owner_id":                     1,
			"SELECT COUNT(*) FROM a_note x JOIN a_note y ON x.owner_id = y.owner_id AND x.line < y.line AND x.text = y.text": 1,
		} {
			var have int
			require.NoError(t, d.Read().QueryRowContext(t.Context(), query).Scan(&have))
			require.Equal(t, want, have, query)
		}
		worked <- struct{}{}
	}
	m.Test(t)
}

// Each of these is a migration that must not be released.
func TestMigrations_Found(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ last, want string }{
		"a copy without a column":      {copied(noteKey, "owner_id, line, state, text, data, done", ""), "loses or changes 5 of 5 rows of a_note"},
		"a copy without the bytes":     {copied(noteKey, "owner_id, line, state, text, weight, done", ""), "loses or changes 4 of 5 rows of a_note"},
		"a copy of some rows":          {copied(noteKey, note, "WHERE data IS NOT NULL"), "loses or changes 1 of 5 rows of a_note"},
		"a copy of one row for each":   {copied(noteKey, note, "WHERE line = (SELECT MIN(b.line) FROM a_note b WHERE b.owner_id = a_note.owner_id)"), "rows of a_note"},
		"a copy with a narrower key":   {copied("line", note, ""), "00003_last.sql on tables with rows"},
		"a copy with another narrower": {copied("owner_id", note, ""), "00003_last.sql on tables with rows"},
		"a copy with mixed columns":    {copied(noteKey, note, "") + "UPDATE a_note SET text = state;", "of 5 rows of a_note"},
		"a column without a default":   {"ALTER TABLE a_note ADD COLUMN late TEXT NOT NULL;", "00003_last.sql on tables with rows"},
		"a key where there was none":   {"CREATE UNIQUE INDEX a_note_text ON a_note (text);", "00003_last.sql on tables with rows"},
		"another value":                {"UPDATE owner SET email = lower(email);", "loses or changes 3 of 6 rows of owner"},
		"a value of a single row":      {"UPDATE clock SET zone = '';", "loses or changes 1 of 1 rows of clock"},
		"no row":                       {"DELETE FROM a_note;", "loses or changes 5 of 5 rows of a_note"},
		"no table":                     {"DROP TABLE a_note;", "drops the table a_note"},
		"another name for a column":    {"ALTER TABLE owner RENAME COLUMN email TO mail;", "drops the column owner.email"},
		"a type that nobody knows":     {"CREATE TABLE odd (id UUID NOT NULL PRIMARY KEY);", `odd cannot be filled after 00003_last.sql: no value is known for the type "uuid" of id`},
		"a condition that nobody told": {"CREATE TABLE odd (id BIGINT NOT NULL PRIMARY KEY CHECK (id < 5));", "odd cannot be filled after 00003_last.sql"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			Each(t, func(t *testing.T, d *db.DB) { require.ErrorContains(t, planted(c.last).check(t, d), c.want) })
		})
	}
}

func TestMigrations_Intended(t *testing.T) {
	t.Parallel()
	Each(t, func(t *testing.T, d *db.DB) {
		m := planted("UPDATE owner SET email = lower(email); DELETE FROM a_note; DROP TABLE clock; ALTER TABLE owner DROP COLUMN name;")
		m.Intended = map[string]string{
			"00003_last.sql owner.email": "an address is compared in lower case", "00003_last.sql a_note": "they are read again",
			"00003_last.sql clock": "nobody reads it", "00003_last.sql owner.name": "nor that",
		}
		require.NoError(t, m.check(t, d))
	})
	for name, c := range map[string]struct {
		change func(m *Migrations)
		want   string
	}{
		"intended and not done":     {func(m *Migrations) { m.Intended = map[string]string{"00003_last.sql a_note": "why"} }, "00003_last.sql a_note is listed as intended, but"},
		"intended without a reason": {func(m *Migrations) { m.Intended = map[string]string{"00003_last.sql owner.name": ""} }, "owner.name is listed as intended without"},
		"values without a column":   {func(m *Migrations) { m.Values["a_note.gone"] = []any{1} }, "there are values for a_note.gone"},
		"values that do not match":  {func(m *Migrations) { m.Values["a_note.done"] = []any{true} }, "are given for"},
		"no migrations":             {func(m *Migrations) { m.Files = fstest.MapFS{} }, "there are no migrations"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := planted("CREATE INDEX owner_email ON owner (email);")
			c.change(&m)
			require.ErrorContains(t, m.check(t, Open(t, "sqlite")), c.want)
		})
	}
}

func TestSameSchema(t *testing.T) {
	t.Parallel()
	const want = "CREATE TABLE thing (id BIGINT NOT NULL PRIMARY KEY, text TEXT NOT NULL DEFAULT '')"
	for _, have := range [][]string{
		{"CREATE TABLE thing (id BIGINT NOT NULL, text TEXT NOT NULL DEFAULT '')"},
		{"CREATE TABLE thing (id BIGINT NOT NULL PRIMARY KEY, text TEXT DEFAULT '')"},
		{"CREATE TABLE thing (id BIGINT NOT NULL PRIMARY KEY, text TEXT NOT NULL DEFAULT ' ')"},
		{"CREATE TABLE thing (id BIGINT NOT NULL PRIMARY KEY, text BYTEA NOT NULL DEFAULT '')"},
		{"CREATE TABLE thing (id BIGINT NOT NULL PRIMARY KEY, text TEXT NOT NULL DEFAULT '', CHECK (id > 0))"},
		{want, "CREATE INDEX thing_text ON thing (text)"},
		{want, "CREATE TABLE other (id BIGINT)"},
		nil,
		{want},
	} {
		t.Run("", func(t *testing.T) {
			t.Parallel()
			Each(t, func(t *testing.T, d *db.DB) {
				fresh := Open(t, d.Engine().String())
				_, err := fresh.Exec(t.Context(), want)
				require.NoError(t, err)
				for _, statement := range have {
					_, err := d.Exec(t.Context(), statement)
					require.NoError(t, err)
				}
				if len(have) == 1 && have[0] == want {
					require.NoError(t, sameSchema(t.Context(), fresh, d))
					return
				}
				require.ErrorContains(t, sameSchema(t.Context(), fresh, d), "but in a database without rows")
			})
		})
	}
}
