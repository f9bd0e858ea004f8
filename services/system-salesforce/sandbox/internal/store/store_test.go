package store

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/schema"
)

func setup(t *testing.T) (*Store, *schema.Object, *[]Commit) {
	t.Helper()
	s, err := schema.Load()
	require.NoError(t, err)
	commits := &[]Commit{}
	st := New(Options{Schema: s, Now: func() time.Time { return time.Unix(1_800_000_000, 0) }, OnCommit: func(c Commit) { *commits = append(*commits, c) }})
	return st, s.Object("Account"), commits
}

func create(t *testing.T, st *Store, o *schema.Object, in map[string]any) string {
	t.Helper()
	var id string
	require.NoError(t, st.Write(Meta{User: "u"}, func(tx *Tx) error {
		var fail *Error
		id, fail = tx.Create(o, in)
		require.Nil(t, fail)
		return nil
	}))
	return id
}

func TestAFailedTransactionLeavesNoTrace(t *testing.T) {
	t.Parallel()
	st, o, commits := setup(t)
	id := create(t, st, o, map[string]any{"Name": "A", "Selfsame_Id__c": "k1"})
	boom := errors.New("boom")
	err := st.Write(Meta{}, func(tx *Tx) error {
		_, fail := tx.Create(o, map[string]any{"Name": "B", "Selfsame_Id__c": "k2"})
		require.Nil(t, fail)
		require.Nil(t, tx.Update(o, id, map[string]any{"Selfsame_Id__c": "k3"}))
		require.Nil(t, tx.Delete(o, id))
		return boom
	})
	require.ErrorIs(t, err, boom)
	require.Len(t, *commits, 1)
	_ = st.Read(func(v View) error {
		require.Equal(t, 1, v.Live(o))
		f := o.Field("Selfsame_Id__c")
		require.Len(t, v.Lookup(f, "K1"), 1)
		require.Empty(t, v.Lookup(f, "k2"))
		require.Empty(t, v.Lookup(f, "k3"))
		n := 0
		for range v.Since(o, 0) {
			n++
		}
		require.Equal(t, 1, n)
		return nil
	})
	create(t, st, o, map[string]any{"Name": "B", "Selfsame_Id__c": "k2"}) // the key is free again
}

func TestTheBinDoesNotHoldUniqueValues(t *testing.T) {
	t.Parallel()
	st, o, _ := setup(t)
	id := create(t, st, o, map[string]any{"Name": "A", "Selfsame_Id__c": "k"})
	require.NoError(t, st.Write(Meta{}, func(tx *Tx) error { require.Nil(t, tx.Delete(o, id)); return nil }))
	create(t, st, o, map[string]any{"Name": "B", "Selfsame_Id__c": "k"})
	require.NoError(t, st.Write(Meta{}, func(tx *Tx) error {
		require.Equal(t, "DUPLICATE_VALUE", tx.Undelete(id).Code)
		require.Equal(t, "UNDELETE_FAILED", tx.Undelete("001000000000009AAA").Code)
		return nil
	}))
}

func TestVersionsAreImmutable(t *testing.T) {
	t.Parallel()
	st, o, commits := setup(t)
	id := create(t, st, o, map[string]any{"Name": "A", "Phone": "1"})
	require.NoError(t, st.Write(Meta{}, func(tx *Tx) error {
		require.Nil(t, tx.Update(o, id, map[string]any{"Phone": nil, "Fax": "2"}))
		return nil
	}))
	before, after := (*commits)[0].Changes[0].New, (*commits)[1].Changes[0].New
	require.Equal(t, "1", before.Get(o.Field("Phone")))
	require.Nil(t, before.Get(o.Field("Fax")))
	require.Nil(t, after.Get(o.Field("Phone")))
	require.Equal(t, before, (*commits)[1].Changes[0].Old)
}

func TestTheChangeLogIsCompacted(t *testing.T) {
	t.Parallel()
	st, o, _ := setup(t)
	id := create(t, st, o, map[string]any{"Name": "A"})
	for range 3000 {
		require.NoError(t, st.Write(Meta{}, func(tx *Tx) error { require.Nil(t, tx.Update(o, id, map[string]any{"Name": "B"})); return nil }))
	}
	require.LessOrEqual(t, len(st.tables[o].mods), 1100)
	_ = st.Read(func(v View) error {
		n := 0
		for r := range v.Since(o, 0) {
			require.Equal(t, id, r.ID)
			n++
		}
		require.Equal(t, 1, n)
		return nil
	})
}
