package sandbox_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox"
)

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
	}, time.Minute, time.Millisecond)
	o.want(200, "GET", v62+"/limits", "")
	o.clock.advance(21 * time.Second)
	r := o.want(403, "GET", v62+"/limits", "")
	require.Equal(t, "REQUEST_LIMIT_EXCEEDED", r.code())
	require.Contains(t, r.text, "ConcurrentPerOrgLongTxn Limit exceeded")
	require.NoError(t, feed.Close())
	require.Equal(t, http.StatusCreated, <-done)
	o.want(200, "GET", v62+"/limits", "")
}
