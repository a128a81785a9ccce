package fileops

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/sloth-runner/sloth/facts"
	"github.com/sloth-runner/sloth/modules/internal/hostfile"
	"github.com/sloth-runner/sloth/modules/internal/pack"
	"github.com/sloth-runner/sloth/modules/machine"
)

// collect lists what belongs into the archive, in an order that is always the
// same.
func (a *Archive) collect(ctx context.Context, v facts.Viewer) error {
	var paths []string
	for _, p := range a.Path {
		if !strings.ContainsAny(p, "*?[") {
			paths = append(paths, p)
			continue
		}
		found, err := Glob(ctx, v, p)
		if err != nil {
			return err
		}
		paths = append(paths, found...)
	}
	root := ""
	for _, p := range paths {
		parent := filepath.Dir(p) // of "x/" that is x itself
		if root == "" {
			root = parent
		}
		for root != "/" && parent != root && !strings.HasPrefix(parent, root+"/") {
			root = filepath.Dir(root)
		}
	}
	slices.Sort(paths)
	w := collector{Archive: a, ctx: ctx, v: v, root: root, seen: map[string]bool{}, kept: map[string]bool{}}
	defer func() { a.removals = slices.DeleteFunc(a.removals, func(p string) bool { return w.kept[p] }) }()
	for _, p := range paths {
		clean := filepath.Clean(p)
		st, err := v.Lstat(clean)
		if hostfile.Missing(err) && a.Remove {
			continue
		}
		if hostfile.Missing(err) && !hostfile.Unsure(v) {
			return &gone{fmt.Sprintf("path = %q does not exist; a pattern may match nothing", p)}
		}
		if err != nil {
			return err
		}
		a.tops = append(a.tops, st)
		if err := w.add(clean, st); err != nil {
			return err
		}
	}
	return nil
}

type collector struct {
	*Archive
	ctx  context.Context
	v    facts.Viewer
	root string
	seen map[string]bool // by name in the archive
	kept map[string]bool // folders that hold something that is not archived
}

// stays notes that p is not archived, so that no folder above it goes.
func (c *collector) stays(p string) {
	for dir := filepath.Dir(p); !c.kept[dir]; dir = filepath.Dir(dir) {
		c.kept[dir] = true
	}
}

func (c *collector) leavesOut(p, name string) bool {
	for _, x := range c.Exclude {
		if filepath.IsAbs(x) {
			x = filepath.Clean(x)
			if ok, _ := path.Match(x, p); ok || strings.HasPrefix(p, x+"/") {
				return true
			}
		} else if pack.Match([]string{x}, name) {
			return true
		}
	}
	return p == filepath.Clean(c.Dest)
}

// add takes a file, or a folder with what is in it.
func (c *collector) add(p string, st facts.FileInfo) error {
	if c.ctx.Err() != nil {
		return context.Cause(c.ctx)
	}
	name, err := filepath.Rel(c.root, p)
	if err != nil {
		return err
	}
	name = filepath.ToSlash(name)
	if name != "." && c.seen[name] {
		return nil
	}
	if name != "." && c.leavesOut(p, name) {
		c.stays(p)
		return nil
	}
	c.seen[name] = true
	e := pack.Entry{
		Name: name, Mode: st.Mode.Perm(), UID: st.UID, GID: st.GID, User: st.Owner, Group: st.Group, MTime: time.Unix(st.MTime/1e9, 0),
	}
	switch {
	case st.Mode.IsRegular():
		e.Size = st.Size
	case st.Mode.IsDir():
		e.Kind = pack.Dir
	case st.Mode&fs.ModeSymlink != 0:
		e.Kind, e.Link = pack.Symlink, st.Link
	default:
		c.log("warn", fmt.Sprintf("%s is a %s and not archived", p, machine.Kind(st.Mode)), nil)
		c.stays(p)
		return nil
	}
	if name != "." {
		c.items = append(c.items, pack.Item{Entry: e, Open: func() (io.ReadCloser, error) { return c.v.Open(p) }})
		if c.Remove {
			c.removals = append(c.removals, p)
		}
	}
	if !st.Mode.IsDir() {
		return nil
	}
	list, err := c.v.ReadDir(p)
	if err != nil {
		return err
	}
	for _, sub := range list {
		if err := c.add(filepath.Join(p, sub.Name), sub); err != nil {
			return err
		}
	}
	return nil
}
