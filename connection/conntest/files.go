package conntest

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/sloth-runner/sloth/connection"
)

// onlyFile fails when the folder holds anything beside name: a temporary
// file that was left behind.
func (h *host) onlyFile(name string) {
	h.t.Helper()
	eventually(h.t, "the folder holds "+name+" alone", func() bool {
		return strings.TrimSpace(h.sh(`ls -A "$1"`, h.dir)) == name
	})
}

func (h *host) download(path string) string {
	h.t.Helper()
	var b bytes.Buffer
	if err := h.conn.Download(deadline(h.t), path, &b); err != nil {
		h.t.Errorf("download %s: %v", path, err)
	}
	return b.String()
}

func files(t *testing.T, open func(t testing.TB) connection.Conn) {
	h := dial(t, open)
	mode := func(path string) string {
		return strings.TrimSpace(h.sh(`ls -ld "$1" | cut -c1-10`, path))
	}
	path := h.dir + "/file"
	put := func(size int64, src io.Reader) error {
		return h.conn.Upload(deadline(t), path, 0o640, size, src)
	}

	for _, size := range []int{0, 1, 511, 512, 32<<10 + 1, 10 << 20} {
		t.Run(strconv.Itoa(size)+" bytes", func(t *testing.T) {
			data := noise(size)
			if err := put(int64(size), bytes.NewReader(data)); err != nil {
				t.Fatal(err)
			}
			if got := h.download(path); got != string(data) {
				t.Errorf("got %d bytes back, or others", len(got))
			}
		})
	}
	t.Run("size unknown", func(t *testing.T) {
		data := noise(300_000)
		if err := put(-1, iotest.OneByteReader(bytes.NewReader(data[:3]))); err != nil {
			t.Fatal(err)
		}
		if err := put(-1, io.MultiReader(bytes.NewReader(data))); err != nil {
			t.Fatal(err)
		}
		if got := h.download(path); got != string(data) {
			t.Errorf("got %d bytes back, or others", len(got))
		}
	})
	t.Run("mode", func(t *testing.T) {
		for m, want := range map[fs.FileMode]string{0o640: "-rw-r-----", 0o755: "-rwxr-xr-x", 0o600: "-rw-------", 0o444: "-r--r--r--", 0o666: "-rw-rw-rw-"} {
			if err := h.conn.Upload(deadline(t), path, m, 1, strings.NewReader("x")); err != nil {
				t.Fatal(err)
			}
			if got := mode(path); got != want {
				t.Errorf("mode %v: ls says %s, want %s", m, got, want)
			}
		}
	})

	// From here on the old content must survive every failure.
	if err := put(3, strings.NewReader("old")); err != nil {
		t.Fatal(err)
	}
	inode := h.sh(`ls -i "$1"`, path)
	broken := errors.New("the source broke")
	long := strings.Repeat("new", 100_000)
	for _, c := range []struct {
		name string
		size int64
		src  io.Reader
	}{
		{"source fails at once", 10, iotest.ErrReader(broken)},
		{"source fails half-way", int64(2 * len(long)), io.MultiReader(strings.NewReader(long), iotest.ErrReader(broken))},
		{"source of unknown size fails", -1, io.MultiReader(strings.NewReader(long), iotest.ErrReader(broken))},
		{"source ends early", 10, strings.NewReader("short")},
		{"long source ends early", int64(len(long) + 1), strings.NewReader(long)},
		{"source is empty", 1, strings.NewReader("")},
		{"source is too long", 2, strings.NewReader("long")},
		{"long source is too long", int64(len(long) - 1), strings.NewReader(long)},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := put(c.size, c.src)
			if err == nil {
				t.Fatal("no error")
			}
			var size *connection.SizeError
			if !errors.Is(err, broken) && !errors.As(err, &size) {
				t.Errorf("error %v names neither source nor size", err)
			}
			if got := h.download(path); got != "old" {
				t.Errorf("the old file is gone; now %d bytes", len(got))
			}
			h.onlyFile("file")
		})
	}
	if got := h.sh(`ls -i "$1"`, path); got != inode {
		t.Error("a failed upload replaced the file")
	}
	t.Run("replaced by rename", func(t *testing.T) {
		// An open reader keeps the old file; a file written in place would change under it.
		p, err := h.conn.Start(deadline(t), connection.Command{Argv: []string{"/bin/sh", "-c", `exec 3<"$1"; echo open; read x; cat <&3`, "sh", path}})
		if err != nil {
			t.Fatal(err)
		}
		lines(t, p.Stdout(), 1)
		if err := put(3, strings.NewReader("new")); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(p.Stdin(), "\n"); err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(p.Stdout()); err != nil || string(got) != "old" {
			t.Errorf("the reader of the old file got %q, %v", got, err)
		}
		if err := p.Wait(); err != nil {
			t.Error(err)
		}
		if got := h.download(path); got != "new" {
			t.Errorf("got %q", got)
		}
		h.onlyFile("file")
	})
	t.Run("names", func(t *testing.T) {
		for _, name := range []string{"two words", "it's", "-dash", "$HOME", "příbor", "new\nline", `back\slash`, "*"} {
			p := h.dir + "/" + name
			if err := h.conn.Upload(deadline(t), p, 0o600, int64(len(name)), strings.NewReader(name)); err != nil {
				t.Errorf("%q: %v", name, err)
				continue
			}
			if got := h.sh(`cat < "$1"`, p); got != name {
				t.Errorf("%q holds %q", name, got)
			}
			if got := h.download(p); got != name {
				t.Errorf("download %q gives %q", name, got)
			}
		}
	})
	t.Run("folder does not exist", func(t *testing.T) {
		err := h.conn.Upload(deadline(t), h.dir+"/no/such/file", 0o600, 1, strings.NewReader("x"))
		if !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("got %v, want fs.ErrNotExist", err)
		}
		if err != nil && !strings.Contains(err.Error(), "/no/such/file") {
			t.Errorf("%v does not name the file", err)
		}
	})
	t.Run("download what is not there", func(t *testing.T) {
		err := h.conn.Download(deadline(t), h.dir+"/missing", io.Discard)
		if !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("got %v, want fs.ErrNotExist", err)
		}
		if err := h.conn.Download(deadline(t), h.dir, io.Discard); err == nil {
			t.Error("a folder can be downloaded")
		}
	})
	t.Run("download to a writer that fails", func(t *testing.T) {
		err := h.conn.Download(deadline(t), path, failingWriter{broken})
		if !errors.Is(err, broken) {
			t.Errorf("got %v", err)
		}
	})
}

type failingWriter struct{ err error }

func (w failingWriter) Write([]byte) (int, error) { return 0, w.err }
