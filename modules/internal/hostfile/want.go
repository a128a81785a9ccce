package hostfile

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"strings"
	"time"

	"github.com/sloth-runner/sloth/facts"
	"github.com/sloth-runner/sloth/modules"
)

// Keep are the arguments of functions that replace a file's content.
type Keep struct {
	Backup   bool   `lua:"backup" doc:"Keep the old file beside the new one, as NAME.TIME~"`
	InPlace  bool   `lua:"in_place" alias:"unsafe_writes" doc:"Write into a file that is there instead of replacing it: for one that is mounted by itself, or whose other names must see the change; a crash in between leaves it half written"`
	Validate string `lua:"validate" doc:"Command that must accept the new file before it takes its place; %s is its name (\"nginx -t -c %s\")"`
}

// Source is the content wanted.
type Source struct {
	Size int64
	Hash string // hex SHA-256
	// Open reads it. It is called only when the content is needed.
	Open   func(ctx context.Context) (io.ReadCloser, error)
	Hidden bool // never shown
}

// Bytes is a Source held in memory.
func Bytes(data []byte, hidden bool) Source {
	return Source{
		Size: int64(len(data)), Hash: HashOf(data), Hidden: hidden,
		Open: func(context.Context) (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(data)), nil },
	}
}

// Want is one file as it should be. Check fills what Apply and Plan need.
type Want struct {
	Path   string
	Source Source
	Attrs  Attrs
	Keep   Keep
	// Follow writes through a link at Path instead of replacing it.
	Follow bool
	// Brief shows contents as size and hash, so that Check reads no Source.
	Brief bool

	final   string // Path, or what the link there leads to
	content bool   // the content differs
	fix     Fix
	old     facts.FileInfo
	backup  string
}

// Check compares the file with what is wanted.
func (w *Want) Check(ctx context.Context, v facts.Viewer) (modules.Diff, error) {
	var d modules.Diff
	var err error
	if w.Keep.Validate != "" && !strings.Contains(w.Keep.Validate, "%s") {
		return d, fmt.Errorf("validate = %q does not say where the file's name goes; write %%s there", w.Keep.Validate)
	}
	w.final = filepath.Clean(w.Path)
	if w.Follow {
		if w.final, err = Resolve(v, w.final); err != nil {
			return d, err
		}
	}
	w.old, err = v.Lstat(w.final)
	switch {
	case Missing(err):
		return w.create(ctx, v)
	case NotFolder(err):
		return d, fmt.Errorf("%s is not a folder", filepath.Dir(w.final))
	case err != nil:
		return d, err
	case w.old.Mode.IsDir():
		return d, fmt.Errorf("%s is a folder", w.final)
	case w.old.Mode&fs.ModeSymlink != 0:
		// The link itself is replaced, by a file with attributes of its own.
		d.Add(modules.Change{What: w.final, Attr: "state", Before: "link to " + w.old.Link, After: "file"})
		w.content = true
		return w.fresh(ctx, v, d)
	case !w.old.Mode.IsRegular():
		return d, fmt.Errorf("%s is a special file, which is not replaced", w.final)
	}
	if err := w.compare(ctx, v, &d); err != nil {
		return d, err
	}
	w.fix, err = w.Attrs.Check(ctx, v, w.old, &d)
	return d, err
}

// create is Check for a file that is not there.
func (w *Want) create(ctx context.Context, v facts.Viewer) (modules.Diff, error) {
	var d modules.Diff
	parent := filepath.Dir(w.final)
	st, err := v.Stat(parent)
	switch {
	case Missing(err) && !Unsure(v):
		return d, fmt.Errorf("the folder %s does not exist; make it with file_ops.file({path = %q, state = \"directory\"})", parent, parent)
	case err != nil && !Missing(err):
		return d, err
	case err == nil && !st.Mode.IsDir():
		return d, fmt.Errorf("%s is not a folder", parent)
	}
	d.Add(modules.Create(w.final, "file"))
	w.content = true
	return w.fresh(ctx, v, d)
}

// fresh completes the diff of a file that will be a new one.
func (w *Want) fresh(ctx context.Context, v facts.Viewer, d modules.Diff) (modules.Diff, error) {
	w.old = facts.FileInfo{}
	after, text, err := w.show(ctx)
	if err != nil {
		return d, err
	}
	d.Add(modules.Change{What: w.final, Attr: "content", After: after, Text: text, Hidden: w.Source.Hidden})
	mode, err := w.Attrs.Mode.Of(0o644, false)
	if err != nil {
		return d, err
	}
	if w.Attrs.Mode != "" {
		d.Add(modules.Change{What: w.final, Attr: "mode", After: modules.ModeText(mode)})
	}
	w.fix = Fix{Path: w.final, Mode: mode}
	if w.fix.UID, w.fix.GID, err = w.Attrs.ids(ctx, v); err != nil {
		return d, err
	}
	if w.Attrs.Owner != "" {
		d.Add(modules.Change{What: w.final, Attr: "owner", After: w.Attrs.Owner})
	}
	if w.Attrs.Group != "" {
		d.Add(modules.Change{What: w.final, Attr: "group", After: w.Attrs.Group})
	}
	return d, nil
}

// compare adds the difference of the contents.
func (w *Want) compare(ctx context.Context, v facts.Viewer, d *modules.Diff) error {
	oldHash := ""
	if w.old.Size == w.Source.Size {
		var err error
		if oldHash, err = Hash(v, w.final); err != nil {
			return w.unknown(err, d)
		}
		if oldHash == w.Source.Hash {
			return nil
		}
	}
	w.content = true
	c := modules.Change{What: w.final, Attr: "content", Hidden: w.Source.Hidden}
	if c.Hidden {
		d.Add(c)
		return nil
	}
	var before []byte
	if w.old.Size <= maxShown && !w.Brief {
		var err error
		if before, err = Read(v, w.final); err != nil {
			return w.unknown(err, d)
		}
	}
	var text bool
	var err error
	if c.After, text, err = w.show(ctx); err != nil {
		return err
	}
	if text && w.old.Size <= maxShown && isText(before) {
		c.Before, c.Text = string(before), true
		d.Add(c)
		return nil
	}
	if oldHash == "" {
		if oldHash, err = Hash(v, w.final); err != nil {
			return err
		}
	}
	c.Before, c.After = digest(w.old.Size, oldHash), digest(w.Source.Size, w.Source.Hash)
	d.Add(c)
	return nil
}

// unknown takes a file whose content the plan cannot know for one that differs.
func (w *Want) unknown(err error, d *modules.Diff) error {
	if !errors.Is(err, modules.ErrUnknown) {
		return err
	}
	w.content = true
	d.Add(modules.Change{What: w.final, Attr: "content", Unknown: true})
	return nil
}

// show returns the wanted content for a diff, or its digest.
func (w *Want) show(ctx context.Context) (after string, text bool, err error) {
	if w.Source.Hidden {
		return "", false, nil
	}
	if w.Brief || w.Source.Size > maxShown {
		return digest(w.Source.Size, w.Source.Hash), false, nil
	}
	data, err := w.read(ctx, maxShown)
	if err != nil {
		return "", false, err
	}
	if !isText(data) {
		return digest(w.Source.Size, w.Source.Hash), false, nil
	}
	return string(data), true, nil
}

func (w *Want) read(ctx context.Context, most int64) ([]byte, error) {
	src, err := w.Source.Open(ctx)
	if err != nil {
		return nil, err
	}
	defer src.Close()
	return io.ReadAll(io.LimitReader(src, most))
}

// Apply brings the file about.
func (w *Want) Apply(ctx context.Context, m modules.Machine) error {
	if !w.content {
		return w.fix.Apply(m)
	}
	src, err := w.Source.Open(ctx)
	if err != nil {
		return err
	}
	defer src.Close()
	o := modules.WriteOptions{Sync: true, Mode: &w.fix.Mode, InPlace: w.Keep.InPlace}
	if w.fix.UID >= 0 {
		o.UID = &w.fix.UID
	}
	if w.fix.GID >= 0 {
		o.GID = &w.fix.GID
	}
	if w.Keep.Validate != "" {
		o.Validate = w.validate(m)
	}
	if w.Keep.Backup && w.old.Mode.IsRegular() && w.old.Path != "" {
		if err := w.keep(ctx, m); err != nil {
			return fmt.Errorf("back up: %w", err)
		}
	}
	if w.old.Nlink > 1 && !w.Keep.InPlace {
		modules.CallOf(ctx).Log("warn", fmt.Sprintf("%s had %d names; the others keep the old content (in_place = true changes it under all of them)", w.final, w.old.Nlink), nil)
	}
	err = m.WriteFile(ctx, w.final, newChecked(src, w.Source, w.final), o)
	if err != nil && w.backup != "" {
		_ = m.Remove(w.backup)
		w.backup = ""
	}
	return err
}

// keep gives the old file a second name. The new one is renamed over the first,
// so the old lives on unchanged with all its attributes.
func (w *Want) keep(ctx context.Context, m modules.Machine) error {
	base := w.final + "." + time.Now().Format("20060102-150405.000000")
	name := base + "~"
	var err error
	if !w.Keep.InPlace {
		err = m.Link(w.final, name)
	}
	if err != nil || w.Keep.InPlace {
		var src io.ReadCloser
		if src, err = m.Open(w.final); err == nil {
			defer src.Close()
			mode := modules.PermBits(w.old.Mode)
			err = m.WriteFile(ctx, name, src, modules.WriteOptions{Sync: true, Mode: &mode, UID: &w.old.UID, GID: &w.old.GID})
		}
	}
	if err == nil {
		w.backup = name
	}
	return err
}

// BackupFile is the name of the backup Apply made, or empty.
func (w *Want) BackupFile() string { return w.backup }

// Rewrites reports whether Apply needs the Source, known after Check.
func (w *Want) Rewrites() bool { return w.content }

// Final is where the file really is, known after Check.
func (w *Want) Final() string { return w.final }

// Plan tells the overlay what Apply would leave.
func (w *Want) Plan(ctx context.Context, o modules.Overlay) error {
	if !w.content {
		w.fix.Plan(o)
		return nil
	}
	if w.Brief || w.Source.Size > MaxEdited {
		o.PutUnknownFile(w.final, w.fix.Mode)
		return nil
	}
	data, err := w.read(ctx, MaxEdited)
	if err != nil {
		return err
	}
	uid, gid := w.fix.UID, w.fix.GID
	if w.old.Path != "" && uid == -1 {
		uid = w.old.UID
	}
	if w.old.Path != "" && gid == -1 {
		gid = w.old.GID
	}
	o.PutFile(w.final, data, w.fix.Mode, uid, gid)
	return nil
}

// Resolve follows the links at the end of path, also to a name that is missing.
func Resolve(v facts.Viewer, path string) (string, error) {
	for range 40 {
		st, err := v.Lstat(path)
		if Missing(err) || err == nil && st.Mode&fs.ModeSymlink == 0 {
			return path, nil
		}
		if err != nil {
			return "", err
		}
		if filepath.IsAbs(st.Link) {
			path = filepath.Clean(st.Link)
		} else {
			path = filepath.Join(filepath.Dir(path), st.Link)
		}
	}
	return "", fmt.Errorf("%s: too many levels of symbolic links", path)
}

// newChecked reads src and ends with an error when it was not the content that
// was promised: a stream cut short must not become a file.
func newChecked(src io.Reader, want Source, path string) io.Reader {
	return &checked{src: src, left: want.Size, path: path}
}

type checked struct {
	src  io.Reader
	left int64
	path string
}

func (c *checked) Read(p []byte) (int, error) {
	n, err := c.src.Read(p)
	c.left -= int64(n)
	if c.left < 0 || err == io.EOF && c.left != 0 {
		if c.left < 0 {
			return 0, fmt.Errorf("the new content of %s is longer than was announced", c.path)
		}
		return 0, fmt.Errorf("the new content of %s was cut short by %d bytes", c.path, c.left)
	}
	return n, err
}
