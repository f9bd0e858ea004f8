package telemetrytest

import (
	"net/http"
	"net/http/httptest"
	"strings"
)

// Sample returns the value of a series as a page of metrics shows it, for example of `selfsame_things_total{kind="a"}`; an empty
// one when it is not there.
func Sample(page http.Handler, series string) string {
	rec := httptest.NewRecorder()
	page.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/metrics", nil)) //nolint:noctx // nothing is sent
	for line := range strings.Lines(rec.Body.String()) {
		if value, ok := strings.CutPrefix(line, series+" "); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}
