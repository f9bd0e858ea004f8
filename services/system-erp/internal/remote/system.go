package remote

import (
	"context"
	"time"

	"github.com/selfsame-io/selfsame/services/system-erp/internal/backend"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/erp"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/store"
)

// System is one foreign ERP as this package needs it: thin, without memory of its own beyond sessions and metadata. It never
// repeats a write by itself and never decides whether a record is new. Everything is safe for concurrent use.
//
// Errors are *fault.Error:
//   - Invalid with our field path, reasons of packages backend and erp; AlreadyExists, Precondition: the ERP's rules, with
//     backend.Native. Nothing was written;
//   - Conflict with ETAG_MISMATCH (the tag is not the record's) or RECORD_LOCKED. Nothing was written;
//   - Exhausted (with RetryAfter when known), Unavailable: nothing was executed, certainly: not connected, refused at the door;
//   - Uncertain: a write was sent and its answer did not come, was cut, or was a gateway's. Also a deadline that passed
//     while waiting. A read is never Uncertain;
//   - anything else is a defect.
type System interface {
	// Kind is "tryton", "sap" …: the word in metrics and metadata.
	Kind() string
	// Ping tells whether the ERP answers and knows us.
	Ping(ctx context.Context) error
	// Capabilities tells what can be done; asked once, after the first Ping.
	Capabilities(ctx context.Context) (backend.Capabilities, error)
	// Customers and Contacts keep the two kinds of records that have a feed. Contacts may be nil: none are kept.
	Customers() Source[erp.Customer]
	Contacts() Source[erp.Contact]
	Goods
	Sales
}

// Key finds a record that may exist already. Insert writes it into the record in such a way that Find finds it.
type Key struct {
	// Ref is the natural key; zero for a create without one. For an order System is "selfsame", Type "order" and Value the
	// client reference.
	Ref erp.Ref
	// Mark is 20 characters out of A-Z and 2-7, derived from Ref (or random without one): it fits where Ref does not and
	// stays unique when the ERP changes letters to upper case.
	Mark string
	// First is when the first write of an order was sent of those whose answer is not known: the same in each repetition, so
	// that an ERP that remembers requests can recognise it, and another one after a refusal. Zero elsewhere.
	First time.Time
}

// Snapshot is a record as the ERP has it now.
type Snapshot[R any] struct {
	// Record has its ID, its references as far as the ERP keeps them, Created and Updated if the ERP has them. Deleted is
	// set when the record is archived, deactivated or marked for deletion, and MergedInto with it when the ERP says which
	// record took its place. Version is not used.
	Record R
	// Tag identifies this state of the record for a conditional write: an ETag, a time stamp.
	Tag string
}

// Draft is a record to be written.
type Draft[R any] struct {
	// Record is the whole record as it is to be; it passed Check. For Change its ID is set.
	Record R
	// Key is what Insert leaves in the new record.
	Key Key
	// Old is the record that Change changes, as read; Change writes only what differs from it. Zero for Insert.
	Old Snapshot[R]
}

// Reply is what became of one draft. With an error the snapshot is zero.
type Reply[R any] struct {
	Snapshot Snapshot[R]
	Err      error
}

// Source reads and writes one kind of record. Batches are small (at most 200); an implementation that can send several in
// one request does. The error of a batch call means that none of it was answered; each reply's own error is its own.
type Source[R any] interface {
	// Fields names the fields of the record (as in masks, "refs" among them) that the ERP has a place for. The others are
	// kept in our own mirror only: they are never dropped, and nobody in the ERP sees them.
	Fields() []string
	// Check refuses what the ERP cannot hold (lengths, units, regions, tax numbers, fields without a place) with our field
	// path. It sends nothing; metadata that was read before may be used.
	Check(ctx context.Context, r R) error
	// Find returns for each key the records that carry its reference or its mark, archived ones included; usually none or
	// one, and all of them when there are several.
	Find(ctx context.Context, keys []Key) ([][]Snapshot[R], error)
	// Read returns the records with these ids; unknown ids are left out.
	Read(ctx context.Context, ids []string) ([]Snapshot[R], error)
	// Insert makes records. It must leave the key in each.
	Insert(ctx context.Context, drafts []Draft[R]) ([]Reply[R], error)
	// Change writes what differs between Old and Record, on the condition that the record still has the tag.
	Change(ctx context.Context, drafts []Draft[R]) ([]Reply[R], error)
	// Retire archives, deactivates or deletes a record on the condition of its tag; the snapshot in the reply is Deleted.
	Retire(ctx context.Context, old Snapshot[R]) (Snapshot[R], error)
	// Changed calls page with the records that changed at or after a moment of the ERP's clock, in pages of any size and any
	// order; a zero moment means all. It never holds more than a page. Records that the ERP's feed cannot show as changed
	// (a child that does not move the header's stamp) are found by the comparison that runs now and then with zero.
	Changed(ctx context.Context, since time.Time, page func([]Snapshot[R]) error) error
	// Similar returns up to limit records that might be r, by whatever the ERP can search.
	Similar(ctx context.Context, r R, limit int) ([]Snapshot[R], error)
}

// Goods are products and stock of the ERP. Package remote caches products.
type Goods interface {
	// Products returns the products with these SKUs; unknown ones are left out.
	Products(ctx context.Context, skus []string) ([]erp.Product, error)
	// ListProducts returns up to limit products with a SKU after the given one, in SKU order by bytes.
	ListProducts(ctx context.Context, after string, limit int) ([]erp.Product, error)
	// PutProduct makes or changes a product by SKU; backend.Missing where it cannot.
	PutProduct(ctx context.Context, p erp.Product) error
	// Inventory returns the stock by SKU and site, Reserved and Available filled in where the ERP knows them, AsOf being
	// when it said so.
	Inventory(ctx context.Context, skus []string) ([]erp.Stock, error)
	// SetInventory states what is on hand; backend.Missing where it cannot.
	SetInventory(ctx context.Context, s erp.Stock) error
}

// Sales are the orders of the ERP.
type Sales interface {
	// CheckOrder refuses what the ERP cannot hold, with our field path; like Source.Check.
	CheckOrder(ctx context.Context, o erp.Order) error
	// FindOrders returns the orders that carry the key's reference or mark, cancelled ones included.
	FindOrders(ctx context.Context, k Key) ([]erp.Order, error)
	// InsertOrder makes an order with its lines, as one write: it exists as a whole or not at all. The lines are numbered
	// and have units, names and prices (erp.Order.Place); it must leave the key in the order.
	InsertOrder(ctx context.Context, o erp.Order, k Key) (erp.Order, error)
	// AdvanceOrder brings a fresh order to where the configuration wants it (Tryton: quote, confirm, process), step by step,
	// and returns it. Steps already done are not repeated, so it may be called again after any failure. Nothing to do: the
	// order as it is.
	AdvanceOrder(ctx context.Context, id string) (erp.Order, error)
	// Orders returns the orders with these ids; unknown ones are left out.
	Orders(ctx context.Context, ids []string) ([]erp.Order, error)
	// ListOrders returns up to limit orders of the customers after a cursor, newest first; like store.Orders.
	ListOrders(ctx context.Context, customerIDs []string, after *store.OrderCursor, limit int) ([]erp.Order, error)
	// ChangedOrders calls page with the orders that changed at or after a moment of the ERP's clock.
	ChangedOrders(ctx context.Context, since time.Time, page func([]erp.Order) error) error
	// MoveOrder sets facets where the ERP lets us; backend.Missing where it does not.
	MoveOrder(ctx context.Context, id string, state erp.OrderState, fulfilment, billing erp.Progress) (erp.Order, error)
	// Deliveries returns the deliveries of an order, oldest first.
	Deliveries(ctx context.Context, orderID string) ([]erp.Delivery, error)
}
