// Command conformance writes the page that says which test holds which case of idempotency:
//
//	conformance -o PAGE OUTPUT…
//
// where each OUTPUT is a file with the output of go test -json.
package main

import (
	"flag"
	"fmt"
	"os"

	"github.com/selfsame-io/selfsame/suite/conformance"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(args []string) error {
	flags := flag.NewFlagSet("conformance", flag.ContinueOnError)
	page := flags.String("o", "docs/reference/idempotency-conformance.md", "the `page` to write")
	if err := flags.Parse(args); err != nil {
		return err
	}
	cases, err := conformance.Cases()
	if err != nil {
		return err
	}
	results := &conformance.Results{}
	for _, file := range flags.Args() {
		if err := read(results, file); err != nil {
			return err
		}
	}
	text, err := conformance.Page(cases, results)
	if err != nil {
		return err
	}
	if err := os.WriteFile(*page, []byte(text), 0o644); err != nil { //nolint:gosec // a published page
		return fmt.Errorf("write the page: %w", err)
	}
	return nil
}

func read(results *conformance.Results, file string) error {
	f, err := os.Open(file)
	if err != nil {
		return fmt.Errorf("open test output: %w", err)
	}
	defer func() { _ = f.Close() }() // only read
	return results.Read(f)
}
