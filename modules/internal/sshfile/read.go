package sshfile

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/sloth-runner/sloth/facts"
	"github.com/sloth-runner/sloth/modules/internal/hostfile"
)

// maxFile is more than any file of keys needs.
const maxFile = 4 << 20

// foreign reports whether somebody else than root and this process could have
// made something that belongs to uid.
func foreign(uid int) bool { return uid != 0 && uid != os.Geteuid() }

// Real refuses a link of another user at path: root would read, and perhaps
// give away, what that user cannot. A missing path is no error.
func Real(v facts.Viewer, path string) error {
	st, err := v.Lstat(path)
	if hostfile.Missing(err) {
		return nil
	}
	if err == nil && st.Mode&fs.ModeSymlink != 0 && foreign(st.UID) {
		return fmt.Errorf("%s is a link to %s that belongs to %s, and is not followed; let the task become that user, or remove the link", path, st.Link, st.Owner)
	}
	return err
}

// Read returns the text of a file of keys, nothing when there is none. In a
// folder that another user can write to, links are refused, also those that are
// put there while it reads.
func Read(v facts.Viewer, path string) (text string, err error) {
	if err := Real(v, filepath.Dir(path)); err != nil {
		return "", err
	}
	if err := Real(v, path); err != nil {
		return "", err
	}
	f, err := v.Open(path)
	if hostfile.Missing(err) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	defer f.Close()
	if err := unmoved(v, path, f); err != nil {
		return "", err
	}
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return "", err
	}
	if len(data) > maxFile {
		return "", fmt.Errorf("%s is larger than %d MB, which no file of keys is", path, maxFile>>20)
	}
	return string(data), nil
}

var errMoved = errors.New("it was replaced while it was read; run again")

// unmoved makes sure that what was opened is what has that name, unless nobody
// but root and this process could have put anything else there.
func unmoved(v facts.Viewer, path string, f io.Reader) error {
	dir, err := v.Stat(filepath.Dir(path))
	if err != nil {
		return err
	}
	opened, ok := f.(interface{ Stat() (fs.FileInfo, error) })
	if !ok || !foreign(dir.UID) {
		return nil
	}
	st, err := opened.Stat()
	if err != nil {
		return err
	}
	sys, ok := st.Sys().(*syscall.Stat_t)
	now, err := v.Lstat(path)
	if err != nil {
		return err
	}
	if ok && now.Mode.IsRegular() && uint64(sys.Ino) == now.Inode && Real(v, filepath.Dir(path)) == nil { //nolint:unconvert // differs by platform
		return nil
	}
	if now.Mode&fs.ModeSymlink != 0 && !foreign(now.UID) {
		return nil // root's own link
	}
	return fmt.Errorf("read %s: %w", path, errMoved)
}

// Lines takes a text apart, without the line ends.
func Lines(text string) []string {
	if text == "" {
		return nil
	}
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	for i := range lines {
		lines[i] = strings.TrimSuffix(lines[i], "\r")
	}
	return lines
}
