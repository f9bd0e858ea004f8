package store

import (
	"context"
	"database/sql"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/selfsame-io/selfsame/pkg/caller"
	"github.com/selfsame-io/selfsame/pkg/db"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/audit"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
)

// Event is one thing that happened to a golden record, or that an operator did. Only Changes and Note hold values; they
// are stored sealed and come back from Details alone.
type Event struct {
	Position    int64
	At          time.Time
	GoldenID    golden.ID
	Kind        string
	System      string
	RecordID    string
	ChangeID    string
	Fields      []string
	Reason      string
	Traceparent string
	// Actor is who caused it: the caller of the RPC under way; empty for the service itself.
	Actor string
	// Changes are the values before and after; Note is what a person wrote.
	Changes []audit.Field
	Note    string
}

const eventColumns = "position, at_us, golden_id, kind, system, record_id, change_id, fields, reason, traceparent, actor, detail, hash"

// AddEvents appends to the audit trail, in commit order: whoever appends waits for those before it to commit. Take
// LockIdentity first where both are needed.
func (t *Tx) AddEvents(ctx context.Context, events []Event) error {
	if len(events) == 0 {
		return nil
	}
	entries, err := t.sealed(ctx, events)
	if err != nil {
		return err
	}
	var last int64
	var prev []byte
	err = t.tx.QueryRowContext(ctx, "UPDATE sequence SET value = value + $1 WHERE name = 'event' RETURNING value, hash", len(events)).Scan(&last, &prev)
	if err != nil {
		return fmt.Errorf("number events: %w", err)
	}
	rows := make([][]any, len(entries))
	for i := range entries {
		e := &entries[i]
		e.Position = last - int64(len(entries)) + int64(i) + 1
		e.Hash = e.Sum(prev)
		prev = e.Hash
		rows[i] = []any{
			e.Position, e.Micros, e.GoldenID, e.Kind, e.System, e.RecordID, e.ChangeID, e.Fields, e.Reason, e.Traceparent, e.Actor, e.Detail, e.Hash,
		}
	}
	if err := t.insert(ctx, "write events", "INSERT INTO event ("+eventColumns+")", "", rows); err != nil {
		return err
	}
	_, err = t.exec(ctx, "end the chain of events", "UPDATE sequence SET hash = $1 WHERE name = 'event'", prev)
	return err
}

// subject is whose data the detail of an event is.
func subject(id golden.ID, system, recordID string) string {
	switch {
	case id != "":
		return string(id)
	case recordID != "":
		return system + "/" + recordID
	default:
		return "operations"
	}
}

// sealed returns the events as entries without position and hash.
func (t *Tx) sealed(ctx context.Context, events []Event) ([]audit.Entry, error) {
	var subjects []string
	seen := map[string]bool{}
	for i := range events {
		if s := subject(events[i].GoldenID, events[i].System, events[i].RecordID); !seen[s] && len(events[i].Changes)+len(events[i].Note) > 0 {
			seen[s] = true
			subjects = append(subjects, s)
		}
	}
	keys, err := t.subjectKeys(ctx, subjects)
	if err != nil {
		return nil, err
	}
	actor := caller.From(ctx).Name
	out := make([]audit.Entry, len(events))
	for i, e := range events {
		out[i] = audit.Entry{
			Micros: db.Micros(e.At), GoldenID: string(e.GoldenID), Kind: e.Kind, System: e.System, RecordID: e.RecordID, ChangeID: e.ChangeID,
			Fields: strings.Join(e.Fields, ","), Reason: e.Reason, Traceparent: e.Traceparent, Actor: e.Actor,
		}
		if e.Actor == "" {
			out[i].Actor = actor
		}
		if d := (audit.Detail{Fields: e.Changes, Note: e.Note}); !d.Empty() {
			s := subject(e.GoldenID, e.System, e.RecordID)
			if out[i].Detail, err = audit.Seal(keys[s], s, d); err != nil {
				return nil, err
			}
		}
	}
	return out, nil
}

// subjectKeys returns the keys of subjects and makes those that are new.
func (t *Tx) subjectKeys(ctx context.Context, subjects []string) (map[string][]byte, error) {
	keys, err := t.readKeys(ctx, subjects)
	if err != nil {
		return nil, err
	}
	var rows [][]any
	fresh := map[string][]byte{}
	for _, s := range subjects {
		if keys[s] == nil && fresh[s] == nil {
			fresh[s] = audit.NewKey()
			rows = append(rows, []any{s, fresh[s], db.Micros(time.Now())})
		}
	}
	err = chunks(t.Reader, rows, func(rows [][]any) error {
		text, args := t.table(0, nil, rows)
		t.inserted += int64(len(rows))
		return t.query(ctx, "make subject keys", "INSERT INTO subject_key (subject, key, created_us) "+text+" ON CONFLICT (subject) DO NOTHING RETURNING subject", args,
			func(rows *sql.Rows) error {
				var s string
				err := rows.Scan(&s)
				keys[s] = fresh[s]
				delete(fresh, s)
				return err
			})
	})
	if err != nil || len(fresh) == 0 {
		return keys, err
	}
	// Two that make a key at once end with the one that is stored.
	stored, err := t.readKeys(ctx, slices.Sorted(maps.Keys(fresh)))
	maps.Copy(keys, stored)
	return keys, err
}

func (r Reader) readKeys(ctx context.Context, subjects []string) (map[string][]byte, error) {
	out := map[string][]byte{}
	err := chunks(r, subjects, func(subjects []string) error {
		return r.query(ctx, "read subject keys", "SELECT subject, key FROM subject_key WHERE subject "+r.among(0, len(subjects)), bound(r, nil, subjects),
			func(rows *sql.Rows) error {
				var s string
				var key []byte
				err := rows.Scan(&s, &key)
				out[s] = key
				return err
			})
	})
	return out, err
}

// ListEvents returns the events of a golden record after a position, oldest first, without values.
func (r Reader) ListEvents(ctx context.Context, id golden.ID, after int64, limit int) ([]Event, error) {
	entries, err := r.entries(ctx, "golden_id = $1 AND position > $2 ORDER BY position LIMIT $3", []any{string(id), after, limit})
	out := make([]Event, 0, len(entries))
	for i := range entries {
		out = append(out, eventOf(&entries[i]))
	}
	return out, err
}

func eventOf(e *audit.Entry) Event {
	out := Event{
		Position: e.Position, At: db.FromMicros(e.Micros), GoldenID: golden.ID(e.GoldenID), Kind: e.Kind, System: e.System, RecordID: e.RecordID,
		ChangeID: e.ChangeID, Reason: e.Reason, Traceparent: e.Traceparent, Actor: e.Actor,
	}
	if e.Fields != "" {
		out.Fields = strings.Split(e.Fields, ",")
	}
	return out
}

func (r Reader) entries(ctx context.Context, where string, args []any) ([]audit.Entry, error) {
	var out []audit.Entry
	err := r.query(ctx, "read events", "SELECT "+eventColumns+" FROM event WHERE "+where, args, func(rows *sql.Rows) error {
		var e audit.Entry
		err := rows.Scan(&e.Position, &e.Micros, &e.GoldenID, &e.Kind, &e.System, &e.RecordID, &e.ChangeID, &e.Fields, &e.Reason, &e.Traceparent,
			&e.Actor, &e.Detail, &e.Hash)
		out = append(out, e)
		return err
	})
	return out, err
}
