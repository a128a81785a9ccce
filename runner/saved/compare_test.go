package saved

import (
	"strings"
	"testing"

	"github.com/sloth-runner/sloth/modules"
	"github.com/sloth-runner/sloth/runner/event"
	"github.com/sloth-runner/sloth/runner/step"
)

func TestCompare(t *testing.T) {
	key := KeyOf(secret, "01")
	for _, c := range []struct {
		name   string
		change func(*Plan)
		want   string
	}{
		{"nothing", func(*Plan) {}, ""},
		{"a secret", func(p *Plan) { p.Inputs[0] = key.Input(KindSecret, "", "db", "other") }, "|the secret db has changed"},
		{"an input less", func(p *Plan) { p.Inputs = p.Inputs[1:] }, "|the secret db is not used any more"},
		{"a variable more", func(p *Plan) { p.Inputs = append(p.Inputs, key.Input(KindVariable, "web-01", "port", "1")) }, "|the variable port of web-01 is new"},
		{"an answer", func(p *Plan) { p.Inputs = append(p.Inputs, key.Input(KindAnswer, "", "pin", "1")) }, "|the answer to pin is new"},
		{"a file that nobody reads", func(p *Plan) { p.Inputs = append(p.Inputs, key.Input(KindFile, "", "out/x", "1")) }, ""},
		{"a shim", func(p *Plan) { p.Inputs = append(p.Inputs, key.Input(KindShim, "", "linux/amd64", "1")) }, "|the program that runs on hosts (linux/amd64) is new"},
		{"a host less", func(p *Plan) { p.Hosts = nil }, "web-01|it has no part in the run any more"},
		{"a host more", func(p *Plan) { p.Hosts = append(p.Hosts, Host{Name: "web-02"}) }, "web-02|it is not in the plan"},
		{"another step", func(p *Plan) { p.Hosts[0].Steps[0].ID = key.step("b-1") },
			"web-01|task a: it is in the plan and would not run now, or has changed; web-01|task a: it is not in the plan, or has changed"},
		{"a status", func(p *Plan) {
			p.Hosts[0].Steps[0].Status, p.Hosts[0].Steps[0].Message = event.Skipped, "run_if says no"
		}, "web-01|task a: planned Success, now Skipped (run_if says no)"},
		{"what is found", func(p *Plan) {
			p.Hosts[0].Steps[0].Calls[0].Seen, p.Hosts[0].Steps[0].Calls[0].Lines = "t", []string{"/x mode: 0600 -> 0644"}
		}, "web-01|task a: file_ops.copy at site.sloth:3\n  planned: /x state: absent -> file\n  now:     /x mode: 0600 -> 0644"},
		{"what is found, though it reads the same", func(p *Plan) { p.Hosts[0].Steps[0].Calls[0].Seen = "t" },
			"web-01|task a: file_ops.copy at site.sloth:3\n  planned: /x state: absent -> file\n  now:     /x state: absent -> file (with another content)"},
		{"arguments", func(p *Plan) { p.Hosts[0].Steps[0].Calls[0].Args = "b" },
			"web-01|task a: file_ops.copy at site.sloth:3: with other arguments\n  planned: /x state: absent -> file\n  now:     /x state: absent -> file (with another content)"},
		{"a call less", func(p *Plan) { p.Hosts[0].Steps[0].Calls = nil },
			"web-01|task a: file_ops.copy at site.sloth:3: it is in the plan and would not be called now\n  planned: /x state: absent -> file"},
		{"a call more", func(p *Plan) {
			p.Hosts[0].Steps[0].Calls = append(p.Hosts[0].Steps[0].Calls, step.Expected{Function: "exec.run", Changed: true, Runs: true})
		}, "web-01|task a: exec.run: it is not in the plan\n  now:     to be run"},
		{"how far it sees", func(p *Plan) { p.Hosts[0].Steps[0].Partial = true }, "web-01|task a: what the plan can see of it has changed"},
	} {
		now := example()
		c.change(now)
		var got []string
		for _, d := range example().Compare(now) {
			got = append(got, d.Host+"|"+d.Text)
		}
		if s := strings.Join(got, "; "); s != c.want {
			t.Errorf("%s: got\n%s\nwant\n%s", c.name, s, c.want)
		}
	}
}

// Goroutines of a task call in any order.
func TestTheOrderOfCallsIsNoDifference(t *testing.T) {
	a, b := step.Expected{Function: "f", Args: "1", Seen: "x"}, step.Expected{Function: "f", Args: "2", Seen: "y"}
	if got := compareCalls([]step.Expected{a, b}, []step.Expected{b, a}); len(got) > 0 {
		t.Error(got)
	}
	if got := compareCalls([]step.Expected{a, a}, []step.Expected{a}); len(got) != 1 {
		t.Error(got)
	}
}

func TestRecorder(t *testing.T) {
	key := KeyOf(secret, "01")
	r := NewRecorder(key)
	at := event.Where{Task: "a", Host: "web-01", Step: "a-1"}
	r.Event(event.Called{Where: at, Function: "file_ops.copy", Changed: true, Args: "a", Seen: "s",
		Diff: modules.Diff{Changes: []modules.Change{{What: "/x", Attr: "content", Unknown: true}}}})
	r.Event(event.Called{Where: at, Function: "exec.run", Changed: true, Message: "true"})
	r.Event(event.TaskDone{Where: at, Status: event.Success, Partial: true, Message: "cannot plan past x"})
	r.Event(event.Called{Where: event.Where{Task: "h", Host: "web-01", Step: "h-1", Handler: true}, Function: "exec.run"})
	r.Event(event.TaskDone{Where: event.Where{Task: "nowhere"}, Status: event.Skipped})
	if err := r.Input(KindFile, "", "motd", "1"); err != nil {
		t.Error(err)
	}
	if err := r.Input(KindFile, "", "motd", "2"); err == nil {
		t.Error("a file that changed meanwhile is taken")
	}
	var p Plan
	r.Fill(&p)
	if len(p.Hosts) != 1 || len(p.Hosts[0].Steps) != 1 || len(p.Hosts[0].Steps[0].Calls) != 2 || len(p.Inputs) != 1 {
		t.Fatalf("%+v", p)
	}
	if got := strings.Join(p.Unknown(), "; "); got != "web-01: a: file_ops.copy; web-01: a: cannot plan past x" {
		t.Errorf("unknown: %s", got)
	}

	for allow, wantFrom := range map[bool]int{true: 2, false: 2} {
		x := p.Expect(key, allow)
		e, ok := x.Step("web-01", "a-1")
		if !ok || e.Open != allow || e.OpenFrom != wantFrom || !e.Partial {
			t.Errorf("allow %v: %+v, %v", allow, e, ok)
		}
		if _, ok := x.Step("web-01", "other-1"); ok != allow {
			t.Errorf("allow %v: a step that is not in the plan: %v", allow, ok)
		}
		if _, ok := x.Step("web-02", "a-1"); ok {
			t.Error("a host that is not in the plan")
		}
		if x.Input(KindFile, "", "motd", "1") != nil || x.Input(KindFile, "", "motd", "2") == nil || x.Input(KindFile, "", "new", "2") != nil {
			t.Error("files are not held to the plan")
		}
	}
}

func TestCanonical(t *testing.T) {
	same := Canonical(map[string]any{"a": int64(1), "b": []any{modules.NewSecret("x"), nil, true}})
	if got := Canonical(map[string]any{"b": []any{modules.NewSecret("x"), nil, true}, "a": int64(1)}); got != same {
		t.Errorf("%s, %s", got, same)
	}
	seen := map[string]bool{}
	for _, v := range []any{nil, "", "1", int64(1), 1.5, true, []any{"1"}, []any{"1", "2"}, []any{"12"}, map[string]any{"1": "2"},
		map[any]any{int64(1): "2"}, modules.NewSecret("1"), modules.NewSecret("2"), []byte("raw")} {
		s := Canonical(v)
		if seen[s] {
			t.Errorf("%#v is taken for another", v)
		}
		seen[s] = true
	}
}
