package mapping

import (
	"encoding/json"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	salesforcev1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/salesforce/v1"
)

const custom = `version: 1
objects:
  subscription:
    sobject: Subscription__c
    parent: account
    fields:
      external_id: {field: Key__c, max_length: 80}
      account: {field: Account__r.Selfsame_Id__c}
      account_id: {field: Account__c}
      price: {field: Price__c}
      active: {field: Active__c}
      starts: {field: Starts__c}
      renewed: {field: Renewed__c}
      plan: {field: Plan__c}
      note: {field: Note__c}
`

func schema() *Schema {
	return NewSchema([]Described{
		{Name: "Key__c", Type: "string", Length: 80, Writable: true, ExternalID: true},
		{Name: "Account__c", Type: "reference", Length: 18, Writable: true, Relation: "Account__r"},
		{Name: "Price__c", Type: "currency", Writable: true},
		{Name: "Active__c", Type: "boolean", Writable: true},
		{Name: "Starts__c", Type: "date", Writable: true},
		{Name: "Renewed__c", Type: "datetime", Writable: true},
		{Name: "Plan__c", Type: "picklist", Length: 255, Writable: true, Values: []string{"Basic", "Pro"}, Restricted: true},
		{Name: "Note__c", Type: "textarea", Length: 10, Writable: true},
	})
}

func text(s string) *salesforcev1.FieldValue {
	return &salesforcev1.FieldValue{Value: &salesforcev1.FieldValue_Text{Text: s}}
}

func number(s string) *salesforcev1.FieldValue {
	return &salesforcev1.FieldValue{Value: &salesforcev1.FieldValue_Number{Number: s}}
}

func decode(t *testing.T, raw string) map[string]any {
	t.Helper()
	row := map[string]any{}
	d := json.NewDecoder(strings.NewReader(raw))
	d.UseNumber()
	require.NoError(t, d.Decode(&row))
	return row
}

func TestRecord(t *testing.T) {
	t.Parallel()
	m := load(t, custom)
	o, ok := m.Object("subscription")
	require.True(t, ok)
	require.True(t, o.Required)
	require.NoError(t, o.Check(schema().Fields()))
	require.Equal(t, "Account__r.Selfsame_Id__c", o.Parent())
	row := decode(t, `{"Id":"a00Hs00004abcdEIAQ","CreatedDate":"2026-01-02T03:04:05.000+0000","SystemModstamp":"2026-05-01T12:00:00.123+0000",
		"Key__c":"S-1","Account__c":"001Hs00004abcdEIAQ","Account__r":{"attributes":{},"Selfsame_Id__c":"A-1"},"Price__c":1.2999E3,"Active__c":false,
		"Starts__c":"2026-02-03","Renewed__c":"2026-02-03T04:05:06.007+0000","Plan__c":"Pro","Note__c":null}`)
	r, err := o.ReadRecord(row, schema())
	require.NoError(t, err)
	require.True(t, proto.Equal(&salesforcev1.Record{
		Object: "subscription", Id: "a00Hs00004abcdEIAQ", ExternalId: "S-1", Version: 1777636800123, Etag: r.GetEtag(),
		CreateTime: timestamppb.New(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)), UpdateTime: timestamppb.New(time.UnixMilli(1777636800123)),
		Fields: map[string]*salesforcev1.FieldValue{
			"account": text("A-1"), "account_id": text("001Hs00004abcdEIAQ"), "price": number("1299.9"), "plan": text("Pro"),
			"active":  {Value: &salesforcev1.FieldValue_Flag{}},
			"starts":  {Value: &salesforcev1.FieldValue_Date{Date: "2026-02-03"}},
			"renewed": {Value: &salesforcev1.FieldValue_Time{Time: timestamppb.New(time.Date(2026, 2, 3, 4, 5, 6, 7_000_000, time.UTC))}},
		},
	}, r), r.String())

	t.Run("what was read is written as it was, and the id of a reference goes before its external id", func(t *testing.T) {
		t.Parallel()
		out, problem := o.WriteRecord(r, nil, schema())
		require.Nil(t, problem)
		require.Equal(t, map[string]any{
			"Account__c": "001Hs00004abcdEIAQ", "Price__c": json.Number("1299.9"), "Active__c": false, "Starts__c": "2026-02-03",
			"Renewed__c": "2026-02-03T04:05:06.007Z", "Plan__c": "Pro",
		}, out)
	})
	t.Run("a field of the mask that is not there is cleared, a reference by its id", func(t *testing.T) {
		t.Parallel()
		out, problem := o.WriteRecord(&salesforcev1.Record{Fields: map[string]*salesforcev1.FieldValue{"note": {}}}, []string{"note", "account", "plan"}, schema())
		require.Nil(t, problem)
		require.Equal(t, map[string]any{"Note__c": nil, "Account__c": nil, "Plan__c": nil}, out)
		out, problem = o.WriteRecord(&salesforcev1.Record{Fields: map[string]*salesforcev1.FieldValue{"account": text("A-2")}}, []string{"account", "account_id"}, schema())
		require.Nil(t, problem)
		require.Equal(t, map[string]any{"Account__r.Selfsame_Id__c": "A-2"}, out)
	})
	for name, c := range map[string]struct {
		field string
		value *salesforcev1.FieldValue
		want  string
	}{
		"text for a number":                      {"price", text("12"), ReasonValueKind},
		"a number for a flag":                    {"active", number("1"), ReasonValueKind},
		"a day that does not exist":              {"starts", &salesforcev1.FieldValue{Value: &salesforcev1.FieldValue_Date{Date: "2026-02-30"}}, ReasonValueKind},
		"a field that the mapping does not name": {"nonsense", text("x"), ReasonFieldUnknown},
	} {
		t.Run("refused: "+name, func(t *testing.T) {
			t.Parallel()
			_, problem := o.WriteRecord(&salesforcev1.Record{Fields: map[string]*salesforcev1.FieldValue{c.field: c.value}}, nil, schema())
			require.NotNil(t, problem)
			require.Equal(t, c.want, problem.Reason)
			require.Equal(t, c.field, problem.Field)
		})
	}
	t.Run("a value outside a restricted list or too long is refused before it costs a call", func(t *testing.T) {
		t.Parallel()
		require.Nil(t, o.CheckRow(map[string]any{"Plan__c": "Pro", "Note__c": "short"}, schema()))
		require.Equal(t, ReasonPicklist, o.CheckRow(map[string]any{"Plan__c": "Gold"}, schema()).Reason)
		require.Equal(t, ReasonFieldTooLong, o.CheckRow(map[string]any{"Note__c": strings.Repeat("ü", 11)}, schema()).Reason)
		require.Nil(t, o.CheckRow(map[string]any{"Plan__c": "Gold"}, nil), "without a description there is nothing to compare with")
	})
	t.Run("a relation that the org lacks is named", func(t *testing.T) {
		t.Parallel()
		fields := append([]Described(nil), schema().Fields()...)
		fields[1].Relation = "Kunde__r"
		require.ErrorContains(t, o.Check(fields), "objects.subscription.fields.account: Subscription__c has no relation Account__r")
	})
	t.Run("the description names types, lists and limits", func(t *testing.T) {
		t.Parallel()
		fields := o.Describe(schema())
		require.Len(t, fields, 9)
		require.Equal(t, "account", fields[0].GetName())
		require.Equal(t, salesforcev1.FieldType_FIELD_TYPE_EXTERNAL_REFERENCE, fields[0].GetType())
		require.Equal(t, []string{"Basic", "Pro"}, fields[5].GetValues())
	})
}

func TestColumnsOf(t *testing.T) {
	t.Parallel()
	o, _ := load(t, custom).Object("subscription")
	columns, problem := o.ColumnsOf([]string{"account", "price"})
	require.Nil(t, problem)
	require.Equal(t, []string{"Account__r.Selfsame_Id__c", "Price__c"}, columns)
	for field, want := range map[string]string{"account_id": ReasonReferenceTwice, "external_id": ReasonFieldUnknown, "nonsense": ReasonFieldUnknown} {
		_, problem := o.ColumnsOf([]string{"account", field})
		require.Equal(t, want, problem.Reason)
	}
	require.Equal(t, "Account__r.Selfsame_Id__c", o.ParentIn(columns))
	require.Equal(t, "Account__c", o.ParentIn([]string{"Price__c", "Account__c"}), "the same parent by its id")
	require.Empty(t, o.ParentIn([]string{"Price__c"}))
	column, problem := o.ReferenceColumn("account")
	require.Nil(t, problem)
	require.Equal(t, "Account__c", column)
	value, ok := In(map[string]any{"Account__c": nil}, columns[0])
	require.True(t, ok, "a reference that is cleared")
	require.Nil(t, value)
	_, ok = In(map[string]any{"Account__c": "001"}, columns[0])
	require.False(t, ok, "a reference by id is not one by external id")
}

func TestDeclare(t *testing.T) {
	t.Parallel()
	t.Run("what a file names is required, the rest only where the org has it", func(t *testing.T) {
		t.Parallel()
		m := load(t, "version: 1\nobjects:\n  lead: {}\n")
		required := map[string]bool{}
		for _, o := range m.Objects() {
			required[o.Name] = o.Required
		}
		require.Equal(t, map[string]bool{
			"account": true, "asset": false, "asset_warranty": false, "campaign": false, "campaign_member": false, "case": true, "contact": true,
			"lead": true, "opportunity": false, "product": false,
		}, required)
	})
	for name, c := range map[string]struct{ file, want string }{
		"an object without sobject":     {"version: 1\nobjects:\n  invoice: {fields: {external_id: {field: X__c}}}", "objects.invoice: unknown object; give its sobject"},
		"a custom object without a key": {"version: 1\nobjects:\n  invoice: {sobject: Invoice__c, fields: {total: {field: T__c}}}", "external_id: must be mapped"},
		"a name with capitals":          {"version: 1\nobjects:\n  Invoice: {sobject: Invoice__c}", "not a name for one"},
		"a field that every record has": {"version: 1\nobjects:\n  invoice: {sobject: Invoice__c, fields: {etag: {field: E__c}}}", "one that every record has"},
		"a parent that is not mapped":   {"version: 1\nobjects:\n  invoice: {sobject: Invoice__c, parent: x, fields: {external_id: {field: K__c}}}", "x is not a mapped field"},
		"SOQL behind a dot":             {"version: 1\nobjects:\n  invoice: {sobject: Invoice__c, fields: {external_id: {field: K__c}, a: {field: 'A.B C'}}}", "not an API name"},
	} {
		t.Run("the file is refused for "+name, func(t *testing.T) {
			t.Parallel()
			_, err := Load([]byte(c.file))
			require.ErrorContains(t, err, c.want)
		})
	}
	t.Run("a platform event needs no external id", func(t *testing.T) {
		t.Parallel()
		m := load(t, "version: 1\nobjects:\n  order_placed: {sobject: Order_Placed__e, fields: {number: {field: Number__c}}}")
		o, ok := m.Object("order_placed")
		require.True(t, ok)
		require.True(t, o.Event)
		require.NoError(t, o.Check([]Described{{Name: "Number__c", Createable: true}}), "an event is made and never changed")
	})
}

func TestTyped(t *testing.T) {
	t.Parallel()
	m := load(t, "")
	o, _ := m.Object("opportunity")
	row, problem := o.Row(&salesforcev1.Opportunity{ExternalId: "O-1", AccountExternalId: "A-1", Name: "Deal", Amount: "12.50", Stage: "Prospecting"}, nil)
	require.Nil(t, problem)
	require.Equal(t, map[string]any{"Selfsame_Id__c": "O-1", "Account.Selfsame_Id__c": "A-1", "Name": "Deal", "Amount": json.Number("12.5"), "StageName": "Prospecting"}, row)
	_, problem = o.Row(&salesforcev1.Opportunity{Amount: "twelve"}, nil)
	require.Equal(t, ReasonValueKind, problem.Reason)

	read := &salesforcev1.Opportunity{}
	require.NoError(t, o.Read(read, decode(t, `{"Id":"006","CreatedDate":"2026-01-02T03:04:05.000+0000","SystemModstamp":"2026-05-01T12:00:00.123+0000",
		"Amount":3.5E8,"IsClosed":true,"IsWon":false,"Account":{"Selfsame_Id__c":"A-1"}}`)))
	require.Equal(t, "350000000", read.GetAmount())
	require.True(t, read.GetClosed())
	require.Equal(t, "A-1", read.GetAccountExternalId())

	t.Run("a flag that is absent stays as it is, one that is false is written", func(t *testing.T) {
		t.Parallel()
		o, _ := m.Object("product")
		row, problem := o.Row(&salesforcev1.Product{Name: "P"}, nil)
		require.Nil(t, problem)
		require.Equal(t, map[string]any{"Name": "P"}, row)
		row, problem = o.Row(&salesforcev1.Product{Name: "P", Active: proto.Bool(false)}, nil)
		require.Nil(t, problem)
		require.Equal(t, map[string]any{"Name": "P", "IsActive": false}, row)
	})
	t.Run("every field of every message has its place in the built-in mapping", func(t *testing.T) {
		t.Parallel()
		for _, o := range m.Objects() {
			for _, name := range catalogue(o.Name) {
				require.NotEmpty(t, o.Column(name), "%s.%s", o.Name, name)
			}
		}
	})
}

func TestDecimal(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"0": "0", "-0.0": "0", "100.0": "100", "3.5E8": "350000000", "1e-3": "0.001", "12.50": "12.5", "-1.25E1": "-12.5", "123456789012345678.123456789": "123456789012345678.123456789",
		"12345e-2": "123.45", "0.5e1": "5", "": "", "1.": "", ".5": "", "1e999": "", "NaN": "", "1e": "",
	} {
		got, ok := Decimal(in)
		require.Equal(t, want, got, in)
		require.Equal(t, want != "", ok, in)
	}
}

func TestEtag(t *testing.T) {
	t.Parallel()
	m := load(t, "")
	row := func(name string) map[string]any {
		return map[string]any{"Id": "001", "CreatedDate": "2026-01-02T03:04:05.000+0000", "SystemModstamp": "2026-05-01T12:00:00.123+0000", "Name": name, "Unmapped__c": name}
	}
	one, err := m.Account.Etag(row("Acme"))
	require.NoError(t, err)
	a, err := m.ReadAccount(row("Acme"), "")
	require.NoError(t, err)
	require.Equal(t, one, a.GetEtag(), "every way to read a record gives the same etag")
	other, err := m.Account.Etag(row("Bolt"))
	require.NoError(t, err)
	require.NotEqual(t, one, other, "two changes may share a version")
	at, ok := EtagTime(one)
	require.True(t, ok)
	require.EqualValues(t, 1777636800123, at.UnixMilli())
	for _, bad := range []string{"", "x", "-", "zz-0", "-1-0123456789abcdef", "0-0123456789abcdef", "mo-0123456789ABCDEF", `"abc"`} {
		_, ok := EtagTime(bad)
		require.False(t, ok, bad)
	}
}

func FuzzDecimal(f *testing.F) {
	for _, seed := range []string{"0", "-1.50", "3.5E8", "1e-3", "00012.3400", "9e40", "x"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		plain, ok := Decimal(text)
		if !ok {
			return
		}
		want, valid := new(big.Rat).SetString(text)
		require.True(t, valid, text)
		got, valid := new(big.Rat).SetString(plain)
		require.True(t, valid, plain)
		require.Zero(t, want.Cmp(got), "%s became %s", text, plain)
		again, ok := Decimal(plain)
		require.True(t, ok)
		require.Equal(t, plain, again, "the plain form is its own plain form")
		require.NotContains(t, plain, "e")
	})
}
