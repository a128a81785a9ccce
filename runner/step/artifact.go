package step

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"path/filepath"
	"strings"

	"github.com/sloth-runner/sloth/lua/bind"
	"github.com/sloth-runner/sloth/lua/dsl"
	"github.com/sloth-runner/sloth/modules"
	"github.com/sloth-runner/sloth/modules/spec"
)

const (
	maxArtifacts  = 10_000
	artifactPiece = 512 << 10
)

// folder is where a step's artifacts are: its workdir, or where its relative
// paths start.
func (r *run) folder() (string, error) {
	if r.dir != "" {
		return r.dir, nil
	}
	return spec.HostPath(".", r.o.Env.Call.Workdir)
}

// CheckArtifact refuses a pattern that leads out of the task's folder.
func CheckArtifact(pattern string) error {
	if _, err := path.Match(pattern, ""); err != nil || !filepath.IsLocal(filepath.FromSlash(pattern)) || path.Clean(pattern) != pattern || pattern == "." {
		return fmt.Errorf("artifact %q: write a path or a pattern below the task's folder, such as dist/*.tgz", pattern)
	}
	return nil
}

// MatchArtifact reports whether a file is one that pattern means: it matches, or
// is below a folder that does.
func MatchArtifact(pattern, name string) bool {
	parts := strings.Split(name, "/")
	n := strings.Count(pattern, "/") + 1
	if len(parts) < n {
		return false
	}
	ok, err := path.Match(pattern, strings.Join(parts[:n], "/"))
	return err == nil && ok
}

// consume puts the artifacts of other tasks into the step's folder.
func (r *run) consume(ctx context.Context) error {
	if len(r.s.Consumes) == 0 || r.o.Check {
		return nil
	}
	env := bind.EnvOf(ctx)
	call := env.Call
	dir, err := r.folder()
	if err != nil {
		return err
	}
	list, err := call.Services.List(ctx, modules.ArtifactPath(r.s.ID, ""))
	if err != nil {
		return fmt.Errorf("consumes: %w", err)
	}
	for _, e := range list {
		if err := r.place(ctx, env, dir, e); err != nil {
			return fmt.Errorf("consumes %s: %w", e.Path, err)
		}
	}
	return nil
}

// place writes one artifact, unless the file is that already.
func (r *run) place(ctx context.Context, env *bind.Env, dir string, e modules.FileEntry) error {
	if !filepath.IsLocal(filepath.FromSlash(e.Path)) {
		return errors.New("its name leads out of the task's folder")
	}
	m := env.Call.Machine
	to := filepath.Join(dir, filepath.FromSlash(e.Path))
	if st, err := m.Lstat(to); err == nil && st.Mode.IsRegular() && st.Size == e.Size {
		if sum, err := sumOf(m, to); err == nil && sum == e.Hash {
			return nil
		}
	}
	if err := dsl.EnsureDir(ctx, env, filepath.Dir(to), dsl.Pos{}); err != nil {
		return err
	}
	f, err := env.Call.Services.File(ctx, modules.ArtifactPath(r.s.ID, e.Path))
	if err != nil {
		return err
	}
	defer f.Close()
	if env.Effect != nil {
		if err := env.Effect(ctx, "consumes"); err != nil {
			return err
		}
	}
	mode := e.Mode.Perm()
	if mode == 0 {
		mode = 0o644
	}
	if err := m.WriteFile(ctx, to, f, modules.WriteOptions{Mode: &mode}); err != nil {
		return err
	}
	r.called(bind.Record{Function: "consumes", Changed: true, Diff: modules.Diff{Changes: []modules.Change{{
		What: to, Attr: "content", After: fmt.Sprintf("%d bytes, sha256 %.12s", e.Size, e.Hash),
	}}}})
	return nil
}

func sumOf(m modules.Machine, name string) (string, error) {
	f, err := m.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	sum := sha256.New()
	_, err = io.Copy(sum, f)
	return hex.EncodeToString(sum.Sum(nil)), err
}

// collect sends the step's artifacts to the controller.
func (r *run) collect(ctx context.Context) error {
	if len(r.s.Artifacts) == 0 || r.o.Check {
		return nil
	}
	call := bind.EnvOf(ctx).Call
	keeper, ok := call.Services.(modules.Keeper)
	if !ok {
		return errors.New("artifacts: there is nobody here who keeps them")
	}
	dir, err := r.folder()
	if err != nil {
		return err
	}
	var names []string
	for _, pattern := range r.s.Artifacts {
		if err := CheckArtifact(pattern); err != nil {
			return err
		}
		found, err := r.expand(ctx, dir, pattern)
		if err != nil {
			return fmt.Errorf("artifact %s: %w", pattern, err)
		}
		if len(found) == 0 {
			return fmt.Errorf("artifact %q: there is no such file in %s", pattern, dir)
		}
		names = append(names, found...)
	}
	names = unique(names)
	files := make([]modules.FileEntry, len(names))
	for i, name := range names {
		at := filepath.Join(dir, filepath.FromSlash(name))
		st, err := call.Machine.Lstat(at)
		if err != nil {
			return fmt.Errorf("artifact %s: %w", name, err)
		}
		e := modules.FileEntry{Path: name, Mode: st.Mode, Size: st.Size}
		if e.Hash, err = sumOf(call.Machine, at); err != nil {
			return fmt.Errorf("artifact %s: %w", name, err)
		}
		files[i] = e
	}
	to := modules.Kept{Step: r.s.ID}
	lacking, err := keeper.Lacks(ctx, to, files)
	if err != nil {
		return err
	}
	for _, i := range lacking.Files {
		if i < 0 || i >= len(files) {
			return fmt.Errorf("artifacts: the controller asks for file %d of %d", i, len(files))
		}
		if err := sendArtifact(ctx, call.Machine, keeper, to, filepath.Join(dir, filepath.FromSlash(files[i].Path)), files[i]); err != nil {
			return fmt.Errorf("artifact %s: %w", files[i].Path, err)
		}
	}
	for _, e := range files {
		r.out.log(r.here(), "info", fmt.Sprintf("artifact %s: %d bytes, sha256 %.12s", e.Path, e.Size, e.Hash), nil)
	}
	return nil
}

func sendArtifact(ctx context.Context, m modules.Machine, keeper modules.Keeper, to modules.Kept, at string, e modules.FileEntry) error {
	f, err := m.Open(at)
	if err != nil {
		return err
	}
	defer f.Close()
	for off := int64(0); ; {
		data := make([]byte, min(artifactPiece, e.Size-off))
		if _, err := io.ReadFull(f, data); err != nil && len(data) > 0 {
			return errors.New("it became shorter while it was sent")
		}
		end := off + int64(len(data))
		if err := keeper.Keep(ctx, to, []modules.Piece{{File: e, Offset: off, Data: data, Done: end == e.Size}}); err != nil {
			return err
		}
		if off = end; off == e.Size {
			return nil
		}
	}
}

// expand gives the files below dir that a pattern means, folders with all that
// is in them. Symbolic links are not followed.
func (r *run) expand(ctx context.Context, dir, pattern string) ([]string, error) {
	m := bind.EnvOf(ctx).Call.Machine
	at := []string{""}
	for _, part := range strings.Split(pattern, "/") {
		var next []string
		for _, d := range at {
			list, err := m.ReadDir(filepath.Join(dir, d))
			if errors.Is(err, fs.ErrNotExist) || isNoFolder(m, filepath.Join(dir, d)) {
				continue
			}
			if err != nil {
				return nil, err
			}
			for _, st := range list {
				if ok, _ := path.Match(part, st.Name); ok {
					next = append(next, path.Join(d, st.Name))
				}
			}
		}
		at = next
	}
	var out []string
	for _, name := range at {
		if err := below(ctx, m, dir, name, &out); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func isNoFolder(m modules.Machine, name string) bool {
	st, err := m.Lstat(name)
	return err == nil && !st.Mode.IsDir()
}

func below(ctx context.Context, m modules.Machine, dir, name string, out *[]string) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	st, err := m.Lstat(filepath.Join(dir, filepath.FromSlash(name)))
	if err != nil {
		return err
	}
	switch {
	case st.Mode.IsRegular():
		if *out = append(*out, name); len(*out) > maxArtifacts {
			return fmt.Errorf("these are more than %d files", maxArtifacts)
		}
	case st.Mode.IsDir():
		list, err := m.ReadDir(filepath.Join(dir, filepath.FromSlash(name)))
		if err != nil {
			return err
		}
		for _, sub := range list {
			if err := below(ctx, m, dir, path.Join(name, sub.Name), out); err != nil {
				return err
			}
		}
	}
	return nil
}
