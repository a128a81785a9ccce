package runner

import (
	"fmt"

	"github.com/sloth-runner/sloth/runner/event"
	"github.com/sloth-runner/sloth/runner/step"
)

// departedWhy is why nothing more is done on a host.
const departedWhy = "a step before it was not as the plan has it; this host was stopped there"

func (r *Runner) seal(host string) []byte {
	if r.opt.Seal == nil {
		return nil
	}
	return r.opt.Seal(host)
}

// unplanned is the failure of a step that no saved plan has.
type unplanned struct{ task, host string }

func (u unplanned) Error() string {
	return fmt.Sprintf("task %s on %s is not in the plan; it was not begun", u.task, u.host)
}

// expect is what the saved plan says of a cell that has its identity. What runs
// because something changed, a handler, is in no plan.
func (r *Runner) expect(c *cell) (*step.Expect, error) {
	if r.opt.Expect == nil || r.opt.Check || c.node.task.Handler {
		return nil, nil
	}
	e, ok := r.opt.Expect(c.host, c.id)
	if !ok {
		return nil, unplanned{c.node.task.Name, c.host}
	}
	return e, nil
}

// refusal is the result of a cell that is not begun: its host is not as the plan
// has it, or it is in no plan itself.
func (r *Runner) refusal(c *cell) (step.Result, bool) {
	if r.isDeparted(c.host) {
		return step.Result{Status: event.Skipped, NotRun: true, Message: departedWhy}, true
	}
	_, err := r.expect(c)
	if err == nil {
		return step.Result{}, false
	}
	f := event.Failure{Class: step.ClassPlan, Message: err.Error(), Hint: "Make a new plan."}
	r.depart(c.host, &f)
	return step.Result{Status: event.Failed, NotRun: true, Message: f.Message, Failure: &f}, true
}

// onlyPlanned settles the cells that are not begun, and returns the others.
func (r *Runner) onlyPlanned(cells []*cell, settle func(*cell, step.Result)) []*cell {
	kept := cells[:0:0]
	for _, c := range cells {
		if res, ok := r.refusal(c); ok {
			settle(c, res)
			continue
		}
		kept = append(kept, c)
	}
	return kept
}

// depart notes a host that is not as the plan has it, if f says so.
func (r *Runner) depart(host string, f *event.Failure) {
	if f == nil || f.Class != step.ClassPlan || r.opt.Expect == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.departed[host] = true
}

func (r *Runner) isDeparted(host string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.departed[host]
}
