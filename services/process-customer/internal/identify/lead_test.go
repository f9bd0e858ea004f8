package identify

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
)

func TestDesk_ChecksLeadsBeforeTheyAreImported(t *testing.T) {
	both(t, Config{}, func(t *testing.T, b *bench) {
		known := acme(0)
		known[golden.Website] = "https://zapfhahn.example"
		sf := b.SF.Create(golden.Customer, "", known)
		b.SF.Create(golden.Contact, sf, golden.Values{golden.FirstName: "Hanna", golden.LastName: "Hopf", golden.Email: "hanna.hopf@zapfhahn.example"})
		b.SF.Create(golden.Customer, "", other())
		b.settle()
		id := b.of(b.SF, sf)
		counts, err := b.Store.Read().CountMatching(t.Context(), golden.Customer)
		require.NoError(t, err)

		check := func(l Lead) Known {
			got, err := b.desk.Lead(t.Context(), l)
			require.NoError(t, err)
			return got
		}
		hanna := golden.Values{golden.FirstName: "H.", golden.LastName: "Hopf", golden.Email: "Hanna.Hopf@Zapfhahn.example"}
		sure := acme(1)
		sure[golden.Email] = hanna[golden.Email]
		got := check(Lead{Company: sure, Person: hanna})
		require.Equal(t, id, got.Same)
		require.NotEmpty(t, got.Contact, "the person is known as well")
		require.Len(t, got.Candidates, 1)
		require.Equal(t, id, got.Candidates[0].Customer)

		place := golden.Values{golden.Name: "Zapfhahn", golden.City: "Bamberg", golden.PostalCode: "96047", golden.Country: "DE"}
		without := check(Lead{Company: place})
		place[golden.Email] = "malte@zapfhahn.example"
		with := check(Lead{Company: place, Person: golden.Values{golden.FirstName: "Malte", golden.LastName: "Malz"}})
		require.Empty(t, with.Contact, "somebody else works there")
		require.NotEmpty(t, with.Candidates, "the address of a person says where the person works")
		require.Equal(t, id, with.Candidates[0].Customer)
		require.NotEqual(t, without, with)

		require.Equal(t, Known{}, check(Lead{Company: golden.Values{golden.Name: "Spedition Fernweh", golden.City: "Kiel"}}))
		contradicting := acme(0)
		contradicting[golden.Name] = "Optik Weitblick Holding AG"
		require.Empty(t, check(Lead{Company: contradicting}).Same, "another company in the same house")

		after, err := b.Store.Read().CountMatching(t.Context(), golden.Customer)
		require.NoError(t, err)
		require.Equal(t, counts, after, "nothing was changed")
		require.Len(t, live(b), 2)
	})
}
