package edge

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/pkg/telemetry"
)

// connection is a writer that notes until when it may be written to.
type connection struct {
	*httptest.ResponseRecorder
	until []time.Time
}

func (c *connection) SetWriteDeadline(t time.Time) error {
	c.until = append(c.until, t)
	return nil
}

func TestWritesEnd(t *testing.T) {
	t.Parallel()
	tel := telemetry.Discard()
	page := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("page")) })
	h, err := New(Options{Telemetry: tel, Service: fixed{}, Tokens: anyone{}, Budget: time.Second, MaxBody: 1 << 20, Pages: map[string]http.Handler{"/page": page}})
	require.NoError(t, err)
	for path, status := range map[string]int{"/v1/customers/c_a?summary=true": 200, "/page": 200, "/nope": 404, "/v1/customers?nope=1": 400} {
		t.Run("who does not take an answer is cut off: "+path, func(t *testing.T) {
			t.Parallel()
			r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil)
			r.Header.Set("Authorization", "Bearer x")
			c := &connection{ResponseRecorder: httptest.NewRecorder()}
			h.ServeHTTP(c, r)
			require.Equal(t, status, c.Code)
			require.Len(t, c.until, 1)
			require.False(t, c.until[0].IsZero())
		})
	}
	t.Run("a stream may be silent as long as it likes", func(t *testing.T) {
		t.Parallel()
		c := &connection{ResponseRecorder: httptest.NewRecorder()}
		s := &feed{out: c, control: http.NewResponseController(c)}
		require.NoError(t, s.write("data: {}\n\n"))
		require.True(t, c.Flushed)
		require.Len(t, c.until, 2)
		require.False(t, c.until[0].IsZero(), "what is written must be taken")
		require.True(t, c.until[1].IsZero(), "HTTP/2 ends a stream at its deadline, whether it is written to or not")
	})
}
