// Package steward is where a person decides over the rules: pins a value, answers what was asked about an edit that a
// rule overruled, and says which golden records are one customer, or are not after all.
//
// The invariant: what a person decides is stored as claims and links like everything else, in one transaction with what
// follows from it, and nothing of what the systems said is lost by it: taking the decision back brings back what the
// rules choose. Every decision is in the audit trail.
//
// The package decides nothing itself and writes to no system.
package steward

import (
	"context"
	"crypto/rand"
	"fmt"
	"strings"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/pkg/telemetry"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/fold"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store"
)

// Reasons of refused calls.
const (
	ReasonRecordUnknown   = "CUSTOMER_UNKNOWN"
	ReasonRecordDeleted   = "CUSTOMER_DELETED"
	ReasonFieldUnknown    = "FIELD_UNKNOWN"
	ReasonQuestionUnknown = "QUESTION_UNKNOWN"
	ReasonNotMergeable    = "NOT_MERGEABLE"
	ReasonNotMerged       = "NOT_MERGED"
)

// Store is what is needed of the database.
type Store interface {
	Tx(ctx context.Context, fn func(ctx context.Context, tx *store.Tx) error) error
	Read() store.Reader
}

// Desk is where a steward works. It is safe for concurrent use.
type Desk struct {
	store  Store
	folder *fold.Folder
	marked func()
}

// New returns a desk. Marked is called after deliveries were marked.
func New(s Store, f *fold.Folder, marked func()) *Desk {
	return &Desk{store: s, folder: f, marked: marked}
}

// Pin sets a value over the rules. An empty value pins the field empty. Pinning the same again changes nothing.
func (d *Desk) Pin(ctx context.Context, id golden.ID, field, value string, hold golden.Hold) error {
	return d.act(ctx, "pin", id, field, func(u *fold.Unit, g *store.Golden, cause string) error {
		value = golden.Canonical(g.Object, field, value)
		if p, ok := pinOf(u, g, field); ok && p.Value == value && p.Hold == hold && g.Values[field] == value {
			return nil
		}
		u.Pin(id, golden.Values{field: value}, hold, cause)
		return nil
	})
}

// Unpin takes a pin away, and those of the fields that move together with it. Without one it changes nothing.
func (d *Desk) Unpin(ctx context.Context, id golden.ID, field string) error {
	return d.act(ctx, "unpin", id, field, func(u *fold.Unit, _ *store.Golden, cause string) error {
		u.Unpin(id, []string{field}, cause)
		return nil
	})
}

// pinOf returns the pin of a field, whether it holds or not.
func pinOf(u *fold.Unit, g *store.Golden, field string) (golden.Claim, bool) {
	for _, row := range u.Rows(g.ID) {
		if row.Ref.System == golden.SystemPin && row.Ref.RecordID == string(g.ID) && len(row.Claims[field]) > 0 {
			return row.Claims[field][0], row.Claims[field][0].Hold != ""
		}
	}
	return golden.Claim{}, false
}

// Answer answers the question about a field of a record: accept takes the record's value as the golden one until
// others say something new, reject writes the golden value over it.
func (d *Desk) Answer(ctx context.Context, ref golden.Ref, field string, accept bool, note string) error {
	rows, err := d.store.Read().Sources(ctx, ref.System, ref.Object, []string{ref.RecordID})
	if err != nil {
		return err
	}
	if len(rows) == 0 || rows[0].GoldenID == "" {
		return fault.New(fault.NotFound, ReasonQuestionUnknown, "nothing is asked about this record")
	}
	return d.act(ctx, "answer", rows[0].GoldenID, field, func(u *fold.Unit, _ *store.Golden, cause string) error {
		ok, err := u.Answer(ctx, ref, field, accept, note, cause)
		if err == nil && !ok {
			return fault.New(fault.NotFound, ReasonQuestionUnknown, "nothing is asked about this field, or not any more")
		}
		return err
	})
}

// act does something to one golden record in a transaction.
func (d *Desk) act(ctx context.Context, what string, id golden.ID, field string, do func(u *fold.Unit, g *store.Golden, cause string) error) error {
	if !golden.HasField(id.Object(), field) {
		return fault.InvalidField("field", ReasonFieldUnknown, "is not a field of this kind of record")
	}
	cause := what + "/" + strings.ToLower(rand.Text())
	err := d.store.Tx(ctx, func(ctx context.Context, tx *store.Tx) error {
		u, err := d.folder.Begin(ctx, tx, telemetry.Traceparent(ctx))
		if err != nil {
			return err
		}
		if err := u.LoadGoldens(ctx, []golden.ID{id}); err != nil {
			return err
		}
		g := u.Golden(id)
		switch {
		case g == nil:
			return fault.New(fault.NotFound, ReasonRecordUnknown, "there is no such record")
		case g.Deleted || g.MergedInto != "":
			return fault.New(fault.Precondition, ReasonRecordDeleted, "the record is deleted or was merged into another")
		}
		if err := do(u, g, cause); err != nil {
			return err
		}
		return u.Flush(ctx)
	})
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	d.marked()
	return nil
}

// Merge makes one golden record of two: what belongs to from belongs to into from now on, and from leads there. Merging
// again what was merged changes nothing.
func (d *Desk) Merge(ctx context.Context, into, from golden.ID) error {
	return d.join(ctx, "merge", []golden.ID{into, from}, func(u *fold.Unit, cause string) error {
		switch a, b := u.Golden(into), u.Golden(from); {
		case a == nil || b == nil:
			return fault.New(fault.NotFound, ReasonRecordUnknown, "there is no such record")
		case b.MergedInto == into:
			return nil
		case !u.Join(into, from, golden.Ref{}, cause):
			return fault.New(fault.Precondition, ReasonNotMergeable, "the records are of different kinds, the same, or one was merged into another")
		}
		return nil
	})
}

// Unmerge takes a merge back: the record has again what it had, and everything it would have got meanwhile.
func (d *Desk) Unmerge(ctx context.Context, from golden.ID) error {
	return d.join(ctx, "unmerge", []golden.ID{from}, func(u *fold.Unit, cause string) error {
		switch {
		case u.Golden(from) == nil:
			return fault.New(fault.NotFound, ReasonRecordUnknown, "there is no such record")
		case !u.Part(from, golden.Ref{}, cause):
			return fault.New(fault.Precondition, ReasonNotMerged, "the record was not merged into another one")
		}
		return nil
	})
}

func (d *Desk) join(ctx context.Context, what string, ids []golden.ID, do func(u *fold.Unit, cause string) error) error {
	cause := what + "/" + strings.ToLower(rand.Text())
	err := d.store.Tx(ctx, func(ctx context.Context, tx *store.Tx) error {
		u, err := d.folder.Begin(ctx, tx, telemetry.Traceparent(ctx))
		if err != nil {
			return err
		}
		if err := u.LoadJoin(ctx, ids...); err != nil {
			return err
		}
		if err := do(u, cause); err != nil {
			return err
		}
		return u.Flush(ctx)
	})
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	d.marked()
	return nil
}
