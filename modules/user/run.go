package user

import (
	"context"
	"strings"
	"time"

	"github.com/sloth-runner/sloth/facts"
	"github.com/sloth-runner/sloth/modules"
	"github.com/sloth-runner/sloth/modules/internal/tool"
)

type runAs struct {
	Name    string            `lua:"name,required" alias:"username,user" pos:"1" doc:"Name of the user"`
	Command string            `lua:"command,required" alias:"cmd" pos:"2" doc:"Command for /bin/sh"`
	Workdir string            `lua:"workdir,path" alias:"cwd,chdir" doc:"Folder to run in; by default the task's"`
	Env     map[string]string `lua:"env" doc:"Variables on top of the task's and of HOME, USER and LOGNAME"`
	Stdin   modules.Text      `lua:"stdin" alias:"input" doc:"What the command reads; nothing by default"`
	Timeout time.Duration     `lua:"timeout" doc:"Kills the command and everything it started after this long"`
}

// Validate checks the name.
func (r *runAs) Validate() error { return checkName(r.Name) }

// PlanSafe is false: nobody knows what the command does.
func (r *runAs) PlanSafe() bool { return false }

// String is the command in one line.
func (r *runAs) String() string {
	first, _, _ := strings.Cut(strings.TrimSpace(r.Command), "\n")
	return r.Name + ": " + first
}

// Run runs the command. How it ends is in the result, and no error.
func (r *runAs) Run(ctx context.Context, c modules.Call) ([]any, error) {
	start := time.Now()
	own, err := tool.Variables(r.Env)
	if err != nil {
		return nil, err
	}
	within, cancel := tool.Within(ctx, r.Timeout)
	defer cancel()
	a, err := tool.Run(within, c, modules.Cmd{
		Argv: []string{"/bin/sh", "-c", r.Command}, User: r.Name, Env: own, Dir: r.Workdir,
		Stdin: strings.NewReader(r.Stdin.Reveal()), Output: c.Output,
	})
	changed := true
	problem := ""
	switch {
	case err != nil && ctx.Err() != nil:
		return nil, err
	case err != nil && within.Err() != nil:
		problem = context.Cause(within).Error()
	case err != nil:
		a, changed, problem = facts.Answer{ExitCode: tool.CannotRun(err)}, false, err.Error()
	case a.ExitCode != 0:
		problem = tool.Failure(a, c.NoLog)
	}
	return []any{tool.Result(a, changed, problem, start)}, nil
}
