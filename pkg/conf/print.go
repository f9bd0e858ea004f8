package conf

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// render returns the configuration as a YAML file with the origin of each value behind it.
func render(s *schema) (string, error) {
	root := &yaml.Node{Kind: yaml.MappingNode}
	sections := map[string]*yaml.Node{"": root}
	for _, l := range s.leaves {
		parts := strings.Split(l.key, ".")
		at := root
		for i := range parts[:len(parts)-1] {
			path := strings.Join(parts[:i+1], ".")
			next := sections[path]
			if next == nil {
				next = &yaml.Node{Kind: yaml.MappingNode}
				sections[path] = next
				at.Content = append(at.Content, scalar(parts[i]), next)
			}
			at = next
		}
		at.Content = append(at.Content, scalar(parts[len(parts)-1]), l.node())
	}
	var b strings.Builder
	enc := yaml.NewEncoder(&b)
	enc.SetIndent(2)
	if err := enc.Encode(root); err != nil {
		return "", err
	}
	return b.String(), enc.Close()
}

func scalar(text string) *yaml.Node { return &yaml.Node{Kind: yaml.ScalarNode, Value: text} }

// node is the value with its origin as a comment. Lists and maps are written in one line, so that the comment fits.
func (l *leaf) node() *yaml.Node {
	n := &yaml.Node{}
	switch l.kind {
	case kindList:
		n.Kind, n.Style = yaml.SequenceNode, yaml.FlowStyle
		for _, item := range l.list() {
			n.Content = append(n.Content, text(item))
		}
	case kindMap:
		n.Kind, n.Style = yaml.MappingNode, yaml.FlowStyle
		table := l.table()
		for _, k := range slices.Sorted(maps.Keys(table)) {
			n.Content = append(n.Content, text(k), text(table[k]))
		}
	case kindString, kindSecret:
		n = text(l.text())
	default:
		n = scalar(l.text())
	}
	n.LineComment = l.origin
	return n
}

func text(s string) *yaml.Node {
	n := &yaml.Node{}
	n.SetString(s)
	if s == "" {
		n.Style = yaml.DoubleQuotedStyle
	}
	return n
}

func usage(s *schema, o Options) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s\n\nEvery value is a flag, a key of the YAML file", o.Program, o.Version)
	if o.EnvPrefix != "" {
		fmt.Fprintf(&b, ", or an environment variable:\n--serve.listen is %s", envName(o.EnvPrefix, "serve.listen"))
	}
	b.WriteString(".\n\n")
	rows := [][2]string{
		{"--config FILE", "YAML file to read"},
		{"--print-config", "print the configuration with the origin of each value, and end"},
		{"--check-config", "check the configuration, and end"},
		{"--version", "print the version, and end"},
		{"--help", "print this text, and end"},
	}
	for _, l := range s.leaves {
		what := l.help
		if t := l.text(); t != "" {
			what = strings.TrimSpace(what + " (default " + t + ")")
		}
		rows = append(rows, [2]string{"--" + l.key + " " + strings.ToUpper(string(l.kind)), what})
		if l.kind == kindSecret {
			rows = append(rows, [2]string{"--" + l.key + secretFile + " FILE", "file with " + l.key})
		}
	}
	width := 0
	for _, r := range rows {
		width = max(width, len(r[0]))
	}
	for _, r := range rows {
		fmt.Fprintf(&b, "  %-*s  %s\n", width, r[0], r[1])
	}
	return b.String()
}

// Reference returns a Markdown table of all keys of a configuration, with the defaults. It panics if T is not a
// configuration: that is a programmer's error which every test of the program would show.
func Reference[T any](defaults T) string {
	s, err := newSchema(reflect.ValueOf(&defaults))
	if err != nil {
		panic(err)
	}
	escape := strings.NewReplacer("|", `\|`, "\n", " ")
	var b strings.Builder
	b.WriteString("| Key | Type | Default | Meaning |\n|---|---|---|---|\n")
	for _, l := range s.leaves {
		def := ""
		if t := l.text(); t != "" {
			def = "`" + escape.Replace(t) + "`"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", l.key, l.kind, def, escape.Replace(l.help))
		if l.kind == kindSecret {
			fmt.Fprintf(&b, "| `%s` | file | | File with `%s` |\n", l.key+secretFile, l.key)
		}
	}
	return b.String()
}
