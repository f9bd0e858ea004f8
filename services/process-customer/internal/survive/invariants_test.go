package survive

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
)

// TestInvariants are the laws of mastering that need claims and rules only. Those about stored state are in package
// fold, those about matching in package match; docs/design/0013-invariants.md lists all.
func TestInvariants(t *testing.T) {
	t.Parallel()

	t.Run("I01 merging is commutative", func(t *testing.T) {
		t.Parallel()
		rapid.Check(t, func(t *rapid.T) {
			r, a, b := drawRules(t), drawClaims(t, "a"), drawClaims(t, "b")
			require.Equal(t, merge(r, a, b), merge(r, b, a))
		})
	})
	t.Run("I02 merging is associative", func(t *testing.T) {
		t.Parallel()
		rapid.Check(t, func(t *rapid.T) {
			r, a, b, c := drawRules(t), drawClaims(t, "a"), drawClaims(t, "b"), drawClaims(t, "c")
			require.Equal(t, merge(r, slices.Concat(a, b), c), merge(r, a, slices.Concat(b, c)))
		})
	})
	t.Run("I03 merging is idempotent", func(t *testing.T) {
		t.Parallel()
		rapid.Check(t, func(t *rapid.T) {
			r, a := drawRules(t), drawClaims(t, "a")
			require.Equal(t, merge(r, a), merge(r, a, a))
		})
	})
	t.Run("I01 I02 I03 every order of every small set of claims", func(t *testing.T) {
		t.Parallel()
		exhaustive(t)
	})
	t.Run("I07 a word of the master is never lost, whatever others send", func(t *testing.T) {
		t.Parallel()
		rapid.Check(t, func(t *rapid.T) {
			r, claims := drawRules(t), drawClaims(t, "claims")
			for _, field := range []string{golden.Name, golden.Phone} {
				rule := r.objects[golden.Customer][field]
				if rule.Strategy != master {
					continue
				}
				top := drawClaim().Draw(t, "top")
				top.Field, top.Ref.System, top.Ref.RecordID, top.Version = field, rule.Master[0], "1", 100
				others := slices.DeleteFunc(slices.Clone(claims), func(c golden.Claim) bool { return c.Ref.System == rule.Master[0] && c.Ref.RecordID != "1" })
				value := r.Value(golden.Customer, field, top.Value)
				if value == "" && rule.Blank != clear {
					continue
				}
				require.Equal(t, value, golden.ValuesOf(merge(r, others, []golden.Claim{top}))[field])
			}
		})
	})
	t.Run("I09 the order of claims is total", func(t *testing.T) {
		t.Parallel()
		rapid.Check(t, func(t *rapid.T) {
			r := drawRules(t)
			rule := r.objects[golden.Customer][rapid.SampledFrom(drawnFields).Draw(t, "rule")]
			x, y, z := drawClaim().Draw(t, "x"), drawClaim().Draw(t, "y"), drawClaim().Draw(t, "z")
			y.Field, z.Field = x.Field, x.Field
			order := func(a, b *golden.Claim) int { return max(-1, min(1, r.better(rule, wordOf(r, a), wordOf(r, b)))) }
			require.Equal(t, order(&x, &y), -order(&y, &x), "antisymmetric")
			require.Equal(t, x == y, order(&x, &y) == 0, "total")
			if order(&x, &y) >= 0 && order(&y, &z) >= 0 {
				require.GreaterOrEqual(t, order(&x, &z), 0, "transitive")
			}
		})
	})
	t.Run("I10 a unit is one record's words, never a mixture", func(t *testing.T) {
		t.Parallel()
		rapid.Check(t, func(t *rapid.T) {
			r, claims := drawRules(t), drawClaims(t, "claims")
			if rapid.Bool().Draw(t, "pinned") {
				claims = append(claims, pinnedAddress(rapid.SampledFrom([]golden.Hold{golden.HoldAlways, golden.HoldUntilChange}).Draw(t, "hold"))...)
			}
			refs := map[golden.Ref]bool{}
			for _, d := range merge(r, claims) {
				if slices.Contains(addressParts, d.Field) {
					refs[d.Winner.Ref] = true
					require.Equal(t, r.Value(golden.Customer, d.Field, newestOf(claims, d.Winner.Ref, d.Field)), d.Value)
				}
			}
			require.LessOrEqual(t, len(refs), 1)
		})
	})
	t.Run("I11 absent is not empty, and empty does what the rule says", func(t *testing.T) { t.Parallel(); blankLaws(t) })
	t.Run("I13 a decision names what decided, and the named claim is one that was made", func(t *testing.T) {
		t.Parallel()
		rapid.Check(t, func(t *rapid.T) {
			r, claims := drawRules(t), drawClaims(t, "claims")
			text, err := json.Marshal(merge(r, claims))
			require.NoError(t, err)
			var kept []golden.Decision
			require.NoError(t, json.Unmarshal(text, &kept))
			var evidence []golden.Claim
			for _, d := range kept {
				require.NotEmpty(t, d.Rule)
				require.NotEmpty(t, d.Path)
				if d.Winner == nil {
					require.Empty(t, d.Value)
					evidence = append(evidence, d.Losers...)
					continue
				}
				if slices.ContainsFunc(claims, func(c golden.Claim) bool { return c == *d.Winner }) {
					evidence = append(evidence, *d.Winner)
				} else {
					require.Empty(t, d.Winner.Value, "only a member that nobody spoke of is implied")
				}
				evidence = append(append(evidence, d.Parts...), d.Losers...)
			}
			require.Equal(t, golden.ValuesOf(merge(r, claims)), golden.ValuesOf(merge(r, evidence)), "the evidence alone gives the same values")
		})
	})
	t.Run("I15 a claim changes its own field or unit only", func(t *testing.T) {
		t.Parallel()
		rapid.Check(t, func(t *rapid.T) {
			r, claims, one := drawRules(t), drawClaims(t, "claims"), drawClaim().Draw(t, "one")
			before, after := merge(r, claims), merge(r, claims, []golden.Claim{one})
			mayChange := r.Unit(golden.Customer, one.Field)
			rest := func(ds []golden.Decision) []golden.Decision {
				return slices.DeleteFunc(slices.Clone(ds), func(d golden.Decision) bool { return slices.Contains(mayChange, d.Field) })
			}
			require.Equal(t, rest(before), rest(after))
		})
	})
	t.Run("I28 a clock that is wrong by a constant changes only what time decides", func(t *testing.T) { t.Parallel(); skew(t) })
}

func newestOf(claims []golden.Claim, ref golden.Ref, field string) string {
	var best golden.Claim
	for _, c := range claims {
		if c.Ref == ref && c.Field == field && (best.Field == "" || newer(&c, &best) > 0) {
			best = c
		}
	}
	return best.Value
}

func pinnedAddress(hold golden.Hold) []golden.Claim {
	out := says(golden.SystemPin, "c", 1, 50, golden.Values{golden.Street: "P 1", golden.City: "Pin", golden.Country: ""})
	for i := range out {
		out[i].Hold = hold
	}
	return out
}

// exhaustive tries every subset of a handful of claims that collide in every way, in every order, under every strategy.
func exhaustive(t *testing.T) {
	pool := []golden.Claim{
		sf(1, 0, golden.Values{golden.Name: "a"})[0], sf(2, 0, golden.Values{golden.Name: ""})[0], sf(2, 3, golden.Values{golden.Name: "bb"})[0],
		erp(1, 1, golden.Values{golden.Name: "a"})[0], erp(2, 3, golden.Values{golden.Name: "b"})[0],
	}
	for _, rule := range []string{
		"{strategy: latest}", "{strategy: latest, blank: keep}", "{strategy: longest, blank: yield}", "{strategy: shortest}", "{strategy: priority}",
		"{strategy: min}", "{strategy: max}", "{strategy: union}", "{strategy: master, master: [sf, erp], blank: keep}",
		"{strategy: master, master: [erp, sf], blank: yield}", "{strategy: trust, trust: {sf: 50, erp: 50}}",
	} {
		r := ruled(t, golden.Name, rule)
		for set := range 1 << len(pool) {
			var claims []golden.Claim
			for i := range pool {
				if set&(1<<i) != 0 {
					claims = append(claims, pool[i])
				}
			}
			want := merge(r, claims)
			permute(claims, func(order []golden.Claim) {
				require.Equal(t, want, merge(r, order, order), "%s of %v", rule, order)
			})
		}
	}
}

// permute calls fn with every order of claims.
func permute(claims []golden.Claim, fn func([]golden.Claim)) {
	var step func(k int)
	step = func(k int) {
		if k >= len(claims) {
			fn(claims)
			return
		}
		for i := k; i < len(claims); i++ {
			claims[k], claims[i] = claims[i], claims[k]
			step(k + 1)
			claims[k], claims[i] = claims[i], claims[k]
		}
	}
	step(0)
}

func blankLaws(t *testing.T) {
	for _, empty := range []string{"", "n/a", "N/A"} {
		for _, strategy := range []string{"strategy: latest", "strategy: priority", "strategy: master, master: [sf, erp]"} {
			base := slices.Concat(sf(1, 100, golden.Values{golden.Segment: "A"}), erp(1, 1, golden.Values{golden.Segment: "B"}))
			if strategy == "strategy: priority" {
				base = slices.Concat(sf(1, 1, golden.Values{golden.Segment: "B"}), erp(1, 1, golden.Values{golden.Segment: "A"}))
			}
			emptied := sf(2, 200, golden.Values{golden.Segment: empty})
			if strategy == "strategy: priority" {
				emptied = erp(2, 200, golden.Values{golden.Segment: empty})
			}
			absent := sf(2, 200, golden.Values{golden.Phone: "1"})
			for policy, want := range map[blank]string{clear: "", keep: "A", yield: "B"} {
				r := ruled(t, golden.Segment, fmt.Sprintf("{%s, blank: %s}", strategy, policy))
				require.Equal(t, "A", merged(t, r, base)[golden.Segment])
				require.Equal(t, "A", merged(t, r, base, absent)[golden.Segment], "absent changes nothing")
				require.Equal(t, want, merged(t, r, base, emptied)[golden.Segment], "%q, %s, %s", empty, strategy, policy)
			}
		}
	}
}

// skew shifts the clock of one system.
func skew(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r, claims := drawRules(t), drawClaims(t, "claims")
		for i := range claims {
			claims[i].Received = time.Time{} // the bound against receipt is tested below
		}
		by := time.Duration(rapid.IntRange(-7200, 7200).Draw(t, "seconds")) * time.Second
		shifted := slices.Clone(claims)
		for i := range shifted {
			if shifted[i].Ref.System == "sf" {
				shifted[i].EventTime = shifted[i].EventTime.Add(by)
			}
		}
		before, after := golden.ValuesOf(merge(r, claims)), golden.ValuesOf(merge(r, shifted))
		for field, rule := range r.objects[golden.Customer] {
			records := map[golden.Ref]bool{} // of the systems that may decide
			versions := map[string]bool{}
			timed := false
			for _, c := range claims {
				if slices.Contains(r.Unit(golden.Customer, field), c.Field) {
					records[c.Ref] = true
					key := fmt.Sprint(c.Field, c.Ref, c.Version)
					timed = timed || versions[key] // one version, two values: then time decides inside a record, too
					versions[key] = true
				}
			}
			perSystem := map[string]int{}
			for ref := range records {
				perSystem[ref.System]++
			}
			untimed := rule.Strategy == master && !timed && perSystem["sf"] < 2 && perSystem["erp"] < 2 && perSystem[golden.SystemAPI] < 2
			if untimed {
				require.Equal(t, before[field], after[field], "%s is decided by its master, not by time", field)
			}
		}
	})
	r := ruled(t, golden.Phone, "{strategy: latest, bucket: 2s}")
	base := erp(1, 110, golden.Values{golden.Phone: "2"}) // counts as 100: its clock is known to be 10 s ahead
	for _, c := range []struct {
		seconds float64
		want    string
	}{{98, "2"}, {99.9, "2"}, {100, "2"}, {101.9, "2"}, {102, "1"}} {
		require.Equal(t, c.want, merged(t, r, base, sf(1, c.seconds, golden.Values{golden.Phone: "1"}))[golden.Phone], "%v: a shift inside the bucket changes nothing", c.seconds)
	}
	ahead := sf(1, 1e6, golden.Values{golden.Phone: "1"})
	ahead[0].Received = at(50)
	require.Equal(t, "1", merged(t, r, ahead, erp(1, 150, golden.Values{golden.Phone: "2"}))[golden.Phone], "within the bound it is the later word")
	require.Equal(t, "2", merged(t, r, ahead, erp(1, 500, golden.Values{golden.Phone: "2"}))[golden.Phone], "beyond it, it does not decide for ever")
}
