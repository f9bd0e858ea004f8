package db

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestPrivate_WhatTheKilledLeaveBehindIsRemoved(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	alive, err := newPrivate(dir)
	require.NoError(t, err)
	killed, err := newPrivate(dir)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(killed.path, "private.db"), []byte("x"), 0o600))
	require.NoError(t, killed.lock.Close()) // as the end of a process does
	other := filepath.Join(dir, privatePrefix+"unknown")
	require.NoError(t, os.Mkdir(other, 0o700))

	next, err := newPrivate(dir)
	require.NoError(t, err)
	require.NoDirExists(t, killed.path)
	require.DirExists(t, alive.path, "its owner lives")
	require.DirExists(t, other, "one that is just being made has no lock yet")
	for _, p := range []*private{alive, next} {
		require.NoError(t, p.remove())
		require.NoDirExists(t, p.path)
	}
	require.NoError(t, (*private)(nil).remove())
}
