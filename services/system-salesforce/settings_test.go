package systemsalesforce_test

import (
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	systemsalesforce "github.com/selfsame-io/selfsame/services/system-salesforce"
)

// settings returns the keys of a configuration, as --print-config shows them.
func settings(of reflect.Type, prefix string) (out []string) {
	for f := range of.Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("conf"), ",")
		switch {
		case name == "-":
		case name == "" && f.Type.Kind() == reflect.Struct:
			out = append(out, settings(f.Type, prefix)...)
		case f.Type.Kind() == reflect.Struct:
			out = append(out, settings(f.Type, prefix+name+".")...)
		case name != "":
			out = append(out, prefix+name)
		}
	}
	return out
}

func TestEverySettingIsInTheReadme(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("README.md")
	require.NoError(t, err)
	keys := settings(reflect.TypeFor[systemsalesforce.Config](), "")
	for _, known := range []string{"serve.tls.cert_file", "store.answer_keys", "salesforce.watchdog", "budget.lease", "memory_limit"} {
		require.Contains(t, keys, known)
	}
	for _, key := range keys {
		require.Contains(t, string(text), "`"+key+"`")
	}
}
