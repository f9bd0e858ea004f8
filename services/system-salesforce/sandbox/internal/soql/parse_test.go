package soql

import (
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
	require.Equal(t, []string{"Account", "Owner", "Name"}, q.Fields[1].Names)
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

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"", "SELECT", "SELECT FROM Account", "SELECT Id", "SELECT Id, FROM Account", "SELECT Id FROM Account WHERE",
		"SELECT Id FROM Account WHERE Name = 'open", "SELECT Id FROM Account /* comment */", "SELECT Id FROM Account WHERE A = 1 AND B = 2 OR C = 3",
		"SELECT Id FROM Account LIMIT -1", "SELECT Id FROM Account LIMIT x", "SELECT COUNT(), Id FROM Account", "SELECT Id FROM Account WHERE Name = bare",
		"SELECT Id FROM Account WHERE Id IN ()", "SELECT Id FROM Account WHERE D = 2026-1-1", `SELECT Id FROM Account WHERE N = '\q'`, "SELECT Id FROM Account ORDER BY",
		"SELECT Id FROM Account GROUP BY Name", "SELECT Id FROM Account; DELETE", "SELECT (SELECT Id FROM Contacts) FROM Account",
	} {
		t.Run(text, func(t *testing.T) {
			t.Parallel()
			_, err := Parse(text)
			var syntax *SyntaxError
			require.ErrorAs(t, err, &syntax)
		})
	}
}

func TestDateLiterals(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 5, 14, 15, 4, 5, 0, time.UTC) // a Thursday
	day := func(m time.Month, d int) time.Time { return time.Date(2026, m, d, 0, 0, 0, 0, time.UTC) }
	for word, want := range map[string][2]time.Time{
		"TODAY": {day(5, 14), day(5, 15)}, "YESTERDAY": {day(5, 13), day(5, 14)}, "LAST_N_DAYS:3": {day(5, 11), day(5, 15)},
		"THIS_WEEK": {day(5, 10), day(5, 17)}, "LAST_MONTH": {day(4, 1), day(5, 1)}, "THIS_QUARTER": {day(4, 1), day(7, 1)},
		"NEXT_N_WEEKS:2": {day(5, 17), day(5, 31)}, "N_DAYS_AGO:4": {day(5, 10), day(5, 11)}, "NEXT_MONTH": {day(6, 1), day(7, 1)},
	} {
		q, err := Parse("SELECT Id FROM Account WHERE CreatedDate = " + word)
		require.NoError(t, err, word)
		from, to := q.Where.(Compare).Values[0].Range(now)
		require.Equal(t, want, [2]time.Time{from, to}, word)
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		"SELECT Id FROM Account", "SELECT Id FROM Account WHERE SystemModstamp > 2026-01-01T00:00:00Z OR (SystemModstamp = 2026-01-01T00:00:00Z AND Id > '001') ORDER BY SystemModstamp, Id LIMIT 2000",
		`SELECT FIELDS(ALL) FROM X WHERE NOT (a LIKE '%\%' AND b IN (1, -2.5e3, null, true)) LIMIT 200`, "SELECT COUNT() FROM A WHERE d = LAST_N_DAYS:3", "((((", "'", `'\u00e`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		q, err := Parse(text)
		if (q == nil) == (err == nil) {
			t.Fatalf("query %v and error %v together", q, err)
		}
		if err == nil && (q.From == "" || !q.Count && q.All == "" && len(q.Fields) == 0) {
			t.Fatalf("accepted a statement without object or fields: %q", text)
		}
		if se, ok := err.(*SyntaxError); ok && (se.Pos < 0 || se.Pos > len(text)) {
			t.Fatalf("error position %d is outside the text", se.Pos)
		}
	})
}
