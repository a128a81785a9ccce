//go:build linux || darwin

package machine

import (
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/sloth-runner/sloth/modules"
)

// into copies the finished file t into p, which keeps what it is. What can go
// wrong is tried first: the room that the new content needs is taken before a
// byte of the old is lost.
func (m *machine) into(ctx context.Context, p, t place, old *unix.Stat_t, o modules.WriteOptions) error {
	src, err := openAt(t, unix.O_RDONLY)
	if err != nil {
		return err
	}
	defer src.Close()
	f, err := openAt(p, unix.O_WRONLY)
	if err != nil {
		return err
	}
	defer f.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return err
	}
	if st.Ino != old.Ino || st.Dev != old.Dev {
		return errors.New("somebody replaced it meanwhile")
	}
	size, err := src.Stat()
	if err != nil {
		return err
	}
	if size.Size() > st.Size {
		if err := reserve(f, size.Size()); err != nil && !unsupported(err) {
			return err
		}
	}
	if err := copyTo(context.WithoutCancel(ctx), f, src); err != nil {
		return fmt.Errorf("%w; the file is now half old and half new", err)
	}
	if err := f.Truncate(size.Size()); err != nil {
		return err
	}
	if err := m.redress(f, st, o); err != nil {
		return err
	}
	return f.Sync()
}

func openAt(p place, flags int) (*os.File, error) {
	fd, err := unix.Openat(p.fd, p.name, flags|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), p.path()), nil
}

// redress changes owner and mode where o asks for others.
func (m *machine) redress(f *os.File, st unix.Stat_t, o modules.WriteOptions) error {
	uid, gid := -1, -1
	if o.UID != nil {
		uid = *o.UID
	}
	if o.GID != nil {
		gid = *o.GID
	}
	if err := chownFile(f, uid, gid); err != nil {
		return err
	}
	bits := uint32(st.Mode) & 0o7777 //nolint:unconvert // differs by platform
	if o.Mode == nil || bits&0o7000 == 0 && modules.UnixMode(*o.Mode) == bits {
		return nil
	}
	return f.Chmod(modules.PermBits(*o.Mode))
}
