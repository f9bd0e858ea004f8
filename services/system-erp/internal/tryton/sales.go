package tryton

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/backend"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/erp"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/remote"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/store"
)

var saleFields = []string{
	"number", "reference", "description", "party", "invoice_party", "shipment_party", "currency", "comment", "state", "invoice_state",
	"shipment_state", "untaxed_amount", "shipping_date", "lines", "create_date", "write_date", "shipments",
}

// priceDigits is Tryton's default precision of prices.
const priceDigits = 4

// CheckOrder implements remote.Sales.
func (s *System) CheckOrder(ctx context.Context, o erp.Order) error {
	m, err := s.data(ctx)
	if err != nil {
		return err
	}
	if m.currencies[o.Currency] == 0 {
		return fault.InvalidField("order.currency", backend.ReasonCurrency, "the ERP does not know this currency")
	}
	if o.PayerID != "" && o.PayerID != o.BillToID && (o.BillToID != "" || o.PayerID != o.CustomerID) {
		return fault.InvalidField("order.payer_id", backend.ReasonNotMappable, "in the ERP whoever gets the invoice pays it")
	}
	if o.BlockReason != "" {
		return fault.InvalidField("order.block_reason", backend.ReasonNotMappable, "the ERP has no place for it")
	}
	if err := m.orderLengths(o); err != nil {
		return err
	}
	for i, it := range o.Items {
		path := fmt.Sprintf("order.items[%d]", i)
		unit, ok := m.unit(it.Unit)
		switch {
		case !ok:
			return fault.InvalidField(path+".unit", backend.ReasonUnit, "the ERP does not know this unit")
		case !fits(it.Quantity, m.uoms[unit].digits):
			return fault.InvalidField(path+".quantity", backend.ReasonPrecision, "the unit has %d decimal places in the ERP", m.uoms[unit].digits)
		case !exact(it.Quantity):
			return fault.InvalidField(path+".quantity", backend.ReasonPrecision, "the ERP keeps quantities with 15 digits")
		case !fits(it.Price.Amount, priceDigits):
			return fault.InvalidField(path+".unit_price.amount", backend.ReasonPrecision, "prices have %d decimal places in the ERP", priceDigits)
		case it.Requested != "" && it.Requested != o.Requested:
			return fault.InvalidField(path+".requested_date", backend.ReasonNotMappable, "the ERP keeps one date for the whole order")
		}
	}
	return nil
}

// fits tells whether d has at most so many digits after the point.
func fits(d erp.Decimal, digits int) bool {
	one, err := erp.ParseDecimal("1")
	return err == nil && d.Mul(one, digits).Cmp(d) == 0
}

// reference is what a sale is found by.
func reference(k remote.Key) string {
	if k.Ref.Value != "" {
		return k.Ref.Value
	}
	return k.Mark
}

// FindOrders implements remote.Sales.
func (s *System) FindOrders(ctx context.Context, k remote.Key) ([]erp.Order, error) {
	m, err := s.data(ctx)
	if err != nil {
		return nil, err
	}
	ids, err := s.search(ctx, "sale.sale", []any{clause("company", "=", m.company), clause("reference", "=", reference(k))}, 0)
	if err != nil {
		return nil, err
	}
	return s.orders(ctx, ids)
}

// InsertOrder implements remote.Sales: the sale with its lines is one call, and so exists as a whole or not at all.
func (s *System) InsertOrder(ctx context.Context, o erp.Order, k remote.Key) (erp.Order, error) {
	m, err := s.data(ctx)
	if err != nil {
		return erp.Order{}, err
	}
	values, err := s.header(ctx, m, o)
	if err != nil {
		return erp.Order{}, err
	}
	values["reference"] = reference(k)
	skus := make([]string, len(o.Items))
	for i, it := range o.Items {
		skus[i] = it.SKU
	}
	known, err := s.products(ctx, []any{clause("code", "in", skus)}, 0)
	if err != nil {
		return erp.Order{}, err
	}
	var lines []any
	for i, it := range o.Items {
		n := slices.IndexFunc(known, func(p product) bool { return p.SKU == it.SKU })
		if n < 0 {
			return erp.Order{}, fault.InvalidField(fmt.Sprintf("order.items[%d].sku", i), erp.ReasonUnknownRecord, "no product has this SKU")
		}
		unit := known[n].uom
		if m.uoms[unit].code != it.Unit {
			unit, _ = m.unit(it.Unit)
		}
		line := map[string]any{
			"type": "line", "sequence": it.Line, "product": known[n].id, "quantity": float(it.Quantity), "unit": unit,
			"unit_price": numeric(it.Price.Amount),
		}
		if it.Name != known[n].Name {
			line["description"] = it.Name
		}
		lines = append(lines, line)
	}
	values["lines"] = []any{[]any{"create", lines}}
	var ids []int64
	if err := s.client.call(ctx, true, &ids, "model.sale.sale.create", []any{values}, s.context(ctx, nil)); err != nil {
		return erp.Order{}, err
	}
	made, err := s.orders(ctx, ids)
	if err != nil || len(made) != 1 {
		return erp.Order{}, fault.Wrap(fault.Uncertain, fault.ReasonOutcomeUncertain, err, "what was written cannot be read")
	}
	return made[0], nil
}

// header is the sale without its lines.
func (s *System) header(ctx context.Context, m *master, o erp.Order) (map[string]any, error) {
	values := map[string]any{"company": m.company, "currency": m.currencies[o.Currency], "comment": o.Note}
	if o.CustomerPO != "" {
		values["description"] = o.CustomerPO
	}
	if o.Requested != "" {
		values["shipping_date"] = date(o.Requested)
	}
	pick := func(id, fallback string) int64 {
		if id == "" {
			id = fallback
		}
		n, _ := number(id)
		return n
	}
	buyer, bill, ship := pick(o.CustomerID, ""), pick(o.BillToID, o.CustomerID), pick(o.ShipToID, o.CustomerID)
	found, err := parties{s}.load(ctx, []int64{buyer, bill, ship})
	if err != nil {
		return nil, err
	}
	values["party"], values["invoice_party"], values["shipment_party"] = buyer, bill, ship
	for _, part := range []struct {
		field, path string
		id          int64
		usage       erp.Usage
	}{
		{"invoice_address", "order.bill_to_id", bill, erp.UsageBillTo}, {"shipment_address", "order.ship_to_id", ship, erp.UsageShipTo},
	} {
		o := found[part.id]
		if o == nil {
			return nil, fault.InvalidField(part.path, erp.ReasonUnknownRecord, "no customer has this id")
		}
		address := o.addressOf(part.usage)
		if address == nil {
			address = o.addressOf(erp.UsageDefault)
		}
		if address == nil {
			return nil, fault.InvalidField(part.path, "ADDRESS_MISSING", "the ERP wants an address of this customer")
		}
		values[part.field] = address.id("id")
	}
	return values, nil
}

// AdvanceOrder implements remote.Sales: draft, quotation, confirmed, processing. Each step is asked for only in the state
// before it, so a step whose answer was lost is not taken twice.
func (s *System) AdvanceOrder(ctx context.Context, id string) (erp.Order, error) {
	n, _ := number(id)
	for range 4 {
		rows, err := s.find(ctx, "sale.sale", []any{clause("id", "=", n)}, 1, "state")
		if err != nil {
			return erp.Order{}, err
		}
		if len(rows) == 0 {
			return erp.Order{}, fault.New(fault.NotFound, fault.ReasonNotFound, "no order has this id")
		}
		step := map[string]string{"draft": "quote", "quotation": "confirm", "confirmed": "process"}[rows[0].str("state")]
		if step == "" || !s.confirm {
			break
		}
		if err := s.client.call(ctx, true, nil, "model.sale.sale."+step, []int64{n}, s.context(ctx, nil)); err != nil {
			return erp.Order{}, err
		}
	}
	found, err := s.orders(ctx, []int64{n})
	if err != nil {
		return erp.Order{}, err
	}
	if len(found) == 0 {
		return erp.Order{}, fault.New(fault.NotFound, fault.ReasonNotFound, "no order has this id")
	}
	return found[0], nil
}

// Orders implements remote.Sales.
func (s *System) Orders(ctx context.Context, ids []string) ([]erp.Order, error) {
	known, err := s.search(ctx, "sale.sale", []any{clause("id", "in", numbers(ids))}, 0)
	if err != nil {
		return nil, err
	}
	return s.orders(ctx, known)
}

// ListOrders implements remote.Sales.
func (s *System) ListOrders(ctx context.Context, customerIDs []string, after *store.OrderCursor, limit int) ([]erp.Order, error) {
	domain := []any{clause("party", "in", numbers(customerIDs))}
	if after != nil {
		at := moment(time.UnixMicro(after.Ordered))
		id, _ := number(after.ID)
		domain = append(domain, or(clause("create_date", "<", at), []any{clause("create_date", "=", at), clause("id", "<", id)}))
	}
	ids, err := s.search(ctx, "sale.sale", domain, limit, []string{"create_date", "DESC"}, []string{"id", "DESC"})
	if err != nil {
		return nil, err
	}
	return s.orders(ctx, ids)
}

// ChangedOrders implements remote.Sales. States of shipments and invoices are kept in the sale, so they move its stamp.
func (s *System) ChangedOrders(ctx context.Context, since time.Time, page func([]erp.Order) error) error {
	at := moment(since)
	for last := int64(0); ; {
		ids, err := s.search(ctx, "sale.sale", []any{clause("id", ">", last), or(clause("write_date", ">=", at), clause("create_date", ">=", at))}, pageSize)
		if err != nil || len(ids) == 0 {
			return err
		}
		last = ids[len(ids)-1]
		list, err := s.orders(ctx, ids)
		if err != nil {
			return err
		}
		if err := page(list); err != nil {
			return err
		}
	}
}

// MoveOrder implements remote.Sales: an order can be confirmed and called off; the rest follows from shipments and invoices.
func (s *System) MoveOrder(ctx context.Context, id string, state erp.OrderState, fulfilment, billing erp.Progress) (erp.Order, error) {
	if fulfilment != 0 || billing != 0 || state == erp.OrderCompleted {
		return erp.Order{}, backend.Missing(Kind, "state what was delivered, invoiced or completed")
	}
	n, _ := number(id)
	found, err := s.orders(ctx, []int64{n})
	if err != nil || len(found) == 0 {
		return erp.Order{}, err
	}
	o := found[0]
	changed, err := o.Move(state, 0, 0)
	if err != nil || !changed {
		return o, err
	}
	var steps []string
	if state == erp.OrderCancelled {
		steps = []string{"cancel"}
	} else {
		rows, err := s.find(ctx, "sale.sale", []any{clause("id", "=", n)}, 1, "state")
		if err != nil {
			return erp.Order{}, err
		}
		if len(rows) > 0 && rows[0].str("state") == "draft" {
			steps = []string{"quote", "confirm"}
		} else {
			steps = []string{"confirm"}
		}
	}
	for _, step := range steps {
		if err := s.client.call(ctx, true, nil, "model.sale.sale."+step, []int64{n}, s.context(ctx, nil)); err != nil {
			return erp.Order{}, err
		}
	}
	if found, err = s.orders(ctx, []int64{n}); err != nil || len(found) == 0 {
		return erp.Order{}, err
	}
	return found[0], nil
}
