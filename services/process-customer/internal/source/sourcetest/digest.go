package sourcetest

import (
	"cmp"
	"context"
	"slices"
	"strconv"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/source"
)

// The operations of a source.Comparer.
const (
	OpDigest Op = "digest"
	OpStamps Op = "stamps"
)

var _ source.Comparer = (*Fake)(nil)

// ByVersion implements source.Comparer.
func (f *Fake) ByVersion() bool { return f.opts.ClockVersions }

// StampsPerSecond implements source.Comparer.
func (f *Fake) StampsPerSecond() int64 {
	if f.opts.ClockVersions {
		return 1000
	}
	return 1_000_000
}

// ReadCalls implements source.Comparer.
func (f *Fake) ReadCalls(n int64) int64 {
	size := int64(f.opts.PageSize)
	return max(1, (n+size-1)/size)
}

// stamps returns the live readable records of a span in order. The caller holds the lock.
func (f *Fake) stamps(obj golden.Object, span source.Span) []source.Stamped {
	var out []source.Stamped
	for k, rec := range f.records {
		if k.object != obj || rec.Deleted || f.hidden[k] {
			continue
		}
		at := rec.EventTime.UnixMicro()
		if f.opts.ClockVersions {
			at = rec.Version
		}
		if at >= span.From && (span.Until == 0 || at < span.Until) {
			out = append(out, source.Stamped{ID: k.id, At: at})
		}
	}
	slices.SortFunc(out, func(a, b source.Stamped) int { return cmp.Or(cmp.Compare(a.At, b.At), cmp.Compare(a.ID, b.ID)) })
	return out
}

// Digest implements source.Comparer. A system with clock versions cannot add stamps up, and needs a call per span.
func (f *Fake) Digest(_ context.Context, obj golden.Object, spans []source.Span) ([]source.Digest, int64, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.enter(OpDigest); err != nil {
		return nil, 1, err
	}
	out := make([]source.Digest, len(spans))
	for i, span := range spans {
		d := source.Digest{Summed: !f.opts.ClockVersions}
		for _, r := range f.stamps(obj, span) {
			if d.Count++; d.Count == 1 {
				d.First = r.At
			}
			d.Last = r.At
			if d.Summed {
				d.Sum += r.At % source.DigestModulus
			}
		}
		out[i] = d
	}
	if f.opts.ClockVersions {
		return out, int64(len(spans)), nil
	}
	return out, 1, nil
}

// Stamps implements source.Comparer.
func (f *Fake) Stamps(_ context.Context, obj golden.Object, span source.Span, pageToken string) ([]source.Stamped, string, int64, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.enter(OpStamps); err != nil {
		return nil, "", 1, err
	}
	from := 0
	if pageToken != "" {
		var err error
		if from, err = strconv.Atoi(pageToken); err != nil {
			return nil, "", 1, fault.New(fault.Invalid, fault.ReasonPageTokenInvalid, "not a token")
		}
	}
	all := f.stamps(obj, span)
	from = min(from, len(all))
	page := all[from:min(from+f.opts.PageSize, len(all))]
	next := ""
	if from+len(page) < len(all) {
		next = strconv.Itoa(from + len(page))
	}
	return page, next, 1, nil
}
