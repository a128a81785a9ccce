package fs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/sloth-runner/sloth/facts"
	"github.com/sloth-runner/sloth/modules"
	"github.com/sloth-runner/sloth/modules/fileops"
	"github.com/sloth-runner/sloth/modules/internal/hostfile"
	"github.com/sloth-runner/sloth/modules/machine"
)

// inner is a file_ops call that does the work.
type inner interface {
	modules.Changer
	modules.Planner
}

// by passes Apply and Plan on.
type by struct{ inner inner }

// check runs the inner check, its arguments checked before.
func (b *by) check(ctx context.Context, v facts.Viewer, f inner) (modules.Diff, error) {
	if c, ok := f.(modules.Validator); ok {
		if err := c.Validate(); err != nil {
			return modules.Diff{}, err
		}
	}
	b.inner = f
	return f.Check(ctx, v)
}

// Apply makes the change.
func (b *by) Apply(ctx context.Context, m modules.Machine, d modules.Diff) error {
	return b.inner.Apply(ctx, m, d)
}

// Plan tells the overlay.
func (b *by) Plan(ctx context.Context, d modules.Diff, o modules.Overlay) error {
	return b.inner.Plan(ctx, d, o)
}

// Write is fs.write. It follows a link, as a shell's > does.
type Write struct {
	Path    string       `lua:"path,required,path" pos:"1" alias:"dest" doc:"The file"`
	Content modules.Text `lua:"content,required" pos:"2" alias:"text,data" doc:"All that should be in it; a secret is never shown"`
	Mode    modules.Mode `lua:"mode" pos:"3" doc:"Permissions; a file that is there keeps its own"`
	by
}

// Check compares the content.
func (w *Write) Check(ctx context.Context, v facts.Viewer) (modules.Diff, error) {
	return w.check(ctx, v, &fileops.Copy{Dest: w.Path, Content: w.Content, Follow: true, Attrs: hostfile.Attrs{Mode: w.Mode}})
}

// Append is fs.append.
type Append struct {
	Path    string       `lua:"path,required,path" pos:"1" alias:"dest" doc:"The file; it is made when it does not exist"`
	Content modules.Text `lua:"content,required" pos:"2" alias:"text,data" doc:"What to add"`

	want hostfile.Want
}

// Repeats is true: every call adds.
func (a *Append) Repeats() bool { return true }

// Check shows what the file will be.
func (a *Append) Check(ctx context.Context, v facts.Viewer) (modules.Diff, error) {
	if a.Content.Reveal() == "" {
		return modules.Diff{}, nil
	}
	old, err := hostfile.Read(v, a.Path)
	if errors.Is(err, modules.ErrUnknown) {
		return modules.Diff{Changes: []modules.Change{{What: a.Path, Attr: "content", Unknown: true}}}, nil
	}
	if err != nil && !hostfile.Missing(err) {
		return modules.Diff{}, err
	}
	a.want = hostfile.Want{Path: a.Path, Follow: true, Source: hostfile.Bytes(append(old, a.Content.Reveal()...), a.Content.IsSecret())}
	return a.want.Check(ctx, v)
}

// Apply writes the longer file.
func (a *Append) Apply(ctx context.Context, m modules.Machine, _ modules.Diff) error {
	return a.want.Apply(ctx, m)
}

// Plan tells the overlay.
func (a *Append) Plan(ctx context.Context, d modules.Diff, o modules.Overlay) error {
	if len(d.Changes) == 1 && d.Changes[0].Unknown {
		return nil
	}
	return a.want.Plan(ctx, o)
}

// Mkdir is fs.mkdir.
type Mkdir struct {
	Path string       `lua:"path,required,path" pos:"1" doc:"The folder"`
	Mode modules.Mode `lua:"mode" pos:"2" doc:"Permissions of every folder that is made; 0755 when not said"`
	by
}

// Check looks for the folder.
func (k *Mkdir) Check(ctx context.Context, v facts.Viewer) (modules.Diff, error) {
	return k.check(ctx, v, &fileops.File{Path: k.Path, State: "directory", Follow: true, Attrs: hostfile.Attrs{Mode: k.Mode}})
}

// Remove is fs.rm and fs.rmr.
type Remove struct {
	Path    string `lua:"path,required,path" pos:"1" doc:"What to remove; nothing happens when it does not exist"`
	Recurse bool   `lua:"recurse" doc:"Remove a folder with everything below it"`
	by
}

// Check looks whether it is there.
func (r *Remove) Check(ctx context.Context, v facts.Viewer) (modules.Diff, error) {
	path := filepath.Clean(r.Path)
	if st, err := v.Lstat(path); err == nil && st.Mode.IsDir() && !r.Recurse {
		list, err := v.ReadDir(path)
		if err != nil {
			return modules.Diff{}, err
		}
		if len(list) > 0 {
			return modules.Diff{}, fmt.Errorf("%s is a folder with %d things in it; fs.rmr removes it with them", path, len(list))
		}
	}
	return r.check(ctx, v, &fileops.File{Path: path, State: modules.Absent})
}

// Apply removes; without recurse a folder that was filled meanwhile stays.
func (r *Remove) Apply(ctx context.Context, m modules.Machine, d modules.Diff) error {
	if !r.Recurse {
		return m.Remove(filepath.Clean(r.Path))
	}
	return r.by.Apply(ctx, m, d)
}

// Copy is fs.copy.
type Copy struct {
	Src  string       `lua:"src,required,path" pos:"1" alias:"from" doc:"The file on the host"`
	Dest string       `lua:"dest,required,path" pos:"2" alias:"to,path" doc:"The copy; a folder gets it under the same name"`
	Mode modules.Mode `lua:"mode" pos:"3" doc:"Permissions; those of src when not said"`
	by
}

// Check compares the contents.
func (c *Copy) Check(ctx context.Context, v facts.Viewer) (modules.Diff, error) {
	st, err := v.Stat(c.Src)
	if err != nil {
		return modules.Diff{}, err
	}
	if st.Mode.IsDir() {
		return modules.Diff{}, fmt.Errorf("src = %q is a folder; exec.run({cmd = \"cp -a …\", creates = …}) copies those", c.Src)
	}
	mode := c.Mode
	if mode == "" {
		mode = modules.Mode(modules.ModeText(st.Mode))
	}
	return c.check(ctx, v, &fileops.Copy{Src: c.Src, Dest: c.Dest, RemoteSrc: true, Follow: true, Attrs: hostfile.Attrs{Mode: mode}})
}

// Symlink is fs.symlink.
type Symlink struct {
	Target string `lua:"target,required" pos:"1" alias:"src" doc:"What the link leads to; relative to the link's own folder, and it need not exist"`
	Path   string `lua:"path,required,path" pos:"2" alias:"dest,link" doc:"The link; another link there is replaced, a file or folder is not"`
	by
}

// Check compares the target.
func (s *Symlink) Check(ctx context.Context, v facts.Viewer) (modules.Diff, error) {
	path := strings.TrimSuffix(s.Path, "/")
	if st, err := v.Lstat(path); err == nil && st.Mode&fs.ModeSymlink == 0 {
		return modules.Diff{}, fmt.Errorf("%s is a %s; remove it first if the link should be there", path, machine.Kind(st.Mode))
	}
	return s.check(ctx, v, &fileops.File{Path: path, State: "link", Src: s.Target, Force: true})
}

// Chmod is fs.chmod.
type Chmod struct {
	Path    string       `lua:"path,required,path" pos:"1" doc:"The file or folder; a link is followed"`
	Mode    modules.Mode `lua:"mode,required" pos:"2" doc:"Permissions: \"0644\", 0o644 or \"u+x\""`
	Recurse bool         `lua:"recurse" doc:"And everything below a folder"`
	by
}

// Check compares the mode.
func (c *Chmod) Check(ctx context.Context, v facts.Viewer) (modules.Diff, error) {
	if err := there(v, c.Path); err != nil {
		return modules.Diff{}, err
	}
	return c.check(ctx, v, attributes(v, c.Path, c.Recurse, hostfile.Attrs{Mode: c.Mode}))
}

// Chown is fs.chown.
type Chown struct {
	Path    string `lua:"path,required,path" pos:"1" doc:"The file or folder; a link is followed"`
	Owner   string `lua:"owner,required" pos:"2" alias:"user" doc:"Name or number of the user; user:group sets both"`
	Group   string `lua:"group" pos:"3" doc:"Name or number of the group"`
	Recurse bool   `lua:"recurse" doc:"And everything below a folder"`
	by
}

// Check compares the owners.
func (c *Chown) Check(ctx context.Context, v facts.Viewer) (modules.Diff, error) {
	owner, group, both := strings.Cut(c.Owner, ":")
	if both && c.Group != "" {
		return modules.Diff{}, errors.New("the group is given twice, in owner and in group")
	}
	if !both {
		group = c.Group
	}
	if err := there(v, c.Path); err != nil {
		return modules.Diff{}, err
	}
	return c.check(ctx, v, attributes(v, c.Path, c.Recurse, hostfile.Attrs{Owner: owner, Group: group}))
}

// there fails where nothing is whose attributes could change.
func there(v facts.Viewer, path string) error {
	if _, err := v.Stat(filepath.Clean(path)); hostfile.Missing(err) && !hostfile.Unsure(v) {
		return fmt.Errorf("%s does not exist", filepath.Clean(path))
	}
	return nil
}

// attributes is the file_ops call for what is there, file or folder.
func attributes(v facts.Viewer, path string, recurse bool, a hostfile.Attrs) *fileops.File {
	state := "file"
	if st, err := v.Stat(filepath.Clean(path)); err == nil && st.Mode.IsDir() {
		state = "directory"
	}
	return &fileops.File{Path: path, State: state, Follow: true, Recurse: recurse && state == "directory", Attrs: a}
}

// Move is fs.move.
type Move struct {
	Src   string `lua:"src,required,path" pos:"1" alias:"from" doc:"What to move"`
	Dest  string `lua:"dest,required,path" pos:"2" alias:"to,path" doc:"Its new name; a folder that exists takes it in under the same name"`
	Force bool   `lua:"force" doc:"Replace a file that is at dest"`

	from, to string
	moved    facts.FileInfo
}

// Check looks which of the two names exists.
func (k *Move) Check(_ context.Context, v facts.Viewer) (modules.Diff, error) {
	k.from, k.to = filepath.Clean(k.Src), filepath.Clean(k.Dest)
	if st, err := v.Stat(k.to); err == nil && st.Mode.IsDir() {
		inside := filepath.Join(k.to, filepath.Base(k.from))
		_, errFrom := v.Lstat(k.from)
		_, errInside := v.Lstat(inside)
		if errFrom == nil || errInside == nil || strings.HasSuffix(k.Dest, "/") {
			k.to = inside
		}
	} else if strings.HasSuffix(k.Dest, "/") {
		return modules.Diff{}, fmt.Errorf("the folder %s does not exist", k.to)
	}
	var err error
	k.moved, err = v.Lstat(k.from)
	there, errTo := v.Lstat(k.to)
	switch {
	case hostfile.Missing(err) && errTo == nil:
		return modules.Diff{}, nil // moved before
	case hostfile.Missing(err):
		return modules.Diff{}, fmt.Errorf("neither %s nor %s exists", k.from, k.to)
	case err != nil:
		return modules.Diff{}, err
	case errTo == nil && there.Mode.IsDir():
		return modules.Diff{}, fmt.Errorf("%s exists and is a folder", k.to)
	case errTo == nil && !k.Force:
		return modules.Diff{}, fmt.Errorf("%s exists; say force = true to replace it", k.to)
	case errTo != nil && !hostfile.Missing(errTo):
		return modules.Diff{}, errTo
	}
	kind := machine.Kind(k.moved.Mode)
	return modules.Diff{Changes: []modules.Change{modules.Delete(k.from, kind), modules.Create(k.to, kind)}}, nil
}

// Apply renames, or copies a file to another file system.
func (k *Move) Apply(ctx context.Context, m modules.Machine, _ modules.Diff) error {
	err := m.Rename(k.from, k.to)
	if !hostfile.OtherDevice(err) {
		return err
	}
	if !k.moved.Mode.IsRegular() {
		return fmt.Errorf("%w; only files are moved between file systems", err)
	}
	src, err := m.Open(k.from)
	if err != nil {
		return err
	}
	defer src.Close()
	mode := modules.PermBits(k.moved.Mode)
	if err := m.WriteFile(ctx, k.to, src, modules.WriteOptions{Mode: &mode, UID: &k.moved.UID, GID: &k.moved.GID, Sync: true}); err != nil {
		return err
	}
	return m.Remove(k.from)
}

// Plan tells the overlay. Of a folder it knows that it moved, not what is in it.
func (k *Move) Plan(_ context.Context, _ modules.Diff, o modules.Overlay) error {
	v, ok := o.(facts.Viewer)
	switch {
	case k.moved.Mode.IsDir():
		o.PutDir(k.to, k.moved.Mode)
	case k.moved.Mode&fs.ModeSymlink != 0:
		o.PutLink(k.to, k.moved.Link)
	case ok && k.moved.Size <= hostfile.MaxEdited:
		if f, err := v.Open(k.from); err == nil {
			data, err := io.ReadAll(io.LimitReader(f, hostfile.MaxEdited))
			f.Close()
			if err == nil {
				o.PutFile(k.to, data, k.moved.Mode, k.moved.UID, k.moved.GID)
				break
			}
		}
		o.PutUnknownFile(k.to, k.moved.Mode)
	default:
		o.PutUnknownFile(k.to, k.moved.Mode)
	}
	o.Remove(k.from)
	return nil
}
