package bulk

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestClaim(t *testing.T) {
	t.Parallel()
	t.Run("a folder is held by one at a time", func(t *testing.T) {
		t.Parallel()
		dir := filepath.Join(t.TempDir(), "new")
		release, err := Claim(dir)
		require.NoError(t, err)
		info, err := os.Stat(dir)
		require.NoError(t, err)
		require.Equal(t, os.FileMode(0o700), info.Mode().Perm())
		_, err = Claim(dir)
		require.ErrorIs(t, err, ErrClaimed)
		release()
		release, err = Claim(dir)
		require.NoError(t, err, "a lock file that a dead process left holds nobody up")
		release()
	})
	t.Run("a link to somewhere else is refused", func(t *testing.T) {
		t.Parallel()
		link := filepath.Join(t.TempDir(), "link")
		require.NoError(t, os.Symlink(t.TempDir(), link))
		_, err := Claim(link)
		require.Error(t, err)
	})
}
