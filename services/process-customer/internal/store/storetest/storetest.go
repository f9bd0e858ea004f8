// Package storetest is what the rest of the service relies on from its database, run on every engine.
package storetest

import (
	"context"
	"crypto/rand"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/pkg/db"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store"
)

// Run checks a store on an empty database. Every theme uses ids of its own, so they share it.
func Run(t *testing.T, d *db.DB) {
	t.Helper()
	s, err := store.Open(t.Context(), d)
	require.NoError(t, err)
	_, err = store.Open(t.Context(), d)
	require.NoError(t, err, "opening again changes nothing")
	for name, theme := range map[string]func(*testing.T, *store.Store){
		"feed lease and fence":                     feedLease,
		"feed position and requested scan":         feedPosition,
		"feeds that count":                         feedsInUse,
		"inbox and settlement":                     inbox,
		"source records":                           sources,
		"intents":                                  intents,
		"golden records and match keys":            goldens,
		"what is shown of a golden record":         shown,
		"pending: coalescing, generations, leases": pending,
		"pending: many claim at once":              pendingRace,
		"pending: levels":                          pendingLevels,
		"deletions that wait for a person":         heldDeletions,
		"dead letters":                             deadLetters,
		"what would be written":                    shadows,
		"erasures and tombstones":                  erasures,
		"versions of dead letters":                 letterVersions,
		"events":                                   events,
		"ledger and purge":                         ledger,
		"ledger of deliveries":                     outflow,
		"what operators have paused":               control,
		"a failed transaction leaves nothing":      rollback,
		"dying between any two statements":         everyStatement,
		"paging while others write":                pagingUnderWrites,
		"the secret is made once":                  secret,
		"leases of a dead process are given back":  resetLeases,
		"rules in force and rules that wait":       ruleSets,
		"questions":                                questions,
		"moves of identity":                        moves,
		"comparisons":                              comparisons,
		"units, keys and edges of matching":        matching,
	} {
		t.Run(name, func(t *testing.T) { theme(t, s) })
	}
}

var epoch = time.Date(2026, 3, 1, 12, 0, 0, 123000, time.UTC)

func at(seconds int) time.Time { return epoch.Add(time.Duration(seconds) * time.Second) }

func tx(t *testing.T, s *store.Store, fn func(ctx context.Context, tx *store.Tx) error) {
	t.Helper()
	require.NoError(t, s.Tx(t.Context(), fn))
}

func rollback(t *testing.T, s *store.Store) {
	boom := errors.New("boom")
	err := s.Tx(t.Context(), func(ctx context.Context, tx *store.Tx) error {
		if err := tx.AddInbox(ctx, []store.Inbox{{System: "rollback", ChangeID: "1", State: store.Applied, Received: at(0)}}); err != nil {
			return err
		}
		return boom
	})
	require.ErrorIs(t, err, boom)
	require.Equal(t, store.Line{System: "rollback"}, line(t, s, "rollback"))

	// A statement may still run when its caller has gone on: nobody overlooks that it fails.
	key := store.Key{Object: golden.Customer, Kind: "rollback", Value: "1"}
	letter := store.DeadLetter{ID: "rollback"}
	for i, after := range []func(ctx context.Context, tx *store.Tx) error{
		func(context.Context, *store.Tx) error { return nil },
		func(ctx context.Context, tx *store.Tx) error {
			_, err := tx.SQL().ExecContext(ctx, "UPDATE sequence SET value = value WHERE name = 'rollback'")
			return err
		},
		func(ctx context.Context, tx *store.Tx) error {
			_, err := tx.AddKeys(ctx, []store.Owned{{Key: key, GoldenID: newID(t, golden.Customer)}})
			return err
		},
		func(ctx context.Context, tx *store.Tx) error {
			_, err := tx.Owners(ctx, []store.Key{key})
			return err
		},
	} {
		err := s.Tx(t.Context(), func(ctx context.Context, tx *store.Tx) error {
			return errors.Join(tx.Select(ctx, "rollback", []store.DeadLetter{letter, letter}, at(0), at(10)), after(ctx, tx))
		})
		require.True(t, db.IsUnique(err), "%d: %v", i, err)
		owners, err := s.Read().Owners(t.Context(), []store.Key{key})
		require.NoError(t, err)
		require.Empty(t, owners)
	}
}

func secret(t *testing.T, s *store.Store) {
	a, err := s.Secret(t.Context(), rand.Reader)
	require.NoError(t, err)
	require.Len(t, a, 32)
	b, err := s.Secret(t.Context(), rand.Reader)
	require.NoError(t, err)
	require.Equal(t, a, b)
}

func newID(t *testing.T, obj golden.Object) golden.ID {
	t.Helper()
	id, err := golden.NewID(obj, rand.Reader)
	require.NoError(t, err)
	return id
}
