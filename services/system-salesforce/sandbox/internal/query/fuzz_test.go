package query

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/schema"
	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/store"
)

// Whatever is accepted runs, and its answer is JSON.
func FuzzCompile(f *testing.F) {
	s, err := schema.Load([]byte(extra))
	if err != nil {
		f.Fatal(err)
	}
	now := start
	st := store.New(store.Options{Schema: s, Now: func() time.Time { now = now.Add(time.Second); return now }})
	w := writer{rand.New(rand.NewPCG(1, 2))}
	var parents []string
	for i := range 20 {
		_ = st.Write(store.Meta{User: "005000000000001AAA"}, func(tx *store.Tx) error {
			pick := func(string) any {
				if len(parents) == 0 {
					return nil
				}
				return parents[w.IntN(len(parents))]
			}
			id, refusal := tx.Create(s.Object("Account"), values(w.Rand, "Account", pick))
			if refusal == nil {
				parents = append(parents, id)
			}
			_, _ = tx.Create(s.Object("Contact"), map[string]any{"LastName": fmt.Sprint("c", i), "AccountId": pick("")})
			return nil
		})
	}
	for range 60 {
		text, _ := w.statement()
		f.Add(text)
		f.Add(w.aggregate())
	}
	for _, seed := range []string{
		"SELECT COUNT() FROM Contact WHERE Account.Parent.Name = null", "SELECT FIELDS(ALL) FROM Account LIMIT 5", "SELECT Id, BillingAddress, Owner.Name FROM Account WHERE CreatedDate IN (TODAY, null)",
		"SELECT Id FROM Account a, a.Parent p, p.Parent q WHERE q.Name > ''", "SELECT COUNT_DISTINCT(Account.OwnerId) FROM Contact", "SELECT Id FROM Opportunity WHERE CloseDate < NEXT_N_FISCAL_QUARTERS:9999",
		"SELECT CALENDAR_YEAR(convertTimezone(CreatedDate)) y, Industry, GROUPING(Industry), FORMAT(MAX(AnnualRevenue)) FROM Account GROUP BY CUBE(CALENDAR_YEAR(convertTimezone(CreatedDate)), Industry) HAVING GROUPING(Industry) = 1 ORDER BY GROUPING(Industry)",
		"SELECT toLabel(Industry) l, FORMAT(CreatedDate), toLabel(Parent.Industry) FROM Account USING SCOPE mine WHERE toLabel(Industry) LIKE 'r%' AND WEEK_IN_YEAR(CreatedDate) > 3 FOR VIEW",
		"SELECT TYPEOF Owner WHEN User THEN Name, CreatedBy.Name WHEN Group THEN Id ELSE Name, Type END, Id FROM Case WHERE Owner.Type = 'User' ORDER BY Owner.Type",
		"SELECT Owner.Type, COUNT(Id) FROM Case GROUP BY ROLLUP(Owner.Type, DAY_ONLY(CreatedDate))", "SELECT Title, COUNT_DISTINCT(AccountId) FROM Contact WHERE Id = null GROUP BY ROLLUP(Title)",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		plan, fail := Compile(s, text, start)
		if fail != nil {
			if fail.Code == "" || fail.Message == "" {
				t.Fatalf("a refusal without a reason: %q", text)
			}
			return
		}
		_ = plan.BulkRefusal()
		_ = plan.Describe()
		_ = st.Read(func(v store.View) error {
			for _, withDeleted := range []bool{false, true} {
				out := []byte("[0")
				if plan.Aggregated() {
					for _, g := range plan.Groups(v, withDeleted) {
						out = plan.AppendGroup(append(out, ','), g)
					}
				} else {
					w := NewWriter(v, withDeleted, "62.0", 0, nil)
					for _, r := range plan.Run(v, withDeleted) {
						out = w.Append(append(out, ','), plan, r)
					}
				}
				if out = append(out, ']'); !json.Valid(out) {
					t.Fatalf("the answer to %q is not JSON: %s", text, out)
				}
			}
			return nil
		})
	})
}
