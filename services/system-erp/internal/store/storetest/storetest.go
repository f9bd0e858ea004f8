// Package storetest is the contract suite of package store: every implementation, on every engine, passes it unchanged.
//
// Each subtest gets a fresh store and shares nothing with another one.
package storetest

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/erp"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/store"
)

// Open returns a fresh, empty store that lives as long as the test.
type Open func(t *testing.T) store.Store

// Run runs the whole suite.
func Run(t *testing.T, open Open) {
	t.Run("customers", func(t *testing.T) { customers(t, open) })
	t.Run("batches", func(t *testing.T) { batches(t, open) })
	t.Run("contacts", func(t *testing.T) { contacts(t, open) })
	t.Run("races", func(t *testing.T) { races(t, open) })
	t.Run("feed", func(t *testing.T) { feed(t, open) })
	t.Run("digests", func(t *testing.T) { digests(t, open) })
	t.Run("catalog", func(t *testing.T) { catalog(t, open) })
	t.Run("orders", func(t *testing.T) { orders(t, open) })
}

// cases runs named subtests in parallel, each on a store of its own.
func cases(t *testing.T, open Open, list map[string]func(t *testing.T, s store.Store)) {
	t.Helper()
	for name, fn := range list {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fn(t, open(t))
		})
	}
}

func ref(value string) erp.Ref { return erp.Ref{System: "selfsame", Type: "customer", Value: value} }

// acme is a customer that uses every field.
func acme() erp.Customer {
	return erp.Customer{
		Head: erp.Head{Refs: []erp.Ref{{System: "salesforce", Type: "Account", Value: "001A"}, ref("g1")}},
		Kind: erp.Organization, Number: "K-1", Name: "Ärzte & Söhne GmbH", TaxIDs: []erp.TaxID{{Scheme: "eu_vat", Value: "DE1"}},
		Email: "info@acme.example", Phone: "+49 30 1", Website: "https://acme.example",
		Addresses: []erp.Address{
			{Usage: erp.UsageDefault, Street: "Weg 1\nHof", City: "Köln", PostalCode: "50667", Region: "NW", Country: "DE"},
			{Usage: erp.UsageShipTo, City: "Bonn", Country: "DE"},
		},
		Language: "de-DE", Currency: "EUR", PaymentTerms: "N30", Extensions: map[string]string{"sap.zone": "Z1"},
	}
}

func makeCustomer(t *testing.T, s store.Store, key string) erp.Customer {
	t.Helper()
	c, err := s.Customers().Create(t.Context(), erp.Customer{Head: erp.Head{Refs: []erp.Ref{ref(key)}}, Name: "Customer " + key}, nil)
	require.NoError(t, err)
	return c
}

func mask[R any](t *testing.T, s *erp.Schema[R], paths ...string) erp.Mask {
	t.Helper()
	m, err := s.Mask(paths)
	require.NoError(t, err)
	return m
}

// refused checks the reason a caller sees: that of the field if a field is to blame.
func refused(t *testing.T, err error, kind fault.Kind, reason, path string) {
	t.Helper()
	require.Error(t, err)
	f, ok := fault.As(err)
	require.True(t, ok, "not a fault: %v", err)
	require.Equal(t, kind, f.Kind, "%v", err)
	have, at := fault.ReasonOf(err), ""
	if len(f.Fields) > 0 {
		at = f.Fields[0].Path
		if f.Fields[0].Reason != "" {
			have = f.Fields[0].Reason
		}
	}
	require.Equal(t, reason, have)
	require.Equal(t, path, at)
}

// newest returns the position of the newest change.
func newest(t *testing.T, s store.Store) int64 {
	t.Helper()
	b, err := s.Bounds(t.Context())
	require.NoError(t, err)
	return b.Newest
}

func key(i int) string { return fmt.Sprintf("k%05d", i) }
