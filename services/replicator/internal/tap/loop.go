package tap

import (
	"net/http"
	"strings"

	"github.com/foreshadow/foreshadow/libs/traffic"
)

// IsLoop reports whether a request comes from the shadow: by the runner's own mark, or by the baggage that the shadow's
// calls to other services carry.
func IsLoop(h http.Header) bool {
	if traffic.IsShadow(h) {
		return true
	}
	for _, line := range h["Baggage"] {
		for member := range strings.SplitSeq(line, ",") {
			name, _, _ := strings.Cut(member, "=")
			if strings.TrimSpace(name) == traffic.ShadowBaggage {
				return true
			}
		}
	}
	return false
}
