package rest

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/pkg/fault"
)

// answering returns a client whose every call is answered alike, and what was asked last.
func answering(t *testing.T, status int, body string) (*Client, *string) {
	t.Helper()
	asked := new(string)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		*asked = r.URL.RequestURI()
		w.Header().Set("Date", "Fri, 01 May 2026 12:00:07 GMT")
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body))
	}))
	t.Cleanup(server.Close)
	ours := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	return New(Options{Sessions: &fixedSessions{url: server.URL}, HTTP: server.Client(), APIVersion: "66.0", ClientName: "selfsame", Now: func() time.Time { return ours }}), asked
}

func TestReplication(t *testing.T) {
	t.Parallel()
	from := time.Date(2026, 4, 30, 8, 0, 0, 0, time.FixedZone("", 7200))
	t.Run("changed ids of a period, in their long form", func(t *testing.T) {
		t.Parallel()
		c, asked := answering(t, 200, `{"ids":["001D000000IqhSL","001000000000001AAA"],"latestDateCovered":"2026-05-01T00:00:00.000+0000"}`)
		ids, err := c.Updated(t.Context(), "Account", from, from.Add(time.Hour))
		require.NoError(t, err)
		require.Equal(t, []string{"001D000000IqhSLIAZ", "001000000000001AAA"}, ids)
		require.Equal(t, "/services/data/v66.0/sobjects/Account/updated/?end=2026-04-30T07%3A00%3A00Z&start=2026-04-30T06%3A00%3A00Z", *asked)
	})
	t.Run("deletions of a period, and since when they are known", func(t *testing.T) {
		t.Parallel()
		c, asked := answering(t, 200, `{"deletedRecords":[{"id":"001D000000IqhSL","deletedDate":"2026-04-30T06:30:00.000+0000"}],"earliestDateAvailable":"2026-04-16T00:00:00.000+0000","latestDateCovered":"x"}`)
		got, err := c.Deleted(t.Context(), "Account", from, from.Add(time.Hour))
		require.NoError(t, err)
		require.Equal(t, Deletions{
			Records:  []Deletion{{ID: "001D000000IqhSLIAZ", At: time.Date(2026, 4, 30, 6, 30, 0, 0, time.UTC)}},
			Earliest: time.Date(2026, 4, 16, 0, 0, 0, 0, time.UTC),
		}, got)
		require.Contains(t, *asked, "/sobjects/Account/deleted/?")
	})
	for name, c := range map[string]struct{ body, reason string }{
		"a period with too much in it":      {`[{"errorCode":"EXCEEDED_ID_LIMIT","message":"m"}]`, ReasonPeriodTooLarge},
		"a period that cannot be listed":    {`[{"errorCode":"INVALID_REPLICATION_DATE","message":"m"}]`, ReasonPeriodInvalid},
		"an answer with a time that is not": {``, ReasonAnswerInvalid},
	} {
		t.Run(name+" has a reason of its own", func(t *testing.T) {
			t.Parallel()
			status, body := 400, c.body
			if body == "" {
				status, body = 200, `{"deletedRecords":[{"id":"001D000000IqhSL","deletedDate":"yesterday"}]}`
			}
			client, _ := answering(t, status, body)
			_, err := client.Deleted(t.Context(), "Account", from, from.Add(time.Hour))
			require.Equal(t, c.reason, fault.ReasonOf(err))
		})
	}
}

func TestClock(t *testing.T) {
	t.Parallel()
	c, asked := answering(t, 200, `[]`)
	_, known := c.ClockSkew()
	require.False(t, known)
	require.Equal(t, time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC), c.ServerTime(), "ours, as long as nothing else is known")
	now, err := c.ReadClock(t.Context())
	require.NoError(t, err)
	require.Equal(t, time.Date(2026, 5, 1, 12, 0, 7, 0, time.UTC), now)
	require.Equal(t, "/services/data", *asked, "the call that is not counted")
	skew, known := c.ClockSkew()
	require.True(t, known)
	require.Equal(t, 7*time.Second, skew)
}
