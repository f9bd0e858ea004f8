package sandbox_test

import (
	"fmt"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// shop is an organization with a few records to query.
func shop(t *testing.T) *org {
	t.Helper()
	o := setup(t)
	acme := o.account(`{"Name":"Acme","Industry":"Energy","AnnualRevenue":5,"Selfsame_Id__c":"G1","BillingCity":"Kiel"}`)
	o.account(`{"Name":"Böhm & Söhne 100%","AnnualRevenue":7,"ParentId":"` + acme + `"}`)
	o.clock.advance(48 * time.Hour)
	o.login() // the first session is long over
	o.account(`{"Name":"Zoë's_Café","Industry":"Retail","Website":"https://example.com"}`)
	o.want(201, "POST", v62+"/sobjects/Contact", `{"LastName":"Able","AccountId":"`+acme+`"}`)
	o.want(201, "POST", v62+"/sobjects/Contact", `{"LastName":"Baker"}`)
	return o
}

func TestQueriesSelectTheRightRows(t *testing.T) {
	t.Parallel()
	o := shop(t)
	for q, want := range map[string][]string{
		"WHERE Name = 'ACME'":                                                      {"Acme"},
		"WHERE Name != 'acme' ORDER BY Name DESC":                                  {"Zoë's_Café", "Böhm & Söhne 100%"},
		`WHERE Name LIKE 'zoë\'s\_%'`:                                              {"Zoë's_Café"},
		`WHERE Name LIKE '%100\%'`:                                                 {"Böhm & Söhne 100%"},
		`WHERE Name LIKE '_cme'`:                                                   {"Acme"},
		"WHERE Name IN ('Acme', 'nobody', null)":                                   {"Acme"},
		"WHERE Industry NOT IN ('Energy') ORDER BY Name":                           {"Böhm & Söhne 100%", "Zoë's_Café"},
		"WHERE NOT Industry = 'Energy' ORDER BY Name":                              {"Böhm & Söhne 100%", "Zoë's_Café"},
		"WHERE Industry = null":                                                    {"Böhm & Söhne 100%"},
		"WHERE AnnualRevenue > 5.5":                                                {"Böhm & Söhne 100%"},
		"WHERE AnnualRevenue < 100 AND (Industry = 'Energy' OR Name LIKE 'B%')":    {"Acme", "Böhm & Söhne 100%"},
		"WHERE Selfsame_Id__c = 'g1'":                                              {"Acme"},
		"WHERE Parent.Name = 'Acme'":                                               {"Böhm & Söhne 100%"},
		"WHERE Owner.Username = 'robot@example.com' AND Website != null":           {"Zoë's_Café"},
		"WHERE CreatedDate >= 2026-05-16T00:00:00.000+0000":                        {"Zoë's_Café"},
		"WHERE CreatedDate < 2026-05-15T02:00:00+02:00 ORDER BY AnnualRevenue ASC": {"Acme", "Böhm & Söhne 100%"},
		"WHERE CreatedDate = TODAY":                                                {"Zoë's_Café"},
		"WHERE CreatedDate < TODAY AND CreatedDate = LAST_N_DAYS:3":                {"Acme", "Böhm & Söhne 100%"},
		"WHERE IsDeleted = false ORDER BY Industry NULLS LAST, Name":               {"Acme", "Zoë's_Café", "Böhm & Söhne 100%"},
		"ORDER BY Industry":                                                        {"Böhm & Söhne 100%", "Acme", "Zoë's_Café"},
		"ORDER BY Name LIMIT 1 OFFSET 1":                                           {"Böhm & Söhne 100%"},
		"ORDER BY SystemModstamp, Id LIMIT 2":                                      {"Acme", "Böhm & Söhne 100%"},
		"ORDER BY SystemModstamp DESC, Id DESC LIMIT 1":                            {"Zoë's_Café"},
		"WHERE Id > ''":                                                            {"Acme", "Böhm & Söhne 100%", "Zoë's_Café"},
		"a WHERE a.BillingCity = 'Kiel'":                                           {"Acme"},
		"LIMIT 0":                                                                  {},
	} {
		require.Equal(t, want, o.names("SELECT Id, Name FROM Account "+q), q)
	}
}

func TestQueryShapes(t *testing.T) {
	t.Parallel()
	o := shop(t)
	r := o.soql("select id, account.name, account.owner.username, lastname from contact order by lastname")
	require.Equal(t, true, r["done"])
	require.NotContains(t, r, "nextRecordsUrl")
	rows := r["records"].([]any)
	first := rows[0].(map[string]any)
	require.Equal(t, "Contact", first["attributes"].(map[string]any)["type"])
	acc := first["Account"].(map[string]any)
	require.Equal(t, "Acme", acc["Name"])
	require.Equal(t, "robot@example.com", acc["Owner"].(map[string]any)["Username"])
	require.Nil(t, rows[1].(map[string]any)["Account"])
	count := o.soql("SELECT COUNT() FROM Contact WHERE LastName LIKE 'b%'")
	require.Equal(t, map[string]any{"totalSize": 1.0, "done": true, "records": []any{}}, count)
	all := o.soql("SELECT FIELDS(ALL) FROM Account WHERE Name = 'Acme' LIMIT 200")["records"].([]any)[0].(map[string]any)
	require.Equal(t, "Kiel", all["BillingAddress"].(map[string]any)["city"])
	org := o.soql("SELECT Name, InstanceName, IsSandbox, TrialExpirationDate, NamespacePrefix, OrganizationType FROM Organization")
	require.Len(t, org["records"], 1)
	require.Equal(t, "robot@example.com", o.want(200, "GET", "//services/data/v51.0/sobjects/User/005000000000001AAA", "").object()["Username"])
	cols := o.want(200, "GET", v62+"/query?columns=true&q="+url.QueryEscape("SELECT Id, Account.Name FROM Contact"), "").object()
	require.Equal(t, "Contact", cols["entityName"])
	account := cols["columnMetadata"].([]any)[1].(map[string]any)
	require.Equal(t, "Account", account["columnName"])
	require.Equal(t, "Name", account["joinColumns"].([]any)[0].(map[string]any)["columnName"])
}

func TestQueriesAreRefused(t *testing.T) {
	t.Parallel()
	o := setup(t)
	for q, code := range map[string]string{
		"SELECT Id FROM":                                     "MALFORMED_QUERY",
		"SELECT Id FROM ScratchOrgInfo limit 1":              "INVALID_TYPE",
		"SELECT Nope FROM Account":                           "INVALID_FIELD",
		"SELECT Nope.Name FROM Account":                      "INVALID_FIELD",
		"SELECT Id, Id FROM Account":                         "INVALID_FIELD",
		"SELECT Id FROM Account WHERE Name = 5":              "INVALID_FIELD",
		"SELECT Id FROM Account WHERE CreatedDate = '2026'":  "INVALID_FIELD",
		"SELECT Id FROM Account WHERE Id = 'xyz'":            "INVALID_QUERY_FILTER_OPERATOR",
		"SELECT Id FROM Account WHERE Description = 'x'":     "INVALID_FIELD",
		"SELECT Id FROM Account LIMIT 5 OFFSET 2001":         "NUMBER_OUTSIDE_VALID_RANGE",
		"SELECT FIELDS(ALL) FROM Account":                    "MALFORMED_QUERY",
		"SELECT Id FROM Account WHERE AnnualRevenue > null":  "INVALID_FIELD",
		"SELECT Id FROM Account WHERE IsDeleted > false":     "INVALID_QUERY_FILTER_OPERATOR",
		"SELECT Id FROM Account WHERE AnnualRevenue LIKE '1": "MALFORMED_QUERY",
	} {
		require.Equal(t, code, o.want(400, "GET", v62+"/query?q="+url.QueryEscape(q), "").code(), q)
	}
	r := o.want(400, "GET", v62+"/query?q="+url.QueryEscape("SELECT Id,\nNope FROM Account"), "")
	require.Contains(t, r.array()[0]["message"], "ERROR at Row:2:Column:1\nNo such column 'Nope' on entity 'Account'")
	require.Equal(t, "INVALID_TYPE", o.want(400, "GET", v62+"/tooling/query/?q="+url.QueryEscape("SELECT Id FROM SandboxProcess"), "").code())
	require.Equal(t, "MALFORMED_QUERY", o.want(400, "GET", v62+"/query", "").code())
}

func TestQueryPages(t *testing.T) {
	t.Parallel()
	o := setup(t)
	for from := 0; from < 600; from += 200 {
		names := make([]string, 200)
		for i := range names {
			names[i] = fmt.Sprintf("A%03d", from+i)
		}
		o.want(200, "POST", v62+"/composite/sobjects", accounts(names...))
	}
	one := o.want(200, "GET", v62+"/query/?q=SELECT+Name+FROM+Account+ORDER+BY+Name", "").object()
	require.Len(t, one["records"], 600)
	path := v62 + "/query?q=SELECT+Name+FROM+Account+ORDER+BY+Name"
	var names []string
	for pages := 0; ; pages++ {
		r := o.want(200, "GET", path, "", "Sforce-Query-Options", "batchSize=250").object()
		require.InDelta(t, 600, r["totalSize"], 0)
		for _, x := range r["records"].([]any) {
			names = append(names, x.(map[string]any)["Name"].(string))
		}
		if r["done"] == true {
			require.Equal(t, 2, pages)
			require.NotContains(t, r, "nextRecordsUrl")
			break
		}
		path = r["nextRecordsUrl"].(string)
		require.Regexp(t, `^/services/data/v62\.0/query/01g\w{15}-\d+$`, path)
		// What is written meanwhile does not disturb the answer.
		o.account(fmt.Sprintf(`{"Name":"A000-%d"}`, pages))
	}
	require.Len(t, names, 600)
	require.Equal(t, "A599", names[599])
	require.Equal(t, "INVALID_QUERY_LOCATOR", o.want(400, "GET", v62+"/query/01g000000000009AAA-2000", "").code())
}
