package query

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/schema"
	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/store"
)

// The big organization of the benchmarks.
const (
	bigAccounts = 100_000
	bigContacts = 20_000
)

type bigOrg struct {
	schema *schema.Schema
	store  *store.Store
	ids    []string
}

// big is built once: 1,000 accounts a second, then contacts of every fifth.
var big = sync.OnceValues(func() (*bigOrg, error) {
	s, err := schema.Load()
	if err != nil {
		return nil, err
	}
	now := start
	o := &bigOrg{schema: s, store: store.New(store.Options{Schema: s, Now: func() time.Time { return now }})}
	create := func(object string, n int, in func(i int) map[string]any) error {
		for from := 0; from < n; from += 1000 {
			now = now.Add(time.Second)
			err := o.store.Write(store.Meta{User: "005000000000001AAA"}, func(tx *store.Tx) error {
				for i := from; i < min(from+1000, n); i++ {
					id, refusal := tx.Create(s.Object(object), in(i))
					if refusal != nil {
						return refusal
					}
					if object == "Account" {
						o.ids = append(o.ids, id)
					}
				}
				return nil
			})
			if err != nil {
				return err
			}
		}
		return nil
	}
	sectors := []any{"Retail", "Energy", "Banking", nil}
	err = create("Account", bigAccounts, func(i int) map[string]any {
		return map[string]any{"Name": fmt.Sprint("Customer ", i), "Selfsame_Id__c": fmt.Sprint("S", i), "Industry": sectors[i%4], "NumberOfEmployees": fmt.Sprint(i % 100), "BillingCity": "Berlin"}
	})
	if err != nil {
		return nil, err
	}
	err = create("Contact", bigContacts, func(i int) map[string]any {
		return map[string]any{"LastName": fmt.Sprint("Person ", i), "AccountId": o.ids[i*5], "Title": fmt.Sprint("T", i%200)}
	})
	return o, err
})

// The ways to find rows among 100,000, written out as the JSON of the answer.
func BenchmarkAccessPaths(b *testing.B) {
	o, err := big()
	require.NoError(b, err)
	middle := o.ids[bigAccounts/2]
	second := start.Add(51 * time.Second).Format("2006-01-02T15:04:05.000Z")
	list := ""
	for i := range 200 {
		list += fmt.Sprintf("'s%d',", i*400)
	}
	for _, tc := range []struct {
		name, text string
		rows       int
	}{
		{"by id", "SELECT Id, Name FROM Account WHERE Id = '" + middle + "'", 1},
		{"by external id", "SELECT Id, Name FROM Account WHERE Selfsame_Id__c = 'S5'", 1},
		{"by 200 external ids", "SELECT Id, Name FROM Account WHERE Selfsame_Id__c IN (" + list + "'x')", 200},
		{"by external id or id", "SELECT Id FROM Account WHERE Selfsame_Id__c = 'S5' OR Id = '" + middle + "'", 2},
		{"2000 by modification time and id", fmt.Sprintf("SELECT Id, Name FROM Account WHERE SystemModstamp > %s OR (SystemModstamp = %s AND Id > '%s') ORDER BY SystemModstamp, Id LIMIT 2000", second, second, middle), 2000},
		{"2000 by id", "SELECT Id, Name FROM Account WHERE Id > '" + middle + "' ORDER BY Id LIMIT 2000", 2000},
		{"by semi-join", "SELECT Id, Name FROM Account WHERE Id IN (SELECT AccountId FROM Contact WHERE Title = 'T7')", 100},
		{"200 with children", "SELECT Id, (SELECT LastName FROM Contacts) FROM Account ORDER BY Id LIMIT 200", 200},
		{"by parent", "SELECT Id FROM Contact WHERE Account.Selfsame_Id__c = 'S500'", 1},
		{"by text in everything", "SELECT Id FROM Account WHERE Name LIKE '%er 99999'", 1},
		{"first 10 by name", "SELECT Id FROM Account ORDER BY Name LIMIT 10", 10},
		{"grouped", "SELECT Industry, COUNT(Id), SUM(NumberOfEmployees) FROM Account GROUP BY Industry", 4},
	} {
		b.Run(tc.name, func(b *testing.B) {
			b.ReportAllocs()
			var out []byte
			for b.Loop() {
				plan, fail := Compile(o.schema, tc.text, start)
				require.Nil(b, fail)
				rows := 0
				_ = o.store.Read(func(v store.View) error {
					out = out[:0]
					if plan.Aggregated() {
						for _, g := range plan.Groups(v, false) {
							out = plan.AppendGroup(out, g)
							rows++
						}
						return nil
					}
					w := NewWriter(v, false, "62.0", 0, nil)
					for _, r := range plan.Run(v, false) {
						out = w.Append(out, plan, r)
						rows++
					}
					return nil
				})
				require.Equal(b, tc.rows, rows)
			}
		})
	}
}
