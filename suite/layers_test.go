package suite

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const root = "github.com/selfsame-io/selfsame/"

// rule says which of our packages the packages below a path may import, directly or not. Everything else of ours is
// refused.
type rule struct {
	module  string   // directory of the module
	below   string   // import path prefix, relative to root, that the rule is about
	except  []string // prefixes inside below that another rule is about
	allowed []string // prefixes, relative to root
	note    string
}

var rules = []rule{
	{
		module: "proto", below: "proto", allowed: []string{"proto"},
		note: "contracts stand below everything: they would drag whatever they import into every service and client",
	},
	{
		module: "pkg", below: "pkg", except: []string{"pkg/idempotent/keys"}, allowed: []string{"pkg", "proto/gen/selfsame/options"},
		note: "each package could be a repository of its own; the options are the only contract it has to read",
	},
	{
		module: "services/system-salesforce", below: "services/system-salesforce",
		except:  []string{"services/system-salesforce/sandbox", "services/system-salesforce/cmd"},
		allowed: []string{"services/system-salesforce", "!services/system-salesforce/sandbox", "proto", "pkg"},
		note:    "a service knows contracts and the kit, never another service; and the client must not share a type with the sandbox it is tested against",
	},
	{
		module: "services/system-salesforce", below: "services/system-salesforce/sandbox",
		allowed: []string{"services/system-salesforce/sandbox", "pkg", "proto/gen/selfsame/options"},
		note:    "the sandbox meets our client as bytes only, or both could be wrong in the same way",
	},
	{
		module: "services/system-erp", below: "services/system-erp",
		except:  []string{"services/system-erp/sandbox", "services/system-erp/cmd"},
		allowed: []string{"services/system-erp", "!services/system-erp/sandbox", "proto", "pkg"},
		note:    "a service knows contracts and the kit, never another service; and the client must not share a type with the sandbox it is tested against",
	},
	{
		module: "services/system-erp", below: "services/system-erp/sandbox", allowed: []string{"services/system-erp/sandbox"},
		note: "the sandbox meets our client as bytes only, or both could be wrong in the same way",
	},
	{
		module: "services/process-customer", below: "services/process-customer", allowed: []string{"services/process-customer", "proto", "pkg"},
		note: "changes come up by being pulled over the contracts, so the owner of the golden record needs no system service's code",
	},
	{
		module: "services/experience-mobile", below: "services/experience-mobile", allowed: []string{"services/experience-mobile", "proto", "pkg"},
		note: "the experience layer reaches systems only through the process service",
	},
	{
		module: "pkg", below: "pkg/idempotent/keys", allowed: []string{"pkg", "proto/gen/selfsame/options", "proto/gen/selfsame/idempotency"},
		note: "it serves the one contract of the kit itself, which every service with keys offers; no other package of the kit may know it",
	},
}

// allows reports whether the rule lets path be imported; a prefix with "!" takes away from those before it.
func (r rule) allows(path string) bool {
	ok := false
	for _, a := range r.allowed {
		if strings.HasPrefix(a, "!") {
			ok = ok && !within(path, a[1:])
		} else {
			ok = ok || within(path, a)
		}
	}
	return ok
}

func (r rule) concerns(path string) bool {
	return within(path, r.below) && !slices.ContainsFunc(r.except, func(e string) bool { return within(path, e) })
}

// within reports whether path, without root, is prefix or lies below it.
func within(path, prefix string) bool { return path == prefix || strings.HasPrefix(path, prefix+"/") }

type listed struct {
	ImportPath string
	Deps       []string
}

// list returns the packages of a module with everything they import, tests left out.
func list(t *testing.T, module, work string) []listed {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-json=ImportPath,Deps", "./...")
	cmd.Dir = filepath.Join("..", filepath.FromSlash(module))
	if work != "" {
		cmd.Env = append(os.Environ(), "GOWORK="+work)
	}
	var out, problems bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &problems
	require.NoError(t, cmd.Run(), problems.String())
	var all []listed
	for dec := json.NewDecoder(&out); ; {
		var p listed
		err := dec.Decode(&p)
		if errors.Is(err, io.EOF) {
			return all
		}
		require.NoError(t, err)
		all = append(all, p)
	}
}

// TestLayers is the drawing in ARCHITECTURE.md as a test: imports point down. It runs in the workspace and, with
// GOWORK=off, the way each module is built by somebody who has only that module.
func TestLayers(t *testing.T) {
	t.Parallel()
	for _, work := range []string{"", "off"} {
		name := "in the workspace"
		if work == "off" {
			name = "each module alone"
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			packages := map[string][]listed{}
			for _, r := range rules {
				if packages[r.module] == nil {
					packages[r.module] = list(t, r.module, work)
				}
				concerned := 0
				for _, p := range packages[r.module] {
					path, _ := strings.CutPrefix(p.ImportPath, root)
					if !r.concerns(path) {
						continue
					}
					concerned++
					for _, dep := range p.Deps {
						if ours, ok := strings.CutPrefix(dep, root); ok && !r.allows(ours) {
							t.Errorf("%s imports %s\n\twhy not: %s", path, ours, r.note)
						}
					}
				}
				require.Positive(t, concerned, "no package is below %s: the rule is about nothing", r.below)
			}
		})
	}
}

func TestLayers_RuleSyntax(t *testing.T) {
	t.Parallel()
	r := rules[2]
	require.True(t, r.concerns("services/system-salesforce/internal/auth"))
	require.False(t, r.concerns("services/system-salesforce/sandbox/internal/auth"))
	require.True(t, r.allows("pkg/fault"))
	require.False(t, r.allows("services/system-salesforce/sandbox"))
	require.False(t, r.allows("services/system-erp"))
	require.False(t, r.allows("pkgother"))
}
