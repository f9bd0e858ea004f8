package tryton

import (
	"cmp"
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/selfsame-io/selfsame/services/system-erp/internal/erp"
)

// orders reads sales in the order of ids, with what has been delivered of their lines.
func (s *System) orders(ctx context.Context, ids []int64) ([]erp.Order, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	m, err := s.data(ctx)
	if err != nil {
		return nil, err
	}
	sales, err := s.read(ctx, "sale.sale", ids, saleFields...)
	if err != nil {
		return nil, err
	}
	var lineIDs []int64
	for _, r := range sales {
		lineIDs = append(lineIDs, r.ids("lines")...)
	}
	lines, err := s.read(ctx, "sale.line", lineIDs, "sale", "type", "sequence", "product", "quantity", "unit", "unit_price", "description", "moves")
	if err != nil {
		return nil, err
	}
	moves, err := s.moves(ctx, lines)
	if err != nil {
		return nil, err
	}
	codes, err := s.codes(ctx, lines)
	if err != nil {
		return nil, err
	}
	byID := make(map[int64]erp.Order, len(sales))
	for _, r := range sales {
		o, err := s.order(m, r)
		if err != nil {
			return nil, err
		}
		for i, l := range lines {
			if l.id("sale") != r.id("id") || l.str("type") != "line" {
				continue
			}
			it, err := item(m, l, moves, codes)
			if err != nil {
				return nil, err
			}
			it.Price.Currency = o.Currency
			if it.Line == 0 {
				it.Line = int32(i + 1) //nolint:gosec // lines of one order
			}
			o.Items = append(o.Items, it)
		}
		slices.SortStableFunc(o.Items, func(a, b erp.Item) int { return cmp.Compare(a.Line, b.Line) })
		if p := o.Shipped(); p > o.Fulfilment {
			o.Fulfilment = p
		}
		byID[r.id("id")] = o
	}
	out := make([]erp.Order, 0, len(ids))
	for _, id := range ids {
		if o, ok := byID[id]; ok {
			out = append(out, o)
			delete(byID, id)
		}
	}
	return out, nil
}

// order maps the head of a sale.
func (s *System) order(m *master, r record) (erp.Order, error) {
	total, err := r.decimal("untaxed_amount")
	if err != nil {
		return erp.Order{}, err
	}
	currency := m.currencyOf[r.id("currency")]
	o := erp.Order{
		ID: name(r.id("id")), ClientRef: r.str("reference"), CustomerID: name(r.id("party")), CustomerPO: r.str("description"),
		Ordered: r.time("create_date"), Requested: r.day("shipping_date"), Currency: currency, Note: r.str("comment"),
		State: erp.OrderReceived, Fulfilment: erp.ProgressNone, Billing: erp.ProgressNone,
		Total: erp.Money{Amount: total, Currency: currency}, Version: r.changed().UnixMicro(), Updated: r.changed(),
	}
	if id := r.id("invoice_party"); id != 0 && id != r.id("party") {
		o.BillToID = name(id)
	}
	if id := r.id("shipment_party"); id != 0 && id != r.id("party") {
		o.ShipToID = name(id)
	}
	switch r.str("state") {
	case "confirmed", "processing":
		o.State = erp.OrderConfirmed
	case "done":
		o.State = erp.OrderCompleted
	case "cancelled":
		o.State = erp.OrderCancelled
	}
	if r.str("shipment_state") == "sent" {
		o.Fulfilment = erp.ProgressFull
	}
	switch r.str("invoice_state") {
	case "waiting":
		o.Billing = erp.ProgressPartial // invoiced and not paid
	case "paid":
		o.Billing = erp.ProgressFull
	}
	switch {
	case r.str("shipment_state") == "exception":
		o.BlockReason = "shipment exception"
	case r.str("invoice_state") == "exception":
		o.BlockReason = "invoice exception"
	}
	return o, nil
}

func item(m *master, l record, moves map[int64][]record, codes map[int64]string) (it erp.Item, err error) {
	it = erp.Item{
		Line: int32(l.id("sequence")), SKU: codes[l.id("product")], Unit: m.uoms[l.id("unit")].code, Name: l.str("description"), //nolint:gosec // small
	}
	if it.Unit == "" {
		it.Unit = m.uoms[l.id("unit")].symbol // not in the table: shown as it is rather than dropped
	}
	if it.Quantity, err = l.decimal("quantity"); err != nil {
		return it, err
	}
	if it.Price.Amount, err = l.decimal("unit_price"); err != nil {
		return it, err
	}
	for _, mv := range moves[l.id("id")] {
		if mv.str("state") != "done" || mv.id("uom") != l.id("unit") {
			continue
		}
		q, err := mv.decimal("quantity")
		if err != nil {
			return it, err
		}
		it.Delivered = it.Delivered.Add(q)
	}
	return it, nil
}

// moves reads the stock moves of sale lines by line: those to the customer.
func (s *System) moves(ctx context.Context, lines []record) (map[int64][]record, error) {
	var ids []int64
	for _, l := range lines {
		ids = append(ids, l.ids("moves")...)
	}
	list, err := s.read(ctx, "stock.move", ids, "state", "quantity", "uom", "origin", "product", "shipment")
	if err != nil {
		return nil, err
	}
	out := make(map[int64][]record)
	for _, mv := range list {
		if line, ok := strings.CutPrefix(mv.str("origin"), "sale.line,"); ok {
			if id, err := strconv.ParseInt(line, 10, 64); err == nil {
				out[id] = append(out[id], mv)
			}
		}
	}
	return out, nil
}

// codes are the SKUs of the products of lines.
func (s *System) codes(ctx context.Context, lines []record) (map[int64]string, error) {
	var ids []int64
	for _, l := range lines {
		if id := l.id("product"); id != 0 {
			ids = append(ids, id)
		}
	}
	rows, err := s.read(ctx, "product.product", ids, "code")
	if err != nil {
		return nil, err
	}
	out := make(map[int64]string, len(rows))
	for _, r := range rows {
		out[r.id("id")] = r.str("code")
	}
	return out, nil
}

// Deliveries implements remote.Sales: the shipments of a sale.
func (s *System) Deliveries(ctx context.Context, orderID string) ([]erp.Delivery, error) {
	m, err := s.data(ctx)
	if err != nil {
		return nil, err
	}
	n, _ := number(orderID)
	sales, err := s.read(ctx, "sale.sale", []int64{n}, "shipments", "lines")
	if err != nil || len(sales) == 0 {
		return nil, err
	}
	lines, err := s.read(ctx, "sale.line", sales[0].ids("lines"), "sequence", "moves")
	if err != nil {
		return nil, err
	}
	moves, err := s.moves(ctx, lines)
	if err != nil {
		return nil, err
	}
	var all []record
	for _, list := range moves {
		all = append(all, list...)
	}
	codes, err := s.codes(ctx, all)
	if err != nil {
		return nil, err
	}
	shipments, err := s.read(ctx, "stock.shipment.out", sales[0].ids("shipments"), "number", "reference", "state", "effective_date", "create_date", "write_date")
	if err != nil {
		return nil, err
	}
	out := make([]erp.Delivery, 0, len(shipments))
	for _, sh := range shipments {
		d := erp.Delivery{
			ID: cmp.Or(sh.str("number"), name(sh.id("id"))), OrderID: orderID, State: erp.DeliveryPlanned, Tracking: sh.str("reference"),
			Version: sh.changed().UnixMicro(), Updated: sh.changed(),
		}
		switch sh.str("state") {
		case "done":
			d.State = erp.DeliveryShipped
			d.Shipped, _ = time.Parse(time.DateOnly, sh.day("effective_date"))
		case "cancelled":
			d.State = erp.DeliveryCancelled
		}
		for _, l := range lines {
			for _, mv := range moves[l.id("id")] {
				if mv.str("shipment") != "stock.shipment.out,"+name(sh.id("id")) {
					continue
				}
				q, err := mv.decimal("quantity")
				if err != nil {
					return nil, err
				}
				d.Items = append(d.Items, erp.DeliveryItem{
					Line: int32(l.id("sequence")), SKU: codes[mv.id("product")], Quantity: q, Unit: m.uoms[mv.id("uom")].code, //nolint:gosec // small
				})
			}
		}
		out = append(out, d)
	}
	slices.SortStableFunc(out, func(a, b erp.Delivery) int { return cmp.Compare(a.Version, b.Version) })
	return out, nil
}
