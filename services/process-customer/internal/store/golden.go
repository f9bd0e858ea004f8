package store

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/selfsame-io/selfsame/pkg/db"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
)

// Golden is a golden record with what is stored beside it.
type Golden struct {
	golden.Record
	// NameKey is the folded name that prefixes are looked up in.
	NameKey string
	// Keyed is the version as of which it is known to have every key that its values make; zero when that is not known. With
	// another version than this it has to be looked up: a release that knows nothing of it may have written the record since.
	Keyed int64
}

// Clone returns a copy that shares nothing that can be changed.
func (g *Golden) Clone() *Golden {
	c := *g
	c.Values = g.Values.Clone()
	if c.Values == nil {
		c.Values = golden.Values{}
	}
	return &c
}

const goldenColumns = "id, object, parent_id, body, version, deleted, merged_into, name_key, created_us, updated_us, keyed"

func (r Reader) goldens(ctx context.Context, what, where string, args []any) ([]*Golden, error) {
	var out []*Golden
	err := r.many(ctx, what, "SELECT "+goldenColumns+" FROM golden WHERE "+where, args, func(rows db.Scanner) error {
		var g Golden
		var created, updated int64
		var parent, body string
		var key []byte
		if err := rows.Scan((*string)(&g.ID), (*string)(&g.Object), &parent, &body, &g.Version, &g.Deleted, (*string)(&g.MergedInto), &key, &created, &updated, &g.Keyed); err != nil {
			return err
		}
		g.NameKey, g.Created, g.Updated = string(key), db.FromMicros(created), db.FromMicros(updated)
		var err error
		if g.Values, err = valuesOf(body); err != nil {
			return fmt.Errorf("values of %s: %w", g.ID, err)
		}
		out = append(out, &g)
		return nil
	})
	return out, err
}

// Goldens returns golden records by id; those unknown are left out.
func (r Reader) Goldens(ctx context.Context, ids []golden.ID) ([]*Golden, error) {
	var out []*Golden
	err := chunks(r, ids, func(ids []golden.ID) error {
		got, err := r.goldens(ctx, "read golden records", "id "+r.oneOf(0, len(ids)), bound(r, nil, texts(ids)))
		out = append(out, got...)
		return err
	})
	return out, err
}

// ListGoldens returns live golden records of a kind in id order after `after`, only those whose name key begins with
// prefix.
func (r Reader) ListGoldens(ctx context.Context, obj golden.Object, prefix string, after golden.ID, limit int) ([]*Golden, error) {
	if prefix == "" {
		return r.goldens(ctx, "list golden records", "object = $1 AND id > $2 AND NOT deleted AND merged_into = '' ORDER BY id LIMIT $3",
			[]any{string(obj), string(after), limit})
	}
	return r.goldens(ctx, "list golden records by name", `object = $1 AND id > $2 AND NOT deleted AND merged_into = ''
		AND name_key >= $4 AND name_key < $5 ORDER BY id LIMIT $3`,
		[]any{string(obj), string(after), limit, []byte(prefix), append([]byte(prefix), 0xff)})
}

// ListChildren returns the live contacts of a customer in id order after `after`.
func (r Reader) ListChildren(ctx context.Context, parent, after golden.ID, limit int) ([]*Golden, error) {
	return r.goldens(ctx, "list contacts", "parent_id = $1 AND id > $2 AND NOT deleted AND merged_into = '' ORDER BY id LIMIT $3",
		[]any{string(parent), string(after), limit})
}

// CountGoldens counts live golden records by kind.
func (r Reader) CountGoldens(ctx context.Context) (map[golden.Object]int64, error) {
	out := map[golden.Object]int64{}
	err := r.query(ctx, "count golden records", "SELECT object, COUNT(*) FROM golden WHERE NOT deleted AND merged_into = '' GROUP BY object",
		nil, func(rows *sql.Rows) error {
			var obj golden.Object
			var n int64
			err := rows.Scan(&obj, &n)
			out[obj] = n
			return err
		})
	return out, err
}

// PutGoldens writes golden records as they are given.
func (t *Tx) PutGoldens(ctx context.Context, records []*Golden) error {
	rows := make([][]any, 0, len(records))
	var body []byte
	for _, g := range records {
		body = appendValues(body[:0], g.Values)
		rows = append(rows, []any{
			string(g.ID), string(g.Object), g.Values[golden.Parent], string(body), g.Version, g.Deleted, string(g.MergedInto),
			[]byte(g.NameKey), db.Micros(g.Created), db.Micros(g.Updated), g.Keyed,
		})
	}
	return t.put(ctx, "write golden records", upsert{
		into: "golden (" + goldenColumns + ")", key: "id",
		indexed: []string{"parent_id", "merged_into", "name_key"},
		free:    []string{"body", "version", "deleted", "updated_us", "keyed"},
	}, rows)
}

// Key is something a golden record is recognised by.
type Key struct {
	Object      golden.Object
	Kind, Value string
}

// Owned is a key and the golden record that has it.
type Owned struct {
	Key
	GoldenID golden.ID
}

// Owners returns who has the keys; free ones are left out.
func (r Reader) Owners(ctx context.Context, keys []Key) (map[Key]golden.ID, error) {
	out := make(map[Key]golden.ID, len(keys))
	err := chunks(r, keys, func(keys []Key) error {
		rows := make([][]any, len(keys))
		for i, k := range keys {
			rows[i] = []any{string(k.Object), k.Kind, k.Value}
		}
		text, args := r.table(0, []string{"TEXT", "TEXT", "TEXT"}, rows)
		return r.keys(ctx, "(object, kind, value) IN ("+text+")", args, func(o Owned) { out[o.Key] = o.GoldenID })
	})
	return out, err
}

// KeysOf returns the keys that golden records have.
func (r Reader) KeysOf(ctx context.Context, ids []golden.ID) ([]Owned, error) {
	var out []Owned
	err := chunks(r, ids, func(ids []golden.ID) error {
		return r.keys(ctx, "golden_id "+r.oneOf(0, len(ids)), bound(r, nil, texts(ids)), func(o Owned) { out = append(out, o) })
	})
	return out, err
}

func (r Reader) keys(ctx context.Context, where string, args []any, add func(Owned)) error {
	return r.query(ctx, "read match keys", "SELECT object, kind, value, golden_id FROM match_key WHERE "+where, args, func(rows *sql.Rows) error {
		var o Owned
		err := rows.Scan(&o.Object, &o.Kind, &o.Value, &o.GoldenID)
		add(o)
		return err
	})
}

// GiveKeys gives keys to golden records that Owners has found free in this transaction, which took LockIdentity before: to insert a
// row that may be there already takes PostgreSQL half as long again. A key that is taken after all fails the transaction.
func (t *Tx) GiveKeys(ctx context.Context, keys []Owned) error {
	rows := make([][]any, len(keys))
	for i, k := range keys {
		rows[i] = []any{string(k.Object), k.Kind, k.Value, string(k.GoldenID)}
	}
	return t.insert(ctx, "write free match keys", "INSERT INTO match_key (object, kind, value, golden_id)", "", rows)
}

// AddKeys gives free keys to golden records and returns how many; the first owner keeps a key.
func (t *Tx) AddKeys(ctx context.Context, keys []Owned) (int, error) {
	given := 0
	err := chunks(t.Reader, keys, func(keys []Owned) error {
		rows := make([][]any, len(keys))
		for i, k := range keys {
			rows[i] = []any{string(k.Object), k.Kind, k.Value, string(k.GoldenID)}
		}
		text, args := t.table(0, nil, rows)
		n, err := t.exec(ctx, "write match keys", "INSERT INTO match_key (object, kind, value, golden_id) "+text+
			" ON CONFLICT (object, kind, value) DO NOTHING", args...)
		given += int(n)
		t.inserted += n
		return err
	})
	return given, err
}

// DropKeys takes keys away.
func (t *Tx) DropKeys(ctx context.Context, keys []Owned) error {
	return chunks(t.Reader, keys, func(keys []Owned) error {
		rows := make([][]any, len(keys))
		for i, k := range keys {
			rows[i] = []any{string(k.Object), k.Kind, k.Value, string(k.GoldenID)}
		}
		text, args := t.table(0, []string{"TEXT", "TEXT", "TEXT", "TEXT"}, rows)
		_, err := t.exec(ctx, "drop match keys", "DELETE FROM match_key WHERE (object, kind, value, golden_id) IN ("+text+")", args...)
		return err
	})
}

// MergedInto returns the golden records that were merged into one.
func (r Reader) MergedInto(ctx context.Context, id golden.ID) ([]golden.ID, error) {
	var out []golden.ID
	err := r.query(ctx, "read merged golden records", "SELECT id FROM golden WHERE merged_into <> '' AND merged_into = $1 ORDER BY id", []any{string(id)},
		func(rows *sql.Rows) error {
			var merged golden.ID
			err := rows.Scan(&merged)
			out = append(out, merged)
			return err
		})
	return out, err
}
