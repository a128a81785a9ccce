package hostfile

import (
	"context"
	"io/fs"
	"strconv"

	"github.com/sloth-runner/sloth/facts"
	"github.com/sloth-runner/sloth/modules"
)

// Attrs are the arguments that all functions which leave a file share.
type Attrs struct {
	Mode  modules.Mode `lua:"mode" doc:"Permissions: \"0644\", 0o644 or \"u+x,go-w\"; a file that is there keeps its own"`
	Owner string       `lua:"owner" doc:"Name or number of the user it belongs to"`
	Group string       `lua:"group" doc:"Name or number of the group it belongs to"`
}

// ids are the owner and group wanted; -1 is either.
func (a Attrs) ids(ctx context.Context, v facts.Viewer) (uid, gid int, err error) {
	uid, gid = -1, -1
	if a.Owner != "" {
		if uid, err = UserID(ctx, v, a.Owner); err != nil {
			return 0, 0, err
		}
	}
	if a.Group != "" {
		if gid, err = GroupID(ctx, v, a.Group); err != nil {
			return 0, 0, err
		}
	}
	return uid, gid, nil
}

// Fix is what has to be done to the attributes of one file.
type Fix struct {
	Path     string
	Mode     fs.FileMode // as it will be
	UID, GID int         // as they will be; -1 stays
	chmod    bool
	chown    bool
	link     bool
}

// Check compares the attributes of st with those wanted and adds what differs
// to d. For a file that is not there yet, st has the mode it would get and a
// zero Inode and Path is where it will be.
func (a Attrs) Check(ctx context.Context, v facts.Viewer, st facts.FileInfo, d *modules.Diff) (Fix, error) {
	f := Fix{Path: st.Path, Mode: modules.PermBits(st.Mode), UID: -1, GID: -1}
	uid, gid, err := a.ids(ctx, v)
	if err != nil {
		return f, err
	}
	f.link = st.Mode&fs.ModeSymlink != 0
	if a.Mode != "" && !f.link {
		want, err := a.Mode.Of(st.Mode, st.Mode.IsDir())
		if err != nil {
			return f, err
		}
		if f.chmod = want != f.Mode; f.chmod {
			d.Add(modules.Change{What: st.Path, Attr: "mode", Before: modules.ModeText(f.Mode), After: modules.ModeText(want)})
			f.Mode = want
		}
	}
	if uid != -1 && uid != st.UID {
		d.Add(modules.Change{What: st.Path, Attr: "owner", Before: name(st.Owner, st.UID), After: a.Owner})
		f.UID, f.chown = uid, true
	}
	if gid != -1 && gid != st.GID {
		d.Add(modules.Change{What: st.Path, Attr: "group", Before: name(st.Group, st.GID), After: a.Group})
		f.GID, f.chown = gid, true
	}
	return f, nil
}

func name(name string, id int) string {
	if name == "" {
		return strconv.Itoa(id)
	}
	return name
}

// Needed reports whether anything has to be done.
func (f Fix) Needed() bool { return f.chmod || f.chown }

// Apply does it. The owner goes first: changing it clears setuid.
func (f Fix) Apply(m modules.Machine) error {
	if f.chown {
		if err := m.Chown(f.Path, f.UID, f.GID, !f.link); err != nil {
			return err
		}
	}
	if f.chmod || f.chown && !f.link && f.Mode&(fs.ModeSetuid|fs.ModeSetgid) != 0 {
		return m.Chmod(f.Path, f.Mode)
	}
	return nil
}

// Plan tells the overlay.
func (f Fix) Plan(o modules.Overlay) {
	if f.Needed() {
		o.PutAttrs(f.Path, f.Mode, f.UID, f.GID)
	}
}
