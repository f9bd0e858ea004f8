package backendtest

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/backend"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/erp"
)

func adviceCases() map[string]func(t *testing.T, w *World) {
	return map[string]func(t *testing.T, w *World){
		"a dry run tells what would happen and does nothing": func(t *testing.T, w *World) {
			u := upsert{Key: w.ref("dry"), Record: w.company("dry")}
			res, err := w.Backend.ValidateCustomer(t.Context(), u)
			require.NoError(t, err)
			require.NoError(t, res.Err)
			require.Equal(t, erp.Created, res.Outcome)
			require.Empty(t, res.Record.ID)
			there, err := w.Outside.Customers(t.Context(), w.ref("dry"))
			require.NoError(t, err)
			require.Empty(t, there)
			c := w.customer(t, "dry")
			res, err = w.Backend.ValidateCustomer(t.Context(), u)
			require.NoError(t, err)
			require.Equal(t, erp.Unchanged, res.Outcome)
			u.Record.Name = w.name("dry2")
			res, err = w.Backend.ValidateCustomer(t.Context(), u)
			require.NoError(t, err)
			require.Equal(t, erp.Updated, res.Outcome)
			require.Equal(t, w.name("dry2"), res.Record.Name)
			now, err := w.Backend.Customers().Get(t.Context(), []string{c.ID})
			require.NoError(t, err)
			require.Equal(t, w.name("dry"), now[c.ID].Name)
			res, err = w.Backend.ValidateCustomer(t.Context(), upsert{Key: w.ref("dry3"), Record: erp.Customer{Email: "a@b.example"}})
			require.NoError(t, err)
			require.Error(t, res.Err)
		},
		"candidates are found by what is known of them": func(t *testing.T, w *World) {
			c := w.customer(t, "cand")
			list, err := w.Backend.FindCandidates(t.Context(), erp.Customer{Head: erp.Head{Refs: []erp.Ref{w.ref("cand")}}}, 5)
			require.NoError(t, err)
			require.NotEmpty(t, list)
			require.Equal(t, []any{c.ID, 100}, []any{list[0].Customer.ID, list[0].Score})
			list, err = w.Backend.FindCandidates(t.Context(), erp.Customer{Name: w.name("cand")}, 5)
			require.NoError(t, err)
			require.Len(t, list, 1)
			require.Equal(t, []string{"name"}, list[0].Matched)
			list, err = w.Backend.FindCandidates(t.Context(), erp.Customer{Name: w.Prefix + "nobody"}, 5)
			require.NoError(t, err)
			require.Empty(t, list)
		},
		"candidates say what agrees, best first, and no more than asked for": candidates,
		"capabilities say what is so":                                        capabilities,
		"products and stock are as the ERP has them": func(t *testing.T, w *World) {
			found, err := w.Backend.Products(t.Context(), []string{w.SKUs[0], w.SKUs[1], w.Prefix + "none"})
			require.NoError(t, err)
			require.Len(t, found, 2)
			require.True(t, found[w.SKUs[0]].Price.Given())
			require.NotEmpty(t, found[w.SKUs[0]].Unit)
			page, err := w.Backend.ListProducts(t.Context(), "", 1)
			require.NoError(t, err)
			require.Len(t, page, 1)
			if !w.capabilities(t).Inventory {
				return
			}
			stock, err := w.Backend.Inventory(t.Context(), []string{w.SKUs[0]})
			require.NoError(t, err)
			for _, s := range stock {
				require.Equal(t, w.SKUs[0], s.SKU)
				require.False(t, s.AsOf.IsZero(), "figures say how old they are")
			}
		},
		"what a back end does not do is said so": func(t *testing.T, w *World) {
			c := w.capabilities(t)
			_, err := w.Backend.UpsertPrices(t.Context(), []erp.Price{{SKU: w.SKUs[0], Amount: erp.Money{Amount: dec("1"), Currency: "EUR"}}})
			if c.Kind == "embedded" {
				require.NoError(t, err)
			} else if err != nil {
				missing(t, err)
			}
			prices, err := w.Backend.Prices(t.Context(), []string{w.SKUs[0]}, "")
			require.NoError(t, err)
			require.NotEmpty(t, prices)
		},
	}
}

// candidates looks for one customer by several things at once, and for one of two with the same name.
func candidates(t *testing.T, w *World) {
	c := w.customer(t, "evid")
	list, err := w.Backend.FindCandidates(t.Context(), erp.Customer{Name: c.Name, Number: c.Number, Email: c.Email, Addresses: c.Addresses}, 5)
	require.NoError(t, err)
	require.NotEmpty(t, list)
	require.Equal(t, []any{c.ID, 100, []string{"number", "email", "name", "addresses"}}, []any{list[0].Customer.ID, list[0].Score, list[0].Matched})
	for i := 1; i < len(list); i++ {
		require.LessOrEqual(t, list[i].Score, list[i-1].Score)
	}
	for _, key := range []string{"twin1", "twin2"} {
		require.NoError(t, one(t, w.Backend, upsert{Key: w.ref(key), Record: erp.Customer{Name: w.name("twins")}}).Err)
	}
	list, err = w.Backend.FindCandidates(t.Context(), erp.Customer{Name: w.name("twins")}, 5)
	require.NoError(t, err)
	require.Len(t, list, 2)
	require.Equal(t, list[0].Score, list[1].Score)
	list, err = w.Backend.FindCandidates(t.Context(), erp.Customer{Name: w.name("twins")}, 1)
	require.NoError(t, err)
	require.Len(t, list, 1)
	if !w.capabilities(t).DeleteCustomers {
		return
	}
	_, err = w.Backend.Customers().Delete(t.Context(), list[0].Customer.ID)
	require.NoError(t, err)
	rest, err := w.Backend.FindCandidates(t.Context(), erp.Customer{Name: w.name("twins")}, 5)
	require.NoError(t, err)
	require.Len(t, rest, 1, "a deleted customer is nobody's candidate")
	require.NotEqual(t, list[0].Customer.ID, rest[0].Customer.ID)
}

// capabilities holds each claim to what happens: a write that is not offered is refused as missing, one that is offered is not.
func capabilities(t *testing.T, w *World) {
	c := w.capabilities(t)
	require.True(t, c.CreateCustomers)
	require.True(t, c.CreateOrders)
	require.Equal(t, c.NativeFeed, c.PollInterval == 0, "who does not see changes as they commit says how often he looks")
	offered := func(is bool, err error) {
		t.Helper()
		if is {
			require.NoError(t, err)
		} else {
			missing(t, err)
		}
	}
	sku := w.SKUs[0]
	known, err := w.Backend.Products(t.Context(), []string{sku})
	require.NoError(t, err)
	renamed := known[sku]
	renamed.Description = "changed by " + w.Prefix
	for i := range 2 {
		res, err := w.Backend.UpsertProducts(t.Context(), []erp.Product{renamed})
		require.NoError(t, err)
		offered(c.WriteProducts, res[0].Err)
		if c.WriteProducts {
			require.Equal(t, i == 1, res[0].Outcome == erp.Unchanged)
		}
	}
	site := "capabilities"
	if c.Inventory { // an ERP has its own sites
		stock, err := w.Backend.Inventory(t.Context(), []string{sku})
		require.NoError(t, err)
		if len(stock) > 0 {
			site = stock[0].Site
		}
		if len(stock) > 0 && c.SetInventory { // other cases order what is there
			t.Cleanup(func() {
				_, _, err := w.Backend.SetInventory(context.WithoutCancel(t.Context()), erp.Stock{SKU: sku, Site: site, OnHand: stock[0].OnHand})
				require.NoError(t, err)
			})
		}
	}
	for i, onHand := range []string{"8", "7", "7"} { // the first one only makes sure that it was not 7, in an ERP that keeps stock
		_, outcome, err := w.Backend.SetInventory(t.Context(), erp.Stock{SKU: sku, Site: site, OnHand: dec(onHand)})
		offered(c.SetInventory, err)
		if err == nil && i > 0 {
			require.Equal(t, i == 2, outcome == erp.Unchanged)
		}
	}
	buyer := w.customer(t, "cap").ID
	from := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, want := range []erp.Outcome{erp.Created, erp.Unchanged} {
		_, outcome, err := w.Backend.UpsertWarranty(t.Context(), erp.Warranty{Serial: w.Prefix + "S", SKU: sku, CustomerID: buyer, Start: from, End: from.AddDate(2, 0, 0)})
		offered(c.WriteWarranties, err)
		if err == nil {
			require.Equal(t, want, outcome)
		}
	}
	person, err := w.Backend.Contacts().Create(t.Context(), erp.Contact{LastName: w.name("cap"), CustomerID: buyer}, nil)
	offered(c.WriteContacts, err)
	if err == nil {
		require.NotEmpty(t, person.ID)
	}
	if n := c.MaxLength["customer.name"]; n > 0 {
		res := one(t, w.Backend, upsert{Key: w.ref("cap-long"), Record: erp.Customer{Name: strings.Repeat("x", n+1)}})
		refused(t, res.Err, fault.Invalid, backend.ReasonTooLong, "customer.name")
	}
}
