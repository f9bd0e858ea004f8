// Package business is what the sandbox's system does with what it is told: number ranges, checks, defaults, derived
// fields and statuses.
//
// Invariant: it has no memory of callers. The same order posted twice is two orders, as in the real system; nothing but a
// number given by the caller is unique. A number that was drawn is never used again, also when its change set fails.
package business

import (
	"fmt"
	"math/big"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/selfsame-io/selfsame/services/system-erp/sandbox/internal/edm"
	"github.com/selfsame-io/selfsame/services/system-erp/sandbox/internal/message"
	"github.com/selfsame-io/selfsame/services/system-erp/sandbox/internal/store"
)

// Node is an entity to be created with what is nested in it.
type Node struct {
	Set      *edm.Set
	Row      store.Row
	Children map[*edm.Navigation][]*Node
}

// Options are what may be decided about a system.
type Options struct {
	Model *edm.Model
	Now   func() time.Time
	Seed  int64
	// ChildStamps says that changing only an address, e-mail or tax number moves the stamp of the business partner.
	ChildStamps bool
	// ExternalOrders says that a caller may give an order its number.
	ExternalOrders bool
}

// Laws are the rules of one system. Make it with New; its methods are called inside a change set, one at a time.
type Laws struct {
	Options
	// Prices are list prices by product; SetPrice adds to them.
	Prices  map[string]*big.Rat
	numbers map[string]int64
	rng     *rand.Rand
	made    map[*edm.Set]created
	changed map[*edm.Set]changed
}

type (
	created func(c *Call, n *Node) error
	changed func(c *Call, set *edm.Set, old, r store.Row) (store.Row, error)
)

// Call is one request as far as the rules see it.
type Call struct {
	Tx       *store.Tx
	Language edm.Language
	// Notes are what is said beside a success.
	Notes []message.Note
}

// New returns rules.
func New(o Options) *Laws {
	l := &Laws{Options: o, numbers: map[string]int64{}, Prices: map[string]*big.Rat{}, rng: rand.New(rand.NewPCG(uint64(o.Seed), 0x5a4))} //nolint:gosec // repeatable on purpose
	l.made = map[*edm.Set]created{
		l.set("A_BusinessPartner"): l.partner, l.set("A_BusinessPartnerAddress"): l.address, l.set("A_BusinessPartnerTaxNumber"): l.tax,
		l.set("A_BusinessPartnerRole"): l.role, l.set("A_Customer"): l.customer, l.set("A_CustomerSalesArea"): l.salesArea,
		l.set("A_CustomerCompany"): l.company, l.set("A_AddressEmailAddress"): l.email, l.set("A_AddressPhoneNumber"): l.phone,
		l.set("A_AddressHomePageURL"): l.ordinal, l.set("A_BuPaAddressUsage"): l.usage, l.set("A_BusinessPartnerContact"): l.contact,
		l.set("A_Product"): l.product, l.set("A_SalesOrder"): l.order, l.set("A_SalesOrderItem"): l.item,
		l.set("A_SalesOrderScheduleLine"): l.scheduleLine, l.set("A_SalesOrderHeaderPartner"): l.orderPartner, l.set("A_SalesOrderHeaderPrElement"): l.price, l.set("A_SalesOrderItemPrElement"): l.price,
	}
	l.changed = map[*edm.Set]changed{
		l.set("A_BusinessPartner"): l.partnerChanged, l.set("A_BusinessPartnerAddress"): l.addressChanged,
		l.set("A_AddressEmailAddress"): l.emailChanged, l.set("A_BusinessPartnerTaxNumber"): l.taxChanged,
		l.set("A_Product"): l.productChanged, l.set("A_SalesOrder"): l.orderChanged, l.set("A_SalesOrderItem"): l.itemChanged,
	}
	return l
}

func (l *Laws) set(name string) *edm.Set { return l.Model.Set(name) }

// number draws the next number of a range.
func (l *Laws) number(name string, first int64) string {
	l.numbers[name] = max(l.numbers[name]+1, first)
	return strconv.FormatInt(l.numbers[name], 10)
}

func (l *Laws) uuid() string {
	a, b := l.rng.Uint64(), l.rng.Uint64()
	return fmt.Sprintf("%08x-%04x-4%03x-%04x-%012x", a>>32, a>>16&0xffff, a&0xfff, b>>48&0x3fff|0x8000, b&0xffffffffffff)
}

// day is midnight of a moment.
func day(t time.Time) int64 { return t.UTC().Truncate(24 * time.Hour).UnixMilli() }

// clock is the second of the day.
func clock(t time.Time) int64 {
	t = t.UTC()
	return int64(t.Hour()*3600 + t.Minute()*60 + t.Second())
}

// endless is how the system writes that something is valid for ever.
func endless() int64 { return time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC).UnixMilli() }

// put sets a value of a row that is being made; a property the release does not have is left out.
func put(set *edm.Set, r store.Row, name string, v any) {
	if i := set.At(name); i >= 0 {
		r[i] = v
	}
}

// preset sets a value that was not given.
func preset(set *edm.Set, r store.Row, name string, v any) {
	if i := set.At(name); i >= 0 && (r[i] == nil || r[i] == "") {
		r[i] = v
	}
}

// Create stores an entity and what is nested in it.
func (l *Laws) Create(c *Call, n *Node) error {
	if rule := l.made[n.Set]; rule != nil {
		if err := rule(c, n); err != nil {
			return err
		}
	}
	for i := range n.Set.Props {
		p := &n.Set.Props[i]
		switch {
		case p.Required && (n.Row[i] == nil || n.Row[i] == ""):
			return message.Bad("00/055", "Fill in all required entry fields: %s", p.Name).At(p.Name)
		case n.Row[i] == nil && p.Type == edm.String:
			n.Row[i] = ""
		case n.Row[i] == nil && p.Type == edm.Boolean:
			n.Row[i] = false
		case n.Row[i] == nil && p.Type == edm.Decimal:
			n.Row[i], _ = p.FromText("0", edm.English)
		}
	}
	key := store.Key(n.Set, n.Row)
	if _, there := c.Tx.Get(n.Set, key); there {
		return message.Bad("/IWBEP/CM_MGW_RT/023", "Resource of %s already exists: %s", n.Set.Name, strings.ReplaceAll(key, "\x00", "/"))
	}
	c.Tx.Put(n.Set, n.Row)
	for _, nav := range n.Set.Navs {
		for _, child := range n.Children[nav] {
			for _, j := range nav.Join {
				child.Row[j[1]] = n.Row[j[0]]
			}
			if err := l.Create(c, child); err != nil {
				return err
			}
		}
	}
	return l.settle(c, n.Set, key)
}

// settle derives what depends on children, and answers for the row as it is then.
func (l *Laws) settle(c *Call, set *edm.Set, key string) error {
	r, _ := c.Tx.Get(set, key)
	switch set.Name {
	case "A_SalesOrder":
		return l.settleOrder(c, r)
	case "A_SalesOrderItem":
		return l.settleItem(c, r)
	case "A_BusinessPartner":
		return l.settlePartner(c, r)
	case "A_BusinessPartnerAddress":
		return l.settleAddress(c, r)
	}
	return nil
}

// Update stores a changed entity. The key is unchanged.
func (l *Laws) Update(c *Call, set *edm.Set, old, r store.Row) error {
	if rule := l.changed[set]; rule != nil {
		var err error
		if r, err = rule(c, set, old, r); err != nil {
			return err
		}
	}
	c.Tx.Put(set, r)
	return l.touch(c, set, r)
}

// Delete removes an entity and everything below it.
func (l *Laws) Delete(c *Call, set *edm.Set, r store.Row) error {
	if set.Name == "A_SalesOrder" && r.Text(set, "OverallOrdReltdBillgStatus") != "A" {
		return message.Bad("V1/044", "Sales document %s has subsequent documents and cannot be deleted", r.Text(set, "SalesOrder"))
	}
	l.drop(c, set, r)
	return l.touch(c, set, r)
}

func (l *Laws) drop(c *Call, set *edm.Set, r store.Row) {
	for _, nav := range set.Navs {
		if !nav.Many || nav.Target.Name == "A_BusinessPartnerContact" {
			continue
		}
		var below []store.Row
		c.Tx.Follow(set, r, nav, func(child store.Row) bool { below = append(below, child); return true })
		for _, child := range below {
			l.drop(c, nav.Target, child)
		}
	}
	c.Tx.Delete(set, store.Key(set, r))
}

// touch moves the stamp of what a changed entity belongs to.
func (l *Laws) touch(c *Call, set *edm.Set, r store.Row) error {
	switch set.Name {
	case "A_SalesOrderItem", "A_SalesOrderHeaderPartner", "A_SalesOrderText", "A_SalesOrderHeaderPrElement", "A_SalesOrderItemPrElement", "A_SalesOrderScheduleLine":
		orders := l.set("A_SalesOrder")
		if o, ok := c.Tx.Get(orders, store.Part(&orders.Props[0], r[set.At("SalesOrder")])); ok {
			return l.settleOrder(c, l.stampOrder(o))
		}
	case "A_BusinessPartnerAddress", "A_BusinessPartnerTaxNumber", "A_BusinessPartnerRole", "A_BuPaIdentification", "A_BuPaAddressUsage":
		if l.ChildStamps {
			l.stampPartnerOf(c, r.Text(set, "BusinessPartner"))
		}
	case "A_AddressEmailAddress", "A_AddressPhoneNumber", "A_AddressHomePageURL":
		if l.ChildStamps {
			l.stampPartnerOf(c, l.ownerOf(c, r.Text(set, "AddressID")))
		}
	}
	return nil
}

// Attach prepares an entity that is created below another one: the joined values come from there.
func Attach(parent store.Row, nav *edm.Navigation, n *Node) {
	for _, j := range nav.Join {
		n.Row[j[1]] = parent[j[0]]
	}
}

// CreateBelow is Create for an entity that may belong to an existing one.
func (l *Laws) CreateBelow(c *Call, n *Node) error {
	if err := l.owner(c, n); err != nil {
		return err
	}
	if err := l.Create(c, n); err != nil {
		return err
	}
	return l.touch(c, n.Set, n.Row)
}

// owner refuses an entity whose owner does not exist.
func (l *Laws) owner(c *Call, n *Node) error {
	for prefix, owner := range map[string]string{
		"A_BusinessPartner": "A_BusinessPartner", "A_BuPa": "A_BusinessPartner", "A_SalesOrder": "A_SalesOrder", "A_Customer": "A_Customer",
		"A_CustSales": "A_Customer", "A_Product": "A_Product",
	} {
		set := l.set(owner)
		if n.Set == set || !strings.HasPrefix(n.Set.Name, prefix) || n.Set.Name == "A_BusinessPartnerContact" {
			continue
		}
		at := n.Set.At(set.Props[0].Name)
		if at < 0 {
			continue
		}
		if _, ok := c.Tx.Get(set, store.Part(&set.Props[0], n.Row[at])); !ok {
			return message.New(http.StatusNotFound, "/IWBEP/CM_MGW_RT/020", "Resource not found for segment '%s'", set.TypeName())
		}
	}
	return nil
}
