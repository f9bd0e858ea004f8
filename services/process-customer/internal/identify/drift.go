package identify

import (
	"context"
	"math/rand/v2"

	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store"
	"github.com/selfsame-io/selfsame/services/process-customer/match"
)

// DriftSample is how many customers tell whether a model still fits, when nobody says how many.
const DriftSample = 2000

// Drift says whether the model still describes the customers.
type Drift struct {
	// Customers were looked at. Pairs is how many pairs of them are one, by the model.
	Customers int
	Pairs     float64
	// Comparisons are those of the model.
	Comparisons []match.Drift
	// Bands are ranges of probability, the lowest first.
	Bands []ScoreBand
}

// ScoreBand is a range of probabilities.
type ScoreBand struct {
	From, Below float64
	// Pairs have one of the customers that were looked at.
	Pairs int64
	// Confirmed and Rejected are what people have said about any pairs with such scores, Expected the share of them that
	// should be the same by their probabilities.
	Confirmed, Rejected int64
	Expected            float64
}

// bandLimits are where ranges of probability begin, below the one from which matching is sure.
var bandLimits = []float64{0.5, 0.8, 0.9, 0.95, 0.99, 0.999, 0.9999}

// Drift compares the latest records of a kind, and the pairs that they are in, with what the model has learned. It reads a few
// megabytes and writes nothing.
func (d *Desk) Drift(ctx context.Context, obj golden.Object, records int) (Drift, error) {
	if err := d.knows(obj); err != nil {
		return Drift{}, err
	}
	return d.decider.of(obj).Drift(ctx, d.store.Read(), records)
}

// Drift is Desk.Drift.
func (d *judge) Drift(ctx context.Context, r store.Reader, limit int) (Drift, error) {
	var out Drift
	o := d.matcher.Observe()
	records := map[int64]*match.Prepared{}
	var numbers []int64
	err := r.EachLastMatchRecord(ctx, d.object, limit, func(n int64, record []byte) {
		if p, err := d.matcher.Decode(record); err == nil { // others wait for this model
			o.Record(p)
			records[n] = p
			numbers = append(numbers, n)
		}
	})
	if err != nil {
		return out, err
	}
	out.Customers = len(numbers)
	for _, from := range bandLimits {
		if len(out.Bands) > 0 {
			out.Bands[len(out.Bands)-1].Below = from
		}
		out.Bands = append(out.Bands, ScoreBand{From: from, Below: 1})
	}
	if err := d.pairsOf(ctx, r, numbers, records, o, &out); err != nil {
		return out, err
	}
	random := rand.New(rand.NewPCG(uint64(len(numbers)), 1)) //nolint:gosec // a sample that is the same when asked again
	for range 5 * len(numbers) {
		if a, b := random.IntN(len(numbers)), random.IntN(len(numbers)); a != b {
			o.Other(records[numbers[a]], records[numbers[b]])
		}
	}
	out.Comparisons = o.Drift()
	return out, d.judged(ctx, r, out.Bands)
}

// pairsOf counts the pairs that units are in.
func (d *judge) pairsOf(ctx context.Context, r store.Reader, numbers []int64, records map[int64]*match.Prepared, o *match.Observation, out *Drift) error {
	edges, err := r.MatchEdges(ctx, numbers)
	if err != nil {
		return err
	}
	var more []int64
	for _, e := range edges {
		for _, n := range []int64{e.A, e.B} {
			if records[n] == nil {
				more = append(more, n)
			}
		}
	}
	others, err := d.read(ctx, r, distinct(more))
	if err != nil {
		return err
	}
	record := func(n int64) *match.Prepared {
		if p := records[n]; p != nil {
			return p
		}
		return others[n]
	}
	for _, e := range edges {
		a, b := record(e.A), record(e.B)
		if a == nil || b == nil {
			continue
		}
		p := match.Score{Bits: e.Bits}.Probability()
		o.Same(a, b, p)
		out.Pairs += p
		if band := bandOf(out.Bands, p); band != nil {
			band.Pairs++
		}
	}
	return nil
}

// judged adds what people have said.
func (d *judge) judged(ctx context.Context, r store.Reader, bands []ScoreBand) error {
	err := r.EachJudgedPair(ctx, d.object, func(bits float64, same bool) {
		p := match.Score{Bits: bits}.Probability()
		band := bandOf(bands, p)
		switch {
		case band == nil:
			return
		case same:
			band.Confirmed++
		default:
			band.Rejected++
		}
		band.Expected += p
	})
	for i := range bands {
		bands[i].Expected /= float64(max(1, bands[i].Confirmed+bands[i].Rejected))
	}
	return err
}

// bandOf returns the band of a probability; nil when it is below all.
func bandOf(bands []ScoreBand, p float64) *ScoreBand {
	for i := len(bands) - 1; i >= 0; i-- {
		if p >= bands[i].From {
			return &bands[i]
		}
	}
	return nil
}
