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
	p := &parser{rules: &Rules{
		priorities: map[string]int{}, clocks: map[string]clock{}, objects: map[golden.Object]map[string]*rule{},
		authorities: map[golden.Object]authority{}, text: bytes.Clone(text),
	}}
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
	top := p.mapping(n, "", keysTop...)
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
	p.defaults = rule{Path: "defaults", Strategy: latest, Bucket: 2 * time.Second, Blank: clear}
	if d := top["defaults"]; d != nil {
		keys := p.mapping(d, "defaults", keysDefaults...)
		p.common(keys, "defaults", &p.defaults)
		if !slices.Contains(strategiesDefault, p.defaults.Strategy) {
			p.fail(keys["strategy"], "defaults.strategy", "cannot be %s: that needs more than a default can say", p.defaults.Strategy)
			p.defaults.Strategy = latest
		}
	}
	if v := top["blank_values"]; v != nil {
		p.blankValues(v)
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
		keys := p.mapping(body, path, keysSystem...)
		if name == golden.SystemPin {
			p.fail(body, path, "is what Selfsame calls values that a person has pinned")
		}
		p.rules.priorities[name] = 0
		if v := keys["priority"]; v != nil {
			p.rules.priorities[name] = p.integer(v, path+".priority", 0, 1_000_000)
		} else {
			p.fail(body, path+".priority", "is missing")
		}
		if v := keys["clock"]; v != nil {
			p.clock(name, v, path+".clock")
		}
	}
	if len(p.rules.priorities) == 0 {
		p.fail(n, "systems", "names no system")
	}
}

func (p *parser) clock(system string, n *yaml.Node, path string) {
	keys := p.mapping(n, path, keysClock...)
	k := clock{MaxFuture: maxFuture}
	if v := keys["offset"]; v != nil {
		k.Offset = p.duration(v, path+".offset", -24*time.Hour, 24*time.Hour)
	}
	if v := keys["max_future"]; v != nil {
		k.MaxFuture = p.duration(v, path+".max_future", 0, 24*time.Hour)
	}
	p.rules.clocks[system] = k
}

// blankValues reads the words that mean nothing. Case does not matter.
func (p *parser) blankValues(n *yaml.Node) {
	p.rules.blanks = map[string]bool{}
	if n.Kind != yaml.SequenceNode {
		p.fail(n, "blank_values", "must be a list")
		return
	}
	for _, item := range n.Content {
		item = follow(item)
		word := strings.ToLower(strings.TrimSpace(item.Value))
		switch {
		case item.Kind != yaml.ScalarNode:
			p.fail(item, "blank_values", "has an entry that is no text")
		case word == "":
			p.fail(item, "blank_values", "the empty value always means nothing")
		case p.rules.blanks[word]:
			p.fail(item, "blank_values", "%s comes twice", item.Value)
		default:
			p.rules.blanks[word] = true
		}
	}
}

// object reads the rules of one kind of record; fields nobody mentions follow the defaults.
func (p *parser) object(obj golden.Object, n *yaml.Node) {
	rules := map[string]*rule{}
	p.rules.objects[obj] = rules
	path := "objects." + string(obj)
	if n != nil {
		keys := p.mapping(n, path, keysObject...)
		var a authority
		if v := keys["create"]; v != nil {
			a.Create = p.list(v, path+".create", "system", p.known())
		}
		if v := keys["delete"]; v != nil {
			a.Delete = p.list(v, path+".delete", "system", p.known())
			if slices.Contains(a.Delete, golden.SystemAPI) {
				p.fail(v, path+".delete", "nobody deletes through the api")
			}
		}
		if a.Create != nil || len(a.Delete) > 0 {
			p.rules.authorities[obj] = a
		}
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

func (p *parser) duration(n *yaml.Node, path string, least, most time.Duration) time.Duration {
	d, err := time.ParseDuration(n.Value)
	if n.Kind != yaml.ScalarNode || err != nil || d < least || d > most {
		p.fail(n, path, "%q is not a time between %s and %s", n.Value, least, most)
		return least
	}
	return d
}

// known are the systems that lists may name.
func (p *parser) known() []string { return append(p.rules.Systems(), golden.SystemAPI) }

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
