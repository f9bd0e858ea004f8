package sandbox_test

import (
	"encoding/csv"
	"fmt"
	"net/http"
	"sort"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

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
	}, 2*time.Minute, time.Millisecond, "%v", last)
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

func (o *org) left(name string) float64 {
	o.t.Helper()
	return o.want(200, "GET", v62+"/limits", "").object()[name].(map[string]any)["Remaining"].(float64)
}
