package compare

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"
)

// Results is everything that was measured, each by its last run.
type Results struct {
	// Upserts are the comparisons, by the latency that was added.
	Upserts []Comparison `json:"upserts,omitempty"`
	Million *Million     `json:"million,omitempty"`
	Prepare []GoBench    `json:"prepare,omitempty"`
	// Feed are the benchmarks of the change feed.
	Feed []GoBench `json:"feed,omitempty"`
}

// ReadResults returns the results in a file; none if there is no such file.
func ReadResults(path string) (Results, error) {
	var r Results
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return r, nil
	}
	if err != nil {
		return r, fmt.Errorf("read the results: %w", err)
	}
	if err := json.Unmarshal(text, &r); err != nil {
		return r, fmt.Errorf("read the results: %w", err)
	}
	return r, nil
}

// Add puts a comparison in the place of the one with the same latency, or in order.
func (r *Results) Add(c Comparison) {
	for i := range r.Upserts {
		if r.Upserts[i].Latency == c.Latency {
			r.Upserts[i] = c
			return
		}
	}
	r.Upserts = append(r.Upserts, c)
	slices.SortStableFunc(r.Upserts, func(a, b Comparison) int { return cmp.Compare(a.latency(), b.latency()) })
}

// latency is what was added; 0 for none, and for what is no duration.
func (c Comparison) latency() time.Duration {
	d, _ := time.ParseDuration(c.Latency)
	return d
}

// Write writes the results as JSON and as a page for people.
func (r Results) Write(base string) error {
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("write the results: %w", err)
	}
	if err := os.WriteFile(base+".json", append(text, '\n'), 0o644); err != nil {
		return fmt.Errorf("write the results: %w", err)
	}
	if err := os.WriteFile(base+".md", []byte(r.Markdown()), 0o644); err != nil {
		return fmt.Errorf("write the results: %w", err)
	}
	return nil
}

const intro = `# Salesforce benchmarks

Written by ` + "`make bench-salesforce`" + `. system-salesforce and two widely used clients do the same work against the
[sandbox](../../services/system-salesforce/sandbox/README.md) in the same run. Absolute numbers hold for the circumstances given and
for nothing else; what is compared is a ratio of two numbers of one round.

` + "```" + `
make bench-salesforce                                   # everything; needs Node, some minutes, 3 GiB of memory
make bench-salesforce ARGS="-only upserts -rounds 3"    # one measurement; the other results stay
make bench-salesforce ARGS="-only leads -leads 100000"
make bench-salesforce ARGS="-only prepare"              # or feed
` + "```" + `

## What is measured

- Each client is a process of its own, and has a new sandbox, also a process, with nothing in it. The rounds begin with another client
  each time. system-salesforce is driven over gRPC, by columns, as process-customer drives it; the time of
  that is contained.
- *Work*: the same accounts (external id, name, phone, city), first new, then changed. A client must report every record as written, and
  the org must hold each record once and as it was written last, or there is no result.
- *Seconds* run from handing over the first record to the last outcome. Logging in and starting are not contained.
- *Calls* are counted by the sandbox as an org counts them.
- *system-salesforce* is its default configuration; targets are of it. It writes so many records by a job, or by collections side by side
  where its calls take so long that these are faster and the allowance is ample. *system-salesforce, collections* always does the one
  (` + "`salesforce.bulk_from`" + ` above the number of records), *system-salesforce, jobs* the other (` + "`salesforce.swift_to`" + ` 0).
- The clients of others are used the way they document: collections of 200, and their helpers for the Bulk API 2.0.
- *Latency* is added by the sandbox to every answer: 5 ms, as between two machines of one data centre, and 50 ms, as a near org has it. Without any
  all processes share the cores of one machine, and the processor time of sandbox and client is all that is measured. No org
  offers that, so no ratio is aimed at there; these numbers stay because they show what a record costs, and from where on the ratios hold.
- With latency the calls that must follow each other are what counts. A job takes five of them whoever makes it: make, upload, close, ask,
  read the results. At 50 ms that is a quarter of a second for any number of records, which bounds what one client that uses jobs can gain on
  another: 40,000 records/s for 10,000. Collections take as many turns as the calls that may run at once leave.
- On the way to this machine itself system-salesforce compresses nothing and asks for nothing compressed; the others do as they do by default.
- *Processor time* is the least of all rounds, for both passes of a round: that of the client with its start, and that of the sandbox.
- Memory is the kernel's own account of the process: VmHWM of /proc, which is never less than what was resident at any moment. It holds
  the pages of the program file too. For the large load it is counted from the moment before the first record.
- A load average well above zero before a measurement means that others were at work: such a result is to be repeated.

`

// Markdown is the page for people.
func (r Results) Markdown() string {
	var b strings.Builder
	b.WriteString(intro)
	r.targets(&b)
	for _, c := range r.Upserts {
		c.markdown(&b)
	}
	if r.Million != nil {
		r.Million.markdown(&b)
	}
	if len(r.Prepare) > 0 {
		prepareMarkdown(&b, r.Prepare)
	}
	if len(r.Feed) > 0 {
		feedMarkdown(&b, r.Feed)
	}
	return strings.TrimSuffix(b.String(), "\n")
}

func (c Circumstances) String() string {
	return fmt.Sprintf("%s UTC, %s, %s, %d cores, load average %s before and %s after.", c.Date, c.Go, c.System, c.Cores, c.LoadBefore, c.LoadAfter)
}

func verdict(ok bool) string {
	if ok {
		return "met"
	}
	return "**not met**"
}

const mib = 1 << 20

func (c Comparison) title() string {
	if c.Latency == none {
		return "no latency"
	}
	return c.Latency + " of latency"
}

func (c Comparison) markdown(b *strings.Builder) {
	ours := c.Subjects[0]
	fmt.Fprintf(b, "## Upsert of %d accounts, %s\n\n%s\n\n%d rounds.\n\n", c.Accounts, c.title(), c.Circumstances, len(ours.Rounds))
	b.WriteString("| client | records/s | calls | records per call | the first is faster by | processor time | of the sandbox | peak memory |\n|---|---|---|---|---|---|---|---|\n")
	for i, s := range c.Subjects {
		ratio := ""
		if i > 0 {
			mid, least, most := ours.Ratio(s)
			ratio = fmt.Sprintf("%.1f (%.1f to %.1f)", mid, least, most)
		}
		fmt.Fprintf(b, "| %s %s | %.0f | %d | %.0f | %s | %.2f s | %.2f s | %.0f MiB |\n", s.Name, s.Version, s.Rate(), s.Calls(),
			float64(c.Accounts)/float64(s.Calls()), ratio, s.ProcessorSeconds, s.SandboxSeconds, float64(s.PeakBytes)/mib)
	}
	b.WriteString("\n")
	c.limit(b)
}

// limit says how fast the machine could be at best, where processor time is what limits.
func (c Comparison) limit(b *strings.Builder) {
	ours := c.Subjects[0]
	if c.Latency != none || ours.PassSeconds == 0 || c.Circumstances.Cores == 0 {
		return
	}
	records := float64(c.Accounts * Passes)
	best := records / (ours.PassSeconds / float64(c.Circumstances.Cores))
	fmt.Fprintf(b, "The adapter, its caller and the sandbox together took %.2f s of processor time for %.0f records, without starting: on %d cores that are\n"+
		"shared out evenly, %.0f records/s.", ours.PassSeconds, records, c.Circumstances.Cores, best)
	if other, ok := c.best("go-salesforce, collections"); ok && other.SandboxSeconds > 0 {
		alone := records / (other.ProcessorSeconds + other.SandboxSeconds)
		fmt.Fprintf(b, " go-salesforce, which waits for each call, and its sandbox took %.2f s: one after the other,\n%.0f records/s. "+
			"By processor time alone the ratio is %.1f, and that is about what %d cores can show for this work.", other.ProcessorSeconds+other.SandboxSeconds, alone, best/alone, c.Circumstances.Cores)
	}
	b.WriteString("\n\n")
}

// best is the fastest of the ways whose names begin so.
func (c Comparison) best(prefix string) (found Subject, ok bool) {
	for _, s := range c.Subjects[1:] {
		if strings.HasPrefix(s.Name, prefix) && (!ok || s.Rate() > found.Rate()) {
			found, ok = s, true
		}
	}
	return found, ok
}

func (m Million) markdown(b *strings.Builder) {
	fmt.Fprintf(b, "## Load of %d leads\n\n%s\n\n", m.Leads, m.Circumstances)
	b.WriteString("Seven columns, streamed over gRPC, written by jobs of the Bulk API 2.0; each lead has exactly one outcome, and the ledger of the stream\nagrees with the org.\n\n")
	fmt.Fprintf(b, "| | |\n|---|---|\n| seconds | %.0f |\n| records/s, sandbox included | %.0f |\n| calls | %d |\n| processor time of the adapter | %.1f s |\n",
		m.Pass.Seconds, m.Pass.Rate(), m.Pass.Calls, m.ProcessorSeconds)
	fmt.Fprintf(b, "| resident memory of the adapter before the load, at its end, at its most | %.0f, %.0f, %.0f MiB |\n| the most while it started | %.0f MiB |\n| peak memory of the sandbox, which keeps the leads and their events | %.0f MiB |\n\n",
		float64(m.Idle.Resident)/mib, float64(m.Memory.Resident)/mib, float64(m.Memory.Peak)/mib, float64(m.Idle.Peak)/mib, float64(m.Sandbox.Peak)/mib)
}

func prepareMarkdown(b *strings.Builder, list []GoBench) {
	fmt.Fprintf(b, "## Preparing rows\n\n%s\n\n", list[0].Circumstances)
	b.WriteString("Everything before the first call: checking, formatting, spooling to disk, finding keys that come twice, cutting jobs; 200,000 leads of\nseven columns, on one core (`go test -bench Prepare ./internal/bulk`).\n\n")
	b.WriteString("| rows given as | rows per second of processor time | rows/s | memory allocated |\n|---|---|---|---|\n")
	for _, g := range list {
		cpu := g.Metrics["rows/cpu-s"]
		fmt.Fprintf(b, "| %s | %.0f | %.0f | %.0f MiB |\n", strings.TrimPrefix(g.Name, "Prepare/"), cpu, g.Metrics["rows/s"], g.Metrics["B/op"]/mib)
	}
	b.WriteString("\n")
}
