package runner

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"path/filepath"

	"github.com/sloth-runner/sloth/lua/dsl"
	"github.com/sloth-runner/sloth/modules"
	"github.com/sloth-runner/sloth/runner/step"
)

// ArtifactFile is a file that a task made.
type ArtifactFile struct {
	Task, Host string
	Name       string // below the task's folder, with slashes
	Size       int64
	Hash       string // hex SHA-256
	Mode       fs.FileMode
	// Ref is what Find's maker knows it by.
	Ref any
}

// Artifacts keeps files that tasks make, and gives them to other tasks. Names
// and contents come from hosts; names lead out of no folder.
type Artifacts interface {
	// Again notes a file whose content was the same in its last version, and
	// reports whether that is so.
	Again(ctx context.Context, f ArtifactFile) (bool, error)
	// Piece takes a part of a file, Done the file once all parts are there.
	Piece(ctx context.Context, f ArtifactFile, offset int64, data []byte) error
	Done(ctx context.Context, f ArtifactFile) error
	// Find gives what a task on host gets for a name or pattern, one file of each
	// name.
	Find(ctx context.Context, host, pattern string) ([]ArtifactFile, error)
	Open(ctx context.Context, f ArtifactFile) (io.ReadCloser, error)
}

// stepTask is the task of a step that the caller was sent.
func (s *services) stepTask(id string) (*dsl.Task, error) {
	if s.r.opt.Artifacts == nil {
		return nil, errors.New("artifacts are not available in this command")
	}
	c := s.cells[id]
	if c == nil {
		return nil, fmt.Errorf("artifacts: %s was sent no step %.60q", s.host, id)
	}
	t := c.node.task
	s.r.mu.Lock()
	defer s.r.mu.Unlock()
	// Of a step that an earlier controller sent, the name alone is written down.
	if known := s.r.byName[t.Name]; known != nil && len(t.Artifacts)+len(t.Consumes) == 0 {
		t = known
	}
	return t, nil
}

// made is what a host announces, once it is known to be one of its task's.
func (s *services) made(to modules.Kept, e modules.FileEntry) (ArtifactFile, error) {
	t, err := s.stepTask(to.Step)
	if err != nil {
		return ArtifactFile{}, err
	}
	ok := false
	for _, pattern := range t.Artifacts {
		ok = ok || step.MatchArtifact(pattern, e.Path)
	}
	switch {
	case !ok || !filepath.IsLocal(filepath.FromSlash(e.Path)) || path.Clean(e.Path) != e.Path:
		return ArtifactFile{}, fmt.Errorf("%.200q is no artifact of task %s", e.Path, t.Name)
	case e.Size < 0 || e.Size > maxKeptFile:
		return ArtifactFile{}, fmt.Errorf("artifact %.200s has %d bytes; at most %d GB are taken", e.Path, e.Size, maxKeptFile>>30)
	}
	return ArtifactFile{Task: t.Name, Host: s.host, Name: e.Path, Size: e.Size, Hash: e.Hash, Mode: e.Mode.Perm()}, nil
}

// lacksArtifacts tells which files have to be sent.
func (s *services) lacksArtifacts(ctx context.Context, to modules.Kept, files []modules.FileEntry) (modules.Lacking, error) {
	var out modules.Lacking
	for i, e := range files {
		f, err := s.made(to, e)
		if err != nil {
			return out, err
		}
		same, err := s.r.opt.Artifacts.Again(ctx, f)
		if err != nil {
			return out, err
		}
		if !same {
			out.Files = append(out.Files, i)
		}
	}
	return out, nil
}

func (s *services) keepArtifacts(ctx context.Context, to modules.Kept, pieces []modules.Piece) error {
	for _, p := range pieces {
		f, err := s.made(to, p.File)
		if err != nil {
			return err
		}
		if p.Offset < 0 || p.Offset > f.Size-int64(len(p.Data)) {
			return fmt.Errorf("artifact %.200s: a part at %d is not within its %d bytes", f.Name, p.Offset, f.Size)
		}
		count := 0
		if p.Offset == 0 {
			count = 1
		}
		if err := s.r.root.keeping.spend(s.host, int64(len(p.Data)), count); err != nil {
			return err
		}
		if err := s.r.opt.Artifacts.Piece(ctx, f, p.Offset, p.Data); err != nil {
			return err
		}
		if p.Done {
			if err := s.r.opt.Artifacts.Done(ctx, f); err != nil {
				return err
			}
		}
	}
	return nil
}

// consumed is what a step gets of other tasks.
func (s *services) consumed(ctx context.Context, id string) ([]ArtifactFile, error) {
	t, err := s.stepTask(id)
	if err != nil {
		return nil, err
	}
	var out []ArtifactFile
	have := map[string]bool{}
	for _, pattern := range t.Consumes {
		found, err := s.r.opt.Artifacts.Find(ctx, s.host, pattern)
		if err != nil {
			return nil, err
		}
		if len(found) == 0 {
			return nil, fmt.Errorf("no task of this stack has made an artifact %q", pattern)
		}
		for _, f := range found {
			if !have[f.Name] {
				have[f.Name] = true
				out = append(out, f)
			}
		}
	}
	return out, nil
}

// listArtifacts and openArtifact serve what modules.ArtifactPath names.
func (s *services) listArtifacts(ctx context.Context, id string) ([]modules.FileEntry, error) {
	files, err := s.consumed(ctx, id)
	if err != nil {
		return nil, err
	}
	out := make([]modules.FileEntry, len(files))
	for i, f := range files {
		out[i] = modules.FileEntry{Path: f.Name, Mode: f.Mode, Size: f.Size, Hash: f.Hash}
	}
	return out, nil
}

func (s *services) openArtifact(ctx context.Context, id, name string) (modules.File, error) {
	files, err := s.consumed(ctx, id)
	if err != nil {
		return modules.File{}, err
	}
	for _, f := range files {
		if f.Name != name {
			continue
		}
		r, err := s.r.opt.Artifacts.Open(ctx, f)
		if err != nil {
			return modules.File{}, err
		}
		return modules.File{ReadCloser: r, Size: f.Size, Hash: f.Hash, Mode: f.Mode}, nil
	}
	return modules.File{}, fmt.Errorf("%.200q is no artifact that this task consumes", name)
}

// mayName refuses artifacts of a task that a host made up.
func (r *Runner) mayName(host string, t *dsl.Task) error {
	for _, name := range append(append([]string{}, t.Artifacts...), t.Consumes...) {
		if !r.sentName(host, name) {
			return fmt.Errorf("task %q, which %s asks for, names the artifact %.100q, which stands in no function sent to it", t.Name, host, name)
		}
	}
	return nil
}

// checkArtifacts finds names that no artifact can have before anything runs,
// and what cannot be kept.
func (r *Runner) checkArtifacts(tasks []*dsl.Task) error {
	var problems []error
	for _, t := range tasks {
		for _, name := range append(append([]string{}, t.Artifacts...), t.Consumes...) {
			if err := step.CheckArtifact(name); err != nil {
				problems = append(problems, fmt.Errorf("%s:%d: task %q: %w", t.Pos.File, t.Pos.Line, t.Name, err))
			}
		}
	}
	return joinErrors(problems)
}
