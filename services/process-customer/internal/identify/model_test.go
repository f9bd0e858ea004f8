package identify

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
)

func TestLoad_ContactsOfDifferentCustomersAreToldApart(t *testing.T) {
	t.Parallel()
	for name, change := range map[string][2]string{
		"without the rule":    {"different_groups: true", "different_groups: false"},
		"without their owner": {"kind: member_of", "kind: code"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			text := strings.Replace(string(builtinContacts), change[0], change[1], 1)
			require.NotEqual(t, string(builtinContacts), text)
			path := filepath.Join(t.TempDir(), "model.yaml")
			require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
			_, err := load(golden.Contact, path)
			require.Error(t, err)
		})
	}
}
