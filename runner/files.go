package runner

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/sloth-runner/sloth/modules"
)

// files opens what lies below the script's folder, and nothing else: neither a
// name with .. nor a symbolic link leads out.
type files struct {
	dir  string
	root *os.Root

	mu     sync.Mutex
	hashes map[string]hashed

	opened func(name, hash string) error // Options.Opened

	keeping keeping // what hosts left here
}

type hashed struct {
	hash  string
	size  int64
	mtime time.Time
}

func openFiles(dir string) (*files, error) {
	if dir == "" {
		dir = "."
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(abs)
	if err != nil {
		return nil, fmt.Errorf("open the script's folder: %w", err)
	}
	return &files{dir: abs, root: root, hashes: map[string]hashed{}}, nil
}

func (f *files) close() error { return f.root.Close() }

// local turns the name a script uses into one below the root.
func (f *files) local(src string) (string, error) {
	name := filepath.FromSlash(src)
	if filepath.IsAbs(name) {
		rel, err := filepath.Rel(f.dir, name)
		if err != nil {
			return "", err
		}
		name = rel
	}
	name = filepath.Clean(name)
	if !filepath.IsLocal(name) {
		return "", fmt.Errorf("read %s: it is not below the script's folder %s, and hosts are given nothing else", src, f.dir)
	}
	return name, nil
}

// open returns the file and what there is to know about it.
func (f *files) open(src string) (modules.File, error) {
	name, err := f.local(src)
	if err != nil {
		return modules.File{}, err
	}
	h, err := f.root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a fifo would block for ever
	if err != nil {
		return modules.File{}, f.explain(src, err)
	}
	st, err := h.Stat()
	if err == nil && !st.Mode().IsRegular() {
		err = fmt.Errorf("read %s: not a regular file", src)
	}
	if err != nil {
		h.Close()
		return modules.File{}, err
	}
	sum, err := f.hash(name, h, st)
	if err != nil {
		h.Close()
		return modules.File{}, fmt.Errorf("read %s: %w", src, err)
	}
	if f.opened != nil {
		if err := f.opened(filepath.ToSlash(name), sum); err != nil {
			h.Close()
			return modules.File{}, fmt.Errorf("read %s: %w", src, err)
		}
	}
	return modules.File{ReadCloser: h, Size: st.Size(), Hash: sum, Mode: st.Mode().Perm()}, nil
}

// hash reads h once per version of the file and leaves it at its start.
func (f *files) hash(name string, h *os.File, st fs.FileInfo) (string, error) {
	f.mu.Lock()
	known, ok := f.hashes[name]
	f.mu.Unlock()
	if ok && known.size == st.Size() && known.mtime.Equal(st.ModTime()) {
		return known.hash, nil
	}
	sum := sha256.New()
	if _, err := io.Copy(sum, h); err != nil {
		return "", err
	}
	if _, err := h.Seek(0, io.SeekStart); err != nil {
		return "", err
	}
	known = hashed{hash: hex.EncodeToString(sum.Sum(nil)), size: st.Size(), mtime: st.ModTime()}
	f.mu.Lock()
	f.hashes[name] = known
	f.mu.Unlock()
	return known.hash, nil
}

func (f *files) explain(src string, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("read %s: no such file in %s", src, f.dir)
	}
	if strings.Contains(err.Error(), "escapes") {
		return fmt.Errorf("read %s: it leads out of the script's folder %s, and hosts are given nothing else", src, f.dir)
	}
	return fmt.Errorf("read %s: %w", src, err)
}

// list is the manifest of a folder, in lexical order.
func (f *files) list(dir string) ([]modules.FileEntry, error) {
	name, err := f.local(dir)
	if err != nil {
		return nil, err
	}
	var out []modules.FileEntry
	err = fs.WalkDir(f.root.FS(), filepath.ToSlash(name), func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return f.explain(dir, err)
		}
		rel, _ := filepath.Rel(name, filepath.FromSlash(path))
		if rel == "." {
			if !d.IsDir() {
				return fmt.Errorf("list %s: not a folder", dir)
			}
			return nil
		}
		st, err := d.Info()
		if err != nil {
			return err
		}
		e := modules.FileEntry{Path: filepath.ToSlash(rel), Mode: st.Mode(), Size: st.Size()}
		switch {
		case st.Mode()&fs.ModeSymlink != 0:
			if e.Link, err = f.root.Readlink(path); err != nil {
				return err
			}
		case st.Mode().IsRegular():
			file, err := f.open(path)
			if err != nil {
				return err
			}
			e.Hash = file.Hash
			file.Close()
		case !d.IsDir():
			return nil // sockets and devices are not files to send
		}
		out = append(out, e)
		return nil
	})
	return out, err
}
