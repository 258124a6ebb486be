package redact_test

import (
	"strings"
	"testing"

	"github.com/foreshadow/foreshadow/libs/traffic"
	"github.com/foreshadow/foreshadow/libs/workload"
	"github.com/foreshadow/foreshadow/services/replicator/internal/redact"
)

// TestWhatIsSaidOfAnswers: media types and names of fields, as far as they are none of their users' secrets.
func TestWhatIsSaidOfAnswers(t *testing.T) {
	t.Parallel()
	r := redact.New(workload.Tap{RedactPatterns: []string{"internal"}}, traffic.NewSampler("key"))
	token := strings.Repeat("aZ3", 12)
	for range 2 { // what was seen before is remembered
		for kind, want := range map[string]string{
			"application/json": "application/json", "Application/JSON; charset=" + token: "application/json", "text/html;charset=utf-8": "text/html",
			"application/problem+json": "application/problem+json", "application/vnd.api+json": "application/vnd.api+json", "image/svg+xml": "image/svg+xml",
			"application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
			"application/" + token + "+json":                                    "", "application/internal": "", "": "", "application/json;;": "", "text/\u00e9": "",
		} {
			if got := r.Media(kind); got != want {
				t.Errorf("%q: %q, want %q", kind, got, want)
			}
		}
	}
	for name, want := range map[string]bool{
		"id": true, "firstName": true, "created_at": true, "x-total": true, token: false, "AKIAABCDEFGHIJKLMNOP": false, "internalNote": false, "ann@example.com": false,
	} {
		if got := r.Admits(name); got != want {
			t.Errorf("%q: %v", name, got)
		}
	}
}
