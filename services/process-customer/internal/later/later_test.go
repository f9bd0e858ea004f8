package later

import (
	"context"
	"database/sql"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/selfsame-io/selfsame/pkg/db"
	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/pkg/telemetry"
	"github.com/selfsame-io/selfsame/pkg/telemetry/telemetrytest"
	customerv1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/customer/v1"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// added adds in a transaction of its own.
func added(ctx context.Context, d *db.DB, o Operation) (stored Operation, err error) {
	err = d.Tx(ctx, func(ctx context.Context, tx *sql.Tx) error {
		stored, err = Add(ctx, tx, o)
		return err
	})
	return stored, err
}

// shop is an ERP that takes orders by reference, when it does.
type shop struct {
	err    error
	placed map[string]int
}

func (s *shop) place(_ context.Context, o Operation) (*customerv1.OrderSummary, error) {
	if s.err != nil {
		return nil, s.err
	}
	s.placed[o.Ref]++
	return &customerv1.OrderSummary{Id: "order of " + o.Ref, ItemCount: int32(len(o.Order.GetItems()))}, nil //nolint:gosec // one
}

func TestOperations(t *testing.T) {
	t.Parallel()
	storetest.Schema.Each(t, func(t *testing.T, d *db.DB) {
		ctx := t.Context()
		now := time.Unix(1_800_000_000, 0).UTC()
		store, err := Open(ctx, d)
		require.NoError(t, err)
		erp := &shop{placed: map[string]int{}, err: fault.New(fault.Unavailable, "", "down")}
		worker := func() *Worker {
			return NewWorker(store, erp.place, func() time.Time { return now }, telemetry.Discard())
		}
		add := func(id string) Operation {
			o, err := added(ctx, d, Operation{
				ID: id, Owner: "me", CustomerID: "c_1", Ref: "ref " + id, Created: now, Due: now,
				Order: &customerv1.NewOrder{CustomerId: "c_1", Items: []*customerv1.NewOrderItem{{Sku: "pump", Quantity: "1"}}},
			})
			require.NoError(t, err)
			return o
		}
		get := func(id string) Operation {
			o, err := store.Get(ctx, id)
			require.NoError(t, err)
			return o
		}
		round := func() { require.NoError(t, worker().Round(ctx)) }

		// It waits for the ERP, longer with every try.
		require.False(t, add("a").Done)
		round()
		require.False(t, get("a").Done)
		require.Equal(t, now.Add(time.Second), get("a").Due)
		round()
		require.EqualValues(t, 1, get("a").Attempt, "it is not tried before it is due")
		now = now.Add(time.Second)
		round()
		require.Equal(t, now.Add(2*time.Second), get("a").Due)
		erp.err = nil
		now = now.Add(2 * time.Second)
		round()
		done := get("a")
		require.True(t, done.Done)
		require.Equal(t, "order of ref a", done.Result.GetId())
		require.Empty(t, done.Reason)
		round()
		require.Equal(t, map[string]int{"ref a": 1}, erp.placed)

		// The same id is the same operation, also after its end.
		require.Equal(t, done.Result.GetId(), add("a").Result.GetId())
		round()
		require.Equal(t, 1, erp.placed["ref a"])

		// A refusal that stays one ends it.
		erp.err = fault.New(fault.Precondition, "CUSTOMER_BLOCKED", "the customer is blocked")
		add("b")
		round()
		refused := get("b")
		require.True(t, refused.Done)
		require.Nil(t, refused.Result)
		require.Equal(t, "CUSTOMER_BLOCKED", refused.Reason)

		// Who dies while trying loses the claim, and somebody goes on.
		erp.err = nil
		add("c")
		claimed, err := store.claim(ctx, now, 10)
		require.NoError(t, err)
		require.Len(t, claimed, 1)
		round()
		require.False(t, get("c").Done, "somebody else is at it")
		now = now.Add(lease)
		round()
		require.True(t, get("c").Done)
		late := claimed[0]
		late.Done, late.Reason = true, "LATE"
		require.NoError(t, store.settle(ctx, late, now))
		require.Empty(t, get("c").Reason, "who comes back late changes nothing")

		// It is not tried for ever, and not kept for ever.
		erp.err = fault.New(fault.Uncertain, "", "who knows")
		add("d")
		now = now.Add(patience + time.Hour)
		round()
		require.Equal(t, ReasonExpired, get("d").Reason)
		require.NoError(t, store.purge(ctx, now.Add(-Keep), 100))
		get("a")
		now = now.Add(Keep)
		require.NoError(t, store.purge(ctx, now.Add(-time.Hour), 100))
		_, err = store.Get(ctx, "a")
		require.ErrorIs(t, err, ErrNotFound)
	})
}

// What a killed process was at goes on when the next one starts, where nobody else can have it.
func TestOpen_AfterAKill(t *testing.T) {
	t.Parallel()
	storetest.Schema.Each(t, func(t *testing.T, d *db.DB) {
		ctx, now := t.Context(), time.Unix(1_800_000_000, 0).UTC()
		store, err := Open(ctx, d)
		require.NoError(t, err)
		_, err = added(ctx, d, Operation{ID: "a", CustomerID: "c_1", Ref: "ref a", Created: now, Due: now, Order: &customerv1.NewOrder{}})
		require.NoError(t, err)
		claimed, err := store.claim(ctx, now, 10)
		require.NoError(t, err)
		require.Len(t, claimed, 1)

		erp := &shop{placed: map[string]int{}}
		next, err := Open(ctx, d)
		require.NoError(t, err)
		round := func() Operation {
			require.NoError(t, NewWorker(next, erp.place, func() time.Time { return now }, telemetry.Discard()).Round(ctx))
			o, err := next.Get(ctx, "a")
			require.NoError(t, err)
			return o
		}
		if d.Engine() == db.PostgreSQL {
			require.False(t, round().Done, "a replica may be at it")
			now = now.Add(lease)
		}
		done := round()
		require.True(t, done.Done)
		require.EqualValues(t, 2, done.Fence, "whoever claimed it before is late")
		late := claimed[0]
		late.Done, late.Reason = true, "LATE"
		require.NoError(t, next.settle(ctx, late, now))
		after, err := next.Get(ctx, "a")
		require.NoError(t, err)
		require.Equal(t, done, after)
		require.Equal(t, map[string]int{"ref a": 1}, erp.placed)
	})
}

// What is too old is looked for every minute, however long the rounds take.
func TestRun_Forgets(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := storetest.Schema.Open(t, "sqlite")
		store, err := Open(t.Context(), d)
		require.NoError(t, err)
		tel, err := telemetry.Start(t.Context(), "test", telemetry.Config{}, telemetry.WithLogWriter(io.Discard))
		require.NoError(t, err)
		told := func() (out []string) {
			for _, series := range []string{"last_success_age_seconds", "failures_total"} {
				out = append(out, telemetrytest.Sample(tel.Metrics, "selfsame_retention_"+series+`{selfsame_rows="operations"}`))
			}
			return out
		}
		add := func(id string) {
			_, err := added(t.Context(), d, Operation{ID: id, CustomerID: "c_1", Ref: id, Created: time.Now(), Due: time.Now(), Order: &customerv1.NewOrder{}})
			require.NoError(t, err)
		}
		slow := func(context.Context, Operation) (*customerv1.OrderSummary, error) {
			time.Sleep(90 * time.Second)
			return nil, fault.New(fault.Invalid, "NO", "no")
		}
		add("a")
		add("b")
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- NewWorker(store, slow, time.Now, tel).Run(ctx) }()
		time.Sleep(3*time.Minute + 10500*time.Millisecond)
		require.Equal(t, []string{"10.5", "0"}, told())
		add("c")
		time.Sleep(100 * time.Second)
		require.Equal(t, []string{"9.5", "0"}, told())
		_, err = d.Exec(t.Context(), "DROP TABLE queued_operation")
		require.NoError(t, err)
		time.Sleep(2 * time.Minute)
		require.Equal(t, []string{"129.5", "2"}, told())
		cancel()
		require.NoError(t, <-done)
		require.NoError(t, tel.Shutdown(context.Background()))
	})
}

func TestCancel(t *testing.T) {
	t.Parallel()
	storetest.Schema.Each(t, func(t *testing.T, d *db.DB) {
		ctx := t.Context()
		now := time.Unix(1_800_000_000, 0).UTC()
		store, err := Open(ctx, d)
		require.NoError(t, err)
		for i, id := range []string{"a", "b", "c", "d"} {
			_, err := added(ctx, d, Operation{
				ID: id, CustomerID: "c_1", Ref: "ref " + id, Created: now.Add(time.Duration(i/2) * time.Second), Due: now, Order: &customerv1.NewOrder{CustomerId: "c_1"},
			})
			require.NoError(t, err)
		}
		cancel := func(id string) (o Operation, fresh bool, err error) {
			err = d.Tx(ctx, func(ctx context.Context, tx *sql.Tx) error {
				var err error
				o, fresh, err = Cancel(ctx, tx, id, now)
				return err
			})
			return o, fresh, err
		}
		list := func(done bool) (out []string) {
			var after Mark
			for { // in pages of one
				found, err := store.List(ctx, done, after, 1)
				require.NoError(t, err)
				if len(found) == 0 {
					return out
				}
				out, after = append(out, found[0].ID), After(found[0])
			}
		}
		require.Equal(t, []string{"a", "b", "c", "d"}, list(false), "the oldest first, and those of one moment by their ids")

		// What waits is called off once, and never tried again.
		o, fresh, err := cancel("a")
		require.NoError(t, err)
		require.True(t, fresh)
		require.True(t, o.Done)
		require.Equal(t, ReasonCanceled, o.Reason)
		_, fresh, err = cancel("a")
		require.NoError(t, err, "a second time changes nothing")
		require.False(t, fresh)
		require.Equal(t, []string{"b", "c", "d"}, list(false))
		require.Equal(t, []string{"a", "b", "c", "d"}, list(true))

		// What is being tried is not called off; whoever is late after that changes nothing.
		claimed, err := store.claim(ctx, now, 10)
		require.NoError(t, err)
		require.Len(t, claimed, 3)
		_, _, err = cancel("b")
		require.ErrorIs(t, err, ErrTried)
		now = now.Add(lease)
		_, fresh, err = cancel("b")
		require.NoError(t, err)
		require.True(t, fresh, "whoever tried it is gone")
		for _, late := range claimed {
			late.Done, late.Result = true, &customerv1.OrderSummary{Id: "placed " + late.ID}
			require.NoError(t, store.settle(ctx, late, now))
		}
		got, err := store.Get(ctx, "b")
		require.NoError(t, err)
		require.Equal(t, ReasonCanceled, got.Reason)
		require.Nil(t, got.Result)

		// What is over stays as it is.
		_, _, err = cancel("c")
		require.ErrorIs(t, err, ErrDone)
		_, _, err = cancel("nothing")
		require.ErrorIs(t, err, ErrNotFound)
	})
}

func TestGap(t *testing.T) {
	t.Parallel()
	require.Equal(t, time.Second, gap(1))
	require.Equal(t, 4*time.Second, gap(3))
	require.Equal(t, longGap, gap(1000))
}
