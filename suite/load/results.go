package load

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Targets that the suite sets itself.
const (
	// TargetRatio is the most processor time of a read over that of the baseline.
	TargetRatio = 2.0
	// TargetCalls is the most calls to a system per hundred records.
	TargetCalls = 2.0
	// TargetStart is the longest from start to ready, in milliseconds.
	TargetStart = 150.0
	// TargetIdle is the most resident memory of an idle service, in bytes.
	TargetIdle = 60e6
	// TargetGrowth is the most by which a service's memory may grow while the number of accounts grows tenfold. What is
	// flat on paper moves with the garbage collector; what is not flat grows tenfold.
	TargetGrowth = 1.5
)

// Results are all measurements. What was not measured is nil or empty.
type Results struct {
	Read  []*ReadResult `json:"read,omitempty"`
	Sync  []*SyncResult `json:"sync,omitempty"`
	Start *StartResult  `json:"start,omitempty"`
	// Edge, Replay, Overload and Fanout are those of the mobile API.
	Edge     *EdgeResult     `json:"edge,omitempty"`
	Replay   *ReplayResult   `json:"replay,omitempty"`
	Overload *OverloadResult `json:"overload,omitempty"`
	Fanout   *FanoutResult   `json:"fanout,omitempty"`
}

// names of the two files in the directory of results.
const (
	resultsJSON = "results.json"
	resultsPage = "results.md"
)

// Load reads the results of earlier runs; there are none when the directory has none.
func Load(dir string) (*Results, error) {
	b, err := os.ReadFile(filepath.Join(dir, resultsJSON))
	if errors.Is(err, fs.ErrNotExist) {
		return &Results{}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read results: %w", err)
	}
	var r Results
	if err := json.Unmarshal(b, &r); err != nil {
		return nil, fmt.Errorf("read results: %w", err)
	}
	return &r, nil
}

// Save writes the results for machines and, as a page, for people.
func (r *Results) Save(dir string) error {
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("write results: %w", err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("write results: %w", err)
	}
	err = errors.Join(
		os.WriteFile(filepath.Join(dir, resultsJSON), append(b, '\n'), 0o644),
		os.WriteFile(filepath.Join(dir, resultsPage), []byte(r.Page()), 0o644),
	)
	if err != nil {
		return fmt.Errorf("write results: %w", err)
	}
	return nil
}

// AddRead puts a measurement in the place of an earlier one at the same rate. The slowest rate stands first.
func (r *Results) AddRead(m *ReadResult) {
	r.Read = slices.DeleteFunc(r.Read, func(old *ReadResult) bool { return old.Options.Rate == m.Options.Rate })
	r.Read = append(r.Read, m)
	pace := func(m *ReadResult) float64 {
		if m.Options.Rate == 0 {
			return math.Inf(1)
		}
		return m.Options.Rate
	}
	slices.SortFunc(r.Read, func(a, b *ReadResult) int { return cmp.Compare(pace(a), pace(b)) })
}

// AddSync puts a sync in the place of an earlier one of the same size.
func (r *Results) AddSync(s *SyncResult) {
	r.Sync = slices.DeleteFunc(r.Sync, func(old *SyncResult) bool { return old.Accounts == s.Accounts })
	r.Sync = append(r.Sync, s)
	slices.SortFunc(r.Sync, func(a, b *SyncResult) int { return cmp.Compare(a.Accounts, b.Accounts) })
}

// page collects lines.
type page struct{ strings.Builder }

func (p *page) line(format string, args ...any) { fmt.Fprintf(p, format+"\n", args...) }

func (p *page) row(cells ...string) { p.line("| %s |", strings.Join(cells, " | ")) }

func (p *page) head(cells ...string) {
	p.row(cells...)
	p.line("|%s", strings.Repeat("---|", len(cells)))
}

func met(ok bool) string {
	if ok {
		return "met"
	}
	return "**missed**"
}

// Page renders the results in Markdown.
func (r *Results) Page() string {
	var p page
	p.line("# Benchmark results\n")
	p.line("Written by `selfsame load`; [how to repeat it, and what is compared](README.md). Ratios are of two numbers of the same run;")
	p.line("absolute times and sizes hold for the circumstances given and for nothing else.")
	p.reads(r.Read)
	if r.Edge != nil {
		p.edge(r.Edge)
	}
	if r.Replay != nil {
		p.replay(r.Replay)
	}
	if r.Overload != nil {
		p.overload(r.Overload)
	}
	if r.Fanout != nil {
		p.fanout(r.Fanout)
	}
	if len(r.Sync) > 0 {
		p.syncs(r.Sync)
	}
	if r.Start != nil {
		p.start(r.Start)
	}
	return p.String()
}

func (p *page) circumstances(c Circumstances) {
	p.line("\n%s, %s, %s/%s, %d cores, load average %.1f before and %.1f after.\n",
		c.Date.Format("2006-01-02 15:04 MST"), c.Go, c.OS, c.Arch, c.Cores, c.LoadBefore, c.LoadAfter)
}

func (p *page) reads(all []*ReadResult) {
	if len(all) == 0 {
		return
	}
	p.line("\n## Reading a customer through three hops")
	for _, r := range all {
		p.read(r)
	}
}

func (p *page) read(r *ReadResult) {
	if r.Options.Rate > 0 {
		p.line("\n### %.0f requests per second", r.Options.Rate)
	} else {
		p.line("\n### As many requests as %d connections get answered", r.Options.Connections)
	}
	p.circumstances(r.Circumstances)
	p.line("%d rounds of %d requests to each side in turn, %d connections, %d different customers.\n",
		r.Options.Rounds, r.Options.Requests, r.Options.Connections, r.Options.Customers)
	p.head("", "bare gateway + handler", "experience-mobile + process-customer")
	p.row("processor time per request", micros(r.Bare.Micros), micros(r.Selfsame.Micros))
	for i := range r.Bare.Shares {
		p.row(fmt.Sprintf("of which process %d", i+1), micros(r.Bare.Shares[i].Micros), micros(r.Selfsame.Shares[i].Micros))
	}
	p.row("latency p50", micros(r.Bare.P50), micros(r.Selfsame.P50))
	p.row("latency p99", micros(r.Bare.P99), micros(r.Selfsame.P99))
	p.row("answer", fmt.Sprintf("%.0f bytes", r.Bare.Bytes), fmt.Sprintf("%.0f bytes", r.Selfsame.Bytes))
	p.line("\n**Ratio of processor time: %.2f** (rounds from %.2f to %.2f). Target: at most %.1f: %s.",
		r.Ratio, slices.Min(r.Ratios), slices.Max(r.Ratios), TargetRatio, met(r.Ratio <= TargetRatio))
	p.line("Without any request both services together used %.1f ms of processor time per second; it is contained in the above.", r.IdleMicros/1000)
}

func micros(v float64) string { return fmt.Sprintf("%.0f µs", v) }

func megabytes(v int64) string { return fmt.Sprintf("%.1f MB", float64(v)/1e6) }

func (p *page) syncs(all []*SyncResult) {
	p.line("\n## Initial sync")
	for _, s := range all {
		p.line("\n### %d accounts", s.Accounts)
		p.circumstances(s.Circumstances)
		p.line("%d rows in both systems, loaded at least %.0f s before the services started; %.1f s from then to the last change;", s.Rows, s.AgeSeconds, s.Seconds)
		p.line("afterwards both systems agreed.\n")
		p.head("system", "records after", "calls", "per 100 records", "per 100 accounts", "target")
		for _, y := range s.Systems {
			p.row(y.System, fmt.Sprint(y.Records), fmt.Sprint(y.Total), fmt.Sprintf("%.2f", y.Per100Records), fmt.Sprintf("%.2f", y.Per100Accounts),
				fmt.Sprintf("≤ %.0f per 100 records: %s", TargetCalls, met(y.Per100Records <= TargetCalls)))
		}
		p.line("")
		for _, y := range s.Systems {
			var calls []string
			for _, name := range slices.Sorted(maps.Keys(y.Calls)) {
				calls = append(calls, fmt.Sprintf("%d `%s`", y.Calls[name], name))
			}
			p.line("- %s: %s", y.System, strings.Join(calls, ", "))
		}
		p.line("")
		p.head("service", "peak resident", "peak heap and stacks", "processor time")
		for _, name := range slices.Sorted(maps.Keys(s.Peak)) {
			p.row(name, megabytes(s.Peak[name].Peak), megabytes(s.Peak[name].Anonymous), fmt.Sprintf("%.1f s", s.Processor[name]))
		}
	}
	if len(all) > 1 {
		p.growth(all[0], all[len(all)-1])
	}
}

// growth compares the memory of the smallest and the largest sync.
func (p *page) growth(small, large *SyncResult) {
	p.line("\n### Memory from %d to %d accounts\n", small.Accounts, large.Accounts)
	p.head("service", fmt.Sprint(small.Accounts), fmt.Sprint(large.Accounts), "grows by", "target")
	for _, name := range slices.Sorted(maps.Keys(small.Peak)) {
		a, b := small.Peak[name].Peak, large.Peak[name].Peak
		growth := float64(b) / math.Max(1, float64(a))
		p.row(name, megabytes(a), megabytes(b), fmt.Sprintf("×%.2f", growth), fmt.Sprintf("flat (≤ ×%.1f): %s", TargetGrowth, met(growth <= TargetGrowth)))
	}
}

func (p *page) start(r *StartResult) {
	p.line("\n## Start and idle memory")
	p.circumstances(r.Circumstances)
	binary := "from its own binary"
	if !r.OwnBinaries {
		binary = "from the program that holds all services and the sandbox"
	}
	p.line("Each service was started %s, over databases with %d accounts, while the others ran; memory after %.0f s without work.\n",
		binary, r.Accounts, r.IdleSeconds)
	p.head("service", "start to ready, median", "slowest", "target", "idle resident", "of which heap and stacks", "target")
	for _, s := range r.Services {
		p.row(s.Service, fmt.Sprintf("%.0f ms", s.Median), fmt.Sprintf("%.0f ms of %d", slices.Max(s.Millis), len(s.Millis)),
			fmt.Sprintf("≤ %.0f ms: %s", TargetStart, met(s.Median <= TargetStart)),
			megabytes(s.Idle.Resident), megabytes(s.Idle.Anonymous),
			fmt.Sprintf("≤ %s: %s", megabytes(TargetIdle), met(s.Idle.Resident <= TargetIdle)))
	}
}
