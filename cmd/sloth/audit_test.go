package main

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestTheAuditLogHasNoValues(t *testing.T) {
	for in, want := range map[string]string{
		"run -f x.sloth --param pw=a --param=pw=b":         "run -f x.sloth --param pw=… --param=pw=…",
		"apply -e pw=a -epw=b --extra-vars @vars.yaml x":   "apply -e pw=… -epw=… --extra-vars @vars.yaml x",
		`apply -e {"pw":"a=b"} x`:                          "apply -e … x",
		"exec all -m user.set name=ann password=x -a pw=b": "exec all -m user.set name=… password=… -a pw=…",
		"exec all LANG=C date":                             "exec all LANG=C date",
	} {
		if got := strings.Join(withoutValues(strings.Fields(in)), " "); got != want {
			t.Errorf("%s: %s", in, got)
		}
	}
	args := []string{"run", "--param", "a=b"}
	if withoutValues(args); !slices.Equal(args, []string{"run", "--param", "a=b"}) {
		t.Error("the arguments themselves were changed")
	}
}

func TestGitOf(t *testing.T) {
	const one, two = "1111111111111111111111111111111111111111", "2222222222222222222222222222222222222222"
	for name, c := range map[string]struct {
		files        map[string]string
		in           string
		hash, branch string
	}{
		"no repository":   {files: map[string]string{"x": ""}},
		"a branch":        {files: map[string]string{".git/HEAD": "ref: refs/heads/main\n", ".git/refs/heads/main": one + "\n"}, hash: one, branch: "main"},
		"below it":        {files: map[string]string{".git/HEAD": "ref: refs/heads/a/b\n", ".git/refs/heads/a/b": one, "sub/dir/x": ""}, in: "sub/dir", hash: one, branch: "a/b"},
		"detached":        {files: map[string]string{".git/HEAD": two + "\n"}, hash: two},
		"packed":          {files: map[string]string{".git/HEAD": "ref: refs/heads/main", ".git/packed-refs": "# pack-refs\n" + one + " refs/heads/other\n" + two + " refs/heads/main\n"}, hash: two, branch: "main"},
		"a worktree":      {files: map[string]string{"wt/.git": "gitdir: ../repo/.git/worktrees/wt\n", "repo/.git/worktrees/wt/HEAD": "ref: refs/heads/w", "repo/.git/worktrees/wt/commondir": "../..", "repo/.git/refs/heads/w": one}, in: "wt", hash: one, branch: "w"},
		"no commit yet":   {files: map[string]string{".git/HEAD": "ref: refs/heads/main"}},
		"a name outwards": {files: map[string]string{".git/HEAD": "ref: ../../hash", "hash": one}},
		"no hash":         {files: map[string]string{".git/HEAD": "whatever"}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for file, text := range c.files {
				path := filepath.Join(dir, file)
				if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o600)); err != nil {
					t.Fatal(err)
				}
			}
			g := gitOf(filepath.Join(dir, c.in))
			switch {
			case c.hash == "" && g != nil:
				t.Errorf("%+v", g)
			case c.hash != "" && (g == nil || g.Commit != c.hash || g.Branch != c.branch):
				t.Errorf("%+v", g)
			}
		})
	}
}
