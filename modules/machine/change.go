//go:build linux || darwin

package machine

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sloth-runner/sloth/modules"
)

// change runs f with the place of path, and remembers its folder for Flush.
func (m *machine) change(op, path string, follow bool, f func(place) error) error {
	p, err := m.at(op, path, follow)
	if err != nil {
		return explain(err, op, path)
	}
	defer p.close()
	if err := f(p); err != nil {
		return explain(err, op, path)
	}
	m.touched(p.dir)
	return nil
}

func (m *machine) Mkdir(path string, mode fs.FileMode) error {
	return m.change("mkdir", path, false, func(p place) error {
		if err := unix.Mkdirat(p.fd, p.name, 0o700); err != nil {
			return err
		}
		return chmodAt(p, mode) // whatever the umask
	})
}

func (m *machine) Remove(path string) error {
	return m.change("remove", path, false, func(p place) error {
		err := unix.Unlinkat(p.fd, p.name, 0)
		if err == unix.EISDIR || err == unix.EPERM {
			if e := unix.Unlinkat(p.fd, p.name, unix.AT_REMOVEDIR); e != unix.ENOTDIR {
				err = e
			}
		}
		return err
	})
}

func (m *machine) RemoveAll(path string) error {
	err := m.change("remove", path, false, func(p place) error { return removeAll(p.fd, p.name, 0) })
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// maxLevels is how deep removeAll goes; each level holds a folder open.
const maxLevels = 500

// removeAll never leaves the folder: it opens what it empties without
// following links.
func removeAll(fd int, name string, level int) error {
	err := unix.Unlinkat(fd, name, 0)
	if err == nil || errors.Is(err, unix.ENOENT) {
		return nil
	}
	if !errors.Is(err, unix.EISDIR) && !errors.Is(err, unix.EPERM) && !errors.Is(err, unix.EACCES) {
		return fmt.Errorf("%s: %w", name, err)
	}
	if level == maxLevels {
		return fmt.Errorf("%s: nested deeper than %d folders", name, maxLevels)
	}
	sub, openErr := unix.Openat(fd, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if openErr == unix.ENOTDIR || openErr == unix.ELOOP {
		return fmt.Errorf("%s: %w", name, err) // a file, and unlinking it failed
	}
	if openErr != nil {
		return fmt.Errorf("%s: %w", name, openErr)
	}
	dir := os.NewFile(uintptr(sub), name)
	names, err := dir.Readdirnames(-1)
	for _, n := range names {
		if err == nil {
			err = removeAll(sub, n, level+1)
		}
	}
	dir.Close()
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if err := unix.Unlinkat(fd, name, unix.AT_REMOVEDIR); err != nil && err != unix.ENOENT {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

func (m *machine) Rename(from, to string) error {
	return m.change("rename", from, false, func(a place) error {
		return m.change("rename to", to, false, func(b place) error {
			return unix.Renameat(a.fd, a.name, b.fd, b.name)
		})
	})
}

func (m *machine) Symlink(target, path string) error {
	return m.replace("link", path, func(t place) error { return unix.Symlinkat(target, t.fd, t.name) })
}

func (m *machine) Link(target, path string) error {
	src, err := m.at("link", target, false)
	if err != nil {
		return err
	}
	defer src.close()
	return m.replace("link", path, func(t place) error { return unix.Linkat(src.fd, src.name, t.fd, t.name, 0) })
}

// replace makes something under a temporary name and renames it over a link or
// file that is there.
func (m *machine) replace(op, path string, make func(place) error) error {
	return m.change(op, path, false, func(p place) error {
		var st unix.Stat_t
		switch err := unix.Fstatat(p.fd, p.name, &st, unix.AT_SYMLINK_NOFOLLOW); {
		case err == unix.ENOENT:
			return make(p)
		case err != nil:
			return err
		case st.Mode&unix.S_IFMT == unix.S_IFDIR:
			return errors.New("a folder is in the way")
		}
		t := p
		t.name = temporaryName(p.name)
		if err := make(t); err != nil {
			return err
		}
		err := unix.Renameat(t.fd, t.name, p.fd, p.name)
		// rename does nothing, successfully, when both are the same file.
		_ = unix.Unlinkat(t.fd, t.name, 0)
		return err
	})
}

// Chmod follows a link.
func (m *machine) Chmod(path string, mode fs.FileMode) error {
	return m.change("chmod", path, true, func(p place) error { return chmodAt(p, mode) })
}

func (m *machine) Chown(path string, uid, gid int, followLink bool) error {
	return m.change("chown", path, followLink, func(p place) error {
		return unix.Fchownat(p.fd, p.name, uid, gid, unix.AT_SYMLINK_NOFOLLOW)
	})
}

// Chtimes sets access and modification time, through a link.
func (m *machine) Chtimes(path string, mtime time.Time) error {
	return m.change("set the time of", path, true, func(p place) error {
		ts, err := unix.TimeToTimespec(mtime)
		if err != nil {
			return err
		}
		return unix.UtimesNanoAt(p.fd, p.name, []unix.Timespec{ts, ts}, unix.AT_SYMLINK_NOFOLLOW)
	})
}

// chmodAt changes the mode of what is at p and is no link.
func chmodAt(p place, mode fs.FileMode) error {
	bits := modules.UnixMode(mode)
	fd, err := unix.Openat(p.fd, p.name, chmodFlags|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT == unix.S_IFLNK {
		return unix.ELOOP
	}
	return chmodFD(fd, p, bits)
}
