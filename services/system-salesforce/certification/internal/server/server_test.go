package server_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/services/system-salesforce/certification/internal/server"
)

// program writes a shell script that stands for the sandbox.
func program(t *testing.T, script string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "sandbox")
	require.NoError(t, os.WriteFile(path, []byte("#!/bin/sh\n"+script), 0o700)) //nolint:gosec // it must be executable
	return path
}

const announce = `echo 'time=x level=INFO msg="sandbox is serving" http=127.0.0.1:1 pubsub=127.0.0.1:2' >&2` + "\n"

func TestProcess(t *testing.T) {
	t.Parallel()
	t.Run("tells the cases where the sandbox listens and stops it", func(t *testing.T) {
		t.Parallel()
		p, err := server.Start(t.Context(), program(t, "trap 'exit 0' TERM\n"+announce+"while :; do sleep 0.05; done\n"), t.TempDir())
		require.NoError(t, err)
		require.Contains(t, p.Env(), "CERTIFY_URL=http://127.0.0.1:1")
		require.Contains(t, p.Env(), "CERTIFY_PUBSUB=127.0.0.1:2")
		require.NoError(t, p.Stop())
	})
	t.Run("says why a sandbox did not start", func(t *testing.T) {
		t.Parallel()
		_, err := server.Start(t.Context(), program(t, "echo 'port in use' >&2; exit 3\n"), t.TempDir())
		require.ErrorContains(t, err, "port in use")
	})
	t.Run("does not hide that the sandbox stopped with an error", func(t *testing.T) {
		t.Parallel()
		p, err := server.Start(t.Context(), program(t, "trap 'echo lost a goroutine >&2; exit 1' TERM\n"+announce+"while :; do sleep 0.05; done\n"), t.TempDir())
		require.NoError(t, err)
		require.ErrorContains(t, p.Stop(), "lost a goroutine")
	})
}
