package reconcile

import (
	"cmp"
	"context"
	"slices"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/selfsame-io/selfsame/pkg/priority"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/source"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store"
)

const (
	// leaf is how many records a stretch may have for its ids to be listed instead of dividing it further.
	leaf = 1000
	// parts is into how many parts a stretch whose digests differ is divided.
	parts = 4
	// fetchSize is how many records are read by one call.
	fetchSize = 200
)

// comparison is one run at work.
type comparison struct {
	r   *Reconciler
	run store.Run
	sys source.Comparer

	ignore    []store.IgnoreRule
	findings  []store.Finding // that are not stored yet
	marks     map[golden.Object]store.ReconcileMark
	readCalls int64
}

// all compares everything the system has.
func (c *comparison) all(ctx context.Context) error {
	var err error
	if c.ignore, err = c.r.store.Read().IgnoreRules(ctx, c.run.System, c.r.now()); err != nil {
		return err
	}
	// Background work leaves the allowance of a system to what keeps records agreeing.
	ctx = priority.With(ctx, priority.Bulk)
	c.marks = map[golden.Object]store.ReconcileMark{}
	c.run.Compared = 0 // of a process that died before the end
	standing, err := c.standing(ctx)
	if err != nil {
		return err
	}
	for _, obj := range golden.Objects() {
		if err := c.object(ctx, obj, standing[obj]); err != nil {
			return err
		}
	}
	c.run.ReadCalls = c.readCalls
	return nil
}

// standing returns, by kind of record and of finding, what was found before: a comparison looks at all of it again, also at what it
// is not deep enough to find by itself.
func (c *comparison) standing(ctx context.Context) (map[golden.Object]map[string][]string, error) {
	out := map[golden.Object]map[string][]string{}
	for after := (store.Finding{}); ; {
		page, err := c.r.store.Read().Findings(ctx, c.run.System, "", "", false, after, maxFound)
		if err != nil || len(page) == 0 {
			return out, err
		}
		for i := range page {
			f := &page[i]
			if out[f.Ref.Object] == nil {
				out[f.Ref.Object] = map[string][]string{}
			}
			out[f.Ref.Object][f.Kind] = append(out[f.Ref.Object][f.Kind], f.Ref.RecordID)
		}
		after = page[len(page)-1]
	}
}

// called counts calls and keeps the run ours.
func (c *comparison) called(ctx context.Context, n int64) error {
	c.run.Calls += n
	c.r.calls.Add(ctx, n, metric.WithAttributes(attribute.String("selfsame.system", c.run.System)))
	return c.r.store.Tx(ctx, func(ctx context.Context, tx *store.Tx) error { return tx.SaveRun(ctx, c.run, c.r.now(), lease) })
}

// object compares the records of one kind.
func (c *comparison) object(ctx context.Context, obj golden.Object, standing map[string][]string) error {
	var err error
	if c.run.Depth >= store.DepthValues {
		err = c.values(ctx, obj)
	} else {
		err = c.stamps(ctx, obj, standing[Different])
	}
	if err != nil {
		return err
	}
	if err := c.twice(ctx, obj); err != nil {
		return err
	}
	if c.run.Depth >= store.DepthDeep {
		return c.undelivered(ctx, obj)
	}
	for part := range slices.Chunk(standing[Undelivered], fetchSize) {
		ids := make([]golden.ID, len(part))
		for i, id := range part {
			ids[i] = golden.ID(id)
		}
		if err := c.undeliveredOf(ctx, obj, ids); err != nil {
			return err
		}
	}
	return nil
}

// stamps compares the records of one kind by their stamps, and looks at those that were found before.
func (c *comparison) stamps(ctx context.Context, obj golden.Object, before []string) error {
	mark, err := c.r.store.Read().ReconcileMark(ctx, c.run.System, obj)
	if err != nil {
		return err
	}
	from, begun := mark.Stamp, c.r.now()
	if c.run.Depth >= store.DepthDeep {
		from = 0
	}
	known := map[string]int64{}
	if err := c.r.store.Read().KnownStamps(ctx, c.run.System, obj, c.sys.ByVersion(), func(id string, at int64) { known[id] = at }); err != nil {
		return err
	}
	s := search{c: c, obj: obj, known: known, suspects: map[string]bool{}, newest: mark.Newest}
	// What changed since the last comparison, or everything, is listed by id and time.
	recent, err := s.list(ctx, source.Span{From: from})
	if err != nil {
		return err
	}
	s.match(source.Span{From: from}, recent, nil)
	if from > 0 {
		err = s.rest(ctx, from, recent)
	}
	if err != nil {
		return err
	}
	for _, id := range before {
		s.suspects[id] = true
	}
	c.run.Compared += int64(len(known))
	c.readCalls += c.sys.ReadCalls(int64(len(known)))
	if err := c.judge(ctx, obj, slices.Sorted(keys(s.suspects))); err != nil {
		return err
	}
	c.marks[obj] = c.next(mark, s.newest, begun)
	return nil
}

// next returns where the next comparison begins. A system may show a change late, with a stamp from before, but not later
// than the margin: once the newest stamp was known for that long before this comparison began, everything up to it has been
// seen. Only our own clock is asked for how long that was.
func (c *comparison) next(have store.ReconcileMark, newest int64, begun time.Time) store.ReconcileMark {
	if newest == have.Newest && begun.Sub(have.Seen) >= c.r.cfg.Margin {
		have.Stamp = newest + 1
		return have
	}
	margin := int64(c.r.cfg.Margin.Seconds()) * c.sys.StampsPerSecond()
	return store.ReconcileMark{Stamp: max(have.Stamp, newest-margin, 1), Newest: newest, Seen: begun}
}

// search finds the records of one kind whose stamps differ.
type search struct {
	c        *comparison
	obj      golden.Object
	known    map[string]int64
	suspects map[string]bool
	newest   int64
	spent    int64
}

func (s *search) spend(ctx context.Context, n int64) error {
	s.spent += n
	return s.c.called(ctx, n)
}

// list returns ids and stamps of a span.
func (s *search) list(ctx context.Context, span source.Span) (map[string]int64, error) {
	out := map[string]int64{}
	for token := ""; ; {
		page, next, n, err := s.c.sys.Stamps(ctx, s.obj, span, token)
		if serr := s.spend(ctx, n); err == nil {
			err = serr
		}
		if err != nil {
			return nil, err
		}
		for _, r := range page {
			out[r.ID] = max(out[r.ID], r.At)
			s.newest = max(s.newest, r.At)
		}
		if token = next; token == "" {
			return out, nil
		}
	}
}

// match suspects what stands differently in a span that was listed. Records in except have moved out of the span since.
func (s *search) match(span source.Span, there, except map[string]int64) {
	for id, at := range there {
		if have, ok := s.known[id]; !ok || have != at {
			s.suspects[id] = true
		}
	}
	for id, at := range s.known {
		if _, ok := there[id]; !ok && inside(span, at) {
			if _, moved := except[id]; !moved {
				s.suspects[id] = true
			}
		}
	}
}

func inside(span source.Span, at int64) bool {
	return at >= span.From && (span.Until == 0 || at < span.Until)
}

// rest compares what has not changed since, by digests. Records that were listed as recent have left it.
func (s *search) rest(ctx context.Context, until int64, recent map[string]int64) error {
	var old []int64
	for id, at := range s.known {
		if _, moved := recent[id]; at < until && !moved {
			old = append(old, at)
		}
	}
	slices.Sort(old)
	bound := s.spent + max(16, s.c.sys.ReadCalls(int64(len(old))))
	queue := []piece{{source.Span{Until: until}, old}}
	for len(queue) > 0 {
		if s.spent >= bound {
			// Dividing costs more than listing what is left.
			for _, p := range queue {
				if err := s.listPiece(ctx, p, recent); err != nil {
					return err
				}
			}
			return nil
		}
		n := min(len(queue), 2*parts)
		now := queue[:n]
		queue = slices.Clone(queue[n:])
		spans := make([]source.Span, n)
		for i, p := range now {
			spans[i] = p.span
		}
		digests, calls, err := s.c.sys.Digest(ctx, s.obj, spans)
		if serr := s.spend(ctx, calls); err == nil {
			err = serr
		}
		if err != nil {
			return err
		}
		for i, p := range now {
			switch {
			case p.equal(digests[i]):
			case max(int64(len(p.at)), digests[i].Count) <= leaf || !p.divisible():
				if err := s.listPiece(ctx, p, recent); err != nil {
					return err
				}
			default:
				queue = append(queue, p.divide()...)
			}
		}
	}
	return nil
}

func (s *search) listPiece(ctx context.Context, p piece, recent map[string]int64) error {
	there, err := s.list(ctx, p.span)
	if err != nil {
		return err
	}
	s.match(p.span, there, recent)
	return nil
}

// piece is a span with the stamps, in order, that are known in it.
type piece struct {
	span source.Span
	at   []int64
}

func (p piece) equal(d source.Digest) bool {
	if d.Count != int64(len(p.at)) {
		return false
	}
	if d.Count == 0 {
		return true
	}
	if d.First != p.at[0] || d.Last != p.at[len(p.at)-1] {
		return false
	}
	if !d.Summed {
		return true
	}
	sum := int64(0)
	for _, at := range p.at {
		sum += at % source.DigestModulus
	}
	return sum == d.Sum
}

// divisible reports whether there are two different stamps to divide between.
func (p piece) divisible() bool { return len(p.at) > 1 && p.at[0] != p.at[len(p.at)-1] }

// divide cuts a piece into parts with about as many known stamps each.
func (p piece) divide() []piece {
	var out []piece
	rest := p
	for i := 1; i < parts; i++ {
		cut := p.at[len(p.at)*i/parts]
		if cut <= rest.span.From || len(rest.at) == 0 || cut == rest.at[0] {
			continue
		}
		n, _ := slices.BinarySearchFunc(rest.at, cut, cmp.Compare[int64])
		out = append(out, piece{source.Span{From: rest.span.From, Until: cut}, rest.at[:n]})
		rest = piece{source.Span{From: cut, Until: p.span.Until}, rest.at[n:]}
	}
	if len(out) == 0 { // most share the first stamp
		cut := p.at[0] + 1
		n, _ := slices.BinarySearchFunc(p.at, cut, cmp.Compare[int64])
		return []piece{{source.Span{From: p.span.From, Until: cut}, p.at[:n]}, {source.Span{From: cut, Until: p.span.Until}, p.at[n:]}}
	}
	return append(out, rest)
}
