package business

import (
	"math/big"
	"strings"
	"time"

	"github.com/selfsame-io/selfsame/services/system-erp/sandbox/internal/edm"
	"github.com/selfsame-io/selfsame/services/system-erp/sandbox/internal/message"
	"github.com/selfsame-io/selfsame/services/system-erp/sandbox/internal/store"
)

func (l *Laws) order(c *Call, n *Node) error {
	set, r := n.Set, n.Row
	text := func(p string) string { return r.Text(set, p) }
	if t := text("SalesOrderType"); t != "OR" {
		return message.Bad("V1/312", "Sales document type %s is not defined", t).At("SalesOrderType")
	}
	area, err := l.soldTo(c, set, r)
	if err != nil {
		return err
	}
	areas := l.set("A_CustomerSalesArea")
	given := text("SalesOrder")
	switch {
	case given != "" && !l.ExternalOrders:
		return message.Bad("V1/150", "External number assignment is not allowed for sales document type OR").At("SalesOrder")
	case given == "":
		put(set, r, "SalesOrder", l.number("order", 1))
	}
	if _, there := c.Tx.Get(set, store.Key(set, r)); there {
		return message.Bad("V1/151", "Sales document %s already exists", text("SalesOrder")).At("SalesOrder")
	}
	now := l.Now()
	preset(set, r, "TransactionCurrency", area.Text(areas, "Currency"))
	preset(set, r, "CustomerPaymentTerms", area.Text(areas, "CustomerPaymentTerms"))
	preset(set, r, "SalesOrderDate", day(now))
	preset(set, r, "RequestedDeliveryDate", day(now))
	put(set, r, "CreationDate", day(now))
	for _, p := range []string{"OverallSDProcessStatus", "OverallDeliveryStatus", "OverallTotalDeliveryStatus", "OverallOrdReltdBillgStatus", "OverallSDDocumentRejectionSts"} {
		put(set, r, p, "A")
	}
	put(set, r, "TotalCreditCheckStatus", "A")
	n.Row = l.stampOrder(r)
	l.ownPartners(n)
	return nil
}

// soldTo checks who buys and returns the sales area of the customer.
func (l *Laws) soldTo(c *Call, set *edm.Set, r store.Row) (store.Row, error) {
	areas, customers := l.set("A_CustomerSalesArea"), l.set("A_Customer")
	id := r.Text(set, "SoldToParty")
	debtor, ok := c.Tx.Get(customers, store.Part(&customers.Props[0], id))
	if !ok {
		return nil, message.Bad("VP/199", "Sold-to party %s does not exist", id).At("SoldToParty")
	}
	org, channel, division := r.Text(set, "SalesOrganization"), r.Text(set, "DistributionChannel"), r.Text(set, "OrganizationDivision")
	area, ok := c.Tx.Get(areas, strings.Join([]string{store.Part(&areas.Props[0], id), org, channel, division}, "\x00"))
	if !ok {
		return nil, message.Bad("VP/201", "Sold-to party %s not maintained for sales area %s %s %s", id, org, channel, division).At("SoldToParty")
	}
	if debtor.Text(customers, "OrderIsBlockedForCustomer") != "" || area.Text(areas, "OrderIsBlockedForCustomer") != "" {
		return nil, message.Bad("V1/385", "Sold-to party %s is blocked for sales documents", id).At("SoldToParty")
	}
	return area, nil
}

// stampOrder returns the row with a stamp that is later than its last one: it is its tag.
func (l *Laws) stampOrder(r store.Row) store.Row {
	set, now := l.set("A_SalesOrder"), l.Now().UnixMilli()
	if last, ok := r[set.At("LastChangeDateTime")].(int64); ok {
		now = max(now, last+1)
	}
	return r.With(set, "LastChangeDateTime", now).With(set, "LastChangeDate", day(time.UnixMilli(now)))
}

// ownPartners adds the partners that the system determines itself.
func (l *Laws) ownPartners(n *Node) {
	nav := n.Set.Nav("to_Partner")
	partners := l.set("A_SalesOrderHeaderPartner")
	for _, function := range []string{"AG", "WE", "RE", "RG"} {
		given := false
		for _, p := range n.Children[nav] {
			given = given || p.Row.Text(partners, "PartnerFunction") == function
		}
		if given {
			continue
		}
		p := &Node{Set: partners, Row: make(store.Row, len(partners.Props))}
		put(partners, p.Row, "PartnerFunction", function)
		put(partners, p.Row, "Customer", n.Row.Text(n.Set, "SoldToParty"))
		if n.Children == nil {
			n.Children = map[*edm.Navigation][]*Node{}
		}
		n.Children[nav] = append(n.Children[nav], p)
	}
}

func (l *Laws) orderPartner(c *Call, n *Node) error {
	id := n.Row.Text(n.Set, "Customer")
	if id == "" { // a contact person
		return nil
	}
	customers := l.set("A_Customer")
	if _, ok := c.Tx.Get(customers, store.Part(&customers.Props[0], id)); !ok {
		return message.Bad("VP/199", "Partner %s does not exist", id).At("Customer")
	}
	return nil
}

func (l *Laws) item(c *Call, n *Node) error {
	set, r := n.Set, n.Row
	if r.Text(set, "SalesOrderItem") == "" {
		last := int64(0)
		c.Tx.Scan(set, store.Part(&set.Props[0], r[0]), func(o store.Row) bool {
			v, _ := new(big.Int).SetString(o.Text(set, "SalesOrderItem"), 10)
			last = max(last, v.Int64())
			return true
		})
		put(set, r, "SalesOrderItem", big.NewInt((last/10+1)*10).String())
	}
	products, id := l.set("A_Product"), r.Text(set, "Material")
	if id == "" {
		return message.Bad("00/055", "Fill in all required entry fields: Material").At("Material")
	}
	product, ok := c.Tx.Get(products, store.Part(&products.Props[0], id))
	if !ok {
		return message.Bad("V1/301", "Material %s is not defined for sales organization", id).At("Material")
	}
	if product[products.At("IsMarkedForDeletion")] == true {
		return message.Bad("V1/028", "Material %s is flagged for deletion", id).At("Material")
	}
	if q := rat(r, set, "RequestedQuantity"); q.Sign() <= 0 {
		return message.Bad("V1/306", "Enter a quantity").At("RequestedQuantity")
	}
	if err := l.unit(c, set, r, product); err != nil {
		return err
	}
	orders := l.set("A_SalesOrder")
	order, _ := c.Tx.Get(orders, store.Part(&orders.Props[0], r[0]))
	if order == nil {
		return message.Bad("V1/302", "Sales document %s does not exist", r.Text(set, "SalesOrder"))
	}
	put(set, r, "TransactionCurrency", order.Text(orders, "TransactionCurrency"))
	preset(set, r, "ProductionPlant", "1010")
	preset(set, r, "SalesOrderItemText", l.description(c, id))
	for _, p := range []string{"SDProcessStatus", "DeliveryStatus", "OrderRelatedBillingStatus"} {
		put(set, r, p, "A")
	}
	return nil
}

// unit brings the three ways to name the unit of an item together.
func (l *Laws) unit(c *Call, set *edm.Set, r, product store.Row) error {
	products, alternatives := l.set("A_Product"), l.set("A_ProductUnitsOfMeasure")
	unit := r.Text(set, "RequestedQuantityUnit")
	if internal := r.Text(set, "RequestedQuantitySAPUnit"); unit == "" && internal != "" {
		if !edm.KnownUnit(internal) {
			return message.Bad("BM/302", "Unit %s is not defined", internal).At("RequestedQuantitySAPUnit")
		}
		unit = internal
	}
	if iso := r.Text(set, "RequestedQuantityISOUnit"); unit == "" && iso != "" {
		found, ok := edm.UnitOfISO(iso)
		if !ok {
			return message.Bad("BM/306", "ISO code %s is not assigned to a unit", iso).At("RequestedQuantityISOUnit")
		}
		unit = found
	}
	base := product.Text(products, "BaseUnit")
	if unit == "" {
		unit = base
	}
	ok := unit == base
	c.Tx.Scan(alternatives, store.Part(&products.Props[0], product[0]), func(a store.Row) bool {
		ok = ok || a.Text(alternatives, "AlternativeUnit") == unit
		return !ok
	})
	if !ok {
		return message.Bad("V1/384", "Unit %s is not defined for material %s", c.Language.Unit(unit), product.Text(products, "Product")).At("RequestedQuantityUnit")
	}
	put(set, r, "RequestedQuantityUnit", unit)
	put(set, r, "RequestedQuantitySAPUnit", unit)
	put(set, r, "RequestedQuantityISOUnit", edm.UnitISO(unit))
	return nil
}

func (l *Laws) price(_ *Call, n *Node) error {
	preset(n.Set, n.Row, "PricingProcedureStep", "10")
	preset(n.Set, n.Row, "PricingProcedureCounter", l.number("price/"+n.Row.Text(n.Set, "SalesOrder")+"/"+n.Row.Text(n.Set, "SalesOrderItem"), 1))
	preset(n.Set, n.Row, "ConditionQuantity", "1")
	switch n.Row.Text(n.Set, "ConditionType") {
	case "PPR0", "PMP0", "PR00":
		return nil
	default:
		return message.Bad("VK/019", "Condition type %s is not allowed", n.Row.Text(n.Set, "ConditionType")).At("ConditionType")
	}
}

func rat(r store.Row, set *edm.Set, name string) *big.Rat {
	v, ok := new(big.Rat).SetString(r.Text(set, name))
	if !ok {
		return new(big.Rat)
	}
	return v
}

// settleItem prices an item and confirms what is in stock.
func (l *Laws) settleItem(c *Call, r store.Row) error {
	set, conditions := l.set("A_SalesOrderItem"), l.set("A_SalesOrderItemPrElement")
	quantity := rat(r, set, "RequestedQuantity")
	rate := l.list(c, r.Text(set, "Material"))
	c.Tx.Follow(set, r, set.Nav("to_PricingElement"), func(e store.Row) bool {
		rate = rat(e, conditions, "ConditionRateValue")
		if per := rat(e, conditions, "ConditionQuantity"); per.Sign() > 0 {
			rate.Quo(rate, per)
		}
		return false
	})
	net := new(big.Rat).Mul(quantity, rate).FloatString(2) + "0"
	c.Tx.Put(set, r.With(set, "NetAmount", net).With(set, "TaxAmount", "0.000"))
	return l.schedule(c, r)
}

func (l *Laws) settleOrder(c *Call, o store.Row) error {
	set, items := l.set("A_SalesOrder"), l.set("A_SalesOrderItem")
	total := new(big.Rat)
	all, rejected := 0, 0
	c.Tx.Follow(set, o, set.Nav("to_Item"), func(i store.Row) bool {
		all++
		if i.Text(items, "SalesDocumentRjcnReason") != "" {
			rejected++
			return true
		}
		total.Add(total, rat(i, items, "NetAmount"))
		return true
	})
	if all == 0 {
		c.Notes = append(c.Notes, message.Note{Code: "V1/555", Message: "The sales document is not yet complete: edit data", Severity: "warning"})
	}
	status := "A"
	switch {
	case all > 0 && rejected == all:
		status = "C"
	case rejected > 0:
		status = "B"
	}
	o = o.With(set, "TotalNetAmount", total.FloatString(2)+"0").With(set, "OverallSDDocumentRejectionSts", status)
	block := ""
	if o.Text(set, "DeliveryBlockReason") != "" || o.Text(set, "HeaderBillingBlockReason") != "" {
		block = "C"
	}
	c.Tx.Put(set, o.With(set, "TotalBlockStatus", block))
	return nil
}

func (l *Laws) orderChanged(c *Call, set *edm.Set, old, r store.Row) (store.Row, error) {
	if old.Text(set, "SoldToParty") != r.Text(set, "SoldToParty") {
		if _, err := l.soldTo(c, set, r); err != nil {
			return nil, err
		}
	}
	r = l.stampOrder(r)
	c.Tx.Put(set, r)
	if err := l.settleOrder(c, r); err != nil {
		return nil, err
	}
	r, _ = c.Tx.Get(set, store.Key(set, r))
	return r, nil
}

func (l *Laws) itemChanged(c *Call, set *edm.Set, old, r store.Row) (store.Row, error) {
	if old.Text(set, "DeliveryStatus") == "C" {
		return nil, message.Bad("V1/493", "Item %s is delivered completely and cannot be changed", r.Text(set, "SalesOrderItem"))
	}
	c.Tx.Put(set, r)
	if err := l.settleItem(c, r); err != nil {
		return nil, err
	}
	r, _ = c.Tx.Get(set, store.Key(set, r))
	return r, nil
}
