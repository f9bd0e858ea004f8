package mapping

import (
	"testing"

	salesforcev1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/salesforce/v1"
)

// BenchmarkWriteRecord translates and checks one record as a stream does it.
func BenchmarkWriteRecord(b *testing.B) {
	m, err := Load(nil)
	if err != nil {
		b.Fatal(err)
	}
	o := m.Account
	fields := make([]Described, 0, 60)
	for _, c := range o.Columns() {
		fields = append(fields, Described{Name: c, Type: "string", Length: 255, Writable: true})
	}
	s := NewSchema(fields)
	r := &salesforcev1.Record{ExternalId: "A-1", Fields: map[string]*salesforcev1.FieldValue{
		"name": text("Acme GmbH"), "phone": text("+49 30 1"), "address.city": text("Berlin"), "website": text("https://acme.example"),
	}}
	columns, problem := o.ColumnsOf([]string{"name", "phone", "address.city", "website"})
	if problem != nil {
		b.Fatal(problem)
	}
	b.ReportAllocs()
	for b.Loop() {
		row, problem := o.WriteRecord(r, nil, s)
		if problem == nil {
			problem = o.CheckRow(row, s)
		}
		if problem != nil {
			b.Fatal(problem)
		}
		for _, c := range columns {
			if _, ok := In(row, c); !ok {
				b.Fatal(c)
			}
		}
	}
}

// BenchmarkRead reads one account as a list does it.
func BenchmarkRead(b *testing.B) {
	m, err := Load(nil)
	if err != nil {
		b.Fatal(err)
	}
	row := map[string]any{
		"Id": "001Hs00004abcdEIAQ", "CreatedDate": "2026-01-02T03:04:05.000+0000", "SystemModstamp": "2026-05-01T12:00:00.000+0000",
		"Name": "Acme GmbH", "Phone": "+49 30 1", "BillingCity": "Berlin", "BillingCountry": "DE", "Selfsame_Id__c": "A-1",
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := m.ReadAccount(row, ""); err != nil {
			b.Fatal(err)
		}
	}
}
