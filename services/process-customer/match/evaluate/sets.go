package evaluate

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/selfsame-io/selfsame/services/process-customer/match"
)

//go:embed maps/*.yaml
var maps embed.FS

// Set is one set of records with a truth, and what is expected of it.
type Set struct {
	Name string `yaml:"name"`
	// Fields is one of the mappings of this package.
	Fields string `yaml:"fields"`
	// Records and Gold are paths within the directory of data.
	Records      []string `yaml:"records"`
	Gold         string   `yaml:"gold"`
	MaxPerSource int      `yaml:"max_per_source"`
	// Seen says that the set was looked at while the program was written.
	Seen bool               `yaml:"seen"`
	Bars map[string]float64 `yaml:"bars"`
}

// Bar is a value that is good enough, and what was reached.
type Bar struct {
	Name    string  `json:"name"`
	Want    float64 `json:"want"`
	Reached float64 `json:"reached"`
	Met     bool    `json:"met"`
}

// Result is what one set came to.
type Result struct {
	Name string `json:"name"`
	Seen bool   `json:"seen_while_developing"`
	// TrainSeconds is the time to learn the weights, without the truth.
	TrainSeconds float64 `json:"train_seconds"`
	Bars         []Bar   `json:"bars,omitempty"`
	Report       Report  `json:"report"`
}

// Sets returns the known sets.
func Sets() ([]Set, error) {
	b, err := maps.ReadFile("maps/sets.yaml")
	if err != nil {
		return nil, fmt.Errorf("read the sets: %w", err)
	}
	var sets []Set
	d := yaml.NewDecoder(bytes.NewReader(b))
	d.KnownFields(true)
	if err := d.Decode(&sets); err != nil {
		return nil, fmt.Errorf("read the sets: %w", err)
	}
	return sets, nil
}

// Missing returns the files of sets that a directory does not have.
func Missing(dir string, sets []Set) error {
	var errs []error
	for _, s := range sets {
		for _, p := range append(slices.Clone(s.Records), s.Gold) {
			if p == "" {
				continue
			}
			if _, err := os.Stat(filepath.Join(dir, p)); err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", s.Name, err))
			}
		}
	}
	return errors.Join(errs...)
}

// Run trains on the records of a set, without its truth, and evaluates what was learned.
func (s Set) Run(dir string, o Options) (Result, error) {
	r := Result{Name: s.Name, Seen: s.Seen}
	b, err := maps.ReadFile("maps/" + s.Fields)
	if err != nil {
		return r, fmt.Errorf("%s: %w", s.Name, err)
	}
	m, err := parseMapping(s.Fields, b)
	if err != nil {
		return r, err
	}
	paths := make([]string, len(s.Records))
	for i, p := range s.Records {
		paths[i] = filepath.Join(dir, p)
	}
	rs, err := ReadRecords(m, paths...)
	if err != nil {
		return r, err
	}
	gold := ""
	if s.Gold != "" {
		gold = filepath.Join(dir, s.Gold)
	}
	start := time.Now()
	model, err := Train(m, rs) // what the truth is, is only read after this
	if err != nil {
		return r, fmt.Errorf("%s: %w", s.Name, err)
	}
	r.TrainSeconds = time.Since(start).Seconds()
	truth, err := ReadGold(m, rs, gold)
	if err != nil {
		return r, err
	}
	x, err := match.NewMatcher(model)
	if err != nil {
		return r, fmt.Errorf("%s: %w", s.Name, err)
	}
	o.MaxPerSource = s.MaxPerSource
	r.Report = Evaluate(x, rs, truth, o)
	r.Bars, err = r.Report.bars(s.Bars)
	return r, err
}

// bars compares a report with what is expected.
func (r Report) bars(want map[string]float64) ([]Bar, error) {
	all := r.Thresholds[0].Clusters
	reached := map[string]float64{
		"f1": all.F1, "precision": all.Precision, "recall": all.Recall, "auto_precision": r.Bands.AutoMerged.Precision,
		"auto_recall": r.Bands.AutoMerged.Recall, "blocking_recall": r.BlockingRecall, "most_candidates": float64(r.MaxCandidates),
		"most_review": r.Bands.ReviewRecords,
	}
	var out []Bar
	for name, limit := range want {
		got, ok := reached[name]
		if !ok {
			return nil, fmt.Errorf("bars: %q is not known", name)
		}
		met := got >= limit
		if len(name) > 5 && name[:5] == "most_" {
			met = got <= limit
		}
		out = append(out, Bar{Name: name, Want: limit, Reached: math.Round(got*1e5) / 1e5, Met: met})
	}
	slices.SortFunc(out, func(a, b Bar) int { return bytes.Compare([]byte(a.Name), []byte(b.Name)) })
	return out, nil
}
