package mount

import (
	"context"
	"strings"

	"github.com/sloth-runner/sloth/facts"
)

// table is a mount as Lua sees it.
func (m live) table() map[string]any {
	opts := options(m.opts)
	for _, o := range options(m.superOpts) {
		if o != "rw" && o != "ro" && !strings.Contains(","+m.opts+",", ","+o+",") {
			opts = append(opts, o)
		}
	}
	return map[string]any{"path": m.path, "src": m.src, "fstype": m.fstype, "opts": strings.Join(opts, ","), "root": m.root}
}

// get is mount.get.
type get struct {
	Path string `lua:"path,required,primary" alias:"name" doc:"Folder that it is mounted at"`
}

// Query looks into the kernel's table.
func (g *get) Query(ctx context.Context, v facts.Viewer) ([]any, error) {
	folder, all, err := place(ctx, v, g.Path)
	if err != nil {
		return nil, err
	}
	m := at(all, folder)
	if m == nil {
		return []any{nil}, nil
	}
	return []any{m.table()}, nil
}

// list is mount.list.
type list struct {
	Fstype string `lua:"fstype" pos:"1" doc:"Only those of this type"`
}

// Query reads the kernel's table. What another mount covers is left out.
func (l *list) Query(_ context.Context, v facts.Viewer) ([]any, error) {
	all, err := mounts(v)
	if err != nil {
		return nil, err
	}
	out := []any{}
	for _, m := range all {
		if !m.covered && (l.Fstype == "" || l.Fstype == m.fstype) {
			out = append(out, m.table())
		}
	}
	return []any{out}, nil
}
