// Package facts knows what a host is, natively collected, and how a host may
// be looked at without touching it.
package facts

import (
	"context"
	"io"
	"io/fs"
)

// Viewer looks at a host and has no way to change it. Under plan it answers as
// if all that was planned so far had been done.
type Viewer interface {
	// Lstat describes path itself, Stat what it points to. A missing file is
	// fs.ErrNotExist.
	Lstat(path string) (FileInfo, error)
	Stat(path string) (FileInfo, error)
	// Open reads a regular file.
	Open(path string) (io.ReadCloser, error)
	ReadDir(path string) ([]FileInfo, error)
	Readlink(path string) (string, error)
	// Query runs a program that only reports (dpkg-query, systemctl show).
	// Whoever calls it vouches for that. The program's exit code is no error.
	Query(ctx context.Context, argv ...string) (Answer, error)
	// LookPath finds a program as the shell would.
	LookPath(name string) (string, error)
	// Planned reports whether this Viewer shows a plan, and so may know less
	// than a real run would.
	Planned() bool
}

// FileInfo is what Viewer knows about one file.
type FileInfo struct {
	Name  string // base name
	Path  string // as asked for
	Mode  fs.FileMode
	Size  int64
	UID   int
	GID   int
	Owner string // user name, or the number when there is none
	Group string
	Link  string // target of a symbolic link
	MTime int64  // Unix nanoseconds
	Inode uint64
	Nlink uint64
}

// Answer is what a queried program said.
type Answer struct {
	Stdout, Stderr []byte
	ExitCode       int
	Signal         string // the signal that killed it ("SIGKILL"), or empty
	Lost           int64  // bytes of output that were too many to keep
}
