package suite_test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/selfsame-io/selfsame/pkg/idempotent"
)

// TestPolicies compares docs/reference/idempotency-policies.md with the contracts; UPDATE=1 writes it.
func TestPolicies(t *testing.T) {
	t.Parallel()
	const page = "../docs/reference/idempotency-policies.md"
	text := policiesPage()
	require.Contains(t, text, "| `PlaceOrder` | required | recoverable | 30 days; final |")
	require.Contains(t, text, "| `QueueOrder` | required | transactional or recoverable | 30 days; final |")
	if os.Getenv("UPDATE") == "1" {
		require.NoError(t, os.WriteFile(page, []byte(text), 0o644))
	}
	committed, err := os.ReadFile(page)
	require.NoError(t, err)
	require.Equal(t, string(committed), text, "run the test with UPDATE=1")
}

func policiesPage() string {
	var services []protoreflect.ServiceDescriptor
	protoregistry.GlobalFiles.RangeFiles(func(f protoreflect.FileDescriptor) bool {
		if strings.HasPrefix(f.Path(), "selfsame/") {
			for i := range f.Services().Len() {
				services = append(services, f.Services().Get(i))
			}
		}
		return true
	})
	slices.SortFunc(services, func(x, y protoreflect.ServiceDescriptor) int {
		return strings.Compare(string(x.FullName()), string(y.FullName()))
	})
	var b strings.Builder
	b.WriteString(`# What a key means to each method

Every method that may change something, by the policy in its contract (` + "`selfsame.options.v1.idempotency`" + `), what it does not say filled in by the
server's defaults. Methods that are not here only read; a key means nothing to them. This page is generated from the contracts.

- **Key**: *required*: a call without one is refused. *optional*: without one it is not protected. *natural*: the request names its record by a key of its
  own, and sending it twice changes nothing the second time; an idempotency key is only passed on. *none*: a call with one is refused.
- **Recovery**: what becomes of an attempt that vanished. *recoverable*: the next one does the work again, by keys of its own below, when the lease of the
  vanished one is over. *transactional*: effect and answer are one transaction, and the next one may begin at once. *transactional or recoverable*: the first
  where the service that has the effect keeps its keys in its own database, as it does unless told otherwise, the second where it keeps them elsewhere
  (` + "`store.keys`" + `). *manual*: a person or a read-back decides.
- **Kept**: how long the answer is replayed, and which outcomes are answers. *final*: responses, and refusals that a repetition would meet again.
- **Meanwhile**: what a second call does while the first one is executed.
- **Not compared**: fields that may differ between a request and its repetition.
`)
	for _, s := range services {
		rows := ""
		for i := range s.Methods().Len() {
			if t, ok := idempotent.TermsOf(s.Methods().Get(i)); ok {
				rows += policyRow(string(s.Methods().Get(i).Name()), t)
			}
		}
		if rows != "" {
			fmt.Fprintf(&b, "\n## %s\n\n| Method | Key | Recovery | Kept | Meanwhile | Not compared |\n|---|---|---|---|---|---|\n%s", s.FullName(), rows)
		}
	}
	return b.String()
}

func policyRow(method string, t idempotent.Terms) string {
	kept, meanwhile, recovery := "", "", t.Recovery
	if best := t.With(idempotent.Capabilities{Transactional: true}).Recovery; best != recovery {
		recovery = best + " or " + recovery
	}
	if t.InFlight != "" {
		kept, meanwhile = days(t.Retention)+"; "+t.KeptOutcomes, t.InFlight
	}
	if t.Wait > 0 {
		meanwhile += " " + t.Wait.String()
	}
	return fmt.Sprintf("| `%s` | %s | %s | %s | %s | %s |\n", method, t.Key, recovery, kept, meanwhile, strings.Join(t.Ignored, ", "))
}

func days(d time.Duration) string {
	if d == idempotent.Forever {
		return "for good"
	}
	return fmt.Sprintf("%d days", d/(24*time.Hour))
}
