package storetest

import (
	"context"
	"errors"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store"
)

func matching(t *testing.T, s *store.Store) {
	r := s.Read()
	id := func(seed string) golden.ID {
		id, err := golden.DeriveID(golden.Customer, "matching/"+seed)
		require.NoError(t, err)
		return id
	}
	a, b, c := id("a"), id("b"), id("c")
	var first int64
	unit := func(n int64, id golden.ID, keys ...int64) store.MatchUnit {
		return store.MatchUnit{Number: first + n, GoldenID: id, Live: true, Systems: "erp=1", Record: []byte{1, 0, byte(n)}, Keys: keys}
	}
	tx(t, s, func(ctx context.Context, tx *store.Tx) error {
		var err error
		if first, err = tx.NextMatchUnits(ctx, golden.Customer, 3); err != nil {
			return err
		}
		return tx.PutMatchUnits(ctx, []store.MatchUnit{unit(0, a, math.MinInt64, 7), unit(1, b, math.MaxInt64), unit(2, c)})
	})
	next := int64(0)
	tx(t, s, func(ctx context.Context, tx *store.Tx) (err error) {
		next, err = tx.NextMatchUnits(ctx, golden.Customer, 1)
		return err
	})
	require.Equal(t, first+3, next, "no number is given out twice")

	units, err := r.MatchUnits(t.Context(), []golden.ID{a, id("unknown")})
	require.NoError(t, err)
	require.Equal(t, []store.MatchUnit{unit(0, a, math.MinInt64, 7)}, units, "keys keep all their bits")
	tx(t, s, func(ctx context.Context, tx *store.Tx) error {
		return tx.PutMatchUnits(ctx, []store.MatchUnit{{Number: first + 2, GoldenID: c, Joined: true, Systems: "salesforce=2"}})
	})
	units, err = r.MatchUnitsByNumber(t.Context(), []int64{first + 2})
	require.NoError(t, err)
	require.Len(t, units, 1)
	require.True(t, units[0].Joined)
	require.False(t, units[0].Live)
	require.Empty(t, units[0].Record)
	records, err := r.MatchRecords(t.Context(), []int64{first, first + 1})
	require.NoError(t, err)
	require.Equal(t, map[int64][]byte{first: {1, 0, 0}, first + 1: {1, 0, 1}}, records)

	matchKeys(t, s, first)
	matchPairs(t, s, first)
	standing(t, s, a, b, c)

	// What waits is taken once, when it is due.
	take := func(now int) (ids []golden.ID) {
		tx(t, s, func(ctx context.Context, tx *store.Tx) (err error) {
			ids, err = tx.TakeMatchDue(ctx, at(now), 10)
			return err
		})
		return ids
	}
	tx(t, s, func(ctx context.Context, tx *store.Tx) error {
		return errors.Join(tx.AddMatchDue(ctx, []golden.ID{a, b}, at(10)), tx.AddMatchDue(ctx, []golden.ID{a, c}, at(20)))
	})
	require.Empty(t, take(9))
	waits, err := r.MatchWaits(t.Context(), at(9))
	require.NoError(t, err)
	require.False(t, waits)
	require.ElementsMatch(t, []golden.ID{a, b}, take(10))
	require.Equal(t, []golden.ID{c}, take(20))
	require.Empty(t, take(30))
}

func standing(t *testing.T, s *store.Store, a, b, c golden.ID) {
	t.Helper()
	tx(t, s, func(ctx context.Context, tx *store.Tx) error {
		record := func(id, into golden.ID, deleted bool) *store.Golden {
			return &store.Golden{Record: golden.Record{ID: id, Object: golden.Customer, MergedInto: into, Deleted: deleted, Version: 1}}
		}
		return tx.PutGoldens(ctx, []*store.Golden{record(a, "", false), record(b, a, false), record(c, a, true)})
	})
	of := func(id golden.ID) *store.Standing {
		at, err := s.Read().Standing(t.Context(), id)
		require.NoError(t, err)
		return at
	}
	at := of(a)
	require.ElementsMatch(t, []golden.ID{b, c}, at.Below)
	require.Equal(t, []any{false, golden.ID("")}, []any{at.Deleted, at.MergedInto})
	require.Equal(t, &store.Standing{MergedInto: a}, of(b))
	require.Equal(t, &store.Standing{MergedInto: a, Deleted: true}, of(c))
	unknown, err := golden.DeriveID(golden.Customer, "matching/unknown")
	require.NoError(t, err)
	require.Nil(t, of(unknown))
}

func matchKeys(t *testing.T, s *store.Store, first int64) {
	r := s.Read()
	buckets := func() map[int64][]int64 {
		got, err := r.MatchBuckets(t.Context(), []int64{7, -7, 8})
		require.NoError(t, err)
		return got
	}
	blocks := []store.MatchBlock{{Key: 7, Unit: first}, {Key: 7, Unit: first + 1}, {Key: -7, Unit: first}}
	for range 2 { // doing it twice changes nothing
		tx(t, s, func(ctx context.Context, tx *store.Tx) error { return tx.AddMatchBlocks(ctx, blocks) })
		require.Equal(t, map[int64][]int64{7: {first, first + 1}, -7: {first}}, buckets())
	}
	tx(t, s, func(ctx context.Context, tx *store.Tx) error { return tx.DropMatchBlocks(ctx, blocks[1:2]) })
	require.Equal(t, map[int64][]int64{7: {first}, -7: {first}}, buckets())
	tx(t, s, func(ctx context.Context, tx *store.Tx) error {
		return errors.Join(tx.RetireMatchKeys(ctx, golden.Customer, []int64{7}), tx.RetireMatchKeys(ctx, golden.Customer, []int64{7}))
	})
	require.Equal(t, map[int64][]int64{-7: {first}}, buckets())
	common, err := r.MatchCommon(t.Context(), []int64{7, -7})
	require.NoError(t, err)
	require.Equal(t, map[int64]bool{7: true}, common)
}

func matchPairs(t *testing.T, s *store.Store, first int64) {
	r := s.Read()
	p, q := store.PairOf(first+1, first), store.PairOf(first+1, first+2)
	require.Equal(t, store.MatchPair{A: first, B: first + 1}, p)
	tx(t, s, func(ctx context.Context, tx *store.Tx) error {
		return tx.PutMatchEdges(ctx, []store.MatchEdge{{MatchPair: p, Bits: 0.1 + 0.2, Asked: true, Since: at(1)}, {MatchPair: q, Bits: -3.5, Asked: true, Since: at(2)}})
	})
	edges, err := r.MatchEdges(t.Context(), []int64{first, first + 1})
	require.NoError(t, err)
	require.Len(t, edges, 2, "each once, whichever end it is found by")
	asked, err := r.AskedPairs(t.Context(), golden.Customer, store.MatchEdge{}, 1)
	require.NoError(t, err)
	require.Equal(t, p, asked[0].MatchPair, "the most likely first")
	require.Equal(t, 0.1+0.2, asked[0].Bits, "to the last bit, or pages would begin at the wrong place") //nolint:testifylint // exactly
	rest, err := r.AskedPairs(t.Context(), "", asked[0], 10)
	require.NoError(t, err)
	require.Len(t, rest, 1)
	require.Equal(t, q, rest[0].MatchPair)
	tx(t, s, func(ctx context.Context, tx *store.Tx) error { return tx.DropMatchEdges(ctx, []store.MatchPair{q}) })
	edges, err = r.MatchEdges(t.Context(), []int64{first + 2})
	require.NoError(t, err)
	require.Empty(t, edges)

	say := func(same bool, note string) {
		tx(t, s, func(ctx context.Context, tx *store.Tx) error {
			return tx.PutMatchVerdicts(ctx, []store.MatchVerdict{{MatchPair: p, Same: same, Actor: "ada", Note: note, At: at(3)}})
		})
	}
	say(true, "first")
	say(false, "second")
	said, err := r.MatchVerdicts(t.Context(), []int64{first, first + 1})
	require.NoError(t, err)
	require.Len(t, said, 1, "the last word about a pair counts")
	require.False(t, said[0].Same)
	require.Equal(t, "second", said[0].Note)

	judged := map[float64]bool{}
	require.NoError(t, r.EachJudgedPair(t.Context(), golden.Customer, func(bits float64, same bool) { judged[bits] = same }))
	require.Equal(t, map[float64]bool{asked[0].Bits: false}, judged)
	var latest []int64
	require.NoError(t, r.EachLastMatchRecord(t.Context(), golden.Customer, 10, func(n int64, _ []byte) { latest = append(latest, n) }))
	require.Equal(t, []int64{first + 1, first}, latest, "the latest first, and only what can be found")

	tx(t, s, func(ctx context.Context, tx *store.Tx) error {
		return tx.AddMatchRegroups(ctx, []store.MatchRegroup{
			{At: at(100), GoldenID: "c_1", Late: true}, {At: at(100), GoldenID: "c_1"}, {At: at(50), GoldenID: "c_1", Late: true}, {At: at(100), GoldenID: "p_1", Late: true},
		})
	})
	n, err := r.LateRegroups(t.Context(), golden.Customer, at(60))
	require.NoError(t, err)
	require.EqualValues(t, 1, n)
	counts, err := r.CountMatching(t.Context(), golden.Customer)
	require.NoError(t, err)
	require.EqualValues(t, 2, counts.Units)
	require.EqualValues(t, 1, counts.Joined)
	require.EqualValues(t, 1, counts.Asked)
	require.EqualValues(t, 1, counts.Different)

	matchKinds(t, s, first)

	// Another model: what was found is thrown away, what people have said and what is joined stays.
	tx(t, s, func(ctx context.Context, tx *store.Tx) error {
		return errors.Join(tx.EmptyMatching(ctx, golden.Customer), tx.MatchAgain(ctx, golden.Customer, "m2", "ask", at(1)))
	})
	model, mode, err := r.MatchModel(t.Context(), golden.Customer)
	require.NoError(t, err)
	require.Equal(t, []string{"m2", "ask"}, []string{model, mode})
	counts, err = r.CountMatching(t.Context(), golden.Customer)
	require.NoError(t, err)
	require.Zero(t, counts.Units)
	require.Zero(t, counts.Asked)
	require.EqualValues(t, 1, counts.Joined)
	require.EqualValues(t, 1, counts.Different)
	tx(t, s, func(ctx context.Context, tx *store.Tx) error {
		_, err := tx.TakeMatchDue(ctx, at(1_000_000), 10_000)
		return err
	})
}

// matchKinds has contacts beside customers: each kind is counted, asked about and thrown away for itself.
func matchKinds(t *testing.T, s *store.Store, customer int64) {
	r := s.Read()
	id, err := golden.DeriveID(golden.Contact, "matching/contact")
	require.NoError(t, err)
	other, err := golden.DeriveID(golden.Contact, "matching/other contact")
	require.NoError(t, err)
	var first int64
	tx(t, s, func(ctx context.Context, tx *store.Tx) error {
		if first, err = tx.NextMatchUnits(ctx, golden.Contact, 2); err != nil {
			return err
		}
		return errors.Join(
			tx.PutMatchUnits(ctx, []store.MatchUnit{{Number: first, GoldenID: id, Live: true, Keys: []int64{5}}, {Number: first + 1, GoldenID: other, Live: true}}),
			tx.AddMatchBlocks(ctx, []store.MatchBlock{{Key: 5, Unit: first}}),
			tx.RetireMatchKeys(ctx, golden.Contact, []int64{6}),
			tx.PutMatchEdges(ctx, []store.MatchEdge{{MatchPair: store.PairOf(first, first+1), Bits: 9, Asked: true, Since: at(1)}}),
			tx.AddMatchDue(ctx, []golden.ID{id}, at(90)),
			tx.NoteMatching(ctx, golden.Contact, "m", "join"),
		)
	})
	require.Greater(t, first, customer)
	asked := func(obj golden.Object) (n int) {
		pairs, err := r.AskedPairs(t.Context(), obj, store.MatchEdge{}, 10)
		require.NoError(t, err)
		return len(pairs)
	}
	require.Equal(t, []int{1, 1, 2}, []int{asked(golden.Customer), asked(golden.Contact), asked("")})
	counts, err := r.CountMatching(t.Context(), golden.Contact)
	require.NoError(t, err)
	require.Equal(t, store.MatchCounts{Units: 2, Waiting: 1, Asked: 1}, counts)
	model, mode, err := r.MatchModel(t.Context(), golden.Contact)
	require.NoError(t, err)
	require.Equal(t, []string{"m", "join"}, []string{model, mode})

	tx(t, s, func(ctx context.Context, tx *store.Tx) error {
		return errors.Join(tx.EmptyMatching(ctx, golden.Contact), tx.DropMatchDueOf(ctx, golden.Contact))
	})
	counts, err = r.CountMatching(t.Context(), golden.Contact)
	require.NoError(t, err)
	require.Zero(t, counts)
	common, err := r.MatchCommon(t.Context(), []int64{6, 7})
	require.NoError(t, err)
	require.Equal(t, map[int64]bool{7: true}, common)
	require.Equal(t, []int{1, 0}, []int{asked(golden.Customer), asked(golden.Contact)})
}
