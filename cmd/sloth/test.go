package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/hashicorp/go-multierror"
	"github.com/sloth-runner/sloth/lua/dsl"
	"github.com/sloth-runner/sloth/runner/event"
	"github.com/spf13/cobra"
)

func newTest(a *app) *cobra.Command {
	f := &runFlags{}
	c := &cobra.Command{
		Use:   "test CHECKS.sloth [WORKFLOW]",
		Short: "Check with the assertions of infra_test that hosts are as they should be",
		Long: `test runs the tasks of a file of checks: each on its hosts, whatever failed before. A task that names no
host runs on those of its workflow or of --hosts, else on all of the inventory; without an inventory it runs
here. A check changes nothing: functions that would are refused before anything runs. An assertion that does
not hold fails its task on that host, and the command ends with 2.`,
		Example: "  sloth test -i hosts.yaml checks.sloth\n  sloth test -i hosts.yaml -l 'web-*' checks.sloth --output junit > report.xml\n  sloth test checks.sloth",
		Args:    cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			v := &invocation{app: a, flags: f, file: args[0], what: "test", checks: &checks{}}
			if len(args) == 2 {
				v.workflow = args[1]
			}
			return v.run(cmd.Context())
		},
	}
	f.add(c.Flags(), "CD")
	for _, name := range []string{"check", "diff", "step", "start-at-task", "wait-lock"} {
		_ = c.Flags().MarkHidden(name) // it fails for a flag that is not there
	}
	return c
}

// checks makes a test of a run: no failure stops anything, and each counts.
type checks struct {
	warn    func(string)
	ignored map[string]bool           // tasks whose failure the file itself ignores
	changed map[string]*event.Failure // by task and host: a change that was made all the same
	warned  map[string]bool

	failed, unreachable bool
}

// mayRun are the tools that a check may use: only it knows what they do.
var mayRun = []string{"os.execute", "io.popen", "exec.run", "exec.script", "user.run_as", "ssh.exec", "terraform.plan", "terraform.validate", "terraform.output"}

// harmless reports whether a check may call a function that could change things.
func harmless(function string) bool {
	module, name, _ := strings.Cut(function, ".")
	return slices.Contains(mayRun, function) || (module == "http" || module == "net") && name != "download"
}

// refuse names the calls that change something.
func (c *checks) refuse(prog *dsl.Program) error {
	var problems *multierror.Error
	for _, u := range prog.Uses {
		if !harmless(u.Function) {
			problems = multierror.Append(problems, fmt.Errorf("%s:%d: %s changes things, and a check only looks", u.File, u.Line, u.Function))
		}
	}
	return problems.ErrorOrNil()
}

// effect keeps the top level of the file from changing something.
func (c *checks) effect(_ context.Context, function string) error {
	if harmless(function) {
		return nil
	}
	return errors.New("it changes something, and a check only looks")
}

// prepare lets every task of w run, whatever becomes of the others.
func (c *checks) prepare(v *invocation, w *dsl.Workflow) {
	c.warn = v.fleet.warn
	c.ignored, c.changed, c.warned = map[string]bool{}, map[string]*event.Failure{}, map[string]bool{}
	if w == nil {
		return
	}
	w.Config.FailFast, w.Config.MaxFail = false, ""
	if v.onHosts && w.Config.Hosts == "" && v.flags.hosts == "" {
		w.Config.Hosts = "all"
	}
	for _, t := range w.Tasks {
		c.ignored[t.Name] = t.IgnoreErrors
		t.IgnoreErrors, t.AnyErrorsFatal = true, false
	}
}

// see gives an event as a test tells it; nil: it tells nothing of it.
func (c *checks) see(e event.Event) event.Event {
	switch e := e.(type) {
	case event.TaskStarted:
		if elsewhere(e.Where) {
			return nil
		}
	case event.Called:
		return c.called(e)
	case event.TaskDone:
		if elsewhere(e.Where) {
			return nil
		}
		return c.done(e)
	case event.HostLost:
		c.unreachable = true
	case event.RunDone:
		if e.ExitCode = c.code(e.ExitCode); e.ExitCode != exitOK && !e.Status.Bad() {
			e.Status = event.Failed
		}
		return e
	}
	return e
}

// elsewhere reports whether a step is an assertion about another host: its task
// says what came of it.
func elsewhere(w event.Where) bool { return strings.HasPrefix(w.Task, "infra_test.") }

func placeOf(w event.Where) string { return w.Task + "\x00" + w.Host + "\x00" + w.Step }

// called notes what was changed all the same, by a name that was computed, and
// says where a tool ran of which only the file knows what it does.
func (c *checks) called(e event.Called) event.Event {
	if !e.Changed {
		return e
	}
	if at := fmt.Sprintf("%s:%d", e.File, e.Line); harmless(e.Function) {
		e.Changed = false
		if key := at + e.Function; !c.warned[key] {
			c.warned[key] = true
			c.warn(fmt.Sprintf("%s: %s runs for real, and a check should only look; where exec only does, check_safe = true says so", at, e.Function))
		}
		return e
	}
	what := e.Function
	if e.Message != "" {
		what += " (" + e.Message + ")"
	}
	what += " changed something, and a check only looks"
	c.changed[placeOf(e.Where)] = &event.Failure{Class: "task", Message: what, File: e.File, Line: e.Line}
	return e
}

func (c *checks) done(e event.TaskDone) event.Event {
	f := c.changed[placeOf(e.Where)]
	if e.Changed = f != nil; f != nil && !e.Status.Bad() {
		e.Status, e.Failure, e.Message = event.Failed, f, f.Message
	}
	e.Ignored = e.Ignored && c.ignored[e.Task]
	switch {
	case e.Ignored || e.Nested || !e.Status.Bad():
	case e.Status == event.Unreachable:
		c.unreachable = true
	default:
		c.failed = true
	}
	return e
}

// code is the exit code of the command, given that of the run.
func (c *checks) code(run int) int {
	switch {
	case run != exitOK && run != exitUsage:
		return run
	case c.failed:
		return exitFailed
	case c.unreachable:
		return exitUnreachable
	}
	return run
}
