//go:build linux || darwin

package machine

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sloth-runner/sloth/facts"
	"github.com/sloth-runner/sloth/modules"
)

// seen tells what a Viewer has at a path, in one line.
func seen(v facts.Viewer, path string) string {
	st, err := v.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "nothing"
	case err != nil:
		return err.Error()
	}
	text := Kind(st.Mode) + " " + modules.ModeText(st.Mode)
	if st.Link != "" {
		text += " -> " + st.Link
	}
	f, err := v.Open(path)
	if errors.Is(err, modules.ErrUnknown) {
		return text + " unknown"
	}
	if err != nil {
		return text
	}
	defer f.Close()
	data, err := io.ReadAll(f)
	if err != nil {
		return err.Error()
	}
	return text + " " + string(data)
}

func TestOverlayShowsThePlanOverTheHost(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	for _, d := range []string{"d/sub", "gone"} {
		if err := os.MkdirAll(at(d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, f := range []string{"d/a", "d/sub/b", "gone/x"} {
		write(t, at(f), f)
	}
	if err := os.Symlink("d", at("link")); err != nil {
		t.Fatal(err)
	}
	o := NewOverlay(New())
	o.PutFile(at("link/new"), []byte("planned"), 0o600, -1, -1)
	o.PutAttrs(at("d/a"), 0o400, -1, -1)
	o.PutDir(at("d/sub"), 0o700)
	o.PutDir(at("fresh"), 0o750)
	o.PutFile(at("fresh/f"), []byte("in a fresh folder"), 0o644, -1, -1)
	o.PutLink(at("second"), "fresh")
	o.PutUnknownFile(at("d/pkg"), 0o644)
	o.Remove(at("gone"))
	o.PutDir(at("gone"), 0o755) // another folder of that name: what was in it is gone
	o.Remove(at("d/sub/b"))
	o.PutFile(at("second/late"), []byte("through a planned link"), 0o644, -1, -1)

	for path, want := range map[string]string{
		"d/new":       "file 0600 planned",
		"link/new":    "file 0600 planned",
		"d/a":         "file 0400 d/a",
		"link/a":      "file 0400 d/a",
		"d/sub":       "directory 0700",
		"d/sub/b":     "nothing",
		"fresh/f":     "file 0644 in a fresh folder",
		"second":      "link 0777 -> fresh",
		"second/f":    "file 0644 in a fresh folder",
		"fresh/late":  "file 0644 through a planned link",
		"fresh/other": "nothing",
		"d/pkg":       "file 0644 unknown",
		"gone":        "directory 0755",
		"gone/x":      "nothing",
		"link":        "link 0777 -> d",
	} {
		if got := seen(o, at(path)); got != want {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
	for path, want := range map[string]string{"": "d fresh gone link second", "d": "a new pkg sub", "link/sub": "", "second": "f late", "gone": ""} {
		list, err := o.ReadDir(at(path))
		if err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		var names []string
		for _, st := range list {
			names = append(names, st.Name)
		}
		if got := strings.Join(names, " "); got != want {
			t.Errorf("%q holds %s, want %s", path, got, want)
		}
	}
	if _, err := o.ReadDir(at("nowhere")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a folder that is not there: %v", err)
	}
	if seen(New(), at("d/a")) != "file 0644 d/a" || seen(New(), at("fresh")) != "nothing" {
		t.Error("the host was changed")
	}
	o.Note("package:nginx", "present")
	if v, ok := NewOverlay(o).Noted("package:nginx"); v != "present" || !ok {
		t.Error("a plan over a plan does not know its notes")
	}
}

func TestOverlayEndsLoopsOfLinks(t *testing.T) {
	dir := t.TempDir()
	o := NewOverlay(New())
	o.PutLink(filepath.Join(dir, "a"), "b")
	o.PutLink(filepath.Join(dir, "b"), "a")
	if _, err := o.Stat(filepath.Join(dir, "a")); err == nil || !strings.Contains(err.Error(), "too many levels") {
		t.Errorf("%v", err)
	}
}
