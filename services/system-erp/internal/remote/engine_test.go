package remote_test

import (
	"context"
	"database/sql"
	"errors"
	"runtime"
	"strconv"
	gosync "sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/pkg/db"
	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/pkg/idempotent"
	"github.com/selfsame-io/selfsame/pkg/telemetry"
	"github.com/selfsame-io/selfsame/services/system-erp/backendtest"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/erp"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/remote"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/store"
)

// engine is the in-memory ERP behind the engine, with its clock.
func engine(t *testing.T) (*remote.Store, *ledger, *clock) {
	t.Helper()
	l, c := newLedger(), newClock()
	s, _ := openRemote(t, template.DSN(t, "sqlite"), l, c)
	return s, l, c
}

func (l *ledger) set(fn func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	fn()
}

func TestProducts_AreAskedForOnceAndKept(t *testing.T) {
	t.Parallel()
	s, l, c := engine(t)
	ask := func() error {
		found, err := s.Products(t.Context(), []string{"P-1", "none"})
		if err == nil {
			require.Len(t, found, 1)
		}
		return err
	}
	const callers = 20
	held := make(chan struct{})
	release := gosync.OnceFunc(func() { close(held) })
	defer release()
	l.held = held
	var asking atomic.Int32
	var wait gosync.WaitGroup
	for range callers {
		wait.Go(func() { asking.Add(1); _ = ask() })
	}
	reads := func() (n int) { l.set(func() { n = l.reads }); return n }
	require.Eventually(t, func() bool { return asking.Load() == callers && reads() > 0 }, time.Minute, time.Millisecond)
	for range 1000 { // the others have time to ask as well, if they would
		runtime.Gosched()
	}
	require.Equal(t, 1, reads(), "one asks for all who ask meanwhile")
	release()
	wait.Wait()
	l.set(func() { l.held = nil })
	require.NoError(t, ask())
	var before int
	l.set(func() { before = l.reads })
	require.NoError(t, ask())
	l.set(func() {
		require.Equal(t, before, l.reads, "within its time nobody is asked, not even for what does not exist")
	})

	l.set(func() { l.down = true })
	c.advance(5 * time.Hour)
	found, err := s.Products(t.Context(), []string{"P-1"})
	require.NoError(t, err, "nobody answers: what is known is used")
	require.Contains(t, found, "P-1")
	c.advance(48 * time.Hour)
	_, err = s.Products(t.Context(), []string{"P-1"})
	require.Equal(t, fault.Unavailable, fault.KindOf(err), "but not for ever")
	_, err = s.Products(t.Context(), []string{"P-2"})
	require.Error(t, err, "what was never known is not made up")
}

func TestInventory_SaysHowOldItIs(t *testing.T) {
	t.Parallel()
	s, l, c := engine(t)
	first, err := s.Inventory(t.Context(), []string{"P-1"})
	require.NoError(t, err)
	l.set(func() { l.down = true })
	c.advance(5 * time.Minute)
	again, err := s.Inventory(t.Context(), []string{"P-1"})
	require.NoError(t, err)
	require.True(t, first[0].AsOf.Equal(again[0].AsOf), "old figures keep their age")
	c.advance(10 * time.Minute)
	_, err = s.Inventory(t.Context(), []string{"P-1"})
	require.Equal(t, fault.Unavailable, fault.KindOf(err))
}

func TestCreate_KeyedCallIsOneRecordWhateverIsLost(t *testing.T) {
	t.Parallel()
	s, l, c := engine(t)
	ctx := idempotent.WithKey(t.Context(), "key-1")
	sealed := 0
	seal := func(_ context.Context, _ *sql.Tx, _ erp.Customer) error { sealed++; return nil }
	l.arm(backendtest.Drop, 1)
	_, err := s.Customers().Create(ctx, erp.Customer{Name: "No reference at all"}, seal)
	require.Equal(t, fault.Uncertain, fault.KindOf(err))
	require.Zero(t, sealed)
	c.advance(settle + lease)
	made, err := s.Customers().Create(ctx, erp.Customer{Name: "No reference at all"}, seal)
	require.NoError(t, err)
	require.Equal(t, 1, sealed)
	// The record is made and the transaction that would note it fails: the next call finds it by its mark.
	broken := idempotent.WithKey(t.Context(), "key-2")
	_, err = s.Customers().Create(broken, erp.Customer{Name: "Second"}, func(context.Context, *sql.Tx, erp.Customer) error { return errors.New("disk full") })
	require.Equal(t, fault.Uncertain, fault.KindOf(err))
	second, err := s.Customers().Create(broken, erp.Customer{Name: "Second"}, seal)
	require.NoError(t, err)
	require.NotEqual(t, made.ID, second.ID)
	l.set(func() { require.Len(t, l.customers, 2) })
	require.Equal(t, 2, sealed)
}

func TestOrder_ThatIsNotAdvancedIsFinishedLater(t *testing.T) {
	t.Parallel()
	s, l, c := engine(t)
	res, err := s.Customers().Upsert(t.Context(), []store.Upsert[erp.Customer]{{Key: erp.Ref{System: "s", Type: "t", Value: "1"}, Record: erp.Customer{Name: "A"}}})
	require.NoError(t, err)
	two, err := erp.ParseDecimal("2")
	require.NoError(t, err)
	l.set(func() { l.stuck = true })
	o, outcome, err := s.CreateOrder(t.Context(), erp.Order{ClientRef: "c", CustomerID: res[0].Record.ID, Items: []erp.Item{{SKU: "P-1", Quantity: two}}})
	require.NoError(t, err, "the order stands, its next step is owed to it")
	require.Equal(t, []any{erp.Created, erp.OrderReceived}, []any{outcome, o.State})
	l.set(func() { l.stuck = false })
	require.NoError(t, s.Settle(t.Context()))
	now, err := s.Order(t.Context(), o.ID)
	require.NoError(t, err)
	require.Equal(t, erp.OrderReceived, now.State, "its writer may still be at it")
	c.advance(lease + time.Second)
	require.NoError(t, s.Settle(t.Context()))
	now, err = s.Order(t.Context(), o.ID)
	require.NoError(t, err)
	require.Equal(t, erp.OrderConfirmed, now.State)
	steps, err := s.History(t.Context(), o.ID)
	require.NoError(t, err)
	require.Len(t, steps, 2)
	l.set(func() { require.Len(t, l.orders, 1) })
}

func TestCompare_BuriesWhatIsGone(t *testing.T) {
	t.Parallel()
	s, l, _ := engine(t)
	_, err := s.Customers().List(t.Context(), "", 10)
	require.Equal(t, fault.ReasonNotReady, fault.ReasonOf(err), "before everything was read once there is no list")
	id, err := desk{l}.Make(t.Context(), "A", erp.Ref{System: "s", Type: "t", Value: "1"})
	require.NoError(t, err)
	require.NoError(t, s.Sync(t.Context()))
	l.set(func() { delete(l.customers, id) })
	require.NoError(t, s.Sync(t.Context()))
	list, err := s.Customers().List(t.Context(), "", 10)
	require.NoError(t, err)
	require.Len(t, list, 1, "changes do not show what was removed")
	require.NoError(t, s.Compare(t.Context()))
	require.NoError(t, s.Sync(t.Context()))
	list, err = s.Customers().List(t.Context(), "", 10)
	require.NoError(t, err)
	require.Empty(t, list)
	found, err := s.Customers().Get(t.Context(), []string{id})
	require.NoError(t, err)
	require.True(t, found[id].Deleted)
}

func TestClaim_OfADeadProcessEndsWithItsLease(t *testing.T) {
	t.Parallel()
	l, c := newLedger(), newClock()
	dsn := template.DSN(t, "sqlite")
	s, d := openRemote(t, dsn, l, c)
	u := store.Upsert[erp.Customer]{Key: erp.Ref{System: "s", Type: "t", Value: "1"}, Record: erp.Customer{Name: "A"}}
	l.onDie(func() { _ = d.Close() })
	l.arm(backendtest.Die, 1)
	res, err := s.Customers().Upsert(t.Context(), []store.Upsert[erp.Customer]{u})
	require.True(t, err != nil || res[0].Err != nil)
	again, err := db.Open(t.Context(), dsn, telemetry.Discard())
	require.NoError(t, err)
	t.Cleanup(func() { _ = again.Close() })
	next, err := remote.Open(t.Context(), again, l, remote.Options{Now: c.now, Lease: lease, Settle: settle, Wait: time.Nanosecond})
	require.NoError(t, err)
	res, err = next.Customers().Upsert(t.Context(), []store.Upsert[erp.Customer]{u})
	require.NoError(t, err)
	require.Equal(t, "WRITE_IN_PROGRESS", fault.ReasonOf(res[0].Err), "its lease lasts: it may be alive")
	c.advance(lease + time.Second)
	res, err = next.Customers().Upsert(t.Context(), []store.Upsert[erp.Customer]{u})
	require.NoError(t, err)
	require.NoError(t, res[0].Err)
	require.Equal(t, erp.Matched, res[0].Outcome)
	l.set(func() { require.Len(t, l.customers, 1) })
}

func TestSync_NeverTakesBackAWrite(t *testing.T) {
	t.Parallel()
	s, l, _ := engine(t)
	key := erp.Ref{System: "s", Type: "t", Value: "1"}
	write := func(name string) store.Result[erp.Customer] {
		res, err := s.Customers().Upsert(t.Context(), []store.Upsert[erp.Customer]{{Key: key, Record: erp.Customer{Name: name}}})
		require.NoError(t, err)
		require.NoError(t, res[0].Err)
		return res[0]
	}
	write("old")
	// The page was read before the write and arrives after it.
	l.late = func() { l.late = nil; write("new") }
	require.NoError(t, s.Sync(t.Context()))
	now, err := s.Customers().Lookup(t.Context(), key)
	require.NoError(t, err)
	require.Equal(t, "new", now.Name)
	list, err := s.Changes(t.Context(), 0, 10)
	require.NoError(t, err)
	require.Len(t, list, 2, "created and changed, and no step back")
	require.NoError(t, s.Sync(t.Context()))
	b, err := s.Bounds(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, 2, b.Newest)
}

func TestSync_SeesWhatChangedWhileItRead(t *testing.T) {
	t.Parallel()
	s, l, c := engine(t)
	batch := make([]store.Upsert[erp.Customer], 60)
	for i := range batch {
		batch[i] = store.Upsert[erp.Customer]{Key: erp.Ref{System: "s", Type: "t", Value: strconv.Itoa(i)}, Record: erp.Customer{Name: "before"}}
	}
	_, err := s.Customers().Upsert(t.Context(), batch)
	require.NoError(t, err)
	require.NoError(t, s.Sync(t.Context()))
	ids := l.outside(func(*entry) bool { return true })
	edit := func(id, name string, at time.Time) {
		l.set(func() {
			e := l.customers[id]
			e.c.Name, e.c.Updated = name, at
			e.tag++
		})
	}
	begun := c.now()
	for _, id := range ids {
		edit(id, "changed", begun)
	}
	// While its first page is on the way one of that page changes, and ten minutes later one of the next.
	l.late = func() {
		l.late = nil
		edit(ids[0], "changed behind the reading", begun.Add(time.Minute))
		edit(ids[59], "changed ahead of it", begun.Add(10*time.Minute))
		c.advance(10 * time.Minute)
	}
	require.NoError(t, s.Sync(t.Context()))
	require.NoError(t, s.Sync(t.Context()))
	list, err := s.Customers().List(t.Context(), "", len(ids)) // of what was read, without asking again
	require.NoError(t, err)
	names := map[string]string{}
	for _, r := range list {
		names[r.ID] = r.Name
	}
	require.Equal(t, "changed behind the reading", names[ids[0]])
	require.Equal(t, "changed ahead of it", names[ids[59]])
}
