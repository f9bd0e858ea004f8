package golden_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"testing"
	"testing/iotest"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
)

func TestID(t *testing.T) {
	t.Parallel()

	t.Run("a new id tells its kind and parses", func(t *testing.T) {
		t.Parallel()
		for _, obj := range golden.Objects() {
			id, err := golden.NewID(obj, bytes.NewReader(make([]byte, 16)))
			require.NoError(t, err)
			require.Len(t, string(id), 28)
			require.Equal(t, obj, id.Object())
			parsed, ok := golden.ParseID(string(id))
			require.True(t, ok)
			require.Equal(t, id, parsed)
		}
	})
	t.Run("the same seed gives the same id and another kind another one", func(t *testing.T) {
		t.Parallel()
		a, err := golden.DeriveID(golden.Customer, "key-1")
		require.NoError(t, err)
		again, err := golden.DeriveID(golden.Customer, "key-1")
		require.NoError(t, err)
		other, err := golden.DeriveID(golden.Customer, "key-2")
		require.NoError(t, err)
		contact, err := golden.DeriveID(golden.Contact, "key-1")
		require.NoError(t, err)
		require.Equal(t, a, again)
		require.NotEqual(t, a, other)
		require.NotEqual(t, string(a)[2:], string(contact)[2:])
		// Pinned: ids derived by an older release must not change.
		require.Equal(t, golden.ID("c_h3rclwf3cwfkfnecofz3psdajq"), a)
	})
	t.Run("an unknown kind and a dry random source are errors", func(t *testing.T) {
		t.Parallel()
		_, err := golden.DeriveID("order", "x")
		require.Error(t, err)
		dry := errors.New("dry")
		_, err = golden.NewID(golden.Customer, iotest.ErrReader(dry))
		require.ErrorIs(t, err, dry)
	})
	t.Run("text that is no id is refused", func(t *testing.T) {
		t.Parallel()
		for _, s := range []string{"", "c_", "x_aaaaaaaaaaaaaaaaaaaaaaaaaa", "c_AAAAAAAAAAAAAAAAAAAAAAAAAA", "c_aaaaaaaaaaaaaaaaaaaaaaaaa1", "c_aaaaaaaaaaaaaaaaaaaaaaaaaa.001"} {
			_, ok := golden.ParseID(s)
			require.False(t, ok, s)
		}
	})
}

func TestCanonical(t *testing.T) {
	t.Parallel()
	cases := []struct{ name, field, in, want string }{
		{"white space is trimmed and squeezed", golden.Name, " \tAcme \u00a0 GmbH\r\n", "Acme GmbH"},
		{"a decomposed umlaut is composed", golden.Name, "Mu\u0308ller", "Müller"},
		{"letter case is kept", golden.Email, "Anna@Example.com", "Anna@Example.com"},
		{"lines of a street are kept", golden.Street, "Tor 3 \r\nHof  2\r\n\r\n", "Tor 3\nHof 2"},
		{"a city has no lines", golden.City, "Bad\nHomburg", "Bad Homburg"},
		{"a country is upper case", golden.Country, " de ", "DE"},
		{"only blanks are blank", golden.Phone, " \u200b ", ""},
		{"invalid bytes are replaced", golden.Name, "A\xffB", "A\uFFFDB"},
		{"control characters separate", golden.Name, "A\x00B", "A B"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, c.want, golden.Canonical(golden.Customer, c.field, c.in))
		})
	}
}

func TestCanonicalIsIdempotent(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		obj := rapid.SampledFrom(golden.Objects()).Draw(t, "object")
		field := rapid.SampledFrom(golden.Fields(obj)).Draw(t, "field")
		value := rapid.OneOf(
			rapid.String(),
			rapid.StringOf(rapid.SampledFrom([]rune(" \t\r\n\u00a0\u0308\u0301\u0000ﬁßIıaäO\u2028\ufeff\u0345\u1fb3"))),
		).Draw(t, "value")
		once := golden.Canonical(obj, field, value)
		if twice := golden.Canonical(obj, field, once); twice != once {
			t.Fatalf("%q became %q", once, twice)
		}
	})
}

func TestValues(t *testing.T) {
	t.Parallel()

	t.Run("changed lists what the next values say differently", func(t *testing.T) {
		t.Parallel()
		have := golden.Values{golden.Name: "A", golden.Phone: "1", golden.City: "B"}
		next := golden.Values{golden.Name: "A", golden.Phone: "2", golden.Email: "", golden.Segment: "x"}
		require.Equal(t, []string{golden.Phone, golden.Segment}, have.Changed(golden.Customer, next))
	})
	t.Run("canonical drops what is not a field of the kind", func(t *testing.T) {
		t.Parallel()
		in := golden.Values{golden.Name: " A ", golden.Title: "x"}
		require.Equal(t, golden.Values{golden.Name: "A"}, in.Canonical(golden.Customer))
		require.Equal(t, " A ", in[golden.Name])
	})
	t.Run("values of decisions keep a blank winner and leave out a field without one", func(t *testing.T) {
		t.Parallel()
		got := golden.ValuesOf([]golden.Decision{{Field: golden.Email, Winner: &golden.Claim{}}, {Field: golden.Phone}})
		require.Equal(t, golden.Values{golden.Email: ""}, got)
	})
}

func TestClaimJSON(t *testing.T) {
	t.Parallel()

	t.Run("a claim survives being stored", func(t *testing.T) {
		t.Parallel()
		in := golden.Claim{Field: golden.Phone, Value: "1", Ref: golden.Ref{System: "erp", Object: golden.Customer, RecordID: "7"}, Version: 3, EventTime: time.UnixMicro(1_700_000_000_000_001).UTC(), ChangeID: "x"}
		text, err := json.Marshal(in)
		require.NoError(t, err)
		var out golden.Claim
		require.NoError(t, json.Unmarshal(text, &out))
		require.Equal(t, in, out)
	})
	t.Run("empty parts take no room", func(t *testing.T) {
		t.Parallel()
		text, err := json.Marshal(golden.Claim{Field: golden.Phone})
		require.NoError(t, err)
		require.JSONEq(t, `{"f":"phone"}`, string(text))
	})
}
