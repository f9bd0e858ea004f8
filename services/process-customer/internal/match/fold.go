package match

import (
	"strings"

	"github.com/selfsame-io/selfsame/services/process-customer/match/normal"
)

// Fold returns s in the form in which names are compared and sorted: without case, accents and punctuation, white
// space squeezed, umlauts written out, so that Müller, MUELLER and "Mueller " are one. It is idempotent. Names in
// other scripts keep their letters, because exact keys must not take words for one that only sound alike.
func Fold(s string) string { return strings.Join(normal.Fold(s), " ") }

// compact returns the letters and digits of Fold(s).
func compact(s string) string { return strings.Join(normal.Fold(s), "") }

// companyName returns the folded name without legal forms and connecting words; empty when nothing is left to tell
// companies apart.
func companyName(s string) string {
	c, bare := normal.OrganisationWords(normal.Fold(s))
	if bare {
		return ""
	}
	return c.Core
}
