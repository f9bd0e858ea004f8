package suite

import (
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"time"

	"github.com/selfsame-io/selfsame/pkg/conf"
)

// writeConfig writes a service's configuration as a file that its --config reads. JSON is YAML too. The file holds secrets
// and is readable by its owner only.
func writeConfig(path string, cfg any) error {
	b, err := json.MarshalIndent(tree(reflect.ValueOf(cfg)), "", "  ")
	if err != nil {
		return fmt.Errorf("encode configuration: %w", err)
	}
	if err := os.WriteFile(path, append(b, '\n'), 0o600); err != nil {
		return fmt.Errorf("write configuration: %w", err)
	}
	return nil
}

// tree returns the fields that are configuration, by key. What has its zero value is left to the service's defaults, unless
// it is a boolean.
func tree(v reflect.Value) map[string]any {
	out := map[string]any{}
	for i := range v.NumField() {
		key := v.Type().Field(i).Tag.Get("conf")
		if key == "" || key == "-" {
			continue
		}
		f := v.Field(i)
		switch x := f.Interface().(type) {
		case conf.Secret:
			if x != "" {
				out[key] = x.Reveal()
			}
			continue
		case time.Duration:
			if x != 0 {
				out[key] = x.String()
			}
			continue
		}
		switch {
		case f.Kind() == reflect.Struct:
			if sub := tree(f); len(sub) > 0 {
				out[key] = sub
			}
		case f.Kind() == reflect.Bool || !f.IsZero():
			out[key] = f.Interface()
		}
	}
	return out
}
