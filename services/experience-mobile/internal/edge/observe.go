package edge

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"github.com/selfsame-io/selfsame/pkg/telemetry"
)

const (
	serverName   = "experience-mobile"
	unknownRoute = "unknown"
)

// observe measures the request and makes a span of it.
func (e *edge) observe(next http.Handler) http.Handler {
	return e.measure.wrap(func(s *statusWriter, r *http.Request) { e.logged(next, s, r) })
}

func routeName(ctx context.Context) string {
	if rt := callOf(ctx).route; rt != nil {
		return rt.template
	}
	return unknownRoute
}

// logged writes one line per request: at debug level, or as a warning when we failed.
func (e *edge) logged(next http.Handler, s *statusWriter, r *http.Request) {
	begin := time.Now()
	defer func() {
		level := slog.LevelDebug
		if s.status >= http.StatusInternalServerError {
			level = slog.LevelWarn
		}
		if !e.log.Enabled(r.Context(), level) {
			return
		}
		e.log.LogAttrs(r.Context(), level, "request answered",
			slog.String(keyRequestID, callOf(r.Context()).id),
			slog.String(telemetry.KeyMethod, verbName(r.Method)),
			slog.String("route", routeName(r.Context())),
			slog.Int("status", s.status),
			slog.String(telemetry.KeyReason, s.Header().Get("X-Error-Code")),
			slog.Int64("bytes", s.bytes),
			slog.Int64(telemetry.KeyDuration, time.Since(begin).Milliseconds()))
	}()
	next.ServeHTTP(s, r)
}

// verbName keeps invented methods out of the log.
func verbName(m string) string {
	switch m {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPatch, http.MethodPut, http.MethodDelete, http.MethodOptions:
		return m
	}
	return "OTHER"
}
