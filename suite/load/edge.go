package load

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Targets of the edge, from the outside in.
const (
	// TargetEdge is the most processor time of a request at the edge over that of a hand-written handler.
	TargetEdge = 1.5
	// TargetStock is the least processor time of a stock gateway with equivalent middleware over that of the edge.
	TargetStock = 1.0
	// TargetReplay is the least processor time of executing over that of answering from what the edge keeps.
	TargetReplay = 10.0
	// TargetReplayP99 is the slowest but for one in a hundred of those answers at half of what can be done, in microseconds.
	TargetReplayP99 = 2000.0
	// TargetGoodput is the least goodput at twice the saturating load over its peak.
	TargetGoodput = 0.9
	// TargetAccepted is the most p99 of what is accepted then over that at saturation.
	TargetAccepted = 2.0
	// TargetFanout is the least throughput of a screen over that of one made by hand.
	TargetFanout = 0.8
	// TargetHungMillis is the most by which the slowest but for one in a hundred may outlast the branch's time limit while
	// one system hangs.
	TargetHungMillis = 10.0
)

// EdgeOptions says how hard the edge is measured.
type EdgeOptions struct {
	// Requests are sent to each side in each round, after Warmup requests that are not counted.
	Requests, Warmup int
	// Rounds is how often the sides are measured in turn.
	Rounds int
	// Connections is how many are kept open.
	Connections int
	// Ratio is the share of traces that is recorded and exported.
	Ratio float64
	// Profile is a directory for processor profiles; empty writes none.
	Profile string
}

// EdgeLoad is one load at which the sides were measured.
type EdgeLoad struct {
	// Rate is requests in a second; zero is as fast as answers come back.
	Rate  float64 `json:"rate"`
	Plain Side    `json:"plain"`
	Stock Side    `json:"stock"`
	Edge  Side    `json:"edge"`
	// OverPlain is the edge's processor time over that of the hand-written handler, StockOver that of the stock gateway over
	// the edge's: the medians of the rounds.
	OverPlain  float64   `json:"over_plain"`
	OverPlains []float64 `json:"over_plains"`
	StockOver  float64   `json:"stock_over"`
	StockOvers []float64 `json:"stock_overs"`
}

// EdgeResult compares what a request costs at the edge with what it costs without one. Only the processor time of the edge's
// own process is counted: what is asked, and what the call below costs, is the same for all.
type EdgeResult struct {
	Circumstances

	Options EdgeOptions `json:"options"`
	// Saturation is how many requests the edge answers in a second when it is asked without a pause.
	Saturation float64    `json:"saturation"`
	Loads      []EdgeLoad `json:"loads"`
}

// bench are the processes of a measurement, stopped last first. With cores, they stand where what is asked stands.
type bench struct {
	o        Options
	cores    *cores
	children []*child
}

func (b *bench) launch(ctx context.Context, args ...string) (*child, error) {
	var c *child
	launch := func() (err error) {
		c, err = launchBare(ctx, b.o.Bare, args...)
		return err
	}
	var err error
	if b.cores != nil {
		err = b.cores.start(launch)
	} else {
		err = launch()
	}
	if c != nil {
		b.children = append(b.children, c)
	}
	return c, err
}

func (b *bench) stop() error {
	var errs []error
	for i := len(b.children) - 1; i >= 0; i-- {
		errs = append(errs, b.children[i].stop())
	}
	return errors.Join(errs...)
}

// edgeBody is the customer that is made. It is as large as customers are.
func edgeBody(int) string {
	return `{"name":"Schröder Immobile 1 GmbH","taxId":"DE100000001","email":"office@customer-1.example","phone":"+49 30 00000001",` +
		`"website":"https://www.customer-1.example","segment":"A","address":{"street":"Hauptstraße 2","city":"Leipzig","postalCode":"10001","region":"SN","country":"DE"}}`
}

// keysOf gives each request of a series a key that no other series has.
func keysOf(series string) func(i int) string {
	begin := series + "-" + strconv.FormatInt(time.Now().UnixNano(), 36) + "-"
	return func(i int) string { return begin + strconv.Itoa(i) + "-0123456789" }
}

// Edge measures making a customer through the edge, through a hand-written handler and through a stock gateway.
func Edge(ctx context.Context, o Options, e EdgeOptions) (_ *EdgeResult, err error) {
	out := &EdgeResult{Circumstances: begin(), Options: e}
	b := &bench{o: o}
	defer func() { err = errors.Join(err, b.stop()) }()
	below, err := b.launch(ctx, bareLayer, "0s", "0")
	if err != nil {
		return nil, err
	}
	ratio := strconv.FormatFloat(e.Ratio, 'f', -1, 64)
	edge, err := b.launch(ctx, bareEdge, below.addr, ratio, e.Profile)
	if err != nil {
		return nil, err
	}
	plain, err := b.launch(ctx, barePlain, below.addr)
	if err != nil {
		return nil, err
	}
	token, err := tokenOf(ctx, edge.issuer)
	if err != nil {
		return nil, err
	}
	stock, err := b.launch(ctx, bareStock, below.addr, ratio, edge.issuer)
	if err != nil {
		return nil, err
	}
	sides := []*target{sideOf("handler", plain), sideOf("stock gateway", stock), sideOf("edge", edge)}
	header := http.Header{"Authorization": {"Bearer " + token}, "Accept": {"application/json"}}
	if err := sameAnswers(ctx, header, sides); err != nil {
		return nil, err
	}
	for _, t := range sides {
		t.wire = &wire{}
		defer t.wire.close()
		h, err := e.shot(t, header, e.Warmup, 0).fire(ctx, t.wire)
		if err != nil {
			return nil, err
		}
		out.Saturation = h.pace() // that of the last, which is the edge
	}
	o.progress("  the edge answers %.0f requests in a second", out.Saturation)
	for _, rate := range []float64{out.Saturation / 2, 0} {
		l, err := e.load(ctx, o, header, rate, sides)
		if err != nil {
			return nil, err
		}
		out.Loads = append(out.Loads, l)
	}
	out.end()
	return out, nil
}

func sideOf(name string, c *child) *target {
	return &target{base: "http://" + c.addr, order: []string{name}, pids: map[string]int{name: c.pid()}}
}

func (e EdgeOptions) shot(t *target, header http.Header, requests int, rate float64) shot {
	return shot{
		urls: []string{t.base + "/v1/customers"}, header: header, requests: requests, rate: rate, connections: e.Connections,
		body: edgeBody, key: keysOf("edge"),
	}
}

// load measures the sides in turn at one load.
func (e EdgeOptions) load(ctx context.Context, o Options, header http.Header, rate float64, sides []*target) (EdgeLoad, error) {
	out := EdgeLoad{Rate: rate}
	for _, t := range sides {
		t.rounds = nil
	}
	for range e.Rounds {
		for _, t := range sides {
			if err := t.round(ctx, e.shot(t, header, e.Requests, rate)); err != nil {
				return out, err
			}
		}
		last := len(sides[0].rounds) - 1
		plain, stock, edge := sides[0].rounds[last].micros(), sides[1].rounds[last].micros(), sides[2].rounds[last].micros()
		out.OverPlains, out.StockOvers = append(out.OverPlains, edge/plain), append(out.StockOvers, stock/edge)
		o.progress("  %.0f in a second: handler %.0f µs, stock gateway %.0f µs, edge %.0f µs", rate, plain, stock, edge)
	}
	out.Plain, out.Stock, out.Edge = sides[0].side(), sides[1].side(), sides[2].side()
	out.OverPlain, out.StockOver = median(out.OverPlains), median(out.StockOvers)
	return out, nil
}

// tokenOf asks a development issuer for a token.
func tokenOf(ctx context.Context, issuer string) (string, error) {
	form := url.Values{"sub": {"load"}, "scope": {"customers.read customers.write"}, "ttl": {"12h"}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, issuer+"/token", strings.NewReader(form.Encode()))
	if err != nil {
		return "", err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	client := keepAlive()
	defer client.CloseIdleConnections()
	res, err := client.Do(req)
	if err != nil {
		return "", fmt.Errorf("ask for a token: %w", err)
	}
	defer res.Body.Close()
	var out struct {
		Token string `json:"access_token"`
	}
	if err := json.NewDecoder(io.LimitReader(res.Body, 1<<16)).Decode(&out); err != nil || out.Token == "" {
		return "", errors.Join(errors.New("the issuer gives no token"), err)
	}
	return out.Token, nil
}

// sameAnswers fails unless all sides make the same customer.
func sameAnswers(ctx context.Context, header http.Header, sides []*target) error {
	var first plainCustomer
	for i, t := range sides {
		var got plainCustomer
		b, err := post(ctx, t.base+"/v1/customers", header, edgeBody(0), keysOf("same")(i))
		if err == nil {
			err = json.Unmarshal(b, &got)
		}
		if i == 0 {
			first = got
		}
		if err == nil && (got.ID == "" || got.Address == nil || *got.Address != *first.Address || got.Name != first.Name || !got.CreateTime.Equal(first.CreateTime)) {
			err = errors.New("the answer is another one")
		}
		if err != nil {
			return fmt.Errorf("%v: %w", t.order, err)
		}
	}
	return nil
}

// post sends one request that must succeed.
func post(ctx context.Context, url string, header http.Header, body, key string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header = header.Clone()
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Idempotency-Key", key)
	client := keepAlive()
	defer client.CloseIdleConnections()
	res, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		return nil, fmt.Errorf("read answer: %w", err)
	}
	if res.StatusCode != http.StatusOK && res.StatusCode != http.StatusCreated {
		return nil, fmt.Errorf("POST %s answered %s: %.200s", req.URL.Path, res.Status, b)
	}
	return b, nil
}
