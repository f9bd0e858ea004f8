package report_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/services/system-salesforce/certification/internal/matrix"
	"github.com/selfsame-io/selfsame/services/system-salesforce/certification/internal/report"
)

func TestGo(t *testing.T) {
	t.Parallel()
	const events = `{"Action":"run","Test":"TestClient"}
{"Action":"pass","Test":"TestClient/query"}
{"Action":"output","Test":"TestClient/records","Output":"=== RUN   TestClient/records\n"}
{"Action":"output","Test":"TestClient/records","Output":"        \tError Trace:\tx_test.go:12\n"}
{"Action":"output","Test":"TestClient/records","Output":"        \tError:      \tReceived unexpected error:\n"}
{"Action":"output","Test":"TestClient/records","Output":"        \t            \tget http://127.0.0.1:3456/x: 404\n"}
{"Action":"output","Test":"TestClient/records","Output":"        \tTest:       \tTestClient/records\n"}
{"Action":"fail","Test":"TestClient/records"}
{"Action":"pass","Test":"TestClient/describe/objects"}
{"Action":"skip","Test":"TestClient/describe"}
{"Action":"fail","Test":"TestClient"}
`
	got, err := report.Go(strings.NewReader(events))
	require.NoError(t, err)
	require.Equal(t, []matrix.Result{
		{Capability: "query", Passed: true},
		{Capability: "records", Reason: "Received unexpected error: get http://sandbox/x: 404"},
		{Capability: "describe", Reason: "the case was skipped"},
	}, got)
	_, err = report.Go(strings.NewReader("panic: no event\n"))
	require.Error(t, err)
}

func TestNode(t *testing.T) {
	t.Parallel()
	got, err := report.Node(strings.NewReader(`{"name":"query","passed":true}
{"name":"records","passed":false,"reason":"expected 001000000000001AAA\n to be gone"}
`))
	require.NoError(t, err)
	require.Equal(t, []matrix.Result{
		{Capability: "query", Passed: true},
		{Capability: "records", Reason: "expected <id> to be gone"},
	}, got)
}
