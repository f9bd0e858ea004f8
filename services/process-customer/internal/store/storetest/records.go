package storetest

import (
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store"
)

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

	// Each that an index knows a record by, changed alone.
	next = next.Clone()
	next.ParentOpen = true
	put(next)
	next = next.Clone()
	next.ParentID = "002"
	put(next)
	got, err = r.Orphans(t.Context(), system, []string{"002"})
	require.NoError(t, err)
	require.Equal(t, []*store.Source{next}, got)
	next = next.Clone()
	next.MergedInto = "10"
	put(next)
	got, err = r.LosersTo(t.Context(), system, golden.Contact, []string{"10"})
	require.NoError(t, err)
	require.Equal(t, []*store.Source{next}, got)
	moved := next.Clone()
	moved.GoldenID = newID(t, golden.Contact)
	put(moved)
	got, err = r.SourcesOf(t.Context(), []golden.ID{moved.GoldenID})
	require.NoError(t, err)
	require.Equal(t, []*store.Source{moved}, got)
	got, err = r.SourcesOf(t.Context(), []golden.ID{id})
	require.NoError(t, err)
	require.Empty(t, got)
	moved.GoldenID = id
	put(moved)

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

	// Each that an index knows a record by, changed alone.
	named := c.Clone()
	named.NameKey = "gs moved"
	put(named)
	list, err = r.ListGoldens(t.Context(), golden.Contact, "gs mo", "", 10)
	require.NoError(t, err)
	require.Equal(t, []*store.Golden{named}, list)
	list, err = r.ListGoldens(t.Context(), golden.Contact, "gs c", "", 10)
	require.NoError(t, err)
	require.Empty(t, list)
	named = named.Clone()
	named.Values[golden.Parent] = string(b.ID)
	put(named)
	children, err = r.ListChildren(t.Context(), b.ID, "", 10)
	require.NoError(t, err)
	require.Equal(t, []*store.Golden{named}, children)
	children, err = r.ListChildren(t.Context(), parent, "", 10)
	require.NoError(t, err)
	require.Empty(t, children)
	named = named.Clone()
	named.MergedInto = newID(t, golden.Contact)
	put(named)
	merged, err := r.MergedInto(t.Context(), named.MergedInto)
	require.NoError(t, err)
	require.Equal(t, []golden.ID{named.ID}, merged)

	key := store.Key{Object: golden.Customer, Kind: "tax_id", Value: t.Name()}
	tx(t, s, func(ctx context.Context, tx *store.Tx) error {
		first, err := tx.AddKeys(ctx, []store.Owned{{Key: key, GoldenID: a.ID}})
		require.NoError(t, err)
		second, err := tx.AddKeys(ctx, []store.Owned{{Key: key, GoldenID: b.ID}})
		require.Equal(t, []int{1, 0}, []int{first, second})
		return err
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

	free := store.Key{Object: golden.Customer, Kind: "tax_id", Value: t.Name() + " free"}
	give := func(id golden.ID) error {
		return s.Tx(t.Context(), func(ctx context.Context, tx *store.Tx) error {
			return tx.GiveKeys(ctx, []store.Owned{{Key: free, GoldenID: id}})
		})
	}
	require.NoError(t, give(b.ID))
	require.Error(t, give(a.ID), "it was not free")
	owners, err = r.Owners(t.Context(), []store.Key{free})
	require.NoError(t, err)
	require.Equal(t, map[store.Key]golden.ID{free: b.ID}, owners)
}
