package badger

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sloth-runner/sloth/state"
	"github.com/sloth-runner/sloth/state/disk/private"
)

// needRoot skips a test that cannot be done otherwise, unless all must run.
func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		skip(t, "needs root")
	}
}

func skip(t *testing.T, why string) {
	t.Helper()
	if os.Getenv("SLOTH_MUST_RUN") == "1" {
		t.Fatal(why)
	}
	t.Skip(why)
}

// TestNobodyElseCanRead has the most generous umask.
func TestNobodyElseCanRead(t *testing.T) {
	old := unix.Umask(0)
	defer unix.Umask(old)
	parent := filepath.Join(t.TempDir(), "sloth")
	s := newStore(t, Options{Dir: filepath.Join(parent, "store")})
	put(t, s, "a", "1")
	closedToOthers(t, parent)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	closedToOthers(t, parent)

	// A folder that was opened to others is refused, and what to do about it told.
	if err := os.Chmod(s.opt.Dir, 0o755); err != nil {
		t.Fatal(err)
	}
	again := newStore(t, s.opt)
	var open *private.Error
	if _, err := again.Get(t.Context(), "a"); !errors.As(err, &open) || err.Error() != "state "+s.opt.Dir+" is open to other users (mode 0755); close it: chmod -R go= "+s.opt.Dir {
		t.Errorf("%v", err)
	}
	if err := os.Chmod(s.opt.Dir, 0o700); err != nil {
		t.Fatal(err)
	}
	put(t, again, "b", "2")
	closedToOthers(t, parent)
}

func closedToOthers(t *testing.T, dir string) {
	t.Helper()
	n := 0
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		n++
		want := fs.FileMode(0o600)
		if d.IsDir() {
			want = 0o700
		}
		if info.Mode().Perm() != want {
			t.Errorf("%s has mode %o, want %o", path, info.Mode().Perm(), want)
		}
		return nil
	})
	if err != nil || n < 5 {
		t.Errorf("%d files, %v", n, err)
	}
}

func TestBadPlaces(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(dir, "link")
	if err := os.Symlink("/etc/passwd", link+".lock"); err != nil {
		t.Fatal(err)
	}
	for place, want := range map[string]string{
		file:                         "state " + file + " is no folder; move it away",
		filepath.Join(file, "store"): "make the state folder: mkdir " + file + ": not a directory",
		link:                         "open " + link + ".lock: too many levels of symbolic links",
	} {
		_, err := newStore(t, Options{Dir: place}).Get(t.Context(), "a")
		if err == nil || err.Error() != want {
			t.Errorf("%v; want %s", err, want)
		}
	}
}

func TestSomebodyElsesStore(t *testing.T) {
	needRoot(t)
	dir := filepath.Join(t.TempDir(), "store")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(dir, 65534, 65534); err != nil {
		t.Fatal(err)
	}
	_, err := newStore(t, Options{Dir: dir}).Get(t.Context(), "a")
	if want := "state " + dir + " belongs to user id 65534 and this is user id 0; run this as that user, or keep what is yours elsewhere: XDG_STATE_HOME=/another/folder"; err == nil || err.Error() != want {
		t.Errorf("%v; want %s", err, want)
	}
}

// TestFault07FullDisk fills a small file system. The database's files are mapped
// memory: writing to one without room would kill the process.
func TestFault07FullDisk(t *testing.T) {
	needRoot(t)
	mount := t.TempDir()
	if err := unix.Mount("tmpfs", mount, "tmpfs", 0, "size=64m"); err != nil {
		skip(t, "mounting a small file system: "+err.Error())
	}
	t.Cleanup(func() {
		if err := unix.Unmount(mount, 0); err != nil {
			t.Error(err)
		}
	})
	s := New(Options{Dir: filepath.Join(mount, "store")})
	put(t, s, "a", "before")
	ballast := filepath.Join(mount, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 40<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := s.Put(t.Context(), "b", []byte("x"), 0, state.Any)
	if !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), s.opt.Dir) || !strings.Contains(err.Error(), "MB are free on its disk, at least 33 MB are needed") {
		t.Errorf("%v", err)
	}
	// Reading works while the database is still open; once it was closed, opening
	// it needs the space too, and says so.
	if e, err := s.Get(t.Context(), "a"); !errors.Is(err, syscall.ENOSPC) && (err != nil || string(e.Value) != "before") {
		t.Errorf("reading: %+v, %v", e, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	s = New(s.opt)
	put(t, s, "b", "after")
	if e, err := s.Get(t.Context(), "a"); err != nil || string(e.Value) != "before" {
		t.Errorf("afterwards: %+v, %v", e, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestReadOnlyFolder(t *testing.T) {
	needRoot(t)
	mount := t.TempDir()
	if err := unix.Mount("tmpfs", mount, "tmpfs", unix.MS_RDONLY, ""); err != nil {
		skip(t, "mounting a read-only file system: "+err.Error())
	}
	t.Cleanup(func() {
		if err := unix.Unmount(mount, 0); err != nil {
			t.Error(err)
		}
	})
	_, err := New(Options{Dir: filepath.Join(mount, "store")}).Get(t.Context(), "a")
	if !errors.Is(err, syscall.EROFS) || !strings.Contains(err.Error(), mount) {
		t.Errorf("%v", err)
	}
}

func BenchmarkPut(b *testing.B) {
	s := New(Options{Dir: filepath.Join(b.TempDir(), "store")})
	defer s.Close()
	for b.Loop() {
		if _, err := s.Put(b.Context(), "key", []byte("value"), 0, state.Any); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkGet(b *testing.B) {
	s := New(Options{Dir: filepath.Join(b.TempDir(), "store")})
	defer s.Close()
	if _, err := s.Put(b.Context(), "key", []byte("value"), 0, state.Any); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := s.Get(b.Context(), "key"); err != nil {
			b.Fatal(err)
		}
	}
}
