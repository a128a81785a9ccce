package git

import (
	"context"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/sloth-runner/sloth/modules"
	"github.com/sloth-runner/sloth/modules/machine"
	"github.com/sloth-runner/sloth/modules/spec"
)

type m = map[string]any

// world is a folder with a remote repository, and an environment in which git
// knows nothing of whoever runs the tests.
type world struct {
	t      *testing.T
	dir    string
	remote string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	if _, err := exec.LookPath("git"); err != nil {
		if os.Getenv("SLOTH_MUST_RUN") == "1" {
			t.Fatal("git is not installed")
		}
		t.Skip("git is not installed")
	}
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("HOME", dir)
	t.Setenv("XDG_CONFIG_HOME", dir)
	t.Setenv("GIT_CONFIG_NOSYSTEM", "1")
	for _, name := range []string{"GIT_CONFIG_COUNT", "GIT_ASKPASS", "SSH_ASKPASS"} {
		t.Setenv(name, "")
		os.Unsetenv(name)
	}
	w := &world{t: t, dir: dir, remote: filepath.Join(dir, "remote.git")}
	w.git("init", "--quiet", "--bare", "--initial-branch=main", w.remote)
	w.git("clone", "--quiet", w.remote, "work")
	w.change("f", "one\n")
	w.git("-C", "work", "tag", "v1")
	w.git("-C", "work", "push", "--quiet", "origin", "main", "v1")
	return w
}

// git runs the program itself and gives what it prints.
func (w *world) git(args ...string) string {
	w.t.Helper()
	cmd := exec.Command("git", append([]string{"-c", "user.name=Ann", "-c", "user.email=ann@example.com"}, args...)...)
	cmd.Dir = w.dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		w.t.Fatalf("git %v: %v\n%s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

// change commits a file in the working copy.
func (w *world) change(name, text string) {
	w.t.Helper()
	w.write("work/"+name, text)
	w.git("-C", "work", "add", "-A")
	w.git("-C", "work", "commit", "--quiet", "-m", "change "+name)
}

func (w *world) write(name, text string) {
	w.t.Helper()
	if err := os.MkdirAll(filepath.Dir(filepath.Join(w.dir, name)), 0o755); err != nil {
		w.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(w.dir, name), []byte(text), 0o644); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) read(name string) string {
	b, err := os.ReadFile(filepath.Join(w.dir, name))
	if err != nil {
		return "error: " + err.Error()
	}
	return string(b)
}

func (w *world) surround() modules.Call {
	return modules.Call{Machine: machine.New(), Workdir: w.dir, Log: func(string, string, map[string]any) {}}
}

func (w *world) filled(function string, args ...any) any {
	w.t.Helper()
	for _, f := range Module().Funcs {
		if f.Name == function {
			made, err := spec.Parse(f, args, w.dir)
			if err != nil {
				w.t.Fatalf("%s%v: %v", function, args, err)
			}
			return made
		}
	}
	w.t.Fatalf("there is no %s", function)
	return nil
}

func (w *world) try(function string, args ...any) (m, error) {
	w.t.Helper()
	ctx := modules.WithCall(context.Background(), w.surround())
	var out []any
	var err error
	switch f := w.filled(function, args...).(type) {
	case modules.Tool:
		out, err = f.Run(ctx, w.surround())
	case modules.Querier:
		out, err = f.Query(ctx, machine.New())
	}
	if err != nil {
		return nil, err
	}
	r, ok := out[0].(m)
	if !ok {
		return m{"": out[0]}, nil
	}
	return r, nil
}

func (w *world) call(function string, args ...any) m {
	w.t.Helper()
	r, err := w.try(function, args...)
	if err != nil {
		w.t.Fatalf("%s%v raised: %v", function, args, err)
	}
	return r
}

func (w *world) fails(want, function string, args ...any) {
	w.t.Helper()
	r, err := w.try(function, args...)
	if err == nil || !strings.Contains(err.Error(), want) {
		w.t.Errorf("%s%v: got %v, %v, want an error with %q", function, args, r, err, want)
	}
}

func (w *world) expect(r, want m) {
	w.t.Helper()
	for k, v := range want {
		if !reflect.DeepEqual(r[k], v) {
			w.t.Errorf("%s is %#v, want %#v", k, r[k], v)
		}
	}
}

func TestClone(t *testing.T) {
	w := newWorld(t)
	first := w.git("-C", "work", "rev-parse", "HEAD")
	r := w.call("clone", w.remote, "a/clone")
	w.expect(r, m{"success": true, "changed": true, "path": w.dir + "/a/clone", "url": w.remote, "head": first, "branch": "main", "exit_code": 0})
	if w.read("a/clone/f") != "one\n" {
		t.Error(w.read("a/clone/f"))
	}
	if err := os.Mkdir(filepath.Join(w.dir, "empty"), 0o755); err != nil {
		t.Fatal(err)
	}
	w.expect(w.call("clone", m{"url": w.remote, "path": "empty", "depth": int64(1)}), m{"changed": true, "head": first})
	w.expect(w.call("clone", w.remote, "a/clone"), m{"changed": false, "head": first})
	w.expect(w.call("clone", w.remote+"/", "a/clone"), m{"changed": false})

	w.change("f", "two\n")
	w.git("-C", "work", "push", "--quiet", "origin", "main")
	second := w.git("-C", "work", "rev-parse", "HEAD")
	w.write("a/clone/untracked", "mine")
	w.expect(w.call("clone", w.remote, "a/clone"), m{"changed": true, "head": second})
	if w.read("a/clone/f") != "two\n" || w.read("a/clone/untracked") != "mine" {
		t.Error("the update went wrong:", w.read("a/clone/f"), w.read("a/clone/untracked"))
	}
	w.expect(w.call("clone", w.remote, "empty"), m{"changed": true, "head": second})

	w.expect(w.call("clone", w.remote, "a/clone", m{"branch": "v1"}), m{"changed": true, "head": first, "branch": ""})
	w.expect(w.call("clone", w.remote, "a/clone", m{"branch": "v1"}), m{"changed": false, "head": first})
	w.expect(w.call("clone", w.remote, "a/clone"), m{"changed": true, "head": second, "branch": "main"})
	w.expect(w.call("clone", w.remote, "byid", m{"branch": first}), m{"changed": true, "head": first, "branch": ""})
	w.expect(w.call("clone", w.remote, "bytag", m{"branch": "v1", "depth": int64(1)}), m{"changed": true, "head": first})

	w.git("-C", "work", "checkout", "--quiet", "-b", "feature/x")
	w.change("g", "three\n")
	w.git("-C", "work", "push", "--quiet", "origin", "feature/x")
	w.expect(w.call("clone", w.remote, "a/clone", m{"branch": "feature/x"}), m{"changed": true, "branch": "feature/x"})

	w.write("a/clone/f", "local\n")
	w.expect(w.call("clone", w.remote, "a/clone", m{"branch": "feature/x"}), m{"changed": false})
	if w.read("a/clone/f") != "local\n" {
		t.Error("a local change was lost")
	}
	w.expect(w.call("clone", w.remote, "a/clone", m{"branch": "feature/x", "clean": true}), m{"changed": true})
	if w.read("a/clone/f") != "two\n" || !strings.HasPrefix(w.read("a/clone/untracked"), "error") {
		t.Error("it was not cleaned")
	}
	w.expect(w.call("clone", w.remote, "a/clone", m{"branch": "feature/x", "clean": true}), m{"changed": false})
}

func TestCloneRefuses(t *testing.T) {
	w := newWorld(t)
	w.write("full/x", "mine")
	w.fails("full is neither empty nor a clone: remove it, or choose another folder", "clone", w.remote, "full")
	w.git("init", "--quiet", "--bare", "other.git")
	w.call("clone", w.remote, "clone")
	w.fails("clone is a clone of "+w.remote+", not of "+w.dir+"/other.git", "clone", w.dir+"/other.git", "clone")
	w.fails("git clone: repository '"+w.dir+"/none.git' does not exist", "clone", w.dir+"/none.git", "new")
	w.fails("git clone: Remote branch nope not found in upstream origin", "clone", w.remote, "new", m{"branch": "nope"})
	w.fails(`the remote has no branch, tag or commit "nope"`, "clone", w.remote, "clone", m{"branch": "nope"})
	if _, err := os.Stat(filepath.Join(w.dir, "new")); err == nil {
		t.Error("a failed clone left its folder")
	}
	// Histories that went apart are nobody's to join.
	w.write("clone/own", "x")
	w.git("-C", "clone", "add", "-A")
	w.git("-C", "clone", "commit", "--quiet", "-m", "own")
	w.change("f", "theirs\n")
	w.git("-C", "work", "push", "--quiet", "origin", "main")
	w.fails("git merge: Not possible to fast-forward", "clone", w.remote, "clone")
	for _, c := range []struct {
		args []any
		want string
	}{
		{[]any{"--upload-pack=x", "p"}, "url is no address of a repository"},
		{[]any{"http://a b", "p"}, "url cannot be read: is a character in it not escaped?"},
		{[]any{"x", "p", m{"branch": "--x"}}, `branch = "--x" cannot be a branch, tag or commit`},
		{[]any{"x"}, "path is missing: folder of the clone"},
	} {
		if _, err := spec.Parse(Module().Funcs[0], c.args, w.dir); err == nil || err.Error() != c.want {
			t.Errorf("%v: got %v", c.args, err)
		}
	}
}

func TestCloneOfAnEmptyRepository(t *testing.T) {
	w := newWorld(t)
	w.git("init", "--quiet", "--bare", "--initial-branch=main", "none.git")
	w.expect(w.call("clone", w.dir+"/none.git", "none"), m{"changed": true, "head": "", "branch": "main"})
	w.expect(w.call("clone", w.dir+"/none.git", "none"), m{"changed": false, "head": ""})
}

func TestWorkOnARepository(t *testing.T) {
	w := newWorld(t)
	repo := w.call("clone", w.remote, "clone")
	dir := w.dir + "/clone"
	first := repo["head"]

	w.expect(w.call("status", repo), m{"clean": true, "branch": "main", "head": first, "upstream": "origin/main", "ahead": 0, "behind": 0, "files": []any{}})
	w.expect(w.call("commit", repo, "nothing"), m{"changed": false, "head": first})
	w.call("ensure_clean", repo)

	w.write("clone/new file", "x")
	w.write("clone/f", "changed\n")
	s := w.call("status", dir)
	w.expect(s, m{"clean": false, "files": []any{m{"status": ".M", "path": "f"}, m{"status": "??", "path": "new file"}}})
	w.fails("clone has 2 uncommitted changes:  M f, ?? \"new file\"", "ensure_clean", repo)
	w.fails("git does not know who commits: give name and email", "commit", repo, "x")
	r := w.call("commit", m{"path": "clone", "message": "-m it's a\n\nmessage", "name": "Bob", "email": "bob@example.com"})
	w.expect(r, m{"changed": true, "success": true, "branch": "main"})
	if got := w.git("-C", "clone", "log", "-1", "--format=%an|%ae|%B"); got != "Bob|bob@example.com|-m it's a\n\nmessage" {
		t.Errorf("the commit is %q", got)
	}
	w.expect(w.call("status", dir), m{"clean": true, "ahead": 1})
	w.expect(w.call("push", repo), m{"changed": true})
	w.expect(w.call("push", m{"path": "clone"}), m{"changed": false})
	if w.git("-C", "remote.git", "rev-parse", "main") != r["head"] {
		t.Error("the push did not arrive")
	}

	w.git("-C", "work", "pull", "--quiet")
	w.change("h", "more\n")
	w.git("-C", "work", "tag", "v2")
	w.git("-C", "work", "push", "--quiet", "origin", "main", "v2")
	w.expect(w.call("pull", repo), m{"changed": true})
	w.expect(w.call("pull", "clone"), m{"changed": false})

	w.expect(w.call("checkout", repo, "v1"), m{"changed": true, "head": first, "branch": ""})
	w.expect(w.call("checkout", dir, "v1"), m{"changed": false})
	w.expect(w.call("checkout", m{"path": dir, "ref": "main"}), m{"changed": true, "branch": "main"})
	w.expect(w.call("checkout", repo, "topic", m{"create": true}), m{"changed": true, "branch": "topic"})
	w.fails(`there is no branch, tag or commit "nope" in `+dir+" or its remote", "checkout", repo, "nope")
	w.git("-C", "work", "checkout", "--quiet", "-b", "later")
	w.change("i", "later\n")
	w.git("-C", "work", "push", "--quiet", "origin", "later")
	w.expect(w.call("checkout", repo, "later"), m{"changed": true, "branch": "later"})

	// Somebody else was faster.
	w.change("i", "theirs\n")
	w.git("-C", "work", "push", "--quiet", "origin", "later")
	w.write("clone/j", "mine\n")
	w.call("commit", repo, "mine", m{"name": "Bob", "email": "b@example.com"})
	w.fails("git push: refs/heads/later:refs/heads/later [rejected] (fetch first)", "push", repo)
	w.fails("git pull: Not possible to fast-forward", "pull", repo)

	w.write("clone/j", "dirty\n")
	w.expect(w.call("ensure_clean", repo, m{"discard": true}), m{"changed": true})
	w.expect(w.call("ensure_clean", repo, m{"discard": true}), m{"changed": false})

	for path, want := range map[string]bool{"clone": true, "remote.git": true, "nowhere": false, "clone/f": false, "clone/.git/hooks": false} {
		if got := w.call("is_repo", path); got[""] != want {
			t.Errorf("is_repo(%s) is %v", path, got[""])
		}
	}
	w.fails("git status: not a git repository", "status", w.dir)
}

func TestMissingArguments(t *testing.T) {
	for function, c := range map[string]struct {
		args []any
		want string
	}{
		"checkout": {[]any{"/srv/app"}, "ref is missing: branch, tag or commit"},
		"commit":   {[]any{m{"path": "/srv/app"}}, "message is missing: message of the commit"},
		"pull":     {[]any{m{"path": "/srv/app", "rebsae": true}}, `unknown argument "rebsae"; did you mean "rebase"?`},
		"push":     {[]any{"/srv/app", m{"remote": "-x"}}, `remote = "-x" cannot be a branch, tag or commit`},
	} {
		for _, f := range Module().Funcs {
			if f.Name != function {
				continue
			}
			if _, err := spec.Parse(f, c.args, ""); err == nil || err.Error() != c.want {
				t.Errorf("%s%v: got %v", function, c.args, err)
			}
		}
	}
}

func TestPlan(t *testing.T) {
	w := newWorld(t)
	ctx := modules.WithCall(context.Background(), w.surround())
	skip := func(args ...any) string {
		t.Helper()
		reason, skip, err := w.filled("clone", args...).(modules.Skipper).Skip(ctx, machine.New())
		if err != nil || skip != (reason != "") {
			t.Errorf("%v: %q %v %v", args, reason, skip, err)
		}
		return reason
	}
	if got := skip(w.remote, "clone"); got != "" {
		t.Errorf("a missing clone is skipped: %s", got)
	}
	w.call("clone", w.remote, "clone")
	if got := skip(w.remote, "clone"); got != w.dir+"/clone is up to date" {
		t.Errorf("got %q", got)
	}
	for _, args := range [][]any{{w.remote, "clone", m{"branch": "v1"}}, {w.remote, "clone", m{"clean": true}}, {w.dir, "clone"}} {
		if got := skip(args...); got != "" {
			t.Errorf("%v is skipped: %s", args, got)
		}
	}
	w.change("f", "two\n")
	w.git("-C", "work", "push", "--quiet", "origin", "main")
	if got := skip(w.remote, "clone"); got != "" {
		t.Errorf("an old clone is skipped: %s", got)
	}
	c := w.filled("clone", "https://u:secret@example.com/x.git", "p").(*clone)
	if got := c.String(); got != "clone https://u@example.com/x.git into "+w.dir+"/p" {
		t.Error(got)
	}
	w.expect(c.Result(), m{"path": w.dir + "/p", "url": "https://u@example.com/x.git"})
}

// TestPasswords clones over http with a password, and looks for it in the command
// lines and environments of every git, in the clone and in what is left behind.
func TestPasswords(t *testing.T) {
	w := newWorld(t)
	backend := w.git("--exec-path") + "/git-http-backend"
	if _, err := os.Stat(backend); err != nil {
		if os.Getenv("SLOTH_MUST_RUN") == "1" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	handler := &cgi.Handler{Path: backend, Env: []string{"GIT_PROJECT_ROOT=" + w.dir, "GIT_HTTP_EXPORT_ALL=1"}}
	s := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if user, password, ok := r.BasicAuth(); !ok || user != "bot" || password != "s3cret/&'x" {
			rw.Header().Set("WWW-Authenticate", `Basic realm="git"`)
			http.Error(rw, "who are you?", http.StatusUnauthorized)
			return
		}
		handler.ServeHTTP(rw, r)
	}))
	defer s.Close()
	url := s.URL + "/remote.git"
	real, err := exec.LookPath("git")
	if err != nil {
		t.Fatal(err)
	}
	w.write("bin/git", "#!/bin/sh\n{ printf '%s\\n' \"$@\"; env; } >>"+w.dir+"/log\nexec "+real+" \"$@\"\n")
	if err := os.Chmod(w.dir+"/bin/git", 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", w.dir+"/bin:"+os.Getenv("PATH"))
	t.Setenv("TMPDIR", t.TempDir())

	w.fails("git clone: could not read Username for", "clone", url, "none")
	w.fails("git clone: Authentication failed for", "clone", url, "none", m{"username": "bot", "password": modules.NewSecret("wrong")})
	args := m{"username": "bot", "password": modules.NewSecret("s3cret/&'x")}
	w.expect(w.call("clone", url, "one", args), m{"changed": true, "url": url})
	w.expect(w.call("clone", url, "one", args), m{"changed": false})
	inURL := strings.Replace(url, "://", "://bot:s3cret%2F&'x@", 1)
	w.expect(w.call("clone", inURL, "two"), m{"changed": true, "url": strings.Replace(url, "://", "://bot@", 1)})
	w.expect(w.call("clone", inURL, "one"), m{"changed": false})
	for _, file := range []string{"log", "one/.git/config", "two/.git/config"} {
		if text := w.read(file); text == "" || strings.HasPrefix(text, "error") || strings.Contains(text, "s3cret") {
			t.Errorf("%s holds the password, or nothing", file)
		}
	}
	for _, dir := range []string{"/dev/shm", os.Getenv("TMPDIR")} {
		if left, _ := filepath.Glob(filepath.Join(dir, "sloth-private-*")); len(left) > 0 {
			t.Errorf("left behind: %v", left)
		}
	}
}

func FuzzStatus(f *testing.F) {
	f.Add("# branch.oid abc\x00# branch.head main\x00# branch.ab +1 -2\x001 .M N... 1 2 3 a b f\x002 R. N... 1 2 3 a b R100 new\x00old\x00? x\x00")
	f.Fuzz(func(t *testing.T, text string) {
		out := parseStatus(text)
		if out["clean"] != (len(out["files"].([]any)) == 0) {
			t.Error(out)
		}
	})
}
