package edge

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestKeptAnswer(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		status int
		header http.Header
		kept   map[string]string
		body   string
	}{
		"the headers of the answer are kept, those of the request are not": {
			201,
			http.Header{"Content-Type": {jsonType}, "Cache-Control": {"private, no-store"}, "Etag": {`"3~ab: c"`}, "Location": {"/v1/orders/o_1"}, "X-Request-Id": {"r"}},
			map[string]string{"Content-Type": jsonType, "Cache-Control": "private, no-store", "Etag": `"3~ab: c"`, "Location": "/v1/orders/o_1"},
			`{"a":1}`,
		},
		"a body may hold what ends the headers": {200, http.Header{"Content-Type": {jsonType}}, map[string]string{"Content-Type": jsonType}, "{\n\n\"Etag: x\":1}\n\n"},
		"nothing but a status":                  {200, http.Header{}, map[string]string{}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			held := &heldWriter{header: c.header}
			held.WriteHeader(c.status)
			_, err := held.Write([]byte(c.body))
			require.NoError(t, err)
			got := map[string]string{}
			status, body, err := keptAnswer(keptText(held), func(name, value string) { got[name] = value })
			require.NoError(t, err)
			require.Equal(t, c.status, status)
			require.Equal(t, c.kept, got)
			require.Equal(t, c.body, string(body))
		})
	}
	for _, text := range []string{"", "\n\n{}", "x\n\n{}", "-1\nEtag: x\n\n{}", `{"s":200,"h":{}}` + "\n{}"} {
		_, _, err := keptAnswer([]byte(text), func(string, string) { t.Error("a header of what cannot be read") })
		require.ErrorIs(t, err, errKept, text)
	}
}

// TestHeldWriter_Again has one writer serve two answers: the second shows nothing of the first.
func TestHeldWriter_Again(t *testing.T) {
	t.Parallel()
	held := &heldWriter{header: http.Header{"Etag": {"x"}}}
	held.WriteHeader(http.StatusCreated)
	_, err := held.Write([]byte("somebody's"))
	require.NoError(t, err)
	held.reset()
	require.Equal(t, heldWriter{body: held.body}, *held)
	require.Zero(t, held.body.Len())
}

func TestLines(t *testing.T) {
	t.Parallel()
	var l lines
	h := http.Header{}
	names := []string{"A", "B", "C", "D", "E", "F", "G", "H", "I", "J"}
	for _, name := range names {
		l.set(h, name, "of "+name)
		h.Add(name, "more")
	}
	for _, name := range names {
		require.Equal(t, []string{"of " + name, "more"}, h[name], "what is added to one does not reach the next")
	}
}
