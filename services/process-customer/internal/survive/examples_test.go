package survive

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
)

// exampleRules are those of the worked examples: every blank policy occurs.
const exampleRules = `
version: 7
systems: {erp: {priority: 20}, sf: {priority: 10}}
defaults: {strategy: latest, bucket: 2s, blank: keep}
objects:
  customer:
    units:
      address: {fields: [street, postal_code, city, region, country], require_any: [street, city], strategy: master, master: [erp, sf], blank: yield}
    fields:
      name: {strategy: latest, blank: keep}
      tax_id: {strategy: master, master: [erp], blank: keep}
      email: {strategy: master, master: [sf, erp], blank: clear}
      website: {strategy: longest}
      segment: {strategy: latest, blank: clear}
`

func parse(t *testing.T, text string) *Rules {
	t.Helper()
	r, err := Parse([]byte(text))
	require.NoError(t, err)
	return r
}

// at returns the moment n seconds into a fictitious day; fractions count.
func at(seconds float64) time.Time {
	return time.Unix(1_700_000_000, 0).Add(time.Duration(seconds * float64(time.Second))).UTC()
}

// says returns the claims of one record at one version.
func says(system, record string, version int64, seconds float64, values golden.Values) []golden.Claim {
	var out []golden.Claim
	for _, f := range golden.Fields(golden.Customer) {
		if v, ok := values[f]; ok {
			out = append(out, golden.Claim{
				Field: f, Value: v, Version: version, EventTime: at(seconds),
				Ref: golden.Ref{System: system, Object: golden.Customer, RecordID: record},
			})
		}
	}
	return out
}

func sf(version int64, seconds float64, values golden.Values) []golden.Claim {
	return says("sf", "001A", version, seconds, values)
}

func erp(version int64, seconds float64, values golden.Values) []golden.Claim {
	return says("erp", "BP7", version, seconds, values)
}

func baseSF() []golden.Claim {
	return sf(10, 100, golden.Values{
		golden.Street: "Hauptstr 1", golden.PostalCode: "10115", golden.City: "Berlin",
		golden.Email: "a@x.de", golden.Phone: "030 1", golden.Name: "Acme",
	})
}

func baseERP() []golden.Claim {
	return erp(5, 90, golden.Values{
		golden.Street: "Ring 9", golden.PostalCode: "20095", golden.City: "Hamburg",
		golden.Email: "b@x.de", golden.Phone: "040 2", golden.Name: "ACME GmbH", golden.TaxID: "DE1",
	})
}

func merged(t *testing.T, r *Rules, claims ...[]golden.Claim) golden.Values {
	t.Helper()
	return golden.ValuesOf(Merge(golden.Customer, slices.Concat(claims...), r))
}

func pick(v golden.Values, fields ...string) []string {
	out := make([]string, len(fields))
	for i, f := range fields {
		out[i] = v[f]
	}
	return out
}

func address(v golden.Values) []string { return pick(v, golden.Street, golden.PostalCode, golden.City) }

// TestWorkedExamples are the cases of the design that every change of the rules has to survive.
func TestWorkedExamples(t *testing.T) {
	t.Parallel()
	r := parse(t, exampleRules)

	t.Run("1 each field follows its rule", func(t *testing.T) {
		t.Parallel()
		got := merged(t, r, baseSF(), baseERP())
		require.Equal(t, []string{"Ring 9", "20095", "Hamburg"}, address(got))
		require.Equal(t, []string{"a@x.de", "030 1", "Acme", "DE1"}, pick(got, golden.Email, golden.Phone, golden.Name, golden.TaxID))
	})
	t.Run("2 a change by a system that is not the master does not reach the record and stays in provenance", func(t *testing.T) {
		t.Parallel()
		moved := sf(11, 200, golden.Values{golden.Street: "Neue Str 5", golden.City: "Potsdam"})
		decisions := Merge(golden.Customer, slices.Concat(baseSF(), baseERP(), moved), r)
		require.Equal(t, []string{"Ring 9", "20095", "Hamburg"}, address(golden.ValuesOf(decisions)))
		street := find(t, decisions, golden.Street)
		require.Equal(t, "address: master erp", street.Rule)
		require.Equal(t, []string{"Neue Str 5", "Hauptstr 1"}, []string{street.Losers[0].Value, street.Losers[1].Value})
	})
	t.Run("3 the master changes one part and the address stays its own", func(t *testing.T) {
		t.Parallel()
		got := merged(t, r, baseSF(), baseERP(), erp(6, 210, golden.Values{golden.Street: "Allee 3"}))
		require.Equal(t, []string{"Allee 3", "20095", "Hamburg"}, address(got))
	})
	t.Run("4 the master loses what an address needs and the whole address comes from the next system", func(t *testing.T) {
		t.Parallel()
		got := merged(t, r, baseSF(), baseERP(), erp(6, 210, golden.Values{golden.Street: "", golden.City: ""}))
		require.Equal(t, []string{"Hauptstr 1", "10115", "Berlin"}, address(got))
	})
	t.Run("5 an empty value clears, keeps or yields as the rule says", func(t *testing.T) {
		t.Parallel()
		emptied := sf(11, 200, golden.Values{golden.Email: "", golden.Phone: ""})
		got := merged(t, r, baseSF(), baseERP(), emptied)
		require.Equal(t, []string{"", "030 1"}, pick(got, golden.Email, golden.Phone))
		_, said := got[golden.Email]
		require.True(t, said, "a cleared field is blank, not unknown")
		yields := parse(t, `{version: 1, systems: {erp: {priority: 2}, sf: {priority: 1}}, objects: {customer: {fields: {email: {strategy: master, master: [sf, erp], blank: yield}}}}}`)
		require.Equal(t, "b@x.de", merged(t, yields, baseSF(), baseERP(), emptied)[golden.Email])
	})
	t.Run("6 within a bucket the priority decides and beyond it the time", func(t *testing.T) {
		t.Parallel()
		got := merged(t, r, baseSF(), baseERP(), sf(11, 300, golden.Values{golden.Name: "Acme SE"}), erp(6, 301, golden.Values{golden.Name: "ACME AG"}))
		require.Equal(t, "ACME AG", got[golden.Name])
		got = merged(t, r, baseSF(), baseERP(), sf(11, 301.9, golden.Values{golden.Name: "Acme SE"}), erp(6, 299, golden.Values{golden.Name: "ACME AG"}))
		require.Equal(t, "Acme SE", got[golden.Name])
	})
	t.Run("7 an older version with a later clock is ignored", func(t *testing.T) {
		t.Parallel()
		got := merged(t, r, baseSF(), baseERP(), sf(9, 400, golden.Values{golden.Name: "Skewed"}))
		require.Equal(t, "Acme", got[golden.Name])
	})
	t.Run("11 a field without fallback stays empty until its master knows the customer", func(t *testing.T) {
		t.Parallel()
		only := slices.Concat(baseSF(), sf(10, 100, golden.Values{golden.TaxID: "DE9"}))
		got := merged(t, r, only)
		require.Equal(t, []string{"Hauptstr 1", "10115", "Berlin"}, address(got))
		require.NotContains(t, got, golden.TaxID)
		got = merged(t, r, only, baseERP())
		require.Equal(t, []string{"Ring 9", "20095", "Hamburg"}, address(got))
		require.Equal(t, "DE1", got[golden.TaxID])
	})
	t.Run("12 a pinned name holds until the systems say something else", func(t *testing.T) {
		t.Parallel()
		pin := says(golden.SystemPin, "c", 1, 500, golden.Values{golden.Name: "ACME Holding"})
		pin[0].Hold, pin[0].Over = golden.HoldUntilChange, "Acme"
		require.Equal(t, "ACME Holding", merged(t, r, baseSF(), baseERP(), pin)[golden.Name])
		after := Merge(golden.Customer, slices.Concat(baseSF(), baseERP(), pin, erp(6, 900, golden.Values{golden.Name: "ACME AG"})), r)
		require.Equal(t, "ACME AG", find(t, after, golden.Name).Value)
		require.Contains(t, find(t, after, golden.Name).Losers, pin[0], "the old pin is kept")
	})
	t.Run("13 lists are joined, the longest value wins, the earliest date wins", func(t *testing.T) {
		t.Parallel()
		r13 := parse(t, `{version: 1, systems: {erp: {priority: 2}, sf: {priority: 1}}, objects: {customer: {fields: {segment: {strategy: union}, website: {strategy: longest}, region: {strategy: min}}}}}`)
		all := merged(t, r13, sf(10, 200, golden.Values{golden.Segment: "gold;new", golden.Region: "2019-05-01"}), erp(5, 100, golden.Values{golden.Segment: "key;gold", golden.Region: "2017-01-31"}))
		require.Equal(t, []string{"gold;key;new", "2017-01-31"}, pick(all, golden.Segment, golden.Region))
		got := merged(t, r, sf(10, 200, golden.Values{golden.Website: "x.de"}), erp(5, 100, golden.Values{golden.Website: "https://x.de"}))
		require.Equal(t, "https://x.de", got[golden.Website])
	})
	t.Run("15 one version with two values has one winner in every order", func(t *testing.T) {
		t.Parallel()
		a := sf(20, 500, golden.Values{golden.Name: "Acme A"})
		b := sf(20, 500, golden.Values{golden.Name: "Acme B"})
		empty := sf(20, 500, golden.Values{golden.Name: ""})
		later := sf(20, 501, golden.Values{golden.Name: "Acme"})
		require.Equal(t, "Acme B", merged(t, r, a, b, empty)[golden.Name])
		require.Equal(t, "Acme B", merged(t, r, empty, b, a)[golden.Name])
		require.Equal(t, "Acme", merged(t, r, later, b, a)[golden.Name])
	})
}

func find(t *testing.T, decisions []golden.Decision, field string) golden.Decision {
	t.Helper()
	i := slices.IndexFunc(decisions, func(d golden.Decision) bool { return d.Field == field })
	require.GreaterOrEqual(t, i, 0)
	return decisions[i]
}

func TestMerge(t *testing.T) {
	t.Parallel()
	r := parse(t, exampleRules)

	t.Run("decisions come in field order and only for what is known", func(t *testing.T) {
		t.Parallel()
		var got []string
		for _, d := range Merge(golden.Customer, erp(1, 1, golden.Values{golden.Segment: "A", golden.Name: "X"}), r) {
			got = append(got, d.Field)
		}
		require.Equal(t, []string{golden.Name, golden.Segment}, got)
		require.Empty(t, Merge(golden.Customer, nil, r))
		require.Empty(t, Merge("order", baseSF(), r))
	})
	t.Run("what the winning address never had is blank and names the winner", func(t *testing.T) {
		t.Parallel()
		decisions := Merge(golden.Customer, slices.Concat(sf(1, 1, golden.Values{golden.City: "Berlin", golden.Country: "DE"}), erp(1, 1, golden.Values{golden.City: "Wien"})), r)
		country := find(t, decisions, golden.Country)
		require.Empty(t, country.Value)
		require.Equal(t, "erp", country.Winner.Ref.System)
		require.Len(t, country.Losers, 1)
	})
	t.Run("an address with nothing required is better than none", func(t *testing.T) {
		t.Parallel()
		got := merged(t, r, erp(1, 1, golden.Values{golden.Country: "DE"}))
		require.Equal(t, "DE", got[golden.Country])
		got = merged(t, r, erp(1, 1, golden.Values{golden.Country: "DE"}), sf(1, 1, golden.Values{golden.City: "Wien"}))
		require.Equal(t, []string{"Wien", ""}, pick(got, golden.City, golden.Country))
	})
	t.Run("two records of one system have one order too", func(t *testing.T) {
		t.Parallel()
		older := says("sf", "001A", 99, 100, golden.Values{golden.Name: "Old"})
		newer := says("sf", "001B", 1, 200, golden.Values{golden.Name: "New"})
		require.Equal(t, "New", merged(t, r, older, newer)[golden.Name])
		require.Equal(t, "New", merged(t, r, newer, older)[golden.Name])
	})
	t.Run("a system without a rank takes part in latest and never masters", func(t *testing.T) {
		t.Parallel()
		other := says("crm2", "1", 1, 900, golden.Values{golden.Name: "Later", golden.Email: "c@x.de"})
		got := merged(t, r, baseSF(), other)
		require.Equal(t, []string{"Later", "a@x.de"}, pick(got, golden.Name, golden.Email))
	})
	t.Run("equal instants in different zones are one claim", func(t *testing.T) {
		t.Parallel()
		a := sf(1, 1, golden.Values{golden.Name: "X"})
		b := slices.Clone(a)
		b[0].EventTime = b[0].EventTime.In(time.FixedZone("x", 3600))
		require.Empty(t, find(t, Merge(golden.Customer, slices.Concat(a, b), r), golden.Name).Losers)
	})
	t.Run("claims are not changed", func(t *testing.T) {
		t.Parallel()
		in := slices.Concat(baseERP(), baseSF())
		before := slices.Clone(in)
		Merge(golden.Customer, in, r)
		require.Equal(t, before, in)
	})
}

func TestAbsorb(t *testing.T) {
	t.Parallel()
	r := Default()
	one := func(version int64, value string) golden.Claim {
		return sf(version, float64(version), golden.Values{golden.Phone: value})[0]
	}

	t.Run("a newer word replaces the older one", func(t *testing.T) {
		t.Parallel()
		require.Equal(t, []golden.Claim{one(2, "b")}, r.Absorb([]golden.Claim{one(1, "a")}, one(2, "b")))
	})
	t.Run("an older word is ignored", func(t *testing.T) {
		t.Parallel()
		require.Equal(t, []golden.Claim{one(2, "b")}, r.Absorb([]golden.Claim{one(2, "b")}, one(1, "a")))
	})
	t.Run("of two words with one version the later reading wins", func(t *testing.T) {
		t.Parallel()
		require.Equal(t, []golden.Claim{one(2, "a")}, r.Absorb([]golden.Claim{one(2, "b")}, one(2, "a")))
	})
	t.Run("a blank keeps the last value beside it, also at the same version", func(t *testing.T) {
		t.Parallel()
		have := r.Absorb([]golden.Claim{one(2, "b")}, one(2, ""))
		keeps, clears := parse(t, exampleRules), parse(t, `{version: 1, systems: {sf: {priority: 1}}}`)
		for range 2 {
			require.Len(t, have, 2)
			require.Equal(t, "b", merged(t, keeps, have)[golden.Phone])
			require.Empty(t, merged(t, clears, have)[golden.Phone])
			have = r.Absorb(have, one(3, ""))
		}
	})
}
