package match

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestOrganisations_PartsOfAGroupAreToldApart(t *testing.T) {
	t.Parallel()
	x, _ := trainedCompanies(t)
	level := func(a, b string) string {
		p, q := x.Prepare(Record{ID: "a", Values: []string{a}}), x.Prepare(Record{ID: "b", Values: []string{b}})
		return levelNames[howOrg][organisations(&p.values[0][0], &q.values[0][0])-1]
	}
	for _, c := range []struct{ a, b, want string }{
		{"Nowak Meble", "Nowak Meble Grupa", "unit_added"},
		{"Nowak Meble Holding", "Nowak Meble Serwis", "unit_added"},
		{"Nowak Meble Distributon", "Nowak Meble", "unit_added"},
		{"Nowak Meble Hodling", "Nowak Meble", "unit_added"},
		{"Nowak Meble Logistik HB", "Nowak Meble", "unit_added"},
		{"Nowak Meble Holding Aktieng", "Nowak Meble AG", "unit_added"},
		{"Nowak Meble Vertriebsgesellsc", "Nowak Meble", "unit_added"},
		{"Nowak Meble Holding", "Nowak Meble Holding", "exact"},
		{"Nowak Meble Holding Deutschland", "Nowak Meble Germany", "unit_added"},
	} {
		require.Equal(t, c.want, level(c.a, c.b), "%s | %s", c.a, c.b)
	}
	require.NotEqual(t, "unit_added", level("Holding", "Services"), "nothing is left that they share")
	require.NotEqual(t, "unit_added", level("Nowak Meble HB", "Nowak Meble"), "a legal form at most")
	for _, same := range [][2]string{
		{"International", "Intl"},
		{"Deutschland", "Germany"},
		{"Schweiz", "Suisse"},
		{"Group", "Gruppe"},
		{"Service", "Serwis"},
		{"Logistics", "Logistik"},
		{"Stiftung", "Foundation"},
		{"Italy", "Italia"},
		{"Germany Sales", "Vertrieb Deutschland"},
	} {
		a, b := "Acme Robotics "+same[0], "Acme Robotics "+same[1]
		require.NotEqual(t, "unit_added", level(a, b), "%s | %s: one part, in two languages", a, b)
		require.NotEqual(t, "unit_added", level(b, a), "%s | %s: one part, in two languages", b, a)
	}
	for _, name := range []string{"Lessing", "Francke", "Germann", "Servais", "Internat", "Produkt", "Distrib"} {
		require.Zero(t, unitClass(strings.ToLower(name)), "%s is a name, or may be one", name)
	}
}

func TestTrain_LearnsWhichWordsTellSistersApart(t *testing.T) {
	t.Parallel()
	s, records := companies(30)
	for i := range 5 {
		v := []string{fmt.Sprintf("Castell%d Werke", i), fmt.Sprintf("Marktstr. %d", i+1), "Bonn", "16001", fmt.Sprintf("+49 30 %07d", 1234567+i*7919), "", fmt.Sprintf("ATU%08d", 23456789+i*7919)}
		sister := []string{v[0] + " Drukvo", v[1], v[2], v[3], fmt.Sprintf("+49 30 %07d", 8675309-i*6101), "", fmt.Sprintf("ATU%08d", 91827364-i*6101)}
		longer := []string{v[0] + " Zormelgant", v[1], v[2], v[3], v[4], "", v[6]}
		for j, values := range [][]string{v, sister, longer} {
			records = append(records, Record{Source: "crm", ID: fmt.Sprintf("s%d%d", i, j), Values: values})
		}
	}
	m, err := Train(s, records, TrainOptions{sample: 5_000})
	require.NoError(t, err)
	require.True(t, m.Frequencies.unit("name", "drukvo"), "with it there is another telephone and another tax number")
	require.False(t, m.Frequencies.unit("name", "zormelgant"), "it goes along with the same numbers")
	x, err := NewMatcher(m)
	require.NoError(t, err)
	score := x.Score(x.Prepare(Record{ID: "a", Values: []string{"Regenhaus Optik Drukvo", "Ring 5", "Bonn"}}), x.Prepare(Record{ID: "b", Values: []string{"Regenhaus Optik", "Ring 5", "Bonn"}}))
	require.Equal(t, VetoUnits, score.Veto)
}

func TestTrain_TelephonesAloneDoNotTellSistersApart(t *testing.T) {
	t.Parallel()
	s, records := companies(30)
	for i := range 5 {
		v := []string{fmt.Sprintf("Castell%d Werke", i), fmt.Sprintf("Marktstr. %d", i+1), "Bonn", "16001", fmt.Sprintf("+49 30 %07d", 1234567+i*7919), "", ""}
		department := []string{v[0] + " Drukvo", v[1], v[2], v[3], fmt.Sprintf("+49 30 %07d", 8675309-i*6101), "", ""}
		for j, values := range [][]string{v, department} {
			records = append(records, Record{Source: "crm", ID: fmt.Sprintf("s%d%d", i, j), Values: values})
		}
	}
	m, err := Train(s, records, TrainOptions{sample: 5_000})
	require.NoError(t, err)
	require.False(t, m.Frequencies.unit("name", "drukvo"))
}

func TestEmails_AnotherInitialIsAColleague(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		a, b string
		want bool
	}{
		{"j.pinto", "a.pinto", true},
		{"j.johansson", "johansson", true},
		{"j.pinto", "j.pinto", false},
		{"j.pinto", "j.pintos", false},
		{"joao.pinto", "j.pinto", false},
	} {
		require.Equal(t, c.want, otherInitial(c.a, c.b), "%s %s", c.a, c.b)
		require.Equal(t, c.want, otherInitial(c.b, c.a), "%s %s", c.b, c.a)
	}
}
