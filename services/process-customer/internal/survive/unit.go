package survive

import (
	"slices"

	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
)

// Unit returns the fields that move together with field, itself included, in a slice of its own; only field itself
// when it stands alone. Whoever makes a claim about one of them claims all, so that a unit is never half said.
func (r *Rules) Unit(obj golden.Object, field string) []string {
	rule := r.objects[obj][field]
	if rule == nil || rule.Unit == "" {
		return []string{field}
	}
	return slices.Clone(rule.Members)
}
