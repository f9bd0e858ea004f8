package storetest

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/pkg/db"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store"
)

func inbox(t *testing.T, s *store.Store) {
	const system = "inbox"
	id := newID(t, golden.Customer)
	row := func(change, state string) store.Inbox {
		return store.Inbox{System: system, ChangeID: change, Object: golden.Customer, RecordID: "r", GoldenID: id, State: state, Received: at(0)}
	}
	tx(t, s, func(ctx context.Context, tx *store.Tx) error {
		return tx.AddInbox(ctx, []store.Inbox{row("1", store.Retrying), row("2", store.Unchanged), row("3", store.Retrying)})
	})
	seen, err := s.Read().Seen(t.Context(), system, []string{"1", "2", "9"})
	require.NoError(t, err)
	require.Equal(t, map[string]golden.ID{"1": id, "2": id}, seen)
	err = s.Tx(t.Context(), func(ctx context.Context, tx *store.Tx) error {
		return tx.AddInbox(ctx, []store.Inbox{row("1", store.Applied)})
	})
	require.True(t, db.IsUnique(err), "%v", err)

	settle := func() store.Line {
		tx(t, s, func(ctx context.Context, tx *store.Tx) error { return tx.Settle(ctx, []golden.ID{id}) })
		return line(t, s, system)
	}
	mark := store.Mark{System: "target", Object: golden.Customer, GoldenID: id}
	letter := store.DeadLetter{
		ID: "d-inbox", Direction: store.DirectionDeliver, Ref: golden.Ref{System: "target", Object: golden.Customer}, GoldenID: id, Reason: "R",
		Attempts: 1, Parked: at(1),
	}
	tx(t, s, func(ctx context.Context, tx *store.Tx) error { return tx.Mark(ctx, []store.Mark{mark}, at(0)) })
	require.EqualValues(t, 2, settle().Retrying, "a mark is left")
	tx(t, s, func(ctx context.Context, tx *store.Tx) error { return tx.Park(ctx, []store.DeadLetter{letter}) })
	require.EqualValues(t, 2, settle().Parked, "a dead letter holds them")
	tx(t, s, func(ctx context.Context, tx *store.Tx) error {
		_, err := tx.SettleDead(ctx, []string{"d-inbox"}, store.DeadResolved, "", at(2))
		return err
	})
	require.EqualValues(t, 2, settle().Retrying)
	tx(t, s, func(ctx context.Context, tx *store.Tx) error {
		claimed, err := tx.Claim(ctx, "target", golden.Customer, store.LevelSync, at(3), time.Minute, 10)
		if err == nil {
			_, err = tx.Done(ctx, "target", claimed, store.Delivered)
		}
		return err
	})
	got := settle()
	require.EqualValues(t, 2, got.Applied)
	require.EqualValues(t, 1, got.Unchanged, "what is settled stays")
	require.True(t, got.Balanced())
}

func events(t *testing.T, s *store.Store) {
	id := newID(t, golden.Customer)
	e := store.Event{At: at(1), GoldenID: id, Kind: "changed", System: "s", RecordID: "r", ChangeID: "c", Fields: []string{"a", "b"}, Reason: "R", Traceparent: "tp"}
	tx(t, s, func(ctx context.Context, tx *store.Tx) error {
		return tx.AddEvents(ctx, []store.Event{e, {At: at(2), GoldenID: id, Kind: "delivered"}})
	})
	tx(t, s, func(ctx context.Context, tx *store.Tx) error {
		return tx.AddEvents(ctx, []store.Event{{At: at(3), GoldenID: id, Kind: "last"}})
	})
	got, err := s.Read().ListEvents(t.Context(), id, 0, 10)
	require.NoError(t, err)
	require.Len(t, got, 3)
	require.Less(t, got[0].Position, got[1].Position)
	require.Less(t, got[1].Position, got[2].Position)
	e.Position = got[0].Position
	require.Equal(t, e, got[0])
	rest, err := s.Read().ListEvents(t.Context(), id, got[0].Position, 1)
	require.NoError(t, err)
	require.Equal(t, got[1:2], rest)
}

func ledger(t *testing.T, s *store.Store) {
	const system = "ledger"
	row := func(change, state string, echo bool, received time.Time) store.Inbox {
		return store.Inbox{System: system, ChangeID: change, State: state, Echo: echo, Received: received}
	}
	tx(t, s, func(ctx context.Context, tx *store.Tx) error {
		err := tx.AddInbox(ctx, []store.Inbox{
			row("1", store.Applied, false, at(0)), row("2", store.Unchanged, true, at(0)), row("3", store.Parked, false, at(0)),
			row("4", store.Refused, false, at(0)), row("5", store.Superseded, false, at(50)), row("6", store.Retrying, false, at(0)),
		})
		tx.AddTotals("duplicates", map[string]int64{system: 3})
		return err
	})
	want := store.Line{System: system, Received: 6, Applied: 1, Superseded: 1, Unchanged: 1, Retrying: 1, Parked: 1, Refused: 1, Duplicates: 3, Echoes: 1}
	require.Equal(t, want, line(t, s, system))
	n := 0
	tx(t, s, func(ctx context.Context, tx *store.Tx) error {
		var err error
		n, err = tx.Purge(ctx, at(40), 1000)
		return err
	})
	require.GreaterOrEqual(t, n, 3)
	require.Equal(t, want, line(t, s, system), "forgetting changes keeps their counts")
	seen, err := s.Read().Seen(t.Context(), system, []string{"1", "2", "3", "4", "5", "6"})
	require.NoError(t, err)
	require.Len(t, seen, 3, "what is open or young stays")
	tx(t, s, func(_ context.Context, tx *store.Tx) error {
		tx.AddTotals("received", map[string]int64{system: 1})
		return nil
	})
	got := line(t, s, system)
	require.False(t, got.Balanced(), "a change that is counted and in no state shows")
}

func line(t *testing.T, s *store.Store, system string) store.Line {
	t.Helper()
	lines, err := s.Read().Ledger(t.Context())
	require.NoError(t, err)
	for _, l := range lines {
		if l.System == system {
			return l
		}
	}
	return store.Line{System: system}
}
