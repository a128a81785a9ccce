package exec

import (
	"io"
	"strconv"
	"strings"

	"github.com/sloth-runner/sloth/facts"
)

// oomKills counts the processes that the kernel killed for want of memory: in
// our control group where it tells, else on the whole machine. The number only
// means something next to an earlier one.
func oomKills(v facts.Viewer) int {
	if n, ok := counter(v, groupEvents(v), "oom_kill"); ok {
		return n
	}
	n, _ := counter(v, "/proc/vmstat", "oom_kill")
	return n
}

// groupEvents is the file in which our control group (version 2) counts.
func groupEvents(v facts.Viewer) string {
	for _, line := range lines(v, "/proc/self/cgroup") {
		if group, ok := strings.CutPrefix(line, "0::/"); ok {
			return "/sys/fs/cgroup/" + group + "/memory.events"
		}
	}
	return ""
}

func counter(v facts.Viewer, file, key string) (int, bool) {
	for _, line := range lines(v, file) {
		if text, ok := strings.CutPrefix(line, key+" "); ok {
			n, err := strconv.Atoi(text)
			return n, err == nil
		}
	}
	return 0, false
}

func lines(v facts.Viewer, file string) []string {
	if file == "" {
		return nil
	}
	f, err := v.Open(file)
	if err != nil {
		return nil
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, 64<<10))
	if err != nil {
		return nil
	}
	return strings.Split(string(b), "\n")
}
