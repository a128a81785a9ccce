package modulestest

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"strings"
	"sync"
	"time"

	"github.com/sloth-runner/sloth/facts"
	"github.com/sloth-runner/sloth/modules"
)

// Rooted is m with the folder root in place of /, so that examples can speak
// of /etc. Programs that are run see the real root.
func Rooted(m modules.Machine, root string) modules.Machine {
	return rooted{m, strings.TrimSuffix(root, "/")}
}

type rooted struct {
	modules.Machine
	root string
}

func (r rooted) in(path string) string {
	if path == "/" {
		return r.root
	}
	return r.root + path
}

func (r rooted) out(st facts.FileInfo, err error) (facts.FileInfo, error) {
	st.Path = strings.TrimPrefix(st.Path, r.root)
	return st, r.err(err)
}

// err takes the root out of the error's path.
func (r rooted) err(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return &fs.PathError{Op: p.Op, Path: strings.TrimPrefix(p.Path, r.root), Err: p.Err}
	}
	return err
}

func (r rooted) Lstat(path string) (facts.FileInfo, error) { return r.out(r.Machine.Lstat(r.in(path))) }

func (r rooted) Stat(path string) (facts.FileInfo, error) { return r.out(r.Machine.Stat(r.in(path))) }

func (r rooted) Open(path string) (io.ReadCloser, error) {
	f, err := r.Machine.Open(r.in(path))
	return f, r.err(err)
}

func (r rooted) ReadDir(path string) ([]facts.FileInfo, error) {
	list, err := r.Machine.ReadDir(r.in(path))
	for i := range list {
		list[i].Path = strings.TrimPrefix(list[i].Path, r.root)
	}
	return list, r.err(err)
}

func (r rooted) Readlink(path string) (string, error) { return r.Machine.Readlink(r.in(path)) }

func (r rooted) WriteFile(ctx context.Context, path string, src io.Reader, o modules.WriteOptions) error {
	return r.err(r.Machine.WriteFile(ctx, r.in(path), src, o))
}

func (r rooted) Mkdir(path string, mode fs.FileMode) error {
	return r.err(r.Machine.Mkdir(r.in(path), mode))
}

func (r rooted) Remove(path string) error { return r.err(r.Machine.Remove(r.in(path))) }

func (r rooted) RemoveAll(path string) error { return r.err(r.Machine.RemoveAll(r.in(path))) }

func (r rooted) Rename(from, to string) error {
	return r.err(r.Machine.Rename(r.in(from), r.in(to)))
}

func (r rooted) Symlink(target, path string) error {
	return r.err(r.Machine.Symlink(target, r.in(path)))
}

func (r rooted) Link(target, path string) error {
	return r.err(r.Machine.Link(r.in(target), r.in(path)))
}

func (r rooted) Chmod(path string, mode fs.FileMode) error {
	return r.err(r.Machine.Chmod(r.in(path), mode))
}

func (r rooted) Chown(path string, uid, gid int, follow bool) error {
	return r.err(r.Machine.Chown(r.in(path), uid, gid, follow))
}

func (r rooted) Chtimes(path string, mtime time.Time) error {
	return r.err(r.Machine.Chtimes(r.in(path), mtime))
}

// faulty is a machine whose nth change fails, a write in the middle of its
// content.
type faulty struct {
	modules.Machine
	n int

	mu   sync.Mutex
	seen int
}

// errInjected is how it fails.
var errInjected = errors.New("injected failure")

func (f *faulty) fails() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.seen++
	return f.seen == f.n
}

func (f *faulty) WriteFile(ctx context.Context, path string, src io.Reader, o modules.WriteOptions) error {
	if f.fails() {
		src = io.MultiReader(io.LimitReader(src, 3), broken{})
	}
	return f.Machine.WriteFile(ctx, path, src, o)
}

func (f *faulty) Run(ctx context.Context, c modules.Cmd) (facts.Answer, error) {
	if f.fails() {
		return facts.Answer{}, errInjected
	}
	return f.Machine.Run(ctx, c)
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, errInjected }

func (f *faulty) try(do func() error) error {
	if f.fails() {
		return errInjected
	}
	return do()
}

func (f *faulty) Mkdir(path string, mode fs.FileMode) error {
	return f.try(func() error { return f.Machine.Mkdir(path, mode) })
}

func (f *faulty) Remove(path string) error {
	return f.try(func() error { return f.Machine.Remove(path) })
}

func (f *faulty) RemoveAll(path string) error {
	return f.try(func() error { return f.Machine.RemoveAll(path) })
}

func (f *faulty) Rename(from, to string) error {
	return f.try(func() error { return f.Machine.Rename(from, to) })
}

func (f *faulty) Symlink(target, path string) error {
	return f.try(func() error { return f.Machine.Symlink(target, path) })
}

func (f *faulty) Link(target, path string) error {
	return f.try(func() error { return f.Machine.Link(target, path) })
}

func (f *faulty) Chmod(path string, mode fs.FileMode) error {
	return f.try(func() error { return f.Machine.Chmod(path, mode) })
}

func (f *faulty) Chown(path string, uid, gid int, follow bool) error {
	return f.try(func() error { return f.Machine.Chown(path, uid, gid, follow) })
}

func (f *faulty) Chtimes(path string, mtime time.Time) error {
	return f.try(func() error { return f.Machine.Chtimes(path, mtime) })
}
