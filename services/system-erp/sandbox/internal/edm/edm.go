// Package edm is the data model of the sandbox: services, entity sets, their properties and navigations, and how a value
// is written in a body, in an address and in the metadata document.
//
// Invariant: the model is read once from s4.txt and never changes, so that everything that is served and everything that
// the metadata document says about it come from one place.
package edm

import (
	"fmt"
	"slices"
	"strings"
)

// Type is a primitive type of the Entity Data Model.
type Type string

// The types that occur.
const (
	String         Type = "String"
	Boolean        Type = "Boolean"
	Decimal        Type = "Decimal"
	DateTime       Type = "DateTime"
	DateTimeOffset Type = "DateTimeOffset"
	Time           Type = "Time"
	GUID           Type = "Guid"
)

// Property is one property of an entity.
type Property struct {
	Name string
	Type Type
	// Length is the most characters of a String, or all digits of a Decimal; Scale those after the point.
	Length, Scale int
	// Key and the others are the flags of s4.txt.
	Key, ReadOnly, Fixed, Upper, Alpha, Required, Unit, Partner bool
}

// Navigation leads to other entities.
type Navigation struct {
	Name   string
	Target *Set
	Many   bool
	// Join pairs positions of properties: of the source, of the target.
	Join [][2]int
	// Prefix says that the joined properties are the first ones of the target's key, in order.
	Prefix bool
}

// Set is an entity set and the type of its entities.
type Set struct {
	Name    string
	Service *Service
	Props   []Property
	Navs    []*Navigation
	// ETag is the position of the property that the entity tag is made of, -1 for none.
	ETag int
	// Concurrency says that the metadata declares the tag.
	Concurrency                  bool
	NoCreate, NoUpdate, NoDelete bool
	keys                         []int
	index                        map[string]int
}

// Function is a function import that reads.
type Function struct {
	Name    string
	Params  []Property
	Returns *Set
	Many    bool
}

// Service is one OData service.
type Service struct {
	// Name is how its address ends, with ";v=" if it has one.
	Name      string
	Sets      []*Set
	Functions []*Function
	Complex   []*Set
}

// Model is everything that is served.
type Model struct{ Services []*Service }

// Service finds a service by the last part of its address; nil when there is none.
func (m *Model) Service(name string) *Service {
	for _, s := range m.Services {
		if s.Name == name {
			return s
		}
	}
	return nil
}

// Set finds an entity set of any service; it panics when there is none, which is an error of the program.
func (m *Model) Set(name string) *Set {
	for _, s := range m.Services {
		if set := s.Set(name); set != nil {
			return set
		}
		for _, c := range s.Complex {
			if c.Name == name {
				return c
			}
		}
	}
	panic("no entity set " + name)
}

// Bare is the name without a version.
func (s *Service) Bare() string {
	name, _, _ := strings.Cut(s.Name, ";")
	return name
}

// Set finds an entity set; nil when there is none.
func (s *Service) Set(name string) *Set {
	for _, set := range s.Sets {
		if set.Name == name {
			return set
		}
	}
	return nil
}

// Function finds a function import; nil when there is none.
func (s *Service) Function(name string) *Function {
	for _, f := range s.Functions {
		if f.Name == name {
			return f
		}
	}
	return nil
}

// Keys returns the positions of the key properties.
func (s *Set) Keys() []int { return s.keys }

// TypeName is the name of the entity type.
func (s *Set) TypeName() string { return s.Name + "Type" }

// At returns the position of a property, -1 when there is none.
func (s *Set) At(name string) int {
	if i, ok := s.index[name]; ok {
		return i
	}
	return -1
}

// Nav finds a navigation property; nil when there is none.
func (s *Set) Nav(name string) *Navigation {
	for _, n := range s.Navs {
		if n.Name == name {
			return n
		}
	}
	return nil
}

func (s *Set) seal() {
	s.index = make(map[string]int, len(s.Props))
	for i, p := range s.Props {
		s.index[p.Name] = i
		if p.Key {
			s.keys = append(s.keys, i)
		}
	}
}

// join resolves "A=B,C=D".
func (n *Navigation) join(source *Set, text string) error {
	for pair := range strings.SplitSeq(text, ",") {
		a, b, _ := strings.Cut(pair, "=")
		from, to := source.At(a), n.Target.At(b)
		if from < 0 || to < 0 {
			return fmt.Errorf("%s of %s joins unknown properties %q", n.Name, source.Name, pair)
		}
		n.Join = append(n.Join, [2]int{from, to})
	}
	n.Prefix = len(n.Join) <= len(n.Target.keys)
	for i, j := range n.Join {
		n.Prefix = n.Prefix && n.Target.keys[i] == j[1]
	}
	return nil
}

// flag reports a word among the flags of a line and removes it.
func flag(words *[]string, name string) bool {
	i := slices.Index(*words, name)
	if i < 0 {
		return false
	}
	*words = slices.Delete(*words, i, i+1)
	return true
}
