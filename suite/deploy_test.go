package suite_test

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"github.com/selfsame-io/selfsame/pkg/conf"
	experiencemobile "github.com/selfsame-io/selfsame/services/experience-mobile"
	processcustomer "github.com/selfsame-io/selfsame/services/process-customer"
	systemerp "github.com/selfsame-io/selfsame/services/system-erp"
	systemsalesforce "github.com/selfsame-io/selfsame/services/system-salesforce"
)

// TestComposeSettings gives every service the environment that deploy/compose.yaml gives it: a setting that was renamed
// must not be found by whoever deploys it.
func TestComposeSettings(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join("..", "deploy", "compose.yaml"))
	require.NoError(t, err)
	var compose struct {
		Services map[string]struct {
			Environment map[string]string `yaml:"environment"`
		} `yaml:"services"`
	}
	require.NoError(t, yaml.Unmarshal(text, &compose))

	key := filepath.Join(t.TempDir(), "key.pem")
	require.NoError(t, os.WriteFile(key, []byte("a key"), 0o600))
	variables := map[string]string{
		"SALESFORCE_LOGIN_URL": "https://acme.my.salesforce.com", "SALESFORCE_CLIENT_ID": "id", "SALESFORCE_USERNAME": "user",
		"OIDC_ISSUER": "https://id.example.com", "POSTGRES_PASSWORD": "pw",
	}
	variable := regexp.MustCompile(`\$\{([A-Z_]+)(?::\?|:-([^}]*))\}`)

	load := map[string]func(conf.Options) error{
		"system-salesforce": func(o conf.Options) error { _, err := conf.Load(o, systemsalesforce.DefaultConfig()); return err },
		"system-erp":        func(o conf.Options) error { _, err := conf.Load(o, systemerp.DefaultConfig()); return err },
		"process-customer":  func(o conf.Options) error { _, err := conf.Load(o, processcustomer.DefaultConfig()); return err },
		"experience-mobile": func(o conf.Options) error { _, err := conf.Load(o, experiencemobile.DefaultConfig()); return err },
	}
	for name, check := range load {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			settings := compose.Services[name].Environment
			require.NotEmpty(t, settings)
			var environ []string
			for k, v := range settings {
				v = variable.ReplaceAllStringFunc(v, func(ref string) string {
					m := variable.FindStringSubmatch(ref)
					if given, ok := variables[m[1]]; ok {
						return given
					}
					return m[2]
				})
				if strings.HasPrefix(v, "/run/secrets/") {
					v = key
				}
				environ = append(environ, k+"="+v)
			}
			var out bytes.Buffer
			err := check(conf.Options{Program: name, EnvPrefix: "SELFSAME", Args: []string{"--check-config"}, Environ: environ, Out: &out})
			require.ErrorIs(t, err, conf.ErrHandled, out.String())
			require.NotContains(t, out.String(), "unknown")
		})
	}
}
