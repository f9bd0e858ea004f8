package edge

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/pkg/telemetry"
)

// TestBodiesInTime looks at what becomes of the connection of a request that announces a body.
func TestBodiesInTime(t *testing.T) {
	t.Parallel()
	page := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("page")) })
	h, err := New(Options{
		Telemetry: telemetry.Discard(), Service: fixed{}, Tokens: anyone{}, Budget: time.Second, MaxBody: 1 << 10, Pages: map[string]http.Handler{"/page": page},
	})
	require.NoError(t, err)
	const key = "a-key-for-the-test"
	large := strings.Repeat("x", 2<<10)
	for name, c := range map[string]struct {
		line, key, body string
		chunked         bool
		proto           int
		status          int
		closes, bounded bool
	}{
		"refused before its body is read":        {line: "POST /v1/customers?", body: "{}", proto: 1, status: 401, closes: true, bounded: true},
		"nothing there":                          {line: "POST /nope", body: "{}", proto: 1, status: 404, closes: true, bounded: true},
		"a document":                             {line: "GET /page", body: "{}", proto: 1, status: 200, closes: true, bounded: true},
		"too large":                              {line: "POST /v1/customers", key: key, body: large, proto: 1, status: 413, closes: true, bounded: true},
		"refused when its body is read":          {line: "POST /v1/customers", key: key, body: "{", proto: 1, status: 400},
		"answered":                               {line: "GET /v1/customers/c_a?summary=true", key: key, body: "{}", proto: 1, status: 200},
		"in chunks, that may hide a length":      {line: "GET /v1/customers/c_a?summary=true", key: key, body: "{}", chunked: true, proto: 1, status: 200, closes: true},
		"refused on a connection that is shared": {line: "POST /nope", body: "{}", proto: 2, status: 404, bounded: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			method, target, _ := strings.Cut(c.line, " ")
			r := httptest.NewRequestWithContext(t.Context(), method, target, strings.NewReader(c.body))
			r.ProtoMajor = c.proto
			if c.chunked {
				r.ContentLength, r.TransferEncoding = -1, []string{"chunked"}
			}
			if c.key != "" {
				r.Header.Set("Authorization", "Bearer x")
				r.Header.Set("Content-Type", "application/json")
				r.Header.Set("Idempotency-Key", c.key)
			}
			w := &connection{ResponseRecorder: httptest.NewRecorder()}
			h.ServeHTTP(w, r)
			require.Equal(t, c.status, w.Code, w.Body)
			require.Equal(t, c.closes, w.Header().Get("Connection") == "close")
			require.NotEmpty(t, w.reads)
			require.False(t, w.reads[0].IsZero(), "a body that is announced has to come")
			require.Equal(t, c.bounded, !w.reads[len(w.reads)-1].IsZero())
		})
	}
}
