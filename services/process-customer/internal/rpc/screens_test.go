package rpc

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/pkg/idempotent"
	"github.com/selfsame-io/selfsame/pkg/page"
	customerv1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/customer/v1"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/source"
)

// pull follows tokens to the end and returns what came and the token to come back with.
func pull(t *testing.T, a *API, token string, size int32) (ids []string, gone map[string]bool, next string) {
	t.Helper()
	gone = map[string]bool{}
	for range 1000 {
		got, err := a.screens.ListCustomerChanges(t.Context(), &customerv1.ListCustomerChangesRequest{Token: token, PageSize: size})
		require.NoError(t, err)
		for _, c := range got.GetChanges() {
			ids = append(ids, c.GetCustomerId())
			require.Equal(t, c.GetDeleted(), c.GetCustomer() == nil)
			if c.GetDeleted() {
				gone[c.GetCustomerId()] = true
			}
		}
		token = got.GetNextToken()
		if !got.GetMore() {
			return ids, gone, token
		}
	}
	t.Fatal("the listing does not end")
	return nil, nil, ""
}

func TestCustomerChanges(t *testing.T) {
	t.Parallel()
	t.Run("everything first, then only what changed, and the same token gives at least the same again", func(t *testing.T) {
		w, a, _ := setup(t)
		var all []string
		for _, name := range []string{"Acme GmbH", "Beta GmbH", "Gamma GmbH"} {
			all = append(all, create(t, a, name, &customerv1.Customer{Name: name}).GetCustomer().GetId())
		}
		w.Settle()
		first, _, token := pull(t, a, "", 2)
		require.ElementsMatch(t, all, first)
		nothing, _, same := pull(t, a, token, 2)
		require.Empty(t, nothing)
		_, err := update(t, a, "u1", &customerv1.Customer{Id: all[1], Phone: "+49 1"}, "phone")
		require.NoError(t, err)
		changed, _, later := pull(t, a, same, 1)
		require.Contains(t, changed, all[1])
		require.NotContains(t, changed, all[0])
		again, _, _ := pull(t, a, token, 500)
		require.Subset(t, again, changed)
		w.Settle()
		delivered, _, _ := pull(t, a, later, 500)
		require.Contains(t, delivered, all[1], "who waits for a system sees when it has the change")
	})
	t.Run("what changes while everything is listed comes again", func(t *testing.T) {
		_, a, _ := setup(t)
		var all []string
		for _, name := range []string{"Acme GmbH", "Beta GmbH", "Gamma GmbH"} {
			all = append(all, create(t, a, name, &customerv1.Customer{Name: name}).GetCustomer().GetId())
		}
		page1, err := a.screens.ListCustomerChanges(t.Context(), &customerv1.ListCustomerChangesRequest{PageSize: 1})
		require.NoError(t, err)
		require.True(t, page1.GetMore())
		first := page1.GetChanges()[0].GetCustomerId()
		_, err = update(t, a, "u1", &customerv1.Customer{Id: first, Phone: "+49 1"}, "phone")
		require.NoError(t, err)
		added := create(t, a, "late", &customerv1.Customer{Name: "Late GmbH"}).GetCustomer().GetId()
		rest, _, token := pull(t, a, page1.GetNextToken(), 1)
		require.Subset(t, append(rest, first, added), all)
		since, _, _ := pull(t, a, token, 500)
		require.Subset(t, since, []string{first, added})
	})
	t.Run("of some customers nothing else comes, and no page is spent on others", func(t *testing.T) {
		w, a, _ := setup(t)
		var all []string
		for i := range 12 {
			name := fmt.Sprintf("Some %d GmbH", i)
			all = append(all, create(t, a, name, &customerv1.Customer{Name: name}).GetCustomer().GetId())
		}
		w.Settle()
		slices.Sort(all)
		of := []string{all[9], all[2], "c_none", all[9]}
		ask := func(token string, size int32, of ...string) *customerv1.ListCustomerChangesResponse {
			got, err := a.screens.ListCustomerChanges(t.Context(), &customerv1.ListCustomerChangesRequest{Token: token, PageSize: size, CustomerIds: of})
			require.NoError(t, err)
			return got
		}
		first := ask("", 1, of...)
		require.Equal(t, all[2], first.GetChanges()[0].GetCustomerId())
		require.True(t, first.GetMore())
		second := ask(first.GetNextToken(), 1, of...)
		require.Equal(t, all[9], second.GetChanges()[0].GetCustomerId())
		require.False(t, second.GetMore())
		for i, id := range all {
			for n := range 3 {
				_, err := update(t, a, fmt.Sprintf("s%d-%d", i, n), &customerv1.Customer{Id: id, Phone: fmt.Sprintf("+49 %d %d", i, n)}, "phone")
				require.NoError(t, err)
			}
		}
		since := ask(second.GetNextToken(), 1, of...)
		require.Equal(t, all[2], since.GetChanges()[0].GetCustomerId())
		require.True(t, since.GetMore())
		rest := ask(since.GetNextToken(), 1, of...)
		require.Equal(t, all[9], rest.GetChanges()[0].GetCustomerId())
		require.False(t, rest.GetMore(), "each comes once, however often it changed")
		for _, id := range []string{all[11], all[2]} {
			_, err := update(t, a, "s-"+id, &customerv1.Customer{Id: id, Phone: "+49 8"}, "phone")
			require.NoError(t, err)
		}
		again := ask(rest.GetNextToken(), 500, of...)
		require.Len(t, again.GetChanges(), 1)
		require.Equal(t, "+49 8", again.GetChanges()[0].GetCustomer().GetPhone())
		require.Empty(t, ask("", 500, "nobody").GetChanges())
		require.Empty(t, ask(rest.GetNextToken(), 500, "nobody").GetChanges())
		// Whoever is quiet while others change keeps a token that is good.
		var at, last progress
		require.NoError(t, page.Decode(ask(rest.GetNextToken(), 1, all[0]).GetNextToken(), syncFilter, &at))
		require.NoError(t, page.Decode(ask(rest.GetNextToken(), 500).GetNextToken(), syncFilter, &last))
		require.Equal(t, last.Position, at.Position)
	})
	t.Run("a token that is too old, from another database, or none, is refused", func(t *testing.T) {
		w, a, _ := setup(t)
		create(t, a, "k1", &customerv1.Customer{Name: "Acme GmbH"})
		refused := func(token string) string {
			_, err := a.screens.ListCustomerChanges(t.Context(), &customerv1.ListCustomerChangesRequest{Token: token})
			require.Error(t, err)
			return fault.ReasonOf(err)
		}
		forge := func(p progress) string {
			token, err := page.Encode(syncFilter, p)
			require.NoError(t, err)
			return token
		}
		now := w.Clock.Now()
		require.Equal(t, reasonSyncExpired, refused(forge(progress{Position: 1, At: now.Add(-syncLifetime - time.Second).Unix()})))
		require.Equal(t, reasonSyncExpired, refused(forge(progress{Position: 1 << 40, At: now.Unix()})))
		require.Equal(t, reasonSyncExpired, refused(forge(progress{Position: -7, At: now.Unix()})))
		require.Equal(t, reasonSyncInvalid, refused("nonsense"))
		_, _, token := pull(t, a, "", 10)
		require.Equal(t, reasonSyncInvalid, refused(token[:len(token)-2]))
	})
}

func TestChecksHaveNoEffect(t *testing.T) {
	w, a, book := setup(t)
	known := create(t, a, "k1", &customerv1.Customer{Name: "Acme GmbH", TaxId: "DE100000001"}).GetCustomer()
	w.Settle()
	known, err := update(t, a, "u0", &customerv1.Customer{Id: known.GetId(), Phone: "+49 1"}, "phone")
	require.NoError(t, err)
	before, err := a.customers.ListCustomers(t.Context(), &customerv1.ListCustomersRequest{})
	require.NoError(t, err)
	check := func(c *customerv1.Customer) (*customerv1.CreateCustomerResponse, error) {
		resp, err := a.screens.CheckCreateCustomer(t.Context(), &customerv1.CheckCreateCustomerRequest{Request: &customerv1.CreateCustomerRequest{Customer: c}})
		return resp.GetResponse(), err
	}
	fresh, err := check(&customerv1.Customer{Name: "New GmbH"})
	require.NoError(t, err)
	require.False(t, fresh.GetExisting())
	require.Equal(t, "New GmbH", fresh.GetCustomer().GetName())
	require.Empty(t, fresh.GetCustomer().GetId())
	found, err := check(&customerv1.Customer{Name: "Acme", TaxId: "DE100000001"})
	require.NoError(t, err)
	require.True(t, found.GetExisting())
	_, err = check(&customerv1.Customer{})
	require.Equal(t, fault.Invalid, fault.KindOf(err))
	change := func(c *customerv1.Customer) (*customerv1.Customer, error) {
		resp, err := a.screens.CheckUpdateCustomer(t.Context(), &customerv1.CheckUpdateCustomerRequest{
			Request: &customerv1.UpdateCustomerRequest{Customer: c, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"phone"}}},
		})
		return resp.GetResponse().GetCustomer(), err
	}
	shown, err := change(&customerv1.Customer{Id: known.GetId(), Phone: "+49 2", Etag: known.GetEtag()})
	require.NoError(t, err)
	require.Equal(t, "+49 2", shown.GetPhone())
	_, err = change(&customerv1.Customer{Id: known.GetId(), Phone: "+49 2", Etag: "999"})
	require.Equal(t, fault.ReasonETagMismatch, fault.ReasonOf(err))
	_, err = change(&customerv1.Customer{Id: "c_none", Phone: "+49 2"})
	require.Equal(t, fault.NotFound, fault.KindOf(err))

	book.stock = map[string]source.Stock{"pump": {SKU: "pump", Active: true, PriceAmount: "10.50", PriceCurrency: "EUR"}, "old": {SKU: "old"}}
	order := func(items ...*customerv1.NewOrderItem) (*customerv1.CheckPlaceOrderResponse, error) {
		return a.screens.CheckPlaceOrder(t.Context(), &customerv1.CheckPlaceOrderRequest{
			Request: &customerv1.PlaceOrderRequest{Order: &customerv1.NewOrder{CustomerId: known.GetId(), Items: items}},
		})
	}
	total, err := order(&customerv1.NewOrderItem{Sku: "pump", Quantity: "2"})
	require.NoError(t, err)
	require.Equal(t, "21.00 EUR", total.GetTotalAmount()+" "+total.GetTotalCurrency())
	_, err = order(&customerv1.NewOrderItem{Sku: "none", Quantity: "2"}, &customerv1.NewOrderItem{Sku: "old", Quantity: "1"}, &customerv1.NewOrderItem{Sku: "pump", Quantity: "0"})
	e, ok := fault.As(err)
	require.True(t, ok)
	require.Len(t, e.Fields, 3, "all violations at once")
	require.Empty(t, book.placed)
	after, err := a.customers.ListCustomers(t.Context(), &customerv1.ListCustomersRequest{})
	require.NoError(t, err)
	require.Equal(t, before.String(), after.String())
}

func TestOrdersByNumber(t *testing.T) {
	w, a, book := setup(t)
	id := create(t, a, "k1", &customerv1.Customer{Name: "Acme GmbH"}).GetCustomer().GetId()
	other := create(t, a, "k2", &customerv1.Customer{Name: "Beta GmbH"}).GetCustomer().GetId()
	w.Settle()
	_, err := a.customers.PlaceOrder(keyed(t, "o1"), &customerv1.PlaceOrderRequest{Order: &customerv1.NewOrder{CustomerId: id}})
	require.NoError(t, err)
	found, err := a.screens.FindOrder(t.Context(), &customerv1.FindOrderRequest{OrderId: "4712"})
	require.NoError(t, err)
	require.Equal(t, id, found.GetCustomerId())
	_, err = a.screens.FindOrder(t.Context(), &customerv1.FindOrderRequest{OrderId: "none"})
	require.Equal(t, reasonOrderUnknown, fault.ReasonOf(err))
	_, err = a.screens.CancelOrder(keyed(t, "c1"), &customerv1.CancelOrderRequest{CustomerId: other, OrderId: "4712"})
	require.Equal(t, reasonOrderUnknown, fault.ReasonOf(err))
	require.Empty(t, book.cancelled)
	check := func(customer, order string) (*customerv1.CancelOrderResponse, error) {
		got, err := a.screens.CheckCancelOrder(t.Context(), &customerv1.CheckCancelOrderRequest{
			Request: &customerv1.CancelOrderRequest{CustomerId: customer, OrderId: order},
		})
		return got.GetResponse(), err
	}
	for _, c := range [][2]string{{other, "4712"}, {id, "none"}} {
		_, err = check(c[0], c[1])
		require.Equal(t, reasonOrderUnknown, fault.ReasonOf(err))
	}
	_, err = check("c_none", "4712")
	require.Equal(t, fault.NotFound, fault.KindOf(err))
	book.err = fault.New(fault.Precondition, "ORDER_CLOSED", "the order is closed")
	_, err = check(id, "4712")
	require.Equal(t, "ORDER_CLOSED", fault.ReasonOf(err))
	book.err = nil
	would, err := check(id, "4712")
	require.NoError(t, err)
	require.Equal(t, "CANCELLED "+id, would.GetOrder().GetState()+" "+would.GetCustomerId())
	require.Empty(t, book.cancelled, "a check calls nothing off")
	gone, err := a.screens.CancelOrder(keyed(t, "c1"), &customerv1.CancelOrderRequest{CustomerId: id, OrderId: "4712"})
	require.NoError(t, err)
	require.Equal(t, "CANCELLED", gone.GetOrder().GetState())
	require.EqualValues(t, 2, gone.GetOrder().GetVersion())
	book.owner = "a record that no customer has"
	_, err = a.screens.FindOrder(t.Context(), &customerv1.FindOrderRequest{OrderId: "4712"})
	require.Equal(t, reasonOrderUnknown, fault.ReasonOf(err))
}

func TestResolveCustomers(t *testing.T) {
	w, a, _ := setup(t)
	var ids []string
	for _, name := range []string{"Acme GmbH", "Beta GmbH", "Gamma GmbH"} {
		ids = append(ids, create(t, a, name, &customerv1.Customer{Name: name}).GetCustomer().GetId())
	}
	w.Settle()
	join := func(from, into string) {
		_, err := a.operations.MergeRecords(t.Context(), &customerv1.MergeRecordsRequest{Into: into, From: from})
		require.NoError(t, err)
		w.Settle()
	}
	resolve := func(ids ...string) (to []string) {
		got, err := a.screens.ResolveCustomers(t.Context(), &customerv1.ResolveCustomersRequest{CustomerIds: ids})
		require.NoError(t, err)
		for i, c := range got.GetCustomers() {
			require.Equal(t, ids[i], c.GetCustomerId())
			to = append(to, c.GetLeadsTo())
		}
		return to
	}
	require.Equal(t, append(ids, "c_none", "nobody"), resolve(append(ids, "c_none", "nobody")...))
	join(ids[0], ids[1])
	require.Equal(t, []string{ids[1], ids[1], ids[2], ids[1]}, resolve(ids[0], ids[1], ids[2], ids[0]))
	join(ids[1], ids[2])
	require.Equal(t, []string{ids[2], ids[2], ids[2]}, resolve(ids...), "as far as merges go")
	require.Equal(t, []string{ids[2]}, resolve(ids[0]))
}

func TestCases(t *testing.T) {
	t.Parallel()
	open := func(customer string) *customerv1.OpenCaseRequest {
		return &customerv1.OpenCaseRequest{Case: &customerv1.NewCase{CustomerId: customer, Subject: "It leaks", Description: "Since Monday"}}
	}
	t.Run("a case is opened once, however often the call is repeated, and belongs to its customer", func(t *testing.T) {
		w, a, book := setup(t)
		id := create(t, a, "k1", &customerv1.Customer{Name: "Acme GmbH"}).GetCustomer().GetId()
		w.Settle()
		var first *customerv1.OpenCaseResponse
		for range 2 {
			got, err := a.screens.OpenCase(keyed(t, "case-1"), open(id))
			require.NoError(t, err)
			require.Equal(t, "It leaks", got.GetCase().GetSummary().GetSubject())
			first = got
		}
		require.Len(t, book.cases, 1)
		view, err := a.screens.GetCaseView(t.Context(), &customerv1.GetCaseViewRequest{CaseId: first.GetCase().GetSummary().GetId()})
		require.NoError(t, err)
		require.Equal(t, id, view.GetCustomer().GetId())
		require.Equal(t, "Since Monday", view.GetCase().GetDescription())
		require.Equal(t, customerv1.SectionState_SECTION_STATE_OK, view.GetOrdersStatus().GetState())
		require.Len(t, view.GetWarranties(), 1)
		_, err = a.screens.GetCaseView(t.Context(), &customerv1.GetCaseViewRequest{CaseId: "none"})
		require.Equal(t, reasonCaseUnknown, fault.ReasonOf(err))
		list, err := a.screens.ListCases(t.Context(), &customerv1.ListCasesRequest{CustomerId: id, OpenOnly: true, PageSize: 3})
		require.NoError(t, err)
		require.Equal(t, "true 3", list.GetCases()[0].GetSubject())
	})
	t.Run("the external id does not change with a new version of this program", func(t *testing.T) {
		t.Parallel()
		seed, err := effectID(keyed(t, "case-1"), "open-case")
		require.NoError(t, err)
		require.Equal(t, idempotent.ChildOf("\x00open-case\x00case-1", "crm.case.open", ""), idempotent.ChildOf(seed, stepOpenCase, ""))
	})
	t.Run("a check fails as the case would, and opens none", func(t *testing.T) {
		w, a, book := setup(t)
		check := func(customer string) (*customerv1.OpenCaseResponse, error) {
			got, err := a.screens.CheckOpenCase(t.Context(), &customerv1.CheckOpenCaseRequest{Request: open(customer)})
			return got.GetResponse(), err
		}
		id := create(t, a, "k1", &customerv1.Customer{Name: "Acme GmbH"}).GetCustomer().GetId()
		for _, customer := range []string{id, "c_none"} {
			_, err := check(customer)
			_, real := a.screens.OpenCase(keyed(t, "case-"+customer), open(customer))
			require.Error(t, real)
			require.Equal(t, real, err)
		}
		w.Settle()
		got, err := check(id)
		require.NoError(t, err)
		require.Equal(t, id, got.GetCustomerId())
		require.Equal(t, "It leaks Since Monday", got.GetCase().GetSummary().GetSubject()+" "+got.GetCase().GetDescription())
		require.Empty(t, got.GetCase().GetSummary().GetId())
		require.Empty(t, book.cases)
	})
	t.Run("a case waits for its customer", func(t *testing.T) {
		_, a, book := setup(t)
		id := create(t, a, "k1", &customerv1.Customer{Name: "Acme GmbH"}).GetCustomer().GetId()
		_, err := a.screens.OpenCase(keyed(t, "case-1"), open(id))
		require.Equal(t, source.ReasonCustomerPending, fault.ReasonOf(err))
		require.Empty(t, book.cases)
		list, err := a.screens.ListCases(t.Context(), &customerv1.ListCasesRequest{CustomerId: id})
		require.NoError(t, err)
		require.Empty(t, list.GetCases())
	})
}

func TestAvailability(t *testing.T) {
	_, a, book := setup(t)
	book.stock = map[string]source.Stock{"pump": {SKU: "pump", Available: "3.5", Sites: []source.SiteStock{{Site: "B", Available: "3.5"}}}}
	got, err := a.screens.GetAvailability(t.Context(), &customerv1.GetAvailabilityRequest{Sku: "pump"})
	require.NoError(t, err)
	require.Equal(t, "3.5", got.GetSites()[0].GetAvailable())
	_, err = a.screens.GetAvailability(t.Context(), &customerv1.GetAvailabilityRequest{Sku: "none"})
	require.Equal(t, reasonProductUnknown, fault.ReasonOf(err))
}
