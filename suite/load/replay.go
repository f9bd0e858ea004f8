package load

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/selfsame-io/selfsame/suite"
)

// ReplayOptions says how hard [Replay] repeats.
type ReplayOptions struct {
	// Accounts is how many customers there are, see [Generate].
	Accounts int
	// Orders are placed in each round, Replays are the repetitions of them.
	Orders, Replays int
	// Rounds is how often both are measured in turn.
	Rounds int
	// Connections is how many are kept open.
	Connections int
}

// ReplayResult compares placing an order through the whole suite with repeating the same request, which the edge answers from
// memory. Processor time is that of all four services. Memory is a hand-written handler that answers as many bytes without
// looking at the request, at the rate of the repetitions: what the machine and the load's own process take is in both.
type ReplayResult struct {
	Circumstances

	Options ReplayOptions `json:"options"`
	// Apart is how many cores the services and the handler had while what sends the load had one of its own; zero if all stood on all.
	Apart    int  `json:"apart"`
	Executed Side `json:"executed"`
	Replayed Side `json:"replayed"`
	Memory   Side `json:"memory"`
	// ExecutedRate and ReplayedRate are half of what each is done in a second without a pause.
	ExecutedRate float64 `json:"executed_rate"`
	ReplayedRate float64 `json:"replayed_rate"`
	// Ratio is the processor time of executing over that of repeating, the median of Ratios.
	Ratio  float64   `json:"ratio"`
	Ratios []float64 `json:"ratios"`
}

// orderSKU is an article of the catalogue that every demo has.
const orderSKU = "VALVE-15"

// Replay starts the suite with answers kept at the edge and measures both kinds of request in turn.
func Replay(ctx context.Context, o Options, r ReplayOptions) (_ *ReplayResult, err error) {
	out := &ReplayResult{Circumstances: begin(), Options: r}
	places, err := separate()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, places.end()) }()
	out.Apart = places.apart()
	var run *running
	defer func() {
		if run != nil {
			err = errors.Join(err, run.stop())
		}
	}()
	err = places.start(func() (err error) {
		run, err = o.start(ctx, "replay", Generate(r.Accounts), func(s *suite.Options) {
			// The demo keeps nothing at the edge; a deployment does by default.
			s.Tune = func(c *suite.Configs) { c.ExperienceMobile.Replay.Memory = 32 << 20 }
		})
		return err
	})
	if err != nil {
		return nil, err
	}
	o.progress("  waiting for the initial sync")
	if _, err := run.settled(ctx, o.quiet(), nil); err != nil {
		return nil, err
	}
	st := run.demo.State
	header := http.Header{"Authorization": {"Bearer " + st.Token}, "Accept": {"application/json"}}
	customers, err := screens(ctx, st.REST, header, r.Accounts)
	if err != nil {
		return nil, err
	}
	m := &replaying{o: o, r: r, run: run, cores: places, target: &target{base: st.REST, wire: &wire{}}, header: header}
	defer m.target.wire.close()
	m.target.order = []string{suite.ExperienceMobile, suite.ProcessCustomer, suite.SystemERP, suite.SystemSalesforce}
	m.target.pids = st.PIDs
	for _, c := range customers {
		if c.GetErpNumber() == "" {
			continue // it does not stand in the ERP yet
		}
		body, err := json.Marshal(map[string]any{
			"customerId": c.GetCustomerId(), "items": []any{map[string]any{"sku": orderSKU, "quantity": "1"}},
		})
		if err != nil {
			return nil, err
		}
		m.bodies = append(m.bodies, string(body))
	}
	if len(m.bodies) == 0 {
		return nil, errors.New("no customer stands in the ERP")
	}
	if err := m.measure(ctx, out); err != nil {
		return nil, err
	}
	out.end()
	return out, nil
}

// replaying is a measurement under way.
type replaying struct {
	o      Options
	r      ReplayOptions
	run    *running
	cores  *cores
	target *target
	header http.Header
	bodies []string
}

// shot places orders. Of two shots with the same keys the second repeats the first.
func (m *replaying) shot(requests int, rate float64, key func(int) string) shot {
	keys := min(requests, m.r.Orders)
	return shot{
		urls: []string{m.target.base + "/v1/orders"}, header: m.header, requests: requests, rate: rate, connections: m.r.Connections,
		body: func(i int) string { return m.bodies[i%keys%len(m.bodies)] }, key: func(i int) string { return key(i % keys) },
	}
}

// rest waits until what the orders caused behind their answers is done: it is no part of repeating them.
func (m *replaying) rest(ctx context.Context) error {
	_, err := m.run.settled(ctx, min(m.o.quiet(), time.Second), nil)
	return err
}

func (m *replaying) measure(ctx context.Context, out *ReplayResult) (err error) {
	warm := keysOf("warm")
	first, err := m.shot(m.r.Orders, 0, warm).fire(ctx, m.target.wire)
	if err != nil {
		return fmt.Errorf("place orders: %w", err)
	}
	if err := m.rest(ctx); err != nil {
		return err
	}
	again, err := m.shot(m.r.Replays, 0, warm).fire(ctx, m.target.wire)
	if err != nil {
		return fmt.Errorf("repeat orders: %w", err)
	}
	out.ExecutedRate, out.ReplayedRate = first.pace()/2, again.pace()/2
	b := &bench{o: m.o, cores: m.cores}
	defer func() { err = errors.Join(err, b.stop()) }()
	memory, err := b.launch(ctx, bareMemory, strconv.FormatInt(max(again.bytes/int64(m.r.Replays), 2), 10))
	if err != nil {
		return err
	}
	placed, repeated, bare := *m.target, *m.target, sideOf("handler", memory)
	bare.wire = m.target.wire
	for range m.r.Rounds {
		key := keysOf("order")
		if err := placed.round(ctx, m.shot(m.r.Orders, out.ExecutedRate, key)); err != nil {
			return err
		}
		if err := m.rest(ctx); err != nil {
			return err
		}
		if err := repeated.round(ctx, m.shot(m.r.Replays, out.ReplayedRate, key)); err != nil {
			return err
		}
		same := m.shot(m.r.Replays, out.ReplayedRate, key)
		same.urls = []string{bare.base}
		if err := bare.round(ctx, same); err != nil {
			return err
		}
		last := len(placed.rounds) - 1
		out.Ratios = append(out.Ratios, placed.rounds[last].micros()/repeated.rounds[last].micros())
		m.o.progress("  executed %.0f µs, repeated %.0f µs, p99 %v, that of a handler %v", placed.rounds[last].micros(), repeated.rounds[last].micros(),
			repeated.rounds[last].hits.p99, bare.rounds[last].hits.p99)
	}
	out.Executed, out.Replayed, out.Memory, out.Ratio = placed.side(), repeated.side(), bare.side(), median(out.Ratios)
	return nil
}
