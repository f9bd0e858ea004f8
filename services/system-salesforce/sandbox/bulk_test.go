package sandbox_test

import (
	"fmt"
	"net/http"
	"net/url"
	"sort"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox"
)

const ingest = v62 + "/jobs/ingest"

func TestAnIngestJobGoesThroughItsStates(t *testing.T) {
	t.Parallel()
	o := setup(t)
	o.bulk(`{"hold":"queued"}`)
	r := o.want(200, "POST", ingest, `{"object":"Account","operation":"upsert","externalIdFieldName":"Selfsame_Id__c"}`)
	job := r.object()
	id := r.id()
	require.Contains(t, r.text, `"apiVersion":62.0,`, "the version is a number")
	delete(job, "id")
	require.Equal(t, map[string]any{
		"operation": "upsert", "object": "Account", "createdById": "005000000000001AAA", "createdDate": "2026-05-14T10:00:00.000+0000",
		"systemModstamp": "2026-05-14T10:00:00.000+0000", "state": "Open", "externalIdFieldName": "Selfsame_Id__c", "concurrencyMode": "Parallel",
		"contentType": "CSV", "apiVersion": 62.0, "jobType": "V2Ingest", "contentUrl": "services/data/v62.0/jobs/ingest/" + id + "/batches",
		"lineEnding": "LF", "columnDelimiter": "COMMA",
	}, job)
	require.Equal(t, "750", id[:3])

	require.Equal(t, "INVALIDJOBSTATE", o.want(400, "GET", ingest+"/"+id+"/successfulResults", "").code(), "there are no results yet")
	require.Equal(t, "INVALIDJOBSTATE", o.want(400, "DELETE", ingest+"/"+id, "").code(), "an open job cannot be deleted")
	o.start(id, "Name,Selfsame_Id__c\nA,1\nB,2\n")
	require.Equal(t, "UploadComplete", o.want(200, "GET", ingest+"/"+id, "").object()["state"])
	require.Equal(t, "INVALIDJOBSTATE", o.want(400, "PUT", ingest+"/"+id+"/batches", "x\n", "Content-Type", "text/csv").code())
	require.Equal(t, "INVALIDJOBSTATE", o.want(400, "PATCH", ingest+"/"+id, `{"state":"UploadComplete"}`).code())
	o.bulk(`{"hold":"processing"}`)
	running := o.until(ingest+"/"+id, func(j map[string]any) bool { return j["state"] == "InProgress" })
	require.InDelta(t, 0, running["numberRecordsProcessed"], 0)
	require.Equal(t, "INVALIDJOBSTATE", o.want(400, "DELETE", ingest+"/"+id, "").code())
	o.want(204, "DELETE", "/__sandbox__/bulk", "")
	end := o.done(id)
	require.Equal(t, "JobComplete", end["state"])
	require.InDelta(t, 2, end["numberRecordsProcessed"], 0)
	require.InDelta(t, 0, end["numberRecordsFailed"], 0)
	for _, k := range []string{"retries", "totalProcessingTime", "apiActiveProcessingTime", "apexProcessingTime"} {
		require.Contains(t, end, k)
	}
	require.NotContains(t, end, "contentUrl")
	require.Equal(t, "INVALIDJOBSTATE", o.want(400, "PATCH", ingest+"/"+id, `{"state":"Aborted"}`).code())
	require.Equal(t, []string{"A", "B"}, o.names("SELECT Name FROM Account ORDER BY Name"))

	o.want(204, "DELETE", ingest+"/"+id, "")
	require.Equal(t, "NOT_FOUND", o.want(404, "GET", ingest+"/"+id, "").code())
}

func TestOperationsOfIngestJobs(t *testing.T) {
	t.Parallel()
	o := setup(t)
	id, _ := o.load(`{"object":"Account","operation":"insert","externalIdFieldName":""}`, "Name,NumberOfEmployees,Phone\nA,5,1\nB,7,2\n")
	rows := sorted(o.file(id, "successfulResults")[1:], 2)
	require.Equal(t, []string{"true", "A", "5", "1"}, rows[0][1:])
	a, b := rows[0][0], rows[1][0]
	require.Equal(t, "001", a[:3])

	id, _ = o.load(`{"object":"Account","operation":"update"}`, "Id,Phone,NumberOfEmployees\n"+a[:15]+",,#N/A\n"+b+",9,\n,3,4\n")
	require.Len(t, o.file(id, "successfulResults"), 3)
	require.Equal(t, []string{"", "MISSING_ARGUMENT:Id not specified in an update call:--", "", "3", "4"}, o.file(id, "failedResults")[1])
	got := o.soql("SELECT Phone, NumberOfEmployees FROM Account ORDER BY Name")["records"].([]any)
	require.Equal(t, "1", got[0].(map[string]any)["Phone"], "an empty value leaves the field alone")
	require.Nil(t, got[0].(map[string]any)["NumberOfEmployees"], "#N/A makes it null")
	require.InDelta(t, 7, got[1].(map[string]any)["NumberOfEmployees"], 0)

	// Clients send an empty Id column with an upsert.
	id, _ = o.load(`{"object":"Account","operation":"upsert","externalIdFieldName":"Selfsame_Id__c"}`, "Id,Name,Selfsame_Id__c\n,C,c\n,C2,c2\n")
	require.Len(t, o.file(id, "successfulResults"), 3)
	id, _ = o.load(`{"object":"Account","operation":"upsert","externalIdFieldName":"selfsame_id__c"}`, "Name,Selfsame_Id__c\nD,c\nE,\n")
	require.Equal(t, []string{"false", "D", "c"}, o.file(id, "successfulResults")[1][1:])
	require.Equal(t, "MISSING_ARGUMENT:Selfsame_Id__c not specified:--", o.file(id, "failedResults")[1][1])
	id, _ = o.load(`{"object":"Account","operation":"upsert","externalIdFieldName":"Id"}`, "Id,Name\n"+a+",A2\n,New\n")
	rows = sorted(o.file(id, "successfulResults")[1:], 3)
	require.Equal(t, []string{a, "false", a, "A2"}, rows[0])
	require.Equal(t, []string{"true", "", "New"}, rows[1][1:])

	id, end := o.load(`{"object":"Account","operation":"delete"}`, "Id\n"+a+"\n"+b+"\n"+a+"\n")
	require.InDelta(t, 1, end["numberRecordsFailed"], 0)
	require.Equal(t, []string{a, "ENTITY_IS_DELETED:entity is deleted:--", a}, o.file(id, "failedResults")[1])
	require.Equal(t, []string{"C2", "D", "New"}, o.names("SELECT Name FROM Account ORDER BY Name"))
}

func TestHardDeletesLeaveNothingInTheBin(t *testing.T) {
	t.Parallel()
	o := setup(t, func(c *sandbox.Config) { c.Limits.HardDelete = true })
	id := o.account(`{"Name":"A"}`)
	child := o.want(201, "POST", v62+"/sobjects/Contact", `{"LastName":"C","AccountId":"`+id+`"}`).id()
	job, end := o.load(`{"object":"Account","operation":"hardDelete"}`, "Id\n"+id+"\n")
	require.Equal(t, "JobComplete", end["state"], end)
	require.Equal(t, []string{id, "false", id}, o.file(job, "successfulResults")[1])
	for _, object := range []string{"Account", "Contact"} {
		all := o.want(200, "GET", v62+"/queryAll?q="+url.QueryEscape("SELECT Id FROM "+object), "").object()
		require.Empty(t, all["records"], object)
	}
	o.want(404, "GET", v62+"/sobjects/Contact/"+child, "")
}

func TestResultFilesHaveTheDocumentedShapes(t *testing.T) {
	t.Parallel()
	o := setup(t)
	id, end := o.load(`{"object":"Contact","operation":"insert"}`, "FirstName,LastName,Description\nAda,Lovelace,\"says \"\"x\"\", \ny\"\nBob,,\n")
	require.Equal(t, "JobComplete", end["state"], "a complete job may hold failures")
	require.InDelta(t, 2, end["numberRecordsProcessed"], 0)
	require.InDelta(t, 1, end["numberRecordsFailed"], 0)
	ok := o.want(200, "GET", ingest+"/"+id+"/successfulResults/", "").text
	require.Regexp(t, "^\"sf__Id\",\"sf__Created\",FirstName,LastName,Description\n\"003\\w{15}\",\"true\",\"Ada\",\"Lovelace\",\"says \"\"x\"\", \ny\"\n$", ok)
	bad := o.want(200, "GET", ingest+"/"+id+"/failedResults", "").text
	require.Equal(t, "\"sf__Id\",\"sf__Error\",FirstName,LastName,Description\n\"\",\"REQUIRED_FIELD_MISSING:Required fields are missing: [LastName]:LastName --\",\"Bob\",\"\",\"\"\n", bad)
	rest := o.want(200, "GET", ingest+"/"+id+"/unprocessedrecords", "")
	require.Equal(t, "FirstName,LastName,Description\n", rest.text)
	require.Equal(t, http.StatusMethodNotAllowed, o.do("POST", ingest+"/"+id+"/failedResults", "").status)

	parent := o.account(`{"Name":"A"}`)
	id, _ = o.load(`{"object":"Account","operation":"update"}`, "Id,AnnualRevenue\n"+parent+",many\n")
	require.Equal(t, []string{parent, "INVALID_TYPE_ON_FIELD_IN_RECORD:Annual Revenue: value not of required type: many:AnnualRevenue --", parent, "many"}, o.file(id, "failedResults")[1])
	old := o.want(200, "GET", strings.Replace(ingest, "62", "52", 1)+"/"+id+"/failedResults", "")
	require.Empty(t, parseCSV(t, old.text, ',')[1][0], "failed rows have ids only since version 53")
}

func TestResultRowsAreNotInTheOrderOfTheInput(t *testing.T) {
	t.Parallel()
	o := setup(t)
	id, end := o.load(`{"object":"Lead","operation":"insert"}`, leads(0, 10_600))
	require.InDelta(t, 10_600, end["numberRecordsProcessed"], 0)
	rows := o.file(id, "successfulResults")[1:]
	var keys []string
	for _, r := range rows {
		keys = append(keys, r[4])
	}
	require.False(t, sort.StringsAreSorted(keys))
	sort.Strings(keys)
	require.Len(t, keys, 10_600)
	for i, k := range keys {
		require.Equal(t, fmt.Sprintf("L-%06d", i), k)
	}
	require.InDelta(t, 15_000-2, o.left("DailyBulkApiBatches"), 0, "two batches of at most 10,000 rows")

	id, _ = o.load(`{"object":"Lead","operation":"insert"}`, "LastName,Company\nA,x\nB,x\n")
	require.Equal(t, "B", o.file(id, "successfulResults")[1][2])
}

func TestJobsThatCannotBeMade(t *testing.T) {
	t.Parallel()
	o := setup(t)
	for _, tc := range []struct{ body, code, part string }{
		{`{"operation":"insert"}`, "INVALIDJOB", "No object"},
		{`{"object":"Nothing","operation":"insert"}`, "INVALIDENTITY", "Unable to find object: Nothing"},
		{`{"object":"Account","operation":"merge"}`, "INVALIDJOB", "merge"},
		{`{"object":"Account","operation":"upsert"}`, "INVALIDJOB", "External ID was blank for Account"},
		{`{"object":"Account","operation":"upsert","externalIdFieldName":"Phone"}`, "INVALIDJOB", "Field name provided 'Phone'"},
		{`{"object":"Account","operation":"hardDelete"}`, "FEATURENOTENABLED", "special user profile permission"},
		{`{"object":"Account","operation":"insert","contentType":"XML"}`, "INVALIDJOB", "content type"},
		{`{"object":"Account","operation":"insert","columnDelimiter":"DOT"}`, "INVALIDJOB", "delimiter"},
		{`{"object":"Account","operation":"insert","lineEnding":"CR"}`, "INVALIDJOB", "line ending"},
		{`{"object":`, "JSON_PARSER_ERROR", "job"},
	} {
		r := o.want(400, "POST", ingest, tc.body)
		require.Equal(t, tc.code, r.code(), tc.body)
		require.Contains(t, r.text, tc.part, tc.body)
	}
	id := o.job(`{"object":"Account","operation":"insert"}`)
	require.Equal(t, "UNSUPPORTED_MEDIA_TYPE", o.want(415, "PUT", ingest+"/"+id+"/batches", "Name\n", "Content-Type", "application/json").code())
	o.want(201, "PUT", ingest+"/"+id+"/batches", "Name\nA\n", "Content-Type", "text/csv; charset=UTF-8")
	second := o.want(400, "PUT", ingest+"/"+id+"/batches", "Name\nB\n", "Content-Type", "text/csv")
	require.Contains(t, second.text, "Found multiple contents for job")
	require.Equal(t, "INVALIDJOB", o.want(400, "PATCH", ingest+"/"+id, `{"state":"JobComplete"}`).code())
	o.want(404, "GET", ingest+"/750000000000009AAA", "")
	o.want(404, "GET", v62+"/jobs/other", "")
	require.Equal(t, "METHOD_NOT_ALLOWED", o.want(405, "PUT", ingest, "{}").code())
	o.token = "nobody"
	require.Equal(t, "INVALID_SESSION_ID", o.want(401, "GET", ingest, "").code())
}

func TestJobsAreListedInPages(t *testing.T) {
	t.Parallel()
	o := setup(t, func(c *sandbox.Config) { c.DailyAPILimit = 100_000 })
	made := map[string]bool{}
	var ids []string
	for range 1005 {
		id := o.job(`{"object":"Account","operation":"insert"}`)
		made[id] = true
		ids = append(ids, id)
	}
	page := o.want(200, "GET", ingest+"?jobType=V2Ingest", "").object()
	require.Equal(t, false, page["done"])
	require.Len(t, page["records"], 1000)
	next := page["nextRecordsUrl"].(string)
	require.Contains(t, next, "/jobs/ingest?queryLocator=01g")
	last := o.want(200, "GET", next, "").object()
	require.Equal(t, true, last["done"])
	require.Nil(t, last["nextRecordsUrl"])
	var listed []string
	for _, p := range []any{page["records"], last["records"]} {
		for _, r := range p.([]any) {
			id := r.(map[string]any)["id"].(string)
			require.True(t, made[id])
			delete(made, id)
			listed = append(listed, id)
		}
	}
	require.Empty(t, made)
	require.NotEqual(t, ids, listed, "a list has no order")
	require.Empty(t, o.want(200, "GET", ingest+"?jobType=Classic", "").object()["records"])
	require.Empty(t, o.want(200, "GET", ingest+"?isPkChunkingEnabled=true", "").object()["records"])
	require.Equal(t, "INVALID_QUERY_LOCATOR", o.want(400, "GET", ingest+"?queryLocator=x", "").code())

	o.clock.advance(7*24*time.Hour + time.Minute)
	o.login()
	require.Empty(t, o.want(200, "GET", ingest, "").object()["records"], "jobs are kept for seven days")
}

func TestBulkWritesCauseEventsOfTheirOwnOrigin(t *testing.T) {
	t.Parallel()
	o := setup(t)
	feed := o.feed().subscribe(accountTopic, latest, "", 100)
	feed.next()
	id := o.job(`{"object":"Account","operation":"insert"}`, "Sforce-Call-Options", "client=relay-erp")
	o.start(id, "Name\nA\n")
	o.done(id)
	e := feed.collect(1)[0]
	require.Equal(t, "com/salesforce/api/bulkapi/62.0;client=relay-erp", e.header["changeOrigin"])
	require.Equal(t, "CREATE", e.header["changeType"])
	id, _ = o.load(`{"object":"Account","operation":"insert"}`, "Name\nB\n")
	require.Equal(t, "com/salesforce/api/bulkapi/62.0", feed.collect(1)[0].header["changeOrigin"])
	require.Len(t, o.file(id, "successfulResults"), 2)
}
