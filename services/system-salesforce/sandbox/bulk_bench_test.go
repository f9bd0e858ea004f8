package sandbox_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox"
)

// BenchmarkBulkIngest loads 1,000,000 leads with one job of Bulk API 2.0,
// waits for its end and reads the successful results. It reports the seconds,
// the size of the upload, and what the heap holds after the upload and after
// the job.
func BenchmarkBulkIngest(b *testing.B) {
	const total = 1_000_000
	for range b.N {
		s, err := sandbox.New(sandbox.Config{Apps: []sandbox.App{{ClientID: clientID, PublicKeyPEM: publicPEM()}}})
		require.NoError(b, err)
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- s.Run(ctx) }()
		transport := &http.Transport{}
		o := &org{server: s, base: "http://" + s.HTTPAddr(), client: &http.Client{Transport: transport}}
		form := url.Values{"grant_type": {"urn:ietf:params:oauth:grant-type:jwt-bearer"}, "assertion": {sign(map[string]any{
			"iss": clientID, "sub": sandbox.DefaultUser, "aud": o.base, "exp": time.Now().Add(time.Minute).Unix(),
		})}}
		resp, err := o.client.PostForm(o.base+"/services/oauth2/token", form)
		require.NoError(b, err)
		var granted map[string]string
		require.NoError(b, json.NewDecoder(resp.Body).Decode(&granted))
		require.NoError(b, resp.Body.Close())
		o.token = granted["access_token"]
		send := func(method, path, kind string, body io.Reader) *http.Response {
			req, err := http.NewRequest(method, o.base+path, body)
			require.NoError(b, err)
			req.Header.Set("Authorization", "Bearer "+o.token)
			req.Header.Set("Content-Type", kind)
			resp, err := o.client.Do(req)
			require.NoError(b, err)
			require.Less(b, resp.StatusCode, 300)
			return resp
		}
		heap := func() float64 {
			runtime.GC()
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			return float64(m.HeapAlloc) / (1 << 20)
		}

		r, err := o.try("POST", ingest, `{"object":"Lead","operation":"upsert","externalIdFieldName":"Selfsame_Id__c"}`)
		require.NoError(b, err)
		var job struct {
			ID        string `json:"id"`
			State     string `json:"state"`
			Message   string `json:"errorMessage"`
			Processed int    `json:"numberRecordsProcessed"`
			Failed    int    `json:"numberRecordsFailed"`
		}
		require.NoError(b, json.Unmarshal([]byte(r.text), &job), r.text)
		before, start := heap(), time.Now()
		data, feed := io.Pipe()
		size := make(chan int, 1)
		go func() {
			n, _ := io.WriteString(feed, "FirstName,LastName,Company,Email,Phone,City,Selfsame_Id__c\n")
			buf := make([]byte, 0, 64<<10)
			for i := range total {
				buf = fmt.Appendf(buf, "Ada,Lead number %d,Company %d,lead%d@example.com,+49 30 %07d,Berlin,lead-%d\n", i, i%5000, i, i, i)
				if len(buf) > 60<<10 || i == total-1 {
					w, _ := feed.Write(buf)
					n += w
					buf = buf[:0]
				}
			}
			size <- n
			_ = feed.Close()
		}()
		require.NoError(b, send("PUT", ingest+"/"+job.ID+"/batches", "text/csv", data).Body.Close())
		uploaded, held := time.Since(start), heap()-before
		r, err = o.try("PATCH", ingest+"/"+job.ID, `{"state":"UploadComplete"}`)
		require.NoError(b, err)
		require.Equal(b, 200, r.status)
		start = time.Now()
		for job.State != "JobComplete" {
			require.NotEqual(b, "Failed", job.State, job.Message)
			time.Sleep(50 * time.Millisecond)
			r, err = o.try("GET", ingest+"/"+job.ID, "")
			require.NoError(b, err)
			require.NoError(b, json.Unmarshal([]byte(r.text), &job))
		}
		processed := time.Since(start)
		require.Equal(b, total, job.Processed)
		require.Zero(b, job.Failed)
		start = time.Now()
		results := send("GET", ingest+"/"+job.ID+"/successfulResults", "", nil)
		n, err := io.Copy(io.Discard, results.Body)
		require.NoError(b, err)
		require.NoError(b, results.Body.Close())
		require.Greater(b, n, int64(total*40))
		read := time.Since(start)
		b.ReportMetric(float64(<-size)/(1<<20), "csv-MiB")
		b.ReportMetric(held, "upload-heap-MiB")
		b.ReportMetric(heap(), "end-heap-MiB")
		b.ReportMetric(uploaded.Seconds(), "upload-s")
		b.ReportMetric(total/processed.Seconds(), "rows/s")
		b.ReportMetric(read.Seconds(), "results-s")
		transport.CloseIdleConnections()
		cancel()
		require.NoError(b, <-done)
	}
}
