package identify

import (
	"cmp"
	"context"
	"slices"

	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store"
	"github.com/selfsame-io/selfsame/services/process-customer/match"
)

// candidate is a unit that may be meant.
type candidate struct {
	number int64
	bits   float64
}

// Find returns the golden record that the values of a new one mean; empty when none is sure enough.
func (d *Decider) Find(ctx context.Context, r store.Reader, obj golden.Object, values golden.Values) (golden.ID, error) {
	if !d.Decides(obj) {
		return "", nil
	}
	return d.of(obj).find(ctx, r, values)
}

func (d *judge) find(ctx context.Context, r store.Reader, values golden.Values) (golden.ID, error) {
	p := d.matcher.Prepare(d.record("", "", values))
	found, err := d.lookup(ctx, r, p)
	if err != nil {
		return "", err
	}
	for _, c := range found {
		if c.bits < d.join {
			break
		}
		id, ok, err := d.fits(ctx, r, p, c.number)
		if err != nil || ok {
			return id, err
		}
	}
	return "", nil
}

// lookup returns the units that may be one with a record, the most likely first.
func (d *judge) lookup(ctx context.Context, r store.Reader, p *match.Prepared) ([]candidate, error) {
	keys := d.keys(p)
	buckets, err := r.MatchBuckets(ctx, keys)
	if err != nil {
		return nil, err
	}
	numbers := candidates(0, keys, buckets)
	records, err := d.read(ctx, r, numbers)
	if err != nil {
		return nil, err
	}
	var found []candidate
	for _, n := range numbers {
		if other := records[n]; other != nil {
			if s := d.matcher.Score(p, other); s.Veto == "" && s.Bits >= d.low {
				found = append(found, candidate{n, s.Bits})
			}
		}
	}
	slices.SortFunc(found, func(a, b candidate) int { return cmp.Or(cmp.Compare(b.bits, a.bits), cmp.Compare(a.number, b.number)) })
	return found, nil
}

// fits returns the golden record that a unit belongs to; ok is false when something forbids that a record joins it.
func (d *judge) fits(ctx context.Context, r store.Reader, p *match.Prepared, number int64) (id golden.ID, ok bool, err error) {
	units, err := r.MatchUnitsByNumber(ctx, []int64{number})
	if err != nil || len(units) == 0 {
		return "", false, err
	}
	id = units[0].GoldenID
	var at *store.Standing
	for range 16 {
		if at, err = r.Standing(ctx, id); err != nil || at == nil || at.Deleted {
			return "", false, err
		}
		if at.MergedInto == "" {
			break
		}
		id = at.MergedInto
	}
	all := units
	if id != units[0].GoldenID || len(at.Below) > 0 {
		if all, err = r.MatchUnits(ctx, append(at.Below, id)); err != nil {
			return "", false, err
		}
	}
	for _, m := range all {
		if len(m.Record) == 0 {
			continue
		}
		other, err := d.matcher.Decode(m.Record)
		if err != nil {
			continue
		}
		if s := d.matcher.Score(p, other); s.Veto != "" || s.Held {
			return "", false, nil
		}
	}
	return id, true, nil
}
