package worker

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"time"
)

// A host keeps one shim of each version that was used there. One that nobody has
// started for shimAge goes when another is put beside it; the time of a start is
// the file's own, and exact to a day.
const (
	shimAge  = 30 * 24 * time.Hour
	touchAge = 24 * time.Hour
)

var shimNames = regexp.MustCompile(`^shim-[0-9a-f]{64}$`)

// useShim notes that this program is used and, where it was put there just now,
// tidies beside it until wait returns.
func useShim(fresh bool) (wait func()) {
	self, err := os.Executable()
	if err != nil || !shimNames.MatchString(filepath.Base(self)) {
		return func() {}
	}
	touchShim(self, time.Now())
	if !fresh {
		return func() {}
	}
	tidied := make(chan struct{})
	go func() { defer close(tidied); tidyShims(self, time.Now()) }()
	return func() { <-tidied }
}

// touchShim notes that a shim is used.
func touchShim(path string, now time.Time) {
	if st, err := os.Stat(path); err == nil && now.Sub(st.ModTime()) > touchAge {
		_ = os.Chtimes(path, now, now) // it may go too early, and is put there again
	}
}

// tidyShims removes old shims of ours beside the one at self. One that runs stays;
// where nobody says what runs all do.
func tidyShims(self string, now time.Time) {
	dir := filepath.Dir(self)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	var old []string
	for _, e := range entries {
		st, err := e.Info()
		if err == nil && shimNames.MatchString(e.Name()) && e.Name() != filepath.Base(self) && st.Mode().IsRegular() && mine(st) && now.Sub(st.ModTime()) > shimAge {
			old = append(old, filepath.Join(dir, e.Name()))
		}
	}
	if len(old) == 0 {
		return
	}
	running, known := commandLines()
	for _, path := range old {
		if known && !bytes.Contains(running, []byte(filepath.Base(path))) {
			_ = os.Remove(path) // the next delivery tries again
		}
	}
}

// commandLines are the arguments of all processes. The link to a worker's program
// is not for others of its user to read; its arguments are.
func commandLines() (all []byte, known bool) {
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		return nil, false
	}
	for _, f := range files {
		b, _ := os.ReadFile(f) // it may have ended
		all = append(append(all, b...), 0)
	}
	return all, len(all) > 0
}
