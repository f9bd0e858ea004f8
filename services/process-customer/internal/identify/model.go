package identify

import (
	"bytes"
	_ "embed" // the built-in model
	"errors"
	"fmt"
	"os"

	"go.yaml.in/yaml/v3"

	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/match"
)

//go:embed model.yaml
var builtin []byte

//go:embed contacts.yaml
var builtinContacts []byte

// model is a model at work.
type model struct {
	object  golden.Object
	matcher *match.Matcher
	digest  string
	fields  []string // the golden fields that it compares
}

// load makes a model file of a kind ready, the built-in model when there is none.
func load(obj golden.Object, path string) (model, error) {
	text, err := readModel(obj, path)
	if err != nil {
		return model{}, err
	}
	m := model{object: obj}
	if m.matcher, err = match.NewMatcher(text); err != nil {
		return m, fmt.Errorf("model: %w", err)
	}
	if m.digest, err = text.Digest(); err != nil {
		return m, err
	}
	for _, f := range text.Schema.Fields {
		if !golden.HasField(obj, f.Name) {
			return m, fmt.Errorf("model: a %s has no field %q", obj, f.Name)
		}
		m.fields = append(m.fields, f.Name)
	}
	if obj == golden.Contact && !text.TellsGroupsApart() {
		return m, errors.New("model: contacts of different customers must be told apart: a field of the kind member_of and rules.different_groups")
	}
	return m, nil
}

// readModel reads a model file, the built-in model when there is none. Unknown keys are errors.
func readModel(obj golden.Object, path string) (match.Model, error) {
	text := builtin
	if obj == golden.Contact {
		text = builtinContacts
	}
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
