package store

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/selfsame-io/selfsame/pkg/db"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
)

// Source is one record of one system, as known here. Treat it as immutable: change a Clone.
type Source struct {
	Ref golden.Ref
	// GoldenID is the golden record it belongs to.
	GoldenID golden.ID
	// ParentID is the record id of a contact's customer in the same system; ParentOpen is true while that record is unknown.
	ParentID   string
	ParentOpen bool
	// ExternalID is what the system holds.
	ExternalID string
	// Version is the newest one seen or acknowledged; EventTime belongs to it.
	Version   int64
	EventTime time.Time
	Deleted   bool
	// Shadow are the values the system is known to hold: last seen or last acknowledged.
	Shadow golden.Values
	// Claims are what the record says, by field, as survive.Absorb keeps them.
	Claims map[string][]golden.Claim
	// Rewritten are fields in which the system turned what was written into something else.
	Rewritten map[string]Rewrite
	// ScanEpoch is the last scan that met the record.
	ScanEpoch int64
	// LastChangeID is the newest change taken in.
	LastChangeID string
	// MergedInto is the record of the same system that a merge there put in this one's place; its claims say nothing
	// while it is set.
	MergedInto string
	// Removed is true when the record was, or is about to be, deleted by us: no person has said anything by its deletion.
	Removed bool
}

// Rewrite says that a system, asked to hold Wrote, holds Holds instead; this happened Times times in a row.
type Rewrite struct {
	Wrote string `json:"w,omitempty"`
	Holds string `json:"h,omitempty"`
	Times int    `json:"n,omitempty"`
}

// Clone returns a copy that shares nothing that can be changed.
func (s *Source) Clone() *Source {
	c := *s
	c.Shadow, c.Claims, c.Rewritten = maps.Clone(s.Shadow), maps.Clone(s.Claims), maps.Clone(s.Rewritten)
	if c.Shadow == nil {
		c.Shadow = golden.Values{}
	}
	if c.Claims == nil {
		c.Claims = map[string][]golden.Claim{}
	}
	if c.Rewritten == nil {
		c.Rewritten = map[string]Rewrite{}
	}
	return &c
}

const sourceColumns = `system, object, record_id, golden_id, parent_id, parent_open, external_id, version, event_us,
	deleted, shadow, claims, rewritten, scan_epoch, last_change_id, merged_into, removed`

// sourceText is the part of a record that is JSON.
type sourceText struct{ shadow, claims, rewritten string }

func scanSource(rows db.Scanner) (*Source, sourceText, error) {
	var s Source
	var text sourceText
	var event int64
	err := rows.Scan(&s.Ref.System, (*string)(&s.Ref.Object), &s.Ref.RecordID, (*string)(&s.GoldenID), &s.ParentID, &s.ParentOpen, &s.ExternalID, &s.Version, &event,
		&s.Deleted, &text.shadow, &text.claims, &text.rewritten, &s.ScanEpoch, &s.LastChangeID, &s.MergedInto, &s.Removed)
	s.EventTime = db.FromMicros(event)
	return &s, text, err
}

func (s *Source) read(text sourceText) (err error) {
	if s.Shadow, err = valuesOf(text.shadow); err != nil {
		return fmt.Errorf("shadow of %s %s: %w", s.Ref.System, s.Ref.RecordID, err)
	}
	if s.Claims, err = claimsOf(s.Ref, text.claims); err != nil {
		return fmt.Errorf("claims of %s %s: %w", s.Ref.System, s.Ref.RecordID, err)
	}
	if text.rewritten != "" {
		if err := json.Unmarshal([]byte(text.rewritten), &s.Rewritten); err != nil {
			return fmt.Errorf("rewritten fields of %s %s: %w", s.Ref.System, s.Ref.RecordID, err)
		}
	}
	return nil
}

func readSources(records []*Source, texts []sourceText) error {
	for i, s := range records {
		if err := s.read(texts[i]); err != nil {
			return err
		}
	}
	return nil
}

// readAtOnce is how many records are worth to be made of their texts while the next ones come from the database.
const readAtOnce = 64

func (r Reader) sources(ctx context.Context, what, where string, args []any) ([]*Source, error) {
	var out []*Source
	var unread []sourceText
	var reading errgroup.Group
	err := r.many(ctx, what, "SELECT "+sourceColumns+" FROM source_record WHERE "+where, args, func(rows db.Scanner) error {
		s, text, err := scanSource(rows)
		if err != nil {
			return err
		}
		if out, unread = append(out, s), append(unread, text); len(unread) == readAtOnce {
			some, texts := out[len(out)-len(unread):], unread
			unread = make([]sourceText, 0, readAtOnce)
			reading.Go(func() error { return readSources(some, texts) })
		}
		return nil
	})
	err = cmp.Or(err, readSources(out[len(out)-len(unread):], unread))
	return out, cmp.Or(err, reading.Wait())
}

// Sources returns the records of a system with these ids; those unknown are left out.
func (r Reader) Sources(ctx context.Context, system string, obj golden.Object, ids []string) ([]*Source, error) {
	var out []*Source
	err := chunks(r, ids, func(ids []string) error {
		got, err := r.sources(ctx, "read source records", "system = $1 AND object = $2 AND record_id "+r.oneOf(2, len(ids)),
			bound(r, []any{system, string(obj)}, ids))
		out = append(out, got...)
		return err
	})
	return out, err
}

// Known is as little of a record as tells what has to be looked at.
type Known struct {
	GoldenID golden.ID
	Version  int64
	Deleted  bool
}

// Known returns what is known of the records of a system by id; those unknown are left out.
func (r Reader) Known(ctx context.Context, system string, obj golden.Object, ids []string) (map[string]Known, error) {
	out := make(map[string]Known, len(ids))
	err := chunks(r, ids, func(ids []string) error {
		return r.many(ctx, "look for source records", "SELECT record_id, golden_id, version, deleted FROM source_record WHERE system = $1 AND object = $2 AND record_id "+
			r.oneOf(2, len(ids)), bound(r, []any{system, string(obj)}, ids), func(rows db.Scanner) error {
			var id string
			var k Known
			err := rows.Scan(&id, (*string)(&k.GoldenID), &k.Version, &k.Deleted)
			out[id] = k
			return err
		})
	})
	return out, err
}

// SourcesOf returns all records, tombstones included, of golden records, ordered by system and record id.
func (r Reader) SourcesOf(ctx context.Context, ids []golden.ID) ([]*Source, error) {
	var out []*Source
	err := chunks(r, ids, func(ids []golden.ID) error {
		got, err := r.sources(ctx, "read records of golden records", "golden_id "+r.oneOf(0, len(ids)), bound(r, nil, texts(ids)))
		out = append(out, got...)
		return err
	})
	if err != nil {
		return nil, err
	}
	// Here, not in the database: there it would compare texts as people do, and carry whole records about.
	slices.SortFunc(out, func(a, b *Source) int {
		return cmp.Or(cmp.Compare(a.Ref.System, b.Ref.System), cmp.Compare(a.Ref.Object, b.Ref.Object), cmp.Compare(a.Ref.RecordID, b.Ref.RecordID))
	})
	return out, nil
}

// Orphans returns contacts of a system whose customer was unknown until now and has one of these record ids.
func (r Reader) Orphans(ctx context.Context, system string, parents []string) ([]*Source, error) {
	var out []*Source
	err := chunks(r, parents, func(ids []string) error {
		got, err := r.sources(ctx, "read orphans", "system = $1 AND parent_id "+r.among(1, len(ids))+" AND parent_open",
			bound(r, []any{system}, ids))
		out = append(out, got...)
		return err
	})
	return out, err
}

// LosersTo returns the records of a system that a merge there put one of these records in the place of.
func (r Reader) LosersTo(ctx context.Context, system string, obj golden.Object, ids []string) ([]*Source, error) {
	var out []*Source
	err := chunks(r, ids, func(ids []string) error {
		// Without the kind, which SQLite would rather look by: it then reads every record of the system.
		got, err := r.sources(ctx, "read merged records", "system = $1 AND merged_into <> '' AND merged_into "+r.among(1, len(ids))+" ORDER BY record_id",
			bound(r, []any{system}, ids))
		for _, s := range got {
			if err == nil && s.Ref.Object == obj {
				out = append(out, s)
			}
		}
		return err
	})
	return out, err
}

// Unmet returns live records, by record id after `after`, that no scan since epoch has met.
func (r Reader) Unmet(ctx context.Context, system string, obj golden.Object, epoch int64, after string, limit int) ([]*Source, error) {
	return r.sources(ctx, "read unmet records", `system = $1 AND object = $2 AND record_id > $3 AND scan_epoch < $4 AND NOT deleted
		ORDER BY record_id LIMIT $5`, []any{system, string(obj), after, epoch, limit})
}

// PutSources writes records as they are given.
func (t *Tx) PutSources(ctx context.Context, records []*Source) error {
	rows := make([][]any, 0, len(records))
	var text []byte
	for _, s := range records {
		var rewritten []byte
		if len(s.Rewritten) > 0 {
			var err error
			if rewritten, err = json.Marshal(s.Rewritten); err != nil {
				return fmt.Errorf("rewritten fields of %s %s: %w", s.Ref.System, s.Ref.RecordID, err)
			}
		}
		text = appendValues(text[:0], s.Shadow)
		shadow := string(text)
		text = appendClaims(text[:0], s.Claims)
		rows = append(rows, []any{
			s.Ref.System, string(s.Ref.Object), s.Ref.RecordID, string(s.GoldenID), s.ParentID, s.ParentOpen, s.ExternalID,
			s.Version, db.Micros(s.EventTime), s.Deleted, shadow, string(text), string(rewritten), s.ScanEpoch, s.LastChangeID, s.MergedInto, s.Removed,
		})
	}
	return t.put(ctx, "write source records", upsert{
		into: "source_record (" + sourceColumns + ")", key: "system, object, record_id",
		indexed: []string{"golden_id", "parent_id", "parent_open", "merged_into"},
		free: []string{
			"external_id", "version", "event_us", "deleted", "shadow", "claims", "rewritten", "scan_epoch", "last_change_id", "removed",
		},
	}, rows)
}

// Meet notes that the scan epoch has met records which are otherwise unchanged.
func (t *Tx) Meet(ctx context.Context, system string, obj golden.Object, epoch int64, ids []string) error {
	return chunks(t.Reader, ids, func(ids []string) error {
		_, err := t.exec(ctx, "note scanned records", "UPDATE source_record SET scan_epoch = $1 WHERE system = $2 AND object = $3 AND record_id "+
			t.among(3, len(ids)), bound(t.Reader, []any{epoch, system, string(obj)}, ids)...)
		return err
	})
}

func texts(ids []golden.ID) []string {
	out := make([]string, len(ids))
	for i, id := range ids {
		out[i] = string(id)
	}
	return out
}

// Sent is a value that was sent to a system.
type Sent struct {
	Value string `json:"v,omitempty"`
	// Acked is true when the system has acknowledged it without telling the new version.
	Acked bool `json:"a,omitempty"`
	// Open is true when it was sent more than once, and some call was never answered.
	Open bool `json:"o,omitempty"`
	// Past is true when the field has been seen with another value since.
	Past bool `json:"p,omitempty"`
}

// Intent are the values sent to one record of a system and not seen in its feed yet, oldest first by field. A record
// that is being created has no RecordID.
type Intent struct {
	System   string
	GoldenID golden.ID
	RecordID string
	Sent     map[string][]Sent
	// Late are values, by field, of calls that were never answered and were overtaken: they may still arrive.
	Late map[string][]string
	At   time.Time
}

// intentText is an intent as stored: the values of before are listed with those of now.
type intentText struct {
	Sent
	Late bool `json:"l,omitempty"`
}

func (i *Intent) text() ([]byte, error) {
	out := map[string][]intentText{}
	for field, list := range i.Late {
		for _, value := range list {
			out[field] = append(out[field], intentText{Sent: Sent{Value: value}, Late: true})
		}
	}
	for field, list := range i.Sent {
		for _, s := range list {
			out[field] = append(out[field], intentText{Sent: s})
		}
	}
	return json.Marshal(out)
}

func (i *Intent) read(text string) error {
	var in map[string][]intentText
	if err := json.Unmarshal([]byte(text), &in); err != nil {
		return err
	}
	i.Sent = map[string][]Sent{}
	for field, list := range in {
		for _, s := range list {
			if !s.Late {
				i.Sent[field] = append(i.Sent[field], s.Sent)
				continue
			}
			if i.Late == nil {
				i.Late = map[string][]string{}
			}
			i.Late[field] = append(i.Late[field], s.Value)
		}
	}
	return nil
}

// Intents returns the intents of golden records towards one system.
func (r Reader) Intents(ctx context.Context, system string, ids []golden.ID) ([]Intent, error) {
	var out []Intent
	err := chunks(r, ids, func(ids []golden.ID) error {
		return r.query(ctx, "read intents", "SELECT system, golden_id, record_id, sent, at_us FROM intent WHERE system = $1 AND golden_id "+
			r.oneOf(1, len(ids)), bound(r, []any{system}, texts(ids)), func(rows *sql.Rows) error {
			var i Intent
			var sent string
			var at int64
			if err := rows.Scan(&i.System, &i.GoldenID, &i.RecordID, &sent, &at); err != nil {
				return err
			}
			i.At = db.FromMicros(at)
			if err := i.read(sent); err != nil {
				return fmt.Errorf("intent of %s: %w", i.GoldenID, err)
			}
			out = append(out, i)
			return nil
		})
	})
	return out, err
}

// PutIntents writes intents as they are given.
func (t *Tx) PutIntents(ctx context.Context, intents []Intent) error {
	rows := make([][]any, 0, len(intents))
	for _, i := range intents {
		sent, err := i.text()
		if err != nil {
			return fmt.Errorf("intent of %s: %w", i.GoldenID, err)
		}
		rows = append(rows, []any{i.System, string(i.GoldenID), i.RecordID, string(sent), db.Micros(i.At)})
	}
	return t.insert(ctx, "write intents", "INSERT INTO intent (system, golden_id, record_id, sent, at_us)",
		"ON CONFLICT (system, golden_id, record_id) DO UPDATE SET sent = excluded.sent, at_us = excluded.at_us", rows)
}

// DropIntents removes intents by their key.
func (t *Tx) DropIntents(ctx context.Context, intents []Intent) error {
	return chunks(t.Reader, intents, func(intents []Intent) error {
		rows := make([][]any, len(intents))
		for i, in := range intents {
			rows[i] = []any{in.System, string(in.GoldenID), in.RecordID}
		}
		text, args := t.table(0, []string{"TEXT", "TEXT", "TEXT"}, rows)
		_, err := t.exec(ctx, "drop intents", "DELETE FROM intent WHERE (system, golden_id, record_id) IN ("+text+")", args...)
		return err
	})
}
