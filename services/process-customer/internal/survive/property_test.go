package survive

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
)

var systems = []string{"sf", "erp", golden.SystemAPI}

// drawRules makes rules of every kind; it goes through the parser, so it also feeds that.
func drawRules(t *rapid.T) *Rules {
	word := func(label string, words ...string) string { return rapid.SampledFrom(words).Draw(t, label) }
	masters := func(label string) string {
		list := rapid.Permutation(systems).Draw(t, label)
		return "[" + strings.Join(list[:rapid.IntRange(1, 3).Draw(t, label+" n")], ", ") + "]"
	}
	rule := func(field string) string {
		s := word(field+" strategy", "master", "latest", "longest", "shortest", "priority", "trust", "min", "max", "union")
		out := fmt.Sprintf("strategy: %s, blank: %s, bucket: %s", s, word(field+" blank", "keep", "clear", "yield"), word(field+" bucket", "1us", "1s", "1h"))
		if s == "master" {
			out += ", master: " + masters(field+" master")
		}
		if s == "trust" {
			out += fmt.Sprintf(", trust: {sf: %d, api: 50}", rapid.IntRange(1, 100).Draw(t, field+" trust"))
		}
		return "{" + out + word(field+" normalise", "", ", normalise: upper") + "}"
	}
	unit := fmt.Sprintf("fields: [street, city, country], require_any: %s, blank: %s", word("require", "[street, city]", "[city]"), word("unit blank", "clear", "yield"))
	switch s := word("unit strategy", "master", "latest", "priority", "most_complete", "trust"); s {
	case "master":
		unit += ", strategy: master, master: " + masters("unit master")
	case "trust":
		unit += ", strategy: trust, trust: {sf: 9, erp: 8}"
	default:
		unit += ", strategy: " + s
	}
	text := fmt.Sprintf("{version: 1, systems: {sf: {priority: %d, clock: {offset: 1s, max_future: 1m}}, erp: {priority: %d}}, %sobjects: {customer: {units: {address: {%s}}, fields: {name: %s, phone: %s}}}}",
		rapid.IntRange(0, 2).Draw(t, "sf priority"), rapid.IntRange(0, 2).Draw(t, "erp priority"), word("blanks", "", "blank_values: [b], "), unit, rule("name"), rule("phone"))
	r, err := Parse([]byte(text))
	if err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return r
}

var (
	drawnFields  = []string{golden.Name, golden.Phone, golden.Street, golden.City, golden.Country}
	addressParts = []string{golden.Street, golden.City, golden.Country}
)

// drawClaim makes claims that collide often: few records, versions, times and values.
func drawClaim() *rapid.Generator[golden.Claim] {
	return rapid.Custom(func(t *rapid.T) golden.Claim {
		return golden.Claim{
			Field:     rapid.SampledFrom(drawnFields).Draw(t, "field"),
			Value:     rapid.SampledFrom([]string{"", "a", "b", "ää", "long"}).Draw(t, "value"),
			Ref:       golden.Ref{System: rapid.SampledFrom(systems).Draw(t, "system"), Object: golden.Customer, RecordID: rapid.SampledFrom([]string{"1", "2"}).Draw(t, "record")},
			Version:   rapid.Int64Range(1, 4).Draw(t, "version"),
			EventTime: at(rapid.SampledFrom([]float64{-4e9, 0, 0.5, 1, 1.5, 3600}).Draw(t, "time")),
			ChangeID:  rapid.SampledFrom([]string{"", "x"}).Draw(t, "change"),
			Received:  rapid.SampledFrom([]time.Time{{}, {}, at(-100)}).Draw(t, "received"),
		}
	})
}

func wordOf(r *Rules, c *golden.Claim) *word {
	return &word{Claim: c, value: r.Value(golden.Customer, c.Field, c.Value), at: r.At(c)}
}

func drawClaims(t *rapid.T, label string) []golden.Claim {
	return rapid.SliceOfN(drawClaim(), 0, 12).Draw(t, label)
}

func merge(r *Rules, claims ...[]golden.Claim) []golden.Decision {
	return Merge(golden.Customer, slices.Concat(claims...), r)
}

// chosen is merge as Choose does it, with the losers of merge.
func chosen(r *Rules, decisions []golden.Decision, claims []golden.Claim) []golden.Decision {
	all := make([]*golden.Claim, len(claims))
	for i := range claims {
		all[i] = &claims[i]
	}
	out := Choose(golden.Customer, all, r)
	for i := range out {
		if i < len(decisions) {
			out[i].Losers = decisions[i].Losers
		}
	}
	return out
}

func TestMergeIsAFunctionOfASet(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		r := drawRules(t)
		a, b, c := drawClaims(t, "a"), drawClaims(t, "b"), drawClaims(t, "c")
		want := merge(r, a, b, c)
		require.Equal(t, want, merge(r, c, b, a), "commutative")
		require.Equal(t, want, merge(r, b, c, a), "associative")
		require.Equal(t, want, merge(r, a, b, c, b, a), "idempotent")
		shuffled := rapid.Permutation(slices.Concat(a, b, c)).Draw(t, "shuffled")
		require.Equal(t, want, merge(r, shuffled), "any order")
		require.Equal(t, want, chosen(r, want, slices.Concat(a, b, c)), "briefly")
	})
}

func TestTheOrdersAreTotal(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		r := drawRules(t)
		rule := r.objects[golden.Customer][rapid.SampledFrom(drawnFields).Draw(t, "rule")]
		x, y, z := drawClaim().Draw(t, "x"), drawClaim().Draw(t, "y"), drawClaim().Draw(t, "z")
		z.Field, y.Field = x.Field, x.Field
		for name, cmp := range map[string]func(a, b *golden.Claim) int{
			"newer": newer, "better": func(a, b *golden.Claim) int { return r.better(rule, wordOf(r, a), wordOf(r, b)) },
		} {
			sign := func(a, b *golden.Claim) int { return max(-1, min(1, cmp(a, b))) }
			require.Equal(t, sign(&x, &y), -sign(&y, &x), "%s is antisymmetric", name)
			if sign(&x, &y) >= 0 && sign(&y, &z) >= 0 {
				require.GreaterOrEqual(t, sign(&x, &z), 0, "%s is transitive", name)
			}
		}
		if r.better(rule, wordOf(r, &x), wordOf(r, &y)) == 0 {
			require.Equal(t, x, y, "only equal claims are equal")
		}
	})
}

func TestTheMasterDecides(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		r := drawRules(t)
		claims := drawClaims(t, "claims")
		for _, d := range merge(r, claims) {
			rule := r.objects[golden.Customer][d.Field]
			if rule.Unit != "" || rule.Strategy != master {
				continue
			}
			newest := map[golden.Ref]golden.Claim{}
			for _, c := range claims {
				if have, ok := newest[c.Ref]; c.Field == d.Field && (!ok || newer(&c, &have) > 0) {
					newest[c.Ref] = c
				}
			}
			var words []string // of the first system in the list that has a word which is not blank
			for _, system := range rule.Master {
				for ref, c := range newest {
					if value := r.Value(golden.Customer, c.Field, c.Value); ref.System == system && (value != "" || rule.Blank == clear) {
						words = append(words, value)
					}
				}
				if len(words) > 0 {
					break
				}
			}
			if len(words) > 0 && rule.Blank != keep {
				require.Contains(t, words, d.Value)
			}
			if d.Winner != nil {
				require.Contains(t, rule.Master, d.Winner.Ref.System)
			}
		}
	})
}

func TestAUnitNeverMixes(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		r := drawRules(t)
		claims := drawClaims(t, "claims")
		got := map[string]golden.Decision{}
		for _, d := range merge(r, claims) {
			got[d.Field] = d
		}
		var ref *golden.Ref
		for _, part := range addressParts {
			d, ok := got[part]
			if !ok {
				continue
			}
			require.NotNil(t, d.Winner)
			if ref == nil {
				ref = &d.Winner.Ref
			}
			require.Equal(t, *ref, d.Winner.Ref)
		}
		if ref == nil {
			return
		}
		for _, part := range addressParts {
			require.Contains(t, got, part, "a unit is decided as a whole")
			want := golden.Claim{}
			for _, c := range claims {
				if c.Field == part && c.Ref == *ref && (want.Field == "" || newer(&c, &want) > 0) {
					want = c
				}
			}
			require.Equal(t, r.Value(golden.Customer, part, want.Value), got[part].Value)
		}
	})
}

func TestEveryClaimIsAccountedFor(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		r := drawRules(t)
		claims := drawClaims(t, "claims")
		decisions := merge(r, claims)
		for _, c := range claims {
			i := slices.IndexFunc(decisions, func(d golden.Decision) bool { return d.Field == c.Field })
			if i < 0 {
				require.Contains(t, []strategy{master, trust}, r.objects[golden.Customer][c.Field].Strategy, "only a field without a ranked system has no decision")
				continue
			}
			d := decisions[i]
			if d.Winner != nil && *d.Winner == c {
				require.NotContains(t, d.Losers, c)
				continue
			}
			if slices.Contains(d.Parts, c) {
				require.NotContains(t, d.Losers, c)
				continue
			}
			require.Contains(t, d.Losers, c)
		}
	})
}

func TestAbsorbLosesNothingThatMergeNeeds(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		r := drawRules(t)
		var history, kept []golden.Claim
		for _, ref := range []golden.Ref{{System: "sf", Object: golden.Customer, RecordID: "1"}, {System: "erp", Object: golden.Customer, RecordID: "2"}} {
			for _, field := range drawnFields {
				var have []golden.Claim
				for version := range int64(rapid.IntRange(0, 4).Draw(t, "versions")) {
					c := drawClaim().Draw(t, "claim")
					c.Field, c.Ref, c.Version = field, ref, 10*(version+1)
					history = append(history, c)
					have = r.Absorb(have, c)
					require.LessOrEqual(t, len(have), 2)
				}
				kept = append(kept, have...)
			}
		}
		require.Equal(t, golden.ValuesOf(merge(r, history)), golden.ValuesOf(merge(r, kept)))
	})
}

// TestAPIMayWriteTellsTheTruth compares the promise made to a caller with what a write through the API then does.
func TestAPIMayWriteTellsTheTruth(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		r := drawRules(t)
		claims := slices.DeleteFunc(drawClaims(t, "claims"), func(c golden.Claim) bool { return c.Ref.System == golden.SystemAPI })
		decisions := merge(r, claims)
		field := rapid.SampledFrom([]string{golden.Phone, golden.Street}).Draw(t, "field")
		rule := r.objects[golden.Customer][field]
		if slices.Contains([]strategy{longest, shortest, least, greatest, union, complete}, rule.Strategy) || (rule.Unit != "" && !slices.Contains(rule.RequireAny, field)) {
			return
		}
		own := golden.Claim{
			Field: field, Value: "through the api", Version: 1, EventTime: at(1e6),
			Ref: golden.Ref{System: golden.SystemAPI, Object: golden.Customer, RecordID: "c"},
		}
		got := golden.ValuesOf(merge(r, claims, []golden.Claim{own}))[field]
		require.Equal(t, r.APIMayWrite(golden.Customer, field, decisions), got == r.Value(golden.Customer, field, own.Value))
	})
}

func BenchmarkMerge(b *testing.B) {
	r := Default()
	values := golden.Values{}
	for _, f := range golden.Fields(golden.Customer) {
		values[f] = "value of " + f
	}
	claims := slices.Concat(says("salesforce", "001", 3, 100, values), says("erp", "7", 9, 200, values))
	b.ReportAllocs()
	for b.Loop() {
		if got := Merge(golden.Customer, claims, r); len(got) != len(values) {
			b.Fatalf("%d decisions", len(got))
		}
	}
}
