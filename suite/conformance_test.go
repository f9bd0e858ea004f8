package suite

import (
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/suite/remote"
)

// alertRules are the alerts about idempotency keys.
const alertRules = "../deploy/prometheus/idempotency.rules.yaml"

// TestConformance is the part of the table of idempotency that is about looking at the whole suite.
func TestConformance(t *testing.T) {
	t.Parallel()
	t.Run("M-06 the alerts fire when they should and are silent on a calm day", alertsFire)
	t.Run("M-07 one trace leads from the phone to both systems", oneTrace)
	t.Run("M-01 what the alerts look at is really published, and every outcome is counted as what it is", alertsLook)
}

// alertsFire runs the rules against made-up days, with Prometheus' own tool.
func alertsFire(t *testing.T) {
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		if os.Getenv("CI") == "true" {
			require.Fail(t, "promtool is not installed")
		}
		t.Skip("needs promtool, which comes with Prometheus")
	}
	const dir = "../deploy/prometheus"
	files, err := filepath.Glob(dir + "/*.rules.yaml")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		rules := filepath.Base(file)
		tests := strings.TrimSuffix(rules, ".rules.yaml") + ".test.yaml"
		commands := [][]string{{"check", "rules", rules}, {"test", "rules", tests}}
		if testing.Short() {
			commands = commands[:1] // the days themselves take half a minute
		}
		for _, args := range commands {
			cmd := exec.CommandContext(t.Context(), promtool, args...) //nolint:gosec // the tool that was found
			cmd.Dir = dir
			out, err := cmd.CombinedOutput()
			require.NoError(t, err, string(out))
		}
		everyAlertTested(t, file, filepath.Join(dir, tests))
	}
}

// everyAlertTested: an alert that no made-up day raises may be one that never fires.
func everyAlertTested(t *testing.T, rules, tests string) {
	t.Helper()
	declared, err := os.ReadFile(rules)
	require.NoError(t, err)
	text, err := os.ReadFile(tests)
	require.NoError(t, err)
	for _, alert := range regexp.MustCompile(`alert: (\w+)`).FindAllStringSubmatch(string(declared), -1) {
		require.Regexp(t, `alertname: `+alert[1]+`\n\s+exp_alerts:\n\s+- exp_labels`, string(text), "%s never fires in %s", alert[1], tests)
	}
}

// metrics is the page of a service.
func metrics(t *testing.T, ops string) string {
	t.Helper()
	res, err := http.Get("http://" + ops + "/metrics") //nolint:noctx // loopback
	require.NoError(t, err)
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	return string(body)
}

// alertsLook proves that every series of the rules exists in a running service.
func alertsLook(t *testing.T) {
	s, err := Start(t.Context(), Options{Dir: t.TempDir() + "/demo", LogLevel: "error"})
	require.NoError(t, err)
	defer func() { require.NoError(t, s.Stop()) }()
	demo, err := remote.Open(t.Context(), s.State())
	require.NoError(t, err)
	defer func() { require.NoError(t, demo.Close()) }()
	send := func(name string) (status int) {
		require.Eventually(t, func() bool {
			a, err := demo.Mobile(t.Context(), http.MethodPost, "/v1/customers", http.Header{
				"Idempotency-Key": {"looked-at-by-alerts"}, "Content-Type": {"application/json"},
			}, []byte(`{"name":"`+name+`"}`))
			if err == nil {
				status = a.Status
			}
			return err == nil && status != http.StatusServiceUnavailable
		}, time.Minute, 10*time.Millisecond)
		return status
	}
	require.Equal(t, []int{201, 201, 422}, []int{send("Looked At"), send("Looked At"), send("Other")})
	page := metrics(t, s.State().Ops[ProcessCustomer])
	text, err := os.ReadFile(alertRules)
	require.NoError(t, err)
	retention, err := os.ReadFile("../deploy/prometheus/retention.rules.yaml")
	require.NoError(t, err)
	names := regexp.MustCompile(`\bselfsame_idempotency_[a-z_]+`).FindAllString(string(text), -1)
	require.NotEmpty(t, names)
	for _, name := range names {
		require.Contains(t, page, "\n"+name, "an alert looks at %s", name)
	}
	for service, rows := range map[string][]string{
		ProcessCustomer: {"changes", "settled dead letters", "selections", "audit entries", "operations", "comparisons", "idempotency keys"},
		SystemERP:       {"changes", "idempotency keys"}, SystemSalesforce: {"bulk leftovers", "idempotency keys"},
	} {
		page := metrics(t, s.State().Ops[service])
		for _, of := range rows {
			for _, name := range regexp.MustCompile(`\bselfsame_retention_[a-z_]+`).FindAllString(string(retention), -1) {
				require.Contains(t, page, "\n"+name+`{selfsame_rows="`+of+`"}`, "an alert looks at this of %s", service)
			}
		}
	}
	for _, outcome := range []string{"executed", "replayed", "mismatch"} {
		require.Regexp(t, `selfsame_idempotency_requests_total\{[^}]*rpc_method="[^"]*CreateCustomer"[^}]*selfsame_outcome="`+outcome+`"[^}]*\} [1-9]`, page)
	}
	documented, err := os.ReadFile("../docs/operations/idempotency.md")
	require.NoError(t, err)
	for _, alert := range regexp.MustCompile(`alert: (\w+)`).FindAllStringSubmatch(string(text), -1) {
		require.Contains(t, string(documented), "`"+alert[1]+"`")
	}
}
