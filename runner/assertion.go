package runner

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/sloth-runner/sloth/lua/bind"
	"github.com/sloth-runner/sloth/lua/dsl"
	"github.com/sloth-runner/sloth/modules"
	"github.com/sloth-runner/sloth/runner/event"
	"github.com/sloth-runner/sloth/runner/step"
)

var _ modules.Asserter = (*services)(nil)

// Assert makes an assertion of infra_test on the host it names, as a small step
// of its own there. From a host it is a stranger's wish: only a function, a
// command line and a controller that stand literally in what that host was sent.
func (s *services) Assert(ctx context.Context, a modules.Assertion) error {
	r := s.r
	if err := s.mayAssert(a); err != nil {
		return err
	}
	hosts, err := r.match(a.Host)
	switch {
	case err != nil:
		return err
	case len(hosts) == 0:
		return fmt.Errorf("host %q is outside the limit of this run", a.Host)
	case len(hosts) != 1 || hosts[0] != a.Host:
		return fmt.Errorf("%q means %s; name one host", a.Host, strings.Join(hosts, ", "))
	}
	t := &dsl.Task{Name: a.Function, NoLog: a.NoLog}
	n := &node{task: t, nested: true, depth: s.depth + 1, call: a.Function, args: a.Args}
	n.place(hosts, [][]string{hosts})
	defer r.forget(t)
	return verdict(a, r.stepOn(ctx, n.cells[0]))
}

func (s *services) mayAssert(a modules.Assertion) error {
	if _, _, err := bind.Lookup(s.r.opt.Modules, a.Function); err != nil || !strings.HasPrefix(a.Function, "infra_test.") {
		return fmt.Errorf("%.60q is no function of infra_test", a.Function)
	}
	if s.depth >= maxNested {
		return fmt.Errorf("%s on %s: nested deeper than %d", a.Function, a.Host, maxNested)
	}
	if s.host == Local {
		return nil
	}
	if s.r.opt.NoNested {
		return errors.New("an assertion on another host is refused by --no-nested")
	}
	literal := []string{strings.TrimPrefix(a.Function, "infra_test.")}
	if a.Host == Local {
		literal = append(literal, Local)
	}
	if line, ok := a.Args["command"]; ok {
		text, _ := line.(string)
		literal = append(literal, text)
	}
	for _, text := range literal {
		if !s.r.sentName(s.host, text) {
			return fmt.Errorf("%s may not ask for %s on %s: no function sent to it has the text %.60q in it", s.host, a.Function, a.Host, text)
		}
	}
	return nil
}

// verdict is why the assertion does not hold.
func verdict(a modules.Assertion, res step.Result) error {
	if !res.Status.Bad() && !res.NotRun {
		return nil
	}
	message := res.Message
	if res.Failure != nil {
		message = res.Failure.Message
	}
	message = strings.TrimPrefix(message, a.Function+": ")
	if message == "" {
		message = string(res.Status)
	}
	if res.Status == event.Unreachable {
		return fmt.Errorf("%s cannot be looked at: %s", a.Host, message)
	}
	return errors.New(message)
}

// forget drops what is kept of a task that runs only once.
func (r *Runner) forget(t *dsl.Task) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.snaps, t)
}
