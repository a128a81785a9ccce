package step_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/sloth-runner/sloth/lua/engine"
	"github.com/sloth-runner/sloth/modules"
	"github.com/sloth-runner/sloth/runner/event"
	"github.com/sloth-runner/sloth/runner/step"
)

// services answers what tests ask, and fails on anything else.
type services struct {
	modules.Services
	notified []string
	flushed  [][]string
	vars     map[string]any
	run      func(ctx context.Context, task []byte) ([]byte, error)
}

func (s *services) Notify(_ context.Context, handler string) error {
	s.notified = append(s.notified, handler)
	return nil
}

func (s *services) FlushHandlers(context.Context) error {
	s.flushed = append(s.flushed, s.notified)
	s.notified = nil
	return nil
}

func (s *services) Secret(_ context.Context, name string) (string, error) {
	if name != "db" {
		return "", fmt.Errorf("there is no secret %q", name)
	}
	return "hunter2", nil
}

func (s *services) SetHostVar(_ context.Context, key string, value any) error {
	if s.vars == nil {
		s.vars = map[string]any{}
	}
	s.vars[key] = value
	return nil
}

func (s *services) Inventory(_ context.Context, what, arg string) (any, error) {
	switch what + " " + arg {
	case "hosts web":
		return []any{"web-01", "web-02"}, nil
	case "hosts all":
		return []any{"web-01", "web-02", "db-01"}, nil
	case "vars web-02":
		return map[string]any{"port": int64(81)}, nil
	case "facts db-01":
		return map[string]any{"os_family": "Debian"}, nil
	}
	return nil, fmt.Errorf("inventory: there is no host %q", arg)
}

func (s *services) Require(_ context.Context, name string) ([]byte, string, error) {
	if name == "lib.greet" {
		return []byte(`return {hello = function(n) return "hello " .. n end}`), "lib/greet.lua", nil
	}
	return nil, "", errors.New("not found")
}

func (s *services) RunTask(ctx context.Context, task []byte) ([]byte, error) {
	return s.run(ctx, task)
}

func withServices(s *services) func(*rig) { return func(r *rig) { r.services = s } }

func TestWorkdir(t *testing.T) {
	r := newRig(t)
	res := r.one(`task("x"):workdir("a/b"):command(function(this)
  assert(this.workdir.get() == this.workdir:get())
  assert(this.workdir.exists() and this.workdir:exists())
  assert(exec.run("pwd").stdout == this.workdir.get() .. "\n")
  fs.write("kept", "text")
  assert(fs.read(this.workdir .. "/kept") == "text")
  this.workdir.recreate()
  assert(this.workdir.exists() and fs.stat("kept") == nil, "recreate keeps files")
  this.workdir:cleanup()
  assert(not this.workdir.exists())
  this.workdir.ensure()
  return true, this.workdir.get()
end):build()`)
	want := filepath.Join(r.dir, "a/b")
	if res.Status != event.Success || res.Message != want || !res.Changed {
		t.Fatalf("%s %q %+v", res.Status, res.Message, res.Failure)
	}
	if st, err := os.Stat(want); err != nil || !st.IsDir() {
		t.Error(err)
	}
	// The second time there is nothing to make.
	if res := r.run(r.load(`task("y"):workdir("a/b"):command(function() end):build()`).Tasks[0]); res.Changed {
		t.Error("an existing workdir counts as a change")
	}
	res = r.run(r.load(`task("z"):workdir("a/b/file"):command(function() end):build()`).Tasks[0])
	if res.Status != event.Success {
		t.Error(res.Message)
	}
	os.WriteFile(filepath.Join(r.dir, "plain"), nil, 0o600)
	res = r.run(r.load(`task("no"):workdir("plain/sub"):command(function() end):build()`).Tasks[0])
	if res.Status != event.Failed || !strings.Contains(res.Message, "plain is no folder") && !strings.Contains(res.Message, "not a directory") {
		t.Errorf("%s %q", res.Status, res.Message)
	}
}

func TestWorkdirIsMadeWhenTheTaskStarts(t *testing.T) {
	r := newRig(t)
	p := r.load(`task("x"):workdir("later"):run_if(false):command(function() end):build()`)
	r.run(p.Tasks[0])
	if _, err := os.Stat(filepath.Join(r.dir, "later")); err == nil {
		t.Error("a skipped task has made its workdir")
	}
}

func TestThisMisused(t *testing.T) {
	for body, want := range map[string]string{
		`this.workdir.cleanup()`: `this.workdir.cleanup: the task "x" has no :workdir()`,
		`this.workdir.make()`:    `this.workdir has no "make"; known are get, ensure, exists, cleanup, recreate`,
	} {
		res := newRig(t).one(`task("x"):command(function(this) ` + body + ` end):build()`)
		if res.Message != want {
			t.Errorf("%s: %q", body, res.Message)
		}
	}
}

func TestEnv(t *testing.T) {
	r := newRig(t)
	res := r.one(`task("x"):env({A = "1", B = 2}):command(function()
  os.execute("printf $A$B")
  return true, os.getenv("A") .. os.getenv("B") .. exec.run("printf $A$B").stdout
end):build()`)
	if res.Message != "1212" {
		t.Errorf("%q %+v", res.Message, res.Failure)
	}
	out := kinds[event.Output](r)
	if len(out) == 0 || string(out[0].Data) != "12" || out[0].Stream != "stdout" {
		t.Errorf("%+v", out)
	}
}

func TestVars(t *testing.T) {
	r := newRig(t)
	p := r.load(`task("x"):vars({port = 8080}):command(function() return true, vars.port .. tostring(vars.other) end):build()
task("y"):command(function() return true, tostring(vars.port) end):build()`)
	if res := r.run(p.Tasks[0]); res.Message != "8080nil" {
		t.Errorf("%q %+v", res.Message, res.Failure)
	}
	if res := r.run(p.Tasks[1]); res.Message != "nil" {
		t.Errorf("the variables of one task are seen in another: %q", res.Message)
	}
}

func TestNoLog(t *testing.T) {
	r := newRig(t)
	res := r.one(`task("x"):no_log():retries(1):command(function()
  log.info("hunter2") print("hunter2") os.execute("echo hunter2") exec.run("echo hunter2") fs.write("f", "hunter2")
  return false, "hunter2", {password = "hunter2"}
end):build()`)
	for _, e := range r.events {
		if strings.Contains(fmt.Sprintf("%+v", e), "hunter2") {
			t.Errorf("shown: %+v", e)
		}
		if d, ok := e.(event.TaskDone); ok && strings.Contains(fmt.Sprintf("%+v", d.Failure), "hunter2") {
			t.Errorf("shown: %+v", d.Failure)
		}
	}
	if res.Failure == nil || res.Failure.Message != "failed; no_log hides the reason" {
		t.Errorf("%+v", res.Failure)
	}
	// Whoever depends on the task still needs what it gave.
	if fmt.Sprint(res.Outputs) != "map[password:hunter2]" {
		t.Errorf("%v", res.Outputs)
	}
}

func TestNotify(t *testing.T) {
	for _, c := range []struct {
		name, src string
		want      []string
	}{
		{"changed", `:notify("restart"):command(function() fs.write("f", "x") end)`, []string{"restart"}},
		{"unchanged", `:notify("restart"):command(function() end)`, nil},
		{"changed_when", `:notify("restart"):changed_when(false):command(function() fs.write("f", "x") end)`, nil},
		{"in the command", `:notify("a"):command(function() fs.write("f", "x") notify("b") notify("a", "b") end)`, []string{"a", "b"}},
		{"in the command, unchanged", `:command(function() notify("b") end)`, nil},
		{"failed behind a change", `:notify("restart"):command(function() fs.write("f", "x") error("late") end)`, []string{"restart"}},
		{"changed in the first attempt", `:notify("restart"):retries(1):command(function(this) fs.write("f", "x") return this.attempt == 2 end)`, []string{"restart"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			res := newRig(t).one(`handler("a"):command("true") handler("b"):command("true") handler("restart"):command("true")
task("x")` + c.src + `:build()`)
			if !slices.Equal(res.Notified, c.want) {
				t.Errorf("notified %v, want %v", res.Notified, c.want)
			}
		})
	}
}

func TestFlushHandlers(t *testing.T) {
	s := &services{}
	r := newRig(t, withServices(s))
	res := r.one(`handler("a"):command("true") handler("b"):command("true")
task("x"):command(function() fs.write("f", "x") notify("a") flush_handlers() notify("b") end):build()`)
	if fmt.Sprint(s.flushed) != "[[a]]" || !slices.Equal(res.Notified, []string{"b"}) {
		t.Errorf("flushed %v, left %v, %+v", s.flushed, res.Notified, res.Failure)
	}
}

func TestCalledEvents(t *testing.T) {
	r := newRig(t)
	r.one("task('x'):command(function()\n fs.write('f', 'x')\n fs.write('f', 'x')\n os.execute('true')\n end):build()")
	calls := kinds[event.Called](r)
	if len(calls) != 2 || calls[0].Line != 2 || calls[0].File != "site.sloth" || !calls[0].Changed || calls[0].Diff.Empty() ||
		calls[1].Function != "os.execute" || calls[1].Line != 4 {
		t.Errorf("%+v", calls)
	}
}

func TestDeps(t *testing.T) {
	r := newRig(t)
	task := r.load(`task("a"):command("true"):build()
task("b"):command("true"):build()
task("x"):depends_on({"a", "b"}):command(function(this, params, deps)
  return true, deps.a.v .. deps.a.hosts["web-01"].v .. tostring(deps.b.nothing) .. #deps.a.list
    .. deps.a.raw_data.v .. deps.a.hosts["web-01"].raw_data.v .. tostring(deps.b.raw_data.nothing)
end):build()`).Tasks[2]
	s := r.spec(task)
	s.Deps = map[string]any{"a": map[string]any{"v": "here", "list": []any{"x", "y"}}}
	s.DepHosts = map[string]map[string]any{"a": {"web-01": map[string]any{"v": "there"}, "web-02": nil}}
	res := step.Execute(context.Background(), r.options(task), s)
	if res.Message != "heretherenil2heretherenil" {
		t.Errorf("%q %+v", res.Message, res.Failure)
	}
}

func TestNestedRun(t *testing.T) {
	r := newRig(t)
	res := r.one(`
local function go(fn) return task("inner"):command(fn):run() end
task("x"):command(function()
  local out = {}
  local function say(...) local t = {...} for i = 1, select("#", ...) do t[i] = tostring(t[i]) end out[#out + 1] = table.concat(t, ",") end
  say(go(function() end))
  say(go(function() return true, "m", 3 end))
  say(go(function() return false, "why" end))
  say(go(function() error("boom") end))
  say(go(function() return nil, "lua" end))
  say(select("#", go(function() return true, nil, 5 end)))
  local ok, said, res = go(function() return exec.run("echo hi") end)
  say(ok, said, res.exit_code)
  local shared = 0
  go(function() shared = shared + 1 end)
  say(shared)
  say(task("t"):timeout(0.05):command(function() goroutine.sleep(60000) end):run())
  return true, table.concat(out, "|")
end):build()`)
	want := "true|true,m,3|false,why|false,site.sloth:9: boom|false,lua|3|true,hi\n,0|1|false,site.sloth:17: timed out after 50ms"
	if res.Message != want {
		t.Errorf("got  %q\nwant %q (%+v)", res.Message, want, res.Failure)
	}
	for _, d := range kinds[event.TaskDone](r) {
		if d.Nested != (d.Task != "x") {
			t.Errorf("%+v", d)
		}
	}
}

func TestGlobals(t *testing.T) {
	for _, c := range []struct{ name, body, want string }{
		{"retry", `local n = 0 return true, retry(3, function() n = n + 1 if n < 3 then error("no") end return "got " .. n end, {delay = 0})`, "got 3"},
		{"retry false", `local n = 0 retry(3, function() n = n + 1 return n == 2 end, {delay = "1ms", strategy = "exponential"}) return true, n`, "2"},
		{"retry result", `local n = 0 local r = retry(2, function() n = n + 1 return exec.run("test " .. n .. " = 2") end, {delay = 0}) return true, tostring(r.success)`, "true"},
		{"retry gives up", `local ok, err = pcall(retry, 2, function() error("never") end, {delay = 0}) return true, err`, "site.sloth:1: never"},
		{"retry gives up on false", `local ok, why = retry(2, function() return false, "why" end, {delay = 0}) return true, why`, "why"},
		{"secret hides", `return true, tostring(secret("db"))`, modules.Hidden},
		{"secret unknown", `return true, select(2, pcall(secret, "none"))`, `there is no secret "none"`},
		{"inventory", `return true, table.concat(inventory.hosts("web"), ",") .. #inventory.hosts() .. inventory.vars("web-02").port .. inventory.facts("db-01").os_family`, "web-01,web-02381Debian"},
		{"inventory colon", `return true, #inventory:hosts("web")`, "2"},
		{"host", `return true, host.name .. #host.groups`, "local0"},
		{"host.set", `host.set("seen", {1, 2}) return true, #vars.seen`, "2"},
		{"facts", `return true, type(facts.kernel) .. (facts.os_family and "" or "none")`, "string"},
		{"require", `return true, require("lib.greet").hello("you")`, "hello you"},
		{"require a module", `return true, tostring(require("exec") == exec) .. tostring(require("values") == Values)`, "truetrue"},
		{"prompt answered", `return true, prompt("color")`, "red"},
		{"prompt default", `return true, prompt("size", {default = "big"})`, "big"},
		{"prompt nobody", `return true, select(2, pcall(prompt, "size"))`, `prompt("size"): nobody can be asked here; give the answer with --param size=VALUE`},
		{"pause", `pause("1ms") pause(0.001) return true, "on"`, "on"},
		{"pause nobody", `return true, select(2, pcall(pause))`, `pause: nobody can be asked here; give a duration to wait for, such as pause("10s")`},
	} {
		t.Run(c.name, func(t *testing.T) {
			res := newRig(t, withServices(&services{})).one(`task("x"):command(function() ` + c.body + ` end):build()`)
			if res.Message != c.want && !strings.HasSuffix(res.Message, ": "+c.want) {
				t.Errorf("got %q %+v, want %q", res.Message, res.Failure, c.want)
			}
		})
	}
}

func TestCall(t *testing.T) {
	r := newRig(t)
	run := func(name string, args map[string]any) step.Result {
		return step.Execute(context.Background(), step.Options{Host: step.Host{Name: "local"}, Env: *r.env(), Modules: r.mods, Emit: r.emit},
			step.Spec{ID: "1", Task: "adhoc", Call: name, Args: args})
	}
	path := filepath.Join(r.dir, "f")
	if res := run("fs.write", map[string]any{"path": path, "content": "x"}); res.Status != event.Success || !res.Changed {
		t.Errorf("%+v %+v", res, res.Failure)
	}
	if res := run("fs.write", map[string]any{"path": path, "content": "x"}); res.Changed {
		t.Error("the second call changes something")
	}
	if res := run("exec.run", map[string]any{"cmd": "echo out; exit 3"}); res.Status != event.Failed || !res.Changed || res.Message != "exit code 3" {
		t.Errorf("%+v", res)
	}
	if res := run("fs.wirte", nil); res.Status != event.Failed || !strings.Contains(res.Message, `did you mean "write"?`) {
		t.Errorf("%+v", res)
	}
}

func TestShell(t *testing.T) {
	r := newRig(t)
	res := r.one(`task("x"):command("printf out; printf err >&2"):on_success(function(output) log.info(output.stdout .. output.exit_code) end):build()`)
	if res.Status != event.Success || res.Message != "out" || !res.Changed || r.logged()[0] != "out0" {
		t.Errorf("%+v %q", res, r.logged())
	}
	streams := map[string]string{}
	for _, o := range kinds[event.Output](r) {
		streams[o.Stream] += string(o.Data)
	}
	if streams["stdout"] != "out" || streams["stderr"] != "err" {
		t.Errorf("%v", streams)
	}
}

func TestEventsAreWhole(t *testing.T) {
	r := newRig(t)
	r.one(`task("x"):retries(1):command(function(this) log.info("a") goroutine.spawn(function() while true do log.info("on") goroutine.sleep(1) end end) return this.attempt == 2 end):build()`)
	last := len(r.events) - 1
	done, ok := r.events[last].(event.TaskDone)
	if !ok || done.Attempts != 2 || done.Step != "id-x" || done.Host != "local" {
		t.Errorf("the last event is %+v", r.events[last])
	}
	if _, ok := r.events[0].(event.TaskStarted); !ok {
		t.Errorf("the first event is %+v", r.events[0])
	}
}

func TestMuchOutput(t *testing.T) {
	r := newRig(t)
	res := r.one(`task("x"):command(function()
  log.info(("x"):rep(1000000))
  os.execute("head -c 200000 /dev/zero")
  return true, ("y"):rep(1000000), {text = ("z"):rep(3000000)}
end):build()`)
	if len(res.Message) > 70_000 {
		t.Errorf("a message of %d bytes", len(res.Message))
	}
	if n := len(res.Outputs.(map[string]any)["text"].(string)); n > 1<<20+20 {
		t.Errorf("an output of %d bytes", n)
	}
	total := 0
	for _, e := range r.events {
		_, body, err := event.Encode(e)
		if err != nil || len(body) > 2<<20 {
			t.Errorf("%d bytes, %v", len(body), err)
		}
		if o, ok := e.(event.Output); ok {
			total += len(o.Data)
			if len(o.Data) > 32<<10 {
				t.Errorf("a piece of %d bytes", len(o.Data))
			}
		}
	}
	if total != 200000 {
		t.Errorf("%d bytes of output", total)
	}
	if res := r.run(r.load(`task("y"):command(function() local t = {} for i = 1, 20 do t[i] = ("z"):rep(1000000) end return true, "", t end):build()`).Tasks[0]); res.Status != event.Failed || !strings.Contains(res.Message, "the outputs cannot be passed on") {
		t.Errorf("%s %.100s", res.Status, res.Message)
	}
}

func TestNothingToRunWith(t *testing.T) {
	res := step.Execute(context.Background(), step.Options{Emit: func(event.Event) {}}, step.Spec{Task: "x"})
	if res.Status != event.Failed || res.Message != "the task has no command" {
		t.Errorf("%+v", res)
	}
	broken := step.Options{Emit: func(event.Event) {}, Source: func(context.Context) (*engine.VM, step.Callbacks, func(), error) {
		return nil, step.Callbacks{}, nil, errors.New("no snapshot")
	}}
	if res := step.Execute(context.Background(), broken, step.Spec{Task: "x"}); res.Message != "no snapshot" {
		t.Errorf("%+v", res)
	}
}

// In a running task a mistake is raised where it is written, however it came to be.
func TestMistakesInARunningTask(t *testing.T) {
	for body, want := range map[string]string{
		"local m = 'retrys'\nlocal b = task('y')\nb[m](b, 3)":   "4: a task has no method :retrys — did you mean :retries?",
		"local v\ntask('y')\n  :command('true')\n  :timeout(v)": `5: task "y": timeout got nil: is the variable defined above? (v)`,
		"workflow('w')":             "2: a workflow is defined at the top level of a file, not inside a task",
		"local f = 'x'\ninclude(f)": "3: include works at the top level of a file; inside a task use require",
		"local s = 'fs'\nlocal m = require(s)\nm['raed']('x')": `4: fs has no function "raed"; did you mean "read"?`,
		"task('y'):run()":          `2: task "y" has no command to run`,
		"retry(0, function() end)": "2: retry needs how often to try, from 1, not the number 0",
		"retry(3)":                 "2: retry got nil: is the variable defined above?",
		"notify()":                 "2: notify got nil: is the variable defined above?",
		"secret()":                 "2: secret got nil: is the variable defined above?",
	} {
		res := newRig(t, withServices(&services{})).one("task('x'):command(function()\n" + body + "\nend):build()")
		if got := fmt.Sprintf("%d: %s", res.Failure.Line, res.Message); got != want {
			t.Errorf("%s\n got %s\nwant %s", body, got, want)
		}
	}
}

// Tasks that run at the same time in the controller's VM share its variables
// and keep their own events, folders and handlers.
func TestSideBySide(t *testing.T) {
	r := newRig(t)
	var src strings.Builder
	src.WriteString("count = 0\n")
	const n = 20
	for i := range n {
		fmt.Fprintf(&src, `task("t%d"):workdir("d%d"):vars({me = %d}):command(function(this)
  for i = 1, 5 do count = count + 1 goroutine.sleep(1) log.info(this.name) end
  fs.write("f", tostring(vars.me))
  notify("h%d")
  return true, this.workdir.get()
end):build()
`, i, i, i, i)
	}
	p := r.load(src.String() + `task("last"):command(function() return true, count end):build()`)
	results := make([]step.Result, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { results[i] = r.run(p.Tasks[i]) })
	}
	wg.Wait()
	for i, res := range results {
		dir := filepath.Join(r.dir, fmt.Sprintf("d%d", i))
		text, err := os.ReadFile(filepath.Join(dir, "f"))
		if err != nil || string(text) != fmt.Sprint(i) || res.Message != dir || fmt.Sprint(res.Notified) != fmt.Sprintf("[h%d]", i) {
			t.Errorf("%d: %q %v %+v", i, text, err, res)
		}
	}
	for _, l := range kinds[event.Log](r) {
		if l.Message != l.Task {
			t.Errorf("%s said %s", l.Task, l.Message)
		}
	}
	if res := r.run(p.Tasks[n]); res.Message != fmt.Sprint(5*n) {
		t.Errorf("counted %s", res.Message)
	}
}
