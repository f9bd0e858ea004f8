package processcustomer

import "github.com/selfsame-io/selfsame/services/process-customer/internal/source"

// names returns the names of systems, in their order. Whatever treats all systems alike knows them by this only.
func names(systems []source.System) []string {
	out := make([]string, len(systems))
	for i, s := range systems {
		out[i] = s.Name()
	}
	return out
}
