package tryton

import (
	"context"
	"slices"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/backend"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/erp"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/remote"
)

// Insert implements remote.Source. All parties are one call, which is one transaction there; when it is refused, none of them
// was made, and each is sent by itself to find out which one is to blame.
func (p parties) Insert(ctx context.Context, drafts []remote.Draft[erp.Customer]) ([]remote.Reply[erp.Customer], error) {
	m, err := p.data(ctx)
	if err != nil {
		return nil, err
	}
	all := make([]any, len(drafts))
	for i, d := range drafts {
		all[i] = partyValues(m, d)
	}
	ids, err := p.create(ctx, all)
	switch {
	case err == nil:
		return p.made(ctx, ids, len(drafts))
	case len(drafts) == 1 || fault.Is(err, fault.Uncertain) || fault.ReasonOf(err) == backend.ReasonLocked:
		if len(drafts) == 1 {
			err = p.translate(err, drafts[0].Record)
		}
		return nil, err
	}
	return each(drafts, func(d remote.Draft[erp.Customer]) (snapshot, error) {
		ids, err := p.create(ctx, []any{partyValues(m, d)})
		if err != nil {
			return snapshot{}, p.translate(err, d.Record)
		}
		return p.again(ctx, ids)
	}), nil
}

func (p parties) create(ctx context.Context, values []any) (ids []int64, err error) {
	err = p.client.call(ctx, true, &ids, "model.party.party.create", values, p.context(ctx, nil))
	return ids, err
}

// made reads new parties. When that fails they exist and only how they look is not known.
func (p parties) made(ctx context.Context, ids []int64, want int) ([]remote.Reply[erp.Customer], error) {
	found, err := p.load(ctx, ids)
	if err != nil || len(ids) != want {
		return nil, fault.Wrap(fault.Uncertain, fault.ReasonOutcomeUncertain, err, "what was written cannot be read")
	}
	out := make([]remote.Reply[erp.Customer], want)
	for i, id := range ids {
		if found[id] == nil {
			out[i].Err = fault.New(fault.Uncertain, fault.ReasonOutcomeUncertain, "what was written cannot be read")
			continue
		}
		out[i].Snapshot = p.snapshot(found[id])
	}
	return out, nil
}

func partyValues(m *master, d remote.Draft[erp.Customer]) map[string]any {
	c := d.Record
	values := map[string]any{"name": c.Name, "code": c.Number}
	var addresses, mechanisms, identifiers []any
	if c.Number == "" {
		values["code"] = markCode(d.Key.Mark)
	} else {
		identifiers = append(identifiers, map[string]any{"type": nil, "code": markIdentifier(d.Key.Mark)})
	}
	for _, a := range c.Addresses {
		addresses = append(addresses, addressValues(m, a))
	}
	for _, v := range [][2]string{{"email", c.Email}, {"phone", c.Phone}, {"website", c.Website}} {
		if v[1] != "" {
			mechanisms = append(mechanisms, map[string]any{"type": v[0], "value": v[1]})
		}
	}
	for _, r := range c.Refs {
		identifiers = append(identifiers, map[string]any{"type": nil, "code": refCode(r)})
	}
	for _, t := range c.TaxIDs {
		identifiers = append(identifiers, map[string]any{"type": t.Scheme, "code": t.Value})
	}
	for field, list := range map[string][]any{"addresses": addresses, "contact_mechanisms": mechanisms, "identifiers": identifiers} {
		if len(list) > 0 {
			values[field] = []any{[]any{"create", list}}
		}
	}
	return values
}

// each runs a write for each draft, one after another.
func each(drafts []remote.Draft[erp.Customer], write func(remote.Draft[erp.Customer]) (snapshot, error)) []remote.Reply[erp.Customer] {
	out := make([]remote.Reply[erp.Customer], len(drafts))
	for i, d := range drafts {
		out[i].Snapshot, out[i].Err = write(d)
	}
	return out
}

// again reads what was written. When that fails the write has happened and only its result is not known.
func (p parties) again(ctx context.Context, ids []int64) (snapshot, error) {
	found, err := p.load(ctx, ids)
	if err == nil && len(ids) == 1 && found[ids[0]] != nil {
		return p.snapshot(found[ids[0]]), nil
	}
	return snapshot{}, fault.Wrap(fault.Uncertain, fault.ReasonOutcomeUncertain, err, "what was written cannot be read")
}

func addressValues(m *master, a erp.Address) map[string]any {
	v := map[string]any{
		"street": a.Street, "city": a.City, "postal_code": a.PostalCode, "country": nil, "subdivision": nil,
		"invoice": a.Usage == erp.UsageBillTo, "delivery": a.Usage == erp.UsageShipTo,
	}
	if id := m.countries[a.Country]; id != 0 {
		v["country"] = id
	}
	if id := m.subdivisions[a.Country+"-"+a.Region]; id != 0 && a.Region != "" {
		v["subdivision"] = id
	}
	return v
}

// Change implements remote.Source. The record is read with the ids of its children; only what differs is written, in one call
// that Tryton refuses when one of the records it touches has been written since (_timestamp).
func (p parties) Change(ctx context.Context, drafts []remote.Draft[erp.Customer]) ([]remote.Reply[erp.Customer], error) {
	m, err := p.data(ctx)
	if err != nil {
		return nil, err
	}
	return each(drafts, func(d remote.Draft[erp.Customer]) (snapshot, error) {
		o, err := p.unchanged(ctx, d.Record.ID, d.Old.Tag)
		if err != nil {
			return snapshot{}, err
		}
		now, want := p.snapshot(o).Record, d.Record
		values := map[string]any{}
		if now.Name != want.Name {
			values["name"] = want.Name
		}
		if now.Number != want.Number && want.Number != "" {
			values["code"] = want.Number
		}
		put := func(field string, actions []any) {
			if len(actions) > 0 {
				values[field] = actions
			}
		}
		put("addresses", addressActions(m, o, now, want))
		put("contact_mechanisms", mechanismActions(o, want))
		put("identifiers", identifierActions(o, now, want))
		if len(values) == 0 {
			return p.snapshot(o), nil
		}
		id := o.id("id")
		if err := p.client.call(ctx, true, nil, "model.party.party.write", []int64{id}, values, p.guarded(ctx, o)); err != nil {
			return snapshot{}, p.translate(err, want)
		}
		return p.again(ctx, []int64{id})
	}), nil
}

// unchanged reads a party and refuses one that has another tag.
func (p parties) unchanged(ctx context.Context, id, tag string) (*party, error) {
	n, _ := number(id)
	found, err := p.load(ctx, []int64{n})
	if err != nil {
		return nil, err
	}
	o := found[n]
	if o == nil || p.snapshot(o).Tag != tag {
		return nil, fault.New(fault.Conflict, fault.ReasonETagMismatch, "the party has another version in the ERP")
	}
	return o, nil
}

// guarded is the context of a write that must not meet records changed since they were read.
func (p parties) guarded(ctx context.Context, o *party) map[string]any {
	stamps := map[string]string{"party.party," + name(o.id("id")): o.str("_timestamp")}
	for model, list := range map[string][]record{"party.address": o.addresses, "party.contact_mechanism": o.mechanisms, "party.identifier": o.identifiers} {
		for _, r := range list {
			stamps[model+","+name(r.id("id"))] = r.str("_timestamp")
		}
	}
	return p.context(ctx, map[string]any{"_timestamp": stamps})
}

func addressActions(m *master, o *party, now, want erp.Customer) (out []any) {
	of := func(c erp.Customer, usage erp.Usage) (erp.Address, bool) {
		i := slices.IndexFunc(c.Addresses, func(a erp.Address) bool { return max(a.Usage, erp.UsageDefault) == usage })
		if i < 0 {
			return erp.Address{}, false
		}
		return c.Addresses[i], true
	}
	for _, usage := range []erp.Usage{erp.UsageDefault, erp.UsageBillTo, erp.UsageShipTo} {
		before, had := of(now, usage)
		after, wanted := of(want, usage)
		row := o.addressOf(usage)
		switch {
		case wanted && row != nil && (!had || before != after):
			values := addressValues(m, after)
			// Marks for invoices and deliveries that people set on the default address are theirs.
			delete(values, "invoice")
			delete(values, "delivery")
			out = append(out, []any{"write", []int64{row.id("id")}, values})
		case wanted && row == nil:
			out = append(out, []any{"create", []any{addressValues(m, after)}})
		case !wanted && had:
			// Orders and invoices may refer to it: it is put aside, not deleted.
			out = append(out, []any{"write", []int64{row.id("id")}, map[string]any{"active": false}})
		}
	}
	return out
}

func mechanismActions(o *party, want erp.Customer) (out []any) {
	for _, v := range [][2]string{{"email", want.Email}, {"phone", want.Phone}, {"website", want.Website}} {
		row := o.mechanism(v[0])
		switch {
		case row == nil && v[1] != "":
			out = append(out, []any{"create", []any{map[string]any{"type": v[0], "value": v[1]}}})
		case row != nil && v[1] == "":
			out = append(out, []any{"write", []int64{row.id("id")}, map[string]any{"active": false}})
		case row != nil && row.str("value") != v[1]:
			out = append(out, []any{"write", []int64{row.id("id")}, map[string]any{"value": v[1]}})
		}
	}
	return out
}

func identifierActions(o *party, now, want erp.Customer) (out []any) {
	for _, r := range want.Refs {
		if !slices.Contains(now.Refs, r) {
			out = append(out, []any{"create", []any{map[string]any{"type": nil, "code": refCode(r)}}})
		}
	}
	for _, t := range want.TaxIDs {
		i := slices.IndexFunc(o.identifiers, func(r record) bool { return r.str("type") == t.Scheme })
		switch {
		case i < 0:
			out = append(out, []any{"create", []any{map[string]any{"type": t.Scheme, "code": t.Value}}})
		case o.identifiers[i].str("code") != t.Value:
			out = append(out, []any{"write", []int64{o.identifiers[i].id("id")}, map[string]any{"code": t.Value}})
		}
	}
	for _, t := range now.TaxIDs {
		if !slices.ContainsFunc(want.TaxIDs, func(w erp.TaxID) bool { return w.Scheme == t.Scheme }) {
			for _, r := range o.identifiers {
				if r.str("type") == t.Scheme {
					out = append(out, []any{"delete", []int64{r.id("id")}})
				}
			}
		}
	}
	return out
}

// Retire implements remote.Source: the party is deactivated.
func (p parties) Retire(ctx context.Context, old snapshot) (snapshot, error) {
	o, err := p.unchanged(ctx, old.Record.ID, old.Tag)
	if err != nil {
		return snapshot{}, err
	}
	id := o.id("id")
	if err := p.client.call(ctx, true, nil, "model.party.party.write", []int64{id}, map[string]any{"active": false}, p.guarded(ctx, o)); err != nil {
		return snapshot{}, err
	}
	return p.again(ctx, []int64{id})
}
