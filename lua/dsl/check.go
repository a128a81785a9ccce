package dsl

import (
	"fmt"
	"slices"
	"strings"

	lua "github.com/yuin/gopher-lua"

	"github.com/sloth-runner/sloth/facts"
	"github.com/sloth-runner/sloth/modules/spec"
)

// finish makes the program of what was defined, and finds what is wrong with
// it as a whole. The caller holds the VM's lock.
func (l *load) finish() {
	l.prog.Effects = max(int(l.effects.Load()), l.lint.effects)
	l.prog.Uses = l.lint.uses
	claimed := map[*Task]bool{}
	l.workflows(claimed)
	ran := l.ranByOthers()
	for _, t := range l.prog.Ran {
		ran[t] = true
	}
	var rest []*Task
	for _, t := range l.tasks {
		switch {
		case t.Command == nil && t.Shell == "":
			if t.broken {
				break // that is told already
			}
			l.problem(t.Pos, fmt.Sprintf("%s %q has no command: give it one with :command(…)", t.kind(), t.Name))
		case !t.Built && !t.Handler && !ran[t] && !t.broken:
			l.problem(t.Pos, fmt.Sprintf("task %q is never built: end it with :build()", t.Name))
		}
		if t.Handler {
			l.prog.Handlers = append(l.prog.Handlers, t)
			continue
		}
		if t.Built {
			l.prog.Tasks = append(l.prog.Tasks, t)
			if !claimed[t] && !ran[t] {
				rest = append(rest, t)
			}
		}
	}
	if len(rest) > 0 {
		name := "default"
		if slices.ContainsFunc(l.prog.Workflows, func(w *Workflow) bool { return w.Name == name }) {
			name = "unclaimed"
		}
		l.prog.Workflows = append(l.prog.Workflows, &Workflow{Name: name, Pos: Pos{File: l.file}, Tasks: rest, Implicit: true})
	}
	l.unique("handler", l.prog.Handlers)
	for _, w := range l.prog.Workflows {
		l.unique("task", w.Tasks)
		l.dependencies(w)
		l.serialHosts(w)
	}
	l.notified()
	l.unknownFacts()
	l.prog.Warnings = l.prog.Warnings.sorted()
	if len(l.problems) == 0 && len(l.tasks) == 0 && len(l.flows) == 0 && len(l.prog.Ran) == 0 && l.prog.Effects == 0 && !l.prog.Failed {
		l.problem(Pos{File: l.file}, "nothing to run: there is no task, no :run() and no module call in it")
	}
}

func (l *load) problem(at Pos, message string) {
	l.problems = append(l.problems, Problem{Pos: at, Message: message})
}

func (l *load) workflows(claimed map[*Task]bool) {
	defined := map[string]Pos{}
	for _, f := range l.flows {
		if first, twice := defined[f.Name]; twice {
			l.problem(f.Pos, fmt.Sprintf("workflow %q is defined twice: first at %s:%d", f.Name, first.File, first.Line))
			continue
		}
		defined[f.Name] = f.Pos
		if len(f.Tasks) == 0 && !f.broken {
			l.problem(f.Pos, fmt.Sprintf("workflow %q has no tasks: nothing would run", f.Name))
		}
		for _, t := range f.Tasks {
			claimed[t] = true
			if f.target.Set && !t.Target.Set {
				t.Target = f.target
			}
		}
		l.prog.Workflows = append(l.prog.Workflows, f.Workflow)
	}
}

// ranByOthers finds the tasks that functions of the file run with :run().
func (l *load) ranByOthers() map[*Task]bool {
	all := map[*Task]bool{}
	for _, t := range l.tasks {
		// A task that runs itself, in a loop say, still has to be started.
		own := &runners{globals: l.w.vm.Globals(), seen: map[*lua.LFunction]bool{}, found: map[*Task]bool{}}
		for _, fn := range t.Callbacks() {
			own.function(fn)
		}
		delete(own.found, t)
		for found := range own.found {
			all[found] = true
		}
	}
	return all
}

// unique reports names that occur twice.
func (l *load) unique(kind string, tasks []*Task) {
	first := map[string]*Task{}
	for _, t := range tasks {
		if other := first[t.Name]; other != nil {
			if other == t {
				l.problem(t.Pos, fmt.Sprintf("%s %q is listed twice in one workflow", kind, t.Name))
			} else {
				l.problem(t.Pos, fmt.Sprintf("%s %q is defined twice: first at %s:%d", kind, t.Name, other.Pos.File, other.Pos.Line))
			}
			continue
		}
		first[t.Name] = t
	}
}

// dependencies checks the names in depends_on, and that they form no circle.
func (l *load) dependencies(w *Workflow) {
	byName := map[string]*Task{}
	var names []string
	for _, t := range w.Tasks {
		byName[t.Name] = t
		names = append(names, t.Name)
	}
	for _, t := range w.Tasks {
		for _, d := range t.DependsOn {
			if byName[d] != nil {
				continue
			}
			l.problem(t.dependsAt(), l.unknownDependency(w, t, d, names))
		}
	}
	state := map[*Task]int{} // 1: on the path, 2: done
	var path []*Task
	var visit func(t *Task)
	visit = func(t *Task) {
		state[t] = 1
		path = append(path, t)
		for _, d := range t.DependsOn {
			next := byName[d]
			switch {
			case next == nil:
			case state[next] == 0:
				visit(next)
			case state[next] == 1:
				var circle []string
				for _, p := range path[slices.Index(path, next):] {
					circle = append(circle, p.Name)
				}
				l.problem(t.dependsAt(), "the tasks depend on each other in a circle: "+strings.Join(append(circle, next.Name), " -> "))
			}
		}
		path = path[:len(path)-1]
		state[t] = 2
	}
	for _, t := range w.Tasks {
		if state[t] == 0 {
			visit(t)
		}
	}
}

func (l *load) unknownDependency(w *Workflow, t *Task, name string, names []string) string {
	for _, other := range l.tasks {
		if other.Name != name {
			continue
		}
		if other.Handler {
			return fmt.Sprintf("task %q depends on the handler %q: handlers are notified, not depended on", t.Name, name)
		}
		if w.Implicit {
			return fmt.Sprintf("task %q depends on %q, which another workflow has or :run() runs", t.Name, name)
		}
		return fmt.Sprintf("task %q depends on %q, which is not among the tasks of workflow %q: add it there", t.Name, name, w.Name)
	}
	message := fmt.Sprintf("task %q depends on %q, which does not exist", t.Name, name)
	if n := spec.Nearest(name, names); n != "" && n != t.Name {
		message += fmt.Sprintf("; did you mean %q?", n)
	}
	return message
}

// dependsAt is where the dependencies of t are written.
func (t *Task) dependsAt() Pos {
	if t.depends.Line > 0 {
		return t.depends
	}
	return t.Pos
}

// serialHosts refuses deps.X.hosts where the whole workflow runs batch by
// batch: the hosts of later batches have no outputs yet.
func (l *load) serialHosts(w *Workflow) {
	if len(w.Config.Serial) == 0 {
		return
	}
	for _, t := range w.Tasks {
		for _, fn := range t.Callbacks() {
			for _, use := range l.lint.allHosts {
				p := fn.Proto
				if p == nil || use.pos.File != p.SourceName || use.pos.Line < p.LineDefined || use.pos.Line > p.LastLineDefined || !contains(w.names(), use.name) {
					continue
				}
				l.problem(use.pos, fmt.Sprintf("task %q reads deps.%s.hosts, but with config.serial the workflow %q runs batch by batch and later hosts have no outputs yet", t.Name, use.name, w.Name))
			}
		}
	}
}

func (w *Workflow) names() []string {
	out := make([]string, len(w.Tasks))
	for i, t := range w.Tasks {
		out[i] = t.Name
	}
	return out
}

// notified warns of handlers that nobody defined.
func (l *load) notified() {
	var names []string
	for _, h := range l.prog.Handlers {
		names = append(names, h.Name)
	}
	warn := func(at Pos, name string) {
		if contains(names, name) {
			return
		}
		message := fmt.Sprintf("there is no handler %q", name)
		if n := spec.Nearest(name, names); n != "" {
			message += fmt.Sprintf("; did you mean %q?", n)
		}
		l.prog.Warnings = append(l.prog.Warnings, Problem{Pos: at, Message: message})
	}
	for _, t := range l.tasks {
		for _, name := range t.Notify {
			warn(t.Pos, name)
		}
	}
	for _, n := range l.lint.notifies {
		warn(n.pos, n.name)
	}
}

// unknownFacts warns of facts that are near to one and none. The names of
// interfaces are facts too, so others may well be right.
func (l *load) unknownFacts() {
	if l.lint.set["facts"] || l.lint.dynamic {
		return
	}
	known := append(facts.Names(), facts.Errors)
	for _, u := range l.lint.facts {
		if near := NearFact(u.name, known); near != "" {
			l.prog.Warnings = append(l.prog.Warnings, Problem{Pos: u.pos, Message: fmt.Sprintf("there is no fact %q; did you mean %q?", u.name, near)})
		}
	}
}

// NearFact gives the fact that was most likely meant by a name that is not among
// the known ones; "" where the name is known, or may be that of an interface.
func NearFact(name string, known []string) string {
	name = strings.TrimPrefix(name, "ansible_")
	if contains(known, name) || len(name) < 5 || strings.ContainsAny(name, "0123456789") && !strings.Contains(name, "_") {
		return ""
	}
	return spec.Nearest(name, known)
}
