//go:build linux || darwin

package machine

import (
	"errors"
	"fmt"
	"io/fs"
	"os/user"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// explain adds to the error of a write what one would look up next: the mount
// and what is free there, or whose quota is used up.
func explain(err error, op, path string) error {
	if err == nil {
		return nil
	}
	var p *fs.PathError
	if errors.As(err, &p) && p.Path == path {
		err = p.Err
	}
	switch {
	case errors.Is(err, unix.ENOSPC):
		err = fmt.Errorf("%w%s; the file that was there is untouched", err, space(path))
	case errors.Is(err, unix.EDQUOT):
		name := "this user"
		if u, e := user.Current(); e == nil {
			name = u.Username
		}
		err = fmt.Errorf("%w: the quota of %s on %s is used up; the file that was there is untouched", err, name, mountOf(path))
	case errors.Is(err, unix.EROFS):
		err = fmt.Errorf("%w: %s is mounted read-only", err, mountOf(path))
	}
	return &fs.PathError{Op: op, Path: path, Err: err}
}

func space(path string) string {
	var st unix.Statfs_t
	dir := existing(path)
	if unix.Statfs(dir, &st) != nil {
		return ""
	}
	free := uint64(st.Bavail) * uint64(st.Bsize) //nolint:unconvert // differs by platform
	text := fmt.Sprintf(" (%s has %s free", mountOf(dir), bytesText(free))
	if st.Files > 0 {
		text += fmt.Sprintf(" and %d inodes", uint64(st.Ffree)) //nolint:unconvert // differs by platform
	}
	return text + ")"
}

// existing is path or the nearest folder above it that exists.
func existing(path string) string {
	for {
		var st unix.Stat_t
		if unix.Stat(path, &st) == nil || path == "/" || path == "." {
			return path
		}
		path = filepath.Dir(path)
	}
}

func bytesText(n uint64) string {
	const units = "KMGT"
	if n < 10<<10 {
		return strconv.FormatUint(n, 10) + " bytes"
	}
	f, u := float64(n)/1024, 0
	for f >= 1024 && u < len(units)-1 {
		f, u = f/1024, u+1
	}
	return fmt.Sprintf("%.1f %cB", f, units[u])
}
