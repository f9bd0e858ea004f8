package pubsub

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func schemaText(t testing.TB) string {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("testdata", "wire", "schema.json"))
	require.NoError(t, err)
	return string(raw)
}

func testSchema(t testing.TB) *schema {
	t.Helper()
	s, err := parseSchema(schemaText(t))
	require.NoError(t, err)
	return s
}

func TestDecodeBitmap(t *testing.T) {
	t.Parallel()
	s := testSchema(t)
	for name, c := range map[string]struct{ in, want []string }{
		"the documented example":                 {[]string{"0xA0"}, []string{"Phone", "LastModifiedDate"}},
		"lower-case digits":                      {[]string{"0xa0"}, []string{"Phone", "LastModifiedDate"}},
		"an odd number of digits":                {[]string{"0x2"}, []string{"Name"}},
		"more than one byte":                     {[]string{"0x0182"}, []string{"Name", "LastModifiedDate", "ShippingAddress"}},
		"leading zeros":                          {[]string{"0x00000000000000000002"}, []string{"Name"}},
		"parts of a compound":                    {[]string{"0x80", "4-0x06"}, []string{"LastModifiedDate", "BillingAddress.City", "BillingAddress.State"}},
		"parts alone":                            {[]string{"4-0x06"}, []string{"BillingAddress.City", "BillingAddress.State"}},
		"a compound whose type was named before": {[]string{"0x00", "8-0x02"}, []string{"ShippingAddress.City"}},
		"a record branch among others":           {[]string{"1-0x04"}, []string{"Name.LastName"}},
		"nothing":                                {nil, nil},
		"no bits":                                {[]string{"0x00"}, nil},
		"names, as older schemas send them":      {[]string{"Name", "Phone"}, []string{"Name", "Phone"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := s.decodeBitmap(c.in)
			require.NoError(t, err)
			require.Equal(t, c.want, got)
		})
	}
	for name, in := range map[string]string{
		"a bit beyond the last field": "0x0200", "a part beyond the last": "4-0x20", "parts of a field that has none": "5-0x01",
		"a compound that is not there": "9-0x01", "a negative index": "-1-0x01", "no hexadecimal": "0xZZ",
	} {
		t.Run(name+" is refused", func(t *testing.T) {
			t.Parallel()
			_, err := s.decodeBitmap([]string{in})
			if name == "a negative index" {
				require.NoError(t, err, "it is taken for a name, and no field has it")
				return
			}
			require.Error(t, err)
		})
	}
}

func FuzzDecodeBitmap(f *testing.F) {
	for _, seed := range []string{"0xA0", "4-0x06", "0x", "-", "99999999999999999999-0x1", "0x0g", "Name"} {
		f.Add(seed)
	}
	s := testSchema(f)
	f.Fuzz(func(t *testing.T, element string) {
		names, err := s.decodeBitmap([]string{element})
		if err == nil && isHex(element) {
			require.LessOrEqual(t, len(names), len(s.fields))
		}
	})
}

func FuzzDecodeEvent(f *testing.F) {
	s := testSchema(f)
	f.Add(encodeEvent(f, s, eventOf("UPDATE", "001000000000001AAA")))
	f.Add([]byte{})
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0x0f})
	f.Fuzz(func(_ *testing.T, payload []byte) {
		_, _ = s.decode(payload) // must neither panic nor take memory the payload does not justify
	})
}

func FuzzParseSchema(f *testing.F) {
	f.Add(schemaText(f), []byte{0, 1, 2})
	f.Add(`{"type":"record","name":"Order__e","fields":[{"name":"CreatedDate","type":"long"},{"name":"N__c","type":["null","string"]}]}`, []byte{2, 2, 2, 'x'})
	f.Add(`{"type":"record","name":"R","fields":[{"name":"Self","type":["null","R"]}]}`, []byte{2, 2, 2, 2, 0})
	f.Add(`{"type":"array","items":"null"}`, []byte{0xfe, 0xff, 0xff, 0xff, 0x0f})
	f.Fuzz(func(_ *testing.T, text string, payload []byte) {
		s, err := parseSchema(text)
		if err != nil {
			return
		}
		// Whatever a schema says, decoding neither panics nor takes memory that the payload does not justify.
		_, _, _ = s.event(payload)
		_, _ = s.decodeFields(payload)
	})
}

func TestParseSchema_Refuses(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"no schema":         `{`,
		"a record of none":  `{"type":"record","name":"X","fields":[]}`,
		"something simpler": `"string"`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := parseSchema(text)
			require.Error(t, err)
		})
	}
}
