package main

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sloth-runner/sloth/runner"
	"github.com/sloth-runner/sloth/state/artifact"
)

// How many versions of an artifact are kept, how long, and how much in all.
const (
	keepVersions    = 20
	keepArtifactFor = 90 * 24 * time.Hour
	keepArtifacts   = 50 << 30
)

func openArtifacts() (*artifact.Store, error) {
	home, err := stateHome()
	if err != nil {
		return nil, err
	}
	return artifact.Open(filepath.Join(home, "artifacts"))
}

// runArtifacts are those of one run. The folder is opened at first use.
type runArtifacts struct {
	run, stack string

	once  sync.Once
	store *artifact.Store
	err   error
	added atomic.Bool
}

var _ runner.Artifacts = (*runArtifacts)(nil)

func (r *runArtifacts) open() (*artifact.Store, error) {
	r.once.Do(func() { r.store, r.err = openArtifacts() })
	return r.store, r.err
}

func (r *runArtifacts) of(f runner.ArtifactFile) artifact.Artifact {
	return artifact.Artifact{Name: f.Name, Stack: r.stack, Task: f.Task, Host: f.Host, Run: r.run, Size: f.Size, Hash: f.Hash, Mode: uint32(f.Mode.Perm())}
}

// Again looks at the last version that the same host made.
func (r *runArtifacts) Again(ctx context.Context, f runner.ArtifactFile) (bool, error) {
	s, err := r.open()
	if err != nil {
		return false, err
	}
	list, err := s.Versions(r.of(f))
	if err != nil || len(list) == 0 {
		return false, err
	}
	last := list[len(list)-1]
	if last.Hash != f.Hash || last.Size != f.Size {
		return false, nil
	}
	if last.Run == r.run && last.Task == f.Task {
		return true, nil // asked once more
	}
	if _, err := s.Again(ctx, r.of(f), last); err != nil {
		return false, nil // its content is gone: it is sent
	}
	r.added.Store(true)
	return true, nil
}

// Piece takes a part of a file.
func (r *runArtifacts) Piece(_ context.Context, f runner.ArtifactFile, offset int64, data []byte) error {
	s, err := r.open()
	if err != nil {
		return err
	}
	return s.Piece(r.of(f), offset, data)
}

// Done takes a file whose parts are all there.
func (r *runArtifacts) Done(ctx context.Context, f runner.ArtifactFile) error {
	s, err := r.open()
	if err != nil {
		return err
	}
	if list, err := s.Versions(r.of(f)); err == nil && len(list) > 0 {
		if last := list[len(list)-1]; last.Run == r.run && last.Hash == f.Hash && last.Task == f.Task {
			return nil // told once more, after a cut
		}
	}
	r.added.Store(true)
	_, err = s.Done(ctx, r.of(f))
	return err
}

// Find gives one file of each name: of this run before those of earlier ones,
// then of the same host before those of others, then the newest.
func (r *runArtifacts) Find(_ context.Context, host, pattern string) ([]runner.ArtifactFile, error) {
	s, err := r.open()
	if err != nil {
		return nil, err
	}
	list, err := s.List(artifact.Filter{Stack: r.stack})
	if err != nil {
		return nil, err
	}
	rank := func(a artifact.Artifact) int {
		n := 0
		if a.Run == r.run {
			n += 2
		}
		if a.Host == host {
			n++
		}
		return n
	}
	best := map[string]artifact.Artifact{}
	for _, a := range list { // the newest last
		if !artifactNamed(pattern, a.Name) {
			continue
		}
		if was, ok := best[a.Name]; !ok || rank(a) >= rank(was) {
			best[a.Name] = a
		}
	}
	out := make([]runner.ArtifactFile, 0, len(best))
	for _, name := range sortedKeys(best) {
		a := best[name]
		out = append(out, runner.ArtifactFile{Task: a.Task, Host: a.Host, Name: a.Name, Size: a.Size, Hash: a.Hash, Mode: fs.FileMode(a.Mode), Ref: a})
	}
	return out, nil
}

// Open gives the content of what Find gave.
func (r *runArtifacts) Open(_ context.Context, f runner.ArtifactFile) (io.ReadCloser, error) {
	s, err := r.open()
	if err != nil {
		return nil, err
	}
	a, ok := f.Ref.(artifact.Artifact)
	if !ok {
		return nil, fmt.Errorf("artifact %s is of nobody's", f.Name)
	}
	return s.Open(a)
}

// close forgets old versions, where there are new ones.
func (r *runArtifacts) close(ctx context.Context) error {
	r.once.Do(func() {})
	if r.store == nil {
		return nil
	}
	defer r.store.Close()
	if !r.added.Load() {
		return nil
	}
	_, _, err := r.store.Prune(ctx, artifact.Keep{Versions: keepVersions, Since: time.Now().Add(-keepArtifactFor), Size: keepArtifacts})
	return err
}
