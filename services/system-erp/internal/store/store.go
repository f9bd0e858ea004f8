// Package store is the contract between the ERP's methods and its database.
//
// The invariants every implementation keeps, proved by package storetest on each engine:
//   - a unique constraint decides every race: one reference names one record, however many writers try at once, and the
//     loser of the race is answered with the winner's record;
//   - a write and its row in the feed of changes commit together or not at all;
//   - the feed is gap-free in commit order: once a reader has seen position n, nothing at or before n appears later;
//   - a write that changes nothing leaves version, time and feed alone.
//
// Refusals are *fault.Error; their field paths begin with the name of the record ("customer.name"). Any other error is the
// database's. Everything is safe for concurrent use.
package store

import (
	"context"
	"database/sql"
	"time"

	"github.com/selfsame-io/selfsame/services/system-erp/internal/erp"
)

// Reasons of refusals that come from stored state.
const (
	ReasonReferenceTaken = "REFERENCE_TAKEN"
	ReasonNumberTaken    = "NUMBER_TAKEN"
	ReasonDuplicate      = "DUPLICATE_IN_REQUEST"
	ReasonContention     = "WRITE_CONTENTION"
	ReasonClientRef      = "CLIENT_REF_REUSED"
	ReasonBlocked        = "CUSTOMER_BLOCKED"
)

// Store is everything that is kept.
type Store interface {
	Customers() Records[erp.Customer]
	Contacts() Records[erp.Contact]
	Catalog
	Orders
	Feed
}

// Upsert is one write of a batch.
type Upsert[R any] struct {
	// Record carries the new values. With an id that record is changed.
	Record R
	// Key finds the record when there is no id; it is added to the record's references. Zero for none.
	Key erp.Ref
	// Mask names the fields to change on an existing record.
	Mask erp.Mask
	// Expected is the version the caller knows; zero for any. It matters only if the write would change something, so
	// that a repeated write whose first answer was lost is unchanged and not a conflict.
	Expected int64
}

// Result is the outcome of one write of a batch.
type Result[R any] struct {
	Outcome erp.Outcome
	// Record is the record as stored; zero when refused.
	Record R
	// Err is the *fault.Error of a refusal; nil otherwise.
	Err error
}

// Seal writes something of the caller's into the transaction that makes a record, so that both exist or neither: the stored
// answer of a call with an idempotency key. An error undoes the record. It may run more than once, each time with the record
// as it would be stored.
type Seal[R any] func(ctx context.Context, tx *sql.Tx, r R) error

// Records keeps one kind of record.
type Records[R any] interface {
	Digests
	// Get returns the records with these ids, tombstones included; unknown ids are left out.
	Get(ctx context.Context, ids []string) (map[string]R, error)
	// List returns up to limit live records with an id after the given one, in id order.
	List(ctx context.Context, after string, limit int) ([]R, error)
	// Lookup returns the record that carries ref, tombstones included; NOT_FOUND when there is none.
	Lookup(ctx context.Context, ref erp.Ref) (R, error)
	// Create makes a record. ALREADY_EXISTS when one of its references belongs to another one. Seal, which may be nil, runs
	// inside the transaction.
	Create(ctx context.Context, r R, seal Seal[R]) (R, error)
	// Update changes the record with the id in u; NOT_FOUND, RECORD_DELETED or ETAG_MISMATCH otherwise.
	Update(ctx context.Context, u Upsert[R]) (Result[R], error)
	// Delete leaves a tombstone; Unchanged when it already is one, NOT_FOUND when there is nothing.
	Delete(ctx context.Context, id string) (Result[R], error)
	// Upsert writes a batch in one transaction and answers each write in order. A refused write does not stop the others.
	// The error is the whole batch's: nothing was written then.
	Upsert(ctx context.Context, batch []Upsert[R]) ([]Result[R], error)
}

// Catalog keeps products, stock and warranties.
type Catalog interface {
	// Products returns the products with these SKUs; unknown ones are left out.
	Products(ctx context.Context, skus []string) (map[string]erp.Product, error)
	// ListProducts returns up to limit products with a SKU after the given one, in SKU order of the database.
	ListProducts(ctx context.Context, after string, limit int) ([]erp.Product, error)
	// UpsertProducts replaces products by SKU and answers each in order. The same SKU twice is refused for both.
	UpsertProducts(ctx context.Context, products []erp.Product) ([]Result[erp.Product], error)
	// Inventory returns the stock of products by SKU and site with what open orders reserve.
	Inventory(ctx context.Context, skus []string) ([]erp.Stock, error)
	// SetInventory states what is on hand; Unchanged when it was so. An unknown product is refused with the field inventory.sku.
	SetInventory(ctx context.Context, s erp.Stock) (erp.Stock, erp.Outcome, error)
	// ListWarranties returns up to limit warranties of a customer after a cursor, newest first.
	ListWarranties(ctx context.Context, customerID string, after *WarrantyCursor, limit int) ([]erp.Warranty, error)
	// UpsertWarranty writes a warranty by serial number; Unchanged when it was so. Unknown product, customer or order are refused
	// with the field, and so is a customer that was deleted unless the warranty is its own already.
	UpsertWarranty(ctx context.Context, w erp.Warranty) (erp.Warranty, erp.Outcome, error)
}

// WarrantyCursor is the place after one warranty in the order of ListWarranties.
type WarrantyCursor struct {
	Start  int64  `json:"t"` // microseconds
	Serial string `json:"s"`
}

// Orders keeps sales orders.
type Orders interface {
	// Order returns one order; NOT_FOUND when there is none.
	Order(ctx context.Context, id string) (erp.Order, error)
	// ListOrders returns up to limit orders of the customers after a cursor, newest first.
	ListOrders(ctx context.Context, customerIDs []string, after *OrderCursor, limit int) ([]erp.Order, error)
	// CreateOrder places an order, or returns the one that has the client reference already if it asked for the same
	// (Unchanged) and CLIENT_REF_REUSED if not. Unknown customers and products are refused with the field.
	CreateOrder(ctx context.Context, o erp.Order) (erp.Order, erp.Outcome, error)
	// MoveOrder sets facets; a zero facet stays. Unchanged when they were so.
	MoveOrder(ctx context.Context, id string, state erp.OrderState, fulfilment, billing erp.Progress) (erp.Order, erp.Outcome, error)
}

// OrderCursor is the place after one order in the order of ListOrders.
type OrderCursor struct {
	Ordered int64  `json:"t"` // microseconds
	ID      string `json:"i"`
}

// ChangeKind says what happened to a record. The numbers are stored and equal those of the contract.
type ChangeKind uint8

// What can happen to a record.
const (
	ChangeCreated ChangeKind = 1
	ChangeUpdated ChangeKind = 2
	ChangeDeleted ChangeKind = 3
)

// Change is one row of the feed with the record as it is now; exactly one of Customer and Contact is set.
type Change struct {
	// Position counts committed changes from 1 without gaps.
	Position  int64
	Kind      ChangeKind
	Committed time.Time
	Customer  *erp.Customer
	Contact   *erp.Contact
}

// Bounds are the ends of the feed.
type Bounds struct {
	// Epoch identifies the feed: a new database has a new one.
	Epoch string
	// Oldest is the position before the oldest change kept, Newest that of the newest change.
	Oldest, Newest int64
	// OldestStamp and NewestStamp are the commit times at these positions in microseconds; zero at position 0.
	OldestStamp, NewestStamp int64
}

// Feed is the log of committed changes.
type Feed interface {
	// Bounds returns the ends of the feed.
	Bounds(ctx context.Context) (Bounds, error)
	// Changes returns up to limit changes after a position, in order; RESUME_TOKEN_EXPIRED when some of them are gone.
	Changes(ctx context.Context, after int64, limit int) ([]Change, error)
	// Stamp returns the commit time of a kept position in microseconds; false when the position is not kept.
	Stamp(ctx context.Context, position int64) (int64, bool, error)
	// Purge forgets up to limit changes committed before a moment, oldest first, and returns how many.
	Purge(ctx context.Context, before time.Time, limit int) (int, error)
}
