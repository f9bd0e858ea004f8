package keybench

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Results are all measurements. What was not measured is nil or empty.
type Results struct {
	Circumstances map[string]Circumstances `json:"circumstances"`
	Ratios        []Ratio                  `json:"ratios,omitempty"`
	Evidence      *Evidence                `json:"evidence,omitempty"`
	Memory        *Replays                 `json:"memory,omitempty"`
	Purges        []*Purge                 `json:"purges,omitempty"`
}

// names of the two files in the directory of results.
const (
	resultsJSON = "idempotency.json"
	resultsPage = "idempotency.md"
)

// Load reads the results of earlier runs; there are none when the directory has none.
func Load(dir string) (*Results, error) {
	r := &Results{Circumstances: map[string]Circumstances{}}
	b, err := os.ReadFile(filepath.Join(dir, resultsJSON))
	if errors.Is(err, fs.ErrNotExist) {
		return r, nil
	}
	if err == nil {
		err = json.Unmarshal(b, r)
	}
	if err != nil {
		return nil, fmt.Errorf("read results: %w", err)
	}
	return r, nil
}

// Save writes the results for machines and, as a page, for people.
func (r *Results) Save(dir string) error {
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("write results: %w", err)
	}
	err = errors.Join(os.WriteFile(filepath.Join(dir, resultsJSON), append(b, '\n'), 0o644),
		os.WriteFile(filepath.Join(dir, resultsPage), []byte(r.Page()), 0o644))
	if err != nil {
		return fmt.Errorf("write results: %w", err)
	}
	return nil
}

func (r *Results) add(m Ratio) { r.Ratios = append(r.Ratios, m) }

func (r *Results) addPurge(p *Purge) { r.Purges = append(r.Purges, p) }

// forget drops the earlier results of a group.
func (r *Results) forget(group string) {
	delete(r.Circumstances, group)
	r.Ratios = slices.DeleteFunc(r.Ratios, func(m Ratio) bool { return m.Group == group })
	switch group {
	case GroupPostgres:
		r.Evidence = nil
	case GroupMemory:
		r.Memory = nil
	case GroupPurge:
		r.Purges = nil
	}
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
	return "**not met**"
}

const preface = `# Idempotency benchmarks

Written by ` + "`make bench-idempotency`" + `: what a key costs, against the least that could do something of the kind, in the same run.
Absolute numbers hold for the circumstances given and for nothing else; what is compared is a ratio of two numbers of one round.

` + "```" + `
make bench-idempotency                                   # everything: about six minutes; needs PostgreSQL, Redis, 2 GB of disk
make bench-idempotency ARGS="-only postgres,redis"       # some groups (postgres, sqlite, memory, redis, purge); the other results stay
make bench-idempotency ARGS="-rounds 21"
go test -run '^$' -bench . ./pkg/idempotent/...          # the benchmarks of the packages
` + "```" + `

SELFSAME_TEST_POSTGRES and SELFSAME_TEST_REDIS name the servers. The program makes a database of its own and drops it.

## What is measured

- A *call* goes through the interceptor with a valid key and a request whose fingerprint is taken; the handler answers at once, with 300
  bytes. There is no transport, and no work in which the cost of the key could hide. Encryption at rest is off.
- Both sides are measured in turns, round by round, with as many callers, each of which calls again when it has been answered; the side that
  begins changes each round. *Ratio* is the median of the ratios of the rounds. The least and the most show how quiet the machine was.
- *Processor time* is that of the program and of the processes of the database server, if that runs here.
- **PostgreSQL, two raw statements in one transaction**: BEGIN, INSERT of a row, UPDATE of it, COMMIT with the same driver
  (database/sql and pgx, statements prepared once), as many connections as callers, nothing around it. The row has as many bytes as a
  record, a key as long and as random, and an index on the time it expires. The server decides when a commit is on the disk: with the same
  setting for both.
- **PostgreSQL, effect and answer**: BEGIN, INSERT of the effect, INSERT of the answer's row, COMMIT, the same way; with a key, the handler
  inserts the same effect and CompleteTx the answer.
- **SQLite, group-committed inserts**: one goroutine with one connection and statements compiled once inserts what has arrived, up to 256
  rows, in one transaction, commits it and tells all; WAL, synchronous=FULL, the same file system. It is written for this comparison and
  protects nobody from anybody's error. A target of 0.7 says that at least 0.7 times as many calls as inserts are answered each second.
  The row is the one described above; a call whose effect and answer are one transaction is compared with two rows in one. Such a
  call does not look for its key first if the process has not met it (Options.Optimistic), as system-erp does with its own store.
- A MANUAL call has to have its claim on the disk before its effect may begin, and its answer after: two commits, whatever they
  cost. It is therefore compared twice: with one insert, and with an insert and an update in a commit each.
- **Replay**: a call with a key that is done, out of as many as there are callers; against calls with a new key. On PostgreSQL also against
  the least that finds an answer: SELECT of one row of that size by its key, with the same driver.
- **Purge**: calls with new keys at a fixed rate, each due at its moment whatever became of those before it; its latency counts from
  there. Windows with and without idempotent.Sweep take turns, which rests between its batches as it does in a service for the first
  hour. Tombstones are kept for a microsecond here, so that answers go the whole way. After the windows the rest is purged
  without a pause. PostgreSQL makes a checkpoint before the windows: what was stored for them would otherwise be flushed in one of them.
- A load average well above zero before a measurement means that others were at work: such a result is to be repeated.
`

// Page renders the results in Markdown.
func (r *Results) Page() string {
	var p page
	p.WriteString(preface)
	p.ratios("PostgreSQL", GroupPostgres, r)
	p.evidence(r.Evidence)
	p.ratios("SQLite", GroupSQLite, r)
	p.memory(r)
	p.ratios("Redis", GroupRedis, r)
	p.purges(r)
	return p.String()
}

func (p *page) circumstances(r *Results, group string) {
	c := r.Circumstances[group]
	p.line("%s, %s, %s/%s, %d cores, a flush of 4 KiB takes %.0f µs, load average %.1f before and %.1f after.\n",
		c.Date.Format("2006-01-02 15:04 MST"), c.Go, c.OS, c.Arch, c.Cores, c.Fsync, c.LoadBefore, c.LoadAfter)
}

func (p *page) ratios(title, group string, r *Results) {
	first := true
	for _, m := range r.Ratios {
		if m.Group != group {
			continue
		}
		if first {
			p.line("\n## %s\n", title)
			p.circumstances(r, group)
			p.head("", "against", "callers", "ratio of the time", "least to most", "time", "baseline", "processor time", "baseline", "target")
			first = false
		}
		p.row(m.Name, m.Against, fmt.Sprint(m.Callers), fmt.Sprintf("**%.2f**", m.Ratio), fmt.Sprintf("%.2f to %.2f, %d rounds of %d", m.Low, m.High, m.Rounds, m.Calls),
			us(m.Micros), us(m.BaseMicros), us(m.CPUMicros), us(m.BaseCPU), m.target())
	}
}

func us(v float64) string { return fmt.Sprintf("%.1f µs", v) }

func (m Ratio) target() string {
	switch {
	case m.Target == 0:
		return "none"
	case m.Throughput:
		return fmt.Sprintf("at least %.1f times as many a second: %.2f, %s", 1/m.Target, 1/m.Ratio, met(m.Ratio <= m.Target))
	default:
		return fmt.Sprintf("at most %.2f: %s", m.Target, met(m.Ratio <= m.Target))
	}
}

func (p *page) evidence(e *Evidence) {
	if e == nil {
		return
	}
	p.line("\n### What replays leave behind\n")
	p.line("%d replays in %d portions: in %d of them PostgreSQL wrote nothing to its log, flushed nothing and gave out no transaction id; in the others", e.Replays, e.Windows, e.Silent)
	p.line("somebody else did. %d replays were answered while another transaction kept everybody from locking or changing a row of the table.", e.Locked)
	unchanged := "is the same as before: version, locker and place"
	if !e.Unchanged {
		unchanged = "is **not** the same as before"
	}
	p.line("The row %s. Target: no row lock, no flush: %s.", unchanged, met(e.Unchanged && e.Silent > 0 && e.Locked > 0))
}

func (p *page) memory(r *Results) {
	m := r.Memory
	if m == nil {
		return
	}
	p.line("\n## Memory\n")
	p.circumstances(r, GroupMemory)
	p.line("%.0f replays for each second of processor time, garbage collection included (median of %d rounds of %d calls, the slowest %.0f); each", m.PerCoreSecond, m.Rounds, m.Calls, m.Low)
	p.line("makes %.1f allocations with together %.0f bytes, and returns an answer of its own. Target: at least %.0f: %s.", m.Allocations, m.Bytes, m.Target, met(m.PerCoreSecond >= m.Target))
}

func (p *page) purges(r *Results) {
	if len(r.Purges) == 0 {
		return
	}
	p.line("\n## Purge\n")
	p.circumstances(r, GroupPurge)
	for _, m := range r.Purges {
		p.line("### %s, %d expired keys\n", m.Engine, m.Expired)
		p.line("%d calls a second, %d windows of %.1f s of each kind; in those with a purge %d records became tombstones or were removed.\n", m.Rate, m.Windows, m.Seconds, m.Purged)
		p.head("", "calls", "p50", "p99", "slowest")
		p.row("alone", fmt.Sprint(m.Alone.Calls), us(m.Alone.P50), us(m.Alone.P99), us(m.Alone.Max))
		p.row("while purging", fmt.Sprint(m.Purging.Calls), us(m.Purging.P50), us(m.Purging.P99), us(m.Purging.Max))
		p.line("\n**p99 is %.2f times as long.** Target: at most %.0f: %s. The rest took %.1f s without a pause.\n", m.Ratio, m.Target, met(m.Ratio <= m.Target), m.Rest)
		p.head("", "size")
		for _, s := range m.Sizes {
			p.row(s.When, fmt.Sprintf("%.0f MB", float64(s.Bytes)/1e6))
		}
		p.line("")
	}
}
