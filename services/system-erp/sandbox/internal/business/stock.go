package business

import (
	"math/big"
	"net/http"
	"time"

	"github.com/selfsame-io/selfsame/services/system-erp/sandbox/internal/edm"
	"github.com/selfsame-io/selfsame/services/system-erp/sandbox/internal/message"
	"github.com/selfsame-io/selfsame/services/system-erp/sandbox/internal/store"
)

func (l *Laws) product(_ *Call, n *Node) error {
	preset(n.Set, n.Row, "BaseUnit", "ST")
	put(n.Set, n.Row, "CreationDate", day(l.Now()))
	n.Row = l.stampProduct(n.Row)
	return nil
}

func (l *Laws) productChanged(_ *Call, _ *edm.Set, _, r store.Row) (store.Row, error) {
	return l.stampProduct(r), nil
}

func (l *Laws) stampProduct(r store.Row) store.Row {
	set, now := l.set("A_Product"), l.Now().UnixMilli()
	if last, ok := r[set.At("LastChangeDateTime")].(int64); ok {
		now = max(now, last+1)
	}
	return r.With(set, "LastChangeDateTime", now)
}

// description is the text of a product in the logon language, or in any.
func (l *Laws) description(c *Call, product string) string {
	set, text := l.set("A_ProductDescription"), ""
	c.Tx.Scan(set, store.Part(&set.Props[0], product), func(r store.Row) bool {
		text = r.Text(set, "ProductDescription")
		return r.Text(set, "Language") != string(c.Language)
	})
	return text
}

// list is the list price of a product; the price conditions have no interface of their own here.
func (l *Laws) list(_ *Call, product string) *big.Rat {
	if p := l.Prices[product]; p != nil {
		return new(big.Rat).Set(p)
	}
	return new(big.Rat)
}

// SetPrice states the list price of a product, for ever and everybody, in EUR.
func (l *Laws) SetPrice(c *Call, product string, price *big.Rat) {
	l.Prices[product] = price
	record, validity := l.set("A_SlsPrcgConditionRecord"), l.set("A_SlsPrcgCndnRecdValidity")
	id := l.number("condition", 1)
	r, v := make(store.Row, len(record.Props)), make(store.Row, len(validity.Props))
	for name, value := range map[string]any{
		"ConditionRecord": id, "ConditionType": "PPR0", "ConditionRateValue": price.FloatString(9), "ConditionRateValueUnit": "EUR", "ConditionQuantity": "1", "ConditionIsDeleted": false,
	} {
		put(record, r, name, value)
	}
	for name, value := range map[string]any{
		"ConditionRecord": id, "ConditionType": "PPR0", "ConditionApplication": "V", "SalesOrganization": "1010", "DistributionChannel": "10", "Customer": "",
		"Material": product, "ConditionValidityStartDate": day(l.Now()), "ConditionValidityEndDate": endless(),
	} {
		put(validity, v, name, value)
	}
	c.Tx.Put(record, r)
	c.Tx.Put(validity, v)
}

// SetStock states what is on hand of a product in unrestricted use.
func (l *Laws) SetStock(c *Call, product, plant, quantity string) error {
	set, products := l.set("A_MatlStkInAcctMod"), l.set("A_Product")
	p, ok := c.Tx.Get(products, store.Part(&products.Props[0], product))
	if !ok {
		return message.New(http.StatusNotFound, "M3/305", "Material %s does not exist", product)
	}
	r := make(store.Row, len(set.Props))
	for i, prop := range set.Props {
		if prop.Type == edm.String {
			r[i] = ""
		}
	}
	kept, err := set.Props[set.At("MatlWrhsStkQtyInMatlBaseUnit")].FromText(quantity, edm.English)
	if err != nil {
		return err
	}
	for name, v := range map[string]any{
		"Material": product, "Plant": plant, "StorageLocation": "101A", "InventoryStockType": "01", "MaterialBaseUnit": p.Text(products, "BaseUnit"), "MatlWrhsStkQtyInMatlBaseUnit": kept,
	} {
		put(set, r, name, v)
	}
	c.Tx.Put(set, r)
	return nil
}

// Available is what of a product can still be promised in a plant, any plant when it is empty.
func (l *Laws) Available(c *Call, product, plant string) *big.Rat {
	stock, items, lines := l.set("A_MatlStkInAcctMod"), l.set("A_SalesOrderItem"), l.set("A_SalesOrderScheduleLine")
	sum := new(big.Rat)
	c.Tx.Scan(stock, store.Part(&stock.Props[0], product), func(r store.Row) bool {
		if (plant == "" || r.Text(stock, "Plant") == plant) && r.Text(stock, "InventoryStockType") == "01" {
			sum.Add(sum, rat(r, stock, "MatlWrhsStkQtyInMatlBaseUnit"))
		}
		return true
	})
	if sum.Sign() == 0 {
		return sum
	}
	c.Tx.Scan(items, "", func(i store.Row) bool {
		if i.Text(items, "Material") == product && i.Text(items, "SalesDocumentRjcnReason") == "" {
			c.Tx.Follow(items, i, items.Nav("to_ScheduleLine"), func(s store.Row) bool {
				sum.Sub(sum, rat(s, lines, "OpenConfdDelivQtyInOrdQtyUnit"))
				return true
			})
		}
		return true
	})
	if sum.Sign() < 0 {
		return new(big.Rat)
	}
	return sum
}

// follow notes a subsequent document, where the release has a set for it.
func (l *Laws) follow(c *Call, order, document, category string) {
	orders := l.set("A_SalesOrder")
	nav := orders.Nav("to_SubsequentProcFlowDoc")
	if nav == nil {
		return
	}
	r := make(store.Row, len(nav.Target.Props))
	for name, v := range map[string]any{
		"SalesOrder": order, "DocRelationshipUUID": l.uuid(), "SubsequentDocument": document, "SubsequentDocumentCategory": category,
		"SDProcessStatus": "B", "CreationDate": day(l.Now()),
	} {
		put(nav.Target, r, name, v)
	}
	c.Tx.Put(nav.Target, r)
}

// Bill invoices an order that was delivered, and closes it.
func (l *Laws) Bill(c *Call, id string) (string, error) {
	orders := l.set("A_SalesOrder")
	order, ok := c.Tx.Get(orders, store.Part(&orders.Props[0], id))
	if !ok {
		return "", message.New(http.StatusNotFound, "V1/302", "Sales document %s does not exist", id)
	}
	number := l.number("invoice", 90000001)
	l.follow(c, id, number, "M")
	c.Tx.Put(orders, l.stampOrder(order.With(orders, "OverallOrdReltdBillgStatus", "C").With(orders, "OverallSDProcessStatus", "C")))
	return number, nil
}

// Function answers a function import: what is available now, from now on, for ever.
func (l *Laws) Function(c *Call, f *edm.Function, args map[string]any) (store.Row, error) {
	material, _ := args["Material"].(string)
	plant, _ := args["SupplyingPlant"].(string)
	products := l.set("A_Product")
	kept, err := products.Props[0].FromText(material, c.Language)
	if err != nil {
		return nil, err
	}
	material, _ = kept.(string)
	p, ok := c.Tx.Get(products, store.Part(&products.Props[0], material))
	if !ok {
		return nil, message.Bad("ATP/010", "Material %s does not exist in plant %s", material, plant).At("Material")
	}
	if rule, _ := args["ATPCheckingRule"].(string); rule != "A" {
		return nil, message.Bad("ATP/011", "Checking rule %s is not defined", rule).At("ATPCheckingRule")
	}
	set := f.Returns
	r := make(store.Row, len(set.Props))
	put(set, r, "AvailableQuantityInBaseUnit", l.Available(c, material, plant).FloatString(3))
	put(set, r, "BaseUnit", p.Text(products, "BaseUnit"))
	put(set, r, "PeriodStartUTCDateTime", l.Now().UTC().Truncate(time.Second).UnixMilli())
	put(set, r, "PeriodEndUTCDateTime", endless())
	return r, nil
}
