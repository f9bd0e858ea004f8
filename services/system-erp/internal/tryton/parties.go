package tryton

import (
	"cmp"
	"context"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/selfsame-io/selfsame/services/system-erp/internal/erp"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/remote"
)

// parties are the customers.
type parties struct{ *System }

type snapshot = remote.Snapshot[erp.Customer]

// pageSize is how many parties one page of a scan has.
const pageSize = 200

// party is a party with its children as the server has them.
type party struct {
	record
	addresses, mechanisms, identifiers []record
}

// Fields implements remote.Source.
func (parties) Fields() []string {
	return []string{"number", "name", "email", "phone", "website", "tax_ids", "addresses", "refs"}
}

// Reference codes: identifiers without a type, "system:type:value", the first two escaped.
func refCode(r erp.Ref) string {
	return url.PathEscape(strings.ReplaceAll(r.System, ":", "%3A")) + ":" + url.PathEscape(strings.ReplaceAll(r.Type, ":", "%3A")) + ":" + r.Value
}

func codeRef(code string) (erp.Ref, bool) {
	parts := strings.SplitN(code, ":", 3)
	if len(parts) != 3 || parts[0] == "" || parts[1] == "" || parts[2] == "" {
		return erp.Ref{}, false
	}
	unescape := func(s string) (string, error) {
		s, err := url.PathUnescape(s)
		return strings.ReplaceAll(s, "%3A", ":"), err
	}
	system, err := unescape(parts[0])
	typ, err2 := unescape(parts[1])
	return erp.Ref{System: system, Type: typ, Value: parts[2]}, err == nil && err2 == nil && (system != "selfsame" || typ != "mark")
}

// markIdentifier is the identifier that carries the mark of a party with a number of its own.
func markIdentifier(mark string) string { return "selfsame:mark:" + mark }

// markCode is the code a new party gets when it has no number: the database refuses a second party of one code.
func markCode(mark string) string { return "S" + mark }

// Find implements remote.Source: three calls for any number of keys, more when there are hits.
func (p parties) Find(ctx context.Context, keys []remote.Key) ([][]snapshot, error) {
	refs, codes := make(map[string][]int), make(map[string]int)
	for i, k := range keys {
		if !k.Ref.Zero() {
			refs[refCode(k.Ref)] = append(refs[refCode(k.Ref)], i)
		}
		if k.Mark != "" {
			codes[markCode(k.Mark)] = i
			refs[markIdentifier(k.Mark)] = append(refs[markIdentifier(k.Mark)], i)
		}
	}
	hits := make([]map[int64]bool, len(keys))
	hit := func(i int, id int64) {
		if hits[i] == nil {
			hits[i] = make(map[int64]bool)
		}
		hits[i][id] = true
	}
	if len(keys) > 0 {
		found, err := p.find(ctx, "party.identifier", []any{clause("code", "in", keysOf(refs)), clause("type", "=", nil)}, 0, "code", "party")
		if err != nil {
			return nil, err
		}
		for _, r := range found {
			for _, i := range refs[r.str("code")] {
				hit(i, r.id("party"))
			}
		}
	}
	found, err := p.find(ctx, "party.party", []any{clause("code", "in", keysOf(codes))}, 0, "code")
	if err != nil {
		return nil, err
	}
	for _, r := range found {
		hit(codes[r.str("code")], r.id("id"))
	}
	var ids []int64
	for _, h := range hits {
		for id := range h {
			ids = append(ids, id)
		}
	}
	byID, err := p.load(ctx, ids)
	if err != nil {
		return nil, err
	}
	out := make([][]snapshot, len(keys))
	for i, h := range hits {
		for id := range h {
			if full, ok := byID[id]; ok {
				out[i] = append(out[i], p.snapshot(full))
			}
		}
	}
	return out, nil
}

func keysOf[V any](m map[string]V) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

// load reads parties with their children: four calls for any number of them.
func (p parties) load(ctx context.Context, ids []int64) (map[int64]*party, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	if _, err := p.data(ctx); err != nil {
		return nil, err
	}
	out := make(map[int64]*party, len(ids))
	list, err := p.read(ctx, "party.party", ids, "name", "code", "active", "replaced_by", "addresses", "contact_mechanisms", "identifiers",
		"_timestamp", "create_date", "write_date")
	if err != nil {
		return nil, err
	}
	var addresses, mechanisms, identifiers []int64
	for _, r := range list {
		out[r.id("id")] = &party{record: r}
		addresses = append(addresses, r.ids("addresses")...)
		mechanisms = append(mechanisms, r.ids("contact_mechanisms")...)
		identifiers = append(identifiers, r.ids("identifiers")...)
	}
	children := func(model string, ids []int64, add func(*party, record), fields ...string) error {
		list, err := p.read(ctx, model, ids, append(fields, "party", "_timestamp", "create_date", "write_date")...)
		if err != nil {
			return err
		}
		slices.SortStableFunc(list, func(a, b record) int { return cmp.Compare(a.id("id"), b.id("id")) })
		for _, r := range list {
			if owner := out[r.id("party")]; owner != nil {
				add(owner, r)
			}
		}
		return nil
	}
	if err := children("party.address", addresses, func(o *party, r record) { o.addresses = append(o.addresses, r) },
		"street", "city", "postal_code", "country", "subdivision", "active", "delivery", "invoice"); err != nil {
		return nil, err
	}
	if err := children("party.contact_mechanism", mechanisms, func(o *party, r record) { o.mechanisms = append(o.mechanisms, r) },
		"type", "value", "active"); err != nil {
		return nil, err
	}
	err = children("party.identifier", identifiers, func(o *party, r record) { o.identifiers = append(o.identifiers, r) }, "type", "code")
	return out, err
}

// usageOf is what an address is used for: the one that is neither for invoices nor for deliveries, or for both, is the default.
func usageOf(r record) erp.Usage {
	switch {
	case r.flag("invoice") && !r.flag("delivery"):
		return erp.UsageBillTo
	case r.flag("delivery") && !r.flag("invoice"):
		return erp.UsageShipTo
	default:
		return erp.UsageDefault
	}
}

// addressOf is the first active address of each usage; others are left to Tryton.
func (o *party) addressOf(usage erp.Usage) record {
	for _, a := range o.addresses {
		if a.flag("active") && usageOf(a) == usage {
			return a
		}
	}
	return nil
}

func (o *party) mechanism(kind string) record {
	for _, m := range o.mechanisms {
		if m.flag("active") && m.str("type") == kind {
			return m
		}
	}
	return nil
}

func (s *System) snapshot(o *party) snapshot {
	m := s.master.Load()
	c := erp.Customer{
		Head:   erp.Head{ID: name(o.id("id")), Created: o.time("create_date"), Updated: o.changed(), Deleted: !o.flag("active")},
		Number: o.str("code"), Name: o.str("name"),
		Email: o.mechanism("email").str("value"), Phone: o.mechanism("phone").str("value"), Website: o.mechanism("website").str("value"),
	}
	if by := o.id("replaced_by"); by != 0 && c.Deleted {
		c.MergedInto = name(by) // the wizard "Replace" has put that party in its place
	}
	tag := []string{o.str("_timestamp")}
	for _, list := range [][]record{o.addresses, o.mechanisms, o.identifiers} {
		for _, r := range list {
			tag = append(tag, name(r.id("id"))+"@"+r.str("_timestamp"))
			if at := r.changed(); at.After(c.Updated) {
				c.Updated = at
			}
		}
		tag = append(tag, "/")
	}
	for _, usage := range []erp.Usage{erp.UsageDefault, erp.UsageBillTo, erp.UsageShipTo} {
		a := o.addressOf(usage)
		if a == nil || a.str("street") == "" && a.str("city") == "" && a.str("postal_code") == "" && a.id("country") == 0 {
			continue // Tryton gives a new party an empty address
		}
		country := m.countryOf[a.id("country")]
		c.Addresses = append(c.Addresses, erp.Address{
			Usage: usage, Street: a.str("street"), City: a.str("city"), PostalCode: a.str("postal_code"), Country: country,
			Region: strings.TrimPrefix(m.subdivOf[a.id("subdivision")], country+"-"),
		})
	}
	for _, i := range o.identifiers {
		if i.str("type") == "" {
			if ref, ok := codeRef(i.str("code")); ok {
				c.Refs = append(c.Refs, ref)
			}
			continue
		}
		if !slices.ContainsFunc(c.TaxIDs, func(t erp.TaxID) bool { return t.Scheme == i.str("type") }) {
			c.TaxIDs = append(c.TaxIDs, erp.TaxID{Scheme: i.str("type"), Value: i.str("code")})
		}
	}
	return snapshot{Record: c, Tag: strings.Join(tag, " ")}
}

// Read implements remote.Source.
func (p parties) Read(ctx context.Context, ids []string) ([]snapshot, error) {
	known, err := p.search(ctx, "party.party", []any{clause("id", "in", numbers(ids))}, 0)
	if err != nil {
		return nil, err
	}
	found, err := p.load(ctx, known)
	if err != nil {
		return nil, err
	}
	out := make([]snapshot, 0, len(found))
	for _, id := range known {
		if o := found[id]; o != nil {
			out = append(out, p.snapshot(o))
		}
	}
	return out, nil
}

// Changed implements remote.Source. Parties are read in the order of their ids, so a page is never skipped because something
// changes meanwhile. A child that was removed leaves no trace and is found by the comparison.
func (p parties) Changed(ctx context.Context, since time.Time, page func([]snapshot) error) error {
	var changed []any
	if !since.IsZero() {
		at := moment(since)
		changed = or(clause("write_date", ">=", at), clause("create_date", ">=", at), clause("addresses.write_date", ">=", at),
			clause("addresses.create_date", ">=", at), clause("contact_mechanisms.write_date", ">=", at),
			clause("contact_mechanisms.create_date", ">=", at), clause("identifiers.write_date", ">=", at),
			clause("identifiers.create_date", ">=", at))
	}
	for last := int64(0); ; {
		domain := []any{clause("id", ">", last)}
		if changed != nil {
			domain = append(domain, changed)
		}
		ids, err := p.search(ctx, "party.party", domain, pageSize)
		if err != nil || len(ids) == 0 {
			return err
		}
		last = ids[len(ids)-1]
		found, err := p.load(ctx, ids)
		if err != nil {
			return err
		}
		list := make([]snapshot, 0, len(ids))
		for _, id := range ids {
			// A party without a name is not a customer anybody could use.
			if o := found[id]; o != nil && o.str("name") != "" {
				list = append(list, p.snapshot(o))
			}
		}
		if err := page(list); err != nil {
			return err
		}
	}
}

// Similar implements remote.Source. Each kind of evidence is searched by itself: a thousand parties with one e-mail address must
// not crowd out the one with the number.
func (p parties) Similar(ctx context.Context, c erp.Customer, limit int) ([]snapshot, error) {
	var anyOf [][]any
	if c.Name != "" {
		anyOf = append(anyOf, clause("name", "=", c.Name))
	}
	if c.Number != "" {
		anyOf = append(anyOf, clause("code", "=", c.Number))
	}
	if c.Email != "" {
		anyOf = append(anyOf, clause("contact_mechanisms.value", "=", c.Email))
	}
	for _, t := range c.TaxIDs {
		anyOf = append(anyOf, clause("identifiers.code", "=", t.Value))
	}
	var ids []int64
	for _, kind := range anyOf {
		found, err := p.search(ctx, "party.party", []any{kind, clause("active", "=", true)}, limit)
		if err != nil {
			return nil, err
		}
		ids = append(ids, found...)
	}
	slices.Sort(ids)
	ids = slices.Compact(ids)
	found, err := p.load(ctx, ids)
	if err != nil {
		return nil, err
	}
	var out []snapshot
	for _, id := range ids {
		if o := found[id]; o != nil {
			out = append(out, p.snapshot(o))
		}
	}
	return out, nil
}
