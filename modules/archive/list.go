package archive

import (
	"context"
	"io"
	"math"
	"path/filepath"

	"github.com/sloth-runner/sloth/facts"
	"github.com/sloth-runner/sloth/modules"
	"github.com/sloth-runner/sloth/modules/internal/pack"
)

// List is archive.list.
type List struct {
	Path    string   `lua:"path,required,path" pos:"1" alias:"src,dest" doc:"The archive"`
	Include []string `lua:"include" pos:"2" doc:"Names or patterns of what to list; everything when not said"`
}

// Validate checks the patterns.
func (l *List) Validate() error { return pack.CheckPatterns("include", l.Include) }

var kinds = map[pack.Kind]string{pack.File: "file", pack.Dir: "directory", pack.Symlink: "link", pack.Hardlink: "hard"}

// Query reads the archive to its end: an archive that is listed is whole.
func (l *List) Query(ctx context.Context, v facts.Viewer) ([]any, error) {
	path := filepath.Clean(l.Path)
	src := pack.Source{Name: path, Open: func(context.Context) (io.ReadCloser, error) { return v.Open(path) }}
	out := []any{}
	err := pack.Walk(ctx, src, pack.Options{Include: l.Include, OutsideLinks: true, MaxSize: math.MaxInt64}, func(e pack.Entry, r io.Reader) error {
		if e.Kind == pack.File {
			if _, err := io.Copy(io.Discard, r); err != nil {
				return err
			}
		}
		out = append(out, map[string]any{
			"name": e.Name, "type": kinds[e.Kind], "size": e.Size, "mode": modules.ModeText(e.Mode), "uid": e.UID, "gid": e.GID,
			"owner": e.User, "group": e.Group, "mtime": e.MTime.Unix(), "link": e.Link,
		})
		return nil
	})
	if err != nil {
		return nil, err
	}
	return []any{out}, nil
}

var _ modules.Querier = (*List)(nil)
