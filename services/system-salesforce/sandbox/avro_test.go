package sandbox_test

import (
	"encoding/binary"
	"encoding/json"
	"math"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// decoder reads Avro by the specification alone, so that it shares nothing with
// the encoder under test.
type decoder struct {
	t     testing.TB
	b     []byte
	named map[string]map[string]any
}

func decodeAvro(t testing.TB, schema string, b []byte) map[string]any {
	t.Helper()
	var s map[string]any
	require.NoError(t, json.Unmarshal([]byte(schema), &s))
	d := &decoder{t: t, b: b, named: map[string]map[string]any{}}
	v := d.value(s).(map[string]any)
	require.Empty(t, d.b, "bytes after the event")
	return v
}

func (d *decoder) long() int64 {
	u, n := binary.Uvarint(d.b)
	require.Positive(d.t, n)
	d.b = d.b[n:]
	return int64(u>>1) ^ -int64(u&1)
}

func (d *decoder) take(n int) []byte {
	require.LessOrEqual(d.t, n, len(d.b))
	out := d.b[:n]
	d.b = d.b[n:]
	return out
}

func (d *decoder) value(schema any) any {
	switch s := schema.(type) {
	case []any:
		return d.value(s[d.long()])
	case map[string]any:
		switch s["type"] {
		case "record":
			d.named[s["name"].(string)] = s
			out := map[string]any{}
			for _, f := range s["fields"].([]any) {
				m := f.(map[string]any)
				out[m["name"].(string)] = d.value(m["type"])
			}
			return out
		case "array":
			out := []any{}
			for n := d.long(); n != 0; n = d.long() {
				require.Positive(d.t, n, "sized blocks are not expected")
				for range n {
					out = append(out, d.value(s["items"]))
				}
			}
			return out
		case "enum":
			return s["symbols"].([]any)[d.long()]
		}
		return d.value(s["type"])
	}
	switch name := schema.(string); name {
	case "null":
		return nil
	case "string", "bytes":
		return string(d.take(int(d.long())))
	case "int", "long":
		return d.long()
	case "double":
		return math.Float64frombits(binary.LittleEndian.Uint64(d.take(8)))
	case "boolean":
		return d.take(1)[0] == 1
	default:
		known := d.named[name]
		require.NotNil(d.t, known, "undefined type %s", name)
		return d.value(known)
	}
}

// fieldNames decodes the bitmaps of a header field into dotted names.
func fieldNames(t *testing.T, schema string, bitmaps any) []string {
	t.Helper()
	var s map[string]any
	require.NoError(t, json.Unmarshal([]byte(schema), &s))
	out := []string{}
	for _, x := range bitmaps.([]any) {
		text := x.(string)
		fields, prefix := s["fields"].([]any), ""
		if parent, nested, ok := strings.Cut(text, "-"); ok {
			i, err := strconv.Atoi(parent)
			require.NoError(t, err)
			f := fields[i].(map[string]any)
			prefix, text = f["name"].(string)+".", nested
			fields = nestedFields(t, s, f["type"])
		}
		require.Regexp(t, `^0x([0-9A-F]{2})+$`, text)
		for i, f := range fields {
			byteAt := len(text) - 2*(i/8+1)
			if byteAt < 2 {
				break
			}
			v, err := strconv.ParseUint(text[byteAt:byteAt+2], 16, 8)
			require.NoError(t, err)
			if v&(1<<(i%8)) != 0 {
				out = append(out, prefix+f.(map[string]any)["name"].(string))
			}
		}
	}
	return out
}

// nestedFields finds the record branch of a union, by definition or by name.
func nestedFields(t *testing.T, root map[string]any, union any) []any {
	t.Helper()
	for _, branch := range union.([]any) {
		if m, ok := branch.(map[string]any); ok {
			return m["fields"].([]any)
		}
		for _, f := range root["fields"].([]any) {
			branches, _ := f.(map[string]any)["type"].([]any)
			for _, b := range branches {
				if m, ok := b.(map[string]any); ok && m["name"] == branch {
					return m["fields"].([]any)
				}
			}
		}
	}
	require.Fail(t, "no record branch")
	return nil
}
