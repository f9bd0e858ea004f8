package sandbox_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox"
)

// BenchmarkInitialSync loads 100,000 accounts through collections and reads
// them back by keyset pages of 2,000, as a first synchronization does.
func BenchmarkInitialSync(b *testing.B) {
	const total = 100_000
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

		start := time.Now()
		for from := 0; from < total; from += 200 {
			var body strings.Builder
			body.WriteString(`{"records":[`)
			for i := from; i < from+200; i++ {
				if i > from {
					body.WriteByte(',')
				}
				fmt.Fprintf(&body, `{"attributes":{"type":"Account"},"Selfsame_Id__c":"customer-%d","Name":"Customer number %d","Phone":"+49 30 %d","BillingStreet":"Street %d","BillingCity":"Berlin","BillingPostalCode":"10115","BillingCountry":"Germany","Email__c":"c%d@example.com","ERP_Customer_Number__c":"%d"}`, i, i, i, i, i, 10_000_000+i)
			}
			body.WriteString("]}")
			r, err := o.try("PATCH", v62+"/composite/sobjects/Account/Selfsame_Id__c", body.String())
			require.NoError(b, err)
			require.Equal(b, 200, r.status)
		}
		loaded := time.Since(start)
		runtime.GC()
		var mem runtime.MemStats
		runtime.ReadMemStats(&mem)

		start = time.Now()
		rows, where := 0, ""
		for {
			q := "SELECT Id, Name, Phone, BillingStreet, BillingCity, Selfsame_Id__c, SystemModstamp FROM Account" + where + " ORDER BY SystemModstamp, Id LIMIT 2000"
			r, err := o.try("GET", v62+"/query?q="+url.QueryEscape(q), "")
			require.NoError(b, err)
			var page struct {
				Records []struct{ Id, SystemModstamp string }
			}
			require.NoError(b, json.Unmarshal([]byte(r.text), &page), r.text)
			if len(page.Records) == 0 {
				break
			}
			rows += len(page.Records)
			last := page.Records[len(page.Records)-1]
			where = fmt.Sprintf(" WHERE SystemModstamp > %s OR (SystemModstamp = %s AND Id > '%s')", last.SystemModstamp, last.SystemModstamp, last.Id)
		}
		require.Equal(b, total, rows)
		b.ReportMetric(loaded.Seconds(), "load-s")
		b.ReportMetric(time.Since(start).Seconds(), "walk-s")
		b.ReportMetric(float64(mem.HeapAlloc)/(1<<20), "heap-MiB")
		transport.CloseIdleConnections()
		cancel()
		require.NoError(b, <-done)
	}
}
