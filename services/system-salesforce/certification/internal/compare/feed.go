package compare

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
)

// Feed runs the benchmarks of the change feed: decoding, beside goavro and beside the same library decoding everything; the time
// from a write to its change; reading a lost range again.
func (b *Bench) Feed(ctx context.Context) ([]GoBench, error) {
	at := begin()
	var out []GoBench
	for _, run := range []struct{ dir, pkg, bench, time string }{
		{b.Module, "./internal/pubsub", "Decode", "2s"},
		{".", "./pubsubstubs", "Decode", "2s"},
		{b.Module, "./internal/changes", "CommitToChange", "3000x"},
		{b.Module, "./internal/changes", "Backfill", "3x"},
	} {
		cmd := exec.CommandContext(ctx, "go", "test", run.pkg, "-run", "^$", "-bench", "^Benchmark"+run.bench+"$", "-benchtime", run.time)
		cmd.Dir = run.dir
		cmd.Env = append(os.Environ(), "GOWORK=off")
		text, err := cmd.CombinedOutput()
		if err != nil {
			return nil, fmt.Errorf("run the benchmark %s: %w\n%s", run.bench, err, text)
		}
		found := parseBench(text, at)
		if len(found) == 0 {
			return nil, fmt.Errorf("the benchmark %s reported nothing:\n%s", run.bench, text)
		}
		out = append(out, found...)
	}
	after := LoadAverage()
	for i := range out {
		out[i].Circumstances.LoadAfter = after
	}
	return out, nil
}

func feedMarkdown(b *strings.Builder, list []GoBench) {
	by := byName(list)
	fmt.Fprintf(b, "## Change feed\n\n%s\n\n", list[0].Circumstances)
	b.WriteString("One change event of an account, decoded on one core; ours reads the header, the changed fields and checks the rest against the schema.\n\n")
	b.WriteString("| decoder | events/s | memory per event | ours is faster by |\n|---|---|---|---|\n")
	ours := by["Decode/event"]
	for _, row := range []struct{ title, name string }{
		{"system-salesforce", "Decode/event"}, {"the same library, everything into a map", "Decode/plain"}, {"goavro v2", "Decode/goavro"},
	} {
		m := by[row.name]
		ratio := ""
		if row.name != "Decode/event" {
			ratio = fmt.Sprintf("%.1f", ours["events/s"]/m["events/s"])
		}
		fmt.Fprintf(b, "| %s | %.0f | %.0f B | %s |\n", row.title, m["events/s"], m["B/op"], ratio)
	}
	b.WriteString("\n")
	late := by["CommitToChange"]
	fmt.Fprintf(b, "From sending the write of one record to its change on `WatchChanges`, one at a time, all over loopback connections: median %.1f ms, 99 of 100\n"+
		"within %.1f ms, slowest %.1f ms.\n\n", late["p50-ms"], late["p99-ms"], late["max-ms"])
	again := by["Backfill"]
	fmt.Fprintf(b, "A lost range with 20,000 changed accounts, read again: %.0f records/s, %.0f records per call.\n\n", again["records/s"], again["records/call"])
}
