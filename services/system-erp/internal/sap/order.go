package sap

import (
	"cmp"
	"encoding/json"
	"math/big"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/selfsame-io/selfsame/services/system-erp/internal/erp"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/sap/odata"
)

// salesOrder is A_SalesOrder.
type salesOrder struct {
	ID            string  `json:"SalesOrder"`
	SoldTo        string  `json:"SoldToParty"`
	PO            string  `json:"PurchaseOrderByCustomer"`
	Date          *string `json:"SalesOrderDate"`
	Requested     *string `json:"RequestedDeliveryDate"`
	Currency      string  `json:"TransactionCurrency"`
	Net           string  `json:"TotalNetAmount"`
	Changed       *string `json:"LastChangeDateTime"`
	Created       *string `json:"CreationDate"`
	Process       string  `json:"OverallSDProcessStatus"`
	Delivery      string  `json:"OverallDeliveryStatus"`
	TotalDelivery string  `json:"OverallTotalDeliveryStatus"`
	Billing       string  `json:"OverallOrdReltdBillgStatus"`
	Rejection     string  `json:"OverallSDDocumentRejectionSts"`
	DeliveryBlock string  `json:"DeliveryBlockReason"`
	BillingBlock  string  `json:"HeaderBillingBlockReason"`
	Credit        string  `json:"TotalCreditCheckStatus"`

	Items    *list[salesItem]    `json:"to_Item"`
	Partners *list[salesPartner] `json:"to_Partner"`
	Texts    *list[salesText]    `json:"to_Text"`
}

type salesItem struct {
	Number    string            `json:"SalesOrderItem"`
	Material  string            `json:"Material"`
	Text      string            `json:"SalesOrderItemText"`
	Quantity  string            `json:"RequestedQuantity"`
	Unit      string            `json:"RequestedQuantityUnit"`
	ISOUnit   string            `json:"RequestedQuantityISOUnit"`
	Line      string            `json:"UnderlyingPurchaseOrderItem"`
	PO        string            `json:"PurchaseOrderByCustomer"`
	Net       string            `json:"NetAmount"`
	Rejected  string            `json:"SalesDocumentRjcnReason"`
	Prices    *list[salesPrice] `json:"to_PricingElement"`
	Schedules *list[schedule]   `json:"to_ScheduleLine"`
}

type salesPrice struct {
	Type     string `json:"ConditionType"`
	Rate     string `json:"ConditionRateValue"`
	Currency string `json:"ConditionCurrency"`
	Quantity string `json:"ConditionQuantity"`
}

type schedule struct {
	Requested *string `json:"RequestedDeliveryDate"`
	Delivered string  `json:"DeliveredQtyInOrderQtyUnit"`
}

type salesPartner struct {
	Function string `json:"PartnerFunction"`
	Customer string `json:"Customer"`
}

type salesText struct {
	Language string `json:"Language"`
	ID       string `json:"LongTextID"`
	Text     string `json:"LongText"`
}

// Partner functions in the language in which we log on.
const (
	shipTo = "SH"
	billTo = "BP"
	payer  = "PY"
)

// mark is the form of a key that package remote derives.
var mark = regexp.MustCompile(`^[A-Z2-7]{20}$`)

// clientRef is the client reference that an order carries. A line that we made has our line number beside it: what somebody
// in SAP wrote into the purchase order of a line is not a reference of ours.
func (o *salesOrder) clientRef(itemKey bool) string {
	for _, it := range items(o.Items) {
		if it.Line == "" {
			return ""
		}
	}
	if len(items(o.Items)) == 0 {
		return ""
	}
	ref := o.PO
	if itemKey {
		ref = o.Items.Items[0].PO
	}
	if mark.MatchString(ref) {
		return ""
	}
	return ref
}

// unmistakable is how long a reference must be to be believed in an order that we did not make: a buyer's own number may be
// like a shorter one by chance.
const unmistakable = 15

// carries tells whether an order is the one of a reference. values are what our own lines, or headers, may hold for it.
func (o *salesOrder) carries(values []string, ref string, itemKey bool) bool {
	ours, like := false, o.PO == ref
	for _, it := range items(o.Items) {
		if it.Line == "" {
			like = like || it.PO == ref
			continue
		}
		ours = true
		if itemKey && slices.Contains(values, it.PO) {
			return true
		}
	}
	if ours {
		return !itemKey && slices.Contains(values, o.PO) // of ours, but with another reference
	}
	return like && len(ref) >= unmistakable
}

func (s *System) order(f *features, entity json.RawMessage) (erp.Order, error) {
	var o salesOrder
	if err := json.Unmarshal(entity, &o); err != nil {
		return erp.Order{}, unreadable(err)
	}
	if o.ID == "" {
		return erp.Order{}, unreadable(errNoKey)
	}
	out := erp.Order{
		ID: o.ID, ClientRef: o.clientRef(f.itemKey), CustomerID: o.SoldTo, Ordered: moment(o.Date, nil), Requested: day(o.Requested), Currency: o.Currency,
		State: o.state(), Fulfilment: progress(cmp.Or(o.Delivery, o.TotalDelivery)), Billing: progress(o.Billing), BlockReason: o.block(),
		Updated: moment(o.Changed, nil),
	}
	if out.Updated.IsZero() {
		out.Updated = moment(o.Created, nil)
	}
	if out.Ordered.IsZero() {
		out.Ordered = moment(o.Created, nil)
	}
	out.Version = max(out.Updated.UnixMilli(), 1)
	if o.PO != out.ClientRef && !mark.MatchString(o.PO) {
		out.CustomerPO = o.PO
	}
	if net, ok := new(big.Rat).SetString(o.Net); ok {
		out.Total = erp.Money{Amount: rounded(net), Currency: o.Currency}
	}
	for _, p := range items(o.Partners) {
		if p.Customer == o.SoldTo {
			continue
		}
		switch p.Function {
		case shipTo:
			out.ShipToID = p.Customer
		case billTo:
			out.BillToID = p.Customer
		case payer:
			out.PayerID = p.Customer
		}
	}
	for _, t := range items(o.Texts) {
		if t.ID == s.cfg.NoteText && strings.EqualFold(t.Language, language) {
			out.Note = t.Text
		}
	}
	for _, it := range items(o.Items) {
		line, err := s.item(o, it, out.Requested)
		if err != nil {
			return erp.Order{}, unreadable(err)
		}
		out.Items = append(out.Items, line)
	}
	slices.SortFunc(out.Items, func(a, b erp.Item) int { return int(a.Line) - int(b.Line) })
	return out, nil
}

func (s *System) item(o salesOrder, it salesItem, requested string) (erp.Item, error) {
	n, err := strconv.ParseInt(strings.TrimLeft(cmp.Or(it.Line, it.Number), "0"), 10, 32)
	if err != nil {
		if n, err = strconv.ParseInt(strings.TrimLeft(it.Number, "0"), 10, 32); err != nil {
			return erp.Item{}, err
		}
	}
	out := erp.Item{Line: int32(n), SKU: it.Material, Name: it.Text, Unit: s.codes.rec20(cmp.Or(it.ISOUnit, it.Unit))} //nolint:gosec // parsed as 32 bits
	quantity, ok := new(big.Rat).SetString(it.Quantity)
	if !ok {
		return out, errNoKey
	}
	out.Quantity = rounded(quantity)
	out.Price = erp.Money{Currency: o.Currency}
	priced := false
	for _, p := range items(it.Prices) {
		if p.Type == s.cfg.PriceCondition {
			out.Price.Amount, priced = perUnit(p.Rate, p.Quantity)
			out.Price.Currency = cmp.Or(p.Currency, o.Currency)
		}
	}
	if net, ok := new(big.Rat).SetString(it.Net); ok && !priced && quantity.Sign() > 0 {
		out.Price.Amount = rounded(net.Quo(net, quantity)) // SAP priced it by conditions that we do not read
	}
	delivered := new(big.Rat)
	for _, sc := range items(it.Schedules) {
		if q, ok := new(big.Rat).SetString(sc.Delivered); ok {
			delivered.Add(delivered, q)
		}
		if d := day(sc.Requested); d != requested {
			out.Requested = d
		}
	}
	out.Delivered = rounded(delivered)
	return out, nil
}

// day is a date of SAP as we write days; empty when there is none.
func day(text *string) string {
	at := moment(text, nil)
	if at.IsZero() {
		return ""
	}
	return at.Format(time.DateOnly)
}

// state derives the commercial facet: rejected counts before completed, completed before anything else.
func (o *salesOrder) state() erp.OrderState {
	switch {
	case o.Rejection == "C":
		return erp.OrderCancelled
	case o.Process == "C":
		return erp.OrderCompleted
	default:
		return erp.OrderConfirmed // SAP has it: it is no longer only with us
	}
}

func progress(code string) erp.Progress {
	switch code {
	case "B":
		return erp.ProgressPartial
	case "C":
		return erp.ProgressFull
	default:
		return erp.ProgressNone
	}
}

// block says why an order is held, in SAP's codes.
func (o *salesOrder) block() string {
	switch {
	case o.DeliveryBlock != "":
		return "delivery " + o.DeliveryBlock
	case o.BillingBlock != "":
		return "billing " + o.BillingBlock
	case o.Credit == "B" || o.Credit == "C":
		return "credit " + o.Credit
	}
	return ""
}

// deliveryItem is A_OutbDeliveryItem, deliveryHeader A_OutbDeliveryHeader.
type deliveryItem struct {
	Delivery string `json:"DeliveryDocument"`
	Material string
	Line     string `json:"ReferenceSDDocumentItem"`
	Quantity string `json:"ActualDeliveryQuantity"`
	Unit     string `json:"DeliveryQuantityUnit"`
}

type deliveryHeader struct {
	ID       string  `json:"DeliveryDocument"`
	Moved    *string `json:"ActualGoodsMovementDate"`
	Movement string  `json:"OverallGoodsMovementStatus"`
	Bill     string  `json:"BillOfLading"`
	Version  string  `json:"DeliveryVersion"`
	Created  *string `json:"CreationDate"`
	Changed  *string `json:"LastChangeDate"`
}

func (h deliveryHeader) delivery(order string) erp.Delivery {
	d := erp.Delivery{ID: h.ID, OrderID: order, State: erp.DeliveryPlanned, Tracking: h.Bill, Updated: moment(h.Changed, nil), Version: 1}
	if n, err := strconv.ParseInt(h.Version, 10, 64); err == nil && n > 0 {
		d.Version = n
	}
	if h.Movement == "C" {
		d.State, d.Shipped = erp.DeliveryShipped, moment(h.Moved, nil)
	}
	if d.Updated.IsZero() {
		d.Updated = moment(h.Created, nil)
	}
	return d
}

// orderField leads from SAP's properties to our fields, for errors of SAP.
func orderField(prop string) string {
	switch prop {
	case "SoldToParty":
		return "order.customer_id"
	case "Material", "RequestedQuantity", "RequestedQuantityUnit", "RequestedQuantityISOUnit", "ConditionType", "ConditionRateValue":
		return "order.items"
	case "PurchaseOrderByCustomer":
		return "order.customer_po"
	case "TransactionCurrency", "ConditionCurrency":
		return "order.currency"
	case "RequestedDeliveryDate":
		return "order.requested_date"
	case "LongText", "LongTextID":
		return "order.note"
	}
	return ""
}

// dateJSON writes a day into a body; nil for none.
func dateJSON(text string) any {
	at, err := time.Parse(time.DateOnly, text)
	if err != nil {
		return nil
	}
	return odata.DateJSON(at)
}
