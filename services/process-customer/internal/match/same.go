package match

import "github.com/selfsame-io/selfsame/services/process-customer/internal/golden"

// SameKeys reports whether two records of a kind surely have the same keys, because everything that keys are made of is the same
// in both. False means that nobody knows without making them.
func SameKeys(obj golden.Object, a, b golden.Values) bool {
	fields := []string{golden.TaxID, golden.Email, golden.Name, golden.PostalCode, golden.Country}
	if obj == golden.Contact {
		fields = []string{golden.Email, golden.FirstName, golden.LastName, golden.Parent}
	}
	for _, f := range fields {
		if a[f] != b[f] {
			return false
		}
	}
	return true
}
