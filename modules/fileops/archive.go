package fileops

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"path/filepath"
	"strings"

	"github.com/sloth-runner/sloth/facts"
	"github.com/sloth-runner/sloth/modules"
	"github.com/sloth-runner/sloth/modules/internal/hostfile"
	"github.com/sloth-runner/sloth/modules/internal/pack"
	"github.com/sloth-runner/sloth/modules/machine"
)

// Archive is file_ops.archive and archive.create.
type Archive struct {
	Path    []string `lua:"path,required,path" pos:"1" alias:"paths,src" doc:"What to put into it: files, folders, patterns; of a name that ends in / what is in the folder"`
	Dest    string   `lua:"dest,required,path" pos:"2" alias:"name" doc:"The archive"`
	Format  string   `lua:"format" enum:"tar,tar.gz,gz,tar.xz,xz,tar.zst,zst,zip" doc:"What it should be; when not said, what the name of dest says, else tar.gz. xz and zst need the program of that name on the host"`
	Exclude []string `lua:"exclude" alias:"exclude_path,exclusion_patterns" doc:"Paths, names or patterns to leave out"`
	Remove  bool     `lua:"remove" doc:"Remove what was put into the archive"`
	hostfile.Attrs

	format   string
	items    []pack.Item
	tops     []facts.FileInfo // what path names
	removals []string
	rewrite  bool
	unknown  bool
	fix      hostfile.Fix
	old      facts.FileInfo
	log      func(level, message string, fields map[string]any)
}

// Result adds where it is and how much is in it.
func (a *Archive) Result() map[string]any {
	return map[string]any{"dest": filepath.Clean(a.Dest), "archived": len(a.items)}
}

// Validate checks what the tags cannot say.
func (a *Archive) Validate() error {
	if len(a.Path) == 0 {
		return errors.New("path is empty: nothing to archive")
	}
	if strings.HasSuffix(a.Dest, "/") {
		return fmt.Errorf("dest = %q is a folder; name the archive itself", a.Dest)
	}
	return pack.CheckPatterns("exclude", a.Exclude)
}

var formats = map[string]string{"gz": pack.TarGzip, "xz": pack.TarXZ, "zst": pack.TarZstd}

// Check compares the files with what is in the archive.
func (a *Archive) Check(ctx context.Context, v facts.Viewer) (modules.Diff, error) {
	var d modules.Diff
	a.items, a.tops, a.removals, a.rewrite, a.log = nil, nil, nil, false, modules.CallOf(ctx).Log
	a.format = a.Format
	if full, ok := formats[a.Format]; ok {
		a.format = full
	}
	if a.format == "" {
		a.format = pack.TarGzip
		if f, ok := pack.FormatOf(a.Dest); ok {
			a.format = f
		}
	}
	var err error
	a.old, err = v.Lstat(a.Dest)
	there := err == nil
	switch {
	case err != nil && !hostfile.Missing(err):
		return d, err
	case there && !a.old.Mode.IsRegular():
		return d, fmt.Errorf("dest = %q is a %s", a.Dest, machine.Kind(a.old.Mode))
	}
	if err := a.collect(ctx, v); err != nil {
		if hostfile.Missing(err) && hostfile.Unsure(v) {
			a.unknown = true
			d.Add(modules.Change{What: a.Dest, Attr: "content", Unknown: true})
			return d, nil
		}
		return d, err
	}
	if len(a.tops) == 0 {
		if a.Remove && there {
			a.fix, err = a.Attrs.Check(ctx, v, a.old, &d) // archived before, and gone since
			return d, err
		}
		return d, fmt.Errorf("path = %q matches nothing", strings.Join(a.Path, `", "`))
	}
	if err := a.compare(ctx, v, there, &d); err != nil {
		return d, err
	}
	a.remove(&d)
	return d, nil
}

// compare looks into the archive that is there.
func (a *Archive) compare(ctx context.Context, v facts.Viewer, there bool, d *modules.Diff) error {
	total := int64(0)
	for _, it := range a.items {
		total += it.Size
	}
	after := fmt.Sprintf("%s of %d entries, %d bytes in them", a.format, len(a.items), total)
	if !there {
		parent := filepath.Dir(a.Dest)
		if st, err := v.Stat(parent); hostfile.Missing(err) && !hostfile.Unsure(v) {
			return fmt.Errorf("the folder %s does not exist; make it with file_ops.file({path = %q, state = \"directory\"})", parent, parent)
		} else if err == nil && !st.Mode.IsDir() {
			return fmt.Errorf("%s is not a folder", parent)
		}
		a.rewrite = true
		d.Add(modules.Create(a.Dest, "file"))
		d.Add(modules.Change{What: a.Dest, Attr: "content", After: after})
		a.old = facts.FileInfo{Path: a.Dest, Mode: 0o644, UID: -1, GID: -1}
	} else {
		why, err := a.differs(ctx, v)
		if err != nil {
			return err
		}
		if a.rewrite = why != ""; a.rewrite {
			d.Add(modules.Change{What: a.Dest, Attr: "content", Before: why, After: after})
		}
	}
	a.old.Path = a.Dest
	var err error
	a.fix, err = a.Attrs.Check(ctx, v, a.old, d)
	if err != nil {
		return err
	}
	if a.rewrite && (a.format == pack.TarXZ || a.format == pack.TarZstd) {
		if _, err := v.LookPath(compressors[a.format][0]); err != nil && !hostfile.Unsure(v) {
			return fmt.Errorf("format = %q needs the program %s on the host: %w", a.format, compressors[a.format][0], err)
		}
	}
	return nil
}

var errDiffers = errors.New("it differs")

// differs says in what the archive is another one; empty: in nothing.
func (a *Archive) differs(ctx context.Context, v facts.Viewer) (string, error) {
	f, err := v.Open(a.Dest)
	if errors.Is(err, modules.ErrUnknown) {
		return "a planned file", nil
	}
	if err != nil {
		return "", err
	}
	head := make([]byte, pack.SniffSize)
	n, err := io.ReadFull(f, head)
	f.Close()
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		return "", err
	}
	if got := pack.Sniff(head[:n]); got != a.format && (!a.Remove || got == "") {
		if got == "" {
			got = "no archive"
		}
		return got, nil
	}
	if a.Remove {
		return a.lacks(ctx, v)
	}
	at, why := 0, ""
	src := pack.Source{Name: a.Dest, Open: func(context.Context) (io.ReadCloser, error) { return v.Open(a.Dest) }}
	err = pack.Walk(ctx, src, pack.Options{MaxSize: math.MaxInt64, OutsideLinks: true}, func(e pack.Entry, r io.Reader) error {
		if at == len(a.items) {
			why = e.Name + " is in it too"
			return errDiffers
		}
		it := a.items[at]
		at++
		if why = a.entryDiffers(e, it); why != "" {
			return errDiffers
		}
		if e.Kind != pack.File {
			return nil
		}
		same, err := sameContent(r, it.Open)
		if err == nil && !same {
			why, err = "another "+e.Name, errDiffers
		}
		return err
	})
	switch {
	case ctx.Err() != nil:
		return "", context.Cause(ctx)
	case err != nil && !errors.Is(err, errDiffers):
		return "unreadable: " + err.Error(), nil
	case err == nil && at < len(a.items):
		return a.items[at].Name + " is missing in it", nil
	}
	return why, nil
}

// lacks says what of the files is not in the archive. With remove it may hold
// more than is left: then it is the only copy, and is not written anew.
func (a *Archive) lacks(ctx context.Context, v facts.Viewer) (string, error) {
	left := map[string]pack.Item{}
	for _, it := range a.items {
		if it.Kind != pack.Dir {
			left[it.Name] = it
		}
	}
	src := pack.Source{Name: a.Dest, Open: func(context.Context) (io.ReadCloser, error) { return v.Open(a.Dest) }}
	err := pack.Walk(ctx, src, pack.Options{MaxSize: math.MaxInt64, OutsideLinks: true}, func(e pack.Entry, r io.Reader) error {
		it, ok := left[e.Name]
		if !ok || e.Kind != it.Kind || e.Link != it.Link {
			return nil
		}
		if e.Kind == pack.File {
			if same, err := sameContent(r, it.Open); err != nil || !same {
				return err
			}
		}
		delete(left, e.Name)
		return nil
	})
	if err != nil {
		return "", err
	}
	for name := range left {
		return "", fmt.Errorf("%s exists and %s is not in it; with remove it may be the only copy of what it holds, so it is not written anew: give dest another name", a.Dest, name)
	}
	return "", nil
}

func (a *Archive) entryDiffers(e pack.Entry, it pack.Item) string {
	same := e.Name == it.Name && e.Kind == it.Kind && e.Link == it.Link && (e.Kind != pack.File || e.Size == it.Size)
	if !same {
		return "another " + e.Name
	}
	owned := a.format == pack.Zip || e.UID == it.UID && e.GID == it.GID
	if !owned || e.Kind != pack.Symlink && e.Mode != it.Mode || e.Kind == pack.File && e.MTime.Unix() != it.MTime.Unix() {
		return e.Name + " with another mode, owner or time"
	}
	return ""
}

func sameContent(r io.Reader, open func() (io.ReadCloser, error)) (bool, error) {
	f, err := open()
	if err != nil {
		return false, err
	}
	defer f.Close()
	x, y := make([]byte, 64<<10), make([]byte, 64<<10)
	for {
		n, errX := io.ReadFull(r, x)
		m, errY := io.ReadFull(f, y)
		for _, err := range []error{errX, errY} {
			if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
				return false, err
			}
		}
		if !bytes.Equal(x[:n], y[:m]) {
			return false, nil
		}
		if errX != nil {
			return errY != nil, nil
		}
	}
}

// remove adds to the diff what is removed afterwards.
func (a *Archive) remove(d *modules.Diff) {
	if !a.Remove {
		return
	}
	gone := map[string]bool{}
	for _, p := range a.removals {
		gone[p] = true
	}
	for _, st := range a.tops {
		if gone[st.Path] {
			d.Add(modules.Delete(st.Path, machine.Kind(st.Mode)))
		} else if st.Mode.IsDir() && len(a.removals) > 0 {
			d.Add(modules.Change{What: st.Path, Attr: "content", After: "without what was archived"})
		}
	}
}
