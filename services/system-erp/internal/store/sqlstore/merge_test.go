package sqlstore

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

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

func warranty(serial, customer, terms string) erp.Warranty {
	return erp.Warranty{Serial: serial, SKU: "P", CustomerID: customer, Start: time.Unix(1, 0), End: time.Unix(2, 0), Terms: terms}
}

// agreed is a price of P that nobody else has.
func agreed(t *testing.T, customer, minimum string) []erp.Price {
	t.Helper()
	return []erp.Price{{
		SKU: "P", CustomerID: customer, MinQuantity: quantity(t, minimum), Amount: erp.Money{Amount: quantity(t, "6"), Currency: "EUR"},
	}}
}

// requireDeleted checks that the customer is to blame.
func requireDeleted(t *testing.T, field string, err error) {
	t.Helper()
	f, ok := fault.As(err)
	require.True(t, ok, "%v", err)
	require.Len(t, f.Fields, 1)
	require.Equal(t, []string{field, erp.ReasonDeleted}, []string{f.Fields[0].Path, f.Fields[0].Reason})
}

// requireNothing checks that no contact, no warranty and no price of P is a customer's.
func requireNothing(t *testing.T, s *Store, customer string) {
	t.Helper()
	list, err := s.Contacts().List(t.Context(), "", 100)
	require.NoError(t, err)
	require.False(t, slices.ContainsFunc(list, func(c erp.Contact) bool { return c.CustomerID == customer }))
	warranties, err := s.ListWarranties(t.Context(), customer, nil, 10)
	require.NoError(t, err)
	require.Empty(t, warranties)
	prices, err := s.Prices(t.Context(), []string{"P"}, customer)
	require.NoError(t, err)
	require.False(t, slices.ContainsFunc(prices, func(p erp.Price) bool { return p.CustomerID == customer }))
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
			require.Equal(t, before, dump(t, d))
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
			_, err = s.MergeCustomers(t.Context(), w.stays.ID, third.ID)
			require.NoError(t, err, "who took one's place may be merged on")
			order, err := s.Order(t.Context(), w.order.ID)
			require.NoError(t, err)
			require.Equal(t, third.ID, order.CustomerID)
		})
	})
	t.Run("a warranty that is told again stays the survivor's, and whoever was deleted keeps its own", func(t *testing.T) {
		t.Parallel()
		oftenEach(t, func(t *testing.T, d *db.DB) {
			s := open(t, d, Options{})
			w := makeTwins(t, s)
			tell := func(serial, customer, terms string) (erp.Outcome, error) {
				_, outcome, err := s.UpsertWarranty(t.Context(), warranty(serial, customer, terms))
				return outcome, err
			}
			outcome, err := tell("s-2", w.goes.ID, "a")
			require.NoError(t, err)
			require.Equal(t, erp.Created, outcome)
			_, err = s.MergeCustomers(t.Context(), w.goes.ID, w.stays.ID)
			require.NoError(t, err)
			before := dump(t, d)
			for _, serial := range []string{"s-2", "s-3"} {
				_, err = tell(serial, w.goes.ID, "a")
				requireDeleted(t, "warranty.customer_id", err)
			}
			_, err = s.UpsertPrices(t.Context(), agreed(t, w.goes.ID, "9"))
			requireDeleted(t, "prices[0].customer_id", err)
			require.Equal(t, before, dump(t, d))
			outcome, err = tell("s-2", w.stays.ID, "a")
			require.NoError(t, err)
			require.Equal(t, erp.Unchanged, outcome)

			_, err = s.Customers().Delete(t.Context(), w.stays.ID)
			require.NoError(t, err)
			outcome, err = tell("s-2", w.stays.ID, "b")
			require.NoError(t, err)
			require.Equal(t, erp.Updated, outcome)
			_, err = tell("s-3", w.stays.ID, "a")
			requireDeleted(t, "warranty.customer_id", err)
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
	t.Run("what is made at the same moment is the survivor's or refused, never the duplicate's", func(t *testing.T) {
		t.Parallel()
		template.Each(t, func(t *testing.T, d *db.DB) {
			s := open(t, d, Options{})
			w := makeTwins(t, s)
			writes := belongings(t, s, w.goes.ID)
			var g errgroup.Group
			for i := range 9 {
				if i == 4 {
					g.Go(func() error {
						_, err := s.MergeCustomers(t.Context(), w.goes.ID, w.stays.ID)
						return err
					})
				}
				g.Go(func() error { return refusedOr(writes[i%len(writes)](i + 1)) })
			}
			require.NoError(t, g.Wait())
			requireNothing(t, s, w.goes.ID)
		})
	})
	t.Run("a merge between any two statements of a write leaves nothing with the duplicate", func(t *testing.T) {
		t.Parallel()
		d := template.Open(t, "postgres") // on SQLite nobody can overtake a writer
		slow, fast := open(t, d, Options{}), open(t, d, Options{})
		w := makeTwins(t, fast)
		for kind := range belongings(t, slow, "") {
			at := 1
			for ; ; at++ {
				if testing.Short() && at%2 == 1 {
					continue
				}
				goes, err := fast.Customers().Create(t.Context(), erp.Customer{Name: "Goes"}, nil)
				require.NoError(t, err)
				seen := 0
				slow.wrap = func(q execer) execer {
					return between{execer: q, at: at, seen: &seen, do: func() error {
						// Once the writer keeps the customer, the merge has to wait for it and gives up.
						ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
						defer cancel()
						_, _ = fast.MergeCustomers(ctx, goes.ID, w.stays.ID)
						return nil
					}}
				}
				require.NoError(t, refusedOr(belongings(t, slow, goes.ID)[kind](100+at)))
				if seen < at {
					break
				}
				_, err = fast.MergeCustomers(t.Context(), goes.ID, w.stays.ID)
				require.NoError(t, err)
				requireNothing(t, fast, goes.ID)
			}
			require.Greater(t, at, 4)
		}
	})
}

// belongings are the writes of something, told by its number, that is a customer's.
func belongings(t *testing.T, s *Store, customer string) []func(n int) error {
	t.Helper()
	return []func(n int) error{
		func(n int) error {
			_, err := s.Contacts().Create(t.Context(), erp.Contact{LastName: fmt.Sprint("N", n), CustomerID: customer}, nil)
			return err
		},
		func(n int) error {
			_, _, err := s.UpsertWarranty(t.Context(), warranty(fmt.Sprint("w-", n), customer, ""))
			return err
		},
		func(n int) error {
			_, err := s.UpsertPrices(t.Context(), agreed(t, customer, fmt.Sprint(n)))
			return err
		},
	}
}

// refusedOr is err unless it is a refusal.
func refusedOr(err error) error {
	if fault.Is(err, fault.Invalid) {
		return nil
	}
	return err
}
