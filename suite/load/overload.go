package load

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"time"
)

// OverloadOptions says what the edge stands on and how much it is asked for.
type OverloadOptions struct {
	// Takes is the time of a call below, Places how many of them are done at once: together the most that can be done.
	Takes  time.Duration
	Places int
	// Seconds is how long each load lasts; what comes back in the first of them is not counted twice: a load of its own
	// goes before the one that is counted.
	Seconds float64
	// Connections is how many are kept open.
	Connections int
}

// Overloaded is what became of one load.
type Overloaded struct {
	// Offered and Goodput are requests in a second: sent, and answered.
	Offered float64 `json:"offered"`
	Goodput float64 `json:"goodput"`
	// P50 and P99 are the latencies of what was accepted, in microseconds.
	P50 float64 `json:"p50"`
	P99 float64 `json:"p99"`
	// Refused is the share of what was sent that was turned away.
	Refused float64 `json:"refused"`
}

// OverloadResult says what the edge does with more than can be done below it.
type OverloadResult struct {
	Circumstances

	Options OverloadOptions `json:"options"`
	// Steps are the loads up to saturation and beyond.
	Steps []Overloaded `json:"steps"`
	// Saturation is the step with the most goodput, Twice twice the load of that.
	Saturation Overloaded `json:"saturation"`
	Twice      Overloaded `json:"twice"`
	// Goodput is that of Twice over that of Saturation, P99 the same of the slowest.
	Goodput float64 `json:"goodput"`
	P99     float64 `json:"p99"`
}

// Overload asks the edge for more and more.
func Overload(ctx context.Context, o Options, v OverloadOptions) (_ *OverloadResult, err error) {
	out := &OverloadResult{Circumstances: begin(), Options: v}
	b := &bench{o: o}
	defer func() { err = errors.Join(err, b.stop()) }()
	below, err := b.launch(ctx, bareLayer, v.Takes.String(), strconv.Itoa(v.Places))
	if err != nil {
		return nil, err
	}
	edge, err := b.launch(ctx, bareEdge, below.addr, noTraces, "")
	if err != nil {
		return nil, err
	}
	token, err := tokenOf(ctx, edge.issuer)
	if err != nil {
		return nil, err
	}
	header := http.Header{"Authorization": {"Bearer " + token}, "Accept": {"application/json"}}
	w := &wire{}
	defer w.close()
	offer := func(rate float64) (Overloaded, error) {
		var h hits
		for range 2 { // the first lets the edge learn what the load is
			s := shot{
				urls: []string{"http://" + edge.addr + "/v1/customers"}, header: header, requests: max(20, int(rate*v.Seconds)), rate: rate,
				connections: v.Connections, body: edgeBody, key: keysOf("overload"), sheds: true,
			}
			var err error
			if h, err = s.fire(ctx, w); err != nil {
				return Overloaded{}, err
			}
		}
		got := Overloaded{
			Offered: rate, Goodput: h.pace(), P50: float64(h.p50.Microseconds()), P99: float64(h.p99.Microseconds()),
			Refused: float64(h.refused) / float64(h.done+h.refused),
		}
		o.progress("  %.0f offered, %.0f done in a second, p99 %v", got.Offered, got.Goodput, h.p99)
		return got, nil
	}
	most := float64(v.Places) / v.Takes.Seconds()
	for _, share := range []float64{0.5, 0.7, 0.8, 0.9, 1.0, 1.1} { // of what can be done below
		got, err := offer(share * most)
		if err != nil {
			return nil, err
		}
		out.Steps = append(out.Steps, got)
		if got.Goodput > out.Saturation.Goodput {
			out.Saturation = got
		}
	}
	if out.Twice, err = offer(2 * out.Saturation.Offered); err != nil {
		return nil, err
	}
	out.Goodput, out.P99 = out.Twice.Goodput/out.Saturation.Goodput, out.Twice.P99/out.Saturation.P99
	out.end()
	return out, nil
}
