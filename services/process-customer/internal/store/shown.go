package store

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"slices"

	"github.com/selfsame-io/selfsame/pkg/db"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
)

// Link is a record that belongs to a golden record, without what it holds.
type Link struct {
	Ref golden.Ref
	// Deleted is true for a tombstone.
	Deleted bool
}

// Shown is what a reader of a golden record is shown of it, all of it as it was at one moment.
type Shown struct {
	// Golden has no NameKey.
	Golden *Golden
	// Links are its records, tombstones included, ordered by system and record id.
	Links []Link
	// Marked are the systems that may have to be written, by name.
	Marked []string
}

// What a row of the statement below is.
const (
	shownGolden = iota
	shownLink
	shownMark
)

// One statement: this is the read that every screen makes. It leaves alone what is large and not shown, the claims and
// shadows of the records.
const shownQuery = `SELECT 0, body, merged_into, deleted, version, created_us, updated_us FROM golden WHERE id = $1
	UNION ALL SELECT 1, system, record_id, deleted, 0, 0, 0 FROM source_record WHERE golden_id = $2
	UNION ALL SELECT 2, system, '', FALSE, 0, 0, 0 FROM pending WHERE golden_id = $3`

// Shown returns what is shown of a golden record, or ErrNotFound.
func (r Reader) Shown(ctx context.Context, id golden.ID) (*Shown, error) {
	out, obj := &Shown{}, id.Object()
	err := r.query(ctx, "read what is shown", shownQuery, []any{string(id), string(id), string(id)}, func(rows *sql.Rows) error {
		var kind int
		var first, second string
		var deleted bool
		var version, created, updated int64
		if err := rows.Scan(&kind, &first, &second, &deleted, &version, &created, &updated); err != nil {
			return err
		}
		switch kind {
		case shownGolden:
			values, err := valuesOf(first)
			if err != nil {
				return fmt.Errorf("values of %s: %w", id, err)
			}
			out.Golden = &Golden{Record: golden.Record{
				ID: id, Object: obj, Values: values, Version: version, Deleted: deleted, MergedInto: golden.ID(second),
				Created: db.FromMicros(created), Updated: db.FromMicros(updated),
			}}
		case shownLink:
			out.Links = append(out.Links, Link{Ref: golden.Ref{System: first, Object: obj, RecordID: second}, Deleted: deleted})
		case shownMark:
			out.Marked = append(out.Marked, first)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if out.Golden == nil {
		return nil, fmt.Errorf("golden record %s: %w", id, ErrNotFound)
	}
	sortLinks(out.Links)
	slices.Sort(out.Marked)
	return out, nil
}

// LinksOf returns the records of golden records, tombstones included, ordered by system and record id.
func (r Reader) LinksOf(ctx context.Context, ids []golden.ID) (map[golden.ID][]Link, error) {
	out := make(map[golden.ID][]Link, len(ids))
	err := chunks(r, ids, func(ids []golden.ID) error {
		return r.query(ctx, "read links", "SELECT golden_id, system, object, record_id, deleted FROM source_record WHERE golden_id "+r.among(0, len(ids)), bound(r, nil, texts(ids)), func(rows *sql.Rows) error {
			var id golden.ID
			var l Link
			err := rows.Scan(&id, &l.Ref.System, &l.Ref.Object, &l.Ref.RecordID, &l.Deleted)
			out[id] = append(out[id], l)
			return err
		})
	})
	for _, links := range out {
		sortLinks(links)
	}
	return out, err
}

// sortLinks spares both engines the sorting, and is the same on both: they need not collate alike.
func sortLinks(links []Link) {
	slices.SortFunc(links, func(a, b Link) int {
		return cmp.Or(cmp.Compare(a.Ref.System, b.Ref.System), cmp.Compare(a.Ref.RecordID, b.Ref.RecordID))
	})
}
