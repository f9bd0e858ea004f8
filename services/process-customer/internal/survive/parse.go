package survive

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
)

// maxFile bounds a rule file, in bytes.
const maxFile = 1 << 20

// Problem is one thing wrong with a rule file.
type Problem struct {
	// Line is counted from 1; zero when no line is to blame.
	Line int
	// Path is the place in the file, for example "objects.customer.fields.email.master".
	Path string
	// Text says what is wrong.
	Text string
}

// Problems are all things wrong with a rule file, in the order of its lines.
type Problems []Problem

// Error returns one line per problem.
func (p Problems) Error() string {
	var b strings.Builder
	for i, problem := range p {
		if i > 0 {
			b.WriteByte('\n')
		}
		if problem.Line > 0 {
			fmt.Fprintf(&b, "line %d: ", problem.Line)
		}
		if problem.Path != "" {
			b.WriteString(problem.Path + ": ")
		}
		b.WriteString(problem.Text)
	}
	return b.String()
}

// Parse reads a rule file. The error is Problems when the file can be read as YAML at all.
func Parse(text []byte) (*Rules, error) {
	if len(text) > maxFile {
		return nil, Problems{{Text: fmt.Sprintf("the file has more than %d bytes", maxFile)}}
	}
	dec := yaml.NewDecoder(bytes.NewReader(text))
	var doc yaml.Node
	if err := dec.Decode(&doc); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, Problems{{Text: "the file is empty"}}
		}
		return nil, fmt.Errorf("read rules: %w", err)
	}
	if err := dec.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return nil, Problems{{Text: "the file has more than one document"}}
	}
	p := &parser{rules: &Rules{priorities: map[string]int{}, objects: map[golden.Object]map[string]*rule{}}}
	p.file(doc.Content[0])
	if len(p.problems) > 0 {
		slices.SortFunc(p.problems, func(a, b Problem) int {
			return cmp.Or(cmp.Compare(a.Line, b.Line), strings.Compare(a.Path, b.Path), strings.Compare(a.Text, b.Text))
		})
		return nil, p.problems
	}
	if err := p.rules.seal(); err != nil {
		return nil, err
	}
	return p.rules, nil
}

type parser struct {
	rules    *Rules
	defaults rule
	problems Problems
}

func (p *parser) fail(n *yaml.Node, path, format string, args ...any) {
	p.problems = append(p.problems, Problem{Line: n.Line, Path: path, Text: fmt.Sprintf(format, args...)})
}

func (p *parser) file(n *yaml.Node) {
	top := p.mapping(n, "", "version", "systems", "defaults", "objects")
	if v := top["version"]; v != nil {
		p.rules.version = p.integer(v, "version", 1, 1<<31-1)
	} else {
		p.fail(n, "version", "is missing")
	}
	if s := top["systems"]; s != nil {
		p.systems(s)
	} else {
		p.fail(n, "systems", "is missing")
	}
	p.defaults = rule{Strategy: latest, Bucket: 2 * time.Second, Blank: clear}
	if d := top["defaults"]; d != nil {
		keys := p.mapping(d, "defaults", "strategy", "bucket", "blank")
		p.common(keys, "defaults", &p.defaults)
		if p.defaults.Strategy == master {
			p.fail(keys["strategy"], "defaults.strategy", "cannot be master: every field has masters of its own")
		}
	}
	var objects map[string]*yaml.Node
	if o := top["objects"]; o != nil {
		objects = p.mapping(o, "objects", names(golden.Objects())...)
	}
	for _, obj := range golden.Objects() {
		p.object(obj, objects[string(obj)])
	}
}

func names(objects []golden.Object) []string {
	out := make([]string, len(objects))
	for i, o := range objects {
		out[i] = string(o)
	}
	return out
}

func (p *parser) systems(n *yaml.Node) {
	for name, body := range p.mapping(n, "systems") {
		path := "systems." + name
		keys := p.mapping(body, path, "priority")
		p.rules.priorities[name] = 0
		if v := keys["priority"]; v != nil {
			p.rules.priorities[name] = p.integer(v, path+".priority", 0, 1_000_000)
		} else {
			p.fail(body, path+".priority", "is missing")
		}
	}
	if len(p.rules.priorities) == 0 {
		p.fail(n, "systems", "names no system")
	}
}

// object reads the rules of one kind of record; fields nobody mentions follow the defaults.
func (p *parser) object(obj golden.Object, n *yaml.Node) {
	rules := map[string]*rule{}
	p.rules.objects[obj] = rules
	path := "objects." + string(obj)
	if n != nil {
		keys := p.mapping(n, path, "units", "fields")
		if units := keys["units"]; units != nil {
			p.units(obj, units, path+".units", rules)
		}
		if fields := keys["fields"]; fields != nil {
			p.fields(obj, fields, path+".fields", rules)
		}
	}
	for _, f := range golden.Fields(obj) {
		if rules[f] == nil {
			def := p.defaults
			rules[f] = &def
		}
	}
}

func (p *parser) fields(obj golden.Object, n *yaml.Node, path string, rules map[string]*rule) {
	for field, body := range p.mapping(n, path, golden.Fields(obj)...) {
		at := path + "." + field
		if other := rules[field]; other != nil {
			p.fail(body, at, "is already part of the unit %s", other.Unit)
			continue
		}
		r := p.defaults
		keys := p.mapping(body, at, "strategy", "master", "bucket", "blank", "write_to")
		p.common(keys, at, &r)
		p.lists(body, keys, at, &r)
		rules[field] = &r
	}
}

func (p *parser) units(obj golden.Object, n *yaml.Node, path string, rules map[string]*rule) {
	units := p.mapping(n, path)
	ordered := make([]string, 0, len(units))
	for unit := range units {
		ordered = append(ordered, unit)
	}
	slices.Sort(ordered)
	for _, unit := range ordered {
		body, at := units[unit], path+"."+unit
		r := p.defaults
		r.Unit, r.Blank = unit, yield
		keys := p.mapping(body, at, "fields", "require_any", "strategy", "master", "bucket", "blank", "write_to")
		p.common(keys, at, &r)
		p.lists(body, keys, at, &r)
		p.members(obj, body, keys, at, &r)
		if r.Strategy == longest {
			p.fail(keyNode(keys, "strategy", body), at+".strategy", "a unit has no length: use master or latest")
		}
		if r.Blank == keep {
			p.fail(keyNode(keys, "blank", body), at+".blank", "a unit cannot keep: it would mix values of different times; use clear or yield")
		}
		for _, f := range r.Members {
			if other := rules[f]; other != nil {
				p.fail(keyNode(keys, "fields", body), at+".fields", "%s is already part of the unit %s", f, other.Unit)
				continue
			}
			rules[f] = &r
		}
	}
}

func (p *parser) members(obj golden.Object, body *yaml.Node, keys map[string]*yaml.Node, at string, r *rule) {
	if v := keys["fields"]; v != nil {
		r.Members = p.list(v, at+".fields", "field", golden.Fields(obj))
	}
	if len(r.Members) < 2 {
		p.fail(keyNode(keys, "fields", body), at+".fields", "a unit needs at least two fields")
	}
	r.RequireAny = slices.Clone(r.Members)
	if v := keys["require_any"]; v != nil {
		r.RequireAny = p.list(v, at+".require_any", "field of the unit", r.Members)
		if len(r.RequireAny) == 0 {
			p.fail(v, at+".require_any", "names no field")
		}
	}
}

// common reads what fields, units and defaults share.
func (p *parser) common(keys map[string]*yaml.Node, path string, r *rule) {
	if v := keys["strategy"]; v != nil {
		if w, ok := p.word(v, path+".strategy", string(master), string(latest), string(longest)); ok {
			r.Strategy = strategy(w)
		}
	}
	if v := keys["blank"]; v != nil {
		if w, ok := p.word(v, path+".blank", string(keep), string(clear), string(yield)); ok {
			r.Blank = blank(w)
		}
	}
	if v := keys["bucket"]; v != nil {
		d, err := time.ParseDuration(v.Value)
		if err != nil || d < minBucket || d > 24*time.Hour {
			p.fail(v, path+".bucket", "%q is not a time between %s and 24h", v.Value, minBucket)
			d = r.Bucket
		}
		r.Bucket = d
	}
}

// lists reads the lists of systems.
func (p *parser) lists(body *yaml.Node, keys map[string]*yaml.Node, path string, r *rule) {
	known := append(p.rules.Systems(), golden.SystemAPI)
	switch v := keys["master"]; {
	case v != nil && r.Strategy != master:
		p.fail(v, path+".master", "has no effect with the strategy %s", r.Strategy)
	case v != nil:
		if r.Master = p.list(v, path+".master", "system", known); len(r.Master) == 0 {
			p.fail(v, path+".master", "names no system")
		}
	case r.Strategy == master:
		p.fail(body, path+".master", "is missing: the strategy master needs the systems in their order")
	}
	if v := keys["write_to"]; v != nil {
		r.WriteTo = p.list(v, path+".write_to", "system", known)
	}
}

func keyNode(keys map[string]*yaml.Node, key string, otherwise *yaml.Node) *yaml.Node {
	if n := keys[key]; n != nil {
		return n
	}
	return otherwise
}

// mapping returns the entries of a mapping. Keys that are not allowed, or come twice, are problems; without allowed
// keys any name will do.
func (p *parser) mapping(n *yaml.Node, path string, allowed ...string) map[string]*yaml.Node {
	n = follow(n)
	out := map[string]*yaml.Node{}
	if n.Kind != yaml.MappingNode {
		p.fail(n, path, "must be a mapping")
		return out
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := n.Content[i], follow(n.Content[i+1])
		at := strings.TrimPrefix(path+"."+k.Value, ".")
		switch {
		case k.Kind != yaml.ScalarNode || k.Value == "":
			p.fail(k, path, "has a key that is not a name")
		case out[k.Value] != nil:
			p.fail(k, at, "comes twice")
		case len(allowed) > 0 && !slices.Contains(allowed, k.Value):
			p.fail(k, at, "is not known%s", didYouMean(k.Value, allowed))
		default:
			out[k.Value] = v
		}
	}
	return out
}

// follow resolves an alias.
func follow(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}

func (p *parser) list(n *yaml.Node, path, what string, known []string) []string {
	out := []string{}
	if n.Kind != yaml.SequenceNode {
		p.fail(n, path, "must be a list")
		return out
	}
	for _, item := range n.Content {
		item = follow(item)
		switch {
		case item.Kind != yaml.ScalarNode || !slices.Contains(known, item.Value):
			p.fail(item, path, "%q is not a known %s%s", item.Value, what, didYouMean(item.Value, known))
		case slices.Contains(out, item.Value):
			p.fail(item, path, "%s comes twice", item.Value)
		default:
			out = append(out, item.Value)
		}
	}
	return out
}

func (p *parser) word(n *yaml.Node, path string, words ...string) (string, bool) {
	if n.Kind != yaml.ScalarNode || !slices.Contains(words, n.Value) {
		p.fail(n, path, "%q is not one of %s%s", n.Value, strings.Join(words, ", "), didYouMean(n.Value, words))
		return "", false
	}
	return n.Value, true
}

func (p *parser) integer(n *yaml.Node, path string, least, most int) int {
	v, err := strconv.Atoi(n.Value)
	if n.Kind != yaml.ScalarNode || err != nil || v < least || v > most {
		p.fail(n, path, "%q is not a number between %d and %d", n.Value, least, most)
		return least
	}
	return v
}

// didYouMean returns a hint when one of words is close to got.
func didYouMean(got string, words []string) string {
	best, least := "", 3
	for _, w := range words {
		if d := distance(got, w); d < least && d < len(w) {
			best, least = w, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf("; did you mean %q?", best)
}

// distance is the number of letters to insert, delete or replace.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(row[j+1]+1, row[j]+1, diagonal+cost)
		}
	}
	return row[len(b)]
}
