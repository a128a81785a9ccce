package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/sloth-runner/sloth/modules/all"
)

func TestPagesAreTheSameEveryTimeAndOldOnesGo(t *testing.T) {
	read := func(dir string) map[string]string {
		t.Helper()
		files, err := filepath.Glob(filepath.Join(dir, "*"))
		if err != nil {
			t.Fatal(err)
		}
		out := map[string]string{}
		for _, f := range files {
			data, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			out[filepath.Base(f)] = string(data)
		}
		return out
	}
	a, b := t.TempDir(), t.TempDir()
	if err := os.WriteFile(filepath.Join(b, "gone.md"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{a, b} {
		if err := generate(dir, all.Modules()); err != nil {
			t.Fatal(err)
		}
	}
	first, second := read(a), read(b)
	if len(first) != len(all.Modules())+2 || len(second) != len(first) {
		t.Errorf("%d and %d pages for %d modules", len(first), len(second), len(all.Modules()))
	}
	for name, text := range first {
		if second[name] != text || text == "" {
			t.Errorf("%s differs from run to run, or is empty", name)
		}
	}
}
