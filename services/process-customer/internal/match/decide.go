package match

import (
	"cmp"
	"slices"
	"strings"

	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
)

// Candidate is a known record that was found by a key. One record may be a candidate several times, once per key.
type Candidate struct {
	// ID is the golden record.
	ID golden.ID
	// Values are its values now.
	Values golden.Values
	// Kind is the kind of the key that found it.
	Kind Kind
}

// Stable reasons of a verdict that is not a match.
const (
	// ReasonNoCandidate means that no key found anything.
	ReasonNoCandidate = "NO_CANDIDATE"
	// ReasonTaxIDDiffers means that all that was found has another tax number.
	ReasonTaxIDDiffers = "TAX_ID_DIFFERS"
	// ReasonCountryDiffers means that what was found by name is in another country.
	ReasonCountryDiffers = "COUNTRY_DIFFERS"
	// ReasonConflict means that the evidence points at different records; a person should look.
	ReasonConflict = "CANDIDATES_CONFLICT"
)

// Verdict is the answer of Decide.
type Verdict struct {
	// Same is the record that is meant; empty when the record is new.
	Same golden.ID
	// Kind is the strongest evidence for Same; empty when the record is new.
	Kind Kind
	// Reason is why the record is new; for a match, the kind in upper case.
	Reason string
	// Review is true when a person should look at Others.
	Review bool
	// Others are further candidates: the vetoed and the less likely ones, sorted.
	Others []golden.ID
}

// Decide says which candidate rec is, if any. The order of the candidates does not matter.
func Decide(rec golden.Values, candidates []Candidate) Verdict {
	best := map[golden.ID]Kind{}
	vetoes := map[golden.ID]string{}
	for _, c := range candidates {
		if reason := veto(rec, c); reason != "" {
			// A veto by tax number counts for every key, so it may not be forgotten over one by country.
			if vetoes[c.ID] != ReasonTaxIDDiffers {
				vetoes[c.ID] = reason
			}
			continue
		}
		if c.Kind.strength() > best[c.ID].strength() {
			best[c.ID] = c.Kind
		}
	}
	if len(best) == 0 {
		return Verdict{Reason: refusal(vetoes), Others: others(best, vetoes, "")}
	}
	ids := make([]golden.ID, 0, len(best))
	for id := range best {
		ids = append(ids, id)
	}
	slices.SortFunc(ids, func(a, b golden.ID) int {
		return cmp.Or(cmp.Compare(best[b].strength(), best[a].strength()), strings.Compare(string(a), string(b)))
	})
	first := ids[0]
	if len(ids) > 1 && conflicting(best[first], best[ids[1]]) {
		return Verdict{Reason: ReasonConflict, Review: true, Others: others(best, vetoes, "")}
	}
	return Verdict{
		Same: first, Kind: best[first], Reason: strings.ToUpper(string(best[first])), Others: others(best, vetoes, first),
	}
}

// conflicting reports whether evidence for two different records leaves open which one is meant: two of one kind, or
// a tax number against an e-mail address. A name gives way to either of these.
func conflicting(strong, weak Kind) bool {
	return strong == weak || (strong == TaxID && weak == Email)
}

// veto returns why the candidate cannot be the same; empty when it can.
func veto(rec golden.Values, c Candidate) string {
	a, b := taxID(rec[golden.TaxID]), taxID(c.Values[golden.TaxID])
	if a != "" && b != "" && !sameTaxID(a, b) {
		return ReasonTaxIDDiffers
	}
	if c.Kind == NamePostcodeOnly || c.Kind == NamePostcode {
		a, b := compact(rec[golden.Country]), compact(c.Values[golden.Country])
		if a != "" && b != "" && a != b {
			return ReasonCountryDiffers
		}
	}
	return ""
}

// sameTaxID compares normalised numbers; a country prefix that only one of them has makes no difference.
func sameTaxID(a, b string) bool {
	if a == b {
		return true
	}
	if len(a) > len(b) {
		a, b = b, a
	}
	prefix, ok := strings.CutSuffix(b, a)
	return ok && len(prefix) == 2 && strings.Trim(prefix, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") == ""
}

func refusal(vetoes map[golden.ID]string) string {
	reason := ReasonNoCandidate
	for _, r := range vetoes {
		if reason != ReasonTaxIDDiffers {
			reason = r
		}
	}
	return reason
}

func others(best map[golden.ID]Kind, vetoes map[golden.ID]string, same golden.ID) []golden.ID {
	var out []golden.ID
	for id := range best {
		if id != same {
			out = append(out, id)
		}
	}
	for id := range vetoes {
		if id != same {
			out = append(out, id)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}
