package git

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/sloth-runner/sloth/facts"
	"github.com/sloth-runner/sloth/modules"
	"github.com/sloth-runner/sloth/modules/internal/tool"
)

// in runs f on the repository of r.
func (a *access) in(ctx context.Context, c modules.Call, r *repoArg, f func(context.Context, *work) ([]any, error)) ([]any, error) {
	ctx, cancel := tool.Within(ctx, a.Timeout)
	defer cancel()
	dir, err := r.dir(c.Workdir)
	if err != nil {
		return nil, err
	}
	w, err := a.open(ctx, c, dir)
	if err != nil {
		return nil, err
	}
	defer w.close()
	return f(ctx, w)
}

// where shows the repository in a plan.
func where(r *repoArg) string {
	if m, ok := r.Repo.(map[string]any); ok {
		return fmt.Sprint(m["path"])
	}
	return fmt.Sprint(r.Repo)
}

type checkout struct {
	repoArg
	Ref    string `lua:"ref" alias:"branch,tag" pos:"2" doc:"Branch, tag or commit; required"`
	Create bool   `lua:"create" doc:"Makes the branch when there is none"`
	Force  bool   `lua:"force" doc:"Throws local changes away"`
	access
}

func newCheckout() any { return &checkout{} }

// Validate reads named arguments and checks the reference.
func (c *checkout) Validate() error {
	if err := tool.Named(c, c.Repo, newCheckout); err != nil {
		return err
	}
	if c.Ref == "" {
		return errors.New("ref is missing: branch, tag or commit")
	}
	return ref("ref", c.Ref)
}

// PlanSafe is false: it writes files.
func (c *checkout) PlanSafe() bool { return false }

// String is what it does.
func (c *checkout) String() string { return "check out " + c.Ref + " in " + where(&c.repoArg) }

// Run checks out.
func (c *checkout) Run(ctx context.Context, call modules.Call) ([]any, error) {
	return c.in(ctx, call, &c.repoArg, func(ctx context.Context, w *work) ([]any, error) {
		before, err := w.head(ctx)
		if err != nil {
			return nil, err
		}
		was, err := w.branch(ctx)
		if err != nil {
			return nil, err
		}
		known, err := w.knows(ctx, c.Ref)
		if err != nil {
			return nil, err
		}
		if !known && !c.Create {
			if err := w.run(ctx, "fetch", "--tags", "--force", "origin"); err != nil {
				return nil, err
			}
			if known, err = w.knows(ctx, c.Ref); err != nil {
				return nil, err
			}
			if !known {
				return nil, fmt.Errorf("there is no branch, tag or commit %q in %s or its remote", c.Ref, w.dir)
			}
		}
		args := []string{"checkout", "--quiet"}
		if c.Force {
			args = append(args, "--force")
		}
		if !known {
			args = append(args, "-b", c.Ref)
		} else {
			args = append(args, c.Ref, "--")
		}
		if err := w.run(ctx, args...); err != nil {
			return nil, err
		}
		after, err := w.head(ctx)
		if err != nil {
			return nil, err
		}
		is, err := w.branch(ctx)
		if err != nil {
			return nil, err
		}
		return w.result(ctx, before != after || was != is, nil)
	})
}

// knows reports whether checkout would find the name, here or as a branch of
// the remote.
func (w *work) knows(ctx context.Context, name string) (bool, error) {
	for _, candidate := range []string{name, "refs/remotes/origin/" + name} {
		id, err := w.ask(ctx, "rev-parse", "--verify", "--quiet", candidate+"^{commit}")
		if err != nil || id != "" {
			return id != "", err
		}
	}
	return false, nil
}

type pull struct {
	repoArg
	Remote string `lua:"remote" doc:"Where to pull from"`
	Branch string `lua:"branch" pos:"2" doc:"Which branch of it; by default the one that this one follows"`
	Rebase bool   `lua:"rebase" doc:"Puts commits of one's own on top instead of refusing"`
	access
}

func newPull() any { return &pull{Remote: "origin"} }

// Validate reads named arguments.
func (p *pull) Validate() error {
	if err := tool.Named(p, p.Repo, newPull); err != nil {
		return err
	}
	return errors.Join(ref("remote", p.Remote), ref("branch", p.Branch))
}

// PlanSafe is false: it writes files.
func (p *pull) PlanSafe() bool { return false }

// String is what it does.
func (p *pull) String() string { return "pull in " + where(&p.repoArg) }

// Run pulls.
func (p *pull) Run(ctx context.Context, call modules.Call) ([]any, error) {
	return p.in(ctx, call, &p.repoArg, func(ctx context.Context, w *work) ([]any, error) {
		before, err := w.head(ctx)
		if err != nil {
			return nil, err
		}
		args := []string{"pull", "--ff-only"}
		if p.Rebase {
			args[1] = "--rebase"
		}
		if p.Branch != "" || p.Remote != "origin" {
			args = append(args, p.Remote)
		}
		if p.Branch != "" {
			args = append(args, p.Branch)
		}
		if err := w.run(ctx, args...); err != nil {
			return nil, err
		}
		after, err := w.head(ctx)
		if err != nil {
			return nil, err
		}
		return w.result(ctx, before != after, nil)
	})
}

type push struct {
	repoArg
	Remote      string `lua:"remote" doc:"Where to push to"`
	Branch      string `lua:"branch" pos:"2" doc:"Branch to push; by default the one that is checked out"`
	Tags        bool   `lua:"tags" doc:"Pushes all tags too"`
	SetUpstream bool   `lua:"set_upstream" doc:"Lets the branch follow the pushed one"`
	Force       bool   `lua:"force" doc:"Replaces what is there, unless somebody pushed since the last fetch"`
	access
}

func newPush() any { return &push{Remote: "origin"} }

// Validate reads named arguments.
func (p *push) Validate() error {
	if err := tool.Named(p, p.Repo, newPush); err != nil {
		return err
	}
	return errors.Join(ref("remote", p.Remote), ref("branch", p.Branch))
}

// PlanSafe is false: it changes the remote.
func (p *push) PlanSafe() bool { return false }

// String is what it does.
func (p *push) String() string { return "push " + where(&p.repoArg) + " to " + p.Remote }

// Run pushes.
func (p *push) Run(ctx context.Context, call modules.Call) ([]any, error) {
	return p.in(ctx, call, &p.repoArg, func(ctx context.Context, w *work) ([]any, error) {
		branch := p.Branch
		if branch == "" {
			var err error
			if branch, err = w.branch(ctx); err != nil {
				return nil, err
			}
			if branch == "" {
				return nil, errors.New("no branch is checked out: say which branch to push")
			}
		}
		args := []string{"push", "--porcelain"}
		for flag, on := range map[string]bool{"--tags": p.Tags, "--set-upstream": p.SetUpstream, "--force-with-lease": p.Force} {
			if on {
				args = append(args, flag)
			}
		}
		err := w.run(ctx, append(args, p.Remote, branch)...)
		if rejected := pushed(w.last, '!'); err != nil && rejected != "" {
			return nil, fmt.Errorf("git push: %s", rejected)
		}
		if err != nil {
			return nil, err
		}
		return w.result(ctx, pushed(w.last, ' ', '+', '-', '*') != "", nil)
	})
}

// pushed finds a line of "git push --porcelain" with one of the flags:
//
//	!	refs/heads/main:refs/heads/main	[rejected] (fetch first)
func pushed(a facts.Answer, flags ...byte) string {
	for line := range strings.Lines(string(a.Stdout)) {
		f := strings.Split(strings.TrimRight(line, "\n"), "\t")
		if len(f) < 3 || len(f[0]) != 1 {
			continue
		}
		for _, flag := range flags {
			if f[0][0] == flag {
				return f[1] + " " + f[2]
			}
		}
	}
	return ""
}

type commit struct {
	repoArg
	Message    string   `lua:"message" alias:"msg" pos:"2" doc:"Message of the commit; required"`
	Files      []string `lua:"files" alias:"paths" doc:"Only these; by default everything that changed, new files too"`
	Name       string   `lua:"name" doc:"Name of the author; by default git's configuration"`
	Email      string   `lua:"email" doc:"Address of the author"`
	AllowEmpty bool     `lua:"allow_empty" doc:"Commits even when nothing changed"`
	access
}

func newCommit() any { return &commit{} }

// Validate reads named arguments and asks for a message.
func (c *commit) Validate() error {
	if err := tool.Named(c, c.Repo, newCommit); err != nil {
		return err
	}
	if strings.TrimSpace(c.Message) == "" {
		return errors.New("message is missing: message of the commit")
	}
	return nil
}

// PlanSafe is false: it changes the repository.
func (c *commit) PlanSafe() bool { return false }

// String is what it does.
func (c *commit) String() string {
	first, _, _ := strings.Cut(c.Message, "\n")
	return fmt.Sprintf("commit %q in %s", first, where(&c.repoArg))
}

// Run commits.
func (c *commit) Run(ctx context.Context, call modules.Call) ([]any, error) {
	return c.in(ctx, call, &c.repoArg, func(ctx context.Context, w *work) ([]any, error) {
		if err := w.run(ctx, append([]string{"add", "--all", "--"}, c.Files...)...); err != nil {
			return nil, err
		}
		a, err := w.try(ctx, "", "diff", "--cached", "--quiet")
		if err != nil {
			return nil, err
		}
		if a.ExitCode == 0 && !c.AllowEmpty {
			return w.result(ctx, false, nil)
		}
		for key, v := range map[string]string{"user.name": c.Name, "user.email": c.Email} {
			if v != "" {
				w.options = append(w.options, "-c", key+"="+v)
			}
		}
		args := []string{"commit", "--quiet", "--file=-"}
		if c.AllowEmpty {
			args = append(args, "--allow-empty")
		}
		err = w.feed(ctx, c.Message, args...)
		if err != nil && strings.Contains(string(w.last.Stderr), "Please tell me who you are") {
			return nil, errors.New("git commit: git does not know who commits: give name and email")
		}
		if err != nil {
			return nil, err
		}
		return w.result(ctx, true, nil)
	})
}

type ensureClean struct {
	repoArg
	Discard bool `lua:"discard" doc:"Throws the changes away instead of raising"`
	access
}

func newEnsureClean() any { return &ensureClean{} }

// Validate reads named arguments.
func (e *ensureClean) Validate() error { return tool.Named(e, e.Repo, newEnsureClean) }

// PlanSafe reports whether it only looks.
func (e *ensureClean) PlanSafe() bool { return !e.Discard }

// String is what it does.
func (e *ensureClean) String() string { return "discard changes in " + where(&e.repoArg) }

// Run looks, and discards when asked.
func (e *ensureClean) Run(ctx context.Context, call modules.Call) ([]any, error) {
	return e.in(ctx, call, &e.repoArg, func(ctx context.Context, w *work) ([]any, error) {
		if e.Discard {
			changed, err := w.discard(ctx)
			if err != nil {
				return nil, err
			}
			return w.result(ctx, changed, nil)
		}
		if err := w.run(ctx, "--no-optional-locks", "status", "--porcelain"); err != nil {
			return nil, err
		}
		if lines := strings.Split(strings.TrimRight(string(w.last.Stdout), "\n"), "\n"); lines[0] != "" {
			some := strings.Join(lines[:min(5, len(lines))], ", ")
			return nil, fmt.Errorf("%s has %d uncommitted changes: %s", w.dir, len(lines), some)
		}
		return w.result(ctx, false, nil)
	})
}
