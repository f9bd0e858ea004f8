package match_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/match"
)

const (
	idA = golden.ID("c_aaaaaaaaaaaaaaaaaaaaaaaaaa")
	idB = golden.ID("c_bbbbbbbbbbbbbbbbbbbbbbbbbb")
	idC = golden.ID("c_cccccccccccccccccccccccccc")
)

func customer(v golden.Values) []match.Key { return match.Keys(golden.Customer, v, "") }

func nameKey(t *testing.T, name string) string {
	t.Helper()
	keys := customer(golden.Values{golden.Name: name, golden.PostalCode: "10115"})
	require.Len(t, keys, 1)
	value, ok := strings.CutSuffix(keys[0].Value, "|10115")
	require.True(t, ok)
	return value
}

func TestNames(t *testing.T) {
	t.Parallel()
	for want, names := range map[string][]string{
		"mueller soehne": {"Müller & Söhne GmbH", "MUELLER und SOEHNE", " Mueller  +  Söhne G.m.b.H. ", "Müller & Söhne GmbH & Co. KG", "Mu\u0308ller & So\u0308hne GmbH&Co.KG", "Müller and Söhne Ltd."},
		"acme":           {"ACME, Inc.", "Acme Inc", "The Acme Corporation", "acme S.A.", "ACME s. r. o.", "A.C.M.E. Sp. z o.o.", "A C M E", "Acme A/S", "Acme UG (haftungsbeschränkt)", "Acmé"},
		"strasse 7":      {"Straße 7 AG", "STRASSE 7 AG"},
		"oneill":         {"O'Neill LLC", "O’Neill"},
		"株式会社トヨタ":        {"株式会社トヨタ"},
		"3 m":            {"3 M"},
		"ガイド":            {"ガイド"},
		"turegatan":      {"Turegatan AB"},
		"aerlig nord":    {"Ærlig Nord ApS"},
		"meyer schulze":  {"Meyer/Schulze OHG", "Meyer-Schulze"},
		"bauer":          {"Bauer e.K."},
		"baur":           {"Baur e.K."},
	} {
		for _, name := range names {
			require.Equal(t, want, nameKey(t, name), name)
		}
	}
	t.Run("a name of nothing but legal forms has no key", func(t *testing.T) {
		t.Parallel()
		for _, name := range []string{"", "GmbH", "AG & Co. KG", " - "} {
			require.Empty(t, customer(golden.Values{golden.Name: name, golden.PostalCode: "10115"}), name)
		}
	})
}

func TestKeys(t *testing.T) {
	t.Parallel()

	t.Run("a customer has all keys, strongest first", func(t *testing.T) {
		t.Parallel()
		require.Equal(t, []match.Key{
			{Kind: match.TaxID, Value: "DE123456788"},
			{Kind: match.Email, Value: "anna@acme.example"},
			{Kind: match.NamePostcode, Value: "acme|sw1a1aa|gb"},
			{Kind: match.NamePostcodeOnly, Value: "acme|sw1a1aa"},
		}, customer(golden.Values{
			golden.TaxID: "de 123.456-788", golden.Email: " Anna@ACME.example", golden.Name: "Acme Ltd",
			golden.PostalCode: "SW1A 1AA", golden.Country: "GB",
		}))
	})
	t.Run("what many customers share is no key", func(t *testing.T) {
		t.Parallel()
		for _, email := range []string{"info@acme.example", "Office@acme.example", "sales+x@acme.example", "anna@gmail.com", "anna@gmx.at", "anna@yahoo.co.uk", "anna", "@acme.example", "anna@localhost", "a b@acme.example", "a@b@c.example"} {
			require.Empty(t, customer(golden.Values{golden.Email: email}), email)
		}
		for _, tax := range []string{"", "12345", "n/a", "000000000", "DE000000000", "UNKNOWN", "-- --"} {
			require.Empty(t, customer(golden.Values{golden.TaxID: tax}), tax)
		}
		require.Empty(t, customer(golden.Values{golden.Name: "Acme"}))
	})
	t.Run("a contact is known within its customer only", func(t *testing.T) {
		t.Parallel()
		v := golden.Values{golden.FirstName: "Anna", golden.LastName: "Müller", golden.Email: "Anna@gmail.com"}
		require.Equal(t, []match.Key{
			{Kind: match.Email, Value: string(idA) + "|anna@gmail.com"},
			{Kind: match.NameParent, Value: string(idA) + "|anna|mueller"},
		}, match.Keys(golden.Contact, v, idA))
		require.Empty(t, match.Keys(golden.Contact, v, ""))
		require.Empty(t, match.Keys(golden.Contact, golden.Values{golden.LastName: "Müller"}, idA))
		require.Empty(t, match.Keys("order", v, idA))
	})
	t.Run("a shared mailbox never makes two of three hundred contacts one", func(t *testing.T) {
		t.Parallel()
		seen := map[match.Key]bool{}
		for i := range 300 {
			for _, k := range match.Keys(golden.Contact, golden.Values{golden.FirstName: fmt.Sprintf("F%d", i), golden.LastName: "X", golden.Email: "sales@acme.example"}, idA) {
				require.False(t, seen[k])
				seen[k] = true
			}
		}
		require.Len(t, seen, 300)
	})
	t.Run("first and last name are not confused at their border", func(t *testing.T) {
		t.Parallel()
		a := match.Keys(golden.Contact, golden.Values{golden.FirstName: "Anna Maria", golden.LastName: "Lang"}, idA)
		b := match.Keys(golden.Contact, golden.Values{golden.FirstName: "Anna", golden.LastName: "Maria Lang"}, idA)
		require.NotEqual(t, a, b)
	})
}

func TestKeysDoNotDependOnWriting(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		v := golden.Values{
			golden.Name:       rapid.StringOf(rapid.SampledFrom([]rune("aebßüäöÉñ1 &.-"))).Draw(t, "name"),
			golden.PostalCode: rapid.StringMatching(`[A-Z0-9]{3,5}`).Draw(t, "postcode"),
			golden.Country:    rapid.SampledFrom([]string{"", "DE", "AT"}).Draw(t, "country"),
			golden.TaxID:      rapid.StringMatching(`([A-Z]{2})?[0-9]{0,9}`).Draw(t, "tax"),
			golden.Email:      rapid.StringMatching(`[a-z]{1,5}@[a-z]{1,5}\.de`).Draw(t, "email"),
		}
		other := golden.Values{}
		for f, value := range v {
			if rapid.Bool().Draw(t, "upper") {
				value = strings.ToUpper(value)
			}
			other[f] = " " + value + "\t"
		}
		if rapid.Bool().Draw(t, "write umlauts out") {
			other[golden.Name] = strings.NewReplacer("ü", "ue", "ä", "ae", "ö", "oe", "Ü", "UE", "Ä", "AE", "Ö", "OE").Replace(other[golden.Name])
		}
		if len(customer(golden.Values{golden.Name: v[golden.Name], golden.PostalCode: "1"})) > 0 && rapid.Bool().Draw(t, "legal form") {
			other[golden.Name] += " GmbH & Co. KG"
		}
		require.Equal(t, customer(v), customer(other))
	})
}

func TestFoldIsIdempotent(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		once := match.Fold(rapid.String().Draw(t, "text"))
		require.Equal(t, once, match.Fold(once))
	})
}

func TestDecide(t *testing.T) {
	t.Parallel()
	none := golden.Values{}
	of := func(id golden.ID, kind match.Kind, v golden.Values) match.Candidate {
		return match.Candidate{ID: id, Kind: kind, Values: v}
	}
	tax := func(s string) golden.Values { return golden.Values{golden.TaxID: s} }

	t.Run("nothing found is new", func(t *testing.T) {
		t.Parallel()
		require.Equal(t, match.Verdict{Reason: match.ReasonNoCandidate}, match.Decide(none, nil))
	})
	t.Run("one record found by several keys is the same by the strongest", func(t *testing.T) {
		t.Parallel()
		got := match.Decide(none, []match.Candidate{of(idA, match.NamePostcode, nil), of(idA, match.TaxID, nil), of(idA, match.Email, nil)})
		require.Equal(t, match.Verdict{Same: idA, Kind: match.TaxID, Reason: "TAX_ID"}, got)
	})
	t.Run("different tax numbers veto whatever else agrees", func(t *testing.T) {
		t.Parallel()
		got := match.Decide(tax("DE123456788"), []match.Candidate{of(idA, match.Email, tax("DE987654321")), of(idA, match.NamePostcode, tax("DE987654321"))})
		require.Equal(t, match.Verdict{Reason: match.ReasonTaxIDDiffers, Others: []golden.ID{idA}}, got)
	})
	t.Run("a tax number that is missing, meaningless or differs in its country prefix only does not veto", func(t *testing.T) {
		t.Parallel()
		for _, other := range []string{"", "n/a", "123 456 788", "DE123456788"} {
			require.Equal(t, idA, match.Decide(tax("DE123456788"), []match.Candidate{of(idA, match.Email, tax(other))}).Same, other)
		}
		require.Empty(t, match.Decide(tax("DE123456788"), []match.Candidate{of(idA, match.Email, tax("AT123456788"))}).Same)
	})
	t.Run("the veto leaves the next candidate", func(t *testing.T) {
		t.Parallel()
		got := match.Decide(tax("DE123456788"), []match.Candidate{of(idA, match.Email, tax("DE987654321")), of(idB, match.NamePostcode, nil)})
		require.Equal(t, match.Verdict{Same: idB, Kind: match.NamePostcode, Reason: "NAME_POSTCODE", Others: []golden.ID{idA}}, got)
	})
	t.Run("a name in another country is another company", func(t *testing.T) {
		t.Parallel()
		got := match.Decide(golden.Values{golden.Country: "DE"}, []match.Candidate{of(idA, match.NamePostcodeOnly, golden.Values{golden.Country: "US"})})
		require.Equal(t, match.ReasonCountryDiffers, got.Reason)
		require.Equal(t, idA, match.Decide(golden.Values{golden.Country: "DE"}, []match.Candidate{of(idA, match.NamePostcodeOnly, nil)}).Same)
	})
	t.Run("a name gives way to better evidence", func(t *testing.T) {
		t.Parallel()
		got := match.Decide(none, []match.Candidate{of(idB, match.NamePostcode, nil), of(idA, match.Email, nil), of(idC, match.NamePostcodeOnly, nil)})
		require.Equal(t, match.Verdict{Same: idA, Kind: match.Email, Reason: "EMAIL", Others: []golden.ID{idB, idC}}, got)
	})
	t.Run("tax number against e-mail address is for a person to look at", func(t *testing.T) {
		t.Parallel()
		got := match.Decide(none, []match.Candidate{of(idB, match.Email, nil), of(idA, match.TaxID, nil)})
		require.Equal(t, match.Verdict{Reason: match.ReasonConflict, Review: true, Others: []golden.ID{idA, idB}}, got)
	})
	t.Run("two records by one kind of key are for a person to look at", func(t *testing.T) {
		t.Parallel()
		require.True(t, match.Decide(none, []match.Candidate{of(idB, match.Email, nil), of(idA, match.Email, nil)}).Review)
	})
}

func TestDecideDoesNotDependOnOrder(t *testing.T) {
	t.Parallel()
	kinds := []match.Kind{match.TaxID, match.Email, match.NamePostcode, match.NamePostcodeOnly}
	rapid.Check(t, func(t *rapid.T) {
		known := map[golden.ID]golden.Values{}
		for _, id := range []golden.ID{idA, idB, idC} {
			known[id] = golden.Values{
				golden.TaxID:   rapid.SampledFrom([]string{"", "DE111111112", "DE222222223"}).Draw(t, "tax"),
				golden.Country: rapid.SampledFrom([]string{"", "DE", "US"}).Draw(t, "country"),
			}
		}
		rec := golden.Values{golden.TaxID: "DE111111112", golden.Country: "DE"}
		in := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) match.Candidate {
			id := rapid.SampledFrom([]golden.ID{idA, idB, idC}).Draw(t, "id")
			return match.Candidate{ID: id, Kind: rapid.SampledFrom(kinds).Draw(t, "kind"), Values: known[id]}
		}), 0, 6).Draw(t, "candidates")
		want := match.Decide(rec, in)
		require.Equal(t, want, match.Decide(rec, rapid.Permutation(in).Draw(t, "shuffled")), "any order")
		require.Equal(t, want, match.Decide(rec, append(in, in...)), "any number of times")
		require.False(t, want.Same != "" && want.Review)
		if want.Same != "" {
			require.NotEqual(t, "DE222222223", known[want.Same][golden.TaxID], "the veto holds")
			require.NotContains(t, want.Others, want.Same)
		}
		for _, c := range in {
			require.True(t, want.Same == c.ID || slices.Contains(want.Others, c.ID), "every candidate is named")
		}
	})
}

func BenchmarkKeys(b *testing.B) {
	v := golden.Values{
		golden.TaxID: "DE 123 456 788", golden.Email: "anna@acme.example", golden.Name: "Müller & Söhne GmbH & Co. KG",
		golden.PostalCode: "10115", golden.Country: "DE",
	}
	b.ReportAllocs()
	for b.Loop() {
		if len(match.Keys(golden.Customer, v, "")) != 4 {
			b.Fatal("keys are missing")
		}
	}
}
