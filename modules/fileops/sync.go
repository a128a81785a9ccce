package fileops

import (
	"context"
	"fmt"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/sloth-runner/sloth/facts"
	"github.com/sloth-runner/sloth/modules"
	"github.com/sloth-runner/sloth/modules/internal/hostfile"
	"github.com/sloth-runner/sloth/modules/machine"
)

// Sync is file_ops.sync.
type Sync struct {
	Src     string       `lua:"src,required" pos:"1" doc:"Folder on the controller, relative to the .sloth file; what is in it goes into dest"`
	Dest    string       `lua:"dest,required,path" pos:"2" alias:"path" doc:"Folder on the host; it is made when it does not exist"`
	Delete  bool         `lua:"delete" doc:"Remove what dest has and src has not"`
	Exclude []string     `lua:"exclude" doc:"Names or patterns to leave alone on both sides: *.log anywhere, cache/** at the top"`
	Mode    modules.Mode `lua:"mode" alias:"file_mode" doc:"Permissions of files; those on the controller when not said"`
	DirMode modules.Mode `lua:"dir_mode" alias:"directory_mode" doc:"Permissions of folders; those on the controller when not said"`
	Owner   string       `lua:"owner" doc:"Name or number of the user everything belongs to"`
	Group   string       `lua:"group" doc:"Name or number of the group everything belongs to"`

	jobs          []*job // folders first, in order
	removals      []string
	sent, removed int
}

// job is one thing of the manifest that differs.
type job struct {
	entry modules.FileEntry
	want  *hostfile.Want // a file whose content or attributes differ
	dir   *File          // a folder
	link  *File          // a symbolic link
	clear bool           // something of another kind is in the way
}

// maxAtOnce is how many files are under way at the same time: over a distance
// they wait for each other's round trips, on a disk for each other's sync.
const maxAtOnce = 32

// Result adds how much there was to do.
func (s *Sync) Result() map[string]any {
	return map[string]any{"dest": filepath.Clean(s.Dest), "sent": s.sent, "removed": s.removed}
}

// Validate checks the patterns.
func (s *Sync) Validate() error {
	for _, p := range s.Exclude {
		if _, err := path.Match(p, ""); err != nil {
			return fmt.Errorf("exclude: %q is not a pattern: %w", p, err)
		}
	}
	return nil
}

// Check compares the manifest of src with dest.
func (s *Sync) Check(ctx context.Context, v facts.Viewer) (modules.Diff, error) {
	var d modules.Diff
	services := modules.CallOf(ctx).Services
	if services == nil {
		return d, fmt.Errorf("src = %q: there is no controller here to read it from", s.Src)
	}
	list, err := services.List(ctx, s.Src)
	if err != nil {
		return d, err
	}
	s.jobs, s.removals = nil, nil
	dest := filepath.Clean(s.Dest)
	// What has been decided for the folders above decides about what is below.
	view := machine.NewOverlay(v)
	if err := s.checkDir(ctx, view, dest, modules.FileEntry{Mode: fs.ModeDir | 0o755}, &d); err != nil {
		return d, err
	}
	known := map[string]bool{}
	for _, e := range list {
		// The controller's list is data too: nothing may leave dest.
		if !filepath.IsLocal(filepath.FromSlash(e.Path)) {
			return d, fmt.Errorf("src = %q lists %q, which is not below it", s.Src, e.Path)
		}
		if s.excluded(e.Path) {
			continue
		}
		known[e.Path] = true
		if err := s.checkEntry(ctx, view, filepath.Join(dest, filepath.FromSlash(e.Path)), e, &d); err != nil {
			return d, err
		}
	}
	if s.Delete {
		err = s.surplus(ctx, view, dest, "", known, &d)
	}
	return d, err
}

func (s *Sync) checkEntry(ctx context.Context, v *machine.Overlay, to string, e modules.FileEntry, d *modules.Diff) error {
	st, err := v.Lstat(to)
	inTheWay := err == nil && st.Mode.Type() != e.Mode.Type()
	if inTheWay {
		if st.Mode.IsDir() && !s.Delete {
			return fmt.Errorf("%s is a folder, and in src a %s; say delete = true to replace it", to, machine.Kind(e.Mode))
		}
		d.Add(modules.Delete(to, machine.Kind(st.Mode)))
		v.Remove(to)
	}
	at := len(s.jobs)
	switch {
	case e.Mode.IsDir():
		err = s.checkDir(ctx, v, to, e, d)
	case e.Mode&fs.ModeSymlink != 0:
		err = s.checkLink(ctx, v, to, e, d)
	default:
		err = s.checkFile(ctx, v, to, e, d)
	}
	if inTheWay && err == nil && len(s.jobs) > at {
		s.jobs[at].clear = true
	}
	return err
}

func (s *Sync) checkDir(ctx context.Context, v *machine.Overlay, to string, e modules.FileEntry, d *modules.Diff) error {
	mode := s.DirMode
	_, err := v.Stat(to)
	if mode == "" && (e.Path != "" || hostfile.Missing(err)) {
		mode = modules.Mode(modules.ModeText(e.Mode))
	}
	f := &File{Path: to, State: stateDirectory, Follow: true, Attrs: hostfile.Attrs{Mode: mode, Owner: s.Owner, Group: s.Group}}
	return s.add(ctx, v, &job{entry: e, dir: f}, f.Check, d)
}

func (s *Sync) checkLink(ctx context.Context, v *machine.Overlay, to string, e modules.FileEntry, d *modules.Diff) error {
	f := &File{Path: to, State: stateLink, Src: e.Link, Force: true, Attrs: hostfile.Attrs{Owner: s.Owner, Group: s.Group}}
	return s.add(ctx, v, &job{entry: e, link: f}, f.Check, d)
}

func (s *Sync) checkFile(ctx context.Context, v *machine.Overlay, to string, e modules.FileEntry, d *modules.Diff) error {
	mode := s.Mode
	if mode == "" {
		mode = modules.Mode(modules.ModeText(e.Mode))
	}
	src := path.Join(filepath.ToSlash(s.Src), e.Path)
	services := modules.CallOf(ctx).Services
	w := &hostfile.Want{
		Path: to, Attrs: hostfile.Attrs{Mode: mode, Owner: s.Owner, Group: s.Group}, Brief: true,
		Source: hostfile.Source{Size: e.Size, Hash: e.Hash, Open: opener(services, src)},
	}
	return s.add(ctx, v, &job{entry: e, want: w}, w.Check, d)
}

// add keeps the job when its check finds anything.
func (s *Sync) add(ctx context.Context, v *machine.Overlay, j *job, check func(context.Context, facts.Viewer) (modules.Diff, error), d *modules.Diff) error {
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	found, err := check(ctx, v)
	if err != nil || found.Empty() {
		return err
	}
	d.Changes = append(d.Changes, found.Changes...)
	s.jobs = append(s.jobs, j)
	if j.dir != nil {
		return j.dir.Plan(ctx, found, v)
	}
	return nil
}

// surplus finds what dest has and src has not.
func (s *Sync) surplus(ctx context.Context, v *machine.Overlay, dest, below string, known map[string]bool, d *modules.Diff) error {
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	list, err := v.ReadDir(filepath.Join(dest, below))
	if hostfile.Missing(err) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, st := range list {
		rel := path.Join(below, st.Name)
		switch {
		case s.excluded(rel):
		case !known[rel]:
			if st.Mode.IsDir() && s.sheltersExcluded(v, dest, rel) {
				if err := s.surplus(ctx, v, dest, rel, known, d); err != nil {
					return err
				}
				continue
			}
			to := filepath.Join(dest, rel)
			d.Add(modules.Delete(to, machine.Kind(st.Mode)))
			s.removals = append(s.removals, to)
		case st.Mode.IsDir():
			if err := s.surplus(ctx, v, dest, rel, known, d); err != nil {
				return err
			}
		}
	}
	return nil
}

// sheltersExcluded reports whether something excluded is below a folder, which
// must then stay.
func (s *Sync) sheltersExcluded(v *machine.Overlay, dest, rel string) bool {
	if len(s.Exclude) == 0 {
		return false
	}
	list, err := v.ReadDir(filepath.Join(dest, rel))
	if err != nil {
		return false
	}
	return slices.ContainsFunc(list, func(st facts.FileInfo) bool {
		sub := path.Join(rel, st.Name)
		return s.excluded(sub) || st.Mode.IsDir() && s.sheltersExcluded(v, dest, sub)
	})
}

// excluded matches a pattern without a slash against every name of the path,
// one with a slash against the path from the top.
func (s *Sync) excluded(rel string) bool {
	names := strings.Split(rel, "/")
	for _, p := range s.Exclude {
		p = strings.TrimPrefix(strings.TrimSuffix(p, "/"), "/")
		p = strings.TrimSuffix(p, "/**")
		if !strings.Contains(p, "/") {
			if slices.ContainsFunc(names, func(n string) bool { ok, _ := path.Match(p, n); return ok }) {
				return true
			}
			continue
		}
		depth := strings.Count(p, "/") + 1
		if len(names) >= depth {
			if ok, _ := path.Match(p, strings.Join(names[:depth], "/")); ok {
				return true
			}
		}
	}
	return false
}

// Apply makes folders, then sends files, then removes what is surplus.
func (s *Sync) Apply(ctx context.Context, m modules.Machine, d modules.Diff) error {
	for _, j := range s.jobs {
		if j.clear {
			if err := m.RemoveAll(j.target()); err != nil {
				return err
			}
		}
		for _, f := range []*File{j.dir, j.link} {
			if f != nil {
				if err := f.Apply(ctx, m, d); err != nil {
					return err
				}
			}
		}
	}
	if err := s.send(ctx, m); err != nil {
		return err
	}
	for _, to := range s.removals {
		if err := m.RemoveAll(to); err != nil {
			return err
		}
		s.removed++
	}
	return nil
}

func (j *job) target() string {
	switch {
	case j.dir != nil:
		return j.dir.Path
	case j.link != nil:
		return j.link.Path
	}
	return j.want.Path
}

// send writes the files, many at a time. The first error stops the rest.
func (s *Sync) send(ctx context.Context, m modules.Machine) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var (
		group sync.WaitGroup
		mu    sync.Mutex
		first error
	)
	free := make(chan struct{}, maxAtOnce)
	for _, j := range s.jobs {
		if j.want == nil {
			continue
		}
		free <- struct{}{}
		if ctx.Err() != nil {
			<-free
			break
		}
		group.Go(func() {
			defer func() { <-free }()
			err := j.want.Apply(ctx, m)
			mu.Lock()
			defer mu.Unlock()
			if err != nil && first == nil {
				first = err
				cancel(err)
			}
			if err == nil {
				s.sent++
			}
		})
	}
	group.Wait()
	if first == nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return first
}

// Plan tells the overlay.
func (s *Sync) Plan(ctx context.Context, d modules.Diff, o modules.Overlay) error {
	for _, j := range s.jobs {
		if j.clear {
			o.Remove(j.target())
		}
		for _, f := range []*File{j.dir, j.link} {
			if f != nil {
				if err := f.Plan(ctx, d, o); err != nil {
					return err
				}
			}
		}
		if j.want != nil {
			if err := j.want.Plan(ctx, o); err != nil {
				return err
			}
		}
	}
	for _, to := range s.removals {
		o.Remove(to)
	}
	return nil
}
