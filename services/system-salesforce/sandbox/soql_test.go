package sandbox_test

import (
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox"
)

// family is an organization with parents and children: Acme has two contacts,
// three opportunities and a subsidiary, Bolt has one contact, Core has nothing.
func family(t *testing.T) *org {
	t.Helper()
	o := setup(t, withSchema(t, `{"objects":[
		{"name":"Account","fields":[{"name":"Colours__c","label":"Colours","type":"multipicklist","length":255,"picklist":["red","green","blue"],"restricted":true}]},
		{"name":"Site__c","fields":[
			{"name":"Name","type":"string","length":80,"nameField":true},
			{"name":"Account__c","type":"reference","referenceTo":["Account"],"relationship":"Account__r","childRelationship":"Sites__r"},
			{"name":"Landlord__c","type":"reference","referenceTo":["Account"],"relationship":"Landlord__r","childRelationship":"Houses__r"}]}]}`))
	acme := o.account(`{"Name":"Acme","Industry":"Retail","AnnualRevenue":100,"NumberOfEmployees":7,"Colours__c":"blue;red","BillingCity":"Kiel"}`)
	bolt := o.account(`{"Name":"Bolt","Industry":"Energy","AnnualRevenue":40,"NumberOfEmployees":2,"Colours__c":"green","ParentId":"` + acme + `"}`)
	o.account(`{"Name":"Core","Industry":"Retail"}`)
	for _, c := range []string{`{"LastName":"Able","Title":"Buyer","AccountId":"` + acme + `"}`, `{"LastName":"Baker","AccountId":"` + acme + `"}`, `{"LastName":"Cole","Title":"Buyer","AccountId":"` + bolt + `"}`} {
		id := o.want(201, "POST", v62+"/sobjects/Contact", c).id()
		o.want(201, "POST", v62+"/sobjects/Case", `{"Subject":"Help","ContactId":"`+id+`"}`)
	}
	for i, amount := range []string{"10.10", "20.20", "0.1"} {
		o.want(201, "POST", v62+"/sobjects/Opportunity", fmt.Sprintf(`{"Name":"O%d","StageName":"%s","CloseDate":"2026-0%d-15","Amount":%s,"AccountId":"%s"}`, i, []string{"Prospecting", "Closed Won"}[i%2], i+4, amount, acme))
	}
	o.want(201, "POST", v62+"/sobjects/Site__c", `{"Name":"North","Account__c":"`+bolt+`"}`)
	return o
}

// withSchema lets the sandbox read one more schema file.
func withSchema(t *testing.T, text string) func(*sandbox.Config) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "schema.json")
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	return func(c *sandbox.Config) { c.SchemaFiles = append(c.SchemaFiles, path) }
}

// bare is an answer's records without their attributes, as JSON.
func (o *org) bare(q string) string {
	o.t.Helper()
	b, err := json.Marshal(strip(o.soql(q)["records"]))
	require.NoError(o.t, err)
	return string(b)
}

func strip(v any) any {
	switch v := v.(type) {
	case []any:
		for i := range v {
			v[i] = strip(v[i])
		}
	case map[string]any:
		delete(v, "attributes")
		for k := range v {
			v[k] = strip(v[k])
		}
	}
	return v
}

func (o *org) refusal(version, q string) (code, message string) {
	o.t.Helper()
	r := o.want(400, "GET", "/services/data/v"+version+"/query?q="+url.QueryEscape(q), "")
	return r.code(), r.array()[0]["message"].(string)
}

func TestChildrenComeWithTheirParents(t *testing.T) {
	t.Parallel()
	o := family(t)
	for q, want := range map[string]string{
		"SELECT Name, (SELECT LastName FROM Contacts ORDER BY LastName DESC) FROM Account ORDER BY Name": `[{"Contacts":{"done":true,"records":[{"LastName":"Baker"},{"LastName":"Able"}],"totalSize":2},"Name":"Acme"},{"Contacts":{"done":true,"records":[{"LastName":"Cole"}],"totalSize":1},"Name":"Bolt"},{"Contacts":null,"Name":"Core"}]`,
		"SELECT Name, (SELECT LastName FROM a.Contacts WHERE Title = 'Buyer' LIMIT 1), (SELECT Name FROM Account.Sites__r) FROM Account a WHERE Name != 'Core' ORDER BY Name": `[{"Contacts":{"done":true,"records":[{"LastName":"Able"}],"totalSize":1},"Name":"Acme","Sites__r":null},` +
			`{"Contacts":{"done":true,"records":[{"LastName":"Cole"}],"totalSize":1},"Name":"Bolt","Sites__r":{"done":true,"records":[{"Name":"North"}],"totalSize":1}}]`,
		"SELECT (SELECT Name, (SELECT LastName, Contact.Account.Parent.Name, (SELECT Subject FROM Cases) FROM Contacts) FROM ChildAccounts) FROM Account WHERE Name = 'Acme'": `[{"ChildAccounts":{"done":true,"records":[{"Contacts":{"done":true,"records":[` +
			`{"Account":{"Parent":{"Name":"Acme"}},"Cases":{"done":true,"records":[{"Subject":"Help"}],"totalSize":1},"LastName":"Cole"}],"totalSize":1},"Name":"Bolt"}],"totalSize":1}}]`,
		"SELECT Name, (SELECT Name FROM Opportunities WHERE IsWon = false ORDER BY Amount OFFSET 1) FROM Account WHERE Name = 'Acme' LIMIT 1": `[{"Name":"Acme","Opportunities":{"done":true,"records":[{"Name":"O0"}],"totalSize":1}}]`,
	} {
		require.JSONEq(t, want, o.bare(q), q)
	}
	rows := o.soql("SELECT (SELECT Id FROM Contacts) FROM Account WHERE Name = 'Bolt'")["records"].([]any)
	child := rows[0].(map[string]any)["Contacts"].(map[string]any)["records"].([]any)[0].(map[string]any)
	require.Equal(t, "Contact", child["attributes"].(map[string]any)["type"])
	require.Equal(t, v62+"/sobjects/Contact/"+child["Id"].(string), child["attributes"].(map[string]any)["url"])
}

func TestDeletedChildrenComeOnlyWithQueryAll(t *testing.T) {
	t.Parallel()
	o := family(t)
	id := o.soql("SELECT Id FROM Contact WHERE LastName = 'Cole'")["records"].([]any)[0].(map[string]any)["Id"].(string)
	o.want(204, "DELETE", v62+"/sobjects/Contact/"+id, "")
	q := "SELECT (SELECT LastName FROM Contacts) FROM Account WHERE Name = 'Bolt'"
	require.JSONEq(t, `[{"Contacts":null}]`, o.bare(q))
	all := o.want(200, "GET", v62+"/queryAll?q="+url.QueryEscape(q), "").object()["records"]
	require.Equal(t, []any{map[string]any{"Contacts": map[string]any{"totalSize": 1.0, "done": true, "records": []any{map[string]any{"LastName": "Cole"}}}}}, strip(all))
}

func TestManyChildrenComeInPages(t *testing.T) {
	t.Parallel()
	o := setup(t)
	parent := o.account(`{"Name":"Big"}`)
	for range 3 {
		records := make([]string, 150)
		for i := range records {
			records[i] = fmt.Sprintf(`{"attributes":{"type":"Contact"},"LastName":"L%d","AccountId":"%s"}`, i, parent)
		}
		o.want(200, "POST", v62+"/composite/sobjects", `{"records":[`+strings.Join(records, ",")+`]}`)
	}
	o.account(`{"Name":"Small"}`)
	page := o.want(200, "GET", v62+"/query?q="+url.QueryEscape("SELECT Name, (SELECT Id FROM Contacts) FROM Account ORDER BY Name"), "", "Sforce-Query-Options", "batchSize=200").object()
	// The children fill the page, so the second parent comes with the next one.
	require.Equal(t, false, page["done"])
	require.InDelta(t, 2, page["totalSize"], 0)
	require.Len(t, page["records"], 1)
	children := page["records"].([]any)[0].(map[string]any)["Contacts"].(map[string]any)
	seen := map[string]bool{}
	pages := 0
	for ; ; pages++ {
		require.InDelta(t, 450, children["totalSize"], 0)
		for _, r := range children["records"].([]any) {
			seen[r.(map[string]any)["Id"].(string)] = true
		}
		if children["done"] == true {
			require.NotContains(t, children, "nextRecordsUrl")
			break
		}
		children = o.want(200, "GET", children["nextRecordsUrl"].(string), "").object()
	}
	require.Equal(t, 2, pages)
	require.Len(t, seen, 450)
	rest := o.want(200, "GET", page["nextRecordsUrl"].(string), "").object()
	require.Equal(t, true, rest["done"])
	require.Equal(t, "Small", rest["records"].([]any)[0].(map[string]any)["Name"])
}

func TestSemiJoinsSelectTheRightRows(t *testing.T) {
	t.Parallel()
	o := family(t)
	for q, want := range map[string][]string{
		"WHERE Id IN (SELECT AccountId FROM Contact) ORDER BY Name": {"Acme", "Bolt"},
		"WHERE Id NOT IN (SELECT AccountId FROM Contact)":           {"Core"},
		"WHERE Id IN (SELECT AccountId FROM Contact WHERE Title = 'Buyer') AND Id NOT IN (SELECT AccountId FROM Opportunity) AND AnnualRevenue < 100": {"Bolt"},
		"WHERE ParentId IN (SELECT AccountId FROM Opportunity WHERE Amount > 5)":                                                                      {"Bolt"},
		"WHERE OwnerId IN (SELECT Id FROM User WHERE Username LIKE 'robot%') ORDER BY Name LIMIT 2":                                                   {"Acme", "Bolt"},
		"a WHERE a.Id IN (SELECT c.AccountId FROM Contact c WHERE c.Account.Name = 'Acme')":                                                           {"Acme"},
		", Account.Parent p WHERE p.Name = 'Acme'":                                                                                                    {"Bolt"},
	} {
		require.Equal(t, want, o.names("SELECT Id, Name FROM Account "+q), q)
	}
	require.InDelta(t, 2, o.soql("SELECT COUNT() FROM Contact WHERE AccountId IN (SELECT Id FROM Account WHERE Industry = 'Retail')")["totalSize"], 0)
}

func TestMultiSelectPicklists(t *testing.T) {
	t.Parallel()
	o := family(t)
	for q, want := range map[string][]string{
		"Colours__c INCLUDES ('red')":               {"Acme"},
		"Colours__c INCLUDES ('RED;blue', 'green')": {"Acme", "Bolt"},
		"Colours__c INCLUDES ('red;green')":         {},
		"Colours__c EXCLUDES ('red')":               {"Bolt", "Core"},
		"Colours__c = 'red;blue'":                   {"Acme"}, // stored in the order of the definition
		"Colours__c = null":                         {"Core"},
	} {
		require.Equal(t, want, o.names("SELECT Name FROM Account WHERE "+q+" ORDER BY Name"), q)
	}
	r := o.want(400, "POST", v62+"/sobjects/Account", `{"Name":"x","Colours__c":"red;mauve"}`)
	require.Equal(t, "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST", r.code())
}

func TestAggregates(t *testing.T) {
	t.Parallel()
	o := family(t)
	for q, want := range map[string]string{
		"SELECT COUNT(Id), COUNT(AnnualRevenue) withRevenue, SUM(AnnualRevenue) FROM Account":                                                      `[{"expr0":3,"withRevenue":2,"expr1":140}]`,
		"SELECT AVG(AnnualRevenue) a, MIN(Name), MAX(Name), MIN(NumberOfEmployees), COUNT_DISTINCT(Industry) FROM Account":                         `[{"a":70,"expr0":"Acme","expr1":"Core","expr2":2,"expr3":2}]`,
		"SELECT SUM(Amount), MIN(CloseDate), MAX(StageName) FROM Opportunity":                                                                      `[{"expr0":30.4,"expr1":"2026-04-15","expr2":"Closed Won"}]`,
		"SELECT SUM(Amount), COUNT(Id) FROM Opportunity WHERE Name = 'none'":                                                                       `[{"expr0":null,"expr1":0}]`,
		"SELECT Industry, COUNT(Id) n FROM Account GROUP BY Industry ORDER BY COUNT(Id) DESC":                                                      `[{"Industry":"Retail","n":2},{"Industry":"Energy","n":1}]`,
		"SELECT Industry sector, SUM(AnnualRevenue) FROM Account GROUP BY Industry HAVING SUM(AnnualRevenue) > 50":                                 `[{"sector":"Retail","expr0":100}]`,
		"SELECT Account.Name, COUNT(Id) FROM Contact GROUP BY Account.Name ORDER BY Account.Name DESC LIMIT 1":                                     `[{"Name":"Bolt","expr0":1}]`,
		"SELECT Title FROM Contact GROUP BY Title ORDER BY Title NULLS LAST":                                                                       `[{"Title":"Buyer"},{"Title":null}]`,
		"SELECT Industry, COUNT(Id) FROM Account GROUP BY Industry HAVING Industry LIKE 'R%' AND COUNT(Id) IN (1, 2)":                              `[{"Industry":"Retail","expr0":2}]`,
		"SELECT Industry, COUNT(Id) FROM Account WHERE Id IN (SELECT AccountId FROM Contact) GROUP BY Industry ORDER BY Industry LIMIT 1 OFFSET 1": `[{"Industry":"Retail","expr0":1}]`,
	} {
		require.JSONEq(t, want, o.bare(q), q)
	}
	r := o.soql("SELECT COUNT(Id) FROM Account")
	require.Equal(t, map[string]any{"totalSize": 1.0, "done": true, "records": []any{map[string]any{"attributes": map[string]any{"type": "AggregateResult"}, "expr0": 3.0}}}, r)
	raw := o.want(200, "GET", v62+"/query?q="+url.QueryEscape("SELECT SUM(AnnualRevenue), SUM(NumberOfEmployees) FROM Account"), "").text
	require.Contains(t, raw, `"expr0":140.0,"expr1":9}`)
}

func TestGroupsHaveNoPages(t *testing.T) {
	t.Parallel()
	o := setup(t)
	for from := 0; from < 2200; from += 200 {
		names := make([]string, 200)
		for i := range names {
			names[i] = fmt.Sprintf("A%04d", from+i)
		}
		o.want(200, "POST", v62+"/composite/sobjects", accounts(names...))
	}
	code, message := o.refusal("62.0", "SELECT Name, COUNT(Id) FROM Account GROUP BY Name")
	require.Equal(t, "EXCEEDED_ID_LIMIT", code)
	require.Contains(t, message, "does not support queryMore()")
	r := o.soql("SELECT Name, COUNT(Id) FROM Account GROUP BY Name LIMIT 2000")
	require.Len(t, r["records"], 2000)
	require.NotContains(t, r, "nextRecordsUrl")
}

func TestStatementsAgainstTheRulesAreRefused(t *testing.T) {
	t.Parallel()
	o := family(t)
	for q, want := range map[string]string{
		// semi-joins
		"SELECT Id FROM Account WHERE Id IN (SELECT AccountId FROM Contact) OR Name = 'x'":                                                                            "MALFORMED_QUERY: Semi join sub-selects are not allowed with the 'OR' operator",
		"SELECT Id FROM Account WHERE Name = 'x' AND (Name = 'y' OR Id IN (SELECT AccountId FROM Contact))":                                                           "MALFORMED_QUERY: Semi join sub-selects are only allowed at the top level WHERE expressions",
		"SELECT Id FROM Account WHERE NOT Id IN (SELECT AccountId FROM Contact)":                                                                                      "MALFORMED_QUERY: Semi join sub-selects are only allowed at the top level WHERE expressions",
		"SELECT Id FROM Account WHERE Id IN (SELECT AccountId FROM Contact) AND Id IN (SELECT AccountId FROM Case) AND Id NOT IN (SELECT AccountId FROM Opportunity)": "MALFORMED_QUERY: Maximum 2 semi join sub-selects",
		"SELECT Id FROM Account WHERE Id IN (SELECT ParentId FROM Account)":                                                                                           "MALFORMED_QUERY: The inner and outer selects should not be on the same object type",
		"SELECT Id FROM Account WHERE Id IN (SELECT OwnerId FROM Contact)":                                                                                            "MALFORMED_QUERY: The left operand field 'Id'",
		"SELECT Id FROM Account WHERE Name IN (SELECT AccountId FROM Contact)":                                                                                        "MALFORMED_QUERY: Semi join sub-selects can only query id fields",
		"SELECT Id FROM Contact WHERE Account.ParentId IN (SELECT AccountId FROM Case)":                                                                               "MALFORMED_QUERY: The left operand 'ParentId' cannot have more than one level",
		"SELECT Id FROM Account WHERE Id IN (SELECT Name FROM Contact)":                                                                                               "MALFORMED_QUERY: Semi join sub-selects can only query id fields, cannot use: 'Name'",
		"SELECT Id FROM Account WHERE Id IN (SELECT Contact.AccountId FROM Case)":                                                                                     "MALFORMED_QUERY: The inner select field cannot have more than one level",
		"SELECT Id FROM Account WHERE Id IN (SELECT AccountId, Id FROM Contact)":                                                                                      "MALFORMED_QUERY: a semi join sub-select has to select exactly one field",
		"SELECT Id FROM Account WHERE Id IN (SELECT AccountId FROM Contact LIMIT 5)":                                                                                  "MALFORMED_QUERY: a semi join sub-select cannot have ORDER BY, LIMIT",
		"SELECT Id FROM Account WHERE Id IN (SELECT AccountId FROM Contact ORDER BY Name)":                                                                            "MALFORMED_QUERY: a semi join sub-select cannot have ORDER BY",
		"SELECT Id FROM Account WHERE Id IN (SELECT AccountId FROM Contact FOR UPDATE)":                                                                               "MALFORMED_QUERY: a semi join sub-select cannot have",
		"SELECT Id FROM Account WHERE Id IN (SELECT COUNT() FROM Contact)":                                                                                            "MALFORMED_QUERY: a semi join sub-select cannot have aggregate functions",
		"SELECT Id FROM Account WHERE Id IN (SELECT AccountId FROM Contact WHERE Id IN (SELECT ContactId FROM Case))":                                                 "MALFORMED_QUERY: Nesting of semi join sub-selects is not supported",
		"SELECT Id FROM Account WHERE Id IN (SELECT AccountId FROM Nothing)":                                                                                          "INVALID_TYPE: sObject type 'Nothing'",
		// children
		"SELECT (SELECT Id FROM Nothing) FROM Account":                               "INVALID_TYPE: Didn't understand relationship 'Nothing' in FROM part of query call",
		"SELECT (SELECT Id FROM Contact.Cases) FROM Account":                         "INVALID_TYPE: Didn't understand relationship",
		"SELECT (SELECT COUNT() FROM Contacts) FROM Account":                         "MALFORMED_QUERY: Only root queries support aggregate expressions",
		"SELECT (SELECT Title, COUNT(Id) FROM Contacts GROUP BY Title) FROM Account": "MALFORMED_QUERY: Only root queries support aggregate expressions",
		"SELECT (SELECT Id FROM Contacts FOR VIEW) FROM Account":                     "MALFORMED_QUERY: FOR VIEW is not allowed in a subquery",
		"SELECT (SELECT Id FROM Contacts LIMIT 1 OFFSET 1) FROM Account":             "MALFORMED_QUERY: OFFSET is allowed in a subquery only if the parent query has LIMIT 1",
		"SELECT (SELECT Id FROM Contacts), (SELECT Name FROM Contacts) FROM Account": "INVALID_FIELD: duplicate child relationship selected",
		"SELECT (SELECT Nope FROM Contacts) FROM Account":                            "INVALID_FIELD: No such column 'Nope' on entity 'Contact'",
		nested(5):      "MALFORMED_QUERY: a query cannot have more than 5 levels of parent-to-child relationships",
		manyChildren(): "MALFORMED_QUERY: a query cannot have more than 20 parent-to-child relationships",
		// parents
		"SELECT Parent.Parent.Parent.Parent.Parent.Parent.Name FROM Account": "MALFORMED_QUERY: a relationship path cannot have more than 5 levels",
		manyParents(56): "MALFORMED_QUERY: a query cannot have more than 55 child-to-parent relationships",
		// aggregates
		"SELECT Name, COUNT(Id) FROM Account":                                                         "MALFORMED_QUERY: Field must be grouped or aggregated: Name",
		"SELECT Name FROM Account GROUP BY Industry":                                                  "MALFORMED_QUERY: Field must be grouped or aggregated: Name",
		"SELECT Industry FROM Account GROUP BY Industry ORDER BY Name":                                "MALFORMED_QUERY: Ordered field must be grouped or aggregated: Name",
		"SELECT Industry FROM Account GROUP BY Industry HAVING Name = 'x'":                            "MALFORMED_QUERY: Field must be grouped or aggregated: Name",
		"SELECT COUNT(Id) FROM Account HAVING COUNT(Id) > 1":                                          "MALFORMED_QUERY: HAVING is allowed only with GROUP BY",
		"SELECT COUNT(Id) FROM Account LIMIT 5":                                                       "MALFORMED_QUERY: Non-grouped query that uses overall aggregate functions cannot also use LIMIT",
		"SELECT COUNT() FROM Account ORDER BY Name":                                                   "MALFORMED_QUERY: COUNT() cannot be used with",
		"SELECT COUNT() FROM Account GROUP BY Name":                                                   "MALFORMED_QUERY: COUNT() cannot be used with",
		"SELECT SUM(Name) FROM Account":                                                               "MALFORMED_QUERY: field Name does not support aggregate operator SUM",
		"SELECT MAX(IsDeleted) FROM Account":                                                          "MALFORMED_QUERY: field IsDeleted does not support aggregate operator MAX",
		"SELECT COUNT(BillingAddress) FROM Account":                                                   "MALFORMED_QUERY: field BillingAddress does not support aggregate operator COUNT",
		"SELECT AnnualRevenue FROM Account GROUP BY AnnualRevenue":                                    "INVALID_FIELD: field 'AnnualRevenue' can not be grouped in a query call",
		"SELECT Description FROM Account GROUP BY Description":                                        "INVALID_FIELD: field 'Description' can not be grouped in a query call",
		"SELECT Industry x, COUNT(Id) X FROM Account GROUP BY Industry":                               "MALFORMED_QUERY: duplicate alias: X",
		"SELECT Industry, (SELECT Id FROM Contacts) FROM Account GROUP BY Industry":                   "MALFORMED_QUERY: Grouped query cannot use child relationships in the SELECT list",
		"SELECT FIELDS(STANDARD) FROM Account GROUP BY Industry":                                      "MALFORMED_QUERY: The SOQL FIELDS function is not supported",
		"SELECT Id FROM Account WHERE COUNT(Id) > 1":                                                  "MALFORMED_QUERY: the aggregate function COUNT is not allowed in WHERE",
		"SELECT Name n FROM Account":                                                                  "MALFORMED_QUERY: only aggregate expressions use field aliasing",
		"SELECT Industry FROM Account GROUP BY Industry HAVING Id IN (SELECT AccountId FROM Contact)": "MALFORMED_QUERY: Semi-joins are only supported in WHERE clauses",
		// the rest
		"SELECT TYPEOF Owner WHEN User THEN Id END FROM Account":                  "MALFORMED_QUERY: TYPEOF cannot be used with 'Owner'",
		"SELECT Id FROM Account ALL ROWS":                                         "MALFORMED_QUERY: ALL ROWS not allowed in this context",
		"SELECT Id FROM Account OFFSET 2001":                                      "NUMBER_OUTSIDE_VALID_RANGE: Maximum SOQL offset allowed is 2000",
		"SELECT FIELDS(CUSTOM) FROM Account LIMIT 201":                            "MALFORMED_QUERY: The SOQL FIELDS function must have a LIMIT of at most 200",
		"SELECT Id, FIELDS(STANDARD) FROM Account":                                "INVALID_FIELD: duplicate field selected: Id",
		"SELECT Id FROM Account WHERE Name INCLUDES ('x')":                        "INVALID_QUERY_FILTER_OPERATOR: invalid operator on string field",
		"SELECT Id FROM Account WHERE Colours__c > 'red'":                         "INVALID_QUERY_FILTER_OPERATOR: invalid operator on multipicklist field",
		"SELECT Id FROM Account ORDER BY Colours__c":                              "INVALID_FIELD: field 'Colours__c' can not be sorted in a query call",
		"SELECT Id FROM Account WHERE Name = '" + strings.Repeat("x", 4001) + "'": "MALFORMED_QUERY: a string literal cannot be longer than 4000 characters",
	} {
		code, message := o.refusal("62.0", q)
		wantCode, wantMessage, _ := strings.Cut(want, ": ")
		require.Equal(t, wantCode, code, q)
		require.Contains(t, message, wantMessage, q)
	}
}

// nested has as many levels of subqueries below the root.
func nested(levels int) string {
	q := "SELECT Id FROM ChildAccounts"
	for range levels - 1 {
		q = "SELECT Id, (" + q + ") FROM ChildAccounts"
	}
	return "SELECT Id, (" + q + ") FROM Account"
}

func manyChildren() string {
	each := "(SELECT Id, (SELECT Id FROM Cases) FROM Contacts), (SELECT Id FROM Opportunities), (SELECT Id FROM Cases), (SELECT Id FROM Sites__r), (SELECT Id FROM Houses__r)"
	q := "SELECT Id FROM ChildAccounts"
	for range 2 {
		q = "SELECT Id, " + each + ", (" + q + ") FROM ChildAccounts"
	}
	return "SELECT " + each + ", (" + q + ") FROM Account"
}

// manyParents names a number of different relationships.
func manyParents(n int) string {
	steps := []string{"CreatedBy", "LastModifiedBy"}
	paths := []string{"Owner", "CreatedBy", "LastModifiedBy"}
	for i := 0; len(paths) < n; i++ {
		for _, s := range steps {
			paths = append(paths, paths[i]+"."+s)
		}
	}
	fields := make([]string, n)
	for i := range fields {
		fields[i] = paths[i] + ".Name"
	}
	return "SELECT " + strings.Join(fields, ", ") + " FROM Account"
}

func TestLimitsAreReachedExactly(t *testing.T) {
	t.Parallel()
	o := family(t)
	require.Len(t, o.soql(nested(4))["records"], 3)
	require.Len(t, o.soql(manyParents(55))["records"], 3)
	require.Len(t, o.soql(strings.Replace(manyChildren(), "(SELECT Id FROM Houses__r), ", "", 1))["records"], 3)
	require.Len(t, o.soql("SELECT Parent.Parent.Parent.Parent.Parent.Name FROM Account")["records"], 3)
	require.Empty(t, o.soql("SELECT Id FROM Account OFFSET 2000")["records"])
	require.Len(t, o.soql("SELECT FIELDS(ALL) FROM Account LIMIT 200")["records"], 3)
	require.Len(t, o.soql("SELECT Name, FIELDS(CUSTOM) FROM Account WHERE Id IN ('001000000000001AAA') OR Name != null LIMIT 200")["records"], 3)
	id := o.soql("SELECT Id FROM Account WHERE Name = 'Acme'")["records"].([]any)[0].(map[string]any)["Id"].(string)
	row := o.soql("SELECT FIELDS(ALL) FROM Account WHERE Id = '" + id + "'")["records"].([]any)[0].(map[string]any)
	require.Equal(t, "red;blue", row["Colours__c"])
	custom := o.soql("SELECT FIELDS(CUSTOM) FROM Account WHERE Id IN ('" + id + "')")["records"].([]any)[0].(map[string]any)
	require.NotContains(t, custom, "Name")
	require.Contains(t, custom, "Colours__c")
}

// Only the URL of a sub-request can be so long.
func TestStatementsAreLimitedInLength(t *testing.T) {
	t.Parallel()
	o := family(t)
	ask := func(q string) map[string]any {
		body := mustJSON(map[string]any{"compositeRequest": []any{map[string]any{"method": "GET", "referenceId": "q", "url": v62 + "/query?q=" + url.QueryEscape(q)}}})
		return o.want(200, "POST", v62+"/composite", body).object()["compositeResponse"].([]any)[0].(map[string]any)
	}
	fill := func(n int) string {
		head, tail := "SELECT Name FROM Account WHERE Name IN ('Acme'", ")"
		list := strings.Repeat(",'"+strings.Repeat("ü", 97)+"'", (n-len(head)-len(tail))/100)
		return head + list + strings.Repeat(" ", n-len(head)-len(tail)-len([]rune(list))) + tail
	}
	require.Len(t, ask(fill(100_000))["body"].(map[string]any)["records"], 1)
	refused := ask(fill(100_001))
	require.InDelta(t, 400, refused["httpStatusCode"], 0)
	require.Equal(t, "MALFORMED_QUERY", refused["body"].([]any)[0].(map[string]any)["errorCode"])
}

func TestOlderVersionsAllowLess(t *testing.T) {
	t.Parallel()
	o := family(t)
	code, message := o.refusal("57.0", nested(2))
	require.Equal(t, "MALFORMED_QUERY", code)
	require.Contains(t, message, "more than 2 levels")
	o.want(200, "GET", "/services/data/v57.0/query?q="+url.QueryEscape(nested(1)), "")
	o.want(200, "GET", "/services/data/v58.0/query?q="+url.QueryEscape(nested(4)), "")
	code, message = o.refusal("50.0", "SELECT FIELDS(STANDARD) FROM Account")
	require.Equal(t, "MALFORMED_QUERY", code)
	require.Contains(t, message, "needs version 51.0")
}

func TestLocatorsEndWithTimeAndBelongToOneUser(t *testing.T) {
	t.Parallel()
	o := setup(t, func(c *sandbox.Config) {
		c.Users = append(c.Users, sandbox.User{Username: "second@example.com", ID: "005000000000099AAA"})
		c.SessionTTL = 100 * time.Hour
	})
	for from := 0; from < 400; from += 200 {
		names := make([]string, 200)
		for i := range names {
			names[i] = fmt.Sprintf("A%03d", from+i)
		}
		o.want(200, "POST", v62+"/composite/sobjects", accounts(names...))
	}
	next := o.want(200, "GET", v62+"/query?q=SELECT+Id+FROM+Account", "", "Sforce-Query-Options", "batchSize=200").object()["nextRecordsUrl"].(string)
	o.want(200, "GET", next, "")
	first := o.token
	status, body := o.grant(o.assertion(map[string]any{"sub": "second@example.com"}))
	require.Equal(t, 200, status)
	o.token = body["access_token"].(string)
	require.Equal(t, "INVALID_QUERY_LOCATOR", o.want(400, "GET", next, "").code())
	o.token = first
	o.clock.advance(47 * time.Hour)
	o.want(200, "GET", next, "") // it can be read again while it lives
	o.clock.advance(2 * time.Hour)
	require.Equal(t, "INVALID_QUERY_LOCATOR", o.want(400, "GET", next, "").code())
	require.Equal(t, "INVALID_QUERY_LOCATOR", o.want(400, "GET", strings.TrimSuffix(next, "200")+"x", "").code())
}

func TestTooManyLocatorsEndTheOldest(t *testing.T) {
	t.Parallel()
	o := setup(t)
	for from := 0; from < 400; from += 200 {
		names := make([]string, 200)
		for i := range names {
			names[i] = fmt.Sprintf("A%03d", from+i)
		}
		o.want(200, "POST", v62+"/composite/sobjects", accounts(names...))
	}
	open := func() string {
		return o.want(200, "GET", v62+"/query?q=SELECT+Id+FROM+Account", "", "Sforce-Query-Options", "batchSize=200").object()["nextRecordsUrl"].(string)
	}
	first, second := open(), open()
	for range 199 {
		open()
	}
	require.Equal(t, "INVALID_QUERY_LOCATOR", o.want(400, "GET", first, "").code())
	o.want(200, "GET", second, "")
}

func TestColumnsDescribeTheAnswer(t *testing.T) {
	t.Parallel()
	o := family(t)
	describe := func(q string) map[string]any {
		return o.want(200, "GET", v62+"/query?columns=true&q="+url.QueryEscape(q), "").object()
	}
	field := func(name, apex string, join ...any) map[string]any {
		return map[string]any{
			"columnName": name, "displayName": name, "aggregate": false, "custom": false, "booleanType": false, "numberType": false, "textType": apex == "String",
			"apexType": apex, "foreignKeyName": nil, "insertable": false, "updatable": false, "joinColumns": append([]any{}, join...),
		}
	}
	lastName := field("LastName", "String")
	lastName["insertable"], lastName["updatable"] = true, true
	children := field("Contacts", "", lastName)
	children["aggregate"], children["apexType"] = true, nil
	owner := field("Owner", "", field("Name", "String"))
	owner["foreignKeyName"], owner["apexType"] = "OwnerId", nil
	require.Equal(t, map[string]any{
		"columnMetadata": []any{field("Id", "Id"), owner, children}, "entityName": "Account", "groupBy": false, "idSelected": true, "keyPrefix": "001",
	}, describe("SELECT Id, Owner.Name, (SELECT LastName FROM Contacts) FROM Account"))

	average := field("expr0", "")
	average["displayName"], average["aggregate"], average["numberType"], average["apexType"] = "avg(AnnualRevenue)", true, true, nil
	newest := field("newest", "")
	newest["displayName"], newest["aggregate"], newest["apexType"] = "max(CreatedDate)", true, nil
	industry := field("Industry", "String")
	industry["insertable"], industry["updatable"] = true, true
	require.Equal(t, map[string]any{
		"columnMetadata": []any{industry, average, newest}, "entityName": "Account", "groupBy": true, "idSelected": false, "keyPrefix": "001",
	}, describe("SELECT Industry, AVG(AnnualRevenue), MAX(CreatedDate) newest FROM Account GROUP BY Industry"))
	require.Equal(t, "Integer", describe("SELECT NumberOfEmployees FROM Account")["columnMetadata"].([]any)[0].(map[string]any)["apexType"])
	require.Equal(t, "INVALID_FIELD", o.want(400, "GET", v62+"/query?columns=true&q="+url.QueryEscape("SELECT Nope FROM Account"), "").code())
}
