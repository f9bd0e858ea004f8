package edge

import (
	"net/http"
	"slices"

	"github.com/rs/cors"
)

// crossOrigin answers preflights and marks answers for listed origins. Cookies are never used, so credentials are never
// allowed. An origin that is not listed gets the answer without permission to read it.
func crossOrigin(origins []string) step {
	c := cors.New(cors.Options{
		// A list of its own would mean everybody when it is empty.
		AllowOriginFunc: func(origin string) bool { return slices.Contains(origins, origin) },
		AllowedMethods:  []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPatch},
		AllowedHeaders: []string{
			"Authorization", "Content-Type", "Idempotency-Key", "If-Match", "If-None-Match", "Last-Event-ID", "X-Request-Id", "Traceparent", "Prefer",
			"App-Version",
		},
		ExposedHeaders: []string{
			"ETag", "Location", "Retry-After", "RateLimit", "RateLimit-Policy", "X-Request-Id", "X-Error-Code", "Idempotency-Key", "Idempotency-Status",
			"Idempotent-Replayed", "Preference-Applied", "Deprecation", "Sunset", "Link", "Allow", "WWW-Authenticate",
		},
		MaxAge: 600,
	})
	return c.Handler
}
