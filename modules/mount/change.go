package mount

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"syscall"

	"github.com/sloth-runner/sloth/facts"
	"github.com/sloth-runner/sloth/modules"
	"github.com/sloth-runner/sloth/modules/internal/hostfile"
	"github.com/sloth-runner/sloth/modules/spec"
)

// ephemeral is mount.ephemeral.
type ephemeral struct {
	Path   string `lua:"path,required,primary" alias:"name,dest" doc:"Folder to mount it at"`
	Src    string `lua:"src,required" alias:"device" doc:"Device, UUID=…, LABEL=…, server:/folder, or the folder of a bind mount"`
	Fstype string `lua:"fstype,required" alias:"type" doc:"Type of the file system; \"none\" for a bind mount"`
	Opts   string `lua:"opts" alias:"options" doc:"Options, with commas between them"`
	limit

	folder string
	all    []live
	make   []string
	was    *live
}

// Validate checks what the tags cannot say.
func (e *ephemeral) Validate() error { return complete(e.Path, e.Src, e.Fstype, e.Opts) }

// Check looks at what is mounted. Something else there is an error: covering it
// could not be what is meant.
func (e *ephemeral) Check(ctx context.Context, v facts.Viewer) (modules.Diff, error) {
	var d modules.Diff
	var err error
	e.make = nil
	if e.folder, e.all, err = place(ctx, v, e.Path); err != nil {
		return d, err
	}
	if e.was = at(e.all, e.folder); e.was == nil {
		e.make, err = missing(ctx, v, e.all, e.folder)
		for _, dir := range e.make {
			d.Add(modules.Create(dir, "directory"))
		}
		d.Add(modules.Change{What: e.folder, Attr: "mount", After: e.Src + " (" + e.Fstype + ")"})
		return d, err
	}
	if compare(v, e.all, *e.was, e.Src, e.Opts) != equal {
		return d, occupied(e.folder, *e.was, e.Src)
	}
	if !e.was.satisfied(e.Opts) {
		d.Add(modules.Change{What: e.folder, Attr: "options", Before: e.was.opts, After: e.Opts})
	}
	return d, nil
}

// Apply mounts.
func (e *ephemeral) Apply(ctx context.Context, m modules.Machine, _ modules.Diff) error {
	if e.was != nil {
		return e.again(ctx, m, e.was.src, e.Opts, e.folder)
	}
	return e.bringTo(ctx, m, e.make, e.Src, e.Fstype, e.Opts, e.folder)
}

// Plan lets later checks see the mount.
func (e *ephemeral) Plan(_ context.Context, _ modules.Diff, o modules.Overlay) error {
	for _, dir := range e.make {
		o.PutDir(dir, 0o755)
	}
	if e.was != nil {
		e.all = slices.DeleteFunc(slices.Clone(e.all), func(m live) bool { return m == *e.was })
	}
	note(o, append(e.all, planLive(e.all, e.folder, e.Src, e.Fstype, e.Opts)))
	return nil
}

// Result says where it is.
func (e *ephemeral) Result() map[string]any { return map[string]any{"path": e.folder} }

// unmounted is mount.unmounted.
type unmounted struct {
	Path string `lua:"path,required,primary" alias:"name,dest" doc:"Folder at which nothing should be mounted"`
	Lazy bool   `lua:"lazy" doc:"Detach it even while it is in use, or its server does not answer"`
	limit

	folder string
	all    []live
}

// Check looks at what is mounted.
func (u *unmounted) Check(ctx context.Context, v facts.Viewer) (modules.Diff, error) {
	var d modules.Diff
	var err error
	if u.folder, u.all, err = place(ctx, v, u.Path); err != nil {
		return d, err
	}
	if m := at(u.all, u.folder); m != nil {
		if u.folder == "/" {
			return d, errors.New("/ is the root of this host, which is not unmounted")
		}
		d.Add(modules.Change{What: u.folder, Attr: "mount", Before: m.src + " (" + m.fstype + ")"})
	}
	return d, nil
}

// Apply unmounts.
func (u *unmounted) Apply(ctx context.Context, m modules.Machine, _ modules.Diff) error {
	return u.away(ctx, m, u.folder, u.Lazy)
}

// Plan lets later checks see that nothing is mounted there.
func (u *unmounted) Plan(_ context.Context, _ modules.Diff, o modules.Overlay) error {
	note(o, slices.DeleteFunc(slices.Clone(u.all), func(m live) bool { return m.path == u.folder }))
	return nil
}

// Result says where it was.
func (u *unmounted) Result() map[string]any { return map[string]any{"path": u.folder} }

// unlisted is mount.absent_from_fstab.
type unlisted struct {
	Path string `lua:"path,required,primary" alias:"name,dest" doc:"Folder that it is mounted at; \"none\" for swap"`
	Src  string `lua:"src" alias:"device" doc:"Device of the swap that should go"`
	fstab

	gone row
}

// Validate checks what the tags cannot say.
func (u *unlisted) Validate() error {
	if swapNames[u.Path] && u.Src == "" {
		return errors.New("src is missing: the device of the swap")
	}
	return nil
}

// Check looks at fstab.
func (u *unlisted) Check(ctx context.Context, v facts.Viewer) (modules.Diff, error) {
	u.gone = row{src: u.Src, path: u.Path}
	if !swapNames[u.Path] {
		name, err := spec.HostPath(u.Path, modules.CallOf(ctx).Workdir)
		if err != nil {
			return modules.Diff{}, err
		}
		u.gone.path = path.Clean(name)
	}
	return u.check(ctx, v, func(text string) string { return drop(text, u.gone) })
}

// Apply writes fstab.
func (u *unlisted) Apply(ctx context.Context, m modules.Machine, _ modules.Diff) error {
	return u.write(ctx, m)
}

// Plan tells the overlay.
func (u *unlisted) Plan(ctx context.Context, _ modules.Diff, o modules.Overlay) error {
	return u.plan(ctx, o)
}

// Result says where things are.
func (u *unlisted) Result() map[string]any { return u.result(u.gone.path) }

// absent is mount.absent.
type absent struct {
	unlisted
	limit

	live   unmounted
	rmdir  bool
	umount bool
}

// Check looks at fstab and at what is mounted.
func (a *absent) Check(ctx context.Context, v facts.Viewer) (modules.Diff, error) {
	a.rmdir, a.umount = false, false
	listed, err := a.unlisted.Check(ctx, v)
	if err != nil || swapNames[a.Path] {
		return listed, err
	}
	a.live = unmounted{Path: a.gone.path, limit: a.limit}
	d, err := a.live.Check(ctx, v)
	if err != nil {
		return d, err
	}
	a.umount = !d.Empty()
	switch {
	case a.umount: // what is below it only unmounting shows
		a.rmdir = true
		d.Add(modules.Change{What: a.live.folder, Attr: "state", Before: "directory", After: modules.Absent, Unknown: true})
	case !listed.Empty():
		if a.rmdir, err = empty(v, a.live.folder); err != nil {
			return d, err
		}
		if a.rmdir {
			d.Add(modules.Delete(a.live.folder, "directory"))
		}
	}
	d.Changes = append(d.Changes, listed.Changes...)
	return d, nil
}

// empty reports whether there is a folder without anything in it.
func empty(v facts.Viewer, dir string) (bool, error) {
	st, err := v.Lstat(dir)
	if hostfile.Missing(err) || err == nil && !st.Mode.IsDir() {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	list, err := v.ReadDir(dir)
	return err == nil && len(list) == 0, err
}

// Apply unmounts, and takes it from fstab last: a run that fails in between can
// be made again.
func (a *absent) Apply(ctx context.Context, m modules.Machine, _ modules.Diff) error {
	if a.umount {
		if err := a.away(ctx, m, a.live.folder, false); err != nil {
			return err
		}
	}
	if a.rmdir {
		err := m.Remove(a.live.folder)
		if errors.Is(err, syscall.ENOTEMPTY) {
			modules.CallOf(ctx).Log("warn", a.live.folder+" stays: there are files in it", nil)
			err = nil
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return a.write(ctx, m)
}

// Plan lets later checks see that it is gone.
func (a *absent) Plan(ctx context.Context, d modules.Diff, o modules.Overlay) error {
	if a.umount {
		if err := a.live.Plan(ctx, d, o); err != nil {
			return err
		}
	} else if a.rmdir {
		o.Remove(a.live.folder)
	}
	return a.plan(ctx, o)
}

// remounted is mount.remounted.
type remounted struct {
	Path  string `lua:"path,required,primary" alias:"name,dest" doc:"Folder that it is mounted at"`
	Opts  string `lua:"opts" alias:"options" doc:"Options to give it, with commas between them; without them those of fstab"`
	Fstab string `lua:"fstab,path" doc:"File that lists it"`
	limit

	folder string
}

// Validate checks the options.
func (r *remounted) Validate() error {
	if r.Opts != "" {
		return complete(r.Path, "x", "x", r.Opts)
	}
	return nil
}

// Repeats is true: that is what it is for.
func (r *remounted) Repeats() bool { return true }

// Check sees that something is mounted there.
func (r *remounted) Check(ctx context.Context, v facts.Viewer) (modules.Diff, error) {
	var d modules.Diff
	var all []live
	var err error
	if r.folder, all, err = place(ctx, v, r.Path); err != nil {
		return d, err
	}
	m := at(all, r.folder)
	if m == nil {
		return d, fmt.Errorf("nothing is mounted at %s; mount.mounted or mount.ephemeral mount something", r.folder)
	}
	after := r.Opts
	if after == "" {
		after = "those of " + r.Fstab
	}
	d.Add(modules.Change{What: r.folder, Attr: "options", Before: m.opts, After: after})
	return d, nil
}

// Apply remounts.
func (r *remounted) Apply(ctx context.Context, m modules.Machine, _ modules.Diff) error {
	argv := []string{"mount"}
	if r.Fstab != defaultFstab {
		argv = append(argv, "-T", r.Fstab)
	}
	return r.run(ctx, m, "remount "+r.folder, append(argv, "-o", strings.TrimSuffix("remount,"+r.Opts, ","), "--", r.folder)...)
}

// Result says where things are.
func (r *remounted) Result() map[string]any {
	return map[string]any{"path": r.folder, "fstab": r.Fstab}
}
