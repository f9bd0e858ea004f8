package backend

import (
	"cmp"
	"slices"
	"strings"
	"unicode"

	"github.com/selfsame-io/selfsame/services/system-erp/internal/erp"
)

// Rank scores records by how well they fit c and returns up to limit of them, best first; those that agree in nothing are
// left out. It is pure; equal scores are ordered by id.
func Rank(c erp.Customer, list []erp.Customer, limit int) []Candidate {
	var out []Candidate
	for _, have := range list {
		if score, fields := score(c, have); score > 0 {
			out = append(out, Candidate{Customer: have, Score: score, Matched: fields})
		}
	}
	slices.SortFunc(out, func(a, b Candidate) int {
		return cmp.Or(cmp.Compare(b.Score, a.Score), cmp.Compare(a.Customer.ID, b.Customer.ID))
	})
	return out[:min(len(out), max(limit, 0))]
}

func score(a, b erp.Customer) (int, []string) {
	total := 0
	var fields []string
	hit := func(name string, points int, agree bool) {
		if agree {
			total += points
			fields = append(fields, name)
		}
	}
	hit("refs", 100, slices.ContainsFunc(a.Refs, func(r erp.Ref) bool { return slices.Contains(b.Refs, r) }))
	hit("tax_ids", 100, slices.ContainsFunc(a.TaxIDs, func(x erp.TaxID) bool {
		return slices.ContainsFunc(b.TaxIDs, func(y erp.TaxID) bool { return x.Scheme == y.Scheme && plain(x.Value) == plain(y.Value) })
	}))
	hit("number", 90, a.Number != "" && plain(a.Number) == plain(b.Number))
	hit("email", 50, a.Email != "" && strings.EqualFold(a.Email, b.Email))
	hit("name", 40, a.Name != "" && plain(a.Name) == plain(b.Name))
	hit("addresses", 30, slices.ContainsFunc(a.Addresses, func(x erp.Address) bool {
		return x.PostalCode != "" && slices.ContainsFunc(b.Addresses, func(y erp.Address) bool {
			return x.Country == y.Country && plain(x.PostalCode) == plain(y.PostalCode) && plain(x.Street) == plain(y.Street)
		})
	}))
	return min(total, 100), fields
}

// plain is a text without case, spaces and punctuation, for comparing what people typed.
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsLetter(r) || unicode.IsDigit(r) {
			return unicode.ToLower(r)
		}
		return -1
	}, s)
}
