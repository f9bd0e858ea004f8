// Package backend is the contract of a back end: what selfsame.erp.v1 asks of an ERP, whichever one it is.
//
// A back end is the store contract (package store: records with references and versions, catalogue, orders, a feed without
// holes) and what a foreign ERP adds to it: what it can do at all, what it would say to a write before it is made, which of
// its records might be the one meant, and what has been delivered. The suite in package backendtest is its acceptance test.
//
// The invariants beyond those of package store:
//   - one client reference or key gives one record, however often and from however many processes it is sent, also when the
//     answer of the ERP was lost or the process died before it could note it;
//   - an outcome that is not known is fault.Uncertain with the reason OUTCOME_UNCERTAIN, never Unavailable: Unavailable means
//     that nothing was executed;
//   - a value the ERP cannot hold is refused with the path of our field before anything is sent, never cut;
//   - two records where there may be one are an error that names both, never a choice.
//
// Package sqlstore is the back end "embedded". Package remote makes a back end of any remote.System ("tryton", "sap").
package backend

import (
	"context"
	"time"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/erp"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/store"
)

// Reasons of refusals that come from a foreign ERP. Those of package store and package erp apply too.
const (
	// ReasonCapability is Unimplemented: this back end does not do that at all.
	ReasonCapability = "CAPABILITY_MISSING"
	// ReasonDuplicate is Precondition: several records of the ERP carry what may name one; metadata record_ids has them.
	ReasonDuplicate = "DUPLICATE_IN_BACKEND"
	// ReasonLocked is Conflict: somebody works on the record in the ERP; nothing was written, try again.
	ReasonLocked = "RECORD_LOCKED"
	// ReasonInProgress is Conflict: another call writes under the same reference at this moment.
	ReasonInProgress = "WRITE_IN_PROGRESS"
	// ReasonTooLong and the others below are Invalid with our field path: the rules at the border of the ERP.
	ReasonTooLong     = "FIELD_TOO_LONG"
	ReasonUnit        = "UNIT_UNKNOWN"
	ReasonRegion      = "REGION_UNKNOWN"
	ReasonCountry     = "COUNTRY_UNKNOWN"
	ReasonCurrency    = "CURRENCY_UNKNOWN"
	ReasonTaxID       = "TAX_ID_INVALID"
	ReasonPrecision   = "PRECISION_EXCEEDED"
	ReasonNotMappable = "FIELD_NOT_SUPPORTED"
	// ReasonRejected is Precondition or Invalid: a rule of the ERP itself; see Native for its own words.
	ReasonRejected = "BACKEND_REJECTED"
)

// Keys of the metadata of a fault that comes from a foreign ERP.
const (
	// MetaSystem is the kind of the back end: "sap".
	MetaSystem = "backend"
	// MetaCode and MetaMessage are the ERP's own error; the message is for operators of the ERP and may be in its language.
	MetaCode    = "backend_code"
	MetaMessage = "backend_message"
	// MetaTransaction is what an operator looks for in the ERP's own log.
	MetaTransaction = "backend_transaction"
)

// Native adds the ERP's own error to e. Empty parts are left out. The message must be free of personal data.
func Native(e *fault.Error, system, code, message, transaction string) *fault.Error {
	for _, kv := range [][2]string{{MetaSystem, system}, {MetaCode, code}, {MetaMessage, message}, {MetaTransaction, transaction}} {
		if kv[1] != "" {
			e = e.WithMeta(kv[0], kv[1])
		}
	}
	return e
}

// Missing is the refusal of what a back end does not do at all.
func Missing(system, what string) error {
	return fault.New(fault.Unimplemented, ReasonCapability, "the back end %s does not offer this: %s", system, what).WithMeta(MetaSystem, system)
}

// Backend is one ERP behind the contract. Everything is safe for concurrent use.
type Backend interface {
	store.Store
	Advice
	Fulfilment
	Merging
	Pricing

	// Capabilities tells what this back end does; it may ask the ERP once and remembers the answer.
	Capabilities(ctx context.Context) (Capabilities, error)
	// Documents returns how many documents were created in the back end per UTC day, oldest first. Some licences charge per
	// created document and line. Until is excluded; both are cut to days.
	Documents(ctx context.Context, from, until time.Time) ([]DocumentCount, error)
}

// Advice is what can be known before a write. Nothing in it writes anything.
type Advice interface {
	// ValidateCustomer tells what an upsert would do: the record as it would be and the outcome, or the refusal with the
	// path of our field. What only the ERP's own commit would find is not found; Capabilities.DeepValidation says whether
	// the ERP itself was asked.
	ValidateCustomer(ctx context.Context, u store.Upsert[erp.Customer]) (store.Result[erp.Customer], error)
	// ValidateOrder tells how an order would look, priced where the back end can say, or refuses like CreateOrder.
	ValidateOrder(ctx context.Context, o erp.Order) (erp.Order, error)
	// FindCandidates returns up to limit records that might be c, best first.
	FindCandidates(ctx context.Context, c erp.Customer, limit int) ([]Candidate, error)
}

// Candidate is a record that might be the one meant.
type Candidate struct {
	Customer erp.Customer
	// Score is above 0 and at most 100; 100 is an equal reference or tax number.
	Score int
	// Matched names the fields that agree: "refs", "number", "tax_ids", "email", "name", "addresses".
	Matched []string
}

// Fulfilment is what happens to an order after it was placed.
type Fulfilment interface {
	// Deliveries returns the deliveries of an order, oldest first; NOT_FOUND when there is no such order.
	Deliveries(ctx context.Context, orderID string) ([]erp.Delivery, error)
	// History returns the steps of an order, oldest first. A back end without a history of its own keeps the steps it has
	// seen, so steps between two looks may be missing; each step it has was true at its time.
	History(ctx context.Context, orderID string) ([]erp.OrderEvent, error)
	// RecordDelivery states a delivery by its id and lets the order's fulfilment follow; Missing where the ERP has a
	// warehouse of its own.
	RecordDelivery(ctx context.Context, d erp.Delivery) (erp.Delivery, erp.Order, erp.Outcome, error)
}

// Pricing is what products cost.
type Pricing interface {
	// Prices returns the prices of products for everybody and for one customer (none when empty), the list price included:
	// by SKU, then best first as BestPrice chooses.
	Prices(ctx context.Context, skus []string, customerID string) ([]erp.Price, error)
	// UpsertPrices writes prices, all or none, and tells what happened to each; Missing where the ERP prices by itself.
	UpsertPrices(ctx context.Context, prices []erp.Price) ([]erp.Outcome, error)
}

// DocumentCount is what was created on one UTC day.
type DocumentCount struct {
	Day    time.Time
	Object string // "order", "customer", "contact"
	// Documents and Lines are what this service created and knows to exist; a document whose outcome is uncertain counts
	// once it was found.
	Documents, Lines int64
}

// Capabilities is what a back end does. False and zero mean "no" and "no limit of its own".
type Capabilities struct {
	// Kind is "embedded", "tryton", "sap" …; Release is the ERP's own version.
	Kind, Release string
	// CreateCustomers … tell which writes there are.
	CreateCustomers, DeleteCustomers, WriteContacts, WriteProducts, SetInventory, CreateOrders, SetOrderStatus, WriteDeliveries,
	WriteWarranties bool
	// Deliveries and Inventory tell whether they can be read.
	Deliveries, Inventory bool
	// DeepValidation is true when dry runs ask the ERP itself.
	DeepValidation bool
	// UniqueKeys is true when the ERP itself refuses a second record of one key. Otherwise this service sees to it.
	UniqueKeys bool
	// NativeFeed is true when changes are seen as they commit; otherwise they are looked for every PollInterval.
	NativeFeed   bool
	PollInterval time.Duration
	// MaxOrderLines and the lengths by our field path ("customer.name") are the limits at the border.
	MaxOrderLines int
	MaxLength     map[string]int
	// Units and Currencies are those the back end knows; empty when it takes any.
	Units, Currencies []string
	// MergeCustomers tells whether customers can be merged from here.
	MergeCustomers bool
	// Missing names what the ERP lacks of what this back end could use, in the ERP's own words: a service, a field.
	Missing []string
}
