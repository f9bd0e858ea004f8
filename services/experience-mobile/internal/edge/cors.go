package edge

import (
	"net/http"
	"strings"
)

// What a web page may send, and which headers of an answer it may read.
const (
	corsMethods = "GET, HEAD, POST, PATCH, OPTIONS"
	corsHeaders = "Authorization, Content-Type, Idempotency-Key, If-Match, If-None-Match, Last-Event-ID, X-Request-Id, Traceparent, Prefer, App-Version"
	corsExposed = "ETag, Location, Retry-After, RateLimit, RateLimit-Policy, X-Request-Id, X-Error-Code, Idempotency-Key, " +
		"Idempotency-Status, Idempotent-Replayed, Preference-Applied, Deprecation, Sunset, Link, Allow, WWW-Authenticate"
	corsMaxAge = "600"
)

// cors answers preflights and marks answers for listed origins. Cookies are never used, so credentials are never
// allowed. An origin that is not listed gets the answer without permission to read it.
func (e *edge) cors(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		origin := r.Header.Get("Origin")
		allowed := origin != "" && e.origins[origin]
		if allowed {
			h.Set("Access-Control-Allow-Origin", origin)
			h.Set("Access-Control-Expose-Headers", corsExposed)
		}
		if r.Method != http.MethodOptions || origin == "" || r.Header.Get("Access-Control-Request-Method") == "" {
			next.ServeHTTP(w, r)
			return
		}
		h.Set("Vary", strings.Join([]string{"Origin", "Access-Control-Request-Method", "Access-Control-Request-Headers"}, ", "))
		if allowed {
			h.Del("Access-Control-Expose-Headers")
			h.Set("Access-Control-Allow-Methods", corsMethods)
			h.Set("Access-Control-Allow-Headers", corsHeaders)
			h.Set("Access-Control-Max-Age", corsMaxAge)
		}
		w.WriteHeader(http.StatusNoContent)
	})
}
