// Package private refuses folders and files that are not this user's alone:
// what is in them may have been read, or put there, by others. It is a leaf:
// every room may use it.
package private

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

// Error says what is open to others, and what to type.
type Error struct {
	Path  string
	Mode  fs.FileMode
	Owner int // user id
	dir   bool
}

func (e *Error) foreign() bool { return e.Owner != os.Geteuid() }

func (e *Error) Error() string {
	if e.foreign() {
		return fmt.Sprintf("%s belongs to user id %d and this is user id %d; run this as that user, or keep what is yours elsewhere: XDG_STATE_HOME=/another/folder",
			e.Path, e.Owner, os.Geteuid())
	}
	how := "chmod 600 "
	if e.dir {
		how = "chmod -R go= "
	}
	return fmt.Sprintf("%s is open to other users (mode %04o); close it: %s%s", e.Path, e.Mode, how, e.Path)
}

// Check returns an *Error for a folder or file that others own, or may read or
// change.
func Check(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	return CheckInfo(path, info)
}

// Folder makes a folder for this user alone, and closes one that is empty. One
// that has something in it, and others could get at it, is an *Error.
func Folder(path string) error {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return err
	}
	err := Check(path)
	var e *Error
	if !errors.As(err, &e) || e.foreign() {
		return err
	}
	if in, readErr := os.ReadDir(path); readErr != nil || len(in) > 0 {
		return err
	}
	return os.Chmod(path, 0o700) //nolint:gosec // a folder
}

// CheckInfo is Check of what was looked at already.
func CheckInfo(path string, info fs.FileInfo) error {
	e := &Error{Path: path, Mode: info.Mode().Perm(), Owner: int(info.Sys().(*syscall.Stat_t).Uid), dir: info.IsDir()}
	if e.foreign() || e.Mode&0o077 != 0 {
		return e
	}
	return nil
}
