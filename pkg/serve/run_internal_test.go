package serve

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// connection is a writer that notes until when it may be read from.
type connection struct {
	*httptest.ResponseRecorder
	until []time.Time
}

func (c *connection) SetReadDeadline(t time.Time) error {
	c.until = append(c.until, t)
	return nil
}

func TestBodiesAreTimely(t *testing.T) {
	t.Parallel()
	h := timely(http.NotFoundHandler())
	c := &connection{ResponseRecorder: httptest.NewRecorder()}
	h.ServeHTTP(c, httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", strings.NewReader("x")))
	require.Equal(t, http.StatusNotFound, c.Code)
	require.Len(t, c.until, 1, "a body that is announced has to come")
	require.False(t, c.until[0].IsZero())
	c = &connection{ResponseRecorder: httptest.NewRecorder()}
	h.ServeHTTP(c, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil))
	require.Empty(t, c.until, "a request without one may take as long as it likes")
}
