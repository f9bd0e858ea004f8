package cli

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/suite/remote"
)

func run(t *testing.T, args ...string) (code int, out, problems string) {
	t.Helper()
	var o, e bytes.Buffer
	app := &App{Out: &o, Err: &e, Version: "v1"}
	code = app.Main(t.Context(), args)
	return code, o.String(), e.String()
}

func TestMain_CommandLine(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		args []string
		code int
		says string
	}{
		"no command shows what there is":          {nil, exitOK, "selfsame demo"},
		"an unknown command":                      {[]string{"demmo"}, exitUsage, `there is no command "demmo"`},
		"an unknown flag":                         {[]string{"status", "--colour"}, exitUsage, "colour"},
		"an unknown output format":                {[]string{"ledger", "-o", "xml"}, exitUsage, "text or json"},
		"explain without an id":                   {[]string{"explain"}, exitUsage, "customer/ID"},
		"a verb dead letters do not have":         {[]string{"dead-letters", "burn"}, exitUsage, "none of list, preview, redrive, retry, discard"},
		"a resync of nothing":                     {[]string{"resync"}, exitUsage, "one system"},
		"a scenario without a verb":               {[]string{"scenario"}, exitUsage, "list, or run"},
		"a service without a name":                {[]string{"service"}, exitUsage, "name of a service"},
		"a service that does not exist":           {[]string{"service", "system-sap"}, exitFailed, "no such service"},
		"data that does not exist":                {[]string{"demo", "--data", "/nowhere"}, exitFailed, "is not a directory"},
		"a command that needs a demo without one": {[]string{"status", "--state", "/nowhere/demo.json"}, exitFailed, "start one with: selfsame demo"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			code, out, problems := run(t, c.args...)
			require.Equal(t, c.code, code, problems)
			require.Contains(t, out+problems, c.says)
			require.NotContains(t, out+problems, "service \t", "the hidden command is not shown")
		})
	}

	t.Run("flags may stand behind arguments", func(t *testing.T) {
		t.Parallel()
		code, out, _ := run(t, "scenario", "list", "-o", "text")
		require.Equal(t, exitOK, code)
		require.Contains(t, out, "lost-ack")
	})
}

func TestMain_State(t *testing.T) {
	t.Parallel()

	t.Run("a state file of a demo that has ended is not believed", func(t *testing.T) {
		t.Parallel()
		file := filepath.Join(t.TempDir(), "demo.json")
		require.NoError(t, remote.State{Instance: "x", Control: "http://127.0.0.1:1"}.Save(file))
		code, _, problems := run(t, "verify", "--state", file)
		require.Equal(t, exitFailed, code)
		require.Contains(t, problems, "no demo is running here")
	})

	t.Run("a state file that is something else is named", func(t *testing.T) {
		t.Parallel()
		file := filepath.Join(t.TempDir(), "demo.json")
		require.NoError(t, os.WriteFile(file, []byte("hello"), 0o600))
		_, _, problems := run(t, "token", "--state", file)
		require.Contains(t, problems, "is not the state of a demo")
	})
}

func TestDemo_BadData(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "accounts.csv"), []byte("source,record_id\nSF,1\n"), 0o600))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var o, e bytes.Buffer
	code := (&App{Out: &o, Err: &e}).Main(ctx, []string{"demo", "--data", dir, "--dir", filepath.Join(t.TempDir(), "d")})
	require.Equal(t, exitFailed, code)
	require.Contains(t, e.String(), "accounts.csv:1: name: the column is missing")
	require.Contains(t, e.String(), "contacts.csv: does not exist")
	require.Empty(t, o.String(), "nothing was started")
}
