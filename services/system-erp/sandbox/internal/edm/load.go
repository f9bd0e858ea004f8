package edm

import (
	_ "embed"
	"fmt"
	"strconv"
	"strings"
)

//go:embed s4.txt
var source string

// Releases of the application programming interfaces.
const (
	Release2020 = "2020"
	Release2023 = "2023"
)

// Load returns the model of a release.
func Load(release string) (*Model, error) {
	if release != Release2020 && release != Release2023 {
		return nil, fmt.Errorf("there is no release %q: take %s or %s", release, Release2020, Release2023)
	}
	l := loader{model: &Model{}, old: release == Release2020}
	for i, line := range strings.Split(source, "\n") {
		if err := l.line(line); err != nil {
			return nil, fmt.Errorf("line %d: %w", i+1, err)
		}
	}
	return l.model, l.finish()
}

type loader struct {
	model   *Model
	service *Service
	set     *Set // nil while the set of an older release is skipped
	old     bool
	navs    []pending
	returns []func() error
}

type pending struct {
	source       *Set
	nav          *Navigation
	target, join string
}

func (l *loader) line(text string) error {
	words := strings.Fields(text)
	if len(words) == 0 || strings.HasPrefix(words[0], "#") {
		return nil
	}
	switch {
	case words[0] == "service":
		l.service, l.set = &Service{Name: words[1]}, nil
		l.model.Services = append(l.model.Services, l.service)
	case words[0] == "set" || words[0] == "complex":
		return l.begin(words)
	case words[0] == "function":
		return l.function(words[1:])
	case words[0] == ">":
		return l.navigation(words[1:])
	case l.set != nil:
		return l.property(words)
	}
	return nil
}

func (l *loader) begin(words []string) error {
	kind, name, flags := words[0], words[1], words[2:]
	l.set = nil
	if flag(&flags, "new") && l.old {
		return nil
	}
	s := &Set{Name: name, Service: l.service, ETag: -1}
	s.NoCreate = flag(&flags, "nocreate")
	s.NoCreate = flag(&flags, "nocreate2020") && l.old || s.NoCreate
	s.NoUpdate, s.NoDelete, s.Concurrency = flag(&flags, "noupdate"), flag(&flags, "nodelete"), flag(&flags, "concurrency")
	l.set = s
	if kind == "complex" {
		l.service.Complex = append(l.service.Complex, s)
	} else {
		l.service.Sets = append(l.service.Sets, s)
	}
	if len(flags) == 1 && strings.HasPrefix(flags[0], "etag=") {
		tag := strings.TrimPrefix(flags[0], "etag=")
		l.returns = append(l.returns, func() error {
			if s.ETag = s.At(tag); s.ETag < 0 {
				return fmt.Errorf("%s has no property %s for its tag", s.Name, tag)
			}
			return nil
		})
		flags = nil
	}
	return unknown(flags)
}

func (l *loader) property(words []string) error {
	p := Property{Name: words[0]}
	flags := words[2:]
	if flag(&flags, "new") && l.old || flag(&flags, "old") && !l.old {
		return nil
	}
	if err := p.typed(words[1]); err != nil {
		return err
	}
	p.Key, p.ReadOnly, p.Fixed = flag(&flags, "key"), flag(&flags, "ro"), flag(&flags, "fixed")
	p.Upper, p.Alpha, p.Required = flag(&flags, "upper"), flag(&flags, "alpha"), flag(&flags, "required")
	p.Unit, p.Partner = flag(&flags, "unit"), flag(&flags, "partner")
	l.set.Props = append(l.set.Props, p)
	return unknown(flags)
}

// typed reads "Decimal(13,3)".
func (p *Property) typed(text string) error {
	name, size, ok := strings.Cut(strings.TrimSuffix(text, ")"), "(")
	p.Type = Type(name)
	if !ok {
		return nil
	}
	length, scale, _ := strings.Cut(size, ",")
	var err error
	if p.Length, err = strconv.Atoi(length); err != nil {
		return fmt.Errorf("length of %s: %w", p.Name, err)
	}
	if scale != "" {
		if p.Scale, err = strconv.Atoi(scale); err != nil {
			return fmt.Errorf("scale of %s: %w", p.Name, err)
		}
	}
	return nil
}

func (l *loader) navigation(words []string) error {
	if l.set == nil {
		return nil
	}
	name, target, many, join, flags := words[0], words[1], words[2] == "many", words[3], words[4:]
	if flag(&flags, "new") && l.old {
		return nil
	}
	n := &Navigation{Name: name, Many: many}
	l.set.Navs = append(l.set.Navs, n)
	l.navs = append(l.navs, pending{l.set, n, target, join})
	return unknown(flags)
}

func (l *loader) function(words []string) error {
	name, many := strings.CutSuffix(words[1], "*")
	f := &Function{Name: words[0], Many: many}
	for _, w := range words[2:] {
		param, kind, _ := strings.Cut(w, ":")
		f.Params = append(f.Params, Property{Name: param, Type: Type(kind)})
	}
	service := l.service
	service.Functions = append(service.Functions, f)
	l.returns = append(l.returns, func() error {
		for _, c := range service.Complex {
			if c.Name == name {
				f.Returns = c
				return nil
			}
		}
		return fmt.Errorf("%s returns an unknown type %s", f.Name, name)
	})
	return nil
}

func (l *loader) finish() error {
	for _, s := range l.model.Services {
		for _, set := range append(s.Sets, s.Complex...) {
			set.seal()
		}
	}
	for _, p := range l.navs {
		if p.nav.Target = p.source.Service.Set(p.target); p.nav.Target == nil {
			return fmt.Errorf("%s of %s leads to unknown %s", p.nav.Name, p.source.Name, p.target)
		}
		if err := p.nav.join(p.source, p.join); err != nil {
			return err
		}
	}
	for _, settle := range l.returns {
		if err := settle(); err != nil {
			return err
		}
	}
	return nil
}

func unknown(flags []string) error {
	if len(flags) > 0 {
		return fmt.Errorf("unknown flags %v", flags)
	}
	return nil
}
