package git

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/sloth-runner/sloth/facts"
	"github.com/sloth-runner/sloth/modules"
	"github.com/sloth-runner/sloth/modules/internal/tool"
)

type clone struct {
	URL        modules.Text `lua:"url,required,primary" alias:"repo" pos:"1" doc:"Address of the repository"`
	Path       string       `lua:"path,required,path" alias:"dest" pos:"2" doc:"Folder of the clone"`
	Branch     string       `lua:"branch" alias:"ref,tag,version" doc:"Branch, tag or commit to have; by default the branch that is checked out, at first the remote's own"`
	Depth      int          `lua:"depth" doc:"Fetches only so many commits when it clones"`
	Clean      bool         `lua:"clean" doc:"Throws away local changes and untracked files of a clone that is there"`
	Submodules bool         `lua:"submodules" alias:"recursive" doc:"Brings submodules along"`
	access
}

func newClone() any { return &clone{} }

// Validate checks what git would misunderstand.
func (c *clone) Validate() error {
	if c.Depth < 0 {
		return fmt.Errorf("depth = %d: it cannot be negative", c.Depth)
	}
	if _, err := split(c.URL); err != nil {
		return err
	}
	return ref("branch", c.Branch)
}

// PlanSafe is false: it writes files.
func (c *clone) PlanSafe() bool { return false }

// String is what it does, without passwords.
func (c *clone) String() string {
	from := modules.Hidden
	if a, err := split(c.URL); err == nil && !c.URL.IsSecret() {
		from = a.url
	}
	return "clone " + from + " into " + c.Path
}

// Result is what a plan knows of the clone already.
func (c *clone) Result() map[string]any {
	out := map[string]any{"path": c.Path, "branch": c.Branch}
	if a, err := split(c.URL); err == nil && !c.URL.IsSecret() {
		out["url"] = a.url
	}
	return out
}

// Skip tells a plan that the clone is there and has what the remote has. Where
// the remote needs a password it does not ask.
func (c *clone) Skip(ctx context.Context, v facts.Viewer) (string, bool, error) {
	a, err := split(c.URL)
	if err != nil || c.Clean || !c.Password.Empty() || !a.password.Empty() {
		return "", false, err
	}
	if _, err := v.Lstat(path.Join(c.Path, ".git")); err != nil {
		return "", false, nil
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	ask := func(args ...string) string {
		argv := append([]string{"env", "GIT_TERMINAL_PROMPT=0", "GIT_SSH_COMMAND=ssh -o BatchMode=yes", "git", "-C", c.Path}, args...)
		answer, err := v.Query(ctx, argv...)
		if err != nil || answer.ExitCode != 0 {
			return ""
		}
		return strings.TrimSpace(string(answer.Stdout))
	}
	if !same(ask("config", "--get", "remote.origin.url"), a.url) {
		return "", false, nil
	}
	branch := ask("symbolic-ref", "--short", "--quiet", "HEAD")
	if branch == "" || c.Branch != "" && c.Branch != branch {
		return "", false, nil
	}
	head := ask("rev-parse", "--verify", "--quiet", "HEAD")
	there, _, _ := strings.Cut(ask("ls-remote", "origin", "refs/heads/"+branch), "\t")
	if head == "" || head != there {
		return "", false, nil
	}
	return c.Path + " is up to date", true, nil
}

// Run clones, or updates the clone that is there.
func (c *clone) Run(ctx context.Context, call modules.Call) ([]any, error) {
	ctx, cancel := tool.Within(ctx, c.Timeout)
	defer cancel()
	from, err := split(c.URL)
	if err != nil {
		return nil, err
	}
	a := c.access
	if a.Password.Empty() {
		a.Username, a.Password = from.username, from.password
	}
	there, err := c.look(call.Machine)
	if err != nil {
		return nil, err
	}
	w, err := a.open(ctx, call, "")
	if err != nil {
		return nil, err
	}
	defer w.close()
	changed := true
	if there {
		w.dir = c.Path
		changed, err = c.update(ctx, w, from.url)
	} else {
		err = c.fresh(ctx, w, from.url)
	}
	if err != nil {
		return nil, err
	}
	if c.Submodules {
		if err := w.run(ctx, "submodule", "update", "--init", "--recursive"); err != nil {
			return nil, err
		}
	}
	more := map[string]any{}
	if !c.URL.IsSecret() {
		more["url"] = from.url
	}
	return w.result(ctx, changed, more)
}

// look reports whether there is a clone already; anything but a clone or an
// empty folder is an error.
func (c *clone) look(v facts.Viewer) (bool, error) {
	if v == nil {
		return false, errors.New("there is no machine to clone on")
	}
	if _, err := v.Lstat(path.Join(c.Path, ".git")); err == nil {
		return true, nil
	}
	entries, err := v.ReadDir(c.Path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	case err != nil:
		return false, err
	case len(entries) > 0:
		return false, fmt.Errorf("%s is neither empty nor a clone: remove it, or choose another folder", c.Path)
	}
	return false, nil
}

var commitID = regexp.MustCompile(`^[0-9a-f]{7,64}$`)

func (c *clone) fresh(ctx context.Context, w *work, from string) error {
	args := []string{"clone"}
	byID := commitID.MatchString(c.Branch)
	if c.Branch != "" && !byID {
		args = append(args, "--branch", c.Branch)
	}
	if c.Depth > 0 && !byID {
		args = append(args, "--depth", strconv.Itoa(c.Depth))
	}
	if err := w.run(ctx, append(args, "--", from, c.Path)...); err != nil {
		return err
	}
	w.dir = c.Path
	if byID {
		_, err := c.reach(ctx, w)
		return err
	}
	return nil
}

func (c *clone) update(ctx context.Context, w *work, from string) (changed bool, err error) {
	origin, err := w.ask(ctx, "config", "--get", "remote.origin.url")
	if err != nil {
		return false, err
	}
	if !same(origin, from) {
		if origin == "" {
			origin = "nothing (or git refuses to look into it)"
		}
		return false, fmt.Errorf("%s is a clone of %s, not of %s: remove it, or choose another folder", c.Path, origin, from)
	}
	before, err := w.head(ctx)
	if err != nil {
		return false, err
	}
	if c.Clean {
		if changed, err = w.discard(ctx); err != nil {
			return false, err
		}
	}
	if err := w.run(ctx, "fetch", "--tags", "--force", "origin"); err != nil {
		return false, err
	}
	moved, err := c.reach(ctx, w)
	if err != nil {
		return false, err
	}
	after, err := w.head(ctx)
	return changed || moved || after != before, err
}

// reach checks out what is wanted and fast-forwards it to what was fetched.
func (c *clone) reach(ctx context.Context, w *work) (moved bool, err error) {
	current, err := w.branch(ctx)
	if err != nil {
		return false, err
	}
	want := c.Branch
	if want == "" {
		want = current
	}
	if want == "" {
		// A commit is checked out and no branch is asked for: the remote's own.
		if want, err = w.ask(ctx, "symbolic-ref", "--short", "--quiet", "refs/remotes/origin/HEAD"); err != nil || want == "" {
			return false, err
		}
		want = strings.TrimPrefix(want, "origin/")
	}
	remote, err := w.ask(ctx, "rev-parse", "--verify", "--quiet", "refs/remotes/origin/"+want+"^{commit}")
	if err != nil {
		return false, err
	}
	if remote != "" {
		if current != want {
			if err := w.run(ctx, "checkout", "--quiet", want, "--"); err != nil {
				return false, err
			}
			moved = true
		}
		return moved, w.run(ctx, "merge", "--ff-only", "--quiet", "refs/remotes/origin/"+want)
	}
	commit, err := w.ask(ctx, "rev-parse", "--verify", "--quiet", want+"^{commit}")
	if err != nil {
		return false, err
	}
	if commit == "" {
		if c.Branch == "" {
			return false, nil // an empty repository, or a branch of its own
		}
		return false, fmt.Errorf("the remote has no branch, tag or commit %q", want)
	}
	head, err := w.head(ctx)
	if err != nil || head == commit && current == "" {
		return false, err
	}
	return true, w.run(ctx, "checkout", "--quiet", "--detach", commit)
}

// discard throws away local changes and untracked files, and reports whether
// there were any.
func (w *work) discard(ctx context.Context) (bool, error) {
	dirty, err := w.ask(ctx, "status", "--porcelain")
	if err != nil || dirty == "" {
		return false, err
	}
	if err := w.run(ctx, "reset", "--hard", "--quiet"); err != nil {
		return false, err
	}
	return true, w.run(ctx, "clean", "-ffd", "--quiet")
}
