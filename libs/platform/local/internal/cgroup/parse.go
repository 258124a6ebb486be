package cgroup

import "strings"

// parseMounts reads /proc/self/mountinfo: where each controller of version 1 is mounted, and version 2 under the name "".
func parseMounts(text string) map[string]string {
	out := map[string]string{}
	for line := range strings.Lines(text) {
		// 36 25 0:31 /root /sys/fs/cgroup/cpu rw,relatime shared:9 - cgroup cgroup rw,cpu
		front, back, found := strings.Cut(strings.TrimSpace(line), " - ")
		fields, about := strings.Fields(front), strings.Fields(back)
		if !found || len(fields) < 5 || len(about) < 3 {
			continue
		}
		switch at := unescape(fields[4]); about[0] {
		case "cgroup2":
			out[""] = at
		case "cgroup":
			for option := range strings.SplitSeq(about[2], ",") {
				out[option] = at
			}
		}
	}
	return out
}

// unescape reads the octal numbers that stand for what would end a field.
func unescape(path string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(path)
}

// parseGroups reads /proc/self/cgroup: the group of this process in each controller of version 1, and that of version 2 under
// the name "".
func parseGroups(text string) map[string]string {
	out := map[string]string{}
	for line := range strings.Lines(text) {
		// 4:cpu,cpuacct:/user.slice
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(parts) != 3 {
			continue
		}
		for controller := range strings.SplitSeq(parts[1], ",") {
			out[controller] = parts[2]
		}
	}
	return out
}
