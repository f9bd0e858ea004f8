package business

import (
	"strings"

	"github.com/selfsame-io/selfsame/services/system-erp/sandbox/internal/edm"
	"github.com/selfsame-io/selfsame/services/system-erp/sandbox/internal/message"
	"github.com/selfsame-io/selfsame/services/system-erp/sandbox/internal/store"
)

// regions are the region codes of the countries that have a table; they are not ISO 3166-2. A country that is not listed
// here has no regions.
func regions(country string) string {
	switch country {
	case "DE":
		return " 01 02 03 04 05 06 07 08 09 10 11 12 13 14 15 16 "
	case "US":
		return " AL AK AZ AR CA CO CT DE DC FL GA HI ID IL IN IA KS KY LA ME MD MA MI MN MS MO MT NE NV NH NJ NM NY NC ND OH OK OR PA RI SC SD TN TX UT VT VA WA WV WI WY "
	case "CA":
		return " AB BC MB NB NL NS NT NU ON PE QC SK YT "
	case "AU":
		return " ACT NSW NT QLD SA TAS VIC WA "
	case "CH":
		return " AG AI AR BE BL BS FR GE GL GR JU LU NE NW OW SG SH SO SZ TG TI UR VD VS ZG ZH "
	case "AT":
		return " B K NOE OOE S ST T V W "
	}
	return ""
}

func (l *Laws) address(_ *Call, n *Node) error {
	preset(n.Set, n.Row, "AddressID", l.number("address", 23001))
	preset(n.Set, n.Row, "ValidityStartDate", day(l.Now()))
	preset(n.Set, n.Row, "ValidityEndDate", endless())
	return checkAddress(n.Set, n.Row)
}

func (l *Laws) addressChanged(_ *Call, set *edm.Set, _, r store.Row) (store.Row, error) {
	return r, checkAddress(set, r)
}

func checkAddress(set *edm.Set, r store.Row) error {
	country, region, code := r.Text(set, "Country"), r.Text(set, "Region"), r.Text(set, "PostalCode")
	if len(country) != 2 || country == "XX" || country == "ZZ" {
		return message.Bad("AM/210", "Country %s does not exist", country).At("Country")
	}
	if region != "" && !strings.Contains(regions(country), " "+region+" ") {
		return message.Bad("AM/213", "Region %s is not defined for country %s", region, country).At("Region")
	}
	if country == "DE" && code != "" && (len(code) != 5 || strings.Trim(code, "0123456789") != "") {
		return message.Bad("AM/215", "Postal code %s must have 5 digits", code).At("PostalCode")
	}
	return nil
}

// settleAddress makes the first address of a partner its default.
func (l *Laws) settleAddress(c *Call, r store.Row) error {
	set, usages := l.set("A_BusinessPartnerAddress"), l.set("A_BuPaAddressUsage")
	id := r.Text(set, "BusinessPartner")
	has := false
	c.Tx.Scan(usages, store.Part(&usages.Props[0], id), func(u store.Row) bool {
		has = has || u.Text(usages, "AddressUsage") == "XXDEFAULT"
		return !has
	})
	if has {
		return nil
	}
	n := &Node{Set: usages, Row: make(store.Row, len(usages.Props))}
	put(usages, n.Row, "BusinessPartner", id)
	put(usages, n.Row, "AddressID", r.Text(set, "AddressID"))
	put(usages, n.Row, "AddressUsage", "XXDEFAULT")
	return l.Create(c, n)
}

func (l *Laws) usage(_ *Call, n *Node) error {
	preset(n.Set, n.Row, "ValidityEndDate", endless())
	preset(n.Set, n.Row, "ValidityStartDate", day(l.Now()))
	switch u := n.Row.Text(n.Set, "AddressUsage"); u {
	case "XXDEFAULT", "BILL_TO", "SHIP_TO":
		return nil
	default:
		return message.Bad("R1/377", "Address type %s does not exist", u).At("AddressUsage")
	}
}

// ordinal numbers what an address has several of.
func (l *Laws) ordinal(_ *Call, n *Node) error {
	preset(n.Set, n.Row, "OrdinalNumber", l.number("ordinal/"+n.Set.Name+"/"+n.Row.Text(n.Set, "AddressID"), 1))
	preset(n.Set, n.Row, "Person", "")
	return nil
}

func (l *Laws) email(c *Call, n *Node) error {
	if _, err := l.emailChanged(c, n.Set, nil, n.Row); err != nil {
		return err
	}
	return l.ordinal(c, n)
}

func (l *Laws) emailChanged(_ *Call, set *edm.Set, _, r store.Row) (store.Row, error) {
	address := r.Text(set, "EmailAddress")
	if name, host, ok := strings.Cut(address, "@"); address != "" && (!ok || name == "" || host == "" || strings.ContainsAny(address, " ,;")) {
		return nil, message.Bad("XS/811", "Enter a valid e-mail address").At("EmailAddress")
	}
	short := strings.ToUpper(address)
	put(set, r, "SearchEmailAddress", short[:min(len(short), 20)])
	return r, nil
}

func (l *Laws) phone(c *Call, n *Node) error {
	preset(n.Set, n.Row, "PhoneNumberType", "1")
	put(n.Set, n.Row, "InternationalPhoneNumber", n.Row.Text(n.Set, "PhoneNumber"))
	return l.ordinal(c, n)
}

// ownerOf finds the partner of an address.
func (l *Laws) ownerOf(c *Call, address string) string {
	set, owner := l.set("A_BusinessPartnerAddress"), ""
	c.Tx.Scan(set, "", func(r store.Row) bool {
		if r.Text(set, "AddressID") == address {
			owner = r.Text(set, "BusinessPartner")
		}
		return owner == ""
	})
	return owner
}
