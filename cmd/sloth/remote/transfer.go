package remote

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/pkg/sftp"

	"github.com/sloth-runner/sloth/modules"
)

func hashOf(r io.Reader) (string, error) {
	h := sha256.New()
	if _, err := io.Copy(h, r); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

func hashFile(name string) (string, error) {
	f, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	return hashOf(f)
}

// remoteFile is what the host has under a name; nil where there is nothing, and
// where there is no SFTP to tell.
func (c *conn) remoteFile(ctx context.Context, name string) (fs.FileInfo, error) {
	st, err := with(ctx, c, "look at "+name, func(s *sftp.Client) (fs.FileInfo, error) { return s.Stat(name) })
	switch {
	case err == nil && st.IsDir():
		return nil, fmt.Errorf("%s is a folder there: name the file", name)
	case missing(err):
		return nil, nil
	case err != nil && ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case err != nil:
		return nil, nil
	}
	return st, nil
}

func (c *conn) uploadFile(ctx context.Context, local, remote string, mode modules.Mode) (any, error) {
	st, err := os.Stat(local)
	if err != nil {
		return nil, err
	}
	if !st.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is no regular file; upload_dir copies folders", local)
	}
	there, err := c.remoteFile(ctx, remote)
	if err != nil {
		return nil, err
	}
	same := false
	if there != nil && there.Size() == st.Size() {
		sum, err := hashFile(local)
		if err != nil {
			return nil, err
		}
		same = c.hashes(ctx, []string{remote})[plain(remote)] == sum
	}
	changed, err := c.put(ctx, local, remote, st, mode, there, same)
	return done(changed), err
}

// put uploads a file that is not the same, and sets a mode that is not either.
func (c *conn) put(ctx context.Context, local, remote string, st fs.FileInfo, mode modules.Mode, there fs.FileInfo, same bool) (bool, error) {
	want, err := modeOf(mode, st.Mode().Perm())
	if err != nil {
		return false, err
	}
	if same {
		if modules.PermBits(there.Mode()) == want {
			return false, nil
		}
		return with(ctx, c, "chmod "+remote, func(s *sftp.Client) (bool, error) { return true, s.Chmod(remote, want) })
	}
	f, err := os.Open(local)
	if err != nil {
		return false, err
	}
	defer f.Close()
	return true, c.Upload(ctx, remote, want, st.Size(), f)
}

// entry is a file of a folder, by its path below it.
type entry struct {
	name string
	info fs.FileInfo
}

func (c *conn) uploadDir(ctx context.Context, local, remote string, mode modules.Mode) (any, error) {
	var dirs []string
	var files []entry
	err := filepath.WalkDir(local, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(local, name)
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		if d.IsDir() {
			dirs = append(dirs, rel)
			return nil
		}
		st, err := os.Stat(name) // what a link leads to is copied
		if err != nil {
			return err
		}
		if !st.Mode().IsRegular() {
			return fmt.Errorf("%s is no regular file", name)
		}
		files = append(files, entry{rel, st})
		return nil
	})
	if err != nil {
		return nil, err
	}
	if len(dirs) == 0 {
		return nil, fmt.Errorf("%s is no folder; upload copies files", local)
	}
	there, made, err := c.prepare(ctx, remote, dirs, files)
	if err != nil {
		return nil, err
	}
	var ask []string
	for _, f := range files {
		if st := there[f.name]; st != nil && st.Size() == f.info.Size() {
			ask = append(ask, path.Join(remote, f.name))
		}
	}
	sums := c.hashes(ctx, ask)
	copied := 0
	for _, f := range files {
		from, to := filepath.Join(local, filepath.FromSlash(f.name)), path.Join(remote, f.name)
		same := false
		if sum := sums[plain(to)]; sum != "" {
			ours, err := hashFile(from)
			if err != nil {
				return nil, err
			}
			same = ours == sum
		}
		changed, err := c.put(ctx, from, to, f.info, mode, there[f.name], same)
		if err != nil {
			return nil, err
		}
		if changed {
			copied++
		}
	}
	return map[string]any{"success": true, "changed": made || copied > 0, "files": int64(len(files)), "copied": int64(copied)}, nil
}

// prepare makes the folders and looks at the files that are there, with as many
// questions as there are folders.
func (c *conn) prepare(ctx context.Context, remote string, dirs []string, files []entry) (there map[string]fs.FileInfo, made bool, err error) {
	type found struct {
		there map[string]fs.FileInfo
		made  bool
	}
	ours := make(map[string]bool, len(files))
	for _, f := range files {
		ours[f.name] = true
	}
	f, err := with(ctx, c, "prepare "+remote, func(s *sftp.Client) (found, error) {
		out := found{there: map[string]fs.FileInfo{}}
		for _, d := range dirs {
			name := path.Join(remote, d)
			list, err := s.ReadDirContext(ctx, name)
			if missing(err) {
				err, out.made = s.MkdirAll(name), true
			}
			if err != nil {
				return out, fmt.Errorf("%s: %w", name, err)
			}
			for _, st := range list {
				if below := path.Join(d, st.Name()); ours[below] && st.Mode().IsRegular() {
					out.there[below] = st
				}
			}
		}
		return out, nil
	})
	return f.there, f.made, err
}

func (c *conn) downloadFile(ctx context.Context, remote, local string, mode modules.Mode) (any, error) {
	if st, err := os.Stat(local); err == nil && st.IsDir() {
		return nil, fmt.Errorf("%s is a folder here: name the file", local)
	}
	dir, err := os.OpenRoot(filepath.Dir(local))
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	there, err := c.remoteFile(ctx, remote)
	if err != nil {
		return nil, err
	}
	if there != nil && !there.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is no regular file there", remote)
	}
	sum := ""
	if there != nil {
		sum = c.hashes(ctx, []string{remote})[plain(remote)]
	}
	changed, err := c.get(ctx, dir, remote, filepath.Base(local), there, mode, sum)
	return done(changed), err
}

// get downloads a file into a folder, unless the one that is there has the hash.
func (c *conn) get(ctx context.Context, dir *os.Root, remote, name string, there fs.FileInfo, mode modules.Mode, sum string) (bool, error) {
	want, err := modeOf(mode, 0o600)
	if err != nil {
		return false, err
	}
	old, err := dir.Lstat(name)
	if err == nil && old.Mode().IsRegular() && sum != "" && there != nil && there.Size() == old.Size() {
		f, err := dir.Open(name)
		if err != nil {
			return false, err
		}
		ours, err := hashOf(f)
		f.Close()
		if err != nil {
			return false, err
		}
		if ours == sum {
			if mode == "" || old.Mode().Perm() == want.Perm() {
				return false, nil
			}
			return true, dir.Chmod(name, want)
		}
	}
	temporary := name + "." + rand.Text() + ".part"
	f, err := dir.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return false, err
	}
	err = c.Download(ctx, remote, f)
	if err == nil {
		err = f.Chmod(want)
	}
	if err == nil {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = dir.Rename(temporary, name)
	}
	if err != nil {
		return false, errors.Join(err, dir.Remove(temporary))
	}
	return true, nil
}

func (c *conn) downloadDir(ctx context.Context, remote, local string, mode modules.Mode) (any, error) {
	found, err := with(ctx, c, "list "+remote, func(s *sftp.Client) ([]entry, error) { return walk(ctx, s, remote) })
	if err != nil {
		return nil, err
	}
	_, err = os.Stat(local)
	made := missing(err)
	if err := os.MkdirAll(local, 0o700); err != nil {
		return nil, err
	}
	// The names are the host's: nothing is written outside of the folder.
	dir, err := os.OpenRoot(local)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	var ask []string
	files := 0
	for _, e := range found {
		if st, err := dir.Lstat(e.name); err == nil && st.Mode().IsRegular() && st.Size() == e.info.Size() {
			ask = append(ask, path.Join(remote, e.name))
		}
	}
	sums := c.hashes(ctx, ask)
	copied := 0
	for _, e := range found {
		if e.info.IsDir() {
			if _, err := dir.Lstat(e.name); missing(err) {
				made = true
			}
			if err := dir.MkdirAll(e.name, 0o700); err != nil {
				return nil, err
			}
			continue
		}
		files++
		from := path.Join(remote, e.name)
		changed, err := c.get(ctx, dir, from, e.name, e.info, mode, sums[plain(from)])
		if err != nil {
			return nil, err
		}
		if changed {
			copied++
		}
	}
	return map[string]any{"success": true, "changed": made || copied > 0, "files": int64(files), "copied": int64(copied)}, nil
}

// walk lists folders and regular files below one, folders first. Links are
// passed over: where they lead is the host's choice.
func walk(ctx context.Context, s *sftp.Client, top string) ([]entry, error) {
	st, err := s.Stat(top)
	if err != nil {
		return nil, err
	}
	if !st.IsDir() {
		return nil, errors.New("it is no folder; download copies files")
	}
	var out []entry
	for queue := []string{""}; len(queue) > 0; queue = queue[1:] {
		list, err := s.ReadDirContext(ctx, path.Join(top, queue[0]))
		if err != nil {
			return nil, err
		}
		slices.SortFunc(list, func(a, b fs.FileInfo) int { return strings.Compare(a.Name(), b.Name()) })
		for _, st := range list {
			name := st.Name()
			if name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\x00") || !filepath.IsLocal(name) {
				return nil, fmt.Errorf("the host gives a file the name %q", name)
			}
			if len(out) == maxEntries {
				return nil, fmt.Errorf("there are more than %d files below %s; pack them on the host and download the archive", maxEntries, top)
			}
			below := path.Join(queue[0], name)
			switch {
			case st.IsDir() && strings.Count(below, "/") > 100:
				return nil, fmt.Errorf("%s is nested deeper than 100 folders", below)
			case st.IsDir():
				queue = append(queue, below)
				out = append(out, entry{below, st})
			case st.Mode().IsRegular():
				out = append(out, entry{below, st})
			}
		}
	}
	return out, nil
}
