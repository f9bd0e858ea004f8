package sap

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/backend"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/erp"
	"github.com/selfsame-io/selfsame/services/system-erp/sandbox"
)

func dec(text string) erp.Decimal {
	d, err := erp.ParseDecimal(text)
	if err != nil {
		panic(err)
	}
	return d
}

// tell has the sandbox do something and returns the number of the document that came of it.
func tell(t *testing.T, s *System, path, body string) string {
	t.Helper()
	return Console(t, http.MethodPost, s.cfg.URL+"/__sandbox__/"+path, body)
}

// place makes an order of products that exist.
func place(t *testing.T, s *System, o erp.Order) erp.Order {
	t.Helper()
	products, err := s.Products(t.Context(), []string{"P-1", "4711"})
	require.NoError(t, err)
	known := map[string]erp.Product{}
	for _, p := range products {
		known[p.SKU] = p
	}
	require.NoError(t, o.Place(known))
	require.NoError(t, s.CheckOrder(t.Context(), o))
	made, err := s.InsertOrder(t.Context(), o, key(7))
	require.NoError(t, err)
	return made
}

func now(t *testing.T, s *System, id string) erp.Order {
	t.Helper()
	found, err := s.Orders(t.Context(), []string{id})
	require.NoError(t, err)
	require.Len(t, found, 1)
	return found[0]
}

// TestDeliveries reads what a warehouse does in parts: planned, sent off, and the rest.
func TestDeliveries(t *testing.T) {
	t.Parallel()
	s := system(t, sandbox.Config{PageSize: 2}, nil)
	buyer := insert(t, s, erp.Customer{Kind: erp.Organization, Name: "Buyer"})[0].Snapshot.Record.ID
	o := place(t, s, erp.Order{CustomerID: buyer, Ordered: time.Now(), Items: []erp.Item{
		{Line: 1, SKU: "P-1", Quantity: dec("10")}, {Line: 7, SKU: "4711", Quantity: dec("2.5")}, {Line: 8, SKU: "P-1", Quantity: dec("1")},
	}})
	read := func() []erp.Delivery {
		list, err := s.Deliveries(t.Context(), o.ID)
		require.NoError(t, err)
		return list
	}
	require.Empty(t, read())
	first := tell(t, s, "orders/"+o.ID+"/deliver", `{"items":{"10":"4"},"planned":true,"bill":"BL-1"}`)
	list := read()
	require.Len(t, list, 1)
	require.Equal(t, erp.Delivery{
		ID: first, OrderID: o.ID, State: erp.DeliveryPlanned, Tracking: "BL-1", Version: 1, Updated: list[0].Updated,
		Items: []erp.DeliveryItem{{Line: 1, SKU: "P-1", Quantity: dec("4"), Unit: "C62"}},
	}, list[0])
	part := now(t, s, o.ID)
	require.Equal(t, []any{erp.ProgressPartial, "0"}, []any{part.Fulfilment, part.Items[0].Delivered.String()}, "planned, and nothing has left")
	tell(t, s, "deliveries/"+first+"/issue", "")
	list = read()
	require.Equal(t, []any{erp.DeliveryShipped, int64(2)}, []any{list[0].State, list[0].Version})
	require.False(t, list[0].Shipped.IsZero())
	part = now(t, s, o.ID)
	require.Equal(t, []any{erp.ProgressPartial, "4", "0"}, []any{part.Fulfilment, part.Items[0].Delivered.String(), part.Items[1].Delivered.String()})

	// The items of all deliveries are more than one of the server's pages.
	second := tell(t, s, "orders/"+o.ID+"/deliver", "")
	list = read()
	require.Equal(t, []string{first, second}, []string{list[0].ID, list[1].ID}, "oldest first")
	require.Equal(t, []erp.DeliveryItem{
		{Line: 1, SKU: "P-1", Quantity: dec("6"), Unit: "C62"}, {Line: 7, SKU: "4711", Quantity: dec("2.5"), Unit: "KGM"}, {Line: 8, SKU: "P-1", Quantity: dec("1"), Unit: "C62"},
	}, list[1].Items)
	whole := now(t, s, o.ID)
	require.Equal(t, []any{erp.ProgressFull, "10", "2.5"}, []any{whole.Fulfilment, whole.Items[0].Delivered.String(), whole.Items[1].Delivered.String()})
	tell(t, s, "orders/"+o.ID+"/bill", "")
	require.Equal(t, []any{erp.OrderCompleted, erp.ProgressFull}, []any{now(t, s, o.ID).State, now(t, s, o.ID).Billing})
}

// TestDeliveries_Many: more of them than one filter names and one page holds.
func TestDeliveries_Many(t *testing.T) {
	t.Parallel()
	n := 2*group + 3
	if testing.Short() {
		n = 3
	}
	s := system(t, sandbox.Config{PageSize: 10}, nil)
	buyer := insert(t, s, erp.Customer{Kind: erp.Organization, Name: "Buyer"})[0].Snapshot.Record.ID
	o := place(t, s, erp.Order{CustomerID: buyer, Ordered: time.Now(), Items: []erp.Item{{Line: 1, SKU: "P-1", Quantity: dec(fmt.Sprint(n))}}})
	var want []string
	for range n {
		want = append(want, tell(t, s, "orders/"+o.ID+"/deliver", `{"items":{"10":"1"}}`))
	}
	list, err := s.Deliveries(t.Context(), o.ID)
	require.NoError(t, err)
	var ids []string
	for _, d := range list {
		ids = append(ids, d.ID)
		require.Equal(t, []erp.DeliveryItem{{Line: 1, SKU: "P-1", Quantity: dec("1"), Unit: "C62"}}, d.Items)
	}
	require.Equal(t, want, ids)
	require.Equal(t, erp.ProgressFull, now(t, s, o.ID).Fulfilment)
}

// TestOrders_EverythingComesBack: partners, days, texts, units and prices of an order reach SAP and are read as they were written.
func TestOrders_EverythingComesBack(t *testing.T) {
	t.Parallel()
	asked := func(ids []string) erp.Order {
		price := func(text string) erp.Money { return erp.Money{Amount: dec(text), Currency: "USD"} }
		return erp.Order{
			ClientRef: "0061x00000AbCdEAAV", CustomerID: ids[0], ShipToID: ids[1], BillToID: ids[2], PayerID: ids[3], CustomerPO: "PO 4711/a",
			Requested: "2031-02-03", Currency: "USD", Note: "Ring twice.\nThen wait – Größe XL.", Ordered: time.Date(2026, 11, 20, 0, 0, 0, 0, time.UTC),
			Items: []erp.Item{
				{Line: 3, SKU: "P-1", Name: "Pump, painted", Quantity: dec("2.125"), Price: price("0.125")},
				{Line: 20, SKU: "4711", Quantity: dec("7"), Price: price("3.40"), Requested: "2031-03-01"},
			},
		}
	}
	partners := func(s *System) (ids []string) {
		for _, w := range insert(t, s, erp.Customer{Kind: erp.Organization, Name: "A"}, erp.Customer{Kind: erp.Organization, Name: "B"},
			erp.Customer{Kind: erp.Organization, Name: "C"}, erp.Customer{Kind: erp.Organization, Name: "D"}) {
			require.NoError(t, w.Err)
			ids = append(ids, w.Snapshot.Record.ID)
		}
		return ids
	}
	s := system(t, sandbox.Config{Release: "2023"}, nil)
	want := asked(partners(s))
	made := place(t, s, want)
	read := now(t, s, made.ID)
	for _, got := range []erp.Order{made, read} {
		require.Equal(t, []string{want.ShipToID, want.BillToID, want.PayerID}, []string{got.ShipToID, got.BillToID, got.PayerID})
		require.Equal(t, []string{want.CustomerPO, want.Requested, want.Currency, want.Note}, []string{got.CustomerPO, got.Requested, got.Currency, got.Note})
		require.True(t, want.Ordered.Equal(got.Ordered))
		require.Equal(t, []string{"24.07", "USD"}, []string{got.Total.Text(), got.Total.Currency})
		require.Len(t, got.Items, 2)
		a, b := got.Items[0], got.Items[1]
		require.Equal(t, []any{int32(3), "Pump, painted", "C62", "2.125", "0.125 USD", ""}, []any{a.Line, a.Name, a.Unit, a.Quantity.String(), a.Price.Amount.String() + " " + a.Price.Currency, a.Requested})
		require.Equal(t, []any{int32(20), "KGM", "7", "3.4 USD", "2031-03-01"}, []any{b.Line, b.Unit, b.Quantity.String(), b.Price.Amount.String() + " " + b.Price.Currency, b.Requested})
	}
	t.Run("a release with one day per order refuses more", func(t *testing.T) {
		t.Parallel()
		old := system(t, sandbox.Config{Release: "2020"}, nil)
		want := asked(partners(old))
		products, err := old.Products(t.Context(), []string{"P-1", "4711"})
		require.NoError(t, err)
		require.NoError(t, want.Place(map[string]erp.Product{products[0].SKU: products[0], products[1].SKU: products[1]}))
		f, ok := fault.As(old.CheckOrder(t.Context(), want))
		require.True(t, ok)
		require.Equal(t, []string{"order.items[1].requested_date", backend.ReasonNotMappable}, []string{f.Fields[0].Path, f.Fields[0].Reason})
		want.Items[1].Requested = want.Requested
		made := place(t, old, want)
		require.Equal(t, []string{want.ShipToID, want.BillToID, want.PayerID, want.Requested, want.Note}, []string{made.ShipToID, made.BillToID, made.PayerID, made.Requested, made.Note})
	})
}

// TestAvailable: what a function returns stands alone or under the function's name.
func TestAvailable(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]string{
		`{"AvailableQuantityInBaseUnit":"5.000"}`:                                "5",
		`{"DetermineAvailabilityAt":{"AvailableQuantityInBaseUnit":"5.5"}}`:      "11/2",
		`{"DetermineAvailabilityAt":{"AvailableQuantityInBaseUnit":"-1.000"}}`:   "0",
		`{"__metadata":{"type":"x"},"AvailableQuantityInBaseUnit":"0.00000001"}`: "1/100000000",
	} {
		got, err := available([]byte(body))
		require.NoError(t, err)
		require.Equal(t, want, got.RatString(), body)
	}
	_, err := available([]byte(`{}`))
	require.Error(t, err)
}

// lacking is a sandbox that does not offer some services, and whose metadata lacks some words.
func lacking(t *testing.T, services []string, words ...string) *System {
	t.Helper()
	box, err := sandbox.New(sandbox.Config{Products: []sandbox.Product{{ID: "P-1", Price: "1", Stock: "5"}}})
	require.NoError(t, err)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for _, name := range services {
			if strings.Contains(r.URL.Path, "/"+name) {
				w.Header().Set("Content-Type", "application/json")
				w.WriteHeader(http.StatusForbidden)
				_, _ = io.WriteString(w, `{"error":{"code":"/IWFND/MED/170","message":{"lang":"en","value":"No service found"}}}`)
				return
			}
		}
		if !strings.HasSuffix(r.URL.Path, "$metadata") {
			box.Handler().ServeHTTP(w, r)
			return
		}
		rec := httptest.NewRecorder()
		box.Handler().ServeHTTP(rec, r)
		text := rec.Body.String()
		for _, word := range words {
			text = strings.ReplaceAll(text, `Name="`+word+`"`, `Name="Old`+word+`"`)
		}
		w.Header().Set("Content-Type", "application/xml")
		_, _ = io.WriteString(w, text)
	}))
	t.Cleanup(server.Close)
	cfg := DefaultConfig()
	cfg.URL = server.URL
	s, err := New(cfg, Deps{})
	require.NoError(t, err)
	t.Cleanup(s.Close)
	return s
}

// TestCapabilities: what a release lacks is named, refused as such, and stops nothing else.
func TestCapabilities(t *testing.T) {
	t.Parallel()
	missing := func(t *testing.T, err error, names string) {
		t.Helper()
		require.Equal(t, []any{fault.Unimplemented, backend.ReasonCapability}, []any{fault.KindOf(err), fault.ReasonOf(err)}, "%v", err)
		require.ErrorContains(t, err, names)
	}
	t.Run("without deliveries and stock", func(t *testing.T) {
		t.Parallel()
		s := lacking(t, []string{deliveryService, stockService})
		c, err := s.Capabilities(t.Context())
		require.NoError(t, err)
		require.Equal(t, []bool{true, true, false, false}, []bool{c.CreateCustomers, c.CreateOrders, c.Deliveries, c.Inventory})
		require.Equal(t, []string{stockService, deliveryService}, c.Missing)
		require.Equal(t, 60, c.MaxLength["customer.addresses.street"], "as the metadata says")
		_, err = s.Deliveries(t.Context(), "1")
		missing(t, err, deliveryService)
		_, err = s.Inventory(t.Context(), []string{"P-1"})
		missing(t, err, stockService)
		require.NoError(t, insert(t, s, erp.Customer{Kind: erp.Organization, Name: "A"})[0].Err)
	})
	t.Run("without orders", func(t *testing.T) {
		t.Parallel()
		s := lacking(t, []string{orderService})
		c, err := s.Capabilities(t.Context())
		require.NoError(t, err)
		require.Equal(t, []bool{true, false, false, true}, []bool{c.CreateCustomers, c.CreateOrders, c.Deliveries, c.Inventory})
		missing(t, s.CheckOrder(t.Context(), erp.Order{}), orderService)
		_, err = s.FindOrders(t.Context(), key(1))
		missing(t, err, orderService)
	})
	t.Run("without a field", func(t *testing.T) {
		t.Parallel()
		s := lacking(t, nil, "ActualGoodsMovementDate", "DetermineAvailabilityAt")
		c, err := s.Capabilities(t.Context())
		require.NoError(t, err)
		require.Equal(t, []string{"API_PRODUCT_AVAILY_INFO_BASIC", "A_OutbDeliveryHeader.ActualGoodsMovementDate"}, c.Missing)
		require.False(t, c.Deliveries)
		stock, err := s.Inventory(t.Context(), []string{"P-1"})
		require.NoError(t, err)
		require.Equal(t, "5", stock[0].Available.String(), "what is on hand, where nothing can be promised")
	})
	t.Run("without customers there is nothing", func(t *testing.T) {
		t.Parallel()
		err := lacking(t, nil, "LastChangeTime").Ping(t.Context())
		require.Equal(t, []any{fault.Precondition, ReasonRelease}, []any{fault.KindOf(err), fault.ReasonOf(err)})
		require.ErrorContains(t, err, "A_BusinessPartner.LastChangeTime")
	})
}

// counting is a meter that counts messages of SAP.
type counting struct {
	noop.Meter
	messages atomic.Int64
}

type counter struct {
	noop.Int64Counter
	to *atomic.Int64
}

func (c counter) Add(_ context.Context, n int64, _ ...metric.AddOption) { c.to.Add(n) }

func (c *counting) Int64Counter(name string, _ ...metric.Int64CounterOption) (metric.Int64Counter, error) {
	if name == "selfsame.erp.sap.messages" {
		return counter{to: &c.messages}, nil
	}
	return noop.Int64Counter{}, nil
}

// TestWarnings: what SAP says beside a success is told by its code, counted and logged; its words stay out of both.
func TestWarnings(t *testing.T) {
	t.Parallel()
	box, err := sandbox.New(sandbox.Config{Products: []sandbox.Product{{ID: "P-1", Price: "1", Stock: "1"}, {ID: "4711", Price: "1"}}})
	require.NoError(t, err)
	server := httptest.NewServer(box.Handler())
	t.Cleanup(server.Close)
	meter := &counting{}
	var text bytes.Buffer
	cfg := DefaultConfig()
	cfg.URL = server.URL
	s, err := New(cfg, Deps{Meter: meter, Log: slog.New(slog.NewTextHandler(&text, nil))})
	require.NoError(t, err)
	t.Cleanup(s.Close)
	buyer := insert(t, s, erp.Customer{Kind: erp.Organization, Name: "Buyer"})[0].Snapshot.Record.ID
	made := place(t, s, erp.Order{CustomerID: buyer, Ordered: time.Now(), Items: []erp.Item{{Line: 1, SKU: "P-1", Quantity: dec("5")}}})
	require.Equal(t, []string{"V4/117"}, made.Warnings)
	require.Empty(t, now(t, s, made.ID).Warnings)
	require.Contains(t, text.String(), "code=V4/117 severity=warning")
	require.NotContains(t, text.String(), "confirmed")
	require.EqualValues(t, 1, meter.messages.Load())
}
