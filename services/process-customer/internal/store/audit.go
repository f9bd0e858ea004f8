package store

import (
	"context"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/selfsame-io/selfsame/pkg/db"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/audit"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
)

var _ audit.Chain = Reader{}

// AuditFilter says which events are meant; an empty field means all.
type AuditFilter struct {
	GoldenID golden.ID
	// Operators means those about no golden record: what operators did to the service itself.
	Operators bool
	// System and RecordID are those of the event, Field is among its fields.
	System, RecordID, Field, Kind, Actor string
	// From and Until bound the time, Until excluded.
	From, Until time.Time
}

// Audited is an event with what is sealed in it.
type Audited struct {
	Event
	Hash []byte
	// Erased is true when there were values and their key has been destroyed.
	Erased bool
}

// Audit returns events after a position, oldest first, with their values when asked to.
func (r Reader) Audit(ctx context.Context, f AuditFilter, values bool, after int64, limit int) ([]Audited, error) {
	where := []string{"position > $1"}
	args := []any{after}
	add := func(cond string, value any) {
		args = append(args, value)
		where = append(where, strings.ReplaceAll(cond, "?", "$"+strconv.Itoa(len(args))))
	}
	if f.GoldenID != "" || f.Operators {
		add("golden_id = ?", string(f.GoldenID))
	}
	for column, value := range map[string]string{"system": f.System, "record_id": f.RecordID, "kind": f.Kind, "actor": f.Actor} {
		if value != "" {
			add(column+" = ?", value)
		}
	}
	if f.Field != "" {
		add(`',' || fields || ',' LIKE ? ESCAPE '\'`, "%,"+strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`).Replace(f.Field)+",%")
	}
	if !f.From.IsZero() {
		add("at_us >= ?", db.Micros(f.From))
	}
	if !f.Until.IsZero() {
		add("at_us < ?", db.Micros(f.Until))
	}
	args = append(args, limit)
	entries, err := r.entries(ctx, strings.Join(where, " AND ")+" ORDER BY position LIMIT $"+strconv.Itoa(len(args)), args)
	if err != nil {
		return nil, err
	}
	return r.opened(ctx, entries, values)
}

// opened turns entries into events, with their values when asked to.
func (r Reader) opened(ctx context.Context, entries []audit.Entry, values bool) ([]Audited, error) {
	var subjects []string
	for i := range entries {
		if values && len(entries[i].Detail) > 0 {
			subjects = append(subjects, subject(golden.ID(entries[i].GoldenID), entries[i].System, entries[i].RecordID))
		}
	}
	keys, err := r.readKeys(ctx, subjects)
	if err != nil {
		return nil, err
	}
	out := make([]Audited, len(entries))
	for i := range entries {
		e := &entries[i]
		out[i] = Audited{Event: eventOf(e), Hash: e.Hash}
		if !values || len(e.Detail) == 0 {
			continue
		}
		s := subject(golden.ID(e.GoldenID), e.System, e.RecordID)
		if keys[s] == nil {
			out[i].Erased = true
			continue
		}
		d, err := audit.Open(keys[s], s, e.Detail)
		if errors.Is(err, audit.ErrSealed) {
			out[i].Erased = true // sealed with a key that was destroyed before the subject got a new one
			continue
		}
		if err != nil {
			return nil, err
		}
		out[i].Changes, out[i].Note = d.Fields, d.Note
	}
	return out, nil
}

// Head implements audit.Chain.
func (r Reader) Head(ctx context.Context) (audit.Mark, error) {
	var m audit.Mark
	err := r.q.QueryRowContext(ctx, "SELECT value, hash FROM sequence WHERE name = 'event'").Scan(&m.Position, &m.Hash)
	if err != nil {
		return m, fmt.Errorf("read end of the audit: %w", err)
	}
	return m, nil
}

// Beginning implements audit.Chain.
func (r Reader) Beginning(ctx context.Context) (audit.Mark, error) {
	var m audit.Mark
	err := r.q.QueryRowContext(ctx, "SELECT position, hash FROM audit_beginning ORDER BY position DESC LIMIT 1").Scan(&m.Position, &m.Hash)
	if err != nil {
		return m, fmt.Errorf("read beginning of the audit: %w", err)
	}
	return m, nil
}

// Entries implements audit.Chain.
func (r Reader) Entries(ctx context.Context, after int64, limit int) ([]audit.Entry, error) {
	return r.entries(ctx, "position > $1 ORDER BY position LIMIT $2", []any{after, limit})
}

// TrimEvents removes up to limit of the oldest events, those before a time, and returns how many. The hash of the last
// one becomes the beginning of the chain, and the chain says so. Keys of subjects that nothing is sealed for any more go
// with them.
func (t *Tx) TrimEvents(ctx context.Context, before, now time.Time, limit int) (int, error) {
	if err := t.LockIdentity(ctx); err != nil { // nobody seals with a key that goes
		return 0, err
	}
	var last audit.Mark
	n, young := 0, false
	subjects := map[string]bool{}
	err := t.query(ctx, "read old events", "SELECT position, at_us, hash, golden_id, system, record_id FROM event ORDER BY position LIMIT $1", []any{limit},
		func(rows *sql.Rows) error {
			var m audit.Mark
			var at int64
			var id golden.ID
			var system, record string
			if err := rows.Scan(&m.Position, &at, &m.Hash, &id, &system, &record); err != nil {
				return err
			}
			if young = young || at >= db.Micros(before); !young {
				last = m
				n++
				subjects[subject(id, system, record)] = true
			}
			return nil
		})
	if err != nil || n == 0 {
		return 0, err
	}
	if _, err := t.exec(ctx, "trim events", "DELETE FROM event WHERE position <= $1", last.Position); err != nil {
		return 0, err
	}
	if err := t.trimKeys(ctx, slices.Sorted(maps.Keys(subjects))); err != nil {
		return 0, err
	}
	if len(last.Hash) == 0 {
		return n, nil // from before there was a chain
	}
	if _, err := t.exec(ctx, "move beginning of the audit", "DELETE FROM audit_beginning"); err != nil {
		return 0, err
	}
	_, err = t.exec(ctx, "move beginning of the audit", "INSERT INTO audit_beginning (position, hash, at_us) VALUES ($1, $2, $3)",
		last.Position, last.Hash, db.Micros(now))
	if err != nil {
		return 0, err
	}
	return n, t.AddEvents(ctx, []Event{{
		At: now, Kind: audit.KindTrimmed, ChangeID: strconv.FormatInt(last.Position, 10), Reason: hex.EncodeToString(last.Hash),
	}})
}

// trimKeys removes the keys of subjects that no event is about.
func (t *Tx) trimKeys(ctx context.Context, subjects []string) error {
	return chunks(t.Reader, subjects, func(subjects []string) error {
		_, err := t.exec(ctx, "trim subject keys", `DELETE FROM subject_key WHERE subject `+t.among(0, len(subjects))+`
			AND NOT EXISTS (SELECT 1 FROM event e WHERE e.golden_id = subject_key.subject)
			AND NOT EXISTS (SELECT 1 FROM event e WHERE e.golden_id = '' AND (e.system || '/' || e.record_id = subject_key.subject
				OR subject_key.subject = 'operations'))`, bound(t.Reader, nil, subjects)...)
		return err
	})
}

// TrimLetters removes up to limit dead letters that were settled before a time, and returns how many.
func (t *Tx) TrimLetters(ctx context.Context, before time.Time, limit int) (int, error) {
	n, err := t.exec(ctx, "trim dead letters", `DELETE FROM dead_letter WHERE id IN (SELECT id FROM dead_letter WHERE state <> 'OPEN' AND settled_us < $1 LIMIT $2)`,
		db.Micros(before), limit)
	return int(n), err
}
