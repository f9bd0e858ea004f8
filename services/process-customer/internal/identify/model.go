package identify

import (
	"bytes"
	_ "embed" // the built-in model
	"fmt"
	"os"

	"go.yaml.in/yaml/v3"

	"github.com/selfsame-io/selfsame/services/process-customer/match"
)

//go:embed model.yaml
var builtin []byte

// readModel reads a model file, the built-in model when there is none. Unknown keys are errors.
func readModel(path string) (match.Model, error) {
	text := builtin
	if path != "" {
		var err error
		if text, err = os.ReadFile(path); err != nil { //nolint:gosec // the operator names the file
			return match.Model{}, fmt.Errorf("read the model: %w", err)
		}
	}
	var m match.Model
	d := yaml.NewDecoder(bytes.NewReader(text))
	d.KnownFields(true)
	if err := d.Decode(&m); err != nil {
		return match.Model{}, fmt.Errorf("read the model: %w", err)
	}
	return m, nil
}
