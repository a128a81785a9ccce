package machine

import (
	"bufio"
	"os"
	"path/filepath"
	"strings"
)

// mountOf names the mount that path is on.
func mountOf(path string) string {
	if real, err := filepath.EvalSymlinks(existing(path)); err == nil {
		path = real
	}
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return path
	}
	defer f.Close()
	best := "/"
	for lines := bufio.NewScanner(f); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		if len(fields) < 5 {
			continue
		}
		at := unescape(fields[4])
		if len(at) >= len(best) && (path == at || strings.HasPrefix(path, strings.TrimSuffix(at, "/")+"/")) {
			best = at
		}
	}
	return best
}

// unescape undoes the octal escapes of spaces and the like.
func unescape(s string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(s)
}
