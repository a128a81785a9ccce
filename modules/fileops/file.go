package fileops

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/sloth-runner/sloth/facts"
	"github.com/sloth-runner/sloth/modules"
	"github.com/sloth-runner/sloth/modules/internal/hostfile"
	"github.com/sloth-runner/sloth/modules/machine"
)

// States of file_ops.file.
const (
	stateFile      = "file"
	stateDirectory = "directory"
	stateLink      = "link"
	stateHard      = "hard"
	stateTouch     = "touch"
)

// File is file_ops.file.
type File struct {
	Path    string `lua:"path,required,path" pos:"1" alias:"dest,name" doc:"The file, folder or link"`
	State   string `lua:"state" enum:"file,present,absent,directory,link,hard,touch" doc:"What should be there; file: it is, and only its attributes change; present: an empty file is made where nothing is; directory: with all folders above it; link and hard: to src; touch: as present, and its time is now; absent: neither it nor what is below it"`
	Src     string `lua:"src" alias:"target" doc:"What a link leads to; relative to the link's own folder"`
	Recurse bool   `lua:"recurse" doc:"Give the attributes to everything below a folder too"`
	Force   bool   `lua:"force" doc:"Let a link take the place of a file or an empty folder, and lead to nothing"`
	Follow  bool   `lua:"follow" doc:"Change attributes of what a link leads to, not of the link"`
	hostfile.Attrs

	plan []act
}

// act is one thing to do, and what the overlay of a plan is told of it.
type act struct {
	do   func(context.Context, modules.Machine) error
	plan func(modules.Overlay)
}

// Validate checks what the tags cannot say.
func (f *File) Validate() error {
	links := f.State == stateLink || f.State == stateHard
	switch {
	case links && f.Src == "":
		return fmt.Errorf("state = %q needs src, what the link leads to", f.State)
	case !links && f.Src != "":
		return fmt.Errorf("src goes with state = \"link\" or \"hard\", not %q; to copy a file use file_ops.copy", f.State)
	case f.Recurse && f.State != stateDirectory:
		return fmt.Errorf("recurse goes with state = \"directory\", not %q", f.State)
	case f.State == modules.Absent && (f.Mode != "" || f.Owner != "" || f.Group != ""):
		return errors.New("what is absent has no mode, owner or group")
	}
	return nil
}

// Repeats is true for touch: the time is always another one.
func (f *File) Repeats() bool { return f.State == stateTouch }

// Result adds the path.
func (f *File) Result() map[string]any { return map[string]any{"path": filepath.Clean(f.Path)} }

// Check compares what is at the path with the state.
func (f *File) Check(ctx context.Context, v facts.Viewer) (modules.Diff, error) {
	f.plan = nil
	path := filepath.Clean(f.Path)
	st, err := v.Lstat(path)
	missing := hostfile.Missing(err)
	if err != nil && !missing && (f.State != modules.Absent || !errors.Is(err, syscall.ENOTDIR)) {
		return modules.Diff{}, err
	}
	switch f.State {
	case modules.Absent:
		if err != nil {
			return modules.Diff{}, nil
		}
		return f.absent(path, st)
	case stateDirectory:
		return f.directory(ctx, v, path)
	case stateLink:
		return f.link(ctx, v, path, st, missing)
	case stateHard:
		return f.hard(ctx, v, path, st, missing)
	}
	return f.file(ctx, v, path, missing)
}

// Apply does what Check found, in its order.
func (f *File) Apply(ctx context.Context, m modules.Machine, _ modules.Diff) error {
	for _, a := range f.plan {
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		if err := a.do(ctx, m); err != nil {
			return err
		}
	}
	return nil
}

// Plan tells the overlay.
func (f *File) Plan(_ context.Context, _ modules.Diff, o modules.Overlay) error {
	for _, a := range f.plan {
		if a.plan != nil {
			a.plan(o)
		}
	}
	return nil
}

func (f *File) absent(path string, st facts.FileInfo) (modules.Diff, error) {
	var d modules.Diff
	if path == "/" {
		return d, errors.New("the root folder is not removed")
	}
	d.Add(modules.Delete(path, machine.Kind(st.Mode)))
	f.plan = append(f.plan, act{
		do:   func(_ context.Context, m modules.Machine) error { return m.RemoveAll(path) },
		plan: func(o modules.Overlay) { o.Remove(path) },
	})
	return d, nil
}

// file is for the states file, present and touch.
func (f *File) file(ctx context.Context, v facts.Viewer, path string, missing bool) (modules.Diff, error) {
	var d modules.Diff
	if f.Follow {
		var err error
		if path, err = hostfile.Resolve(v, path); err != nil {
			return d, err
		}
	}
	st, err := v.Lstat(path)
	switch {
	case hostfile.Missing(err) && f.State == stateFile:
		if hostfile.Unsure(v) {
			d.Add(modules.Change{What: path, Attr: "attributes", Unknown: true})
			return d, nil
		}
		if missing {
			return d, fmt.Errorf("%s does not exist; state = \"file\" only changes attributes, \"touch\" or \"present\" makes an empty file, file_ops.copy one with content", path)
		}
		return d, fmt.Errorf("%s does not exist, and a link leads there", path)
	case hostfile.Missing(err):
		w := hostfile.Want{Path: path, Source: hostfile.Bytes(nil, false), Attrs: f.Attrs}
		d, err := w.Check(ctx, v)
		f.plan = append(f.plan, act{
			do:   w.Apply,
			plan: func(o modules.Overlay) { _ = w.Plan(ctx, o) }, // holds nothing that could fail to be read
		})
		return d, err
	case err != nil:
		return d, err
	case st.Mode.IsDir() && f.State == stateFile:
		return d, fmt.Errorf("%s is a folder; say state = \"directory\"", path)
	}
	if err := f.attributes(ctx, v, st, &d); err != nil {
		return d, err
	}
	if f.State == stateTouch {
		d.Add(modules.Change{What: path, Attr: "time", Before: time.Unix(0, st.MTime).Format(time.DateTime), After: "now"})
		f.plan = append(f.plan, act{do: func(_ context.Context, m modules.Machine) error { return m.Chtimes(path, time.Now()) }})
	}
	return d, nil
}

// attributes adds what has to be fixed at one file.
func (f *File) attributes(ctx context.Context, v facts.Viewer, st facts.FileInfo, d *modules.Diff) error {
	fix, err := f.Attrs.Check(ctx, v, st, d)
	if err != nil || !fix.Needed() {
		return err
	}
	f.plan = append(f.plan, act{
		do:   func(_ context.Context, m modules.Machine) error { return fix.Apply(m) },
		plan: fix.Plan,
	})
	return nil
}

func (f *File) directory(ctx context.Context, v facts.Viewer, path string) (modules.Diff, error) {
	var d modules.Diff
	if f.Follow {
		var err error
		if path, err = hostfile.Resolve(v, path); err != nil {
			return d, err
		}
	}
	st, err := v.Lstat(path)
	switch {
	case hostfile.Missing(err):
		return d, f.mkdirs(ctx, v, path, &d)
	case err != nil:
		return d, err
	case !st.Mode.IsDir():
		return d, fmt.Errorf("%s is a %s, not a folder; remove it first (state = \"absent\") if it should go", path, machine.Kind(st.Mode))
	}
	if err := f.attributes(ctx, v, st, &d); err != nil {
		return d, err
	}
	if f.Recurse {
		return d, f.below(ctx, v, path, &d)
	}
	return d, nil
}

// mkdirs makes path and the folders above it that are missing. All of them get
// the attributes.
func (f *File) mkdirs(ctx context.Context, v facts.Viewer, path string, d *modules.Diff) error {
	dirs := []string{path}
	for dir := filepath.Dir(path); ; dir = filepath.Dir(dir) {
		st, err := v.Stat(dir)
		if err == nil && !st.Mode.IsDir() {
			return fmt.Errorf("%s is a %s, not a folder", dir, machine.Kind(st.Mode))
		}
		if err == nil {
			break
		}
		if !hostfile.Missing(err) || dir == "/" {
			return err
		}
		dirs = append(dirs, dir)
	}
	mode, err := f.Mode.Of(0o755, true)
	if err != nil {
		return err
	}
	for i := len(dirs) - 1; i >= 0; i-- {
		dir := dirs[i]
		d.Add(modules.Create(dir, stateDirectory))
		if f.Mode != "" {
			d.Add(modules.Change{What: dir, Attr: "mode", After: modules.ModeText(mode)})
		}
		f.plan = append(f.plan, act{
			do: func(_ context.Context, m modules.Machine) error {
				err := m.Mkdir(dir, mode)
				if errors.Is(err, fs.ErrExist) { // another task was faster
					if st, e := m.Stat(dir); e == nil && st.Mode.IsDir() {
						return m.Chmod(dir, mode)
					}
				}
				return err
			},
			plan: func(o modules.Overlay) { o.PutDir(dir, mode) },
		})
		// The folder is not there yet: only the owner is left to be set.
		owners := hostfile.Attrs{Owner: f.Owner, Group: f.Group}
		fix, err := owners.Check(ctx, v, facts.FileInfo{Path: dir, Mode: mode | fs.ModeDir, UID: -1, GID: -1}, d)
		if err != nil {
			return err
		}
		if fix.Needed() {
			f.plan = append(f.plan, act{do: func(_ context.Context, m modules.Machine) error { return fix.Apply(m) }, plan: fix.Plan})
		}
	}
	return nil
}

// below fixes everything under a folder. Links are not followed.
func (f *File) below(ctx context.Context, v facts.Viewer, dir string, d *modules.Diff) error {
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	list, err := v.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, st := range list {
		st.Path = filepath.Join(dir, st.Name)
		if err := f.attributes(ctx, v, st, d); err != nil {
			return err
		}
		if st.Mode.IsDir() {
			if err := f.below(ctx, v, st.Path, d); err != nil {
				return err
			}
		}
	}
	return nil
}

func (f *File) link(ctx context.Context, v facts.Viewer, path string, st facts.FileInfo, missing bool) (modules.Diff, error) {
	var d modules.Diff
	if strings.HasSuffix(f.Path, "/") || !missing && st.Mode.IsDir() && !f.Force {
		return d, fmt.Errorf("%s is a folder; name the link itself, or say force = true to replace an empty folder", path)
	}
	target := f.Src
	if !filepath.IsAbs(target) {
		target = filepath.Join(filepath.Dir(path), target)
	}
	if !f.Force && !hostfile.Unsure(v) {
		if _, err := v.Stat(target); hostfile.Missing(err) {
			return d, fmt.Errorf("src = %q does not exist; say force = true if the link should lead nowhere for now", f.Src)
		}
	}
	isLink := !missing && st.Mode&fs.ModeSymlink != 0
	switch {
	case isLink && st.Link == f.Src:
		return d, f.linkOwner(ctx, v, path, st, &d)
	case missing:
		d.Add(modules.Create(path, "link to "+f.Src))
	case isLink:
		d.Add(modules.Change{What: path, Attr: "target", Before: st.Link, After: f.Src})
	case !f.Force:
		return d, fmt.Errorf("%s is a %s; say force = true to put the link in its place", path, machine.Kind(st.Mode))
	default:
		d.Add(modules.Change{What: path, Attr: "state", Before: machine.Kind(st.Mode), After: "link to " + f.Src})
	}
	empty := !missing && st.Mode.IsDir()
	f.plan = append(f.plan, act{
		do: func(_ context.Context, m modules.Machine) error {
			if empty {
				if err := m.Remove(path); err != nil {
					return err
				}
			}
			return m.Symlink(f.Src, path)
		},
		plan: func(o modules.Overlay) { o.PutLink(path, f.Src) },
	})
	return d, f.linkOwner(ctx, v, path, facts.FileInfo{Path: path, Mode: fs.ModeSymlink | 0o777, UID: -1, GID: -1}, &d)
}

// linkOwner gives the link itself an owner; the mode of a link means nothing.
func (f *File) linkOwner(ctx context.Context, v facts.Viewer, path string, st facts.FileInfo, d *modules.Diff) error {
	st.Path = path
	return f.attributes(ctx, v, st, d)
}

func (f *File) hard(ctx context.Context, v facts.Viewer, path string, st facts.FileInfo, missing bool) (modules.Diff, error) {
	var d modules.Diff
	target := f.Src
	if !filepath.IsAbs(target) {
		target = filepath.Join(filepath.Dir(path), target)
	}
	src, err := v.Lstat(target)
	switch {
	case err != nil:
		return d, err
	case !src.Mode.IsRegular():
		return d, fmt.Errorf("src = %q is a %s; only files can have a second name", f.Src, machine.Kind(src.Mode))
	case !missing && st.Inode == src.Inode && st.Inode != 0:
		return d, f.attributes(ctx, v, st, &d)
	case missing:
		d.Add(modules.Create(path, "second name of "+target))
	case !st.Mode.IsRegular() || !f.Force:
		return d, fmt.Errorf("%s is another %s; remove it, or say force = true to replace a file", path, machine.Kind(st.Mode))
	default:
		d.Add(modules.Change{What: path, Attr: "state", Before: "file", After: "second name of " + target})
	}
	f.plan = append(f.plan, act{
		do:   func(_ context.Context, m modules.Machine) error { return m.Link(target, path) },
		plan: func(o modules.Overlay) { o.PutUnknownFile(path, src.Mode) },
	})
	src.Path = path
	return d, f.attributes(ctx, v, src, &d)
}
