package private

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestFolder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	for _, mode := range []fs.FileMode{0, 0o755} {
		if mode != 0 {
			if err := os.Chmod(dir, mode); err != nil {
				t.Fatal(err)
			}
		}
		if err := errors.Join(Folder(dir), Check(dir)); err != nil {
			t.Errorf("empty, with mode %o: %v", mode, err)
		}
	}
	if err := errors.Join(os.WriteFile(filepath.Join(dir, "file"), nil, 0o600), os.Chmod(dir, 0o755)); err != nil {
		t.Fatal(err)
	}
	var e *Error
	if err := Folder(dir); !errors.As(err, &e) {
		t.Errorf("a full one: %v", err)
	}
}

func TestCheck(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		path string
		mode fs.FileMode
		hint string // empty: it is private
	}{
		{dir, 0o700, ""}, {file, 0o600, ""}, {file, 0o400, ""}, {dir, 0o500, ""},
		{dir, 0o755, "chmod -R go= " + dir}, {dir, 0o710, "chmod -R go= " + dir}, {file, 0o640, "chmod 600 " + file}, {file, 0o602, "chmod 600 " + file},
	} {
		if err := os.Chmod(c.path, c.mode); err != nil {
			t.Fatal(err)
		}
		err := Check(c.path)
		var e *Error
		if c.hint == "" && err != nil || c.hint != "" && (!errors.As(err, &e) || !strings.HasSuffix(e.Error(), c.hint) || !strings.Contains(e.Error(), "is open to other users (mode 0")) {
			t.Errorf("%s with mode %o: %v", c.path, c.mode, err)
		}
		if err := os.Chmod(c.path, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := Check(filepath.Join(dir, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	if os.Geteuid() == 0 {
		if err := os.Chown(file, 4711, 0); err != nil {
			t.Fatal(err)
		}
		var e *Error
		if err := Check(file); !errors.As(err, &e) || !strings.Contains(err.Error(), "belongs to user id 4711 and this is user id 0") || !strings.Contains(err.Error(), "XDG_STATE_HOME") {
			t.Error(err)
		}
	}
}
