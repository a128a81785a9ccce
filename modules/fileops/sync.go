package fileops

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"path"
	"path/filepath"
	"slices"

	"github.com/sloth-runner/sloth/facts"
	"github.com/sloth-runner/sloth/modules"
	"github.com/sloth-runner/sloth/modules/internal/hostfile"
	"github.com/sloth-runner/sloth/modules/internal/pack"
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

	tree
	removals      []string
	names         map[string]string // of files in src, by where they go
	sent, removed int
}

// Result adds how much there was to do.
func (s *Sync) Result() map[string]any {
	return map[string]any{"dest": filepath.Clean(s.Dest), "sent": s.sent, "removed": s.removed}
}

// Validate checks the patterns.
func (s *Sync) Validate() error {
	return pack.CheckPatterns("exclude", s.Exclude)
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
	s.removals = nil
	c := s.begin(ctx, v, &d)
	c.replaceFolders = s.Delete
	dest := filepath.Clean(s.Dest)
	mode := s.DirMode
	if _, err := v.Stat(dest); mode == "" && hostfile.Missing(err) {
		mode = "0755"
	}
	if err := c.dir(dest, hostfile.Attrs{Mode: mode, Owner: s.Owner, Group: s.Group}); err != nil {
		return d, err
	}
	known := map[string]bool{}
	s.names = map[string]string{}
	for _, e := range list {
		// The controller's list is data too: nothing may leave dest.
		if !filepath.IsLocal(filepath.FromSlash(e.Path)) {
			return d, fmt.Errorf("src = %q lists %q, which is not below it", s.Src, e.Path)
		}
		if s.excluded(e.Path) {
			continue
		}
		known[e.Path] = true
		if err := s.entry(c, filepath.Join(dest, filepath.FromSlash(e.Path)), e); err != nil {
			return d, err
		}
	}
	if s.Delete {
		err = s.surplus(ctx, c.view, dest, "", known, &d)
	}
	return d, err
}

// entry compares one line of the manifest.
func (s *Sync) entry(c *checking, to string, e modules.FileEntry) error {
	a := hostfile.Attrs{Mode: s.Mode, Owner: s.Owner, Group: s.Group}
	if e.Mode.IsDir() {
		a.Mode = s.DirMode
	}
	if a.Mode == "" {
		a.Mode = modules.Mode(modules.ModeText(e.Mode))
	}
	switch {
	case e.Mode.IsDir():
		return c.dir(to, a)
	case e.Mode&fs.ModeSymlink != 0:
		return c.link(to, e.Link, a)
	}
	s.names[to] = e.Path
	return c.file(&hostfile.Want{Path: to, Attrs: a, Brief: true, Source: hostfile.Source{Size: e.Size, Hash: e.Hash}})
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

func (s *Sync) excluded(rel string) bool { return pack.Match(s.Exclude, rel) }

// Apply makes folders, then fetches files, then removes what is surplus.
func (s *Sync) Apply(ctx context.Context, m modules.Machine, d modules.Diff) error {
	if err := s.prepare(ctx, m, d); err != nil {
		return err
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

// send writes what differs, out of one stream that has all of it.
func (s *Sync) send(ctx context.Context, m modules.Machine) error {
	var jobs []*job
	var names []string
	for _, j := range s.jobs {
		switch {
		case j.want == nil:
		case j.want.Rewrites():
			jobs = append(jobs, j)
			names = append(names, s.names[j.want.Path])
		default: // only attributes
			if err := j.want.Apply(ctx, m); err != nil {
				return err
			}
		}
	}
	if len(jobs) == 0 {
		return nil
	}
	files, err := modules.OpenFiles(ctx, modules.CallOf(ctx).Services, filepath.ToSlash(s.Src), names)
	if err != nil {
		return err
	}
	defer files.Close()
	crew := pack.NewCrew(ctx, maxAtOnce)
	err = s.write(ctx, m, files, jobs, crew)
	if e := crew.Wait(); e != nil {
		return e
	}
	if err == nil {
		s.sent = len(jobs)
	}
	return err
}

// write hands small files to the crew and writes large ones as they arrive.
func (s *Sync) write(ctx context.Context, m modules.Machine, files modules.FileStream, jobs []*job, crew *pack.Crew) error {
	for _, j := range jobs {
		f, err := files.Next()
		if err != nil {
			return err
		}
		w := j.want
		if f.Size != w.Source.Size || f.Hash != w.Source.Hash {
			return fmt.Errorf("src = %q: %s changed since it was listed; run it again", s.Src, s.names[w.Path])
		}
		var r io.Reader = f
		if f.Size <= inOneGo {
			data, err := io.ReadAll(f)
			if err != nil {
				return err
			}
			r = bytes.NewReader(data)
		}
		w.Source.Open = func(context.Context) (io.ReadCloser, error) { return io.NopCloser(r), nil }
		if f.Size > inOneGo {
			err = w.Apply(ctx, m)
		} else {
			err = crew.Go(func(ctx context.Context) error { return w.Apply(ctx, m) })
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Plan tells the overlay.
func (s *Sync) Plan(ctx context.Context, d modules.Diff, o modules.Overlay) error {
	if err := s.tell(ctx, d, o); err != nil {
		return err
	}
	for _, to := range s.removals {
		o.Remove(to)
	}
	return nil
}
