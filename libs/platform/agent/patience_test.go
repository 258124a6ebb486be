package agent_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/foreshadow/foreshadow/libs/platform/agent"
)

func TestPatience(t *testing.T) {
	t.Parallel()
	slow, refused := fmt.Errorf("ask: %w", context.DeadlineExceeded), errors.New("connection refused")
	at := func(err error, times int) []error {
		out := make([]error, times)
		for i := range out {
			out[i] = err
		}
		return out
	}
	for name, tc := range map[string]struct {
		answers []error // one each second; nil is well
		givenUp int     // at which, counted from 1; 0 for never
		why     string
	}{
		"well":                        {at(nil, 100), 0, ""},
		"refused":                     {at(refused, 5), 3, "missed 3 checks in a row, the last: connection refused"},
		"refused now and then":        {append(append(at(refused, 2), nil), at(refused, 2)...), 0, ""},
		"no answer":                   {at(slow, 40), 30, "answered no check for 30s"},
		"no answer for a while":       {append(append(at(slow, 29), nil), at(slow, 29)...), 0, ""},
		"no answer, and then it dies": {append(at(slow, 10), at(refused, 3)...), 13, "missed 3"},
		"refused among no answers":    {[]error{refused, slow, refused, slow, refused}, 5, "missed 3"},
	} {
		var v agent.Vigil
		now := time.Unix(1000, 0)
		v.Well(now)
		given, reason := 0, ""
		for i, err := range tc.answers {
			now = now.Add(time.Second)
			if err == nil {
				v.Well(now)
			} else if reason = v.Missed(err, now, agent.DefaultPatience()); reason != "" {
				given = i + 1
				break
			}
		}
		if given != tc.givenUp || !strings.HasPrefix(reason, tc.why) || (tc.why == "") != (reason == "") {
			t.Errorf("%s: given up at %d, %q; want %d, %q", name, given, reason, tc.givenUp, tc.why)
		}
	}
}
