package match

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// people makes n people of whom every second has a duplicate with errors. Person i is in cluster i.
func people(n int) (Schema, []Record, map[string]int) {
	s := Schema{Entity: Person, Fields: []Field{
		{Name: "first", Kind: GivenName},
		{Name: "last", Kind: FamilyName},
		{Name: "street", Kind: Street},
		{Name: "city", Kind: City},
		{Name: "postcode", Kind: Postcode},
		{Name: "born", Kind: Date},
		{Name: "email", Kind: Email},
		{Name: "phone", Kind: Phone},
	}}
	rng := rand.New(rand.NewPCG(1, 2))
	pick := func(list string) string { f := strings.Fields(list); return f[rng.IntN(len(f))] }
	var records []Record
	truth := map[string]int{}
	for i := range n {
		first := pick("Anna Bernd Carla David Elena Frank Greta Hans Ines Jonas Karin Lukas Marta Nils Olga Paul Rosa Stefan Tina Udo")
		last := pick("Albers Brandt Caspari Dorn Ebert Falk Gruber Haas Iversen Jung Krause Lorenz Moser Nagel Otto Peters Richter Sauer Thiel Vogt") +
			pick("mann son er ing haus berg feld hoff wald bach")
		v := []string{
			first, last, fmt.Sprintf("%sstr. %d", pick("Haupt Bahnhof Schul Garten Berg Linden Rosen Markt Wald Ring"), 1+rng.IntN(150)),
			pick("Berlin Hamburg Bremen Essen Leipzig Dresden Bonn Kassel Mainz Trier"), fmt.Sprint(10000 + rng.IntN(80000)),
			fmt.Sprintf("%d-%02d-%02d", 1940+rng.IntN(60), 1+rng.IntN(12), 1+rng.IntN(28)), strings.ToLower(first+"."+last) + fmt.Sprint(rng.IntN(100)) + "@example.org",
			fmt.Sprintf("+49 30 %07d", rng.IntN(10000000)),
		}
		id := fmt.Sprintf("a%04d", i)
		records = append(records, Record{Source: "crm", ID: id, Values: v})
		truth["crm/"+id] = i
		if i%2 == 1 {
			continue
		}
		w := slices.Clone(v)
		for range 1 + rng.IntN(3) {
			k := rng.IntN(len(w))
			switch at := 1 + rng.IntN(max(1, len(w[k])-2)); {
			case w[k] == "" || rng.IntN(3) == 0:
				w[k] = ""
			case at < len(w[k]):
				w[k] = w[k][:at] + w[k][at+1:]
			}
		}
		records = append(records, Record{Source: "erp", ID: "b" + id, Values: w})
		truth["erp/b"+id] = i
	}
	return s, records, truth
}

// models keeps what was learned of so many people or companies: learning takes longer than most tests that need it.
var models sync.Map

func learned(t testing.TB, key string, s Schema, records []Record) *Matcher {
	t.Helper()
	once, _ := models.LoadOrStore(key, sync.OnceValues(func() (Model, error) { return Train(s, records, options()) }))
	m, err := once.(func() (Model, error))()
	require.NoError(t, err)
	x, err := NewMatcher(m)
	require.NoError(t, err)
	return x
}

// options has fast runs take fewer pairs at random: comparing them is most of what learning from few records takes.
func options() TrainOptions {
	if testing.Short() {
		return TrainOptions{sample: 10_000}
	}
	return TrainOptions{}
}

func trained(t testing.TB, n int) (*Matcher, []Record, map[string]int) {
	t.Helper()
	s, records, truth := people(n)
	return learned(t, fmt.Sprint("people ", n), s, records), records, truth
}

func TestTrain_LearnsWithoutLabels(t *testing.T) {
	t.Parallel()
	x, records, truth := trained(t, 200)
	var prepared []*Prepared
	ix := NewIndex()
	for _, r := range records {
		p := x.Prepare(r)
		prepared = append(prepared, p)
		ix.Add(p, x.Keys(p))
	}
	right, wrong := 0, 0
	for i := range prepared {
		for _, j := range ix.Candidates(i) {
			if int(j) < i || x.Score(prepared[i], prepared[j]).Probability() < 0.95 {
				continue
			}
			a, b := prepared[i], prepared[j]
			if truth[a.Source+"/"+a.ID] == truth[b.Source+"/"+b.ID] {
				right++
			} else {
				wrong++
			}
		}
	}
	require.GreaterOrEqual(t, right, 95, "of 100 duplicates")
	require.LessOrEqual(t, wrong, 1)
}

func TestTrain_DoesNotDependOnTheOrderOfRecords(t *testing.T) {
	t.Parallel()
	s, records, _ := people(120)
	first, err := Train(s, records, options())
	require.NoError(t, err)
	slices.Reverse(records)
	second, err := Train(s, records, options())
	require.NoError(t, err)
	require.Equal(t, first, second)
}

func TestTrain_RefusesWhatTeachesNothing(t *testing.T) {
	t.Parallel()
	s, records, _ := people(200)
	_, err := Train(s, records[:3], TrainOptions{})
	require.ErrorIs(t, err, ErrTooFew)
	_, err = Train(Schema{Entity: "robot", Fields: []Field{{Name: "a", Kind: "b"}, {Name: "a", Kind: Text}}}, records, TrainOptions{})
	require.ErrorContains(t, err, `entity: "robot" is not one of`)
	require.ErrorContains(t, err, `fields[0].kind: "b" is not one of`)
	require.ErrorContains(t, err, `fields[1].name: "a" is there twice`)
}

func TestNewMatcher_RefusesAModelThatDoesNotFit(t *testing.T) {
	t.Parallel()
	x, _, _ := trained(t, 60)
	for name, spoil := range map[string]func(*Model){
		"prior":       func(m *Model) { m.Prior = 0 },
		"comparisons": func(m *Model) { m.Comparisons = m.Comparisons[1:] },
		"must be above 0": func(m *Model) {
			m.Comparisons = slices.Clone(m.Comparisons)
			m.Comparisons[0].Levels = slices.Clone(m.Comparisons[0].Levels)
			m.Comparisons[0].Levels[0].U = 0
		},
		"the schema needs": func(m *Model) { m.Comparisons = slices.Clone(m.Comparisons); m.Comparisons[0].Name = "else" },
	} {
		m := x.Model()
		spoil(&m)
		_, err := NewMatcher(m)
		require.ErrorContains(t, err, name)
	}
}

// I21: a score does not depend on which record is named first.
func TestScore_IsSymmetric(t *testing.T) {
	t.Parallel()
	x, records, _ := trained(t, 100)
	rapid.Check(t, func(t *rapid.T) {
		draw := rapid.SampledFrom(records)
		a, b := draw.Draw(t, "a"), draw.Draw(t, "b")
		b.Values = slices.Clone(b.Values)
		for i := range b.Values {
			if rapid.Bool().Draw(t, "other") {
				b.Values[i] = rapid.OneOf(rapid.Just(a.Values[i]), rapid.StringN(0, 12, 20), rapid.Just("")).Draw(t, "value")
			}
		}
		pa, pb := x.Prepare(a), x.Prepare(b)
		require.Equal(t, x.Score(pa, pb), x.Score(pb, pa))
	})
}

// I22: a missing value is no evidence.
func TestScore_OfMissingValuesIsThePrior(t *testing.T) {
	t.Parallel()
	x, records, _ := trained(t, 100)
	empty := x.Prepare(Record{Source: "crm", ID: "x", Values: make([]string, len(records[0].Values))})
	require.InDelta(t, x.prior, x.Score(empty, x.Prepare(records[0])).Bits, 0)
}

func TestScore_CaseAccentsAndFormatsMakeNoDifference(t *testing.T) {
	t.Parallel()
	x, _, _ := trained(t, 100)
	other := x.Prepare(Record{Values: []string{"Jörg", "Groß", "Hauptstraße 5", "Köln", "50667", "1970-02-03", "joerg@example.org", "+49 221 1234567"}})
	want := x.Score(x.Prepare(Record{Values: []string{"Jörg", "Groß", "Hauptstraße 5", "Köln", "50667", "1970-02-03", "joerg@example.org", "+49 221 1234567"}}), other)
	got := x.Score(x.Prepare(Record{Values: []string{"JOERG", "gross", "HAUPTSTR. 5", "Cologne", "D-50667", "03.02.1970", "Joerg+x@Example.org", "0049 (221) 123-4567"}}), other)
	require.Equal(t, want, got)
}

func TestScore_TwoTaxNumbersAreAVeto(t *testing.T) {
	t.Parallel()
	s := Schema{Entity: Organisation, Fields: []Field{{Name: "name", Kind: OrgName}, {Name: "vat", Kind: TaxID}}}
	l, err := newLayout(s)
	require.NoError(t, err)
	veto := func(a, b []string) string {
		var p pattern
		pa, pb := l.prepare(Record{Values: a}, nil), l.prepare(Record{Values: b}, nil)
		l.compare(pa, pb, &p)
		return l.veto(pa, pb, &p, DefaultRules)
	}
	require.Equal(t, VetoIDs, veto([]string{"Acme", "DE136695976"}, []string{"Acme", "DE811569869"}))
	require.Empty(t, veto([]string{"Acme", "DE136695976"}, []string{"Acme", "DE136695967"}), "a typing error is none")
	require.Empty(t, veto([]string{"Acme", "DE136695976"}, []string{"Acme", ""}))
	require.Equal(t, VetoUnits, veto([]string{"Acme GmbH", ""}, []string{"Acme Holding AG", ""}))
	require.Empty(t, veto([]string{"Acme GmbH", "136695976"}, []string{"Acme Holding AG", "136695976"}), "one tax number, one company")
}

func TestExplain_NamesTheEvidenceAndNoValues(t *testing.T) {
	t.Parallel()
	x, records, _ := trained(t, 100)
	a, b := x.Prepare(records[0]), x.Prepare(records[1])
	score, evidence := x.Explain(a, b)
	require.Equal(t, x.Score(a, b), score)
	sum := 0.0
	for _, e := range evidence {
		sum += e.Bits
	}
	require.InDelta(t, score.Bits, sum, 1e-9)
	require.NotContains(t, fmt.Sprint(evidence), records[0].Values[1])
}

// I20, I23 in part: clusters are a function of the edges, in whatever order they come, and a veto is never joined over.
func TestCluster_IsNeutralToOrderAndKeepsVetoes(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		const n = 12
		score := map[[2]int32]Score{}
		var edges []Edge
		for a := range int32(n) {
			for b := a + 1; b < n; b++ {
				s := Score{Bits: float64(rapid.IntRange(-12, 12).Draw(t, "bits"))}
				if rapid.IntRange(0, 9).Draw(t, "veto") == 0 {
					s.Veto = VetoIDs
				} else if s.Bits > 0 {
					edges = append(edges, Edge{a, b, s.Bits})
				}
				score[[2]int32{a, b}] = s
			}
		}
		j := Joining{
			MaxPerSource: rapid.IntRange(0, 2).Draw(t, "max"),
			Pair:         func(a, b int32) Score { return score[pairKey(a, b)] },
			Source:       func(n int32) int { return int(n % 3) },
			Less:         func(a, b int32) int { return int(a - b) },
		}
		want := Cluster(n, edges, j)
		shuffled := rapid.Permutation(edges).Draw(t, "order")
		require.Equal(t, want, Cluster(n, shuffled, j))
		for _, members := range want {
			perSource := map[int32]int{}
			for x, a := range members {
				perSource[a%3]++
				for _, b := range members[x+1:] {
					require.Empty(t, score[pairKey(a, b)].Veto)
				}
			}
			for _, k := range perSource {
				require.True(t, j.MaxPerSource == 0 || k <= j.MaxPerSource)
			}
		}
	})
}

func TestSimilarity_KnownValues(t *testing.T) {
	t.Parallel()
	require.InDelta(t, 0.9611, jaroWinkler("martha", "marhta"), 1e-4)
	require.InDelta(t, 0.84, jaroWinkler("dwayne", "duane"), 1e-4)
	require.InDelta(t, 0.8133, jaroWinkler("dixon", "dicksonx"), 1e-4)
	require.Zero(t, jaroWinkler("abc", "xyz"))
	require.Equal(t, 1, edits("brain", "brian", 2), "neighbours exchanged")
	require.Equal(t, 3, edits("kitten", "sitting", 5))
	require.Equal(t, 3, edits("kitten", "sitting", 2), "beyond the limit it is limit+1")
	require.Equal(t, sound("meyer"), sound("maier"))
	require.Equal(t, sound("schmidt"), sound("schmitt"))
}

func BenchmarkScore(b *testing.B) {
	x, records, _ := trained(b, 300)
	var prepared []*Prepared
	for _, r := range records {
		prepared = append(prepared, x.Prepare(r))
	}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		x.Score(prepared[i%len(prepared)], prepared[(i*7+1)%len(prepared)])
		i++
	}
}

func TestCosts_Bands(t *testing.T) {
	t.Parallel()
	require.Equal(t, Bands{Auto: 0.95, Review: 0.5}, Costs{WrongMerge: 20, Duplicate: 2}.Bands())
	b := Costs{WrongMerge: 1.5, Duplicate: 1.5}.Bands()
	require.Equal(t, Bands{Auto: 0.5, Review: 0.5}, b, "where asking costs as much as being wrong nobody is asked")
}
