package query

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/schema"
	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/store"
)

// The planner reads no more than the conditions force it to.
func TestPlannerSparesReading(t *testing.T) {
	t.Parallel()
	st, s := random(t, rand.New(rand.NewPCG(9, 9)))
	all := 0
	var newest, id string
	_ = st.Read(func(v store.View) error {
		for r := range v.All(s.Object("Account")) {
			all++
			id = r.ID
			newest = time.Unix(r.Modified, 0).UTC().Format("2006-01-02T15:04:05Z")
		}
		return nil
	})
	require.Greater(t, all, 80)
	for _, tc := range []struct {
		where string
		most  int
	}{
		{"WHERE Id = '" + id + "'", 1},
		{"WHERE Name LIKE 'a%' AND Id IN ('" + id + "', '001bm0000000001')", 2},
		{"WHERE Selfsame_Id__c = '7' AND ERP_Customer_Number__c != 'x'", 1},
		{"WHERE Selfsame_Id__c IN ('1', '2', '3')", 3},
		{"WHERE Selfsame_Id__c = '1' OR (Id = '" + id + "' AND Name != 'x')", 2},
		{"WHERE ERP_Customer_Number__c = 'n1' AND Selfsame_Id__c IN ('1', '2')", 2},
		{"WHERE ParentId = '001bm0000000001'", all / 4},
		{"WHERE Id IN (SELECT AccountId FROM Contact WHERE Selfsame_Id__c = '1')", 1},
		{"WHERE SystemModstamp >= " + newest + " ORDER BY SystemModstamp, Id", all / 4},
		{"WHERE Id > '" + id + "' ORDER BY Id LIMIT 5", 1},
		{"WHERE Selfsame_Id__c = '1' OR Name = 'a1'", all},
		{"WHERE Name = 'a1'", all},
		{"", all},
	} {
		plan, fail := Compile(s, "SELECT Id FROM Account "+tc.where, start)
		require.Nil(t, fail, tc.where)
		_ = st.Read(func(v store.View) error {
			want := math.MaxInt
			if plan.bounded {
				want = plan.limit
			}
			rows, _ := plan.source(newRun(v, false), want)
			read := 0
			for range rows {
				read++
			}
			require.LessOrEqual(t, read, tc.most, tc.where)
			return nil
		})
	}
}

func TestBulkQueriesAllowLess(t *testing.T) {
	t.Parallel()
	s, err := schema.Load()
	require.NoError(t, err)
	for text, want := range map[string]string{
		"SELECT Id, Account.Owner.Name FROM Contact WHERE AccountId IN (SELECT AccountId FROM Case) ORDER BY Name LIMIT 5": "",
		"SELECT Id, BillingCity FROM Account":                             "",
		"SELECT COUNT() FROM Account":                                     "API_ERROR: Aggregate functions not supported in Bulk Query",
		"SELECT MAX(Name) FROM Account":                                   "API_ERROR: Aggregate functions not supported in Bulk Query",
		"SELECT Industry FROM Account GROUP BY Industry":                  "API_ERROR: GROUP BY not supported in Bulk Query",
		"SELECT Id FROM Account OFFSET 5":                                 "API_ERROR: OFFSET not supported in Bulk Query",
		"SELECT Id, (SELECT Id FROM Contacts) FROM Account":               "API_ERROR: Aggregate Relationships not supported in Bulk Query",
		"SELECT Id, BillingAddress FROM Account":                          "API_ERROR: Selecting compound data not supported in Bulk Query",
		"SELECT Account.ShippingAddress FROM Contact":                     "API_ERROR: Selecting compound data not supported in Bulk Query",
		"SELECT FIELDS(ALL) FROM Account LIMIT 200":                       "MALFORMED_QUERY: The SOQL FIELDS function is not supported with an unbounded set of fields in this API.",
		"SELECT FIELDS(CUSTOM) FROM Account WHERE Id = '001bm0000000001'": "MALFORMED_QUERY: The SOQL FIELDS function is not supported with an unbounded set of fields in this API.",
	} {
		plan, fail := Compile(s, text, start)
		require.Nil(t, fail, text)
		got := ""
		if refusal := plan.BulkRefusal(); refusal != nil {
			got = fmt.Sprint(refusal)
		}
		require.Equal(t, want, got, text)
	}
}

func TestColumnsFindTheirValues(t *testing.T) {
	t.Parallel()
	st, s := random(t, rand.New(rand.NewPCG(3, 3)))
	plan, fail := Compile(s, "SELECT Id, Name, Parent.Name, Parent.Parent.Industry FROM Account", start)
	require.Nil(t, fail)
	columns := plan.Columns()
	require.Equal(t, "Parent.Parent.Industry", columns[3].Path)
	link := s.Object("Account").Field("ParentId")
	_ = st.Read(func(v store.View) error {
		missing, found := 0, 0
		for _, r := range plan.Run(v, false) {
			parent, _ := r.Get(link).(string)
			require.Equal(t, r.Get(s.Object("Account").Field("Name")), columns[1].Value(v, r))
			if holder := v.Any(parent); holder == nil {
				missing++
				require.Nil(t, columns[2].Value(v, r))
				require.Nil(t, columns[3].Value(v, r))
			} else {
				found++
				require.Equal(t, holder.Get(s.Object("Account").Field("Name")), columns[2].Value(v, r))
			}
		}
		require.Positive(t, missing)
		require.Positive(t, found)
		return nil
	})
}
