package remote_test

import (
	"context"
	"crypto/rand"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/selfsame-io/selfsame/pkg/db"
	"github.com/selfsame-io/selfsame/pkg/db/dbtest"
	"github.com/selfsame-io/selfsame/pkg/retry"
	"github.com/selfsame-io/selfsame/pkg/telemetry"
	"github.com/selfsame-io/selfsame/services/system-erp/adapter"
	"github.com/selfsame-io/selfsame/services/system-erp/backendtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// clock is a clock that can be moved.
type clock struct{ ahead chan time.Duration }

func newClock() *clock {
	c := &clock{ahead: make(chan time.Duration, 1)}
	c.ahead <- 0
	return c
}

func (c *clock) now() time.Time {
	d := <-c.ahead
	c.ahead <- d
	return time.Now().Add(d)
}

func (c *clock) advance(d time.Duration) { c.ahead <- d + <-c.ahead }

// template has the tables already.
var template = dbtest.NewTemplate(func(ctx context.Context, d *db.DB) error {
	_, err := adapter.Open(ctx, d, newLedger(), adapter.Options{})
	return err
})

const (
	lease  = 2 * time.Minute
	settle = 10 * time.Minute
)

func openRemote(t *testing.T, dsn string, sys adapter.System, c *clock, change ...func(*adapter.Options)) (*adapter.Store, *db.DB) {
	t.Helper()
	d, err := db.Open(t.Context(), dsn, telemetry.Discard())
	require.NoError(t, err)
	t.Cleanup(func() { _ = d.Close() })
	o := adapter.Options{Now: c.now, Lease: lease, Settle: settle, Locked: retry.Backoff{Min: time.Millisecond, Max: time.Millisecond}}
	for _, f := range change {
		f(&o)
	}
	s, err := adapter.Open(t.Context(), d, sys, o)
	require.NoError(t, err)
	return s, d
}

// world is the in-memory ERP behind the engine.
func world(engine string) backendtest.Open {
	return func(t *testing.T) *backendtest.World {
		t.Helper()
		ledger := newLedger()
		own, c := template.DSN(t, engine), newClock()
		// A process that dies cannot reach its database; everything that was open belongs to it.
		var open []*db.DB
		start := func(dsn string) adapter.Backend {
			s, d := openRemote(t, dsn, ledger, c)
			open = append(open, d)
			return s
		}
		ledger.onDie(func() {
			for _, d := range open {
				_ = d.Close()
			}
		})
		large := 2500
		if testing.Short() {
			large = 60
		}
		return &backendtest.World{
			Backend: start(own), Restart: func(*testing.T) adapter.Backend { return start(own) },
			Lost: func(t *testing.T) adapter.Backend { return start(template.DSN(t, engine)) },
			Sync: sync, Advance: c.advance, Lease: lease, Settle: settle, Arm: ledger.arm, Outage: ledger.outage, Outside: desk{ledger},
			SKUs: []string{"P-1", "P-2"}, Large: large, Prefix: rand.Text()[:8],
			Bad: []backendtest.Violation{
				{Name: "long", Customer: &adapter.Customer{Phone: "0123456789012345678901234567890123456789"}, Path: "customer.phone", Reason: adapter.ReasonTooLong},
			},
		}
	}
}

func TestContract(t *testing.T) {
	t.Parallel()
	for _, engine := range []string{"sqlite", "postgres"} {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			if engine == "postgres" {
				dbtest.DSN(t, engine) // skips where there is none
			}
			backendtest.Run(t, backendtest.Options{Parallel: true, Shared: testing.Short()}, world(engine))
		})
	}
}
