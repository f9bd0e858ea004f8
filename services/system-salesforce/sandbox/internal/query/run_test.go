package query

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/schema"
	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/soql"
	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/store"
)

var start = time.Date(2026, 5, 14, 10, 0, 0, 0, time.UTC)

const extra = `{"objects":[{"name":"Account","fields":[{"name":"Colours__c","type":"multipicklist","length":255,"picklist":["red","green","blue"]}]}]}`

// random fills a store with accounts, contacts, opportunities and cases over a
// few seconds, changes some of them and deletes others.
func random(t *testing.T, rng *rand.Rand) (*store.Store, *schema.Schema) {
	t.Helper()
	s, err := schema.Load([]byte(extra))
	require.NoError(t, err)
	now := start
	st := store.New(store.Options{Schema: s, Now: func() time.Time { return now }})
	ids := map[string][]string{}
	pick := func(object string) any {
		if len(ids[object]) == 0 || rng.IntN(5) == 0 {
			return nil
		}
		return ids[object][rng.IntN(len(ids[object]))]
	}
	for range 400 {
		now = now.Add(time.Duration(rng.IntN(200)) * time.Millisecond)
		require.NoError(t, st.Write(store.Meta{User: "005000000000001AAA"}, func(tx *store.Tx) error {
			object := []string{"Account", "Account", "Contact", "Contact", "Opportunity", "Case"}[rng.IntN(6)]
			o := s.Object(object)
			have := ids[object]
			switch {
			case len(have) > 10 && rng.IntN(4) == 0:
				_ = tx.Update(o, have[rng.IntN(len(have))], values(rng, object, pick))
			case len(have) > 10 && rng.IntN(9) == 0:
				_ = tx.Delete(o, have[rng.IntN(len(have))])
			default:
				in := values(rng, object, pick)
				in["Selfsame_Id__c"] = fmt.Sprint(len(have))
				if id, err := tx.Create(o, in); err == nil {
					ids[object] = append(have, id)
				}
			}
			return nil
		}))
	}
	return st, s
}

// values are fields for a record; some refer to deleted records and are then
// refused, which is fine.
func values(rng *rand.Rand, object string, pick func(string) any) map[string]any {
	text := func(prefix string, n int) any {
		if rng.IntN(6) == 0 {
			return nil
		}
		return prefix + fmt.Sprint(rng.IntN(n))
	}
	day := start.AddDate(0, 0, rng.IntN(200)-100).Format(time.DateOnly)
	switch object {
	case "Account":
		colours := []any{"red", "blue;red", "green", "red;green;blue", "pink", nil}
		return map[string]any{
			"Name": []string{"a", "A"}[rng.IntN(2)] + fmt.Sprint(rng.IntN(30)), "ERP_Customer_Number__c": text([]string{"n", "N"}[rng.IntN(2)], 9), "ParentId": pick("Account"),
			"AnnualRevenue": fmt.Sprint(rng.IntN(50)), "NumberOfEmployees": fmt.Sprint(rng.IntN(9)), "Industry": []any{"Retail", "Energy", "other things", nil}[rng.IntN(4)], "Colours__c": colours[rng.IntN(len(colours))],
		}
	case "Contact":
		return map[string]any{"LastName": fmt.Sprint("c", rng.IntN(40)), "AccountId": pick("Account"), "Title": text("t", 4)}
	case "Opportunity":
		return map[string]any{"Name": fmt.Sprint("o", rng.IntN(40)), "AccountId": pick("Account"), "StageName": []string{"Prospecting", "Closed Won"}[rng.IntN(2)], "CloseDate": day, "Amount": fmt.Sprint(rng.IntN(400), ".25")}
	}
	return map[string]any{"Subject": text("s", 20), "ContactId": pick("Contact"), "AccountId": pick("Account"), "Status": []string{"New", "Closed", "Working"}[rng.IntN(3)]}
}

// writer makes statements that are right.
type writer struct{ *rand.Rand }

func (w writer) of(list ...string) string { return list[w.IntN(len(list))] }

func (w writer) instant() string {
	return start.Add(time.Duration(w.IntN(70)) * time.Second).Format("2006-01-02T15:04:05.000Z")
}

func (w writer) accountID() string { return fmt.Sprintf("001bm000000%04d", w.IntN(100)) }

// term is one comparison of an account.
func (w writer) term() string {
	x, op := w.instant(), w.of("=", "!=", "<", "<=", ">", ">=")
	n := fmt.Sprint(w.IntN(9))
	return w.of(
		"SystemModstamp "+op+" "+x, "LastModifiedDate "+op+" "+x, "CreatedDate "+op+" "+x, "CreatedDate = TODAY", "SystemModstamp > LAST_N_DAYS:"+n,
		"Name LIKE 'a"+n+"%'", `Name LIKE '_\_%'`, "Name "+op+" 'A1"+n+"'", "Name IN ('a1', 'A2"+n+"', null)", "Name NOT IN ('a1', 'A2"+n+"')",
		"ERP_Customer_Number__c = 'N"+n+"'", "ERP_Customer_Number__c IN ('n1', 'N"+n+"')", "ERP_Customer_Number__c = null", "ERP_Customer_Number__c != 'n3'",
		"Selfsame_Id__c IN ('1', '5"+n+"', '999')", "Selfsame_Id__c = '"+n+"'", "AnnualRevenue "+op+" "+n+".5", "NumberOfEmployees "+op+" "+n, "NumberOfEmployees IN (1, 2, "+n+")",
		"Industry "+op+" 'retail'", "Industry = null", "IsDeleted = false", "Parent.Name LIKE 'A%'", "Parent.Parent.Industry != 'Energy'", "ParentId != null",
		"Colours__c INCLUDES ('red;blue', 'green')", "Colours__c EXCLUDES ('red', 'pink')", "Colours__c = null", "Colours__c INCLUDES ('"+w.of("red", "RED;green", "mauve")+"')",
		"ParentId IN ('"+w.accountID()+"', '"+w.accountID()+"')", "ParentId = '"+w.accountID()+"'", "Id "+op+" '"+w.accountID()+"'", "Id IN ('"+w.accountID()+"', '"+w.accountID()+"')",
	)
}

func (w writer) expr(depth int) string {
	if depth == 0 || w.IntN(3) == 0 {
		return w.term()
	}
	by := w.of(" AND ", " OR ")
	parts := make([]string, 2+w.IntN(2))
	for i := range parts {
		parts[i] = "(" + w.expr(depth-1) + ")"
	}
	return w.of("", "", "", "NOT ") + "(" + strings.Join(parts, by) + ")"
}

func (w writer) where() string {
	if w.IntN(6) == 0 {
		return ""
	}
	terms := []string{}
	semi := []string{
		"Id IN (SELECT AccountId FROM Contact WHERE Title = 't1')", "Id NOT IN (SELECT AccountId FROM Opportunity WHERE Amount > 200.25)",
		"ParentId NOT IN (SELECT AccountId FROM Contact)", "ParentId IN (SELECT AccountId FROM Case WHERE Status = 'Closed')", "Id IN (SELECT AccountId FROM Opportunity)",
	}
	for range w.IntN(3) {
		terms = append(terms, semi[w.IntN(len(semi))])
	}
	if len(terms) == 0 || w.IntN(2) == 0 {
		terms = append(terms, "("+w.expr(2)+")")
	}
	return " WHERE " + strings.Join(terms, " AND ")
}

func (w writer) order() string {
	terms := []string{"SystemModstamp", "LastModifiedDate", "Id", "Name", "Industry", "AnnualRevenue", "Parent.Name", "CreatedDate", "NumberOfEmployees"}
	out := []string{}
	for range w.IntN(3) {
		out = append(out, terms[w.IntN(len(terms))]+w.of("", "", " DESC", " ASC NULLS LAST", " DESC NULLS LAST"))
	}
	if w.IntN(4) == 0 {
		out = []string{"SystemModstamp", "Id"}
	}
	if len(out) == 0 {
		return ""
	}
	return " ORDER BY " + strings.Join(out, ", ")
}

func (w writer) statement() (text string, ordered bool) {
	kids := w.of("", "", ", (SELECT Id, Title FROM Contacts ORDER BY Title DESC NULLS LAST LIMIT 2)", ", (SELECT Id FROM Contacts WHERE Title != 't1'), (SELECT Name, Amount FROM Opportunities ORDER BY Amount)",
		", (SELECT Id, (SELECT Subject FROM Cases WHERE Status != 'Closed') FROM Contacts), (SELECT Id FROM ChildAccounts)")
	text = "SELECT Id, Name, Industry" + kids + " FROM Account a" + w.where()
	order := w.order()
	limit := ""
	if order != "" && w.IntN(2) == 0 {
		limit = fmt.Sprintf(" LIMIT %d", w.IntN(12))
		if w.IntN(2) == 0 {
			limit += fmt.Sprintf(" OFFSET %d", w.IntN(9))
		}
	}
	return text + order + limit, order != ""
}

func (w writer) aggregate() string {
	keys := []string{"Industry", "Name", "ERP_Customer_Number__c", "NumberOfEmployees", "Parent.Industry", "OwnerId", "IsDeleted"}
	fns := []string{"COUNT(Id)", "COUNT(Industry)", "COUNT_DISTINCT(Name)", "SUM(AnnualRevenue)", "AVG(AnnualRevenue)", "MIN(Name)", "MAX(Industry)", "MIN(Industry)", "MAX(CreatedDate)", "SUM(NumberOfEmployees)", "AVG(NumberOfEmployees)", "MIN(AnnualRevenue)"}
	var by, sel []string
	for _, i := range w.Perm(len(keys))[:w.IntN(3)] {
		twin := map[string]string{"Industry": "Parent.Industry", "Parent.Industry": "Industry"}[keys[i]]
		if !slices.Contains(by, twin) { // both would have the same name
			by = append(by, keys[i])
		}
	}
	sel = append(sel, by...)
	for _, i := range w.Perm(len(fns))[:1+w.IntN(3)] {
		sel = append(sel, fns[i]+w.of("", fmt.Sprint(" alias", i)))
	}
	text := "SELECT " + strings.Join(sel, ", ") + " FROM Account" + w.where()
	if len(by) == 0 {
		return text
	}
	text += " GROUP BY " + strings.Join(by, ", ")
	text += w.of("", "", " HAVING COUNT(Id) > 1", " HAVING SUM(AnnualRevenue) >= 30 OR (MIN(Name) LIKE 'a%' AND COUNT_DISTINCT(Industry) != 2)", " HAVING "+by[0]+" != null")
	text += w.of("", "", " ORDER BY COUNT(Id) DESC, "+by[0], " ORDER BY MAX(Industry) NULLS LAST, "+by[0]+" DESC", " ORDER BY "+by[0]+" DESC NULLS LAST LIMIT 3 OFFSET 1")
	return text
}

// Whatever the planner does, the answer is that of reading everything.
func TestAnswersAgreeWithReadingEverything(t *testing.T) {
	t.Parallel()
	for seed := range uint64(4) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			w := writer{rand.New(rand.NewPCG(seed, 1))}
			st, s := random(t, w.Rand)
			found := 0
			for range 70 {
				text, ordered := w.statement()
				found += compare(t, st, s, text, ordered, w.IntN(3) == 0)
				compareGroups(t, st, s, w.aggregate(), w.IntN(3) == 0)
			}
			require.Positive(t, found, "all answers were empty")
		})
	}
}

func compare(t *testing.T, st *store.Store, s *schema.Schema, text string, ordered, withDeleted bool) int {
	t.Helper()
	plan, fail := Compile(s, text, start)
	require.Nil(t, fail, text)
	q, err := soql.Parse(text)
	require.NoError(t, err)
	n := 0
	_ = st.Read(func(v store.View) error {
		want := newNaive(v, withDeleted).answer(q)
		var got []string
		out := NewWriter(v, withDeleted, "62.0", 0, nil)
		for _, r := range plan.Run(v, withDeleted) {
			got = append(got, string(out.Append(nil, plan, r)))
		}
		require.Equal(t, want, got, text)
		if !ordered { // with a limit, any of the matching rows will do
			few, fail := Compile(s, text+" LIMIT 7", start)
			require.Nil(t, fail, text)
			rows := few.Run(v, withDeleted)
			require.Len(t, rows, min(7, len(want)), text)
			for _, r := range rows {
				require.Contains(t, want, string(out.Append(nil, few, r)), text)
			}
		}
		n = len(want)
		return nil
	})
	return n
}

func compareGroups(t *testing.T, st *store.Store, s *schema.Schema, text string, withDeleted bool) {
	t.Helper()
	plan, fail := Compile(s, text, start)
	require.Nil(t, fail, text)
	q, err := soql.Parse(text)
	require.NoError(t, err)
	_ = st.Read(func(v store.View) error {
		want := newNaive(v, withDeleted).groups(q)
		var got []string
		for _, g := range plan.Groups(v, withDeleted) {
			got = append(got, string(plan.AppendGroup(nil, g)))
		}
		require.Equal(t, want, got, text)
		return nil
	})
}

func TestLike(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		text, pattern string
		want          bool
	}{
		{"", "", true},
		{"", "%", true},
		{"abc", "a%c", true},
		{"abc", "a_c", true},
		{"abc", "a_", false},
		{"a%c", `a\%c`, true},
		{"abc", `a\%c`, false},
		{"aaaaaaaaaaaaaaaaaaaaaaaaaaab", "%a%a%a%a%a%c", false},
		{"mississippi", "m%iss%pi", true},
		{"ü", "_", true},
		{`a\b`, `a\\_`, true},
		{`a\_`, `a\\\_`, true},
	} {
		require.Equal(t, tc.want, like([]rune(tc.text), pattern(tc.pattern)), "%q like %q", tc.text, tc.pattern)
	}
}
