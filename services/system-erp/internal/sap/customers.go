package sap

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/erp"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/remote"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/sap/odata"
)

// customers implements remote.Source over business partners with a customer role.
type customers struct{ *System }

type snap = remote.Snapshot[erp.Customer]

// Fields implements remote.Source: what SAP has a place for.
func (c customers) Fields() []string {
	fields := []string{"number", "kind", "name", "tax_ids", "email", "phone", "website", "addresses", "language", "currency", "payment_terms", "order_block"}
	if c.cfg.IdentificationType != "" {
		fields = append(fields, "refs")
	}
	return fields
}

var plainID = regexp.MustCompile(`^[A-Za-z0-9._/-]{1,20}$`)

// external are the values of BusinessPartnerIDByExtSystem that a key may have, in upper case as SAP keeps them.
func (c customers) external(k remote.Key) []string {
	out := []string{k.Mark}
	if c.mayStand(k.Ref) && k.Ref.Value != k.Mark {
		out = append(out, strings.ToUpper(k.Ref.Value))
	}
	return out
}

// mayStand tells whether the value of a reference may be found in SAP as it is. A Salesforce id of 15 characters may not: two
// that differ in case only would be one.
func (c customers) mayStand(r erp.Ref) bool {
	return slices.Contains(c.cfg.References, r.System+"/"+r.Type) && plainID.MatchString(r.Value) &&
		(r.System != "salesforce" || len(r.Value) == 18)
}

// group is how many keys are asked for by one filter; its address stays below what proxies take.
const group = 25

func anyOf(prop string, values []string) string {
	terms := make([]string, len(values))
	for i, v := range values {
		terms[i] = prop + " eq " + odata.Quote(v)
	}
	return strings.Join(terms, " or ")
}

// entities reads what several filters choose: one alone by a request, several in a batch.
func (s *System) entities(ctx context.Context, service, set, expand string, filters []string) ([]json.RawMessage, error) {
	query := func(filter string) url.Values {
		q := url.Values{"$filter": {filter}}
		if expand != "" {
			q.Set("$expand", expand)
		}
		return q
	}
	var out []json.RawMessage
	all := func(filter string) error {
		return s.client.Pages(ctx, service, set, query(filter), func(rows []json.RawMessage) error {
			out = append(out, rows...)
			return nil
		})
	}
	if len(filters) == 1 {
		err := all(filters[0])
		return out, s.told(err, nil)
	}
	parts := make([]odata.Part, len(filters))
	for i, f := range filters {
		parts[i] = odata.Part{{Method: http.MethodGet, Path: set, Query: query(f)}}
	}
	answers, err := s.client.Batch(ctx, service, parts)
	if err != nil {
		return nil, s.told(err, nil)
	}
	for i, a := range answers {
		if a.Err != nil {
			return nil, s.told(a.Err, nil)
		}
		rows, next, err := odata.ParsePage(a.Answers[0].Body)
		if err != nil {
			return nil, unreadable(err)
		}
		if next != "" { // more than a page: read it on its own
			if err := all(filters[i]); err != nil {
				return nil, s.told(err, nil)
			}
			continue
		}
		out = append(out, rows...)
	}
	return out, nil
}

func unreadable(err error) error {
	return fault.Wrap(fault.Unavailable, odata.ReasonAnswer, err, "SAP's answer cannot be read")
}

func (c customers) partners(ctx context.Context, filters []string) ([]snap, []*partner, error) {
	rows, err := c.entities(ctx, partnerService, partnerSet, c.expand(), filters)
	if err != nil {
		return nil, nil, err
	}
	snaps, raw := make([]snap, len(rows)), make([]*partner, len(rows))
	for i, row := range rows {
		if snaps[i], raw[i], err = c.snapshot(row); err != nil {
			return nil, nil, unreadable(err)
		}
	}
	return snaps, raw, nil
}

// Find implements remote.Source.
func (c customers) Find(ctx context.Context, keys []remote.Key) ([][]snap, error) {
	var values []string
	for _, k := range keys {
		values = append(values, c.external(k)...)
	}
	var filters []string
	for chunk := range slices.Chunk(values, group) {
		filters = append(filters, anyOf(externalID, chunk))
	}
	more, err := c.identified(ctx, keys)
	if err != nil {
		return nil, err
	}
	for chunk := range slices.Chunk(more, group) {
		filters = append(filters, anyOf("BusinessPartner", chunk))
	}
	found, raw, err := c.partners(ctx, filters)
	if err != nil {
		return nil, err
	}
	out := make([][]snap, len(keys))
	for i, k := range keys {
		values := c.external(k)
		for j, p := range raw {
			if (slices.Contains(values, strings.ToUpper(p.External)) || !k.Ref.Zero() && slices.Contains(found[j].Record.Refs, k.Ref)) && !slices.ContainsFunc(out[i], func(o snap) bool { return o.Record.ID == p.ID }) {
				out[i] = append(out[i], found[j])
			}
		}
	}
	return out, nil
}

// identified are the partners that carry references as identification numbers.
func (c customers) identified(ctx context.Context, keys []remote.Key) ([]string, error) {
	if c.cfg.IdentificationType == "" {
		return nil, nil
	}
	var numbers, filters, ids []string
	for _, k := range keys {
		if n := identification(k.Ref); !k.Ref.Zero() && utf8.RuneCountInString(n) <= maxIdentification {
			numbers = append(numbers, n)
		}
	}
	for chunk := range slices.Chunk(numbers, group) {
		filters = append(filters, "BPIdentificationType eq "+odata.Quote(c.cfg.IdentificationType)+" and ("+anyOf("BPIdentificationNumber", chunk)+")")
	}
	if len(filters) == 0 {
		return nil, nil
	}
	rows, err := c.entities(ctx, partnerService, "A_BuPaIdentification", "", filters)
	if err != nil {
		return nil, err
	}
	for _, row := range rows {
		var n struct{ BusinessPartner string }
		if err := json.Unmarshal(row, &n); err != nil {
			return nil, unreadable(err)
		}
		ids = append(ids, n.BusinessPartner)
	}
	slices.Sort(ids)
	return slices.Compact(ids), nil
}

// maxIdentification is how long an identification number may be.
const maxIdentification = 60

// Read implements remote.Source.
func (c customers) Read(ctx context.Context, ids []string) ([]snap, error) {
	found, _, err := c.read(ctx, ids)
	return found, err
}

func (c customers) read(ctx context.Context, ids []string) ([]snap, []*partner, error) {
	var filters []string
	ids = slices.DeleteFunc(slices.Clone(ids), func(id string) bool { return !validID(id) })
	if len(ids) == 0 {
		return nil, nil, nil
	}
	for chunk := range slices.Chunk(ids, group) {
		filters = append(filters, anyOf("BusinessPartner", chunk))
	}
	found, raw, err := c.partners(ctx, filters)
	if err != nil {
		return nil, nil, err
	}
	// A person who is no customer is not one here either.
	out, kept := found[:0], raw[:0]
	for i, p := range raw {
		if p.Customer != "" && slices.Contains(ids, p.ID) { // "001" is not the id of 1
			out, kept = append(out, found[i]), append(kept, p)
		}
	}
	return out, kept, nil
}

// validID tells whether SAP can have such a number at all; asking for a longer one would be an error.
func validID(id string) bool { return id != "" && len(id) <= 10 && !strings.ContainsAny(id, "\x00\n") }

// slow is how long a reading may take before it is followed by another one from where it began: what changed behind its back
// is at most that old then, which is less than any overlap.
const slow = 30 * time.Second

// Changed implements remote.Source. Pages follow the numbers of partners, not the server's positions, which shift.
func (c customers) Changed(ctx context.Context, since time.Time, page func([]snap) error) error {
	return c.client.Settled(since, slow, func(since time.Time) error { return c.scan(ctx, since, page) })
}

func (c customers) scan(ctx context.Context, since time.Time, page func([]snap) error) error {
	filter := "Customer ne ''"
	if !since.IsZero() {
		filter += fmt.Sprintf(" and (%s or %s)", after("LastChangeDate", "LastChangeTime", since), after("CreationDate", "CreationTime", since))
	}
	return c.keyset(ctx, partnerService, partnerSet, "BusinessPartner", filter, c.expand(), func(rows []json.RawMessage) (string, error) {
		out, last := make([]snap, 0, len(rows)), ""
		for _, row := range rows {
			one, p, err := c.snapshot(row)
			if err != nil {
				return "", unreadable(err)
			}
			out, last = append(out, one), p.ID
		}
		return last, page(out)
	})
}

// after is a filter for a day and a time of the day, which SAP keeps apart.
func after(day, clock string, since time.Time) string {
	midnight := since.UTC().Truncate(24 * time.Hour)
	return fmt.Sprintf("%s gt %s or (%s eq %s and %s ge %s)", day, odata.Date(midnight), day, odata.Date(midnight), clock, odata.Clock(since))
}

// keyset reads everything a filter chooses, a page at a time, each page from behind the last key of the one before. page
// returns the key of its last row.
func (s *System) keyset(ctx context.Context, service, set, key, filter, expand string, page func([]json.RawMessage) (string, error)) error {
	for last := ""; ; {
		where := filter
		if last != "" {
			where = strings.TrimPrefix("("+filter+") and ", "() and ") + key + " gt " + odata.Quote(last)
		}
		q := url.Values{"$orderby": {key}, "$top": {strconv.Itoa(s.cfg.PageSize)}}
		if where != "" {
			q.Set("$filter", where)
		}
		if expand != "" {
			q.Set("$expand", expand)
		}
		rows, more, err := s.client.Page(ctx, service, set, q)
		if err != nil {
			return s.told(err, nil)
		}
		if len(rows) == 0 {
			return nil
		}
		before := last
		if last, err = page(rows); err != nil {
			return err
		}
		if len(rows) < s.cfg.PageSize && !more {
			return nil
		}
		if last == before {
			return unreadable(fmt.Errorf("the pages of %s do not go on", set))
		}
	}
}

// Similar implements remote.Source: by number, name, tax number and e-mail, in this order: what many have in common comes last.
func (c customers) Similar(ctx context.Context, r erp.Customer, limit int) ([]snap, error) {
	ids, err := c.similarIDs(ctx, r, limit)
	if err != nil {
		return nil, err
	}
	var filters []string
	if validID(r.Number) {
		filters = append(filters, "BusinessPartner eq "+odata.Quote(r.Number))
	}
	if name := strings.TrimSpace(r.Name); name != "" {
		exact := "OrganizationBPName1 eq " + odata.Quote(c.nameLines(name)[0])
		if r.Kind == erp.Person {
			_, last := personName(name)
			exact = "LastName eq " + odata.Quote(last)
		}
		filters = append(filters, exact, "SearchTerm1 eq "+odata.Quote(searchTerm(name)))
	}
	for chunk := range slices.Chunk(ids, group) {
		filters = append(filters, anyOf("BusinessPartner", chunk))
	}
	if len(filters) == 0 {
		return nil, nil
	}
	found, raw, err := c.partners(ctx, filters)
	if err != nil {
		return nil, err
	}
	var out []snap
	for i, p := range raw {
		if p.Customer != "" && len(out) < limit && !slices.ContainsFunc(out, func(o snap) bool { return o.Record.ID == p.ID }) {
			out = append(out, found[i])
		}
	}
	return out, nil
}

// similarIDs finds partners by what stands in other sets.
func (c customers) similarIDs(ctx context.Context, r erp.Customer, limit int) ([]string, error) {
	var ids, addresses []string
	collect := func(set, filter, prop string, into *[]string) error {
		q := url.Values{"$filter": {filter}, "$select": {prop}, "$top": {strconv.Itoa(limit)}}
		rows, _, err := c.client.Page(ctx, partnerService, set, q)
		if err != nil {
			return c.told(err, nil)
		}
		for _, row := range rows {
			var fields map[string]any
			if err := json.Unmarshal(row, &fields); err != nil {
				return unreadable(err)
			}
			if v, ok := fields[prop].(string); ok && !slices.Contains(*into, v) {
				*into = append(*into, v)
			}
		}
		return nil
	}
	for _, t := range r.TaxIDs {
		if err := collect("A_BusinessPartnerTaxNumber", "BPTaxNumber eq "+odata.Quote(t.Value), "BusinessPartner", &ids); err != nil {
			return nil, err
		}
	}
	if r.Email != "" {
		if err := collect("A_AddressEmailAddress", "EmailAddress eq "+odata.Quote(r.Email), "AddressID", &addresses); err != nil {
			return nil, err
		}
	}
	if len(addresses) > 0 {
		if err := collect(addressSet, anyOf("AddressID", addresses[:min(len(addresses), group)]), "BusinessPartner", &ids); err != nil {
			return nil, err
		}
	}
	return ids, nil
}

// searchTerm is the beginning of a name as SAP's own users look for it.
func searchTerm(name string) string {
	term := []rune(strings.ToUpper(name))
	return strings.TrimRight(string(term[:min(len(term), 20)]), " ")
}
