package survive

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
)

func TestDefault(t *testing.T) {
	t.Parallel()
	r := Default()

	t.Run("the built-in rules know the systems and write where they should", func(t *testing.T) {
		t.Parallel()
		require.Equal(t, []string{"api", "erp", "salesforce"}, r.Systems())
		require.Equal(t, 1, r.Version())
		require.True(t, r.WritesTo(golden.Customer, golden.ERPNumber, "salesforce"))
		require.False(t, r.WritesTo(golden.Customer, golden.ERPNumber, "erp"))
		require.True(t, r.WritesTo(golden.Customer, golden.Name, "erp"))
		require.False(t, r.WritesTo(golden.Customer, golden.Mobile, "erp"), "a customer has no mobile phone")
	})
	t.Run("the api may write what no higher system decides", func(t *testing.T) {
		t.Parallel()
		of := func(system string, values golden.Values) []golden.Decision {
			return Merge(golden.Customer, says(system, "1", 1, 1, values), r)
		}
		for name, c := range map[string]struct {
			field     string
			decisions []golden.Decision
			want      bool
		}{
			"latest":                        {golden.Phone, of("erp", golden.Values{golden.Phone: "1"}), true},
			"nobody has a word":             {golden.Email, nil, true},
			"the master has a word":         {golden.Email, of("salesforce", golden.Values{golden.Email: "a"}), false},
			"the master emptied the field":  {golden.Email, of("salesforce", golden.Values{golden.Email: ""}), false},
			"a lower system has a word":     {golden.Email, of("erp", golden.Values{golden.Email: "a"}), true},
			"the field belongs to the erp":  {golden.ERPNumber, nil, false},
			"the address of the master":     {golden.Country, of("erp", golden.Values{golden.City: "Wien"}), false},
			"the address without its place": {golden.Street, of("erp", golden.Values{golden.Country: "AT"}), true},
			"a field that does not exist":   {"shoe_size", nil, false},
		} {
			require.Equal(t, c.want, r.APIMayWrite(golden.Customer, c.field, c.decisions), name)
		}
	})
}

func TestDigest(t *testing.T) {
	t.Parallel()
	const text = "version: 1\nsystems: {erp: {priority: 1}}\n"

	t.Run("layout and comments do not count", func(t *testing.T) {
		t.Parallel()
		a := parse(t, text)
		b := parse(t, "# hello\nsystems:\n  erp:\n    priority: 1\nversion: 1\ndefaults: {}\n")
		require.Equal(t, a.Digest(), b.Digest())
		require.Len(t, a.Digest(), 64)
	})
	t.Run("every rule counts", func(t *testing.T) {
		t.Parallel()
		seen := map[string]string{}
		for _, s := range []string{
			text, strings.Replace(text, "version: 1", "version: 2", 1), strings.Replace(text, "priority: 1", "priority: 2", 1),
			text + "defaults: {blank: keep}", text + "defaults: {bucket: 3s}", text + "objects: {customer: {fields: {name: {strategy: longest}}}}",
			text + "objects: {customer: {fields: {name: {write_to: [erp]}}}}", text + "objects: {customer: {fields: {name: {write_to: []}}}}",
			text + "objects: {customer: {fields: {name: {overruled: keep}}}}", text + "objects: {customer: {fields: {name: {overruled: ask}}}}",
			text + "objects: {customer: {fields: {name: {normalise: upper}}}}", text + "objects: {customer: {fields: {name: {strategy: union}}}}",
			text + "objects: {customer: {fields: {name: {strategy: union, max_items: 3}}}}", text + "objects: {customer: {fields: {name: {strategy: trust, trust: {erp: 1}}}}}",
			text + "objects: {customer: {create: [erp]}}", text + "objects: {customer: {create: []}}", text + "objects: {customer: {delete: [erp]}}",
			text + "blank_values: [x]", "version: 1\nsystems: {erp: {priority: 1, clock: {offset: 1s}}}", "version: 1\nsystems: {erp: {priority: 1, clock: {max_future: 1s}}}",
		} {
			d := parse(t, s).Digest()
			require.NotContains(t, seen, d, "%s and %s", s, seen[d])
			seen[d] = s
		}
	})
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	const head = "version: 1\nsystems: {erp: {priority: 1}, sf: {priority: 2}}\n"
	cases := map[string]struct{ text, want string }{
		"an empty file":                {"", "the file is empty"},
		"two documents":                {head + "---\n" + head, "more than one document"},
		"a list":                       {"- a\n", "line 1: must be a mapping"},
		"no version":                   {"systems: {erp: {priority: 1}}", "version: is missing"},
		"no systems":                   {"version: 1", "systems: is missing"},
		"a priority that is no number": {"version: 1\nsystems: {erp: {priority: high}}", `line 2: systems.erp.priority: "high" is not a number`},
		"an unknown top key":           {head + "object: {}", `line 3: object: is not known; did you mean "objects"?`},
		"an unknown field":             {head + "objects:\n  customer:\n    fields:\n      emial: {}", `line 6: objects.customer.fields.emial: is not known; did you mean "email"?`},
		"a contact's field":            {head + "objects: {customer: {fields: {mobile: {}}}}", "fields.mobile: is not known"},
		"an unknown strategy":          {head + "defaults: {strategy: lates}", `"lates" is not one of master, latest, priority, trust, longest, shortest, min, max, union, most_complete; did you mean "latest"?`},
		"an unknown blank policy":      {head + "defaults: {blank: ignore}", `"ignore" is not one of keep, clear, yield`},
		"an unknown system":            {head + "objects: {customer: {fields: {name: {strategy: master, master: [epr]}}}}", `"epr" is not a known system; did you mean "erp"?`},
		"a master twice":               {head + "objects: {customer: {fields: {name: {strategy: master, master: [erp, erp]}}}}", "erp comes twice"},
		"no master":                    {head + "objects: {customer: {fields: {name: {strategy: master}}}}", "name.master: is missing"},
		"an empty list of masters":     {head + "objects: {customer: {fields: {name: {strategy: master, master: []}}}}", "name.master: names no system"},
		"a master without effect":      {head + "objects: {customer: {fields: {name: {strategy: latest, master: [erp]}}}}", "has no effect with the strategy latest"},
		"master as a default":          {head + "defaults: {strategy: master}", "defaults.strategy: cannot be master"},
		"a bucket of nothing":          {head + "defaults: {bucket: 0s}", `"0s" is not a time between`},
		"a key twice":                  {head + "version: 2", "version: comes twice"},
		"a unit of one":                {head + "objects: {customer: {units: {u: {fields: [city]}}}}", "u.fields: a unit needs at least two fields"},
		"a unit that keeps":            {head + "objects: {customer: {units: {u: {fields: [city, street], blank: keep}}}}", "u.blank: a unit cannot keep"},
		"a unit by length":             {head + "objects: {customer: {units: {u: {fields: [city, street], strategy: longest}}}}", "u.strategy: longest compares single values"},
		"a requirement outside":        {head + "objects: {customer: {units: {u: {fields: [city, street], require_any: [name]}}}}", `"name" is not a known field of the unit`},
		"trust without numbers":        {head + "objects: {customer: {fields: {name: {strategy: trust}}}}", "name.trust: is missing"},
		"trust beyond a hundred":       {head + "objects: {customer: {fields: {name: {strategy: trust, trust: {erp: 101}}}}}", `trust.erp: "101" is not a number between 1 and 100`},
		"trust in nobody known":        {head + "objects: {customer: {fields: {name: {strategy: trust, trust: {epr: 1}}}}}", `trust.epr: is not known; did you mean "erp"?`},
		"trust without effect":         {head + "objects: {customer: {fields: {name: {trust: {erp: 1}}}}}", "name.trust: has no effect with the strategy latest"},
		"trust as a default":           {head + "defaults: {strategy: trust}", "defaults.strategy: cannot be trust"},
		"an unknown normaliser":        {head + "objects: {customer: {fields: {email: {normalise: emial}}}}", `"emial" is not one of digits, email, letters, lower, phone, tax_id, upper, url; did you mean "email"?`},
		"a normaliser twice":           {head + "objects: {customer: {fields: {email: {normalise: [email, email]}}}}", "email comes twice"},
		"a normalised id":              {head + "objects: {contact: {fields: {customer: {normalise: lower}}}}", "is an id"},
		"a separator of a scalar":      {head + "objects: {customer: {fields: {name: {separator: '|'}}}}", "name.separator: has no effect with the strategy latest"},
		"a long separator":             {head + "objects: {customer: {fields: {segment: {strategy: union, separator: ', '}}}}", `", " is not one character`},
		"too many items":               {head + "objects: {customer: {fields: {segment: {strategy: union, max_items: 101}}}}", "is not a number between 1 and 100"},
		"completeness of one field":    {head + "objects: {customer: {fields: {name: {strategy: most_complete}}}}", "most_complete compares whole units"},
		"an unknown policy":            {head + "defaults: {overruled: ignore}", `"ignore" is not one of revert, keep, ask`},
		"an unknown creator":           {head + "objects: {customer: {create: [salesfroce]}}", "is not a known system"},
		"deleting through the api":     {head + "objects: {customer: {delete: [api]}}", "nobody deletes through the api"},
		"a clock a day ahead":          {"version: 1\nsystems: {erp: {priority: 1, clock: {max_future: 48h}}}", `erp.clock.max_future: "48h" is not a time between 0s and 24h`},
		"a blank value twice":          {head + "blank_values: [n/a, N/A]", "N/A comes twice"},
		"an empty blank value":         {head + "blank_values: ['']", "the empty value always means nothing"},
		"a system called pin":          {"version: 1\nsystems: {pin: {priority: 1}}", "is what Selfsame calls values that a person has pinned"},
		"a field in two units":         {head + "objects: {customer: {units: {u: {fields: [city, street]}, v: {fields: [city, region]}}}}", "city is already part of the unit u"},
		"a field inside a unit":        {head + "objects: {customer: {units: {u: {fields: [city, street]}}, fields: {city: {}}}}", "fields.city: is already part of the unit u"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := Parse([]byte(c.text))
			require.ErrorContains(t, err, c.want)
		})
	}
	t.Run("all problems at once, by line", func(t *testing.T) {
		t.Parallel()
		_, err := Parse([]byte(head + "defaults: {blank: no, bucket: x}\nobjects:\n  customer:\n    fields:\n      nam: {}\n"))
		var problems Problems
		require.ErrorAs(t, err, &problems)
		require.Len(t, problems, 3)
		require.Equal(t, []int{3, 3, 7}, []int{problems[0].Line, problems[1].Line, problems[2].Line})
	})
}

func FuzzParse(f *testing.F) {
	f.Add(string(defaultRules))
	f.Add("a: &a {b: *a}")
	f.Add("version: 1\nsystems: {x: {priority: 1}}\nobjects: {customer: {units: {u: {fields: [city, street]}}}}")
	f.Fuzz(func(t *testing.T, text string) {
		r, err := Parse([]byte(text))
		if err == nil {
			Merge(golden.Customer, baseSF(), r)
		}
	})
}
