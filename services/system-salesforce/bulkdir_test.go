package systemsalesforce_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	systemsalesforce "github.com/selfsame-io/selfsame/services/system-salesforce"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/bulk"
)

func TestTheFolderOfBulkLoads(t *testing.T) {
	t.Parallel()
	t.Run("by default it lies beside the database, and rows of a killed process are removed from it", func(t *testing.T) {
		t.Parallel()
		cfg := config(t, startSandbox(t))
		dir := strings.TrimPrefix(cfg.Store.DSN.Reveal(), "sqlite:") + ".bulk"
		rows := filepath.Join(dir, "anonymous-123", "rows.csv")
		require.NoError(t, os.MkdirAll(filepath.Dir(rows), 0o700))
		require.NoError(t, os.WriteFile(rows, []byte("ada@example.com\n"), 0o600))
		s := startReady(t, cfg)
		require.NoFileExists(t, rows)
		_, err := bulk.Claim(dir)
		require.ErrorIs(t, err, bulk.ErrClaimed)

		other := dir + "-2"
		second := startReady(t, cfg)
		require.DirExists(t, other, "a second process has a folder of its own")
		require.NoError(t, second.stop())
		require.NoError(t, s.stop())
		release, err := bulk.Claim(dir)
		require.NoError(t, err)
		release()
	})
	t.Run("a folder that another process uses is refused", func(t *testing.T) {
		t.Parallel()
		cfg := config(t, startSandbox(t))
		cfg.Salesforce.BulkDir = t.TempDir()
		release, err := bulk.Claim(cfg.Salesforce.BulkDir)
		require.NoError(t, err)
		defer release()
		err = systemsalesforce.Run(t.Context(), cfg)
		require.ErrorIs(t, err, bulk.ErrClaimed)
		require.ErrorContains(t, err, "salesforce.bulk_dir")
	})
}
