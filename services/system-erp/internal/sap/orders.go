package sap

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/big"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/selfsame-io/selfsame/pkg/db"
	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/backend"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/erp"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/remote"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/sap/odata"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/store"
)

const orderSet = "A_SalesOrder"

// CheckOrder implements remote.Sales.
func (s *System) CheckOrder(ctx context.Context, o erp.Order) error {
	f, err := s.knowing(ctx, "orders", orderService)
	if err == nil && !f.order.May(orderSet) {
		err = backend.Missing(Kind, "orders: they are not creatable in this SAP release")
	}
	if err != nil {
		return err
	}
	var v rule
	v.fits("order.customer_po", o.CustomerPO, f.order.Field(orderSet, "PurchaseOrderByCustomer"))
	if o.CustomerPO != "" && !f.itemKey {
		v.refuse("order.customer_po", backend.ReasonNotMappable, "this SAP release needs the field of the purchase order for our reference")
	}
	if o.Note != "" && s.cfg.NoteText == "" {
		v.refuse("order.note", backend.ReasonNotMappable, "no text of the order is configured for notes")
	}
	if o.Note != "" && !f.order.Has(orderSet, "to_Text") {
		v.refuse("order.note", backend.ReasonNotMappable, "this SAP release has no place for notes")
	}
	v.fits("order.note", o.Note, f.order.Field("A_SalesOrderText", "LongText"))
	if o.BlockReason != "" {
		v.refuse("order.block_reason", backend.ReasonNotMappable, "SAP blocks orders by its own rules")
	}
	for i, it := range o.Items {
		s.checkItem(&v, fmt.Sprintf("order.items[%d].", i), o, it, f)
	}
	return v.err
}

func (s *System) checkItem(v *rule, path string, o erp.Order, it erp.Item, f *features) {
	quantity := f.order.Field("A_SalesOrderItem", "RequestedQuantity")
	if !digits(it.Quantity, max(quantity.Scale, 0)) {
		v.refuse(path+"quantity", backend.ReasonPrecision, "SAP holds a quantity with %d digits after the point", quantity.Scale)
	}
	if _, ok := s.codes.toUnit[it.Unit]; !ok {
		v.refuse(path+"unit", backend.ReasonUnit, "no unit of SAP is configured for this one")
	}
	if it.Line > 999999 || it.Line < 1 {
		v.refuse(path+"line", backend.ReasonTooLong, "SAP holds line numbers of six digits")
	}
	if _, _, ok := rate(it.Price); !ok {
		v.refuse(path+"unit_price", backend.ReasonPrecision, "SAP holds a price with the digits of its currency, for up to 10,000 units")
	}
	if it.Requested != "" && it.Requested != o.Requested && !f.order.May("A_SalesOrderScheduleLine") {
		v.refuse(path+"requested_date", backend.ReasonNotMappable, "this SAP release takes one requested date per order")
	}
	v.fits(path+"name", it.Name, f.order.Field("A_SalesOrderItem", "SalesOrderItemText"))
}

// digits tells whether d has at most n digits after the point.
func digits(d erp.Decimal, n int) bool {
	unit := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(max(6-n, 0))), nil)
	return new(big.Int).Rem(d.Micro(), unit).Sign() == 0
}

// rate writes a price as SAP does: an amount with the digits of the currency, for 1, 10, 100, 1,000 or 10,000 units.
func rate(m erp.Money) (amount string, per int64, ok bool) {
	micro := m.Amount.Micro()
	for per = 1; per <= 10_000; per *= 10 {
		d := erp.Micro(new(big.Int).Mul(micro, big.NewInt(per)))
		if digits(d, erp.MinorDigits(m.Currency)) {
			return d.Fixed(erp.MinorDigits(m.Currency)), per, true
		}
	}
	return "", 0, false
}

// keyOf is what a line carries: the client reference where it fits, else the mark.
func (s *System) keyOf(f *features, k remote.Key) string {
	length := f.order.Field(orderSet, "PurchaseOrderByCustomer").MaxLength
	ref := k.Ref.Value
	if ref == "" || length > 0 && utf8.RuneCountInString(ref) > length || strings.TrimSpace(ref) != ref || mark.MatchString(ref) {
		return k.Mark
	}
	return ref
}

// FindOrders implements remote.Sales. The lines carry the key, where they can; else the header does.
func (s *System) FindOrders(ctx context.Context, k remote.Key) ([]erp.Order, error) {
	f, err := s.knowing(ctx, "orders", orderService)
	if err != nil {
		return nil, err
	}
	values := []string{s.keyOf(f, k)}
	if values[0] != k.Mark {
		values = append(values, k.Mark)
	}
	filters := []string{anyOf("PurchaseOrderByCustomer", values)}
	if f.itemKey {
		ids, err := s.ordersOfLines(ctx, filters[0])
		if err != nil {
			return nil, err
		}
		for chunk := range slices.Chunk(ids, group) {
			filters = append(filters, anyOf("SalesOrder", chunk))
		}
	}
	rows, err := s.entities(ctx, orderService, orderSet, f.orderExpand, filters)
	if err != nil {
		return nil, err
	}
	var found []erp.Order
	for _, row := range rows {
		var raw salesOrder
		if err := json.Unmarshal(row, &raw); err != nil {
			return nil, unreadable(err)
		}
		o, err := s.order(f, row)
		if err != nil {
			return nil, err
		}
		if raw.carries(values, k.Ref.Value, f.itemKey) && !slices.ContainsFunc(found, func(have erp.Order) bool { return have.ID == o.ID }) {
			found = append(found, o)
		}
	}
	return found, nil
}

// ordersOfLines are the orders whose lines a filter chooses.
func (s *System) ordersOfLines(ctx context.Context, filter string) ([]string, error) {
	var ids []string
	q := url.Values{"$filter": {filter}, "$select": {"SalesOrder,SalesOrderItem"}}
	err := s.client.Pages(ctx, orderService, "A_SalesOrderItem", q, func(rows []json.RawMessage) error {
		for _, row := range rows {
			var it struct{ SalesOrder string }
			if err := json.Unmarshal(row, &it); err != nil {
				return unreadable(err)
			}
			ids = append(ids, it.SalesOrder)
		}
		return nil
	})
	slices.Sort(ids)
	return slices.Compact(ids), s.told(err, nil)
}

// InsertOrder implements remote.Sales: one deep insert.
func (s *System) InsertOrder(ctx context.Context, o erp.Order, k remote.Key) (erp.Order, error) {
	f, err := s.knowing(ctx, "orders", orderService)
	if err != nil {
		return erp.Order{}, err
	}
	a, err := s.client.Create(ctx, orderService, orderSet, s.deepOrder(f, o, k), s.repeatable(k))
	if err != nil {
		return erp.Order{}, s.refusedOrder(ctx, k, err)
	}
	if a.Repeatability == "unsupported" {
		s.log.WarnContext(ctx, "sap does not support repeatable requests", "service", orderService)
	}
	made, err := s.order(f, a.Body)
	if err != nil {
		return erp.Order{}, lost(err)
	}
	found, err := s.Orders(ctx, []string{made.ID})
	if err == nil && len(found) == 1 {
		made = found[0] // otherwise what was determined after it was made is seen at the next look
	}
	made.Warnings = warnings(a.Notes)
	return made, nil
}

// repeatable are the headers by which a gateway with idempotent services recognises a request that it has executed: an id and the
// time of its first sending, the same in every repetition. After a refusal it is another request, because the gateway would
// repeat the refusal.
func (s *System) repeatable(k remote.Key) map[string]string {
	if !s.cfg.Repeatability {
		return nil
	}
	first := k.First
	if first.IsZero() {
		first = s.now()
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "order %s %d", k.Mark, first.UnixMicro()))
	return map[string]string{
		"RequestID": strings.ToUpper(hex.EncodeToString(sum[:16])), "RepeatabilityCreation": first.UTC().Format(http.TimeFormat),
	}
}

// ReasonNumberTaken is Precondition: another order has the number that was derived for this one.
const ReasonNumberTaken = "ORDER_NUMBER_TAKEN"

// refusedOrder looks twice at a refusal. The gateway's "request is outdated" and "already exists" for a number of ours both
// mean that an earlier attempt was executed, unless the number is another order's.
func (s *System) refusedOrder(ctx context.Context, k remote.Key, err error) error {
	p := odata.ProblemOf(err)
	if p == nil || fault.Is(err, fault.Uncertain) {
		return s.told(err, nil)
	}
	if strings.HasPrefix(p.Code, "/IWBEP/CM_COS/005") {
		return lost(err)
	}
	if s.cfg.ExternalNumbers && fault.Is(err, fault.Invalid) {
		id := externalNumber(k)
		have, herr := s.Orders(ctx, []string{id})
		if herr != nil {
			return lost(err)
		}
		if len(have) > 0 {
			ours, ferr := s.FindOrders(ctx, k)
			if ferr != nil || slices.ContainsFunc(ours, func(o erp.Order) bool { return o.ID == id }) {
				return lost(err)
			}
			return fault.New(fault.Precondition, ReasonNumberTaken, "another order has the number that was derived for this one").WithMeta("record_id", id)
		}
	}
	return s.told(err, orderField)
}

// externalNumber is the number of an order in an external number range.
func externalNumber(k remote.Key) string { return "S" + k.Mark[:9] }

func (s *System) deepOrder(f *features, o erp.Order, k remote.Key) map[string]any {
	key := s.keyOf(f, k)
	body := map[string]any{
		"SalesOrderType": s.cfg.OrderType, "SalesOrganization": s.cfg.SalesOrganization, "DistributionChannel": s.cfg.DistributionChannel,
		"OrganizationDivision": s.cfg.Division, "SoldToParty": o.CustomerID, "PurchaseOrderByCustomer": key, "TransactionCurrency": o.Total.Currency,
		"SalesOrderDate": odata.DateJSON(o.Ordered.UTC().Truncate(24 * time.Hour)),
	}
	if o.CustomerPO != "" {
		body["PurchaseOrderByCustomer"] = o.CustomerPO
	}
	if s.cfg.ExternalNumbers {
		body["SalesOrder"] = externalNumber(k)
	}
	if d := dateJSON(o.Requested); d != nil {
		body["RequestedDeliveryDate"] = d
	}
	var partners []map[string]any
	for _, p := range []struct{ function, id string }{{shipTo, o.ShipToID}, {billTo, o.BillToID}, {payer, o.PayerID}} {
		if p.id != "" && p.id != o.CustomerID {
			partners = append(partners, map[string]any{"PartnerFunction": p.function, "Customer": p.id})
		}
	}
	if len(partners) > 0 {
		body["to_Partner"] = partners
	}
	if o.Note != "" {
		body["to_Text"] = []map[string]any{{"Language": strings.ToUpper(language), "LongTextID": s.cfg.NoteText, "LongText": o.Note}}
	}
	lines := make([]map[string]any, len(o.Items))
	for i, it := range o.Items {
		lines[i] = s.deepItem(f, o, it, key)
	}
	body["to_Item"] = lines
	return body
}

func (s *System) deepItem(f *features, o erp.Order, it erp.Item, key string) map[string]any {
	amount, per, _ := rate(it.Price)
	line := map[string]any{
		"Material": it.SKU, "RequestedQuantity": it.Quantity.String(), "UnderlyingPurchaseOrderItem": strconv.Itoa(int(it.Line)),
		"to_PricingElement": []map[string]any{{
			"ConditionType": s.cfg.PriceCondition, "ConditionRateValue": amount, "ConditionCurrency": it.Price.Currency, "ConditionQuantity": strconv.FormatInt(per, 10),
		}},
	}
	iso := s.codes.toUnit[it.Unit]
	if f.isoUnit {
		line["RequestedQuantityISOUnit"] = iso
	} else {
		line["RequestedQuantityUnit"] = s.codes.external[iso]
	}
	if f.itemKey {
		line["PurchaseOrderByCustomer"] = key
	}
	if it.Name != "" {
		line["SalesOrderItemText"] = it.Name
	}
	if it.Requested != "" && it.Requested != o.Requested {
		line["to_ScheduleLine"] = []map[string]any{{"RequestedDeliveryDate": dateJSON(it.Requested), "ScheduleLineOrderQuantity": it.Quantity.String()}}
	}
	return line
}

// AdvanceOrder implements remote.Sales: an order of SAP is where it is to be as soon as it exists.
func (s *System) AdvanceOrder(ctx context.Context, id string) (erp.Order, error) {
	found, err := s.Orders(ctx, []string{id})
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
	f, err := s.knowing(ctx, "orders", orderService)
	if err != nil {
		return nil, err
	}
	ids = slices.DeleteFunc(slices.Clone(ids), func(id string) bool { return !validID(id) })
	if len(ids) == 0 {
		return nil, nil
	}
	var filters []string
	for chunk := range slices.Chunk(ids, group) {
		filters = append(filters, anyOf("SalesOrder", chunk))
	}
	rows, err := s.entities(ctx, orderService, orderSet, f.orderExpand, filters)
	if err != nil {
		return nil, err
	}
	out, err := s.readOrders(f, rows)
	return slices.DeleteFunc(out, func(o erp.Order) bool { return !slices.Contains(ids, o.ID) }), err
}

func (s *System) readOrders(f *features, rows []json.RawMessage) ([]erp.Order, error) {
	out := make([]erp.Order, len(rows))
	for i, row := range rows {
		var err error
		if out[i], err = s.order(f, row); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// ListOrders implements remote.Sales. SAP keeps the day of an order only; within a day the later number is the newer one.
func (s *System) ListOrders(ctx context.Context, customerIDs []string, after *store.OrderCursor, limit int) ([]erp.Order, error) {
	f, err := s.knowing(ctx, "orders", orderService)
	if err != nil {
		return nil, err
	}
	customerIDs = slices.DeleteFunc(slices.Clone(customerIDs), func(id string) bool { return !validID(id) })
	if len(customerIDs) == 0 {
		return nil, nil
	}
	filter := "(" + anyOf("SoldToParty", customerIDs) + ")"
	if after != nil {
		date := odata.Date(db.FromMicros(after.Ordered).UTC().Truncate(24 * time.Hour))
		filter += fmt.Sprintf(" and (SalesOrderDate lt %s or (SalesOrderDate eq %s and SalesOrder lt %s))", date, date, odata.Quote(after.ID))
	}
	rows, _, err := s.client.Page(ctx, orderService, orderSet, url.Values{
		"$filter": {filter}, "$orderby": {"SalesOrderDate desc,SalesOrder desc"}, "$top": {strconv.Itoa(limit)}, "$expand": {f.orderExpand},
	})
	if err != nil {
		return nil, s.told(err, nil)
	}
	return s.readOrders(f, rows)
}

// ChangedOrders implements remote.Sales.
func (s *System) ChangedOrders(ctx context.Context, since time.Time, page func([]erp.Order) error) error {
	f, err := s.knowing(ctx, "orders", orderService)
	if err != nil {
		return err
	}
	return s.client.Settled(since, slow, func(since time.Time) error {
		filter := ""
		if !since.IsZero() {
			filter = "LastChangeDateTime ge " + odata.Offset(since)
		}
		return s.keyset(ctx, orderService, orderSet, "SalesOrder", filter, f.orderExpand, func(rows []json.RawMessage) (string, error) {
			out, err := s.readOrders(f, rows)
			if err != nil {
				return "", err
			}
			return out[len(out)-1].ID, page(out)
		})
	})
}

// MoveOrder implements remote.Sales: the statuses of an order follow from SAP's own documents.
func (s *System) MoveOrder(context.Context, string, erp.OrderState, erp.Progress, erp.Progress) (erp.Order, error) {
	return erp.Order{}, backend.Missing(Kind, "set the status of an order")
}
