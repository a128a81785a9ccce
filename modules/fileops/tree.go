package fileops

import (
	"context"
	"fmt"
	"io/fs"

	"github.com/sloth-runner/sloth/facts"
	"github.com/sloth-runner/sloth/modules"
	"github.com/sloth-runner/sloth/modules/internal/hostfile"
	"github.com/sloth-runner/sloth/modules/machine"
)

// tree is what has to be done so that a folder holds what a list says: what
// sync and unarchive have in common.
type tree struct {
	jobs []*job // folders before what is in them
	at   map[string]*job
}

// job is one thing of the list that differs.
type job struct {
	want  *hostfile.Want // a file whose content or attributes differ
	other *File          // a folder or a link
	clear bool           // something of another kind is in the way
}

// maxAtOnce is how many files are written at the same time: each waits for the
// disk to have it.
const maxAtOnce = 32

func (j *job) target() string {
	if j.want != nil {
		return j.want.Path
	}
	return j.other.Path
}

// checking is one comparison under way. What has been decided for the folders
// above decides about what is below, so it goes through an overlay.
type checking struct {
	*tree
	ctx  context.Context
	view *machine.Overlay
	d    *modules.Diff
	// replaceFolders lets a file take the place of a folder.
	replaceFolders bool
}

func (t *tree) begin(ctx context.Context, v facts.Viewer, d *modules.Diff) *checking {
	t.jobs, t.at = nil, map[string]*job{}
	return &checking{tree: t, ctx: ctx, view: machine.NewOverlay(v), d: d}
}

// dir compares a folder; mode is that of one that is made, and, if given, of
// one that is there.
func (c *checking) dir(to string, a hostfile.Attrs) error {
	f := &File{Path: to, State: stateDirectory, Follow: true, Attrs: a}
	return c.add(to, fs.ModeDir, &job{other: f}, f.Check)
}

func (c *checking) link(to, target string, a hostfile.Attrs) error {
	a.Mode = ""
	f := &File{Path: to, State: stateLink, Src: target, Force: true, Attrs: a}
	return c.add(to, fs.ModeSymlink, &job{other: f}, f.Check)
}

// hard compares a second name of a file of the list.
func (c *checking) hard(to, target string) error {
	f := &File{Path: to, State: stateHard, Src: target, Force: true}
	return c.add(to, 0, &job{other: f}, f.Check)
}

func (c *checking) file(w *hostfile.Want) error {
	return c.add(w.Path, 0, &job{want: w}, w.Check)
}

// add keeps the job when its check finds anything.
func (c *checking) add(to string, kind fs.FileMode, j *job, check func(context.Context, facts.Viewer) (modules.Diff, error)) error {
	if c.ctx.Err() != nil {
		return context.Cause(c.ctx)
	}
	st, err := c.view.Lstat(to)
	// A file takes the place of a link by itself.
	inTheWay := err == nil && st.Mode.Type() != kind && (kind != 0 || st.Mode&fs.ModeSymlink == 0)
	if inTheWay {
		if st.Mode.IsDir() && !c.replaceFolders {
			return fmt.Errorf("%s is a folder, and in src a %s; say delete = true to replace it", to, machine.Kind(kind))
		}
		c.d.Add(modules.Delete(to, machine.Kind(st.Mode)))
		c.view.Remove(to)
	}
	found, err := check(c.ctx, c.view)
	if err != nil || found.Empty() {
		return err
	}
	c.d.Changes = append(c.d.Changes, found.Changes...)
	j.clear = inTheWay
	c.jobs = append(c.jobs, j)
	c.at[to] = j
	if j.other != nil {
		return j.other.Plan(c.ctx, found, c.view)
	}
	return j.want.Plan(c.ctx, c.view)
}

// prepare clears what is in the way and makes folders and symbolic links.
func (t *tree) prepare(ctx context.Context, m modules.Machine, d modules.Diff) error {
	for _, j := range t.jobs {
		if j.clear {
			if err := m.RemoveAll(j.target()); err != nil {
				return err
			}
		}
		if j.other != nil && j.other.State != stateHard {
			if err := j.other.Apply(ctx, m, d); err != nil {
				return err
			}
		}
	}
	return nil
}

// finish gives files their second names.
func (t *tree) finish(ctx context.Context, m modules.Machine, d modules.Diff) error {
	for _, j := range t.jobs {
		if j.other != nil && j.other.State == stateHard {
			if err := j.other.Apply(ctx, m, d); err != nil {
				return err
			}
		}
	}
	return nil
}

// tell tells the overlay of a plan.
func (t *tree) tell(ctx context.Context, d modules.Diff, o modules.Overlay) error {
	for _, j := range t.jobs {
		if j.clear {
			o.Remove(j.target())
		}
		var err error
		if j.other != nil {
			err = j.other.Plan(ctx, d, o)
		} else {
			err = j.want.Plan(ctx, o)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
