package query

import (
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/selfsame-io/selfsame/services/system-erp/sandbox/internal/edm"
	"github.com/selfsame-io/selfsame/services/system-erp/sandbox/internal/store"
)

// Options are the query options of one request.
type Options struct {
	Filter Condition
	// Keys are the only keys that rows can have, for a set with one key property; nil for any.
	Keys []string
	// Less orders rows; nil for the order of the keys.
	Less      func(a, b store.Row) int
	Top       int // -1 for none
	Skip      int
	SkipToken int
	Count     bool
	Shape     *Shape
}

// Shape is what of an entity is returned.
type Shape struct {
	// Props are positions of properties; nil for all.
	Props []int
	// Expand holds the shapes of navigations that are followed.
	Expand map[string]*Shape
	// All says that every property is returned.
	All bool
}

// Parse reads the options for a set. An unknown system option is refused; others are not ours.
func Parse(set *edm.Set, q url.Values, lang edm.Language) (Options, error) {
	o := Options{Top: -1}
	for name := range q {
		if strings.HasPrefix(name, "$") && !slices.Contains([]string{
			"$filter", "$orderby", "$select", "$expand", "$top", "$skip", "$skiptoken", "$inlinecount", "$format",
		}, name) {
			return o, syntax("The query option %s is not supported", name)
		}
	}
	var err error
	if o.Filter, o.Keys, err = Filter(set, q.Get("$filter"), lang); err != nil {
		return o, err
	}
	if o.Less, err = order(set, q.Get("$orderby")); err != nil {
		return o, err
	}
	for name, into := range map[string]*int{"$top": &o.Top, "$skip": &o.Skip, "$skiptoken": &o.SkipToken} {
		if text := q.Get(name); text != "" {
			if *into, err = strconv.Atoi(text); err != nil || *into < 0 {
				return o, syntax("Invalid value %q of %s", text, name)
			}
		}
	}
	o.Count = q.Get("$inlinecount") == "allpages"
	o.Shape, err = shape(set, q.Get("$select"), q.Get("$expand"))
	return o, err
}

// order compiles $orderby; nil when rows are wanted in the order of their keys.
func order(set *edm.Set, text string) (func(a, b store.Row) int, error) {
	type by struct {
		at   int
		sign int
	}
	var all []by
	for part := range strings.SplitSeq(text, ",") {
		words := strings.Fields(part)
		if len(words) == 0 {
			continue
		}
		at := set.At(words[0])
		if at < 0 || len(words) > 2 {
			return nil, syntax("Property %s not found in type %s", words[0], set.TypeName())
		}
		sign := 1
		if len(words) == 2 && strings.EqualFold(words[1], "desc") {
			sign = -1
		}
		all = append(all, by{at, sign})
	}
	natural := true
	for i, b := range all {
		natural = natural && b.sign > 0 && i < len(set.Keys()) && set.Keys()[i] == b.at
	}
	if natural {
		return nil, nil
	}
	return func(a, b store.Row) int {
		for _, o := range all {
			if c := set.Props[o.at].Compare(a[o.at], b[o.at]); c != 0 {
				return c * o.sign
			}
		}
		return strings.Compare(store.Key(set, a), store.Key(set, b))
	}, nil
}

// shape joins $select and $expand into a tree.
func shape(set *edm.Set, choose, expand string) (*Shape, error) {
	root := &Shape{}
	for path := range strings.SplitSeq(expand, ",") {
		if path = strings.TrimSpace(path); path == "" {
			continue
		}
		at, s := root, set
		for name := range strings.SplitSeq(path, "/") {
			n := s.Nav(name)
			if n == nil {
				return nil, syntax("Navigation property %s not found in type %s", name, s.TypeName())
			}
			if at.Expand == nil {
				at.Expand = map[string]*Shape{}
			}
			if at.Expand[name] == nil {
				at.Expand[name] = &Shape{}
			}
			at, s = at.Expand[name], n.Target
		}
	}
	for path := range strings.SplitSeq(choose, ",") {
		if path = strings.TrimSpace(path); path == "" {
			continue
		}
		if err := root.choose(set, strings.Split(path, "/")); err != nil {
			return nil, err
		}
	}
	return root, nil
}

func (s *Shape) choose(set *edm.Set, path []string) error {
	name := path[0]
	if name == "*" {
		s.All = true
		return nil
	}
	if n := set.Nav(name); n != nil {
		child := s.Expand[name]
		if s.Props == nil {
			s.Props = []int{}
		}
		if child == nil || len(path) == 1 {
			return nil // a link that is not followed, or all of one that is
		}
		return child.choose(n.Target, path[1:])
	}
	at := set.At(name)
	if at < 0 || len(path) > 1 {
		return syntax("Property %s not found in type %s", name, set.TypeName())
	}
	s.Props = append(s.Props, at)
	return nil
}

// Has tells whether a property is returned.
func (s *Shape) Has(at int) bool { return s.All || s.Props == nil || slices.Contains(s.Props, at) }
