package inbox_test

import (
	"os"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/pkg/db"
	"github.com/selfsame-io/selfsame/pkg/db/dbtest"
	"github.com/selfsame-io/selfsame/pkg/idempotent/inbox"
)

// A condition that SQLite checks with a table of its own costs more than to store the message.
func TestInbox_FromTheReleaseBefore(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		text, err := os.ReadFile("migrations/00001_inbox.sql")
		require.NoError(t, err)
		require.NoError(t, d.Migrate(t.Context(), fstest.MapFS{"00001_inbox.sql": {Data: text}}, "inbox_migrations"))
		const insert = `INSERT INTO inbox_message (consumer, k, stream, position, digest, state, attempts, at, id, object, major, minor, body, reason)
 VALUES ('orders', $1, '', 0, NULL, 'd', 0, 1, '', '', 0, 0, NULL, '')`
		_, err = d.Exec(t.Context(), insert, []byte("before"))
		require.NoError(t, err)

		setup(t, d)
		var n int
		require.NoError(t, d.Read().QueryRowContext(t.Context(), "SELECT count(*) FROM inbox_message WHERE state = 'd'").Scan(&n))
		require.Equal(t, 1, n, "what was stored is still there")
		_, err = d.Exec(t.Context(), "UPDATE inbox_message SET state = 'y'")
		require.Error(t, err, "and the condition still holds")
		for _, state := range []string{"f", "p", "x", "d"} {
			_, err = d.Exec(t.Context(), "UPDATE inbox_message SET state = $1", state)
			require.NoError(t, err)
		}
		if d.Engine() != db.SQLite {
			return
		}
		require.NotContains(t, dbtest.Steps(t, d, insert, []byte("after")), "OpenEphemeral")
	})
}

// TestMigrateRows has rows in every table, as soon as there is one, while the migrations after it run.
func TestMigrateRows(t *testing.T) {
	t.Parallel()
	dbtest.Migrations{
		Files: os.DirFS("migrations"), Table: "inbox_migrations", Values: map[string][]any{"inbox_message.state": {"d", "f", "p", "x"}},
		Works: func(t *testing.T, d *db.DB) {
			w, m := setup(t, d), inbox.Message{ID: "event-1", Body: []byte("x")}
			require.Equal(t, inbox.Processed, w.handle(m))
			require.Equal(t, inbox.Duplicate, w.handle(m))
		},
	}.Test(t)
}
