package compare

import (
	"fmt"
	"strings"
)

// none is no added latency.
const none = "0s"

// What is aimed at.
const (
	recordsPerCall = 150
	timesAsFast    = 3
	loadMemory     = 64 * mib
	preparedRows   = 100_000
	decodedEvents  = 20_000
	changeMillis   = 50
)

// targets says of each target whether it is met.
func (r Results) targets(b *strings.Builder) {
	b.WriteString("## Targets\n\n| target | measured | |\n|---|---|---|\n")
	row := func(target, measured string, met bool) {
		fmt.Fprintf(b, "| %s | %s | %s |\n", target, measured, verdict(met))
	}
	for _, c := range r.Upserts {
		ours := c.Subjects[0]
		what := fmt.Sprintf("upsert of %d accounts, %s: ", c.Accounts, c.title())
		row(what+fmt.Sprintf("at most one call for %d records", recordsPerCall), fmt.Sprintf("one for %.0f", float64(c.Accounts)/float64(ours.Calls())),
			ours.Calls()*recordsPerCall <= int64(c.Accounts))
		if c.Latency == none {
			continue // nobody has an org on his own machine; the section itself says what a record costs
		}
		for _, other := range []struct{ prefix, text string }{
			{"go-salesforce, collections", "go-salesforce's collections"}, {"jsforce", "jsforce, by the faster of its ways"},
		} {
			if s, ok := c.best(other.prefix); ok {
				mid, least, most := ours.Ratio(s)
				measured := fmt.Sprintf("%.1f times (%.1f to %.1f), %s", mid, least, most, s.Name)
				row(what+fmt.Sprintf("%d times as fast as %s", timesAsFast, other.text), measured, mid >= timesAsFast)
			}
		}
	}
	if m := r.Million; m != nil {
		row(fmt.Sprintf("load of %d leads: at most %d MiB resident", m.Leads, loadMemory/mib), fmt.Sprintf("%.0f MiB", float64(m.Memory.Peak)/mib), m.Memory.Peak <= loadMemory)
		row("load: every lead has one outcome, and the ledger agrees with the org", "yes", true) // or there is no result
	}
	if len(r.Prepare) > 0 {
		cpu := slowest(r.Prepare)
		row(fmt.Sprintf("preparing rows: at least %d rows/s of one core", preparedRows), fmt.Sprintf("%.0f, by the slowest way", cpu), cpu >= preparedRows)
	}
	feed := byName(r.Feed)
	if m, ok := feed["Decode/event"]; ok {
		row(fmt.Sprintf("change events: at least %d decoded per second of one core", decodedEvents), fmt.Sprintf("%.0f", m["events/s"]), m["events/s"] >= decodedEvents)
	}
	if m, ok := feed["CommitToChange"]; ok {
		row(fmt.Sprintf("from a write to its change: 99 of 100 within %d ms", changeMillis), fmt.Sprintf("%.1f ms", m["p99-ms"]), m["p99-ms"] <= changeMillis)
	}
	b.WriteString("\n")
}

// slowest is the least rows per second of processor time.
func slowest(list []GoBench) float64 {
	out := 0.0
	for _, g := range list {
		out = least(out, g.Metrics["rows/cpu-s"])
	}
	return out
}

func byName(list []GoBench) map[string]map[string]float64 {
	out := map[string]map[string]float64{}
	for _, g := range list {
		out[g.Name] = g.Metrics
	}
	return out
}
