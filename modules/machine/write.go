//go:build linux || darwin

package machine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/sloth-runner/sloth/modules"
)

const copyBuffer = 256 << 10

var buffers = sync.Pool{New: func() any { b := make([]byte, copyBuffer); return &b }}

// WriteFile builds the new file beside the old one, gives it owner, attributes
// and mode, syncs it, and renames it over. Whenever the process dies, path
// holds the old content or the new, except with InPlace. A link at path is
// replaced, not followed.
// The folder is synced by Flush. A hard link's other names keep the old content.
func (m *machine) WriteFile(ctx context.Context, path string, src io.Reader, o modules.WriteOptions) error {
	p, err := m.at("write", path, false)
	if err != nil {
		return explain(err, "write", path)
	}
	defer p.close()
	return explain(m.write(ctx, p, src, o), "write", path)
}

func (m *machine) write(ctx context.Context, p place, src io.Reader, o modules.WriteOptions) (err error) {
	var old *unix.Stat_t
	var st unix.Stat_t
	switch err := unix.Fstatat(p.fd, p.name, &st, unix.AT_SYMLINK_NOFOLLOW); {
	case err == nil && st.Mode&unix.S_IFMT == unix.S_IFDIR:
		return errors.New("it is a folder")
	case err == nil && st.Mode&unix.S_IFMT == unix.S_IFREG:
		old = &st
	case err != nil && err != unix.ENOENT:
		return err
	}
	t, f, err := temporary(p)
	if err != nil {
		return err
	}
	renamed := false
	defer func() {
		f.Close()
		if !renamed {
			_ = unix.Unlinkat(t.fd, t.name, 0)
		}
	}()
	if err := copyTo(ctx, f, src); err != nil {
		return err
	}
	inPlace := o.InPlace && old != nil
	if !inPlace {
		if err := m.dress(f, t, p, old, o); err != nil {
			return err
		}
	}
	if o.Sync {
		if err := f.Sync(); err != nil {
			return err
		}
	}
	if err := f.Close(); err != nil {
		return err
	}
	if o.Validate != nil {
		if err := o.Validate(ctx, t.path()); err != nil {
			return err
		}
	}
	if inPlace {
		return m.into(ctx, p, t, old, o)
	}
	if err := unix.Renameat(t.fd, t.name, p.fd, p.name); err != nil {
		if err == unix.EBUSY {
			return errors.New("it is a mount point, which can't be replaced; say in_place = true to write into it, and know that a crash meanwhile leaves it half written")
		}
		return err
	}
	renamed = true
	if o.Sync {
		m.touched(p.dir)
	}
	return nil
}

// temporary makes a new file beside p that only we can open. The returned place
// shares p's folder.
func temporary(p place) (place, *os.File, error) {
	for try := 0; ; try++ {
		t := p
		t.name = temporaryName(p.name)
		fd, err := unix.Openat(p.fd, t.name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
		if err == nil {
			return t, os.NewFile(uintptr(fd), t.path()), nil
		}
		if err != unix.EEXIST || try == 100 {
			return place{}, nil, err
		}
	}
}

// temporaryName begins with a dot, so that folders of configuration snippets
// don't read it.
func temporaryName(name string) string {
	if len(name) > 200 {
		name = name[:200]
	}
	return fmt.Sprintf(".%s.sloth-%08x", name, rand.Uint32())
}

func copyTo(ctx context.Context, f *os.File, src io.Reader) error {
	pooled := buffers.Get().(*[]byte)
	defer buffers.Put(pooled)
	buf := *pooled
	for {
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		n, err := src.Read(buf)
		if n > 0 {
			if _, err := f.Write(buf[:n]); err != nil {
				var p *fs.PathError
				if errors.As(err, &p) {
					err = p.Err // the temporary file's name tells nobody anything
				}
				return err
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// dress gives the new file what the old one had and o asks for. The order
// matters: a change of owner clears setuid, an ACL changes the group's bits.
func (m *machine) dress(f *os.File, t, p place, old *unix.Stat_t, o modules.WriteOptions) error {
	uid, gid := -1, -1
	mode := fs.FileMode(0o644)
	if old != nil {
		uid, gid = int(old.Uid), int(old.Gid)
		mode = modules.FileMode(uint32(old.Mode) & 0o7777) //nolint:unconvert // differs by platform
	}
	kept := old != nil && o.UID == nil && o.GID == nil
	if o.UID != nil && *o.UID >= 0 {
		uid = *o.UID
	}
	if o.GID != nil && *o.GID >= 0 {
		gid = *o.GID
	}
	if o.Mode != nil {
		mode = modules.PermBits(*o.Mode)
	}
	if err := chownFile(f, uid, gid); err != nil {
		if kept && errors.Is(err, fs.ErrPermission) {
			return fmt.Errorf("it belongs to %s:%s, which user %s cannot keep: %w; become root or that user",
				m.owners.user(uid), m.owners.group(gid), m.owners.user(m.euid), err)
		}
		return err
	}
	if old != nil {
		if err := copyAttributes(p, t); err != nil {
			return err
		}
	}
	return f.Chmod(mode)
}

// chownFile changes only what differs: giving a file the owner it has needs no
// rights.
func chownFile(f *os.File, uid, gid int) error {
	if uid < 0 && gid < 0 {
		return nil
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return err
	}
	if uid == int(st.Uid) {
		uid = -1
	}
	if gid == int(st.Gid) {
		gid = -1
	}
	if uid < 0 && gid < 0 {
		return nil
	}
	if err := unix.Fchown(int(f.Fd()), uid, gid); err != nil {
		return fmt.Errorf("change its owner to %d:%d: %w", uid, gid, err)
	}
	return nil
}

// touched remembers a folder whose names changed.
func (m *machine) touched(dir string) {
	m.mu.Lock()
	m.dirty[dir] = struct{}{}
	m.mu.Unlock()
}

// Flush syncs the folders whose names changed since the last Flush. Each is
// synced once, however many files were put into it.
func (m *machine) Flush() error {
	m.mu.Lock()
	dirs := m.dirty
	m.dirty = map[string]struct{}{}
	m.mu.Unlock()
	var failed error
	for dir := range dirs {
		err := syncDir(dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) && failed == nil {
			failed = err
		}
	}
	return failed
}

func syncDir(dir string) error {
	f, err := os.OpenFile(dir, os.O_RDONLY|unix.O_DIRECTORY, 0)
	if errors.Is(err, fs.ErrPermission) {
		return nil // we may search and write it, but not open it
	}
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Sync(); err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOTSUP) {
		return fmt.Errorf("sync folder %s: %w", dir, err)
	}
	return nil
}
