package sandbox_test

import (
	"bufio"
	"encoding/json"
	"net/url"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestRecordedRequests sends what unmodified clients send, in the shapes that
// were seen on the wire, and checks status and keys of the answers.
func TestRecordedRequests(t *testing.T) {
	t.Parallel()
	o := setup(t)
	fill := strings.NewReplacer(
		"{A}", o.account(`{"Name":"A"}`), "{B}", o.account(`{"Name":"B","Selfsame_Id__c":"P1"}`), "{C}", o.account(`{"Name":"C"}`),
		"{ORG}", orgID, "{USER}", "005000000000001AAA", "{TOKEN}", url.QueryEscape(o.token))
	f, err := os.Open("testdata/wire/rest.jsonl")
	require.NoError(t, err)
	defer f.Close()
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	n := 0
	for ; lines.Scan(); n++ {
		var r struct {
			Client, Name, Method, Path string
			Headers                    map[string]string
			Body                       json.RawMessage
			Status                     int
			Keys                       []string
			Array                      bool
		}
		require.NoError(t, json.Unmarshal(lines.Bytes(), &r))
		var headers []string
		for k, v := range r.Headers {
			headers = append(headers, k, v)
		}
		got := o.do(r.Method, fill.Replace(r.Path), fill.Replace(string(r.Body)), headers...)
		name := r.Client + ": " + r.Name
		require.Equal(t, r.Status, got.status, "%s: %s", name, got.text)
		if r.Keys == nil {
			require.Empty(t, got.text, name)
			continue
		}
		rows := []map[string]any{}
		if r.Array {
			rows = got.array()
		} else {
			rows = append(rows, got.object())
		}
		require.NotEmpty(t, rows, name)
		for _, row := range rows {
			for _, k := range r.Keys {
				require.Contains(t, row, k, name)
			}
			require.NotEqual(t, false, row["success"], "%s: %s", name, got.text)
		}
	}
	require.NoError(t, lines.Err())
	require.Greater(t, n, 30)
}
