package mount

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/sloth-runner/sloth/facts"
	"github.com/sloth-runner/sloth/modules"
	"github.com/sloth-runner/sloth/modules/spec"
)

// listed is mount.mounted and mount.present.
type listed struct {
	Path   string `lua:"path,required,primary" alias:"name,dest" doc:"Folder to mount it at; \"none\" for swap"`
	Src    string `lua:"src" alias:"device" doc:"Device, UUID=…, LABEL=…, server:/folder, or the folder of a bind mount"`
	Fstype string `lua:"fstype" alias:"type" doc:"Type of the file system; \"none\" for a bind mount"`
	Opts   string `lua:"opts" alias:"options" doc:"Options, with commas between them"`
	Dump   int    `lua:"dump" doc:"Whether dump saves it: the fifth field of fstab"`
	Passno int    `lua:"passno" doc:"When fsck looks at it while booting: the sixth field of fstab, 0 for never"`
	Boot   bool   `lua:"boot" doc:"Mount it when the host boots; false adds noauto"`
	State  string `lua:"state" enum:"mounted,present,unmounted,absent,absent_from_fstab,remounted,ephemeral" doc:"What is wanted, as in Ansible's module"`
	fstab
	limit

	other  modules.Changer // for the states that are functions of their own
	folder string          // Path with its links followed
	all    []live
	row    row
	make   []string // folders to make
	mount  bool
	again  bool
	was    *live
}

// Validate checks what the tags cannot say.
func (l *listed) Validate() error {
	switch l.State {
	case stateUnmounted:
		l.other = &unmounted{Path: l.Path, limit: l.limit}
	case stateUnlisted:
		l.other = &unlisted{Path: l.Path, Src: l.Src, fstab: l.fstab}
	case modules.Absent:
		l.other = &absent{unlisted: unlisted{Path: l.Path, Src: l.Src, fstab: l.fstab}, limit: l.limit}
	case stateRemounted:
		l.other = &remounted{Path: l.Path, Opts: without(l.Opts, "defaults"), Fstab: l.Fstab, limit: l.limit}
	case stateEphemeral:
		l.other = &ephemeral{Path: l.Path, Src: l.Src, Fstype: l.Fstype, Opts: l.Opts, limit: l.limit}
	}
	if v, ok := l.other.(modules.Validator); ok {
		return v.Validate()
	}
	if err := complete(l.Path, l.Src, l.Fstype, l.Opts); err != nil {
		return err
	}
	if l.Dump < 0 || l.Passno < 0 {
		return errors.New("dump and passno are not below 0")
	}
	if swapNames[l.Path] && l.State == stateMounted {
		return errors.New("swap is not mounted: mount.present lists it, and exec.run(\"swapon -a\") brings it into use")
	}
	return nil
}

// complete refuses what mount and fstab could not hold.
func complete(folder, src, fstype, opts string) error {
	for _, a := range []struct{ name, value, what string }{
		{"path", folder, "the folder"}, {"src", src, "what is mounted"}, {"fstype", fstype, "the type of the file system"}, {"opts", opts, "the options"},
	} {
		if a.value == "" {
			return fmt.Errorf("%s is missing: %s", a.name, a.what)
		}
		if strings.ContainsAny(a.value, "\x00\r\n") {
			return fmt.Errorf("%s = %q has a line break in it", a.name, a.value)
		}
	}
	switch {
	case strings.HasPrefix(src, "#"):
		return fmt.Errorf("src = %q would be a comment in fstab", src)
	case strings.ContainsAny(fstype, " \t/") || fstype[0] == '-':
		return fmt.Errorf("fstype = %q is no type of a file system", fstype)
	case strings.ContainsAny(opts, " \t") || strings.Contains(","+opts+",", ",,"):
		return fmt.Errorf("opts = %q has a blank or an empty option in it", opts)
	}
	return nil
}

func without(opts, name string) string {
	return strings.Join(slices.DeleteFunc(options(opts), func(o string) bool { return o == name }), ",")
}

// place makes a folder's name absolute and follows its links.
func place(ctx context.Context, v facts.Viewer, name string) (folder string, all []live, err error) {
	if folder, err = spec.HostPath(name, modules.CallOf(ctx).Workdir); err != nil {
		return "", nil, err
	}
	if all, err = mounts(v); err != nil {
		return "", nil, err
	}
	folder, err = real(v, all, path.Clean(folder))
	return folder, all, err
}

// Check compares fstab and the kernel's table.
func (l *listed) Check(ctx context.Context, v facts.Viewer) (modules.Diff, error) {
	if l.other != nil {
		return l.other.Check(ctx, v)
	}
	l.make, l.mount, l.again, l.was = nil, false, false, nil
	var d modules.Diff
	name := l.Path
	if !swapNames[name] {
		var err error
		if name, err = spec.HostPath(name, modules.CallOf(ctx).Workdir); err != nil {
			return d, err
		}
		name = path.Clean(name)
	}
	opts := l.Opts
	if !l.Boot && !slices.Contains(options(opts), "noauto") {
		opts += ",noauto"
	}
	l.row = row{src: l.Src, path: name, fstype: l.Fstype, opts: opts, dump: l.Dump, pass: l.Passno}
	var old *row
	inFile, err := l.check(ctx, v, func(text string) (after string) {
		after, old = put(text, l.row)
		return after
	})
	if err != nil {
		return d, err
	}
	if l.State == stateMounted {
		if err := l.compare(ctx, v, old, &d); err != nil {
			return d, err
		}
	}
	d.Changes = append(d.Changes, inFile.Changes...)
	return d, nil
}

// compare looks at what is mounted. Options of something mounted matter where
// fstab says others now; a mount that fstab did not list is compared by them.
func (l *listed) compare(ctx context.Context, v facts.Viewer, old *row, d *modules.Diff) error {
	var err error
	if l.folder, l.all, err = place(ctx, v, l.row.path); err != nil {
		return err
	}
	l.was = at(l.all, l.folder)
	if l.was == nil {
		l.mount = true
		if l.make, err = missing(ctx, v, l.all, l.folder); err != nil {
			return err
		}
		for _, dir := range l.make {
			d.Add(modules.Create(dir, "directory"))
		}
		d.Add(modules.Change{What: l.folder, Attr: "mount", After: l.Src + " (" + l.Fstype + ")"})
		return nil
	}
	if compare(v, l.all, *l.was, l.Src, l.Opts) == different {
		return occupied(l.folder, *l.was, l.Src)
	}
	if old != nil && old.opts != l.row.opts || old == nil && !l.was.satisfied(l.row.opts) {
		l.again = true
		d.Add(modules.Change{What: l.folder, Attr: "options", Before: l.was.opts, After: l.row.opts})
	}
	return nil
}

func occupied(folder string, m live, src string) error {
	return fmt.Errorf("%s is mounted at %s, and not %s; mount.unmounted(%q) first if it should go", m.src, folder, src, folder)
}

// missing are the folders on the way that are not there, the first one first.
func missing(ctx context.Context, v facts.Viewer, all []live, folder string) ([]string, error) {
	var out []string
	for dir := folder; dir != "/"; dir = path.Dir(dir) {
		there, err := isFolder(ctx, v, all, dir)
		if err != nil {
			return nil, err
		}
		if there {
			break
		}
		out = append(out, dir)
	}
	slices.Reverse(out)
	return out, nil
}

// Apply mounts before it writes: what cannot be mounted must not be in fstab,
// where it could keep the host from booting.
func (l *listed) Apply(ctx context.Context, m modules.Machine, d modules.Diff) error {
	if l.other != nil {
		return l.other.Apply(ctx, m, d)
	}
	switch {
	case l.mount:
		if err := l.bringTo(ctx, m, l.make, l.Src, l.Fstype, l.row.opts, l.folder); err != nil {
			return err
		}
	case l.again:
		if err := l.limit.again(ctx, m, l.was.src, l.row.opts, l.folder); err != nil {
			return err
		}
	}
	return l.write(ctx, m)
}

// bringTo makes folders and mounts. When that fails the folders go again.
func (l limit) bringTo(ctx context.Context, m modules.Machine, dirs []string, src, fstype, opts, folder string) error {
	var made []string
	var err error
	for _, dir := range dirs {
		if err = m.Mkdir(dir, 0o755); err != nil {
			break
		}
		made = append(made, dir)
	}
	if err == nil {
		err = l.bring(ctx, m, src, fstype, opts, folder)
	}
	if err != nil {
		for _, dir := range slices.Backward(made) {
			_ = m.Remove(dir) // nothing is in it
		}
	}
	return err
}

// Plan lets later checks see the mount.
func (l *listed) Plan(ctx context.Context, d modules.Diff, o modules.Overlay) error {
	if p, ok := l.other.(modules.Planner); ok {
		return p.Plan(ctx, d, o)
	}
	for _, dir := range l.make {
		o.PutDir(dir, 0o755)
	}
	if l.mount {
		note(o, append(l.all, planLive(l.all, l.folder, l.Src, l.Fstype, l.row.opts)))
	}
	return l.plan(ctx, o)
}

// planLive is the line that the kernel would have; what it would make of the
// options is not known.
func planLive(all []live, folder, src, fstype, opts string) live {
	m := live{path: folder, root: "/", dev: "0:0", src: src, fstype: fstype, opts: opts}
	if isBind(opts) {
		if base := over(all, src); base != nil {
			m.dev, m.src, m.fstype = base.dev, base.src, base.fstype
			m.root = path.Join(base.root, strings.TrimPrefix(src, base.path))
		}
	}
	return m
}

// Result says where things are.
func (l *listed) Result() map[string]any {
	if r, ok := l.other.(modules.Resulter); ok {
		return r.Result()
	}
	return l.result(l.row.path)
}
