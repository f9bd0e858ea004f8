package main

import (
	"bytes"
	"context"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox"
)

func start(t *testing.T) string {
	t.Helper()
	s, err := sandbox.New(sandbox.Config{})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		http.DefaultClient.CloseIdleConnections()
		cancel()
		require.NoError(t, <-done)
	})
	return "http://" + s.HTTPAddr()
}

func TestAFaultPlanIsSetShownAndCleared(t *testing.T) {
	t.Parallel()
	url := start(t)
	file := filepath.Join(t.TempDir(), "plan.json")
	require.NoError(t, os.WriteFile(file, []byte(`{"rules":[{"name":"busy","effect":"quota","count":2}]}`), 0o600))
	var out bytes.Buffer
	run := func(args ...string) error {
		out.Reset()
		return faults(t.Context(), args, strings.NewReader(`{"latency":"1ms"}`), &out)
	}
	require.NoError(t, run("set", file, "--url", url))
	require.NoError(t, run("show", "-url", url))
	require.Contains(t, out.String(), `"name": "busy"`)
	resp, err := http.Get(url + "/services/data")
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, http.StatusForbidden, resp.StatusCode)
	require.NoError(t, run("--url="+url, "log"))
	require.Contains(t, out.String(), `"effect": "quota"`)
	require.NoError(t, run("clear", "--url", url))
	require.NoError(t, run("set", "-", "--url", url))
	require.NoError(t, run("show", "--url", url))
	require.JSONEq(t, `{"latency":"1ms"}`, out.String())
}

func TestBadFaultCommandsAreRefused(t *testing.T) {
	t.Parallel()
	url := start(t)
	for name, args := range map[string][]string{
		"nothing":           {},
		"an unknown word":   {"explode"},
		"a missing file":    {"set", filepath.Join(t.TempDir(), "none"), "--url", url},
		"an unknown flag":   {"show", "--nope"},
		"nobody listening":  {"show", "--url", "http://127.0.0.1:1"},
		"a plan that is no": {"set", "-", "--url", url},
	} {
		require.Error(t, faults(t.Context(), args, strings.NewReader(`{"nope":1}`), &bytes.Buffer{}), name)
	}
}
