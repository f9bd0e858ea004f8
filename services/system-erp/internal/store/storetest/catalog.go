package storetest

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/pkg/db"
	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/erp"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/store"
)

func dec(t *testing.T, s string) erp.Decimal {
	t.Helper()
	d, err := erp.ParseDecimal(s)
	require.NoError(t, err)
	return d
}

func euro(t *testing.T, s string) erp.Money {
	t.Helper()
	return erp.Money{Amount: dec(t, s), Currency: "EUR"}
}

func makeProducts(t *testing.T, s store.Store, list ...erp.Product) {
	t.Helper()
	res, err := s.UpsertProducts(t.Context(), list)
	require.NoError(t, err)
	for _, r := range res {
		require.NoError(t, r.Err)
	}
}

func catalog(t *testing.T, open Open) {
	cases(t, open, map[string]func(t *testing.T, s store.Store){
		"products are written by SKU": func(t *testing.T, s store.Store) {
			p := erp.Product{
				SKU: "A-1", Name: "Pumpe", Description: "d", Unit: "KGM", GTIN: "1", Group: "g", Price: euro(t, "12.50"),
				Serialised: true, Active: true, WarrantyMonths: 24,
			}
			res, err := s.UpsertProducts(t.Context(), []erp.Product{p, {SKU: "B", Name: ""}, {SKU: "C", Name: "C"}, {SKU: "D", Name: "1"}, {SKU: "D", Name: "2"}})
			require.NoError(t, err)
			require.Equal(t, []erp.Outcome{erp.Created, 0, erp.Created, 0, 0}, outcomes(res))
			refused(t, res[1].Err, fault.Invalid, erp.ReasonRequired, "product.name")
			refused(t, res[3].Err, fault.Invalid, store.ReasonDuplicate, "")
			require.Equal(t, erp.Piece, res[2].Record.Unit)
			found, err := s.Products(t.Context(), []string{"A-1", "none"})
			require.NoError(t, err)
			require.Len(t, found, 1)
			require.True(t, p.Same(found["A-1"]))
			p.Price = euro(t, "12.5")
			res, err = s.UpsertProducts(t.Context(), []erp.Product{p})
			require.NoError(t, err)
			require.Equal(t, erp.Unchanged, res[0].Outcome, "the same price written otherwise")
			p.Active = false
			res, err = s.UpsertProducts(t.Context(), []erp.Product{p})
			require.NoError(t, err)
			require.Equal(t, erp.Updated, res[0].Outcome)
			require.EqualValues(t, 2, res[0].Record.Version)
			require.Zero(t, newest(t, s), "products are not in the feed")
		},
		"products are listed in SKU order": func(t *testing.T, s store.Store) {
			for i := range 5 {
				makeProducts(t, s, erp.Product{SKU: fmt.Sprintf("P%d", 4-i), Name: "P"})
			}
			list, err := s.ListProducts(t.Context(), "P1", 2)
			require.NoError(t, err)
			require.Equal(t, "P2", list[0].SKU)
			require.Equal(t, "P3", list[1].SKU)
		},
		"stock of open orders is reserved exactly": func(t *testing.T, s store.Store) {
			o := anOrder(t, s)
			for site, have := range map[string]string{"s1": "2.000001", "s2": "1"} {
				for _, step := range []struct {
					onHand string
					want   erp.Outcome
				}{{"9", erp.Created}, {have, erp.Updated}, {have, erp.Unchanged}} {
					st, outcome, err := s.SetInventory(t.Context(), erp.Stock{SKU: "pump", Site: site, OnHand: dec(t, step.onHand)})
					require.NoError(t, err)
					require.Equal(t, []any{step.want, step.onHand}, []any{outcome, st.OnHand.String()})
				}
			}
			o.Items[0].Quantity = dec(t, "2.1")
			placed, _, err := s.CreateOrder(t.Context(), o)
			require.NoError(t, err)
			o.ClientRef, o.Items[0].Quantity = "second", dec(t, "0.2")
			_, _, err = s.CreateOrder(t.Context(), o)
			require.NoError(t, err)
			figures := func() (out []string) {
				list, err := s.Inventory(t.Context(), []string{"pump", "hose", "none"})
				require.NoError(t, err)
				for _, st := range list {
					require.Equal(t, "C62", st.Unit)
					out = append(out, fmt.Sprint(st.SKU, st.Site, " ", st.OnHand, " ", st.Reserved, " ", st.Available))
				}
				return out
			}
			require.Equal(t, []string{"pumps1 2.000001 2.000001 0", "pumps2 1 0.299999 0.700001"}, figures())
			_, _, err = s.MoveOrder(t.Context(), placed.ID, erp.OrderCancelled, 0, 0)
			require.NoError(t, err)
			require.Equal(t, []string{"pumps1 2.000001 0.2 1.800001", "pumps2 1 0 1"}, figures())
		},
		"the largest quantities add up": func(t *testing.T, s store.Store) {
			o := anOrder(t, s)
			_, _, err := s.SetInventory(t.Context(), erp.Stock{SKU: "pump", Site: "s", OnHand: dec(t, "999999999999999.999999")})
			require.NoError(t, err)
			o.Items[0].Quantity, o.Items[0].Price = dec(t, "999999999999.999999"), euro(t, "1")
			for i := range 12 {
				o.ClientRef = key(i)
				_, _, err := s.CreateOrder(t.Context(), o)
				require.NoError(t, err)
			}
			list, err := s.Inventory(t.Context(), []string{"pump"})
			require.NoError(t, err)
			require.Equal(t, "11999999999999.999988", list[0].Reserved.String())
		},
		"stock of unknown products is refused": func(t *testing.T, s store.Store) {
			_, _, err := s.SetInventory(t.Context(), erp.Stock{SKU: "none", Site: "s"})
			refused(t, err, fault.Invalid, erp.ReasonUnknownRecord, "inventory.sku")
			makeProducts(t, s, erp.Product{SKU: "a", Name: "A"})
			_, _, err = s.SetInventory(t.Context(), erp.Stock{SKU: "a", Site: "s", Unit: "KGM"})
			refused(t, err, fault.Invalid, "UNIT_MISMATCH", "inventory.unit")
		},
		"warranties are listed newest first": func(t *testing.T, s store.Store) {
			makeProducts(t, s, erp.Product{SKU: "a", Name: "A"})
			c := makeCustomer(t, s, "a")
			start := time.Date(2026, 3, 1, 12, 0, 0, 1000, time.FixedZone("x", 3600))
			var want []string
			for i := range 5 {
				w := erp.Warranty{Serial: fmt.Sprint("S", i), SKU: "a", CustomerID: c.ID, Start: start, End: start.AddDate(2, 0, 0), Terms: "T"}
				if i >= 3 {
					w.Start = w.Start.Add(time.Microsecond)
				}
				first := w
				first.Terms = "before"
				for _, step := range []struct {
					w    erp.Warranty
					want erp.Outcome
				}{{first, erp.Created}, {w, erp.Updated}, {w, erp.Unchanged}} {
					got, outcome, err := s.UpsertWarranty(t.Context(), step.w)
					require.NoError(t, err)
					require.Equal(t, step.want, outcome)
					require.True(t, got.Start.Equal(w.Start))
				}
			}
			var after *store.WarrantyCursor
			for {
				list, err := s.ListWarranties(t.Context(), c.ID, after, 2)
				require.NoError(t, err)
				if len(list) == 0 {
					break
				}
				for _, w := range list {
					want = append(want, w.Serial)
					after = &store.WarrantyCursor{Start: db.Micros(w.Start), Serial: w.Serial}
				}
			}
			require.Equal(t, []string{"S4", "S3", "S2", "S1", "S0"}, want)
		},
		"a warranty of unknown things is refused with the field": func(t *testing.T, s store.Store) {
			makeProducts(t, s, erp.Product{SKU: "a", Name: "A"})
			c := makeCustomer(t, s, "a")
			good := erp.Warranty{Serial: "S", SKU: "a", CustomerID: c.ID, Start: time.Unix(1, 0), End: time.Unix(2, 0)}
			for path, change := range map[string]func(w *erp.Warranty){
				"warranty.sku":         func(w *erp.Warranty) { w.SKU = "x" },
				"warranty.customer_id": func(w *erp.Warranty) { w.CustomerID = "x" },
				"warranty.order_id":    func(w *erp.Warranty) { w.OrderID = "x" },
			} {
				w := good
				change(&w)
				_, _, err := s.UpsertWarranty(t.Context(), w)
				refused(t, err, fault.Invalid, erp.ReasonUnknownRecord, path)
			}
			good.End = good.Start
			_, _, err := s.UpsertWarranty(t.Context(), good)
			refused(t, err, fault.Invalid, fault.ReasonValidationFailed, "warranty.end_time")
		},
	})
}
