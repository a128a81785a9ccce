package artifact

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"time"
)

// Keep says which artifacts stay. The newest version of a name, of each host
// and stack, always does, unless Size forbids it.
type Keep struct {
	Versions int       // of a name; 0: any number
	Since    time.Time // zero: however old
	Size     int64     // bytes of all contents; 0: any number
}

// partLife is how long a part of a file may go without an addition.
const partLife = 24 * time.Hour

// Prune removes what keep does not keep, and contents that no artifact has. It
// returns what it removed and how many bytes that freed.
func (s *Store) Prune(ctx context.Context, keep Keep) (gone []Artifact, freed int64, err error) {
	free, err := s.lock(ctx)
	if err != nil {
		return nil, 0, err
	}
	defer free()
	list, err := s.List(Filter{})
	if err != nil {
		return nil, 0, err
	}
	type line struct{ name, stack, host string }
	versions := map[line]int{}
	var stay []Artifact
	for _, a := range slices.Backward(list) { // the newest first
		l := line{a.Name, a.Stack, a.Host}
		versions[l]++
		if n := versions[l]; n > 1 && (keep.Versions > 0 && n > keep.Versions || a.Made.Before(keep.Since)) {
			gone = append(gone, a)
			continue
		}
		stay = append(stay, a)
	}
	if keep.Size > 0 {
		var size int64
		counted := map[string]bool{}
		for i, a := range stay {
			if !counted[a.Hash] {
				counted[a.Hash] = true
				size += a.Size
			}
			if size > keep.Size {
				gone = append(gone, stay[i:]...)
				stay = stay[:i]
				break
			}
		}
	}
	for _, a := range gone {
		if err := s.root.Remove(metaName(a)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, 0, err
		}
	}
	used := map[string]bool{}
	for _, a := range stay {
		used[a.Hash] = true
	}
	freed, err = s.sweep(used)
	return gone, freed, err
}

// sweep removes contents that are not used, and parts that nobody goes on with.
func (s *Store) sweep(used map[string]bool) (freed int64, err error) {
	remove := func(name string, st fs.FileInfo) error {
		freed += st.Size()
		return s.root.Remove(name)
	}
	err = s.objects(func(name string, st fs.FileInfo) error {
		if used[path.Base(name)] {
			return nil
		}
		return remove(name, st)
	})
	if err != nil {
		return freed, err
	}
	err = fs.WalkDir(s.root.FS(), "parts", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		st, err := d.Info()
		if err != nil || s.now().Sub(st.ModTime()) < partLife {
			return err
		}
		return remove(name, st)
	})
	return freed, err
}

func (s *Store) objects(fn func(name string, st fs.FileInfo) error) error {
	return fs.WalkDir(s.root.FS(), "objects", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		st, err := d.Info()
		if err != nil {
			return err
		}
		return fn(name, st)
	})
}

// Verify reads every content and compares it with its hash. It calls bad with
// what is wrong, and returns how many artifacts there are.
func (s *Store) Verify(ctx context.Context, bad func(error)) (int, error) {
	list, err := s.names("meta")
	if err != nil {
		return 0, err
	}
	checkedHash := map[string]bool{}
	for _, name := range list {
		a, err := s.read(name)
		if err != nil {
			bad(err)
			continue
		}
		if checkedHash[a.Hash] {
			continue
		}
		checkedHash[a.Hash] = true
		r, err := s.Open(a)
		if err == nil {
			_, err = io.Copy(io.Discard, readerOf(ctx, r))
			r.Close()
		}
		if ctx.Err() != nil {
			return len(list), context.Cause(ctx)
		}
		if err != nil {
			bad(err)
		}
	}
	return len(list), nil
}

// names are the files of descriptions below a folder.
func (s *Store) names(dir string) ([]string, error) {
	var out []string
	err := fs.WalkDir(s.root.FS(), dir, func(name string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			out = append(out, name)
		}
		return err
	})
	return out, err
}

// Get writes an artifact below a folder, under its name, and returns the path
// from there. Nothing outside of the folder is touched, whatever links are in
// it; an existing file is replaced when the new one is whole.
func (s *Store) Get(ctx context.Context, a Artifact, dir string) (string, error) {
	if err := CheckName(a.Name); err != nil {
		return "", err
	}
	r, err := s.Open(a)
	if err != nil {
		return "", err
	}
	defer r.Close()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	to, err := os.OpenRoot(dir)
	if err != nil {
		return "", err
	}
	defer to.Close()
	name := filepath.FromSlash(a.Name)
	if d := filepath.Dir(name); d != "." {
		if err := to.MkdirAll(d, 0o755); err != nil {
			return "", fmt.Errorf("write %s below %s: %w", a.Name, dir, err)
		}
	}
	part := filepath.Join(filepath.Dir(name), ".sloth-"+a.ID)
	f, err := to.OpenFile(part, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, fs.FileMode(a.Mode)&0o777|0o200)
	if err != nil {
		return "", fmt.Errorf("write %s below %s: %w", a.Name, dir, err)
	}
	_, err = io.Copy(f, readerOf(ctx, r))
	if err == nil {
		err = f.Chmod(fs.FileMode(a.Mode) & 0o777)
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = to.Rename(part, name)
	}
	if err != nil {
		_ = to.Remove(part) // the first error counts
		return "", fmt.Errorf("write %s below %s: %w", a.Name, dir, err)
	}
	return name, nil
}
