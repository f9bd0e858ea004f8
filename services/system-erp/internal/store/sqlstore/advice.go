package sqlstore

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/selfsame-io/selfsame/services/system-erp/internal/backend"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/erp"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/store"
)

var _ backend.Backend = (*Store)(nil)

// Kind is the name of this back end in the configuration.
const Kind = "embedded"

// Capabilities implements backend.Backend.
func (s *Store) Capabilities(context.Context) (backend.Capabilities, error) {
	return backend.Capabilities{
		Kind: Kind, CreateCustomers: true, DeleteCustomers: true, WriteContacts: true, WriteProducts: true, SetInventory: true,
		CreateOrders: true, SetOrderStatus: true, WriteDeliveries: true, WriteWarranties: true, Deliveries: true, Inventory: true,
		DeepValidation: true, UniqueKeys: true, NativeFeed: true, MaxOrderLines: 200, MergeCustomers: true,
	}, nil
}

// errDry undoes the transaction of a dry run.
var errDry = errors.New("dry run")

// ValidateCustomer implements backend.Advice: the write itself, undone. It takes the same locks, so the answer is what the write
// would have been at that moment.
func (s *Store) ValidateCustomer(ctx context.Context, u store.Upsert[erp.Customer]) (store.Result[erp.Customer], error) {
	var p *plan[erp.Customer]
	t := s.customers
	err := s.inTx(ctx, func(ctx context.Context, q txn) error {
		p = &plan[erp.Customer]{t: t, mode: modeUpsert, now: t.stamp(), batch: []store.Upsert[erp.Customer]{u}}
		if err := p.look(ctx, q); err != nil {
			return err
		}
		p.decide()
		return errDry
	})
	if err != nil && !errors.Is(err, errDry) {
		return store.Result[erp.Customer]{}, err
	}
	res := p.results[0]
	if res.Outcome == erp.Created {
		// The id would be another one next time.
		if res.Record.Number == res.Record.ID {
			res.Record.Number = ""
		}
		res.Record.ID, res.Record.Version = "", 0
	}
	return res, nil
}

// FindCandidates implements backend.Advice. Each kind of evidence that has an index brings a few records; they are scored together.
func (s *Store) FindCandidates(ctx context.Context, c erp.Customer, limit int) ([]backend.Candidate, error) {
	const perKind = 50
	var ids []string
	collect := func(query string, args ...any) error {
		err := each(ctx, s.db.Read(), func(scan func(...any) error) error {
			var id string
			err := scan(&id)
			ids = append(ids, id)
			return err
		}, query+fmt.Sprintf(" ORDER BY 1 LIMIT %d", perKind), args...)
		if err != nil {
			return fmt.Errorf("find candidates: %w", err)
		}
		return nil
	}
	owners, err := s.customers.owners(ctx, s.db.Read(), c.Refs)
	if err != nil {
		return nil, err
	}
	for _, id := range owners {
		ids = append(ids, id)
	}
	for _, t := range c.TaxIDs {
		if err := collect("SELECT customer_id FROM customer_tax WHERE scheme = $1 AND value = $2", t.Scheme, t.Value); err != nil {
			return nil, err
		}
	}
	for _, f := range [][2]string{{"number", c.Number}, {"email", c.Email}, {"name", c.Name}} {
		if f[1] == "" {
			continue
		}
		if err := collect("SELECT id FROM customer WHERE "+f[0]+" = $1 AND NOT deleted", f[1]); err != nil {
			return nil, err
		}
	}
	found, err := s.customers.read(ctx, slices.Compact(slices.Sorted(slices.Values(ids))))
	if err != nil {
		return nil, err
	}
	list := make([]erp.Customer, 0, len(found))
	for _, r := range found {
		if !r.Deleted {
			list = append(list, *r)
		}
	}
	return backend.Rank(c, list, limit), nil
}
