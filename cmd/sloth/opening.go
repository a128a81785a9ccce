package main

import (
	"path/filepath"
	"slices"

	"github.com/sloth-runner/sloth/lua/dsl"
	"github.com/sloth-runner/sloth/runner"
	"github.com/sloth-runner/sloth/runner/event"
)

// opening says what a run will do whose file acts while it loads: the stream
// begins before the workflow is planned. What only the run can tell is left out.
func (v *invocation) opening(prog *dsl.Program, w *dsl.Workflow) *event.RunStarted {
	e := &event.RunStarted{Workflow: filepath.Base(v.file)}
	tasks := slices.Clone(prog.Ran)
	if w != nil {
		e.Workflow = w.Name
		// Which of them a selection leaves, the runner finds out.
		if f := v.flags; len(f.tags)+len(f.skipTags) == 0 && f.startAt == "" {
			tasks = append(tasks, w.Tasks...)
		}
	}
	for _, t := range tasks {
		e.Tasks = append(e.Tasks, t.Name)
		hosts, _, err := v.hostsOf(t, w)
		if err != nil {
			continue // the runner will say so
		}
		for _, h := range hosts {
			if !slices.Contains(e.Hosts, h) {
				e.Hosts = append(e.Hosts, h)
			}
		}
	}
	return e
}

// hostsOf gives the hosts of a task, where they are known before it runs.
func (v *invocation) hostsOf(t *dsl.Task, w *dsl.Workflow) (hosts []string, known bool, err error) {
	pattern := t.Target.Pattern
	if !t.Target.Set {
		pattern = v.flags.hosts
		if pattern == "" && w != nil {
			pattern = w.Config.Hosts
		}
		if !v.onHosts {
			pattern = runner.Local
		}
	}
	switch {
	case t.Target.Func != nil:
		return nil, false, nil
	case pattern == runner.Local || pattern == "" || v.fleet.inv == nil:
		return []string{runner.Local}, true, nil
	}
	hosts, err = v.fleet.inv.Match(pattern, v.flags.limit)
	return hosts, true, err
}
