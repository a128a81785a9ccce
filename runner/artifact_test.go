package runner

import (
	"context"
	"io"
	"strings"
	"testing"

	"github.com/sloth-runner/sloth/lua/dsl"
	"github.com/sloth-runner/sloth/modules"
)

// shelfOf keeps artifacts in memory.
type shelfOf struct{ made map[string]string } // "host/name" -> content so far

func (s *shelfOf) Again(context.Context, ArtifactFile) (bool, error) { return false, nil }
func (s *shelfOf) Piece(_ context.Context, f ArtifactFile, _ int64, data []byte) error {
	s.made[f.Host+"/"+f.Name] += string(data)
	return nil
}
func (s *shelfOf) Done(context.Context, ArtifactFile) error { return nil }
func (s *shelfOf) Find(_ context.Context, _, pattern string) (out []ArtifactFile, _ error) {
	for key, text := range s.made {
		if _, name, _ := strings.Cut(key, "/"); name == pattern {
			out = append(out, ArtifactFile{Name: name, Size: int64(len(text))})
		}
	}
	return out, nil
}
func (s *shelfOf) Open(_ context.Context, f ArtifactFile) (io.ReadCloser, error) {
	return io.NopCloser(strings.NewReader(s.made["h2/"+f.Name])), nil
}

// A host may send the artifacts of steps it was sent, and ask for what those
// consume: whatever it answers, nothing else.
func TestAHostHasNoOtherArtifacts(t *testing.T) {
	s, _ := keeper(t, "h1")
	shelf := &shelfOf{made: map[string]string{"h2/key": "secret", "h2/lib": "code"}}
	s.r.opt.Artifacts = shelf
	s.cells = map[string]*cell{"step": {node: &node{task: &dsl.Task{Name: "make", Artifacts: []string{"app", "dist/*.tgz", "out"}, Consumes: []string{"lib"}}}}}
	ctx := t.Context()
	own := modules.Kept{Step: "step"}
	if err := s.Keep(ctx, own, whole("dist/a.tgz", "a")); err != nil {
		t.Error(err)
	}
	if err := s.Keep(ctx, own, whole("out/deep/a", "a")); err != nil {
		t.Error(err)
	}
	for _, name := range []string{
		"other", "dist/a.tar", "dist/../app", "../app", "/app", "out/../../x", "out/../key", "dist/sub/../a.tgz", "", ".", "app/", "./app", "app\x00", "dist\\a.tgz",
	} {
		if err := s.Keep(ctx, own, whole(name, "x")); err == nil {
			t.Errorf("%q was kept", name)
		}
		if _, err := s.Lacks(ctx, own, []modules.FileEntry{entry(name, "x")}); err == nil {
			t.Errorf("%q was asked for", name)
		}
	}
	large := entry("app", "x")
	large.Size = maxKeptFile + 1
	for name, p := range map[string]modules.Piece{
		"before the file":  {File: entry("app", "x"), Offset: -1, Data: []byte("x")},
		"behind the file":  {File: entry("app", "x"), Offset: 1, Data: []byte("x")},
		"too large a file": {File: large},
	} {
		if err := s.Keep(ctx, own, []modules.Piece{p}); err == nil {
			t.Errorf("a part %s was kept", name)
		}
	}
	if err := s.Keep(ctx, modules.Kept{Step: "another"}, whole("app", "x")); err == nil || !strings.Contains(err.Error(), `h1 was sent no step "another"`) {
		t.Error(err)
	}
	if len(shelf.made) != 4 || shelf.made["h1/dist/a.tgz"] != "a" {
		t.Errorf("%v", shelf.made)
	}

	list, err := s.List(ctx, modules.ArtifactPath("step", ""))
	if err != nil || len(list) != 1 || list[0].Path != "lib" {
		t.Errorf("%v %v", list, err)
	}
	f, err := s.File(ctx, modules.ArtifactPath("step", "lib"))
	if err != nil {
		t.Fatal(err)
	}
	if text, err := io.ReadAll(f); err != nil || string(text) != "code" {
		t.Errorf("%q %v", text, err)
	}
	for _, name := range []string{"key", "../key", "lib/../key"} {
		if _, err := s.File(ctx, modules.ArtifactPath("step", name)); err == nil {
			t.Errorf("%q was given away", name)
		}
	}

	// A task that a host makes up has no artifacts but those it was told of.
	if err := s.r.mayName("h1", &dsl.Task{Name: "x", Consumes: []string{"key"}}); err == nil || !strings.Contains(err.Error(), `names the artifact "key", which stands in no function sent to it`) {
		t.Error(err)
	}
	s.r.sent["h1"].names["lib"] = true
	if err := s.r.mayName("h1", &dsl.Task{Name: "x", Consumes: []string{"lib"}}); err != nil {
		t.Error(err)
	}
}

func TestArtifactsNeedAKeeper(t *testing.T) {
	s, _ := keeper(t, "h1")
	if err := s.Keep(t.Context(), modules.Kept{Step: "step"}, whole("app", "x")); err == nil || err.Error() != "artifacts are not available in this command" {
		t.Error(err)
	}
}
