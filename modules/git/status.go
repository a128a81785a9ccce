package git

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"strings"

	"github.com/sloth-runner/sloth/facts"
	"github.com/sloth-runner/sloth/modules"
	"github.com/sloth-runner/sloth/modules/internal/tool"
)

type status struct{ repoArg }

func newStatus() any { return &status{} }

// Validate reads named arguments.
func (s *status) Validate() error { return tool.Named(s, s.Repo, newStatus) }

// Query asks git, which writes nothing for it.
func (s *status) Query(ctx context.Context, v facts.Viewer) ([]any, error) {
	dir, err := s.dir(modules.CallOf(ctx).Workdir)
	if err != nil {
		return nil, err
	}
	a, err := v.Query(ctx, "git", "--no-optional-locks", "-C", dir, "status", "--porcelain=v2", "--branch", "-z", "--untracked-files=all")
	if err != nil {
		return nil, err
	}
	if a.ExitCode != 0 {
		return nil, fmt.Errorf("git status: %s", reason(a))
	}
	out := parseStatus(string(a.Stdout))
	out["path"] = dir
	return []any{out}, nil
}

// parseStatus reads "git status --porcelain=v2 --branch -z".
func parseStatus(text string) map[string]any {
	out := map[string]any{"branch": "", "head": "", "ahead": 0, "behind": 0}
	files := []any{}
	file := func(status, name string) { files = append(files, map[string]any{"status": status, "path": name}) }
	entries := strings.Split(text, "\x00")
	for i := 0; i < len(entries); i++ {
		e := entries[i]
		if h, ok := strings.CutPrefix(e, "# branch."); ok {
			header(out, h)
			continue
		}
		switch f := strings.SplitN(e, " ", 2); f[0] {
		case "1": // 1 XY sub mH mI mW hH hI path
			if f := strings.SplitN(e, " ", 9); len(f) == 9 {
				file(f[1], f[8])
			}
		case "2": // the same with a score, and the old path behind a zero
			if f := strings.SplitN(e, " ", 10); len(f) == 10 {
				file(f[1], f[9])
			}
			i++
		case "u": // u XY sub m1 m2 m3 mW h1 h2 h3 path
			if f := strings.SplitN(e, " ", 11); len(f) == 11 {
				file(f[1], f[10])
			}
		case "?":
			file("??", f[1])
		}
	}
	out["files"], out["clean"] = files, len(files) == 0
	return out
}

func header(out map[string]any, h string) {
	key, value, _ := strings.Cut(h, " ")
	switch key {
	case "oid":
		if value != "(initial)" {
			out["head"] = value
		}
	case "head":
		if value != "(detached)" {
			out["branch"] = value
		}
	case "upstream":
		out["upstream"] = value
	case "ab":
		ahead, behind, _ := strings.Cut(value, " ")
		out["ahead"], _ = strconv.Atoi(strings.TrimPrefix(ahead, "+"))
		out["behind"], _ = strconv.Atoi(strings.TrimPrefix(behind, "-"))
	}
}

type isRepo struct {
	Path string `lua:"path,required,primary,path" pos:"1" doc:"Folder to look at"`
}

// Query looks at the files, so it needs no git.
func (r *isRepo) Query(_ context.Context, v facts.Viewer) ([]any, error) {
	for _, heads := range []string{path.Join(r.Path, ".git"), path.Join(r.Path, "HEAD")} {
		_, err := v.Lstat(heads)
		switch {
		case err == nil && path.Base(heads) == ".git":
			return []any{true}, nil
		case err == nil:
			// A bare repository is the folder itself.
			st, err := v.Stat(path.Join(r.Path, "objects"))
			return []any{err == nil && st.Mode.IsDir()}, nil
		case !errors.Is(err, fs.ErrNotExist) && !strings.Contains(err.Error(), "not a directory"):
			return nil, err
		}
	}
	return []any{false}, nil
}
