package remote

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"slices"
	"time"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/pkg/idempotent"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/backend"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/erp"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/store"
)

// orderRef is the reference an order is known by in the other system.
func orderRef(clientRef string) erp.Ref {
	if clientRef == "" {
		return erp.Ref{}
	}
	return erp.Ref{System: "selfsame", Type: "order", Value: clientRef}
}

// orderName is what a new order claims. An order that nothing identifies is protected within its call only.
func orderName(ctx context.Context, o erp.Order) string {
	if o.ClientRef != "" {
		return hashed("client_ref", o.ClientRef)
	}
	if key, ok := idempotent.FromContext(ctx); ok {
		return hashed("key", key)
	}
	return hashed("random", randomName())
}

// Order implements store.Orders.
func (s *Store) Order(ctx context.Context, id string) (erp.Order, error) {
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	found, err := s.sys.Orders(ctx, []string{id})
	if err != nil {
		return erp.Order{}, err
	}
	if len(found) == 0 {
		return erp.Order{}, notFound("order")
	}
	return found[0], s.step(ctx, found[0])
}

// ListOrders implements store.Orders.
func (s *Store) ListOrders(ctx context.Context, customerIDs []string, after *store.OrderCursor, limit int) ([]erp.Order, error) {
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	return s.sys.ListOrders(ctx, customerIDs, after, limit)
}

// MoveOrder implements store.Orders.
func (s *Store) MoveOrder(ctx context.Context, id string, state erp.OrderState, fulfilment, billing erp.Progress) (erp.Order, erp.Outcome, error) {
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	// Two who move one order at once do so one after the other, so that each is told what its own call did.
	giveBack, err := s.alone(ctx, objectOrder, hashed("move", id))
	if err != nil {
		return erp.Order{}, erp.Refused, err
	}
	defer giveBack()
	before, err := s.Order(ctx, id)
	if err != nil {
		return erp.Order{}, erp.Refused, err
	}
	o, err := s.sys.MoveOrder(ctx, id, state, fulfilment, billing)
	if err != nil {
		return erp.Order{}, erp.Refused, err
	}
	outcome := erp.Updated
	if before.Event().SameStep(o.Event()) {
		outcome = erp.Unchanged
	}
	return o, outcome, s.step(ctx, o)
}

// Deliveries implements backend.Fulfilment.
func (s *Store) Deliveries(ctx context.Context, orderID string) ([]erp.Delivery, error) {
	if _, err := s.Order(ctx, orderID); err != nil {
		return nil, err
	}
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	return s.sys.Deliveries(ctx, orderID)
}

// ValidateOrder implements backend.Advice.
func (s *Store) ValidateOrder(ctx context.Context, o erp.Order) (erp.Order, error) {
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	return s.prepare(ctx, o)
}

// prepare completes an order from customers and products and checks it at the border; it sends nothing.
func (s *Store) prepare(ctx context.Context, o erp.Order) (erp.Order, error) {
	if err := s.partners(ctx, o); err != nil {
		return o, err
	}
	skus := make([]string, 0, len(o.Items))
	for _, it := range o.Items {
		skus = append(skus, it.SKU)
	}
	slices.Sort(skus)
	known, err := s.goods.products(ctx, slices.Compact(skus))
	if err != nil {
		return o, err
	}
	o.Items = slices.Clone(o.Items)
	if err := o.Place(known); err != nil {
		return o, err
	}
	if err := s.total(ctx, &o); err != nil {
		return o, err
	}
	slices.SortFunc(o.Items, func(a, b erp.Item) int { return int(a.Line) - int(b.Line) })
	if o.Ordered.IsZero() {
		o.Ordered = s.o.Now().UTC().Truncate(time.Microsecond)
	}
	return o, s.sys.CheckOrder(ctx, o)
}

// partners refuses customers that are not there or may not order.
func (s *Store) partners(ctx context.Context, o erp.Order) error {
	ids := []string{o.CustomerID}
	named := []struct{ path, id string }{
		{"order.customer_id", o.CustomerID}, {"order.ship_to_id", o.ShipToID}, {"order.bill_to_id", o.BillToID}, {"order.payer_id", o.PayerID},
	}
	for _, p := range named[1:] {
		if p.id != "" {
			ids = append(ids, p.id)
		}
	}
	found, err := s.customers.Get(ctx, ids)
	if err != nil {
		return err
	}
	for _, p := range named {
		if p.id == "" && p.path != "order.customer_id" {
			continue
		}
		c, ok := found[p.id]
		switch {
		case !ok:
			return fault.InvalidField(p.path, erp.ReasonUnknownRecord, "no customer has this id")
		case c.Deleted:
			return fault.InvalidField(p.path, erp.ReasonDeleted, "the customer was deleted")
		case c.OrderBlock && p.id == o.CustomerID:
			return fault.New(fault.Precondition, store.ReasonBlocked, "the customer is blocked for orders")
		}
	}
	return nil
}

// CreateOrder implements store.Orders.
func (s *Store) CreateOrder(ctx context.Context, asked erp.Order) (erp.Order, erp.Outcome, error) {
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	cl, unlock, err := s.claims.take(ctx, objectOrder, orderName(ctx, asked))
	if err != nil {
		return erp.Order{}, erp.Refused, err
	}
	defer unlock()
	o, outcome, err := s.place(ctx, cl, asked)
	if !cl.closed {
		nctx, cancel := s.noting(ctx)
		defer cancel()
		if derr := s.claims.drop(nctx, cl); derr != nil {
			s.o.Log.WarnContext(ctx, "a claim could not be given back", "object", "order", "error", derr)
		}
	}
	if err != nil {
		return erp.Order{}, erp.Refused, err
	}
	s.counters.written(ctx, "order", outcome)
	if err := s.step(ctx, o); err != nil {
		s.o.Log.WarnContext(ctx, "the step of an order could not be noted", "error", err)
	}
	return o, outcome, nil
}

// place answers from what is known, else looks for the order, else makes it.
func (s *Store) place(ctx context.Context, cl *claim, asked erp.Order) (erp.Order, erp.Outcome, error) {
	print := asked.Fingerprint()
	if cl.state != stateFree && len(cl.print) > 0 && !bytes.Equal(cl.print, print[:]) {
		e := fault.New(fault.AlreadyExists, store.ReasonClientRef, "an order with other content has this client reference")
		if cl.record != "" {
			e = e.WithMeta("record_id", cl.record)
		}
		return erp.Order{}, erp.Refused, e
	}
	key := Key{Ref: orderRef(asked.ClientRef), Mark: cl.mark}
	if cl.record != "" {
		return s.known(ctx, cl, print[:], erp.Unchanged)
	}
	found, err := s.findOrder(ctx, key)
	if err != nil {
		return erp.Order{}, erp.Refused, err
	}
	if found != nil {
		// Ours when something was sent from here. Otherwise this database does not know it: it counts for nobody.
		return s.made(ctx, cl, *found, print[:], erp.AlreadyExists, cl.pending)
	}
	if cl.pending {
		if left := s.o.Settle - s.o.Now().Sub(cl.sent); left > 0 {
			return erp.Order{}, erp.Refused, fault.New(fault.Uncertain, fault.ReasonOutcomeUncertain,
				"an earlier attempt at this order is not settled; the same call later finds out").WithRetryAfter(min(left, 30*time.Second))
		}
	}
	ready, err := s.prepare(ctx, asked)
	if err != nil {
		return erp.Order{}, erp.Refused, err
	}
	return s.insertOrder(ctx, cl, ready, key, print[:])
}

// known answers with an order that is known under the client reference, after the steps it still owes.
func (s *Store) known(ctx context.Context, cl *claim, print []byte, outcome erp.Outcome) (erp.Order, erp.Outcome, error) {
	if cl.state == stateMade {
		return s.advance(ctx, cl, cl.record, print, outcome)
	}
	found, err := s.sys.Orders(ctx, []string{cl.record})
	if err != nil {
		return erp.Order{}, erp.Refused, err
	}
	if len(found) == 0 {
		return erp.Order{}, erp.Refused, fault.New(fault.Precondition, "ORDER_GONE",
			"the order of this client reference was removed in the ERP").WithMeta("record_id", cl.record)
	}
	return found[0], outcome, nil
}

func (s *Store) findOrder(ctx context.Context, key Key) (*erp.Order, error) {
	found, err := s.sys.FindOrders(ctx, key)
	if err != nil || len(found) == 0 {
		return nil, err
	}
	ids := make([]string, len(found))
	for i, o := range found {
		ids[i] = o.ID
	}
	slices.Sort(ids)
	if ids = slices.Compact(ids); len(ids) > 1 {
		return nil, s.duplicates("order", ids)
	}
	return &found[0], nil
}

// insertOrder sends the order and looks again when no answer comes. Each sending is noted before: who was away for longer than
// its lease finds that somebody else has the name, and sends nothing.
func (s *Store) insertOrder(ctx context.Context, cl *claim, o erp.Order, key Key, print []byte) (erp.Order, erp.Outcome, error) {
	var made erp.Order
	var err error
	before := *cl
	for try := 1; ; try++ {
		if err := s.claims.move(ctx, stateSent, "", print, cl); err != nil {
			return erp.Order{}, erp.Refused, err
		}
		key.First = cl.first
		if made, err = s.sys.InsertOrder(ctx, o, key); err == nil {
			return s.made(ctx, cl, made, print, erp.Created, true)
		}
		if fault.ReasonOf(err) != backend.ReasonLocked || try >= s.o.LockedTries || !sleep(ctx, s.o.Locked.Next(try)) {
			break
		}
		// It was refused: what follows is another request. What an earlier call sent is as open as it was.
		cl.first, before.first = time.Time{}, time.Time{}
	}
	if !isUncertain(err) {
		cl.refused(err, before)
		return erp.Order{}, erp.Refused, err
	}
	nctx, cancel := s.noting(ctx)
	defer cancel()
	found, ferr := s.findOrder(nctx, key)
	if ferr == nil && found != nil {
		return s.made(nctx, cl, *found, print, erp.Created, true)
	}
	s.counters.lost(ctx, "order")
	cl.closed = true
	if merr := s.claims.move(nctx, stateUncertain, "", print, cl); merr != nil {
		s.o.Log.WarnContext(ctx, "a lost answer could not be noted", "object", "order", "error", merr)
	}
	if ferr != nil && fault.ReasonOf(ferr) == backend.ReasonDuplicate {
		return erp.Order{}, erp.Refused, ferr
	}
	return erp.Order{}, erp.Refused, asUncertain(err)
}

// made notes the order under its name, then takes its steps. Whatever happens in between, the order is known.
func (s *Store) made(ctx context.Context, cl *claim, o erp.Order, print []byte, outcome erp.Outcome, ours bool) (erp.Order, erp.Outcome, error) {
	nctx, cancel := s.noting(ctx)
	defer cancel()
	err := s.db.Tx(nctx, func(ctx context.Context, tx *sql.Tx) error {
		if ours {
			if err := s.document(ctx, tx, objectOrder, o.ID, len(o.Items)); err != nil {
				return err
			}
		}
		return s.claims.set(ctx, tx, stateMade, o.ID, print, cl)
	})
	if err != nil {
		cl.closed = true
		if merr := s.claims.move(nctx, stateUncertain, "", print, cl); merr != nil {
			s.o.Log.WarnContext(ctx, "an order could not be noted", "error", merr)
		}
		return erp.Order{}, erp.Refused, asUncertain(fmt.Errorf("note an order: %w", err))
	}
	cl.state, cl.record, cl.print, cl.pending = stateMade, o.ID, print, false
	now, outcome, err := s.advance(ctx, cl, o.ID, print, outcome)
	now.Warnings = o.Warnings
	return now, outcome, err
}

// advance takes the steps a fresh order owes. When one fails the order exists all the same: the caller gets the error with
// its id, and the same call, or the background, goes on.
func (s *Store) advance(ctx context.Context, cl *claim, id string, print []byte, outcome erp.Outcome) (erp.Order, erp.Outcome, error) {
	o, err := s.sys.AdvanceOrder(ctx, id)
	for try := 1; err != nil && fault.ReasonOf(err) == backend.ReasonLocked && try < s.o.LockedTries && sleep(ctx, s.o.Locked.Next(try)); try++ {
		o, err = s.sys.AdvanceOrder(ctx, id)
	}
	if err != nil && (isUncertain(err) || fault.Retryable(err)) {
		// The order stands and its next step is owed to it; its caller need not wait for that.
		nctx, cancel := s.noting(ctx)
		defer cancel()
		found, rerr := s.sys.Orders(nctx, []string{id})
		if rerr != nil || len(found) == 0 {
			return erp.Order{}, erp.Refused, asUncertain(err)
		}
		s.o.Log.WarnContext(ctx, "an order waits for its next step", "error", err)
		return found[0], outcome, nil
	}
	if err != nil {
		if f, ok := fault.As(err); ok {
			err = f.WithMeta("record_id", id)
		}
		return erp.Order{}, erp.Refused, err
	}
	nctx, cancel := s.noting(ctx)
	defer cancel()
	cl.closed = true
	if err := s.claims.move(nctx, stateDone, id, print, cl); err != nil {
		s.o.Log.WarnContext(ctx, "an order could not be noted as done", "error", err)
	}
	return o, outcome, nil
}
