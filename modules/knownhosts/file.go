package knownhosts

import (
	"context"
	"path/filepath"
	"slices"
	"strings"

	"github.com/sloth-runner/sloth/facts"
	"github.com/sloth-runner/sloth/modules"
	"github.com/sloth-runner/sloth/modules/internal/hostfile"
	"github.com/sloth-runner/sloth/modules/internal/sshfile"
	"github.com/sloth-runner/sloth/modules/machine"
)

const dirMode = 0o700

// file is one known_hosts file as it should be.
type file struct {
	path string
	make bool           // its folder is a .ssh that is missing
	want *hostfile.Want // nil: it is as it should be
}

// check compares the file with what change makes of its lines.
func (f *file) check(ctx context.Context, v facts.Viewer, change func(lines []string) []string) (modules.Diff, error) {
	var d modules.Diff
	text, err := sshfile.Read(v, f.path)
	if err != nil {
		return d, err
	}
	lines := sshfile.Lines(text)
	after := change(lines)
	if slices.Equal(after, lines) {
		return d, nil
	}
	f.want = &hostfile.Want{Path: f.path, Follow: true, Source: hostfile.Bytes([]byte(strings.Join(append(after, ""), "\n")), false)}
	seen := v
	dir := filepath.Dir(f.path)
	private := filepath.Base(dir) == ".ssh"
	if _, err := v.Stat(dir); hostfile.Missing(err) && private {
		if _, err := v.Stat(filepath.Dir(dir)); err == nil {
			f.make = true
			d.Add(modules.Create(dir, "directory"))
			d.Add(modules.Change{What: dir, Attr: "mode", After: modules.ModeText(dirMode)})
			o := machine.NewOverlay(v)
			o.PutDir(dir, dirMode)
			seen = o
		}
	}
	if _, err := v.Stat(f.path); hostfile.Missing(err) && private {
		f.want.Attrs.Mode = "0600" // as ssh makes it; elsewhere all users are to read it
	}
	of, err := f.want.Check(ctx, seen)
	d.Changes = append(d.Changes, of.Changes...)
	return d, err
}

func (f *file) apply(ctx context.Context, m modules.Machine) error {
	if f.make {
		if err := m.Mkdir(filepath.Dir(f.path), dirMode); err != nil {
			return err
		}
	}
	if f.want == nil {
		return nil
	}
	return f.want.Apply(ctx, m)
}

func (f *file) plan(ctx context.Context, o modules.Overlay) error {
	if f.make {
		o.PutDir(filepath.Dir(f.path), dirMode)
	}
	if f.want == nil {
		return nil
	}
	return f.want.Plan(ctx, o)
}
