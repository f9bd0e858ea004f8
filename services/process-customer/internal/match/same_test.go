package match_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/match"
)

func TestSameKeys(t *testing.T) {
	t.Parallel()
	for _, obj := range golden.Objects() {
		t.Run(string(obj)+": a field that changes keys is among those compared", func(t *testing.T) {
			t.Parallel()
			const parent, other = golden.ID("c_aaaaaaaaaaaaaaaaaaaaaaaaaa"), golden.ID("c_bbbbbbbbbbbbbbbbbbbbbbbbbb")
			a := golden.Values{
				golden.Name: "Acme", golden.TaxID: "DE123456789", golden.Email: "anna@acme.example", golden.PostalCode: "50667", golden.Country: "DE",
				golden.FirstName: "Anna", golden.LastName: "Berg", golden.Parent: string(parent),
			}
			require.NotEmpty(t, match.Keys(obj, a, parent))
			require.True(t, match.SameKeys(obj, a, a.Clone()))
			changed := 0
			for _, field := range append(golden.Fields(obj), golden.Parent) {
				for _, value := range []string{"", "DE987654321", "berta@berg.example", string(other)} {
					b := a.Clone()
					b[field] = value
					before, after := match.Keys(obj, a, golden.ID(a[golden.Parent])), match.Keys(obj, b, golden.ID(b[golden.Parent]))
					if match.SameKeys(obj, a, b) {
						require.Equal(t, before, after, "%s became %q", field, value)
					} else {
						changed++
					}
				}
			}
			require.NotZero(t, changed)
		})
	}
}
