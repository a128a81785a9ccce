package pkg

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/sloth-runner/sloth/facts"
	"github.com/sloth-runner/sloth/modules"
	"github.com/sloth-runner/sloth/modules/internal/hostfile"
)

type clean struct {
	options

	m     manager
	found []string
}

// Check looks for downloaded files.
func (c *clean) Check(_ context.Context, v facts.Viewer) (modules.Diff, error) {
	var d modules.Diff
	var err error
	if c.m, err = detect(v); err != nil {
		return d, err
	}
	c.found = nil
	for _, dir := range c.m.downloads() {
		found, err := files(v, dir, 3)
		if err != nil {
			return d, err
		}
		if n := len(found); n > 0 {
			d.Add(modules.Change{What: dir, Before: fmt.Sprintf("%d package files", n), After: "none"})
		}
		c.found = append(c.found, found...)
	}
	return d, nil
}

// files finds package files below a folder.
func files(v facts.Viewer, dir string, depth int) ([]string, error) {
	list, err := v.ReadDir(dir)
	if hostfile.Missing(err) {
		return nil, nil
	}
	var out []string
	for _, st := range list {
		switch {
		case st.Mode.IsDir() && depth > 0 && st.Name != "partial":
			below, err := files(v, filepath.Join(dir, st.Name), depth-1)
			if err != nil {
				return nil, err
			}
			out = append(out, below...)
		case st.Mode.IsRegular() && slices.Contains([]string{".deb", ".rpm", ".zst", ".xz", ".apk"}, filepath.Ext(st.Name)):
			out = append(out, filepath.Join(dir, st.Name))
		}
	}
	return out, err
}

// Apply removes them.
func (c *clean) Apply(ctx context.Context, mc modules.Machine, _ modules.Diff) error {
	if _, asks := c.m.(pacman); asks { // and takes no yes for an answer
		for _, f := range c.found {
			if err := mc.Remove(f); err != nil {
				return err
			}
		}
		return nil
	}
	return run(ctx, mc, c.m, c.options, c.m.command(doClean, c.options, nil))
}

type autoremove struct {
	options

	m     manager
	names []string
}

// Check asks what nothing needs.
func (a *autoremove) Check(ctx context.Context, v facts.Viewer) (modules.Diff, error) {
	ctx = a.within(ctx)
	var d modules.Diff
	var err error
	if a.m, err = detect(v); err != nil {
		return d, err
	}
	if a.names, err = a.m.orphans(ctx, v); err != nil {
		return d, err
	}
	slices.Sort(a.names)
	for _, n := range a.names {
		d.Add(modules.Delete("package "+n, modules.Present))
	}
	return d, nil
}

// Apply removes them.
func (a *autoremove) Apply(ctx context.Context, mc modules.Machine, _ modules.Diff) error {
	var ws []wish
	if m := a.m.name(); m == "pacman" || m == "zypper" { // these want to be told
		for _, n := range a.names {
			ws = append(ws, wish{name: n})
		}
	}
	return run(ctx, mc, a.m, a.options, a.m.command(doAutoremove, a.options, ws))
}

// Plan notes the packages.
func (a *autoremove) Plan(_ context.Context, _ modules.Diff, o modules.Overlay) error {
	for _, n := range a.names {
		o.Note("package:"+n, modules.Absent)
	}
	return nil
}

type installLocal struct {
	Path string `lua:"path,required,path" pos:"1" alias:"src,file,name" doc:"The package file on the host"`
	options

	m             manager
	name, version string
}

// Check reads the file and compares.
func (l *installLocal) Check(ctx context.Context, v facts.Viewer) (modules.Diff, error) {
	ctx = l.within(ctx)
	var d modules.Diff
	var err error
	if l.m, err = detect(v); err != nil {
		return d, err
	}
	if _, err := v.Stat(l.Path); err != nil {
		if hostfile.Missing(err) && planning(v) {
			d.Add(modules.Change{What: "package file " + l.Path, Attr: "state", After: "installed", Unknown: true})
			return d, nil
		}
		return d, err
	}
	if l.name, l.version, err = l.m.identify(ctx, v, l.Path); err != nil {
		return d, err
	}
	have, err := have(ctx, v, l.m, []string{l.name})
	if err != nil {
		return d, err
	}
	switch is := have[l.name]; is {
	case l.version:
	case "":
		d.Add(modules.Create("package "+l.name, modules.Present+" "+l.version))
	default:
		d.Add(modules.Change{What: "package " + l.name, Attr: "version", Before: is, After: l.version})
	}
	return d, nil
}

// Apply installs it.
func (l *installLocal) Apply(ctx context.Context, mc modules.Machine, _ modules.Diff) error {
	return run(ctx, mc, l.m, l.options, l.m.command(doLocal, l.options, []wish{{name: l.Path}}))
}

// Plan notes the package.
func (l *installLocal) Plan(_ context.Context, _ modules.Diff, o modules.Overlay) error {
	if l.name != "" {
		o.Note("package:"+l.name, l.version)
	}
	o.Note(modules.NotedTool, "pkg.install_local")
	return nil
}
