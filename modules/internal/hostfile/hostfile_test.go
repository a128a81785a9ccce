package hostfile

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sloth-runner/sloth/modules"
	"github.com/sloth-runner/sloth/modules/machine"
)

func TestWords(t *testing.T) {
	for line, want := range map[string][]string{
		`nginx -t -c %s`:     {"nginx", "-t", "-c", "%s"},
		`sh -c 'a "b" $c' x`: {"sh", "-c", `a "b" $c`, "x"},
		`a "b \" c" ''`:      {"a", `b " c`, ""},
		`a\ b   c`:           {"a b", "c"},
	} {
		if got, err := Words(line); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %q, %v", line, got, err)
		}
	}
	for _, line := range []string{``, `  `, `a "b`, `a 'b`, `a\`} {
		if got, err := Words(line); err == nil {
			t.Errorf("%q was taken for %q", line, got)
		}
	}
}

// TestARefusedFileLeavesNothingBehind: neither a backup nor a temporary file.
func TestARefusedFileLeavesNothingBehind(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "conf")
	if err := os.WriteFile(path, []byte("old\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	m := machine.New()
	w := Want{Path: path, Source: Bytes([]byte("bad\n"), false), Keep: Keep{Backup: true, Validate: `sh -c 'echo line 1 of "$0" is bad >&2; exit 4' %s`}}
	d, err := w.Check(context.Background(), m)
	if err != nil || d.Empty() {
		t.Fatal(d, err)
	}
	err = w.Apply(context.Background(), m)
	want := "refused the new file (exit code 4): line 1 of " + path + " is bad; the old one is untouched"
	if err == nil || !strings.HasSuffix(err.Error(), want) {
		t.Errorf("%v", err)
	}
	list, errDir := os.ReadDir(dir)
	data, errRead := os.ReadFile(path)
	if errDir != nil || errRead != nil || len(list) != 1 || string(data) != "old\n" || w.BackupFile() != "" {
		t.Errorf("%v, %q, %v, %v", list, data, errDir, errRead)
	}
}

// TestOtherNamesOfAFile keep the old content with a warning, or see the new one.
func TestOtherNamesOfAFile(t *testing.T) {
	dir := t.TempDir()
	path, other := filepath.Join(dir, "f"), filepath.Join(dir, "other")
	if err := os.WriteFile(path, []byte("old"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Link(path, other); err != nil {
		t.Fatal(err)
	}
	m := machine.New()
	var said []string
	ctx := modules.WithCall(t.Context(), modules.Call{Machine: m, Log: func(level, text string, _ map[string]any) { said = append(said, level+": "+text) }})
	for _, c := range []struct {
		text    string
		inPlace bool
		other   string
	}{{"new", true, "new"}, {"newer", false, "new"}} {
		w := Want{Path: path, Source: Bytes([]byte(c.text), false), Keep: Keep{InPlace: c.inPlace, Backup: true}}
		if _, err := w.Check(ctx, m); err != nil {
			t.Fatal(err)
		}
		if err := w.Apply(ctx, m); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(other)
		if err != nil || string(got) != c.other {
			t.Errorf("in place %t: the other name has %q, %v", c.inPlace, got, err)
		}
		want := map[bool]string{true: "old", false: "new"}[c.inPlace]
		if text, err := os.ReadFile(w.BackupFile()); err != nil || string(text) != want {
			t.Errorf("in place %t: the backup has %q, %v", c.inPlace, text, err)
		}
	}
	want := "warn: " + path + " had 2 names; the others keep the old content (in_place = true changes it under all of them)"
	if len(said) != 1 || said[0] != want {
		t.Errorf("%q", said)
	}
}

func TestOwnersByNameNumberAndPlan(t *testing.T) {
	ctx := context.Background()
	o := machine.NewOverlay(machine.New())
	for name, want := range map[string]int{"root": 0, "0": 0, "4711": 4711} {
		if id, err := UserID(ctx, o, name); err != nil || id != want {
			t.Errorf("%s: %d, %v", name, id, err)
		}
	}
	if _, err := UserID(ctx, o, "webapp"); err == nil || err.Error() != `there is no user "webapp" on this host` {
		t.Errorf("%v", err)
	}
	bringing := machine.NewOverlay(machine.New())
	bringing.Note(modules.NotedTool, "pkg.install")
	if id, err := UserID(ctx, bringing, "webapp"); err != nil || id != PlannedID {
		t.Errorf("a user of a planned package: %d, %v", id, err)
	}
	o.Note("user:webapp", modules.Present)
	if id, err := UserID(ctx, o, "webapp"); err != nil || id != PlannedID {
		t.Errorf("a planned user: %d, %v", id, err)
	}
	// A file may be planned for a user who is only planned.
	path := filepath.Join(t.TempDir(), "f")
	w := Want{Path: path, Source: Bytes([]byte("x"), false), Attrs: Attrs{Owner: "webapp"}}
	d, err := w.Check(ctx, o)
	if err != nil || !d.Has(path, "owner") {
		t.Fatal(d, err)
	}
	if err := w.Plan(ctx, o); err != nil {
		t.Fatal(err)
	}
	again := Want{Path: path, Source: Bytes([]byte("x"), false), Attrs: Attrs{Owner: "webapp"}}
	if d, err := again.Check(ctx, o); err != nil || !d.Empty() {
		t.Errorf("the same again: %+v, %v", d, err)
	}
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		t.Error("the plan wrote the file")
	}
}

func TestAShortSourceDoesNotBecomeAFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	src := Bytes([]byte("all of it"), false)
	src.Size++
	w := Want{Path: path, Source: src}
	m := machine.New()
	if _, err := w.Check(context.Background(), m); err != nil {
		t.Fatal(err)
	}
	if err := w.Apply(context.Background(), m); err == nil || !strings.Contains(err.Error(), "was cut short by 1 bytes") {
		t.Errorf("%v", err)
	}
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		t.Error("a short file was written")
	}
}
