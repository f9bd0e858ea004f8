package rulebook

import (
	"context"
	"maps"
	"slices"

	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/survive"
)

// Trial is what rules would change.
type Trial struct {
	// Records are the golden records looked at.
	Records int64
	// Touched are those that would change, or of which other things would be written.
	Touched int64
	// Changed are those that would change: a value, or whether they live.
	Changed int64
	// Written are those of which other things than now would have to be written to some system.
	Written int64
	// Fields counts the changed values, by object and field.
	Fields map[golden.Object]map[string]int64
	// Samples are the first changes, by golden id.
	Samples []Sample
}

// Sample is one change that rules would make. Before and After are values of customers.
type Sample struct {
	ID            golden.ID
	Object        golden.Object
	Field         string // empty: whether the record lives
	Before, After string
	// RuleBefore and RuleAfter name what decides now and then.
	RuleBefore, RuleAfter string
}

const pageSize = 500

// Try says what rules would change if they were in force: it decides every golden record from its stored claims, and
// changes nothing. It reads page by page, so what changes meanwhile may be seen before or after its change.
func (b *Book) Try(ctx context.Context, r *survive.Rules, samples int) (Trial, error) {
	t := Trial{Fields: map[golden.Object]map[string]int64{}}
	read, now := b.d.Store.Read(), b.d.Folder.Rules()
	for after, more := "", true; more; {
		page, err := read.AllGoldens(ctx, after, pageSize)
		if err != nil {
			return Trial{}, err
		}
		more = len(page) == pageSize
		ids := idsOf(page)
		rows, err := read.SourcesOf(ctx, ids)
		if err != nil {
			return Trial{}, err
		}
		questions, err := read.QuestionsOf(ctx, ids)
		if err != nil {
			return Trial{}, err
		}
		of := map[golden.ID][]*store.Source{}
		for _, row := range rows {
			of[row.GoldenID] = append(of[row.GoldenID], row)
		}
		asked := map[golden.ID][]store.Question{}
		for _, q := range questions {
			asked[q.GoldenID] = append(asked[q.GoldenID], q)
		}
		for _, g := range page {
			after = string(g.ID)
			if g.MergedInto == "" {
				b.weigh(&t, samples, g, of[g.ID], asked[g.ID], now, r)
			}
		}
	}
	return t, nil
}

// weigh compares one golden record under two sets of rules.
func (b *Book) weigh(t *Trial, samples int, g *store.Golden, rows []*store.Source, questions []store.Question, now, then *survive.Rules) {
	t.Records++
	is, would := b.d.Folder.Weigh(now, g, rows, questions), b.d.Folder.Weigh(then, g, rows, questions)
	changed := is.Deleted != would.Deleted
	add := func(s Sample) {
		s.ID, s.Object = g.ID, g.Object
		if len(t.Samples) < samples {
			t.Samples = append(t.Samples, s)
		}
	}
	if changed {
		state := map[bool]string{true: "deleted", false: "live"}
		add(Sample{Before: state[is.Deleted], After: state[would.Deleted]})
	}
	before, after := byField(is.Decisions), byField(would.Decisions)
	for _, field := range golden.Fields(g.Object) {
		x, y := before[field], after[field]
		if x.Value == y.Value && (x.Winner == nil) == (y.Winner == nil) {
			continue
		}
		changed = true
		if t.Fields[g.Object] == nil {
			t.Fields[g.Object] = map[string]int64{}
		}
		t.Fields[g.Object][field]++
		add(Sample{Field: field, Before: x.Value, After: y.Value, RuleBefore: x.Rule, RuleAfter: y.Rule})
	}
	written := !maps.EqualFunc(is.Writes, would.Writes, slices.Equal[[]string])
	if changed {
		t.Changed++
	}
	if written {
		t.Written++
	}
	if changed || written {
		t.Touched++
	}
}

func byField(decisions []golden.Decision) map[string]golden.Decision {
	out := make(map[string]golden.Decision, len(decisions))
	for _, d := range decisions {
		out[d.Field] = d
	}
	return out
}

func idsOf(page []*store.Golden) []golden.ID {
	out := make([]golden.ID, len(page))
	for i, g := range page {
		out[i] = g.ID
	}
	return out
}
