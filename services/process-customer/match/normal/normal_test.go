package normal

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestText_MakesSpellingsOfOneNameEqual(t *testing.T) {
	t.Parallel()
	for _, same := range [][]string{
		{"Müller", "MUELLER", "  mueller ", "Mu\u0308ller"},
		{"O'Neill", "ONeill", "O’Neill"},
		{"Łódź", "Lodz", "LÓDŹ"},
		{"Ромашка", "Romashka"},
		{"Straße", "STRASSE"},
	} {
		for _, s := range same {
			require.Equal(t, Text(same[0]), Text(s), s)
		}
	}
	require.NotEqual(t, Text("Müller"), Text("Muller"), "who writes no umlaut is one edit away, not equal")
}

func TestOrganisation_PartsNameAndLegalForm(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]Company{
		"Kühn Foods GmbH & Co. KG":                     {"kuehn foods", "gmbhcokg"},
		"Kühn Foods GmbH u. Co KG":                     {"kuehn foods", "gmbhcokg"},
		"Clarke Gesellschaft mit beschränkter Haftung": {"clarke", "gmbh"},
		"Datasystems Gesellschaft mit beschr":          {"datasystems", "gmbh"},
		"Rossi Elektro S.r.l.":                         {"rossi elektro", "srl"},
		"Seidel Trading S.p.A.":                        {"seidel trading", "spa"},
		"The Acme Corporation":                         {"acme", "corp"},
		"Grupo Bimbo, S.A.B. de C.V.":                  {"grupo bimbo", "sadecv"},
		"Nowak Sp. z o.o.":                             {"nowak", "spzoo"},
		"ООО Ромашка":                                  {"romashka", "ooo"},
		"AG":                                           {"ag", ""},
		"Novo Nordisk A/S":                             {"novo nordisk", "as"},
		"Beheermaatschappij J.G. de Groot B.V.":        {"beheermaatschappij jg de groot", "bv"},
		"Fischer Aktiengesellschaft":                   {"fischer", "ag"},
		"Smith Private Limited":                        {"smith", "ltd"},
		"Kowalski Spółka komandytowa":                  {"kowalski", "spk"},
		"Almeida e Filhos, Unipessoal Lda.":            {"almeida filhos", "lda"},
		"Deniz Anonim Şirketi":                         {"deniz", "as"},
		"Deniz A.Ş.":                                   {"deniz", "as"},
		"Berg Anpartsselskab":                          {"berg", "aps"},
		"Công ty TNHH Sao Mai":                         {"sao mai", "tnhh"},
		"AO Vostok":                                    {"vostok", "ao"},
		"E. Smith & Jones Ltd":                         {"e smith jones", "ltd"},
		"Café HB":                                      {"cafe hb", ""},
		"Hotel AE":                                     {"hotel ae", ""},
		"Life Sci":                                     {"life sci", ""},
		"A und B":                                      {"ab", ""},
		"Firma The Shop":                               {"shop", ""},
		"The":                                          {"the", ""},
	} {
		require.Equal(t, want, Organisation(in), in)
	}
}

func TestPerson_FindsThePartsOfAName(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		given, family string
		want          Name
	}{
		{"Dr. Hans", "Müller", Name{"hans", "mueller", ""}},
		{"Ludwig van Beethoven", "", Name{"ludwig", "van beethoven", ""}},
		{"Smith, John", "", Name{"john", "smith", ""}},
		{"Robert", "Smith Jr.", Name{"robert", "smith", "jr"}},
		{"Robert", "Smith Sr", Name{"robert", "smith", "sr"}},
		{"Madonna", "", Name{"madonna", "", ""}},
		{"Mr.", "", Name{"mr", "", ""}},
	} {
		require.Equal(t, c.want, Person(c.given, c.family), "%s|%s", c.given, c.family)
	}
	require.Equal(t, "robert", Nickname("bob"))
	require.Equal(t, "robert", Nickname("robert"))
	require.Equal(t, "zoltan", Nickname("zoltan"))
	require.Equal(t, "alexander", Nickname("aleksandr"))
	require.Equal(t, "alexander", Nickname("sanya"))
	require.Equal(t, "hanna", Nickname("hanna"), "a name of its own")
	require.Equal(t, "ola", Nickname("ola"), "a man in Sweden")
}

func TestAddress_PartsStreetAndNumber(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]Street{
		"Hauptstr. 12a":       {"haupt strasse", "12a"},
		"Hauptstraße 12 a":    {"haupt strasse", "12a"},
		"23 Green Ave":        {"green avenue", "23"},
		"23 Green Avenue":     {"green avenue", "23"},
		"Schulplatz 50":       {"schul platz", "50"},
		"43 w. 65th st.":      {"west 65th street", "43"},
		"St. Martin's Lane 4": {"saint martins lane", "4"},
		"Postfach 4287":       {"pobox", "4287"},
		"P.O. Box 4287":       {"pobox", "4287"},
		"Apartado 4287":       {"pobox", "4287"},
		"Box Lane 12":         {"box lane", "12"},
		"Gazi Cad. No: 5":     {"gazi caddesi", "5"},
		"Rua Direita n.º 5":   {"rua direita", "5"},
		"ul. Polna 7":         {"polna", "7"},
		"ul. ul. Polna 7":     {"polna", "7"},
		"Am Dom 5":            {"am dom", "5"},
		"ul. Lenina, d. 5":    {"lenina", "5"},
		"":                    {"", ""},
	} {
		require.Equal(t, want, Address(in), in)
	}
}

func TestPlaces_HaveOneName(t *testing.T) {
	t.Parallel()
	require.Equal(t, City("Köln"), City("Cologne"))
	require.Equal(t, City("Frankfurt am Main"), City("Frankfurt/M."))
	require.Equal(t, City("Wien"), City("Vienna"))
	require.Equal(t, "10115", Postcode("D-10115"))
	require.Equal(t, "LS64AF", Postcode("ls6 4af"))
	require.Equal(t, "89132", Postcode("89132-1234"))
	require.Equal(t, "DE", Country("Deutschland"))
	require.Equal(t, "DE", Country("de"))
	require.Equal(t, "CH", Country("CHE"))
}

func TestPhone_IsTheSameHoweverItIsDialled(t *testing.T) {
	t.Parallel()
	want := PhoneNumber{49, "3012345678"}
	for _, s := range []string{"+49 30 12345678", "0049 (30) 12345678", "030/12345678", "030 1234 5678"} {
		require.Equal(t, want, Phone(s, "DE"), s)
	}
	require.Equal(t, PhoneNumber{1, "7029191300"}, Phone("702-919-1300", "US"))
	require.Equal(t, PhoneNumber{1, "7029191300"}, Phone("1-702-919-1300", "US"))
	require.Equal(t, PhoneNumber{0, "12345678"}, Phone("012345678", ""))
	require.Empty(t, Phone("00000000", "DE"), "a row of zeros is no number")
	require.Empty(t, Phone("12", "DE"))
}

func TestEmail_IgnoresWhatProvidersIgnore(t *testing.T) {
	t.Parallel()
	require.Equal(t, Email("JDoe@gmail.com"), Email("j.doe+news@googlemail.com"))
	require.NotEqual(t, Email("j.doe@acme.com"), Email("jdoe@acme.com"), "dots count elsewhere")
	require.True(t, Email("info@acme.com").Role)
	require.True(t, Email("anna@web.de").Free)
	require.Equal(t, Mailbox{Local: "no address"}, Email("no address"))
	require.Equal(t, "acme.co.uk", Domain("https://www.acme.co.uk/about?x=1"))
	require.Equal(t, "acme", DomainName("shop.acme.co.uk"))
	require.Equal(t, "acme", DomainName("acme.de"))
	require.Empty(t, Domain("localhost"))
}

func TestDate_ReadsTheUsualForms(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"1978-12-11": "19781211", "11.12.1978": "19781211", "19781211": "19781211", "1978-12-11T08:00:00Z": "19781211",
		"11/12/78": "19781211", "31/12/1978": "19781231", "not known": "", "99999999": "99999999",
	} {
		require.Equal(t, want, Date(in, false), in)
	}
	require.Equal(t, "19781112", Date("11/12/1978", true))
	require.Equal(t, "19781231", Date("31/12/1978", true), "what is no month is a day")
}

// The numbers are the examples of the tax offices or of the published rules.
func TestTaxID_ChecksTheDigits(t *testing.T) {
	t.Parallel()
	for _, valid := range []string{
		"DE136695976", "ATU13585627", "BE0428759497", "CHE107787577", "DK13585628", "ESB58378431", "FI20774740", "FR40303265045",
		"GB980780684", "IT00743110157", "NL004495445B01", "PL8567346215", "PT501964843", "SE123456789701", "LU15027442", "EL094259216",
		"HU12892312", "HR33392005961", "NO995525828MVA",
	} {
		id, v := TaxID(valid, "")
		require.Equal(t, Valid, v, valid)
		require.Equal(t, valid, id)
		at := strings.IndexAny(valid, "0123456789") + 3
		wrong := valid[:at] + string('0'+(valid[at]-'0'+1)%10) + valid[at+1:]
		_, v = TaxID(wrong, "")
		require.Equal(t, Invalid, v, wrong)
	}
	id, v := TaxID("136 695 976", "Germany")
	require.Equal(t, "DE136695976", id)
	require.Equal(t, Valid, v)
	for _, none := range []string{"", "000000000", "DE000000000", "11111", "n/a"} {
		id, _ := TaxID(none, "DE")
		require.Empty(t, id, none)
	}
}

func TestOrganisation_AFormBehindChangesNothing(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		words := rapid.SliceOfN(rapid.SampledFrom([]string{"e", "y", "und", "and", "ve", "ab", "sa", "gmbh", "kg", "a", "x", "mueller"}), 1, 6).Draw(t, "words")
		c, bare := OrganisationWords(words)
		if bare {
			return
		}
		name := strings.Join(words, " ")
		require.Equal(t, c.Core, Organisation(name+" GmbH & Co. KG").Core)
		require.Equal(t, c.Core, Organisation(c.Core).Core)
	})
}

func FuzzNormalisers(f *testing.F) {
	for _, s := range []string{"Müller & Söhne GmbH", "Hauptstr. 12a", "+49 30 123", "a.b+c@gmail.com", "ООО Ромашка", "D-10115", "Frankfurt/M.", "DE136695976", "ul. ul. x", "a und b", "Firma The X", "the the x", "8cnd d 4 x", "foo e und t bar", "\u13a0\u0345İſ"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for name, normalise := range map[string]func(string) string{
			"text": Text, "compact": Compact, "code": Code, "city": City, "country": Country, "postcode": Postcode,
			"organisation": func(s string) string { return Organisation(s).Core },
			"street":       func(s string) string { a := Address(s); return strings.TrimSpace(a.Number + " " + a.Name) },
			"phone":        func(s string) string { return Phone(s, "").National },
			"domain":       Domain,
			"date":         func(s string) string { return Date(s, false) },
			"tax id":       func(s string) string { id, _ := TaxID(s, "DE"); return id },
			"email": func(s string) string {
				m := Email(s)
				if m.Domain == "" {
					return m.Local
				}
				return m.Local + "@" + m.Domain
			},
		} {
			once := normalise(s)
			if twice := normalise(once); twice != once {
				t.Errorf("%s: %q becomes %q and then %q", name, s, once, twice)
			}
		}
	})
}

func TestFullNames(t *testing.T) {
	t.Parallel()
	require.ElementsMatch(t, []string{"eric", "richard"}, FullNames("rick"))
	require.Equal(t, []string{"nikolai"}, FullNames(Spelling("kolya")))
	require.Empty(t, FullNames("zoltan"))
	for want, names := range map[string][]string{"iulia": {"yuliya", "julija", "iuliia", "julia"}, "sofie": {"sophie", "sofie"}, "dmitri": {"dmitry", "dmitriy", "dmitrii"}, "": {""}} {
		for _, name := range names {
			require.Equal(t, want, Spelling(name), name)
		}
	}
}
