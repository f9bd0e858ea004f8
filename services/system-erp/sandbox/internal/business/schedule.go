package business

import (
	"math/big"

	"github.com/selfsame-io/selfsame/services/system-erp/sandbox/internal/edm"
	"github.com/selfsame-io/selfsame/services/system-erp/sandbox/internal/message"
	"github.com/selfsame-io/selfsame/services/system-erp/sandbox/internal/store"
)

// scheduleLine numbers a schedule line that a caller gives.
func (l *Laws) scheduleLine(_ *Call, n *Node) error {
	preset(n.Set, n.Row, "ScheduleLine", l.number("schedule/"+n.Row.Text(n.Set, "SalesOrder")+"/"+n.Row.Text(n.Set, "SalesOrderItem"), 1))
	return nil
}

// schedule confirms what of an item is available. Schedule lines that were given keep their dates; without any there is one
// with the date of the order.
func (l *Laws) schedule(c *Call, item store.Row) error {
	items, lines, orders := l.set("A_SalesOrderItem"), l.set("A_SalesOrderScheduleLine"), l.set("A_SalesOrder")
	var date any
	if order, ok := c.Tx.Get(orders, store.Part(&orders.Props[0], item[0])); ok {
		date = order[orders.At("RequestedDeliveryDate")]
	}
	want := rat(item, items, "RequestedQuantity")
	rows := l.planned(c, item, want)
	for _, r := range rows {
		c.Tx.Delete(lines, store.Key(lines, r))
	}
	free := l.Available(c, item.Text(items, "Material"), "")
	all := new(big.Rat)
	for _, r := range rows {
		delivered := rat(r, lines, "DeliveredQtyInOrderQtyUnit")
		promised := new(big.Rat).Sub(rat(r, lines, "ScheduleLineOrderQuantity"), delivered)
		if promised.Cmp(free) > 0 {
			promised.Set(free)
		}
		free = new(big.Rat).Sub(free, promised)
		confirmed := new(big.Rat).Add(delivered, promised)
		all.Add(all, confirmed)
		preset(lines, r, "RequestedDeliveryDate", date)
		put(lines, r, "ConfdOrderQtyByMatlAvailCheck", confirmed.FloatString(3))
		put(lines, r, "DeliveredQtyInOrderQtyUnit", delivered.FloatString(3))
		put(lines, r, "OpenConfdDelivQtyInOrdQtyUnit", promised.FloatString(3))
		if put(lines, r, "ConfirmedDeliveryDate", nil); confirmed.Sign() > 0 {
			put(lines, r, "ConfirmedDeliveryDate", r[lines.At("RequestedDeliveryDate")])
		}
		c.Tx.Put(lines, r)
	}
	if all.Cmp(want) < 0 {
		c.Notes = append(c.Notes, message.Note{
			Code: "V4/117", Message: "Item " + item.Text(items, "SalesOrderItem") + ": the quantity cannot be confirmed completely", Severity: "warning",
		})
	}
	current, _ := c.Tx.Get(items, store.Key(items, item))
	c.Tx.Put(items, current.With(items, "ConfdDelivQtyInOrderQtyUnit", all.FloatString(3)))
	return nil
}

// planned are copies of the schedule lines of an item, which hold what is wanted: the last one takes a difference, and when
// that leaves nothing of it there is one line only.
func (l *Laws) planned(c *Call, item store.Row, want *big.Rat) []store.Row {
	items, lines := l.set("A_SalesOrderItem"), l.set("A_SalesOrderScheduleLine")
	var rows []store.Row
	sum := new(big.Rat)
	c.Tx.Follow(items, item, items.Nav("to_ScheduleLine"), func(r store.Row) bool {
		rows = append(rows, r.With(lines, "ScheduleLine", r.Text(lines, "ScheduleLine")))
		sum.Add(sum, rat(r, lines, "ScheduleLineOrderQuantity"))
		return true
	})
	if len(rows) == 0 {
		r := make(store.Row, len(lines.Props))
		for name, v := range map[string]any{"SalesOrder": item.Text(items, "SalesOrder"), "SalesOrderItem": item.Text(items, "SalesOrderItem"), "ScheduleLine": "1"} {
			put(lines, r, name, v)
		}
		for i, p := range lines.Props {
			if p.Type == edm.Decimal {
				r[i] = "0.000"
			}
		}
		put(lines, r, "ScheduleLineOrderQuantity", want.FloatString(3))
		return []store.Row{r}
	}
	last := rows[len(rows)-1]
	rest := new(big.Rat).Sub(rat(last, lines, "ScheduleLineOrderQuantity"), new(big.Rat).Sub(sum, want))
	if rest.Sign() > 0 {
		put(lines, last, "ScheduleLineOrderQuantity", rest.FloatString(3))
		return rows
	}
	for _, r := range rows[1:] {
		c.Tx.Delete(lines, store.Key(lines, r))
	}
	put(lines, rows[0], "ScheduleLineOrderQuantity", want.FloatString(3))
	return rows[:1]
}
