package store

import (
	"context"
	"database/sql"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/selfsame-io/selfsame/pkg/db"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
)

// firstContact is above the numbers of all customers' units and below those of contacts: a number tells the kind.
const firstContact = int64(1) << 40

// unitRange returns between which numbers, both excluded, the units of a kind are; those of every kind when it is empty.
func unitRange(obj golden.Object) (above, below int64) {
	switch obj {
	case golden.Customer:
		return 0, firstContact
	case golden.Contact:
		return firstContact, 1 << 62
	default:
		return 0, 1 << 62
	}
}

// MatchUnit is what matching compares: a golden record with the records that are its own.
type MatchUnit struct {
	// Number names it in the other tables; of two of one kind the smaller one is older.
	Number   int64
	GoldenID golden.ID
	// Live is true when others find it by its keys.
	Live bool
	// Joined is true when matching, not a person or a system, has merged the golden record into another one.
	Joined bool
	// Systems says how many records of its own each system has, as the matcher wrote it.
	Systems string
	// Record are its normalised values, empty when there are none. They are personal data.
	Record []byte
	// Keys are what it is found by.
	Keys []int64
}

// MatchBlock says that a unit has a key.
type MatchBlock struct{ Key, Unit int64 }

func packKeys(keys []int64) []byte {
	b := make([]byte, 0, 8*len(keys))
	for _, k := range keys {
		b = binary.BigEndian.AppendUint64(b, uint64(k)) //nolint:gosec // bits, not a number
	}
	return b
}

func unpackKeys(b []byte) []int64 {
	keys := make([]int64, 0, len(b)/8)
	for ; len(b) >= 8; b = b[8:] {
		keys = append(keys, int64(binary.BigEndian.Uint64(b))) //nolint:gosec // bits, not a number
	}
	return keys
}

const unitColumns = "number, golden_id, live, joined, systems, record, keys"

func (r Reader) matchUnits(ctx context.Context, where string, args []any) ([]MatchUnit, error) {
	var out []MatchUnit
	err := r.query(ctx, "read match units", "SELECT "+unitColumns+" FROM match_unit WHERE "+where, args, func(rows *sql.Rows) error {
		var m MatchUnit
		var keys []byte
		err := rows.Scan(&m.Number, &m.GoldenID, &m.Live, &m.Joined, &m.Systems, &m.Record, &keys)
		m.Keys = unpackKeys(keys)
		out = append(out, m)
		return err
	})
	return out, err
}

// MatchUnits returns the units of golden records; those that have none are left out.
func (r Reader) MatchUnits(ctx context.Context, ids []golden.ID) ([]MatchUnit, error) {
	var out []MatchUnit
	err := chunks(r, ids, func(ids []golden.ID) error {
		got, err := r.matchUnits(ctx, "golden_id "+r.among(0, len(ids)), bound(r, nil, texts(ids)))
		out = append(out, got...)
		return err
	})
	return out, err
}

// MatchUnitsByNumber returns units; those unknown are left out.
func (r Reader) MatchUnitsByNumber(ctx context.Context, numbers []int64) ([]MatchUnit, error) {
	var out []MatchUnit
	err := chunks(r, numbers, func(numbers []int64) error {
		got, err := r.matchUnits(ctx, "number "+r.among(0, len(numbers)), bound(r, nil, numbers))
		out = append(out, got...)
		return err
	})
	return out, err
}

// MatchRecords returns the records of units by number, and nothing else of them: it is what a lookup reads.
func (r Reader) MatchRecords(ctx context.Context, numbers []int64) (map[int64][]byte, error) {
	out := make(map[int64][]byte, len(numbers))
	err := chunks(r, numbers, func(numbers []int64) error {
		return r.query(ctx, "read match records", "SELECT number, record FROM match_unit WHERE number "+r.among(0, len(numbers)),
			bound(r, nil, numbers), func(rows *sql.Rows) error {
				var n int64
				var record []byte
				err := rows.Scan(&n, &record)
				out[n] = record
				return err
			})
	})
	return out, err
}

// MatchBuckets returns who has each key. Keys that too many have return nobody.
func (r Reader) MatchBuckets(ctx context.Context, keys []int64) (map[int64][]int64, error) {
	out := make(map[int64][]int64, len(keys))
	err := chunks(r, keys, func(keys []int64) error {
		return r.query(ctx, "read match blocks", "SELECT key, unit FROM match_block WHERE key "+r.among(0, len(keys)),
			bound(r, nil, keys), func(rows *sql.Rows) error {
				var k, n int64
				err := rows.Scan(&k, &n)
				out[k] = append(out[k], n)
				return err
			})
	})
	return out, err
}

// MatchCommon returns which of the keys too many have.
func (r Reader) MatchCommon(ctx context.Context, keys []int64) (map[int64]bool, error) {
	out := map[int64]bool{}
	err := chunks(r, keys, func(keys []int64) error {
		return r.query(ctx, "read common match keys", "SELECT key FROM match_common WHERE key "+r.among(0, len(keys)),
			bound(r, nil, keys), func(rows *sql.Rows) error {
				var k int64
				err := rows.Scan(&k)
				out[k] = true
				return err
			})
	})
	return out, err
}

// NextMatchUnits sets numbers for n units of a kind aside and returns the first.
func (t *Tx) NextMatchUnits(ctx context.Context, obj golden.Object, n int) (int64, error) {
	if obj == golden.Contact {
		return t.take(ctx, "match_contact", n)
	}
	return t.take(ctx, "match_unit", n)
}

func (t *Tx) take(ctx context.Context, name string, n int) (int64, error) {
	var last int64
	err := t.tx.QueryRowContext(ctx, "UPDATE sequence SET value = value + $1 WHERE name = $2 RETURNING value", n, name).Scan(&last)
	if err != nil {
		return 0, fmt.Errorf("take numbers of %s: %w", name, err)
	}
	return last - int64(n) + 1, nil
}

// PutMatchUnits writes units as they are given; their keys only to the units, see AddMatchBlocks.
func (t *Tx) PutMatchUnits(ctx context.Context, units []MatchUnit) error {
	rows := make([][]any, len(units))
	for i, m := range units {
		record := m.Record
		if record == nil {
			record = []byte{}
		}
		rows[i] = []any{m.Number, string(m.GoldenID), m.Live, m.Joined, m.Systems, record, packKeys(m.Keys)}
	}
	return t.insert(ctx, "write match units", "INSERT INTO match_unit ("+unitColumns+")",
		`ON CONFLICT (number) DO UPDATE SET live = excluded.live, joined = excluded.joined, systems = excluded.systems,
		record = excluded.record, keys = excluded.keys`, rows)
}

// AddMatchBlocks has units found by keys.
func (t *Tx) AddMatchBlocks(ctx context.Context, blocks []MatchBlock) error {
	rows := make([][]any, len(blocks))
	for i, b := range blocks {
		rows[i] = []any{b.Key, b.Unit}
	}
	return t.insert(ctx, "write match blocks", "INSERT INTO match_block (key, unit)", "ON CONFLICT (key, unit) DO NOTHING", rows)
}

// DropMatchBlocks has units no longer found by keys.
func (t *Tx) DropMatchBlocks(ctx context.Context, blocks []MatchBlock) error {
	return chunks(t.Reader, blocks, func(blocks []MatchBlock) error {
		rows := make([][]any, len(blocks))
		for i, b := range blocks {
			rows[i] = []any{b.Key, b.Unit}
		}
		text, args := t.table(0, []string{"BIGINT", "BIGINT"}, rows)
		_, err := t.exec(ctx, "drop match blocks", "DELETE FROM match_block WHERE (key, unit) IN ("+text+")", args...)
		return err
	})
}

// RetireMatchKeys has keys of a kind find nobody any more.
func (t *Tx) RetireMatchKeys(ctx context.Context, obj golden.Object, keys []int64) error {
	rows := make([][]any, len(keys))
	for i, k := range keys {
		rows[i] = []any{k, obj == golden.Contact}
	}
	if err := t.insert(ctx, "write common match keys", "INSERT INTO match_common (key, contact)", "ON CONFLICT (key) DO NOTHING", rows); err != nil {
		return err
	}
	return chunks(t.Reader, keys, func(keys []int64) error {
		_, err := t.exec(ctx, "drop match keys that too many have", "DELETE FROM match_block WHERE key "+t.among(0, len(keys)), bound(t.Reader, nil, keys)...)
		return err
	})
}

// AddMatchDue has golden records matched soon.
func (t *Tx) AddMatchDue(ctx context.Context, ids []golden.ID, at time.Time) error {
	rows := make([][]any, len(ids))
	for i, id := range ids {
		rows[i] = []any{string(id), db.Micros(at)}
	}
	return t.insert(ctx, "mark for matching", "INSERT INTO match_due (golden_id, due_us)", "ON CONFLICT (golden_id) DO NOTHING", rows)
}

// TakeMatchDue takes golden records that are due to be matched, the longest waiting first.
func (t *Tx) TakeMatchDue(ctx context.Context, now time.Time, limit int) ([]golden.ID, error) {
	var ids []golden.ID
	err := t.query(ctx, "read who waits for matching", "SELECT golden_id FROM match_due WHERE due_us <= $1 ORDER BY due_us, golden_id LIMIT $2", []any{db.Micros(now), limit}, func(rows *sql.Rows) error {
		var id golden.ID
		err := rows.Scan(&id)
		ids = append(ids, id)
		return err
	})
	if err != nil {
		return nil, err
	}
	return ids, t.DropMatchDue(ctx, ids)
}

// MatchWaits reports whether a golden record is due to be matched.
func (r Reader) MatchWaits(ctx context.Context, now time.Time) (waits bool, err error) {
	err = r.query(ctx, "read whether anything waits for matching", "SELECT golden_id FROM match_due WHERE due_us <= $1 LIMIT 1", []any{db.Micros(now)},
		func(rows *sql.Rows) error {
			var id string
			waits = true
			return rows.Scan(&id)
		})
	return waits, err
}

// DropMatchDue notes that golden records were matched.
func (t *Tx) DropMatchDue(ctx context.Context, ids []golden.ID) error {
	return chunks(t.Reader, ids, func(ids []golden.ID) error {
		_, err := t.exec(ctx, "note what was matched", "DELETE FROM match_due WHERE golden_id "+t.among(0, len(ids)), bound(t.Reader, nil, texts(ids))...)
		return err
	})
}

// stateOf returns the names under which the model and the mode of a kind are kept.
func stateOf(obj golden.Object) (model, mode string) {
	if obj == golden.Contact {
		return "contact model", "contact mode"
	}
	return "model", "mode"
}

// MatchModel returns the digest of the model that the index of a kind was built with, and the mode; empty when there is none.
func (r Reader) MatchModel(ctx context.Context, obj golden.Object) (model, mode string, err error) {
	modelName, modeName := stateOf(obj)
	err = r.query(ctx, "read the model of the index", "SELECT name, value FROM match_state", nil, func(rows *sql.Rows) error {
		var name, value string
		err := rows.Scan(&name, &value)
		switch name {
		case modelName:
			model = value
		case modeName:
			mode = value
		}
		return err
	})
	return model, mode, err
}

// EmptyMatching throws the index and the scores of a kind away. What was joined and what people have said stays.
func (t *Tx) EmptyMatching(ctx context.Context, obj golden.Object) error {
	above, below := unitRange(obj)
	for _, text := range []string{"DELETE FROM match_block WHERE unit > $1 AND unit < $2", "DELETE FROM match_edge WHERE a > $1 AND a < $2"} {
		if _, err := t.exec(ctx, "empty the index of matching", text, above, below); err != nil {
			return err
		}
	}
	if _, err := t.exec(ctx, "empty the index of matching", "DELETE FROM match_common WHERE contact = $1", obj == golden.Contact); err != nil {
		return err
	}
	_, err := t.exec(ctx, "empty the index of matching", "UPDATE match_unit SET live = $1, record = $2, keys = $2 WHERE number > $3 AND number < $4",
		false, []byte{}, above, below)
	return err
}

// MatchAgain has every live golden record of a kind matched, and notes by which model and in which mode.
func (t *Tx) MatchAgain(ctx context.Context, obj golden.Object, model, mode string, at time.Time) error {
	_, err := t.exec(ctx, "match everything again", `INSERT INTO match_due (golden_id, due_us) SELECT id, CAST($1 AS BIGINT) FROM golden
		WHERE object = $2 AND NOT deleted AND merged_into = '' ON CONFLICT (golden_id) DO NOTHING`, db.Micros(at), string(obj))
	if err != nil {
		return err
	}
	return t.NoteMatching(ctx, obj, model, mode)
}

// NoteMatching notes by which model, and in which mode, the index of a kind is kept.
func (t *Tx) NoteMatching(ctx context.Context, obj golden.Object, model, mode string) error {
	modelName, modeName := stateOf(obj)
	return t.insert(ctx, "note the model of the index", "INSERT INTO match_state (name, value)", "ON CONFLICT (name) DO UPDATE SET value = excluded.value",
		[][]any{{modelName, model}, {modeName, mode}})
}

// DropMatchDueOf has nothing of a kind matched that waits for it.
func (t *Tx) DropMatchDueOf(ctx context.Context, obj golden.Object) error {
	first, last := idRange(obj)
	_, err := t.exec(ctx, "forget what waits for matching", "DELETE FROM match_due WHERE golden_id >= $1 AND golden_id < $2", first, last)
	return err
}

// idRange returns between which texts the ids of a kind are, the first included: they begin with c or p.
func idRange(obj golden.Object) (first, last string) {
	if obj == golden.Contact {
		return "p", "q"
	}
	return "c", "d"
}

// MergedBelow returns the golden records that were merged into others, with what each was merged into.
func (r Reader) MergedBelow(ctx context.Context, ids []golden.ID) (map[golden.ID]golden.ID, error) {
	out := map[golden.ID]golden.ID{}
	err := chunks(r, ids, func(ids []golden.ID) error {
		return r.query(ctx, "read what was merged", "SELECT id, merged_into FROM golden WHERE merged_into <> '' AND merged_into "+r.among(0, len(ids)),
			bound(r, nil, texts(ids)), func(rows *sql.Rows) error {
				var id, into golden.ID
				err := rows.Scan(&id, &into)
				out[id] = into
				return err
			})
	})
	return out, err
}

// Standing is what has become of a golden record.
type Standing struct {
	Deleted    bool
	MergedInto golden.ID
	// Below are those that were merged into it themselves.
	Below []golden.ID
}

// Standing returns what has become of a golden record; nil when it is not known.
func (r Reader) Standing(ctx context.Context, id golden.ID) (*Standing, error) {
	var out *Standing
	var below []golden.ID
	err := r.query(ctx, "read what has become of a golden record", `SELECT id, deleted, merged_into FROM golden WHERE id = $1
		UNION ALL SELECT id, deleted, merged_into FROM golden WHERE merged_into <> '' AND merged_into = $1`, []any{string(id)}, func(rows *sql.Rows) error {
		var one golden.ID
		var s Standing
		err := rows.Scan(&one, &s.Deleted, &s.MergedInto)
		if one == id {
			out = &s
		} else {
			below = append(below, one)
		}
		return err
	})
	if out != nil {
		out.Below = below
	}
	return out, err
}
