package evaluate

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding/charmap"

	"github.com/selfsame-io/selfsame/services/process-customer/match"
)

// Records are what was read from one or two files.
type Records struct {
	All []match.Record
	// Files is the number of files. With two, each is a source, and only pairs across them are looked at.
	Files int
	// first is the number of records of the first file.
	first int
	// clusters are those of the records' own column, by position; nil without one.
	clusters []string
}

// ReadRecords reads one or two CSV files. A comma, semicolon, tab or vertical bar may part the columns; the header
// decides.
func ReadRecords(m Mapping, paths ...string) (Records, error) {
	rs := Records{Files: len(paths)}
	if len(paths) == 0 || len(paths) > 2 {
		return rs, fmt.Errorf("one or two files of records are needed, not %d", len(paths))
	}
	for n, path := range paths {
		name := strings.TrimSuffix(filepath.Base(path), filepath.Ext(path))
		if len(rs.All) > 0 && rs.All[0].Source == name {
			name += "-2"
		}
		f := file{mapping: m, name: name, seen: map[match.Ref]bool{}, source: -1, cluster: -1, records: &rs}
		if err := EachRow(path, f.start); err != nil {
			return rs, fmt.Errorf("%s: %w", path, err)
		}
		if n == 0 {
			rs.first = len(rs.All)
		}
	}
	return rs, nil
}

// file reads the records of one file.
type file struct {
	mapping             Mapping
	name                string
	seen                map[match.Ref]bool
	records             *Records
	id, source, cluster int
	at                  []int // the columns of the fields
	header              []string
	// take gets each record, with its cluster, instead of records; optional.
	take func(r match.Record, cluster string) error
}

// eachRecord calls take with the records of one or two files, and with the cluster that they name, without keeping them. It
// does not look whether an id is there twice.
func eachRecord(m Mapping, paths []string, take func(r match.Record, cluster string) error) error {
	if len(paths) == 0 || len(paths) > 2 {
		return fmt.Errorf("one or two files of records are needed, not %d", len(paths))
	}
	last := ""
	for _, path := range paths {
		name := strings.TrimSuffix(filepath.Base(path), filepath.Ext(path))
		if name == last {
			name += "-2"
		}
		last = name
		f := file{mapping: m, name: name, source: -1, cluster: -1, records: &Records{Files: len(paths)}, take: take}
		if err := EachRow(path, f.start); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	return nil
}

// start finds the columns.
func (f *file) start(header []string) (func(line int, row []string) error, error) {
	m := f.mapping
	if f.id = column(header, []string{m.ID}); f.id < 0 {
		return nil, fmt.Errorf("there is no column %q for the id", m.ID)
	}
	if m.Source != "" && f.records.Files == 1 {
		if f.source = column(header, []string{m.Source}); f.source < 0 {
			return nil, fmt.Errorf("there is no column %q for the source", m.Source)
		}
	}
	if m.Cluster != "" {
		if f.cluster = column(header, []string{m.Cluster}); f.cluster < 0 {
			return nil, fmt.Errorf("there is no column %q for the cluster", m.Cluster)
		}
	}
	f.header, f.at = header, make([]int, len(m.Fields))
	for i, c := range m.Fields {
		if f.at[i] = column(header, c.Columns); f.at[i] < 0 && !c.Optional {
			return nil, fmt.Errorf("there is no column %q", strings.Join(c.Columns, "\" or \""))
		}
	}
	return f.row, nil
}

func (f *file) row(line int, row []string) error {
	for _, c := range append([]int{f.id, f.source, f.cluster}, f.at...) {
		if err := CheckLength(line, f.column(c), cell(row, c)); err != nil {
			return err
		}
	}
	r := match.Record{Source: f.name, ID: cell(row, f.id), Values: make([]string, len(f.at))}
	if f.source >= 0 {
		r.Source = cell(row, f.source)
	}
	for i, c := range f.at {
		r.Values[i] = cell(row, c)
	}
	if r.ID == "" {
		return fmt.Errorf("line %d: the id is empty", line)
	}
	ref := match.Ref{Source: r.Source, ID: r.ID}
	if f.take != nil {
		cluster := ""
		if f.cluster >= 0 {
			cluster = f.mapping.clusterOf(cell(row, f.cluster))
		}
		return f.take(r, cluster)
	}
	if f.seen[ref] {
		return fmt.Errorf("line %d: the id %q is there twice", line, r.ID)
	}
	f.seen[ref] = true
	f.records.All = append(f.records.All, r)
	if f.cluster >= 0 {
		f.records.clusters = append(f.records.clusters, f.mapping.clusterOf(cell(row, f.cluster)))
	}
	return nil
}

func (f *file) column(i int) string { return cell(f.header, i) }

func cell(row []string, i int) string {
	if i < 0 || i >= len(row) {
		return ""
	}
	return strings.TrimSpace(row[i])
}

// The limits of a file, in bytes: MaxValue is that of a value which is used, as in a running suite, maxRow that of a row with all its
// columns.
const (
	MaxValue = 8192
	maxRow   = 8 << 20
)

// TooLongError refuses a value, or a row where Column is empty, that is longer than Most bytes.
type TooLongError struct {
	Line   int
	Column string
	Most   int
}

func (e *TooLongError) Error() string {
	if e.Column == "" {
		return fmt.Sprintf("line %d: the row is longer than %d bytes: is a quote missing?", e.Line, e.Most)
	}
	return fmt.Sprintf("line %d, column %q: the value is longer than %d bytes: is a quote missing?", e.Line, e.Column, e.Most)
}

// CheckLength returns a *TooLongError where a value is longer than MaxValue.
func CheckLength(line int, column, value string) error {
	if len(value) > MaxValue {
		return &TooLongError{line, column, MaxValue}
	}
	return nil
}

var errLongRow = errors.New("the row is too long")

// rows reads a file and fails where a row is too long, before all of it is in memory.
type rows struct {
	file        io.Reader
	read, start int64 // how much was read, and where the row begins
}

func (r *rows) Read(p []byte) (int, error) {
	if r.read-r.start > maxRow {
		return 0, errLongRow
	}
	n, err := r.file.Read(p)
	r.read += int64(n)
	return n, err
}

// EachRow reads a CSV file as people export it: in UTF-8 or Windows-1252, its columns parted by a comma, semicolon, tab or
// vertical bar. A row of more than 8 MiB is a *TooLongError. start gets the header and returns what takes the rows; a row is valid during the call, and may have more or fewer
// values than the header.
func EachRow(path string, start func(header []string) (func(line int, row []string) error, error)) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // only read
	head := make([]byte, 4096)
	n, err := io.ReadFull(f, head)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		return err
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	if first := string(head[:min(n, 2)]); first == "\xff\xfe" || first == "\xfe\xff" {
		return errors.New("the file is written in UTF-16: save it as UTF-8")
	}
	line, _, _ := strings.Cut(string(head[:n]), "\n")
	limited := &rows{file: f}
	r := csv.NewReader(limited)
	r.Comma, r.TrimLeadingSpace, r.FieldsPerRecord, r.ReuseRecord, r.LazyQuotes = ',', true, -1, true, true
	for _, comma := range []rune{';', '\t', '|'} {
		if strings.Count(line, string(comma)) > strings.Count(line, string(r.Comma)) {
			r.Comma = comma
		}
	}
	header, err := r.Read()
	if errors.Is(err, io.EOF) {
		return errors.New("the file is empty")
	}
	if errors.Is(err, errLongRow) {
		return &TooLongError{Line: 1, Most: maxRow}
	}
	if err != nil {
		return fmt.Errorf("read the header: %w", err)
	}
	var enc encoding
	if err := enc.readable(1, header); err != nil {
		return err
	}
	names := make([]string, len(header))
	for i, h := range header {
		names[i] = strings.TrimSpace(strings.TrimPrefix(h, "\ufeff"))
	}
	take, err := start(names)
	if err != nil {
		return err
	}
	next := lastLine(r, header) + 1
	for {
		limited.start = r.InputOffset()
		row, err := r.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if errors.Is(err, errLongRow) {
			return &TooLongError{Line: next, Most: maxRow}
		}
		if err != nil {
			return err
		}
		at, _ := r.FieldPos(0)
		next = lastLine(r, row) + 1
		if err := enc.readable(at, row); err != nil {
			return err
		}
		if err := take(at, row); err != nil {
			return err
		}
	}
}

// lastLine returns the line that a row ends in.
func lastLine(r *csv.Reader, row []string) int {
	last := len(row) - 1
	line, _ := r.FieldPos(last)
	return line + strings.Count(row[last], "\n")
}

// encoding is that of a file, as far as its values have shown it: the first line with a value that is only UTF-8, and with one
// that is not. A file is written in one: where both are, some values are broken, and to guess would make other names of them.
type encoding struct{ utf8, other int }

// readable makes the values of a row that are not UTF-8 so: older exports are written in Windows-1252.
func (e *encoding) readable(line int, row []string) error {
	for i, v := range row {
		if strings.IndexFunc(v, func(r rune) bool { return r >= utf8.RuneSelf }) < 0 {
			continue // ASCII is both
		}
		if utf8.ValidString(v) {
			if e.utf8 == 0 {
				e.utf8 = line
			}
		} else {
			text, err := charmap.Windows1252.NewDecoder().String(v)
			if err != nil {
				return fmt.Errorf("line %d: %w", line, err)
			}
			row[i] = text
			if e.other == 0 {
				e.other = line
			}
		}
		if e.utf8 > 0 && e.other > 0 {
			return fmt.Errorf("line %d is not UTF-8, and line %d is: save the file in one encoding", e.other, e.utf8)
		}
	}
	return nil
}

// pair is two records by position, the smaller first.
type pair [2]int32

// Pairs are those that belong together.
type Pairs map[pair]bool

func newPair(a, b int) pair {
	if a > b {
		a, b = b, a
	}
	return pair{int32(a), int32(b)}
}

// ErrNoGold is returned when there is nothing to measure against.
var ErrNoGold = errors.New("there is no truth: give a file of pairs or clusters, or name the records' cluster column in the mapping")

// ReadGold returns the pairs of records that are about one entity. Path may be empty when the records carry clusters.
func ReadGold(m Mapping, rs Records, path string) (Pairs, error) {
	if path == "" {
		if rs.clusters == nil {
			return nil, ErrNoGold
		}
		return rs.closure(rs.clusters), nil
	}
	g := truth{mapping: m, left: map[string]int{}, right: map[string]int{}, bySource: map[match.Ref]int{}, pairs: Pairs{}, clusters: make([]string, len(rs.All))}
	for i, r := range rs.All {
		if rs.Files < 2 || i < rs.first {
			g.left[r.ID] = i
		}
		if rs.Files < 2 || i >= rs.first {
			g.right[r.ID] = i
		}
		g.bySource[match.Ref{Source: r.Source, ID: r.ID}] = i
	}
	start := g.startPairs
	if m.Gold.Cluster != "" {
		start = g.startClusters
	}
	if err := EachRow(path, start); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if m.Gold.Cluster != "" {
		return rs.closure(g.clusters), nil
	}
	return g.pairs, nil
}

// truth reads a file of gold.
type truth struct {
	mapping     Mapping
	left, right map[string]int // positions by id
	bySource    map[match.Ref]int
	pairs       Pairs
	clusters    []string // by position
}

func (g *truth) startClusters(header []string) (func(line int, row []string) error, error) {
	want := g.mapping.Gold
	id, cluster, source := column(header, []string{want.ID}), column(header, []string{want.Cluster}), column(header, []string{want.Source})
	if id < 0 || cluster < 0 || (want.Source != "" && source < 0) {
		return nil, fmt.Errorf("there are no columns %q, %q and %q", want.ID, want.Cluster, want.Source)
	}
	return func(_ int, row []string) error {
		i, ok := g.left[cell(row, id)]
		if source >= 0 {
			i, ok = g.bySource[match.Ref{Source: cell(row, source), ID: cell(row, id)}]
		} else if !ok {
			i, ok = g.right[cell(row, id)]
		}
		if ok { // others are of a file that was not given
			g.clusters[i] = cell(row, cluster)
		}
		return nil
	}, nil
}

func (g *truth) startPairs(header []string) (func(line int, row []string) error, error) {
	want := g.mapping.Gold
	a, b, score := 0, 1, -1
	if want.Left != "" {
		a, b = column(header, []string{want.Left}), column(header, []string{want.Right})
	}
	if a < 0 || b < 0 || b >= len(header) {
		return nil, errors.New("there are no two columns of ids")
	}
	if want.Score != "" {
		if score = column(header, []string{want.Score}); score < 0 {
			return nil, fmt.Errorf("there is no column %q for the score", want.Score)
		}
	}
	return func(line int, row []string) error {
		if score >= 0 {
			s, err := strconv.ParseFloat(cell(row, score), 64)
			if err != nil {
				return fmt.Errorf("line %d: the score is no number", line)
			}
			if s < 0.5 {
				return nil
			}
		}
		x, okX := g.left[cell(row, a)]
		y, okY := g.right[cell(row, b)]
		if !okX || !okY {
			return fmt.Errorf("line %d: %q and %q are not both ids of records", line, cell(row, a), cell(row, b))
		}
		if x != y {
			g.pairs[newPair(x, y)] = true
		}
		return nil
	}, nil
}

// closure returns all pairs with equal clusters; across the files when there are two.
func (rs Records) closure(clusters []string) Pairs {
	members := map[string][]int{}
	for i, c := range clusters {
		if c != "" {
			members[c] = append(members[c], i)
		}
	}
	gold := Pairs{}
	for _, m := range members {
		for x, a := range m {
			for _, b := range m[x+1:] {
				if rs.comparable(a, b) {
					gold[newPair(a, b)] = true
				}
			}
		}
	}
	return gold
}

// comparable reports whether a pair is looked at.
func (rs Records) comparable(a, b int) bool {
	return rs.Files < 2 || rs.All[a].Source != rs.All[b].Source
}
