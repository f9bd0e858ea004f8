// Package report reads what test runners write: the events of "go test -json"
// and the lines of the reporter in node/.
//
// It keeps the outcome of each case and one line that says why a case failed;
// it does not judge whether all cases reported.
package report

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"regexp"
	"strings"

	"github.com/selfsame-io/selfsame/services/system-salesforce/certification/internal/matrix"
)

// maxLine bounds one line of a report.
const maxLine = 4 << 20

// Go reads the events of "go test -json". Cases are the subtests of one test:
// their name after the slash is the capability. A skipped case has failed.
func Go(r io.Reader) ([]matrix.Result, error) {
	var out []matrix.Result
	text := map[string]*strings.Builder{}
	err := lines(r, func(line []byte) error {
		var e struct{ Action, Test, Output string }
		if err := json.Unmarshal(line, &e); err != nil {
			return fmt.Errorf("event of go test %q: %w", line, err)
		}
		_, name, isCase := strings.Cut(e.Test, "/")
		if !isCase || strings.Contains(name, "/") {
			return nil
		}
		switch e.Action {
		case "output":
			if text[name] == nil {
				text[name] = &strings.Builder{}
			}
			text[name].WriteString(e.Output)
		case "pass":
			out = append(out, matrix.Result{Capability: name, Passed: true})
		case "skip":
			out = append(out, matrix.Result{Capability: name, Reason: "the case was skipped"})
		case "fail":
			why := "no reason given"
			if text[name] != nil {
				why = Reason(text[name].String())
			}
			out = append(out, matrix.Result{Capability: name, Reason: why})
		}
		return nil
	})
	return out, err
}

// Node reads the lines of node/reporter.mjs.
func Node(r io.Reader) ([]matrix.Result, error) {
	var out []matrix.Result
	err := lines(r, func(line []byte) error {
		var e struct {
			Name   string `json:"name"`
			Passed bool   `json:"passed"`
			Reason string `json:"reason"`
		}
		if err := json.Unmarshal(line, &e); err != nil {
			return fmt.Errorf("line of the node reporter %q: %w", line, err)
		}
		why := ""
		if !e.Passed {
			why = oneLine(e.Reason)
		}
		out = append(out, matrix.Result{Capability: e.Name, Passed: e.Passed, Reason: why})
		return nil
	})
	return out, err
}

func lines(r io.Reader, fn func([]byte) error) error {
	s := bufio.NewScanner(r)
	s.Buffer(nil, maxLine)
	for s.Scan() {
		if len(strings.TrimSpace(s.Text())) == 0 {
			continue
		}
		if err := fn(s.Bytes()); err != nil {
			return err
		}
	}
	if err := s.Err(); err != nil {
		return fmt.Errorf("read the report: %w", err)
	}
	return nil
}

// assertion finds the explanation in the output of an assertion.
var assertion = regexp.MustCompile(`(?s)Error:\s+(.*?)\n\s+Test:`)

// Reason finds one line in the output of a failed Go test that says why.
func Reason(output string) string {
	if m := assertion.FindStringSubmatch(output); m != nil {
		return oneLine(m[1])
	}
	last := ""
	for _, l := range strings.Split(output, "\n") {
		l = strings.TrimSpace(l)
		if l != "" && !strings.HasPrefix(l, "---") && !strings.HasPrefix(l, "===") {
			last = l
		}
	}
	return oneLine(last)
}

var (
	address = regexp.MustCompile(`(127\.0\.0\.1|localhost):\d+`)
	id      = regexp.MustCompile(`\b[0-9a-zA-Z]{3}0{6,}[0-9a-zA-Z]{3,9}\b`)
	spaces  = regexp.MustCompile(`\s+`)
)

// maxReason keeps the table readable.
const maxReason = 220

// oneLine shortens a text and takes out what changes from run to run.
func oneLine(s string) string {
	s = strings.TrimSpace(spaces.ReplaceAllString(s, " "))
	s = id.ReplaceAllString(address.ReplaceAllString(s, "sandbox"), "<id>")
	if r := []rune(s); len(r) > maxReason {
		s = string(r[:maxReason]) + "…"
	}
	return s
}
