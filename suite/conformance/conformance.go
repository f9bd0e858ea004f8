// Package conformance knows the cases of idempotency and which test holds which: it reads the output of the tests and
// writes the page that lists every case with its tests and their results.
//
// The invariant: every case is held by a test that passed, or argued in the design record; a case with neither, one that names an
// HTTP status and has no test through the edge, a test that failed or was skipped, and a test about a case that does not exist
// are errors, so the page cannot be written.
//
// It runs no tests and judges none: what a test proves is said by its own name.
package conformance

import (
	"bufio"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"regexp"
	"slices"
	"sort"
	"strings"
)

//go:embed cases.tsv
var casesText string

//go:embed argued.tsv
var arguedText string

// Case is one row of the table.
type Case struct {
	// ID is a letter and a number, for example C-02.
	ID string
	// Priority is 1 (must), 2 (should) or 3 (nice).
	Priority string
	// Given, When and Then say what is to hold.
	Given, When, Then string
	// Argued is why a part of it does not hold here, or no test says so; empty when everything is tested.
	Argued string
}

// Cases returns the table in its order.
func Cases() ([]Case, error) {
	argued := map[string]string{}
	for _, f := range rows(arguedText) {
		if len(f) != 2 || f[1] == "" {
			return nil, fmt.Errorf("argued.tsv: %q is not a number and a reason", strings.Join(f, "\t"))
		}
		if argued[f[0]] != "" {
			return nil, fmt.Errorf("argued.tsv: %s is argued twice", f[0])
		}
		argued[f[0]] = f[1]
	}
	var out []Case
	for _, f := range rows(casesText) {
		if len(f) != 5 {
			return nil, fmt.Errorf("cases.tsv: %q has %d columns, want 5", f[0], len(f))
		}
		out = append(out, Case{f[0], f[1], f[2], f[3], f[4], argued[f[0]]})
		delete(argued, f[0])
	}
	for id := range argued {
		return nil, fmt.Errorf("argued.tsv: there is no case %s", id)
	}
	return out, nil
}

func rows(text string) [][]string {
	var out [][]string
	for line := range strings.Lines(text) {
		if line = strings.TrimRight(line, "\n"); line != "" && !strings.HasPrefix(line, "#") {
			out = append(out, strings.Split(line, "\t"))
		}
	}
	return out
}

// Test is one test of a case.
type Test struct {
	// Level is where it runs: stores, gRPC, REST, suite, or the folder of its package.
	Level string
	// Sentence is what it says, without the number of the case.
	Sentence string
	// Result is pass, fail or skip.
	Result string
}

// Results are tests by the number of their case. The zero value is empty.
type Results struct {
	byCase map[string][]Test
}

// event is a line of `go test -json`.
type event struct{ Action, Package, Test string }

// name is how a test says which case it is about.
var name = regexp.MustCompile(`^TestConformance/([A-Z]-\d\d)_([^/]+)$`)

// Read adds the results in the output of `go test -json`.
func (r *Results) Read(in io.Reader) error {
	if r.byCase == nil {
		r.byCase = map[string][]Test{}
	}
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		if !strings.HasPrefix(lines.Text(), "{") {
			continue // what the go command itself says
		}
		var e event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			return fmt.Errorf("read test output: %w", err)
		}
		m := name.FindStringSubmatch(e.Test)
		if m == nil || !slices.Contains([]string{"pass", "fail", "skip"}, e.Action) {
			continue
		}
		t := Test{level(e.Package), strings.ReplaceAll(m[2], "_", " "), e.Action}
		if !slices.Contains(r.byCase[m[1]], t) {
			r.byCase[m[1]] = append(r.byCase[m[1]], t)
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("read test output: %w", err)
	}
	return nil
}

// level says at which level a package tests.
func level(pkg string) string {
	switch {
	case strings.HasSuffix(pkg, "/pkg/idempotent"):
		return "gRPC"
	case strings.HasSuffix(pkg, "/services/experience-mobile"):
		return "REST"
	case strings.HasSuffix(pkg, "/suite/idempotency"):
		return "suite"
	}
	return path.Base(pkg)
}

// overHTTP finds what a case says about the edge.
var overHTTP = regexp.MustCompile(`\b(20\d|2xx|4\d\d|5\d\d|5xx)\b`)

func throughEdge(t Test) bool { return t.Level == "REST" || t.Level == "suite" }

// Page returns the page, or every reason why it cannot be written.
func Page(cases []Case, r *Results) (string, error) {
	known := map[string]bool{}
	var errs []error
	tested, argued := 0, 0
	for _, c := range cases {
		known[c.ID] = true
		tests := r.byCase[c.ID]
		for _, t := range tests {
			if t.Result != "pass" {
				errs = append(errs, fmt.Errorf("%s %q at the level %s: %s", c.ID, t.Sentence, t.Level, t.Result))
			}
		}
		switch {
		case len(tests) > 0:
			tested++
		case c.Argued != "":
			argued++
		default:
			errs = append(errs, fmt.Errorf("%s (%s) has neither a test nor an argument", c.ID, c.Then))
			continue
		}
		if c.Argued == "" && overHTTP.MatchString(c.Then) && !slices.ContainsFunc(tests, throughEdge) {
			errs = append(errs, fmt.Errorf("%s (%s) names an HTTP status, and no test of it goes through the edge", c.ID, c.Then))
		}
	}
	for id := range r.byCase {
		if !known[id] {
			errs = append(errs, fmt.Errorf("a test is about %s, which is no case", id))
		}
	}
	if len(errs) > 0 {
		sort.Slice(errs, func(i, j int) bool { return errs[i].Error() < errs[j].Error() })
		return "", errors.Join(errs...)
	}
	var b strings.Builder
	fmt.Fprintf(&b, head, len(cases), tested, argued)
	group := ""
	for _, c := range cases {
		if g := c.ID[:1]; g != group {
			group = g
			fmt.Fprintf(&b, "\n## %s. %s\n\n| Case | P | Given, when, then | Tests | Result |\n|---|---|---|---|---|\n", g, groups()[g])
		}
		row(&b, c, r.byCase[c.ID])
	}
	return b.String(), nil
}

const head = `# Idempotency: every case, its tests, and their results

Written by ` + "`make conformance`" + ` from the output of the tests; ` + "`make check`" + ` fails when it is not current. Of %d cases %d are held by tests that
passed, and %d are argued in [the design record](../design/0011-one-effect-per-key.md) instead. Some are both: a part is tested, and the rest argued.

The levels: **gRPC** is package [idempotent](../../pkg/idempotent) itself, **REST** the [edge](../../services/experience-mobile) with the real interceptor
below, **suite** [real processes](../../suite/idempotency) that are killed, **linear**, **redisstore**, **inbox** and **target** the packages below idempotent. One case
runs alone by its number, for example ` + "`go test ./services/experience-mobile -run 'TestConformance/C-02'`" + `.

P is the priority: 1 must, 2 should, 3 nice. K1 is a fresh key, P and P' are requests, A and B callers; *exec n* counts executions, *child n* effects below.
`

func groups() map[string]string {
	return map[string]string{
		"A": "Key syntax", "B": "Scope and privacy", "C": "Fingerprint", "D": "Replay fidelity", "E": "Concurrency", "F": "Crash, lease, fence",
		"G": "Error policy", "H": "Retention and time", "I": "Propagation and nested calls", "J": "gRPC behaviour", "K": "HTTP gateway",
		"L": "Store failure", "M": "Observability", "N": "Security and limits", "O": "Messages and events",
	}
}

func row(b *strings.Builder, c Case, tests []Test) {
	sort.Slice(tests, func(i, j int) bool {
		return tests[i].Level+tests[i].Sentence < tests[j].Level+tests[j].Sentence
	})
	var said []string
	for _, t := range tests {
		said = append(said, "**"+t.Level+"** "+cell(t.Sentence))
	}
	result := "pass"
	if c.Argued != "" {
		said = append(said, "[argued](../design/0011-one-effect-per-key.md): "+cell(c.Argued))
		if result = "pass, in part argued"; len(tests) == 0 {
			result = "argued"
		}
	}
	var what []string
	for _, part := range []string{c.Given, c.When, c.Then} {
		if part != "" {
			what = append(what, cell(part))
		}
	}
	fmt.Fprintf(b, "| %s | %s | %s | %s | %s |\n", c.ID, c.Priority, strings.Join(what, " → "), strings.Join(said, "<br>"), result)
}

// cell makes text fit for a cell of a table: what is code keeps its characters.
func cell(s string) string {
	return strings.NewReplacer("|", "&#124;", "<", "&lt;", "\n", " ").Replace(s)
}
