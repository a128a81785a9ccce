package fileops

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"path/filepath"
	"strings"

	"github.com/sloth-runner/sloth/facts"
	"github.com/sloth-runner/sloth/modules"
	"github.com/sloth-runner/sloth/modules/internal/hostfile"
	"github.com/sloth-runner/sloth/modules/spec"
)

// Copy is file_ops.copy.
type Copy struct {
	Src       string       `lua:"src" pos:"1" doc:"File on the controller, relative to the .sloth file"`
	Dest      string       `lua:"dest,required,path" pos:"2" alias:"path,name" doc:"Where it goes; a folder, or a name ending in /, gets it under its own name"`
	Content   modules.Text `lua:"content" doc:"The content itself, instead of src; a secret is never shown"`
	RemoteSrc bool         `lua:"remote_src" doc:"Src is a file on the host"`
	Follow    bool         `lua:"follow" doc:"Write through a link at dest instead of replacing it"`
	Force     *bool        `lua:"force" doc:"False leaves a file that is there as it is"`
	hostfile.Attrs
	hostfile.Keep

	want hostfile.Want
}

// Validate checks what the tags cannot say.
func (c *Copy) Validate() error {
	switch {
	case c.Src == "" && !c.Content.Given():
		return errors.New("src or content is missing: what should be in the file")
	case c.Src != "" && c.Content.Given():
		return errors.New("src and content exclude each other; give one")
	}
	return nil
}

// Check compares dest with the source.
func (c *Copy) Check(ctx context.Context, v facts.Viewer) (modules.Diff, error) {
	dest, err := destination(v, c.Dest, c.Src)
	if err != nil {
		return modules.Diff{}, err
	}
	c.want = hostfile.Want{Path: dest, Attrs: c.Attrs, Keep: c.Keep, Follow: c.Follow}
	if c.Force != nil && !*c.Force {
		if _, err := v.Lstat(dest); err == nil {
			return modules.Diff{}, nil
		}
	}
	if c.want.Source, err = c.source(ctx, v); err != nil {
		return modules.Diff{}, err
	}
	return c.want.Check(ctx, v)
}

func (c *Copy) source(ctx context.Context, v facts.Viewer) (hostfile.Source, error) {
	if c.Content.Given() {
		return hostfile.Bytes([]byte(c.Content.Reveal()), c.Content.IsSecret()), nil
	}
	if c.RemoteSrc {
		src, err := spec.HostPath(c.Src, modules.CallOf(ctx).Workdir)
		if err != nil {
			return hostfile.Source{}, err
		}
		return onHost(v, src)
	}
	return fromController(ctx, c.Src)
}

// Apply writes the file.
func (c *Copy) Apply(ctx context.Context, m modules.Machine, _ modules.Diff) error {
	return c.want.Apply(ctx, m)
}

// Plan tells the overlay.
func (c *Copy) Plan(ctx context.Context, _ modules.Diff, o modules.Overlay) error {
	return c.want.Plan(ctx, o)
}

// Result adds where the file is.
func (c *Copy) Result() map[string]any { return wrote(&c.want, "dest") }

func wrote(w *hostfile.Want, key string) map[string]any {
	out := map[string]any{key: w.Final()}
	if b := w.BackupFile(); b != "" {
		out["backup_file"] = b
	}
	return out
}

// destination completes a dest that is a folder with the name of src.
func destination(v facts.Viewer, dest, src string) (string, error) {
	st, err := v.Stat(strings.TrimSuffix(dest, "/"))
	isDir := err == nil && st.Mode.IsDir()
	if !isDir && !strings.HasSuffix(dest, "/") {
		return dest, nil
	}
	if src == "" {
		return "", fmt.Errorf("dest = %q is a folder, and content has no file name of its own", dest)
	}
	if strings.HasSuffix(dest, "/") && !isDir && err == nil {
		return "", fmt.Errorf("dest = %q is not a folder", dest)
	}
	return filepath.Join(dest, path.Base(filepath.ToSlash(src))), nil
}

// inOneGo is the size up to which a file arrives with the answer that describes
// it; asking twice would cost a round trip.
const inOneGo = 256 << 10

// fromController is a file that the controller serves.
func fromController(ctx context.Context, src string) (hostfile.Source, error) {
	services := modules.CallOf(ctx).Services
	if services == nil {
		return hostfile.Source{}, fmt.Errorf("src = %q: there is no controller here to read it from", src)
	}
	f, err := services.File(ctx, src)
	if err != nil {
		return hostfile.Source{}, err
	}
	defer f.Close()
	if f.Size <= inOneGo {
		data, err := io.ReadAll(io.LimitReader(f, f.Size+1))
		if err == nil && int64(len(data)) != f.Size {
			err = fmt.Errorf("read %s: it is not the %d bytes it was announced with", src, f.Size)
		}
		return hostfile.Bytes(data, false), err
	}
	return hostfile.Source{Size: f.Size, Hash: f.Hash, Open: opener(services, src)}, nil
}

func opener(s modules.Services, src string) func(context.Context) (io.ReadCloser, error) {
	return func(ctx context.Context) (io.ReadCloser, error) {
		f, err := s.File(ctx, src)
		if err != nil {
			return nil, err
		}
		return f, nil
	}
}

// onHost is a file that is on the host already.
func onHost(v facts.Viewer, src string) (hostfile.Source, error) {
	st, err := v.Stat(src)
	if err != nil {
		return hostfile.Source{}, notOnHost(v, src, err)
	}
	hash, err := hostfile.Hash(v, src)
	if err != nil {
		return hostfile.Source{}, err
	}
	return hostfile.Source{Size: st.Size, Hash: hash, Open: func(context.Context) (io.ReadCloser, error) { return v.Open(src) }}, nil
}

// notOnHost explains that src is missing, to those who meant the controller's.
func notOnHost(v facts.Viewer, src string, err error) error {
	if !hostfile.Missing(err) || hostfile.Unsure(v) {
		return err
	}
	return &gone{fmt.Sprintf("src = %q does not exist on the host; without remote_src it is a file of the controller", src)}
}

// gone says in its own words that something does not exist.
type gone struct{ text string }

func (g *gone) Error() string { return g.text }
func (g *gone) Unwrap() error { return fs.ErrNotExist }
