package infratest

import (
	"context"
	"fmt"
	"strings"

	"github.com/sloth-runner/sloth/facts"
	"github.com/sloth-runner/sloth/modules"
	"github.com/sloth-runner/sloth/modules/internal/tool"
)

type command struct {
	function
	Command string `lua:"command,required" alias:"cmd,name" pos:"1" doc:"Command for /bin/sh"`
}

// run runs it in the surroundings of the task.
func (c command) run(ctx context.Context, v facts.Viewer) (facts.Answer, error) {
	call := modules.CallOf(ctx)
	argv := []string{"/bin/sh", "-c", c.Command}
	if call.Machine == nil {
		return v.Query(ctx, argv...)
	}
	return tool.Run(ctx, call, modules.Cmd{Argv: argv})
}

func (c command) says(what string) string { return fmt.Sprintf("`%s` to %s", c.Command, what) }

type exits struct {
	command
	Target string `lua:"target" pos:"2" doc:"Name of the host to look at, \"local\" for the controller; without it the one the task runs on"`
	fails  bool
}

// Query runs it.
func (e *exits) Query(ctx context.Context, v facts.Viewer) ([]any, error) {
	return assert(ctx, v, e, e.Target, e.Command, true, func() error {
		a, err := e.run(ctx, v)
		switch {
		case err != nil:
			return err
		case e.fails && a.ExitCode == 0:
			return failure{e.says("fail"), "exit code 0"}
		case !e.fails && a.ExitCode != 0:
			return failure{e.says("succeed"), tool.Failure(a, false)}
		}
		return nil
	})
}

type prints struct {
	command
	Text   string `lua:"text,required" alias:"expected,output" pos:"2" doc:"The text expected on stdout"`
	Target string `lua:"target" pos:"3" doc:"Name of the host to look at, \"local\" for the controller; without it the one the task runs on"`
	whole  bool
}

// Query runs it. How it ends does not matter, but is told when the text is not
// there.
func (p *prints) Query(ctx context.Context, v facts.Viewer) ([]any, error) {
	return assert(ctx, v, p, p.Target, p.Command, true, func() error {
		a, err := p.run(ctx, v)
		if err != nil {
			return err
		}
		out := string(a.Stdout)
		expected := p.says(fmt.Sprintf("print %q", p.Text))
		if p.whole && strings.TrimRight(out, "\r\n") == strings.TrimRight(p.Text, "\r\n") {
			return nil
		}
		if !p.whole {
			if strings.Contains(out, p.Text) {
				return nil
			}
			expected = p.says(fmt.Sprintf("print something with %q in it", p.Text))
		}
		found := shown(out)
		if a.ExitCode != 0 {
			found += " and " + tool.Failure(a, false)
		}
		return failure{expected, found}
	})
}

type silent struct {
	command
	Target string `lua:"target" pos:"2" doc:"Name of the host to look at, \"local\" for the controller; without it the one the task runs on"`
}

// Query runs it.
func (s *silent) Query(ctx context.Context, v facts.Viewer) ([]any, error) {
	return assert(ctx, v, s, s.Target, s.Command, true, func() error {
		a, err := s.run(ctx, v)
		if err == nil && len(a.Stderr) > 0 {
			err = failure{s.says("print nothing on stderr"), shown(string(a.Stderr))}
		}
		return err
	})
}
