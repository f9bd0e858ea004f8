// Package erp is the vendor-neutral model of the ERP: what a customer, a contact, a product, an order and a warranty are,
// which of them are acceptable, and how a partial write changes a record.
//
// The invariant: everything here is pure. No clock, no database, no context; the same inputs give the same record, so a
// write that is planned twice (after a lost race, after a retry) has the same effect as one planned once.
//
// It does not know proto messages (package rpc) nor tables (package store/sqlstore).
package erp

import (
	"cmp"
	"slices"
	"time"
)

// Outcome says what a write did. The zero value is Refused.
type Outcome uint8

// The outcomes of a write.
const (
	Refused Outcome = iota
	Created
	Updated
	Unchanged
	// Matched means that the back end had the record already and it is now known under the reference it was asked by;
	// nothing was written to the record itself.
	Matched
	// AlreadyExists means that the back end had the order already, under the client reference it was asked by: the answer
	// to an earlier call was lost.
	AlreadyExists
)

// String returns the outcome as it is shown in metrics.
func (o Outcome) String() string {
	switch o {
	case Created:
		return "created"
	case Updated:
		return "updated"
	case Unchanged:
		return "unchanged"
	case Matched:
		return "matched"
	case AlreadyExists:
		return "already_exists"
	default:
		return "refused"
	}
}

// Object names a kind of record. The numbers are stored; they never change their meaning.
type Object uint8

// The kinds of records that have a feed of changes.
const (
	ObjectCustomer Object = 1
	ObjectContact  Object = 2
)

// Ref is the id of a record in another system. One Ref names at most one record of a kind. Compared byte by byte.
type Ref struct{ System, Type, Value string }

// Zero tells whether no reference is given.
func (r Ref) Zero() bool { return r == Ref{} }

// Compare orders references by system, type and value. Writers take their references in this order, so that two
// concurrent writers never wait for each other in a circle.
func (r Ref) Compare(o Ref) int {
	return cmp.Or(cmp.Compare(r.System, o.System), cmp.Compare(r.Type, o.Type), cmp.Compare(r.Value, o.Value))
}

// Head is what customers and contacts have in common.
type Head struct {
	// ID is assigned by the ERP and never changes.
	ID string
	// Refs are the ids in other systems, sorted. They are only ever added.
	Refs []Ref
	// Version grows with each change; zero before creation.
	Version int64
	// Created and Updated are UTC in whole microseconds.
	Created, Updated time.Time
	// Deleted marks a tombstone: it keeps its id and references and nothing personal.
	Deleted bool
}

// maxRefs is how many references one record may carry.
const maxRefs = 20

// addRefs adds references that are missing; the result is sorted and free of duplicates.
func addRefs(have, more []Ref) []Ref {
	out := slices.Concat(have, more)
	slices.SortFunc(out, Ref.Compare)
	return slices.Compact(out)
}
