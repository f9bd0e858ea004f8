// Package storetest is what the rest of the service relies on from its database, run on every engine.
package storetest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

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
		"inbox and settlement":                     inbox,
		"source records":                           sources,
		"intents":                                  intents,
		"golden records and match keys":            goldens,
		"what is shown of a golden record":         shown,
		"pending: coalescing, generations, leases": pending,
		"pending: many claim at once":              pendingRace,
		"dead letters":                             deadLetters,
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

func feedLease(t *testing.T, s *store.Store) {
	const system = "lease"
	acquire := func(owner string, now time.Time) (f store.Feed, ok bool) {
		tx(t, s, func(ctx context.Context, tx *store.Tx) error {
			if err := tx.EnsureFeed(ctx, system); err != nil {
				return err
			}
			var err error
			f, ok, err = tx.AcquireFeed(ctx, system, owner, now, 30*time.Second)
			return err
		})
		return f, ok
	}
	_, err := s.Read().Feed(t.Context(), system)
	require.ErrorIs(t, err, store.ErrNotFound)
	a, ok := acquire("a", at(0))
	require.True(t, ok)
	require.Equal(t, store.ScanNeeded, a.Scan, "a new system is read first")
	_, ok = acquire("b", at(29))
	require.False(t, ok, "it is taken")
	tx(t, s, func(ctx context.Context, tx *store.Tx) error {
		_, err := tx.RenewFeed(ctx, system, a.Fence, at(20), 30*time.Second)
		return err
	})
	_, ok = acquire("b", at(40))
	require.False(t, ok, "it was renewed")
	b, ok := acquire("b", at(51))
	require.True(t, ok, "the lease has ended")
	require.Greater(t, b.Fence, a.Fence)

	a.Token = "stale"
	require.ErrorIs(t, s.Tx(t.Context(), func(ctx context.Context, tx *store.Tx) error { _, err := tx.SaveFeed(ctx, a); return err }), store.ErrFenced)
	require.ErrorIs(t, s.Tx(t.Context(), func(ctx context.Context, tx *store.Tx) error {
		_, err := tx.RenewFeed(ctx, system, a.Fence, at(52), time.Minute)
		return err
	}), store.ErrFenced)
	tx(t, s, func(ctx context.Context, tx *store.Tx) error { return tx.ReleaseFeed(ctx, system, a.Fence) })
	_, ok = acquire("c", at(53))
	require.False(t, ok, "who was fenced off releases nothing")
	tx(t, s, func(ctx context.Context, tx *store.Tx) error { return tx.ReleaseFeed(ctx, system, b.Fence) })
	_, ok = acquire("c", at(53))
	require.True(t, ok)
}

func feedPosition(t *testing.T, s *store.Store) {
	const system = "position"
	var f store.Feed
	tx(t, s, func(ctx context.Context, tx *store.Tx) error {
		err := tx.EnsureFeed(ctx, system)
		if err == nil {
			f, _, err = tx.AcquireFeed(ctx, system, "me", at(0), time.Minute)
		}
		return err
	})
	f.Token, f.State, f.Scan, f.Phase, f.Cursor, f.Epoch, f.Scanned = "t1", store.FeedScanning, store.ScanRunning, "customer", "p2", 1, 7
	f.LastMessage, f.LastCommit, f.Position, f.Resume = at(5), at(4), at(3), at(9)
	save := func(next store.Feed) (got store.Feed) {
		tx(t, s, func(ctx context.Context, tx *store.Tx) error {
			var err error
			got, err = tx.SaveFeed(ctx, next)
			return err
		})
		return got
	}
	require.Equal(t, f, save(f))
	request := func() (started bool) {
		tx(t, s, func(ctx context.Context, tx *store.Tx) error {
			var err error
			started, err = tx.RequestScan(ctx, system)
			return err
		})
		return started
	}
	require.True(t, request(), "the one that is running may have passed what this one is about")
	require.Equal(t, store.ScanNeeded, save(f).Scan, "a page of the old one does not take the request back")
	f.Scan, f.Epoch = store.ScanRunning, f.Epoch+1
	require.Equal(t, store.ScanRunning, save(f).Scan, "the new one does")
	f.Scan, f.Complete = store.ScanDone, true
	require.Equal(t, store.ScanDone, save(f).Scan)
	require.True(t, request())
	require.False(t, request())
	require.Equal(t, store.ScanNeeded, save(f).Scan, "a request is not overwritten by somebody who has not seen it")
	f.Scan, f.Epoch = store.ScanRunning, f.Epoch+1
	require.Equal(t, store.ScanRunning, save(f).Scan)
	older := f
	older.LastCommit = at(1)
	require.Equal(t, at(4), save(older).LastCommit, "times do not go back")
}

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
		claimed, err := tx.Claim(ctx, "target", golden.Customer, at(3), time.Minute, 10)
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

func sources(t *testing.T, s *store.Store) {
	const system = "sources"
	id := newID(t, golden.Contact)
	rec := &store.Source{
		Ref: golden.Ref{System: system, Object: golden.Contact, RecordID: "003"}, GoldenID: id, ParentID: "001", ParentOpen: true, ExternalID: "x",
		Version: 7, EventTime: at(1), Shadow: golden.Values{golden.LastName: "Ä\"\n"}, LastChangeID: "c", MergedInto: "9",
		Claims: map[string][]golden.Claim{golden.LastName: {{
			Field: golden.LastName, Value: "Ä", Ref: golden.Ref{System: system, Object: golden.Contact, RecordID: "003"}, Version: 7, EventTime: at(1), ChangeID: "c",
		}}},
		Rewritten: map[string]store.Rewrite{golden.Phone: {Wrote: "1", Holds: "2", Times: 3}},
	}
	put := func(r *store.Source) {
		tx(t, s, func(ctx context.Context, tx *store.Tx) error { return tx.PutSources(ctx, []*store.Source{r}) })
	}
	put(rec)
	r := s.Read()
	got, err := r.Sources(t.Context(), system, golden.Contact, []string{"003", "004"})
	require.NoError(t, err)
	require.Equal(t, []*store.Source{rec}, got)
	got, err = r.Sources(t.Context(), system, golden.Customer, []string{"003"})
	require.NoError(t, err)
	require.Empty(t, got, "another kind of record")
	got, err = r.Orphans(t.Context(), system, []string{"001"})
	require.NoError(t, err)
	require.Len(t, got, 1)
	next := rec.Clone()
	next.ParentOpen, next.Deleted = false, true
	put(next)
	got, err = r.SourcesOf(t.Context(), []golden.ID{id})
	require.NoError(t, err)
	require.Equal(t, []*store.Source{next}, got)
	got, err = r.Orphans(t.Context(), system, []string{"001"})
	require.NoError(t, err)
	require.Empty(t, got)

	var many []*store.Source
	for i := range 450 { // more than one statement holds
		c := rec.Clone()
		c.Ref.RecordID = fmt.Sprintf("m%03d", i)
		many = append(many, c)
	}
	tx(t, s, func(ctx context.Context, tx *store.Tx) error {
		if err := tx.PutSources(ctx, many); err != nil {
			return err
		}
		return tx.Meet(ctx, system, golden.Contact, 4, []string{"m000", "m002"})
	})
	unmet, err := r.Unmet(t.Context(), system, golden.Contact, 4, "", 2)
	require.NoError(t, err)
	require.Equal(t, []string{"m001", "m003"}, []string{unmet[0].Ref.RecordID, unmet[1].Ref.RecordID}, "met and deleted ones are left out")
	unmet, err = r.Unmet(t.Context(), system, golden.Contact, 4, "m003", 1000)
	require.NoError(t, err)
	require.Len(t, unmet, 446)
}

func intents(t *testing.T, s *store.Store) {
	id := newID(t, golden.Customer)
	in := store.Intent{System: "intents", GoldenID: id, Sent: map[string][]store.Sent{golden.Name: {{Value: "A"}, {Value: "B", Acked: true, Open: true}}}, Late: map[string][]string{golden.Name: {"C"}, golden.Phone: {""}}, At: at(1)}
	tx(t, s, func(ctx context.Context, tx *store.Tx) error { return tx.PutIntents(ctx, []store.Intent{in}) })
	got, err := s.Read().Intents(t.Context(), "intents", []golden.ID{id})
	require.NoError(t, err)
	require.Equal(t, []store.Intent{in}, got)
	tx(t, s, func(ctx context.Context, tx *store.Tx) error { return tx.DropIntents(ctx, []store.Intent{in}) })
	got, err = s.Read().Intents(t.Context(), "intents", []golden.ID{id})
	require.NoError(t, err)
	require.Empty(t, got)
}

func shown(t *testing.T, s *store.Store) {
	r := s.Brief()
	id, other := newID(t, golden.Customer), newID(t, golden.Customer)
	_, err := r.Shown(t.Context(), id)
	require.ErrorIs(t, err, store.ErrNotFound)
	g := &store.Golden{Record: golden.Record{
		ID: id, Object: golden.Customer, Values: golden.Values{golden.Name: "Ä \"GmbH\""}, Version: 3, Created: at(1), Updated: at(2),
	}, NameKey: "shown"}
	tx(t, s, func(ctx context.Context, tx *store.Tx) error { return tx.PutGoldens(ctx, []*store.Golden{g}) })
	got, err := r.Shown(t.Context(), id)
	require.NoError(t, err)
	require.Equal(t, g.Record, got.Golden.Record)
	require.Empty(t, got.Links)
	require.Empty(t, got.Marked)

	record := func(golden golden.ID, system, record string, deleted bool) *store.Source {
		return &store.Source{Ref: ref(system, record), GoldenID: golden, Deleted: deleted}
	}
	tx(t, s, func(ctx context.Context, tx *store.Tx) error {
		if err := tx.PutSources(ctx, []*store.Source{
			record(id, "shown-b", "2", false), record(id, "shown-b", "1", true), record(id, "shown-a", "9", false), record(other, "shown-a", "8", false),
		}); err != nil {
			return err
		}
		return tx.Mark(ctx, []store.Mark{
			{System: "shown-b", Object: golden.Customer, GoldenID: id},
			{System: "shown-a", Object: golden.Customer, GoldenID: id},
			{System: "shown-c", Object: golden.Customer, GoldenID: other},
		}, at(3))
	})
	got, err = r.Shown(t.Context(), id)
	require.NoError(t, err)
	require.Equal(t, []store.Link{{Ref: ref("shown-a", "9")}, {Ref: ref("shown-b", "1"), Deleted: true}, {Ref: ref("shown-b", "2")}}, got.Links)
	require.Equal(t, []string{"shown-a", "shown-b"}, got.Marked)
	links, err := r.LinksOf(t.Context(), []golden.ID{id, other})
	require.NoError(t, err)
	require.Equal(t, map[golden.ID][]store.Link{id: got.Links, other: {{Ref: ref("shown-a", "8")}}}, links)
	_, err = r.Shown(t.Context(), other)
	require.ErrorIs(t, err, store.ErrNotFound, "records and marks alone are no golden record")

	g.MergedInto, g.Deleted, g.Version = other, true, 4
	tx(t, s, func(ctx context.Context, tx *store.Tx) error {
		if err := tx.PutGoldens(ctx, []*store.Golden{g}); err != nil {
			return err
		}
		seen, err := tx.Shown(ctx, id)
		require.NoError(t, err)
		require.Equal(t, g.Record, seen.Golden.Record, "a transaction sees what it wrote")
		return nil
	})
}

func ref(system, record string) golden.Ref {
	return golden.Ref{System: system, Object: golden.Customer, RecordID: record}
}

func goldens(t *testing.T, s *store.Store) {
	parent := newID(t, golden.Customer)
	record := func(id golden.ID, name string) *store.Golden {
		return &store.Golden{Record: golden.Record{
			ID: id, Object: id.Object(), Values: golden.Values{golden.Name: name}, Version: 1, Created: at(1), Updated: at(1),
		}, NameKey: "gs " + name}
	}
	a := record(parent, "alpha")
	b := record(newID(t, golden.Customer), "beta")
	c := record(newID(t, golden.Contact), "c")
	c.Values[golden.Parent] = string(parent)
	put := func(g ...*store.Golden) {
		tx(t, s, func(ctx context.Context, tx *store.Tx) error { return tx.PutGoldens(ctx, g) })
	}
	put(a, b, c)
	r := s.Read()
	got, err := r.Goldens(t.Context(), []golden.ID{a.ID})
	require.NoError(t, err)
	require.Equal(t, []*store.Golden{a}, got)
	list, err := r.ListGoldens(t.Context(), golden.Customer, "gs al", "", 10)
	require.NoError(t, err)
	require.Equal(t, []*store.Golden{a}, list)
	list, err = r.ListGoldens(t.Context(), golden.Customer, "gs", "", 10)
	require.NoError(t, err)
	require.Len(t, list, 2)
	require.Less(t, list[0].ID, list[1].ID)
	list, err = r.ListGoldens(t.Context(), golden.Customer, "gs", list[0].ID, 10)
	require.NoError(t, err)
	require.Len(t, list, 1, "the page after the first")
	children, err := r.ListChildren(t.Context(), parent, "", 10)
	require.NoError(t, err)
	require.Equal(t, []*store.Golden{c}, children)

	gone := b.Clone()
	gone.Deleted, gone.Version = true, 2
	put(gone)
	list, err = r.ListGoldens(t.Context(), golden.Customer, "gs", "", 10)
	require.NoError(t, err)
	require.Equal(t, []*store.Golden{a}, list, "deleted ones are not listed")
	counts, err := r.CountGoldens(t.Context())
	require.NoError(t, err)
	require.GreaterOrEqual(t, counts[golden.Customer], int64(1))

	key := store.Key{Object: golden.Customer, Kind: "tax_id", Value: t.Name()}
	tx(t, s, func(ctx context.Context, tx *store.Tx) error {
		return errors.Join(tx.AddKeys(ctx, []store.Owned{{Key: key, GoldenID: a.ID}}), tx.AddKeys(ctx, []store.Owned{{Key: key, GoldenID: b.ID}}))
	})
	owners, err := r.Owners(t.Context(), []store.Key{key, {Object: golden.Contact, Kind: "tax_id", Value: t.Name()}})
	require.NoError(t, err)
	require.Equal(t, map[store.Key]golden.ID{key: a.ID}, owners, "the first owner keeps a key")
	tx(t, s, func(ctx context.Context, tx *store.Tx) error {
		return tx.DropKeys(ctx, []store.Owned{{Key: key, GoldenID: b.ID}})
	})
	kept, err := r.KeysOf(t.Context(), []golden.ID{a.ID})
	require.NoError(t, err)
	require.Len(t, kept, 1, "nobody loses the key of another")
}

func pending(t *testing.T, s *store.Store) {
	const system = "pending"
	id := newID(t, golden.Customer)
	mark := func(now time.Time, cause string) {
		tx(t, s, func(ctx context.Context, tx *store.Tx) error {
			return tx.Mark(ctx, []store.Mark{{System: system, Object: golden.Customer, GoldenID: id, Traceparent: cause}}, now)
		})
	}
	claim := func(now time.Time) (out []store.Claimed) {
		tx(t, s, func(ctx context.Context, tx *store.Tx) error {
			var err error
			out, err = tx.Claim(ctx, system, golden.Customer, now, time.Minute, 10)
			return err
		})
		return out
	}
	done := func(c []store.Claimed) (gone []golden.ID) {
		tx(t, s, func(ctx context.Context, tx *store.Tx) error {
			var err error
			gone, err = tx.Done(ctx, system, c, store.Delivered)
			return err
		})
		return gone
	}
	mark(at(0), "first")
	for range 9 {
		mark(at(0), "later")
	}
	due, err := s.Read().Due(t.Context(), system, golden.Customer, at(0))
	require.NoError(t, err)
	require.True(t, due)
	for n, want := range map[int]bool{1: true, 2: false} {
		enough, err := s.Read().DueAtLeast(t.Context(), system, golden.Customer, at(0), n)
		require.NoError(t, err)
		require.Equal(t, want, enough, n)
	}
	first := claim(at(1))
	require.Len(t, first, 1, "ten edits are one delivery")
	require.Equal(t, at(0), first[0].First)
	require.Equal(t, "first", first[0].Traceparent, "a delivery leads to what it was first made for")
	require.Empty(t, claim(at(1)), "it is leased")
	mark(at(2), "during")
	require.Empty(t, done(first), "an edit during the delivery keeps the mark")
	second := claim(at(3))
	require.Len(t, second, 1, "and it is due at once")
	require.Equal(t, "during", second[0].Traceparent)
	require.Empty(t, claim(at(62)))
	third := claim(at(64))
	require.Len(t, third, 1, "the lease has ended")
	require.Empty(t, done(second), "whose lease has ended removes nothing")

	retry := store.Retry{Claimed: third[0], Due: at(100), Reason: "LOCKED", Postponed: true}
	retry.Attempt = 4
	tx(t, s, func(ctx context.Context, tx *store.Tx) error { return tx.Again(ctx, system, []store.Retry{retry}) })
	require.Empty(t, claim(at(99)))
	tx(t, s, func(ctx context.Context, tx *store.Tx) error {
		g := &store.Golden{Record: golden.Record{ID: id, Object: golden.Customer, Version: 1, Values: golden.Values{golden.Parent: "c_wake"}}}
		if err := tx.PutGoldens(ctx, []*store.Golden{g}); err != nil {
			return err
		}
		return tx.Wake(ctx, system, []golden.ID{"c_wake"}, at(70))
	})
	fourth := claim(at(71))
	require.Len(t, fourth, 1, "its parent woke it")
	require.Equal(t, 4, fourth[0].Attempt)
	backlogs, err := s.Read().Backlogs(t.Context())
	require.NoError(t, err)
	require.Contains(t, backlogs, store.Backlog{System: system, Pending: 1, Retrying: 1, Oldest: at(0)})
	next, err := s.Read().NextDue(t.Context(), system)
	require.NoError(t, err)
	require.Equal(t, at(131), next)
	require.Equal(t, []golden.ID{id}, done(fourth))
	marked, err := s.Read().Marked(t.Context(), []golden.ID{id})
	require.NoError(t, err)
	require.Empty(t, marked)
}

func pendingRace(t *testing.T, s *store.Store) {
	const system, n = "race", 300
	marks := make([]store.Mark, n)
	for i := range marks {
		marks[i] = store.Mark{System: system, Object: golden.Customer, GoldenID: golden.ID(fmt.Sprintf("c_race%d", i))}
	}
	tx(t, s, func(ctx context.Context, tx *store.Tx) error { return tx.Mark(ctx, marks, at(0)) })
	var mu sync.Mutex
	got := map[golden.ID]int{}
	var g errgroup.Group
	for range 4 {
		g.Go(func() error {
			for {
				var claimed []store.Claimed
				err := s.Tx(context.Background(), func(ctx context.Context, tx *store.Tx) error {
					var err error
					claimed, err = tx.Claim(ctx, system, golden.Customer, at(1), time.Minute, 20)
					return err
				})
				if err != nil || len(claimed) == 0 {
					return err
				}
				if len(claimed) > 20 {
					return fmt.Errorf("%d claimed", len(claimed))
				}
				mu.Lock()
				for _, c := range claimed {
					got[c.GoldenID]++
				}
				mu.Unlock()
			}
		})
	}
	require.NoError(t, g.Wait())
	require.Len(t, got, n)
	for id, times := range got {
		require.Equal(t, 1, times, "%s", id)
	}
}

func deadLetters(t *testing.T, s *store.Store) {
	id := newID(t, golden.Customer)
	ref := golden.Ref{System: "dead", Object: golden.Customer, RecordID: "9"}
	letter := func(name, direction, reason string) store.DeadLetter {
		return store.DeadLetter{ID: name, Direction: direction, Ref: ref, GoldenID: id, Reason: reason, Attempts: 1, Parked: at(1)}
	}
	park := func(l ...store.DeadLetter) {
		tx(t, s, func(ctx context.Context, tx *store.Tx) error { return tx.Park(ctx, l) })
	}
	park(letter("dl1", store.DirectionDeliver, "A"), letter("dl2", store.DirectionIntake, "A"))
	park(letter("dl3", store.DirectionDeliver, "B"), letter("dl4", store.DirectionIntake, "B"))
	r := s.Read()
	list, err := r.ListDeadLetters(t.Context(), "dead", false, time.Time{}, "", 10)
	require.NoError(t, err)
	require.Len(t, list, 2, "one open letter for a delivery, one for a record")
	require.Equal(t, []string{"dl1", "dl2"}, []string{list[0].ID, list[1].ID})
	require.Equal(t, "B", list[0].Reason)
	require.Equal(t, 2, list[0].Attempts)
	page, err := r.ListDeadLetters(t.Context(), "dead", false, list[0].Parked, list[0].ID, 10)
	require.NoError(t, err)
	require.Equal(t, list[1:], page)
	counts, _, err := r.CountDead(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, 1, counts[store.DirectionDeliver]["dead"])

	settle := func(state string) (moved []string) {
		tx(t, s, func(ctx context.Context, tx *store.Tx) error {
			var err error
			moved, err = tx.SettleDead(ctx, []string{"dl1"}, state, "why", at(3))
			return err
		})
		return moved
	}
	require.Equal(t, []string{"dl1"}, settle(store.DeadDiscarded))
	require.Empty(t, settle(store.DeadRetried), "it is settled once")
	got, err := r.DeadLetter(t.Context(), "dl1")
	require.NoError(t, err)
	require.Equal(t, store.DeadDiscarded, got.State)
	require.Equal(t, "why", got.Note)
	_, err = r.DeadLetter(t.Context(), "none")
	require.ErrorIs(t, err, store.ErrNotFound)
	park(letter("dl5", store.DirectionDeliver, "C"))
	open, err := r.OpenDeliver(t.Context(), "dead", []golden.ID{id})
	require.NoError(t, err)
	require.Equal(t, "dl5", open[id].ID, "a new letter after the old one was settled")
	intake, err := r.OpenIntake(t.Context(), "dead", []string{"9"})
	require.NoError(t, err)
	require.Len(t, intake, 1)
	named, err := r.OpenLetters(t.Context(), []string{"dl1", "dl2"})
	require.NoError(t, err)
	require.Len(t, named, 1)
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
		return errors.Join(err, tx.AddTotals(ctx, "duplicates", map[string]int64{system: 3}))
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
	tx(t, s, func(ctx context.Context, tx *store.Tx) error {
		return tx.AddTotals(ctx, "received", map[string]int64{system: 1})
	})
	got := line(t, s, system)
	require.False(t, got.Balanced(), "a change that is counted and in no state shows")
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
}

func secret(t *testing.T, s *store.Store) {
	a, err := s.Secret(t.Context(), rand.Reader)
	require.NoError(t, err)
	require.Len(t, a, 32)
	b, err := s.Secret(t.Context(), rand.Reader)
	require.NoError(t, err)
	require.Equal(t, a, b)
}

func resetLeases(t *testing.T, s *store.Store) {
	const system = "reset"
	id := newID(t, golden.Customer)
	tx(t, s, func(ctx context.Context, tx *store.Tx) error {
		if err := tx.EnsureFeed(ctx, system); err != nil {
			return err
		}
		if _, _, err := tx.AcquireFeed(ctx, system, "dead", at(0), time.Hour); err != nil {
			return err
		}
		if err := tx.Mark(ctx, []store.Mark{{System: system, Object: golden.Customer, GoldenID: id}}, at(0)); err != nil {
			return err
		}
		_, err := tx.Claim(ctx, system, golden.Customer, at(0), time.Hour, 1)
		return err
	})
	tx(t, s, func(ctx context.Context, tx *store.Tx) error { return tx.ResetLeases(ctx) })
	tx(t, s, func(ctx context.Context, tx *store.Tx) error {
		_, ok, err := tx.AcquireFeed(ctx, system, "new", at(1), time.Hour)
		require.True(t, ok)
		require.NoError(t, err)
		claimed, err := tx.Claim(ctx, system, golden.Customer, at(1), time.Hour, 1)
		require.Len(t, claimed, 1)
		return err
	})
}

func newID(t *testing.T, obj golden.Object) golden.ID {
	t.Helper()
	id, err := golden.NewID(obj, rand.Reader)
	require.NoError(t, err)
	return id
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
