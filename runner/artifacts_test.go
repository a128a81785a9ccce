package runner_test

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sloth-runner/sloth/connection/sshdtest"
	"github.com/sloth-runner/sloth/runner"
	"github.com/sloth-runner/sloth/state/artifact"
)

// keptArtifacts keeps them in a folder; the newest of a name is found.
type keptArtifacts struct{ s *artifact.Store }

func (k keptArtifacts) of(f runner.ArtifactFile) artifact.Artifact {
	return artifact.Artifact{Name: f.Name, Host: f.Host, Task: f.Task, Hash: f.Hash, Size: f.Size, Mode: uint32(f.Mode)}
}
func (k keptArtifacts) Again(context.Context, runner.ArtifactFile) (bool, error) { return false, nil }
func (k keptArtifacts) Piece(_ context.Context, f runner.ArtifactFile, at int64, data []byte) error {
	return k.s.Piece(k.of(f), at, data)
}
func (k keptArtifacts) Done(ctx context.Context, f runner.ArtifactFile) error {
	_, err := k.s.Done(ctx, k.of(f))
	return err
}
func (k keptArtifacts) Find(_ context.Context, _, pattern string) (out []runner.ArtifactFile, _ error) {
	list, err := k.s.List(artifact.Filter{Name: pattern})
	for _, a := range list {
		out = append(out, runner.ArtifactFile{Name: a.Name, Host: a.Host, Size: a.Size, Hash: a.Hash, Mode: os.FileMode(a.Mode), Ref: a})
	}
	return out, err
}
func (k keptArtifacts) Open(_ context.Context, f runner.ArtifactFile) (io.ReadCloser, error) {
	return k.s.Open(f.Ref.(artifact.Artifact))
}

// Over SSH an artifact of several pieces goes from one host to another.
func TestArtifactsTravel(t *testing.T) {
	f := newFleet(t, 2, sshdtest.Options{})
	s, err := artifact.Open(filepath.Join(t.TempDir(), "artifacts"))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	large := bytes.Repeat([]byte("a line of a large file\n"), 100_000)
	if err := os.WriteFile(filepath.Join(f.servers["h1"].Home, "app"), large, 0o755); err != nil {
		t.Fatal(err)
	}
	at := strings.NewReplacer("ONE", f.servers["h1"].Home, "TWO", f.servers["h2"].Home)
	f.run(at.Replace(`
local make = task("make"):delegate_to("h1"):workdir("ONE"):artifacts({"app"}):command(function() return true end):build()
local use = task("use"):delegate_to("h2"):workdir("TWO/in"):depends_on("make"):consumes({"app"}):command(function() return true end):build()
workflow.define("w", {tasks = {make, use}})`), func(o *runner.Options) { o.Artifacts = keptArtifacts{s} }).want(0)
	if text, err := os.ReadFile(filepath.Join(f.servers["h2"].Home, "in/app")); err != nil || !bytes.Equal(text, large) {
		t.Errorf("%d bytes arrived, %v", len(text), err)
	}
	list, err := s.List(artifact.Filter{})
	if err != nil || len(list) != 1 || list[0].Host != "h1" || list[0].Size != int64(len(large)) {
		t.Errorf("%+v %v", list, err)
	}

	// What a step cannot make is its failure, and nothing is kept.
	r := f.run(at.Replace(`workflow.define("w", {tasks = {task("t"):delegate_to("h1"):workdir("ONE"):artifacts({"missing"}):command(function() return true end):build()}})`),
		func(o *runner.Options) { o.Artifacts = keptArtifacts{s} }).want(2)
	if d := r.done("t", "h1"); !strings.Contains(d.Message, `artifact "missing": there is no such file in `) {
		t.Errorf("%+v", d)
	}
}
