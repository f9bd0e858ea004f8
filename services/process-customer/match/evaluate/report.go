package evaluate

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"text/tabwriter"

	"github.com/selfsame-io/selfsame/services/process-customer/match"
)

// Weighed is one level of agreement with what it weighs.
type Weighed struct {
	Name string  `json:"name"`
	M    float64 `json:"m"`
	U    float64 `json:"u"`
	Bits float64 `json:"bits"`
}

// Weights returns the levels of a comparison.
func Weights(c match.Comparison) []Weighed {
	var out []Weighed
	for _, l := range c.Levels {
		out = append(out, Weighed{l.Name, l.M, l.U, math.Log2(l.M / l.U)})
	}
	return out
}

// Explanation is why two records are or are not the same. It has no values.
type Explanation struct {
	A           string           `json:"a"`
	B           string           `json:"b"`
	Decision    string           `json:"decision"` // same, different or ask
	Probability float64          `json:"probability"`
	Veto        string           `json:"veto,omitempty"`
	Evidence    []match.Evidence `json:"evidence"`
}

// Explain compares two records, named by id or as source/id.
func Explain(x *match.Matcher, rs Records, first, second string) (Explanation, error) {
	e := Explanation{A: first, B: second, Decision: "different"}
	a, err := rs.find(first, false)
	if err != nil {
		return e, err
	}
	b, err := rs.find(second, rs.Files > 1)
	if err != nil {
		return e, err
	}
	s, evidence := x.Explain(x.Prepare(a), x.Prepare(b))
	e.Probability, e.Veto, e.Evidence = s.Probability(), s.Veto, evidence
	switch bands := x.Model().Bands; {
	case s.Veto != "" || e.Probability < bands.Review:
	case e.Probability < bands.Auto:
		e.Decision = "ask"
	default:
		e.Decision = "same"
	}
	return e, nil
}

// find returns a record. With two files an id that both have means the first file's, or the second's where last is set.
func (rs Records) find(name string, last bool) (match.Record, error) {
	var found match.Record
	n := 0
	for i, r := range rs.All {
		if name == r.Source+"/"+r.ID {
			return r, nil
		}
		if name == r.ID && (rs.Files < 2 || last == (i >= rs.first)) {
			found = r
			n++
		}
	}
	switch n {
	case 0:
		return found, fmt.Errorf("there is no record %q", name)
	case 1:
		return found, nil
	default:
		return found, fmt.Errorf("%d records have the id %q: write SOURCE/ID", n, name)
	}
}

// Text returns a report for people.
func (r Report) Text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d records, %d pairs belong together, prior %.2g\n", r.Records, r.GoldPairs, r.Prior)
	fmt.Fprintf(&b, "blocking: recall %.4f, %d candidate pairs, %.1f candidates per record, at most %d\n", r.BlockingRecall, r.Candidates, r.CandidatesPerRecord, r.MaxCandidates)
	fmt.Fprintf(&b, "time: %.2f s, %.0f pairs scored per second, heap %.0f MiB\n\n", r.Seconds, r.PairsPerSecond, r.HeapMiB)
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "PROBABILITY\tPAIRS P\tR\tF1\tCLUSTERS P\tR\tF1\tWRONG\tMISSED")
	for _, h := range r.Thresholds {
		p, c := h.Pairs, h.Clusters
		fmt.Fprintf(t, "%.3f\t%.4f\t%.4f\t%.4f\t%.4f\t%.4f\t%.4f\t%d\t%d\n", h.Probability, p.Precision, p.Recall, p.F1, c.Precision, c.Recall, c.F1, c.Wrong, c.Missed)
	}
	_ = t.Flush() // into memory
	fmt.Fprintf(&b, "\njoined without asking (p ≥ %g): precision %.4f, recall %.4f\n", r.Bands.Auto, r.Bands.AutoMerged.Precision, r.Bands.AutoMerged.Recall)
	fmt.Fprintf(&b, "asked (p ≥ %g): %d questions about %.2f %% of records\n", r.Bands.Review, r.Bands.ReviewPairs, 100*r.Bands.ReviewRecords)
	if o := r.OneByOne; o != nil {
		fmt.Fprintf(&b, "one by one (seed %d): %d steps, %d clusters, %d differ from all at once; %.2f ms a step, p99 %.2f ms\n", o.Seed, o.Steps, o.Clusters, o.Differing, o.P50, o.P99)
	}
	for _, e := range r.FalseMatches {
		fmt.Fprintf(&b, "wrong   %s\n", e)
	}
	for _, e := range r.MissedMatches {
		fmt.Fprintf(&b, "missed  %s\n", e)
	}
	return b.String()
}

// String returns the ids and the evidence.
func (e Example) String() string {
	var parts []string
	for _, v := range e.Evidence {
		if v.Comparison != "prior" {
			parts = append(parts, fmt.Sprintf("%s %s %+.1f", v.Comparison, v.Level, v.Bits))
		}
	}
	if e.Veto != "" {
		parts = append(parts, "veto "+e.Veto)
	}
	return fmt.Sprintf("%s %s %.3f: %s", e.A, e.B, e.Probability, strings.Join(parts, ", "))
}

// Numbers returns results as JSON.
func Numbers(results []Result) ([]byte, error) {
	b, err := json.MarshalIndent(results, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encode the results: %w", err)
	}
	return append(b, '\n'), nil
}

const introduction = "# Quality of matching\n\n" +
	"Written by `make match-quality DATA=dir`. For each set the weights are learned from its records alone (expectation\n" +
	"maximisation, no labels, the same settings for all sets); then the truth is read and compared with. All pairs that\n" +
	"belong together count, also those that were never compared. *Pairs* are scored pairs at or above a probability,\n" +
	"*clusters* all pairs within what they were joined to. *Seen* sets were looked at while the program was written: their\n" +
	"numbers say that it can, not how well it will do on yours. See [matching](../matching.md) for how to measure your own data.\n\n" +
	"Examples name records by id. Times are those of one run on one machine, and no more than an order of magnitude.\n\n"

// Page returns results as a page in Markdown.
func Page(results []Result) string {
	var b strings.Builder
	b.WriteString(introduction + "| set | seen | records | pairs | P | R | F1 | joined unasked P | R | asked about | blocking recall | candidates per record |\n|" + strings.Repeat("---|", 12) + "\n")
	for _, r := range results {
		c, a := r.Report.Thresholds[0].Clusters, r.Report.Bands
		fmt.Fprintf(&b, "| %s | %s | %d | %d | %.4f | %.4f | **%.4f** | %.4f | %.4f | %.2f %% | %.4f | %.1f |\n", r.Name, yes(r.Seen), r.Report.Records, r.Report.GoldPairs,
			c.Precision, c.Recall, c.F1, a.AutoMerged.Precision, a.AutoMerged.Recall, 100*a.ReviewRecords, r.Report.BlockingRecall, r.Report.CandidatesPerRecord)
	}
	b.WriteString("\nP, R and F1 are of clusters at probability 0.5. *Asked about* is the share of records with an open question.\n")
	b.WriteString("\n## What is expected\n\n| set | what | bar | reached | |\n|---|---|---|---|---|\n")
	for _, r := range results {
		for _, x := range r.Bars {
			verdict := "met"
			if !x.Met {
				verdict = "**missed**"
			}
			fmt.Fprintf(&b, "| %s | %s | %g | %g | %s |\n", r.Name, strings.ReplaceAll(x.Name, "_", " "), x.Want, x.Reached, verdict)
		}
	}
	for _, r := range results {
		r.page(&b)
	}
	return b.String()
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

func (r Result) page(b *strings.Builder) {
	fmt.Fprintf(b, "\n## %s\n\n", r.Name)
	p := r.Report
	fmt.Fprintf(b, "%d candidate pairs, at most %d of one record. Learned in %.1f s, looked up and scored in %.1f s (%.0f pairs a second), heap %.0f MiB.\n",
		p.Candidates, p.MaxCandidates, r.TrainSeconds, p.Seconds, p.PairsPerSecond, p.HeapMiB)
	if o := p.OneByOne; o != nil {
		fmt.Fprintf(b, "One by one in random order (seed %d), with repeated, corrected and removed records, %d steps: %d of %d clusters differ from those of all at once; %.2f ms a step, p99 %.2f ms.\n",
			o.Seed, o.Steps, o.Differing, o.Clusters, o.P50, o.P99)
	}
	b.WriteString("\n| probability | pairs P | R | F1 | clusters P | R | F1 | wrong | missed |\n|" + strings.Repeat("---|", 9) + "\n")
	for _, h := range p.Thresholds {
		x, c := h.Pairs, h.Clusters
		fmt.Fprintf(b, "| %g | %.4f | %.4f | %.4f | %.4f | %.4f | %.4f | %d | %d |\n", h.Probability, x.Precision, x.Recall, x.F1, c.Precision, c.Recall, c.F1, c.Wrong, c.Missed)
	}
	list := func(title string, examples []Example) {
		if len(examples) == 0 {
			return
		}
		fmt.Fprintf(b, "\n%s:\n\n", title)
		for _, e := range examples {
			fmt.Fprintf(b, "- %s\n", e)
		}
	}
	list("Joined without asking though they do not belong together", p.FalseMatches)
	list("Belong together and were held apart", p.MissedMatches)
}
