package store_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/selfsame-io/selfsame/pkg/caller"
	"github.com/selfsame-io/selfsame/pkg/db"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/audit"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store/storetest"
)

func trail(t *testing.T, d *db.DB) *store.Store {
	t.Helper()
	s, err := store.Open(t.Context(), d)
	require.NoError(t, err)
	return s
}

func note(t *testing.T, s *store.Store, events ...store.Event) {
	t.Helper()
	require.NoError(t, s.Tx(t.Context(), func(ctx context.Context, tx *store.Tx) error { return tx.AddEvents(ctx, events) }))
}

func problems(t *testing.T, s *store.Store) []audit.Problem {
	t.Helper()
	r, err := audit.Walk(t.Context(), s.Read(), audit.Cursor{}, 1<<20)
	require.NoError(t, err)
	require.True(t, r.Done)
	return r.Problems
}

var anHour = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func TestAudit_Values(t *testing.T) {
	t.Parallel()
	storetest.Schema.Each(t, func(t *testing.T, d *db.DB) {
		s := trail(t, d)
		acme, err := golden.NewID(golden.Customer, rand.Reader)
		require.NoError(t, err)
		phone := audit.Field{Name: "phone", Before: "1", After: "2", Rule: "latest"}
		note(t, s, store.Event{At: anHour, GoldenID: acme, Kind: "changed", System: "erp", RecordID: "7", Fields: []string{"phone"}, Changes: []audit.Field{phone}})
		as := caller.With(t.Context(), caller.Identity{Name: "ada", Verified: true})
		require.NoError(t, s.Tx(as, func(ctx context.Context, tx *store.Tx) error {
			return tx.AddEvents(ctx, []store.Event{
				{At: anHour.Add(time.Hour), GoldenID: acme, Kind: "discarded", Fields: []string{"mobile_phone"}, Note: "wrong number"},
				{At: anHour.Add(time.Hour), Kind: "paused", System: "erp", Note: "maintenance"},
			})
		}))
		list := func(f store.AuditFilter, values bool) []store.Audited {
			got, err := s.Read().Audit(t.Context(), f, values, 0, 10)
			require.NoError(t, err)
			return got
		}
		kinds := func(f store.AuditFilter) (out []string) {
			for _, e := range list(f, false) {
				require.Empty(t, e.Changes, "values only for whoever asks")
				require.Empty(t, e.Note)
				out = append(out, e.Kind)
			}
			return out
		}
		require.Equal(t, []string{"changed", "discarded", "paused"}, kinds(store.AuditFilter{}))
		require.Equal(t, []string{"changed", "discarded"}, kinds(store.AuditFilter{GoldenID: acme}))
		require.Equal(t, []string{"changed"}, kinds(store.AuditFilter{Field: "phone"}), "a field is not found in a longer name")
		require.Empty(t, kinds(store.AuditFilter{Field: "mobile%phone"}))
		require.Equal(t, []string{"discarded", "paused"}, kinds(store.AuditFilter{Actor: "ada"}))
		require.Equal(t, []string{"paused"}, kinds(store.AuditFilter{Operators: true}))
		require.Equal(t, []string{"changed"}, kinds(store.AuditFilter{Until: anHour.Add(time.Minute)}))
		require.Equal(t, []string{"discarded", "paused"}, kinds(store.AuditFilter{From: anHour.Add(time.Minute)}))
		require.Equal(t, []string{"changed"}, kinds(store.AuditFilter{System: "erp", RecordID: "7"}))

		got := list(store.AuditFilter{}, true)
		require.Equal(t, []audit.Field{phone}, got[0].Changes)
		require.Equal(t, "wrong number", got[1].Note)
		require.Equal(t, "maintenance", got[2].Note)

		// The key is destroyed: the values are gone, the chain holds, and what comes later is readable.
		erase(t, s, "DELETE FROM subject_key WHERE subject = $1", string(acme))
		note(t, s, store.Event{At: anHour, GoldenID: acme, Kind: "changed", Fields: []string{"phone"}, Changes: []audit.Field{phone}})
		got = list(store.AuditFilter{GoldenID: acme}, true)
		require.True(t, got[0].Erased && got[1].Erased)
		require.Empty(t, got[0].Changes)
		require.Equal(t, []audit.Field{phone}, got[2].Changes)
		require.Empty(t, problems(t, s))
	})
}

func erase(t *testing.T, s *store.Store, sql string, args ...any) {
	t.Helper()
	require.NoError(t, s.Tx(t.Context(), func(ctx context.Context, tx *store.Tx) error {
		res, err := tx.SQL().ExecContext(ctx, sql, args...)
		if err != nil {
			return err
		}
		n, err := res.RowsAffected()
		require.Positive(t, n)
		return err
	}))
}

func TestAudit_Tampering(t *testing.T) {
	t.Parallel()
	storetest.Schema.Each(t, func(t *testing.T, d *db.DB) {
		s := trail(t, d)
		for i := range 12 {
			note(t, s, store.Event{At: anHour, Kind: "changed", RecordID: fmt.Sprint(i)}, store.Event{At: anHour, Kind: "delivered", RecordID: fmt.Sprint(i)})
		}
		require.Empty(t, problems(t, s))
		boom := errors.New("boom")
		for name, sql := range map[string][]string{
			"changed":         {"UPDATE event SET reason = 'x' WHERE position = 7"},
			"re-dated":        {"UPDATE event SET at_us = at_us + 1 WHERE position = 7"},
			"signed by other": {"UPDATE event SET actor = 'eve' WHERE position = 7"},
			"removed":         {"DELETE FROM event WHERE position = 7"},
			"first removed":   {"DELETE FROM event WHERE position = 1"},
			"last removed":    {"DELETE FROM event WHERE position = 24"},
			"end cut off":     {"DELETE FROM event WHERE position >= 20", "UPDATE sequence SET value = 19 WHERE name = 'event'"},
			"reordered": {
				"UPDATE event SET position = 100 WHERE position = 7", "UPDATE event SET position = 7 WHERE position = 8",
				"UPDATE event SET position = 8 WHERE position = 100",
			},
			"beginning moved": {"DELETE FROM event WHERE position <= 7", "UPDATE audit_beginning SET position = 7, hash = (SELECT hash FROM event WHERE position = 8)"},
		} {
			err := s.Tx(t.Context(), func(ctx context.Context, tx *store.Tx) error {
				for _, q := range sql {
					_, err := tx.SQL().ExecContext(ctx, q)
					require.NoError(t, err, name)
				}
				r, err := audit.Walk(ctx, tx.Reader, audit.Cursor{}, 1<<20)
				require.NoError(t, err, name)
				require.NotEmpty(t, r.Problems, name)
				return boom
			})
			require.ErrorIs(t, err, boom)
		}
		require.Empty(t, problems(t, s), "all of that was taken back")
	})
}

func TestAudit_Trim(t *testing.T) {
	t.Parallel()
	storetest.Schema.Each(t, func(t *testing.T, d *db.DB) {
		s := trail(t, d)
		id, err := golden.NewID(golden.Customer, rand.Reader)
		require.NoError(t, err)
		old, young := store.Event{At: anHour, GoldenID: id, Kind: "changed", Note: "n"}, store.Event{At: anHour.Add(time.Hour), RecordID: "r", Kind: "young", Note: "n"}
		note(t, s, old, old, old, young)
		trim := func(limit int) (n int) {
			require.NoError(t, s.Tx(t.Context(), func(ctx context.Context, tx *store.Tx) error {
				n, err = tx.TrimEvents(ctx, anHour.Add(time.Minute), anHour.Add(2*time.Hour), limit)
				return err
			}))
			return n
		}
		require.Equal(t, 2, trim(2))
		require.Empty(t, problems(t, s))
		require.Equal(t, 1, count(t, s, "SELECT COUNT(*) FROM subject_key WHERE subject = $1", string(id)), "something is still sealed with it")
		require.Equal(t, 1, trim(10))
		require.Zero(t, trim(10))
		require.Empty(t, problems(t, s))
		require.Zero(t, count(t, s, "SELECT COUNT(*) FROM subject_key WHERE subject = $1", string(id)))
		got, err := s.Read().Audit(t.Context(), store.AuditFilter{}, true, 0, 10)
		require.NoError(t, err)
		require.Len(t, got, 3, "the young one and the two that say what was trimmed")
		require.Equal(t, "n", got[0].Note)
		note(t, s, young)
		require.Empty(t, problems(t, s))
	})
}

func count(t *testing.T, s *store.Store, sql string, args ...any) (n int) {
	t.Helper()
	require.NoError(t, s.Tx(t.Context(), func(ctx context.Context, tx *store.Tx) error {
		return tx.SQL().QueryRowContext(ctx, sql, args...).Scan(&n)
	}))
	return n
}

func TestAudit_ManyWriters(t *testing.T) {
	t.Parallel()
	storetest.Schema.Each(t, func(t *testing.T, d *db.DB) {
		s := trail(t, d)
		var g errgroup.Group
		boom := errors.New("boom")
		rounds := 30
		if testing.Short() {
			rounds = 3
		}
		for w := range 8 {
			g.Go(func() error {
				for i := range rounds {
					err := s.Tx(t.Context(), func(ctx context.Context, tx *store.Tx) error {
						if err := tx.AddEvents(ctx, []store.Event{{At: anHour, Kind: "a", RecordID: fmt.Sprint(w), Note: "n"}, {At: anHour, Kind: "b"}}); err != nil {
							return err
						}
						if i%3 == 0 {
							return boom // who fails leaves no hole
						}
						return nil
					})
					if err != nil && !errors.Is(err, boom) {
						return err
					}
				}
				return nil
			})
		}
		require.NoError(t, g.Wait())
		require.Empty(t, problems(t, s))
		head, err := s.Read().Head(t.Context())
		require.NoError(t, err)
		require.EqualValues(t, 8*(rounds-(rounds+2)/3)*2, head.Position)
	})
}

func TestTrimLetters(t *testing.T) {
	t.Parallel()
	storetest.Schema.Each(t, func(t *testing.T, d *db.DB) {
		s := trail(t, d)
		letter := func(id string) store.DeadLetter {
			return store.DeadLetter{ID: id, Direction: store.DirectionIntake, Ref: golden.Ref{System: "s", Object: golden.Customer, RecordID: id}, Parked: anHour}
		}
		n := 0
		require.NoError(t, s.Tx(t.Context(), func(ctx context.Context, tx *store.Tx) error {
			err := tx.Park(ctx, []store.DeadLetter{letter("open"), letter("old"), letter("young")})
			for id, at := range map[string]time.Time{"old": anHour, "young": anHour.Add(time.Hour)} {
				_, serr := tx.SettleDead(ctx, []string{id}, store.DeadResolved, "", at)
				err = errors.Join(err, serr)
			}
			if err == nil {
				n, err = tx.TrimLetters(ctx, anHour.Add(time.Minute), 10)
			}
			return err
		}))
		require.Equal(t, 1, n)
		left, err := s.Read().ListDeadLetters(t.Context(), "", true, time.Time{}, "", 10)
		require.NoError(t, err)
		require.Len(t, left, 2)
	})
}
