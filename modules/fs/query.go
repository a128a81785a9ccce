package fs

import (
	"context"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/sloth-runner/sloth/facts"
	"github.com/sloth-runner/sloth/modules/fileops"
	"github.com/sloth-runner/sloth/modules/internal/hostfile"
)

// Stat is fs.stat.
type Stat struct {
	Path string `lua:"path,required,path" pos:"1" doc:"The file, folder or link; a link is described itself"`
}

// Query describes the file.
func (s *Stat) Query(_ context.Context, v facts.Viewer) ([]any, error) {
	st, err := v.Lstat(filepath.Clean(s.Path))
	if hostfile.Missing(err) {
		return []any{nil}, nil
	}
	if err != nil {
		return nil, err
	}
	return []any{hostfile.Table(st)}, nil
}

// Read is fs.read.
type Read struct {
	Path string `lua:"path,required,path" pos:"1" doc:"The file, of at most 64 MB"`
}

// Query reads the file.
func (r *Read) Query(_ context.Context, v facts.Viewer) ([]any, error) {
	data, err := hostfile.Read(v, r.Path)
	if err != nil {
		return nil, err
	}
	return []any{string(data)}, nil
}

// Exists is fs.exists.
type Exists struct {
	Path string `lua:"path,required,path" pos:"1" doc:"What to look for; links are followed"`
}

// Query looks.
func (e *Exists) Query(_ context.Context, v facts.Viewer) ([]any, error) {
	_, err := v.Stat(filepath.Clean(e.Path))
	if err != nil && !hostfile.Missing(err) && !hostfile.NotFolder(err) {
		return nil, err
	}
	return []any{err == nil}, nil
}

// List is fs.ls.
type List struct {
	Path string `lua:"path,required,path" pos:"1" doc:"The folder"`
}

// Query lists the names.
func (l *List) Query(_ context.Context, v facts.Viewer) ([]any, error) {
	list, err := v.ReadDir(filepath.Clean(l.Path))
	if err != nil {
		return nil, err
	}
	names := make([]any, len(list))
	for i, st := range list {
		names[i] = st.Name
	}
	return []any{names}, nil
}

// Glob is fs.glob.
type Glob struct {
	Pattern string `lua:"pattern,required,path" pos:"1" doc:"Path with *, ? and [a-z], which match within one name; ** is any number of folders"`
}

// Query finds the paths.
func (g *Glob) Query(ctx context.Context, v facts.Viewer) ([]any, error) {
	found, err := fileops.Glob(ctx, v, g.Pattern)
	return []any{found}, err
}

// Tmpname is fs.tmpname.
type Tmpname struct {
	Prefix string `lua:"prefix" pos:"1" doc:"How the name begins"`
}

// Query makes up a name.
func (t *Tmpname) Query(_ context.Context, v facts.Viewer) ([]any, error) {
	if strings.Contains(t.Prefix, "/") {
		return nil, fmt.Errorf("prefix %q has a slash in it", t.Prefix)
	}
	for range 100 {
		p := filepath.Join(os.TempDir(), fmt.Sprintf("%s%016x", t.Prefix, rand.Uint64()))
		if _, err := v.Lstat(p); hostfile.Missing(err) {
			return []any{p}, nil
		}
	}
	return nil, fmt.Errorf("no free name in %s", os.TempDir())
}

// Size is fs.size.
type Size struct {
	Path string `lua:"path,required,path" pos:"1" doc:"The file"`
}

// Query returns the size.
func (s *Size) Query(_ context.Context, v facts.Viewer) ([]any, error) {
	st, err := v.Stat(s.Path)
	if err != nil {
		return nil, err
	}
	if !st.Mode.IsRegular() {
		return nil, &fs.PathError{Op: "size", Path: s.Path, Err: fmt.Errorf("it is not a regular file")}
	}
	return []any{st.Size}, nil
}

// Basename is fs.basename.
type Basename struct {
	Path string `lua:"path,required" pos:"1" doc:"Any path"`
}

// Query cuts the path.
func (b *Basename) Query(context.Context, facts.Viewer) ([]any, error) {
	return []any{path.Base(b.Path)}, nil
}

// Dirname is fs.dirname.
type Dirname struct {
	Path string `lua:"path,required" pos:"1" doc:"Any path"`
}

// Query cuts the path.
func (d *Dirname) Query(context.Context, facts.Viewer) ([]any, error) {
	p := strings.TrimRight(d.Path, "/")
	if p == "" && d.Path != "" {
		return []any{"/"}, nil
	}
	return []any{path.Dir(p)}, nil
}
