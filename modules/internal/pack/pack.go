// Package pack reads and writes archives: tar, plain or compressed, and zip.
// What it reads may come from anybody: names and links stay inside, devices are
// refused, and how much may be unpacked is bounded before anything is written.
package pack

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"
	"time"
)

// Kind is what an entry of an archive is.
type Kind int

// Kinds of entries. There are no others: devices and the like are refused.
const (
	File Kind = iota
	Dir
	Symlink
	Hardlink
)

// Entry describes one thing in an archive.
type Entry struct {
	Name        string // clean, relative and slash-separated
	Kind        Kind
	Mode        fs.FileMode // permissions only
	UID, GID    int
	User, Group string // names, where the archive has them
	Size        int64  // of a file
	MTime       time.Time
	Link        string // target of a link; of a hard link a Name
}

// Source is an archive. Open may be called again for another pass.
type Source struct {
	Name string // for messages
	Open func(ctx context.Context) (io.ReadCloser, error)
}

// Limits against archives that unpack to more than anybody meant.
const (
	DefaultMaxSize = 4 << 30 // bytes of all files together
	maxEntries     = 200_000
	maxName        = 4096
	maxDepth       = 100
	maxZip         = 64 << 20 // of a zip that cannot be read at any place
)

// Options say what of an archive is wanted.
type Options struct {
	Strip   int      // folders taken away from the front of each name
	Include []string // names or patterns; empty: everything
	Exclude []string
	MaxSize int64 // of all files together, unpacked; 0: DefaultMaxSize
	// OutsideLinks lets symbolic links lead anywhere. Nothing is read or written
	// through them here.
	OutsideLinks bool
}

// Walk calls f for each entry that is wanted, in the archive's order; r is the
// content of a file. A folder that is only implied is not announced. The first
// error ends it.
func Walk(ctx context.Context, src Source, o Options, f func(e Entry, r io.Reader) error) error {
	in, err := src.Open(ctx)
	if err != nil {
		return err
	}
	defer in.Close()
	if o.MaxSize <= 0 {
		o.MaxSize = DefaultMaxSize
	}
	g := &guard{o: o, left: o.MaxSize, kinds: map[string]Kind{}, f: f}
	if err := walk(ctx, in, g); err != nil {
		return fmt.Errorf("archive %s: %w", src.Name, err)
	}
	return nil
}

// guard is what every entry passes before anybody sees it.
type guard struct {
	o     Options
	seen  int
	left  int64
	kinds map[string]Kind // of every name so far, implied folders too
	f     func(Entry, io.Reader) error
}

// kindError is about what an entry is.
type kindError struct{ what string }

func (e kindError) Error() string { return e.what }

// entry checks e, whose Name is as the archive has it. bad says that e is
// something that cannot be unpacked; it matters only if e is wanted.
func (g *guard) entry(e Entry, bad error, r io.Reader) error {
	if g.seen++; g.seen > maxEntries {
		return fmt.Errorf("it has more than %d entries", maxEntries)
	}
	raw := e.Name
	name, err := cleanName(raw)
	if err != nil {
		return err
	}
	name, ok := strip(name, g.o.Strip)
	if !ok || name == "." {
		return nil
	}
	if Match(g.o.Exclude, name) || len(g.o.Include) > 0 && !Match(g.o.Include, name) {
		return nil
	}
	if bad != nil {
		return fmt.Errorf("%q %w; exclude it to unpack the rest", raw, bad)
	}
	e.Name = name
	if err := g.place(e, raw); err != nil {
		return err
	}
	switch e.Kind {
	case Symlink:
		if err := g.symlink(e); err != nil {
			return err
		}
	case Hardlink:
		target, err := cleanName(e.Link)
		if err != nil {
			return fmt.Errorf("%q is a link to %w", raw, err)
		}
		target, ok := strip(target, g.o.Strip)
		if kind, there := g.kinds[target]; !ok || !there || kind != File {
			return fmt.Errorf("%q is a second name of %q, which is no file unpacked before it", raw, e.Link)
		}
		e.Link = target
	case File:
		if e.Size < 0 || e.Size > g.left {
			return fmt.Errorf("its files are larger than %d bytes together; say max_size if that is meant", g.o.MaxSize)
		}
		g.left -= e.Size
		r = &exact{r: r, left: e.Size}
	}
	e.Mode &= fs.ModePerm
	return g.f(e, r)
}

// exact is a reader of so many bytes, which must then end: only there does a
// zip compare its checksum.
type exact struct {
	r    io.Reader
	left int64
}

func (x *exact) Read(p []byte) (int, error) {
	if x.left == 0 {
		var one [1]byte
		if n, err := io.ReadFull(x.r, one[:]); n == 0 && errors.Is(err, io.EOF) {
			return 0, io.EOF
		} else if n == 0 {
			return 0, err
		}
		return 0, errors.New("a file in it is longer than it says")
	}
	n, err := x.r.Read(p[:min(int64(len(p)), x.left)])
	x.left -= int64(n)
	if errors.Is(err, io.EOF) && x.left > 0 {
		err = io.ErrUnexpectedEOF
	} else if errors.Is(err, io.EOF) {
		err = nil
	}
	return n, err
}

// place keeps every name one thing: what is unpacked must not depend on which
// of two came last, nor go through a link.
func (g *guard) place(e Entry, raw string) error {
	for dir := path.Dir(e.Name); dir != "."; dir = path.Dir(dir) {
		if kind, there := g.kinds[dir]; there && kind != Dir {
			return fmt.Errorf("%q goes through %q, which is no folder in it", raw, dir)
		} else if there {
			break
		}
		g.kinds[dir] = Dir
	}
	if kind, there := g.kinds[e.Name]; there && (kind != Dir || e.Kind != Dir) {
		return fmt.Errorf("%q is in it twice", raw)
	}
	g.kinds[e.Name] = e.Kind
	return nil
}

// symlink refuses what leads out. Steps up are taken at the front only, where
// they start from real folders: "a/../.." would depend on what a is.
func (g *guard) symlink(e Entry) error {
	if e.Link == "" || strings.ContainsRune(e.Link, 0) || len(e.Link) > maxName {
		return fmt.Errorf("%q is a link with the target %.100q", e.Name, e.Link)
	}
	if g.o.OutsideLinks {
		return nil
	}
	up, down := 0, false
	for part := range strings.SplitSeq(e.Link, "/") {
		switch {
		case part == ".." && down:
			up = maxDepth
		case part == "..":
			up++
		case part != "" && part != ".":
			down = true
		}
	}
	if path.IsAbs(e.Link) || up > strings.Count(e.Name, "/") {
		return fmt.Errorf("%q is a link to %q, which leads out of the folder it is unpacked into; say outside_links = true if that is meant", e.Name, e.Link)
	}
	return nil
}

var errOutside = errors.New("which would be outside of the folder it is unpacked into")

// cleanName refuses names that lead anywhere but down.
func cleanName(raw string) (string, error) {
	switch {
	case raw == "" || strings.ContainsRune(raw, 0):
		return "", fmt.Errorf("the name %.100q is none", raw)
	case len(raw) > maxName || strings.Count(raw, "/") > maxDepth:
		return "", fmt.Errorf("the name %.100q… is too long", raw)
	case path.IsAbs(raw):
		return "", fmt.Errorf("%.200q, %w", raw, errOutside)
	}
	for part := range strings.SplitSeq(raw, "/") {
		if part == ".." {
			return "", fmt.Errorf("%.200q, %w", raw, errOutside)
		}
	}
	return path.Clean(raw), nil
}

// strip takes n folders away; what has no more names is not wanted.
func strip(name string, n int) (string, bool) {
	for range n {
		_, rest, ok := strings.Cut(name, "/")
		if !ok {
			return "", false
		}
		name = rest
	}
	return name, true
}

// Match reports whether one of the patterns matches rel or a folder it is in:
// one without a slash any name of the path, one with a slash from the top.
func Match(patterns []string, rel string) bool {
	names := strings.Split(rel, "/")
	for _, p := range patterns {
		p = strings.TrimPrefix(strings.TrimPrefix(strings.TrimSuffix(p, "/"), "./"), "/")
		p = strings.TrimSuffix(p, "/**")
		if !strings.Contains(p, "/") {
			for _, n := range names {
				if ok, _ := path.Match(p, n); ok {
					return true
				}
			}
			continue
		}
		if depth := strings.Count(p, "/") + 1; len(names) >= depth {
			if ok, _ := path.Match(p, strings.Join(names[:depth], "/")); ok {
				return true
			}
		}
	}
	return false
}

// CheckPatterns refuses what Match cannot read; arg names the argument.
func CheckPatterns(arg string, patterns []string) error {
	for _, p := range patterns {
		if _, err := path.Match(p, ""); err != nil {
			return fmt.Errorf("%s: %q is not a pattern: %w", arg, p, err)
		}
	}
	return nil
}
