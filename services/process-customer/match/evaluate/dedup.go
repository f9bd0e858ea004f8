package evaluate

import (
	"bufio"
	"cmp"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"runtime"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/selfsame-io/selfsame/services/process-customer/match"
)

// DedupOptions are choices of Dedup; the zero value is good.
type DedupOptions struct {
	// MaxPerSource is the greatest number of records of each source in one cluster; 0 is any number.
	MaxPerSource int
	// Dir is where temporary files are made; the system's own when empty.
	Dir string
	// Workers is how many records are compared at once; the number of processors when 0.
	Workers int
	// run is how many keys are sorted in memory at once; runSize when 0, as always but in tests.
	run int
}

// DedupReport says what Dedup did.
type DedupReport struct {
	Records int `json:"records"`
	// Candidates are the pairs that were compared, Asked those of them that a person would be asked about.
	Candidates int64 `json:"candidates"`
	Asked      int   `json:"asked"`
	// Clusters are the groups of two or more, Clustered the records in them.
	Clusters  int `json:"clusters"`
	Clustered int `json:"clustered"`
	// Quality compares the clusters with the truth; nil when the records do not name it.
	Quality *Quality `json:"quality,omitempty"`
	Seconds float64  `json:"seconds"`
	// MemoryMiB is all memory that was taken from the system.
	MemoryMiB float64 `json:"memory_mib"`
}

// Dedup finds the records of large files that are about one entity and writes a row for each record: its source, its id and
// the number of its cluster. It holds some 250 bytes of a record in memory, and some 130 MiB besides; records and sorted
// keys are in temporary files. A pair is compared when the record that comes first in the files is among the CandidateCap
// best candidates of the other one. The clusters are those of Cluster at the model's upper limit.
func Dedup(ctx context.Context, x *match.Matcher, m Mapping, paths []string, out io.Writer, o DedupOptions) (DedupReport, error) {
	start := time.Now()
	dir, err := os.MkdirTemp(o.Dir, "dedup")
	if err != nil {
		return DedupReport{}, fmt.Errorf("make a directory for temporary files: %w", err)
	}
	d := &dedup{matcher: x, mapping: m, options: o, dir: dir, across: len(paths) == 2}
	err = d.do(ctx, paths, out)
	if d.file != nil {
		err = errors.Join(err, d.file.Close())
	}
	err = errors.Join(err, os.RemoveAll(dir))
	var mem runtime.MemStats
	runtime.ReadMemStats(&mem)
	d.report.MemoryMiB = math.Round(float64(mem.Sys) / (1 << 20))
	d.report.Seconds = time.Since(start).Seconds()
	return d.report, err
}

// dedup is one run.
type dedup struct {
	matcher *match.Matcher
	mapping Mapping
	options DedupOptions
	dir     string
	across  bool // only pairs of two files are looked at
	report  DedupReport

	file    *os.File // encoded records
	starts  []int64  // where each begins; one more for the end
	sources []uint8
	names   []string // of the sources
	truth   []uint64
	blocks  blocks
	edges   []match.Edge
	cluster []int32 // of each record, by the number of its first; -1 for those that are alone
}

func (d *dedup) do(ctx context.Context, paths []string, out io.Writer) error {
	keys := newSpill(d.dir, cmp.Or(d.options.run, runSize))
	err := d.read(paths, keys)
	if err == nil {
		err = d.blocks.build(keys, len(d.starts)-1)
	}
	if err := errors.Join(err, keys.close()); err != nil {
		return err
	}
	if err := d.compare(ctx); err != nil {
		return err
	}
	if err := d.group(); err != nil {
		return err
	}
	d.judge()
	return d.write(out)
}

// read prepares the records and puts them into a file, and their keys into another.
func (d *dedup) read(paths []string, keys *spill) error {
	var err error
	if d.file, err = os.CreateTemp(d.dir, "records"); err != nil {
		return fmt.Errorf("make a file for records: %w", err)
	}
	w := bufio.NewWriterSize(d.file, 1<<18)
	at := int64(0)
	ids := make([]uint64, 0, 1024) // hashes, to find ids that are there twice
	take := func(r match.Record, cluster string) error {
		n := len(d.starts)
		if n >= math.MaxInt32 {
			return errors.New("too many records")
		}
		p := d.matcher.Prepare(r)
		b := d.matcher.Encode(p)
		d.starts = append(d.starts, at)
		at += int64(len(b))
		source := slices.Index(d.names, r.Source)
		if source < 0 {
			if source = len(d.names); source > math.MaxUint8 {
				return errors.New("there are more than 256 sources")
			}
			d.names = append(d.names, r.Source)
		}
		d.sources = append(d.sources, uint8(source))
		ids = append(ids, hash(r.Source, r.ID))
		if d.mapping.Cluster != "" {
			truth := uint64(0)
			if cluster != "" {
				truth = hash(cluster, "")
			}
			d.truth = append(d.truth, truth)
		}
		for _, k := range d.matcher.Keys(p) {
			if err := keys.add(k.Hash, uint32(n)); err != nil {
				return err
			}
		}
		_, err := w.Write(b)
		return err
	}
	if err := eachRecord(d.mapping, paths, take); err != nil {
		return err
	}
	d.starts = append(d.starts, at)
	d.report.Records = len(d.starts) - 1
	slices.Sort(ids)
	for i := 1; i < len(ids); i++ {
		if ids[i] == ids[i-1] {
			return errors.New("a record's id is there twice")
		}
	}
	return errors.Join(w.Flush(), keys.done())
}

func hash(parts ...string) uint64 {
	h := uint64(14695981039346656037)
	for _, p := range parts {
		for i := range len(p) {
			h = (h ^ uint64(p[i])) * 1099511628211
		}
		h = (h ^ 0xff) * 1099511628211
	}
	return h
}

// prepared reads a record back.
func (d *dedup) prepared(n int32, buf *[]byte) (*match.Prepared, error) {
	size := int(d.starts[n+1] - d.starts[n])
	*buf = slices.Grow((*buf)[:0], size)[:size]
	if _, err := d.file.ReadAt(*buf, d.starts[n]); err != nil {
		return nil, fmt.Errorf("read a record back: %w", err)
	}
	return d.matcher.Decode(*buf)
}

// compare scores each record with its candidates that came before it.
func (d *dedup) compare(ctx context.Context) error {
	workers := cmp.Or(d.options.Workers, runtime.GOMAXPROCS(0))
	parts := make([]*comparing, workers)
	g, ctx := errgroup.WithContext(ctx)
	n := int32(d.report.Records) //nolint:gosec // bounded when they were read
	for i := range parts {
		c := &comparing{dedup: d, weight: make([]float32, n)}
		parts[i] = c
		g.Go(func() error {
			const stride = 1024
			for from := int32(i) * stride; from < n; from += int32(workers) * stride {
				for r := from; r < min(n, from+stride); r++ {
					if err := c.record(r); err != nil {
						return err
					}
				}
				if err := ctx.Err(); err != nil {
					return err
				}
			}
			return nil
		})
	}
	err := g.Wait()
	for _, c := range parts {
		d.edges = append(d.edges, c.edges...)
		d.report.Candidates += c.candidates
		d.report.Asked += c.asked
	}
	d.blocks = blocks{}
	return err
}

// comparing is the part of one worker.
type comparing struct {
	*dedup
	weight     []float32
	found      []int32
	buf        []byte
	edges      []match.Edge
	candidates int64
	asked      int
}

func (c *comparing) record(n int32) error {
	c.found = c.found[:0]
	for _, b := range c.blocks.of(n) {
		members := c.blocks.members(b)
		w := float32(match.KeyWeight(len(members)))
		for _, m := range members {
			if other := int32(m); other != n { //nolint:gosec // a record's number
				if c.weight[other] == 0 {
					c.found = append(c.found, other)
				}
				c.weight[other] += w
			}
		}
	}
	if len(c.found) > match.CandidateCap {
		slices.SortFunc(c.found, func(a, b int32) int { return cmp.Or(cmp.Compare(c.weight[b], c.weight[a]), cmp.Compare(a, b)) })
	}
	for _, other := range c.found {
		c.weight[other] = 0
	}
	var p *match.Prepared
	bands := c.matcher.Model().Bands
	low, join := match.Bits(bands.Review), match.Bits(bands.Auto)
	for _, other := range c.found[:min(len(c.found), match.CandidateCap)] {
		if other > n || (c.across && c.sources[other] == c.sources[n]) {
			continue
		}
		if p == nil {
			var err error
			if p, err = c.prepared(n, &c.buf); err != nil {
				return err
			}
		}
		q, err := c.prepared(other, &c.buf)
		if err != nil {
			return err
		}
		c.candidates++
		switch s := c.matcher.Score(p, q); {
		case s.Veto != "" || s.Bits < low:
		case s.Bits < join:
			c.asked++
		default:
			c.edges = append(c.edges, match.Edge{A: other, B: n, Bits: s.Bits})
		}
	}
	return nil
}

// group makes clusters of all that hangs together, one component after the other.
func (d *dedup) group() error {
	n := d.report.Records
	d.cluster = make([]int32, n)
	for i := range d.cluster {
		d.cluster[i] = int32(i)
	}
	root := func(i int32) int32 {
		for d.cluster[i] != i {
			d.cluster[i] = d.cluster[d.cluster[i]]
			i = d.cluster[i]
		}
		return i
	}
	for _, e := range d.edges {
		if a, b := root(e.A), root(e.B); a != b {
			d.cluster[max(a, b)] = min(a, b)
		}
	}
	slices.SortFunc(d.edges, func(a, b match.Edge) int {
		return cmp.Or(cmp.Compare(root(a.A), root(b.A)), cmp.Compare(a.A, b.A), cmp.Compare(a.B, b.B))
	})
	var groups [][]int32
	for len(d.edges) > 0 {
		component := root(d.edges[0].A)
		end := slices.IndexFunc(d.edges, func(e match.Edge) bool { return root(e.A) != component })
		if end < 0 {
			end = len(d.edges)
		}
		got, err := d.component(d.edges[:end])
		if err != nil {
			return err
		}
		groups = append(groups, got...)
		d.edges = d.edges[end:]
	}
	d.edges = nil
	for i := range d.cluster {
		d.cluster[i] = -1
	}
	for _, g := range groups {
		d.report.Clusters++
		d.report.Clustered += len(g)
		first := slices.Min(g)
		for _, r := range g {
			d.cluster[r] = first
		}
	}
	return nil
}

// component clusters the records that some edges hold together.
func (d *dedup) component(edges []match.Edge) ([][]int32, error) {
	var members []int32
	for _, e := range edges {
		members = append(members, e.A, e.B)
	}
	slices.Sort(members)
	members = slices.Compact(members)
	prepared := make([]*match.Prepared, len(members))
	var buf []byte
	for i, n := range members {
		var err error
		if prepared[i], err = d.prepared(n, &buf); err != nil {
			return nil, err
		}
	}
	local := make([]match.Edge, len(edges))
	for i, e := range edges {
		a, _ := slices.BinarySearch(members, e.A)
		b, _ := slices.BinarySearch(members, e.B)
		local[i] = match.Edge{A: int32(a), B: int32(b), Bits: e.Bits} //nolint:gosec // bounded by the records
	}
	groups := match.Cluster(len(members), local, match.Joining{
		Limit: match.Bits(d.matcher.Model().Bands.Auto), MaxPerSource: d.options.MaxPerSource,
		Pair:   func(a, b int32) match.Score { return d.matcher.Score(prepared[a], prepared[b]) },
		Source: func(n int32) int { return int(d.sources[members[n]]) },
		Less: func(a, b int32) int {
			x, y := prepared[a], prepared[b]
			return cmp.Or(cmp.Compare(x.Source, y.Source), cmp.Compare(x.ID, y.ID))
		},
	})
	for _, g := range groups {
		for i := range g {
			g[i] = members[g[i]]
		}
	}
	return groups, nil
}

// judge compares the clusters with the truth, if the records name it.
func (d *dedup) judge() {
	if d.truth == nil {
		return
	}
	var belong, found, right pairCount
	order := make([]int32, len(d.truth))
	for i := range order {
		order[i] = int32(i) //nolint:gosec // bounded by the records
	}
	slices.SortFunc(order, func(a, b int32) int { return cmp.Compare(d.truth[a], d.truth[b]) })
	for _, i := range order {
		belong.add(d.truth[i] != 0, pairGroup{truth: d.truth[i]}, d.sources[i], d.across)
	}
	slices.SortFunc(order, func(a, b int32) int {
		return cmp.Or(cmp.Compare(d.cluster[a], d.cluster[b]), cmp.Compare(d.truth[a], d.truth[b]))
	})
	for _, i := range order {
		found.add(d.cluster[i] >= 0, pairGroup{cluster: d.cluster[i]}, d.sources[i], d.across)
		right.add(d.cluster[i] >= 0 && d.truth[i] != 0, pairGroup{d.cluster[i], d.truth[i]}, d.sources[i], d.across)
	}
	q := quality(right.pairs, found.pairs-right.pairs, belong.pairs)
	d.report.Quality = &q
}

// pairGroup names a group of records.
type pairGroup struct {
	cluster int32
	truth   uint64
}

// pairCount counts the pairs within groups of what comes sorted by group.
type pairCount struct {
	pairs   int
	group   pairGroup
	members [256]int
	size    int
}

func (c *pairCount) add(counts bool, group pairGroup, source uint8, across bool) {
	if !counts {
		return
	}
	if c.group != group {
		c.group, c.members, c.size = group, [256]int{}, 0
	}
	c.pairs += c.size
	if across {
		c.pairs -= c.members[source]
	}
	c.size++
	c.members[source]++
}

// write writes the cluster of each record.
func (d *dedup) write(out io.Writer) error {
	w := csv.NewWriter(out)
	if err := w.Write([]string{"source", "id", "cluster"}); err != nil {
		return fmt.Errorf("write clusters: %w", err)
	}
	r := bufio.NewReaderSize(io.NewSectionReader(d.file, 0, d.starts[len(d.starts)-1]), 1<<18)
	var b []byte
	for i := range d.cluster {
		size := int(d.starts[i+1] - d.starts[i])
		b = slices.Grow(b[:0], size)[:size]
		if _, err := io.ReadFull(r, b); err != nil {
			return fmt.Errorf("read a record back: %w", err)
		}
		p, err := d.matcher.Decode(b)
		if err != nil {
			return err
		}
		cluster := i
		if d.cluster[i] >= 0 {
			cluster = int(d.cluster[i])
		}
		if err := w.Write([]string{p.Source, p.ID, strconv.Itoa(cluster + 1)}); err != nil {
			return fmt.Errorf("write clusters: %w", err)
		}
	}
	w.Flush()
	return w.Error()
}
