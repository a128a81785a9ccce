//go:build linux || darwin

package machine

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sloth-runner/sloth/modules"
)

func mustRun(t *testing.T, why string) {
	t.Helper()
	if os.Getenv("SLOTH_MUST_RUN") == "1" {
		t.Fatal(why)
	}
	t.Skip(why)
}

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		mustRun(t, "needs root")
	}
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func onlyFile(t *testing.T, dir, name string) {
	t.Helper()
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range list {
		if e.Name() != name {
			t.Errorf("%s was left behind in %s", e.Name(), dir)
		}
	}
}

func TestWriteFileKeepsWhatTheOldFileHad(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	write(t, path, "old")
	uid, gid := os.Getuid(), os.Getgid()
	if os.Geteuid() == 0 {
		uid, gid = 65534, 12345
		if err := os.Chown(path, uid, gid); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(path, 0o640|fs.ModeSetgid); err != nil {
		t.Fatal(err)
	}
	xattrs := unix.Setxattr(path, "user.sloth", []byte("kept"), 0) == nil
	m := New()
	if err := m.WriteFile(context.Background(), path, strings.NewReader("new"), modules.WriteOptions{Sync: true}); err != nil {
		t.Fatal(err)
	}
	st, err := m.Lstat(path)
	if err != nil || read(t, path) != "new" || st.UID != uid || st.GID != gid || modules.ModeText(st.Mode) != "2640" {
		t.Errorf("now %+v, %v", st, err)
	}
	if xattrs {
		buf := make([]byte, 100)
		n, err := unix.Getxattr(path, "user.sloth", buf)
		if err != nil || string(buf[:n]) != "kept" {
			t.Errorf("the attribute: %q, %v", buf[:max(n, 0)], err)
		}
	}
	onlyFile(t, dir, "f")
	if err := m.(modules.Flusher).Flush(); err != nil {
		t.Error(err)
	}
}

func TestNewFilesModeIsNotTheUmasks(t *testing.T) {
	dir := t.TempDir()
	m := New()
	old := unix.Umask(0o077)
	err := m.WriteFile(context.Background(), filepath.Join(dir, "f"), strings.NewReader(""), modules.WriteOptions{})
	errDir := m.Mkdir(filepath.Join(dir, "d"), 0o775|fs.ModeSetgid)
	unix.Umask(old)
	if err != nil || errDir != nil {
		t.Fatal(err, errDir)
	}
	f, _ := m.Lstat(filepath.Join(dir, "f"))
	d, _ := m.Lstat(filepath.Join(dir, "d"))
	if modules.ModeText(f.Mode) != "0644" || modules.ModeText(d.Mode) != "2775" {
		t.Errorf("modes %s and %s", modules.ModeText(f.Mode), modules.ModeText(d.Mode))
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

func TestWriteFileThatFailsLeavesTheOldFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	write(t, path, "old")
	cancelled, cancel := context.WithCancelCause(context.Background())
	stop := errors.New("stopped by test")
	cancel(stop)
	refused := errors.New("refused by test")
	broken := errors.New("broken source")
	for name, c := range map[string]struct {
		ctx  context.Context
		src  io.Reader
		o    modules.WriteOptions
		want error
	}{
		"source": {context.Background(), io.MultiReader(strings.NewReader("half"), failing{broken}), modules.WriteOptions{}, broken},
		"cancel": {cancelled, strings.NewReader("new"), modules.WriteOptions{}, stop},
		"validate": {context.Background(), strings.NewReader("new"), modules.WriteOptions{Validate: func(_ context.Context, tmp string) error {
			if read(t, tmp) != "new" || read(t, path) != "old" {
				t.Error("validate saw something else than the finished file beside the old one")
			}
			return refused
		}}, refused},
	} {
		if err := New().WriteFile(c.ctx, path, c.src, c.o); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
		if read(t, path) != "old" {
			t.Errorf("%s: the file was changed", name)
		}
		onlyFile(t, dir, "f")
	}
}

// TestFault20OtherUsersCannotLeadAWriteAstray: neither a link nor a folder of
// theirs, where everybody can write or in a home.
func TestFault20OtherUsersCannotLeadAWriteAstray(t *testing.T) {
	needRoot(t)
	const bob = 65534
	base := t.TempDir()
	if err := os.Chmod(base, 0o755); err != nil {
		t.Fatal(err)
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	at := func(name string) string { return filepath.Join(base, name) }
	must(os.Mkdir(at("etc"), 0o755))
	write(t, at("etc/passwd"), "root")
	must(os.Mkdir(at("tmp"), 0o755))
	must(os.Chmod(at("tmp"), 0o777|fs.ModeSticky))
	must(os.Symlink(at("etc"), at("tmp/link")))
	must(os.Lchown(at("tmp/link"), bob, bob))
	must(os.Mkdir(at("tmp/folder"), 0o755))
	must(os.Chown(at("tmp/folder"), bob, bob))
	must(os.Symlink(at("etc"), at("tmp/roots")))
	must(os.Mkdir(at("home"), 0o755))
	must(os.Chown(at("home"), bob, bob))
	must(os.Mkdir(at("home/own"), 0o755))
	must(os.Chown(at("home/own"), bob, bob))
	for link, to := range map[string]string{"home/evil": at("etc"), "home/good": "own", "home/up": ".."} {
		must(os.Symlink(to, at(link)))
		must(os.Lchown(at(link), bob, bob))
	}
	must(os.Symlink(at("etc/passwd"), at("home/file")))
	must(os.Lchown(at("home/file"), bob, bob))

	m := New()
	ctx := context.Background()
	put := func(p string) error {
		return m.WriteFile(ctx, at(p), strings.NewReader("new"), modules.WriteOptions{})
	}
	for _, p := range []string{"tmp/link/passwd", "tmp/folder/x", "home/evil/passwd", "home/up/etc/passwd"} {
		err := put(p)
		if !errors.Is(err, ErrUntrusted) {
			t.Errorf("write %s: %v", p, err)
		}
	}
	for _, p := range []string{"tmp/roots/new", "home/good/new", "tmp/mine", "home/new"} {
		if err := put(p); err != nil {
			t.Errorf("write %s: %v", p, err)
		}
	}
	for name, err := range map[string]error{
		"chmod":     m.Chmod(at("home/file"), 0o777),
		"chown":     m.Chown(at("home/file"), bob, bob, true),
		"chtimes":   m.Chtimes(at("home/file"), time.Now()),
		"mkdir":     m.Mkdir(at("home/evil/d"), 0o755),
		"remove":    m.Remove(at("home/evil/passwd")),
		"removeall": m.RemoveAll(at("home/evil/passwd")),
		"symlink":   m.Symlink("x", at("home/evil/passwd")),
		"link":      m.Link(at("home/new"), at("home/evil/passwd")),
		"rename":    m.Rename(at("home/new"), at("home/evil/passwd")),
	} {
		if !errors.Is(err, ErrUntrusted) {
			t.Errorf("%s through another user's link: %v", name, err)
		}
	}
	// The link itself may change hands, and replacing it touches nothing else.
	if err := m.Chown(at("home/file"), 0, 0, false); err != nil {
		t.Error(err)
	}
	if read(t, at("etc/passwd")) != "root" {
		t.Error("etc/passwd was changed")
	}
	st, err := os.Stat(at("etc/passwd"))
	if err != nil || st.Mode() != 0o644 {
		t.Errorf("etc/passwd is %v, %v", st, err)
	}
	want := "write " + at("tmp/link/passwd") + ": the link " + at("tmp/link") + " belongs to nobody and stands in " + at("tmp") +
		", where everybody can write: not trusted; use a folder that others cannot write to"
	if err := put("tmp/link/passwd"); err == nil || err.Error() != want {
		t.Errorf("the message is\n%v, not\n%s", err, want)
	}
}

func TestRemoveAllDoesNotLeaveTheFolder(t *testing.T) {
	dir := t.TempDir()
	outside := filepath.Join(dir, "outside")
	write(t, outside, "stays")
	if err := os.MkdirAll(filepath.Join(dir, "d/e/f"), 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "d/e/file"), "")
	if err := os.Symlink(outside, filepath.Join(dir, "d/e/link")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(dir, filepath.Join(dir, "d/up")); err != nil {
		t.Fatal(err)
	}
	m := New()
	for range 2 { // the second time there is nothing to do
		if err := m.RemoveAll(filepath.Join(dir, "d")); err != nil {
			t.Fatal(err)
		}
	}
	onlyFile(t, dir, "outside")
	if err := m.Remove(filepath.Join(dir, "gone")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("remove of nothing: %v", err)
	}
}

func TestLinksAreReplacedAtOnce(t *testing.T) {
	dir := t.TempDir()
	m := New()
	link := filepath.Join(dir, "current")
	for _, to := range []string{"a", "b", "b"} {
		if err := m.Symlink(to, link); err != nil {
			t.Fatal(err)
		}
		if got, _ := os.Readlink(link); got != to {
			t.Errorf("the link leads to %s", got)
		}
	}
	onlyFile(t, dir, "current")
	if err := os.Mkdir(filepath.Join(dir, "folder"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := m.Symlink("x", filepath.Join(dir, "folder")); err == nil {
		t.Error("a folder was replaced by a link")
	}
}

func TestOpenRefusesWhatNeverEnds(t *testing.T) {
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		fifo:        "read " + fifo + ": it is a fifo, not a regular file",
		"/dev/zero": "read /dev/zero: it is a character device, not a regular file",
		"/":         "read /: it is a directory, not a regular file",
	} {
		if _, err := New().Open(path); err == nil || err.Error() != want {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// TestFault21AKilledWriterLeavesOldOrNew kills writers wherever they are.
func TestFault21AKilledWriterLeavesOldOrNew(t *testing.T) {
	if path := os.Getenv("SLOTH_TEST_WRITER"); path != "" {
		m := New()
		for i := 0; ; i++ {
			text := strings.Repeat(string(rune('a'+i%2)), 300<<10)
			if err := m.WriteFile(context.Background(), path, strings.NewReader(text), modules.WriteOptions{Sync: i%4 == 0}); err != nil {
				t.Fatal(err)
			}
			if i == 0 {
				os.Stdout.WriteString("writing\n")
			}
		}
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	for i := range 15 {
		cmd := exec.Command(os.Args[0], "-test.run=^TestFault21AKilledWriterLeavesOldOrNew$")
		cmd.Env = append(os.Environ(), "SLOTH_TEST_WRITER="+path)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(out, make([]byte, len("writing\n"))); err != nil {
			t.Fatal("the writer did not begin:", err)
		}
		after := time.NewTimer(time.Duration(i*777) * time.Microsecond)
		<-after.C
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		text := read(t, path)
		if len(text) != 300<<10 || strings.Trim(text, text[:1]) != "" {
			t.Fatalf("kill %d left %d bytes, mixed", i, len(text))
		}
	}
}

func TestALargeFileNeedsLittleMemory(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	const size = 64 << 20
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if err := New().WriteFile(context.Background(), path, io.LimitReader(zeros{}, size), modules.WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&after)
	if used := after.TotalAlloc - before.TotalAlloc; used > 2<<20 {
		t.Errorf("writing %d MB allocated %d KB", size>>20, used>>10)
	}
	if st, err := os.Stat(path); err != nil || st.Size() != size {
		t.Errorf("%v, %v", st, err)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func BenchmarkTwelveSmallFiles(b *testing.B) {
	for _, sync := range []bool{false, true} {
		b.Run(map[bool]string{false: "nosync", true: "sync"}[sync], func(b *testing.B) {
			dir := b.TempDir()
			m := New()
			for b.Loop() {
				for i := range 12 {
					err := m.WriteFile(context.Background(), filepath.Join(dir, string(rune('a'+i))), strings.NewReader("small\n"), modules.WriteOptions{Sync: sync})
					if err != nil {
						b.Fatal(err)
					}
				}
				if err := m.(modules.Flusher).Flush(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
