package remote

import (
	"context"
	"slices"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/backend"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/erp"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/store"
)

// ValidateCustomer implements backend.Advice: everything an upsert does before it sends anything.
func (s *Store) ValidateCustomer(ctx context.Context, u store.Upsert[erp.Customer]) (store.Result[erp.Customer], error) {
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	t := s.customers
	j := &job[erp.Customer]{u: u, claim: &claim{}}
	j.key = t.key(u.Key)
	if u.Key.Zero() {
		if refs := u.Record.Refs; len(refs) > 0 {
			j.key = t.key(refs[0])
		}
	}
	jobs := []*job[erp.Customer]{j}
	if err := t.resolve(ctx, modeUpsert, jobs); err != nil {
		return store.Result[erp.Customer]{}, err
	}
	t.decide(ctx, modeUpsert, jobs)
	switch {
	case j.kept:
		return j.res, nil
	case j.ready:
		rec := j.base
		if j.outcome == erp.Updated {
			rec = j.draft.Record
		}
		return store.Result[erp.Customer]{Outcome: j.outcome, Record: rec}, nil
	case j.exists:
		return store.Result[erp.Customer]{Outcome: erp.Updated, Record: j.draft.Record}, nil
	}
	rec := j.draft.Record
	rec.Head = erp.Head{Refs: rec.Refs}
	return store.Result[erp.Customer]{Outcome: erp.Created, Record: rec}, nil
}

// FindCandidates implements backend.Advice: the ERP's own search, scored here.
func (s *Store) FindCandidates(ctx context.Context, c erp.Customer, limit int) ([]backend.Candidate, error) {
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	found := make(map[string]erp.Customer)
	asked := s.o.Now()
	add := func(list []Snapshot[erp.Customer]) error {
		ups := make([]store.Upsert[erp.Customer], 0, len(list))
		for _, snap := range list {
			if !snap.Record.Deleted {
				ups = append(ups, s.customers.write(snap, erp.Ref{}))
			}
		}
		return s.customers.mirrored(ctx, ups, asked, found)
	}
	for _, ref := range c.Refs {
		r, err := s.customers.Lookup(ctx, ref)
		if err == nil && !r.Deleted {
			found[r.ID] = r
		} else if err != nil && !fault.Is(err, fault.NotFound) {
			return nil, err
		}
	}
	list, err := s.sys.Customers().Similar(ctx, c, max(limit, 1)*4)
	if err != nil {
		return nil, err
	}
	if err := add(list); err != nil {
		return nil, err
	}
	have := make([]erp.Customer, 0, len(found))
	for _, r := range found {
		have = append(have, r)
	}
	return backend.Rank(c, have, limit), nil
}

// Prices implements store.Prices: a foreign ERP prices by itself, and only list prices can be read.
func (s *Store) Prices(ctx context.Context, skus []string, _ string) ([]erp.Price, error) {
	known, err := s.Products(ctx, skus)
	if err != nil {
		return nil, err
	}
	var out []erp.Price
	for _, sku := range slices.Sorted(slices.Values(skus)) {
		if p, ok := known[sku]; ok && p.Price.Given() {
			out = append(out, erp.Price{SKU: sku, Amount: p.Price})
		}
	}
	return out, nil
}

// UpsertPrices implements store.Prices.
func (s *Store) UpsertPrices(context.Context, []erp.Price) ([]erp.Outcome, error) {
	return nil, backend.Missing(s.sys.Kind(), "write prices")
}

// RecordDelivery implements store.Deliveries.
func (s *Store) RecordDelivery(context.Context, erp.Delivery) (erp.Delivery, erp.Order, erp.Outcome, error) {
	return erp.Delivery{}, erp.Order{}, erp.Refused, backend.Missing(s.sys.Kind(), "write deliveries")
}
