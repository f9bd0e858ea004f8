package budget

import (
	"context"
	"errors"
	"maps"
	"sort"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/pkg/priority"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/rest"
)

// memory is a Store without a database: the same decisions on one account, with failures on demand.
type memory struct {
	cfg Config

	mu      sync.Mutex
	account account
	leases  map[string]*lease
	usage   map[int64]Usage
	down    bool
	// loseAnswer lets the next exchange happen and fails it.
	loseAnswer bool
	exchanges  int
	// granted, if set, is told every block.
	granted func(x Exchange, a Answer)
	limits  map[string]Allowance
}

var errDown = errors.New("the store is down")

func newMemory(cfg Config) *memory {
	return &memory{cfg: cfg, leases: map[string]*lease{}, usage: map[int64]Usage{}, limits: map[string]Allowance{}}
}

func (m *memory) Exchange(_ context.Context, x Exchange, now time.Time) (Answer, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.exchanges++
	if m.down {
		return Answer{}, errDown
	}
	for name, l := range m.leases {
		if name != x.Replica && !l.expires.After(now) {
			m.account.completed += l.outstanding
			delete(m.leases, name)
		}
	}
	mine := m.leases[x.Replica]
	if mine == nil {
		mine = &lease{replica: x.Replica}
		m.leases[x.Replica] = mine
	}
	var out Answer
	if x.Seq <= mine.seq {
		out.Block = mine.block
	} else {
		out = m.account.exchange(m.cfg, mine, x, now)
		u := m.usage[slotOf(now)]
		u.slot, u.End, u.Used = slotOf(now), endOf(slotOf(now)), m.account.used
		for l, n := range x.Report.Own {
			u.Own[l] += n
		}
		m.usage[slotOf(now)] = u
		if m.granted != nil && out.Block > 0 {
			m.granted(x, out)
		}
	}
	mine.expires = now.Add(m.cfg.Lease)
	out.State = m.account.state()
	if m.loseAnswer {
		m.loseAnswer = false
		return Answer{}, errDown
	}
	return out, nil
}

func (m *memory) History(context.Context) ([]Usage, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []Usage
	first := int64(0)
	for s := range m.usage {
		if first == 0 || s < first {
			first = s
		}
	}
	for s := first; len(out) < len(m.usage); s++ {
		if u, ok := m.usage[s]; ok {
			out = append(out, u)
		}
	}
	return out, nil
}

func (m *memory) SaveAllowances(_ context.Context, all []Allowance) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, a := range all {
		m.limits[a.Name] = a
	}
	return nil
}

func (m *memory) Allowances(context.Context) (map[string]Allowance, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return maps.Clone(m.limits), nil
}

// outstanding is how many calls are handed out without a known outcome.
func (m *memory) outstanding() int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.account.outstanding()
}

// org is what Salesforce counts: the calls of a rolling day, of every program.
type org struct {
	now   time.Time
	limit int64
	ours  []time.Time
	other []time.Time
}

func (o *org) clock() time.Time { return o.now }

// count is how many of calls, which are in order, a window that ends at a time holds.
func (o *org) count(calls []time.Time, at time.Time) int64 {
	until := func(limit time.Time) int {
		return sort.Search(len(calls), func(i int) bool { return calls[i].After(limit) })
	}
	return int64(until(at) - until(at.Add(-window)))
}

// used is the number of calls in the window that ends at a time.
func (o *org) used(at time.Time) int64 { return o.count(o.ours, at) + o.count(o.other, at) }

// serve counts one call of ours; the figure it answers with may be late.
func (o *org) serve(late time.Duration) rest.CallOutcome {
	if o.used(o.now) >= o.limit {
		return rest.CallOutcome{Sends: 1, Used: o.used(o.now), Limit: o.limit, Exhausted: true}
	}
	o.ours = append(o.ours, o.now)
	return rest.CallOutcome{Sends: 1, Used: o.used(o.now.Add(-late)), Limit: o.limit, Served: true}
}

// bench is an accountant on a store and an org.
type bench struct {
	t     *testing.T
	org   *org
	store *memory
	*Accountant
}

func exact() Config {
	c := DefaultConfig()
	c.Lag = 0
	return c
}

func setup(t *testing.T, cfg Config, limit int64) *bench {
	t.Helper()
	b := &bench{t: t, org: &org{now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC), limit: limit}, store: newMemory(cfg)}
	b.Accountant = b.replica("a")
	return b
}

func (b *bench) replica(name string) *Accountant {
	b.t.Helper()
	a, err := New(Options{Store: b.store, Config: b.store.cfg, Replica: name, MaxConcurrent: 1_000, Now: b.org.clock})
	require.NoError(b.t, err)
	a.blindTries = 1                               // tests have no time to wait
	a.gateway.long, a.gateway.limit = 1_000, 1_000 // these tests are not about slots
	return a
}

func at(t *testing.T, l priority.Level) context.Context {
	t.Helper()
	return priority.With(t.Context(), l)
}

// call makes one call and returns what Begin says.
func (b *bench) call(l priority.Level) error {
	b.t.Helper()
	return b.callOf(b.Accountant, l)
}

func (b *bench) callOf(a *Accountant, l priority.Level) error {
	b.t.Helper()
	end, err := a.Begin(at(b.t, l))
	if err != nil {
		return err
	}
	end(b.org.serve(0))
	return nil
}

// told makes everything known to the store.
func (b *bench) told() {
	b.t.Helper()
	_, err := b.flush(b.t.Context(), false)
	require.NoError(b.t, err)
}

// others has another program of the org make calls.
func (b *bench) others(n int) {
	for range n {
		b.org.other = append(b.org.other, b.org.now)
	}
}

// look reads the limits, as one replica does now and then.
func (b *bench) look() {
	b.t.Helper()
	b.read(b.t.Context(), func(ctx context.Context) ([]Allowance, error) {
		end, err := b.Begin(ctx)
		require.NoError(b.t, err, "the call that looks is made also when nothing is left")
		end(b.org.serve(0))
		return nil, nil
	})
	b.told()
}

func (b *bench) wait(d time.Duration) { b.org.now = b.org.now.Add(d) }
