package evaluate

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/services/process-customer/match"
)

func write(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
	return path
}

const persons = "entity: person\nid: no\ncluster: who\nfields:\n  - {column: first, kind: given_name}\n  - {column: last, kind: family_name}\n  - {column: born, kind: date}\n  - {column: mail, kind: email}\n"

func mapping(t *testing.T, yaml string) Mapping {
	t.Helper()
	m, err := ReadMapping(write(t, "map.yaml", yaml))
	require.NoError(t, err)
	return m
}

func TestReadMapping_SaysAllThatIsWrong(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ yaml, says string }{
		"an unknown key":               {"entity: person\nfeilds: []\n", "field feilds not found"},
		"an unknown kind":              {"entity: person\nfields: [{column: a, kind: shoe_size}]\n", `"shoe_size" is not one of`},
		"no fields":                    {"entity: person\n", "at least one is needed"},
		"a field without a column":     {"entity: person\nfields: [{kind: city}]\n", "fields[0].column: is missing"},
		"half a gold":                  {"entity: person\nfields: [{column: a, kind: city}]\ngold: {left: x}\n", "left and right belong together"},
		"half a gold of clusters":      {"entity: person\nfields: [{column: a, kind: city}]\ngold: {id: x}\n", "id and cluster belong together"},
		"a pattern without a group":    {"entity: person\ncluster: a\ncluster_pattern: x+\nfields: [{column: a, kind: city}]\n", "one group"},
		"a pattern that is no pattern": {"entity: person\ncluster: a\ncluster_pattern: '('\nfields: [{column: a, kind: city}]\n", "one group"},
		"an entity that is not known":  {"entity: robot\nfields: [{column: a, kind: city}]\n", `"robot" is not one of`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := ReadMapping(write(t, "map.yaml", c.yaml))
			require.ErrorContains(t, err, c.says)
		})
	}
	_, err := ReadMapping("/nowhere/map.yaml")
	require.ErrorIs(t, err, os.ErrNotExist)
}

func TestReadRecords_ReadsAnyCSV(t *testing.T) {
	t.Parallel()
	want := []string{"Anna", "Groß; Lang", "1970-01-02", ""}
	for name, content := range map[string]string{
		"commas":                        "no,who,first,last,born,mail\n1,a,Anna,Groß; Lang,1970-01-02,\n",
		"semicolons":                    "no;who;first;last;born;mail\n1;a;Anna;\"Groß; Lang\";1970-01-02;\n",
		"tabs":                          "no\twho\tfirst\tlast\tborn\tmail\n1\ta\tAnna\tGroß; Lang\t1970-01-02\t\n",
		"a byte order mark and CRLF":    "\ufeffno,who,first,last,born,mail\r\n1,a,Anna,Groß; Lang,1970-01-02,\r\n",
		"spaces, another order, extras": "mail, last, other, first, born, who, no\n, Groß; Lang ,x, Anna, 1970-01-02, a, 1\n",
		"a short row":                   "no,who,first,last,born,mail\n1,a,Anna,Groß; Lang,1970-01-02\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rs, err := ReadRecords(mapping(t, persons), write(t, "crm.csv", content))
			require.NoError(t, err)
			require.Equal(t, []match.Record{{Source: "crm", ID: "1", Values: want}}, rs.All)
		})
	}
}

func TestReadRecords_RefusesWhatItCannotUse(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ content, says string }{
		"an empty file":          {"", "the file is empty"},
		"no id column":           {"id,who,first,last,born,mail\n", `no column "no" for the id`},
		"a column of a field":    {"no,who,first,last,born\n", `no column "mail"`},
		"no column of the truth": {"no,first,last,born,mail\n", `no column "who" for the cluster`},
		"an id twice":            {"no,who,first,last,born,mail\n1,a,b,c,,\n1,a,b,c,,\n", `line 3: the id "1" is there twice`},
		"an empty id":            {"no,who,first,last,born,mail\n,a,b,c,,\n", "line 2: the id is empty"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := ReadRecords(mapping(t, persons), write(t, "crm.csv", c.content))
			require.ErrorContains(t, err, c.says)
		})
	}
	_, err := ReadRecords(mapping(t, persons), "a", "b", "c")
	require.ErrorContains(t, err, "not 3")
	_, err = ReadRecords(mapping(t, persons+"source: system\n"), write(t, "crm.csv", "no,who,first,last,born,mail\n"))
	require.ErrorContains(t, err, `no column "system" for the source`)
}

func TestReadRecords_KnowsOtherEncodings(t *testing.T) {
	t.Parallel()
	m := mapping(t, persons)
	rs, err := ReadRecords(m, write(t, "a.csv", "no,who,first,last,born,mail\n1,x,Ren\xe9e,M\xfcller,,\n"))
	require.NoError(t, err)
	require.Equal(t, []string{"Renée", "Müller"}, rs.All[0].Values[:2], "what is not UTF-8 is Windows-1252")
	_, err = ReadRecords(m, write(t, "c.csv", "no,who,first,last,born,mail\n1,x,Ann,Lee,,\n2,x,Renée,Lee,,\n3,x,Ren\xc3,Lee,,\n"))
	require.ErrorContains(t, err, "line 4 is not UTF-8, and line 3 is", "one broken value is no other encoding")
	_, err = ReadRecords(m, write(t, "d.csv", "no,who,first,last,born,mail\n1,x,Ren\xc3,Lee,,\n2,x,Ann,Müller,,\n"))
	require.ErrorContains(t, err, "line 2 is not UTF-8, and line 3 is", "wherever it stands")
	_, err = ReadRecords(m, write(t, "b.csv", "\xff\xfen\x00o\x00"))
	require.ErrorContains(t, err, "UTF-16")
}

func TestReadRecords_TwoFilesAreTwoSources(t *testing.T) {
	t.Parallel()
	m := mapping(t, persons)
	content := "no,who,first,last,born,mail\n1,a,Anna,Groß,,\n2,a,Anna,Groß,,\n"
	rs, err := ReadRecords(m, write(t, "x.csv", content), write(t, "x.csv", content))
	require.NoError(t, err)
	require.Equal(t, "x", rs.All[0].Source)
	require.Equal(t, "x-2", rs.All[2].Source)
	gold, err := ReadGold(m, rs, "")
	require.NoError(t, err)
	require.Len(t, gold, 4, "only pairs across the files")
}

func TestReadGold_PairsAndClusters(t *testing.T) {
	t.Parallel()
	m := mapping(t, strings.Replace(persons, "cluster: who\n", "", 1))
	rs, err := ReadRecords(m, write(t, "crm.csv", "no,first,last,born,mail\n1,A,B,,\n2,A,B,,\n3,C,D,,\n"))
	require.NoError(t, err)
	_, err = ReadGold(m, rs, "")
	require.ErrorIs(t, err, ErrNoGold)

	gold, err := ReadGold(m, rs, write(t, "g.csv", "l,r\n2,1\n3,3\n"))
	require.NoError(t, err)
	require.Equal(t, Pairs{{0, 1}: true}, gold)
	_, err = ReadGold(m, rs, write(t, "g.csv", "l,r\n2,9\n"))
	require.ErrorContains(t, err, `line 2: "2" and "9" are not both ids`)
	_, err = ReadGold(m, rs, write(t, "g.csv", "l\n2\n"))
	require.ErrorContains(t, err, "no two columns of ids")

	m.Gold = Gold{Left: "l", Right: "r", Score: "s"}
	gold, err = ReadGold(m, rs, write(t, "g.csv", "s,l,r\n0.2,1,3\n0.9,2,3\n"))
	require.NoError(t, err)
	require.Equal(t, Pairs{{1, 2}: true}, gold)
	_, err = ReadGold(m, rs, write(t, "g.csv", "s,l,r\nmaybe,1,3\n"))
	require.ErrorContains(t, err, "line 2: the score is no number")

	m.Gold = Gold{ID: "no", Cluster: "c"}
	gold, err = ReadGold(m, rs, write(t, "g.csv", "c|no\nx|1\ny|2\nx|3\nx|77\n"))
	require.NoError(t, err)
	require.Equal(t, Pairs{{0, 2}: true}, gold)
	_, err = ReadGold(m, rs, write(t, "g.csv", "no\n1\n"))
	require.ErrorContains(t, err, `no columns "no", "c"`)
}

// crm writes a file of 200 people, 100 of them twice, the second time with an error.
func crm(t *testing.T) string {
	t.Helper()
	rng := rand.New(rand.NewPCG(3, 4))
	pick := func(list string) string { f := strings.Fields(list); return f[rng.IntN(len(f))] }
	var b strings.Builder
	b.WriteString("no,who,first,last,born,mail\n")
	for i := range 200 {
		first := pick("Anna Bernd Carla David Elena Frank Greta Hans Ines Jonas Karin Lukas Marta Nils Olga Paul")
		last := pick("Albers Brandt Caspari Dorn Ebert Falk Gruber Haas Iversen Jung Krause Lorenz Moser Nagel") + pick("mann son er ing haus berg feld")
		born := fmt.Sprintf("%d-%02d-%02d", 1940+rng.IntN(60), 1+rng.IntN(12), 1+rng.IntN(28))
		mail := fmt.Sprintf("%x@example.org", rng.Uint32())
		fmt.Fprintf(&b, "a%d,%d,%s,%s,%s,%s\n", i, i, first, last, born, mail)
		if i%2 == 0 {
			switch rng.IntN(3) {
			case 0:
				first = first[:1] + "."
			case 1:
				mail = ""
			case 2:
				last = last[:3] + last[4:]
			}
			fmt.Fprintf(&b, "b%d,%d,%s,%s,%s,%s\n", i, i, first, last, born, mail)
		}
	}
	return write(t, "crm.csv", b.String())
}

// lesson is what was learned of the people of crm: once, because it takes longer than the tests that need it.
var lesson struct {
	once  sync.Once
	model match.Model
	err   error
}

func learned(t *testing.T, m Mapping, rs Records) match.Model {
	t.Helper()
	lesson.once.Do(func() { lesson.model, lesson.err = Train(m, rs) })
	require.NoError(t, lesson.err)
	return lesson.model
}

func TestEvaluate_CountsWhatIsRightWrongAndMissed(t *testing.T) {
	t.Parallel()
	m := mapping(t, persons)
	rs, err := ReadRecords(m, crm(t))
	require.NoError(t, err)
	gold, err := ReadGold(m, rs, "")
	require.NoError(t, err)
	require.Len(t, gold, 100)
	model := learned(t, m, rs)
	path := filepath.Join(t.TempDir(), "model.yaml")
	require.NoError(t, WriteModel(path, model))
	x, err := ReadModel(path, m)
	require.NoError(t, err)
	require.Equal(t, model, x.Model(), "a model is the same after it was written and read")

	r := Evaluate(x, rs, gold, Options{Shuffle: 7})
	require.GreaterOrEqual(t, r.Thresholds[0].Clusters.F1, 0.97)
	require.Equal(t, 100, r.Thresholds[0].Clusters.Right+r.Thresholds[0].Clusters.Missed)
	require.GreaterOrEqual(t, r.BlockingRecall, 0.99)
	require.Zero(t, r.OneByOne.Differing)
	require.Greater(t, r.OneByOne.Steps, len(rs.All))
	require.Equal(t, r.OneByOne.Clusters, func() int { return len((&evaluation{matcher: x}).measured(rs, gold)) }())

	// A truth that is half wrong is found to be so: 50 of the 100 are now missed, or rather the truth lacks them.
	half := Pairs{}
	for p := range gold {
		if p[0]%4 < 2 {
			half[p] = true
		}
	}
	all, some := r.Thresholds[0].Clusters, Evaluate(x, rs, half, Options{Examples: 3})
	require.Equal(t, len(half), some.GoldPairs)
	require.Equal(t, all.Right+all.Wrong, some.Thresholds[0].Clusters.Right+some.Thresholds[0].Clusters.Wrong)
	require.InDelta(t, float64(some.Thresholds[0].Clusters.Right)/float64(all.Right+all.Wrong), some.Thresholds[0].Clusters.Precision, 1e-9)
	require.Len(t, some.FalseMatches, 3)
	for _, r := range rs.All {
		require.NotContains(t, some.Text(), r.Values[1], "no values in a report")
	}
}

// measured returns the clusters of an evaluation at the model's upper band.
func (e *evaluation) measured(rs Records, gold Pairs) [][]int32 {
	e.records, e.gold = rs, gold
	e.prepare()
	e.score()
	return e.clusters(e.matcher.Model().Bands.Auto)
}

func TestQuality_IsAsDefined(t *testing.T) {
	t.Parallel()
	q := quality(3, 1, 6)
	require.InDelta(t, 0.6, q.F1, 1e-9)
	q.F1 = 0
	require.Equal(t, Quality{Precision: 0.75, Recall: 0.5, Right: 3, Wrong: 1, Missed: 3}, q)
	require.Equal(t, Quality{Precision: 1, Recall: 1, F1: 1}, quality(0, 0, 0), "nothing to find and nothing found")
	require.Equal(t, Quality{Precision: 1, Recall: 0, F1: 0, Missed: 4}, quality(0, 0, 4))
}

func TestReadModel_RefusesWhatDoesNotFit(t *testing.T) {
	t.Parallel()
	m := mapping(t, persons)
	rs, err := ReadRecords(m, crm(t))
	require.NoError(t, err)
	model := learned(t, m, rs)
	path := filepath.Join(t.TempDir(), "model.yaml")
	require.NoError(t, WriteModel(path, model))
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NotContains(t, string(b), "albers", "names are not in a model")
	for says, c := range map[string][2]string{
		"version: 9 is not one":  {"version: 1", "version: 9"},
		"field colour not found": {"version: 1", "version: 1\ncolour: red"},
		"prior: 2 is not":        {fmt.Sprintf("prior: %v", model.Prior), "prior: 2"},
		"bands: review":          {"auto: 0.875", "auto: 0.01"},
		"the schema needs":       {"- name: given_name\n    frequency", "- name: other\n    frequency"},
		"other fields":           {"name: mail", "name: e_mail"},
	} {
		spoilt := strings.Replace(string(b), c[0], c[1], 1)
		require.NotEqual(t, string(b), spoilt, says)
		_, err := ReadModel(write(t, "m.yaml", spoilt), m)
		require.ErrorContains(t, err, says)
	}
}

func TestExplain_SaysWhichAndWhyWithoutValues(t *testing.T) {
	t.Parallel()
	m := mapping(t, persons)
	rs, err := ReadRecords(m, crm(t))
	require.NoError(t, err)
	model := learned(t, m, rs)
	x, err := match.NewMatcher(model)
	require.NoError(t, err)
	e, err := Explain(x, rs, "a0", "crm/b0")
	require.NoError(t, err)
	require.Equal(t, "same", e.Decision)
	require.NotEmpty(t, e.Evidence)
	e, err = Explain(x, rs, "a0", "a1")
	require.NoError(t, err)
	require.Equal(t, "different", e.Decision)
	_, err = Explain(x, rs, "a0", "z9")
	require.ErrorContains(t, err, `there is no record "z9"`)
	rs.All[1].ID, rs.All[1].Source = "a0", "erp"
	_, err = Explain(x, rs, "a0", "a1")
	require.ErrorContains(t, err, "2 records have the id")
}

func TestSets_AreReadAndTheirMappingsToo(t *testing.T) {
	t.Parallel()
	sets, err := Sets()
	require.NoError(t, err)
	require.NotEmpty(t, sets)
	for _, s := range sets {
		b, err := maps.ReadFile("maps/" + s.Fields)
		require.NoError(t, err)
		_, err = parseMapping(s.Fields, b)
		require.NoError(t, err)
		_, err = Report{Thresholds: make([]Threshold, 1)}.bars(s.Bars)
		require.NoError(t, err)
	}
	require.ErrorContains(t, Missing(t.TempDir(), sets), "dataset1.csv", "a set that is not there is an error")
	_, err = Report{Thresholds: make([]Threshold, 1)}.bars(map[string]float64{"beauty": 1})
	require.ErrorContains(t, err, `"beauty" is not known`)
}

func TestPage_SaysWhatIsMissed(t *testing.T) {
	t.Parallel()
	r := Report{Thresholds: make([]Threshold, 1), MaxCandidates: 300, MissedMatches: []Example{{A: "x/1", B: "y/2", Evidence: []match.Evidence{{Comparison: "name", Level: "exact", Bits: 3}}}}}
	bars, err := r.bars(map[string]float64{"most_candidates": 200, "f1": 0})
	require.NoError(t, err)
	require.True(t, slices.ContainsFunc(bars, func(b Bar) bool { return b.Name == "f1" && b.Met }))
	page := Page([]Result{{Name: "one", Report: r, Bars: bars}})
	require.Contains(t, page, "| one | most candidates | 200 | 300 | **missed** |")
	require.Contains(t, page, "- x/1 y/2 0.000: name exact +3.0")
}

func TestReadRecords_RefusesWhatIsTooLong(t *testing.T) {
	t.Parallel()
	m := mapping(t, persons)
	const header = "no,who,first,last,born,mail,notes\n"
	for name, c := range map[string]struct {
		content string
		want    TooLongError
	}{
		"a value":                    {"1,x,Ann,Lee,,,\n2,x,Ann," + strings.Repeat("L", 1<<20) + ",,,\n", TooLongError{3, "last", MaxValue}},
		"an id":                      {strings.Repeat("9", MaxValue+1) + ",x,Ann,Lee,,,\n", TooLongError{2, "no", MaxValue}},
		"the truth":                  {"1," + strings.Repeat("x", MaxValue+1) + ",Ann,Lee,,,\n", TooLongError{2, "who", MaxValue}},
		"a quote that nobody closes": {"1,x,Ann,Lee,,,\"a\nb\"\n2,x,\"Ann,Lee,,,\n" + strings.Repeat("3,x,Ann,Lee,,,\n", maxRow/10), TooLongError{4, "", maxRow}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := ReadRecords(m, write(t, "crm.csv", header+c.content))
			var long *TooLongError
			require.ErrorAs(t, err, &long)
			require.Equal(t, c.want, *long)
		})
	}
	_, err := ReadRecords(m, write(t, "h.csv", strings.Repeat("h", maxRow+1<<16)))
	require.ErrorContains(t, err, "line 1: the row is longer")
	rs, err := ReadRecords(m, write(t, "n.csv", header+"1,x,Ann,"+strings.Repeat("L", MaxValue)+",,,"+strings.Repeat("n", 1<<20)+"\n"))
	require.NoError(t, err, "what is not read may be long")
	require.Len(t, rs.All, 1)
	require.EqualError(t, &TooLongError{3, "last", MaxValue}, `line 3, column "last": the value is longer than 8192 bytes: is a quote missing?`)
}
