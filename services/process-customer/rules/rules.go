// Package rules checks survivorship rule files without a running service: for the command line, for editors, for the
// review of a change.
//
// The invariant: it says what the service would say about the same file. It decides nothing about records.
package rules

import (
	"errors"

	"github.com/selfsame-io/selfsame/services/process-customer/internal/survive"
)

// Problem is one mistake in a rule file.
type Problem struct {
	// Line is counted from 1; zero when no line is to blame.
	Line int `json:"line"`
	// Path is the place in the file, for example "objects.customer.fields.email.master".
	Path string `json:"path"`
	// Text says what is wrong.
	Text string `json:"text"`
}

// Summary is what a valid rule file says about itself.
type Summary struct {
	// Version is the number that the author gave it.
	Version int `json:"version"`
	// Digest is the SHA-256 of what it says, in hex.
	Digest string `json:"digest"`
}

// Check returns every mistake of a rule file, by line; a summary when there are none.
func Check(text []byte) (Summary, []Problem) {
	r, err := survive.Parse(text)
	if err == nil {
		return Summary{Version: r.Version(), Digest: r.Digest()}, nil
	}
	var problems survive.Problems
	if !errors.As(err, &problems) {
		return Summary{}, []Problem{{Text: err.Error()}}
	}
	out := make([]Problem, len(problems))
	for i, p := range problems {
		out[i] = Problem{Line: p.Line, Path: p.Path, Text: p.Text}
	}
	return Summary{}, out
}

// Schema returns the JSON Schema of rule files.
func Schema() []byte { return survive.Schema() }

// Default returns the rule file that holds when none is configured.
func Default() []byte { return survive.DefaultText() }
