package storetest

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store"
)

var errBroken = errors.New("the process died here")

// brokenAt returns a store that fails at the n-th statement and at every later one, as for a process that died, and
// how many statements there were.
func brokenAt(s *store.Store, n int) (*store.Store, *int) {
	count := 0
	return s.Through(func(_ context.Context, query string, args []any) (string, []any, error) {
		if count++; n > 0 && count >= n {
			return query, args, errBroken
		}
		return query, args, nil
	}), &count
}

// everyStatement breaks the transaction of an intake step, and that of a delivery, at each of their statements.
func everyStatement(t *testing.T, s *store.Store) {
	const system = "broken"
	id := newID(t, golden.Customer)
	ref := golden.Ref{System: system, Object: golden.Customer, RecordID: "b1"}
	step := func(ctx context.Context, tx *store.Tx) error {
		if err := tx.LockIdentity(ctx); err != nil {
			return err
		}
		if err := tx.EnsureFeed(ctx, system); err != nil {
			return err
		}
		f, held, err := tx.AcquireFeed(ctx, system, "me", at(0), time.Minute)
		if err != nil || !held {
			return errors.Join(err, errIf(!held))
		}
		f.Token = "after"
		_, err = tx.SaveFeed(ctx, f)
		g := &store.Golden{Record: golden.Record{ID: id, Object: golden.Customer, Values: golden.Values{golden.Name: "B"}, Version: 1, Created: at(0), Updated: at(0)}}
		return firstOf(err,
			func() error {
				return tx.PutSources(ctx, []*store.Source{{Ref: ref, GoldenID: id, Version: 1, EventTime: at(0)}})
			},
			func() error { return tx.PutGoldens(ctx, []*store.Golden{g}) },
			func() error {
				return tx.PutIntents(ctx, []store.Intent{{System: system, GoldenID: id, Sent: map[string][]store.Sent{golden.Name: {{Value: "B"}}}, At: at(0)}})
			},
			func() error {
				return tx.Mark(ctx, []store.Mark{{System: system, Object: golden.Customer, GoldenID: id}}, at(0))
			},
			func() error {
				return tx.AddEvents(ctx, []store.Event{{At: at(0), GoldenID: id, Kind: "created", System: system}})
			},
			func() error {
				return tx.AddInbox(ctx, []store.Inbox{{System: system, ChangeID: "c1", Object: golden.Customer, RecordID: "b1", GoldenID: id, State: store.Retrying, Received: at(0)}})
			},
		)
	}
	deliver := func(ctx context.Context, tx *store.Tx) error {
		claimed, err := tx.Claim(ctx, system, golden.Customer, store.LevelSync, at(1), time.Minute, 10)
		if err != nil {
			return err
		}
		_, err = tx.Done(ctx, system, claimed, store.Delivered)
		return firstOf(err,
			func() error {
				return tx.DropIntents(ctx, []store.Intent{{System: system, GoldenID: id}})
			},
			func() error { return tx.Settle(ctx, []golden.ID{id}) },
		)
	}
	before := look(t, s, system, id)
	after := breakEverywhere(t, s, step, func() { require.Equal(t, before, look(t, s, system, id)) }, func() string { return look(t, s, system, id) })
	require.Contains(t, after, "token after")
	require.Contains(t, after, "marks 1")
	last := breakEverywhere(t, s, deliver, func() { require.Equal(t, after, look(t, s, system, id)) }, func() string { return look(t, s, system, id) })
	require.Contains(t, last, "marks 0")
	require.Contains(t, last, "applied 1")
}

// breakEverywhere runs a transaction that dies at its first statement, at its second, and so on, until it gets through.
func breakEverywhere(t *testing.T, s *store.Store, fn func(context.Context, *store.Tx) error, untouched func(), done func() string) string {
	t.Helper()
	for n := 1; ; n++ {
		broken, count := brokenAt(s, n)
		err := broken.Tx(t.Context(), fn)
		if err == nil {
			require.Equal(t, n-1, *count)
			require.Greater(t, n, 3, "there were statements to die at")
			return done()
		}
		require.ErrorIs(t, err, errBroken, "statement %d", n)
		untouched()
	}
}

// look is everything that the transactions above touch.
func look(t *testing.T, s *store.Store, system string, id golden.ID) string {
	t.Helper()
	ctx, r := t.Context(), s.Read()
	f, err := r.Feed(ctx, system)
	if !errors.Is(err, store.ErrNotFound) {
		require.NoError(t, err)
	}
	rows, err := r.SourcesOf(ctx, []golden.ID{id})
	require.NoError(t, err)
	got, err := r.Goldens(ctx, []golden.ID{id})
	require.NoError(t, err)
	intents, err := r.Intents(ctx, system, []golden.ID{id})
	require.NoError(t, err)
	marks, err := r.Marked(ctx, []golden.ID{id})
	require.NoError(t, err)
	events, err := r.ListEvents(ctx, id, 0, 100)
	require.NoError(t, err)
	lines, err := r.Ledger(ctx)
	require.NoError(t, err)
	var line store.Line
	for _, l := range lines {
		if l.System == system {
			line = l
		}
	}
	require.True(t, line.Balanced(), "%+v", line)
	return fmt.Sprintf("token %s, rows %d, golden %d, intents %d, marks %d, events %d, received %d, retrying %d, applied %d", f.Token, len(rows), len(got), len(intents),
		len(marks[id]), len(events), line.Received, line.Retrying, line.Applied)
}

func errIf(failed bool) error {
	if failed {
		return errBroken
	}
	return nil
}

// firstOf runs fns until one fails.
func firstOf(err error, fns ...func() error) error {
	for _, fn := range fns {
		if err != nil {
			return err
		}
		err = fn()
	}
	return err
}

// pagingUnderWrites pages through the records that a scan did not meet while others are added and met: what is there
// all the time comes exactly once.
func pagingUnderWrites(t *testing.T, s *store.Store) {
	const system = "paging"
	put := func(name string, epoch int64) {
		tx(t, s, func(ctx context.Context, tx *store.Tx) error {
			return tx.PutSources(ctx, []*store.Source{{
				Ref: golden.Ref{System: system, Object: golden.Customer, RecordID: name}, Version: 1, EventTime: at(0), ScanEpoch: epoch,
			}})
		})
	}
	for i := range 20 {
		put(fmt.Sprintf("r%02d", i), 1)
	}
	var seen []string
	for after, page := "", 0; ; page++ {
		rows, err := s.Read().Unmet(t.Context(), system, golden.Customer, 2, after, 3)
		require.NoError(t, err)
		for _, r := range rows {
			seen = append(seen, r.Ref.RecordID)
			after = r.Ref.RecordID
		}
		if len(rows) < 3 {
			break
		}
		put(fmt.Sprintf("a%02d", page), 1)         // behind us
		put(fmt.Sprintf("r%02d", 2+3*page), 2)     // read and met meanwhile
		put(fmt.Sprintf("%s+", after), 2)          // new and met: not to be asked for
		put(fmt.Sprintf("s%02d", 99-page%2*50), 2) // far ahead, met
	}
	require.Len(t, seen, 20)
	require.IsIncreasing(t, seen)
}
