package conf

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// kind is the type of a value, as the reference names it.
type kind string

const (
	kindString   kind = "string"
	kindBool     kind = "bool"
	kindInt      kind = "int"
	kindFloat    kind = "float"
	kindDuration kind = "duration"
	kindList     kind = "list"
	kindMap      kind = "map"
	kindSecret   kind = "secret"
)

// leaf is one configurable value.
type leaf struct {
	key    string // "serve.listen"
	help   string
	kind   kind
	value  reflect.Value // settable
	origin string        // "default", "file.yaml:3", "environment SELFSAME_X", "flag --x"
}

// schema is a configuration struct, flattened.
type schema struct {
	leaves []*leaf // in order of the struct
	byKey  map[string]*leaf
}

var (
	durationType = reflect.TypeFor[time.Duration]()
	secretType   = reflect.TypeFor[Secret]()
)

// newSchema walks the struct that v points to. An unsupported field is the programmer's error.
func newSchema(v reflect.Value) (*schema, error) {
	s := &schema{byKey: map[string]*leaf{}}
	if v.Elem().Kind() != reflect.Struct {
		return nil, fmt.Errorf("configuration is a %s, not a struct", v.Elem().Kind())
	}
	return s, s.walk(v.Elem(), "")
}

func (s *schema) walk(v reflect.Value, prefix string) error {
	var errs []error
	for i := range v.NumField() {
		f := v.Type().Field(i)
		tag := f.Tag.Get("conf")
		embedded := f.Anonymous && f.Type.Kind() == reflect.Struct // its exported fields are ours, even if its name is not
		if tag == "-" || (!f.IsExported() && !embedded) {
			continue
		}
		name := tag
		if name == "" && !f.Anonymous {
			name = snake(f.Name)
		}
		key := name
		switch {
		case name == "":
			key = prefix // an embedded struct without a name belongs to its parent
		case prefix != "":
			key = prefix + "." + name
		}
		fv := v.Field(i)
		k, ok := kindOf(fv.Type())
		switch {
		case ok && name != "":
			if s.byKey[key] != nil {
				errs = append(errs, fmt.Errorf("key %s is declared twice", key))
				continue
			}
			l := &leaf{key: key, help: f.Tag.Get("help"), kind: k, value: fv, origin: "default"}
			s.leaves, s.byKey[key] = append(s.leaves, l), l
		case fv.Kind() == reflect.Struct:
			errs = append(errs, s.walk(fv, key))
		default:
			errs = append(errs, fmt.Errorf("field %s.%s: type %s is not configuration; tag it conf:\"-\"", v.Type(), f.Name, f.Type))
		}
	}
	return errors.Join(errs...)
}

func kindOf(t reflect.Type) (kind, bool) {
	switch {
	case t == durationType:
		return kindDuration, true
	case t == secretType:
		return kindSecret, true
	case t.Kind() == reflect.String:
		return kindString, true
	case t.Kind() == reflect.Bool:
		return kindBool, true
	case t.Kind() >= reflect.Int && t.Kind() <= reflect.Uint64:
		return kindInt, true
	case t.Kind() == reflect.Float64 || t.Kind() == reflect.Float32:
		return kindFloat, true
	case t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.String:
		return kindList, true
	case t.Kind() == reflect.Map && t.Key().Kind() == reflect.String && t.Elem().Kind() == reflect.String:
		return kindMap, true
	default:
		return "", false
	}
}

// snake turns MaxRecvBytes into max_recv_bytes and OTLPEndpoint into otlp_endpoint.
func snake(name string) string {
	var b strings.Builder
	rs := []rune(name)
	for i, r := range rs {
		if unicode.IsUpper(r) && i > 0 &&
			(unicode.IsLower(rs[i-1]) || unicode.IsDigit(rs[i-1]) || (i+1 < len(rs) && unicode.IsLower(rs[i+1]))) {
			b.WriteByte('_')
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}

// setText sets the value from one text, as it comes from a flag, a variable or a YAML scalar. Lists are separated by
// commas, maps are written k=v,k=v. The error never repeats the text: it may be a secret in the wrong place.
func (l *leaf) setText(text, origin string) error {
	if err := l.parse(text); err != nil {
		return err
	}
	l.origin = origin
	return nil
}

func (l *leaf) parse(text string) error {
	v := l.value
	switch l.kind {
	case kindString:
		v.SetString(text)
	case kindSecret:
		if text == hidden {
			return errors.New("is the placeholder of a printed configuration, not a secret")
		}
		v.SetString(text)
	case kindBool:
		b, err := strconv.ParseBool(text)
		if err != nil {
			return errors.New("want true or false")
		}
		v.SetBool(b)
	case kindDuration:
		d, err := time.ParseDuration(text)
		if err != nil {
			return errors.New("want a duration with a unit, such as 300ms, 10s or 2h")
		}
		v.SetInt(int64(d))
	case kindInt:
		return l.parseInt(text)
	case kindFloat:
		f, err := strconv.ParseFloat(text, v.Type().Bits())
		if err != nil {
			return errors.New("want a number")
		}
		v.SetFloat(f)
	case kindList:
		v.Set(listOf(v.Type(), splitList(text)))
	case kindMap:
		m := map[string]string{}
		for _, pair := range splitList(text) {
			k, val, ok := strings.Cut(pair, "=")
			if !ok || strings.TrimSpace(k) == "" {
				return errors.New("want key=value pairs, separated by commas")
			}
			m[strings.TrimSpace(k)] = strings.TrimSpace(val)
		}
		v.Set(mapOf(v.Type(), m))
	}
	return nil
}

func (l *leaf) parseInt(text string) error {
	v := l.value
	if v.CanUint() {
		n, err := strconv.ParseUint(text, 10, v.Type().Bits())
		if err != nil {
			return errors.New("want a whole number that is not negative")
		}
		v.SetUint(n)
		return nil
	}
	n, err := strconv.ParseInt(text, 10, v.Type().Bits())
	if err != nil {
		return errors.New("want a whole number")
	}
	v.SetInt(n)
	return nil
}

func splitList(text string) []string {
	var out []string
	for part := range strings.SplitSeq(text, ",") {
		if part = strings.TrimSpace(part); part != "" {
			out = append(out, part)
		}
	}
	return out
}

func listOf(t reflect.Type, items []string) reflect.Value {
	v := reflect.MakeSlice(t, len(items), len(items))
	for i, s := range items {
		v.Index(i).SetString(s)
	}
	return v
}

func mapOf(t reflect.Type, items map[string]string) reflect.Value {
	v := reflect.MakeMapWithSize(t, len(items))
	for k, s := range items {
		v.SetMapIndex(reflect.ValueOf(k).Convert(t.Key()), reflect.ValueOf(s).Convert(t.Elem()))
	}
	return v
}

// text returns the value as setText would read it; a secret is hidden.
func (l *leaf) text() string {
	v := l.value
	switch l.kind {
	case kindSecret:
		return Secret(v.String()).String()
	case kindDuration:
		return time.Duration(v.Int()).String()
	case kindList:
		return strings.Join(l.list(), ",")
	case kindMap:
		var pairs []string
		for k, s := range l.table() {
			pairs = append(pairs, k+"="+s)
		}
		slices.Sort(pairs)
		return strings.Join(pairs, ",")
	default:
		return fmt.Sprint(v.Interface())
	}
}

func (l *leaf) list() []string {
	out := make([]string, l.value.Len())
	for i := range out {
		out[i] = l.value.Index(i).String()
	}
	return out
}

func (l *leaf) table() map[string]string {
	out := map[string]string{}
	for it := l.value.MapRange(); it.Next(); {
		out[it.Key().String()] = it.Value().String()
	}
	return out
}
