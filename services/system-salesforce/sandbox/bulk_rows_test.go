package sandbox_test

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox"
)

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
