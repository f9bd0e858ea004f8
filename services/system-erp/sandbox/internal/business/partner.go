package business

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/selfsame-io/selfsame/services/system-erp/sandbox/internal/edm"
	"github.com/selfsame-io/selfsame/services/system-erp/sandbox/internal/message"
	"github.com/selfsame-io/selfsame/services/system-erp/sandbox/internal/store"
)

// grouping says which number range a grouping draws from; "" leaves the number to the caller.
func grouping(g string) (rangeName string, known bool) {
	switch g {
	case "BP02", "BP03":
		return "partner", true
	case "BPEE":
		return "", true
	}
	return "", false
}

func (l *Laws) partner(c *Call, n *Node) error {
	set, r := n.Set, n.Row
	preset(set, r, "BusinessPartnerGrouping", "BP02")
	numbers, known := grouping(r.Text(set, "BusinessPartnerGrouping"))
	given := r.Text(set, "BusinessPartner")
	switch {
	case !known:
		return message.Bad("R1/216", "Grouping %s does not exist", r.Text(set, "BusinessPartnerGrouping")).At("BusinessPartnerGrouping")
	case numbers == "" && given == "":
		return message.Bad("R1/211", "External number assignment: enter a number").At("BusinessPartner")
	case numbers != "" && given != "":
		return message.Bad("R1/210", "Internal number assignment: do not enter a number").At("BusinessPartner")
	}
	if err := checkPartner(set, r); err != nil {
		return err
	}
	if numbers != "" {
		put(set, r, "BusinessPartner", l.number(numbers, 1000001))
	}
	id := r.Text(set, "BusinessPartner")
	if _, there := c.Tx.Get(set, store.Key(set, r)); there {
		return message.Bad("R1/100", "Business partner %s already exists", id).At("BusinessPartner")
	}
	put(set, r, "Customer", "")
	if debtor(n) {
		put(set, r, "Customer", id)
	}
	now := l.Now()
	put(set, r, "BusinessPartnerUUID", l.uuid())
	put(set, r, "CreationDate", day(now))
	put(set, r, "CreationTime", clock(now))
	n.Row = l.stampPartner(r)
	return nil
}

// debtor tells whether a new partner is a customer.
func debtor(n *Node) bool {
	for nav, children := range n.Children {
		for _, child := range children {
			if nav.Name == "to_Customer" || strings.HasPrefix(child.Row.Text(child.Set, "BusinessPartnerRole"), "FLCU") {
				return true
			}
		}
	}
	return false
}

func checkPartner(set *edm.Set, r store.Row) error {
	name := r.Text(set, "OrganizationBPName1")
	switch r.Text(set, "BusinessPartnerCategory") {
	case "1":
		if name = r.Text(set, "LastName"); name == "" {
			return message.Bad("R11/125", "Enter a last name").At("LastName")
		}
		name = strings.TrimSpace(r.Text(set, "FirstName") + " " + name)
	case "2", "3":
		if name == "" {
			return message.Bad("R11/124", "Enter a name").At("OrganizationBPName1")
		}
		name = strings.TrimSpace(name + " " + r.Text(set, "OrganizationBPName2"))
	default:
		return message.Bad("R1/139", "Business partner category '%s' does not exist", r.Text(set, "BusinessPartnerCategory")).At("BusinessPartnerCategory")
	}
	for _, p := range []string{"Language", "CorrespondenceLanguage"} {
		if v := r.Text(set, p); v != "" && !slices.Contains(strings.Fields("EN DE FR IT ES NL PL PT JA ZH SV DA FI NO CS HU"), v) {
			return message.Bad("R11/401", "Language %s does not exist", v).At(p)
		}
	}
	if full := []rune(name); len(full) > 81 {
		name = string(full[:81])
	}
	put(set, r, "BusinessPartnerFullName", name)
	return nil
}

// stampPartner returns the row with new stamps and a new tag.
func (l *Laws) stampPartner(r store.Row) store.Row {
	set, now := l.set("A_BusinessPartner"), l.Now()
	r = r.With(set, "LastChangeDate", day(now)).With(set, "LastChangeTime", clock(now))
	l.numbers["tag"]++
	id := r.Text(set, "BusinessPartner")
	return r.With(set, "ETag", fmt.Sprintf("%s%016d", id[:min(len(id), 10)], l.numbers["tag"]))
}

// Rename changes the name of a partner under a stamp that is older than now by behind: as a transaction does that took its
// time at its beginning and commits late.
func (l *Laws) Rename(c *Call, id, name string, behind time.Duration) error {
	set := l.set("A_BusinessPartner")
	old, ok := c.Tx.Get(set, store.Part(&set.Props[0], id))
	if !ok {
		return message.New(http.StatusNotFound, "R1/100", "Business partner %s does not exist", id)
	}
	r, err := l.partnerChanged(c, set, old, old.With(set, "OrganizationBPName1", name))
	if err != nil {
		return err
	}
	at := l.Now().Add(-behind)
	c.Tx.Put(set, r.With(set, "LastChangeDate", day(at)).With(set, "LastChangeTime", clock(at)))
	return nil
}

func (l *Laws) stampPartnerOf(c *Call, id string) {
	set := l.set("A_BusinessPartner")
	if r, ok := c.Tx.Get(set, store.Part(&set.Props[0], id)); ok {
		c.Tx.Put(set, l.stampPartner(r))
	}
}

func (l *Laws) partnerChanged(c *Call, set *edm.Set, _, r store.Row) (store.Row, error) {
	if err := checkPartner(set, r); err != nil {
		return nil, err
	}
	if id := r.Text(set, "Customer"); id != "" {
		customers := l.set("A_Customer")
		if d, ok := c.Tx.Get(customers, store.Part(&customers.Props[0], id)); ok {
			c.Tx.Put(customers, l.named(c, d, r))
		}
	}
	return l.stampPartner(r), nil
}

// settlePartner makes the customer of a partner whose role asks for one.
func (l *Laws) settlePartner(c *Call, r store.Row) error {
	set, customers := l.set("A_BusinessPartner"), l.set("A_Customer")
	id := r.Text(set, "Customer")
	if id == "" {
		return nil
	}
	if _, there := c.Tx.Get(customers, store.Part(&customers.Props[0], id)); there {
		return nil
	}
	debtor := &Node{Set: customers, Row: make(store.Row, len(customers.Props))}
	put(customers, debtor.Row, "Customer", id)
	return l.Create(c, debtor)
}

func (l *Laws) role(c *Call, n *Node) error {
	role := n.Row.Text(n.Set, "BusinessPartnerRole")
	switch role {
	case "FLCU00", "FLCU01", "BUP001", "BUP003", "000000":
	default:
		return message.Bad("R1/504", "Business partner role %s does not exist", role).At("BusinessPartnerRole")
	}
	partners := l.set("A_BusinessPartner")
	owner, ok := c.Tx.Get(partners, store.Part(&partners.Props[0], n.Row.Text(n.Set, "BusinessPartner")))
	if ok && strings.HasPrefix(role, "FLCU") && owner.Text(partners, "Customer") == "" {
		owner = owner.With(partners, "Customer", owner.Text(partners, "BusinessPartner"))
		c.Tx.Put(partners, owner)
		return l.settlePartner(c, owner)
	}
	return nil
}

func (l *Laws) customer(c *Call, n *Node) error {
	put(n.Set, n.Row, "CreationDate", day(l.Now()))
	preset(n.Set, n.Row, "CustomerAccountGroup", "CUST")
	partners := l.set("A_BusinessPartner")
	if owner, ok := c.Tx.Get(partners, store.Part(&partners.Props[0], n.Row.Text(n.Set, "Customer"))); ok {
		n.Row = l.named(c, n.Row, owner)
	}
	return nil
}

// named gives a customer the name of its partner.
func (l *Laws) named(_ *Call, d, partner store.Row) store.Row {
	set, partners := l.set("A_Customer"), l.set("A_BusinessPartner")
	full := partner.Text(partners, "BusinessPartnerFullName")
	short := []rune(full)
	return d.With(set, "CustomerFullName", full).With(set, "CustomerName", string(short[:min(len(short), 80)]))
}

func (l *Laws) salesArea(_ *Call, n *Node) error {
	text := func(p string) string { return n.Row.Text(n.Set, p) }
	area := text("SalesOrganization") + "/" + text("DistributionChannel") + "/" + text("Division")
	if area != "1010/10/00" && area != "1710/10/00" {
		return message.Bad("VP/204", "Sales area %s does not exist", strings.ReplaceAll(area, "/", " ")).At("SalesOrganization")
	}
	if terms := text("CustomerPaymentTerms"); terms != "" && !slices.Contains([]string{"0001", "0002", "0003", "0004", "N30", "NT30", "NT60"}, terms) {
		return message.Bad("F2/104", "Terms of payment %s are not defined", terms).At("CustomerPaymentTerms")
	}
	if text("SalesOrganization") == "1710" {
		preset(n.Set, n.Row, "Currency", "USD")
	}
	preset(n.Set, n.Row, "Currency", "EUR")
	return nil
}

func (l *Laws) company(_ *Call, n *Node) error {
	if code := n.Row.Text(n.Set, "CompanyCode"); code != "1010" && code != "1710" {
		return message.Bad("F2/154", "Company code %s does not exist", code).At("CompanyCode")
	}
	preset(n.Set, n.Row, "ReconciliationAccount", "12100000")
	return nil
}

func (l *Laws) tax(c *Call, n *Node) error {
	_, err := l.taxChanged(c, n.Set, nil, n.Row)
	return err
}

// taxChanged checks a tax number as the check tables of the country do.
func (l *Laws) taxChanged(_ *Call, set *edm.Set, _, r store.Row) (store.Row, error) {
	kind, number := r.Text(set, "BPTaxType"), r.Text(set, "BPTaxNumber")+r.Text(set, "BPTaxLongNumber")
	prefix := ""
	switch kind {
	case "DE0", "FR0", "AT0", "NL0", "IT0", "ES0", "PL0", "GB0", "BE0", "CH0", "SE0":
		prefix = kind[:2]
	case "DE1", "DE2", "US01", "US02", "ES1", "FR1", "FR2":
	default:
		return nil, message.Bad("BUPA_TAX/001", "Tax number category %s does not exist", kind).At("BPTaxType")
	}
	if number == "" {
		return nil, message.Bad("BUPA_TAX/002", "Enter a tax number").At("BPTaxNumber")
	}
	if kind == "DE0" && (len(number) != 11 || !strings.HasPrefix(number, "DE")) || prefix != "" && prefix != "CH" && !strings.HasPrefix(number, prefix) {
		return nil, message.Bad("AR/191", "Tax number does not have the correct form for category %s", kind).At("BPTaxNumber")
	}
	return r, nil
}

func (l *Laws) contact(c *Call, n *Node) error {
	partners := l.set("A_BusinessPartner")
	for _, p := range []string{"BusinessPartnerCompany", "BusinessPartnerPerson"} {
		id := n.Row.Text(n.Set, p)
		row, ok := c.Tx.Get(partners, store.Part(&partners.Props[0], id))
		if !ok {
			return message.Bad("R1/101", "Business partner %s does not exist", id).At(p)
		}
		if p == "BusinessPartnerPerson" && row.Text(partners, "BusinessPartnerCategory") != "1" {
			return message.Bad("R1/607", "Business partner %s is no person", id).At(p)
		}
	}
	preset(n.Set, n.Row, "RelationshipNumber", l.number("relation", 1))
	preset(n.Set, n.Row, "ValidityEndDate", endless())
	preset(n.Set, n.Row, "ValidityStartDate", day(l.Now()))
	preset(n.Set, n.Row, "RelationshipCategory", "BUR001")
	return nil
}
