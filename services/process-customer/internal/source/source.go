// Package source is what the process service needs of a system that keeps customers, and the adapters that give it:
// one over the gRPC API of system-salesforce, one over that of system-erp.
//
// It is the border where a system's words become ours: above it there are only canonical fields and values, below it
// only the messages of the system services. Invariant: what an adapter hands up is canonical ([golden.Canonical]), so
// a value that was written and read back compares equal.
//
// The package decides nothing: it neither retries nor remembers. Which record belongs to which customer, what to write
// and when is the business of its callers.
package source

import (
	"context"
	"strings"
	"time"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
)

// MaxWrites is the greatest number of writes in one call of Upsert.
const MaxWrites = 200

// Record is one record of one system as it was when it was read.
type Record struct {
	// Ref names the record.
	Ref golden.Ref
	// ParentID is the record id, in the same system, of the customer a contact works for; empty when none and for customers.
	ParentID string
	// ExternalID is what Selfsame wrote into the record to know it again; empty when it never did.
	ExternalID string
	// Values are canonical. They hold every field the system carries except [golden.Parent], which only we know.
	Values golden.Values
	// Version grows with every change of this record; two changes may share one where the system's clock is coarse.
	Version int64
	// EventTime is when the record last changed, by the system's clock.
	EventTime time.Time
	// Deleted is true for a tombstone; Values are empty then.
	Deleted bool
	// MergedInto is the record of the same system and kind that a merge there put in this one's place; empty when the
	// record was not merged, or the system does not say. Set only with Deleted.
	MergedInto string
	// OwnWrite is true when the system says that the last change of the record was Selfsame's; false says nothing. An ERP does not
	// tell: a write that comes late has another version there and is refused.
	OwnWrite bool
}

// Change is a hint that one record may have changed, with the record as it was when the hint was read.
type Change struct {
	// ID is unique within the system and stable: a change that comes twice has the same id.
	ID string
	// Ref names the record. For an overflow only System and Object are set, Object empty when every kind is meant.
	Ref golden.Ref
	// Deleted is true when the record is gone.
	Deleted bool
	// MergedInto is the record of the same system and kind that a merge there put in this one's place; empty when the
	// record was not merged, or the system does not say. Set only with Deleted.
	MergedInto string
	// Overflow is true when the system lost count: every record of the object has to be read again.
	Overflow bool
	// OwnWrite is true when the system says that Selfsame caused the change; a hint, never a proof.
	OwnWrite bool
	// Newer is true when the record is known to show what a later change has made of it, which is told for itself. False says
	// nothing.
	Newer bool
	// Changed are the fields that the system says this change has touched; a hint, and nil when it does not say.
	Changed []string
	// Asked is set when the record was read in answer to a doubt: what was known of it when the question was put.
	Asked string
	// Reread is true when the record was read again because changes contradict each other about what became of it. If it is gone, the
	// answer says by which merge, or by none.
	Reread bool
	// SetBack is set when the record was read for its own sake and showed a lower version than was known before: its system has been
	// set back. It is the version that was known.
	SetBack int64
	// Version is that of the record, or of its deletion; zero when the system does not say.
	Version int64
	// CommitTime is when the change was committed, by the system's clock.
	CommitTime time.Time
	// Record is the record; nil when it is deleted and for an overflow.
	Record *Record
}

// Lost is a stretch of time of which the system could not tell the changes one by one. It finds the records that changed in it
// by itself and tells them as changes; nothing has to be read again.
type Lost struct {
	// Object is the kind of record; empty when it is none of ours.
	Object golden.Object
	// Cause is a short word: "position" or "overflow".
	Cause string
	// From and Until are by the system's clock.
	From, Until time.Time
	// Done is false when the system begins to look, true when all of it has been told.
	Done bool
	// Sent is how many changes were told for it.
	Sent int64
}

// Batch is a run of changes and the position after them.
type Batch struct {
	// Changes are in the system's order; none in a heartbeat.
	Changes []Change
	// Lost are stretches that begin or end here; to be reported, not to be acted upon.
	Lost []Lost
	// Token is to be stored together with the effect of the changes; watching with it goes on after them.
	Token string
	// Position is the time up to which Token has everything, by the system's clock; zero when the system does not say.
	Position time.Time
	// Waiting is set while the system works and may not send what it has.
	Waiting Waiting
}

// Waiting is why a feed that works sends no changes. The zero value waits for nothing.
type Waiting struct {
	// Reason is stable; empty when nothing is waited for.
	Reason string
	// Resume is when the feed goes on; zero when nobody knows.
	Resume time.Time
}

// Write is what one record shall hold.
type Write struct {
	// Ref names the record. Without a RecordID the record that carries ExternalID is written, or created.
	Ref golden.Ref
	// ExternalID is written into the record when it is not empty; required without a RecordID.
	ExternalID string
	// ParentID is the record id, in the same system, of a contact's customer. It is written when it is not empty, and
	// cleared when it is empty and Values has [golden.Parent].
	ParentID string
	// Values are the fields to write; an empty value clears the field. Fields the system does not carry are left out.
	Values golden.Values
	// ExpectedVersion is the version the caller knows; zero writes over whatever is there. A system that does not check it
	// ignores it: see [System.ChecksVersions].
	ExpectedVersion int64
}

// Result is the outcome of one write.
type Result struct {
	// RecordID names the record that was written; empty when Err is set and none is known.
	RecordID string
	// Version is that after the write; zero when the system does not say.
	Version int64
	// Created is true when the record is new.
	Created bool
	// Unchanged is true when the record already was as asked.
	Unchanged bool
	// Record is the record as stored; nil when the system does not return it.
	Record *Record
	// Err is a *fault.Error when this record was not written: Conflict with ETAG_MISMATCH for another version, Uncertain
	// when nobody knows, Unavailable when the same write may succeed later, any other kind when it never will.
	Err error
}

// System is a system that keeps customers and contacts. Implementations are safe for concurrent use, and every error
// is a *fault.Error.
type System interface {
	// Name is the configured name, the same for the life of the value.
	Name() string
	// Fields returns the canonical fields of obj that the system carries, in the order of [golden.Fields].
	Fields(obj golden.Object) []string
	// ChecksVersions reports whether Upsert refuses a write with another expected version. Where it does not, whoever writes looks
	// first.
	ChecksVersions() bool
	// Watch calls fn with the changes after token and then with every new one, until ctx ends, fn returns an error (which
	// it returns unwrapped) or the stream ends; nil means it ended in good order and may be opened again. The first batch
	// comes at once and carries the position. An empty token starts now: nothing that changes after the first batch is
	// missed. Precondition with RESUME_TOKEN_EXPIRED means that changes after token are lost.
	Watch(ctx context.Context, token string, fn func(Batch) error) error
	// List returns one page of the live records of obj and the token of the next page, empty after the last one. A record
	// that lives throughout the listing is returned at least once, as it was at some moment of the listing.
	List(ctx context.Context, obj golden.Object, pageToken string) (recs []Record, next string, err error)
	// Fetch returns records by id, in any order, and the ids that are certainly gone. A deleted record is either missing or
	// returned as a tombstone, which names what a merge put in its place, if the system knows merges and still knows of this one. An id that is in neither names a record that cannot be read, for example because the system hides
	// it from us: nothing may be concluded about it, least of all that it was deleted.
	Fetch(ctx context.Context, obj golden.Object, ids []string) (recs []Record, missing []string, err error)
	// Find returns the live records that carry these external ids, up to [MaxWrites] of them, in any order. An id of which
	// nothing is returned names no record, or one that is hidden from us.
	Find(ctx context.Context, obj golden.Object, externalIDs []string) ([]Record, error)
	// Remove deletes up to [MaxWrites] records; results are in the order of ids. One that was gone already is Unchanged.
	// Errors are those of Upsert.
	Remove(ctx context.Context, obj golden.Object, ids []string) ([]Result, error)
	// Upsert writes up to [MaxWrites] records; results are in the order of writes. An error means that the whole call
	// failed; [OutcomeKnown] says whether that means that nothing was written.
	Upsert(ctx context.Context, obj golden.Object, writes []Write) ([]Result, error)
}

// Loader is a System that takes any number of writes at once, in fewer calls of its vendor than Upsert would need.
type Loader interface {
	System
	// Load writes records by external id; the writes have no record id, and each an external id of its own. Results are in
	// the order of writes; a write whose outcome did not come has the reason as its error. An error means that the whole
	// load failed, as for Upsert.
	Load(ctx context.Context, obj golden.Object, writes []Write) ([]Result, error)
}

// OutcomeKnown reports whether err, returned by Upsert for the whole call or for one record, proves that nothing was
// written. After any other error the write may have been made, or may still be made.
func OutcomeKnown(err error) bool {
	switch fault.KindOf(err) {
	case fault.Invalid, fault.Unauthenticated, fault.Forbidden, fault.NotFound, fault.AlreadyExists,
		fault.Precondition, fault.Conflict, fault.Exhausted, fault.Unimplemented:
		return true
	default:
		return false
	}
}

// ExternalIDOf returns the external id of a record of the golden record id. The first record that a system has of it
// carries the golden id itself, so that a repeated create finds it; recordID is empty then. A further record of the
// same system, a duplicate there, carries the golden id and its own record id, because external ids are unique.
func ExternalIDOf(id golden.ID, recordID string) string {
	if recordID == "" {
		return string(id)
	}
	return string(id) + "." + recordID
}

// IsFirst reports whether an external id of ours is that of the first record which a system has of a golden record.
func IsFirst(externalID string) bool {
	id := GoldenIDOf(externalID)
	return id != "" && externalID == ExternalIDOf(id, "")
}

// GoldenIDOf returns the golden id in an external id, or "" when the text is not one of ours.
func GoldenIDOf(externalID string) golden.ID {
	text, _, _ := strings.Cut(externalID, ".")
	id, ok := golden.ParseID(text)
	if !ok {
		return ""
	}
	return id
}
