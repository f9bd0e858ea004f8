package evaluate

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"reflect"

	"go.yaml.in/yaml/v3"

	"github.com/selfsame-io/selfsame/services/process-customer/match"
)

// Train learns a model from records without looking at their truth. With two files only pairs across them count.
func Train(m Mapping, rs Records) (match.Model, error) {
	model, err := match.Train(m.Schema(), rs.All, match.TrainOptions{CrossSourceOnly: rs.Files > 1})
	if err != nil {
		return match.Model{}, fmt.Errorf("train: %w", err)
	}
	return model, nil
}

// WriteModel writes a model as YAML, whole or not at all.
func WriteModel(path string, m match.Model) error {
	var b bytes.Buffer
	b.WriteString("# Learned by \"selfsame match train\". Probabilities of each level of agreement: m among records of one\n" +
		"# entity, u among records of two. Values are counted by their hash.\n")
	e := yaml.NewEncoder(&b)
	e.SetIndent(2)
	if err := e.Encode(m); err != nil {
		return fmt.Errorf("encode the model: %w", err)
	}
	err := Replace(path, func(w io.Writer) error {
		_, err := w.Write(b.Bytes())
		return err //nolint:wrapcheck // below
	})
	if err != nil {
		return fmt.Errorf("write the model: %w", err)
	}
	return nil
}

// ReadModel reads a model for records of a mapping. Unknown keys, other versions, and models that were trained for other
// fields are errors.
func ReadModel(path string, m Mapping) (*match.Matcher, error) {
	b, err := os.ReadFile(path) //nolint:gosec // the file that the user named
	if err != nil {
		return nil, fmt.Errorf("read the model: %w", err)
	}
	var model match.Model
	d := yaml.NewDecoder(bytes.NewReader(b))
	d.KnownFields(true)
	if err := d.Decode(&model); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	x, err := match.NewMatcher(model)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if !reflect.DeepEqual(model.Schema, m.Schema()) {
		return nil, fmt.Errorf("%s: the model was trained for other fields than those of the mapping", path)
	}
	return x, nil
}
