package step_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/sloth-runner/sloth/runner/event"
	"github.com/sloth-runner/sloth/runner/step"
)

func TestBinding(t *testing.T) {
	for _, c := range []struct{ name, task, want string }{
		{"this by name", `:command(function(this) return true, this.name end)`, "x"},
		{"self", `:command(function(p, self) return true, self.name .. p.color end)`, "xred"},
		{"t", `:command(function(t) return true, t.name end)`, "x"},
		{"params first", `:command(function(params) return true, params.color end)`, "red"},
		{"p", `:command(function(p) return true, p.color end)`, "red"},
		{"params, deps", `:command(function(params, deps) return true, deps.base.v end)`, "7"},
		{"inputs", `:command(function(inputs) return true, inputs.base.v end)`, "7"},
		{"by position", `:command(function(a, b, c) return true, a.name .. b.color .. c.base.v end)`, "xred7"},
		{"this falls back to params", `:command(function(a) return true, a.color end)`, "red"},
		{"params fall back to deps", `:command(function(a, b) return true, b.base.v end)`, "7"},
		{"this falls back to deps", `:command(function(this) return true, this.base.v end)`, "7"},
		{"varargs", `:command(function(...) local a, b, c = ... return true, a.name .. b.color .. c.base.v end)`, "xred7"},
		{"global params", `:command(function() return true, params.color end)`, "red"},
		{"name called", `:command(function(this) return true, this.name() .. this:name() end)`, "xx"},
		{"name compared", `:command(function(this) return true, tostring(this.name == "x") .. #this.name end)`, "true1"},
		{"name in a table", `:command(function(this) local t = {x = "found"} return true, t[this.name] end)`, "found"},
		{"agent", `:command(function(this) return true, this.agent.get() .. this.agent:get() .. this.host end)`, "locallocallocal"},
		{"check", `:command(function(this) return true, tostring(this.check) .. this.attempt end)`, "false1"},
		{"run_if", `:run_if(function(params, deps) return deps.base.v == 7 end):command(function() return true, "ran" end)`, "ran"},
		{"when", `:when(function(a, b) return b.color == "red" end):command(function() return true, "ran" end)`, "ran"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t)
			p := r.load(`task("base"):command(function() return true, "", {v = 7} end):build()
task("x"):depends_on("base")` + c.task + `:build()`)
			r.run(p.Tasks[0])
			if res := r.run(p.Tasks[1]); res.Status != event.Success || res.Message != c.want {
				t.Errorf("got %s %q %+v, want %q", res.Status, res.Message, res.Failure, c.want)
			}
		})
	}
}

// Only the name of the running task can be called.
func TestCallText(t *testing.T) {
	res := newRig(t).one(`task("x"):command(function() local s = "y" s() end):build()`)
	if res.Message != "attempt to call a string value" || res.Failure.Line != 1 {
		t.Errorf("got %+v", res.Failure)
	}
}

func TestHooks(t *testing.T) {
	for _, c := range []struct{ name, command, hook, want string }{
		{"success, two", `return true, "m", {v = 1}`, `:on_success(function(params, output) log.info(params.color .. output.v) end)`, "red1"},
		{"success, three", `return true, "m", {v = 1}`, `:on_success(function(this, params, output) log.info(this.name .. params.color .. output.v) end)`, "xred1"},
		{"success, position", `return true, "m", {v = 1}`, `:on_success(function(a, b) log.info(a.color .. b.v) end)`, "red1"},
		{"success, one", `return true, "m", {v = 1}`, `:on_success(function(o) log.info(o.v) end)`, "1"},
		{"success, result", `return true, "m", {v = 1}`, `:on_success(function(result) log.info(result.v) end)`, "1"},
		{"success, no output", `return true`, `:on_success(function(params, output) log.info(tostring(output.v)) end)`, "nil"},
		{"failure, two", `return false, "why"`, `:on_failure(function(params, error) log.info(params.color .. error) end)`, "redwhy"},
		{"failure, three", `return false, "why"`, `:on_failure(function(a, b, c) log.info(a.name .. b.color .. c) end)`, "xredwhy"},
		{"failure, err", `error("boom")`, `:on_failure(function(err) log.info(err) end)`, "site.sloth:1: boom"},
		{"failure, e", `return false, "why"`, `:on_failure(function(e) log.info(e) end)`, "why"},
		{"start", `return true`, `:on_start(function(this, params) log.info("start " .. this.name .. params.color) end)`, "start xred"},
		{"retry", `return false, "why"`, `:retries(1):on_retry(function(this, params, error) log.info(this.attempt .. error) end)`, "1why"},
		{"timeout", `goroutine.sleep(60000)`, `:timeout(0.05):on_timeout(function(params, error) log.info(error) end)`, "timed out after 50ms"},
		{"timeout is a failure", `goroutine.sleep(60000)`, `:timeout(0.05):on_failure(function(params, error) log.info("failed: " .. error) end)`, "failed: site.sloth:1: timed out after 50ms"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t)
			r.one(`task("x"):command(function() ` + c.command + ` end)` + c.hook + `:build()`)
			if got := strings.Join(r.logged(), "|"); !strings.HasSuffix(got, c.want) {
				t.Errorf("logged %q, want %q", got, c.want)
			}
		})
	}
}

func TestHooksOfTheWrongEndStaySilent(t *testing.T) {
	r := newRig(t)
	r.one(`task("x"):command(function() return true end):on_failure(function() log.info("no") end):on_retry(function() log.info("no") end):on_timeout(function() log.info("no") end):build()`)
	r.run(r.load(`task("y"):command(function() return false end):on_success(function() log.info("no") end):build()`).Tasks[0])
	if got := r.logged(); len(got) > 0 {
		t.Errorf("logged %q", got)
	}
}

func TestHookErrors(t *testing.T) {
	r := newRig(t)
	res := r.one("task('x'):command(function() return true end):on_success(function()\nerror('late') end):build()")
	if res.Status != event.Failed || res.Message != "on_success: late" || res.Failure.Line != 2 {
		t.Errorf("on_success: %s %q %+v", res.Status, res.Message, res.Failure)
	}
	res = r.one("task('y'):command(function() return false, 'first' end):on_failure(function() error('second') end):build()")
	if res.Message != "first" || !strings.Contains(strings.Join(r.logged(), "|"), "on_failure: site.sloth:1: second") {
		t.Errorf("on_failure: %q, logged %q", res.Message, r.logged())
	}
	res = r.one("local ran task('z'):on_start(function() error('early') end):retries(3):command(function() ran = true end):on_failure(function(e) log.info('told ' .. tostring(ran) .. e) end):build()")
	if res.Message != "on_start: early" || res.Attempts != 1 {
		t.Errorf("on_start: %q after %d attempts", res.Message, res.Attempts)
	}
	if got := r.logged(); !strings.HasPrefix(got[len(got)-1], "told nil") {
		t.Errorf("logged %q", got)
	}
}

func TestRetries(t *testing.T) {
	for _, c := range []struct {
		strategy string
		want     []time.Duration // at least this, and at most a fifth more
	}{
		{`"exponential"`, []time.Duration{1, 2, 4}},
		{`"linear"`, []time.Duration{1, 2, 3}},
		{`"fixed"`, []time.Duration{1, 1, 1}},
		{`nil`, []time.Duration{1, 1, 1}},
	} {
		r := newRig(t)
		res := r.one(`task("x"):retries(3, ` + c.strategy + `):command(function(this) return false, "attempt " .. this.attempt end):build()`)
		if res.Attempts != 4 || res.Message != "attempt 4" || res.Status != event.Failed {
			t.Errorf("%s: %d attempts, %s %q", c.strategy, res.Attempts, res.Status, res.Message)
		}
		if len(r.clock.slept) != len(c.want) {
			t.Fatalf("%s: slept %v", c.strategy, r.clock.slept)
		}
		for i, w := range c.want {
			if d := r.clock.slept[i]; d < w*time.Second || d > w*time.Second*6/5 {
				t.Errorf("%s: wait %d is %s", c.strategy, i+1, d)
			}
		}
		if n := len(kinds[event.TaskStarted](r)); n != 4 {
			t.Errorf("%s: %d starts", c.strategy, n)
		}
		for i, e := range kinds[event.TaskRetry](r) {
			if e.Attempt != i+1 || e.Delay != r.clock.slept[i] || e.Failure.Message == "" {
				t.Errorf("%s: retry %+v", c.strategy, e)
			}
		}
	}
}

func TestRetrySucceeds(t *testing.T) {
	r := newRig(t)
	res := r.one(`task("x"):retries(5):command(function(this) return this.attempt == 3, "try " .. this.attempt end):on_failure(function() log.info("no") end):build()`)
	if res.Status != event.Success || res.Attempts != 3 || res.Message != "try 3" || len(r.logged()) > 0 {
		t.Errorf("%+v %q", res, r.logged())
	}
}

// A timeout ends the attempt hard, whatever the script does, and counts as one.
func TestTimeout(t *testing.T) {
	for name, body := range map[string]string{
		"sleep":       `goroutine.sleep(60000)`,
		"loop":        `while true do end`,
		"pcall":       `while true do pcall(goroutine.sleep, 60000) end`,
		"os.execute":  `os.execute("sleep 60")`,
		"exec.run":    `return exec.run("sleep 60")`,
		"a goroutine": `goroutine.await(goroutine.async(function() while true do goroutine.sleep(1) end end))`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			start := time.Now()
			res := r.one(`task("x"):timeout("200ms"):retries(1):command(function() ` + body + ` end):build()`)
			if res.Status != event.Timeout || res.Attempts != 2 || res.Message != "timed out after 200ms" {
				t.Errorf("got %s after %d attempts: %q", res.Status, res.Attempts, res.Message)
			}
			if took := time.Since(start); took > 20*time.Second {
				t.Errorf("took %s", took)
			}
		})
	}
}

func TestShellTimeout(t *testing.T) {
	r := newRig(t)
	res := r.one(`task("x"):timeout(0.2):command("sleep 60"):build()`)
	if res.Status != event.Timeout {
		t.Errorf("got %s %q", res.Status, res.Message)
	}
}

func TestCancelled(t *testing.T) {
	r := newRig(t)
	task := r.load(`task("x"):retries(5):command(function() log.info("in") goroutine.sleep(60000) end):on_failure(function() log.info("no") end):build()`).Tasks[0]
	ctx, cancel := context.WithCancel(context.Background())
	o := r.options(task)
	emit := o.Emit
	o.Emit = func(e event.Event) {
		emit(e)
		if _, ok := e.(event.Log); ok {
			cancel()
		}
	}
	res := step.Execute(ctx, o, r.spec(task))
	if res.Status != event.Cancelled || res.Attempts != 1 || len(r.logged()) != 1 {
		t.Errorf("got %+v, logged %q", res, r.logged())
	}
}

func TestRunIf(t *testing.T) {
	for cond, want := range map[string]event.Status{
		"function() return false end":        event.Skipped,
		"function() return nil end":          event.Skipped,
		"function() end":                     event.Skipped,
		"function() return true end":         event.Success,
		"function() return 0 end":            event.Success,
		"false":                              event.Skipped,
		"true":                               event.Success,
		"function() error('cannot say') end": event.Failed,
	} {
		r := newRig(t)
		res := r.one(`task("x"):run_if(` + cond + `):workdir("made"):on_start(function() log.info("started") end):command(function() end):build()`)
		if res.Status != want {
			t.Errorf("%s: %s %q", cond, res.Status, res.Message)
		}
		if started := len(r.logged()) > 0; started != (want == event.Success) {
			t.Errorf("%s: started is %v", cond, started)
		}
		if done := kinds[event.TaskDone](r); len(done) != 1 || done[0].Status != want {
			t.Errorf("%s: %+v", cond, done)
		}
	}
}

func TestFailedWhenChangedWhen(t *testing.T) {
	for _, c := range []struct {
		name, src string
		status    event.Status
		changed   bool
	}{
		{"exec counts as changed", `:command(function() return exec.run("true") end)`, event.Success, true},
		{"changed_when false", `:command(function() return exec.run("true") end):changed_when(false)`, event.Success, false},
		{"changed_when fn", `:command(function() return exec.run("echo yes") end):changed_when(function(result) return result.stdout == "yes\n" end)`, event.Success, true},
		{"changed_when two", `:command(function() return exec.run("echo no") end):changed_when(function(params, output) return output.stdout == "yes\n" end)`, event.Success, false},
		{"changed without a call", `:command(function() return true, "", {new = true} end):changed_when(function(output) return output.new end)`, event.Success, true},
		{"nothing changed", `:command(function() return true end)`, event.Success, false},
		{"failed_when", `:command(function() return exec.run("echo ERROR") end):failed_when(function(r) return r.stdout:find("ERROR") ~= nil end)`, event.Failed, true},
		{"failed_when finds", `:command(function() return true, "said bad" end):failed_when(function(output) return ("bad"):find("b") end)`, event.Failed, false},
		{"failed_when forgives", `:command(function() return exec.run("exit 2") end):failed_when(function(r) return r.exit_code > 2 end)`, event.Success, true},
		{"a shell command", `:command("exit 3")`, event.Failed, true},
		{"check_safe", `:command(function() return exec.run("true", {check_safe = true}) end)`, event.Success, false},
		{"run_if does not count", `:run_if(function() return exec.run("true").success end):command(function() end)`, event.Success, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			res := newRig(t).one(`task("x")` + c.src + `:build()`)
			if res.Status != c.status || res.Changed != c.changed {
				t.Errorf("got %s changed %v (%q), want %s %v", res.Status, res.Changed, res.Message, c.status, c.changed)
			}
			if c.name == "failed_when finds" && res.Failure.Message != "failed_when says so: said bad" {
				t.Errorf("it says %q", res.Failure.Message)
			}
		})
	}
}
