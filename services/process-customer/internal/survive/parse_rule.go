package survive

import (
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
)

func (p *parser) fields(obj golden.Object, n *yaml.Node, path string, rules map[string]*rule) {
	for field, body := range p.mapping(n, path, golden.Fields(obj)...) {
		at := path + "." + field
		if other := rules[field]; other != nil {
			p.fail(body, at, "is already part of the unit %s", other.Unit)
			continue
		}
		r := p.defaults
		r.Path = at
		keys := p.mapping(body, at, keysField...)
		p.common(keys, at, &r)
		p.lists(body, keys, at, &r)
		p.extras(keys, at, &r)
		if r.Strategy == complete {
			p.fail(keyNode(keys, "strategy", body), at+".strategy", "most_complete compares whole units: use longest for a single field")
		}
		if field == golden.Parent && (len(r.Normalise) > 0 || r.Strategy == union) {
			p.fail(body, at, "is an id: it is neither normalised nor joined")
		}
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
		r.Path, r.Unit, r.Blank = at, unit, yield
		keys := p.mapping(body, at, keysUnit...)
		p.common(keys, at, &r)
		p.lists(body, keys, at, &r)
		p.members(obj, body, keys, at, &r)
		if !slices.Contains(strategiesUnit, r.Strategy) {
			p.fail(keyNode(keys, "strategy", body), at+".strategy", "%s compares single values, and a unit has several: use %s", r.Strategy, join(strategiesUnit))
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
		if w, ok := p.word(v, path+".strategy", texts(strategies)...); ok {
			r.Strategy = strategy(w)
		}
	}
	if v := keys["blank"]; v != nil {
		if w, ok := p.word(v, path+".blank", texts(blanks)...); ok {
			r.Blank = blank(w)
		}
	}
	if v := keys["overruled"]; v != nil {
		if w, ok := p.word(v, path+".overruled", texts(policies)...); ok {
			r.Overruled = Overruled(w)
			p.rules.asks = p.rules.asks || r.Overruled == Ask
		}
	}
	if v := keys["bucket"]; v != nil {
		r.Bucket = p.duration(v, path+".bucket", minBucket, 24*time.Hour)
	}
}

// lists reads the lists of systems.
func (p *parser) lists(body *yaml.Node, keys map[string]*yaml.Node, path string, r *rule) {
	known := p.known()
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
	switch v := keys["trust"]; {
	case v != nil && r.Strategy != trust:
		p.fail(v, path+".trust", "has no effect with the strategy %s", r.Strategy)
	case v != nil:
		r.Trust = map[string]int{}
		for system, n := range p.mapping(v, path+".trust", known...) {
			r.Trust[system] = p.integer(n, path+".trust."+system, 1, 100)
		}
		if len(r.Trust) == 0 {
			p.fail(v, path+".trust", "trusts no system")
		}
	case r.Strategy == trust:
		p.fail(body, path+".trust", "is missing: the strategy trust needs a number from 1 to 100 for each system")
	}
	if v := keys["write_to"]; v != nil {
		r.WriteTo = p.list(v, path+".write_to", "system", known)
	}
}

// extras reads what only single fields have.
func (p *parser) extras(keys map[string]*yaml.Node, path string, r *rule) {
	if v := keys["normalise"]; v != nil {
		if v.Kind == yaml.ScalarNode {
			if w, ok := p.word(v, path+".normalise", normaliserNames()...); ok {
				r.Normalise = []string{w}
			}
		} else {
			r.Normalise = p.list(v, path+".normalise", "normaliser", normaliserNames())
		}
	}
	if r.Strategy == union {
		r.Separator, r.MaxItems = ";", maxItems
	}
	for _, key := range []string{"separator", "max_items"} {
		if v := keys[key]; v != nil && r.Strategy != union {
			p.fail(v, path+"."+key, "has no effect with the strategy %s", r.Strategy)
			return
		}
	}
	if v := keys["separator"]; v != nil {
		if r.Separator = v.Value; v.Kind != yaml.ScalarNode || len(v.Value) != 1 || v.Value == " " {
			p.fail(v, path+".separator", "%q is not one character", v.Value)
			r.Separator = ";"
		}
	}
	if v := keys["max_items"]; v != nil {
		r.MaxItems = p.integer(v, path+".max_items", 1, maxItems)
	}
}

// maxItems bounds a joined list.
const maxItems = 100

func texts[T ~string](words []T) []string {
	out := make([]string, len(words))
	for i, w := range words {
		out[i] = string(w)
	}
	return out
}

func join[T ~string](words []T) string { return strings.Join(texts(words), ", ") }

func keyNode(keys map[string]*yaml.Node, key string, otherwise *yaml.Node) *yaml.Node {
	if n := keys[key]; n != nil {
		return n
	}
	return otherwise
}
