package sandbox_test

import (
	"bytes"
	"compress/gzip"
	"encoding/csv"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox"
)

const ingest = v62 + "/jobs/ingest"

// job makes an ingest job and returns its id.
func (o *org) job(body string, headers ...string) string {
	o.t.Helper()
	return o.want(http.StatusOK, "POST", ingest, body, headers...).id()
}

// start uploads data and closes the upload.
func (o *org) start(id, data string) {
	o.t.Helper()
	r := o.want(http.StatusCreated, "PUT", ingest+"/"+id+"/batches", data, "Content-Type", "text/csv")
	require.Empty(o.t, r.text)
	o.want(http.StatusOK, "PATCH", ingest+"/"+id, `{"id":"`+id+`","state":"UploadComplete"}`)
}

// ends polls a job until a condition holds.
func (o *org) until(path string, ok func(map[string]any) bool) map[string]any {
	o.t.Helper()
	var last map[string]any
	require.Eventually(o.t, func() bool {
		last = o.want(http.StatusOK, "GET", path, "").object()
		return ok(last)
	}, 30*time.Second, time.Millisecond, "%v", last)
	return last
}

func (o *org) done(id string) map[string]any {
	o.t.Helper()
	return o.until(ingest+"/"+id, func(j map[string]any) bool {
		s := j["state"]
		return s == "JobComplete" || s == "Failed" || s == "Aborted"
	})
}

// load runs a whole job.
func (o *org) load(body, data string) (string, map[string]any) {
	o.t.Helper()
	id := o.job(body)
	o.start(id, data)
	return id, o.done(id)
}

// file reads a result file as rows; the first is the header.
func (o *org) file(id, which string) [][]string {
	o.t.Helper()
	r := o.want(http.StatusOK, "GET", ingest+"/"+id+"/"+which, "")
	require.Equal(o.t, "text/csv", r.header.Get("Content-Type"))
	return parseCSV(o.t, r.text, ',')
}

func parseCSV(t testing.TB, text string, delim rune) [][]string {
	t.Helper()
	c := csv.NewReader(strings.NewReader(text))
	c.Comma = delim
	rows, err := c.ReadAll()
	require.NoError(t, err, text)
	return rows
}

func sorted(rows [][]string, column int) [][]string {
	sort.Slice(rows, func(a, b int) bool { return rows[a][column] < rows[b][column] })
	return rows
}

func leads(from, to int) string {
	var b strings.Builder
	b.WriteString("LastName,Company,Selfsame_Id__c\n")
	for i := from; i < to; i++ {
		fmt.Fprintf(&b, "Name %d,Company %d,L-%06d\n", i, i%100, i)
	}
	return b.String()
}

func (o *org) bulk(plan string) {
	o.t.Helper()
	o.want(http.StatusOK, "PUT", "/__sandbox__/bulk", plan)
}

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

func (o *org) left(name string) float64 {
	o.t.Helper()
	return o.want(200, "GET", v62+"/limits", "").object()[name].(map[string]any)["Remaining"].(float64)
}

func TestCSVRulesOfIngestJobs(t *testing.T) {
	t.Parallel()
	o := setup(t)
	for name, delim := range map[string]string{"COMMA": ",", "SEMICOLON": ";", "PIPE": "|", "TAB": "\t", "CARET": "^", "BACKQUOTE": "`"} {
		for ending, eol := range map[string]string{"LF": "\n", "CRLF": "\r\n"} {
			body := fmt.Sprintf(`{"object":"Product2","operation":"insert","columnDelimiter":%q,"lineEnding":%q}`, name, ending)
			id, end := o.load(body, "Name"+delim+"IsActive"+eol+"\"A"+delim+"1\""+delim+"1"+eol+"B"+delim+"maybe"+eol)
			require.Equal(t, "JobComplete", end["state"], end)
			require.Equal(t, name, end["columnDelimiter"])
			text := o.want(200, "GET", ingest+"/"+id+"/successfulResults", "").text
			require.Contains(t, text, delim+"\"A"+delim+"1\""+delim+"\"1\""+eol)
			require.Contains(t, o.want(200, "GET", ingest+"/"+id+"/failedResults", "").text, "value not of required type: maybe")
		}
	}
	for _, tc := range []struct{ name, job, data, message string }{
		{"windows line endings that were not declared", `{"object":"Account","operation":"insert"}`, "Name\r\nA\r\n", "InvalidBatch : LineEnding is invalid on user data. Current LineEnding setting is LF"},
		{"unix line endings that were not declared", `{"object":"Account","operation":"insert","lineEnding":"CRLF"}`, "Name\nA\n", "InvalidBatch : LineEnding is invalid on user data. Current LineEnding setting is CRLF"},
		{"a wrong line ending far behind", `{"object":"Account","operation":"insert"}`, "Name\n" + strings.Repeat("A\n", 15_000) + "B\r\n", "InvalidBatch : LineEnding is invalid on user data. Current LineEnding setting is LF"},
		{"an unknown column", `{"object":"Account","operation":"insert"}`, "Name,Nope__c\nA,1\n", "InvalidBatch : Field name not found : Nope__c"},
		{"a compound field", `{"object":"Account","operation":"insert"}`, "Name,BillingAddress\nA,1\n", "InvalidBatch : Field name not found : BillingAddress"},
		{"a delete by other columns", `{"object":"Account","operation":"delete"}`, "Id,Name\nA,1\n", "InvalidBatch : A delete batch must contain only Ids"},
		{"an open quote", `{"object":"Account","operation":"insert"}`, "Name\nA\n\"B\n", "InvalidBatch : Failed to parse CSV: a quoted value is not closed before the end of the data"},
		{"no data at all", `{"object":"Account","operation":"insert"}`, "", "InvalidBatch : The file has no header"},
	} {
		id, end := o.load(tc.job, tc.data)
		require.Equal(t, "Failed", end["state"], tc.name)
		require.Equal(t, tc.message, end["errorMessage"], tc.name)
		require.InDelta(t, 0, end["numberRecordsProcessed"], 0, tc.name)
		if rest := o.want(200, "GET", ingest+"/"+id+"/unprocessedrecords", "").text; rest != tc.data { // too long to print
			t.Fatalf("%s: %d bytes were sent and %d are unprocessed", tc.name, len(tc.data), len(rest))
		}
	}
	require.Empty(t, o.names("SELECT Name FROM Account"), "nothing of a job with a wrong file is written")

	id, end := o.load(`{"object":"Account","operation":"insert"}`, "Name,Phone\nA, \"1\"\nB\nC,1,2\n D ,#N/A\n")
	require.Equal(t, "JobComplete", end["state"])
	require.Len(t, o.file(id, "successfulResults"), 2)
	bad := o.want(200, "GET", ingest+"/"+id+"/failedResults", "").text
	require.Equal(t, 3, strings.Count(bad, `"ClientInputError:`), bad)
	require.Contains(t, bad, `,A, "1"`+"\n", "a row that is no CSV comes back as it was")
	id, end = o.load(`{"object":"Account","operation":"insert"}`, "Name\n")
	require.Equal(t, "JobComplete", end["state"], "a file without rows is processed")
	require.Len(t, o.file(id, "successfulResults"), 1)
}

func TestParentsAreFoundByTheirKeys(t *testing.T) {
	t.Parallel()
	schemaFile := filepath.Join(t.TempDir(), "schema.json")
	require.NoError(t, os.WriteFile(schemaFile, []byte(`{"objects":[{"name":"Note__c","prefix":"a0N","fields":[
		{"name":"Name","type":"string","nameField":true},
		{"name":"Who__c","type":"reference","referenceTo":["Contact","Lead"],"relationship":"Who__r"}]}]}`), 0o600))
	o := setup(t, func(c *sandbox.Config) { c.SchemaFiles = []string{schemaFile} })
	parent := o.account(`{"Name":"P","Selfsame_Id__c":"p-1"}`)
	o.account(`{"Name":"T1","ERP_Customer_Number__c":"twin"}`)
	o.account(`{"Name":"T2","ERP_Customer_Number__c":"twin"}`)
	id, _ := o.load(`{"object":"Contact","operation":"insert"}`, "LastName,Email,Account.Selfsame_Id__c,Owner.Username\nA,a@example.com,P-1,robot@example.com\nB,b@example.com,nobody,\nC,c@example.com,#N/A,\n")
	require.Len(t, o.file(id, "successfulResults"), 3)
	require.Equal(t, "INVALID_FIELD:Foreign key external ID: nobody not found for field Selfsame_Id__c in entity Account:--", o.file(id, "failedResults")[1][1])
	got := o.soql("SELECT AccountId FROM Contact ORDER BY LastName")["records"].([]any)
	require.Equal(t, parent, got[0].(map[string]any)["AccountId"])
	require.Nil(t, got[1].(map[string]any)["AccountId"])
	id, _ = o.load(`{"object":"Contact","operation":"insert"}`, "LastName,Account.ERP_Customer_Number__c\nA,twin\n")
	require.Contains(t, o.file(id, "failedResults")[1][1], "DUPLICATE_EXTERNAL_ID:")

	id, end := o.load(`{"object":"Note__c","operation":"insert"}`, "Name,Contact:Who__r.Email\nn,a@example.com\n")
	require.Len(t, o.file(id, "successfulResults"), 2, end)
	for _, column := range []string{"Who__r.Email", "Lead:Who__r.Nope", "Account:Who__r.Name", "Contact:Who__r.Account.Name"} {
		_, end = o.load(`{"object":"Note__c","operation":"insert"}`, "Name,"+column+"\nn,x\n")
		require.Equal(t, "InvalidBatch : Field name not found : "+column, end["errorMessage"])
	}
	_, end = o.load(`{"object":"Contact","operation":"insert"}`, "LastName,Account:Account.Selfsame_Id__c\nn,x\n")
	require.Equal(t, "Failed", end["state"], "a type is forbidden where there is only one")
	_, end = o.load(`{"object":"Contact","operation":"insert"}`, "LastName,Account.Phone\nn,x\n")
	require.Equal(t, "Failed", end["state"], "the parent's field must identify it")
}

func TestAssignmentRulesRunOnlyIfTheJobNamesOne(t *testing.T) {
	t.Parallel()
	o := setup(t)
	o.want(200, "PUT", "/__sandbox__/rules", `{"assignmentRules":[{"id":"01Qbm0000000007","name":"North","object":"Lead","entries":[{"owner":"stranger@example.com"}]}]}`)
	owner := func(job string) string {
		id, end := o.load(job, "LastName,Company\nA,x\n")
		require.InDelta(t, 0, end["numberRecordsFailed"], 0, o.file(id, "failedResults"))
		lead := o.file(id, "successfulResults")[1][0]
		return o.want(200, "GET", v62+"/sobjects/Lead/"+lead+"?fields=OwnerId", "").object()["OwnerId"].(string)
	}
	own := owner(`{"object":"Lead","operation":"insert"}`)
	require.Equal(t, "005000000000001AAA", own)
	require.NotEqual(t, own, owner(`{"object":"Lead","operation":"insert","assignmentRuleId":"01Qbm0000000007"}`))
}

func TestSameExternalIdTwice(t *testing.T) {
	t.Parallel()
	o := setup(t)
	id, end := o.load(`{"object":"Account","operation":"upsert","externalIdFieldName":"Selfsame_Id__c"}`, "Name,Selfsame_Id__c\nA,k\nB,K\nC,other\n")
	require.InDelta(t, 2, end["numberRecordsFailed"], 0, "both rows of one transaction fail")
	require.Contains(t, o.file(id, "failedResults")[1][1], "DUPLICATE_VALUE:Duplicate external id specified: ")
	o.account(`{"Name":"T1","ERP_Customer_Number__c":"twin"}`)
	o.account(`{"Name":"T2","ERP_Customer_Number__c":"twin"}`)
	id, _ = o.load(`{"object":"Account","operation":"upsert","externalIdFieldName":"ERP_Customer_Number__c"}`, "Name,ERP_Customer_Number__c\nA,twin\n")
	require.Contains(t, o.file(id, "failedResults")[1][1], "DUPLICATE_EXTERNAL_ID:")
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

// endless is a text without an end.
type endless struct{}

func (endless) Read(p []byte) (int, error) {
	return len(p), nil // whatever is there
}

func TestUploadsInOtherForms(t *testing.T) {
	t.Parallel()
	o := setup(t)
	id := o.job(`{"object":"Account","operation":"insert"}`)
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	_, err := io.WriteString(z, "Name\nGzip\n")
	require.NoError(t, err)
	require.NoError(t, z.Close())
	o.want(201, "PUT", ingest+"/"+id+"/batches", packed.String(), "Content-Type", "text/csv", "Content-Encoding", "gzip")
	o.want(200, "PATCH", ingest+"/"+id, `{"state":"UploadComplete"}`)
	o.done(id)
	// Asking for gzip by hand leaves unpacking to us.
	r := o.want(200, "GET", ingest+"/"+id+"/successfulResults", "", "Accept-Encoding", "gzip, deflate")
	require.Equal(t, "gzip", r.header.Get("Content-Encoding"))
	u, err := gzip.NewReader(strings.NewReader(r.text))
	require.NoError(t, err)
	text, err := io.ReadAll(u)
	require.NoError(t, err)
	require.Contains(t, string(text), `"Gzip"`)
	require.Empty(t, o.want(200, "GET", ingest+"/"+id+"/successfulResults", "", "Accept-Encoding", "identity").header.Get("Content-Encoding"))

	id = o.job(`{"object":"Account","operation":"insert"}`)
	req, err := http.NewRequest("PUT", o.base+ingest+"/"+id+"/batches", io.LimitReader(endless{}, 150_000_001))
	require.NoError(t, err)
	req.Header.Set("Authorization", "Bearer "+o.token)
	req.Header.Set("Content-Type", "text/csv")
	large, err := o.client.Do(req)
	require.NoError(t, err)
	text, err = io.ReadAll(large.Body)
	require.NoError(t, err)
	require.NoError(t, large.Body.Close())
	require.Equal(t, 400, large.StatusCode)
	require.Contains(t, string(text), "150 MB")
	require.Equal(t, "CLIENTINPUTERROR", o.want(400, "PUT", ingest+"/"+id+"/batches", "Name\n", "Content-Type", "text/csv", "Content-Encoding", "gzip").code())
	o.want(201, "PUT", ingest+"/"+id+"/batches", "Name\n", "Content-Type", "text/csv") // the job is still open

	multi := func(content string) string {
		return "--B\r\nContent-Type: application/json\r\nContent-Disposition: form-data; name=\"job\"\r\n\r\n{\"object\":\"Account\",\"operation\":\"insert\"}\r\n" +
			"--B\r\nContent-Type: text/csv\r\nContent-Disposition: form-data; name=\"content\"; filename=\"content\"\r\n\r\n" + content + "\r\n--B--\r\n"
	}
	made := o.want(200, "POST", ingest, multi("Name\nMulti\n"), "Content-Type", "multipart/form-data; boundary=B")
	require.Equal(t, "UploadComplete", made.object()["state"])
	require.InDelta(t, 1, o.done(made.id())["numberRecordsProcessed"], 0)
	require.Equal(t, "CLIENTINPUTERROR", o.want(400, "POST", ingest, multi(strings.Repeat("ä", 100_001)), "Content-Type", "multipart/form-data; boundary=B").code())
	require.Equal(t, []string{"Gzip", "Multi"}, o.names("SELECT Name FROM Account ORDER BY Name"))
}

func TestAnAbortedJobKeepsWhatItCommitted(t *testing.T) {
	t.Parallel()
	o := setup(t)
	o.bulk(`{"hold":"processing","hold_after":400}`)
	id := o.job(`{"object":"Lead","operation":"insert"}`)
	o.start(id, leads(0, 1000))
	o.until(ingest+"/"+id, func(j map[string]any) bool { return j["numberRecordsProcessed"] == 400.0 })
	require.Equal(t, "Aborted", o.want(200, "PATCH", ingest+"/"+id, `{"state":"Aborted"}`).object()["state"])
	require.Len(t, o.file(id, "successfulResults"), 401)
	require.Len(t, o.file(id, "failedResults"), 1)
	rest := o.file(id, "unprocessedrecords")
	require.Equal(t, []string{"LastName", "Company", "Selfsame_Id__c"}, rest[0])
	require.Len(t, rest, 601)
	require.Equal(t, "L-000400", rest[1][2])
	require.InDelta(t, 400, o.soql("SELECT COUNT() FROM Lead")["totalSize"], 0)

	id = o.job(`{"object":"Lead","operation":"insert"}`)
	o.want(201, "PUT", ingest+"/"+id+"/batches", leads(0, 3), "Content-Type", "text/csv")
	o.want(200, "PATCH", ingest+"/"+id, `{"state":"Aborted"}`)
	require.Equal(t, leads(0, 3), o.want(200, "GET", ingest+"/"+id+"/unprocessedrecords", "").text)
}

func TestLockedRowsAreTriedAgain(t *testing.T) {
	t.Parallel()
	o := setup(t)
	o.fault(`{"lock_row":{"count":3}}`)
	id, end := o.load(`{"object":"Lead","operation":"insert"}`, leads(0, 500))
	require.Equal(t, "JobComplete", end["state"])
	require.InDelta(t, 1, end["retries"], 0, "three rows of one transaction were tried once more")
	require.InDelta(t, 0, end["numberRecordsFailed"], 0)
	require.Len(t, o.file(id, "successfulResults"), 501)

	o.fault(`{"lock_row":{"probability":1}}`)
	id, end = o.load(`{"object":"Lead","operation":"insert"}`, leads(1000, 1050))
	require.Equal(t, "JobComplete", end["state"])
	require.InDelta(t, 9, end["retries"], 0)
	require.InDelta(t, 50, end["numberRecordsFailed"], 0)
	require.Contains(t, o.file(id, "failedResults")[1][1], "UNABLE_TO_LOCK_ROW:unable to obtain exclusive access to this record")

	id, end = o.load(`{"object":"Lead","operation":"insert"}`, leads(2000, 2500))
	require.Equal(t, "Failed", end["state"])
	require.Contains(t, end["errorMessage"], "TooManyLockFailure : ")
	require.Len(t, o.file(id, "failedResults"), 201)
	require.Len(t, o.file(id, "unprocessedrecords"), 301)
}

func TestBatchesSideBySideLockTheParentsOfTheirRows(t *testing.T) {
	t.Parallel()
	o := setup(t)
	for i := range 4 {
		o.account(fmt.Sprintf(`{"Name":"P%d","Selfsame_Id__c":"p%d"}`, i, i))
	}
	contacts := func(parent func(i int) int) string {
		var b strings.Builder
		b.WriteString("LastName,Account.Selfsame_Id__c\n")
		for i := range 10_600 {
			fmt.Fprintf(&b, "N%d,p%d\n", i, parent(i))
		}
		return b.String()
	}
	o.bulk(`{"contention":true}`)
	_, end := o.load(`{"object":"Contact","operation":"insert"}`, contacts(func(i int) int { return i % 4 }))
	require.Equal(t, "JobComplete", end["state"], end)
	require.Positive(t, end["retries"], "both batches want all parents")
	require.InDelta(t, 0, end["numberRecordsFailed"], 0)
	_, end = o.load(`{"object":"Contact","operation":"insert"}`, contacts(func(i int) int { return i / 10_000 }))
	require.InDelta(t, 0, end["retries"], 0, "rows sorted by parent do not meet")
}

func TestBatchesThatTakeTooLong(t *testing.T) {
	t.Parallel()
	o := setup(t)
	o.bulk(`{"transaction_time":"90s"}`)
	_, end := o.load(`{"object":"Lead","operation":"insert"}`, leads(0, 1000))
	require.Equal(t, "JobComplete", end["state"])
	require.InDelta(t, 1, end["retries"], 0, "five transactions of 90 seconds do not fit into five minutes")
	require.InDelta(t, 450_000, end["apexProcessingTime"], 0)
	require.InDelta(t, 450_000, end["totalProcessingTime"], 0)
	o.bulk(`{"transaction_time":"6m"}`)
	id, end := o.load(`{"object":"Lead","operation":"insert"}`, leads(2000, 2300))
	require.Equal(t, "Failed", end["state"])
	require.InDelta(t, 20, end["retries"], 0)
	require.Contains(t, end["errorMessage"], "Timeout : ")
	require.Len(t, o.file(id, "unprocessedrecords"), 301)
}

func TestAllocationsOfTheBulkAPIs(t *testing.T) {
	t.Parallel()
	o := setup(t, func(c *sandbox.Config) { c.Limits = sandbox.Limits{BulkBatches: 2, BulkRows: 10_600, BulkQueryJobs: 1} })
	_, end := o.load(`{"object":"Lead","operation":"insert"}`, leads(0, 10_200))
	require.Equal(t, "JobComplete", end["state"])
	require.InDelta(t, 0, o.left("DailyBulkApiBatches"), 0)
	id, end := o.load(`{"object":"Lead","operation":"insert"}`, leads(12_000, 12_100))
	require.Equal(t, "Failed", end["state"])
	require.Contains(t, end["errorMessage"], "ExceededQuota : ")
	require.Len(t, o.file(id, "unprocessedrecords"), 101)

	o.clock.advance(24*time.Hour + time.Minute)
	o.login()
	require.InDelta(t, 2, o.left("DailyBulkApiBatches"), 0, "the window has passed")
	id, end = o.load(`{"object":"Lead","operation":"insert"}`, leads(20_000, 30_800))
	require.Equal(t, "Failed", end["state"], "more rows than a day allows")
	require.InDelta(t, 10_600, end["numberRecordsProcessed"], 0)
	require.Len(t, o.file(id, "unprocessedrecords"), 201)

	o.want(200, "POST", v62+"/jobs/query", `{"operation":"query","query":"SELECT Id FROM Lead"}`)
	require.InDelta(t, 0, o.left("DailyBulkV2QueryJobs"), 0)
	require.Equal(t, "EXCEEDEDQUOTA", o.want(400, "POST", v62+"/jobs/query", `{"operation":"query","query":"SELECT Id FROM Lead"}`).code())
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

func TestTooManyLongRequestsKeepNewOnesOut(t *testing.T) {
	t.Parallel()
	o := setup(t, func(c *sandbox.Config) { c.Limits = sandbox.Limits{LongRequests: 1, LongRequest: 20 * time.Second} })
	id := o.job(`{"object":"Account","operation":"insert"}`)
	body, feed := io.Pipe()
	req, err := http.NewRequest("PUT", o.base+ingest+"/"+id+"/batches", body)
	require.NoError(t, err)
	req.Header.Set("Authorization", "Bearer "+o.token)
	req.Header.Set("Content-Type", "text/csv")
	done := make(chan int, 1)
	go func() {
		resp, err := o.client.Do(req)
		if err != nil {
			done <- 0
			return
		}
		_ = resp.Body.Close()
		done <- resp.StatusCode
	}()
	_, err = io.WriteString(feed, "Name\n")
	require.NoError(t, err)
	// While the upload runs, a second one is refused: the first has begun.
	require.Eventually(t, func() bool {
		r := o.do("PUT", ingest+"/"+id+"/batches", "", "Content-Type", "text/csv")
		return r.status == 400
	}, 10*time.Second, time.Millisecond)
	o.want(200, "GET", v62+"/limits", "")
	o.clock.advance(21 * time.Second)
	r := o.want(403, "GET", v62+"/limits", "")
	require.Equal(t, "REQUEST_LIMIT_EXCEEDED", r.code())
	require.Contains(t, r.text, "ConcurrentPerOrgLongTxn Limit exceeded")
	require.NoError(t, feed.Close())
	require.Equal(t, http.StatusCreated, <-done)
	o.want(200, "GET", v62+"/limits", "")
}
