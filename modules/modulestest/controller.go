package modulestest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"sync"

	"github.com/sloth-runner/sloth/modules"
	"github.com/sloth-runner/sloth/modules/internal/hostfile"
)

// Controller serves files to modules under test. Everything it has no answer
// for is an error.
type Controller struct {
	Files map[string]string      // by path below the script's folder
	Modes map[string]fs.FileMode // 0644 where nothing is said
	Links map[string]string

	// Kept are the files of hosts that it was sent, by where they are.
	Kept  map[string]string
	mu    sync.Mutex
	parts map[string][]byte
}

var _ modules.Services = (*Controller)(nil)

func (c *Controller) mode(name string) fs.FileMode {
	if m, ok := c.Modes[name]; ok {
		return m
	}
	return 0o644
}

// File opens one of Files.
func (c *Controller) File(_ context.Context, src string) (modules.File, error) {
	name := path.Clean(src)
	text, ok := c.Files[name]
	if !ok {
		return modules.File{}, fmt.Errorf("read %s: no such file", src)
	}
	return modules.File{
		ReadCloser: io.NopCloser(strings.NewReader(text)), Size: int64(len(text)),
		Hash: hostfile.HashOf([]byte(text)), Mode: c.mode(name),
	}, nil
}

// List is the manifest of a folder of Files and Links.
func (c *Controller) List(_ context.Context, dir string) ([]modules.FileEntry, error) {
	prefix := path.Clean(dir) + "/"
	byPath := map[string]modules.FileEntry{}
	add := func(name string, e modules.FileEntry) {
		rel, ok := strings.CutPrefix(name, prefix)
		if !ok {
			return
		}
		for d := path.Dir(rel); d != "."; d = path.Dir(d) {
			byPath[d] = modules.FileEntry{Path: d, Mode: fs.ModeDir | 0o755}
		}
		e.Path = rel
		byPath[rel] = e
	}
	for name, text := range c.Files {
		add(name, modules.FileEntry{Mode: c.mode(name), Size: int64(len(text)), Hash: hostfile.HashOf([]byte(text))})
	}
	for name, to := range c.Links {
		add(name, modules.FileEntry{Mode: fs.ModeSymlink | 0o777, Link: to})
	}
	if len(byPath) == 0 {
		return nil, fmt.Errorf("list %s: no such folder", dir)
	}
	var out []modules.FileEntry
	for _, e := range byPath {
		out = append(out, e)
	}
	slices.SortFunc(out, func(a, b modules.FileEntry) int { return strings.Compare(a.Path, b.Path) })
	return out, nil
}

// Template puts vars into {{ name }}; engine is shown as {{ engine }}.
func (c *Controller) Template(ctx context.Context, src, engine string, vars map[string]any) ([]byte, error) {
	f, err := c.File(ctx, src)
	if err != nil {
		return nil, err
	}
	text, err := io.ReadAll(f)
	if err != nil {
		return nil, err
	}
	text = bytes.ReplaceAll(text, []byte("{{ engine }}"), []byte(engine))
	for k, v := range vars {
		text = bytes.ReplaceAll(text, []byte("{{ "+k+" }}"), fmt.Append(nil, v))
	}
	if at := bytes.Index(text, []byte("{{")); at >= 0 {
		return nil, fmt.Errorf("template %s:%d: %s is not defined", src, 1+bytes.Count(text[:at], []byte("\n")), bytes.SplitN(text[at:], []byte("\n"), 2)[0])
	}
	return text, nil
}

var errNotHere = errors.New("not available in this test")

// State has no store here.
func (c *Controller) State(context.Context, string, []any) ([]any, error) { return nil, errNotHere }

// Secret knows none.
func (c *Controller) Secret(context.Context, string) (string, error) { return "", errNotHere }

// Require finds nothing.
func (c *Controller) Require(context.Context, string) ([]byte, string, error) {
	return nil, "", errNotHere
}

// RunTask runs nothing.
func (c *Controller) RunTask(context.Context, []byte) ([]byte, error) { return nil, errNotHere }

// Notify knows no handlers.
func (c *Controller) Notify(context.Context, string) error { return errNotHere }

// Inventory is empty.
func (c *Controller) Inventory(context.Context, string, string) (any, error) {
	return nil, errNotHere
}

// SetHostVar keeps nothing.
func (c *Controller) SetHostVar(context.Context, string, any) error { return errNotHere }
