package mapping

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	salesforcev1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/salesforce/v1"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func load(t *testing.T, overlay string) *Mapping {
	t.Helper()
	m, err := Load([]byte(overlay))
	require.NoError(t, err)
	return m
}

func readRow(t *testing.T, name string) map[string]any {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("testdata", name))
	require.NoError(t, err)
	row := map[string]any{}
	require.NoError(t, json.Unmarshal(raw, &row))
	return row
}

// golden compares v with testdata/<name>.golden.json.
func golden(t *testing.T, name string, v any) {
	t.Helper()
	var raw []byte
	var err error
	if m, ok := v.(proto.Message); ok {
		raw, err = protojson.Marshal(m)
	} else {
		raw, err = json.Marshal(v)
	}
	require.NoError(t, err)
	var plain any // protojson's spacing is random
	require.NoError(t, json.Unmarshal(raw, &plain))
	raw, err = json.MarshalIndent(plain, "", "  ")
	require.NoError(t, err)
	raw = append(raw, '\n')
	path := filepath.Join("testdata", name+".golden.json")
	if *update {
		require.NoError(t, os.WriteFile(path, raw, 0o600))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, string(want), string(raw))
}

func TestRead(t *testing.T) {
	t.Parallel()
	m := load(t, "")
	a, err := m.ReadAccount(readRow(t, "account.json"), "")
	require.NoError(t, err)
	golden(t, "account", a)
	c, err := m.ReadContact(readRow(t, "contact.json"), "")
	require.NoError(t, err)
	golden(t, "contact", c)
	s, err := m.ReadCase(readRow(t, "case.json"))
	require.NoError(t, err)
	golden(t, "case", s)

	t.Run("a record without what every record has is refused", func(t *testing.T) {
		t.Parallel()
		for _, field := range []string{"Id", "SystemModstamp", "CreatedDate"} {
			row := readRow(t, "account.json")
			delete(row, field)
			_, err := m.ReadAccount(row, "")
			require.ErrorContains(t, err, field)
		}
	})
	t.Run("an account without an address has none", func(t *testing.T) {
		t.Parallel()
		a, err := m.ReadAccount(map[string]any{"Id": "001", "CreatedDate": "2026-01-02T03:04:05.000+0000", "SystemModstamp": "2026-01-02T03:04:05Z"}, "")
		require.NoError(t, err)
		require.Nil(t, a.GetAddress())
	})
}

func TestWrite(t *testing.T) {
	t.Parallel()
	m := load(t, "")
	account := &salesforcev1.Account{
		Id: "001", Version: 5, ExternalId: "S-1", Name: "Müller", Phone: "1", Website: "",
		Address: &salesforcev1.Address{City: "Berlin", Country: "Germany"},
	}
	row, problem := m.WriteAccount(account, nil)
	require.Nil(t, problem)
	golden(t, "write_all_set", row)

	row, problem = m.WriteAccount(account, []string{"phone", "website", "address", "version"})
	require.Nil(t, problem)
	golden(t, "write_mask", row)

	row, problem = m.WriteContact(&salesforcev1.Contact{AccountId: "001x", LastName: "L"}, []string{"account_id", "email"})
	require.Nil(t, problem)
	golden(t, "write_contact", row)

	t.Run("an upsert without a record is refused alone", func(t *testing.T) {
		_, problem := m.WriteAccount(nil, nil)
		require.Equal(t, "account", problem.Field)
		_, problem = m.WriteContact(nil, []string{"email"})
		require.Equal(t, "contact", problem.Field)
	})
	t.Run("a mask over an absent address clears it", func(t *testing.T) {
		t.Parallel()
		row, problem := m.WriteAccount(&salesforcev1.Account{}, []string{"address.city"})
		require.Nil(t, problem)
		require.Equal(t, map[string]any{"BillingCity": nil}, row)
	})
	t.Run("what cannot be kept is refused by our name of the field, without its value", func(t *testing.T) {
		t.Parallel()
		_, problem := m.WriteAccount(&salesforcev1.Account{Phone: strings.Repeat("ü", 41)}, nil)
		require.Equal(t, &Problem{Field: "phone", Reason: ReasonFieldTooLong, Message: "the CRM keeps at most 40 characters of this field"}, problem)
		_, problem = m.WriteAccount(&salesforcev1.Account{Phone: strings.Repeat("ü", 40)}, nil)
		require.Nil(t, problem, "characters count, not bytes")
		_, problem = m.WriteAccount(&salesforcev1.Account{}, []string{"telephone"})
		require.Equal(t, ReasonFieldUnknown, problem.Reason)
	})
	t.Run("a read-only field is refused when asked for and left out when not", func(t *testing.T) {
		t.Parallel()
		m := load(t, "version: 1\nobjects:\n  account:\n    fields:\n      erp_number: {read_only: true}\n      segment: {field: \"\"}\n")
		row, problem := m.WriteAccount(&salesforcev1.Account{Name: "N", ErpNumber: "1", Segment: "x"}, nil)
		require.Nil(t, problem)
		require.Equal(t, map[string]any{"Name": "N"}, row)
		for _, field := range []string{"erp_number", "segment"} {
			_, problem = m.WriteAccount(&salesforcev1.Account{ErpNumber: "1"}, []string{field})
			require.Equal(t, ReasonFieldReadOnly, problem.Reason)
		}
	})
}

func TestCountry(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ format, stored, ours, written string }{
		"a code stays a code":                {"iso2", "DE", "DE", "DE"},
		"a name becomes a code":              {"iso2", "germany", "DE", "DE"},
		"unknown text is not touched":        {"iso2", "Atlantis", "Atlantis", "Atlantis"},
		"names are kept as names":            {"name", "Germany", "DE", "Germany"},
		"a code is written as a name":        {"name", "FR", "FR", "France"},
		"as it is means nothing is changed":  {"as_is", "Germany", "Germany", "Germany"},
		"lower case codes become upper case": {"iso2", "us", "US", "US"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := load(t, "version: 1\nobjects:\n  account:\n    fields:\n      address.country: {country: "+c.format+"}\n")
			row := readRow(t, "account.json")
			row["BillingCountry"] = c.stored
			a, err := m.ReadAccount(row, "")
			require.NoError(t, err)
			require.Equal(t, c.ours, a.GetAddress().GetCountry())
			out, problem := m.WriteAccount(a, []string{"address.country"})
			require.Nil(t, problem)
			require.Equal(t, c.written, out["BillingCountry"])
		})
	}
}

func TestLoad(t *testing.T) {
	t.Parallel()
	t.Run("a renamed field changes where one field is kept and nothing else", func(t *testing.T) {
		t.Parallel()
		before, after := load(t, ""), load(t, "version: 1\nobjects:\n  account:\n    fields:\n      erp_number: {field: SAP__c}\n")
		require.Equal(t, "ERP_Customer_Number__c", before.Account.Column("erp_number"))
		require.Equal(t, "SAP__c", after.Account.Column("erp_number"))
		require.Equal(t, before.Contact.Columns(), after.Contact.Columns())
		require.Len(t, after.Account.Columns(), len(before.Account.Columns()))
		row := readRow(t, "account.json")
		row["SAP__c"] = "99"
		a, err := after.ReadAccount(row, "")
		require.NoError(t, err)
		require.Equal(t, "99", a.GetErpNumber())
	})
	for name, c := range map[string]struct{ file, want string }{
		"an unknown object":         {"version: 1\nobjects:\n  invoice: {}", "objects.invoice: unknown object"},
		"an unknown field":          {"version: 1\nobjects:\n  account:\n    fields:\n      fax: {field: Fax}", "objects.account.fields.fax: unknown field"},
		"an unknown key":            {"version: 1\nobjects:\n  account:\n    fields:\n      name: {feild: Fax}", "feild"},
		"another version":           {"version: 2", "version is 2"},
		"no version":                {"objects: {}", "version is 0"},
		"SOQL in a name":            {"version: 1\nobjects:\n  account:\n    fields:\n      name: {field: 'Name FROM User'}", "not an API name"},
		"SOQL in an object":         {"version: 1\nobjects:\n  account:\n    sobject: 'Account WHERE'", "not an API name"},
		"two fields in one":         {"version: 1\nobjects:\n  account:\n    fields:\n      segment: {field: name}", "already holds name"},
		"a field we need":           {"version: 1\nobjects:\n  account:\n    fields:\n      segment: {field: SystemModstamp}", "already holds version"},
		"no external id":            {"version: 1\nobjects:\n  contact:\n    fields:\n      external_id: {field: ''}", "external_id: must be mapped"},
		"a read-only external id":   {"version: 1\nobjects:\n  contact:\n    fields:\n      external_id: {read_only: true}", "external_id: must be mapped"},
		"an unknown country format": {"version: 1\nobjects:\n  account:\n    fields:\n      address.country: {country: iso3}", "not iso2, name or as_is"},
		"a negative length":         {"version: 1\nobjects:\n  account:\n    fields:\n      name: {max_length: -1}", "negative"},
	} {
		t.Run("the file is refused for "+name, func(t *testing.T) {
			t.Parallel()
			_, err := Load([]byte(c.file))
			require.ErrorContains(t, err, c.want)
		})
	}
}

func TestNames(t *testing.T) {
	t.Parallel()
	m := load(t, "")
	require.Equal(t, []string{"name", "address.city", "erp_number"}, m.Account.Names([]string{"Name", "BillingAddress.City", "LastModifiedDate", "ERP_Customer_Number__c", "ShippingAddress.City"}))
	require.Equal(t, []string{"first_name", "email"}, m.Contact.Names([]string{"Name.FirstName", "Email", "Email"}))
	require.Equal(t, []string{"address.street", "address.city", "address.postal_code", "address.region", "address.country"}, m.Account.Names([]string{"BillingAddress"}))
	require.Empty(t, m.Contact.Names([]string{"FirstNameX", ""}))
}

func TestCheck(t *testing.T) {
	t.Parallel()
	m := load(t, "")
	var org []Described
	for _, c := range m.Contact.Columns() {
		org = append(org, Described{Name: c, Writable: true, ExternalID: c == "Selfsame_Id__c"})
	}
	require.NoError(t, m.Contact.Check(org))
	for i := range org {
		switch org[i].Name {
		case "Selfsame_Id__c":
			org[i].ExternalID = false
		case "Title":
			org[i].Name = "JobTitle"
		case "Phone":
			org[i].Writable = false
		}
	}
	err := m.Contact.Check(org)
	require.ErrorContains(t, err, "objects.contact.fields.title: Contact has no field Title")
	require.ErrorContains(t, err, "objects.contact.fields.phone: the integration user may not write Contact.Phone")
	require.ErrorContains(t, err, "objects.contact.fields.external_id: Contact.Selfsame_Id__c is not an external id")
}

func FuzzLoad(f *testing.F) {
	f.Add([]byte("version: 1\nobjects:\n  account:\n    fields:\n      name: {field: Name2}\n"))
	f.Fuzz(func(t *testing.T, file []byte) {
		m, err := Load(file)
		if err != nil {
			return
		}
		for _, o := range m.Objects() {
			for _, c := range o.Columns() {
				require.True(t, columnName(c), c)
			}
		}
	})
}
