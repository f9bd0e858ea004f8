package match

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// mailboxCases are people at one customer with one e-mail address. Asked are those who are rather two.
var mailboxCases = map[string]struct {
	a, b  []string
	email string
	asked bool
}{
	"husband and wife":                         {[]string{"Ines", "Falkberg"}, []string{"Hans", "Falkberg"}, "falkberg@zapf.example", true},
	"father and son":                           {[]string{"Robert", "Falkberg"}, []string{"Luca", "Falkberg"}, "falkberg@zapf.example", true},
	"two with one initial":                     {[]string{"Markus", "Falkberg"}, []string{"Maximilian", "Falkberg"}, "m.falkberg@zapf.example", true},
	"an initial and another name":              {[]string{"A.", "Falkberg"}, []string{"Ursula", "Falkberg"}, "falkberg@zapf.example", true},
	"who is named by the address, and another": {[]string{"Thomas", "Falkberg"}, []string{"David", "Falkberg"}, "thomas.falkberg@zapf.example", true},
	"two names that sound alike":               {[]string{"Christophe", "Falkberg"}, []string{"Christine", "Falkberg"}, "c.falkberg@zapf.example", true},
	"the family name is the other's name":      {[]string{"Peter", "Peters"}, []string{"Anna", "Peters"}, "peters@zapf.example", true},

	"a short form":                           {[]string{"Robert", "Falkberg"}, []string{"Bob", "Falkberg"}, "r.falkberg@zapf.example", false},
	"a short form of several":                {[]string{"Richard", "Falkberg"}, []string{"Rick", "Falkberg"}, "r.falkberg@zapf.example", false},
	"a short form of a misspelt name":        {[]string{"Richeard", "Falkberg"}, []string{"Rick", "Falkberg"}, "falkberg@zapf.example", false},
	"an initial":                             {[]string{"U.", "Falkberg"}, []string{"Ursula", "Falkberg"}, "falkberg@zapf.example", false},
	"an initial of the full name":            {[]string{"W.", "Falkberg"}, []string{"Bill", "Falkberg"}, "falkberg@zapf.example", false},
	"another script":                         {[]string{"Юлия", "Иваненко"}, []string{"Julija", "Ivanenko"}, "ivanenko@zapf.example", false},
	"a short form in another script":         {[]string{"Коля", "Иваненко"}, []string{"Nikolay", "Ivanenko"}, "ivanenko@zapf.example", false},
	"another spelling":                       {[]string{"Stefanie", "Falkberg"}, []string{"Stephanie", "Falkberg"}, "s.falkberg@zapf.example", false},
	"names exchanged":                        {[]string{"Falkberg", "Carla"}, []string{"Carla", "Falkberg"}, "carla.falkberg@zapf.example", false},
	"a married name":                         {[]string{"Carla", "Falkberg"}, []string{"Carla", "Otterbach"}, "carla.f@zapf.example", false},
	"the second of two given names":          {[]string{"Anna Maria", "Falkberg"}, []string{"Maria", "Falkberg"}, "falkberg@zapf.example", false},
	"typing errors that make no other name":  {[]string{"Carla", "Falkberg"}, []string{"Cralxa", "Falkberg"}, "falkberg@zapf.example", false},
	"no given name":                          {[]string{"", "Falkberg"}, []string{"Carla", "Falkberg"}, "carla.falkberg@zapf.example", false},
	"much of one day of birth, another name": {[]string{"Carla", "Falkberg", "1978-12-11"}, []string{"Xy", "Falkberg", "1978-12-12"}, "falkberg@zapf.example", false},
}

func mailboxPair(t testing.TB) (*Matcher, func(v []string, email string) *Prepared) {
	x, _, _ := trained(t, 200)
	return x, func(v []string, email string) *Prepared {
		born := ""
		if len(v) > 2 {
			born = v[2]
		}
		return x.Prepare(Record{Values: []string{v[0], v[1], "Hauptstr. 17", "Berlin", "10115", born, email, "+49 30 5550123"}})
	}
}

func TestSharedMailboxes(t *testing.T) {
	t.Parallel()
	x, prepare := mailboxPair(t)
	for name, c := range mailboxCases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a, b := prepare(c.a, c.email), prepare(c.b, c.email)
			s, evidence := x.Explain(a, b)
			require.Equal(t, c.asked, s.Held, "%v %v", s, evidence)
			require.Equal(t, s, x.Score(b, a), "both ways")
			if c.asked {
				require.Less(t, s.Probability(), x.Model().Bands.Auto)
				require.Empty(t, s.Veto)
			} else {
				require.GreaterOrEqual(t, s.Probability(), x.Model().Bands.Review, "%v", evidence)
			}
		})
	}
	t.Run("the rule is among the evidence", func(t *testing.T) {
		t.Parallel()
		_, evidence := x.Explain(prepare([]string{"Carla", "Falkberg"}, "falkberg@zapf.example"), prepare([]string{"Udo", "Falkberg"}, "falkberg@zapf.example"))
		require.Equal(t, "shared_mailbox", evidence[len(evidence)-1].Comparison)
	})
	t.Run("typing errors in the address make no difference", func(t *testing.T) {
		t.Parallel()
		require.True(t, x.Score(prepare([]string{"Carla", "Falkberg"}, "falkberg@zapf.example"), prepare([]string{"Udo", "Falkberg"}, "falkberg@zapff.example")).Held)
	})
	t.Run("names exchanged of somebody who married are left to the score", func(t *testing.T) {
		t.Parallel()
		const email = "carla.falkberg@zapf.example"
		require.False(t, x.Score(prepare([]string{"Falkberg", "Carla"}, email), prepare([]string{"Carla", "Falkberg-Otterbach"}, email)).Held)
	})
	t.Run("an own address each is no shared one", func(t *testing.T) {
		t.Parallel()
		require.False(t, x.Score(prepare([]string{"Carla", "Falkberg"}, "carla@zapf.example"), prepare([]string{"Udo", "Falkberg"}, "udo@zapf.example")).Held)
	})
	t.Run("without the rule it is a score", func(t *testing.T) {
		t.Parallel()
		m := x.Model()
		m.Rules.SharedMailboxes = false
		y, err := NewMatcher(m)
		require.NoError(t, err)
		require.False(t, y.Score(prepare([]string{"Carla", "Falkberg"}, "falkberg@zapf.example"), prepare([]string{"Udo", "Falkberg"}, "falkberg@zapf.example")).Held)
	})
}

// A third record that is like both, such as one with an initial, does not join what a person is asked about.
func TestSharedMailboxes_NobodyIsJoinedThroughAThird(t *testing.T) {
	t.Parallel()
	x, _, _ := trained(t, 200)
	rapid.Check(t, func(t *rapid.T) {
		given := rapid.SliceOfN(rapid.SampledFrom([]string{"Ursula", "U.", "", "Udo", "Uschi", "Ulrich"}), 2, 6).Draw(t, "given")
		o := NewOnline(x, OnlineOptions{Limit: 0.5})
		by := map[Ref]string{}
		for i, g := range given {
			r := Record{Source: "crm", ID: string(rune('a' + i)), Values: []string{g, "Falkberg", "Hauptstr. 17", "Berlin", "10115", "", "falkberg@zapf.example", "+49 30 5550123"}}
			o.Put(r)
			by[Ref{r.Source, r.ID}] = g
		}
		for _, cluster := range o.Clusters() {
			for _, p := range cluster {
				for _, q := range cluster {
					require.False(t, by[p] == "Udo" && (by[q] == "Ursula" || by[q] == "Uschi" || by[q] == "Ulrich"), "%v", cluster)
				}
			}
		}
	})
}

func TestOneGiven_IsSymmetric(t *testing.T) {
	t.Parallel()
	names := rapid.OneOf(rapid.StringMatching(`[a-z]{1,10}`), rapid.SampledFrom([]string{"bob", "rob", "robert", "rick", "julia", "yuliya", "sofie", "sophie"}))
	rapid.Check(t, func(t *rapid.T) {
		x, y := names.Draw(t, "x"), names.Draw(t, "y")
		require.Equal(t, oneGiven(x, y), oneGiven(y, x))
		require.Equal(t, mistyped(x, y), mistyped(y, x))
		require.True(t, oneGiven(x, x))
	})
	require.False(t, oneGiven("petra", "peter"))
	require.False(t, oneGiven("sandra", "andreas"))
	require.True(t, oneGiven("fyodor", "fedor"))
}
