package rest

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"
)

// FuzzSaved holds the quick way of reading an answer against encoding/json: what it reads at all, it reads the same.
func FuzzSaved(f *testing.F) {
	f.Add([]byte(`[{"id":"001A","success":true,"errors":[],"created":true},{"id":"001B","success":true,"errors":[],"created":false}]`))
	f.Add([]byte(` [{"success":true,"errors":[],"id":"001A"}] `))
	f.Add([]byte(`[{"id":"001A","success":true,"errors":[],"created":true},{"success":false,"errors":[{"statusCode":"X"}]}]`))
	f.Add([]byte(`[{"id":"a","id":"b","success":true,"errors":[]}]`))
	f.Add([]byte(`[{"id":"a\u0041","success":true,"errors":[]},]`))
	f.Add([]byte(`[]`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var got, want saved
		if !got.quick(data) {
			return
		}
		require.NoError(t, json.Unmarshal(data, &want))
		require.Len(t, got, len(want))
		for i := range want {
			want[i].Errors = nil
			require.Equal(t, want[i], got[i])
		}
	})
}

func TestSaved(t *testing.T) {
	t.Parallel()
	var s saved
	require.True(t, s.quick([]byte(`[{"id":"001A","success":true,"errors":[],"created":true},{"id":"001B","success":true,"errors":[]}]`)), "the usual answer")
	require.Equal(t, saved{{ID: "001A", Success: true, Created: true}, {ID: "001B", Success: true}}, s)
	for name, text := range map[string]string{
		"a refusal": `[{"success":false,"errors":[{"statusCode":"X","message":"m","fields":[]}]}]`, "none": `[]`, "spaces": `[{ "id":"001A","success":true,"errors":[]}]`,
		"broken off": `[{"id":"001A","success":true,"errors":[]}`, "no id": `[{"success":true,"errors":[]}]`, "more": `[{"id":"001A","success":true,"errors":[]}]x`,
	} {
		var s saved
		require.False(t, s.quick([]byte(text)), name)
	}
}
