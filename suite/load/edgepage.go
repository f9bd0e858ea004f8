package load

import (
	"fmt"
	"slices"
)

func (p *page) edge(r *EdgeResult) {
	p.line("\n## The edge")
	p.circumstances(r.Circumstances)
	p.line("`POST /v1/customers`, %d rounds of %d requests to each side in turn, %d connections. The edge has every check, key, answer kept and metric", r.Options.Rounds, r.Options.Requests, r.Options.Connections)
	p.line("of its default configuration, and records and exports %.0f %% of the traces, the stock gateway the same. Only the process in question is counted.\n", 100*r.Options.Ratio)
	for _, l := range r.Loads {
		if l.Rate > 0 {
			p.line("\n### Half of what the edge can do: %.0f requests per second\n", l.Rate)
		} else {
			p.line("\n### As many requests as %d connections get answered\n", r.Options.Connections)
		}
		p.head("", "hand-written handler", "stock gateway", "edge")
		p.row("processor time per request", micros(l.Plain.Micros), micros(l.Stock.Micros), micros(l.Edge.Micros))
		p.row("latency p50", micros(l.Plain.P50), micros(l.Stock.P50), micros(l.Edge.P50))
		p.row("latency p99", micros(l.Plain.P99), micros(l.Stock.P99), micros(l.Edge.P99))
		p.line("\n**Edge over hand-written handler: %.2f** (rounds from %.2f to %.2f). Target: at most %.1f: %s.", l.OverPlain, slices.Min(l.OverPlains),
			slices.Max(l.OverPlains), TargetEdge, met(l.OverPlain <= TargetEdge))
		p.line("**Stock gateway over edge: %.2f** (rounds from %.2f to %.2f). Target: above %.0f: %s.", l.StockOver, slices.Min(l.StockOvers),
			slices.Max(l.StockOvers), TargetStock, met(l.StockOver > TargetStock))
	}
}

func (p *page) replay(r *ReplayResult) {
	p.line("\n## Repeating a completed key")
	p.circumstances(r.Circumstances)
	p.line("`POST /v1/orders` through all services, %d rounds of %d orders, each then repeated until there are %d requests; each kind at half of the",
		r.Options.Rounds, r.Options.Orders, r.Options.Replays)
	p.line("rate at which it can be done. The processor time is that of all four services.%s\n", standing(r.Apart))
	p.head("", "executed", "repeated, answered at the edge", "a handler that answers as many bytes, always the same")
	p.row("requests per second", fmt.Sprintf("%.0f", r.ExecutedRate), fmt.Sprintf("%.0f", r.ReplayedRate), fmt.Sprintf("%.0f", r.ReplayedRate))
	p.row("processor time per request", micros(r.Executed.Micros), micros(r.Replayed.Micros), micros(r.Memory.Micros))
	p.row("latency p50", micros(r.Executed.P50), micros(r.Replayed.P50), micros(r.Memory.P50))
	p.row("latency p99", micros(r.Executed.P99), micros(r.Replayed.P99), micros(r.Memory.P99))
	p.row("contained in it: sent late, p99", micros(r.Executed.Late), micros(r.Replayed.Late), micros(r.Memory.Late))
	p.line("\n**Executing over repeating: %.1f** (rounds from %.1f to %.1f). Target: at least %.0f: %s. p99 at half of the load: target at most %s: %s.",
		r.Ratio, slices.Min(r.Ratios), slices.Max(r.Ratios), TargetReplay, met(r.Ratio >= TargetReplay), micros(TargetReplayP99), met(r.Replayed.P99 <= TargetReplayP99))
}

// standing says where what is asked stood, if apart from what asks.
func standing(apart int) string {
	switch apart {
	case 0:
		return ""
	case 1:
		return " What sends the load has a core of its own; the services, and the handler, have one other."
	}
	return fmt.Sprintf(" What sends the load has a core of its own; the services, and the handler, have the other %d.", apart)
}

func (p *page) overload(r *OverloadResult) {
	p.line("\n## More than can be done")
	p.circumstances(r.Circumstances)
	p.line("A process layer that takes %v for each call and does %d at once, so %.0f in a second; each load for %.0f s, after one of the same.\n",
		r.Options.Takes, r.Options.Places, float64(r.Options.Places)/r.Options.Takes.Seconds(), r.Options.Seconds)
	p.head("offered per second", "done per second", "turned away", "p50 of what was done", "p99")
	for _, s := range append(slices.Clone(r.Steps), r.Twice) {
		p.row(fmt.Sprintf("%.0f", s.Offered), fmt.Sprintf("%.0f", s.Goodput), fmt.Sprintf("%.0f %%", 100*s.Refused), micros(s.P50), micros(s.P99))
	}
	p.line("\nSaturation is the load with the most done, %.0f per second; the last line is %.1f times that. **Goodput there over its peak: %.2f.** Target: at least %.1f: %s.",
		r.Saturation.Offered, r.Twice.Offered/r.Saturation.Offered, r.Goodput, TargetGoodput, met(r.Goodput >= TargetGoodput))
	p.line("**p99 of what was accepted over that at saturation: %.2f.** Target: at most %.0f: %s.", r.P99, TargetAccepted, met(r.P99 <= TargetAccepted))
	calm := r.Steps[0]
	for _, s := range r.Steps {
		if s.Refused == 0 && s.Offered > calm.Offered {
			calm = s
		}
	}
	p.line("At saturation a queue as long as is let in has formed already: over the p99 of the highest load of which nobody was turned away, %.0f per second, it is %.1f.",
		calm.Offered, r.Twice.P99/calm.P99)
}

func (p *page) fanout(r *FanoutResult) {
	p.line("\n## A screen of three sections")
	p.circumstances(r.Circumstances)
	p.line("`GET /v1/customers/{id}` through experience-mobile and process-customer, which asks three times at once; each call takes %v. %d users ask again", r.Options.Takes, r.Options.Users)
	p.line("as soon as they are answered, %d rounds of %d screens.\n", r.Options.Rounds, r.Options.Requests)
	p.head("", "hand-written handler with an errgroup", "the same by hand in two services", "Selfsame")
	p.row("screens per second", fmt.Sprintf("%.0f", r.Bare), fmt.Sprintf("%.0f", r.Layers), fmt.Sprintf("%.0f", r.Selfsame))
	p.row("latency p99", micros(r.BareP99), micros(r.LayersP99), micros(r.SelfsameP99))
	p.line("\nAt most %.1f %% were turned away in a round; they are not counted as screens.", 100*r.Refused)
	p.line("\n**Throughput over that of the handler: %.2f** (rounds from %.2f to %.2f). Target: at least %.1f: %s.", r.Ratio, slices.Min(r.Ratios), slices.Max(r.Ratios),
		TargetFanout, met(r.Ratio >= TargetFanout))
	if len(r.LayerRatio) > 0 {
		p.line("Over that of the two services made by hand: %.2f (rounds from %.2f to %.2f); they have no database either.", r.OverLayers, slices.Min(r.LayerRatio), slices.Max(r.LayerRatio))
	}
	if len(r.ViewRatios) > 0 {
		p.line("\nThe scatter-gather itself, one hop on both sides: process-customer answered %.0f views per second over gRPC, the lower of the services made by hand %.0f.", r.Views, r.BareViews)
		p.line("**Ratio: %.2f** (rounds from %.2f to %.2f). Target: at least %.1f: %s.", r.ViewRatio, slices.Min(r.ViewRatios), slices.Max(r.ViewRatios),
			TargetFanout, met(r.ViewRatio >= TargetFanout))
	}
	late := (r.HungP99 - r.Limit) / 1000
	p.line("While one section never answers, at %.0f requests per second: p50 %s, **p99 %s**, no errors. Target: at most the section's limit and %.0f ms, %s: %s.",
		r.Options.HungRate, micros(r.HungP50), micros(r.HungP99), TargetHungMillis, micros(r.Limit+1000*TargetHungMillis), met(late <= TargetHungMillis))
}
