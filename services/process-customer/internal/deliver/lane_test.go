package deliver_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/pkg/priority"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/deliver"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/engine/enginetest"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/source"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store"
)

// loading is a system in the middle of whose loads something happens.
type loading struct {
	*bulky
	meanwhile func()
	levels    map[priority.Level]int // records written, by how urgent their calls were
}

func (l *loading) Load(ctx context.Context, obj golden.Object, writes []source.Write) ([]source.Result, error) {
	half := len(writes) / 2
	first, err := l.bulky.Load(ctx, obj, writes[:half])
	if err != nil {
		return nil, err
	}
	l.levels[priority.From(ctx)] += len(writes)
	if l.meanwhile != nil {
		l.meanwhile()
	}
	second, err := l.bulky.Load(ctx, obj, writes[half:])
	return append(first, second...), err
}

func (l *loading) Upsert(ctx context.Context, obj golden.Object, writes []source.Write) ([]source.Result, error) {
	l.levels[priority.From(ctx)] += len(writes)
	return l.bulky.Upsert(ctx, obj, writes)
}

// firstLoad has one customer that both systems know, and 60 that a scan of Salesforce has found.
func firstLoad(t *testing.T) (w *enginetest.World, known string, l *loading, start func() *deliver.Deliverer) {
	t.Helper()
	w = setup(t)
	known = w.SF.Create(golden.Customer, "", golden.Values{golden.Name: "Known"})
	w.Settle()
	for i := range 60 {
		w.SF.Create(golden.Customer, "", golden.Values{golden.Name: fmt.Sprintf("Customer %d", i)})
	}
	require.NoError(t, w.Store.Tx(t.Context(), func(ctx context.Context, tx *store.Tx) error {
		_, err := tx.RequestScan(ctx, "salesforce")
		return err
	}))
	require.NoError(t, w.Read(t.Context()))
	require.EqualValues(t, 60, backlog(t, w).Levels[store.LevelBulk].Pending)
	l = &loading{bulky: &bulky{System: w.ERP}, levels: map[priority.Level]int{}}
	return w, known, l, func() *deliver.Deliverer { return inLoads(t, w, l) }
}

// phone returns the number that the ERP has of the customer.
func phone(w *enginetest.World, known string) string {
	return w.Twin(w.Golden(w.SF, golden.Customer, known).ID, w.ERP).Values[golden.Phone]
}

func TestLanes(t *testing.T) {
	t.Parallel()
	step := func(t *testing.T, d *deliver.Deliverer, level store.Level) int {
		t.Helper()
		n, err := d.Step(t.Context(), level)
		require.NoError(t, err)
		return n
	}
	edit := func(t *testing.T, w *enginetest.World, known, number string) {
		t.Helper()
		w.SF.Edit(golden.Customer, known, golden.Values{golden.Phone: number})
		require.NoError(t, w.Read(t.Context()))
	}
	t.Run("an edit goes out while a load is under way", func(t *testing.T) {
		w, known, l, start := firstLoad(t)
		d := start()
		edited := false
		l.meanwhile = func() {
			edit(t, w, known, "+49 30 1")
			require.Equal(t, 1, step(t, d, store.LevelSync))
			require.Equal(t, "+49 30 1", phone(w, known))
			require.Less(t, len(w.ERP.Records(golden.Customer)), 61)
			edited = true
		}
		drain(t, d)
		require.True(t, edited)
		require.Len(t, w.ERP.Records(golden.Customer), 61)
		require.Zero(t, backlog(t, w).Pending)
		require.Equal(t, map[priority.Level]int{priority.Sync: 1, priority.Bulk: 60}, l.levels, "the allowance is asked for what it is")
	})
	t.Run("an edit of a record that is being loaded goes out when the load ends", func(t *testing.T) {
		w, _, l, start := firstLoad(t)
		d := start()
		fresh := ""
		l.meanwhile = func() {
			for _, rec := range w.SF.Records(golden.Customer) {
				if _, there := w.ERP.Holder(golden.Customer, source.ExternalIDOf(w.Golden(w.SF, golden.Customer, rec.Ref.RecordID).ID, "")); !there {
					fresh = rec.Ref.RecordID
				}
			}
			edit(t, w, fresh, "+49 30 2")
			require.Zero(t, step(t, d, store.LevelSync), "no record is written by two at once")
		}
		require.Equal(t, 10, step(t, d, store.LevelBulk))
		require.Equal(t, 50, step(t, d, store.LevelBulk))
		require.Equal(t, 1, step(t, d, store.LevelSync))
		require.Equal(t, "+49 30 2", phone(w, fresh))
		require.Zero(t, backlog(t, w).Pending)
	})
	t.Run("a crash in the middle of a load loses nothing and repeats nothing", func(t *testing.T) {
		w, known, l, start := firstLoad(t)
		d := start()
		l.meanwhile = func() {
			edit(t, w, known, "+49 30 3")
			require.Equal(t, 1, step(t, d, store.LevelSync))
			panic("the process dies")
		}
		require.Panics(t, func() { drain(t, d) })
		l.meanwhile = nil
		d = start()
		edit(t, w, known, "+49 30 4")
		require.Equal(t, 1, step(t, d, store.LevelSync), "what was being loaded is still leased, and nobody waits for it")
		require.Equal(t, "+49 30 4", phone(w, known))
		w.Clock.Advance(time.Hour)
		drain(t, d)
		require.Len(t, w.ERP.Records(golden.Customer), 61)
		for id, n := range w.ERP.Creates() {
			require.Equal(t, 1, n, id)
		}
		require.Empty(t, w.Dead())
		w.Settle()
		w.Check()
	})
	t.Run("an allowance that has nothing left for loads holds up loads only", func(t *testing.T) {
		w, known, l, start := firstLoad(t)
		l.err = fault.New(fault.Exhausted, "API_BUDGET_EXHAUSTED", "later")
		d := start()
		drain(t, d)
		require.Equal(t, "API_BUDGET_EXHAUSTED", d.Status().Reason)
		require.False(t, d.Status().PausedUntil.IsZero())
		edit(t, w, known, "+49 30 5")
		require.Equal(t, 1, step(t, d, store.LevelSync))
		require.Equal(t, "+49 30 5", phone(w, known))
		require.Zero(t, step(t, d, store.LevelBulk))
		w.Clock.Advance(time.Hour)
		drain(t, d)
		require.Len(t, w.ERP.Records(golden.Customer), 61)
		require.Empty(t, d.Status().Reason)
	})
	t.Run("a contact somebody makes has its customer written first", func(t *testing.T) {
		w, _, _, start := firstLoad(t)
		d := start()
		customers := w.SF.Records(golden.Customer)
		w.SF.Create(golden.Contact, customers[60].Ref.RecordID, golden.Values{golden.LastName: "Muster"})
		require.NoError(t, w.Read(t.Context()))
		require.Equal(t, 1, step(t, d, store.LevelSync), "it waits")
		require.Equal(t, 1, step(t, d, store.LevelSync), "its customer has become as urgent as it")
		require.Equal(t, 1, step(t, d, store.LevelSync))
		require.Len(t, w.ERP.Records(golden.Contact), 1)
		require.Len(t, w.ERP.Records(golden.Customer), 2)
	})
	t.Run("a deep backlog of edits goes as a load that holds up none that come after", func(t *testing.T) {
		w, b, _ := deep(t)
		known := w.SF.Create(golden.Customer, "", golden.Values{golden.Name: "Afterwards"})
		l := &loading{bulky: b, levels: map[priority.Level]int{}}
		d := inLoads(t, w, l)
		came := false
		l.meanwhile = func() {
			require.NoError(t, w.Read(t.Context()))
			require.Equal(t, 1, step(t, d, store.LevelSync))
			_, came = w.ERP.Holder(golden.Customer, source.ExternalIDOf(w.Golden(w.SF, golden.Customer, known).ID, ""))
		}
		drain(t, d)
		require.True(t, came)
		require.Equal(t, map[priority.Level]int{priority.Sync: 61}, l.levels)
	})
	for name, perMinute := range map[string]int64{"": 0, ", also where little may be written": 120} {
		t.Run("while edits come without an end, a load gets on"+name, func(t *testing.T) {
			w, known, _, start := firstLoad(t)
			d := start()
			require.NoError(t, w.Store.Tx(t.Context(), func(ctx context.Context, tx *store.Tx) error {
				return tx.SetControl(ctx, store.Control{System: "erp", Direction: store.DirectionDeliver, PerMinute: perMinute})
			}))
			urgent := 0
			for i := range 60 {
				edit(t, w, known, fmt.Sprint(i))
				step(t, d, store.LevelBulk) // before anything urgent
				urgent += step(t, d, store.LevelSync)
				w.Clock.Advance(time.Second)
			}
			require.Less(t, backlog(t, w).Levels[store.LevelBulk].Pending, int64(60))
			require.GreaterOrEqual(t, urgent, 45)
		})
	}
}
