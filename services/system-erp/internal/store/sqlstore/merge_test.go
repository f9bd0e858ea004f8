package sqlstore

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/selfsame-io/selfsame/pkg/db"
	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/erp"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/store"
)

// twins are two customers that are one, and what belongs to the one that goes.
type twins struct {
	stays, goes erp.Customer
	person      erp.Contact
	order       erp.Order
	asked       erp.Order
}

func named(value string) erp.Ref { return erp.Ref{System: "selfsame", Type: "customer", Value: value} }

func makeTwins(t *testing.T, s *Store) twins {
	t.Helper()
	make := func(name string) erp.Customer {
		c, err := s.Customers().Create(t.Context(), erp.Customer{
			Name: name, Phone: "1", Head: erp.Head{Refs: []erp.Ref{named(name)}},
			Addresses: []erp.Address{{City: "Bonn", Country: "DE"}}, TaxIDs: []erp.TaxID{{Scheme: "eu_vat", Value: name}},
		}, nil)
		require.NoError(t, err)
		return c
	}
	w := twins{stays: make("Stays"), goes: make("Goes")}
	var err error
	w.person, err = s.Contacts().Create(t.Context(), erp.Contact{LastName: "Lang", CustomerID: w.goes.ID}, nil)
	require.NoError(t, err)
	price := func(sku, customer, amount string) erp.Price {
		d, err := erp.ParseDecimal(amount)
		require.NoError(t, err)
		return erp.Price{SKU: sku, CustomerID: customer, Amount: erp.Money{Amount: d, Currency: "EUR"}}
	}
	_, err = s.UpsertProducts(t.Context(), []erp.Product{
		{SKU: "P", Name: "P", Active: true, Price: price("P", "", "9").Amount}, {SKU: "Q", Name: "Q", Active: true, Price: price("Q", "", "9").Amount},
	})
	require.NoError(t, err)
	_, err = s.UpsertPrices(t.Context(), []erp.Price{price("P", w.goes.ID, "7"), price("Q", w.goes.ID, "7"), price("Q", w.stays.ID, "5")})
	require.NoError(t, err)
	one, err := erp.ParseDecimal("1")
	require.NoError(t, err)
	w.asked = erp.Order{ClientRef: "o-1", CustomerID: w.goes.ID, ShipToID: w.goes.ID, Items: []erp.Item{{SKU: "P", Quantity: one}}}
	w.order, _, err = s.CreateOrder(t.Context(), w.asked)
	require.NoError(t, err)
	require.NoError(t, s.inTx(t.Context(), func(ctx context.Context, q txn) error {
		_, err := q.ExecContext(ctx, "INSERT INTO warranty (serial, sku, customer_id, starts, ends, terms) VALUES ('s-1', 'P', $1, 1, 2, '')", w.goes.ID)
		return err
	}))
	return w
}

// oftenEach is for what both engines do alike: the fast tests ask one of them.
func oftenEach(t *testing.T, fn func(t *testing.T, d *db.DB)) {
	t.Helper()
	if testing.Short() {
		fn(t, template.Open(t, "sqlite"))
		return
	}
	template.Each(t, fn)
}

func TestMergeCustomers(t *testing.T) {
	t.Parallel()
	t.Run("everything of the duplicate is the survivor's, and the feed tells it in order", func(t *testing.T) {
		t.Parallel()
		template.Each(t, func(t *testing.T, d *db.DB) {
			s := open(t, d, Options{})
			w := makeTwins(t, s)
			before, err := s.Bounds(t.Context())
			require.NoError(t, err)
			res, err := s.MergeCustomers(t.Context(), w.goes.ID, w.stays.ID)
			require.NoError(t, err)
			require.Equal(t, erp.Updated, res.Outcome)

			found, err := s.Customers().Get(t.Context(), []string{w.goes.ID, w.stays.ID})
			require.NoError(t, err)
			gone := found[w.goes.ID]
			require.Equal(t, res.Record, gone)
			require.True(t, gone.Deleted)
			require.Equal(t, w.stays.ID, gone.MergedInto)
			require.Equal(t, w.goes.Version+1, gone.Version)
			require.Equal(t, []any{"", "", 0, 0}, []any{gone.Name, gone.Phone, len(gone.TaxIDs), len(gone.Addresses)}, "a tombstone has nothing personal")
			require.Equal(t, w.stays, found[w.stays.ID], "the survivor is as it was")
			looked, err := s.Customers().Lookup(t.Context(), named("Goes"))
			require.NoError(t, err)
			require.Equal(t, w.goes.ID, looked.ID, "who asks by the old reference is told where it went")
			require.Equal(t, w.stays.ID, looked.MergedInto)

			contact, err := s.Contacts().Get(t.Context(), []string{w.person.ID})
			require.NoError(t, err)
			require.Equal(t, w.stays.ID, contact[w.person.ID].CustomerID)
			order, err := s.Order(t.Context(), w.order.ID)
			require.NoError(t, err)
			require.Equal(t, []string{w.stays.ID, w.stays.ID}, []string{order.CustomerID, order.ShipToID})
			require.Equal(t, w.order.Version+1, order.Version)
			warranties, err := s.ListWarranties(t.Context(), w.stays.ID, nil, 10)
			require.NoError(t, err)
			require.Len(t, warranties, 1)
			prices, err := s.Prices(t.Context(), []string{"P", "Q"}, w.stays.ID)
			require.NoError(t, err)
			var agreed []string
			for _, p := range prices {
				if p.CustomerID != "" {
					agreed = append(agreed, p.SKU+" "+p.Amount.Amount.String())
				}
			}
			require.Equal(t, []string{"P 7", "Q 5"}, agreed, "what was agreed with the survivor itself stays")

			told, err := s.Changes(t.Context(), before.Newest, 10)
			require.NoError(t, err)
			require.Len(t, told, 2)
			require.Equal(t, w.person.ID, told[0].Contact.ID)
			require.Equal(t, store.ChangeUpdated, told[0].Kind)
			require.Equal(t, store.ChangeDeleted, told[1].Kind)
			require.Equal(t, w.stays.ID, told[1].Customer.MergedInto)
			same, outcome, err := s.CreateOrder(t.Context(), w.asked)
			require.NoError(t, err, "whoever repeats an order of the duplicate gets that order")
			require.Equal(t, erp.Unchanged, outcome)
			require.Equal(t, w.order.ID, same.ID)
		})
	})
	t.Run("again it changes nothing, and what cannot be merged is refused", func(t *testing.T) {
		t.Parallel()
		oftenEach(t, func(t *testing.T, d *db.DB) {
			s := open(t, d, Options{})
			w := makeTwins(t, s)
			_, err := s.MergeCustomers(t.Context(), w.goes.ID, w.goes.ID)
			require.Equal(t, fault.Invalid, fault.KindOf(err))
			_, err = s.MergeCustomers(t.Context(), "nobody", w.stays.ID)
			require.Equal(t, fault.NotFound, fault.KindOf(err))
			_, err = s.MergeCustomers(t.Context(), w.goes.ID, "nobody")
			require.Equal(t, fault.Invalid, fault.KindOf(err))
			first, err := s.MergeCustomers(t.Context(), w.goes.ID, w.stays.ID)
			require.NoError(t, err)
			before := dump(t, d)
			again, err := s.MergeCustomers(t.Context(), w.goes.ID, w.stays.ID)
			require.NoError(t, err)
			require.Equal(t, erp.Unchanged, again.Outcome)
			require.Equal(t, first.Record, again.Record)
			_, err = s.MergeCustomers(t.Context(), w.stays.ID, w.goes.ID)
			require.Equal(t, fault.Invalid, fault.KindOf(err), "nobody is merged into a tombstone")
			third, err := s.Customers().Create(t.Context(), erp.Customer{Name: "Third"}, nil)
			require.NoError(t, err)
			_, err = s.MergeCustomers(t.Context(), w.goes.ID, third.ID)
			require.Equal(t, erp.ReasonDeleted, fault.ReasonOf(err))
			_, err = s.Customers().Update(t.Context(), store.Upsert[erp.Customer]{Record: erp.Customer{Head: erp.Head{ID: w.goes.ID}, Name: "Late"}})
			require.Equal(t, erp.ReasonDeleted, fault.ReasonOf(err), "a late edit does not bring it back")
			res, err := s.Customers().Delete(t.Context(), w.goes.ID)
			require.NoError(t, err)
			require.Equal(t, []any{erp.Unchanged, w.stays.ID}, []any{res.Outcome, res.Record.MergedInto})
			require.NotEqual(t, before, dump(t, d), "the third customer")
			_, err = s.MergeCustomers(t.Context(), w.stays.ID, third.ID)
			require.NoError(t, err, "who took one's place may be merged on")
			order, err := s.Order(t.Context(), w.order.ID)
			require.NoError(t, err)
			require.Equal(t, third.ID, order.CustomerID)
		})
	})
	t.Run("a merge that dies leaves nothing, at whatever statement", func(t *testing.T) {
		t.Parallel()
		oftenEach(t, func(t *testing.T, d *db.DB) {
			woken := 0
			s := open(t, d, Options{Committed: func() { woken++ }})
			w := makeTwins(t, s)
			before, seen := dump(t, d), 0
			woken = 0
			at := 1
			for ; ; at++ {
				seen = 0
				s.wrap = func(q execer) execer { return crash{execer: q, at: at, after: at%2 == 0, seen: &seen} }
				_, err := s.MergeCustomers(t.Context(), w.goes.ID, w.stays.ID)
				if seen < at {
					require.NoError(t, err)
					break
				}
				require.ErrorIs(t, err, errCrash)
				require.Equal(t, before, dump(t, d), "something remains of step %d", at)
				require.Zero(t, woken)
			}
			require.Greater(t, at, 8)
			require.Equal(t, 1, woken)
		})
	})
	t.Run("a contact that is made at the same moment is the survivor's or refused, never the duplicate's", func(t *testing.T) {
		t.Parallel()
		template.Each(t, func(t *testing.T, d *db.DB) {
			s := open(t, d, Options{})
			w := makeTwins(t, s)
			var g errgroup.Group
			for i := range 6 {
				g.Go(func() error {
					if i == 3 {
						_, err := s.MergeCustomers(t.Context(), w.goes.ID, w.stays.ID)
						return err
					}
					_, err := s.Contacts().Create(t.Context(), erp.Contact{LastName: fmt.Sprint("N", i), CustomerID: w.goes.ID}, nil)
					if fault.Is(err, fault.Invalid) {
						return nil
					}
					return err
				})
			}
			require.NoError(t, g.Wait())
			list, err := s.Contacts().List(t.Context(), "", 20)
			require.NoError(t, err)
			require.False(t, slices.ContainsFunc(list, func(c erp.Contact) bool { return c.CustomerID == w.goes.ID }))
		})
	})
}
