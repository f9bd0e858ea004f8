package erp

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/pkg/fault"
)

func TestMask(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"id", "version", "deleted", "create_time", "update_time", "address", "addresses.city", "Name", ""} {
		_, err := Customers().Mask([]string{"name", path})
		require.Equal(t, fault.Invalid, fault.KindOf(err), "%q", path)
	}
	_, err := Contacts().Mask([]string{"customer_id", "refs"})
	require.NoError(t, err)
}

func TestMerge(t *testing.T) {
	t.Parallel()
	now := time.Unix(100, 0)
	s := Customers()
	old, err := s.New(Customer{Name: "A", TaxIDs: []TaxID{{"b", "2"}, {"a", "1"}}, Addresses: []Address{{Usage: UsageShipTo}, {City: "X"}}}, Ref{}, "id1", now)
	require.NoError(t, err)

	t.Run("the order of lists does not matter", func(t *testing.T) {
		t.Parallel()
		_, differs, err := s.Merge(old, Customer{
			TaxIDs: []TaxID{{"a", "1"}, {"b", "2"}}, Addresses: []Address{{Usage: UsageDefault, City: "X"}, {Usage: UsageShipTo}},
		}, Mask{}, Ref{}, now.Add(time.Hour))
		require.NoError(t, err)
		require.False(t, differs)
	})
	t.Run("merging the same write again changes nothing", func(t *testing.T) {
		t.Parallel()
		in := Customer{Name: "B", Kind: Person, Extensions: map[string]string{"k": "v"}, Head: Head{Refs: []Ref{{"s", "t", "v"}}}}
		once, differs, err := s.Merge(old, in, Mask{}, Ref{"s", "t", "key"}, now.Add(time.Hour))
		require.NoError(t, err)
		require.True(t, differs)
		require.EqualValues(t, 2, once.Version)
		twice, differs, err := s.Merge(once, in, Mask{}, Ref{"s", "t", "key"}, now.Add(2*time.Hour))
		require.NoError(t, err)
		require.False(t, differs)
		require.Equal(t, once, twice)
	})
	t.Run("the inputs stay as they were", func(t *testing.T) {
		t.Parallel()
		in := Customer{TaxIDs: []TaxID{{"z", "1"}, {"c", "2"}}, Extensions: map[string]string{"k": "v"}}
		out, _, err := s.Merge(old, in, Mask{}, Ref{}, now)
		require.NoError(t, err)
		out.TaxIDs[0].Value, out.Extensions["k"] = "changed", "changed"
		require.Equal(t, []TaxID{{"z", "1"}, {"c", "2"}}, in.TaxIDs)
		require.Equal(t, "v", in.Extensions["k"])
		require.Equal(t, []TaxID{{"a", "1"}, {"b", "2"}}, old.TaxIDs)
	})
	t.Run("a clock that goes back does not make a record younger", func(t *testing.T) {
		t.Parallel()
		out, _, err := s.Merge(old, Customer{Name: "B"}, Mask{}, Ref{}, now.Add(-time.Hour))
		require.NoError(t, err)
		require.Equal(t, old.Updated, out.Updated)
	})
	t.Run("clearing a name is refused", func(t *testing.T) {
		t.Parallel()
		m, err := s.Mask([]string{"name"})
		require.NoError(t, err)
		_, _, err = s.Merge(old, Customer{}, m, Ref{}, now)
		require.Equal(t, fault.Invalid, fault.KindOf(err))
	})
}

func TestReserve(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, reserved string
		onHand         []string
		want           []string // reserved/available
	}{
		{"nothing reserved", "0", []string{"5"}, []string{"0/5"}},
		{"one site carries all", "7", []string{"5"}, []string{"7/0"}},
		{"sites give in order", "7", []string{"5", "3", "1"}, []string{"5/0", "2/1", "0/1"}},
		{"the last carries the rest", "20", []string{"5", "3"}, []string{"5/0", "15/0"}},
		{"negative stock gives nothing", "2", []string{"-4", "3"}, []string{"0/0", "2/1"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var sites []Stock
			for _, s := range c.onHand {
				sites = append(sites, Stock{OnHand: dec(t, s)})
			}
			Reserve(sites, dec(t, c.reserved))
			var got []string
			for _, s := range sites {
				got = append(got, s.Reserved.String()+"/"+s.Available.String())
			}
			require.Equal(t, c.want, got)
		})
	}
}

func TestWarrantyStatus(t *testing.T) {
	t.Parallel()
	w := Warranty{Start: time.Unix(10, 0), End: time.Unix(20, 0)}
	require.Equal(t, WarrantyPending, w.Status(time.Unix(9, 999)))
	require.Equal(t, WarrantyActive, w.Status(time.Unix(10, 0)))
	require.Equal(t, WarrantyActive, w.Status(time.Unix(19, 999)))
	require.Equal(t, WarrantyExpired, w.Status(time.Unix(20, 0)))
}

func TestFingerprint(t *testing.T) {
	t.Parallel()
	base := Order{CustomerID: "c", Items: []Item{{SKU: "a", Quantity: dec(t, "1.50")}}}
	same := base
	same.Items = []Item{{SKU: "a", Quantity: dec(t, "1.5")}}
	require.Equal(t, base.Fingerprint(), same.Fingerprint())
	for name, change := range map[string]func(o *Order){
		"customer": func(o *Order) { o.CustomerID = "d" },
		"po":       func(o *Order) { o.CustomerPO = "d" },
		"time":     func(o *Order) { o.Ordered = time.Unix(1, 0) },
		"quantity": func(o *Order) { o.Items = []Item{{SKU: "a", Quantity: dec(t, "1.51")}} },
		"shifted":  func(o *Order) { o.Items = []Item{{SKU: "", Unit: "a", Quantity: dec(t, "1.5")}} },
		"line":     func(o *Order) { o.Items = []Item{{Line: 10, SKU: "a", Quantity: dec(t, "1.5")}} },
	} {
		o := base
		change(&o)
		require.NotEqual(t, base.Fingerprint(), o.Fingerprint(), name)
	}
}
