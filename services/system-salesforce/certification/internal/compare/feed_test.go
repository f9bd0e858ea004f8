package compare

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestFeedOnThePage(t *testing.T) {
	t.Parallel()
	list := []GoBench{
		{Name: "Decode/event", Metrics: map[string]float64{"events/s": 300_000, "B/op": 720}},
		{Name: "Decode/plain", Metrics: map[string]float64{"events/s": 150_000}},
		{Name: "Decode/goavro", Metrics: map[string]float64{"events/s": 100_000}},
		{Name: "CommitToChange", Metrics: map[string]float64{"p50-ms": 1, "p99-ms": 51, "max-ms": 80}},
		{Name: "Backfill", Metrics: map[string]float64{"records/s": 20_000, "records/call": 600}},
	}
	var b strings.Builder
	feedMarkdown(&b, list)
	require.Contains(t, b.String(), "| goavro v2 | 100000 | 0 B | 3.0 |")
	page := Results{Feed: list}.Markdown()
	require.Contains(t, page, "decoded per second of one core | 300000 | met |")
	require.Contains(t, page, "99 of 100 within 50 ms | 51.0 ms | **not met** |")
}
