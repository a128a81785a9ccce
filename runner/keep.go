package runner

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"

	"github.com/sloth-runner/sloth/modules"
)

// What one host may leave here in one run.
const (
	maxKeptFile  = 8 << 30
	maxKeptBytes = 32 << 30
	maxKeptFiles = 100_000
)

// keeping counts it. A file counts with its size when its first part arrives.
type keeping struct {
	mu    sync.Mutex
	hosts map[string]*kept
}

type kept struct {
	bytes int64
	files int
}

// spend refuses what is over a host's share.
func (k *keeping) spend(host string, bytes int64, files int) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.hosts == nil {
		k.hosts = map[string]*kept{}
	}
	of := k.hosts[host]
	if of == nil {
		of = &kept{}
		k.hosts[host] = of
	}
	of.bytes += bytes
	of.files += files
	if of.bytes > maxKeptBytes || of.files > maxKeptFiles {
		return fmt.Errorf("fetch: %s has sent more than %d files or %d GB in this run", host, maxKeptFiles, maxKeptBytes>>30)
	}
	return nil
}

// shelf is the folder that one call may write in.
type shelf struct {
	root *os.Root
	name string // as the script would write it
	one  string // the only name allowed, with flat
}

// shelf opens it. A host chooses neither the folder nor, with flat, the name:
// both stand in a function that it was sent.
func (s *services) shelf(to modules.Kept, create bool) (*shelf, error) {
	dest, err := s.r.root.local(to.Dest)
	if err != nil {
		return nil, fmt.Errorf("fetch: dest = %q is not below the script's folder", to.Dest)
	}
	if s.host != Local && !s.r.sentName(s.host, to.Dest) {
		return nil, fmt.Errorf("fetch: dest = %q stands in no function sent to %s; write it literally where it is used", to.Dest, s.host)
	}
	if dest == "." {
		return nil, errors.New("fetch: dest is the script's own folder; give what comes from hosts a folder of its own")
	}
	out := &shelf{name: filepath.ToSlash(dest)}
	switch {
	case !to.Flat:
		host := url.PathEscape(s.host)
		if host == "." || host == ".." || host == "" {
			return nil, fmt.Errorf("fetch: a host named %q can have no folder", s.host)
		}
		out.name = path.Join(out.name, host)
	case strings.HasSuffix(to.Dest, "/"):
		if s.host != Local && !s.r.sentName(s.host, to.Src) {
			return nil, fmt.Errorf("fetch: src = %q stands in no function sent to %s; write it literally, or name the file in dest, or leave flat away", to.Src, s.host)
		}
		out.one = path.Base(to.Src)
	default:
		out.name, out.one = path.Split(out.name)
		if out.name = path.Clean(out.name); out.name == "." {
			return nil, errors.New("fetch: dest is in the script's own folder; give what comes from hosts a folder of its own")
		}
	}
	if create {
		if err := s.r.root.root.MkdirAll(out.name, 0o700); err != nil {
			return nil, fmt.Errorf("fetch into %s: %w", out.name, err)
		}
	}
	out.root, err = s.r.root.root.OpenRoot(out.name)
	if err != nil {
		return out, fmt.Errorf("fetch into %s: %w", out.name, err)
	}
	return out, nil
}

func (h *shelf) close() {
	if h.root != nil {
		h.root.Close()
	}
}

// at is the name of a host's file in the shelf.
func (h *shelf) at(e modules.FileEntry) (string, error) {
	name := filepath.FromSlash(e.Path)
	switch {
	case h.one != "" && e.Path != h.one:
		return "", fmt.Errorf("fetch: %.200q is not %s", e.Path, h.one)
	case !filepath.IsLocal(name) || filepath.Clean(name) != name || name == "." || strings.ContainsRune(name, 0):
		return "", fmt.Errorf("fetch: %.200q is no name below %s", e.Path, h.name)
	case e.Size < 0 || e.Size > maxKeptFile:
		return "", fmt.Errorf("fetch: %.200s has %d bytes; at most %d GB are taken", e.Path, e.Size, maxKeptFile>>30)
	}
	return name, nil
}

// Lacks compares a host's files with those fetched before.
func (s *services) Lacks(ctx context.Context, to modules.Kept, files []modules.FileEntry) (modules.Lacking, error) {
	if len(files) > maxKeptFiles {
		return modules.Lacking{}, fmt.Errorf("fetch: %d files are more than %d", len(files), maxKeptFiles)
	}
	if to.Step != "" {
		return s.lacksArtifacts(ctx, to, files)
	}
	h, err := s.shelf(to, false)
	if err != nil && (h == nil || !errors.Is(err, fs.ErrNotExist)) {
		return modules.Lacking{}, err
	}
	defer h.close()
	out := modules.Lacking{Folder: h.name}
	for i, e := range files {
		if ctx.Err() != nil {
			return out, context.Cause(ctx)
		}
		name, err := h.at(e)
		if err != nil {
			return out, err
		}
		if h.root == nil || !h.has(name, e) {
			out.Files = append(out.Files, i)
		}
	}
	return out, nil
}

func (h *shelf) has(name string, e modules.FileEntry) bool {
	st, err := h.root.Lstat(name)
	if err != nil || !st.Mode().IsRegular() || st.Size() != e.Size {
		return false
	}
	return h.hash(name) == e.Hash
}

// hash is empty where the file cannot be read.
func (h *shelf) hash(name string) string {
	f, err := h.root.Open(name)
	if err != nil {
		return ""
	}
	defer f.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, f); err != nil {
		return ""
	}
	return hex.EncodeToString(sum.Sum(nil))
}

// Keep writes parts of files under a name of their own, and gives the file its
// name once it has the size and the hash it was announced with.
func (s *services) Keep(ctx context.Context, to modules.Kept, pieces []modules.Piece) error {
	if to.Step != "" {
		return s.keepArtifacts(ctx, to, pieces)
	}
	h, err := s.shelf(to, true)
	if err != nil {
		return err
	}
	defer h.close()
	for _, p := range pieces {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		name, err := h.at(p.File)
		if err != nil {
			return err
		}
		if p.Offset < 0 || p.Offset > p.File.Size-int64(len(p.Data)) {
			return fmt.Errorf("fetch: a part of %.200s at %d is not within its %d bytes", p.File.Path, p.Offset, p.File.Size)
		}
		count := 0
		if p.Offset == 0 {
			count = 1
		}
		if err := s.r.root.keeping.spend(s.host, int64(len(p.Data)), count); err != nil {
			return err
		}
		if err := h.write(name, h.partName(name, s.host), p); err != nil {
			return fmt.Errorf("fetch %s: %w", path.Join(h.name, p.File.Path), err)
		}
	}
	return nil
}

// partName is that of a file on its way. With flat, two hosts may be sending
// the same name.
func (h *shelf) partName(name, host string) string {
	dir, base := filepath.Split(name)
	sum := sha256.Sum256([]byte(host + "\x00" + base))
	return dir + ".fetch-" + hex.EncodeToString(sum[:8])
}

func (h *shelf) write(name, part string, p modules.Piece) error {
	if dir := filepath.Dir(name); dir != "." {
		if err := h.root.MkdirAll(dir, 0o700); err != nil {
			return err
		}
	}
	f, err := h.root.OpenFile(part, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.WriteAt(p.Data, p.Offset); err != nil {
		return err
	}
	if !p.Done {
		return nil
	}
	if err := f.Truncate(p.File.Size); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if h.hash(part) != p.File.Hash {
		_ = h.root.Remove(part)
		return errors.New("it changed while it was being sent")
	}
	return h.root.Rename(part, name)
}
