package sandbox_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox"
)

func TestVersionsAndPaths(t *testing.T) {
	t.Parallel()
	o := setup(t)
	token := o.token
	o.token = ""
	list := o.want(200, "GET", "/services/data", "")
	require.Len(t, list.array(), 37)
	require.Equal(t, map[string]any{"label": "Winter '25", "url": v62, "version": "62.0"}, list.array()[31])
	require.Empty(t, list.header.Get("Sforce-Limit-Info"))
	o.token = token
	for _, path := range []string{"/services/data/v31.0", "/services/data/v67.0/", "//services/data/v62.0"} {
		r := o.want(200, "GET", path, "").object()
		require.Contains(t, r, "sobjects")
		require.Contains(t, r, "identity")
	}
	o.want(http.StatusGone, "GET", "/services/data/v30.0/limits", "")
	o.want(http.StatusNotFound, "GET", "/services/data/v68.0/limits", "")
	o.want(http.StatusNotFound, "GET", "/services/data/62/limits", "")
	require.Equal(t, "METHOD_NOT_ALLOWED", o.want(405, "DELETE", v62+"/limits", "").code())
	require.Equal(t, http.StatusRequestURITooLong, o.do("GET", v62+"/query?q="+strings.Repeat("x", 17000), "").status)
	require.Equal(t, http.StatusRequestHeaderFieldsTooLarge, o.do("GET", v62+"/limits", "", "X-Long", strings.Repeat("x", 16500)).status)
}

func TestDescribe(t *testing.T) {
	t.Parallel()
	o := setup(t)
	global := o.want(200, "GET", v62+"/sobjects", "").object()
	require.InDelta(t, 200, global["maxBatchSize"], 0)
	first := global["sobjects"].([]any)[0].(map[string]any)
	require.Equal(t, v62+"/sobjects/Account/{ID}", first["urls"].(map[string]any)["rowTemplate"])
	r := o.want(200, "GET", v62+"/sobjects/account/describe", "")
	require.NotEmpty(t, r.header.Get("Last-Modified"))
	byName := map[string]map[string]any{}
	for _, f := range r.object()["fields"].([]any) {
		m := f.(map[string]any)
		byName[m["name"].(string)] = m
	}
	require.Equal(t, true, byName["Selfsame_Id__c"]["externalId"])
	require.Equal(t, true, byName["Selfsame_Id__c"]["unique"])
	require.Equal(t, false, byName["ERP_Customer_Number__c"]["unique"])
	require.Equal(t, "BillingAddress", byName["BillingCity"]["compoundFieldName"])
	require.Equal(t, false, byName["Name"]["nillable"])
	require.Equal(t, false, byName["SystemModstamp"]["updateable"])
	o.want(200, "GET", v62+"/sobjects/Contact", "")
	require.Equal(t, "NOT_FOUND", o.want(404, "GET", v62+"/sobjects/Nothing/describe", "").code())
}

func TestRecordLife(t *testing.T) {
	t.Parallel()
	o := setup(t)
	created := o.want(201, "POST", v62+"/sobjects/Account/", `{"attributes":{"type":"Account"},"Name":" Acme ","BillingCity":"Berlin","AnnualRevenue":1200000,"NumberOfEmployees":12,"Phone":""}`)
	require.Equal(t, map[string]any{"id": created.id(), "success": true, "errors": []any{}}, created.object())
	require.Equal(t, v62+"/sobjects/Account/"+created.id(), created.header.Get("Location"))
	id := created.id()
	got := o.want(200, "GET", v62+"/sobjects/Account/"+id[:15], "")
	rec := got.object()
	require.Equal(t, "Acme", rec["Name"])
	require.Nil(t, rec["Phone"])
	require.Equal(t, "Berlin", rec["BillingAddress"].(map[string]any)["city"])
	require.Nil(t, rec["ShippingAddress"])
	require.Contains(t, got.text, `"AnnualRevenue":1200000.0,"NumberOfEmployees":12,`)
	require.Equal(t, "2026-05-14T10:00:00.000+0000", rec["SystemModstamp"])
	require.Equal(t, "005000000000001AAA", rec["OwnerId"])
	o.clock.advance(1500 * time.Millisecond)
	require.Empty(t, o.want(204, "PATCH", v62+"/sobjects/Account/"+id, `{"Phone":"+49 30 1"}`).text)
	o.want(204, "POST", v62+"/sobjects/Account/"+id+"?_HttpMethod=PATCH", `{"Fax":"2"}`)
	small := o.want(200, "GET", v62+"/sobjects/Account/"+id+"?fields=Phone,fax,LastModifiedDate", "").object()
	require.Len(t, small, 4)
	require.Equal(t, "2", small["Fax"])
	require.Equal(t, "2026-05-14T10:00:01.000+0000", small["LastModifiedDate"])
	o.want(204, "DELETE", v62+"/sobjects/Account/"+id, "")
	require.Equal(t, "ENTITY_IS_DELETED", o.want(404, "GET", v62+"/sobjects/Account/"+id, "").code())
	require.Equal(t, "ENTITY_IS_DELETED", o.want(404, "DELETE", v62+"/sobjects/Account/"+id, "").code())
	require.Empty(t, o.names("SELECT Name FROM Account"))
	all := o.want(200, "GET", v62+"/queryAll?q="+url.QueryEscape("SELECT Id, IsDeleted FROM Account WHERE Id = '"+id+"'"), "").object()
	require.Equal(t, true, all["records"].([]any)[0].(map[string]any)["IsDeleted"])
}

func TestWritesAreRefused(t *testing.T) {
	t.Parallel()
	o := setup(t)
	parent := o.account(`{"Name":"Parent","Selfsame_Id__c":"p"}`)
	contact := o.want(201, "POST", v62+"/sobjects/Contact", `{"LastName":"Roe"}`).id()
	for _, tc := range []struct {
		name, method, path, body string
		status                   int
		code, part               string
	}{
		{"a missing required field", "POST", "/sobjects/Contact", `{"FirstName":"A"}`, 400, "REQUIRED_FIELD_MISSING", "[LastName]"},
		{"a required field set to null", "PATCH", "/sobjects/Account/" + parent, `{"Name":null}`, 400, "REQUIRED_FIELD_MISSING", "[Name]"},
		{"an unknown field", "POST", "/sobjects/Account", `{"Name":"A","Nope__c":1}`, 400, "INVALID_FIELD", "No such column 'Nope__c' on sobject of type Account"},
		{"a text that is too long", "POST", "/sobjects/Account", `{"Name":"` + strings.Repeat("ä", 256) + `"}`, 400, "STRING_TOO_LONG", "max length=255"},
		{"a bad email", "POST", "/sobjects/Contact", `{"LastName":"B","Email":"no at"}`, 400, "INVALID_EMAIL_ADDRESS", "invalid email address"},
		{"a value outside a restricted picklist", "POST", "/sobjects/Case", `{"Status":"Odd"}`, 400, "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST", "Odd"},
		{"a duplicate of a unique field", "POST", "/sobjects/Account", `{"Name":"A","Selfsame_Id__c":"P"}`, 400, "DUPLICATE_VALUE", parent},
		{"a reference to another type", "POST", "/sobjects/Contact", `{"LastName":"B","AccountId":"` + contact + `"}`, 400, "MALFORMED_ID", "incorrect type"},
		{"a reference to nothing", "POST", "/sobjects/Contact", `{"LastName":"B","AccountId":"001000000000009AAA"}`, 400, "INVALID_CROSS_REFERENCE_KEY", "invalid cross"},
		{"a read-only field", "PATCH", "/sobjects/Account/" + parent, `{"CreatedDate":"2026-01-01T00:00:00Z"}`, 400, "INVALID_FIELD_FOR_INSERT_UPDATE", "CreatedDate"},
		{"an id in an update", "PATCH", "/sobjects/Account/" + parent, `{"Id":"` + parent + `"}`, 400, "INVALID_FIELD", "Id field"},
		{"a number out of range", "POST", "/sobjects/Account", `{"Name":"A","AnnualRevenue":1e18}`, 400, "NUMBER_OUTSIDE_VALID_RANGE", "Annual Revenue"},
		{"a number for a text", "POST", "/sobjects/Account", `{"Name":5}`, 400, "JSON_PARSER_ERROR", "VALUE_NUMBER"},
		{"broken JSON", "POST", "/sobjects/Account", `{"Name":`, 400, "JSON_PARSER_ERROR", "Unexpected"},
		{"an id of another type in the path", "GET", "/sobjects/Account/" + contact, "", 400, "MALFORMED_ID", "Account ID: id value of incorrect type"},
		{"an id that does not exist", "PATCH", "/sobjects/Account/001000000000009AAA", `{"Name":"A"}`, 404, "NOT_FOUND", "requested resource"},
		{"an unknown field in a read", "GET", "/sobjects/Account/" + parent + "?fields=Nope", "", 400, "INVALID_FIELD", "Nope"},
		{"a write to a read-only object", "PATCH", "/sobjects/User/005000000000001AAA", `{"Email":"a@b.de"}`, 403, "INSUFFICIENT_ACCESS_OR_READONLY", "User"},
	} {
		r := o.want(tc.status, tc.method, v62+tc.path, tc.body)
		require.Equal(t, tc.code, r.code(), tc.name)
		require.Contains(t, r.array()[0]["message"], tc.part, tc.name)
	}
	require.Equal(t, "UNSUPPORTED_MEDIA_TYPE", o.want(415, "POST", v62+"/sobjects/Account", "x", "Content-Type", "text/csv").code())
}

func TestUpsertMatrix(t *testing.T) {
	t.Parallel()
	o := setup(t)
	old := "/services/data/v45.0"
	path := v62 + "/sobjects/Account/Selfsame_Id__c/"
	r := o.want(201, "PATCH", path+"K-1", `{"Name":"One"}`)
	require.Equal(t, true, r.object()["created"])
	id := r.id()
	r = o.want(200, "PATCH", path+"K-1", `{"Name":"Uno"}`)
	require.Equal(t, map[string]any{"id": id, "success": true, "errors": []any{}, "created": false}, r.object())
	r = o.want(201, "PATCH", old+"/sobjects/Account/Selfsame_Id__c/K-2", `{"Name":"Two"}`)
	require.NotContains(t, r.object(), "created")
	require.Empty(t, o.want(204, "PATCH", old+"/sobjects/Account/Selfsame_Id__c/K-2", `{"Name":"Due"}`).text)
	for i := range 2 {
		o.account(fmt.Sprintf(`{"Name":"Twin %d","ERP_Customer_Number__c":"T1"}`, i))
	}
	r = o.want(300, "PATCH", v62+"/sobjects/Account/ERP_Customer_Number__c/T1", `{"Name":"X"}`)
	var urls []string
	require.NoError(t, json.Unmarshal([]byte(r.text), &urls))
	require.Len(t, urls, 2)
	require.True(t, strings.HasPrefix(urls[0], v62+"/sobjects/Account/001"))
	o.want(300, "GET", v62+"/sobjects/Account/ERP_Customer_Number__c/T1", "")
	require.Equal(t, []string{"Twin 0", "Twin 1"}, o.names("SELECT Name FROM Account WHERE ERP_Customer_Number__c = 't1'"))
	o.want(404, "PATCH", v62+"/sobjects/Account/Phone/1", `{"Name":"X"}`)
	o.want(404, "PATCH", v62+"/sobjects/Account/Nope__c/1", `{"Name":"X"}`)
	o.want(404, "PATCH", path+"new?updateOnly=true", `{"Name":"X"}`)
	o.want(200, "PATCH", path+"K-1?updateOnly=true", `{"Name":"X"}`)
	require.Equal(t, "INVALID_FIELD", o.want(400, "PATCH", path+"K-1", `{"Name":"X","Selfsame_Id__c":"K-1"}`).code())
	o.want(201, "PATCH", path+url.PathEscape("a/b ü%+1"), `{"Name":"Odd"}`)
	require.Equal(t, "Odd", o.want(200, "GET", path+url.PathEscape("a/b ü%+1")+"?fields=Name", "").object()["Name"])
	o.want(404, "GET", path+"a/b", "")
	o.want(204, "DELETE", path+"K-2", "")
	o.want(404, "GET", path+"K-2", "")
	o.want(201, "POST", v62+"/sobjects/Account/Id", `{"Name":"By Id"}`)
}

func TestParentByExternalID(t *testing.T) {
	t.Parallel()
	o := setup(t)
	acc := o.account(`{"Name":"Acme","Selfsame_Id__c":"g-1"}`)
	id := o.want(201, "POST", v62+"/sobjects/Contact", `{"LastName":"Doe","FirstName":"Jo","Account":{"Selfsame_Id__c":"g-1"}}`).id()
	got := o.want(200, "GET", v62+"/sobjects/Contact/"+id, "").object()
	require.Equal(t, acc, got["AccountId"])
	require.Equal(t, "Jo Doe", got["Name"])
	r := o.want(400, "PATCH", v62+"/sobjects/Contact/"+id, `{"Account":{"Selfsame_Id__c":"none"}}`)
	require.Equal(t, "INVALID_FIELD", r.code())
	require.Contains(t, r.array()[0]["message"], "Foreign key external ID: none not found for field Selfsame_Id__c")
	o.want(204, "DELETE", v62+"/sobjects/Account/"+acc, "")
	o.want(404, "GET", v62+"/sobjects/Contact/"+id, "") // went with its account
}

func TestCaseRules(t *testing.T) {
	t.Parallel()
	o := setup(t)
	acc := o.account(`{"Name":"Acme"}`)
	id := o.want(201, "POST", v62+"/sobjects/Case", `{"Subject":"Broken","AccountId":"`+acc+`"}`).id()
	path := v62 + "/sobjects/Case/" + id
	got := o.want(200, "GET", path, "").object()
	require.Equal(t, "00001001", got["CaseNumber"])
	require.Equal(t, "New", got["Status"])
	require.Equal(t, false, got["IsClosed"])
	o.want(204, "PATCH", path, `{"Status":"Closed"}`)
	got = o.want(200, "GET", path, "").object()
	require.Equal(t, true, got["IsClosed"])
	require.Equal(t, "2026-05-14T10:00:00.000+0000", got["ClosedDate"])
	require.Equal(t, "DELETE_FAILED", o.want(400, "DELETE", v62+"/sobjects/Account/"+acc, "").code())
	o.want(200, "GET", v62+"/sobjects/Account/"+acc, "")
}

func TestReplication(t *testing.T) {
	t.Parallel()
	o := setup(t)
	a, b := o.account(`{"Name":"A"}`), o.account(`{"Name":"B"}`)
	o.clock.advance(2 * time.Minute)
	o.want(204, "DELETE", v62+"/sobjects/Account/"+b, "")
	o.clock.advance(time.Minute)
	window := "?start=2026-05-14T09:59:00%2B00:00&end=2026-05-14T10:30:00Z"
	up := o.want(200, "GET", v62+"/sobjects/Account/updated/"+window, "").object()
	require.Equal(t, []any{a}, up["ids"])
	require.Equal(t, "2026-05-14T10:03:00.000+0000", up["latestDateCovered"])
	down := o.want(200, "GET", v62+"/sobjects/Account/deleted"+window, "").object()
	require.Equal(t, []any{map[string]any{"id": b, "deletedDate": "2026-05-14T10:02:00.000+0000"}}, down["deletedRecords"])
	for _, bad := range []string{"", "?start=x&end=y", "?start=2026-05-14T10:00:00Z&end=2026-05-14T10:00:30Z", "?start=2026-03-14T10:00:00Z&end=2026-05-14T10:00:30Z", "?start=2026-05-14T11:00:00Z&end=2026-05-14T10:00:00Z"} {
		require.Equal(t, "INVALID_REPLICATION_DATE", o.want(400, "GET", v62+"/sobjects/Account/updated"+bad, "").code())
	}
}

func TestLimits(t *testing.T) {
	t.Parallel()
	o := setup(t, func(c *sandbox.Config) { c.DailyAPILimit = 3 })
	require.Equal(t, "api-usage=1/3", o.want(200, "GET", v62+"/sobjects", "").header.Get("Sforce-Limit-Info"))
	daily := o.want(200, "GET", v62+"/limits", "").object()["DailyApiRequests"]
	require.Equal(t, map[string]any{"Max": 3.0, "Remaining": 1.0}, daily)
	o.want(404, "GET", v62+"/nowhere", "")
	r := o.want(403, "GET", v62+"/sobjects", "")
	require.Equal(t, "REQUEST_LIMIT_EXCEEDED", r.code())
	require.Equal(t, "TotalRequests Limit exceeded.", r.array()[0]["message"])
	require.Equal(t, "api-usage=3/3", r.header.Get("Sforce-Limit-Info"))
	o.want(200, "GET", "/services/data", "")
	o.clock.advance(24*time.Hour + time.Minute)
	o.login()
	require.Equal(t, "api-usage=1/3", o.want(200, "GET", v62+"/sobjects", "").header.Get("Sforce-Limit-Info"))
}

func TestConcurrentUpsertsOfOneKeyMakeOneRecord(t *testing.T) {
	t.Parallel()
	o := setup(t)
	var wg sync.WaitGroup
	results := make([]result, 12)
	for i := range results {
		wg.Go(func() {
			results[i], _ = o.try("PATCH", v62+"/sobjects/Account/Selfsame_Id__c/race", fmt.Sprintf(`{"Name":"N%d"}`, i))
		})
	}
	wg.Wait()
	created := 0
	for _, r := range results {
		require.Contains(t, []int{200, 201}, r.status)
		if r.status == 201 {
			created++
		}
	}
	require.Equal(t, 1, created)
	require.InDelta(t, 1, o.soql("SELECT COUNT() FROM Account")["totalSize"], 0)
}

func TestSchemaFileExtendsTheModel(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "more.json")
	require.NoError(t, os.WriteFile(file, []byte(`{"objects":[
		{"name":"Account","rename":{"Selfsame_Id__c":"Golden_Id__c"},"fields":[{"name":"Tier__c","type":"double","precision":4,"scale":1}]},
		{"name":"Meter__c","label":"Meter","fields":[{"name":"Name","type":"string","length":80,"required":true,"nameField":true},
			{"name":"Account__c","type":"reference","referenceTo":["Account"],"relationship":"Account__r","childRelationship":"Meters__r"}]}]}`), 0o600))
	o := setup(t, func(c *sandbox.Config) { c.SchemaFiles = []string{file} })
	acc := o.account(`{"Name":"A","Golden_Id__c":"g","Tier__c":1.24}`)
	require.InDelta(t, 1.2, o.want(200, "GET", v62+"/sobjects/Account/Golden_Id__c/g", "").object()["Tier__c"], 0)
	id := o.want(201, "POST", v62+"/sobjects/Meter__c", `{"Name":"M","Account__r":{"Golden_Id__c":"g"}}`).id()
	require.Equal(t, "a00", id[:3])
	rec := o.soql("SELECT Account__r.Name, Account__c FROM Meter__c")["records"].([]any)[0].(map[string]any)
	require.Equal(t, "A", rec["Account__r"].(map[string]any)["Name"])
	require.Equal(t, acc, rec["Account__c"])
}
