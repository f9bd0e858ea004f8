package verify

import (
	"maps"
	"testing"

	"github.com/stretchr/testify/require"
)

// agreed returns two systems in agreement: one customer with a contact, and one customer that Salesforce has twice.
func agreed() []Record {
	acme := map[string]string{"name": "Acme  GmbH", "street": "Weg 1\nHof", "country": "de"}
	ada := map[string]string{"last_name": "Lang"}
	return []Record{
		{System: Salesforce, Object: Customer, ID: "001A", ExternalID: "c_1", ERPNumber: "K1", Values: acme},
		{System: ERP, Object: Customer, ID: "7", ExternalID: "c_1", ERPNumber: "K1", Made: true, Values: map[string]string{"name": "Acme GmbH", "street": "Weg 1 \r\nHof", "country": "DE"}},
		{System: Salesforce, Object: Customer, ID: "001B", ExternalID: "c_2", ERPNumber: "K2"},
		{System: Salesforce, Object: Customer, ID: "001C", ExternalID: "c_2.001C", ERPNumber: "K2"},
		{System: ERP, Object: Customer, ID: "8", ExternalID: "c_2", ERPNumber: "K2"},
		{System: Salesforce, Object: Contact, ID: "003A", ExternalID: "p_1", ParentID: "001A", Values: ada},
		{System: ERP, Object: Contact, ID: "70", ExternalID: "p_1", ParentID: "7", Made: true, Values: maps.Clone(ada)},
	}
}

func TestCompare(t *testing.T) {
	t.Parallel()

	t.Run("systems that agree are counted", func(t *testing.T) {
		t.Parallel()
		got := Compare(agreed(), false)
		require.True(t, got.Agree(), got.Differences)
		require.Equal(t, Count{Salesforce: 3, ERP: 2, Golden: 2, MadeERP: 1}, got.Customers)
		require.Equal(t, Count{Salesforce: 1, ERP: 1, Golden: 1, MadeERP: 1}, got.Contacts)
	})

	t.Run("of several ids in a record that of a customer counts which lives in the other system", func(t *testing.T) {
		t.Parallel()
		for _, ids := range [][]string{{"c_2.9", "c_0"}, {"c_0", "c_2.9"}} {
			merged := append(agreed(), Record{System: ERP, Object: Customer, ID: "9", ExternalID: ids[0], Former: ids[1:], ERPNumber: "K9"})
			require.True(t, Compare(merged, false).Agree(), ids)
		}
		lost := append(agreed(), Record{System: ERP, Object: Customer, ID: "9", ExternalID: "c_8", Former: []string{"c_9"}})
		require.False(t, Compare(lost, false).Agree())
	})

	t.Run("two empty systems prove nothing", func(t *testing.T) {
		t.Parallel()
		require.False(t, Compare(nil, false).Agree())
	})

	for name, c := range map[string]struct {
		spoil func([]Record) []Record
		want  []Difference
	}{
		"a record without an external id": {
			func(r []Record) []Record { return append(r, Record{System: ERP, Object: Customer, ID: "9"}) },
			[]Difference{{Kind: Unlinked, Object: Customer, System: ERP, Records: []string{"erp/9"}}},
		},
		"a customer that only one system has": {
			func(r []Record) []Record {
				return append(r, Record{System: ERP, Object: Customer, ID: "9", ExternalID: "c_9"})
			},
			[]Difference{{Kind: Missing, Object: Customer, GoldenID: "c_9", System: Salesforce, Records: []string{"erp/9"}}},
		},
		"a value that differs": {
			func(r []Record) []Record { r[6].Values["last_name"] = "Long"; return r },
			[]Difference{{Kind: Differs, Object: Contact, GoldenID: "p_1", Field: "last_name", Records: []string{"salesforce/003A", "erp/70"}}},
		},
		"a value that is blank on one side": {
			func(r []Record) []Record { r[6].Values["email"] = "a@b.example"; return r },
			[]Difference{{Kind: Differs, Object: Contact, GoldenID: "p_1", Field: "email", Records: []string{"salesforce/003A", "erp/70"}}},
		},
		"a second record of the same system that was left behind": {
			func(r []Record) []Record { r[3].Values = map[string]string{"phone": "1"}; return r },
			[]Difference{{Kind: Differs, Object: Customer, GoldenID: "c_2", Field: "phone", Records: []string{"salesforce/001B", "salesforce/001C", "erp/8"}}},
		},
		"an erp number that the erp does not have": {
			func(r []Record) []Record { r[0].ERPNumber = "K9"; return r },
			[]Difference{{Kind: Differs, Object: Customer, GoldenID: "c_1", Field: "erp_number", Records: []string{"salesforce/001A", "erp/7"}}},
		},
		"an external id that stands twice in one system": {
			func(r []Record) []Record { r[3].ExternalID = "c_2"; return r },
			[]Difference{{Kind: Repeated, Object: Customer, GoldenID: "c_2", System: Salesforce, Records: []string{"salesforce/001B", "salesforce/001C"}}},
		},
		"a customer that Selfsame made twice": {
			func(r []Record) []Record { r[2].Made, r[3].Made = true, true; return r },
			[]Difference{{Kind: MadeTwice, Object: Customer, GoldenID: "c_2", System: Salesforce, Records: []string{"salesforce/001B", "salesforce/001C"}}},
		},
		"a contact under another customer": {
			func(r []Record) []Record { r[6].ParentID = "8"; return r },
			[]Difference{{Kind: ParentDiffers, Object: Contact, GoldenID: "p_1", Field: "customer", Records: []string{"salesforce/003A", "erp/70"}}},
		},
		"a contact that lost its customer": {
			func(r []Record) []Record { r[6].ParentID = ""; return r },
			[]Difference{{Kind: ParentDiffers, Object: Contact, GoldenID: "p_1", Field: "customer", Records: []string{"salesforce/003A", "erp/70"}}},
		},
	} {
		t.Run(name+" is a difference", func(t *testing.T) {
			t.Parallel()
			got := Compare(c.spoil(agreed()), false)
			require.False(t, got.Agree())
			require.Equal(t, c.want, got.Differences)
		})
	}

	t.Run("values are shown only when asked for", func(t *testing.T) {
		t.Parallel()
		r := agreed()
		r[6].Values["last_name"] = "Long"
		require.Nil(t, Compare(r, false).Differences[0].Values)
		require.Equal(t, []string{"Lang", "Long"}, Compare(r, true).Differences[0].Values)
	})
}
