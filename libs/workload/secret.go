package workload

import (
	"log/slog"
	"net/url"
)

// Secret is a string that never prints itself.
type Secret string

// String returns a placeholder, so that no log or error shows the secret.
func (Secret) String() string { return "[redacted]" }

// GoString is String for %#v.
func (Secret) GoString() string { return "[redacted]" }

// LogValue keeps the secret out of logs.
func (Secret) LogValue() slog.Value { return slog.StringValue("[redacted]") }

// MarshalText keeps the secret out of YAML and JSON written for people.
func (Secret) MarshalText() ([]byte, error) { return []byte("[redacted]"), nil }

// Reveal returns the secret itself, for the one place that needs it.
func (s Secret) Reveal() string { return string(s) }

// Redacted returns a URL with its password replaced, for errors and logs.
func Redacted(raw Secret) string {
	u, err := url.Parse(raw.Reveal())
	if err != nil {
		return "[redacted]"
	}
	return u.Redacted()
}
