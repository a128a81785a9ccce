package authorizedkey

import (
	"context"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/sloth-runner/sloth/facts"
	"github.com/sloth-runner/sloth/modules"
	"github.com/sloth-runner/sloth/modules/internal/hostfile"
	"github.com/sloth-runner/sloth/modules/internal/sshfile"
	"github.com/sloth-runner/sloth/modules/machine"
)

const (
	dirMode  = 0o700
	fileMode = "0600"
)

// file is the wanted state of one file of keys and its folder.
type file struct {
	user, path string
	manage     bool // the folder too
	only       bool // a user or file that is missing is fine

	who  account
	make bool // the folder is missing
	dir  hostfile.Fix
	want *hostfile.Want // nil: the file is as it should be
}

func (f *file) result() map[string]any { return map[string]any{"path": f.path} }

// locate finds user and path.
func (f *file) locate(ctx context.Context, v facts.Viewer) error {
	who, err := find(ctx, v, f.user)
	if err != nil {
		return err
	}
	if who == nil {
		return fmt.Errorf("there is no user %q on this host; user.create makes one", f.user)
	}
	f.who = *who
	if f.path == "" {
		f.path, err = who.keysFile()
	}
	return err
}

// check compares the file with what change makes of its lines.
func (f *file) check(ctx context.Context, v facts.Viewer, change func(lines []string) []string) (modules.Diff, error) {
	var d modules.Diff
	standard := f.path == ""
	if who, err := find(ctx, v, f.user); err != nil || who == nil && f.only && standard {
		return d, err
	}
	if err := f.locate(ctx, v); err != nil {
		return d, err
	}
	text, err := sshfile.Read(v, f.path)
	if err != nil {
		return d, err
	}
	lines := sshfile.Lines(text)
	after := change(lines)
	if f.only && slices.Equal(after, lines) {
		return d, nil
	}
	if !slices.Equal(after, lines) || text == "" {
		text = strings.Join(append(after, ""), "\n")
	}
	seen, err := f.folder(ctx, v, &d)
	if err != nil {
		return d, err
	}
	w := &hostfile.Want{Path: f.path, Source: hostfile.Bytes([]byte(text), false), Follow: true}
	if _, err := v.Stat(f.path); hostfile.Missing(err) {
		w.Attrs = hostfile.Attrs{Mode: fileMode, Owner: strconv.Itoa(f.who.uid), Group: strconv.Itoa(f.who.gid)}
	} else if standard && !f.only {
		w.Attrs = hostfile.Attrs{Mode: fileMode, Owner: strconv.Itoa(f.who.uid)}
	}
	if f.who.uid < 0 { // a user of this plan
		w.Attrs.Owner, w.Attrs.Group = f.user, ""
	}
	of, err := w.Check(ctx, seen)
	if err != nil {
		return d, err
	}
	if !of.Empty() {
		f.want = w
	}
	for _, c := range of.Changes {
		switch c.Attr {
		case "owner":
			c.After = f.user
		case "group": // follows the owner
			continue
		}
		d.Add(c)
	}
	return d, nil
}

// folder compares the folder, and returns what the rest of the check looks at:
// the host as it is once the folder is there.
func (f *file) folder(ctx context.Context, v facts.Viewer, d *modules.Diff) (facts.Viewer, error) {
	f.make, f.dir = false, hostfile.Fix{}
	dir := filepath.Dir(f.path)
	if !f.manage {
		return v, nil
	}
	if err := sshfile.Real(v, dir); err != nil {
		return nil, err
	}
	st, err := v.Stat(dir)
	switch {
	case hostfile.Missing(err):
		above := filepath.Dir(dir)
		if st, err := v.Stat(above); hostfile.Missing(err) && !hostfile.Unsure(v) {
			return nil, fmt.Errorf("the folder %s does not exist; make it, or say another file with path", above)
		} else if err == nil && !st.Mode.IsDir() {
			return nil, fmt.Errorf("%s is not a folder", above)
		}
		f.make = true
		d.Add(modules.Create(dir, "directory"))
		d.Add(modules.Change{What: dir, Attr: "mode", After: modules.ModeText(dirMode)})
		d.Add(modules.Change{What: dir, Attr: "owner", After: f.user})
		seen := machine.NewOverlay(v)
		seen.PutDir(dir, dirMode)
		return seen, nil
	case err != nil:
		return nil, err
	case !st.Mode.IsDir():
		return nil, fmt.Errorf("%s is not a folder", dir)
	}
	want := hostfile.Attrs{Mode: modules.Mode(modules.ModeText(dirMode)), Owner: f.user}
	if f.who.uid >= 0 {
		want.Owner = strconv.Itoa(f.who.uid)
	}
	var of modules.Diff
	f.dir, err = want.Check(ctx, v, st, &of)
	for _, c := range of.Changes {
		if c.Attr == "owner" {
			c.After = f.user
		}
		d.Add(c)
	}
	return v, err
}

func (f *file) apply(ctx context.Context, m modules.Machine) error {
	dir := filepath.Dir(f.path)
	switch {
	case f.make:
		if err := m.Mkdir(dir, dirMode); err != nil {
			return err
		}
		if err := m.Chown(dir, f.who.uid, f.who.gid, false); err != nil {
			return err
		}
	case f.dir.Needed():
		if err := f.dir.Apply(m); err != nil {
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
		dir := filepath.Dir(f.path)
		o.PutDir(dir, dirMode)
		o.PutAttrs(dir, dirMode|fs.ModeDir, f.who.uid, f.who.gid)
	} else {
		f.dir.Plan(o)
	}
	if f.want == nil {
		return nil
	}
	return f.want.Plan(ctx, o)
}
