package runner

import (
	"context"
	"slices"
	"testing"

	"github.com/sloth-runner/sloth/lua/dsl"
	"github.com/sloth-runner/sloth/runner/event"
	"github.com/sloth-runner/sloth/runner/step"
)

// What had not left for a lost host goes on elsewhere, before what depends on it
// and in the order of the list; what may have begun stays.
func TestStepsOfALostHostGoElsewhere(t *testing.T) {
	for _, parallel := range []int{1, 4} {
		tasks := []*dsl.Task{{Name: "a"}, {Name: "b", DependsOn: []string{"a"}}, {Name: "c", DependsOn: []string{"b"}}, {Name: "begun"}}
		spare := []string{"h2", "h3"}
		r := newRig(t, tasks, map[string]string{"a": "h1", "b": "h1", "c": "h1 h2", "begun": "h1"}, graphOptions{parallel: parallel > 1}, schedOptions{
			parallel: parallel,
			elsewhere: func(_ *cell, taken []string) string {
				for _, h := range spare {
					if !slices.Contains(taken, h) {
						return h
					}
				}
				return ""
			},
		})
		r.sched.runCells = func(ctx context.Context, host string, cells []*cell, done func(*cell, step.Result)) {
			if host != "h1" {
				r.run(ctx, host, cells, done)
				return
			}
			for _, c := range cells {
				c.unsent = c.node.task.Name != "begun"
				done(c, step.Result{Status: event.Unreachable, NotRun: true})
			}
		}
		r.sched.run(t.Context())
		for key, want := range map[[2]string]event.Status{
			{"a", "h2"}: event.Success, {"b", "h2"}: event.Success, {"c", "h2"}: event.Success, {"c", "h3"}: event.Success, {"begun", "h1"}: event.Unreachable,
		} {
			n := r.nodes[slices.IndexFunc(r.nodes, func(n *node) bool { return n.task.Name == key[0] })]
			if c := n.cell(key[1]); c == nil || c.result.Status != want {
				t.Errorf("%d at once: %s on %s is not %s: %v", parallel, key[0], key[1], want, r.log)
			}
		}
		r.before(t, "end a@h2", "begin b@h2")
		r.before(t, "end b@h2", "begin c@h2")
		r.before(t, "end b@h2", "begin c@h3")
	}
}

// Where no host is left the loss stands.
func TestALostHostWithoutAnotherIsUnreachable(t *testing.T) {
	r := newRig(t, []*dsl.Task{{Name: "a"}}, map[string]string{"a": "h1 h2"}, graphOptions{}, schedOptions{elsewhere: func(_ *cell, taken []string) string {
		if slices.Contains(taken, "h3") {
			return ""
		}
		return "h3"
	}})
	r.sched.runCells = func(_ context.Context, _ string, cells []*cell, done func(*cell, step.Result)) {
		for _, c := range cells {
			c.unsent = true
			done(c, step.Result{Status: event.Unreachable, NotRun: true})
		}
	}
	r.sched.run(t.Context())
	left := 0
	for _, c := range r.nodes[0].cells {
		if c.state != cellDone || c.result.Status != event.Unreachable {
			t.Errorf("%s: %v", c.host, c.result.Status)
		}
		left++
	}
	if left != 2 {
		t.Errorf("%d cells", left)
	}
}
