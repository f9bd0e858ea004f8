package telemetry

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"

	"go.opentelemetry.io/otel/trace"
)

const (
	redacted = "[redacted]"
	personal = "[personal]"
)

// newLogger returns a logger that writes to w, knows the trace and keeps sensitive attributes to itself.
func newLogger(w io.Writer, service, version, level, format string) (*slog.Logger, error) {
	var lv slog.Level
	if level != "" {
		if err := lv.UnmarshalText([]byte(level)); err != nil {
			return nil, fmt.Errorf("log level %q: want debug, info, warn or error", level)
		}
	}
	opts := &slog.HandlerOptions{Level: lv, ReplaceAttr: redact}
	var h slog.Handler
	switch format {
	case "", "json":
		h = slog.NewJSONHandler(w, opts)
	case "text":
		h = slog.NewTextHandler(w, opts)
	default:
		return nil, fmt.Errorf("log format %q: want json or text", format)
	}
	log := slog.New(traced{h}).With(slog.String(KeyService, service))
	if version != "" {
		log = log.With(slog.String("service_version", version))
	}
	return log, nil
}

// traced adds the ids of the current span to every record.
type traced struct{ slog.Handler }

func (h traced) Handle(ctx context.Context, r slog.Record) error {
	if sc := trace.SpanContextFromContext(ctx); sc.IsValid() {
		r = r.Clone()
		r.AddAttrs(slog.String(KeyTraceID, sc.TraceID().String()), slog.String(KeySpanID, sc.SpanID().String()))
	}
	return h.Handler.Handle(ctx, r)
}

func (h traced) WithAttrs(attrs []slog.Attr) slog.Handler { return traced{h.Handler.WithAttrs(attrs)} }

func (h traced) WithGroup(name string) slog.Handler { return traced{h.Handler.WithGroup(name)} }

// redact replaces the value of an attribute whose key is sensitive. It sees the attributes of groups one by one.
func redact(_ []string, a slog.Attr) slog.Attr {
	if Sensitive(a.Key) {
		return slog.String(a.Key, redacted)
	}
	return a
}

// Sensitive reports whether an attribute with this key is kept out of the log. Case and the separators "-",
// "_" and "." do not matter.
func Sensitive(key string) bool {
	k := strings.Map(func(r rune) rune {
		if strings.ContainsRune("-_.", r) {
			return -1
		}
		return r
	}, strings.ToLower(key))
	switch k {
	case "name", "firstname", "lastname", "middlename", "fullname", "displayname", "customername", "legalname",
		"address", "street", "city", "postalcode", "zip", "birthdate", "dateofbirth", "taxid", "vatid", "iban",
		"pin", "otp", "jwt", "cookie", "setcookie", "clientip", "payload", "body":
		return true
	}
	for _, part := range []string{
		"email", "phone", "mobile", "token", "authorization", "password", "passwd", "secret", "assertion",
		"apikey", "privatekey", "credential", "idempotencykey",
	} {
		if strings.Contains(k, part) {
			return true
		}
	}
	return false
}

type personalValue struct{ value string }

// Personal marks a value as personal data: whatever the key, the log shows "[personal]".
func Personal(value string) slog.LogValuer { return personalValue{value} }

func (personalValue) LogValue() slog.Value { return slog.StringValue(personal) }

// String keeps the value out of fmt as well.
func (personalValue) String() string { return personal }

// GoString keeps the value out of %#v.
func (personalValue) GoString() string { return personal }
