package sandbox_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox"
)

func (o *org) rules(set string) result {
	o.t.Helper()
	return o.want(200, "PUT", "/__sandbox__/rules", set)
}

// duplicateOf reads the one match out of a refusal.
func duplicateOf(t *testing.T, body map[string]any) (result, record map[string]any) {
	t.Helper()
	result = body["duplicateResult"].(map[string]any)
	matches := result["matchResults"].([]any)[0].(map[string]any)
	require.Equal(t, "Account", matches["entityType"])
	require.InDelta(t, 1, matches["size"], 0)
	require.Equal(t, true, matches["success"])
	match := matches["matchRecords"].([]any)[0].(map[string]any)
	require.InDelta(t, 100, match["matchConfidence"], 0)
	return result, match["record"].(map[string]any)
}

const duplicateHeader = "Sforce-Duplicate-Rule-Header"

func TestDuplicatesAreDetected(t *testing.T) {
	t.Parallel()
	o := setup(t)
	id := o.account(`{"Name":"Acme Corp.","Phone":"1"}`)
	o.account(`{"Name":"Acme Corp.","Phone":"2"}`) // without rules nothing is looked at
	o.want(204, "PATCH", v62+"/sobjects/Account/"+id, `{"Name":"ACME corp"}`)
	o.rules(`{"duplicateRules":[{"name":"Standard_Account_Duplicate_Rule","object":"Account","match":["Name","Phone"],"fuzzy":true,"onInsert":"alert","onUpdate":"block"}]}`)
	path, body := v62+"/sobjects/Account", `{"Name":"acme-corp","Phone":"1"}`

	r := o.want(400, "POST", path, body)
	require.Equal(t, "DUPLICATES_DETECTED", r.code())
	found := r.array()[0]
	require.Equal(t, "Use one of these records?", found["message"])
	require.Equal(t, found["duplicateResult"], found["duplicateResut"])
	d, rec := duplicateOf(t, found)
	require.Equal(t, true, d["allowSave"])
	require.Equal(t, "Standard_Account_Duplicate_Rule", d["duplicateRule"])
	require.Equal(t, "Account", d["duplicateRuleEntityType"])
	require.Equal(t, "FuzzyMatchEngine", d["matchResults"].([]any)[0].(map[string]any)["matchEngine"])
	require.Equal(t, map[string]any{"attributes": map[string]any{"type": "Account", "url": path + "/" + id}, "Id": id}, rec)

	_, rec = duplicateOf(t, o.want(400, "POST", path, body, duplicateHeader, "allowSave=false; includeRecordDetails=true").array()[0])
	require.Equal(t, "ACME corp", rec["Name"])
	o.want(400, "POST", "/services/data/v51.0/sobjects/Account", body, duplicateHeader, "allowSave=true")
	o.want(400, "PATCH", path+"/Selfsame_Id__c/new", body)
	o.want(201, "POST", path, `{"Name":"acme-corp"}`) // nothing to compare the phone with
	second := o.want(201, "POST", path, body, duplicateHeader, "allowSave=true; runAsCurrentUser=true").id()

	// On update the rule blocks, whatever the caller says, but only if a field
	// of the rule changes.
	o.want(204, "PATCH", path+"/"+second, `{"Fax":"9"}`)
	o.want(204, "PATCH", path+"/"+second, `{"Phone":"7"}`)
	d, _ = duplicateOf(t, o.want(400, "PATCH", path+"/"+second, `{"Phone":"1"}`, duplicateHeader, "allowSave=true").array()[0])
	require.Equal(t, false, d["allowSave"])
	o.want(204, "DELETE", path+"/"+id, "")
	o.want(204, "PATCH", path+"/"+second, `{"Phone":"1"}`) // the bin is not searched
}

func TestDuplicatesInCollections(t *testing.T) {
	t.Parallel()
	o := setup(t)
	id := o.account(`{"Name":"Acme","Selfsame_Id__c":"k"}`)
	o.rules(`{"duplicateRules":[{"name":"Rule","matchRule":"Match","object":"account","match":["name"],"onInsert":"block","message":"Seen before"}]}`)
	rows := o.want(200, "POST", v62+"/composite/sobjects", accounts("ACME", "Other", "other"), duplicateHeader, "allowSave=true").array()
	require.Equal(t, []string{"DUPLICATES_DETECTED", "ok", "DUPLICATES_DETECTED"}, outcomes(rows))
	refused := rows[0]["errors"].([]any)[0].(map[string]any)
	require.Equal(t, "Seen before", refused["message"])
	require.Equal(t, []any{}, refused["fields"])
	d, rec := duplicateOf(t, refused)
	require.Equal(t, id, rec["Id"])
	require.Equal(t, false, d["allowSave"])
	match := d["matchResults"].([]any)[0].(map[string]any)
	require.Equal(t, "Match", match["rule"])
	require.Equal(t, "ExactMatchEngine", match["matchEngine"])

	statuses, parts := o.composite(bundle(true, sub("a", "POST", "/sobjects/Account", record("", "Name", "Third")), sub("b", "POST", "/sobjects/Account", record("", "Name", "third"))))
	require.Equal(t, []int{400, 400}, statuses)
	require.Equal(t, "DUPLICATES_DETECTED", refusal(parts[1]))
	o.want(200, "DELETE", "/__sandbox__/rules", "")
	o.account(`{"Name":"Acme"}`)
}

func TestSubrequestsHaveTheirOwnHeaders(t *testing.T) {
	t.Parallel()
	o := setup(t)
	o.account(`{"Name":"Acme"}`)
	o.rules(`{"duplicateRules":[{"name":"Rule","object":"Account","match":["Name"],"onInsert":"alert"}]}`)
	insist := sub("b", "POST", "/sobjects/Account", record("", "Name", "Acme"))
	insist["httpHeaders"] = map[string]string{"Sforce-Duplicate-Rule-Header": "allowSave=true"}
	for _, allOrNone := range []bool{false, true} {
		statuses, _ := o.composite(bundle(allOrNone, insist))
		require.Equal(t, []int{201}, statuses)
		r := o.want(200, "POST", v62+"/composite", bundle(allOrNone, sub("a", "POST", "/sobjects/Account", record("", "Name", "Acme"))), duplicateHeader, "allowSave=true")
		require.Contains(t, r.text, "DUPLICATES_DETECTED", "the headers of the outside are not inherited")
	}
}

func TestValidationRules(t *testing.T) {
	t.Parallel()
	o := setup(t)
	o.rules(`{"validationRules":[
		{"name":"Big","object":"Account","when":[{"field":"AnnualRevenue","op":"greaterThan","value":1000},{"field":"Phone","op":"isNull"}],"message":"Large accounts need a phone.","field":"Phone"},
		{"name":"Fixed","object":"Account","when":[{"field":"Industry","op":"isChanged"}],"message":"The industry is fixed."},
		{"name":"Off","object":"Account","inactive":true,"when":[{"field":"Name","op":"notNull"}],"message":"never"}]}`)
	path := v62 + "/sobjects/Account"
	r := o.want(400, "POST", path, `{"Name":"A","AnnualRevenue":1001}`)
	require.Equal(t, []map[string]any{{"errorCode": "FIELD_CUSTOM_VALIDATION_EXCEPTION", "message": "Large accounts need a phone.", "fields": []any{"Phone"}}}, r.array())
	id := o.want(201, "POST", path, `{"Name":"A","AnnualRevenue":1000,"Industry":"Energy"}`).id()
	o.want(400, "PATCH", path+"/"+id, `{"AnnualRevenue":2000}`)
	o.want(204, "PATCH", path+"/"+id, `{"AnnualRevenue":2000,"Phone":"1"}`)
	o.want(400, "PATCH", path+"/"+id, `{"Phone":""}`)
	require.Equal(t, "The industry is fixed.", o.want(400, "PATCH", path+"/"+id, `{"Industry":"Media"}`).array()[0]["message"])
	o.want(204, "PATCH", path+"/"+id, `{"Industry":"energy"}`)
	rows := o.want(200, "PATCH", v62+"/composite/sobjects", fmt.Sprintf(`{"records":[{"attributes":{"type":"Account"},"id":"%s","Industry":null}]}`, id)).array()
	require.Equal(t, []string{"FIELD_CUSTOM_VALIDATION_EXCEPTION"}, outcomes(rows))
	o.want(200, "DELETE", "/__sandbox__/rules", "")
	o.want(204, "PATCH", path+"/"+id, `{"Industry":"Media"}`)
}

func TestConditions(t *testing.T) {
	t.Parallel()
	o := setup(t)
	for _, tc := range []struct {
		condition string
		refused   bool
	}{
		{`{"field":"Name","op":"equals","value":"ACME"}`, true},
		{`{"field":"Name","op":"equals","value":["x","acme"]}`, true},
		{`{"field":"Name","op":"notEquals","value":["x","acme"]}`, false},
		{`{"field":"Phone","op":"notEquals","value":"1"}`, true},
		{`{"field":"Name","op":"contains","value":"CM"}`, true},
		{`{"field":"Name","op":"startsWith","value":"cm"}`, false},
		{`{"field":"Name","op":"startsWith","value":"Ac"}`, true},
		{`{"field":"NumberOfEmployees","op":"lessThan","value":7}`, false},
		{`{"field":"NumberOfEmployees","op":"lessOrEqual","value":7}`, true},
		{`{"field":"NumberOfEmployees","op":"greaterOrEqual","value":7}`, true},
		{`{"field":"NumberOfEmployees","op":"greaterThan","value":6}`, true},
		{`{"field":"AnnualRevenue","op":"lessThan","value":5}`, false},
		{`{"field":"Phone","op":"isNull"}`, true},
		{`{"field":"Name","op":"notNull"}`, true},
		{`{"field":"Name","op":"isChanged"}`, false},
		{`{"field":"CreatedDate","op":"lessThan","value":"2030-01-01T00:00:00Z"}`, true},
		{`{"field":"IsDeleted","op":"equals","value":false}`, true},
	} {
		o.rules(`{"validationRules":[{"object":"Account","when":[` + tc.condition + `],"message":"no"}]}`)
		want := 201
		if tc.refused {
			want = 400
		}
		require.Equal(t, want, o.do("POST", v62+"/sobjects/Account", `{"Name":"Acme","NumberOfEmployees":7}`).status, tc.condition)
	}
}

func TestLeadsAreAssigned(t *testing.T) {
	t.Parallel()
	o := setup(t, func(c *sandbox.Config) {
		c.Users = append(c.Users, sandbox.User{Username: "north@example.com", ID: "005000000000008AAA"}, sandbox.User{Username: "south@example.com", ID: "005000000000009AAA"})
	})
	const own, north, south = "005000000000001AAA", "005000000000008AAA", "005000000000009AAA"
	path := v62 + "/sobjects/Lead"
	owner := func(id string) any {
		return o.want(200, "GET", path+"/"+id+"?fields=OwnerId", "").object()["OwnerId"]
	}
	lead := func(city string, headers ...string) any {
		return owner(o.want(201, "POST", path, `{"LastName":"L","Company":"C","City":"`+city+`"}`, headers...).id())
	}
	require.Equal(t, own, lead("Kiel"))
	set := o.rules(`{"assignmentRules":[
		{"name":"Spare","object":"Lead","inactive":true,"id":"01Qbm0000000007","entries":[{"owner":"south@example.com"}]},
		{"name":"Standard","object":"Lead","entries":[
			{"when":[{"field":"City","op":"equals","value":["Kiel","Lübeck"]}],"owner":"North@example.com"},
			{"when":[{"field":"City","op":"notNull"}],"owner":"` + south[:15] + `"}]}]}`).object()
	require.Len(t, set["assignmentRules"].([]any)[1].(map[string]any)["id"], 18)
	require.Equal(t, north, lead("kiel"), "rules run unless they are switched off")
	require.Equal(t, south, lead("Ulm", "Sforce-Auto-Assign", "TRUE"))
	require.Equal(t, own, lead(""), "no entry fits")
	require.Equal(t, own, lead("Kiel", "Sforce-Auto-Assign", "false"))
	require.Equal(t, south, lead("Kiel", "Sforce-Auto-Assign", "01Qbm0000000007"), "a rule by its id, though inactive")
	require.Equal(t, "INVALID_CROSS_REFERENCE_KEY", o.want(400, "POST", path, `{"LastName":"L","Company":"C"}`, "Sforce-Auto-Assign", "01Qbm0000000009").code())

	id := o.want(201, "POST", path, `{"LastName":"L","Company":"C","City":"Kiel"}`, "Sforce-Auto-Assign", "FALSE").id()
	o.want(204, "PATCH", path+"/"+id, `{"Title":"T"}`, "Sforce-Auto-Assign", "FALSE")
	require.Equal(t, own, owner(id))
	s := o.feed().subscribe("/data/LeadChangeEvent", latest, "", 10)
	s.next()
	o.want(204, "PATCH", path+"/"+id, `{"Title":"U"}`)
	require.Equal(t, north, owner(id))
	e := s.collect(1)[0]
	require.Equal(t, north, nonNull(e)["OwnerId"], "one event tells both changes")
	require.Equal(t, "U", nonNull(e)["Title"])

	rows := o.want(200, "POST", v62+"/composite/sobjects", mustJSON(children(record("Lead", "LastName", "A", "Company", "B", "City", "Kiel"))), "Sforce-Auto-Assign", "FALSE").array()
	require.Equal(t, own, owner(rows[0]["id"].(string)))
	o.want(201, "POST", v62+"/sobjects/Contact", `{"LastName":"C"}`, "Sforce-Auto-Assign", "01Qbm0000000009") // contacts are not assigned
}

func TestBadRulesAreRefusedAsAWhole(t *testing.T) {
	t.Parallel()
	o := setup(t)
	o.rules(`{"validationRules":[{"name":"Kept","object":"Account","when":[{"field":"Name","op":"notNull"}],"message":"no"}]}`)
	for _, bad := range []string{
		`{"validationRules":[{"object":"Nothing","when":[{"field":"Name","op":"notNull"}],"message":"no"}]}`,
		`{"validationRules":[{"object":"User","when":[{"field":"Name","op":"notNull"}],"message":"no"}]}`,
		`{"validationRules":[{"object":"Account","when":[{"field":"Nope","op":"notNull"}],"message":"no"}]}`,
		`{"validationRules":[{"object":"Account","when":[{"field":"Name","op":"like","value":"x"}],"message":"no"}]}`,
		`{"validationRules":[{"object":"Account","when":[{"field":"Name","op":"equals"}],"message":"no"}]}`,
		`{"validationRules":[{"object":"Account","when":[{"field":"Name","op":"isNull","value":"x"}],"message":"no"}]}`,
		`{"validationRules":[{"object":"Account","when":[{"field":"NumberOfEmployees","op":"lessThan","value":"many"}],"message":"no"}]}`,
		`{"validationRules":[{"object":"Account","when":[{"field":"NumberOfEmployees","op":"lessThan","value":[1,2]}],"message":"no"}]}`,
		`{"validationRules":[{"object":"Account","when":[],"message":"no"}]}`,
		`{"validationRules":[{"object":"Account","when":[{"field":"Name","op":"notNull"}]}]}`,
		`{"duplicateRules":[{"name":"D","object":"Account","match":[]}]}`,
		`{"duplicateRules":[{"name":"D","object":"Account","match":["Name"],"onInsert":"report"}]}`,
		`{"assignmentRules":[{"name":"A","object":"Contact","entries":[]}]}`,
		`{"assignmentRules":[{"name":"A","object":"Lead","entries":[{"owner":"nobody@example.com"}]}]}`,
		`{"assignmentRules":[{"name":"A","object":"Lead","id":"x","entries":[]}]}`,
		`{"triggers":[]}`,
	} {
		o.want(400, "PUT", "/__sandbox__/rules", bad)
	}
	o.want(400, "POST", v62+"/sobjects/Account", `{"Name":"A"}`)
	require.Contains(t, o.want(200, "GET", "/__sandbox__/rules", "").text, "Kept")
}

func TestSchemaFilesHoldRules(t *testing.T) {
	t.Parallel()
	write := func(text string) string {
		file := filepath.Join(t.TempDir(), "rules.json")
		require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
		return file
	}
	good := write(`{"objects":[],"validationRules":[{"object":"Account","when":[{"field":"Name","op":"equals","value":"bad"}],"message":"not this one"}]}`)
	o := setup(t, func(c *sandbox.Config) { c.SchemaFiles = []string{good} })
	require.Equal(t, "FIELD_CUSTOM_VALIDATION_EXCEPTION", o.want(400, "POST", v62+"/sobjects/Account", `{"Name":"Bad"}`).code())
	o.account(`{"Name":"Good"}`)
	_, err := sandbox.New(sandbox.Config{SchemaFiles: []string{write(`{"objects":[],"assignmentRules":[{"object":"Lead","entries":[{"owner":"nobody"}]}]}`)}})
	require.ErrorContains(t, err, "nobody")
}
