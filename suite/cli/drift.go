package cli

import (
	"context"
	"fmt"
	"strings"

	customerv1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/customer/v1"
)

// The population stability indexes from which a person should look, and from which the model should be learned anew.
const (
	driftLook  = 0.1
	driftLearn = 0.25
)

// matchDrift says whether the model of a running suite still describes its customers.
func matchDrift(ctx context.Context, a *App, args []string) error {
	c := a.flags("match drift").withAddr()
	customers := c.Int("customers", 2000, "how many customers are looked at, the latest")
	kind := c.kind("customers")
	levels := c.Bool("levels", false, "also how often each level of agreement was learned and is seen")
	if _, err := c.parse(args); err != nil {
		return err
	}
	if *customers < 1 || *customers > 20000 {
		return usagef("--customers is 1 to 20000")
	}
	return c.operations(ctx, func(o customerv1.OperationsServiceClient) error {
		d, err := o.GetMatchDrift(ctx, &customerv1.GetMatchDriftRequest{Kind: *kind, Customers: int32(*customers)}) //nolint:gosec // checked
		if err != nil {
			return err
		}
		if c.output == "json" {
			return a.json(d)
		}
		return a.drift(d, *kind, *levels)
	})
}

func (a *App) drift(d *customerv1.GetMatchDriftResponse, kind string, levels bool) error {
	err := a.printf("mode %s, model %s; the latest %d %s, about %.0f pairs of which are one %s\n\n",
		d.GetMode(), d.GetModel(), d.GetCustomers(), plural(kind), d.GetPairs(), strings.TrimSuffix(plural(kind), "s"))
	if err != nil {
		return err
	}
	rows := [][]string{{"COMPARISON", "SAME", "OTHERS", "FILLED", "LEARNED", ""}}
	for _, x := range d.GetComparisons() {
		learned := "-"
		if x.GetFilledLearned() >= 0 {
			learned = percent(x.GetFilledLearned())
		}
		rows = append(rows, []string{
			x.GetComparison(), fmt.Sprintf("%.3f", x.GetSame()), fmt.Sprintf("%.3f", x.GetOthers()), percent(x.GetFilledSeen()), learned, advice(x, d.GetMode()),
		})
		for _, l := range x.GetLevels() {
			if levels {
				rows = append(rows, []string{
					"  " + l.GetLevel(), percent(l.GetSameLearned()) + " → " + percent(l.GetSameSeen()),
					percent(l.GetOthersLearned()) + " → " + percent(l.GetOthersSeen()), "", "", "",
				})
			}
		}
	}
	if err := a.table(rows); err != nil {
		return err
	}
	rows = [][]string{{"\nPROBABILITY", "PAIRS", "CONFIRMED", "REJECTED", "EXPECTED", "WERE SO"}}
	for _, b := range d.GetBands() {
		row := []string{fmt.Sprintf("%g to %g", b.GetFrom(), b.GetBelow()), fmt.Sprint(b.GetPairs()), fmt.Sprint(b.GetConfirmed()), fmt.Sprint(b.GetRejected()), "-", "-"}
		if n := b.GetConfirmed() + b.GetRejected(); n > 0 {
			row[4], row[5] = percent(b.GetExpected()), percent(float64(b.GetConfirmed())/float64(n))
		}
		rows = append(rows, row)
	}
	if err := a.table(rows); err != nil || d.GetMode() != "ask" {
		return err
	}
	return a.printf("\nin mode ask exact keys join the plain pairs before they are counted here: compare SAME with an earlier report, not with zero\n")
}

func percent(share float64) string { return fmt.Sprintf("%.1f%%", 100*share) }

// advice says what drift asks for. Where exact keys have joined the easy pairs, those that are the same cannot be compared with
// zero.
func advice(x *customerv1.ComparisonDrift, mode string) string {
	worst := x.GetOthers()
	if mode == "join" {
		worst = max(worst, x.GetSame())
	}
	switch {
	case worst > driftLearn:
		return "learn a new model"
	case worst > driftLook:
		return "look"
	default:
		return ""
	}
}
