package survive

import (
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
)

// ruled returns rules with one rule about a field of a customer.
func ruled(t *testing.T, field, rule string) *Rules {
	t.Helper()
	return parse(t, fmt.Sprintf(`{version: 1, blank_values: ["n/a"], systems: {erp: {priority: 20, clock: {offset: 10s, max_future: 1m}}, sf: {priority: 10}}, objects: {customer: {fields: {%s: %s}}}}`, field, rule))
}

func TestStrategies(t *testing.T) {
	t.Parallel()
	of := func(field, s, e string) []golden.Claim {
		return slices.Concat(sf(1, 200, golden.Values{field: s}), erp(1, 100, golden.Values{field: e}))
	}
	cases := map[string]struct {
		rule, sf, erp string
		want, by      string
	}{
		"latest takes the later word":                            {"{strategy: latest}", "a", "b", "a", "latest"},
		"priority takes the greater priority, however old":       {"{strategy: priority}", "a", "b", "b", "priority erp"},
		"priority takes an empty word at its word":               {"{strategy: priority}", "a", "", "", "priority erp"},
		"priority yields":                                        {"{strategy: priority, blank: yield}", "a", "", "a", "priority sf"},
		"trust takes the most trusted value":                     {"{strategy: trust, trust: {sf: 40, erp: 60}}", "a", "b", "b", "trust erp"},
		"trust takes no empty value while there is another":      {"{strategy: trust, trust: {sf: 40, erp: 60}}", "a", "", "a", "trust sf"},
		"a word of the blank vocabulary is empty":                {"{strategy: trust, trust: {sf: 40, erp: 60}}", "a", "N/A", "a", "trust sf"},
		"a system without trust never wins":                      {"{strategy: trust, trust: {sf: 1}}", "", "b", "", "trust sf"},
		"the longest value wins":                                 {"{strategy: longest}", "ab", "abc", "abc", "longest"},
		"the shortest value wins, an empty one does not":         {"{strategy: shortest}", "ab", "", "ab", "shortest"},
		"the smallest number wins, not the first text":           {"{strategy: min}", "9", "10.5", "9", "min"},
		"the greatest number wins":                               {"{strategy: max}", "9", "10.5", "10.5", "max"},
		"the earliest date wins":                                 {"{strategy: min}", "2026-03-01", "2025-12-31", "2025-12-31", "min"},
		"text is greater than numbers":                           {"{strategy: max}", "9", "x", "x", "max"},
		"lists are joined, sorted, each item once":               {"{strategy: union}", "b;a", "c; b", "a;b;c", "union"},
		"an emptied list adds nothing":                           {"{strategy: union}", "b;a", "", "a;b", "union"},
		"a joined list is bounded":                               {"{strategy: union, max_items: 2}", "b;a", "c", "a;b", "union"},
		"lists have the separator of the rule":                   {"{strategy: union, separator: ','}", "b,a;x", "c", "a;x,b,c", "union"},
		"a normalised value is chosen":                           {"{strategy: latest, normalise: email}", "A@X.de", "b", "a@x.de", "latest"},
		"normalisers come in their order":                        {"{strategy: latest, normalise: [digits, upper]}", "DE 12", "b", "12", "latest"},
		"what a normaliser cannot read stays as it is":           {"{strategy: latest, normalise: phone}", "ask Ada", "b", "ask Ada", "latest"},
		"a master's word of the blank vocabulary is empty, too":  {"{strategy: master, master: [erp, sf], blank: yield}", "a", "n/a", "a", "master sf"},
		"a record keeps its last value that means something":     {"{strategy: master, master: [sf], blank: keep}", "a", "b", "a", "master sf"},
		"nobody in the list of masters has a word":               {"{strategy: master, master: [api]}", "a", "b", "", "master"},
		"a rule without a strategy is the default's: the latest": {"{}", "a", "b", "a", "latest"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := ruled(t, golden.Segment, c.rule)
			d := find(t, Merge(golden.Customer, of(golden.Segment, c.sf, c.erp), r), golden.Segment)
			require.Equal(t, c.want, d.Value)
			require.Equal(t, c.by, d.Rule)
			require.Equal(t, "objects.customer.fields.segment", d.Path)
			claims := 0
			if d.Winner != nil {
				claims++
			}
			require.Equal(t, 2, claims+len(d.Parts)+len(d.Losers), "every claim is accounted for")
		})
	}
	t.Run("the claims of a decision are what the systems said", func(t *testing.T) {
		t.Parallel()
		d := find(t, Merge(golden.Customer, of(golden.Email, "A@X.de", "N/A"), ruled(t, golden.Email, "{normalise: email}")), golden.Email)
		require.Equal(t, "a@x.de", d.Value)
		require.Equal(t, "A@X.de", d.Winner.Value)
		require.Equal(t, "N/A", d.Losers[0].Value)
	})
	t.Run("the most complete record decides a unit", func(t *testing.T) {
		t.Parallel()
		r := parse(t, `{version: 1, systems: {erp: {priority: 2}, sf: {priority: 1}}, objects: {customer: {units: {address: {fields: [street, city, country], strategy: most_complete}}}}}`)
		got := merged(t, r, sf(1, 100, golden.Values{golden.Street: "A 1", golden.City: "Ulm", golden.Country: "DE"}), erp(1, 900, golden.Values{golden.Street: "B 2", golden.City: "Wien"}))
		require.Equal(t, []string{"A 1", "Ulm", "DE"}, pick(got, golden.Street, golden.City, golden.Country))
	})
	t.Run("a value that means nothing does not push the one before out of memory", func(t *testing.T) {
		t.Parallel()
		r := ruled(t, golden.Segment, "{strategy: latest, blank: keep}")
		have := r.Absorb(sf(1, 1, golden.Values{golden.Segment: "A"}), sf(2, 2, golden.Values{golden.Segment: "n/a"})[0])
		require.Len(t, have, 2)
		require.Equal(t, "A", merged(t, r, have)[golden.Segment])
	})
}

func TestTime(t *testing.T) {
	t.Parallel()
	r := ruled(t, golden.Phone, "{strategy: latest}")
	claim := func(system string, event, received float64) golden.Claim {
		c := golden.Claim{Ref: golden.Ref{System: system}, EventTime: at(event)}
		if received > 0 {
			c.Received = at(received)
		}
		return c
	}
	for name, c := range map[string]struct {
		claim golden.Claim
		want  float64
	}{
		"the source's own time counts":                           {claim("sf", 100, 0), 100},
		"a known offset is taken off":                            {claim("erp", 100, 0), 90},
		"a time somewhat ahead counts":                           {claim("erp", 150, 100), 140},
		"a time far ahead counts as the limit after its receipt": {claim("erp", 9000, 100), 160},
		"a system that the rules do not name has five minutes":   {claim("other", 9000, 100), 400},
		"a system without a clock has five minutes":              {claim("sf", 9000, 100), 400},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, at(c.want), r.At(&c.claim))
		})
	}
	t.Run("a clock that is a year ahead does not decide for a year", func(t *testing.T) {
		t.Parallel()
		ahead := sf(5, 3e7, golden.Values{golden.Phone: "1"})
		ahead[0].Received = at(100)
		got := merged(t, r, ahead, erp(5, 1000, golden.Values{golden.Phone: "2"}))
		require.Equal(t, "2", got[golden.Phone])
	})
}

func TestPin(t *testing.T) {
	t.Parallel()
	r := parse(t, exampleRules)
	pin := func(version int64, hold golden.Hold, values, over golden.Values) []golden.Claim {
		out := says(golden.SystemPin, "c_1", version, float64(1000*version), values)
		for i := range out {
			out[i].Hold, out[i].Over = hold, over[out[i].Field]
		}
		return out
	}
	name := golden.Values{golden.Name: "ACME Holding"}
	base := golden.Values{golden.Name: "Acme"}

	t.Run("a pin holds while the rules would choose the same", func(t *testing.T) {
		t.Parallel()
		p := pin(1, golden.HoldUntilChange, name, base)
		d := find(t, Merge(golden.Customer, slices.Concat(baseSF(), baseERP(), p), r), golden.Name)
		require.Equal(t, []string{"ACME Holding", "pin"}, []string{d.Value, d.Rule})
		require.Equal(t, "Acme", d.Losers[0].Value, "what would win comes first")
		d = find(t, Merge(golden.Customer, slices.Concat(baseSF(), baseERP(), p, erp(6, 900, golden.Values{golden.Name: "ACME AG"})), r), golden.Name)
		require.Equal(t, "ACME AG", d.Value)
		require.Contains(t, d.Losers, p[0])
	})
	t.Run("a pin for always holds whatever comes", func(t *testing.T) {
		t.Parallel()
		got := merged(t, r, baseSF(), baseERP(), pin(1, golden.HoldAlways, name, base), erp(6, 9000, golden.Values{golden.Name: "ACME AG"}))
		require.Equal(t, "ACME Holding", got[golden.Name])
	})
	t.Run("a pin that was taken away does not hold", func(t *testing.T) {
		t.Parallel()
		got := merged(t, r, baseSF(), pin(1, golden.HoldAlways, name, base), pin(2, "", golden.Values{golden.Name: ""}, nil))
		require.Equal(t, "Acme", got[golden.Name])
	})
	t.Run("a pin holds a value that nobody has", func(t *testing.T) {
		t.Parallel()
		require.Equal(t, golden.Values{golden.Segment: "A"}, merged(t, r, pin(1, golden.HoldUntilChange, golden.Values{golden.Segment: "A"}, nil)))
	})
	t.Run("of two pins the later one holds", func(t *testing.T) {
		t.Parallel()
		other := pin(2, golden.HoldAlways, golden.Values{golden.Name: "Other"}, nil)
		other[0].Ref.RecordID = "c_2"
		require.Equal(t, "Other", merged(t, r, baseSF(), pin(1, golden.HoldAlways, name, base), other)[golden.Name])
	})
	t.Run("a pinned address is pinned as a whole or not at all", func(t *testing.T) {
		t.Parallel()
		all := golden.Values{golden.Street: "Tor 1", golden.PostalCode: "1", golden.City: "Bonn", golden.Region: "", golden.Country: ""}
		over := golden.Values{golden.Street: "Ring 9", golden.PostalCode: "20095", golden.City: "Hamburg"}
		p := pin(1, golden.HoldUntilChange, all, over)
		require.Equal(t, []string{"Tor 1", "1", "Bonn"}, address(merged(t, r, baseSF(), baseERP(), p)))
		got := merged(t, r, baseSF(), baseERP(), p, erp(6, 210, golden.Values{golden.City: "Kiel"}))
		require.Equal(t, []string{"Ring 9", "20095", "Kiel"}, address(got), "one part changed, so none of the pin holds")
		require.Equal(t, []string{"Ring 9", "20095", "Hamburg"}, address(merged(t, r, baseSF(), baseERP(), p[:2])), "half a pin is none")
	})
	t.Run("the api may not write over a pin", func(t *testing.T) {
		t.Parallel()
		d := Merge(golden.Customer, slices.Concat(baseSF(), pin(1, golden.HoldAlways, name, base)), r)
		require.False(t, r.APIMayWrite(golden.Customer, golden.Name, d))
		require.True(t, r.APIMayWrite(golden.Customer, golden.Phone, d))
	})
}

func TestAuthority(t *testing.T) {
	t.Parallel()
	r := parse(t, `{version: 1, systems: {erp: {priority: 2}, sf: {priority: 1}}, defaults: {overruled: keep}, objects: {customer: {create: [sf, api], delete: [erp], fields: {phone: {overruled: ask}, email: {overruled: revert}}}}}`)
	require.False(t, r.Creates(golden.Customer, []string{"erp"}))
	require.True(t, r.Creates(golden.Customer, []string{"erp", "sf"}))
	require.True(t, r.Creates(golden.Contact, []string{"erp"}))
	require.True(t, r.Deletes(golden.Customer, "erp"))
	require.False(t, r.Deletes(golden.Customer, "sf"))
	require.False(t, r.Deletes(golden.Contact, "erp"))
	require.Equal(t, []Overruled{Keep, Ask, Revert}, []Overruled{
		r.Overruled(golden.Customer, golden.Name), r.Overruled(golden.Customer, golden.Phone), r.Overruled(golden.Customer, golden.Email),
	})
	require.True(t, r.Asks())
	require.False(t, Default().Asks())
	require.Equal(t, Revert, Default().Overruled(golden.Customer, golden.Email))
	none := parse(t, `{version: 1, systems: {erp: {priority: 2}}, objects: {customer: {create: []}}}`)
	require.False(t, none.Creates(golden.Customer, []string{"erp", "sf", "api"}), "an empty list is not a missing one")
}

func TestNormalisers(t *testing.T) {
	t.Parallel()
	for _, c := range [][3]string{
		{"phone", "+49 (0)30 / 12-34", "+49301234"},
		{"phone", "0049 30 1234", "+49301234"},
		{"phone", "030 1234", "0301234"},
		{"phone", "12 ext. 3", "12 ext. 3"},
		{"email", "mailto:Ada@X.de", "ada@x.de"},
		{"tax_id", "de 123-456", "DE123456"},
		{"url", "WWW.X.de/", "https://www.x.de"},
		{"url", "http://X.de/a/?q=1", "http://x.de/a?q=1"},
		{"url", "ask Ada", "ask Ada"},
		{"digits", "a1b2", "12"},
		{"digits", "ab", "ab"},
		{"letters", "A-1 b", "A1b"},
	} {
		require.Equal(t, c[2], normalisers[c[0]](c[1]), "%s of %q", c[0], c[1])
	}
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.SampledFrom(normaliserNames()).Draw(t, "normaliser")
		value := golden.Canonical(golden.Customer, golden.Phone, rapid.OneOf(
			rapid.String(), rapid.StringOf(rapid.SampledFrom([]rune("+0049(0) mailto:/.aÄßİé-?#%[]@"))),
		).Draw(t, "value"))
		r := &Rules{}
		rule := &rule{Normalise: []string{name}}
		once := r.valueOf(rule, golden.Customer, golden.Phone, value)
		if twice := r.valueOf(rule, golden.Customer, golden.Phone, once); twice != once {
			t.Fatalf("%s: %q became %q", name, once, twice)
		}
		if (once == "") != (value == "") {
			t.Fatalf("%s emptied %q", name, value)
		}
	})
}

func TestSizeIsATotalOrder(t *testing.T) {
	t.Parallel()
	value := rapid.OneOf(rapid.SampledFrom([]string{"", "1", "10", "9", "1a", "-1", "1.0", "01", "2026-03-01", "x"}), rapid.StringOf(rapid.SampledFrom([]rune("0123456789.-a"))))
	rapid.Check(t, func(t *rapid.T) {
		x, y, z := value.Draw(t, "x"), value.Draw(t, "y"), value.Draw(t, "z")
		require.Equal(t, compareSize(x, y), -compareSize(y, x))
		if compareSize(x, y) <= 0 && compareSize(y, z) <= 0 {
			require.LessOrEqual(t, compareSize(x, z), 0, "%q %q %q", x, y, z)
		}
	})
}
