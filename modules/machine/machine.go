//go:build linux || darwin

// Package machine is the host that sloth runs on, natively: files through the
// kernel's *at calls, programs in process groups of their own. It also has the
// overlay through which a plan sees what it planned.
package machine

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/sloth-runner/sloth/facts"
	"github.com/sloth-runner/sloth/modules"
)

// New returns the machine this process runs on, with the rights it has. It is
// safe for use by several goroutines. It is a modules.Flusher too.
func New() modules.Machine {
	return &machine{owners: newOwners(), dirty: map[string]struct{}{}, euid: os.Geteuid()}
}

type machine struct {
	owners *owners
	euid   int

	mu    sync.Mutex
	dirty map[string]struct{} // folders with names that are not synced yet
}

var (
	_ modules.Machine = (*machine)(nil)
	_ modules.Flusher = (*machine)(nil)
)

func (m *machine) Planned() bool { return false }

func (m *machine) Lstat(path string) (facts.FileInfo, error) {
	st, err := os.Lstat(path)
	if err != nil {
		return facts.FileInfo{}, err
	}
	info := m.info(path, st)
	if st.Mode()&fs.ModeSymlink != 0 {
		if info.Link, err = os.Readlink(path); err != nil {
			return facts.FileInfo{}, err
		}
	}
	return info, nil
}

func (m *machine) Stat(path string) (facts.FileInfo, error) {
	st, err := os.Stat(path)
	if err != nil {
		return facts.FileInfo{}, err
	}
	return m.info(path, st), nil
}

func (m *machine) info(path string, st fs.FileInfo) facts.FileInfo {
	info := facts.FileInfo{
		Name: filepath.Base(path), Path: path, Mode: st.Mode(), Size: st.Size(), MTime: st.ModTime().UnixNano(),
	}
	if sys, ok := st.Sys().(*syscall.Stat_t); ok {
		info.UID, info.GID = int(sys.Uid), int(sys.Gid)
		info.Inode, info.Nlink = uint64(sys.Ino), uint64(sys.Nlink) //nolint:unconvert // differs by platform
		info.Owner, info.Group = m.owners.user(info.UID), m.owners.group(info.GID)
	}
	return info
}

// Open refuses what is no regular file: a FIFO would block for ever, a device
// never end.
func (m *machine) Open(path string) (io.ReadCloser, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, err
	}
	st, err := f.Stat()
	if err == nil && !st.Mode().IsRegular() {
		err = &fs.PathError{Op: "read", Path: path, Err: fmt.Errorf("it is a %s, not a regular file", Kind(st.Mode()))}
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func (m *machine) ReadDir(path string) ([]facts.FileInfo, error) {
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, err
	}
	out := make([]facts.FileInfo, 0, len(entries))
	for _, e := range entries {
		info, err := m.Lstat(filepath.Join(path, e.Name()))
		if os.IsNotExist(err) {
			continue // gone since it was listed
		}
		if err != nil {
			return nil, err
		}
		out = append(out, info)
	}
	return out, nil
}

func (m *machine) Readlink(path string) (string, error) { return os.Readlink(path) }

// systemFolders are where tools for administrators are; the PATH of a login
// over SSH often lacks them.
var systemFolders = []string{"/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/local/bin", "/usr/bin", "/bin"}

func (m *machine) LookPath(name string) (string, error) {
	path, err := exec.LookPath(name)
	if err == nil || filepath.Base(name) != name {
		return path, err
	}
	for _, dir := range systemFolders {
		if found, e := exec.LookPath(filepath.Join(dir, name)); e == nil {
			return found, nil
		}
	}
	return "", err
}

// Kind names the type of a file as people and the file module do.
func Kind(m fs.FileMode) string {
	switch {
	case m.IsRegular():
		return "file"
	case m.IsDir():
		return "directory"
	case m&fs.ModeSymlink != 0:
		return "link"
	case m&fs.ModeNamedPipe != 0:
		return "fifo"
	case m&fs.ModeSocket != 0:
		return "socket"
	case m&fs.ModeCharDevice != 0:
		return "character device"
	case m&fs.ModeDevice != 0:
		return "block device"
	}
	return "special file"
}
