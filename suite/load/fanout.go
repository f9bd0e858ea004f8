package load

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"time"

	"github.com/selfsame-io/selfsame/suite"
)

// FanoutOptions says how a screen of three sections is asked for.
type FanoutOptions struct {
	// Accounts is how many customers there are, see [Generate]; those that stand in both systems are asked for.
	Accounts int
	// Takes is how long each of the three calls takes.
	Takes time.Duration
	// Users ask again as soon as they are answered.
	Users int
	// Requests are sent to each side in each round.
	Requests, Rounds int
	// HungRate is requests in a second, and HungRequests how many, while one call never answers.
	HungRate     float64
	HungRequests int
}

// FanoutResult compares the customer screen with one made by hand.
type FanoutResult struct {
	Circumstances

	Options FanoutOptions `json:"options"`
	// Bare and Selfsame are screens in a second, Ratio the latter over the former: the median of Ratios.
	Bare     float64   `json:"bare"`
	Selfsame float64   `json:"selfsame"`
	Ratio    float64   `json:"ratio"`
	Ratios   []float64 `json:"ratios"`
	// Layers is that of a screen made by hand in two services, and OverLayers the ratio over it: what is left of the difference is not
	// that there is one more hop.
	Layers     float64   `json:"layers"`
	OverLayers float64   `json:"over_layers"`
	LayerRatio []float64 `json:"over_layers_rounds"`
	// BareViews are views in a second of the lower of those two services alone, Views those of process-customer alone, both over gRPC, and
	// ViewRatio the latter over the former: the scatter-gather itself.
	BareViews  float64   `json:"bare_views"`
	Views      float64   `json:"views"`
	ViewRatio  float64   `json:"view_ratio"`
	ViewRatios []float64 `json:"view_ratios"`
	// Refused is the share of our screens that were turned away; they do not count as screens.
	Refused float64 `json:"refused"`
	// BareP99, LayersP99 and SelfsameP99 are latencies in microseconds.
	BareP99     float64 `json:"bare_p99"`
	LayersP99   float64 `json:"layers_p99"`
	SelfsameP99 float64 `json:"selfsame_p99"`
	// Limit is the time limit of a section, HungP50 and HungP99 latencies while one hangs, in microseconds. An answer that is
	// no success ends the measurement, so there are none.
	Limit   float64 `json:"limit"`
	HungP50 float64 `json:"hung_p50"`
	HungP99 float64 `json:"hung_p99"`
}

// sectionLimit is the default time limit of a section in process-customer.
const sectionLimit = 800 * time.Millisecond

// Fanout lets the suite sync, puts systems that only take their time in the place of the two, and asks for screens.
func Fanout(ctx context.Context, o Options, f FanoutOptions) (_ *FanoutResult, err error) {
	out := &FanoutResult{Circumstances: begin(), Options: f, Limit: float64(sectionLimit.Microseconds())}
	run, err := o.start(ctx, "fanout", Generate(f.Accounts), nil)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, run.stop()) }()
	o.progress("  waiting for the initial sync")
	if _, err := run.settled(ctx, o.quiet(), nil); err != nil {
		return nil, err
	}
	st := run.demo.State
	m := &fanning{o: o, f: f, run: run, header: http.Header{"Authorization": {"Bearer " + st.Token}, "Accept": {"application/json"}}}
	all, err := screens(ctx, st.REST, m.header, f.Accounts)
	if err != nil {
		return nil, err
	}
	for _, c := range all {
		if c.GetErpNumber() != "" {
			m.paths = append(m.paths, "/v1/customers/"+c.GetCustomerId())
		}
	}
	if err := run.suite.StopService(suite.ProcessCustomer); err != nil {
		return nil, err
	}
	if err := m.over(ctx, "", func(target string) error { return m.compare(ctx, target, out) }); err != nil {
		return nil, err
	}
	if err := m.over(ctx, callWarranties, func(string) error { return m.hang(ctx, out) }); err != nil {
		return nil, err
	}
	out.end()
	return out, nil
}

// fanning is a measurement under way.
type fanning struct {
	o      Options
	f      FanoutOptions
	run    *running
	header http.Header
	paths  []string
}

// over runs process-customer over systems that only take their time, as long as do takes.
func (m *fanning) over(ctx context.Context, hanging string, do func(target string) error) (err error) {
	b := &bench{o: m.o}
	defer func() { err = errors.Join(err, b.stop()) }()
	if hanging == "" {
		hanging = "none"
	}
	systems, err := b.launch(ctx, bareSystems, m.f.Takes.String(), hanging)
	if err != nil {
		return err
	}
	command := append(append([]string{}, m.o.Service...), suite.ProcessCustomer, "--config", filepath.Join(m.run.demo.State.Dir, suite.ProcessCustomer+".yaml"),
		"--salesforce.target", systems.addr, "--erp.target", systems.addr)
	p, err := launchService(ctx, command, m.run.demo.State.Ops[suite.ProcessCustomer])
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.stop()) }()
	if err := m.complete(ctx, hanging); err != nil {
		return err
	}
	return do(systems.addr)
}

// complete waits until a screen has its three sections, but for the one that hangs.
func (m *fanning) complete(ctx context.Context, hanging string) error {
	ctx, cancel := context.WithTimeout(ctx, readyLimit)
	defer cancel()
	client := keepAlive()
	defer client.CloseIdleConnections()
	want := 3
	if hanging != "none" {
		want = 2
	}
	for {
		var screen struct {
			Sources []struct{ Section, State string } `json:"sources"`
		}
		b, err := get(ctx, client, m.run.demo.State.REST+m.paths[0], m.header)
		if err == nil {
			err = json.Unmarshal(b, &screen)
		}
		ok := 0
		for _, s := range screen.Sources {
			if s.State == "OK" {
				ok++
			}
		}
		if err == nil && ok == want {
			return nil
		}
		if !sleepUntil(ctx, time.Now().Add(100*time.Millisecond)) {
			return errors.Join(fmt.Errorf("the screen has %d sections where %d were to be", ok, want), err)
		}
	}
}

func (m *fanning) shot(base string, requests, connections int, rate float64) shot {
	s := shot{header: m.header, requests: requests, connections: connections, rate: rate, sheds: rate == 0}
	for _, p := range m.paths {
		s.urls = append(s.urls, base+p)
	}
	return s
}

func (m *fanning) compare(ctx context.Context, systems string, out *FanoutResult) (err error) {
	b := &bench{o: m.o}
	defer func() { err = errors.Join(err, b.stop()) }()
	bare, err := b.launch(ctx, bareFanout, systems)
	if err != nil {
		return err
	}
	low, err := b.launch(ctx, bareLower, systems)
	if err != nil {
		return err
	}
	up, err := b.launch(ctx, bareUpper, low.addr)
	if err != nil {
		return err
	}
	sides := []string{"http://" + bare.addr, "http://" + up.addr, m.run.demo.State.REST}
	w := &wire{}
	defer w.close()
	var paces, slowest [3][]float64
	for round := range m.f.Rounds + 1 {
		for i, base := range sides {
			h, err := m.shot(base, m.f.Requests, m.f.Users, 0).fire(ctx, w)
			if err != nil {
				return fmt.Errorf("ask for screens: %w", err)
			}
			if round > 0 { // the first warms up
				out.Refused = max(out.Refused, float64(h.refused)/float64(h.refused+h.done))
				paces[i], slowest[i] = append(paces[i], h.pace()), append(slowest[i], float64(h.p99.Microseconds()))
			}
		}
		if round > 0 {
			hand, layers, ours := paces[0][round-1], paces[1][round-1], paces[2][round-1]
			out.Ratios, out.LayerRatio = append(out.Ratios, ours/hand), append(out.LayerRatio, ours/layers)
			m.o.progress("  by hand %.0f screens in a second, by hand in two services %.0f, ours %.0f", hand, layers, ours)
		}
	}
	out.Bare, out.Layers, out.Selfsame = median(paces[0]), median(paces[1]), median(paces[2])
	out.Ratio, out.OverLayers = median(out.Ratios), median(out.LayerRatio)
	out.BareP99, out.LayersP99, out.SelfsameP99 = median(slowest[0]), median(slowest[1]), median(slowest[2])
	return m.scatter(ctx, low.addr, out)
}

func (m *fanning) hang(ctx context.Context, out *FanoutResult) error {
	w := &wire{}
	defer w.close()
	h, err := m.shot(m.run.demo.State.REST, m.f.HungRequests, m.f.Users, m.f.HungRate).fire(ctx, w)
	if err != nil {
		return fmt.Errorf("ask for screens while a system hangs: %w", err)
	}
	out.HungP50, out.HungP99 = float64(h.p50.Microseconds()), float64(h.p99.Microseconds())
	m.o.progress("  while warranties hang: p50 %v, p99 %v", h.p50, h.p99)
	return nil
}
