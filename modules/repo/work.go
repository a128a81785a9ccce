package repo

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/sloth-runner/sloth/facts"
	"github.com/sloth-runner/sloth/modules"
	"github.com/sloth-runner/sloth/modules/internal/hostfile"
	"github.com/sloth-runner/sloth/modules/internal/tool"
	"github.com/sloth-runner/sloth/modules/machine"
	"github.com/sloth-runner/sloth/modules/pkg"
)

// work is what a call has to do: folders, then files, then what goes, then what
// is run. When something fails, the files are put back: a repository that cannot
// be read would break the package manager for everything else.
type work struct {
	diff    modules.Diff
	folders []string
	wants   []*hostfile.Want
	gone    []string
	imports string // file of keys for rpm to import
	refresh bool
}

// file adds a wanted file, whose folder may still be missing.
func (w *work) file(ctx context.Context, v facts.Viewer, path, text string) error {
	return w.bytes(ctx, v, path, []byte(text))
}

func (w *work) bytes(ctx context.Context, v facts.Viewer, path string, data []byte) error {
	dir := filepath.Dir(path)
	seen := v
	if _, err := v.Stat(dir); hostfile.Missing(err) {
		if _, err := v.Stat(filepath.Dir(dir)); err != nil {
			return err
		}
		w.folders = append(w.folders, dir)
		w.diff.Add(modules.Create(dir, "directory"))
		o := machine.NewOverlay(v)
		o.PutDir(dir, 0o755)
		seen = o
	}
	want := &hostfile.Want{Path: path, Source: hostfile.Bytes(data, false), Attrs: hostfile.Attrs{Mode: "0644"}}
	d, err := want.Check(ctx, seen)
	if err != nil {
		return err
	}
	if !d.Empty() {
		w.wants = append(w.wants, want)
		w.diff.Changes = append(w.diff.Changes, d.Changes...)
	}
	return nil
}

// remove adds a file that goes, if it is there.
func (w *work) remove(v facts.Viewer, path string) error {
	_, err := v.Lstat(path)
	if hostfile.Missing(err) {
		return nil
	}
	if err != nil {
		return err
	}
	w.gone = append(w.gone, path)
	w.diff.Add(modules.Delete(path, "file"))
	return nil
}

// saved is a file as it was; nil data: it was not there.
type saved struct {
	path string
	data []byte
}

func (w *work) apply(ctx context.Context, m modules.Machine) error {
	var old []saved
	keep := func(path string) error {
		data, err := hostfile.Read(m, path)
		if err != nil && !hostfile.Missing(err) {
			return err
		}
		old = append(old, saved{path, data})
		return nil
	}
	for _, want := range w.wants {
		if err := keep(want.Final()); err != nil {
			return err
		}
	}
	for _, path := range w.gone {
		if err := keep(path); err != nil {
			return err
		}
	}
	for _, dir := range w.folders {
		if err := m.Mkdir(dir, 0o755); err != nil {
			return err
		}
	}
	if err := w.do(ctx, m); err != nil {
		return errors.Join(err, restore(ctx, m, old))
	}
	if !w.refresh {
		return nil
	}
	err := refresh(ctx, m)
	if err == nil {
		return nil
	}
	back := restore(ctx, m, old)
	if len(w.wants) == 0 && refresh(ctx, m) != nil { // with it too: one of two broken ones must not keep the other
		return errors.Join(fmt.Errorf("it is gone, but the lists of packages cannot be brought up to date, without it or with it: %w", err), back, w.do(ctx, m))
	}
	return errors.Join(fmt.Errorf("with this change the lists of packages cannot be brought up to date, so it was undone: %w", err), back)
}

func (w *work) do(ctx context.Context, m modules.Machine) error {
	for _, want := range w.wants {
		if err := want.Apply(ctx, m); err != nil {
			return err
		}
	}
	for _, path := range w.gone {
		if err := m.Remove(path); err != nil {
			return err
		}
	}
	if w.imports == "" {
		return nil
	}
	a, err := m.Run(ctx, modules.Cmd{Argv: []string{"rpm", "--import", w.imports}, Env: []string{"LC_ALL=C"}, Stdin: strings.NewReader("")})
	if err != nil {
		return err
	}
	if a.ExitCode != 0 {
		return fmt.Errorf("rpm --import %s: %s", w.imports, tool.Failure(a, false))
	}
	return nil
}

const restoreTime = 30 * time.Second

// restore puts the files back, also when the call was cancelled.
func restore(ctx context.Context, m modules.Machine, old []saved) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), restoreTime)
	defer cancel()
	var failed error
	for _, f := range old {
		var err error
		if f.data == nil {
			if err = m.Remove(f.path); hostfile.Missing(err) {
				err = nil
			}
		} else {
			err = m.WriteFile(ctx, f.path, strings.NewReader(string(f.data)), modules.WriteOptions{Sync: true})
		}
		if err != nil {
			failed = errors.Join(failed, fmt.Errorf("and %s could not be put back: %w", f.path, err))
		}
	}
	return failed
}

// refresh does what pkg.update does, with its patience for locks.
func refresh(ctx context.Context, m modules.Machine) error {
	for _, f := range pkg.Module().Funcs {
		if f.Name != "update" {
			continue
		}
		update, ok := f.New().(modules.Changer)
		if !ok {
			break
		}
		d, err := update.Check(ctx, m)
		if err != nil || d.Empty() {
			return err
		}
		return update.Apply(ctx, m, d)
	}
	return errors.New("pkg.update is not there")
}

func (w *work) plan(ctx context.Context, o modules.Overlay) error {
	for _, dir := range w.folders {
		o.PutDir(dir, 0o755)
	}
	for _, want := range w.wants {
		if err := want.Plan(ctx, o); err != nil {
			return err
		}
	}
	for _, path := range w.gone {
		o.Remove(path)
	}
	if w.imports != "" {
		o.Note("rpm-key:"+w.imports, modules.Present)
	}
	return nil
}

// worker is what the functions share that change repositories.
type worker struct{ w work }

// Apply does the work.
func (c *worker) Apply(ctx context.Context, m modules.Machine, _ modules.Diff) error {
	return c.w.apply(ctx, m)
}

// Plan lets later checks see the files.
func (c *worker) Plan(ctx context.Context, _ modules.Diff, o modules.Overlay) error {
	return c.w.plan(ctx, o)
}
