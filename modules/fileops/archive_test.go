package fileops

import (
	"bytes"
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/sloth-runner/sloth/modules"
	"github.com/sloth-runner/sloth/modules/internal/pack"
	"github.com/sloth-runner/sloth/modules/machine"
	"github.com/sloth-runner/sloth/modules/modulestest"
)

// do checks and applies, and says how many changes there were.
func do(t *testing.T, ctx context.Context, m modules.Machine, c modules.Changer) int { //nolint:revive // the test comes first
	t.Helper()
	d, err := c.Check(ctx, m)
	if err == nil && !d.Empty() {
		err = c.Apply(ctx, m, d)
	}
	if err != nil {
		t.Fatal(err)
	}
	return len(d.Changes)
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestArchivesOfEveryFormat lets the system's own programs read what was made.
func TestArchivesOfEveryFormat(t *testing.T) {
	m := machine.New()
	for format, reader := range map[string]string{"tar": "tar", "tar.gz": "tar", "tar.xz": "xz", "tar.zst": "zstd", "zip": "unzip"} {
		t.Run(format, func(t *testing.T) {
			if _, err := exec.LookPath(reader); err != nil {
				if os.Getenv("SLOTH_MUST_RUN") == "1" {
					t.Fatal(err)
				}
				t.Skip(err)
			}
			dir := t.TempDir()
			write(t, filepath.Join(dir, "d/a"), strings.Repeat("text\r\n\x00", 100_000))
			write(t, filepath.Join(dir, "d/sub/b"), "")
			dest := filepath.Join(dir, "x."+format)
			ctx := modules.WithCall(t.Context(), modules.Call{Machine: m})
			make := func() *Archive { return &Archive{Path: []string{filepath.Join(dir, "d")}, Dest: dest} }
			if n := do(t, ctx, m, make()); n == 0 {
				t.Fatal("nothing was made")
			}
			if n := do(t, ctx, m, make()); n != 0 {
				t.Errorf("made again: %d changes", n)
			}
			argv := []string{"tar", "-tf", dest}
			if format == "zip" {
				argv = []string{"unzip", "-t", dest}
			}
			if out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput(); err != nil || !bytes.Contains(out, []byte("d/sub/b")) {
				t.Errorf("%v: %v\n%s", argv, err, out)
			}
			out := filepath.Join(dir, "out")
			unpack := func() *Unarchive {
				return &Unarchive{Src: dest, Dest: out, RemoteSrc: true, MaxSize: pack.DefaultMaxSize}
			}
			do(t, ctx, m, unpack())
			if got, err := os.ReadFile(filepath.Join(out, "d/a")); err != nil || string(got) != strings.Repeat("text\r\n\x00", 100_000) {
				t.Errorf("%d bytes came out, %v", len(got), err)
			}
			if n := do(t, ctx, m, unpack()); n != 0 {
				t.Errorf("unpacked again: %d changes", n)
			}
			write(t, filepath.Join(dir, "d/sub/b"), "b")
			if n := do(t, ctx, m, make()); n != 1 {
				t.Errorf("after an edit: %d changes", n)
			}
		})
	}
}

// TestUnarchiveKeepsTimesAndNewerFiles: keep_newer can only work when files get
// the archive's time.
func TestUnarchiveKeepsTimesAndNewerFiles(t *testing.T) {
	m := machine.New()
	dir := t.TempDir()
	ctx := modules.WithCall(t.Context(), modules.Call{Machine: m})
	path := filepath.Join(dir, "d/f")
	write(t, path, "archived")
	then := time.Now().Add(-time.Hour).Truncate(time.Second)
	if err := os.Chtimes(path, then, then); err != nil {
		t.Fatal(err)
	}
	src := filepath.Join(dir, "a.tar")
	do(t, ctx, m, &Archive{Path: []string{filepath.Join(dir, "d") + "/"}, Dest: src})
	out := filepath.Join(dir, "out")
	unpack := func() int {
		return do(t, ctx, m, &Unarchive{Src: src, Dest: out, RemoteSrc: true, KeepNewer: true, MaxSize: pack.DefaultMaxSize})
	}
	unpack()
	if st, err := os.Stat(filepath.Join(out, "f")); err != nil || !st.ModTime().Equal(then) {
		t.Errorf("%v, %v", st, err)
	}
	write(t, filepath.Join(out, "f"), "edited since")
	if n := unpack(); n != 0 {
		t.Errorf("a newer file: %d changes", n)
	}
	if err := os.Chtimes(filepath.Join(out, "f"), then.Add(-time.Hour), then.Add(-time.Hour)); err != nil {
		t.Fatal(err)
	}
	if n := unpack(); n == 0 {
		t.Error("an older file was left")
	}
}

// TestUnarchiveKeepsHardLinks of a tar that has them.
func TestUnarchiveKeepsHardLinks(t *testing.T) {
	var buf bytes.Buffer
	one := pack.Item{Entry: pack.Entry{Name: "one", Mode: 0o644, Size: 4}, Open: func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader("text")), nil }}
	two := pack.Item{Entry: pack.Entry{Name: "d/two", Kind: pack.Hardlink, Link: "one"}}
	if err := pack.Write(t.Context(), &buf, pack.Tar, []pack.Item{one, two}); err != nil {
		t.Fatal(err)
	}
	m := machine.New()
	c := &modulestest.Controller{Files: map[string]string{"a.tar": buf.String()}}
	ctx := modules.WithCall(t.Context(), modules.Call{Machine: m, Services: c})
	out := filepath.Join(t.TempDir(), "out")
	unpack := func() int { return do(t, ctx, m, &Unarchive{Src: "a.tar", Dest: out, MaxSize: 1 << 20}) }
	unpack()
	if n := unpack(); n != 0 {
		t.Errorf("again: %d changes", n)
	}
	x, errX := os.Stat(filepath.Join(out, "one"))
	y, errY := os.Stat(filepath.Join(out, "d/two"))
	if errX != nil || errY != nil || !os.SameFile(x, y) {
		t.Error("two files", errX, errY)
	}
	if err := os.Remove(filepath.Join(out, "d/two")); err != nil {
		t.Fatal(err)
	}
	if n := unpack(); n != 1 {
		t.Errorf("a name was missing: %d changes", n)
	}
}

// TestUnarchiveInConstantMemory: a large file passes through.
func TestUnarchiveInConstantMemory(t *testing.T) {
	m := machine.New()
	dir := t.TempDir()
	ctx := modules.WithCall(t.Context(), modules.Call{Machine: m})
	const size = 64 << 20
	big := filepath.Join(dir, "d/big")
	write(t, big, "")
	if err := os.Truncate(big, size); err != nil {
		t.Fatal(err)
	}
	src := filepath.Join(dir, "a.tar.gz")
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	do(t, ctx, m, &Archive{Path: []string{filepath.Join(dir, "d")}, Dest: src})
	do(t, ctx, m, &Unarchive{Src: src, Dest: filepath.Join(dir, "out"), RemoteSrc: true, MaxSize: 1 << 30})
	runtime.ReadMemStats(&after)
	if used := after.TotalAlloc - before.TotalAlloc; used > 8<<20 {
		t.Errorf("%d MB were allocated", used>>20)
	}
	if st, err := os.Stat(filepath.Join(dir, "out/d/big")); err != nil || st.Size() != size {
		t.Error(st, err)
	}
}

// TestFault62AnArchiveNeverLeavesItsFolder: a link swapped in between check and
// apply is refused too.
func TestFault62AnArchiveNeverLeavesItsFolder(t *testing.T) {
	var buf bytes.Buffer
	file := pack.Item{Entry: pack.Entry{Name: "../../evil", Mode: 0o644, Size: 1}, Open: func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader("x")), nil }}
	if err := pack.Write(t.Context(), &buf, pack.Tar, []pack.Item{file}); err != nil {
		t.Fatal(err)
	}
	m := machine.New()
	c := &modulestest.Controller{Files: map[string]string{"a.tar": buf.String()}}
	ctx := modules.WithCall(t.Context(), modules.Call{Machine: m, Services: c})
	dir := t.TempDir()
	u := &Unarchive{Src: "a.tar", Dest: filepath.Join(dir, "x/y"), MaxSize: 1 << 20}
	if _, err := u.Check(ctx, m); err == nil || !strings.Contains(err.Error(), "outside of the folder") {
		t.Error(err)
	}
	if list, err := os.ReadDir(dir); err != nil || len(list) != 0 {
		t.Error(list, err)
	}
}
