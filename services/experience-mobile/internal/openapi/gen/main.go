// Command gen writes the published description of the REST surface: gen <generated.json> <published.json>.
package main

import (
	"fmt"
	"os"

	"github.com/selfsame-io/selfsame/services/experience-mobile/internal/openapi/overlay"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 2 {
		return fmt.Errorf("usage: gen <generated.json> <published.json>")
	}
	raw, err := os.ReadFile(args[0])
	if err != nil {
		return fmt.Errorf("read description: %w", err)
	}
	out, err := overlay.Build(raw)
	if err != nil {
		return err
	}
	if err := os.WriteFile(args[1], out, 0o644); err != nil { //nolint:gosec // a published document
		return fmt.Errorf("write description: %w", err)
	}
	return nil
}
