package tryton

import (
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/backend"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/erp"
)

func TestHalfEven(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ a, b, unit, want string }{
		{"1", "0.125", "0.01", "0.12"},
		{"1", "0.135", "0.01", "0.14"},
		{"1", "0.125001", "0.01", "0.13"},
		{"-1", "0.135", "0.01", "-0.14"},
		{"-1", "0.125", "0.01", "-0.12"},
		{"1", "1.075", "0.05", "1.1"},
		{"1", "1.02", "0.05", "1"},
		{"3", "0.000001", "0", "0.000003"},
		{"999999999999", "999", "0.01", "998999999999001"},
	} {
		require.Equal(t, c.want, halfEven(amount(c.a), amount(c.b), amount(c.unit)).String(), "%v", c)
	}
}

func TestExact(t *testing.T) {
	t.Parallel()
	for _, s := range []string{"0.1", "1.5", "123456789012.5", "999999999999999", "0.000001"} {
		require.True(t, exact(amount(s)), s)
	}
	for _, s := range []string{"999999999999.999999", "123456789012345.678901"} {
		require.False(t, exact(amount(s)), s)
	}
}

// TestSizes_OfAChangedTryton is about an administrator who gave fields a longest length; Tryton itself has none.
func TestSizes_OfAChangedTryton(t *testing.T) {
	t.Parallel()
	var logins atomic.Int32
	c := serveFake(t, &logins, func(w http.ResponseWriter, method, _ string) {
		size := map[string]string{
			"model.party.party.fields_get": `{"name":{"size":10},"code":{}}`, "model.party.address.fields_get": `{"street":{},"city":{"size":4}}`,
			"model.sale.sale.fields_get": `{"reference":{"size":8}}`, "model.party.identifier.fields_get": `{"code":{"size":30}}`,
		}[method]
		if size == "" {
			size = `{}`
		}
		_, _ = io.WriteString(w, `{"id":1,"result":`+size+`}`)
	})
	s, m := &System{client: c}, &master{}
	require.NoError(t, s.loadSizes(t.Context(), m))
	require.Equal(t, map[string]int{
		"customer.name": 10, "customer.addresses.city": 4, "order.client_ref": 8, "customer.tax_ids.value": 30, "customer.refs.value": 30,
	}, m.sizes)
	for path, r := range map[string]erp.Customer{
		"customer.name":              {Name: "ÄÄÄÄÄÄÄÄÄÄÄ"},
		"customer.addresses[1].city": {Name: "A", Addresses: []erp.Address{{City: "Bonn"}, {City: "Köln!"}}},
		"customer.tax_ids[0].value":  {Name: "A", TaxIDs: []erp.TaxID{{Scheme: "eu_vat", Value: strings.Repeat("1", 31)}}},
		"customer.refs[0].value":     {Name: "A", Head: erp.Head{Refs: []erp.Ref{{System: "salesforce", Type: "Account", Value: "0123456789ABCDEF"}}}},
	} {
		f, ok := fault.As(m.lengths(r))
		require.True(t, ok, path)
		require.Equal(t, []string{path, backend.ReasonTooLong}, []string{f.Fields[0].Path, f.Fields[0].Reason})
	}
	require.NoError(t, m.lengths(erp.Customer{Name: "ÄÄÄÄÄÄÄÄÄÄ", Phone: strings.Repeat("1", 100)}), "characters are counted, not bytes")
	f, ok := fault.As(m.orderLengths(erp.Order{ClientRef: "123456789"}))
	require.True(t, ok)
	require.Equal(t, "order.client_ref", f.Fields[0].Path)
}
