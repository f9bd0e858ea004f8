package enrich_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/pkg/priority"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/enrich"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/source"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const id = golden.ID("c_aaaaaaaaaaaaaaaaaaaaaaaaaa")

// systems answer after a delay, or with an error.
type systems struct {
	name          string
	delay         time.Duration
	ordersErr     error
	casesErr      error
	panics        bool
	orders, cases int
	level         priority.Level
}

func (s *systems) Name() string { return s.name }

func (s *systems) wait(ctx context.Context) error {
	select {
	case <-time.After(s.delay):
		return nil
	case <-ctx.Done():
		return fault.FromStatus(ctx.Err())
	}
}

func (s *systems) Orders(ctx context.Context, customers []string, size int, _ string) ([]source.Order, string, error) {
	s.orders++
	if s.panics {
		panic("broken reader")
	}
	if err := s.wait(ctx); err != nil {
		return nil, "", err
	}
	if s.ordersErr != nil {
		return nil, "", s.ordersErr
	}
	return []source.Order{{ID: fmt.Sprint(customers, size)}}, "next", nil
}

func (s *systems) Warranties(context.Context, []string, int) ([]source.Warranty, error) {
	return []source.Warranty{{SerialNumber: "W"}}, nil
}

func (s *systems) Cases(ctx context.Context, accounts []string, openOnly bool, _ int) ([]source.Case, error) {
	s.cases++
	s.level = priority.From(ctx)
	if err := s.wait(ctx); err != nil {
		return nil, err
	}
	return []source.Case{{ID: accounts[0], Closed: !openOnly}}, s.casesErr
}

func links() map[string][]string {
	return map[string][]string{"erp": {"7", "5"}, "salesforce": {"001"}}
}

func setup(c enrich.Config) (erp, crm *systems, e *enrich.Enricher) {
	erp, crm = &systems{name: "erp"}, &systems{name: "salesforce"}
	return erp, crm, enrich.New(erp, crm, c)
}

func TestView(t *testing.T) {
	t.Parallel()

	t.Run("all systems are asked at once", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			erp, crm, e := setup(enrich.Config{})
			erp.delay, crm.delay = 300*time.Millisecond, 500*time.Millisecond
			start := time.Now()
			v := e.View(t.Context(), id, links())
			require.Equal(t, 500*time.Millisecond, time.Since(start))
			require.Equal(t, enrich.Section[source.Order]{System: "erp", State: enrich.OK, AsOf: start.Add(erp.delay), Items: []source.Order{{ID: "[5 7] 20"}}}, v.Orders)
			require.Equal(t, enrich.Section[source.Case]{System: "salesforce", State: enrich.OK, AsOf: start.Add(crm.delay), Items: []source.Case{{ID: "001"}}}, v.Cases)
			require.Equal(t, enrich.OK, v.Warranties.State)
		})
	})
	t.Run("a slow system costs its own section only, and the time of one deadline", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			erp, _, e := setup(enrich.Config{})
			erp.delay = time.Hour
			start := time.Now()
			v := e.View(t.Context(), id, links())
			require.Equal(t, 800*time.Millisecond, time.Since(start))
			require.Equal(t, enrich.Section[source.Order]{System: "erp", State: enrich.Unavailable, Reason: enrich.ReasonTimeout}, v.Orders)
			require.Equal(t, enrich.OK, v.Cases.State)
		})
	})
	t.Run("somebody waits for it, unless the caller says otherwise", func(t *testing.T) {
		t.Parallel()
		_, crm, e := setup(enrich.Config{})
		e.View(t.Context(), id, links())
		require.Equal(t, priority.Interactive, crm.level)
		e.View(priority.With(t.Context(), priority.Audit), id, links())
		require.Equal(t, priority.Audit, crm.level)
	})
	t.Run("a customer that a system does not have is an answer and no call", func(t *testing.T) {
		t.Parallel()
		erp, _, e := setup(enrich.Config{})
		v := e.View(t.Context(), id, map[string][]string{"salesforce": {"001"}})
		require.Equal(t, enrich.OK, v.Orders.State)
		require.Empty(t, v.Orders.Items)
		require.Empty(t, v.Orders.Reason)
		require.Zero(t, erp.orders)
	})
	t.Run("an earlier answer is shown with its age, until it is too old", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			erp, _, e := setup(enrich.Config{MaxAge: time.Hour, Failures: 10})
			read := e.View(t.Context(), id, links()).Orders
			erp.ordersErr = fault.New(fault.Unavailable, "", "down")
			<-time.After(time.Hour)
			v := e.View(t.Context(), id, links())
			require.Equal(t, enrich.Section[source.Order]{System: "erp", State: enrich.Stale, Reason: enrich.ReasonUnavailable, AsOf: read.AsOf, Items: read.Items}, v.Orders)
			<-time.After(time.Nanosecond)
			require.Equal(t, enrich.Unavailable, e.View(t.Context(), id, links()).Orders.State)
		})
	})
	t.Run("an answer about other records is not shown", func(t *testing.T) {
		t.Parallel()
		erp, _, e := setup(enrich.Config{})
		e.View(t.Context(), id, links())
		erp.ordersErr = fault.New(fault.Unavailable, "", "down")
		v := e.View(t.Context(), id, map[string][]string{"erp": {"5"}})
		require.Equal(t, enrich.Unavailable, v.Orders.State)
	})
	t.Run("only the customers seen last are remembered", func(t *testing.T) {
		t.Parallel()
		erp, _, e := setup(enrich.Config{Remember: 2})
		for _, who := range []golden.ID{"a", "b", "a", "c"} {
			e.View(t.Context(), who, links())
		}
		erp.ordersErr = fault.New(fault.Unavailable, "", "down")
		require.Equal(t, enrich.Stale, e.View(t.Context(), "a", links()).Orders.State)
		require.Equal(t, enrich.Unavailable, e.View(t.Context(), "b", links()).Orders.State)
		require.Equal(t, enrich.Stale, e.View(t.Context(), "c", links()).Orders.State)
	})
	t.Run("a reader that panics costs its section only", func(t *testing.T) {
		t.Parallel()
		erp, _, e := setup(enrich.Config{})
		erp.panics = true
		v := e.View(t.Context(), id, links())
		require.Equal(t, enrich.ReasonFailed, v.Orders.Reason)
		require.Equal(t, enrich.OK, v.Warranties.State)
	})
	for label, c := range map[string]struct {
		err    error
		reason string
	}{
		"quota":   {fault.New(fault.Exhausted, "", "no calls left"), enrich.ReasonExhausted},
		"refused": {fault.New(fault.Precondition, "TOO_MANY_RECORDS", "no"), enrich.ReasonFailed},
		"defect":  {errors.New("secret detail"), enrich.ReasonFailed},
	} {
		t.Run("the reason is stable and the log says no more: "+label, func(t *testing.T) {
			t.Parallel()
			var out bytes.Buffer
			erp, _, e := setup(enrich.Config{Log: slog.New(slog.NewTextHandler(&out, nil))})
			erp.ordersErr = c.err
			require.Equal(t, c.reason, e.View(t.Context(), id, links()).Orders.Reason)
			require.Contains(t, out.String(), "system=erp section=orders")
			require.NotContains(t, out.String(), "secret")
		})
	}
}

func TestCircuit(t *testing.T) {
	t.Parallel()

	t.Run("a system that keeps failing is left alone and tried again after a rest", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			erp, crm, e := setup(enrich.Config{})
			erp.ordersErr = fault.New(fault.Unavailable, "", "down")
			for range 5 {
				require.Equal(t, enrich.ReasonUnavailable, e.View(t.Context(), id, links()).Orders.Reason)
			}
			v := e.View(t.Context(), id, links())
			require.Equal(t, enrich.ReasonCircuitOpen, v.Orders.Reason)
			require.Equal(t, 5, erp.orders)
			require.Equal(t, 6, crm.cases, "the other systems are asked all the same")
			require.Equal(t, enrich.OK, v.Warranties.State, "a circuit belongs to a section")
			erp.ordersErr = nil
			<-time.After(5*time.Second + time.Nanosecond)
			for range 10 {
				require.Equal(t, enrich.OK, e.View(t.Context(), id, links()).Orders.State)
			}
		})
	})
	t.Run("an error about one customer does not count", func(t *testing.T) {
		t.Parallel()
		erp, _, e := setup(enrich.Config{})
		erp.ordersErr = fault.New(fault.NotFound, "", "no such customer")
		for range 20 {
			require.Equal(t, enrich.ReasonFailed, e.View(t.Context(), id, links()).Orders.Reason)
		}
	})
	t.Run("a caller that goes away does not count", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			erp, _, e := setup(enrich.Config{})
			erp.delay = 500 * time.Millisecond
			for range 20 {
				ctx, cancel := context.WithCancel(t.Context())
				cancel()
				require.Equal(t, enrich.ReasonCanceled, e.View(ctx, id, links()).Orders.Reason)
			}
			for range 20 {
				ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
				require.Equal(t, enrich.ReasonTimeout, e.View(ctx, id, links()).Orders.Reason)
				cancel()
			}
			require.Equal(t, enrich.OK, e.View(t.Context(), id, links()).Orders.State)
		})
	})
	t.Run("a trial that its caller gave up does not block the circuit for ever", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			erp, _, e := setup(enrich.Config{})
			erp.ordersErr = fault.New(fault.Unavailable, "", "down")
			for range 5 {
				e.View(t.Context(), id, links())
			}
			erp.ordersErr, erp.delay = nil, time.Millisecond
			<-time.After(6 * time.Second)
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			e.View(ctx, id, links())
			<-time.After(6 * time.Second)
			require.Equal(t, enrich.OK, e.View(t.Context(), id, links()).Orders.State)
		})
	})
}
