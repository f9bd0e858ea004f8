package sandbox_test

import (
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox"
)

func TestDateFunctionsGroupAndFilter(t *testing.T) {
	t.Parallel()
	o := family(t) // opportunities close on the 15th of April, May and June 2026
	for q, want := range map[string]string{
		"SELECT CALENDAR_MONTH(CloseDate) m, COUNT(Id) n FROM Opportunity GROUP BY CALENDAR_MONTH(CloseDate) ORDER BY CALENDAR_MONTH(CloseDate) DESC":                                     `[{"m":6,"n":1},{"m":5,"n":1},{"m":4,"n":1}]`,
		"SELECT CALENDAR_QUARTER(CloseDate), FISCAL_YEAR(CloseDate), SUM(Amount) FROM Opportunity GROUP BY CALENDAR_QUARTER(CloseDate), FISCAL_YEAR(CloseDate)":                           `[{"expr0":2,"expr1":2026,"expr2":30.4}]`,
		"SELECT DAY_ONLY(convertTimezone(CreatedDate)) d, HOUR_IN_DAY(CreatedDate) h, COUNT(Id) n FROM Account GROUP BY DAY_ONLY(convertTimezone(CreatedDate)), HOUR_IN_DAY(CreatedDate)": `[{"d":"2026-05-14","h":10,"n":3}]`,
		"SELECT CALENDAR_YEAR(CloseDate) y FROM Opportunity GROUP BY CALENDAR_YEAR(CloseDate) HAVING CALENDAR_YEAR(CloseDate) > 2026":                                                     `[]`,
		"SELECT Name FROM Opportunity WHERE CALENDAR_MONTH(CloseDate) IN (4, 6) AND DAY_IN_MONTH(CloseDate) = 15 ORDER BY Name":                                                           `[{"Name":"O0"},{"Name":"O2"}]`,
		"SELECT Name FROM Opportunity WHERE DAY_IN_WEEK(CloseDate) = 6 AND WEEK_IN_MONTH(CloseDate) = 3 AND WEEK_IN_YEAR(CloseDate) = 20 AND DAY_IN_YEAR(CloseDate) = 135":                `[{"Name":"O1"}]`, // a Friday
		"SELECT COUNT(Id) n FROM Account WHERE DAY_ONLY(CreatedDate) = TODAY AND FISCAL_QUARTER(CreatedDate) != 3 AND FISCAL_MONTH(CreatedDate) < 6":                                      `[{"n":3}]`,
	} {
		require.JSONEq(t, want, o.bare(q), q)
	}
}

func TestSubtotals(t *testing.T) {
	t.Parallel()
	o := family(t) // Retail: Acme of Kiel and Core of nowhere; Energy: Bolt of nowhere
	for q, want := range map[string]string{
		"SELECT Industry, COUNT(Id) n FROM Account GROUP BY ROLLUP(Industry)": `[{"Industry":"Energy","n":1},{"Industry":"Retail","n":2},{"Industry":null,"n":3}]`,
		"SELECT Industry i, BillingCity c, GROUPING(Industry) gi, GROUPING(BillingCity) gc, SUM(AnnualRevenue) s FROM Account GROUP BY ROLLUP(Industry, BillingCity)": `[
			{"i":"Energy","c":null,"gi":0,"gc":0,"s":40},{"i":"Energy","c":null,"gi":0,"gc":1,"s":40},
			{"i":"Retail","c":null,"gi":0,"gc":0,"s":null},{"i":"Retail","c":"Kiel","gi":0,"gc":0,"s":100},{"i":"Retail","c":null,"gi":0,"gc":1,"s":100},
			{"i":null,"c":null,"gi":1,"gc":1,"s":140}]`,
		"SELECT Industry i, BillingCity c, COUNT(Id) n FROM Account GROUP BY CUBE(Industry, BillingCity) HAVING GROUPING(Industry) = 1 ORDER BY GROUPING(BillingCity), BillingCity": `[
			{"i":null,"c":null,"n":2},{"i":null,"c":"Kiel","n":1},{"i":null,"c":null,"n":3}]`,
		"SELECT CALENDAR_YEAR(CloseDate) y, COUNT(Id) n FROM Opportunity GROUP BY ROLLUP(CALENDAR_YEAR(CloseDate))": `[{"y":2026,"n":3},{"y":null,"n":3}]`,
		"SELECT Industry, COUNT(Id) n FROM Account WHERE Name = 'nobody' GROUP BY CUBE(Industry)":                   `[{"Industry":null,"n":0}]`,
	} {
		require.JSONEq(t, want, o.bare(q), q)
	}
}

func TestFunctionsThatShowValues(t *testing.T) {
	t.Parallel()
	o := family(t)
	for q, want := range map[string]string{
		"SELECT toLabel(Industry), Name FROM Account WHERE toLabel(Industry) = 'energy'":                                 `[{"Industry":"Energy","Name":"Bolt"}]`,
		"SELECT Industry, toLabel(Industry) label FROM Account WHERE Name = 'Core'":                                      `[{"Industry":"Retail","label":"Retail"}]`,
		"SELECT toLabel(Account.Industry), Account.Name FROM Contact WHERE LastName = 'Cole'":                            `[{"Account":{"Industry":"Energy","Name":"Bolt"}}]`,
		"SELECT Amount, FORMAT(Amount) shown, FORMAT(CloseDate), FORMAT(CreatedDate) FROM Opportunity WHERE Name = 'O1'": `[{"Amount":20.2,"shown":"$20.20","CloseDate":"5/15/2026","CreatedDate":"5/14/2026, 10:00 AM"}]`,
		"SELECT FORMAT(MAX(AnnualRevenue)) most, FORMAT(SUM(NumberOfEmployees)), MIN(CreatedDate) FROM Account":          `[{"most":"$100.00","expr0":"9","expr1":"2026-05-14T10:00:00.000+0000"}]`,
		"SELECT FORMAT(NumberOfEmployees) FROM Account WHERE Name = 'Core'":                                              `[{"NumberOfEmployees":null}]`,
	} {
		require.JSONEq(t, want, o.bare(q), q)
	}
	big := o.account(`{"Name":"Big","AnnualRevenue":-1234567,"NumberOfEmployees":12345}`)
	require.JSONEq(t, `[{"AnnualRevenue":"-$1,234,567.00","NumberOfEmployees":"12,345"}]`, o.bare("SELECT FORMAT(AnnualRevenue), FORMAT(NumberOfEmployees) FROM Account WHERE Id = '"+big+"'"))
	columns := o.want(200, "GET", v62+"/query?columns=true&q="+url.QueryEscape("SELECT FORMAT(CreatedDate) a, TYPEOF Owner WHEN User THEN Username END FROM Lead"), "").object()["columnMetadata"].([]any)
	require.Equal(t, "a", columns[0].(map[string]any)["columnName"])
	require.Equal(t, true, columns[0].(map[string]any)["textType"])
	require.Equal(t, "OwnerId", columns[1].(map[string]any)["foreignKeyName"])
}

// A task refers to records of several types.
const tasks = `{"objects":[{"name":"Task","fields":[
	{"name":"Subject","type":"string","length":255,"nameField":true},
	{"name":"WhatId","type":"reference","referenceTo":["Account","Opportunity"],"relationship":"What","childRelationship":"Tasks"},
	{"name":"OwnerId","type":"reference","referenceTo":["User"],"relationship":"Owner","owner":true}]}]}`

func TestParentsOfSeveralTypes(t *testing.T) {
	t.Parallel()
	o := setup(t, withSchema(t, tasks))
	acme := o.account(`{"Name":"Acme","Phone":"1"}`)
	deal := o.want(201, "POST", v62+"/sobjects/Opportunity", `{"Name":"Deal","StageName":"Prospecting","CloseDate":"2026-06-01","Amount":5,"AccountId":"`+acme+`"}`).id()
	for subject, what := range map[string]string{"a": `"` + acme + `"`, "b": `"` + deal + `"`, "c": "null"} {
		o.want(201, "POST", v62+"/sobjects/Task", `{"Subject":"`+subject+`","WhatId":`+what+`}`)
	}
	for q, want := range map[string]string{
		"SELECT Subject, What.Type, What.Name FROM Task ORDER BY Subject":                                                                      `[{"Subject":"a","What":{"Type":"Account","Name":"Acme"}},{"Subject":"b","What":{"Type":"Opportunity","Name":"Deal"}},{"Subject":"c","What":null}]`,
		"SELECT Subject FROM Task WHERE What.Type IN ('Opportunity') OR What.Name LIKE 'ac%' ORDER BY What.Name DESC":                          `[{"Subject":"b"},{"Subject":"a"}]`,
		"SELECT What.Type t, COUNT(Id) n FROM Task GROUP BY What.Type":                                                                         `[{"t":null,"n":1},{"t":"Account","n":1},{"t":"Opportunity","n":1}]`,
		"SELECT TYPEOF What WHEN Account THEN Phone, Owner.Username WHEN Opportunity THEN Amount, Account.Name END FROM Task ORDER BY Subject": `[{"What":{"Phone":"1","Owner":{"Username":"robot@example.com"}}},{"What":{"Amount":5,"Account":{"Name":"Acme"}}},{"What":null}]`,
		"SELECT Subject, TYPEOF What WHEN Opportunity THEN Id ELSE Name, Phone END FROM Task WHERE Subject IN ('a','b') ORDER BY Subject":      `[{"Subject":"a","What":{"Name":"Acme","Phone":"1"}},{"Subject":"b","What":{"Id":"` + deal + `"}}]`,
		"SELECT TYPEOF Owner WHEN User THEN Username WHEN Group THEN Name END FROM Task WHERE Owner.Type = 'User' LIMIT 1":                     `[{"Owner":{"Username":"robot@example.com"}}]`,
	} {
		require.JSONEq(t, want, o.bare(q), q)
	}
	row := o.soql("SELECT TYPEOF What WHEN Opportunity THEN Id END FROM Task WHERE Subject = 'a'")["records"].([]any)[0].(map[string]any)
	require.Equal(t, "Account", row["What"].(map[string]any)["attributes"].(map[string]any)["type"], "what no branch is for is only named")
	job := o.want(200, "POST", v62+"/jobs/query", `{"operation":"query","query":"SELECT Subject, What.Name FROM Task ORDER BY Subject"}`).id()
	o.until(v62+"/jobs/query/"+job, func(j map[string]any) bool { return j["state"] == "JobComplete" })
	require.Equal(t, "\"Subject\",\"What.Name\"\n\"a\",\"Acme\"\n\"b\",\"Deal\"\n\"c\",\"\"\n", o.want(200, "GET", v62+"/jobs/query/"+job+"/results", "").text)
}

func TestScopes(t *testing.T) {
	t.Parallel()
	o := setup(t, func(c *sandbox.Config) {
		c.Users = append(c.Users, sandbox.User{Username: "second@example.com", ID: "005000000000099AAA"})
	})
	o.account(`{"Name":"Mine"}`)
	o.account(`{"Name":"Another's","OwnerId":"005000000000099AAA"}`)
	require.Equal(t, []string{"Mine"}, o.names("SELECT Name FROM Account USING SCOPE mine"))
	require.Equal(t, []string{"Another's", "Mine"}, o.names("SELECT Name FROM Account USING SCOPE Everything WHERE Name != 'x' ORDER BY Name"))
	require.Empty(t, o.names("SELECT Name FROM Account USING SCOPE mine WHERE Name LIKE 'Another%' OR Name = 'x'"))
	require.InDelta(t, 1, o.soql("SELECT COUNT() FROM Account USING SCOPE mine")["totalSize"], 0)
	scopes := o.want(200, "GET", v62+"/sobjects/Account/describe", "").object()["supportedScopes"]
	require.Equal(t, []any{map[string]any{"label": "All accounts", "name": "everything"}, map[string]any{"label": "My accounts", "name": "mine"}}, scopes)
}

func TestFunctionsAgainstTheRulesAreRefused(t *testing.T) {
	t.Parallel()
	o := setup(t, withSchema(t, tasks))
	for q, want := range map[string]string{
		"SELECT CALENDAR_YEAR(CreatedDate) FROM Account":                                                        "MALFORMED_QUERY: the date function CALENDAR_YEAR can be selected only if it is grouped",
		"SELECT CALENDAR_YEAR(CreatedDate) FROM Account GROUP BY CALENDAR_MONTH(CreatedDate)":                   "MALFORMED_QUERY: Field must be grouped or aggregated: CreatedDate",
		"SELECT Id FROM Account WHERE CALENDAR_YEAR(CreatedDate) = THIS_YEAR":                                   "INVALID_FIELD: value of filter criterion for field 'CALENDAR_YEAR'",
		"SELECT Id FROM Account WHERE CALENDAR_YEAR(Name) = 2026":                                               "MALFORMED_QUERY: field Name does not support the date function CALENDAR_YEAR",
		"SELECT Id FROM Opportunity WHERE HOUR_IN_DAY(CloseDate) = 1":                                           "MALFORMED_QUERY: field CloseDate does not support the date function HOUR_IN_DAY",
		"SELECT Id FROM Opportunity WHERE CALENDAR_YEAR(convertTimezone(CloseDate)) = 1":                        "MALFORMED_QUERY: field CloseDate does not support",
		"SELECT Id FROM Account WHERE convertTimezone(CreatedDate) > TODAY":                                     "MALFORMED_QUERY: convertTimezone() is allowed only inside",
		"SELECT Id FROM Account ORDER BY CALENDAR_YEAR(CreatedDate)":                                            "MALFORMED_QUERY: only aggregate queries can be ordered by CALENDAR_YEAR",
		"SELECT Industry FROM Account GROUP BY ROLLUP(Industry), Name":                                          "MALFORMED_QUERY: unexpected token: ','",
		"SELECT COUNT(Id) FROM Account GROUP BY CUBE(Industry, Name, Phone, BillingCity)":                       "MALFORMED_QUERY: GROUP BY CUBE cannot have more than 3 fields",
		"SELECT GROUPING(Industry) FROM Account GROUP BY Industry":                                              "MALFORMED_QUERY: GROUPING() is allowed only with GROUP BY ROLLUP",
		"SELECT GROUPING(Name) FROM Account GROUP BY ROLLUP(Industry)":                                          "MALFORMED_QUERY: Field must be grouped or aggregated: Name",
		"SELECT convertCurrency(AnnualRevenue) FROM Account":                                                    "MALFORMED_QUERY: convertCurrency() is not supported",
		"SELECT FORMAT(convertCurrency(AnnualRevenue)) x FROM Account":                                          "MALFORMED_QUERY: convertCurrency() is not supported",
		"SELECT Id FROM Account WHERE convertCurrency(AnnualRevenue) > 5":                                       "MALFORMED_QUERY: the function CONVERTCURRENCY is not allowed in WHERE",
		"SELECT FORMAT(Name) FROM Account":                                                                      "MALFORMED_QUERY: FORMAT() is not supported for the field Name",
		"SELECT FORMAT(MAX(Name)) FROM Account":                                                                 "MALFORMED_QUERY: FORMAT() is not supported for Name",
		"SELECT toLabel(Name) FROM Account":                                                                     "MALFORMED_QUERY: toLabel() is not supported for the field Name",
		"SELECT Industry, toLabel(Industry) FROM Account":                                                       "INVALID_FIELD: duplicate field selected: Industry",
		"SELECT Industry, toLabel(Industry) l FROM Account GROUP BY Industry":                                   "MALFORMED_QUERY: the function TOLABEL is not allowed in a grouped query",
		"SELECT DISTANCE(BillingAddress, GEOLOCATION(37, 122), 'mi') FROM Account":                              "MALFORMED_QUERY: the function 'DISTANCE' is not supported",
		"SELECT Id FROM Contact WHERE AccountId IN (SELECT toLabel(Industry) FROM Account)":                     "MALFORMED_QUERY: a semi join sub-select cannot have functions",
		"SELECT Id FROM Account USING SCOPE team":                                                               "INVALID_QUERY_SCOPE: the scope 'team'",
		"SELECT Id FROM User USING SCOPE mine":                                                                  "INVALID_QUERY_SCOPE: the scope 'mine'",
		"SELECT (SELECT Id FROM Contacts USING SCOPE mine) FROM Account":                                        "MALFORMED_QUERY: USING SCOPE is not allowed in a subquery",
		"SELECT Id FROM Account WITH SECURITY_ENFORCED":                                                         "MALFORMED_QUERY: WITH SECURITY_ENFORCED is allowed only in Apex",
		"SELECT Id FROM Account WHERE Name = 'x' WITH USER_MODE LIMIT 1":                                        "MALFORMED_QUERY: WITH USER_MODE is allowed only in Apex",
		"SELECT Id FROM Account WITH DATA CATEGORY Geography__c ABOVE usa__c":                                   "MALFORMED_QUERY: WITH DATA CATEGORY is allowed only for articles",
		"SELECT Id FROM Account UPDATE VIEWSTAT":                                                                "MALFORMED_QUERY: UPDATE VIEWSTAT is allowed only for articles",
		"SELECT TYPEOF Parent WHEN Account THEN Name END FROM Account":                                          "MALFORMED_QUERY: TYPEOF cannot be used with 'Parent'",
		"SELECT TYPEOF Nope WHEN Account THEN Name END FROM Task":                                               "INVALID_FIELD: Didn't understand relationship 'Nope'",
		"SELECT TYPEOF What WHEN Lead THEN Name END FROM Task":                                                  "INVALID_TYPE: sObject type 'Lead' is not one that 'What' refers to",
		"SELECT TYPEOF What WHEN Account THEN Nope END FROM Task":                                               "INVALID_FIELD: No such column 'Nope' on entity 'Account'",
		"SELECT TYPEOF What WHEN Account THEN Name ELSE Amount END FROM Task":                                   "INVALID_FIELD: No such column 'Amount' on entity 'Name'",
		"SELECT TYPEOF What WHEN Account THEN Name WHEN account THEN Id END FROM Task":                          "MALFORMED_QUERY: duplicate WHEN Account",
		"SELECT What.Name, TYPEOF What WHEN Account THEN Phone END FROM Task":                                   "The relationship 'What' is selected by TYPEOF and otherwise",
		"SELECT What.Phone.x, Id FROM Task":                                                                     "INVALID_FIELD: Didn't understand relationship 'Phone'",
		"SELECT What.Amount FROM Task":                                                                          "INVALID_FIELD: No such column 'Amount' on entity 'Name'",
		"SELECT TYPEOF Owner WHEN User THEN Id END, Owner.Type FROM Case":                                       "The relationship 'Owner' is selected by TYPEOF and otherwise",
		"SELECT TYPEOF Owner WHEN Group THEN Id WHEN Account THEN Id END FROM Case":                             "INVALID_TYPE: sObject type 'Account'",
		"SELECT Id, TYPEOF What WHEN Account THEN Id END FROM Task GROUP BY Id":                                 "MALFORMED_QUERY: Grouped query cannot use TYPEOF",
		"SELECT Id FROM Opportunity WHERE AccountId IN (SELECT TYPEOF What WHEN Account THEN Id END FROM Task)": "MALFORMED_QUERY: TYPEOF is not allowed in a semi join",
	} {
		code, message := o.refusal("62.0", q)
		wantCode, wantMessage, ok := strings.Cut(want, ": ")
		if !ok {
			wantCode, wantMessage = "MALFORMED_QUERY", want
		}
		require.Equal(t, wantCode, code, q)
		require.Contains(t, message, wantMessage, q)
	}
	for version, q := range map[string]string{"45.0": "SELECT TYPEOF What WHEN Account THEN Id END FROM Task", "31.0": "SELECT Id FROM Account USING SCOPE mine"} {
		code, message := o.refusal(version, q)
		require.Equal(t, "MALFORMED_QUERY", code)
		require.Contains(t, message, "needs version")
	}
	for _, q := range []string{"SELECT toLabel(Industry) FROM Account", "SELECT TYPEOF What WHEN Account THEN Id END FROM Task"} {
		job := o.want(200, "POST", v62+"/jobs/query", mustJSON(map[string]string{"operation": "query", "query": q})).id()
		o.until(v62+"/jobs/query/"+job, func(j map[string]any) bool { return j["state"] == "Failed" })
	}
}
