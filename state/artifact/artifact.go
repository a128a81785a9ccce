// Package artifact keeps files that tasks made: each content once, under its
// hash, with what is known of it, in a folder of the person's own.
package artifact

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/sloth-runner/sloth/state/disk/filelock"
	"github.com/sloth-runner/sloth/state/disk/private"
)

// maxMeta bounds what is read of one description.
const maxMeta = 64 << 10

// maxName is the length of an artifact's name in bytes.
const maxName = 1024

// Artifact is one version of a file that a task made.
type Artifact struct {
	ID    string    `json:"id"`
	Name  string    `json:"name"` // path below the task's folder, with slashes
	Stack string    `json:"stack"`
	Task  string    `json:"task"`
	Host  string    `json:"host"`
	Run   string    `json:"run"`
	Made  time.Time `json:"made"`
	Size  int64     `json:"size"`
	Hash  string    `json:"sha256"`
	Mode  uint32    `json:"mode"` // permission bits
	// Version counts those of the same name, stack and host.
	Version int `json:"version"`
}

// Store is a folder of artifacts. Several processes may use it.
type Store struct {
	root *os.Root
	dir  string
	now  func() time.Time
}

var goodHash = regexp.MustCompile(`^[0-9a-f]{64}$`)

// Open opens a folder, and makes it if need be.
func Open(dir string) (*Store, error) {
	if err := private.Folder(dir); err != nil {
		return nil, fmt.Errorf("open the artifacts: %w", err)
	}
	for _, d := range []string{filepath.Join(dir, "objects"), filepath.Join(dir, "meta"), filepath.Join(dir, "parts")} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			return nil, fmt.Errorf("open the artifacts: %w", err)
		}
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("open the artifacts: %w", err)
	}
	return &Store{root: root, dir: dir, now: time.Now}, nil
}

// Close gives the folder back.
func (s *Store) Close() error { return s.root.Close() }

// CheckName refuses names that are no path below a folder.
func CheckName(name string) error {
	if name == "" || len(name) > maxName || !filepath.IsLocal(filepath.FromSlash(name)) || path.Clean(name) != name || name == "." || strings.ContainsAny(name, "\x00\n\\") {
		return fmt.Errorf("%.200q is no name for an artifact: it is a path below the task's folder", name)
	}
	return nil
}

func objectName(hash string) string { return "objects/" + hash[:2] + "/" + hash }

// lockPatience is above what removing many old contents takes.
const lockPatience = time.Minute

// lock keeps those who remove apart from those who add.
func (s *Store) lock(ctx context.Context) (func(), error) {
	f, err := s.root.OpenFile("lock", os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := filelock.Wait(ctx, f, filelock.Exclusive, lockPatience); err != nil {
		f.Close()
		if errors.Is(err, filelock.ErrHeld) {
			return nil, fmt.Errorf("the artifacts in %s are in use by %s, waited %s; try again", s.dir, filelock.HolderOf(filepath.Join(s.dir, "lock")), lockPatience)
		}
		return nil, err
	}
	if err := filelock.Sign(f, ""); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return func() { f.Close() }, nil
}

// Put keeps a file of which r is the content. Where a.Hash is set, another
// content is refused.
func (s *Store) Put(ctx context.Context, a Artifact, r io.Reader) (Artifact, error) {
	if err := CheckName(a.Name); err != nil {
		return a, err
	}
	part := "parts/" + rand.Text()
	f, err := s.root.OpenFile(part, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return a, err
	}
	defer func() { _ = s.root.Remove(part) }() // where it has its name, it is gone
	defer f.Close()
	if _, err := io.Copy(f, readerOf(ctx, r)); err != nil {
		return a, err
	}
	return s.take(ctx, a, f, part)
}

// take makes an object of a part that is whole.
func (s *Store) take(ctx context.Context, a Artifact, f *os.File, part string) (Artifact, error) {
	if err := f.Sync(); err != nil {
		return a, err
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return a, err
	}
	sum := sha256.New()
	size, err := io.Copy(sum, f)
	if err != nil {
		return a, err
	}
	hash := hex.EncodeToString(sum.Sum(nil))
	if a.Hash != "" && a.Hash != hash || a.Size != 0 && a.Size != size {
		return a, fmt.Errorf("artifact %s: it changed while it was being sent", a.Name)
	}
	a.Hash, a.Size = hash, size
	free, err := s.lock(ctx)
	if err != nil {
		return a, err
	}
	defer free()
	if err := s.root.MkdirAll(path.Dir(objectName(hash)), 0o700); err != nil {
		return a, err
	}
	if err := s.root.Rename(part, objectName(hash)); err != nil {
		return a, err
	}
	return s.describe(a)
}

// Again notes another version whose content is that of an artifact.
func (s *Store) Again(ctx context.Context, a Artifact, of Artifact) (Artifact, error) {
	if err := CheckName(a.Name); err != nil {
		return a, err
	}
	free, err := s.lock(ctx)
	if err != nil {
		return a, err
	}
	defer free()
	if st, err := s.root.Stat(objectName(of.Hash)); err != nil || st.Size() != of.Size {
		return a, fmt.Errorf("artifact %s: its content is not there any more", a.Name)
	}
	a.Hash, a.Size = of.Hash, of.Size
	return s.describe(a)
}

// describe writes what is known of an artifact. The caller holds the lock.
func (s *Store) describe(a Artifact) (Artifact, error) {
	line := lineOf(a)
	if err := s.root.MkdirAll(line, 0o700); err != nil {
		return a, err
	}
	list, err := s.below(line, Filter{Stack: a.Stack, Host: a.Host})
	if err != nil {
		return a, err
	}
	for _, o := range list {
		a.Version = max(a.Version, o.Version)
	}
	a.Version++
	a.Made = s.now().UTC()
	a.ID = strings.ToLower(rand.Text()[:12])
	data, err := json.MarshalIndent(a, "", "  ")
	if err != nil {
		return a, err
	}
	if len(data) > maxMeta {
		return a, fmt.Errorf("artifact %s: its description has %d bytes, which is over the limit of %d", a.Name, len(data), maxMeta)
	}
	part := "parts/" + rand.Text()
	f, err := s.root.OpenFile(part, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return a, err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = s.root.Rename(part, metaName(a))
	}
	if err != nil {
		_ = s.root.Remove(part) // the first error counts
		return a, err
	}
	return a, s.syncFolder(line)
}

// lineOf is where the descriptions of all versions of an artifact are.
func lineOf(a Artifact) string {
	sum := sha256.Sum256([]byte(a.Stack + "\x00" + a.Host + "\x00" + a.Name))
	return "meta/" + hex.EncodeToString(sum[:12])
}

func metaName(a Artifact) string { return lineOf(a) + "/" + a.ID + ".json" }

func (s *Store) syncFolder(name string) error {
	d, err := s.root.Open(name)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// Filter chooses artifacts; empty fields choose all.
type Filter struct {
	Name  string // or a pattern as path.Match has it
	Stack string
	Host  string
	Run   string
}

func (f Filter) match(a Artifact) bool {
	if f.Name != "" && f.Name != a.Name {
		if ok, err := path.Match(f.Name, a.Name); err != nil || !ok {
			return false
		}
	}
	return (f.Stack == "" || f.Stack == a.Stack) && (f.Host == "" || f.Host == a.Host) && (f.Run == "" || f.Run == a.Run)
}

// List gives artifacts, the newest last.
func (s *Store) List(f Filter) ([]Artifact, error) { return s.below("meta", f) }

// Versions gives those of one name, stack and host, the newest last.
func (s *Store) Versions(of Artifact) ([]Artifact, error) {
	list, err := s.below(lineOf(of), Filter{Stack: of.Stack, Host: of.Host})
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return list, err
}

func (s *Store) below(dir string, f Filter) ([]Artifact, error) {
	names, err := s.names(dir)
	if err != nil {
		return nil, err
	}
	var out []Artifact
	for _, n := range names {
		a, err := s.read(n)
		if errors.Is(err, fs.ErrNotExist) {
			continue // it was removed meanwhile
		}
		if err != nil {
			return nil, err
		}
		if f.match(a) {
			out = append(out, a)
		}
	}
	slices.SortFunc(out, func(a, b Artifact) int {
		if c := a.Made.Compare(b.Made); c != 0 {
			return c
		}
		return strings.Compare(a.ID, b.ID)
	})
	return out, nil
}

func (s *Store) read(name string) (a Artifact, err error) {
	f, err := s.root.Open(name)
	if err != nil {
		return a, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxMeta))
	if err != nil {
		return a, err
	}
	if err := json.Unmarshal(data, &a); err != nil || metaName(a) != name || !goodHash.MatchString(a.Hash) || CheckName(a.Name) != nil {
		return a, fmt.Errorf("the description %s of an artifact is damaged; sloth artifact verify tells more", filepath.Join(s.dir, name))
	}
	return a, nil
}

// Open gives the content of an artifact. Its end is an error where it is not
// what was kept.
func (s *Store) Open(a Artifact) (io.ReadCloser, error) {
	if !goodHash.MatchString(a.Hash) {
		return nil, fmt.Errorf("artifact %s has no hash", a.Name)
	}
	f, err := s.root.Open(objectName(a.Hash))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("the content of artifact %s (%.12s) is gone", a.Name, a.Hash)
	}
	if err != nil {
		return nil, err
	}
	return &checked{f: f, a: a, sum: sha256.New()}, nil
}

// checked compares what is read with its hash.
type checked struct {
	f   *os.File
	a   Artifact
	sum interface {
		io.Writer
		Sum([]byte) []byte
	}
}

func (c *checked) Read(p []byte) (int, error) {
	n, err := c.f.Read(p)
	_, _ = c.sum.Write(p[:n]) // a hash takes everything
	if errors.Is(err, io.EOF) && hex.EncodeToString(c.sum.Sum(nil)) != c.a.Hash {
		return n, fmt.Errorf("the content of artifact %s (%.12s) is damaged", c.a.Name, c.a.Hash)
	}
	return n, err
}

func (c *checked) Close() error { return c.f.Close() }

// readerOf ends with ctx.
func readerOf(ctx context.Context, r io.Reader) io.Reader { return &inContext{ctx, r} }

type inContext struct {
	ctx context.Context
	r   io.Reader
}

func (c *inContext) Read(p []byte) (int, error) {
	if c.ctx.Err() != nil {
		return 0, context.Cause(c.ctx)
	}
	return c.r.Read(p)
}
