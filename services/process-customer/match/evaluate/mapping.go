package evaluate

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"

	"go.yaml.in/yaml/v3"

	"github.com/selfsame-io/selfsame/services/process-customer/match"
)

// Mapping says what the columns of CSV files mean.
type Mapping struct {
	// Entity is person, organisation or generic.
	Entity match.Entity `yaml:"entity"`
	// ID is the column of the record's id; "id" when empty.
	ID string `yaml:"id"`
	// Source is the column of the system that holds the record; without it each file is a system.
	Source string `yaml:"source"`
	// Cluster is the column with the truth, if the records carry it: equal values are one entity.
	Cluster string `yaml:"cluster"`
	// ClusterPattern takes the cluster out of its column: what its first group matches. All of it when empty.
	ClusterPattern string `yaml:"cluster_pattern"`
	// Fields are the columns to compare.
	Fields []Column `yaml:"fields"`
	// Gold says how to read a file with the truth.
	Gold Gold `yaml:"gold"`

	pattern *regexp.Regexp
}

// Column is one field of a record.
type Column struct {
	// Column is the name of the column; Columns lists several names when the files differ, the first that is there counts.
	Column  string   `yaml:"column"`
	Columns []string `yaml:"columns"`
	// Kind is what it means; see match.Kind.
	Kind match.Kind `yaml:"kind"`
	// Name is the field's name in the model; the column's when empty.
	Name string `yaml:"name"`
	// Optional lets a file be without the column.
	Optional bool `yaml:"optional"`
	// MonthFirst reads dates with slashes as month/day/year.
	MonthFirst bool `yaml:"month_first"`
}

// Gold says how to read a file with the truth: either pairs, one a line, or the cluster of each record.
type Gold struct {
	// Left and Right are the columns of the ids of a pair; the first two columns when empty. With two files of records
	// Left is of the first and Right of the second.
	Left  string `yaml:"left"`
	Right string `yaml:"right"`
	// ID and Cluster make it a file of clusters; Source is needed when ids repeat among systems.
	ID      string `yaml:"id"`
	Source  string `yaml:"source"`
	Cluster string `yaml:"cluster"`
	// Score is a column of pairs; those below 0.5 do not count.
	Score string `yaml:"score"`
}

// ReadMapping reads a mapping file. Unknown keys are errors.
func ReadMapping(path string) (Mapping, error) {
	b, err := os.ReadFile(path) //nolint:gosec // the file that the user named
	if err != nil {
		return Mapping{}, fmt.Errorf("read the mapping: %w", err)
	}
	return parseMapping(path, b)
}

func parseMapping(path string, b []byte) (Mapping, error) {
	var m Mapping
	d := yaml.NewDecoder(bytes.NewReader(b))
	d.KnownFields(true)
	if err := d.Decode(&m); err != nil {
		return m, fmt.Errorf("%s: %w", path, err)
	}
	if m.ID == "" {
		m.ID = "id"
	}
	var errs []error
	if m.ClusterPattern != "" {
		var err error
		if m.pattern, err = regexp.Compile(m.ClusterPattern); err != nil || m.pattern.NumSubexp() != 1 || m.Cluster == "" {
			errs = append(errs, errors.New("cluster_pattern: needs to be a regular expression with one group, beside cluster"))
		}
	}
	for i := range m.Fields {
		f := &m.Fields[i]
		if f.Column != "" {
			f.Columns = append([]string{f.Column}, f.Columns...)
		}
		if len(f.Columns) == 0 {
			errs = append(errs, fmt.Errorf("fields[%d].column: is missing", i))
			continue
		}
		if f.Name == "" {
			f.Name = f.Columns[0]
		}
	}
	if (m.Gold.ID == "") != (m.Gold.Cluster == "") {
		errs = append(errs, errors.New("gold: id and cluster belong together"))
	}
	if (m.Gold.Left == "") != (m.Gold.Right == "") {
		errs = append(errs, errors.New("gold: left and right belong together"))
	}
	if err := m.Schema().Validate(); err != nil {
		errs = append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return m, fmt.Errorf("%s: %w", path, err)
	}
	return m, nil
}

// Schema returns the schema of the records.
func (m Mapping) Schema() match.Schema {
	s := match.Schema{Entity: m.Entity}
	for _, f := range m.Fields {
		s.Fields = append(s.Fields, match.Field{Name: f.Name, Kind: f.Kind, MonthFirst: f.MonthFirst})
	}
	return s
}

// clusterOf returns the cluster that a cell names.
func (m Mapping) clusterOf(cell string) string {
	if m.pattern == nil {
		return cell
	}
	if found := m.pattern.FindStringSubmatch(cell); found != nil {
		return found[1]
	}
	return ""
}

// column returns the position of the first of some names in a header; -1 when none is there.
func column(header, names []string) int {
	for _, n := range names {
		if i := slices.Index(header, n); i >= 0 {
			return i
		}
	}
	return -1
}
