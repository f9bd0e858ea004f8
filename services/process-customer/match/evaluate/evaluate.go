package evaluate

import (
	"cmp"
	"math"
	"runtime"
	"slices"
	"time"

	"github.com/selfsame-io/selfsame/services/process-customer/match"
)

// Options of an evaluation; the zero value is good.
type Options struct {
	// MaxPerSource is the greatest number of records of one source in a cluster; 0 is any number.
	MaxPerSource int
	// Shuffle feeds the records one by one in the random order of this seed through the path of the service; 0 takes
	// them all at once.
	Shuffle uint64
	// Examples is how many wrong pairs of each sort the report names, by record id.
	Examples int
}

// Quality compares what was found with the truth, pair by pair.
type Quality struct {
	Precision float64 `json:"precision"`
	Recall    float64 `json:"recall"`
	F1        float64 `json:"f1"`
	Right     int     `json:"right"`
	Wrong     int     `json:"wrong"`
	Missed    int     `json:"missed"`
}

func quality(right, wrong, all int) Quality {
	q := Quality{Right: right, Wrong: wrong, Missed: all - right, Precision: 1, Recall: 1}
	if right+wrong > 0 {
		q.Precision = float64(right) / float64(right+wrong)
	}
	if all > 0 {
		q.Recall = float64(right) / float64(all)
	}
	if q.Precision+q.Recall > 0 {
		q.F1 = 2 * q.Precision * q.Recall / (q.Precision + q.Recall)
	}
	return q
}

// Threshold is the quality at one limit of probability.
type Threshold struct {
	Probability float64 `json:"probability"`
	// Pairs are the scored pairs above the limit, Clusters all pairs within the clusters that they were joined to.
	Pairs    Quality `json:"pairs"`
	Clusters Quality `json:"clusters"`
}

// Bands says how the decisions are spread.
type Bands struct {
	Auto   float64 `json:"auto"`
	Review float64 `json:"review"`
	// AutoMerged is the quality of what is joined without asking.
	AutoMerged Quality `json:"auto_merged"`
	// ReviewPairs are open questions; ReviewRecords the share of records that have one.
	ReviewPairs   int     `json:"review_pairs"`
	ReviewRecords float64 `json:"review_records"`
}

// Example is a wrong decision, by the ids of its records.
type Example struct {
	A           string           `json:"a"`
	B           string           `json:"b"`
	Probability float64          `json:"probability"`
	Veto        string           `json:"veto,omitempty"`
	Evidence    []match.Evidence `json:"evidence"`
}

// Report is the result of an evaluation.
type Report struct {
	Records int `json:"records"`
	// GoldPairs are the pairs that belong together.
	GoldPairs int `json:"gold_pairs"`
	// BlockingRecall is the share of them among the candidates.
	BlockingRecall float64 `json:"blocking_recall"`
	// Candidates are the pairs that were compared.
	Candidates          int         `json:"candidates"`
	CandidatesPerRecord float64     `json:"candidates_per_record"`
	MaxCandidates       int         `json:"max_candidates_of_a_record"`
	Prior               float64     `json:"prior"`
	Clusters            int         `json:"clusters"`
	Thresholds          []Threshold `json:"thresholds"`
	Bands               Bands       `json:"bands"`
	// Seconds is the time to prepare, look up and score; PairsPerSecond of scoring alone.
	Seconds        float64 `json:"seconds"`
	PairsPerSecond float64 `json:"pairs_per_second"`
	// HeapMiB is the heap in use after scoring.
	HeapMiB float64 `json:"heap_mib"`
	// FalseMatches are joined and should not be, MissedMatches the other way round.
	FalseMatches  []Example `json:"false_matches,omitempty"`
	MissedMatches []Example `json:"missed_matches,omitempty"`
	// OneByOne is there when the records were also fed one by one.
	OneByOne *OneByOne `json:"one_by_one,omitempty"`
}

// Thresholds are the limits that a report looks at.
var thresholds = []float64{0.5, 0.8, 0.9, 0.95, 0.99, 0.999}

// scored is a compared pair.
type scored struct {
	pair
	bits float64
	veto string
}

// Evaluate measures a model on records whose truth is known.
func Evaluate(x *match.Matcher, rs Records, gold Pairs, o Options) Report {
	e := &evaluation{matcher: x, records: rs, gold: gold, options: o}
	start := time.Now()
	e.prepare()
	e.score()
	e.report.Seconds = time.Since(start).Seconds()
	var mem runtime.MemStats
	runtime.ReadMemStats(&mem)
	e.report.HeapMiB = math.Round(float64(mem.HeapInuse)/(1<<17)) / 8
	for _, p := range thresholds {
		e.report.Thresholds = append(e.report.Thresholds, e.at(p))
	}
	e.bands()
	e.examples()
	if o.Shuffle != 0 {
		e.report.OneByOne = e.oneByOne(o.Shuffle)
	}
	return e.report
}

type evaluation struct {
	matcher  *match.Matcher
	records  Records
	gold     Pairs
	options  Options
	prepared []*match.Prepared
	sources  []int
	pairs    []scored
	report   Report
}

func (e *evaluation) prepare() {
	numbers := map[string]int{}
	for _, r := range e.records.All {
		p := e.matcher.Prepare(r)
		e.prepared = append(e.prepared, p)
		if _, ok := numbers[r.Source]; !ok {
			numbers[r.Source] = len(numbers)
		}
		e.sources = append(e.sources, numbers[r.Source])
	}
	e.report.Records, e.report.GoldPairs, e.report.Prior = len(e.prepared), len(e.gold), e.matcher.Model().Prior
}

// score looks up the candidates of all records and compares them.
func (e *evaluation) score() {
	ix := match.NewIndex()
	for _, p := range e.prepared {
		ix.Add(p, e.matcher.Keys(p))
	}
	seen := map[pair]bool{}
	for i := range e.prepared {
		candidates := ix.Candidates(i)
		e.report.MaxCandidates = max(e.report.MaxCandidates, len(candidates))
		for _, j := range candidates {
			if k := newPair(i, int(j)); e.records.comparable(i, int(j)) && !seen[k] {
				seen[k] = true
				e.pairs = append(e.pairs, scored{pair: k})
			}
		}
	}
	start, found := time.Now(), 0
	for i := range e.pairs {
		p := &e.pairs[i]
		s := e.matcher.Score(e.prepared[p.pair[0]], e.prepared[p.pair[1]])
		p.bits, p.veto = s.Bits, s.Veto
	}
	e.report.PairsPerSecond = math.Round(float64(len(e.pairs)) / max(time.Since(start).Seconds(), 1e-9))
	for _, p := range e.pairs {
		if e.gold[p.pair] {
			found++
		}
	}
	e.report.Candidates = len(e.pairs)
	e.report.CandidatesPerRecord = float64(2*len(e.pairs)) / max(float64(len(e.prepared)), 1)
	e.report.BlockingRecall = quality(found, 0, len(e.gold)).Recall
}

// joining returns the rules of clusters over the numbers of records.
func (e *evaluation) joining(probability float64) match.Joining {
	return match.Joining{
		Limit:        math.Log2(probability / (1 - probability)),
		MaxPerSource: e.options.MaxPerSource,
		Pair:         func(a, b int32) match.Score { return e.matcher.Score(e.prepared[a], e.prepared[b]) },
		Source:       func(n int32) int { return e.sources[n] },
		Less: func(a, b int32) int {
			x, y := e.prepared[a], e.prepared[b]
			return cmp.Or(cmp.Compare(x.Source, y.Source), cmp.Compare(x.ID, y.ID))
		},
	}
}

func (e *evaluation) clusters(probability float64) [][]int32 {
	limit := math.Log2(probability / (1 - probability))
	var edges []match.Edge
	for _, p := range e.pairs {
		if p.veto == "" && p.bits >= limit {
			edges = append(edges, match.Edge{A: p.pair[0], B: p.pair[1], Bits: p.bits})
		}
	}
	return match.Cluster(len(e.prepared), edges, e.joining(probability))
}

func (e *evaluation) at(probability float64) Threshold {
	limit := math.Log2(probability / (1 - probability))
	right, wrong := 0, 0
	for _, p := range e.pairs {
		if p.veto != "" || p.bits < limit {
			continue
		}
		if e.gold[p.pair] {
			right++
		} else {
			wrong++
		}
	}
	clusters := e.clusters(probability)
	if probability == thresholds[0] {
		e.report.Clusters = len(clusters)
	}
	return Threshold{Probability: probability, Pairs: quality(right, wrong, len(e.gold)), Clusters: e.measure(clusters)}
}

func (e *evaluation) measure(clusters [][]int32) Quality {
	right, wrong := 0, 0
	for _, m := range clusters {
		for x, a := range m {
			for _, b := range m[x+1:] {
				switch {
				case !e.records.comparable(int(a), int(b)):
				case e.gold[newPair(int(a), int(b))]:
					right++
				default:
					wrong++
				}
			}
		}
	}
	return quality(right, wrong, len(e.gold))
}

// bands looks at the decisions that the model's own limits make. A pair whose records are in one cluster already is no
// open question.
func (e *evaluation) bands() {
	b := e.matcher.Model().Bands
	clusters := e.clusters(b.Auto)
	joined := make([]int, len(e.prepared))
	for i, m := range clusters {
		for _, n := range m {
			joined[n] = i + 1
		}
	}
	open := map[int32]bool{}
	r := Bands{Auto: b.Auto, Review: b.Review, AutoMerged: e.measure(clusters)}
	low := math.Log2(b.Review / (1 - b.Review))
	asked := map[[2]int]bool{}
	for _, p := range e.pairs {
		x, y := joined[p.pair[0]], joined[p.pair[1]]
		if p.veto != "" || p.bits < low || (x != 0 && x == y) {
			continue
		}
		// Two clusters are one question, however many of their records are alike.
		group := func(n int32, c int) int {
			if c == 0 {
				return -1 - int(n)
			}
			return c
		}
		k := [2]int{group(p.pair[0], x), group(p.pair[1], y)}
		if k[0] > k[1] {
			k[0], k[1] = k[1], k[0]
		}
		if asked[k] {
			continue
		}
		asked[k] = true
		r.ReviewPairs++
		open[p.pair[0]], open[p.pair[1]] = true, true
	}
	r.ReviewRecords = float64(len(open)) / max(float64(len(e.prepared)), 1)
	e.report.Bands = r
}

func (e *evaluation) examples() {
	if e.options.Examples == 0 {
		return
	}
	slices.SortFunc(e.pairs, func(a, b scored) int {
		return cmp.Or(cmp.Compare(b.bits, a.bits), slices.Compare(a.pair[:], b.pair[:]))
	})
	limit := math.Log2(e.matcher.Model().Bands.Auto / (1 - e.matcher.Model().Bands.Auto))
	example := func(p scored) Example {
		a, b := e.prepared[p.pair[0]], e.prepared[p.pair[1]]
		s, evidence := e.matcher.Explain(a, b)
		return Example{A: a.Source + "/" + a.ID, B: b.Source + "/" + b.ID, Probability: s.Probability(), Veto: s.Veto, Evidence: evidence}
	}
	for _, p := range e.pairs {
		if len(e.report.FalseMatches) < e.options.Examples && !e.gold[p.pair] && p.veto == "" && p.bits >= limit {
			e.report.FalseMatches = append(e.report.FalseMatches, example(p))
		}
	}
	for _, p := range slices.Backward(e.pairs) {
		if len(e.report.MissedMatches) < e.options.Examples && e.gold[p.pair] && (p.veto != "" || p.bits < 0) {
			e.report.MissedMatches = append(e.report.MissedMatches, example(p))
		}
	}
}
