package reconcile_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/pkg/db"
	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/audit"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/engine/enginetest"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/reconcile"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/source/sourcetest"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store/storetest"
)

// TestValues finds what stands differently in a record whose stamp is the known one.
func TestValues(t *testing.T) {
	t.Parallel()
	storetest.Schema.Each(t, func(t *testing.T, d *db.DB) {
		b := setup(t, d, reconcile.Config{})
		ids := b.people(30)
		for _, sys := range []*sourcetest.Fake{b.SF, b.ERP} {
			run, found := b.look(sys.Name(), store.DepthValues, false)
			require.Equal(t, store.RunDone, run.State, run.Reason)
			require.Empty(t, found, "what agrees agrees")
			require.EqualValues(t, 30, run.Compared)
			require.LessOrEqual(t, run.Calls, int64(2), "a page per kind of record")
		}
		b.Clock.Advance(time.Hour)
		b.SF.Slip(golden.Customer, ids[3], golden.Values{golden.Phone: "4711"})
		for _, depth := range []store.Depth{store.DepthDigests, store.DepthDeep} {
			_, found := b.look("salesforce", depth, true)
			require.Empty(t, found, "%s cannot see it", depth)
		}
		_, found := b.look("salesforce", store.DepthValues, false)
		require.Equal(t, map[string]int{"DIFFERENT OPEN": 1}, kinds(found))
		require.Equal(t, []audit.Field{{Name: golden.Phone, After: "4711"}}, found[0].Changes)
		require.Equal(t, ids[3], found[0].Ref.RecordID)
		require.Less(t, b.Clock.Now().Sub(found[0].Since), time.Minute, "nobody tells since when")

		b.Clock.Advance(time.Hour)
		run, again := b.look("salesforce", store.DepthDigests, false)
		require.Equal(t, kinds(found), kinds(again), "what was found is looked at again by whatever comparison comes next")
		require.Equal(t, found[0].Since, again[0].Since)
		require.LessOrEqual(t, run.Calls, int64(5))

		run, found = b.look("salesforce", store.DepthValues, true)
		require.EqualValues(t, 1, run.Repaired)
		require.Equal(t, map[string]int{"DIFFERENT REPAIRED": 1}, kinds(found))
		b.Settle()
		b.Check()
		require.Equal(t, "4711", b.Twin(b.Golden(b.SF, golden.Customer, ids[3]).ID, b.ERP).Values[golden.Phone], "the repair went the way of every change")
		b.Clock.Advance(time.Hour)
		for _, depth := range []store.Depth{store.DepthDigests, store.DepthValues} {
			for _, system := range []string{"salesforce", "erp"} {
				_, found = b.look(system, depth, false)
				require.Empty(t, found)
			}
		}
	})
}

// TestValues_All finds what the others find, too.
func TestValues_All(t *testing.T) {
	t.Parallel()
	storetest.Schema.Each(t, func(t *testing.T, d *db.DB) {
		b := setup(t, d, reconcile.Config{})
		ids := b.people(8)
		b.SF.Create(golden.Contact, ids[0], golden.Values{golden.LastName: "Arndt"})
		b.Settle()
		b.SF.Drop(4)
		b.SF.Edit(golden.Customer, ids[1], golden.Values{golden.Phone: "1"})
		b.SF.Delete(golden.Customer, ids[2])
		b.SF.Create(golden.Customer, "", golden.Values{golden.Name: "Unheard of"})
		b.SF.Create(golden.Contact, ids[1], golden.Values{golden.LastName: "Unheard"})
		b.Clock.Advance(time.Hour)
		b.SF.Hide(golden.Customer, ids[3], true)
		run, found := b.look("salesforce", store.DepthValues, false)
		require.Equal(t, map[string]int{"DIFFERENT OPEN": 1, "MISSING_THERE OPEN": 1, "MISSING_HERE OPEN": 2}, kinds(found),
			"a record that cannot be read is not called deleted")
		require.EqualValues(t, 9, run.Compared)
		b.SF.Hide(golden.Customer, ids[3], false)
		b.Deleting = true
		run, _ = b.look("salesforce", store.DepthValues, true)
		require.EqualValues(t, 4, run.Repaired)
		b.Settle()
		b.Check()
		b.Clock.Advance(time.Hour)
		_, found = b.look("salesforce", store.DepthValues, false)
		require.Empty(t, found)
	})
}

func TestValues_States(t *testing.T) {
	t.Parallel()
	b := setup(t, storetest.Schema.Open(t, "sqlite"), reconcile.Config{})
	ids := b.people(4)
	b.Clock.Advance(time.Hour)

	t.Run("a second change within the tick of a young one is in flight", func(t *testing.T) {
		b.SF.Edit(golden.Customer, ids[0], golden.Values{golden.Phone: "1"})
		require.NoError(t, b.Read(t.Context()))
		require.NoError(t, b.Deliver(t.Context()))
		b.SF.Slip(golden.Customer, ids[0], golden.Values{golden.Phone: "2"})
		_, found := b.look("salesforce", store.DepthValues, false)
		require.Equal(t, map[string]int{"DIFFERENT IN_FLIGHT": 1}, kinds(found))
		b.Clock.Advance(time.Hour)
		_, found = b.look("salesforce", store.DepthValues, false)
		require.Equal(t, map[string]int{"DIFFERENT OPEN": 1}, kinds(found))
		_, _ = b.look("salesforce", store.DepthValues, true)
		b.Settle()
	})
	t.Run("what a rule accepts is counted and left alone", func(t *testing.T) {
		b.SF.Slip(golden.Customer, ids[1], golden.Values{golden.Phone: "3"})
		rule := store.IgnoreRule{ID: "i1", System: "salesforce", Field: golden.Phone, Created: b.Clock.Now(), Until: b.Clock.Now().Add(time.Hour)}
		require.NoError(t, b.Store.Tx(t.Context(), func(ctx context.Context, tx *store.Tx) error { _, err := tx.PutIgnoreRule(ctx, rule); return err }))
		run, found := b.look("salesforce", store.DepthValues, true)
		require.Equal(t, map[string]int{"DIFFERENT IGNORED": 1}, kinds(found))
		require.Zero(t, run.Repaired)
		b.Clock.Advance(2 * time.Hour)
		_, found = b.look("salesforce", store.DepthDigests, true)
		require.Equal(t, map[string]int{"DIFFERENT REPAIRED": 1}, kinds(found), "the rule has ended")
		b.Settle()
		b.Check()
	})
	t.Run("a field that nobody has heard of", func(t *testing.T) {
		for i, id := range ids[:3] { // as if the adapters of then had not carried the field
			row, err := b.Store.Read().Sources(t.Context(), "salesforce", golden.Customer, []string{id})
			require.NoError(t, err)
			next := row[0].Clone()
			delete(next.Shadow, golden.Website)
			require.NoError(t, b.Store.Tx(t.Context(), func(ctx context.Context, tx *store.Tx) error { return tx.PutSources(ctx, []*store.Source{next}) }))
			if i < 2 {
				b.SF.Slip(golden.Customer, id, golden.Values{golden.Website: fmt.Sprintf("https://w%d.example", i)})
			}
		}
		_, found := b.look("salesforce", store.DepthValues, false)
		require.Equal(t, map[string]int{"DIFFERENT OPEN": 2}, kinds(found), "an empty field is no difference")
		run, _ := b.look("salesforce", store.DepthValues, true)
		require.EqualValues(t, 2, run.Repaired)
		b.Settle()
		b.Check()
		require.Equal(t, "https://w1.example", b.Twin(b.Golden(b.SF, golden.Customer, ids[1]).ID, b.ERP).Values[golden.Website])
	})
}

// TestValues_SetBack restores a record from a backup: it is in a version below the known one, and is no news to any feed.
func TestValues_SetBack(t *testing.T) {
	t.Parallel()
	storetest.Schema.Each(t, func(t *testing.T, d *db.DB) {
		b := setup(t, d, reconcile.Config{})
		ids := b.people(2)
		twin := func(i int) string { return b.Twin(b.Golden(b.SF, golden.Customer, ids[i]).ID, b.ERP).Ref.RecordID }
		backup := make([]string, 2)
		var saved [2]func()
		for i := range ids {
			backup[i] = twin(i)
			rec, ok := b.ERP.Record(golden.Customer, backup[i])
			require.True(t, ok)
			saved[i] = func() { b.ERP.Restore(rec) }
		}
		for n := range 3 {
			b.Clock.Advance(time.Minute)
			for i := range ids {
				b.ERP.Edit(golden.Customer, backup[i], golden.Values{golden.Street: fmt.Sprintf("Street %d", n)})
			}
			b.Settle()
		}
		for i := range ids {
			saved[i]()
		}
		b.Clock.Advance(time.Hour)
		b.ERP.Drop(1)
		b.ERP.Edit(golden.Customer, backup[1], golden.Values{golden.City: "Bern"}) // in a version that was used before
		b.Clock.Advance(time.Hour)
		_, found := b.look("erp", store.DepthValues, false)
		require.Equal(t, map[string]int{"DIFFERENT OPEN": 2}, kinds(found))
		names := map[string]audit.Field{}
		for _, ch := range found[0].Changes {
			names[ch.Name] = ch
		}
		require.Equal(t, "Street 2", names[golden.Street].Before)
		require.Contains(t, names, "version")
		run, _ := b.look("erp", store.DepthValues, true)
		require.EqualValues(t, 2, run.Repaired)
		b.Settle()
		b.Check()
		rec, _ := b.ERP.Record(golden.Customer, backup[0])
		require.Equal(t, "Street 2", rec.Values[golden.Street], "what the backup had lost is written again")
		require.Equal(t, "Bern", b.Golden(b.SF, golden.Customer, ids[1]).Values[golden.City], "what was changed since is news")

		b.Clock.Advance(time.Minute)
		b.ERP.Edit(golden.Customer, backup[0], golden.Values{golden.City: "Basel"})
		b.Settle()
		b.Check()
		require.Equal(t, "Basel", b.Golden(b.SF, golden.Customer, ids[0]).Values[golden.City], "changes are heard again")
		b.Clock.Advance(time.Hour)
		_, found = b.look("erp", store.DepthValues, false)
		require.Empty(t, found)
	})
}

// TestValues_Fails: a comparison that cannot read settles nothing; one whose pages are forgotten begins its listing again.
func TestValues_Fails(t *testing.T) {
	t.Parallel()
	d, err := storetest.Schema.Private(t.Context())
	require.NoError(t, err)
	defer d.Close()
	b := &bench{World: enginetest.NewWith(t, d, func(o *sourcetest.Options) { o.PageSize = 3 }), t: t}
	b.Settle()
	b.begin(reconcile.Config{}, b.Store)
	ids := b.people(7)
	b.Clock.Advance(time.Hour)
	b.SF.Slip(golden.Customer, ids[5], golden.Values{golden.Phone: "1"})
	_, found := b.look("salesforce", store.DepthValues, false)
	require.Len(t, found, 1)
	for _, op := range []sourcetest.Op{sourcetest.OpList, sourcetest.OpFetch} {
		b.SF.Fail(op, sourcetest.Unreachable())
		run, found := b.look("salesforce", store.DepthValues, true)
		require.Equal(t, store.RunFailed, run.State, "%s", op)
		require.Equal(t, fault.ReasonUnavailable, run.Reason)
		require.Len(t, found, 1, "a run that failed settles nothing")
	}
	forgotten := fault.New(fault.Invalid, fault.ReasonPageTokenInvalid, "the page is forgotten")
	b.SF.Fail(sourcetest.OpList, nil, forgotten)
	run, found := b.look("salesforce", store.DepthValues, false)
	require.Equal(t, store.RunDone, run.State)
	require.Len(t, found, 1)
	require.EqualValues(t, 7, run.Compared)
	b.SF.Fail(sourcetest.OpList, nil, forgotten, nil, forgotten, nil, forgotten)
	run, _ = b.look("salesforce", store.DepthValues, false)
	require.Equal(t, fault.ReasonPageTokenInvalid, run.Reason, "not for ever")
}
