package sap

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/backend"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/erp"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/remote"
	"github.com/selfsame-io/selfsame/services/system-erp/sandbox"
)

// system is a back end on a sandbox of its own.
func system(t testing.TB, box sandbox.Config, change func(*Config)) *System {
	t.Helper()
	box.Products = append(box.Products, sandbox.Product{ID: "P-1", Name: "Pump", Price: "12.50", Stock: "1000"}, sandbox.Product{ID: "4711", Unit: "KG", Price: "1", Stock: "7.25"})
	box.Language = "en" // every request is in the logon language, or refused
	s, err := sandbox.New(box)
	require.NoError(t, err)
	server := httptest.NewServer(s.Handler())
	t.Cleanup(server.Close)
	cfg := DefaultConfig()
	cfg.URL = server.URL
	if change != nil {
		change(&cfg)
	}
	sys, err := New(cfg, Deps{})
	require.NoError(t, err)
	t.Cleanup(sys.Close)
	return sys
}

func key(i int) remote.Key { return remote.Key{Mark: fmt.Sprintf("MARK%s%08d", "AAAAAAAA", i)} }

func insert(t testing.TB, s *System, list ...erp.Customer) []wrote {
	t.Helper()
	drafts := make([]draft, len(list))
	for i, c := range list {
		require.NoError(t, s.Customers().Check(context.WithoutCancel(t.Context()), c))
		drafts[i] = draft{Record: c, Key: key(i)}
	}
	out, err := s.Customers().Insert(t.Context(), drafts)
	require.NoError(t, err)
	return out
}

func TestSplit(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(1, 2))
	for range 3000 {
		var b strings.Builder
		for range rng.IntN(12) {
			b.WriteString(strings.Repeat("ü", rng.IntN(14)) + []string{" ", "  ", "", "-"}[rng.IntN(4)])
		}
		name := strings.TrimSpace(b.String())
		parts, ok := split(name, 20)
		if !ok {
			continue
		}
		require.Equal(t, name, strings.Join(parts, " "))
		for _, p := range parts {
			require.LessOrEqual(t, len([]rune(p)), 20)
			require.Equal(t, strings.TrimSpace(p), p)
		}
	}
	_, ok := split(strings.Repeat("x", 41), 40)
	require.False(t, ok)
	parts, ok := split("Gesellschaft für elektrische Unternehmungen mit beschränkter Haftung", 40)
	require.True(t, ok)
	require.Equal(t, []string{"Gesellschaft für elektrische", "Unternehmungen mit beschränkter Haftung"}, parts)
}

func TestStreets(t *testing.T) {
	t.Parallel()
	for _, c := range [][4]string{
		{"Marienplatz 1", "DE", "Marienplatz", "1"},
		{"Straße des 17. Juni 135a", "DE", "Straße des 17. Juni", "135a"},
		{"1 Main Street", "US", "1 Main Street", ""},
		{"C 5, 2", "DE", "C 5,", "2"},
		{"Platz", "DE", "Platz", ""},
		{"  12", "DE", "  12", ""},
		{"Weg  1", "DE", "Weg  1", ""},
	} {
		name, number := splitStreet(c[0], c[1])
		require.Equal(t, []string{c[2], c[3]}, []string{name, number}, c[0])
		require.Equal(t, c[0], joinStreet(name, number, c[1]))
	}
	require.Equal(t, "1 Main Street", joinStreet("Main Street", "1", "US"))
}

func TestCodes(t *testing.T) {
	t.Parallel()
	c := DefaultConfig()
	c.Regions, c.Units, c.TaxTypes = map[string]string{"FR-IDF": "11"}, map[string]string{"BO": "BO"}, map[string]string{"de_tax": "DE2"}
	codes := newCodes(c)
	for _, x := range [][3]string{{"DE", "BY", "09"}, {"AT", "9", "W"}, {"US", "CA", "CA"}, {"FR", "IDF", "11"}, {"DE", "", ""}} {
		got, ok := codes.region(x[0], x[1])
		require.True(t, ok)
		require.Equal(t, x[2], got)
		require.Equal(t, x[1], codes.subdivision(x[0], got))
	}
	for _, bad := range [][2]string{{"DE", "09"}, {"DE", "Bayern"}, {"US", "California"}, {"FR", "ZZZ"}} {
		_, ok := codes.region(bad[0], bad[1])
		require.False(t, ok, "%v", bad)
	}
	require.Equal(t, "C62", codes.rec20("PC"))
	require.Equal(t, "C62", codes.rec20("ST"))
	require.Equal(t, "BO", codes.rec20("BO"))
	kind, ok := codes.taxType("eu_vat", "EL123456789")
	require.True(t, ok)
	require.Equal(t, "GR0", kind)
	kind, _ = codes.taxType("de_tax", "123")
	require.Equal(t, "DE2", kind)
	_, ok = codes.taxType("eu_vat", "DE 123")
	require.False(t, ok)
	scheme, _ := codes.scheme("DE0", "DE123456789")
	require.Equal(t, "eu_vat", scheme)
}

func TestImpersonal(t *testing.T) {
	t.Parallel()
	require.Equal(t, "Business partner 1000001 is currently being processed by user …", impersonal("Business partner 1000001 is currently being processed by user MUELLER"))
	require.Equal(t, "Address … is wrong, … too", impersonal("Address 'Weg 1' is wrong, a@b.example too"))
}

func TestRates(t *testing.T) {
	t.Parallel()
	for _, c := range [][4]string{{"12.5", "EUR", "12.50", "1"}, {"0.123456", "EUR", "1234.56", "10000"}, {"0.125", "EUR", "1.25", "10"}, {"100", "JPY", "100", "1"}, {"1.5", "JPY", "15", "10"}} {
		d, err := erp.ParseDecimal(c[0])
		require.NoError(t, err)
		amount, per, ok := rate(erp.Money{Amount: d, Currency: c[1]})
		require.True(t, ok)
		require.Equal(t, []string{c[2], c[3]}, []string{amount, fmt.Sprint(per)})
		back, ok := perUnit(amount, fmt.Sprint(per))
		require.True(t, ok)
		require.Zero(t, back.Cmp(d))
	}
	d, _ := erp.ParseDecimal("0.123456")
	_, _, ok := rate(erp.Money{Amount: d, Currency: "JPY"})
	require.False(t, ok)
}

func TestCustomers_ChildrenThatDoNotMoveTheTagAreSeen(t *testing.T) {
	t.Parallel()
	s := system(t, sandbox.Config{}, nil)
	w := insert(t, s, erp.Customer{Kind: erp.Organization, Name: "A", Addresses: []erp.Address{{City: "Bonn", Country: "DE"}}})
	old, err := s.Customers().Read(t.Context(), []string{w[0].Snapshot.Record.ID})
	require.NoError(t, err)
	// Somebody changes the city at a desk. SAP's tag of the partner stays as it is.
	rows, err := s.entities(t.Context(), partnerService, addressSet, "", []string{"BusinessPartner eq '" + old[0].Record.ID + "'"})
	require.NoError(t, err)
	var a struct{ AddressID string }
	require.NoError(t, json.Unmarshal(rows[0], &a))
	_, err = s.client.Update(t.Context(), partnerService, addressPath(old[0].Record.ID, a.AddressID), "", map[string]any{"CityName": "Rom"})
	require.NoError(t, err)
	want := old[0].Record
	want.Name = "B"
	got, err := s.Customers().Change(t.Context(), []draft{{Record: want, Old: old[0]}})
	require.NoError(t, err)
	require.Equal(t, fault.ReasonETagMismatch, fault.ReasonOf(got[0].Err), "what somebody else wrote is not overwritten")
}

func TestOrders(t *testing.T) {
	t.Parallel()
	for _, release := range []string{"2020", "2023"} {
		t.Run(release, func(t *testing.T) {
			t.Parallel()
			s := system(t, sandbox.Config{Release: release}, nil)
			buyer := insert(t, s, erp.Customer{Kind: erp.Organization, Name: "Buyer"}, erp.Customer{Kind: erp.Organization, Name: "Other"})
			id, other := buyer[0].Snapshot.Record.ID, buyer[1].Snapshot.Record.ID
			products, err := s.Products(t.Context(), []string{"P-1", "4711", "004711", "none"})
			require.NoError(t, err)
			require.Len(t, products, 2, "004711 is another spelling, not another product")
			known := map[string]erp.Product{}
			for _, p := range products {
				known[p.SKU] = p
			}
			require.Equal(t, "KGM", known["4711"].Unit)
			two, _ := erp.ParseDecimal("2.5")
			o := erp.Order{
				ClientRef: "0061x00000AbCdEAAV", CustomerID: id, CustomerPO: "PO 99", ShipToID: other, Ordered: time.Now(), Note: "Ring twice",
				Items: []erp.Item{{Line: 1, SKU: "P-1", Quantity: two}, {Line: 7, SKU: "4711", Quantity: two}},
			}
			require.NoError(t, o.Place(known))
			require.NoError(t, s.CheckOrder(t.Context(), o))
			k := remote.Key{Ref: erp.Ref{System: "selfsame", Type: "order", Value: o.ClientRef}, Mark: key(1).Mark}
			made, err := s.InsertOrder(t.Context(), o, k)
			require.NoError(t, err)
			require.Equal(t, []any{o.ClientRef, "PO 99", other, "Ring twice", int32(1), int32(7)}, []any{made.ClientRef, made.CustomerPO, made.ShipToID, made.Note, made.Items[0].Line, made.Items[1].Line})
			require.Equal(t, o.Total.Text(), made.Total.Text())
			require.Equal(t, "C62", made.Items[0].Unit)
			found, err := s.FindOrders(t.Context(), k)
			require.NoError(t, err)
			require.Len(t, found, 1)
			require.Equal(t, made.ID, found[0].ID)
			none, err := s.FindOrders(t.Context(), remote.Key{Ref: erp.Ref{System: "selfsame", Type: "order", Value: "PO 99"}, Mark: key(2).Mark})
			require.NoError(t, err)
			require.Empty(t, none, "a buyer's own number is not our reference")
			d, err := s.Deliveries(t.Context(), made.ID)
			require.NoError(t, err)
			require.Empty(t, d)
			stock, err := s.Inventory(t.Context(), []string{"4711"})
			require.NoError(t, err)
			require.Equal(t, []string{"7.25", "4.75", "2.5"}, []string{stock[0].OnHand.String(), stock[0].Available.String(), stock[0].Reserved.String()})
		})
	}
}

func TestOrders_NumbersOfOurs(t *testing.T) {
	t.Parallel()
	s := system(t, sandbox.Config{ExternalOrders: true, Repeatability: true}, func(c *Config) { c.ExternalNumbers, c.Repeatability = true, true })
	buyer := insert(t, s, erp.Customer{Kind: erp.Organization, Name: "Buyer"})
	one, _ := erp.ParseDecimal("1")
	o := erp.Order{CustomerID: buyer[0].Snapshot.Record.ID, Ordered: time.Now(), Items: []erp.Item{{SKU: "P-1", Quantity: one}}}
	products, err := s.Products(t.Context(), []string{"P-1"})
	require.NoError(t, err)
	require.NoError(t, o.Place(map[string]erp.Product{"P-1": products[0]}))
	made, err := s.InsertOrder(t.Context(), o, key(1))
	require.NoError(t, err)
	require.Equal(t, externalNumber(key(1)), made.ID)
	_, err = s.InsertOrder(t.Context(), o, key(1))
	require.Equal(t, fault.Uncertain, fault.KindOf(err), "SAP itself refuses the second; the first has to be looked up")
}

// TestFindOrders_OfOthers: an order that somebody made at a desk is ours only if its number can be no accident.
func TestFindOrders_OfOthers(t *testing.T) {
	t.Parallel()
	s := system(t, sandbox.Config{}, nil)
	buyer := insert(t, s, erp.Customer{Kind: erp.Organization, Name: "Buyer"})
	for ref, want := range map[string]int{"4711": 0, "0061x00000AbCdEAAV": 1} {
		_, err := s.client.Create(t.Context(), orderService, orderSet, map[string]any{
			"SalesOrderType": "OR", "SalesOrganization": "1010", "DistributionChannel": "10", "OrganizationDivision": "00",
			"SoldToParty": buyer[0].Snapshot.Record.ID, "PurchaseOrderByCustomer": ref,
			"to_Item": []any{map[string]any{"Material": "P-1", "RequestedQuantity": "1", "PurchaseOrderByCustomer": ref}},
		}, nil)
		require.NoError(t, err)
		found, err := s.FindOrders(t.Context(), remote.Key{Ref: erp.Ref{System: "selfsame", Type: "order", Value: ref}, Mark: key(1).Mark})
		require.NoError(t, err)
		require.Len(t, found, want, ref)
	}
}

func TestCheckOrder(t *testing.T) {
	t.Parallel()
	s := system(t, sandbox.Config{}, nil)
	dec := func(text string) erp.Decimal { d, _ := erp.ParseDecimal(text); return d }
	for path, o := range map[string]erp.Order{
		"order.customer_po":         {CustomerPO: strings.Repeat("x", 36)},
		"order.items[0].quantity":   {Items: []erp.Item{{Line: 1, Unit: "C62", Quantity: dec("1.0001"), Price: erp.Money{Currency: "EUR"}}}},
		"order.items[0].unit":       {Items: []erp.Item{{Line: 1, Unit: "ZZ", Quantity: dec("1"), Price: erp.Money{Currency: "EUR"}}}},
		"order.items[0].unit_price": {Items: []erp.Item{{Line: 1, Unit: "C62", Quantity: dec("1"), Price: erp.Money{Currency: "JPY", Amount: dec("0.000001")}}}},
		"order.block_reason":        {BlockReason: "why"},
	} {
		f, ok := fault.As(s.CheckOrder(t.Context(), o))
		require.True(t, ok, path)
		require.Equal(t, path, f.Fields[0].Path)
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	s := system(t, sandbox.Config{}, nil)
	drafts := []draft{{Record: erp.Customer{Kind: erp.Organization, Name: "A", PaymentTerms: "ZZZZ"}, Key: key(1)}, {Record: erp.Customer{Kind: erp.Organization, Name: "B"}, Key: key(2)}}
	out, err := s.Customers().Insert(t.Context(), drafts)
	require.NoError(t, err)
	require.NoError(t, out[1].Err, "one refused record stops no other")
	f, ok := fault.As(out[0].Err)
	require.True(t, ok)
	require.Equal(t, []any{fault.Invalid, "customer.payment_terms", backend.ReasonRejected}, []any{f.Kind, f.Fields[0].Path, f.Fields[0].Reason})
	require.Equal(t, "sap", f.Meta[backend.MetaSystem])
	require.NotEmpty(t, f.Meta[backend.MetaCode])
	require.NotEmpty(t, f.Meta[backend.MetaTransaction])
}
