package fileops

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"path/filepath"
	"time"

	"github.com/sloth-runner/sloth/facts"
	"github.com/sloth-runner/sloth/modules"
	"github.com/sloth-runner/sloth/modules/internal/hostfile"
	"github.com/sloth-runner/sloth/modules/internal/pack"
	"github.com/sloth-runner/sloth/modules/machine"
	"github.com/sloth-runner/sloth/modules/spec"
)

// Unarchive is file_ops.unarchive and archive.extract.
type Unarchive struct {
	Src          string       `lua:"src,required" pos:"1" doc:"The archive on the controller, relative to the .sloth file: tar, tar.gz, tar.xz, tar.zst or zip, told apart by content"`
	Dest         string       `lua:"dest,required,path" pos:"2" alias:"path" doc:"Folder on the host that it is unpacked into; it is made when it does not exist"`
	RemoteSrc    bool         `lua:"remote_src" doc:"Src is a file on the host"`
	Creates      string       `lua:"creates,path" doc:"Do nothing when this is there"`
	Include      []string     `lua:"include" doc:"Names or patterns of what to unpack; everything when not said"`
	Exclude      []string     `lua:"exclude" doc:"Names or patterns of what not to unpack: *.log anywhere, docs/** at the top"`
	Strip        int          `lua:"strip_components" alias:"strip" doc:"How many folders to take away from the front of each name"`
	KeepNewer    bool         `lua:"keep_newer" doc:"Leave files alone that are newer than those in the archive"`
	KeepOwner    bool         `lua:"keep_owner" doc:"Give files the owner and group the archive names, by name if the host knows it, else by number; when not said they belong to whoever unpacks"`
	OutsideLinks bool         `lua:"outside_links" doc:"Take symbolic links that lead out of dest too; nothing is written through them"`
	MaxSize      int64        `lua:"max_size" doc:"How many bytes all files together may have, unpacked"`
	Mode         modules.Mode `lua:"mode" doc:"Permissions of files; those in the archive when not said, without setuid"`
	DirMode      modules.Mode `lua:"dir_mode" alias:"directory_mode" doc:"Permissions of folders; those in the archive when not said"`
	Owner        string       `lua:"owner" doc:"Name or number of the user everything belongs to"`
	Group        string       `lua:"group" doc:"Name or number of the group everything belongs to"`

	tree
	source  pack.Source
	times   map[string]time.Time // of files to write, by path
	unknown bool                 // the archive itself is only planned
	owners  map[string]string    // names in the archive -> what the host knows
}

// Result adds where it went and how much was unpacked.
func (u *Unarchive) Result() map[string]any {
	return map[string]any{"dest": filepath.Clean(u.Dest), "unpacked": len(u.times)}
}

// Validate checks what the tags cannot say.
func (u *Unarchive) Validate() error {
	switch {
	case u.Strip < 0:
		return fmt.Errorf("strip_components = %d: it counts folders, from 0", u.Strip)
	case u.MaxSize <= 0:
		return fmt.Errorf("max_size = %d: it is a number of bytes", u.MaxSize)
	}
	if err := pack.CheckPatterns("include", u.Include); err != nil {
		return err
	}
	return pack.CheckPatterns("exclude", u.Exclude)
}

func (u *Unarchive) options() pack.Options {
	return pack.Options{Strip: u.Strip, Include: u.Include, Exclude: u.Exclude, MaxSize: u.MaxSize, OutsideLinks: u.OutsideLinks}
}

// Check reads the archive and compares what is in it with what is there.
func (u *Unarchive) Check(ctx context.Context, v facts.Viewer) (modules.Diff, error) {
	var d modules.Diff
	u.times, u.owners = map[string]time.Time{}, map[string]string{}
	c := u.begin(ctx, v, &d)
	if u.Creates != "" {
		if _, err := v.Lstat(filepath.Clean(u.Creates)); err == nil {
			return d, nil
		}
	}
	dest := filepath.Clean(u.Dest)
	if err := u.open(ctx, v); err != nil {
		if errors.Is(err, modules.ErrUnknown) || u.RemoteSrc && hostfile.Missing(err) && hostfile.Unsure(v) {
			u.unknown = true
			d.Add(modules.Change{What: dest, Attr: "content", Unknown: true})
			return d, nil
		}
		return d, err
	}
	if err := c.dir(dest, hostfile.Attrs{Owner: u.Owner, Group: u.Group}); err != nil {
		return d, err
	}
	folders := map[string]bool{".": true}
	err := pack.Walk(ctx, u.source, u.options(), func(e pack.Entry, r io.Reader) error {
		if err := u.parents(c, dest, path.Dir(e.Name), folders); err != nil {
			return err
		}
		return u.entry(c, dest, e, r, folders)
	})
	return d, err
}

// open sets the source, and fails where it cannot be read.
func (u *Unarchive) open(ctx context.Context, v facts.Viewer) error {
	if !u.RemoteSrc {
		src, err := fromController(ctx, u.Src)
		if err != nil {
			return err
		}
		u.source = pack.Source{Name: u.Src, Open: src.Open}
		return nil
	}
	src, err := spec.HostPath(u.Src, modules.CallOf(ctx).Workdir)
	if err != nil {
		return err
	}
	f, err := v.Open(src)
	if err != nil {
		return notOnHost(v, src, err)
	}
	u.source = pack.Source{Name: src, Open: func(context.Context) (io.ReadCloser, error) { return v.Open(src) }}
	return f.Close()
}

// parents makes the folders a name goes through. None may be a link: what is
// unpacked stays below dest, whatever stands there.
func (u *Unarchive) parents(c *checking, dest, dir string, folders map[string]bool) error {
	if folders[dir] {
		return nil
	}
	if err := u.parents(c, dest, path.Dir(dir), folders); err != nil {
		return err
	}
	folders[dir] = true
	return u.folder(c, filepath.Join(dest, filepath.FromSlash(dir)), u.DirMode)
}

func (u *Unarchive) folder(c *checking, to string, mode modules.Mode) error {
	st, err := c.view.Lstat(to)
	if err == nil && !st.Mode.IsDir() {
		return fmt.Errorf("%s is a %s on the host, and a folder in the archive; nothing is unpacked through it", to, machine.Kind(st.Mode))
	}
	return c.dir(to, hostfile.Attrs{Mode: mode, Owner: u.Owner, Group: u.Group})
}

// entry compares one thing of the archive.
func (u *Unarchive) entry(c *checking, dest string, e pack.Entry, r io.Reader, folders map[string]bool) error {
	to := filepath.Join(dest, filepath.FromSlash(e.Name))
	a, err := u.attrs(c, e)
	if err != nil {
		return err
	}
	st, err := c.view.Lstat(to)
	if err == nil && st.Mode.IsDir() && e.Kind != pack.Dir {
		return fmt.Errorf("%s is a folder, and no folder in the archive; remove it first", to)
	}
	switch e.Kind {
	case pack.Dir:
		folders[e.Name] = true
		if err := u.folder(c, to, a.Mode); err != nil || !u.KeepOwner {
			return err
		}
		return c.dir(to, a)
	case pack.Symlink:
		return c.link(to, e.Link, a)
	case pack.Hardlink:
		return c.hard(to, filepath.Join(dest, filepath.FromSlash(e.Link)))
	}
	if u.KeepNewer && err == nil && st.Mode.IsRegular() && st.MTime/1e9 > e.MTime.Unix() {
		return nil
	}
	sum := sha256.New()
	n, err := io.Copy(sum, r)
	if err != nil {
		return err
	}
	w := &hostfile.Want{Path: to, Attrs: a, Brief: true, Source: hostfile.Source{Size: n, Hash: hex.EncodeToString(sum.Sum(nil))}}
	if err := c.file(w); err != nil {
		return err
	}
	if w.Rewrites() {
		u.times[to] = e.MTime
	}
	return nil
}

// attrs are those of one entry. Its owner may always come back to it.
func (u *Unarchive) attrs(c *checking, e pack.Entry) (hostfile.Attrs, error) {
	a := hostfile.Attrs{Owner: u.Owner, Group: u.Group}
	said, mode := u.Mode, e.Mode
	if e.Kind == pack.Dir {
		said, mode = u.DirMode, e.Mode|fs.ModeDir|0o700
	}
	perm, err := said.Of(mode, e.Kind == pack.Dir)
	if err != nil {
		return a, err
	}
	a.Mode = modules.Mode(modules.ModeText(perm))
	if u.KeepOwner && e.UID >= 0 {
		if a.Owner == "" {
			a.Owner = u.known("user:", e.User, e.UID, func(n string) error { _, err := hostfile.UserID(c.ctx, c.view, n); return err })
		}
		if a.Group == "" {
			a.Group = u.known("group:", e.Group, e.GID, func(n string) error { _, err := hostfile.GroupID(c.ctx, c.view, n); return err })
		}
	}
	return a, nil
}

// known is the name if the host has it, else the number.
func (u *Unarchive) known(kind, name string, id int, look func(string) error) string {
	number := fmt.Sprint(id)
	if name == "" {
		return number
	}
	key := kind + name
	if _, asked := u.owners[key]; !asked {
		u.owners[key] = name
		if look(name) != nil {
			u.owners[key] = ""
		}
	}
	if u.owners[key] == "" {
		return number
	}
	return name
}

// Apply makes folders and links and then reads the archive once more for the
// files that differ.
func (u *Unarchive) Apply(ctx context.Context, m modules.Machine, d modules.Diff) error {
	if err := u.prepare(ctx, m, d); err != nil {
		return err
	}
	for _, j := range u.jobs {
		if j.want != nil && !j.want.Rewrites() {
			if err := j.want.Apply(ctx, m); err != nil {
				return err
			}
		}
	}
	if err := u.unpack(ctx, m); err != nil {
		return err
	}
	return u.finish(ctx, m, d)
}

func (u *Unarchive) unpack(ctx context.Context, m modules.Machine) error {
	left := len(u.times)
	if left == 0 {
		return nil
	}
	dest := filepath.Clean(u.Dest)
	crew := pack.NewCrew(ctx, maxAtOnce)
	err := pack.Walk(ctx, u.source, u.options(), func(e pack.Entry, r io.Reader) error {
		to := filepath.Join(dest, filepath.FromSlash(e.Name))
		j := u.at[to]
		if e.Kind != pack.File || j == nil || j.want == nil || !j.want.Rewrites() {
			return nil
		}
		left--
		if j.want.Source.Size > inOneGo {
			return u.write(ctx, m, j.want, r)
		}
		data, err := io.ReadAll(r)
		if err != nil {
			return err
		}
		return crew.Go(func(ctx context.Context) error { return u.write(ctx, m, j.want, bytes.NewReader(data)) })
	})
	if e := crew.Wait(); e != nil {
		return e
	}
	if err == nil && left != 0 {
		err = fmt.Errorf("archive %s: it changed while it was unpacked", u.source.Name)
	}
	return err
}

func (u *Unarchive) write(ctx context.Context, m modules.Machine, w *hostfile.Want, r io.Reader) error {
	w.Source.Open = func(context.Context) (io.ReadCloser, error) { return io.NopCloser(r), nil }
	if err := w.Apply(ctx, m); err != nil {
		return err
	}
	if at := u.times[w.Path]; !at.IsZero() && at.Unix() > 0 {
		return m.Chtimes(w.Path, at)
	}
	return nil
}

// Plan tells the overlay.
func (u *Unarchive) Plan(ctx context.Context, d modules.Diff, o modules.Overlay) error {
	if u.unknown {
		return nil
	}
	return u.tell(ctx, d, o)
}
