package store_test

import (
	"context"
	"database/sql"
	"errors"
	"io/fs"
	"maps"
	"math"
	"os"
	"slices"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/pkg/db"
	"github.com/selfsame-io/selfsame/pkg/db/dbtest"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store"
)

// earlier fills a database as the first release did: one customer that two systems have, with all that hangs on it.
var earlier = []string{
	`INSERT INTO feed (system, token, state, reason, scan, scan_phase, scan_cursor, scan_epoch, scanned, complete, last_message_us, last_commit_us, lease_owner, lease_until_us, fence)
		VALUES ('erp', 'position 7', 'LIVE', '', 'done', '', '', 3, 1, TRUE, 1, 1, '', 0, 5)`,
	`INSERT INTO inbox (system, change_id, object, record_id, golden_id, state, echo, received_us, traceparent)
		VALUES ('erp', 'change-1', 'customer', '7', $1, 'applied', FALSE, 1, '')`,
	`INSERT INTO golden (id, object, parent_id, body, version, deleted, merged_into, name_key, created_us, updated_us)
		VALUES ($1, 'customer', '', '{"name":"Acme"}', 4, FALSE, '', 'acme', 1, 2)`,
	`INSERT INTO source_record (system, object, record_id, golden_id, parent_id, parent_open, external_id, version, event_us, deleted, shadow, claims, rewritten, scan_epoch, last_change_id)
		VALUES ('erp', 'customer', '7', $1, '', FALSE, $1, 9, 1, FALSE, '{"name":"Acme"}', '{}', '{}', 3, 'change-1')`,
	`INSERT INTO match_key (object, kind, value, golden_id) VALUES ('customer', 'tax_id', 'DE123456788', $1)`,
	`INSERT INTO pending (system, golden_id, object, gen, due_us, attempt, first_us, lease_until_us, fence, reason, traceparent, postponed)
		VALUES ('salesforce', $1, 'customer', 2, 1, 3, 1, 0, 1, 'UNAVAILABLE', '', FALSE)`,
	`INSERT INTO dead_letter (id, direction, system, object, golden_id, record_id, change_id, reason, field, message, attempts, parked_us, state, settled_us, note)
		VALUES ('d1', 'deliver', 'salesforce', 'customer', $1, '', '', 'REFUSED', 'email', 'not an address', 1, 1, 'OPEN', 0, '')`,
	`INSERT INTO event (position, at_us, golden_id, kind, system, record_id, change_id, fields, reason, traceparent)
		VALUES (1, 1, $1, 'created', 'erp', '7', 'change-1', '', '', '')`,
	`UPDATE sequence SET value = 1 WHERE name = 'event'`,
}

// TestMigrate brings databases of earlier releases up to date: what was there is there, and can be worked on.
func TestMigrate(t *testing.T) {
	t.Parallel()
	id, err := golden.DeriveID(golden.Customer, "from before")
	require.NoError(t, err)
	files := schema(t, db.SQLite)
	names := slices.Sorted(maps.Keys(files))
	last := len(names) - 2 // that of the release before this one
	step := 1
	if testing.Short() {
		step = last
	}
	for n := 0; n <= last; n += step {
		t.Run("from "+names[n], func(t *testing.T) {
			t.Parallel()
			each := dbtest.Each
			if n > 0 && n < last { // what lies between is one text for both engines
				each = func(t *testing.T, fn func(*testing.T, *db.DB)) { fn(t, dbtest.Open(t, "sqlite")) }
			}
			each(t, func(t *testing.T, d *db.DB) {
				require.NoError(t, d.Migrate(t.Context(), until(schema(t, d.Engine()), names[n]), "process_customer_migration"))
				fill(t, d, id)
				s, err := store.Open(t.Context(), d)
				require.NoError(t, err)
				kept(t, s, id)
				again, err := store.Open(t.Context(), d)
				require.NoError(t, err, "a second replica finds nothing to do")
				kept(t, again, id)
			})
		})
	}
}

// TestMigrateRows has rows in every table, as soon as there is one, while the migrations after it run.
func TestMigrateRows(t *testing.T) {
	t.Parallel()
	id, err := golden.DeriveID(golden.Customer, "from before")
	require.NoError(t, err)
	dbtest.Migrations{
		Files: os.DirFS("migrations"), Table: "process_customer_migration",
		Seed: func(t *testing.T, d *db.DB) { fill(t, d, id) },
		Works: func(t *testing.T, d *db.DB) {
			s, err := store.Open(t.Context(), d)
			require.NoError(t, err)
			kept(t, s, id)
		},
	}.Test(t)
}

// TestMigrateMatching brings an index of matching up to date that SQLite kept otherwise.
func TestMigrateMatching(t *testing.T) {
	t.Parallel()
	d := dbtest.Open(t, "sqlite")
	require.NoError(t, d.Migrate(t.Context(), until(schema(t, db.SQLite), "00037_match_contacts.sql"), "process_customer_migration"))
	id, err := golden.DeriveID(golden.Customer, "from before")
	require.NoError(t, err)
	contact, err := golden.DeriveID(golden.Contact, "from before")
	require.NoError(t, err)
	units := []store.MatchUnit{
		{Number: 7, GoldenID: id, Live: true, Systems: "erp=1", Record: []byte{1, 0, 255}, Keys: []int64{math.MinInt64, 3}},
		{Number: 1<<40 + 1, GoldenID: contact, Joined: true, Keys: []int64{}},
	}
	require.NoError(t, d.Tx(t.Context(), func(ctx context.Context, tx *sql.Tx) error {
		for _, statement := range []string{
			`INSERT INTO match_unit (number, golden_id, live, joined, systems, record, keys) VALUES
				(7, '` + string(id) + `', TRUE, FALSE, 'erp=1', x'0100FF', x'80000000000000000000000000000003'),
				(1099511627777, '` + string(contact) + `', FALSE, TRUE, '', x'', x'')`,
			"INSERT INTO match_block (key, unit) VALUES (3, 7), (-9223372036854775808, 7), (3, 1099511627777)",
		} {
			if _, err := tx.ExecContext(ctx, statement); err != nil {
				return err
			}
		}
		return nil
	}))
	s, err := store.Open(t.Context(), d)
	require.NoError(t, err)
	got, err := s.Read().MatchUnits(t.Context(), []golden.ID{id, contact})
	require.NoError(t, err)
	require.ElementsMatch(t, units, got)
	buckets, err := s.Read().MatchBuckets(t.Context(), []int64{3, math.MinInt64})
	require.NoError(t, err)
	require.Equal(t, map[int64][]int64{3: {7, 1<<40 + 1}, math.MinInt64: {7}}, buckets)
	units[0].Systems, units[0].Keys = "erp=2", []int64{3}
	require.NoError(t, s.Tx(t.Context(), func(ctx context.Context, tx *store.Tx) error {
		return errors.Join(tx.PutMatchUnits(ctx, units[:1]), tx.AddMatchBlocks(ctx, []store.MatchBlock{{Key: 3, Unit: 7}, {Key: 4, Unit: 7}}),
			tx.DropMatchBlocks(ctx, []store.MatchBlock{{Key: math.MinInt64, Unit: 7}}))
	}), "and it can be worked on")
	got, err = s.Read().MatchUnitsByNumber(t.Context(), []int64{7})
	require.NoError(t, err)
	require.Equal(t, units[:1], got)
	buckets, err = s.Read().MatchBuckets(t.Context(), []int64{3, 4, math.MinInt64})
	require.NoError(t, err)
	require.Equal(t, map[int64][]int64{3: {7, 1<<40 + 1}, 4: {7}}, buckets)
}

// schema returns all migrations of an engine by their names.
func schema(t *testing.T, engine db.Engine) fstest.MapFS {
	t.Helper()
	out := fstest.MapFS{}
	dirs := []string{"migrations"}
	if engine == db.SQLite {
		dirs = append(dirs, "migrations/sqlite")
	}
	for _, dir := range dirs {
		names, err := fs.Glob(os.DirFS(dir), "*.sql")
		require.NoError(t, err)
		for _, name := range names {
			text, err := os.ReadFile(dir + "/" + name)
			require.NoError(t, err)
			out[name] = &fstest.MapFile{Data: text}
		}
	}
	return out
}

// until returns the migrations up to one of them.
func until(all fstest.MapFS, last string) fstest.MapFS {
	out := fstest.MapFS{}
	for name, file := range all {
		if name <= last {
			out[name] = file
		}
	}
	return out
}

func fill(t *testing.T, d *db.DB, id golden.ID) {
	t.Helper()
	require.NoError(t, d.Tx(t.Context(), func(ctx context.Context, tx *sql.Tx) error {
		for _, statement := range earlier {
			var args []any
			if statement != earlier[0] && statement != earlier[len(earlier)-1] {
				args = append(args, string(id))
			}
			if _, err := tx.ExecContext(ctx, statement, args...); err != nil {
				return err
			}
		}
		return nil
	}))
}

// kept checks that everything that was stored is read by this release as it was meant.
func kept(t *testing.T, s *store.Store, id golden.ID) {
	t.Helper()
	r := s.Read()
	goldens, err := r.Goldens(t.Context(), []golden.ID{id})
	require.NoError(t, err)
	require.Len(t, goldens, 1)
	require.Equal(t, []any{golden.Values{golden.Name: "Acme"}, int64(4)}, []any{goldens[0].Values, goldens[0].Version})
	require.Zero(t, goldens[0].Keyed, "nobody knows whether it has all its keys")
	keys, err := r.KeysOf(t.Context(), []golden.ID{id})
	require.NoError(t, err)
	require.Equal(t, []store.Owned{{Key: store.Key{Object: golden.Customer, Kind: "tax_id", Value: "DE123456788"}, GoldenID: id}}, keys)
	rows, err := r.SourcesOf(t.Context(), []golden.ID{id})
	require.NoError(t, err)
	require.Len(t, rows, 1)
	require.Equal(t, []any{int64(9), "Acme", false}, []any{rows[0].Version, rows[0].Shadow[golden.Name], rows[0].Removed})
	feed, err := r.Feed(t.Context(), "erp")
	require.NoError(t, err)
	require.Equal(t, []any{"position 7", int64(5), true}, []any{feed.Token, feed.Fence, feed.Complete})
	seen, err := r.Seen(t.Context(), "erp", []string{"change-1"})
	require.NoError(t, err)
	require.Contains(t, seen, "change-1")
	marked, err := r.Marked(t.Context(), []golden.ID{id})
	require.NoError(t, err)
	require.Equal(t, []string{"salesforce"}, marked[id])
	backlogs, err := r.Backlogs(t.Context())
	require.NoError(t, err)
	require.Contains(t, backlogs, store.Backlog{
		System: "salesforce", Pending: 1, Retrying: 1, Oldest: time.UnixMicro(1).UTC(), Levels: [2]store.Waiting{store.LevelSync: {1, time.UnixMicro(1).UTC()}},
	}, "what waited before anybody told what is urgent is not put last")
	letters, err := r.ListDeadLetters(t.Context(), "salesforce", false, time.Time{}, "", 10)
	require.NoError(t, err)
	require.Len(t, letters, 1)
	require.Equal(t, "email", letters[0].Field)
	events, err := r.ListEvents(t.Context(), id, 0, 10)
	require.NoError(t, err)
	require.Len(t, events, 1)
	require.NoError(t, s.Tx(t.Context(), func(ctx context.Context, tx *store.Tx) error {
		if err := tx.LockIdentity(ctx); err != nil {
			return err
		}
		return tx.Mark(ctx, []store.Mark{{System: "erp", Object: golden.Customer, GoldenID: id}}, time.Unix(9, 0))
	}), "and it can be worked on")
	require.NoError(t, s.Tx(t.Context(), func(ctx context.Context, tx *store.Tx) error {
		_, err := tx.SQL().ExecContext(ctx, "DELETE FROM pending WHERE system = 'erp'")
		return err
	}))
}
