//go:build linux

package main

import (
	"strings"
	"testing"
)

func TestAMissedTargetIsAnError(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	good := table{}
	good.check(true, "a", "at most 1", "%d", 1)
	good.tell("b", "%d", 7)
	if err := good.print(&out); err != nil {
		t.Error(err)
	}
	good.check(false, "c", "at most 1", "%d", 2)
	if err := good.print(&out); err == nil || !strings.Contains(err.Error(), "1 of 3") || strings.Count(out.String(), "MISSED") != 1 {
		t.Errorf("%v\n%s", err, out.String())
	}
}
