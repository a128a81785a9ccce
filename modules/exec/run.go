package exec

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"github.com/sloth-runner/sloth/facts"
	"github.com/sloth-runner/sloth/modules"
	"github.com/sloth-runner/sloth/modules/internal/tool"
)

// options are what run and script have in common.
type options struct {
	Workdir   string            `lua:"workdir,path" alias:"cwd,chdir,dir" doc:"Folder to run in; by default the task's"`
	Env       map[string]string `lua:"env" doc:"Variables on top of the inherited environment and the task's"`
	Stdin     modules.Text      `lua:"stdin" alias:"input" doc:"What the command reads; nothing by default"`
	Timeout   time.Duration     `lua:"timeout" doc:"Kills the command and everything it started after this long"`
	User      string            `lua:"user" alias:"as" doc:"Runs as this user, which only root can"`
	Shell     string            `lua:"shell" doc:"Shell that reads the command, called with -c; for scripts the interpreter"`
	Creates   string            `lua:"creates,path" doc:"Does nothing when this path exists"`
	Removes   string            `lua:"removes,path" doc:"Does nothing when this path does not exist"`
	Unless    string            `lua:"unless" doc:"Does nothing when this command succeeds; it is asked under plan too and must change nothing"`
	OnlyIf    string            `lua:"only_if" alias:"onlyif" doc:"Does nothing when this command fails; it is asked under plan too and must change nothing"`
	Secret    bool              `lua:"secret" doc:"What the command prints is secret: it is not shown, and stdout and stderr are given as secrets, without the last line break"`
	CheckSafe bool              `lua:"check_safe" doc:"The command changes nothing: it runs under plan too and counts as unchanged"`
}

type run struct {
	Cmd  string   `lua:"cmd,primary" alias:"command" pos:"1" doc:"Command for the shell"`
	Argv []string `lua:"argv" doc:"Program and arguments, instead of cmd: no shell, no quoting"`
	options
}

// Validate asks for exactly one of cmd and argv.
func (r *run) Validate() error {
	switch {
	case r.Cmd == "" && len(r.Argv) == 0:
		return errors.New("cmd is missing: say which command to run")
	case r.Cmd != "" && len(r.Argv) > 0:
		return errors.New("give cmd or argv, not both")
	case len(r.Argv) > 0 && r.Argv[0] == "":
		return errors.New("argv: the program has no name")
	}
	return nil
}

// PlanSafe reports whether the command may run under plan.
func (r *run) PlanSafe() bool { return r.CheckSafe }

// String is the command in one line.
func (r *run) String() string {
	text := r.Cmd
	if text == "" {
		text = strings.Join(r.Argv, " ")
	}
	return oneLine(text)
}

func oneLine(text string) string {
	first, rest, more := strings.Cut(strings.TrimSpace(text), "\n")
	if more && strings.TrimSpace(rest) != "" {
		first += " …"
	}
	return first
}

// Skip tells a plan that there is nothing to run.
func (r *run) Skip(ctx context.Context, v facts.Viewer) (string, bool, error) {
	return r.skip(ctx, modules.CallOf(ctx), v)
}

// Run runs the command.
func (r *run) Run(ctx context.Context, c modules.Call) ([]any, error) {
	argv := r.Argv
	if len(argv) == 0 {
		argv = []string{r.Shell, "-c", r.Cmd}
	}
	return r.perform(ctx, c, argv)
}

// skip asks creates, removes, unless and only_if, in this order.
func (o *options) skip(ctx context.Context, c modules.Call, v facts.Viewer) (reason string, skip bool, err error) {
	if v == nil {
		return "", false, nil
	}
	for _, q := range []struct {
		path   string
		exists bool
		reason string
	}{{o.Creates, true, "exists"}, {o.Removes, false, "does not exist"}} {
		if q.path == "" {
			continue
		}
		_, err := v.Stat(q.path)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", false, fmt.Errorf("look at %s: %w", q.path, err)
		}
		if (err == nil) == q.exists {
			return q.path + " " + q.reason, true, nil
		}
	}
	for _, q := range []struct {
		cmd     string
		success bool
		reason  string
	}{{o.Unless, true, "unless succeeded"}, {o.OnlyIf, false, "only_if failed"}} {
		if q.cmd == "" || c.Machine == nil {
			continue
		}
		a, err := o.start(ctx, c, modules.Cmd{Argv: []string{o.shell(), "-c", q.cmd}})
		if err != nil {
			return "", false, err
		}
		if (a.ExitCode == 0) == q.success {
			return q.reason + ": " + oneLine(q.cmd), true, nil
		}
	}
	return "", false, nil
}

func (o *options) shell() string {
	if o.Shell == "" {
		return "/bin/sh"
	}
	return o.Shell
}

// perform runs argv unless there is nothing to do, and makes the result. An
// error is returned only when the whole task ends.
func (o *options) perform(ctx context.Context, c modules.Call, argv []string) ([]any, error) {
	start := time.Now()
	outer := ctx
	ctx, cancel := tool.Within(ctx, o.Timeout)
	defer cancel()
	result := func(a facts.Answer, changed bool, problem string) []any {
		m := tool.Result(a, changed, problem, start)
		if o.Secret {
			m["stdout"], m["stderr"] = printed(ctx, a.Stdout), printed(ctx, a.Stderr)
		}
		return []any{m}
	}
	reason, skip, err := o.skip(ctx, c, c.Machine)
	if skip {
		out := result(facts.Answer{}, false, "")
		out[0].(map[string]any)["skipped"] = reason
		return out, nil
	}
	var a facts.Answer
	if err == nil {
		ooms := oomKills(c.Machine)
		cmd := modules.Cmd{Argv: argv, Output: c.Output}
		if o.Secret {
			cmd.Output = nil
		}
		if o.Stdin.Given() {
			cmd.Stdin = strings.NewReader(o.Stdin.Reveal())
		}
		a, err = o.start(ctx, c, cmd)
		if err == nil && killed(a) && oomKills(c.Machine) > ooms {
			return result(a, !o.CheckSafe, "killed by the kernel because memory ran out (OOM)"), nil
		}
	}
	var late tool.Timeout
	switch {
	case err != nil && outer.Err() != nil:
		return nil, err
	case errors.As(err, &late):
		out := result(a, !o.CheckSafe, late.Error())
		out[0].(map[string]any)["timed_out"] = true
		return out, nil
	case err != nil:
		a.ExitCode = tool.CannotRun(err)
		return result(a, false, err.Error()), nil
	case a.ExitCode != 0:
		return result(a, !o.CheckSafe, tool.Failure(a, c.NoLog || o.Secret)), nil
	}
	return result(a, !o.CheckSafe, ""), nil
}

// printed makes a secret of what a command printed.
func printed(ctx context.Context, text []byte) modules.Secret {
	return modules.MakeSecret(ctx, strings.TrimRight(string(text), "\r\n"))
}

// start runs cmd in the surroundings of the call.
func (o *options) start(ctx context.Context, c modules.Call, cmd modules.Cmd) (facts.Answer, error) {
	own, err := tool.Variables(o.Env)
	if err != nil {
		return facts.Answer{}, err
	}
	cmd.Env = append(cmd.Env, own...)
	cmd.Dir, cmd.User = o.Workdir, o.User
	return tool.Run(ctx, c, cmd)
}

func killed(a facts.Answer) bool { return a.Signal == "SIGKILL" || a.ExitCode == 137 }
