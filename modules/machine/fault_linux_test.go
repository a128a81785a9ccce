package machine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sloth-runner/sloth/modules"
)

// privately runs the rest of the test in a process with mounts of its own: what
// it mounts nobody else sees, and it goes with the process. It returns false in
// the process that has waited for it.
func privately(t *testing.T) bool {
	t.Helper()
	const mark = "SLOTH_TEST_PRIVATE"
	if os.Getenv(mark) == t.Name() {
		return true
	}
	needRoot(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), mark+"="+t.Name(), "TMPDIR="+t.TempDir())
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	out, err := cmd.CombinedOutput()
	switch {
	case errors.Is(err, unix.EPERM):
		mustRun(t, "a mount namespace of our own is refused here")
	case err != nil || !bytes.Contains(out, []byte("--- PASS: "+t.Name())):
		t.Errorf("%v\n%s", err, out)
	}
	return false
}

func tmpfs(t *testing.T, options string) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, options); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	return dir
}

// full writes to a file on a disk that has no room for it.
func full(t *testing.T, options, content string, o modules.WriteOptions) string {
	t.Helper()
	dir := tmpfs(t, options)
	path := filepath.Join(dir, "f")
	write(t, path, "old")
	err := New().WriteFile(context.Background(), path, strings.NewReader(content), o)
	if read(t, path) != "old" {
		t.Error("the file was changed")
	}
	onlyFile(t, dir, "f")
	if err == nil {
		t.Fatal("it fits")
	}
	return strings.ReplaceAll(err.Error(), dir, "DIR")
}

func TestFault11AFullDiskIsNamedAndLeavesTheOldFile(t *testing.T) {
	if !privately(t) {
		return
	}
	for _, o := range []modules.WriteOptions{{Sync: true}, {InPlace: true}} {
		got := full(t, "size=64k", strings.Repeat("x", 1<<20), o)
		want := "write DIR/f: no space left on device (DIR has " + between(got, "DIR has ", " free") + " free and " + between(got, " free and ", " inodes") + " inodes); the file that was there is untouched"
		if got != want {
			t.Error(got)
		}
	}
	// In place there must be room for both, and that is seen before the old is lost.
	got := full(t, "size=64k", strings.Repeat("x", 40<<10), modules.WriteOptions{InPlace: true})
	if !strings.Contains(got, "no space left on device (DIR has ") || !strings.HasSuffix(got, "the file that was there is untouched") {
		t.Error(got)
	}
}

func between(s, from, to string) string {
	_, s, _ = strings.Cut(s, from)
	s, _, _ = strings.Cut(s, to)
	return s
}

func TestFault12NoInodesAreNamedAndLeaveTheOldFile(t *testing.T) {
	if !privately(t) {
		return
	}
	got := full(t, "size=1m,nr_inodes=2", "new", modules.WriteOptions{})
	if want := "write DIR/f: no space left on device (DIR has 1020.0 KB free and 0 inodes); the file that was there is untouched"; got != want {
		t.Error(got)
	}
}

func TestFault13AReadOnlyMountIsNamed(t *testing.T) {
	if !privately(t) {
		return
	}
	dir := tmpfs(t, "size=1m")
	path := filepath.Join(dir, "f")
	write(t, path, "old")
	if err := unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	m := New()
	for op, err := range map[string]error{
		"write":  m.WriteFile(context.Background(), path, strings.NewReader("new"), modules.WriteOptions{}),
		"mkdir":  m.Mkdir(filepath.Join(dir, "f"), 0o755),
		"remove": m.Remove(path),
		"chmod":  m.Chmod(path, 0o600),
		"link":   m.Symlink("x", path),
	} {
		want := op + " " + path + ": read-only file system: " + dir + " is mounted read-only"
		if op == "mkdir" {
			want = op + " " + path + ": file exists"
		}
		if err == nil || err.Error() != want {
			t.Errorf("%v\nwanted %s", err, want)
		}
	}
	if read(t, path) != "old" {
		t.Error("the file was changed")
	}
}

// TestAMountedFileIsWrittenIntoOnlyWhenThatIsSaid: containers mount /etc/hosts
// and the like one by one.
func TestAMountedFileIsWrittenIntoOnlyWhenThatIsSaid(t *testing.T) {
	if !privately(t) {
		return
	}
	dir := t.TempDir()
	path, behind := filepath.Join(dir, "f"), filepath.Join(tmpfs(t, "size=1m"), "behind")
	write(t, path, "")
	write(t, behind, "old and longer")
	if err := unix.Mount(behind, path, "", unix.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(path, unix.MNT_DETACH) })
	m := New()
	err := m.WriteFile(context.Background(), path, strings.NewReader("new"), modules.WriteOptions{})
	want := "write " + path + ": it is a mount point, which can't be replaced; say in_place = true to write into it, and know that a crash meanwhile leaves it half written"
	if err == nil || err.Error() != want || read(t, path) != "old and longer" {
		t.Errorf("%v", err)
	}
	onlyFile(t, dir, "f")
	mode := fs.FileMode(0o600)
	if err := m.WriteFile(context.Background(), path, strings.NewReader("new"), modules.WriteOptions{InPlace: true, Mode: &mode}); err != nil {
		t.Fatal(err)
	}
	st, err := os.Stat(behind)
	if err != nil || read(t, behind) != "new" || st.Mode() != 0o600 {
		t.Errorf("%q, %v, %v", read(t, behind), st, err)
	}
	onlyFile(t, dir, "f")
}

// TestFault21KillAtEverySystemCall lets strace kill a writer at its first,
// second, … call of each kind, until it lives through all of them.
func TestFault21KillAtEverySystemCall(t *testing.T) {
	const mark = "SLOTH_TEST_WRITE_ONCE"
	content := func(c string) string { return strings.Repeat(c, 600<<10) }
	if path := os.Getenv(mark); path != "" {
		runtime.LockOSThread() // strace counts the calls of each thread
		o := modules.WriteOptions{Sync: true}
		m := New()
		if err := m.WriteFile(context.Background(), path, strings.NewReader(content("n")), o); err != nil {
			t.Fatal(err)
		}
		if err := m.(modules.Flusher).Flush(); err != nil {
			t.Fatal(err)
		}
		fmt.Println("written")
		return
	}
	strace, err := exec.LookPath("strace")
	if err != nil {
		mustRun(t, err.Error())
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	kills := 0
	for _, call := range []string{"openat", "newfstatat", "fstat", "write", "fchown", "llistxattr", "lsetxattr", "fchmod", "fsync", "close", "renameat", "unlinkat"} {
		for n := 1; ; n++ {
			write(t, path, content("o"))
			if os.Geteuid() == 0 {
				if err := os.Chown(path, 4711, 4713); err != nil {
					t.Fatal(err)
				}
			}
			if err := os.Chmod(path, 0o640); err != nil {
				t.Fatal(err)
			}
			_ = unix.Setxattr(path, "user.sloth", []byte("kept"), 0)
			was, err := New().Lstat(path)
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			cmd := exec.CommandContext(ctx, strace, "-f", "-qq", "-o", "/dev/null", "-e", "trace="+call, "-e", fmt.Sprintf("inject=%s:signal=KILL:when=%d", call, n),
				os.Args[0], "-test.run=^TestFault21KillAtEverySystemCall$")
			cmd.Env = append(os.Environ(), mark+"="+path, "GOMAXPROCS=1")
			out, err := cmd.CombinedOutput()
			cancel()
			lived := bytes.Contains(out, []byte("written"))
			if !lived && err == nil {
				t.Fatalf("%s %d: %s", call, n, out)
			}
			if !lived && bytes.Contains(out, []byte("Operation not permitted")) {
				mustRun(t, "nothing may be traced here: "+string(out))
			}
			now, err := New().Lstat(path)
			text := read(t, path)
			if err != nil || text != content("o") && text != content("n") || now.UID != was.UID || now.GID != was.GID || now.Mode != was.Mode {
				t.Fatalf("killed at %s %d: %d bytes, %+v, %v", call, n, len(text), now, err)
			}
			if lived {
				break
			}
			kills++
		}
	}
	if kills < 15 {
		t.Errorf("only %d kills", kills)
	}
	t.Logf("killed %d times", kills)
}
