package fileops

import (
	"context"
	"path/filepath"

	"github.com/sloth-runner/sloth/facts"
	"github.com/sloth-runner/sloth/modules"
	"github.com/sloth-runner/sloth/modules/internal/hostfile"
)

// Stat is file_ops.stat.
type Stat struct {
	Path     string `lua:"path,required,path" pos:"1" alias:"dest,name" doc:"The file, folder or link"`
	Follow   bool   `lua:"follow" doc:"Describe what a link leads to"`
	Checksum bool   `lua:"checksum" alias:"get_checksum" doc:"Hash the content too (SHA-256)"`
}

// Query describes the file.
func (s *Stat) Query(_ context.Context, v facts.Viewer) ([]any, error) {
	look := v.Lstat
	if s.Follow {
		look = v.Stat
	}
	path := filepath.Clean(s.Path)
	st, err := look(path)
	if hostfile.Missing(err) {
		return []any{map[string]any{"exists": false, "path": path}}, nil
	}
	if err != nil {
		return nil, err
	}
	out := hostfile.Table(st)
	if s.Checksum && st.Mode.IsRegular() {
		if out["checksum"], err = hostfile.Hash(v, path); err != nil {
			return nil, err
		}
	}
	return []any{out}, nil
}

var _ modules.Querier = (*Stat)(nil)
