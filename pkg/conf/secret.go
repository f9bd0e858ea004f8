package conf

import "log/slog"

const hidden = "****"

// Secret is a text that never shows itself: fmt, slog, JSON and YAML see "****", or nothing if it is empty.
type Secret string

// Reveal returns the secret.
func (s Secret) Reveal() string { return string(s) }

// String returns "****", or "" for an empty secret.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return hidden
}

// GoString keeps the secret out of %#v.
func (s Secret) GoString() string { return `conf.Secret("` + s.String() + `")` }

// LogValue keeps the secret out of logs.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText keeps the secret out of JSON, YAML and everything else that encodes texts.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }
