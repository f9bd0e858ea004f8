package sap

import (
	"math/rand/v2"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/services/system-erp/internal/erp"
	"github.com/selfsame-io/selfsame/services/system-erp/sandbox"
)

func TestRoundTrip(t *testing.T) {
	t.Parallel()
	rounds := 60
	if testing.Short() {
		rounds = 3
	}
	roundTrip(t, system(t, sandbox.Config{}, nil), rounds)
}

// TestCAPRoundTrip has SAP's own server code store the customers; see TestCAP.
func TestCAPRoundTrip(t *testing.T) {
	t.Parallel()
	address := os.Getenv("SELFSAME_TEST_CAP")
	if address == "" {
		t.Skip("SELFSAME_TEST_CAP is not set: `make certify-cap` starts SAP's own server code and sets it")
	}
	cfg := DefaultConfig()
	cfg.URL, cfg.User, cfg.Password = address, "CERTIFY", "certify"
	s, err := New(cfg, Deps{Transport: Transport(cfg)})
	require.NoError(t, err)
	t.Cleanup(s.Close)
	roundTrip(t, s, 30)
}

// roundTrip writes customers of all shapes and changes them into each other; what is read is what was written.
func roundTrip(t *testing.T, s *System, rounds int) {
	t.Helper()
	rng := rand.New(rand.NewPCG(3, 4))
	pick := func(list ...string) string { return list[rng.IntN(len(list))] }
	address := func(u erp.Usage) erp.Address {
		return erp.Address{
			Usage: u, Street: pick("Weg 1", "Weg 12\nHof", "Am Bach\n\nTor 3", ""), City: pick("Köln", "Bonn"), PostalCode: pick("50667", "53111", ""),
			Region: pick("NW", "", "BY"), Country: "DE",
		}
	}
	make := func() erp.Customer {
		c := erp.Customer{
			Kind: erp.Organization, Name: pick("Acme", "Acme & Söhne GmbH", "Gesellschaft für elektrische Unternehmungen mit beschränkter Haftung"),
			Email: pick("", "a@b.example", "c@d.example"), Phone: pick("", "+49 221 1"), Website: pick("", "https://a.example"), Language: pick("", "de", "en"),
			Currency: "EUR", PaymentTerms: pick("", "NT30"), OrderBlock: rng.IntN(4) == 0,
		}
		if rng.IntN(2) == 0 {
			c.TaxIDs = []erp.TaxID{{Scheme: "eu_vat", Value: pick("DE123456789", "DE999999999", "FR12345678901")}}
		}
		for _, u := range []erp.Usage{erp.UsageDefault, erp.UsageBillTo, erp.UsageShipTo} {
			if u == erp.UsageDefault || rng.IntN(2) == 0 {
				c.Addresses = append(c.Addresses, address(u))
			}
		}
		return c
	}
	plain := func(c erp.Customer) erp.Customer {
		c.Head, c.Number = erp.Head{}, ""
		return c
	}
	for i := range rounds {
		first, second := make(), make()
		w := insert(t, s, first)
		require.NoError(t, w[0].Err)
		require.Equal(t, plain(first), plain(w[0].Snapshot.Record), "round %d", i)
		old, err := s.Customers().Read(t.Context(), []string{w[0].Snapshot.Record.ID})
		require.NoError(t, err)
		second.ID = old[0].Record.ID
		changed, err := s.Customers().Change(t.Context(), []draft{{Record: second, Old: old[0]}})
		require.NoError(t, err)
		require.NoError(t, changed[0].Err, "%+v to %+v", first, second)
		require.Equal(t, plain(second), plain(changed[0].Snapshot.Record), "round %d: %+v", i, first)
		_, err = s.Customers().Retire(t.Context(), changed[0].Snapshot) // makes room: the mark of the next round is the same
		require.NoError(t, err)
	}
}
