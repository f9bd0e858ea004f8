package cli

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/selfsame-io/selfsame/services/process-customer/match/evaluate"
)

// matchFlags are the flags of "match".
type matchFlags struct {
	*common
	records                              []string
	fields, model, out, gold, data, only string
	temp                                 string
	maxPerSource, examples               int
	shuffle                              uint64
	asJSON                               bool
}

// matchCommand trains, measures and explains matching on CSV files, without a running suite: match train, evaluate,
// dedup, explain A B, quality. With a running suite: match review, drift, leads FILE.
func matchCommand(ctx context.Context, a *App, args []string) error {
	running := map[string]func(context.Context, *App, []string) error{"review": matchReview, "drift": matchDrift, "leads": matchLeads}
	if len(args) > 0 && running[args[0]] != nil {
		return running[args[0]](ctx, a, args[1:])
	}
	c := matchFlags{common: a.flags("match")}
	c.Func("records", "CSV `file` of records; a second one makes it two sources of which only pairs across are looked at", func(s string) error {
		c.records = append(c.records, s)
		return nil
	})
	c.StringVar(&c.fields, "fields", "", "YAML `file` that says what the columns mean")
	c.StringVar(&c.model, "model", "", "YAML `file` of a trained model")
	c.StringVar(&c.out, "out", "", "`file` to write: the model (train), the clusters (dedup), or the page of results (quality)")
	c.StringVar(&c.gold, "gold", "", "CSV `file` of the truth; not needed when the records name their cluster")
	c.IntVar(&c.maxPerSource, "max-per-source", 0, "greatest number of records of one source in a cluster; 0 is any")
	c.Uint64Var(&c.shuffle, "shuffle", 0, "`seed`: also feed the records one by one in random order, and compare")
	c.IntVar(&c.examples, "examples", 0, "how many wrong pairs of each sort to name")
	c.BoolVar(&c.asJSON, "json", false, "the same as -o json")
	c.StringVar(&c.data, "data", "", "`directory` of the sets that quality measures")
	c.StringVar(&c.temp, "temp", "", "`directory` for temporary files of dedup; the system's own when not given")
	c.StringVar(&c.only, "only", "", "measure only sets whose name begins so")
	rest, err := c.parse(args)
	if err != nil {
		return err
	}
	if c.asJSON {
		c.output = "json"
	}
	if len(rest) == 0 {
		return usagef("say train, evaluate, dedup, explain A B, quality, review, drift, or leads FILE")
	}
	verb, rest := rest[0], rest[1:]
	if n := map[string]int{"explain": 2}[verb]; len(rest) != n {
		return usagef("%s takes %d arguments", verb, n)
	}
	switch verb {
	case "train":
		return a.matchTrain(c)
	case "evaluate":
		return a.matchEvaluate(c)
	case "dedup":
		return a.matchDedup(ctx, c)
	case "explain":
		return a.matchExplain(c, rest[0], rest[1])
	case "quality":
		return a.matchQuality(c)
	}
	return usagef("%q is none of train, evaluate, dedup, explain, quality, review, drift, leads", verb)
}

// need complains about flags that were not given.
func (c matchFlags) need(flags map[string]string) error {
	var missing []string
	if len(c.records) == 0 {
		missing = append(missing, "--records")
	}
	for name, value := range flags {
		if value == "" {
			missing = append(missing, "--"+name)
		}
	}
	if len(missing) > 0 {
		slices.Sort(missing) // flags are a map
		return usagef("%s must be given", strings.Join(missing, ", "))
	}
	if len(c.records) > 2 {
		return usagef("--records can be given twice at most")
	}
	return nil
}

func (c matchFlags) read() (evaluate.Mapping, evaluate.Records, error) {
	m, err := evaluate.ReadMapping(c.fields)
	if err != nil {
		return m, evaluate.Records{}, err
	}
	rs, err := evaluate.ReadRecords(m, c.records...)
	return m, rs, err
}

// trained is what train says of a model.
type trained struct {
	Records         int     `json:"records"`
	Prior           float64 `json:"prior"`
	ExpectedMatches float64 `json:"expected_matching_pairs"`
	Comparisons     []struct {
		Name   string             `json:"name"`
		With   string             `json:"with,omitempty"`
		Levels []evaluate.Weighed `json:"levels"`
	} `json:"comparisons"`
}

func (a *App) matchTrain(c matchFlags) error {
	if err := c.need(map[string]string{"fields": c.fields, "out": c.out}); err != nil {
		return err
	}
	if err := c.spares(); err != nil { // a model that is there may be learned again
		return err
	}
	m, rs, err := c.read()
	if err != nil {
		return err
	}
	model, err := evaluate.Train(m, rs)
	if err != nil {
		return err
	}
	if err := evaluate.WriteModel(c.out, model); err != nil {
		return err
	}
	n := float64(len(rs.All))
	t := trained{Records: len(rs.All), Prior: model.Prior, ExpectedMatches: math.Round(model.Prior * n * (n - 1) / 2)}
	rows := [][]string{{"COMPARISON", "LEVEL", "AMONG THE SAME", "AMONG OTHERS", "BITS"}}
	for _, x := range model.Comparisons {
		levels := evaluate.Weights(x)
		t.Comparisons = append(t.Comparisons, struct {
			Name   string             `json:"name"`
			With   string             `json:"with,omitempty"`
			Levels []evaluate.Weighed `json:"levels"`
		}{x.Name, x.With, levels})
		for _, l := range levels {
			rows = append(rows, []string{x.Name, l.Name, fmt.Sprintf("%.4f", l.M), fmt.Sprintf("%.2g", l.U), fmt.Sprintf("%+.1f", l.Bits)})
		}
	}
	if c.output == "json" {
		return a.json(t)
	}
	if err := a.table(rows); err != nil {
		return err
	}
	return a.printf("\n%d records, about %.0f pairs of one entity expected; wrote %s\n", t.Records, t.ExpectedMatches, c.out)
}

func (a *App) matchEvaluate(c matchFlags) error {
	if err := c.need(map[string]string{"fields": c.fields, "model": c.model}); err != nil {
		return err
	}
	m, rs, err := c.read()
	if err != nil {
		return err
	}
	x, err := evaluate.ReadModel(c.model, m)
	if err != nil {
		return err
	}
	gold, err := evaluate.ReadGold(m, rs, c.gold)
	if err != nil {
		return err
	}
	r := evaluate.Evaluate(x, rs, gold, evaluate.Options{MaxPerSource: c.maxPerSource, Shuffle: c.shuffle, Examples: c.examples})
	if c.output == "json" {
		return a.json(r)
	}
	return a.printf("%s", r.Text())
}

func (a *App) matchExplain(c matchFlags, first, second string) error {
	if err := c.need(map[string]string{"fields": c.fields, "model": c.model}); err != nil {
		return err
	}
	m, rs, err := c.read()
	if err != nil {
		return err
	}
	x, err := evaluate.ReadModel(c.model, m)
	if err != nil {
		return err
	}
	e, err := evaluate.Explain(x, rs, first, second)
	if err != nil {
		return err
	}
	if c.output == "json" {
		return a.json(e)
	}
	rows := [][]string{{"COMPARISON", "LEVEL", "BITS"}}
	for _, v := range e.Evidence {
		rows = append(rows, []string{v.Comparison, or(v.Level, "-"), fmt.Sprintf("%+.2f", v.Bits)})
	}
	if err := a.table(rows); err != nil {
		return err
	}
	if e.Veto != "" {
		return a.printf("\n%s: never the same (%s)\n", e.Decision, e.Veto)
	}
	return a.printf("\n%s: probability %.4f\n", e.Decision, e.Probability)
}

// matchQuality measures the known sets and writes a page about them. A set that is not there is an error.
func (a *App) matchQuality(c matchFlags) error {
	if c.data == "" {
		return usagef("--data must be given")
	}
	sets, err := evaluate.Sets()
	if err != nil {
		return err
	}
	sets = slices.DeleteFunc(sets, func(s evaluate.Set) bool { return !strings.HasPrefix(s.Name, c.only) })
	if len(sets) == 0 {
		return usagef("no set begins with %q", c.only)
	}
	if err := evaluate.Missing(c.data, sets); err != nil {
		return err
	}
	var results []evaluate.Result
	for _, s := range sets {
		r, err := s.Run(c.data, evaluate.Options{Examples: max(c.examples, 5), Shuffle: max(c.shuffle, 1)})
		if err != nil {
			return err
		}
		results = append(results, r)
		if _, err := fmt.Fprint(a.Err, barsOf(r)); err != nil {
			return err
		}
	}
	if c.output == "json" {
		err = a.json(results)
	} else {
		err = a.printf("%s", evaluate.Page(results))
	}
	if err == nil && c.out != "" {
		err = writePage(c.out, results)
	}
	if err != nil {
		return err
	}
	for _, r := range results {
		for _, b := range r.Bars {
			if !b.Met {
				return fmt.Errorf("not every bar is met: see %s of %s", b.Name, r.Name)
			}
		}
	}
	return nil
}

// barsOf says in text whether a set reached what is expected of it.
func barsOf(r evaluate.Result) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: F1 %.4f\n", r.Name, r.Report.Thresholds[0].Clusters.F1)
	for _, bar := range r.Bars {
		verdict := map[bool]string{true: "met", false: "MISSED"}[bar.Met]
		fmt.Fprintf(&b, "  %-6s %s: wanted %g, reached %g\n", verdict, bar.Name, bar.Want, bar.Reached)
	}
	return b.String()
}

// writePage writes the page and, beside it, the numbers.
func writePage(path string, results []evaluate.Result) error {
	b, err := evaluate.Numbers(results)
	if err != nil {
		return err
	}
	beside := strings.TrimSuffix(path, filepath.Ext(path)) + ".json"
	return errors.Join(os.WriteFile(path, []byte(evaluate.Page(results)), 0o600), os.WriteFile(beside, b, 0o600))
}
