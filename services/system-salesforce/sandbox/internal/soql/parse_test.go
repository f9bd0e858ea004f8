package soql

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestParseUnderstands(t *testing.T) {
	t.Parallel()
	q, err := Parse(`select Id, Account.Owner.Name FROM Contact c WHERE (Name LIKE 'O\'Ne\_l%' OR Email = null) AND CreatedDate >= 2026-01-01T00:00:00.000+0000 AND Id NOT IN ('a','b') ORDER BY LastName DESC NULLS LAST, Id LIMIT 10 OFFSET 5`)
	require.NoError(t, err)
	require.Equal(t, "Contact", q.From)
	require.Equal(t, "c", q.Alias)
	require.Equal(t, []string{"Account", "Owner", "Name"}, q.Items[1].Path.Names)
	require.Equal(t, 10, q.Limit)
	require.Equal(t, 5, q.Offset)
	require.True(t, q.OrderBy[0].Desc)
	require.True(t, q.OrderBy[0].NullsLast)
	and := q.Where.(And)
	require.Len(t, and, 3)
	require.Equal(t, `O'Ne\_l%`, and[0].(Or)[0].(Compare).Values[0].Text)
	require.Equal(t, DateTime, and[1].(Compare).Values[0].Kind)
	require.Equal(t, "NOT IN", and[2].(Compare).Op)
}

func TestParseUnderstandsSubqueriesAndGroups(t *testing.T) {
	t.Parallel()
	q, err := Parse("SELECT Name, (SELECT Id FROM a.Contacts WHERE Email != null LIMIT 3) FROM Account a, a.Parent p WHERE Id IN (SELECT AccountId FROM Opportunity) AND Colours__c INCLUDES ('red;blue', 'green')")
	require.NoError(t, err)
	require.Equal(t, "Contacts", q.Items[1].Sub.From)
	require.Equal(t, []string{"a"}, q.Items[1].Sub.Outer)
	require.Equal(t, 3, q.Items[1].Sub.Limit)
	require.Equal(t, "p", q.Joins[0].Alias)
	require.Equal(t, "Opportunity", q.Where.(And)[0].(Compare).Sub.From)
	require.Len(t, q.Where.(And)[1].(Compare).Values, 2)

	q, err = Parse("SELECT Industry i, count_distinct(OwnerId), MAX(CreatedDate) newest FROM Account GROUP BY Industry HAVING COUNT(Id) > 1 ORDER BY SUM(AnnualRevenue) DESC LIMIT 5")
	require.NoError(t, err)
	require.Equal(t, "i", q.Items[0].Alias)
	require.Equal(t, "COUNT_DISTINCT", q.Items[1].Func)
	require.Equal(t, "newest", q.Items[2].Alias)
	require.Equal(t, "COUNT", q.Having.(Compare).Func)
	require.Equal(t, "SUM", q.OrderBy[0].Func)
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"", "SELECT", "SELECT FROM Account", "SELECT Id", "SELECT Id, FROM Account", "SELECT Id FROM Account WHERE",
		"SELECT Id FROM Account WHERE Name = 'open", "SELECT Id FROM Account /* comment */", "SELECT Id FROM Account WHERE A = 1 AND B = 2 OR C = 3",
		"SELECT Id FROM Account LIMIT -1", "SELECT Id FROM Account LIMIT x", "SELECT COUNT(), Id FROM Account", "SELECT Id, COUNT() FROM Account", "SELECT Id FROM Account WHERE Name = bare",
		"SELECT Id FROM Account WHERE Id IN ()", "SELECT Id FROM Account WHERE D = 2026-1-1", `SELECT Id FROM Account WHERE N = '\q'`, "SELECT Id FROM Account ORDER BY",
		"SELECT Id FROM Account; DELETE", "SELECT Id FROM Account GROUP", "SELECT Id FROM Account GROUP BY", "SELECT Id FROM Account GROUP BY ROLLUP(Name", "SELECT Id FROM Account GROUP BY CUBE(Name), Type", "SELECT Id FROM Account GROUP BY SUM(Name)", "SELECT Id FROM Account GROUP BY toLabel(Name)", "SELECT SUM() FROM Account",
		"SELECT (SELECT Id FROM Contacts FROM Account", "SELECT () FROM Account", "SELECT Id FROM Account.Contacts", "SELECT Id FROM Account WHERE Id IN (SELECT)", "SELECT DISTANCE(a, b) FROM Case", "SELECT convertTimezone(a) FROM Case", "SELECT CALENDAR_YEAR(MIN(a)) FROM Case", "SELECT toLabel(FORMAT(a)) FROM Case",
		"SELECT TYPEOF Owner WHEN User THEN Id FROM Case", "SELECT TYPEOF Owner ELSE Id END FROM Case", "SELECT TYPEOF Owner WHEN User THEN COUNT(Id) END FROM Case", "SELECT TYPEOF Owner WHEN User THEN (SELECT Id FROM Cases) END FROM Case", "SELECT Id FROM Account ALL ROWS", "SELECT Id FROM Account LIMIT 5 ALL ROWS", "SELECT Id FROM Account USING SCOPE", "SELECT Id FROM Account USING mine", "SELECT Id FROM Account WHERE A = 1 USING SCOPE mine", "SELECT Id FROM Account USING SCOPE WHERE A = 1",
		"SELECT Id FROM Account WITH SECURITY_ENFORCED", "SELECT Id FROM Account WHERE A = 1 WITH USER_MODE", "SELECT Title FROM Article WITH DATA CATEGORY Geography__c AT usa__c", "SELECT Id FROM Account WITH x", "SELECT Id FROM Account UPDATE TRACKING", "SELECT Id FROM Account WHERE A INCLUDES 'x'", "SELECT Id FROM Account a, b", "SELECT Id FROM Account a, a.Parent", "SELECT FIELDS(SOME) FROM Account",
		"SELECT Id FROM Account WHERE D = LAST_FISCAL_MONTH", "SELECT Id FROM Account WHERE D = FISCAL_QUARTER", "SELECT Id FROM Account WHERE D = LAST_N_DAYS", "SELECT Id FROM Account WHERE D = TODAY:3",
		"SELECT Id FROM Account WHERE N = '" + strings.Repeat("x", 4001) + "'", "SELECT Id FROM Account WHERE N = '" + strings.Repeat("x", 100_000) + "'",
		strings.Repeat("SELECT (", 300),
	} {
		t.Run(text[:min(len(text), 60)], func(t *testing.T) {
			t.Parallel()
			_, err := Parse(text)
			var syntax *SyntaxError
			require.ErrorAs(t, err, &syntax)
		})
	}
}

func TestLengthsAreCountedInCharacters(t *testing.T) {
	t.Parallel()
	_, err := Parse("SELECT Id FROM Account WHERE N = '" + strings.Repeat("ü", 4000) + "'")
	require.NoError(t, err)
	var list strings.Builder
	for range 30 {
		list.WriteString("'" + strings.Repeat("ü", 3000) + "',")
	}
	_, err = Parse("SELECT Id FROM Account WHERE N IN (" + list.String() + "'x')")
	require.NoError(t, err, "90,000 characters are 180,000 bytes")
	_, err = Parse("SELECT Id FROM Account" + strings.Repeat(" ", 100_000))
	require.ErrorContains(t, err, "100000")
}

func TestDateLiterals(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 5, 14, 15, 4, 5, 0, time.UTC) // a Thursday
	day := func(m time.Month, d int) time.Time { return time.Date(2026, m, d, 0, 0, 0, 0, time.UTC) }
	year := func(y int) time.Time { return time.Date(y, 1, 1, 0, 0, 0, 0, time.UTC) }
	for word, want := range map[string][2]time.Time{
		"TODAY": {day(5, 14), day(5, 15)}, "YESTERDAY": {day(5, 13), day(5, 14)}, "TOMORROW": {day(5, 15), day(5, 16)},
		"LAST_WEEK": {day(5, 3), day(5, 10)}, "THIS_WEEK": {day(5, 10), day(5, 17)}, "NEXT_WEEK": {day(5, 17), day(5, 24)},
		"LAST_MONTH": {day(4, 1), day(5, 1)}, "THIS_MONTH": {day(5, 1), day(6, 1)}, "NEXT_MONTH": {day(6, 1), day(7, 1)},
		"LAST_90_DAYS": {day(2, 13), day(5, 15)}, "NEXT_90_DAYS": {day(5, 15), day(8, 13)},
		"LAST_N_DAYS:3": {day(5, 11), day(5, 15)}, "NEXT_N_DAYS:3": {day(5, 15), day(5, 18)}, "N_DAYS_AGO:4": {day(5, 10), day(5, 11)},
		"LAST_N_WEEKS:2": {day(4, 26), day(5, 10)}, "NEXT_N_WEEKS:2": {day(5, 17), day(5, 31)}, "N_WEEKS_AGO:1": {day(5, 3), day(5, 10)},
		"LAST_N_MONTHS:2": {day(3, 1), day(5, 1)}, "NEXT_N_MONTHS:2": {day(6, 1), day(8, 1)}, "N_MONTHS_AGO:2": {day(3, 1), day(4, 1)},
		"LAST_QUARTER": {day(1, 1), day(4, 1)}, "THIS_QUARTER": {day(4, 1), day(7, 1)}, "NEXT_QUARTER": {day(7, 1), day(10, 1)},
		"LAST_N_QUARTERS:1": {day(1, 1), day(4, 1)}, "NEXT_N_QUARTERS:2": {day(7, 1), year(2027)}, "N_QUARTERS_AGO:1": {day(1, 1), day(4, 1)},
		"LAST_YEAR": {year(2025), year(2026)}, "THIS_YEAR": {year(2026), year(2027)}, "NEXT_YEAR": {year(2027), year(2028)},
		"LAST_N_YEARS:2": {year(2024), year(2026)}, "NEXT_N_YEARS:2": {year(2027), year(2029)}, "N_YEARS_AGO:3": {year(2023), year(2024)},
		"LAST_FISCAL_QUARTER": {day(1, 1), day(4, 1)}, "THIS_FISCAL_QUARTER": {day(4, 1), day(7, 1)}, "NEXT_FISCAL_QUARTER": {day(7, 1), day(10, 1)},
		"LAST_N_FISCAL_QUARTERS:1": {day(1, 1), day(4, 1)}, "NEXT_N_FISCAL_QUARTERS:1": {day(7, 1), day(10, 1)}, "N_FISCAL_QUARTERS_AGO:1": {day(1, 1), day(4, 1)},
		"LAST_FISCAL_YEAR": {year(2025), year(2026)}, "THIS_FISCAL_YEAR": {year(2026), year(2027)}, "NEXT_FISCAL_YEAR": {year(2027), year(2028)},
		"LAST_N_FISCAL_YEARS:1": {year(2025), year(2026)}, "NEXT_N_FISCAL_YEARS:1": {year(2027), year(2028)}, "N_FISCAL_YEARS_AGO:2": {year(2024), year(2025)},
	} {
		q, err := Parse("SELECT Id FROM Account WHERE CreatedDate = " + word)
		require.NoError(t, err, word)
		from, to := q.Where.(Compare).Values[0].Range(now)
		require.Equal(t, want, [2]time.Time{from, to}, word)
	}
}

// What is read, written out and read again has to be the same.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		"SELECT Id FROM Account", "SELECT Id FROM Account WHERE SystemModstamp > 2026-01-01T00:00:00Z OR (SystemModstamp = 2026-01-01T00:00:00Z AND Id > '001') ORDER BY SystemModstamp, Id LIMIT 2000",
		`SELECT FIELDS(ALL) FROM X WHERE NOT (a LIKE '%\%' AND b IN (1, -2.5e3, null, true)) LIMIT 200`, "SELECT COUNT() FROM A WHERE d = LAST_N_DAYS:3", "((((", "'", `'\u00e`,
		"SELECT Name, (SELECT Id, (SELECT Id FROM Cases) FROM a.Contacts ORDER BY Name DESC NULLS LAST LIMIT 3 OFFSET 1) FROM Account a, a.Parent p WHERE p.Name = 'x'",
		"SELECT Id FROM Account WHERE Id IN (SELECT AccountId FROM Contact WHERE x = 1) AND Id NOT IN (SELECT AccountId FROM Case) FOR VIEW",
		"SELECT Industry i, COUNT_DISTINCT(OwnerId), MAX(CreatedDate) m FROM Account GROUP BY Industry, Account.Type HAVING COUNT(Id) > 1 OR NOT SUM(a.b) <= 2.5 ORDER BY AVG(AnnualRevenue) DESC",
		"SELECT Id FROM A WHERE m INCLUDES ('a;b', 'c') AND n EXCLUDES ('d') AND q = N_FISCAL_QUARTERS_AGO:2", "SELECT TYPEOF Owner WHEN User THEN Id FROM Case", "SELECT TYPEOF Owner ELSE Id END FROM Case", "SELECT TYPEOF Owner WHEN User THEN COUNT(Id) END FROM Case", "SELECT TYPEOF Owner WHEN User THEN (SELECT Id FROM Cases) END FROM Case", "SELECT Id FROM A ALL ROWS",
		`SELECT Id FROM A WHERE b = 'line\nbreak\\ \'q\' \"d\" \t\b\f é'`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		q, err := Parse(text)
		if (q == nil) == (err == nil) {
			t.Fatalf("query %v and error %v together", q, err)
		}
		var se *SyntaxError
		if err != nil && (!errors.As(err, &se) || se.Pos < 0 || se.Pos > len(text)) {
			t.Fatalf("error %v is not at a place in the text", err)
		}
		if err != nil {
			return
		}
		if q.From == "" || !q.Count && len(q.Items) == 0 {
			t.Fatalf("accepted a statement without object or fields: %q", text)
		}
		once := q.text()
		again, err := Parse(once)
		if err != nil {
			if len(once) > maxText || strings.Contains(err.Error(), "nested too deeply") {
				return // written out, it is longer and has more brackets
			}
			t.Fatalf("%q became %q, which is refused: %v", text, once, err)
		}
		if twice := again.text(); once != twice {
			t.Fatalf("%q became %q and then %q", text, once, twice)
		}
	})
}

func TestParseUnderstandsFunctionsAndTypes(t *testing.T) {
	t.Parallel()
	q, err := Parse("SELECT toLabel(Status) s, FORMAT(MIN(Amount)), GROUPING(Type) FROM Case USING SCOPE Mine WHERE DAY_ONLY(convertTimezone(CreatedDate)) = TODAY GROUP BY CUBE(Type, calendar_year(CreatedDate))")
	require.NoError(t, err)
	require.Equal(t, "TOLABEL", q.Items[0].Func)
	require.Equal(t, [2]string{"FORMAT", "MIN"}, [2]string{q.Items[1].Func, q.Items[1].Inner})
	require.Equal(t, "mine", q.Scope)
	require.Equal(t, "CONVERTTIMEZONE", q.Where.(Compare).Inner)
	require.Equal(t, "CUBE", q.Totals)
	require.Equal(t, "CALENDAR_YEAR", q.GroupBy[1].Func)
	q, err = Parse("SELECT Id, TYPEOF c.What WHEN Account THEN Phone, Owner.Name WHEN Lead THEN Id ELSE Name END, Subject FROM Task c")
	require.NoError(t, err)
	require.Len(t, q.Items, 3)
	require.Equal(t, []string{"c", "What"}, q.Items[1].Typeof.Path.Names)
	require.Equal(t, []string{"Owner", "Name"}, q.Items[1].Typeof.Whens[0].Fields[1].Names)
	require.Len(t, q.Items[1].Typeof.Else, 1)
}
