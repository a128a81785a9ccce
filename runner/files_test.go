package runner

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestFilesThatCannotBeRead: what a host asks for, and what people see of it.
func TestFilesThatCannotBeRead(t *testing.T) {
	dir := t.TempDir()
	f, err := openFiles(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer f.close()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.Mkdir(filepath.Join(dir, "d"), 0o755))
	must(os.Symlink("/etc/passwd", filepath.Join(dir, "link")))
	must(syscall.Mkfifo(filepath.Join(dir, "fifo"), 0o600))
	must(os.WriteFile(filepath.Join(dir, "closed.j2"), []byte("x"), 0))
	for src, want := range map[string]string{
		"gone.j2":       "read gone.j2: no such file in DIR",
		"d":             "read d: not a regular file",
		"fifo":          "read fifo: not a regular file",
		"link":          "read link: it leads out of the script's folder DIR, and hosts are given nothing else",
		"../x":          "read ../x: it is not below the script's folder DIR, and hosts are given nothing else",
		"/etc/passwd":   "read /etc/passwd: it is not below the script's folder DIR, and hosts are given nothing else",
		"closed.j2":     "read closed.j2: openat closed.j2: permission denied",
		"gone.j2/under": "read gone.j2/under: no such file in DIR",
	} {
		file, err := f.open(src)
		if err == nil {
			file.Close()
			if src == "closed.j2" && os.Geteuid() == 0 {
				continue // root reads everything
			}
		}
		if err == nil || strings.ReplaceAll(err.Error(), dir, "DIR") != want {
			t.Errorf("%s: %v\nwanted %s", src, err, want)
		}
	}
	for of, want := range map[string]string{
		"gone":      "read gone: no such file in DIR",
		"closed.j2": "list closed.j2: not a folder",
	} {
		if _, err := f.list(of); err == nil || strings.ReplaceAll(err.Error(), dir, "DIR") != want {
			t.Errorf("%s: %v\nwanted %s", of, err, want)
		}
	}
}
