package bulk

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"math/big"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/rest"
)

// Limits of one row, in characters, and of its columns.
const (
	maxValue   = 32_000
	maxRow     = 400_000
	maxColumns = 5_000
)

// nullMark sets a field to null; an empty value leaves it as it is.
const nullMark = "#N/A"

// Reasons of outcomes and errors of this package.
const (
	ReasonKeyMissing     = "KEY_MISSING"
	ReasonKeyInvalid     = "KEY_INVALID"
	ReasonKeyDuplicate   = "KEY_DUPLICATE_IN_LOAD"
	ReasonKeysDuplicate  = "LOAD_KEYS_DUPLICATE"
	ReasonColumn         = "COLUMN_INVALID"
	ReasonValue          = "VALUE_NOT_SENDABLE"
	ReasonTooLong        = "VALUE_TOO_LONG"
	ReasonRowTooLong     = "ROW_TOO_LONG"
	ReasonRowShape       = "ROW_INVALID"
	ReasonSpec           = "LOAD_INVALID"
	ReasonTooLarge       = "LOAD_TOO_LARGE"
	ReasonRunning        = "LOAD_RUNNING"
	ReasonUnknown        = "LOAD_UNKNOWN"
	ReasonDiffers        = "LOAD_DIFFERS"
	ReasonUnbalanced     = "LOAD_UNBALANCED"
	ReasonJobAborted     = "BULK_JOB_ABORTED"
	ReasonJobRefused     = "BULK_JOB_REFUSED"
	ReasonJobFailed      = "BULK_JOB_FAILED"
	ReasonJobLost        = "BULK_JOB_LOST"
	ReasonJobRuns        = "BULK_JOB_RUNS"
	ReasonNotProcessed   = "ROW_NOT_PROCESSED"
	ReasonOutcomeMissing = "OUTCOME_NOT_REPORTED"
	ReasonAllocation     = "BULK_ALLOCATION_EXHAUSTED"
)

// Row is one record to write. It has either Values, one for each declared column, or Fields.
//
// A value is nil to set null, Keep to leave the field as it is, or a string, bool, integer, float, json.Number or time.Time. An
// empty string sets null: Salesforce has no other empty text. A field that is missing from Fields is left as it is.
type Row struct {
	Values []any
	Fields map[string]any
}

// Keep as a value leaves the field as it is.
var Keep = keep{} //nolint:gochecknoglobals // an immutable value without a size

type keep struct{}

// refuse is why a row is not sent.
func refuse(reason, text string, fields ...string) *rest.Refusal {
	return &rest.Refusal{Kind: fault.Invalid, Reason: reason, Text: text, Fields: fields}
}

var (
	objectName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_]{0,254}$`)
	// A column is a field, Relationship.Field, or Type:Relationship.Field.
	columnName = regexp.MustCompile(`^(?:[A-Za-z][A-Za-z0-9_]*:)?[A-Za-z][A-Za-z0-9_]*(?:\.[A-Za-z][A-Za-z0-9_]*)?$`)
	number     = regexp.MustCompile(`^-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]{1,3})?$`)
)

// appendText adds a value as text; null is true for a value that sets null.
func appendText(dst []byte, v any) (out []byte, null bool, problem *rest.Refusal) {
	switch x := v.(type) {
	case nil:
		return dst, true, nil
	case keep:
		return dst, false, nil
	case string:
		return appendString(dst, x)
	case bool:
		return strconv.AppendBool(dst, x), false, nil
	case int:
		return strconv.AppendInt(dst, int64(x), 10), false, nil
	case int32:
		return strconv.AppendInt(dst, int64(x), 10), false, nil
	case int64:
		return strconv.AppendInt(dst, x, 10), false, nil
	case float64:
		if math.IsNaN(x) || math.IsInf(x, 0) {
			return dst, false, refuse(ReasonValue, "the value is not a number that can be sent")
		}
		return strconv.AppendFloat(dst, x, 'f', -1, 64), false, nil
	case json.Number:
		text, ok := plain(string(x))
		if !ok {
			return dst, false, refuse(ReasonValue, "the value is not a number that can be sent")
		}
		return append(dst, text...), false, nil
	case time.Time:
		return x.UTC().AppendFormat(dst, "2006-01-02T15:04:05.000Z"), false, nil
	}
	return dst, false, refuse(ReasonValue, fmt.Sprintf("a value of the type %T cannot be sent", v))
}

func appendString(dst []byte, s string) (out []byte, null bool, problem *rest.Refusal) {
	switch {
	case s == "":
		return dst, true, nil
	case s == nullMark:
		// The format has no way to say it: as text it would clear the field.
		return dst, false, refuse(ReasonValue, "the text #N/A cannot be sent, for it means null")
	case !utf8.ValidString(s):
		return dst, false, refuse(ReasonValue, "the value is not UTF-8")
	case len(s) > maxValue && utf8.RuneCountInString(s) > maxValue:
		return dst, false, refuse(ReasonTooLong, "the value has more than 32,000 characters")
	}
	return append(dst, s...), false, nil
}

// plain writes a JSON number without an exponent, to the last digit.
func plain(s string) (string, bool) {
	if !number.MatchString(s) {
		return "", false
	}
	mantissa, exponent, ok := strings.Cut(strings.ToLower(s), "e")
	if !ok {
		return s, true
	}
	r, ok := new(big.Rat).SetString(s)
	if !ok {
		return "", false
	}
	if r.IsInt() {
		return r.Num().String(), true
	}
	e, err := strconv.Atoi(exponent)
	_, decimals, _ := strings.Cut(mantissa, ".")
	return strings.TrimRight(r.FloatString(max(1, len(decimals)-e)), "0"), err == nil
}

// line is the columns of a load and the memory in which rows become lines.
type line struct {
	columns  []string
	place    map[string]int // by column, as it is written
	external string
	parent   int // place of the parent column, or -1
	values   int // how many values a row has that is given as values; 0 if columns are found
	order    []int
	delim    byte
	eol      string
	cell     []byte
	// key and out are of the last row; key also if the row was refused for something else.
	key, out []byte
}

// newLine takes the columns that are declared. The key becomes the first column, so that no line is ever empty.
func newLine(s *Spec) *line {
	l := &line{place: map[string]int{}, external: s.ExternalID, parent: -1, delim: s.Delimiter.sign(), eol: s.LineEnding.text(), values: len(s.Columns)}
	l.column(s.ExternalID)
	for i, c := range s.Columns {
		if c == s.ExternalID {
			l.order = append([]int{i}, l.order...)
			continue
		}
		l.column(c)
		l.order = append(l.order, i)
	}
	l.parent = l.find(s.Parent)
	return l
}

func (l *line) find(column string) int {
	if i, ok := l.place[column]; ok && column != "" {
		return i
	}
	return -1
}

func (l *line) column(name string) {
	l.place[name] = len(l.columns)
	l.columns = append(l.columns, name)
}

// learn adds the columns of a row that were not seen before: all of them or, if one cannot be loaded, none.
func (l *line) learn(fields map[string]any, parent string) *rest.Refusal {
	var fresh []string
	for name := range fields {
		if _, ok := l.place[name]; ok {
			continue
		}
		switch {
		case !columnName.MatchString(name) || strings.EqualFold(name, "Id"):
			return refuse(ReasonColumn, "a column has a name that cannot be loaded", printable(name)...)
		case l.known(name) || slices.ContainsFunc(fresh, func(other string) bool { return strings.EqualFold(other, name) }):
			return refuse(ReasonColumn, "two columns differ only in case", name)
		case len(l.columns)+len(fresh) == maxColumns:
			return refuse(ReasonColumn, "the load has more than 5,000 columns")
		}
		fresh = append(fresh, name)
	}
	slices.Sort(fresh) // the order of a map is none
	for _, name := range fresh {
		l.column(name)
	}
	l.parent = l.find(parent)
	return nil
}

func printable(name string) []string {
	if len(name) > 255 || strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r > '~' }) {
		return nil
	}
	return []string{name}
}

func (l *line) known(name string) bool {
	for c := range l.place {
		if strings.EqualFold(c, name) {
			return true
		}
	}
	return false
}

// set makes l.out the line of a row.
func (l *line) set(r Row, parent string) *rest.Refusal {
	l.out, l.key = l.out[:0], l.key[:0]
	if r.Fields != nil {
		l.key, _, _ = appendText(l.key, r.Fields[l.external])
		return l.fields(r.Fields, parent)
	}
	if l.values == 0 || len(r.Values) != l.values {
		return refuse(ReasonRowShape, "the row does not have one value for each declared column")
	}
	l.key, _, _ = appendText(l.key, r.Values[l.order[0]])
	for at, i := range l.order {
		if problem := l.put(at, r.Values[i]); problem != nil {
			return problem
		}
	}
	return l.end()
}

func (l *line) fields(fields map[string]any, parent string) *rest.Refusal {
	if l.values == 0 {
		if problem := l.learn(fields, parent); problem != nil {
			return problem
		}
	}
	used := 0
	for at, name := range l.columns {
		v, ok := fields[name]
		if !ok {
			v = Keep
		} else {
			used++
		}
		if problem := l.put(at, v); problem != nil {
			return problem
		}
	}
	if used != len(fields) {
		return refuse(ReasonRowShape, "the row has a field that is not a declared column")
	}
	return l.end()
}

// put adds the value of one column.
func (l *line) put(at int, v any) *rest.Refusal {
	if at > 0 {
		l.out = append(l.out, l.delim)
	}
	var null bool
	var problem *rest.Refusal
	l.cell, null, problem = appendText(l.cell[:0], v)
	switch {
	case problem != nil:
		problem.Fields = []string{l.columns[at]}
		return problem
	case null:
		l.cell = append(l.cell, nullMark...)
	}
	if at == 0 {
		if null || len(l.cell) == 0 {
			return refuse(ReasonKeyMissing, "the row has no external id", l.external)
		}
		if trimmed := bytes.TrimSpace(l.cell); len(trimmed) != len(l.cell) {
			return refuse(ReasonKeyInvalid, "the external id begins or ends with a blank, which Salesforce would drop", l.external)
		}
	}
	l.out = appendCell(l.out, l.cell, l.delim)
	return nil
}

func (l *line) end() *rest.Refusal {
	if len(l.out) > maxRow && utf8.RuneCount(l.out) > maxRow {
		return refuse(ReasonRowTooLong, "the row has more than 400,000 characters")
	}
	l.out = append(l.out, l.eol...)
	return nil
}

// header is the first line of every part.
func header(columns []string, delim byte, eol string) []byte {
	var out []byte
	for i, c := range columns {
		if i > 0 {
			out = append(out, delim)
		}
		out = append(out, c...)
	}
	return append(out, eol...)
}
