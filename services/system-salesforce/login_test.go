package systemsalesforce_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/pkg/conf"
	salesforcev1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/salesforce/v1"
	systemsalesforce "github.com/selfsame-io/selfsame/services/system-salesforce"
	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox"
)

func TestLogin(t *testing.T) {
	t.Parallel()
	c := startSandbox(t, func(cfg *sandbox.Config) {
		cfg.Apps = append(cfg.Apps, sandbox.App{ClientID: "dev", ClientSecret: "s3cret"})
		cfg.Users = []sandbox.User{{Username: sandbox.DefaultUser, Password: "pass", SecurityToken: "TOKEN"}}
	})
	session := func(t *testing.T, cfg systemsalesforce.Config) *salesforcev1.Finding {
		t.Helper()
		d, err := systemsalesforce.Diagnose(t.Context(), cfg)
		require.NoError(t, err)
		return finding(d.GetFindings(), "session", "")
	}
	t.Run("the key may be a reference to a file", func(t *testing.T) {
		t.Parallel()
		cfg := config(t, c)
		file := filepath.Join(t.TempDir(), "key.pem")
		require.NoError(t, os.WriteFile(file, []byte(cfg.Salesforce.PrivateKey.Reveal()), 0o600))
		cfg.Salesforce.PrivateKey = conf.Secret("file:" + file)
		require.Equal(t, salesforcev1.Severity_SEVERITY_OK, session(t, cfg).GetSeverity())
		cfg.Salesforce.PrivateKey = conf.Secret("file:" + file + ".gone")
		_, err := systemsalesforce.Diagnose(t.Context(), cfg)
		require.ErrorContains(t, err, "salesforce.private_key")
	})
	t.Run("a password logs in on this machine and nowhere else", func(t *testing.T) {
		t.Parallel()
		cfg := config(t, c)
		cfg.Salesforce.ClientID, cfg.Salesforce.PrivateKey = "dev", ""
		cfg.Salesforce.Password, cfg.Salesforce.ClientSecret = "passTOKEN", "s3cret"
		require.Equal(t, salesforcev1.Severity_SEVERITY_OK, session(t, cfg).GetSeverity())
		cfg.Salesforce.LoginURL = "https://acme.my.salesforce.com"
		require.ErrorContains(t, cfg.Validate(), "password: the username-password flow is for development")
	})
}
