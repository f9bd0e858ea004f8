package sandbox_test

import (
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// sub is one sub-request of a composite request.
func sub(ref, method, path string, body any) map[string]any {
	if !strings.HasPrefix(path, "/services") {
		path = v62 + path
	}
	return map[string]any{"referenceId": ref, "method": method, "url": path, "body": body}
}

func bundle(allOrNone bool, parts ...map[string]any) string {
	return mustJSON(map[string]any{"allOrNone": allOrNone, "compositeRequest": parts})
}

// composite sends sub-requests and returns the results by reference; the
// status is always 200.
func (o *org) composite(body string) (statuses []int, parts []map[string]any) {
	o.t.Helper()
	for _, p := range o.want(200, "POST", v62+"/composite", body).object()["compositeResponse"].([]any) {
		part := p.(map[string]any)
		statuses = append(statuses, int(part["httpStatusCode"].(float64)))
		parts = append(parts, part)
	}
	return statuses, parts
}

// refusal is the code of the first error of a sub-request.
func refusal(part map[string]any) string {
	list, ok := part["body"].([]any)
	if !ok {
		return ""
	}
	code, _ := list[0].(map[string]any)["errorCode"].(string)
	return code
}

func record(object string, fields ...any) map[string]any {
	out := map[string]any{}
	if object != "" {
		out["attributes"] = map[string]any{"type": object}
	}
	for i := 0; i+1 < len(fields); i += 2 {
		out[fields[i].(string)] = fields[i+1]
	}
	return out
}

func TestCompositeReferencesCarryEarlierAnswers(t *testing.T) {
	t.Parallel()
	o := setup(t)
	statuses, parts := o.composite(bundle(true,
		sub("acc", "POST", "/sobjects/Account", record("", "Name", "Acme & Söhne", "Phone", "42")),
		sub("con", "POST", "/services/data/v58.0/sobjects/Contact", record("", "LastName", "Doe", "AccountId", "@{acc.id}")),
		sub("read", "GET", "/sobjects/Account/@{acc.id}?fields=Name,Phone,NumberOfEmployees", nil),
		sub("find", "GET", "/query/?q=SELECT+Id,Name+FROM+Account+WHERE+Name='@{read.Name}'", nil),
		sub("patch", "PATCH", "/sobjects/Contact/@{con.id}", record("", "Description", "at @{read.Name}, id @{find.records[0].Id}")),
		sub("many", "POST", "/composite/sobjects", map[string]any{"records": []any{record("Contact", "LastName", "A", "AccountId", "@{acc.id}"), record("Contact", "LastName", "B")}}),
		sub("gone", "DELETE", "/sobjects/Contact/@{many[1].id}", nil),
	))
	require.Equal(t, []int{201, 201, 200, 200, 204, 200, 204}, statuses)
	acc := parts[0]["body"].(map[string]any)["id"].(string)
	require.Equal(t, map[string]any{"Location": v62 + "/sobjects/Account/" + acc}, parts[0]["httpHeaders"])
	require.Equal(t, "acc", parts[0]["referenceId"])
	require.Nil(t, parts[4]["body"])
	con := parts[1]["body"].(map[string]any)["id"].(string)
	got := o.want(200, "GET", v62+"/sobjects/Contact/"+con, "").object()
	require.Equal(t, acc, got["AccountId"])
	require.Equal(t, "at Acme & Söhne, id "+acc, got["Description"])
	require.InDelta(t, 2, o.soql("SELECT COUNT() FROM Contact")["totalSize"], 0)
}

func TestCompositeCountsAsOneCall(t *testing.T) {
	t.Parallel()
	o := setup(t)
	r := o.want(200, "POST", v62+"/composite", bundle(false, sub("a", "GET", "/sobjects", nil), sub("b", "GET", "/sobjects/Account", nil)))
	require.Equal(t, "api-usage=1/100000", r.header.Get("Sforce-Limit-Info"))
}

func TestCompositeAllOrNoneUndoesEverything(t *testing.T) {
	t.Parallel()
	o := setup(t)
	id := o.account(`{"Name":"Old","Selfsame_Id__c":"k"}`)
	s := o.feed().subscribe(accountTopic, latest, "", 100)
	s.next()
	statuses, parts := o.composite(bundle(true,
		sub("a", "POST", "/sobjects/Account", record("", "Name", "New")),
		sub("b", "PATCH", "/sobjects/Account/"+id, record("", "Name", "Changed", "Selfsame_Id__c", "other")),
		sub("c", "POST", "/sobjects/Contact", record("", "FirstName", "No last name")),
		sub("d", "DELETE", "/sobjects/Account/"+id, nil),
	))
	require.Equal(t, []int{400, 400, 400, 400}, statuses)
	require.Equal(t, "REQUIRED_FIELD_MISSING", refusal(parts[2]))
	for _, i := range []int{0, 1, 3} {
		require.Equal(t, []any{map[string]any{
			"errorCode": "PROCESSING_HALTED",
			"message":   "The transaction was rolled back since another operation in the same transaction failed.",
		}}, parts[i]["body"])
	}
	require.Equal(t, []string{"Old"}, o.names("SELECT Name FROM Account"))
	o.want(200, "GET", v62+"/sobjects/Account/Selfsame_Id__c/k", "")
	o.want(404, "GET", v62+"/sobjects/Account/Selfsame_Id__c/other", "")

	// No event of the work that was undone: the next one is the marker's.
	o.account(`{"Name":"Marker"}`)
	require.Equal(t, "Marker", nonNull(s.collect(1)[0])["Name"])
}

func TestCompositeEventsShareOneTransaction(t *testing.T) {
	t.Parallel()
	o := setup(t)
	s := o.feed().subscribe(accountTopic, latest, "", 100)
	s.next()
	parts := []map[string]any{sub("a", "POST", "/sobjects/Account", record("", "Name", "A")), sub("b", "POST", "/sobjects/Account", record("", "Name", "B"))}
	o.want(200, "POST", v62+"/composite", bundle(true, parts...), "Sforce-Call-Options", "client=relay")
	e := s.collect(2)
	require.Equal(t, e[0].header["transactionKey"], e[1].header["transactionKey"])
	require.Equal(t, int64(2), e[1].header["sequenceNumber"])
	require.Equal(t, "com/salesforce/api/rest/62.0;client=relay", e[1].header["changeOrigin"])
	o.want(200, "POST", v62+"/composite", bundle(false, parts...))
	e = s.collect(2)
	require.NotEqual(t, e[0].header["transactionKey"], e[1].header["transactionKey"])
}

func TestCompositeWithoutAllOrNoneKeepsWhatWorked(t *testing.T) {
	t.Parallel()
	o := setup(t)
	statuses, parts := o.composite(bundle(false,
		sub("bad", "POST", "/sobjects/Account", record("", "Phone", "1")),
		sub("child", "POST", "/sobjects/Contact", record("", "LastName", "Doe", "AccountId", "@{bad.id}")),
		sub("grand", "DELETE", "/sobjects/Contact/@{child.id}", nil),
		sub("good", "POST", "/sobjects/Account", record("", "Name", "Good")),
		sub("case", "PATCH", "/sobjects/Account/@{good.Id}", record("", "Name", "Wrong case")),
		sub("later", "GET", "/sobjects/Account/@{never.id}", nil),
		sub("nowhere", "GET", "/jobs/ingest", nil),
		sub("nested", "POST", "/composite/batch", map[string]any{}),
		sub("retired", "GET", "/services/data/v20.0/sobjects", nil),
	))
	require.Equal(t, []int{400, 400, 400, 201, 400, 400, 404, 404, 410}, statuses)
	for _, i := range []int{1, 2, 4, 5} {
		require.Equal(t, "PROCESSING_HALTED", refusal(parts[i]))
		require.Contains(t, parts[i]["body"].([]any)[0].(map[string]any)["message"], "Invalid reference specified.")
	}
	require.Equal(t, []string{"Good"}, o.names("SELECT Name FROM Account"))
	require.InDelta(t, 0, o.soql("SELECT COUNT() FROM Contact")["totalSize"], 0)
}

// The flags of a composite request and of a collection in it, and what each
// pair shows and does when one row of the collection is refused.
func TestNestedFlags(t *testing.T) {
	t.Parallel()
	rolled := "ALL_OR_NONE_OPERATION_ROLLED_BACK"
	for _, tc := range []struct {
		outer, inner bool
		rows         []string
		contact      int
		stored       []string
		contacts     int
	}{
		{true, true, []string{rolled, "REQUIRED_FIELD_MISSING"}, 400, []string{}, 0},
		// The trap: the first row claims success, yet it does not exist.
		{true, false, []string{"ok", "REQUIRED_FIELD_MISSING"}, 400, []string{}, 0},
		{false, true, []string{rolled, "REQUIRED_FIELD_MISSING"}, 201, []string{}, 1},
		{false, false, []string{"ok", "REQUIRED_FIELD_MISSING"}, 201, []string{"Stays"}, 1},
	} {
		t.Run(fmt.Sprintf("outer %t, inner %t", tc.outer, tc.inner), func(t *testing.T) {
			t.Parallel()
			o := setup(t)
			statuses, parts := o.composite(bundle(tc.outer,
				sub("accounts", "POST", "/composite/sobjects", map[string]any{
					"allOrNone": tc.inner,
					"records":   []any{record("Account", "Name", "Stays"), record("Account")},
				}),
				sub("contact", "POST", "/sobjects/Contact", record("", "LastName", "Smith")),
			))
			require.Equal(t, []int{200, tc.contact}, statuses)
			var rows []map[string]any
			for _, r := range parts[0]["body"].([]any) {
				rows = append(rows, r.(map[string]any))
			}
			require.Equal(t, tc.rows, outcomes(rows))
			require.Equal(t, tc.stored, o.names("SELECT Name FROM Account"))
			require.InDelta(t, tc.contacts, o.soql("SELECT COUNT() FROM Contact")["totalSize"], 0)
			if tc.outer && !tc.inner {
				o.want(404, "GET", v62+"/sobjects/Account/"+rows[0]["id"].(string), "")
			}
		})
	}
}

func TestInnerRollbackKeepsEarlierParts(t *testing.T) {
	t.Parallel()
	o := setup(t)
	statuses, _ := o.composite(bundle(false,
		sub("first", "POST", "/sobjects/Account", record("", "Name", "First")),
		sub("none", "POST", "/composite/sobjects", map[string]any{"allOrNone": true, "records": []any{record("Account", "Name", "X"), record("Account")}}),
	))
	require.Equal(t, []int{201, 200}, statuses)
	require.Equal(t, []string{"First"}, o.names("SELECT Name FROM Account"))
}

func TestCompositeLimits(t *testing.T) {
	t.Parallel()
	o := setup(t)
	var many, queries []map[string]any
	for i := range 26 {
		many = append(many, sub(fmt.Sprintf("r%d", i), "POST", "/sobjects/Account", record("", "Name", "N")))
	}
	for i := range 6 {
		queries = append(queries, sub(fmt.Sprintf("q%d", i), "GET", "/query?q="+url.QueryEscape("SELECT Id FROM Account"), nil))
	}
	for _, parts := range [][]map[string]any{many, queries} {
		statuses, results := o.composite(bundle(false, parts...))
		require.Equal(t, []int{400}, statuses)
		require.Equal(t, "LIMIT_EXCEEDED", refusal(results[0]))
		require.Nil(t, results[0]["referenceId"])
	}
	require.Empty(t, o.names("SELECT Name FROM Account"))
	statuses, _ := o.composite(bundle(true, many[:25]...))
	require.Len(t, statuses, 25)
	require.Len(t, o.names("SELECT Name FROM Account"), 25)
	statuses, _ = o.composite(bundle(true, queries[:5]...))
	require.Equal(t, []int{200, 200, 200, 200, 200}, statuses)
	for name, parts := range map[string][]map[string]any{
		"the same reference twice": {many[0], many[0]},
		"a reference with a dash":  {sub("a-b", "GET", "/sobjects", nil)},
		"no reference":             {sub("", "GET", "/sobjects", nil)},
		"a header of the outside":  {{"referenceId": "a", "method": "GET", "url": v62 + "/sobjects", "httpHeaders": map[string]any{"authorization": "x"}}},
	} {
		require.Equal(t, 400, o.do("POST", v62+"/composite", bundle(false, parts...)).status, name)
	}
	require.Equal(t, v62+"/composite/graph", o.want(200, "GET", v62+"/composite", "").object()["graph"])
	o.want(405, "DELETE", v62+"/composite", "")
	o.want(405, "GET", v62+"/composite/batch", "")
}

func TestBatchPartsAreIndependent(t *testing.T) {
	t.Parallel()
	o := setup(t)
	parts := []any{
		map[string]any{"method": "POST", "url": "v62.0/sobjects/Account", "richInput": record("", "Name", "One")},
		map[string]any{"method": "POST", "url": "/services/data/v62.0/sobjects/Account", "richInput": record("", "Phone", "1")},
		map[string]any{"method": "GET", "url": "v45.0/query?q=SELECT+Name+FROM+Account"},
		map[string]any{"method": "GET", "url": "v62.0/limits"},
	}
	statuses := func(halt bool) (any, []int, []any) {
		got := o.want(200, "POST", v62+"/composite/batch", mustJSON(map[string]any{"haltOnError": halt, "batchRequests": parts})).object()
		var codes []int
		results := got["results"].([]any)
		for _, r := range results {
			codes = append(codes, int(r.(map[string]any)["statusCode"].(float64)))
		}
		return got["hasErrors"], codes, results
	}
	failed, codes, results := statuses(false)
	require.Equal(t, true, failed)
	require.Equal(t, []int{201, 400, 200, 200}, codes)
	require.InDelta(t, 1, results[2].(map[string]any)["result"].(map[string]any)["totalSize"], 0)
	_, codes, results = statuses(true)
	require.Equal(t, []int{201, 400, 412, 412}, codes)
	require.Equal(t, "BATCH_PROCESSING_HALTED", results[3].(map[string]any)["result"].([]any)[0].(map[string]any)["errorCode"])
	require.Equal(t, []string{"One", "One"}, o.names("SELECT Name FROM Account"))
	parts = parts[2:]
	failed, codes, _ = statuses(true)
	require.Equal(t, false, failed)
	require.Equal(t, []int{200, 200}, codes)
	for range 26 {
		parts = append(parts, parts[0])
	}
	o.want(400, "POST", v62+"/composite/batch", mustJSON(map[string]any{"batchRequests": parts}))
	o.want(400, "POST", v62+"/composite/batch", `{}`)
}

func planted(object, ref string, fields ...any) map[string]any {
	r := record(object, fields...)
	r["attributes"].(map[string]any)["referenceId"] = ref
	return r
}

func children(records ...any) map[string]any { return map[string]any{"records": records} }

func TestTreesAreAllOrNone(t *testing.T) {
	t.Parallel()
	o := setup(t)
	s := o.feed().subscribe(accountTopic, latest, "", 100)
	s.next()
	grow := func(status int, roots ...any) []any {
		r := o.want(status, "POST", v62+"/composite/tree/Account/", mustJSON(children(roots...))).object()
		require.Equal(t, status != 201, r["hasErrors"])
		return r["results"].([]any)
	}
	bad := grow(400, planted("Account", "r1", "Name", "A", "Contacts", children(planted("Contact", "r2", "LastName", "B", "Email", "no"), planted("Contact", "r3", "LastName", "C"))))
	require.Len(t, bad, 1)
	require.Equal(t, "r2", bad[0].(map[string]any)["referenceId"])
	require.Equal(t, "INVALID_EMAIL_ADDRESS", bad[0].(map[string]any)["errors"].([]any)[0].(map[string]any)["statusCode"])
	require.Empty(t, o.names("SELECT Name FROM Account"))

	good := grow(201,
		planted("Account", "r1", "Name", "A", "Contacts", children(planted("Contact", "r2", "LastName", "B", "Cases", children(planted("Case", "r3", "Subject", "S"))))),
		planted("Account", "r4", "Name", "D"))
	var refs []any
	for _, r := range good {
		refs = append(refs, r.(map[string]any)["referenceId"])
	}
	require.Equal(t, []any{"r1", "r4", "r2", "r3"}, refs)
	require.Equal(t, "A", nonNull(s.collect(2)[0])["Name"]) // nothing was heard of the refused tree
	row := o.soql("SELECT Subject, Contact.LastName, Contact.Account.Name FROM Case")["records"].([]any)[0].(map[string]any)["Contact"].(map[string]any)
	require.Equal(t, "B", row["LastName"])
	require.Equal(t, "A", row["Account"].(map[string]any)["Name"])
	require.Equal(t, good[0].(map[string]any)["id"], o.soql("SELECT Id FROM Account WHERE Name = 'A'")["records"].([]any)[0].(map[string]any)["Id"])
}

func TestTreesAreRefused(t *testing.T) {
	t.Parallel()
	o := setup(t)
	var wide []any
	for i := range 201 {
		wide = append(wide, planted("Account", fmt.Sprint("r", i), "Name", "A"))
	}
	deep := planted("Account", "deep", "Name", "A")
	for i := range 5 {
		deep = planted("Account", fmt.Sprint("up", i), "Name", "A", "ChildAccounts", children(deep))
	}
	for name, roots := range map[string][]any{
		"201 records":                wide,
		"six levels":                 {deep},
		"a reference used twice":     {wide[0], wide[0]},
		"no reference":               {record("Account", "Name", "A")},
		"no type":                    {map[string]any{"Name": "A"}},
		"another type":               {planted("Contact", "r", "LastName", "A")},
		"an unknown relationship":    {planted("Account", "r", "Name", "A", "Nothing", children())},
		"no records":                 {},
		"a child that is not a type": {planted("Account", "r", "Name", "A", "Contacts", children("text"))},
	} {
		r := o.do("POST", v62+"/composite/tree/Account", mustJSON(children(roots...)))
		require.Equal(t, 400, r.status, "%s: %s", name, r.text)
		require.Equal(t, true, r.object()["hasErrors"], name)
	}
	require.Empty(t, o.names("SELECT Name FROM Account"))
	o.want(201, "POST", v62+"/composite/tree/Account", mustJSON(children(wide[:200]...)))
	o.want(404, "POST", v62+"/composite/tree/Nothing", `{}`)
	o.want(405, "GET", v62+"/composite/tree/Account", "")
}

func graphOf(id string, parts ...map[string]any) map[string]any {
	return map[string]any{"graphId": id, "compositeRequest": parts}
}

func (o *org) graphs(status int, graphs ...map[string]any) result {
	o.t.Helper()
	return o.want(status, "POST", v62+"/composite/graph", mustJSON(map[string]any{"graphs": graphs}))
}

func TestGraphsSucceedOrFailOneByOne(t *testing.T) {
	t.Parallel()
	o := setup(t)
	s := o.feed().subscribe(accountTopic, latest, "", 100)
	s.next()
	r := o.graphs(200,
		graphOf("bad", sub("a", "POST", "/sobjects/Account", record("", "Name", "Undone")), sub("b", "POST", "/sobjects/Contact", record("", "AccountId", "@{a.id}"))),
		graphOf("good", sub("a", "POST", "/sobjects/Account", record("", "Name", "Done")), sub("b", "PATCH", "/sobjects/Contact/Selfsame_Id__c/x", record("", "LastName", "L", "AccountId", "@{a.id}"))),
	).object()["graphs"].([]any)
	bad, good := r[0].(map[string]any), r[1].(map[string]any)
	require.Equal(t, "bad", bad["graphId"])
	require.Equal(t, false, bad["isSuccessful"])
	require.Equal(t, true, good["isSuccessful"])
	parts := bad["graphResponse"].(map[string]any)["compositeResponse"].([]any)
	require.Equal(t, "PROCESSING_HALTED", refusal(parts[0].(map[string]any)))
	require.Equal(t, "REQUIRED_FIELD_MISSING", refusal(parts[1].(map[string]any)))
	require.Equal(t, []string{"Done"}, o.names("SELECT Name FROM Account"))
	require.Equal(t, "Done", nonNull(s.collect(1)[0])["Name"])
}

func TestGraphsStopAfterFourteenFailures(t *testing.T) {
	t.Parallel()
	o := setup(t)
	var all []map[string]any
	for i := range 14 {
		all = append(all, graphOf(fmt.Sprint("bad", i), sub("a", "POST", "/sobjects/Account", record(""))))
	}
	all = append(all, graphOf("never", sub("a", "POST", "/sobjects/Account", record("", "Name", "N"))))
	r := o.graphs(200, all...).object()["graphs"].([]any)[14].(map[string]any)
	require.Equal(t, false, r["isSuccessful"])
	require.Equal(t, "PROCESSING_HALTED", refusal(r["graphResponse"].(map[string]any)["compositeResponse"].([]any)[0].(map[string]any)))
	require.Empty(t, o.names("SELECT Name FROM Account"))
}

func TestGraphLimits(t *testing.T) {
	t.Parallel()
	o := setup(t)
	one := sub("a", "POST", "/sobjects/Account", record("", "Name", "N"))
	var many, nodes, chain, kinds []map[string]any
	for i := range 76 {
		many = append(many, graphOf(fmt.Sprint("g", i), one))
	}
	for i := range 501 {
		nodes = append(nodes, sub(fmt.Sprint("n", i), "POST", "/sobjects/Account", record("", "Name", "N")))
	}
	chain = append(chain, sub("c0", "POST", "/sobjects/Account", record("", "Name", "N")))
	for i := range 15 {
		chain = append(chain, sub(fmt.Sprint("c", i+1), "POST", "/sobjects/Account", record("", "Name", "N", "ParentId", fmt.Sprintf("@{c%d.id}", i))))
		kinds = append(kinds, sub(fmt.Sprint("k", i), "POST", fmt.Sprintf("/services/data/v%d.0/sobjects/Account", 50+i), record("", "Name", "N")))
	}
	for name, graphs := range map[string][]map[string]any{
		"76 graphs":          many,
		"501 nodes":          {graphOf("g", nodes...)},
		"a chain of sixteen": {graphOf("g", chain...)},
		"sixteen kinds":      {graphOf("g", append(kinds, sub("l", "POST", "/services/data/v50.0/sobjects/Lead", nil))...)},
	} {
		require.Equal(t, "LIMIT_EXCEEDED", o.graphs(400, graphs...).code(), name)
	}
	o.graphs(400, graphOf("g", one), graphOf("g", one))
	o.graphs(400, graphOf("", one))
	o.graphs(400)
	require.Empty(t, o.names("SELECT Name FROM Account"))
	r := o.graphs(200, graphOf("g", chain[:15]...), graphOf("q", sub("a", "GET", "/query?q=SELECT+Id+FROM+Account", nil))).object()["graphs"].([]any)
	require.Equal(t, true, r[0].(map[string]any)["isSuccessful"])
	require.Equal(t, false, r[1].(map[string]any)["isSuccessful"]) // a graph has no queries
	require.Len(t, o.names("SELECT Name FROM Account"), 15)
	o.want(404, "POST", "/services/data/v49.0/composite/graph", `{"graphs":[]}`)
}
