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
	trail, err := t.Prepare(ctx, events)
	if err != nil {
		return err
	}
	return t.AddTrail(ctx, trail)
}

// Trail are events on their way into the audit trail.
type Trail struct {
	events  []Event
	keys    map[string][]byte // of their subjects
	fresh   map[string][]byte // those that are being made
	making  *aside            // until it is over, keys and fresh belong to it
	entries []audit.Entry     // nil until they are sealed
}

// Prepare has the keys at hand with which the events are sealed. Those that are new are made; on PostgreSQL the caller may go on
// meanwhile.
func (t *Tx) Prepare(ctx context.Context, events []Event) (*Trail, error) {
	trail := &Trail{events: events}
	if len(events) == 0 {
		return trail, nil
	}
	var subjects []string
	seen, created := map[string]bool{}, map[string]bool{}
	for i := range events {
		if s := subject(events[i].GoldenID, events[i].System, events[i].RecordID); !seen[s] && len(events[i].Changes)+len(events[i].Note) > 0 {
			seen[s] = true
			subjects = append(subjects, s)
			created[s] = events[i].Kind == "created"
		}
	}
	var err error
	if trail.keys, err = t.keysKnown(ctx, subjects, created); err != nil {
		return nil, err
	}
	trail.fresh, trail.making, err = t.makeKeys(ctx, subjects, trail.keys)
	return trail, err
}

// Seal makes entries of events. It is for callers that have something else written meanwhile: AddTrail sees to it, too.
func (t *Tx) Seal(ctx context.Context, trail *Trail) error {
	if trail.entries != nil || len(trail.events) == 0 {
		return nil
	}
	if err := t.ownKeys(ctx, trail); err != nil {
		return err
	}
	var err error
	trail.entries, err = sealed(ctx, trail.events, trail.keys)
	return err
}

// AddTrail appends what was prepared. It is the same as AddEvents with its events.
func (t *Tx) AddTrail(ctx context.Context, trail *Trail) error {
	if len(trail.events) == 0 {
		return nil
	}
	if err := t.Seal(ctx, trail); err != nil {
		return err
	}
	entries := trail.entries
	var last int64
	var prev []byte
	err := t.tx.QueryRowContext(ctx, "UPDATE sequence SET value = value + $1 WHERE name = 'event' RETURNING value, hash", len(entries)).Scan(&last, &prev)
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
	return t.tx.behind(ctx, "end the chain of events", "UPDATE sequence SET hash = $1 WHERE name = 'event'", []any{prev})
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
func sealed(ctx context.Context, events []Event, keys map[string][]byte) ([]audit.Entry, error) {
	actor := caller.From(ctx).Name
	out := make([]audit.Entry, len(events))
	for i := range events {
		e := &events[i]
		out[i] = audit.Entry{
			Micros: db.Micros(e.At), GoldenID: string(e.GoldenID), Kind: e.Kind, System: e.System, RecordID: e.RecordID, ChangeID: e.ChangeID,
			Fields: strings.Join(e.Fields, ","), Reason: e.Reason, Traceparent: e.Traceparent, Actor: e.Actor,
		}
		if e.Actor == "" {
			out[i].Actor = actor
		}
		if d := (audit.Detail{Fields: e.Changes, Note: e.Note}); !d.Empty() {
			s := subject(e.GoldenID, e.System, e.RecordID)
			var err error
			if out[i].Detail, err = audit.Seal(keys[s], s, d); err != nil {
				return nil, err
			}
		}
	}
	return out, nil
}

// Expect says that AddEvents will be called with events about golden records that are there, so that on PostgreSQL what it needs
// is read while the caller works out what has happened. Take LockIdentity first: nobody destroys a key meanwhile. It is about speed
// only, once in a transaction.
func (t *Tx) Expect(ctx context.Context, ids []golden.ID) error {
	if !t.tx.arrays || len(ids) == 0 || len(ids) > t.most() || t.keys != nil {
		return nil
	}
	keys := make(map[string][]byte, len(ids))
	var err error
	t.reading, err = t.tx.ask(ctx, "read subject keys", keysAmong+t.oneOf(0, len(ids)), bound(t.Reader, nil, texts(ids)), keyInto(keys))
	t.keys = keys
	return err
}

// keysKnown returns the keys of subjects that exist: read ahead, or now. Those that were just created are not looked for.
func (t *Tx) keysKnown(ctx context.Context, subjects []string, created map[string]bool) (map[string][]byte, error) {
	if err := t.reading.wait(); err != nil {
		return nil, err
	}
	keys := make(map[string][]byte, len(subjects))
	var unread []string
	for _, s := range subjects {
		if key := t.keys[s]; key != nil {
			keys[s] = key
		} else if !created[s] {
			unread = append(unread, s)
		}
	}
	read, err := t.readKeys(ctx, unread)
	maps.Copy(keys, read)
	return keys, err
}

// makeKeys makes the keys of subjects that have none. Until that is over keys, to which they are added, and those returned, of
// which the ones remain that somebody else has made, are not to be looked at.
func (t *Tx) makeKeys(ctx context.Context, subjects []string, keys map[string][]byte) (fresh map[string][]byte, making *aside, err error) {
	var rows [][]any
	fresh = map[string][]byte{}
	for _, s := range subjects {
		if keys[s] == nil && fresh[s] == nil {
			fresh[s] = audit.NewKey()
			rows = append(rows, []any{s, fresh[s], db.Micros(time.Now())})
		}
	}
	err = chunks(t.Reader, rows, func(rows [][]any) error {
		text, args := t.table(0, nil, rows)
		t.inserted += int64(len(rows))
		making, err = t.tx.ask(ctx, "make subject keys", "INSERT INTO subject_key (subject, key, created_us) "+text+" ON CONFLICT (subject) DO NOTHING RETURNING subject", args,
			func(rows db.Scanner) error {
				var s string
				err := rows.Scan(&s)
				keys[s] = fresh[s]
				delete(fresh, s)
				return err
			})
		return err
	})
	return fresh, making, err
}

// ownKeys sees to it that every subject has its key: two that make one at once end with the one that is stored, and so does one
// who thought that there is none.
func (t *Tx) ownKeys(ctx context.Context, trail *Trail) error {
	if err := trail.making.wait(); err != nil || len(trail.fresh) == 0 {
		return err
	}
	stored, err := t.readKeys(ctx, slices.Sorted(maps.Keys(trail.fresh)))
	maps.Copy(trail.keys, stored)
	trail.fresh = nil
	return err
}

// subjectKeys returns the keys of subjects and makes those that are new. Created are subjects that hardly have one yet.
func (t *Tx) subjectKeys(ctx context.Context, subjects []string, created map[string]bool) (map[string][]byte, error) {
	keys, err := t.keysKnown(ctx, subjects, created)
	if err != nil {
		return nil, err
	}
	trail := &Trail{keys: keys}
	if trail.fresh, trail.making, err = t.makeKeys(ctx, subjects, keys); err != nil {
		return nil, err
	}
	return keys, t.ownKeys(ctx, trail)
}

func (r Reader) readKeys(ctx context.Context, subjects []string) (map[string][]byte, error) {
	out := map[string][]byte{}
	err := chunks(r, subjects, func(subjects []string) error {
		return r.many(ctx, "read subject keys", keysAmong+r.oneOf(0, len(subjects)), bound(r, nil, subjects), keyInto(out))
	})
	return out, err
}

const keysAmong = "SELECT subject, key FROM subject_key WHERE subject "

func keyInto(out map[string][]byte) func(db.Scanner) error {
	return func(rows db.Scanner) error {
		var s string
		var key []byte
		err := rows.Scan(&s, &key)
		out[s] = key
		return err
	}
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
