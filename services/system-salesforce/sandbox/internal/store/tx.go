package store

import (
	"fmt"

	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/schema"
	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/sfid"
)

// Error is a refusal of one record, with the vendor's code and text.
type Error struct {
	Code    string
	Message string
	Fields  []string
	// Duplicates is set if a duplicate rule refused the record.
	Duplicates *Duplicates
}

// Error implements error.
func (e *Error) Error() string { return e.Code + ": " + e.Message }

func refuse(code, message string, fields ...string) *Error {
	return &Error{Code: code, Message: message, Fields: fields}
}

// Tx is a transaction in progress. Each method changes one record completely
// or not at all, so a caller may go on after a refusal.
type Tx struct {
	View
	meta    Meta
	now     int64
	changes []Change

	// keys and values are memory of prepare.
	keys   []string
	values givens
}

// Mark names the current point, to return to with Rollback.
func (tx *Tx) Mark() int { return len(tx.changes) }

// Rollback undoes everything since the mark.
func (tx *Tx) Rollback(mark int) {
	for i := len(tx.changes) - 1; i >= mark; i-- {
		c := tx.changes[i]
		if c.Kind == Publish {
			continue
		}
		tx.s.tables[c.New.Object].put(c.New, c.Old)
	}
	tx.changes = tx.changes[:mark]
}

func (tx *Tx) put(k Kind, old, next *Record) {
	next.Modified, next.ModifiedBy = tx.now, tx.meta.User
	tx.s.tables[next.Object].put(old, next)
	tx.changes = append(tx.changes, Change{Kind: k, Old: old, New: next})
}

// Create inserts a record and returns its id.
func (tx *Tx) Create(o *schema.Object, in map[string]any) (string, *Error) {
	return tx.create(o, in, "", nil)
}

// create inserts a record of the values in in and of one more, which is named.
func (tx *Tx) create(o *schema.Object, in map[string]any, more string, raw any) (string, *Error) {
	if o.ReadOnly {
		return "", refuse("CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY", "entity type "+o.Name+" does not support create in the sandbox")
	}
	if o.Event() && tx.meta.Mute != nil && tx.meta.Mute(o) {
		return "", refuse("INSUFFICIENT_ACCESS_OR_READONLY", "insufficient access rights on object id")
	}
	values, err := tx.prepare(o, in, "create", more, raw)
	if err != nil {
		return "", err
	}
	t := tx.s.tables[o]
	r := &Record{Object: o, Created: tx.now, CreatedBy: tx.meta.User, row: int32(len(t.rows)), cells: make([]cell, 0, len(values)+len(t.preset))}
	for _, g := range values {
		if g.v != nil {
			r.set(g.f, g.v)
		}
	}
	for _, f := range t.preset {
		switch {
		case values.has(f):
		case f.Owner:
			r.set(f, tx.meta.User)
		case f.Default != "":
			r.set(f, f.Default)
		default:
			r.set(f, false)
		}
	}
	if err := t.missing(r); err != nil {
		return "", err
	}
	if err := tx.obey(nil, r); err != nil {
		return "", err
	}
	if err := tx.unique(r); err != nil {
		return "", err
	}
	if o.Event() {
		return tx.publish(r), nil
	}
	if tx.locked(r) {
		return "", lockError("")
	}
	if err := tx.assign(r); err != nil {
		return "", err
	}
	for _, f := range t.numbered {
		t.auto++
		r.set(f, fmt.Sprintf("%0*d", f.AutoNumber, 1000+t.auto))
	}
	t.derive(nil, r, tx.now)
	r.ID = sfid.New(o.Prefix, len(t.rows))
	t.rows = append(t.rows, nil)
	tx.put(Create, nil, r)
	return r.ID, nil
}

// Update changes fields of a live record.
func (tx *Tx) Update(o *schema.Object, id string, in map[string]any) *Error {
	old, err := tx.live(o, id)
	if err != nil {
		return err
	}
	if o.ReadOnly {
		return refuse("INSUFFICIENT_ACCESS_OR_READONLY", "entity type "+o.Name+" cannot be updated in the sandbox")
	}
	values, err := tx.prepare(o, in, "update", "", nil)
	if err != nil {
		return err
	}
	r := old.next()
	for _, g := range values {
		if g.v == nil && g.f.Type == schema.Boolean {
			return refuse("INVALID_TYPE_ON_FIELD_IN_RECORD", g.f.Label+": value not of required type: null", g.f.Name)
		}
		r.set(g.f, g.v)
	}
	if err := tx.s.tables[o].missing(r); err != nil {
		return err
	}
	if err := tx.obey(old, r); err != nil {
		return err
	}
	if err := tx.unique(r); err != nil {
		return err
	}
	if tx.locked(r) {
		return lockError(old.ID)
	}
	if err := tx.assign(r); err != nil {
		return err
	}
	tx.s.tables[o].derive(old, r, tx.now)
	tx.put(Update, old, r)
	return nil
}

// Delete moves a live record, and those that go with it, to the bin.
func (tx *Tx) Delete(o *schema.Object, id string) *Error {
	old, err := tx.live(o, id)
	if err != nil {
		return err
	}
	if o.ReadOnly {
		return refuse("INSUFFICIENT_ACCESS_OR_READONLY", "entity type "+o.Name+" cannot be deleted in the sandbox")
	}
	return tx.remove(old, "")
}

func (tx *Tx) orphan(f *schema.Field, child, parent *Record, root string) *Error {
	switch f.OnDelete {
	case "cascade":
		return tx.remove(child, root)
	case "clear":
		r := child.next()
		r.set(f, nil)
		tx.put(Update, child, r)
	case "restrict":
		return refuse("DELETE_FAILED", fmt.Sprintf("Your attempt to delete %s could not be completed because it is associated with the following %s: %s",
			parent.ID, child.Object.Plural, child.ID))
	}
	return nil
}

// sees reports whether the user may see a record.
func (tx *Tx) sees(id string) bool { return tx.meta.Hidden == nil || !tx.meta.Hidden(id) }

// unseen refuses what concerns a record that the user may not see.
func unseen(fields ...string) *Error {
	return refuse("INSUFFICIENT_ACCESS_ON_CROSS_REFERENCE_ENTITY", "insufficient access rights on cross-reference id", fields...)
}

func (tx *Tx) live(o *schema.Object, id string) (*Record, *Error) {
	r := tx.Get(o, id)
	switch {
	case r == nil:
		return nil, refuse("INVALID_CROSS_REFERENCE_KEY", "invalid cross reference id")
	case !tx.sees(id):
		return nil, unseen()
	case r.Deleted:
		return nil, refuse("ENTITY_IS_DELETED", "entity is deleted")
	}
	return r, nil
}

func (tx *Tx) locked(r *Record) bool { return tx.s.opt.LockRow != nil && tx.s.opt.LockRow(r) }

func lockError(id string) *Error {
	return refuse("UNABLE_TO_LOCK_ROW", "unable to obtain exclusive access to this record or 1 records: "+id)
}
