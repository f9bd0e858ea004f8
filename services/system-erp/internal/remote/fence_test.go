package remote_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/services/system-erp/backendtest"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/backend"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/erp"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/remote"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/store"
)

// gate is the in-memory ERP as one of its writers sees it: things happen while he is on his way.
type gate struct {
	*ledger
	// looked happens after he looked for a record, sending when what he sent is still under way, sent before he has the answer.
	looked, sending, sent func()
}

// once runs what is to happen at a place, the first time he comes there.
func once(place *func()) {
	if fn := *place; fn != nil {
		*place = nil
		fn()
	}
}

func (g *gate) Customers() remote.Source[erp.Customer] {
	return gatedParty{(*party)(g.ledger), g}
}

func (g *gate) FindOrders(ctx context.Context, k remote.Key) ([]erp.Order, error) {
	out, err := g.ledger.FindOrders(ctx, k)
	once(&g.looked)
	return out, err
}

func (g *gate) InsertOrder(ctx context.Context, o erp.Order, k remote.Key) (erp.Order, error) {
	once(&g.sending)
	made, err := g.ledger.InsertOrder(ctx, o, k)
	once(&g.sent)
	return made, err
}

type gatedParty struct {
	*party
	g *gate
}

func (p gatedParty) Find(ctx context.Context, keys []remote.Key) ([][]snapshot, error) {
	out, err := p.party.Find(ctx, keys)
	once(&p.g.looked)
	return out, err
}

func (p gatedParty) Insert(ctx context.Context, drafts []remote.Draft[erp.Customer]) ([]remote.Reply[erp.Customer], error) {
	once(&p.g.sending)
	out, err := p.party.Insert(ctx, drafts)
	once(&p.g.sent)
	return out, err
}

func (p gatedParty) Read(ctx context.Context, ids []string) ([]snapshot, error) {
	out, err := p.party.Read(ctx, ids)
	once(&p.g.looked)
	return out, err
}

// pair is two processes on one database and one ERP: the first one is on his way through the gate.
type pair struct {
	away, here *remote.Store
	gate       *gate
	clock      *clock
}

func newPair(t *testing.T) *pair {
	t.Helper()
	p := &pair{gate: &gate{ledger: newLedger()}, clock: newClock()}
	dsn := template.DSN(t, "sqlite")
	p.away, _ = openRemote(t, dsn, p.gate, p.clock)
	p.here, _ = openRemote(t, dsn, p.gate.ledger, p.clock)
	return p
}

func (p *pair) documents(t *testing.T, object string) int64 {
	t.Helper()
	return documents(t, p.here, object)
}

func documents(t *testing.T, s *remote.Store, object string) (n int64) {
	t.Helper()
	list, err := s.Documents(t.Context(), time.Now().AddDate(0, 0, -2), time.Now().AddDate(0, 0, 2))
	require.NoError(t, err)
	for _, c := range list {
		if c.Object == object {
			n += c.Documents
		}
	}
	return n
}

var fenceKey = erp.Ref{System: "s", Type: "t", Value: "1"}

func upsert(t *testing.T, s *remote.Store, name string) (store.Result[erp.Customer], error) {
	t.Helper()
	res, err := s.Customers().Upsert(t.Context(), []store.Upsert[erp.Customer]{{Key: fenceKey, Record: erp.Customer{Name: name}}})
	if err != nil {
		return store.Result[erp.Customer]{}, err
	}
	return res[0], res[0].Err
}

// fenced is what happens while the first writer is away, and what the other one may make of it.
var fenced = []struct {
	name  string
	place func(g *gate) *func()
	// settled is true when the other one finishes the write; otherwise the first one's may still arrive.
	settled bool
}{
	{"who is away before he sends sends nothing", func(g *gate) *func() { return &g.looked }, true},
	{"what is under way is not sent a second time", func(g *gate) *func() { return &g.sending }, false},
	{"who is away when the answer comes notes nothing", func(g *gate) *func() { return &g.sent }, true},
}

func TestFence_OfAnOrder(t *testing.T) {
	t.Parallel()
	for _, c := range fenced {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p := newPair(t)
			buyer, err := upsert(t, p.here, "Buyer")
			require.NoError(t, err)
			two, err := erp.ParseDecimal("2")
			require.NoError(t, err)
			asked := erp.Order{ClientRef: "c", CustomerID: buyer.Record.ID, Items: []erp.Item{{SKU: "P-1", Quantity: two}}}
			var other erp.Order
			*c.place(p.gate) = func() {
				p.clock.advance(lease + time.Second)
				other, _, err = p.here.CreateOrder(t.Context(), asked)
			}
			_, _, mine := p.away.CreateOrder(t.Context(), asked)
			require.Equal(t, fault.ReasonOutcomeUncertain, fault.ReasonOf(mine), "%v", mine)
			if c.settled {
				require.NoError(t, err)
			} else {
				require.Equal(t, fault.ReasonOutcomeUncertain, fault.ReasonOf(err), "%v", err)
				other, _, err = p.here.CreateOrder(t.Context(), asked)
				require.NoError(t, err)
			}
			p.gate.set(func() { require.Len(t, p.gate.orders, 1) })
			require.EqualValues(t, 1, p.documents(t, "order"))
			again, outcome, err := p.away.CreateOrder(t.Context(), asked)
			require.NoError(t, err)
			require.Equal(t, []any{other.ID, erp.Unchanged}, []any{again.ID, outcome}, "he is told what the other one made")
			p.gate.set(func() { require.Len(t, p.gate.orders, 1) })
		})
	}
}

func TestFence_OfACustomer(t *testing.T) {
	t.Parallel()
	for _, c := range fenced {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p := newPair(t)
			var err error
			*c.place(p.gate) = func() {
				p.clock.advance(lease + time.Second)
				_, err = upsert(t, p.here, "A")
			}
			_, mine := upsert(t, p.away, "A")
			require.Equal(t, fault.ReasonOutcomeUncertain, fault.ReasonOf(mine), "%v", mine)
			if c.settled {
				require.NoError(t, err)
			} else {
				require.Equal(t, fault.ReasonOutcomeUncertain, fault.ReasonOf(err), "%v", err)
				_, err = upsert(t, p.here, "A")
				require.NoError(t, err)
			}
			again, err := upsert(t, p.away, "A")
			require.NoError(t, err)
			require.Equal(t, erp.Unchanged, again.Outcome)
			p.gate.set(func() { require.Len(t, p.gate.customers, 1) })
			require.EqualValues(t, 1, p.documents(t, "customer"), "whoever noted it, one was made")
		})
	}
}

// TestFence_OfAChange: a change is not sent by who may have been overtaken, although the ERP would compare its tag.
func TestFence_OfAChange(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	_, err := upsert(t, p.here, "A")
	require.NoError(t, err)
	p.gate.looked = func() {
		p.clock.advance(lease + time.Second)
		_, err = upsert(t, p.here, "newer")
	}
	_, mine := upsert(t, p.away, "older")
	require.NoError(t, err)
	require.Equal(t, fault.ReasonOutcomeUncertain, fault.ReasonOf(mine), "%v", mine)
	now, err := p.here.Customers().Lookup(t.Context(), fenceKey)
	require.NoError(t, err)
	require.Equal(t, "newer", now.Name)
}

// TestOrder_SaysWhenItWasSentFirst: an ERP that remembers requests recognises a repetition by the time of the first one, and
// repeats a refusal for ever unless what follows is another request.
func TestOrder_SaysWhenItWasSentFirst(t *testing.T) {
	t.Parallel()
	l, c := newLedger(), newClock()
	spy := &times{ledger: l}
	s, _ := openRemote(t, template.DSN(t, "sqlite"), spy, c)
	buyer, err := upsert(t, s, "Buyer")
	require.NoError(t, err)
	one, err := erp.ParseDecimal("1")
	require.NoError(t, err)
	asked := erp.Order{ClientRef: "c", CustomerID: buyer.Record.ID, Items: []erp.Item{{SKU: "P-1", Quantity: one}}}
	send := func(lost int, wait time.Duration) {
		spy.lost = lost
		fails := lost > 0 || spy.away > 0
		_, _, err := s.CreateOrder(t.Context(), asked)
		require.Equal(t, fails, err != nil, "%v", err)
		c.advance(wait)
	}
	spy.away = 1
	send(0, time.Second)
	send(1, settle+time.Second)
	send(1, settle+time.Second)
	spy.away = 1
	send(0, 0)
	send(1, settle+time.Second)
	require.Len(t, spy.first, 5)
	require.True(t, spy.first[1].After(spy.first[0]), "what never arrived was no attempt")
	require.Equal(t, spy.first[1], spy.first[2], "the time of the first attempt")
	require.Equal(t, []time.Time{spy.first[1], spy.first[1]}, spy.first[3:], "also when one of the others did not reach the ERP")
	c.advance(7 * time.Hour)
	spy.locked = 1
	send(0, 0)
	require.Len(t, spy.first, 7)
	require.True(t, spy.first[5].After(spy.first[4]), "nobody remembers a request for that long")
	require.True(t, spy.first[6].After(spy.first[5]), "what was refused is not what is sent now")
}

// TestFence_OfACustomerWhoseERPIsAway: what was sent is not forgotten because a later attempt did not arrive.
func TestFence_OfACustomerWhoseERPIsAway(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	p.gate.arm(backendtest.Drop, 1)
	_, err := upsert(t, p.here, "A")
	require.Equal(t, fault.Uncertain, fault.KindOf(err), "%v", err)
	p.clock.advance(settle + time.Second)
	p.gate.outage(true)
	_, err = upsert(t, p.here, "A")
	require.Equal(t, fault.Unavailable, fault.KindOf(err), "%v", err)
	p.gate.outage(false)
	_, err = desk{p.gate.ledger}.Make(t.Context(), "A", fenceKey) // the first one arrives after all
	require.NoError(t, err)
	_, err = upsert(t, p.here, "A")
	require.NoError(t, err)
	require.EqualValues(t, 1, p.documents(t, "customer"), "it is known to be ours")
}

// TestFence_OfAnOrderThatMeetsALock: a refusal for a lock says nothing about what was sent before. It may still arrive, and is the order.
func TestFence_OfAnOrderThatMeetsALock(t *testing.T) {
	t.Parallel()
	l, c := newLedger(), newClock()
	spy := &times{ledger: l}
	s, _ := openRemote(t, template.DSN(t, "sqlite"), spy, c)
	buyer, err := upsert(t, s, "Buyer")
	require.NoError(t, err)
	one, err := erp.ParseDecimal("1")
	require.NoError(t, err)
	asked := erp.Order{ClientRef: "c", CustomerID: buyer.Record.ID, Items: []erp.Item{{SKU: "P-1", Quantity: one}}}
	spy.lost = 1
	_, _, err = s.CreateOrder(t.Context(), asked)
	require.Equal(t, fault.Uncertain, fault.KindOf(err), "%v", err)
	c.advance(settle + time.Second)
	spy.locked = 1000
	_, _, err = s.CreateOrder(t.Context(), asked)
	require.Equal(t, backend.ReasonLocked, fault.ReasonOf(err))
	spy.locked = 0
	late, err := spy.late()
	require.NoError(t, err)
	c.advance(settle + time.Second)
	made, _, err := s.CreateOrder(t.Context(), asked)
	require.NoError(t, err)
	require.Equal(t, late.ID, made.ID)
	require.EqualValues(t, 1, documents(t, s, "order"), "it is known to be ours")
}

// times notes what orders say about their first attempt, and loses or refuses some.
type times struct {
	*ledger
	first []time.Time
	// lost, locked and away are how many of the next ones are not answered, are refused, do not reach the ERP.
	lost, locked, away int
	// late writes the last one that was lost.
	late func() (erp.Order, error)
}

func (s *times) InsertOrder(ctx context.Context, o erp.Order, k remote.Key) (erp.Order, error) {
	s.first = append(s.first, k.First)
	switch {
	case s.away > 0:
		s.away--
		return erp.Order{}, fault.New(fault.Unavailable, "", "down")
	case s.lost > 0:
		s.lost--
		s.late = func() (erp.Order, error) { return s.ledger.InsertOrder(context.WithoutCancel(ctx), o, k) }
		return erp.Order{}, fault.New(fault.Uncertain, fault.ReasonOutcomeUncertain, "no answer")
	case s.locked > 0:
		s.locked--
		return erp.Order{}, fault.New(fault.Conflict, backend.ReasonLocked, "somebody works on it")
	}
	return s.ledger.InsertOrder(ctx, o, k)
}
