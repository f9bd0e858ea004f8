package sap

import (
	"context"
	"encoding/json"
	"math/big"
	"net/url"
	"slices"
	"strings"

	"github.com/selfsame-io/selfsame/services/system-erp/internal/erp"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/sap/odata"
)

// Deliveries implements remote.Sales.
func (s *System) Deliveries(ctx context.Context, orderID string) ([]erp.Delivery, error) {
	if !validID(orderID) {
		return nil, nil
	}
	if _, err := s.knowing(ctx, "deliveries", deliveryService); err != nil {
		return nil, err
	}
	rows, err := s.entities(ctx, deliveryService, "A_OutbDeliveryItem", "", []string{"ReferenceSDDocument eq " + odata.Quote(orderID)})
	if err != nil || len(rows) == 0 {
		return nil, err
	}
	numbers, err := s.lines(ctx, orderID)
	if err != nil {
		return nil, err
	}
	lines := map[string][]erp.DeliveryItem{}
	var ids []string
	for _, row := range rows {
		var it deliveryItem
		if err := json.Unmarshal(row, &it); err != nil {
			return nil, unreadable(err)
		}
		quantity, ok := new(big.Rat).SetString(it.Quantity)
		if !ok {
			return nil, unreadable(errNoKey)
		}
		lines[it.Delivery] = append(lines[it.Delivery], erp.DeliveryItem{
			Line: numbers[strings.TrimLeft(it.Line, "0")], SKU: it.Material, Quantity: rounded(quantity), Unit: s.codes.rec20(it.Unit),
		})
		ids = append(ids, it.Delivery)
	}
	slices.Sort(ids)
	var filters []string
	for chunk := range slices.Chunk(slices.Compact(ids), group) {
		filters = append(filters, anyOf("DeliveryDocument", chunk))
	}
	if rows, err = s.entities(ctx, deliveryService, "A_OutbDeliveryHeader", "", filters); err != nil {
		return nil, err
	}
	out := make([]erp.Delivery, len(rows))
	for i, row := range rows {
		var h deliveryHeader
		if err := json.Unmarshal(row, &h); err != nil {
			return nil, unreadable(err)
		}
		out[i] = h.delivery(orderID)
		out[i].Items = lines[h.ID]
		slices.SortStableFunc(out[i].Items, func(a, b erp.DeliveryItem) int { return int(a.Line) - int(b.Line) })
	}
	slices.SortFunc(out, func(a, b erp.Delivery) int { return strings.Compare(a.ID, b.ID) })
	return out, nil
}

// lines leads from the items of an order to our line numbers.
func (s *System) lines(ctx context.Context, orderID string) (map[string]int32, error) {
	found, err := s.client.Get(ctx, orderService, odata.Key(orderSet, orderID), url.Values{"$expand": {"to_Item"}})
	if err != nil {
		return nil, s.told(err, nil)
	}
	var o salesOrder
	if err := json.Unmarshal(found.Body, &o); err != nil {
		return nil, unreadable(err)
	}
	out := map[string]int32{}
	for _, it := range items(o.Items) {
		line, err := s.item(o, it, "")
		if err != nil {
			return nil, unreadable(err)
		}
		out[strings.TrimLeft(it.Number, "0")] = line.Line
	}
	return out, nil
}
