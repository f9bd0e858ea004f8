package remote_test

import (
	"io/fs"
	"os"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/pkg/db"
	"github.com/selfsame-io/selfsame/pkg/db/dbtest"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/backend"
	adapter "github.com/selfsame-io/selfsame/services/system-erp/internal/remote"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/store/sqlstore"
)

// TestMigrate brings databases of earlier releases up to date: what was there is there, and can be worked on.
func TestMigrate(t *testing.T) {
	t.Parallel()
	files, err := fs.Glob(os.DirFS("migrations"), "*.sql")
	require.NoError(t, err)
	from := 1
	if testing.Short() {
		from = len(files) - 1
	}
	for n := from; n < len(files); n++ {
		before := fstest.MapFS{}
		for _, name := range files[:n] {
			text, err := os.ReadFile("migrations/" + name)
			require.NoError(t, err)
			before[name] = &fstest.MapFile{Data: text}
		}
		t.Run("from "+files[n-1], func(t *testing.T) {
			t.Parallel()
			dbtest.Each(t, func(t *testing.T, d *db.DB) {
				_, err := sqlstore.Open(t.Context(), d, sqlstore.Options{})
				require.NoError(t, err)
				require.NoError(t, d.Migrate(t.Context(), before, "erp_remote_migration"))
				then := longAgo()
				fill(t, d, then)
				kept(t, d, then)
			})
		})
	}
}

// TestMigrateRows has rows in every table, as soon as there is one, while the migrations after it run.
func TestMigrateRows(t *testing.T) {
	t.Parallel()
	then := longAgo()
	dbtest.Migrations{
		Files: os.DirFS("migrations"), Table: "erp_remote_migration", Values: map[string][]any{"remote_document.object": {2, 2}},
		Seed:  func(t *testing.T, d *db.DB) { fill(t, d, then) },
		Works: func(t *testing.T, d *db.DB) { kept(t, d, then) },
	}.Test(t)
}

func longAgo() time.Time { return time.Now().UTC().Truncate(24 * time.Hour).Add(-old) }

func fill(t *testing.T, d *db.DB, then time.Time) {
	t.Helper()
	for _, statement := range []string{
		`INSERT INTO remote_write (object, name, mark, state, owner, fence, lease, sent, record_id, fingerprint, updated) VALUES
			(1, 'customer', '', 3, '', 4, 0, $1, '', '', $1), (3, 'order', '', 5, '', 4, 0, $1, 'o1', 'print', $1)`,
		"INSERT INTO remote_document (object, record_id, day, lines) VALUES (1, 'c1', $1, 0), (1, 'c2', $1, 0)",
		"INSERT INTO remote_step (order_id, sequence, seen, state, fulfilment, billing, block_reason) VALUES ('o1', 1, $1, 1, 1, 1, '')",
	} {
		_, err := d.Exec(t.Context(), statement, then.UnixMicro())
		require.NoError(t, err)
	}
}

// kept checks that everything that was stored is read by this release as it was meant, and that it can be worked on.
func kept(t *testing.T, d *db.DB, then time.Time) {
	t.Helper()
	var s *adapter.Store
	var err error
	for range 2 { // a second replica finds nothing to do
		s, err = adapter.Open(t.Context(), d, newLedger(), adapter.Options{})
		require.NoError(t, err)
	}
	want := []backend.DocumentCount{{Day: then, Object: "customer", Documents: 2}}
	for range 2 {
		got, err := s.Documents(t.Context(), then, then.Add(24*time.Hour))
		require.NoError(t, err)
		require.Equal(t, want, got)
		_, err = s.Forget(t.Context())
		require.NoError(t, err, "and it can be worked on")
	}
	for query, count := range map[string]int{
		"SELECT COUNT(*) FROM remote_document":                                                    0,
		"SELECT COUNT(*) FROM remote_document_sum WHERE object = 1 AND documents = 2":             1,
		"SELECT COUNT(*) FROM remote_write WHERE object = 1":                                      0,
		"SELECT COUNT(*) FROM remote_write WHERE name = 'order' AND fence = 4 AND first_sent = 0": 1,
		"SELECT COUNT(*) FROM remote_step WHERE order_id = 'o1'":                                  1,
	} {
		var have int
		require.NoError(t, d.Read().QueryRowContext(t.Context(), query).Scan(&have))
		require.Equal(t, count, have, query)
	}
}
