package store

import (
	"fmt"
	"slices"
	"strings"

	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/schema"
)

// convertSeveral checks the values of a multi-select picklist, which come
// joined by semicolons, and puts them into the order of the definition; others
// follow in the order given.
func convertSeveral(f *schema.Field, s string) (any, *Error) {
	var known, others []string
	for part := range strings.SplitSeq(s, ";") {
		part = strings.TrimSpace(part)
		if part == "" {
			continue
		}
		i := slices.IndexFunc(f.Picklist, func(v string) bool { return strings.EqualFold(v, part) })
		switch {
		case i >= 0:
			if !slices.Contains(known, f.Picklist[i]) {
				known = append(known, f.Picklist[i])
			}
		case f.Restricted:
			return nil, refuse("INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST", fmt.Sprintf("%s: bad value for restricted picklist field: %s", f.Label, part), f.Name)
		case !slices.Contains(others, part):
			others = append(others, part)
		}
	}
	slices.SortFunc(known, func(a, b string) int { return slices.Index(f.Picklist, a) - slices.Index(f.Picklist, b) })
	return text(strings.Join(append(known, others...), ";")), nil
}
