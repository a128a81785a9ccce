//go:build linux || darwin

package machine

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// A place is one name in one open folder. Everything that changes the host goes
// through a place, so that nobody can swap a folder for a link in between.
type place struct {
	fd   int
	dir  string // the folder, every link resolved
	name string
}

func (p place) close() { _ = unix.Close(p.fd) }

// path names the place for programs and messages.
func (p place) path() string { return filepath.Join(p.dir, p.name) }

// via names it through the open folder where the kernel can do that.
func (p place) via() string {
	if procFD {
		return fmt.Sprintf("/proc/self/fd/%d/%s", p.fd, p.name)
	}
	return p.path()
}

const nobody = -1

// Trust, for everything that writes. A process with more rights than others
// must not be led by them to where they could not write themselves:
//
//   - below a folder that everybody can write to, links and folders of other
//     users are refused (root's are fine);
//   - elsewhere a link of another user may only lead into a folder of that
//     same user.

// ErrUntrusted is wrapped by the error of a write that another user's link or
// folder would have led astray.
var ErrUntrusted = errors.New("not trusted")

const worldWritable = 0o002

func (m *machine) foreign(uid uint32) bool { return uid != 0 && int(uid) != m.euid }

const maxLinks = 40

// step is one name to walk; lender >= 0 ends the names that a link of that
// user stands for.
type step struct {
	name   string
	lender int64
}

func steps(path string, rest []step) []step {
	var out []step
	for _, name := range strings.Split(path, "/") {
		if name != "" && name != "." {
			out = append(out, step{name, nobody})
		}
	}
	return append(out, rest...)
}

// at finds the folder that path is in, by open folders from the root. With
// follow a link at the end is followed too. The caller closes the place.
func (m *machine) at(op, path string, follow bool) (place, error) {
	fail := func(err error) (place, error) { return place{}, &fs.PathError{Op: op, Path: path, Err: err} }
	if !filepath.IsAbs(path) {
		abs, err := filepath.Abs(path)
		if err != nil {
			return fail(err)
		}
		path = abs
	}
	w := walker{m: m}
	if err := w.root(); err != nil {
		return fail(err)
	}
	p, err := w.walk(steps(filepath.Clean(path), nil), follow)
	if err != nil {
		w.close()
		return fail(err)
	}
	return p, nil
}

type walker struct {
	m     *machine
	fd    int
	st    unix.Stat_t // of the folder fd
	names []string    // its path
	links int
}

func (w *walker) close() { _ = unix.Close(w.fd) }

func (w *walker) dir() string { return "/" + strings.Join(w.names, "/") }

func (w *walker) root() error {
	fd, err := unix.Open("/", dirFlags, 0)
	if err != nil {
		return err
	}
	w.fd, w.names = fd, nil
	return unix.Fstat(fd, &w.st)
}

func (w *walker) walk(todo []step, follow bool) (place, error) {
	lentBy := int64(nobody)
	for {
		if len(todo) == 0 {
			return place{}, fmt.Errorf("%s is a folder that cannot be replaced", w.dir())
		}
		s := todo[0]
		todo = todo[1:]
		if s.name == "" {
			if int64(w.st.Uid) != s.lender {
				return place{}, w.lent(s.lender, w.dir())
			}
			continue
		}
		// Names are over when only the ends of links follow.
		last := true
		for _, rest := range todo {
			last = last && rest.name == ""
		}
		if last && s.name != ".." {
			for _, rest := range todo {
				if lentBy != nobody && lentBy != rest.lender {
					return place{}, w.lent(rest.lender, w.join(s.name))
				}
				lentBy = rest.lender
			}
			if !follow {
				return w.place(s.name, lentBy)
			}
		}
		var st unix.Stat_t
		err := unix.Fstatat(w.fd, s.name, &st, unix.AT_SYMLINK_NOFOLLOW)
		switch {
		case errors.Is(err, unix.ENOENT) && last:
			return w.place(s.name, lentBy)
		case err != nil:
			return place{}, fmt.Errorf("%s: %w", w.join(s.name), err)
		case st.Mode&unix.S_IFMT == unix.S_IFLNK:
			if todo, err = w.link(s.name, &st, todo); err != nil {
				return place{}, err
			}
		case last && s.name != "..":
			return w.place(s.name, lentBy)
		default:
			if err := w.enter(s.name); err != nil {
				return place{}, err
			}
		}
	}
}

func (w *walker) join(name string) string { return filepath.Join(w.dir(), name) }

func (w *walker) place(name string, lentBy int64) (place, error) {
	if lentBy != nobody && int64(w.st.Uid) != lentBy {
		var st unix.Stat_t
		if err := unix.Fstatat(w.fd, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil || int64(st.Uid) != lentBy {
			return place{}, w.lent(lentBy, w.join(name))
		}
	}
	return place{fd: w.fd, dir: w.dir(), name: name}, nil
}

// enter goes one folder down, or up.
func (w *walker) enter(name string) error {
	fd, err := unix.Openat(w.fd, name, dirFlags|unix.O_NOFOLLOW, 0)
	if err != nil {
		return fmt.Errorf("%s: %w", w.join(name), err)
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		_ = unix.Close(fd)
		return err
	}
	if name != ".." && w.st.Mode&worldWritable != 0 && w.m.foreign(st.Uid) {
		_ = unix.Close(fd)
		return w.refuse(name, "folder", st.Uid)
	}
	_ = unix.Close(w.fd)
	w.fd, w.st = fd, st
	if name != ".." {
		w.names = append(w.names, name)
	} else if len(w.names) > 0 {
		w.names = w.names[:len(w.names)-1]
	}
	return nil
}

// link puts the names a link stands for before those still to walk.
func (w *walker) link(name string, st *unix.Stat_t, todo []step) ([]step, error) {
	if w.links++; w.links > maxLinks {
		return nil, fmt.Errorf("%s: %w", w.join(name), unix.ELOOP)
	}
	lender := int64(nobody)
	if w.m.foreign(st.Uid) {
		if w.st.Mode&worldWritable != 0 {
			return nil, w.refuse(name, "link", st.Uid)
		}
		lender = int64(st.Uid)
	}
	buf := make([]byte, 4096)
	n, err := unix.Readlinkat(w.fd, name, buf)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", w.join(name), err)
	}
	target := string(buf[:n])
	if lender != nobody {
		todo = append([]step{{"", lender}}, todo...)
	}
	if filepath.IsAbs(target) {
		w.close()
		if err := w.root(); err != nil {
			return nil, err
		}
	}
	return steps(target, todo), nil
}

func (w *walker) refuse(name, what string, uid uint32) error {
	return fmt.Errorf("the %s %s belongs to %s and stands in %s, where everybody can write: %w; use a folder that others cannot write to",
		what, w.join(name), w.m.owners.user(int(uid)), w.dir(), ErrUntrusted)
}

func (w *walker) lent(lender int64, to string) error {
	who := w.m.owners.user(int(lender))
	return fmt.Errorf("a link of %s leads to %s, which is not %s's: %w; if that is meant, name %s itself", who, to, who, ErrUntrusted, to)
}

var procFD = func() bool {
	_, err := os.Stat("/proc/self/fd")
	return err == nil
}()
