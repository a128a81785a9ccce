// Package filelock keeps processes of one machine apart with flock(2). A lock
// ends with the process that holds it, whatever ends that, and leaves its file
// there. It is a leaf: every room may use it.
package filelock

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Mode says whether others may have the same lock at the same time.
type Mode int

// A shared lock keeps out exclusive ones, an exclusive one all others.
const (
	Shared    Mode = unix.LOCK_SH
	Exclusive Mode = unix.LOCK_EX
)

// ErrHeld says that another process has the lock.
var ErrHeld = errors.New("another process holds the lock")

// Open opens the file at path, which is no link, and closes it to other users.
// It is made where it is missing.
func Open(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	if err := f.Chmod(0o600); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// Lock opens the file at path and locks it for this process alone, or returns
// ErrHeld. Closing the file gives the lock back.
func Lock(path string) (*os.File, error) {
	for {
		f, err := Open(path)
		if err != nil {
			return nil, err
		}
		if err = Try(f, Exclusive); err == nil {
			var there bool
			if there, err = stillAt(path, f); there {
				return f, nil
			}
		}
		f.Close()
		if err != nil {
			return nil, err
		}
	}
}

// stillAt reports whether path still names f: the lock on a file that somebody
// removed between opening and locking keeps nobody out.
func stillAt(path string, f *os.File) (bool, error) {
	held, err := f.Stat()
	if err != nil {
		return false, err
	}
	now, err := os.Lstat(path)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	return err == nil && os.SameFile(now, held), err
}

// Try locks f at once, or returns ErrHeld. Closing f gives the lock back.
func Try(f *os.File, mode Mode) error {
	for {
		err := unix.Flock(int(f.Fd()), int(mode)|unix.LOCK_NB) //nolint:gosec // a descriptor
		switch {
		case err == nil:
			return nil
		case errors.Is(err, unix.EWOULDBLOCK):
			return ErrHeld
		case !errors.Is(err, unix.EINTR):
			return fmt.Errorf("lock %s: %w", f.Name(), err)
		}
	}
}

// How often Wait asks.
const (
	pollFirst = time.Millisecond
	pollLast  = 20 * time.Millisecond
)

// Wait locks f once others let go of it. After patience it returns ErrHeld.
func Wait(ctx context.Context, f *os.File, mode Mode, patience time.Duration) error {
	limit := time.NewTimer(patience)
	defer limit.Stop()
	for poll := pollFirst; ; poll = min(2*poll, pollLast) {
		if err := Try(f, mode); !errors.Is(err, ErrHeld) {
			return err
		}
		select {
		case <-time.After(poll):
		case <-limit.C:
			return ErrHeld
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// Held reports whether another process has a lock on the file at path that
// would keep out one of this mode. The file is not made.
func Held(path string, mode Mode) (bool, error) {
	f, err := os.OpenFile(path, os.O_RDWR|unix.O_NOFOLLOW, 0)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer f.Close()
	err = Try(f, mode)
	if errors.Is(err, ErrHeld) {
		return true, nil
	}
	return false, err
}
