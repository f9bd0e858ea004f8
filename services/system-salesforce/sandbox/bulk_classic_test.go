package sandbox_test

import (
	"encoding/xml"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox"
)

const async = "/services/async/62.0/job"

// xmlDoc reads the elements below the root of a document, by name.
func xmlDoc(t testing.TB, text string) (root string, values map[string]string) {
	t.Helper()
	var doc struct {
		XMLName xml.Name
		Any     []struct {
			XMLName xml.Name
			Text    string `xml:",chardata"`
		} `xml:",any"`
	}
	require.NoError(t, xml.Unmarshal([]byte(text), &doc), text)
	require.Equal(t, "http://www.force.com/2009/06/asyncapi/dataload", doc.XMLName.Space)
	values = map[string]string{}
	for _, e := range doc.Any {
		values[e.XMLName.Local] = e.Text
	}
	return doc.XMLName.Local, values
}

// classic sends a request of Bulk API 1.0, where the session has a header of
// its own.
func (o *org) classic(method, path, kind, body string) result {
	o.t.Helper()
	token := o.token
	o.token = ""
	defer func() { o.token = token }()
	return o.do(method, path, body, "X-SFDC-Session", token, "Content-Type", kind)
}

func (o *org) classicJob(info string) string {
	o.t.Helper()
	r := o.classic("POST", async, "application/xml; charset=utf-8", `<?xml version="1.0" encoding="UTF-8"?><jobInfo xmlns="http://www.force.com/2009/06/asyncapi/dataload">`+info+`</jobInfo>`)
	require.Equal(o.t, http.StatusCreated, r.status, r.text)
	root, job := xmlDoc(o.t, r.text)
	require.Equal(o.t, "jobInfo", root)
	require.Equal(o.t, "Open", job["state"])
	return job["id"]
}

func (o *org) classicBatch(job, kind, body string) string {
	o.t.Helper()
	r := o.classic("POST", async+"/"+job+"/batch", kind, body)
	require.Equal(o.t, http.StatusCreated, r.status, r.text)
	if kind == "application/json" {
		return r.id()
	}
	_, b := xmlDoc(o.t, r.text)
	require.Equal(o.t, job, b["jobId"])
	require.Equal(o.t, "751", b["id"][:3])
	return b["id"]
}

func (o *org) batchEnds(job, batch string) map[string]string {
	o.t.Helper()
	var last map[string]string
	require.Eventually(o.t, func() bool {
		_, last = xmlDoc(o.t, o.classic("GET", async+"/"+job+"/batch/"+batch, "application/xml", "").text)
		return last["state"] == "Completed" || last["state"] == "Failed" || last["state"] == "NotProcessed"
	}, 2*time.Minute, time.Millisecond, "%v", last)
	return last
}

func TestASerialJobOfTheFirstBulkAPI(t *testing.T) {
	t.Parallel()
	o := setup(t)
	job := o.classicJob(`<operation>upsert</operation><object>Account</object><externalIdFieldName>Selfsame_Id__c</externalIdFieldName><concurrencyMode>Serial</concurrencyMode><contentType>CSV</contentType>`)
	first := o.classicBatch(job, "text/csv; charset=UTF-8", "Name,Selfsame_Id__c\r\nA,1\r\n,2\r\nC,3\r\n")
	b := o.batchEnds(job, first)
	require.Equal(t, "Completed", b["state"])
	require.Equal(t, "3", b["numberRecordsProcessed"])
	require.Equal(t, "1", b["numberRecordsFailed"])
	rows := parseCSV(t, o.classic("GET", async+"/"+job+"/batch/"+first+"/result", "application/xml", "").text, ',')
	require.Equal(t, []string{"Id", "Success", "Created", "Error"}, rows[0])
	require.Equal(t, []string{"true", "true", ""}, rows[1][1:], "results are in the order of the rows")
	require.Equal(t, []string{"", "false", "false", "REQUIRED_FIELD_MISSING:Required fields are missing: [Name]:Name --"}, rows[2])
	require.Equal(t, []string{"true", "true", ""}, rows[3][1:])
	require.Equal(t, "Name,Selfsame_Id__c\r\nA,1\r\n,2\r\nC,3\r\n", o.classic("GET", async+"/"+job+"/batch/"+first+"/request", "application/xml", "").text)

	second := o.classicBatch(job, "text/csv", "Name,Nope__c\nA,1\n")
	require.Equal(t, "InvalidBatch : Field name not found : Nope__c", o.batchEnds(job, second)["stateMessage"])
	r := o.classic("POST", async+"/"+job, "application/xml", `<jobInfo xmlns="http://www.force.com/2009/06/asyncapi/dataload"><state>Closed</state></jobInfo>`)
	require.Equal(t, 200, r.status, r.text)
	_, info := xmlDoc(t, r.text)
	for k, v := range map[string]string{
		"state": "Closed", "concurrencyMode": "Serial", "operation": "upsert", "object": "Account", "contentType": "CSV", "numberBatchesTotal": "2",
		"numberBatchesCompleted": "1", "numberBatchesFailed": "1", "numberBatchesQueued": "0", "numberRecordsProcessed": "3", "numberRecordsFailed": "1",
		"apiVersion": "62.0", "createdDate": "2026-05-14T10:00:00.000Z", "externalIdFieldName": "Selfsame_Id__c", "numberRetries": "0",
	} {
		require.Equal(t, v, info[k], k)
	}
	require.Equal(t, "InvalidJobState", o.classicFault(o.classic("POST", async+"/"+job+"/batch", "text/csv", "Name\nA\n")))
	require.Equal(t, 2, strings.Count(o.classic("GET", async+"/"+job+"/batch", "application/xml", "").text, "<batchInfo>"))
	list := o.want(200, "GET", ingest+"?jobType=Classic&concurrencyMode=Serial", "").object()["records"].([]any)
	require.Len(t, list, 1)
	require.Equal(t, "Serial", list[0].(map[string]any)["concurrencyMode"])
	require.InDelta(t, 15_000-2, o.left("DailyBulkApiBatches"), 0)
}

func (o *org) classicFault(r result) string {
	o.t.Helper()
	require.Equal(o.t, http.StatusBadRequest, r.status, r.text)
	root, f := xmlDoc(o.t, r.text)
	require.Equal(o.t, "error", root)
	require.NotEmpty(o.t, f["exceptionMessage"])
	return f["exceptionCode"]
}

func TestSerialJobsAvoidLocksThatParallelOnesMeet(t *testing.T) {
	t.Parallel()
	o := setup(t)
	o.account(`{"Name":"P","Selfsame_Id__c":"p"}`)
	retries := func(mode string) string {
		o.bulk(`{"contention":true,"hold":"queued"}`)
		job := o.classicJob(`<operation>insert</operation><object>Contact</object><concurrencyMode>` + mode + `</concurrencyMode><contentType>CSV</contentType>`)
		var batches []string
		for i := range 3 {
			batches = append(batches, o.classicBatch(job, "text/csv", "LastName,Account.Selfsame_Id__c\n"+strings.Repeat(fmt.Sprintf("N%d,p\n", i), 300)))
		}
		o.bulk(`{"contention":true}`)
		for _, b := range batches {
			end := o.batchEnds(job, b)
			require.Equal(t, "0", end["numberRecordsFailed"])
			require.Equal(t, "300", end["numberRecordsProcessed"])
		}
		_, info := xmlDoc(t, o.classic("GET", async+"/"+job, "application/xml", "").text)
		return info["numberRetries"]
	}
	require.Equal(t, "0", retries("Serial"))
	require.NotEqual(t, "0", retries("Parallel"))
}

func TestBatchesInXMLAndJSON(t *testing.T) {
	t.Parallel()
	o := setup(t)
	parent := o.account(`{"Name":"P","Selfsame_Id__c":"p","Phone":"1"}`)
	job := o.classicJob(`<operation>insert</operation><object>Contact</object><contentType>XML</contentType>`)
	b := o.classicBatch(job, "application/xml", `<sObjects xmlns="http://www.force.com/2009/06/asyncapi/dataload" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">
		<sObject><LastName>A &amp; B</LastName><Account><sObject><Selfsame_Id__c>p</Selfsame_Id__c></sObject></Account></sObject>
		<sObject><FirstName>x</FirstName></sObject></sObjects>`)
	o.batchEnds(job, b)
	text := o.classic("GET", async+"/"+job+"/batch/"+b+"/result", "application/xml", "").text
	require.Regexp(t, `<result><id>003\w{15}</id><success>true</success><created>true</created></result>`, text)
	require.Contains(t, text, `<result><success>false</success><created>false</created><errors><fields>LastName</fields><message>Required fields are missing: [LastName]</message><statusCode>REQUIRED_FIELD_MISSING</statusCode></errors></result>`)
	require.Equal(t, parent, o.soql("SELECT AccountId FROM Contact WHERE LastName = 'A & B'")["records"].([]any)[0].(map[string]any)["AccountId"])

	r := o.classic("POST", async, "application/json", `{"operation":"update","object":"Account","contentType":"JSON"}`)
	require.Equal(t, http.StatusCreated, r.status, r.text)
	job = r.id()
	b = o.classicBatch(job, "application/json", `[{"Id":"`+parent+`","Phone":null,"NumberOfEmployees":7,"attributes":{"type":"Account"}},{"Name":"no id"}]`)
	require.Eventually(t, func() bool {
		return o.classic("GET", async+"/"+job+"/batch/"+b, "application/json", "").object()["state"] == "Completed"
	}, time.Minute, time.Millisecond)
	results := o.classic("GET", async+"/"+job+"/batch/"+b+"/result", "application/json", "").array()
	require.Equal(t, map[string]any{"success": true, "created": false, "id": parent, "errors": []any{}}, results[0])
	require.Equal(t, "MISSING_ARGUMENT", results[1]["errors"].([]any)[0].(map[string]any)["statusCode"])
	got := o.soql("SELECT Phone, NumberOfEmployees FROM Account")["records"].([]any)[0].(map[string]any)
	require.Nil(t, got["Phone"])
	require.InDelta(t, 7, got["NumberOfEmployees"], 0)
}

func TestAnAbortedJobOfTheFirstBulkAPI(t *testing.T) {
	t.Parallel()
	o := setup(t)
	o.bulk(`{"hold":"processing","hold_after":200}`)
	job := o.classicJob(`<operation>insert</operation><object>Lead</object><concurrencyMode>Serial</concurrencyMode><contentType>CSV</contentType>`)
	first := o.classicBatch(job, "text/csv", leads(0, 300))
	second := o.classicBatch(job, "text/csv", leads(300, 600))
	require.Eventually(t, func() bool {
		_, info := xmlDoc(t, o.classic("GET", async+"/"+job, "application/xml", "").text)
		return info["numberRecordsProcessed"] == "200"
	}, time.Minute, time.Millisecond)
	require.Equal(t, "InvalidBatch", o.classicFault(o.classic("GET", async+"/"+job+"/batch/"+first+"/result", "application/xml", "")))
	_, info := xmlDoc(t, o.classic("POST", async+"/"+job, "application/xml", `<jobInfo xmlns="http://www.force.com/2009/06/asyncapi/dataload"><state>Aborted</state></jobInfo>`).text)
	require.Equal(t, "Aborted", info["state"])
	require.Equal(t, "NotProcessed", o.batchEnds(job, second)["state"])
	end := o.batchEnds(job, first)
	require.Equal(t, "Failed", end["state"])
	require.Equal(t, "200", end["numberRecordsProcessed"], "what was committed stays")
	require.InDelta(t, 200, o.soql("SELECT COUNT() FROM Lead")["totalSize"], 0)
}

func TestRefusalsOfTheFirstBulkAPI(t *testing.T) {
	t.Parallel()
	o := setup(t, func(c *sandbox.Config) { c.Limits = sandbox.Limits{BulkBatches: 1} })
	start := func(info string) string {
		return o.classicFault(o.classic("POST", async, "application/xml", `<jobInfo xmlns="http://www.force.com/2009/06/asyncapi/dataload">`+info+`</jobInfo>`))
	}
	require.Equal(t, "InvalidJob", start(`<operation>insert</operation>`))
	require.Equal(t, "InvalidEntity", start(`<operation>insert</operation><object>Nothing</object>`))
	require.Equal(t, "InvalidJob", start(`<operation>insert</operation><object>Account</object><concurrencyMode>Odd</concurrencyMode>`))
	require.Equal(t, "InvalidJob", start(`<operation>insert</operation><object>Account</object><contentType>ZIP_CSV</contentType>`))
	require.Equal(t, "FeatureNotEnabled", start(`<operation>query</operation><object>Account</object>`))
	require.Equal(t, "InvalidJob", o.classicFault(o.classic("POST", async, "application/xml", `no xml`)))
	require.Equal(t, "InvalidJob", o.classicFault(o.classic("GET", async+"/750000000000009AAA", "application/xml", "")))
	require.Equal(t, "InvalidVersion", o.classicFault(o.classic("POST", "/services/async/20.0/job", "application/xml", "")))
	require.Equal(t, "InvalidUrl", o.classicFault(o.classic("GET", "/services/async/62.0/other", "application/xml", "")))

	job := o.classicJob(`<operation>insert</operation><object>Account</object><contentType>CSV</contentType>`)
	require.Equal(t, "InvalidBatch", o.classicFault(o.classic("POST", async+"/"+job+"/batch", "application/xml", "<sObjects/>")))
	b := o.classicBatch(job, "text/csv", "Name\n"+strings.Repeat("A\n", 10_001))
	require.Contains(t, o.batchEnds(job, b)["stateMessage"], "10,000 records")
	require.Equal(t, "ExceededQuota", o.classicFault(o.classic("POST", async+"/"+job+"/batch", "text/csv", "Name\nA\n")))

	o.token = "nobody"
	require.Equal(t, "InvalidSessionId", o.classicFault(o.classic("GET", async+"/"+job, "application/xml", "")))
	r := o.classic("GET", async+"/"+job, "application/json", "")
	require.Equal(t, 400, r.status)
	require.Equal(t, "InvalidSessionId", r.object()["exceptionCode"])
}
