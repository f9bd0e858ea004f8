package identify

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/services/process-customer/match"
)

// TestContactCases are pairs of contacts that are easily taken for the wrong thing, by the built-in model.
func TestContactCases(t *testing.T) {
	t.Parallel()
	ms, err := builtinModels()
	require.NoError(t, err)
	x := ms.contacts.matcher
	require.Equal(t, []string{"first_name", "last_name", "title", "email", "phone", "mobile", "customer"}, ms.contacts.fields)
	const (
		joined, asked, apart = "joined", "asked", "apart"
		phone, here, there   = "+49 951 2233446", "c_here", "c_there"
	)
	for name, c := range map[string]struct {
		a, b       []string
		want, veto string
	}{
		"a typing error in both names": {
			[]string{"Hanna", "Hopfgartner", "", "", phone, "", here},
			[]string{"Hannah", "Hopfgertner", "", "", phone, "", here},
			joined, "",
		},
		"a short form of the given name": {
			[]string{"Robert", "Lindqvist", "", "", phone, "", here},
			[]string{"Bob", "Lindqvist", "", "", phone, "", here},
			joined, "",
		},
		"given and family name exchanged": {
			[]string{"Theres", "Achleitner", "", "", phone, "", here},
			[]string{"Achleitner", "Theres", "", "", phone, "", here},
			joined, "",
		},
		"relatives with one telephone": {
			[]string{"Xaver", "Achleitner", "", "", phone, "", here},
			[]string{"Theres", "Achleitner", "", "", phone, "", here},
			apart, match.VetoGivenNames,
		},
		"relatives with one e-mail address": {
			[]string{"Xaver", "Achleitner", "", "achleitner@zapf.example", phone, "", here},
			[]string{"Theres", "Achleitner", "", "achleitner@zapf.example", phone, "", here},
			asked, "",
		},
		"senior and junior": {
			[]string{"Robert", "Lindqvist Sr.", "", "", phone, "", here},
			[]string{"Robert", "Lindqvist Jr.", "", "", phone, "", here},
			apart, match.VetoGenerations,
		},
		"colleagues with the telephone of the reception": {
			[]string{"Dagmar", "Ostrowski", "", "info@zapf.example", phone, "", here},
			[]string{"Dagobert", "Bruckmoser", "", "", phone, "", here},
			apart, match.VetoGivenNames,
		},
		"namesakes at two customers": {
			[]string{"Robert", "Lindqvist", "", "", "", "", here},
			[]string{"Robert", "Lindqvist", "", "", "", "", there},
			apart, match.VetoGroups,
		},
		"one person at two customers": {
			[]string{"Robert", "Lindqvist", "", "robert@lindqvist.example", phone, "", here},
			[]string{"Robert", "Lindqvist", "", "robert@lindqvist.example", phone, "", there},
			asked, "",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, evidence := x.Explain(x.Prepare(match.Record{Values: c.a}), x.Prepare(match.Record{Values: c.b}))
			bands, got := x.Model().Bands, apart
			switch p := s.Probability(); {
			case p >= bands.Auto:
				got = joined
			case p >= bands.Review:
				got = asked
			}
			require.Equal(t, c.want, got, "%v %v", s, evidence)
			require.Equal(t, c.veto, s.Veto)
		})
	}
}
