// Package adapter is what somebody outside this module needs to put another ERP behind selfsame.erp.v1: the System to
// implement, the records it speaks of, and the words of its refusals.
//
// An adapter is a [System]: thin, without memory, without a decision about what is new. [Open] makes a back end of it, with the
// promise that one reference is one record whatever gets lost; package backendtest is its acceptance test; the field
// Backend.System of the service's configuration serves it. docs/write-an-erp-adapter.md of this repository is the guide.
//
// Everything here is a name for something of the internal packages, so an adapter in another module and one in this one are
// written in the same way, and what is not named here may change at any time.
package adapter

import (
	"context"

	"github.com/selfsame-io/selfsame/pkg/db"
	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/backend"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/remote"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/store"
)

type (
	// System is one foreign ERP; the errors it owes are listed there.
	System = remote.System
	// Source reads and writes one kind of record of it.
	Source[R any] = remote.Source[R]
	// Goods are the products and the stock of a System.
	Goods = remote.Goods
	// Sales are its orders.
	Sales = remote.Sales
	// Key finds a record that may exist already.
	Key = remote.Key
	// Snapshot is a record as the ERP has it.
	Snapshot[R any] = remote.Snapshot[R]
	// Draft is a record that is to be written.
	Draft[R any] = remote.Draft[R]
	// Reply is what became of a draft.
	Reply[R any] = remote.Reply[R]
	// Rounder is a System whose ERP rounds in its own way.
	Rounder = remote.Rounder
	// Capabilities is what a back end does.
	Capabilities = backend.Capabilities
	// OrderCursor is the place after one order in a list.
	OrderCursor = store.OrderCursor
	// Backend is one ERP behind the contract.
	Backend = backend.Backend
	// Store is the Backend that Open makes of a System.
	Store = remote.Store
	// Options are its times and limits.
	Options = remote.Options
	// Upsert is one write of a batch.
	Upsert[R any] = store.Upsert[R]
	// Result is its outcome.
	Result[R any] = store.Result[R]
)

// Reasons of refusals at the border of an ERP; see the README of the service for their kinds.
const (
	ReasonCapability  = backend.ReasonCapability
	ReasonDuplicate   = backend.ReasonDuplicate
	ReasonLocked      = backend.ReasonLocked
	ReasonInProgress  = backend.ReasonInProgress
	ReasonTooLong     = backend.ReasonTooLong
	ReasonUnit        = backend.ReasonUnit
	ReasonRegion      = backend.ReasonRegion
	ReasonCountry     = backend.ReasonCountry
	ReasonCurrency    = backend.ReasonCurrency
	ReasonTaxID       = backend.ReasonTaxID
	ReasonPrecision   = backend.ReasonPrecision
	ReasonNotMappable = backend.ReasonNotMappable
	ReasonRejected    = backend.ReasonRejected
	ReasonNumberTaken = store.ReasonNumberTaken
)

// Open migrates the database and makes a back end of a System. The ERP need not answer yet; Run of the result keeps it up to
// date, Sweep small. The service does all three for a System in its configuration.
func Open(ctx context.Context, d *db.DB, sys System, o Options) (*Store, error) {
	return remote.Open(ctx, d, sys, o)
}

// Native adds the ERP's own error to e. Empty parts are left out; the message must be free of personal data.
func Native(e *fault.Error, system, code, message, transaction string) *fault.Error {
	return backend.Native(e, system, code, message, transaction)
}

// Missing is the refusal of what a back end does not do at all.
func Missing(system, what string) error { return backend.Missing(system, what) }
