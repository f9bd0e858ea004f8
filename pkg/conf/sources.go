package conf

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// secretFile ends the keys that name a file with a secret: password_file for password.
const secretFile = "_file"

// find returns the leaf of a key, or of the secret whose file variant it is.
func (s *schema) find(key string) (l *leaf, file, ok bool) {
	if l = s.byKey[key]; l != nil {
		return l, false, true
	}
	if base, cut := strings.CutSuffix(key, secretFile); cut {
		if l = s.byKey[base]; l != nil && l.kind == kindSecret {
			return l, true, true
		}
	}
	return nil, false, false
}

// set gives the key a text value.
func (s *schema) set(key, text, origin string) error {
	l, file, ok := s.find(key)
	if !ok {
		return fmt.Errorf("%s: unknown key %q%s", origin, key, s.suggest(key))
	}
	if file && text != "" {
		b, err := os.ReadFile(filepath.Clean(text))
		if err != nil {
			return fmt.Errorf("%s: %s: %w", origin, key, err)
		}
		text, origin = strings.TrimRight(string(b), "\r\n"), origin+" (file)"
	}
	if err := l.setText(text, origin); err != nil {
		return fmt.Errorf("%s: %s: %w", origin, key, err)
	}
	return nil
}

// readFile applies a YAML file and returns every problem in it.
func (s *schema) readFile(name string) error {
	b, err := os.ReadFile(filepath.Clean(name))
	if err != nil {
		return fmt.Errorf("configuration file: %w", err)
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(b, &doc); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if len(doc.Content) == 0 {
		return nil // empty file
	}
	return s.readNode(name, "", doc.Content[0])
}

func (s *schema) readNode(file, key string, n *yaml.Node) error {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	origin := fmt.Sprintf("%s:%d", file, n.Line)
	if l := s.byKey[key]; l != nil && (l.kind == kindList || l.kind == kindMap) && n.Kind != yaml.ScalarNode {
		return l.setNode(n, origin)
	}
	switch n.Kind {
	case yaml.MappingNode:
		return s.readMapping(file, key, n)
	case yaml.ScalarNode:
		if key == "" {
			return fmt.Errorf("%s: want keys and values", origin)
		}
		if n.Tag == "!!null" {
			return nil // "key:" without a value leaves the default
		}
		return s.set(key, n.Value, origin)
	default:
		if _, _, ok := s.find(key); !ok {
			return fmt.Errorf("%s: unknown key %q%s", origin, key, s.suggest(key))
		}
		return fmt.Errorf("%s: %s: want one value, not a list", origin, key)
	}
}

func (s *schema) readMapping(file, key string, n *yaml.Node) error {
	var errs []error
	if _, _, ok := s.find(key); ok && key != "" {
		return fmt.Errorf("%s:%d: %s: want one value, not a section", file, n.Line, key)
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		name := n.Content[i].Value
		child := name
		if key != "" {
			child = key + "." + name
		}
		if seen[name] {
			errs = append(errs, fmt.Errorf("%s:%d: %s is given twice", file, n.Content[i].Line, child))
			continue
		}
		seen[name] = true
		if !s.known(child) {
			errs = append(errs, fmt.Errorf("%s:%d: unknown key %q%s", file, n.Content[i].Line, child, s.suggest(child)))
			continue
		}
		errs = append(errs, s.readNode(file, child, n.Content[i+1]))
	}
	return errors.Join(errs...)
}

// known reports whether the key is a value or a section.
func (s *schema) known(key string) bool {
	if _, _, ok := s.find(key); ok {
		return true
	}
	return slices.ContainsFunc(s.leaves, func(l *leaf) bool { return strings.HasPrefix(l.key, key+".") })
}

func (l *leaf) setNode(n *yaml.Node, origin string) error {
	switch l.kind {
	case kindList:
		var items []string
		if err := n.Decode(&items); err != nil {
			return fmt.Errorf("%s: %s: want a list of texts", origin, l.key)
		}
		l.value.Set(listOf(l.value.Type(), items))
	default:
		items := map[string]string{}
		if err := n.Decode(&items); err != nil {
			return fmt.Errorf("%s: %s: want keys with texts", origin, l.key)
		}
		l.value.Set(mapOf(l.value.Type(), items))
	}
	l.origin = origin
	return nil
}

// injected matches what Kubernetes adds to every container for each Service of its namespace. A Service whose name
// begins like the program's prefix would otherwise stop the program.
var injected = regexp.MustCompile(`_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT(_\d+_(TCP|UDP)(_(PROTO|PORT|ADDR))?)?)$`)

// readEnviron applies the variables that begin with the prefix.
func (s *schema) readEnviron(prefix string, environ []string) error {
	if prefix == "" {
		return nil
	}
	keys := map[string]string{}
	for _, l := range s.leaves {
		keys[envName(prefix, l.key)] = l.key
		if l.kind == kindSecret {
			if _, taken := s.byKey[l.key+secretFile]; !taken {
				keys[envName(prefix, l.key+secretFile)] = l.key + secretFile
			}
		}
	}
	var errs []error
	for _, pair := range environ {
		name, text, _ := strings.Cut(pair, "=")
		if !strings.HasPrefix(name, prefix+"_") {
			continue
		}
		key, ok := keys[name]
		switch {
		case ok:
			errs = append(errs, s.set(key, text, "environment "+name))
		case name == prefix+"_CONFIG" || strings.HasPrefix(name, prefix+"_TEST_"):
			// the path of the file, read before; what tests look at
		case injected.MatchString(name):
		default:
			errs = append(errs, fmt.Errorf("environment: unknown variable %s%s", name, nearest(name, slices.Collect(maps.Keys(keys)))))
		}
	}
	return errors.Join(errs...)
}

func envName(prefix, key string) string {
	return prefix + "_" + strings.ToUpper(strings.NewReplacer(".", "_", "-", "_").Replace(key))
}

// suggest returns ", did you mean …?" with the known key nearest to the unknown one, or nothing.
func (s *schema) suggest(key string) string {
	var known []string
	for _, l := range s.leaves {
		known = append(known, l.key)
		if l.kind == kindSecret {
			known = append(known, l.key+secretFile)
		}
	}
	return nearest(key, known)
}

func nearest(word string, known []string) string {
	slices.Sort(known)
	best, distance := "", len(word)/3+2
	for _, k := range known {
		d := levenshtein(strings.ToLower(word), strings.ToLower(k))
		// A right name in the wrong section is as good as a small slip.
		if strings.HasSuffix(k, "."+word) || (strings.Contains(word, ".") && strings.HasSuffix(word, "."+k)) {
			d = 1
		}
		if d < distance {
			best, distance = k, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf(", did you mean %q?", best)
}

func levenshtein(a, b string) int {
	x, y := []rune(a), []rune(b)
	row := make([]int, len(y)+1)
	for j := range row {
		row[j] = j
	}
	for i := range x {
		diagonal := row[0]
		row[0] = i + 1
		for j := range y {
			cost := diagonal
			if x[i] != y[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(y)]
}
