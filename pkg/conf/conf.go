package conf

import (
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"
)

// ErrHandled is returned by Load after --help, --version, --print-config or --check-config have done their work: the
// program ends with success.
var ErrHandled = errors.New("handled")

// Options say where the configuration comes from.
type Options struct {
	// Program is the name of the program in its help.
	Program string
	// EnvPrefix begins the names of environment variables: "SELFSAME" reads SELFSAME_SERVE_LISTEN. Empty reads none.
	// PREFIX_CONFIG names the file if --config does not; names that begin with PREFIX_TEST_ belong to tests, and the
	// variables that Kubernetes injects for services are left alone.
	EnvPrefix string
	// Args are the arguments without the program's name.
	Args []string
	// Environ is the environment, as os.Environ returns it.
	Environ []string
	// Out receives the output of --help and the like; nil discards it.
	Out io.Writer
	// Version is what --version prints.
	Version string
}

// Load returns the configuration: defaults, overridden by the file, the environment and the flags, in this order. If T
// or *T has a method Validate() error, it is asked last. The error lists every problem, one per line.
func Load[T any](o Options, defaults T) (T, error) {
	cfg := clone(defaults)
	if o.Out == nil {
		o.Out = io.Discard
	}
	s, err := newSchema(reflect.ValueOf(&cfg))
	if err != nil {
		return defaults, fmt.Errorf("configuration of %s: %w", o.Program, err)
	}
	f, err := parseFlags(s, o.Args)
	if err != nil {
		return defaults, fmt.Errorf("configuration: %w", err)
	}
	switch {
	case f.help:
		return cfg, output(o.Out, usage(s, o))
	case f.version:
		return cfg, output(o.Out, o.Program+" "+o.Version+"\n")
	}
	if err := s.apply(o, f); err != nil {
		return defaults, fmt.Errorf("configuration: %w", err)
	}
	if err := validate(&cfg); err != nil {
		return defaults, fmt.Errorf("configuration: %w", err)
	}
	switch {
	case f.print:
		text, err := render(s)
		if err != nil {
			return cfg, fmt.Errorf("print configuration: %w", err)
		}
		return cfg, output(o.Out, text)
	case f.check:
		return cfg, output(o.Out, "configuration is valid\n")
	}
	return cfg, nil
}

func output(w io.Writer, text string) error {
	if _, err := io.WriteString(w, text); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	return ErrHandled
}

// clone copies the lists and maps too, so that the caller's defaults stay as they are.
func clone[T any](v T) T {
	s, err := newSchema(reflect.ValueOf(&v))
	if err != nil {
		return v // reported by the caller, from the same walk
	}
	for _, l := range s.leaves {
		switch {
		case l.kind == kindList && !l.value.IsNil():
			l.value.Set(listOf(l.value.Type(), l.list()))
		case l.kind == kindMap && !l.value.IsNil():
			l.value.Set(mapOf(l.value.Type(), l.table()))
		}
	}
	return v
}

func (s *schema) apply(o Options, f flags) error {
	var errs []error
	file := f.file
	if file == "" && o.EnvPrefix != "" {
		for _, pair := range o.Environ {
			if name, text, ok := strings.Cut(pair, "="); ok && name == o.EnvPrefix+"_CONFIG" {
				file = text
			}
		}
	}
	if file != "" {
		errs = append(errs, s.readFile(file))
	}
	errs = append(errs, s.readEnviron(o.EnvPrefix, o.Environ))
	for _, v := range f.values {
		errs = append(errs, s.set(v.key, v.text, "flag --"+v.key))
	}
	return errors.Join(errs...)
}

func validate(cfg any) error {
	if v, ok := cfg.(interface{ Validate() error }); ok { // *T has the methods of T as well
		return v.Validate()
	}
	return nil
}

type flags struct {
	help, version, print, check bool
	file                        string
	values                      []flagValue
}

type flagValue struct{ key, text string }

// parseFlags reads --key=value, --key value and --key for booleans. It applies nothing: flags come last.
func parseFlags(s *schema, args []string) (flags, error) {
	var f flags
	var errs []error
	for i := 0; i < len(args); i++ {
		arg := args[i]
		name, dashed := strings.CutPrefix(arg, "--")
		if !dashed {
			name, dashed = strings.CutPrefix(arg, "-")
		}
		if !dashed || name == "" {
			errs = append(errs, fmt.Errorf("unexpected argument %q", arg))
			continue
		}
		name, text, given := strings.Cut(name, "=")
		if f.special(name, given) {
			continue
		}
		l, _, ok := s.find(name)
		if !ok && name != "config" {
			errs = append(errs, fmt.Errorf("unknown flag --%s%s", name, nearest(name, s.flagNames())))
			// Without knowing the flag, what follows is its value if it does not look like a flag.
			if !given && i+1 < len(args) && !strings.HasPrefix(args[i+1], "-") {
				i++
			}
			continue
		}
		switch {
		case given:
		case ok && l.kind == kindBool:
			text = "true"
		case i+1 < len(args):
			i++
			text = args[i]
		default:
			errs = append(errs, fmt.Errorf("flag --%s needs a value", name))
			continue
		}
		if name == "config" && !ok {
			f.file = text
		} else {
			f.values = append(f.values, flagValue{name, text})
		}
	}
	return f, errors.Join(errs...)
}

func (f *flags) special(name string, given bool) bool {
	if given {
		return false
	}
	switch name {
	case "h", "help":
		f.help = true
	case "version":
		f.version = true
	case "print-config":
		f.print = true
	case "check-config":
		f.check = true
	default:
		return false
	}
	return true
}

func (s *schema) flagNames() []string {
	names := []string{"config", "print-config", "check-config", "help", "version"}
	for _, l := range s.leaves {
		names = append(names, l.key)
		if l.kind == kindSecret {
			names = append(names, l.key+secretFile)
		}
	}
	return slices.Compact(names)
}
