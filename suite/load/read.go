package load

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	mobilev1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/mobile/v1"
	"github.com/selfsame-io/selfsame/suite"
)

// ReadOptions says how hard [Read] reads.
type ReadOptions struct {
	// Accounts is how many customers there are, see [Generate].
	Accounts int
	// Customers is how many different ones are read in turn.
	Customers int
	// Requests are sent to each side in each round, after Warmup requests that are not counted.
	Requests, Warmup int
	// Rounds is how often both sides are measured in turn.
	Rounds int
	// Rate is requests in a second; zero sends as fast as answers come back.
	Rate float64
	// Connections is how many are kept open.
	Connections int
}

// Share is the processor time of one process per request.
type Share struct {
	Process string  `json:"process"`
	Micros  float64 `json:"micros"`
}

// Side is one of the two that are compared.
type Side struct {
	// Micros is the processor time of all its processes per request, in microseconds: the median of the rounds.
	Micros float64 `json:"micros"`
	// Shares are the processes', in the order in which a request meets them.
	Shares []Share `json:"shares"`
	// Bytes is the mean size of an answer's body.
	Bytes float64 `json:"bytes"`
	// P50 and P99 are latencies in microseconds, counted from when a request was due: the median of the rounds.
	P50 float64 `json:"p50"`
	P99 float64 `json:"p99"`
	// Late is how long after they were due all but one in a hundred requests were sent, which the latencies contain.
	Late float64 `json:"late"`
}

// ReadResult compares reading one customer through the suite with the same through a bare gateway and handler.
type ReadResult struct {
	Circumstances

	Options  ReadOptions `json:"options"`
	Bare     Side        `json:"bare"`
	Selfsame Side        `json:"selfsame"`
	// Ratios are Selfsame's processor time over the baseline's, per round; Ratio is their median.
	Ratios []float64 `json:"ratios"`
	Ratio  float64   `json:"ratio"`
	// IdleMicros is the processor time that the two services use in a second without any request.
	IdleMicros float64 `json:"idle_micros"`
}

// target is one side while it is measured.
type target struct {
	base   string
	order  []string
	pids   map[string]int
	wire   *wire
	rounds []round
}

// round is what one round measured.
type round struct {
	shares []float64
	bytes  float64
	hits   hits
}

func (r round) micros() float64 {
	var sum float64
	for _, s := range r.shares {
		sum += s
	}
	return sum
}

// Read starts the suite and the baseline and measures them in turn.
func Read(ctx context.Context, o Options, r ReadOptions) (_ *ReadResult, err error) {
	out := &ReadResult{Circumstances: begin(), Options: r}
	run, err := o.start(ctx, "read", Generate(r.Accounts), nil)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, run.stop()) }()
	o.progress("  waiting for the initial sync")
	if _, err := run.settled(ctx, o.quiet(), nil); err != nil {
		return nil, err
	}
	st := run.demo.State
	header := http.Header{"Authorization": {"Bearer " + st.Token}, "Accept": {"application/json"}}
	customers, err := screens(ctx, st.REST, header, r.Customers)
	if err != nil {
		return nil, err
	}
	bare, stop, err := o.bare(ctx, customers)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, stop()) }()
	real := &target{base: st.REST, order: []string{suite.ExperienceMobile, suite.ProcessCustomer}, pids: map[string]int{}}
	for _, name := range real.order {
		real.pids[name] = run.suite.State().PIDs[name]
	}
	if out.IdleMicros, err = idle(ctx, real.pids, o.quiet()); err != nil {
		return nil, err
	}
	if err := r.measure(ctx, o, header, customers, bare, real); err != nil {
		return nil, err
	}
	out.Bare, out.Selfsame = bare.side(), real.side()
	for i := range bare.rounds {
		out.Ratios = append(out.Ratios, real.rounds[i].micros()/bare.rounds[i].micros())
	}
	out.Ratio = median(out.Ratios)
	out.end()
	return out, nil
}

// idle returns the processor time that processes use in a second by themselves, in microseconds.
func idle(ctx context.Context, pids map[string]int, window time.Duration) (float64, error) {
	before, err := use(pids)
	if err != nil {
		return 0, err
	}
	began := time.Now()
	if !sleepUntil(ctx, began.Add(window)) {
		return 0, ctx.Err()
	}
	after, err := use(pids)
	if err != nil {
		return 0, err
	}
	var sum time.Duration
	for name := range pids {
		sum += after[name] - before[name]
	}
	return float64(sum.Microseconds()) / time.Since(began).Seconds(), nil
}

// measure lets both sides take turns, so that what else the machine does meets both.
func (r ReadOptions) measure(ctx context.Context, o Options, header http.Header, customers []*mobilev1.Customer, sides ...*target) error {
	for i := range r.Rounds + 1 {
		for _, t := range sides {
			s := shot{header: header, requests: r.Requests, rate: r.Rate, connections: r.Connections}
			for _, c := range customers {
				s.urls = append(s.urls, screenURL(t.base, c.GetCustomerId()))
			}
			if i == 0 {
				s.requests = r.Warmup
				t.wire = &wire{}
				defer t.wire.close()
				if _, err := s.fire(ctx, t.wire); err != nil {
					return err
				}
				continue
			}
			if err := t.round(ctx, s); err != nil {
				return err
			}
			o.progress("  round %d, %v: %.0f µs of processor time per request", i, t.order, t.rounds[i-1].micros())
		}
	}
	return nil
}

func (t *target) round(ctx context.Context, s shot) error {
	// What the round before left behind in this process is not to be collected at the expense of this one.
	runtime.GC()
	before, err := use(t.pids)
	if err != nil {
		return err
	}
	h, err := s.fire(ctx, t.wire)
	if err != nil {
		return err
	}
	after, err := use(t.pids)
	if err != nil {
		return err
	}
	r := round{hits: h, bytes: float64(h.bytes) / float64(s.requests)}
	for _, name := range t.order {
		r.shares = append(r.shares, float64((after[name]-before[name]).Microseconds())/float64(s.requests))
	}
	t.rounds = append(t.rounds, r)
	return nil
}

func (t *target) side() Side {
	over := func(get func(round) float64) float64 {
		var all []float64
		for _, r := range t.rounds {
			all = append(all, get(r))
		}
		return median(all)
	}
	s := Side{
		Bytes:  over(func(r round) float64 { return r.bytes }),
		Micros: over(round.micros),
		P50:    over(func(r round) float64 { return float64(r.hits.p50.Microseconds()) }),
		P99:    over(func(r round) float64 { return float64(r.hits.p99.Microseconds()) }),
		Late:   over(func(r round) float64 { return float64(r.hits.late.Microseconds()) }),
	}
	for i, name := range t.order {
		s.Shares = append(s.Shares, Share{Process: name, Micros: over(func(r round) float64 { return r.shares[i] })})
	}
	return s
}

func median(v []float64) float64 {
	if len(v) == 0 {
		return 0
	}
	v = slices.Sorted(slices.Values(v))
	if n := len(v); n%2 == 0 {
		return (v[n/2-1] + v[n/2]) / 2
	}
	return v[len(v)/2]
}

func screenURL(base, id string) string {
	return base + "/v1/customers/" + url.PathEscape(id) + "?summary=true"
}

// screens reads n customers, each as its own screen has it. They are what the baseline answers.
func screens(ctx context.Context, base string, header http.Header, n int) ([]*mobilev1.Customer, error) {
	client := keepAlive()
	defer client.CloseIdleConnections()
	var page struct {
		Customers []struct {
			ID string `json:"customerId"`
		} `json:"customers"`
	}
	b, err := get(ctx, client, fmt.Sprintf("%s/v1/customers?pageSize=%d", base, n), header)
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(b, &page); err != nil {
		return nil, fmt.Errorf("read customers: %w", err)
	}
	if len(page.Customers) < n {
		return nil, fmt.Errorf("there are %d customers where %d were to be read", len(page.Customers), n)
	}
	var all []*mobilev1.Customer
	for _, c := range page.Customers {
		b, err := get(ctx, client, screenURL(base, c.ID), header)
		if err != nil {
			return nil, err
		}
		var screen mobilev1.Customer
		if err := protojson.Unmarshal(b, &screen); err != nil {
			return nil, fmt.Errorf("read customer: %w", err)
		}
		if screen.GetCustomerId() != c.ID || screen.GetName() == "" {
			return nil, errors.New("the screen is of another customer or has no name")
		}
		all = append(all, &screen)
	}
	return all, nil
}

func get(ctx context.Context, client *http.Client, url string, header http.Header) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	req.Header = header.Clone()
	res, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		return nil, fmt.Errorf("read answer: %w", err)
	}
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("GET %s answered %s: %.200s", req.URL.Path, res.Status, b)
	}
	return b, nil
}

// bare starts the baseline with the same customers, and checks that it gives the same answers.
func (o Options) bare(ctx context.Context, customers []*mobilev1.Customer) (_ *target, stop func() error, err error) {
	b, err := proto.Marshal(&mobilev1.ListCustomersResponse{Customers: customers})
	if err != nil {
		return nil, nil, fmt.Errorf("baseline: %w", err)
	}
	file := filepath.Join(o.Dir, "customers.binpb")
	if err := os.WriteFile(file, b, 0o600); err != nil {
		return nil, nil, fmt.Errorf("baseline: %w", err)
	}
	back, err := launchBare(ctx, o.Bare, bareHandler, file)
	if err != nil {
		return nil, nil, err
	}
	front, err := launchBare(ctx, o.Bare, bareGateway, back.addr)
	if err != nil {
		return nil, nil, errors.Join(err, back.stop())
	}
	stop = func() error { return errors.Join(front.stop(), back.stop()) }
	t := &target{
		base: "http://" + front.addr, order: []string{"bare gateway", "bare handler"},
		pids: map[string]int{"bare gateway": front.cmd.Process.Pid, "bare handler": back.cmd.Process.Pid},
	}
	client := keepAlive()
	defer client.CloseIdleConnections()
	for _, want := range customers {
		var got mobilev1.Customer
		body, err := get(ctx, client, screenURL(t.base, want.GetCustomerId()), nil)
		if err == nil {
			err = protojson.Unmarshal(body, &got)
		}
		if err == nil && !proto.Equal(want, &got) {
			err = errors.New("the answer is another one")
		}
		if err != nil {
			return nil, nil, errors.Join(fmt.Errorf("baseline: %w", err), stop())
		}
	}
	return t, stop, nil
}
