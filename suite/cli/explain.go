package cli

import (
	"context"
	"strings"
	"time"

	customerv1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/customer/v1"
)

func explain(ctx context.Context, a *App, args []string) error {
	c := a.flags("explain").withAddr()
	traceURL := c.String("trace-url", "", "`address` of a trace, {trace} stands for its id; with one field")
	rest, err := c.parse(args)
	if err != nil {
		return err
	}
	if len(rest) == 0 || len(rest) > 2 {
		return usagef("give customer/ID or contact/ID, and perhaps a field")
	}
	req := &customerv1.ExplainRequest{Id: bare(rest[0])}
	if len(rest) == 2 {
		req.Field = rest[1]
	}
	return c.operations(ctx, func(o customerv1.OperationsServiceClient) error {
		e, err := o.Explain(ctx, req)
		if err != nil {
			return err
		}
		if c.output == "json" {
			return a.json(e)
		}
		if err := a.printf("%s/%s, rules version %d, digest %s\n\n", e.GetObject(), e.GetId(), e.GetRulesNumber(), e.GetRulesVersion()); err != nil {
			return err
		}
		if req.GetField() != "" {
			return a.explainField(e, *traceURL)
		}
		rows := [][]string{{"FIELD", "VALUE", "DECIDED BY", "SAID BY", "WHEN"}}
		for _, f := range e.GetFields() {
			rows = append(rows, []string{f.GetField(), quote(f.GetValue()), f.GetRule(), claimant(f.GetWinner()), when(f.GetWinner())})
			for _, p := range f.GetParts() {
				rows = append(rows, []string{"", quote(p.GetValue()), "  part of it", claimant(p), when(p)})
			}
			for _, l := range f.GetLosers() {
				rows = append(rows, []string{"", quote(l.GetValue()), "  lost", claimant(l), when(l)})
			}
		}
		return a.table(rows)
	})
}

// explainField tells all about one field: also by which change each word came, and where to find its trace.
func (a *App) explainField(e *customerv1.ExplainResponse, traceURL string) error {
	if len(e.GetFields()) == 0 {
		return a.printf("nobody says anything about this field\n")
	}
	f := e.GetFields()[0]
	if err := a.printf("%s is %s\ndecided by %s (%s)\n\n", f.GetField(), quote(f.GetValue()), f.GetRule(), f.GetRulePath()); err != nil {
		return err
	}
	rows := [][]string{{"", "VALUE", "SAID BY", "VERSION", "WHEN", "COUNTS AS", "CHANGE", "TRACE"}}
	add := func(what string, c *customerv1.Claim) {
		if c == nil {
			return
		}
		counts := "-"
		if t := c.GetEffectiveTime(); t != nil {
			counts = t.AsTime().Format(time.RFC3339)
		}
		rows = append(rows, []string{what, quote(c.GetValue()), claimant(c), number(c.GetVersion()), when(c), counts, or(c.GetChangeId(), "-"), trace(c, traceURL)})
	}
	add("won", f.GetWinner())
	for _, p := range f.GetParts() {
		add("part", p)
	}
	for _, l := range f.GetLosers() {
		add("lost", l)
	}
	return a.table(rows)
}

// trace returns the id of the trace of a claim's change, or its address.
func trace(c *customerv1.Claim, url string) string {
	parts := strings.Split(c.GetTraceparent(), "-") // version-trace-span-flags
	if len(parts) != 4 {
		return "-"
	}
	if url == "" {
		return parts[1]
	}
	return strings.ReplaceAll(url, "{trace}", parts[1])
}
