package sap

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/backend"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/erp"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/remote"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/sap/odata"
)

type (
	draft = remote.Draft[erp.Customer]
	wrote = remote.Reply[erp.Customer]
)

// lost is an outcome that is not known.
func lost(err error) error {
	return fault.Wrap(fault.Uncertain, fault.ReasonOutcomeUncertain, err, "SAP did not answer a write that was sent; it may have happened")
}

// Insert implements remote.Source: one deep insert per customer, a change set each, all in one batch.
func (c customers) Insert(ctx context.Context, drafts []draft) ([]wrote, error) {
	if f, err := c.know(ctx); err != nil {
		return nil, err
	} else if !f.partner.May(partnerSet) {
		return nil, backend.Missing(Kind, "customers: they are not creatable in this SAP release")
	}
	return inBatches(drafts, c.cfg.BatchSize, func(drafts []draft) ([]wrote, error) {
		parts := make([]odata.Part, len(drafts))
		for i, d := range drafts {
			parts[i] = odata.Part{{Method: http.MethodPost, Path: partnerSet, Body: c.deep(d)}}
		}
		answers, err := c.client.Batch(ctx, partnerService, parts)
		if err != nil {
			return nil, c.told(err, nil)
		}
		return c.inserted(ctx, drafts, answers), nil
	})
}

// inserted reads the answers to creations. Where SAP sends links in place of what was sent, the customers are read again, all
// of them together.
func (c customers) inserted(ctx context.Context, drafts []draft, answers []odata.PartAnswer) []wrote {
	out := make([]wrote, len(drafts))
	var again []string
	for i, a := range answers {
		if a.Err != nil {
			out[i].Err = c.told(a.Err, customerField)
			continue
		}
		s, p, err := c.snapshot(a.Answers[0].Body)
		if err != nil {
			out[i].Err = lost(err)
			continue
		}
		if out[i].Snapshot = s; !p.holds(s.Record, drafts[i].Record) {
			again = append(again, p.ID)
		}
	}
	if len(again) == 0 {
		return out
	}
	found, err := c.Read(ctx, again)
	for i := range out {
		id := out[i].Snapshot.Record.ID
		if out[i].Err != nil || !slices.Contains(again, id) {
			continue
		}
		j := slices.IndexFunc(found, func(s snap) bool { return s.Record.ID == id })
		if err != nil || j < 0 {
			out[i] = wrote{Err: lost(errors.Join(errors.New("a customer that was made cannot be read"), err))}
			continue
		}
		out[i].Snapshot = found[j]
	}
	return out
}

// holds tells whether the answer to a creation shows what was sent.
func (p *partner) holds(have, sent erp.Customer) bool {
	return p.Metadata != nil && p.Metadata.ETag != "" && p.Debtor != nil && len(p.Debtor.Deferred) == 0 && len(have.Addresses) >= len(sent.Addresses) &&
		len(have.TaxIDs) >= len(sent.TaxIDs) && (p.Idents == nil || !p.Idents.Deferred || len(sent.Refs) == 0) && have.Email == sent.Email && have.Phone == sent.Phone && have.Website == sent.Website
}

// inBatches does a batch in parts. A part that fails as a whole fails each of its drafts, so that those before it keep their
// answers; the first one's failure is that of all.
func inBatches(drafts []draft, size int, do func([]draft) ([]wrote, error)) ([]wrote, error) {
	var out []wrote
	for chunk := range slices.Chunk(drafts, size) {
		replies, err := do(chunk)
		switch {
		case err != nil && len(out) == 0 && len(chunk) == len(drafts):
			return nil, err
		case err != nil:
			replies = make([]wrote, len(chunk))
			for i := range replies {
				replies[i].Err = err
			}
		}
		out = append(out, replies...)
	}
	return out, nil
}

// again reads a customer that was written.
func (c customers) again(ctx context.Context, id string) wrote {
	found, err := c.Read(ctx, []string{id})
	if err == nil && len(found) != 1 {
		err = errors.New("a customer that was written is not found")
	}
	if err != nil {
		return wrote{Err: lost(err)}
	}
	return wrote{Snapshot: found[0]}
}

// deep is a new customer with everything in it.
func (c customers) deep(d draft) *partner {
	r := d.Record
	p := &partner{
		Grouping: c.cfg.Grouping, External: d.Key.Mark, Search: searchTerm(r.Name), Language: strings.ToUpper(r.Language),
		Roles: &list[role]{Items: []role{{"FLCU00"}, {"FLCU01"}}}, Taxes: &list[taxRow]{Items: []taxRow{}}, Debtor: &debtor{},
	}
	if r.Kind == erp.Person {
		p.Category = "1"
		p.FirstName, p.LastName = personName(r.Name)
	} else {
		p.Category = "2"
		lines := c.nameLines(r.Name)
		p.Name1, p.Name2, p.Name3, p.Name4 = lines[0], lines[1], lines[2], lines[3]
	}
	for _, t := range r.TaxIDs {
		kind, _ := c.codes.taxType(t.Scheme, t.Value)
		p.Taxes.Items = append(p.Taxes.Items, taxRow{Type: kind, Number: t.Value})
	}
	if c.cfg.IdentificationType != "" && len(r.Refs) > 0 {
		p.Idents = &list[ident]{}
		for _, ref := range r.Refs {
			p.Idents.Items = append(p.Idents.Items, ident{c.cfg.IdentificationType, identification(ref)})
		}
	}
	if r.OrderBlock {
		p.Debtor.Block = c.cfg.OrderBlock
	}
	if c.cfg.CompanyCode != "" {
		p.Debtor.Companies = one(company{c.cfg.CompanyCode})
	}
	p.Debtor.Areas = one(salesArea{c.cfg.SalesOrganization, c.cfg.DistributionChannel, c.cfg.Division, r.Currency, r.PaymentTerms})
	p.Addresses = &list[postal]{Items: c.postals(r)}
	return p
}

func (c customers) nameLines(name string) [4]string {
	length := 40
	if f := c.cached(); f != nil {
		length = max(f.partner.Field(partnerSet, "OrganizationBPName1").MaxLength, 1)
	}
	var out [4]string
	lines, _ := split(name, length)
	copy(out[:], lines)
	return out
}

// cached is what is known of the release; nil before it was asked.
func (s *System) cached() *features {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.features
}

// postals are the addresses of a new customer, the default one first: SAP makes the first one the default. Communication
// hangs on that.
func (c customers) postals(r erp.Customer) []postal {
	var out []postal
	list := slices.Clone(r.Addresses)
	slices.SortStableFunc(list, func(a, b erp.Address) int { return int(a.Usage) - int(b.Usage) })
	for _, a := range list {
		out = append(out, c.newPostal(a))
	}
	if len(out) == 0 && r.Email+r.Phone+r.Website != "" {
		out = append(out, c.newPostal(erp.Address{Usage: erp.UsageDefault}))
	}
	if len(out) > 0 {
		c.communicate(&out[0], r)
	}
	return out
}

func (c customers) newPostal(a erp.Address) postal {
	p := c.postal(a)
	p.Usages = one(usage{c.usage(a.Usage)})
	p.Emails, p.Phones = &list[email]{Items: []email{}}, &list[phone]{Items: []phone{}}
	return p
}

func (c customers) communicate(p *postal, r erp.Customer) {
	if r.Email != "" {
		p.Emails = one(email{Address: r.Email, Default: true})
	}
	if r.Phone != "" {
		p.Phones = one(phone{Number: r.Phone, Type: "1", Default: true})
	}
	if r.Website != "" {
		p.URLs = one(webURL{URL: r.Website, Default: true})
	}
}

// Change implements remote.Source. The customers are read first, for the keys of their children and for changes that do not
// move SAP's tag; then one change set each is sent, with a read behind it, all in one batch.
func (c customers) Change(ctx context.Context, drafts []draft) ([]wrote, error) {
	return inBatches(drafts, max(c.cfg.BatchSize/2, 1), func(drafts []draft) ([]wrote, error) { return c.change(ctx, drafts) })
}

func (c customers) change(ctx context.Context, drafts []draft) ([]wrote, error) {
	ids := make([]string, len(drafts))
	for i, d := range drafts {
		ids[i] = d.Record.ID
	}
	found, raw, err := c.read(ctx, ids)
	if err != nil {
		return nil, err
	}
	out := make([]wrote, len(drafts))
	var parts []odata.Part
	var which []int
	for i, d := range drafts {
		j := slices.IndexFunc(raw, func(p *partner) bool { return p.ID == d.Record.ID })
		switch {
		case j < 0:
			out[i].Err = fault.New(fault.NotFound, fault.ReasonNotFound, "no customer has this id")
			continue
		case found[j].Tag != d.Old.Tag:
			out[i].Err = fault.New(fault.Conflict, fault.ReasonETagMismatch, "the record was changed in SAP meanwhile")
			continue
		}
		ops := c.diff(raw[j], found[j].Record, d.Record)
		if len(ops) == 0 {
			out[i].Snapshot = found[j]
			continue
		}
		parts = append(parts, ops, odata.Part{{Method: http.MethodGet, Path: odata.Key(partnerSet, d.Record.ID), Query: url.Values{"$expand": {c.expand()}}}})
		which = append(which, i)
	}
	if len(parts) == 0 {
		return out, nil
	}
	answers, err := c.client.Batch(ctx, partnerService, parts)
	if err != nil {
		err = c.told(err, nil)
		for _, i := range which {
			out[i].Err = err
		}
		return out, nil
	}
	for n, i := range which {
		written, read := answers[2*n], answers[2*n+1]
		switch {
		case written.Err != nil:
			out[i].Err = c.told(written.Err, customerField)
		case read.Err != nil:
			out[i] = c.again(ctx, drafts[i].Record.ID)
		default:
			s, _, err := c.snapshot(read.Answers[0].Body)
			if err != nil {
				err = lost(err)
			}
			out[i] = wrote{Snapshot: s, Err: err}
		}
	}
	return out, nil
}

// Retire implements remote.Source: SAP does not delete partners, it marks them for archiving.
func (c customers) Retire(ctx context.Context, old snap) (snap, error) {
	found, raw, err := c.read(ctx, []string{old.Record.ID})
	switch {
	case err != nil:
		return snap{}, err
	case len(found) != 1:
		return snap{}, fault.New(fault.NotFound, fault.ReasonNotFound, "no customer has this id")
	case found[0].Tag != old.Tag:
		return snap{}, fault.New(fault.Conflict, fault.ReasonETagMismatch, "the record was changed in SAP meanwhile")
	}
	if _, err := c.client.Update(ctx, partnerService, odata.Key(partnerSet, old.Record.ID), raw[0].etag(), map[string]any{archived: true}); err != nil {
		return snap{}, c.told(err, nil)
	}
	w := c.again(ctx, old.Record.ID)
	return w.Snapshot, w.Err
}
