package modulestest

import (
	"context"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/sloth-runner/sloth/modules"
	"github.com/sloth-runner/sloth/modules/internal/hostfile"
)

var _ modules.Keeper = (*Controller)(nil)

// folder is where files of the host "host" go.
func folder(to modules.Kept) string {
	switch {
	case !to.Flat:
		return path.Join(to.Dest, "host")
	case strings.HasSuffix(to.Dest, "/"):
		return path.Clean(to.Dest)
	}
	return path.Dir(to.Dest)
}

// Lacks compares files with Kept.
func (c *Controller) Lacks(_ context.Context, to modules.Kept, files []modules.FileEntry) (modules.Lacking, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := modules.Lacking{Folder: folder(to)}
	for i, e := range files {
		if have, ok := c.Kept[path.Join(out.Folder, e.Path)]; !ok || hostfile.HashOf([]byte(have)) != e.Hash {
			out.Files = append(out.Files, i)
		}
	}
	return out, nil
}

// Keep puts the parts together in Kept.
func (c *Controller) Keep(_ context.Context, to modules.Kept, pieces []modules.Piece) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.Kept == nil {
		c.Kept, c.parts = map[string]string{}, map[string][]byte{}
	}
	for _, p := range pieces {
		name := path.Join(folder(to), p.File.Path)
		if c.parts[name] == nil {
			c.parts[name] = make([]byte, p.File.Size)
		}
		copy(c.parts[name][p.Offset:], p.Data)
		if !p.Done {
			continue
		}
		if hostfile.HashOf(c.parts[name]) != p.File.Hash {
			return fmt.Errorf("%s changed while it was being sent", name)
		}
		c.Kept[name] = string(c.parts[name])
		delete(c.parts, name)
	}
	return nil
}

// kept is Kept as text.
func (c *Controller) kept() string {
	var out strings.Builder
	for _, name := range slices.Sorted(maps.Keys(c.Kept)) {
		fmt.Fprintf(&out, "controller:%s %q\n", name, c.Kept[name])
	}
	return out.String()
}
