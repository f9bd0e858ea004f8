package match

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// companies makes n companies of which every second has a duplicate with errors.
func companies(n int) (Schema, []Record) {
	s := Schema{Entity: Organisation, Fields: []Field{
		{Name: "name", Kind: OrgName},
		{Name: "street", Kind: Street},
		{Name: "city", Kind: City},
		{Name: "postcode", Kind: Postcode},
		{Name: "phone", Kind: Phone},
		{Name: "website", Kind: Website},
		{Name: "vat", Kind: TaxID},
	}}
	rng := rand.New(rand.NewPCG(5, 6))
	pick := func(list string) string { f := strings.Fields(list); return f[rng.IntN(len(f))] }
	var records []Record
	for i := range n {
		first := pick("Alpen Brenner Castell Donau Elbe Falken Glocken Hirsch Isar Jura Kristall Linden Mosel Nordsee Olympia Pfeffer Quelle Regen Saale Taunus") + pick("berg tal haus feld hof stein")
		name := first + " " + pick("Werke Logik Technik Bau Handel Optik Druck Chemie") + " " + pick("GmbH AG KG GmbH")
		city := rng.IntN(10)
		v := []string{
			name, fmt.Sprintf("%sstr. %d", pick("Haupt Bahnhof Schul Garten Berg Linden Rosen Markt Wald Ring"), 1+rng.IntN(150)),
			strings.Fields("Berlin Hamburg Bremen Essen Leipzig Dresden Bonn Kassel Mainz Trier")[city], fmt.Sprint(10000 + city*1000 + rng.IntN(300)),
			fmt.Sprintf("+49 %d %07d", 30+city, rng.IntN(10000000)), "www." + strings.ToLower(first) + fmt.Sprint(i) + ".de", fmt.Sprintf("ATU%08d", rng.IntN(100000000)),
		}
		records = append(records, Record{Source: "crm", ID: fmt.Sprintf("a%04d", i), Values: v})
		if i%2 == 1 {
			continue
		}
		w := slices.Clone(v)
		w[6] = "" // few systems have all tax numbers
		for range 1 + rng.IntN(2) {
			k := rng.IntN(6)
			switch at := 1 + rng.IntN(max(1, len(w[k])-2)); {
			case w[k] == "" || rng.IntN(3) == 0:
				w[k] = ""
			case at < len(w[k]):
				w[k] = w[k][:at] + w[k][at+1:]
			}
		}
		if w[0] == "" {
			w[0] = v[0]
		}
		records = append(records, Record{Source: "erp", ID: fmt.Sprintf("b%04d", i), Values: w})
	}
	return s, records
}

func trainedCompanies(t testing.TB) (*Matcher, []Record) {
	s, records := companies(200)
	return learned(t, "companies 200", s, records), records
}

// What may become of a hard case.
const (
	same      = "same"      // joined without asking
	notSame   = "not same"  // a person may be asked
	different = "different" // not even asked
	notLost   = "not lost"  // joined or asked
)

// hardCase is a pair that is easily taken for the wrong thing.
type hardCase struct {
	a, b []string
	want string
	veto string
}

func check(t *testing.T, x *Matcher, cases map[string]hardCase) {
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, evidence := x.Explain(x.Prepare(Record{Values: c.a}), x.Prepare(Record{Values: c.b}))
			p, bands := s.Probability(), x.Model().Bands
			switch c.want {
			case same:
				require.GreaterOrEqual(t, p, bands.Auto, "%v", evidence)
			case notSame:
				require.Less(t, p, bands.Auto, "%v", evidence)
			case different:
				require.Less(t, p, bands.Review, "%v", evidence)
			case notLost:
				require.GreaterOrEqual(t, p, bands.Review, "%v", evidence)
			}
			require.Equal(t, c.veto, s.Veto)
		})
	}
}

// The cases follow those that reference sets for entity resolution are built around.
func TestHardCases_Persons(t *testing.T) {
	t.Parallel()
	x, _, _ := trained(t, 200)
	const street, phone = "Hauptstr. 17", "+49 30 5550123"
	check(t, x, map[string]hardCase{
		"father and son, senior and junior, at one address": {
			[]string{"Robert", "Smithberg Sr", street, "Berlin", "10115", "", "", phone},
			[]string{"Robert", "Smithberg Jr.", street, "Berlin", "10115", "", "", phone},
			different, VetoGenerations,
		},
		"a short form of the given name": {
			[]string{"Robert", "Smithberg", street, "Berlin", "10115", "1978-12-11", "", phone},
			[]string{"Bob", "Smithberg", "Ringstr. 4", "Bonn", "53111", "1978-12-11", "", phone},
			same, "",
		},
		"day and month of birth exchanged": {
			[]string{"Robert", "Smithberg", street, "Berlin", "10115", "1978-12-11", "", phone},
			[]string{"Robert", "Smithberg", "", "Berlin", "", "1978-11-12", "", phone},
			same, "",
		},
		"given and family name exchanged": {
			[]string{"Robert", "Smithberg", street, "Berlin", "10115", "1978-12-11", "", ""},
			[]string{"Smithberg", "Robert", street, "Berlin", "10115", "1978-12-11", "", ""},
			same, "",
		},
		"husband and wife with one telephone": {
			[]string{"Robert", "Smithberg", street, "Berlin", "10115", "1978-12-11", "", phone},
			[]string{"Carla", "Smithberg", street, "Berlin", "10115", "1980-02-27", "", phone},
			notSame, "",
		},
		"a name from another script": {
			[]string{"Дмитрий", "Иваненко", street, "Berlin", "10115", "1978-12-11", "", ""},
			[]string{"Dmitrii", "Ivanenko", street, "Berlin", "10115", "1978-12-11", "", ""},
			same, "",
		},
		"a married name": {
			[]string{"Carla", "Falkberg", street, "Berlin", "10115", "1980-02-27", "carla.f@example.org", ""},
			[]string{"Carla", "Grubermann", street, "Berlin", "10115", "1980-02-27", "carla.f@example.org", ""},
			notLost, "",
		},
		"two people of one name in two towns": {
			[]string{"Anna", "Brandtmann", street, "Berlin", "10115", "", "", ""},
			[]string{"Anna", "Brandtmann", "Ringstr. 4", "Bonn", "53111", "", "", ""},
			notSame, "",
		},
		"neighbours": {
			[]string{"Anna", "Brandtmann", "Hauptstr. 17", "Berlin", "10115", "", "", ""},
			[]string{"Nils", "Otterbach", "Hauptstr. 17", "Berlin", "10115", "", "", ""},
			different, "",
		},
		"one mailbox of a function": {
			[]string{"Anna", "Brandtmann", "", "", "", "", "info@example.org", ""},
			[]string{"Nils", "Otterbach", "", "", "", "", "info@example.org", ""},
			different, "",
		},
	})
}

// Who differs from a relative in one value only cannot be told from somebody whose value is wrong: a rule asks.
func TestHardCases_HouseholdsAreAskedAboutWhereTheRuleSaysSo(t *testing.T) {
	t.Parallel()
	x, _, _ := trained(t, 200)
	m := x.Model()
	m.Rules.AskHouseholds = true
	x, err := NewMatcher(m)
	require.NoError(t, err)
	const street = "Hauptstr. 17"
	cases := map[string]hardCase{
		"father and son of one name, told apart by the day of birth only": {
			[]string{"Robert", "Smithberg", street, "Berlin", "10115", "1951-04-03", "", ""},
			[]string{"Robert", "Smithberg", street, "Berlin", "10115", "1979-11-22", "", ""},
			notSame, "",
		},
		"twins": {
			[]string{"Robert", "Smithberg", street, "Berlin", "10115", "1978-12-11", "", ""},
			[]string{"Carla", "Smithberg", street, "Berlin", "10115", "1978-12-11", "", ""},
			notSame, "",
		},
	}
	check(t, x, cases)
	for name, c := range cases {
		s, evidence := x.Explain(x.Prepare(Record{Values: c.a}), x.Prepare(Record{Values: c.b}))
		require.GreaterOrEqual(t, s.Probability(), m.Bands.Review, name)
		require.Equal(t, "household", evidence[len(evidence)-1].Comparison, "the rule is among the evidence")
	}
}

func TestHardCases_Organisations(t *testing.T) {
	t.Parallel()
	x, _ := trainedCompanies(t)
	const street, phone, site = "Hauptstr. 17", "+49 30 5550123", "www.zeppelinwerk.de"
	check(t, x, map[string]hardCase{
		"sister companies in one building": {
			[]string{"Zeppelinwerk Technik GmbH", street, "Berlin", "10115", phone, site, ""},
			[]string{"Zeppelinwerk Technik Holding AG", street, "Berlin", "10115", phone, site, ""},
			different, VetoUnits,
		},
		"two companies with two tax numbers and all else alike": {
			[]string{"Zeppelinwerk GmbH", street, "Berlin", "10115", phone, site, "DE136695976"},
			[]string{"Zeppelinwerk GmbH", street, "Berlin", "10115", phone, site, "DE811569869"},
			different, VetoIDs,
		},
		"a digit wrong in the tax number": {
			[]string{"Zeppelinwerk GmbH", street, "Berlin", "10115", phone, "", "DE136695976"},
			[]string{"Zeppelinwerk GmbH", street, "Berlin", "10115", phone, "", "DE136695975"},
			same, "",
		},
		"a branch in another town": {
			[]string{"Zeppelinwerk Technik GmbH", street, "Berlin", "10115", phone, "", ""},
			[]string{"Zeppelinwerk Technik GmbH", "Ringstr. 4", "Bonn", "53111", "+49 228 998877", "", ""},
			notSame, "",
		},
		"two companies behind one switchboard": {
			[]string{"Zeppelinwerk GmbH", street, "Berlin", "10115", phone, "", ""},
			[]string{"Notariat Oberhuber", street, "Berlin", "10115", phone, "", ""},
			different, VetoNames,
		},
		"the legal form written out": {
			[]string{"Zeppelinwerk Technik Gesellschaft mit beschränkter Haftung", street, "Berlin", "10115", "", "", ""},
			[]string{"ZEPPELINWERK TECHNIK GMBH", "Hauptstrasse 17", "Berlin", "10115", phone, "", ""},
			same, "",
		},
		"a name from another script": {
			[]string{"Ромашка ООО", street, "Berlin", "10115", phone, "", ""},
			[]string{"Romashka OOO", street, "Berlin", "10115", phone, "", ""},
			same, "",
		},
		"plant 1 and plant 2": {
			[]string{"Zeppelinwerk Plant 1", street, "Berlin", "10115", "", "", ""},
			[]string{"Zeppelinwerk Plant 2", street, "Berlin", "10115", "", "", ""},
			notSame, "",
		},
	})
}

// Metamorphic: a mailbox that three hundred contacts share joins none of them.
func TestHardCases_AMailboxOfThreeHundredContactsJoinsNone(t *testing.T) {
	t.Parallel()
	x, _, _ := trained(t, 200)
	_, records, _ := people(400)
	contacts := 300
	if testing.Short() {
		contacts = KeyCap + 36
	}
	for _, mailbox := range []string{"info@example.org", "all.of.us@example.org"} {
		plain, shared := NewOnline(x, OnlineOptions{}), NewOnline(x, OnlineOptions{})
		n := 0
		for _, r := range records {
			if r.Source != "crm" || n == contacts { // all of these are different people
				continue
			}
			n++
			r.Values = slices.Clone(r.Values)
			r.Values[6], r.Values[7] = "", ""
			plain.Put(r)
			r.Values[6] = mailbox
			shared.Put(r)
		}
		require.Equal(t, contacts, shared.Len())
		require.Equal(t, plain.Clusters(), shared.Clusters(), mailbox)
	}
}
