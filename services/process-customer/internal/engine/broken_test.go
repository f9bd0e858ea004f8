package engine_test

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/pkg/telemetry"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/engine"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/engine/enginetest"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/intake"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/source"
)

// TestBroken breaks the transaction that takes a batch in at each of its statements, and its connection after each of its round
// trips. Nothing of it is there then, and taken in again the batch does what it does when nothing breaks.
func TestBroken(t *testing.T) {
	t.Parallel()
	for _, way := range ways {
		t.Run(way.name, func(t *testing.T) {
			t.Parallel()
			x := newSpoiled(t, way)
			n, lost, uncertain := way.first(), 0, 0
			for ; ; n += every() {
				where := fmt.Sprintf("broken at %d", n)
				x.breakAt(n)
				err := x.take()
				broken := x.spare()
				if !broken {
					require.NoError(t, err)
					break
				}
				if way.line && (err == nil || fault.KindOf(err) == fault.Uncertain) { // the connection lay idle, or the answer to COMMIT was lost
					if err != nil {
						uncertain++
					}
					require.Equal(t, x.after, x.outcome(), where)
					x.again()
					continue
				}
				way.blamed(t, err, where)
				lost++
				require.Equal(t, x.before, x.look(nil), where)
				if way.dies {
					x.start()
				}
				require.NoError(t, x.take(), where)
				require.Equal(t, x.after, x.outcome(), where)
				x.again()
			}
			require.Greater(t, n, 20)
			if testing.Short() {
				require.Positive(t, lost)
				require.LessOrEqual(t, uncertain, 1)
				return
			}
			require.Greater(t, lost, 20)
			if way.line {
				require.Equal(t, 1, uncertain, "the answer to COMMIT")
			}
		})
	}
}

// spoiled is a batch that is taken in again and again.
type spoiled struct {
	*stage
	batch  intake.Batch
	clock  *enginetest.Clock
	rand   io.Reader
	engine *engine.Engine
	after  map[string][]string // what the tables hold when nothing has broken
}

// newSpoiled returns the batch, which was not taken in yet.
func newSpoiled(t *testing.T, w way) *spoiled {
	t.Helper()
	x := &spoiled{stage: newStage(t, w)}
	x.history()
	x.keep()
	x.start()
	require.NoError(t, x.take())
	x.after = x.outcome()
	x.again()
	require.Equal(t, x.before, x.look(nil))
	return x
}

// history makes a batch with everything in it that a batch may have.
func (x *spoiled) history() {
	x.t.Helper()
	w, sf := x.w, x.w.SF
	who := func(i int) golden.Values {
		return golden.Values{golden.Name: fmt.Sprintf("Customer %d GmbH", i), golden.TaxID: fmt.Sprintf("DE10000000%d", i), golden.PostalCode: "50667", golden.Phone: "1"}
	}
	var ids []string
	for i := range 5 {
		ids = append(ids, sf.Create(golden.Customer, "", who(i)))
	}
	anna := sf.Create(golden.Contact, ids[0], golden.Values{golden.LastName: "Arndt", golden.Email: "anna@acme.example"})
	kern := sf.Create(golden.Contact, ids[1], golden.Values{golden.LastName: "Kern"})
	w.ERP.Create(golden.Customer, "", who(6))
	w.Settle()

	sf.Edit(golden.Customer, ids[0], golden.Values{golden.Phone: "2"})
	sf.Edit(golden.Customer, ids[1], golden.Values{golden.TaxID: "DE100000009", golden.Name: "Renamed"})
	sf.Create(golden.Contact, sf.Create(golden.Customer, "", who(7)), golden.Values{golden.LastName: "Neu"})
	sf.Edit(golden.Contact, anna, golden.Values{golden.Email: "arndt@acme.example"})
	sf.Create(golden.Customer, "", golden.Values{golden.Name: "Known", golden.TaxID: "DE100000002", golden.Website: "https://known.example"})
	sf.Edit(golden.Customer, ids[0], golden.Values{golden.City: "Köln"})
	sf.Delete(golden.Contact, kern)
	sf.Delete(golden.Customer, ids[3])
	sf.Merge(golden.Customer, ids[0], ids[4], golden.Values{golden.Website: "https://acme.example"})
	sf.Create(golden.Customer, "", golden.Values{golden.Name: strings.Repeat("x", 10_000)}) // nobody can store it

	_, err := w.Feeds[0].Acquire(x.t.Context())
	require.NoError(x.t, err)
	feed, err := w.Store.Read().Feed(x.t.Context(), sf.Name())
	require.NoError(x.t, err)
	enough := errors.New("enough")
	require.ErrorIs(x.t, sf.Watch(x.t.Context(), feed.Token, func(b source.Batch) error {
		feed.Token = b.Token
		x.batch = intake.Batch{Changes: b.Changes, Feed: &feed}
		return enough
	}), enough)
	require.Greater(x.t, len(x.batch.Changes), 10)
}

// start begins another process.
func (x *spoiled) start() {
	x.t.Helper()
	e, err := engine.New(engine.Deps{
		Store: x.s, Systems: []source.System{x.w.SF, x.w.ERP}, Rules: x.w.Rules, Owner: "spoiled", Now: func() time.Time { return x.clock.Now() },
		Rand: luck{x}, Telemetry: telemetry.Discard(), Ahead: 3,
	})
	require.NoError(x.t, err)
	x.engine = e
}

// again sets everything back and begins another process.
func (x *spoiled) again() {
	x.t.Helper()
	x.restore()
	x.start()
}

// luck is the same each time.
type luck struct{ x *spoiled }

func (l luck) Read(p []byte) (int, error) { return l.x.rand.Read(p) }

// take takes the batch in, at the same time and with the same luck each time.
func (x *spoiled) take() error {
	x.clock, x.rand = enginetest.NewClock(), enginetest.NewRand(1)
	x.clock.Advance(time.Hour)
	_, err := x.engine.Intake.Take(x.t.Context(), x.w.SF.Name(), x.batch)
	return err
}

// outcome returns what the tables hold that is the same each time the batch was taken in, and what the audit trail says.
func (x *spoiled) outcome() map[string][]string {
	x.t.Helper()
	out := x.look(chance)
	for _, row := range out["golden"] {
		id := golden.ID(strings.TrimPrefix(strings.Fields(row)[0], "id="))
		events, err := x.w.Store.Read().ListEvents(x.t.Context(), id, 0, 1000)
		require.NoError(x.t, err)
		require.NotEmpty(x.t, events)
		for i := range events {
			out["trail"] = append(out["trail"], fmt.Sprintf("%+v", events[i]))
		}
	}
	return out
}
