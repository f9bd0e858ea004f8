package backendtest

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/services/system-erp/internal/backend"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/erp"
)

var errDied = errors.New("the process died here")

// withinCases are for a back end that is its own ERP: what fails is its own transaction.
func withinCases() map[string]func(t *testing.T, w *World) {
	return map[string]func(t *testing.T, w *World){
		"a caller who got no answer calls again":                        repeats,
		"a process that dies between two statements leaves nothing":     dies,
		"a commit that fails, or whose answer is lost, makes one order": commitFails,
		"a transaction that commits late is not skipped":                commitsLate,
	}
}

func repeats(t *testing.T, w *World) {
	asked := w.order(w.customer(t, "rep").ID, "rep")
	for i := range 3 {
		o, outcome, err := w.Restart(t).CreateOrder(t.Context(), asked)
		require.NoError(t, err)
		require.Equal(t, i == 0, outcome == erp.Created)
		w.oneOrder(t, asked.ClientRef, o.ID)
		require.NoError(t, one(t, w.Restart(t), upsert{Key: w.ref("rep"), Record: w.company("rep")}).Err)
	}
	w.oneCustomer(t, "rep")
}

// few is how many of the places between statements are tried: all of them, or some in fast tests.
func few(n int) bool { return testing.Short() && n%4 != 1 }

// dies kills a new order and a new customer at each of their statements. The next process does them again.
func dies(t *testing.T, w *World) {
	defer w.Between(0, nil)
	next := w.Restart(t)
	buyer := w.customer(t, "dies").ID
	at := w.newest(t)
	places := 0
	for n := 1; ; n++ {
		if few(n) {
			continue
		}
		died := false
		w.Between(n, func() error { died = true; return errDied })
		asked := w.order(buyer, fmt.Sprint("dies", n))
		_, _, err := w.Backend.CreateOrder(t.Context(), asked)
		if !died {
			require.NoError(t, err)
			break
		}
		places++
		require.ErrorIs(t, err, errDied)
		there, err := w.Outside.Orders(t.Context(), asked.ClientRef)
		require.NoError(t, err)
		require.Empty(t, there, "nothing of it remains, whatever it had written")
		again, outcome, err := next.CreateOrder(t.Context(), asked)
		require.NoError(t, err)
		require.Equal(t, erp.Created, outcome)
		w.oneOrder(t, asked.ClientRef, again.ID)
	}
	require.Positive(t, places)
	w.Between(0, nil)
	for n := 1; ; n++ {
		if few(n) {
			continue
		}
		died := false
		w.Between(n, func() error { died = true; return errDied })
		u := upsert{Key: w.ref(fmt.Sprint("dies", n)), Record: w.company(fmt.Sprint("dies", n))}
		_, err := w.Backend.Customers().Upsert(t.Context(), []upsert{u})
		if !died {
			require.NoError(t, err)
			break
		}
		require.ErrorIs(t, err, errDied)
		there, err := w.Outside.Customers(t.Context(), u.Key)
		require.NoError(t, err)
		require.Empty(t, there)
		res := one(t, next, u)
		require.NoError(t, res.Err)
		require.Equal(t, erp.Created, res.Outcome)
	}
	list, _ := w.changes(t, at, 100) // which has no holes
	require.NotEmpty(t, list)
}

// commitFails takes the caller away at each statement, the last one included: the commit then fails, or succeeds unseen.
func commitFails(t *testing.T, w *World) {
	defer w.Between(0, nil)
	buyer := w.customer(t, "gone").ID
	for n := 1; ; n++ {
		if few(n) {
			continue
		}
		ctx, cancel := context.WithCancel(t.Context())
		left := false
		w.Between(n, func() error { left = true; cancel(); return nil })
		asked := w.order(buyer, fmt.Sprint("gone", n))
		first, outcome, err := w.Backend.CreateOrder(ctx, asked)
		cancel()
		again, second, aerr := w.Backend.CreateOrder(t.Context(), asked)
		require.NoError(t, aerr)
		if err == nil {
			require.Equal(t, []any{first.ID, erp.Created, erp.Unchanged}, []any{again.ID, outcome, second})
		} else {
			require.Contains(t, []erp.Outcome{erp.Created, erp.Unchanged}, second, "it was made or it was not")
		}
		w.oneOrder(t, asked.ClientRef, again.ID)
		if !left {
			break
		}
	}
}

// commitsLate holds a write back at each of its statements while another process writes and the feed is read.
func commitsLate(t *testing.T, w *World) {
	defer w.Between(0, nil)
	other := w.Restart(t)
	for n := 1; ; n++ {
		if few(n) {
			continue
		}
		at := w.newest(t)
		reached, release := make(chan struct{}), make(chan struct{})
		w.Between(n, func() error { close(reached); <-release; return nil })
		slow, fast := w.ref(fmt.Sprint("slow", n)), w.ref(fmt.Sprint("fast", n))
		write := func(ctx context.Context, b backend.Backend, u upsert) error {
			res, err := b.Customers().Upsert(ctx, []upsert{u})
			if err == nil {
				err = res[0].Err
			}
			return err
		}
		done := make(chan error, 1)
		go func() {
			done <- write(t.Context(), w.Backend, upsert{Key: slow, Record: erp.Customer{Name: w.name("slow")}})
		}()
		held := false
		select {
		case <-reached:
			held = true
		case err := <-done:
			require.NoError(t, err)
		}
		if !held {
			break
		}
		// The other writer commits first, or has to wait for the one that is held and gives up.
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		err := write(ctx, other, upsert{Key: fast, Record: erp.Customer{Name: w.name("fast")}})
		cancel()
		first, _ := w.changes(t, at, 100)
		close(release)
		require.NoError(t, <-done)
		if err != nil {
			require.NoError(t, write(t.Context(), other, upsert{Key: fast, Record: erp.Customer{Name: w.name("fast")}}))
		}
		rest, _ := w.changes(t, at+int64(len(first)), 100)
		count := map[erp.Ref]int{}
		for _, c := range append(first, rest...) {
			for _, ref := range c.Customer.Refs {
				count[ref]++
			}
		}
		require.Equal(t, map[erp.Ref]int{slow: 1, fast: 1}, count, "held before statement %d: each is seen once by a reader who went on meanwhile", n)
	}
}
