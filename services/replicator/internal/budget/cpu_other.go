//go:build !unix

package budget

import "time"

// cpuTime is not known, so that nothing is shed.
func cpuTime() (time.Duration, bool) { return 0, false }
