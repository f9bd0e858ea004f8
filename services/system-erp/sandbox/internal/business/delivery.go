package business

import (
	"math/big"
	"net/http"

	"github.com/selfsame-io/selfsame/services/system-erp/sandbox/internal/message"
	"github.com/selfsame-io/selfsame/services/system-erp/sandbox/internal/store"
)

// Shipment says what a delivery holds.
type Shipment struct {
	// Items are quantities by item of the order; without any it is everything that is open.
	Items map[string]string
	// Planned leaves the goods where they are until Issue.
	Planned bool
	// Bill is the number of the bill of lading.
	Bill string
}

// portion is what of an item goes into a delivery.
type portion struct {
	item     store.Row
	quantity *big.Rat
}

// Deliver makes a delivery of an order and returns its number. Unless it is only planned the goods leave at once.
func (l *Laws) Deliver(c *Call, id string, s Shipment) (string, error) {
	orders, items := l.set("A_SalesOrder"), l.set("A_SalesOrderItem")
	order, ok := c.Tx.Get(orders, store.Part(&orders.Props[0], id))
	if !ok {
		return "", message.New(http.StatusNotFound, "V1/302", "Sales document %s does not exist", id)
	}
	if order.Text(orders, "DeliveryBlockReason") != "" {
		return "", message.Bad("VL/016", "Sales document %s is blocked for delivery", id)
	}
	portions, err := l.portions(c, order, s)
	if err != nil {
		return "", err
	}
	header := l.deliveryHeader(c, order, s)
	number := header.Text(l.set("A_OutbDeliveryHeader"), "DeliveryDocument")
	for _, p := range portions {
		l.pack(c, number, p)
	}
	status := "C"
	c.Tx.Follow(orders, order, orders.Nav("to_Item"), func(r store.Row) bool {
		if r.Text(items, "DeliveryStatus") != "C" && r.Text(items, "SalesDocumentRjcnReason") == "" {
			status = "B"
		}
		return true
	})
	order = order.With(orders, "OverallDeliveryStatus", status).With(orders, "OverallTotalDeliveryStatus", status)
	c.Tx.Put(orders, l.stampOrder(order.With(orders, "OverallSDProcessStatus", "B")))
	l.follow(c, id, number, "J")
	if s.Planned {
		return number, nil
	}
	return l.Issue(c, number)
}

// portions are what of an order goes into a delivery.
func (l *Laws) portions(c *Call, order store.Row, s Shipment) ([]portion, error) {
	orders, items := l.set("A_SalesOrder"), l.set("A_SalesOrderItem")
	var out []portion
	var err error
	asked := 0
	c.Tx.Follow(orders, order, orders.Nav("to_Item"), func(r store.Row) bool {
		left := new(big.Rat).Sub(rat(r, items, "RequestedQuantity"), l.packed(c, r))
		number := r.Text(items, "SalesOrderItem")
		quantity := left
		if text, named := s.Items[number]; named {
			asked++
			var ok bool
			if quantity, ok = new(big.Rat).SetString(text); !ok || quantity.Sign() <= 0 || quantity.Cmp(left) > 0 {
				err = message.Bad("VL/367", "Item %s: only %s can be delivered", number, left.FloatString(3))
				return false
			}
		} else if len(s.Items) > 0 {
			return true
		}
		if left.Sign() > 0 && r.Text(items, "SalesDocumentRjcnReason") == "" {
			out = append(out, portion{r, quantity})
		}
		return true
	})
	switch {
	case err != nil:
		return nil, err
	case len(out) == 0 || asked < len(s.Items):
		return nil, message.Bad("VL/150", "There are no items to be delivered")
	}
	return out, nil
}

// packed is what of an item is in deliveries already, sent off or not.
func (l *Laws) packed(c *Call, item store.Row) *big.Rat {
	set, items := l.set("A_OutbDeliveryItem"), l.set("A_SalesOrderItem")
	sum := new(big.Rat)
	c.Tx.Scan(set, "", func(r store.Row) bool {
		if r.Text(set, "ReferenceSDDocument") == item.Text(items, "SalesOrder") && r.Text(set, "ReferenceSDDocumentItem") == item.Text(items, "SalesOrderItem") {
			sum.Add(sum, rat(r, set, "ActualDeliveryQuantity"))
		}
		return true
	})
	return sum
}

func (l *Laws) deliveryHeader(c *Call, order store.Row, s Shipment) store.Row {
	set, orders, now := l.set("A_OutbDeliveryHeader"), l.set("A_SalesOrder"), l.Now()
	r := make(store.Row, len(set.Props))
	for name, v := range map[string]any{
		"DeliveryDocument": l.number("delivery", 80000001), "DeliveryVersion": "1", "ShipToParty": order.Text(orders, "SoldToParty"),
		"SoldToParty": order.Text(orders, "SoldToParty"), "PlannedGoodsIssueDate": day(now), "DeliveryDate": day(now),
		"CreationDate": day(now), "LastChangeDate": day(now), "OverallSDProcessStatus": "A", "OverallGoodsMovementStatus": "A", "OverallPickingStatus": "A",
		"OverallProofOfDeliveryStatus": "", "BillOfLading": s.Bill,
	} {
		put(set, r, name, v)
	}
	c.Tx.Put(set, r)
	return r
}

// pack puts a portion into a delivery.
func (l *Laws) pack(c *Call, delivery string, p portion) {
	set, items := l.set("A_OutbDeliveryItem"), l.set("A_SalesOrderItem")
	text := func(name string) string { return p.item.Text(items, name) }
	r := make(store.Row, len(set.Props))
	for name, v := range map[string]any{
		"DeliveryDocument": delivery, "DeliveryDocumentItem": text("SalesOrderItem"), "Material": text("Material"), "Plant": text("ProductionPlant"),
		"ReferenceSDDocument": text("SalesOrder"), "ReferenceSDDocumentItem": text("SalesOrderItem"),
		"ActualDeliveryQuantity": p.quantity.FloatString(3), "DeliveryQuantityUnit": text("RequestedQuantityUnit"),
	} {
		put(set, r, name, v)
	}
	c.Tx.Put(set, r)
	status := "B"
	if l.packed(c, p.item).Cmp(rat(p.item, items, "RequestedQuantity")) >= 0 {
		status = "C"
	}
	c.Tx.Put(items, p.item.With(items, "DeliveryStatus", status).With(items, "SDProcessStatus", "B"))
}

// Issue sends a planned delivery off: the goods leave the stock and the order has them as delivered. It returns its number.
func (l *Laws) Issue(c *Call, delivery string) (string, error) {
	set, lines := l.set("A_OutbDeliveryHeader"), l.set("A_OutbDeliveryItem")
	h, ok := c.Tx.Get(set, store.Part(&set.Props[0], delivery))
	if !ok {
		return "", message.New(http.StatusNotFound, "VL/302", "Delivery %s does not exist", delivery)
	}
	if h.Text(set, "OverallGoodsMovementStatus") == "C" {
		return "", message.Bad("VL/609", "The goods of delivery %s have left", delivery)
	}
	orders := l.set("A_SalesOrder")
	c.Tx.Follow(set, h, set.Nav("to_DeliveryDocumentItem"), func(r store.Row) bool {
		l.move(c, r)
		if o, ok := c.Tx.Get(orders, store.Part(&orders.Props[0], r.Text(lines, "ReferenceSDDocument"))); ok {
			c.Tx.Put(orders, l.stampOrder(o))
		}
		return true
	})
	for _, p := range []string{"OverallGoodsMovementStatus", "OverallPickingStatus"} {
		h = h.With(set, p, "C")
	}
	now := day(l.Now())
	c.Tx.Put(set, h.With(set, "OverallSDProcessStatus", "B").With(set, "ActualGoodsMovementDate", now).With(set, "LastChangeDate", now).With(set, "DeliveryVersion", "2"))
	return h.Text(set, "DeliveryDocument"), nil
}

// move takes what one item of a delivery holds out of the stock, and off what is open of its order.
func (l *Laws) move(c *Call, r store.Row) {
	set, items, lines, stock := l.set("A_OutbDeliveryItem"), l.set("A_SalesOrderItem"), l.set("A_SalesOrderScheduleLine"), l.set("A_MatlStkInAcctMod")
	moved := rat(r, set, "ActualDeliveryQuantity")
	key := store.Part(&items.Props[0], r.Text(set, "ReferenceSDDocument")) + "\x00" + store.Part(&items.Props[1], r.Text(set, "ReferenceSDDocumentItem"))
	if item, ok := c.Tx.Get(items, key); ok {
		var open []store.Row
		c.Tx.Follow(items, item, items.Nav("to_ScheduleLine"), func(s store.Row) bool { open = append(open, s); return true })
		left := new(big.Rat).Set(moved)
		for i, s := range open {
			delivered := rat(s, lines, "DeliveredQtyInOrderQtyUnit")
			part := new(big.Rat).Sub(rat(s, lines, "ScheduleLineOrderQuantity"), delivered)
			if part.Cmp(left) > 0 || i == len(open)-1 {
				part.Set(left)
			}
			left.Sub(left, part)
			promised := rat(s, lines, "OpenConfdDelivQtyInOrdQtyUnit")
			if promised.Sub(promised, part); promised.Sign() < 0 {
				promised.SetInt64(0)
			}
			c.Tx.Put(lines, s.With(lines, "DeliveredQtyInOrderQtyUnit", delivered.Add(delivered, part).FloatString(3)).
				With(lines, "OpenConfdDelivQtyInOrdQtyUnit", promised.FloatString(3)))
		}
	}
	var source store.Row
	c.Tx.Scan(stock, store.Part(&stock.Props[0], r.Text(set, "Material")), func(s store.Row) bool { source = s; return false })
	if source != nil {
		left := rat(source, stock, "MatlWrhsStkQtyInMatlBaseUnit")
		c.Tx.Put(stock, source.With(stock, "MatlWrhsStkQtyInMatlBaseUnit", left.Sub(left, moved).FloatString(14)))
	}
}
