package sandbox_test

import (
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const queryJobs = v62 + "/jobs/query"

// ask runs a query job and returns its id and its last state.
func (o *org) ask(body string) (string, map[string]any) {
	o.t.Helper()
	r := o.want(http.StatusOK, "POST", queryJobs, body)
	id := r.id()
	return id, o.until(queryJobs+"/"+id, func(j map[string]any) bool {
		return j["state"] == "JobComplete" || j["state"] == "Failed" || j["state"] == "Aborted"
	})
}

func TestAQueryJobGoesThroughItsStates(t *testing.T) {
	t.Parallel()
	o := setup(t)
	o.account(`{"Name":"A"}`)
	o.bulk(`{"hold":"processing"}`)
	r := o.want(200, "POST", queryJobs, `{"operation":"query","query":"SELECT Id, Name FROM Account"}`)
	id := r.id()
	made := r.object()
	require.Equal(t, "UploadComplete", made["state"])
	require.Equal(t, "V2Query", made["jobType"])
	require.Equal(t, "Account", made["object"])
	require.Equal(t, "LF", made["lineEnding"])
	o.until(queryJobs+"/"+id, func(j map[string]any) bool { return j["state"] == "InProgress" })
	require.Equal(t, "INVALIDJOBSTATE", o.want(400, "GET", queryJobs+"/"+id+"/results", "").code())
	require.Equal(t, "INVALIDJOBSTATE", o.want(400, "DELETE", queryJobs+"/"+id, "").code())
	o.want(204, "DELETE", "/__sandbox__/bulk", "")
	end := o.until(queryJobs+"/"+id, func(j map[string]any) bool { return j["state"] == "JobComplete" })
	require.InDelta(t, 1, end["numberRecordsProcessed"], 0)
	require.Equal(t, true, end["isPkChunkingSupported"])
	require.Contains(t, end, "totalProcessingTime")
	require.InDelta(t, 9_999, o.left("DailyBulkV2QueryJobs"), 0)
	require.InDelta(t, 976_561, o.left("DailyBulkV2QueryFileStorageMB"), 0)
	require.Len(t, o.want(200, "GET", queryJobs, "").object()["records"], 1)
	require.Empty(t, o.want(200, "GET", ingest, "").object()["records"])
	o.want(404, "GET", ingest+"/"+id, "")
	o.want(204, "DELETE", queryJobs+"/"+id, "")
	o.want(404, "GET", queryJobs+"/"+id, "")

	_, end = o.ask(`{"operation":"query","query":"SELECT Id FROM Account ORDER BY Name LIMIT 5"}`)
	require.Equal(t, false, end["isPkChunkingSupported"])
	o.bulk(`{"hold":"processing"}`)
	id = o.want(200, "POST", queryJobs, `{"operation":"query","query":"SELECT Id FROM Account"}`).id()
	require.Equal(t, "Aborted", o.want(200, "PATCH", queryJobs+"/"+id, `{"state":"Aborted"}`).object()["state"])
	require.Equal(t, "INVALIDJOBSTATE", o.want(400, "GET", queryJobs+"/"+id+"/results", "").code())
}

func TestQueryResultsComeInOnePageUnlessAskedOtherwise(t *testing.T) {
	t.Parallel()
	o := setup(t)
	o.load(`{"object":"Lead","operation":"insert"}`, leads(0, 5))
	id, _ := o.ask(`{"operation":"query","query":"SELECT LastName, Company FROM Lead ORDER BY LastName"}`)
	r := o.want(200, "GET", queryJobs+"/"+id+"/results/?locator=", "", "Accept", "text/csv")
	require.Equal(t, "text/csv", r.header.Get("Content-Type"))
	require.Equal(t, []string{"5"}, r.header["Sforce-Numberofrecords"])
	require.Equal(t, []string{"null"}, r.header["Sforce-Locator"])
	require.True(t, strings.HasPrefix(r.text, "\"LastName\",\"Company\"\n\"Name 0\",\"Company 0\"\n"), r.text)

	var names []string
	locator := ""
	for pages := 0; locator != "null"; pages++ {
		require.Less(t, pages, 3)
		p := o.want(200, "GET", queryJobs+"/"+id+"/results?maxRecords=2&locator="+locator, "")
		rows := parseCSV(t, p.text, ',')
		require.Equal(t, []string{"LastName", "Company"}, rows[0], "the header is on every page")
		require.Equal(t, fmt.Sprint(len(rows)-1), p.header.Get("Sforce-NumberOfRecords"))
		for _, row := range rows[1:] {
			names = append(names, row[0])
		}
		locator = p.header.Get("Sforce-Locator")
	}
	require.Equal(t, []string{"Name 0", "Name 1", "Name 2", "Name 3", "Name 4"}, names)

	pages := o.want(200, "GET", queryJobs+"/"+id+"/resultPages?maxRecords=2", "").object()
	require.Len(t, pages["resultPages"], 3)
	require.Equal(t, true, pages["done"])
	second := pages["resultPages"].([]any)[1].(map[string]any)["resultUrl"].(string)
	require.Contains(t, o.want(200, "GET", "/"+second, "").text, "Name 2")
	short := o.want(200, "GET", queryJobs+"/"+id+"/resultPages?maxRecords=1", "").object()
	require.Equal(t, true, short["done"])
	require.Len(t, short["resultPages"], 5)

	require.Equal(t, "INVALID_QUERY_LOCATOR", o.want(400, "GET", queryJobs+"/"+id+"/results?locator=zzz", "").code())
	require.Equal(t, "INVALID_QUERY_PARAMETER", o.want(400, "GET", queryJobs+"/"+id+"/results?maxRecords=0", "").code())
	o.want(409, "GET", strings.Replace(queryJobs, "62", "63", 1)+"/"+id+"/results", "")

	packed := o.want(200, "GET", queryJobs+"/"+id+"/results", "", "Accept-Encoding", "gzip")
	z, err := gzip.NewReader(strings.NewReader(packed.text))
	require.NoError(t, err)
	text, err := io.ReadAll(z)
	require.NoError(t, err)
	require.Equal(t, r.text, string(text))

	id, _ = o.ask(`{"operation":"query","query":"SELECT Id, Name FROM Account"}`)
	empty := o.want(200, "GET", queryJobs+"/"+id+"/results", "")
	require.Equal(t, "\"Id\",\"Name\"\n", empty.text)
	require.Equal(t, []string{"0"}, empty.header["Sforce-Numberofrecords"])
	require.Equal(t, []string{"null"}, empty.header["Sforce-Locator"])
}

func TestQueryResultsShowValuesAsText(t *testing.T) {
	t.Parallel()
	o := setup(t)
	parent := o.account(`{"Name":"Pa; \"rent\"","AnnualRevenue":5,"NumberOfEmployees":7,"BillingCity":"Kiel"}`)
	o.want(201, "POST", v62+"/sobjects/Contact", `{"LastName":"Roe","AccountId":"`+parent+`"}`)
	o.want(201, "POST", v62+"/sobjects/Contact", `{"LastName":"Zed"}`)
	gone := o.account(`{"Name":"Gone"}`)
	o.want(204, "DELETE", v62+"/sobjects/Account/"+gone, "")

	id, _ := o.ask(`{"operation":"query","query":"SELECT Name, AnnualRevenue, NumberOfEmployees, BillingCity, Phone, CreatedDate, IsDeleted FROM Account","columnDelimiter":"SEMICOLON","lineEnding":"CRLF"}`)
	require.Equal(t, "\"Name\";\"AnnualRevenue\";\"NumberOfEmployees\";\"BillingCity\";\"Phone\";\"CreatedDate\";\"IsDeleted\"\r\n"+
		"\"Pa; \"\"rent\"\"\";\"5.0\";\"7\";\"Kiel\";\"\";\"2026-05-14T10:00:00.000Z\";\"false\"\r\n", o.want(200, "GET", queryJobs+"/"+id+"/results", "").text)
	id, _ = o.ask(`{"operation":"queryAll","query":"SELECT Name FROM Account"}`)
	require.Len(t, parseCSV(t, o.want(200, "GET", queryJobs+"/"+id+"/results", "").text, ','), 3)
	id, _ = o.ask(`{"operation":"query","query":"SELECT LastName, Account.Name, Account.Owner.Username FROM Contact ORDER BY LastName"}`)
	rows := parseCSV(t, o.want(200, "GET", queryJobs+"/"+id+"/results", "").text, ',')
	require.Equal(t, [][]string{{"LastName", "Account.Name", "Account.Owner.Username"}, {"Roe", "Pa; \"rent\"", "robot@example.com"}, {"Zed", "", ""}}, rows)

	// What was found stays, whatever happens to the records.
	o.want(204, "DELETE", v62+"/sobjects/Account/"+parent, "")
	require.Contains(t, o.want(200, "GET", queryJobs+"/"+id+"/results", "").text, "Pa; ")
}

func TestQueriesThatBulkDoesNotServe(t *testing.T) {
	t.Parallel()
	o := setup(t)
	o.account(`{"Name":"Group, Offset and (SELECT","Type":"Prospect"}`)
	for soql, message := range map[string]string{
		"SELECT COUNT() FROM Account":                         "Aggregate functions not supported in Bulk Query",
		"SELECT MAX(AnnualRevenue) FROM Account":              "Aggregate functions not supported in Bulk Query",
		"SELECT Type, COUNT(Id) n FROM Account GROUP BY Type": "GROUP BY not supported in Bulk Query",
		"SELECT Id FROM Account OFFSET 3":                     "OFFSET not supported in Bulk Query",
		"SELECT Id, (SELECT Id FROM Contacts) FROM Account":   "Aggregate Relationships not supported in Bulk Query",
		"SELECT BillingAddress FROM Account":                  "Selecting compound data not supported in Bulk Query",
	} {
		_, end := o.ask(`{"operation":"query","query":"` + soql + `"}`)
		require.Equal(t, "Failed", end["state"], soql)
		require.Equal(t, "FeatureNotEnabled : "+message, end["errorMessage"], soql)
	}
	_, end := o.ask(`{"operation":"query","query":"SELECT Id FROM Account WHERE Name = 'Group, Offset and (SELECT' LIMIT 1"}`)
	require.Equal(t, "JobComplete", end["state"], "words in texts mean nothing")
	require.InDelta(t, 1, end["numberRecordsProcessed"], 0)
	for _, tc := range []struct{ body, code string }{
		{`{"operation":"query","query":"SELECT Nope FROM Account"}`, "INVALID_FIELD"},
		{`{"operation":"query","query":"SELECT Id FROM Nothing"}`, "INVALID_TYPE"},
		{`{"operation":"query","query":"nonsense"}`, "MALFORMED_QUERY"},
		{`{"operation":"query","query":""}`, "INVALIDJOB"},
		{`{"operation":"search","query":"SELECT Id FROM Account"}`, "INVALIDJOB"},
		{`{"operation":"query","query":"SELECT Id FROM Account","contentType":"JSON"}`, "INVALIDJOB"},
	} {
		require.Equal(t, tc.code, o.want(400, "POST", queryJobs, tc.body).code(), tc.body)
	}
}
