package experiencemobile_test

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/services/experience-mobile/conform"
)

type object = map[string]any

// conforms checks an answer against the published description (M50); the stories of the suite do the same.
func conforms(t *testing.T, method, path string, a answer) {
	t.Helper()
	require.NoError(t, conform.Check(method, path, a.status, a.header, []byte(a.body)))
}

// Whatever differs from the description is found.
func TestConform(t *testing.T) {
	t.Parallel()
	w := setup(t)
	const path = "/v1/customers/" + known
	a := w.do(t, "GET", path)
	check := func(method, path string, status int, change func(v object)) error {
		var v object
		require.NoError(t, json.Unmarshal([]byte(a.body), &v))
		change(v)
		text, err := json.Marshal(v)
		require.NoError(t, err)
		return conform.Check(method, path, status, a.header, text)
	}
	same := func(object) {}
	require.NoError(t, check("GET", path, 200, same))
	require.NoError(t, check("GET", "/elsewhere", 200, same))
	require.ErrorContains(t, check("GET", path, 299, same), "299")
	require.ErrorContains(t, check("HEAD", path, 200, same), "with a body")
	require.NoError(t, conform.Check("HEAD", path, 200, a.header, nil))
	require.ErrorContains(t, check("GET", path, 200, func(v object) { v["more"] = 1 }), "/more is not documented")
	require.ErrorContains(t, check("GET", path, 200, func(v object) { v["name"] = 1 }), "/name is integer")
	require.ErrorContains(t, check("GET", path, 200, func(v object) { v["createTime"] = "yesterday" }), "/createTime")
	require.ErrorContains(t, check("GET", path, 200, func(v object) { v["createTime"] = "2026-03-04T05:06:07+01:00" }), "UTC")
	require.ErrorContains(t, check("GET", path+"?fields=name", 200, func(v object) { v["more"] = 1 }), "/more is not documented")
	changed := func(status int, name, value string) error {
		header := a.header.Clone()
		if header.Set(name, value); value == "" {
			header.Del(name)
		}
		return conform.Check("GET", path, status, header, []byte(a.body))
	}
	require.ErrorContains(t, changed(200, "Content-Type", "text/plain"), "text/plain")
	require.ErrorContains(t, changed(200, "X-Request-Id", ""), "header X-Request-Id is missing")
	require.ErrorContains(t, changed(200, "X-Request-Id", "a b"), "header X-Request-Id: does not match")
	require.ErrorContains(t, changed(200, "ETag", ""), "header ETag is missing")
	require.ErrorContains(t, changed(200, "ETag", "a"), "header ETag: does not match")
	require.NoError(t, changed(200, "Retry-After", "soon"), "not described for this answer")
	busy := w.do(t, "GET", "/v1/customers/"+unavailable)
	for value, says := range map[string]string{"": "is missing", "soon": "no whole number", "0": "less than 1"} {
		header := busy.header.Clone()
		if header.Set("Retry-After", value); value == "" {
			header.Del("Retry-After")
		}
		require.ErrorContains(t, conform.Check("GET", path, 503, header, []byte(busy.body)), says)
	}
}
