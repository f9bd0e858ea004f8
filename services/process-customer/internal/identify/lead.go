package identify

import (
	"cmp"
	"context"
	"maps"
	"slices"

	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	exact "github.com/selfsame-io/selfsame/services/process-customer/internal/match"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store"
	"github.com/selfsame-io/selfsame/services/process-customer/match"
	"github.com/selfsame-io/selfsame/services/process-customer/match/normal"
)

// Lead is a record that is no customer yet: a company and somebody who works there.
type Lead struct {
	// Company are values of a customer; the e-mail address and telephone may be the person's.
	Company golden.Values
	// Person are values of a contact.
	Person golden.Values
}

// Known says whether a lead is about a known customer.
type Known struct {
	// Same is the customer that it is about; empty when that is not sure.
	Same golden.ID
	// Contact is the contact of Same that the person is; empty when there is none.
	Contact golden.ID
	// Candidates may be meant, the most likely first. Same is the first.
	Candidates []Likely
}

// Likely is a customer that may be meant.
type Likely struct {
	Customer    golden.ID
	Probability float64
}

// maxLikely bounds the candidates of one lead.
const maxLikely = 10

// Lead says which customer a lead is about, by the scores of a create; the e-mail address may be the person's, and of two customers
// that are sure a person has to say. It changes nothing, in any mode.
func (d *Desk) Lead(ctx context.Context, l Lead) (Known, error) {
	r := d.store.Read()
	out, err := d.decider.known(ctx, r, l.Company)
	if err != nil || out.Same == "" {
		return out, err
	}
	if out.Contact, err = contactOf(ctx, r, out.Same, l.Person); err != nil || out.Contact != "" || d.decider.contacts == nil {
		return out, err
	}
	person := golden.Values{golden.Parent: string(out.Same)}
	maps.Copy(person, l.Person)
	if d.decider.contacts.named(person) {
		out.Contact, err = d.decider.contacts.find(ctx, r, person)
	}
	return out, err
}

func (d *judge) known(ctx context.Context, r store.Reader, company golden.Values) (Known, error) {
	best := map[int64]candidate{}
	by := map[int64]*match.Prepared{}
	for _, v := range readings(company) {
		p := d.matcher.Prepare(d.record("", "", v))
		found, err := d.lookup(ctx, r, p)
		if err != nil {
			return Known{}, err
		}
		for _, c := range found {
			if have, ok := best[c.number]; !ok || c.bits > have.bits {
				best[c.number], by[c.number] = c, p
			}
		}
	}
	order := slices.SortedFunc(maps.Values(best), func(a, b candidate) int {
		return cmp.Or(cmp.Compare(b.bits, a.bits), cmp.Compare(a.number, b.number))
	})
	var out Known
	sure := 0
	seen := map[golden.ID]bool{}
	for _, c := range order {
		id, ok, err := d.fits(ctx, r, by[c.number], c.number)
		if err != nil {
			return out, err
		}
		if !ok || seen[id] {
			continue
		}
		seen[id] = true
		if c.bits >= d.join {
			sure++
		}
		out.Candidates = append(out.Candidates, Likely{id, match.Score{Bits: c.bits}.Probability()})
		if len(out.Candidates) == maxLikely {
			break
		}
	}
	if sure == 1 { // of two that are held apart a person has to say which
		out.Same = out.Candidates[0].Customer
	}
	return out, nil
}

// readings returns what the values of a lead may mean. Its e-mail address is the company's or the person's; the person's
// says no more than the company's domain.
func readings(company golden.Values) []golden.Values {
	email := company[golden.Email]
	if email == "" {
		return []golden.Values{company}
	}
	person := company.Clone()
	delete(person, golden.Email)
	if m := normal.Email(email); person[golden.Website] == "" && m.Domain != "" && !m.Free {
		person[golden.Website] = m.Domain
	}
	return []golden.Values{company, person}
}

// contactOf returns the contact of a customer that a person is by exact keys.
func contactOf(ctx context.Context, r store.Reader, customer golden.ID, person golden.Values) (golden.ID, error) {
	kinds := map[store.Key]exact.Kind{}
	var keys []store.Key
	for _, k := range exact.Keys(golden.Contact, person, customer) {
		key := store.Key{Object: golden.Contact, Kind: string(k.Kind), Value: k.Value}
		kinds[key] = k.Kind
		keys = append(keys, key)
	}
	owners, err := r.Owners(ctx, keys)
	if err != nil || len(owners) == 0 {
		return "", err
	}
	goldens, err := r.Goldens(ctx, distinct(slices.Collect(maps.Values(owners))))
	if err != nil {
		return "", err
	}
	var found []exact.Candidate
	for key, id := range owners {
		for _, g := range goldens {
			if g.ID == id && !g.Deleted && g.MergedInto == "" {
				found = append(found, exact.Candidate{ID: id, Values: g.Values, Kind: kinds[key]})
			}
		}
	}
	return exact.Decide(person, found).Same, nil
}
