package saved

import (
	"fmt"
	"slices"

	"github.com/sloth-runner/sloth/runner/step"
)

// Difference is one thing that is not as the plan has it. Host is empty for what
// concerns all. Text has several lines where that is clearer.
type Difference struct{ Host, Text string }

// Compare tells in what now, a plan made a moment ago under the same key,
// differs from p. Nothing means that p can be applied.
func (p *Plan) Compare(now *Plan) []Difference {
	return append(compareInputs(p.Inputs, now.Inputs), compareHosts(p.Hosts, now.Hosts)...)
}

// CompareInputs is Compare without a look at the hosts.
func (p *Plan) CompareInputs(now *Plan) []Difference { return compareInputs(p.Inputs, now.Inputs) }

func (in Input) String() string {
	switch in.Kind {
	case KindHost:
		return "how " + in.Host + " is reached, its groups, or whom its tasks become"
	case KindVariable:
		return "the variable " + in.Name + " of " + in.Host
	case KindShim:
		return "the program that runs on hosts (" + in.Name + ")"
	case KindVersion:
		return "the version of sloth"
	case KindAnswer:
		return "the answer to " + in.Name
	case KindParam:
		return "the parameter " + in.Name
	}
	return "the " + in.Kind + " " + in.Name
}

func compareInputs(plan, now []Input) []Difference {
	type at struct{ kind, host, name string }
	is := map[at]string{}
	for _, in := range now {
		is[at{in.Kind, in.Host, in.Name}] = in.Hash
	}
	var out []Difference
	for _, in := range plan {
		key := at{in.Kind, in.Host, in.Name}
		hash, there := is[key]
		delete(is, key)
		switch {
		case !there:
			out = append(out, Difference{Text: in.String() + " is not used any more"})
		case hash != in.Hash:
			out = append(out, Difference{Text: in.String() + " has changed"})
		}
	}
	for _, in := range now {
		if in.Kind == KindFile { // one that is needed shows in the calls; others only have a name that a script says
			continue
		}
		if _, left := is[at{in.Kind, in.Host, in.Name}]; left {
			out = append(out, Difference{Text: in.String() + " is new"})
		}
	}
	return out
}

func compareHosts(plan, now []Host) []Difference {
	is := map[string]Host{}
	for _, h := range now {
		is[h.Name] = h
	}
	var out []Difference
	for _, h := range plan {
		n, there := is[h.Name]
		delete(is, h.Name)
		if !there {
			out = append(out, Difference{h.Name, "it has no part in the run any more"})
			continue
		}
		out = append(out, compareSteps(h, n)...)
	}
	for _, h := range now {
		if _, left := is[h.Name]; left {
			out = append(out, Difference{h.Name, "it is not in the plan"})
		}
	}
	return out
}

func compareSteps(plan, now Host) []Difference {
	is := map[string]Step{}
	for _, s := range now.Steps {
		is[s.ID] = s
	}
	var out []Difference
	for _, s := range plan.Steps {
		n, there := is[s.ID]
		delete(is, s.ID)
		switch {
		case !there:
			out = append(out, Difference{plan.Name, "task " + s.Task + ": it is in the plan and would not run now, or has changed"})
		case n.Status != s.Status:
			out = append(out, Difference{plan.Name, fmt.Sprintf("task %s: planned %s, now %s%s", s.Task, s.Status, n.Status, because(n.Message))})
		default:
			for _, text := range compareCalls(s.Calls, n.Calls) {
				out = append(out, Difference{plan.Name, "task " + s.Task + ": " + text})
			}
			if s.Partial != n.Partial {
				out = append(out, Difference{plan.Name, "task " + s.Task + ": what the plan can see of it has changed" + because(n.Message)})
			}
		}
	}
	for _, s := range now.Steps {
		if _, left := is[s.ID]; left {
			out = append(out, Difference{plan.Name, "task " + s.Task + ": it is not in the plan, or has changed"})
		}
	}
	return out
}

func because(message string) string {
	if message == "" {
		return ""
	}
	return " (" + message + ")"
}

// compareCalls pairs calls that are equal, in any order: tasks may call from
// several goroutines at once.
func compareCalls(plan, now []step.Expected) []string {
	left := slices.Clone(now)
	var odd []step.Expected
	for _, c := range plan {
		i := slices.IndexFunc(left, func(n step.Expected) bool {
			return n.Function == c.Function && n.Args == c.Args && n.Seen == c.Seen
		})
		if i < 0 {
			odd = append(odd, c)
			continue
		}
		left = slices.Delete(left, i, i+1)
	}
	var out []string
	for _, c := range odd {
		i := nearest(c, left)
		if i < 0 {
			out = append(out, c.Place()+": it is in the plan and would not be called now\n  planned: "+c.Shown())
			continue
		}
		n := left[i]
		left = slices.Delete(left, i, i+1)
		text := n.Place()
		if n.Args != c.Args {
			text += ": with other arguments"
		}
		out = append(out, text+"\n"+c.Against(n))
	}
	for _, n := range left {
		out = append(out, n.Place()+": it is not in the plan\n  now:     "+n.Shown())
	}
	return out
}

// nearest finds the call that was most likely meant: first by its arguments,
// then by its place, then by its function.
func nearest(c step.Expected, among []step.Expected) int {
	for _, like := range []func(step.Expected) bool{
		func(n step.Expected) bool { return n.Args == c.Args },
		func(n step.Expected) bool { return n.File == c.File && n.Line == c.Line },
		func(step.Expected) bool { return true },
	} {
		if i := slices.IndexFunc(among, func(n step.Expected) bool { return n.Function == c.Function && like(n) }); i >= 0 {
			return i
		}
	}
	return -1
}
