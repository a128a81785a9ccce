package step_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	lua "github.com/yuin/gopher-lua"

	"github.com/sloth-runner/sloth/lua/bind"
	"github.com/sloth-runner/sloth/lua/dsl"
	"github.com/sloth-runner/sloth/lua/engine"
	"github.com/sloth-runner/sloth/lua/goroutine"
	"github.com/sloth-runner/sloth/lua/ship"
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

func TestPlan(t *testing.T) {
	r := newRig(t, checking)
	p := r.load(`
task("files"):workdir("wd"):notify("h"):on_success(function() log.info("hook") end):command(function(this)
  assert(this.check)
  fs.write("f", "planned")
  assert(fs.read("f") == "planned", "the plan does not see what it planned")
  os.execute("touch executed")
  local f = io.open("opened", "w") f:write("x") f:close()
  notify("h")
  local res = exec.run("touch executed")
  assert(res.planned and res.success and res.exit_code == 0 and res.stdout == "")
  return true, "ok"
end):build()
task("past"):retries(3):command(function()
  local res = exec.run("cat /etc/version")
  local major = res.stdout:match("^(%d+)")
  return major + 1
end):build()
task("guess"):command(function()
  local res = exec.run("cat /etc/version")
  if res.stdout ~= "1" then return false, "wrong version" end
end):build()
task("safe"):command(function() return true, exec.run("echo read", {check_safe = true}).stdout end):build()
task("shell"):command("touch executed"):build()
handler("h"):command("true"):build()`)
	res := r.run(p.Tasks[0])
	if res.Status != event.Success || !res.Changed || len(res.Notified) > 0 {
		t.Errorf("files: %+v %+v", res, res.Failure)
	}
	res = r.run(p.Tasks[1])
	if res.Status != event.Success || !strings.HasPrefix(res.Message, "cannot plan past site.sloth:16: ") || res.Attempts != 1 {
		t.Errorf("past: %s %q", res.Status, res.Message)
	}
	if res = r.run(p.Tasks[2]); res.Status != event.Success || res.Message != "not known until applied: wrong version" {
		t.Errorf("guess: %s %q", res.Status, res.Message)
	}
	if res = r.run(p.Tasks[3]); res.Message != "read\n" || res.Changed {
		t.Errorf("safe: %q %v", res.Message, res.Changed)
	}
	if res = r.run(p.Tasks[4]); res.Status != event.Success || !res.Changed {
		t.Errorf("shell: %s %v", res.Status, res.Changed)
	}
	for _, l := range r.logged() {
		if l == "hook" {
			t.Error("a hook ran")
		}
	}
	entries, err := os.ReadDir(r.dir)
	if err != nil || len(entries) > 0 {
		t.Errorf("the plan left %v %v", entries, err)
	}
	for _, e := range kinds[event.Called](r) {
		if !e.Planned {
			t.Errorf("not planned: %+v", e)
		}
	}
}

// An error that no plan could change is an error.
func TestPlanFails(t *testing.T) {
	res := newRig(t, checking).one(`task("x"):command(function() error("broken") end):build()`)
	if res.Status != event.Failed || res.Message != "broken" {
		t.Errorf("%s %q", res.Status, res.Message)
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
end):build()`).Tasks[2]
	s := r.spec(task)
	s.Deps = map[string]any{"a": map[string]any{"v": "here", "list": []any{"x", "y"}}}
	s.DepHosts = map[string]map[string]any{"a": {"web-01": map[string]any{"v": "there"}, "web-02": nil}}
	res := step.Execute(context.Background(), r.options(task), s)
	if res.Message != "heretherenil2" {
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

// host is another machine as a worker makes it: for every attempt a fresh VM
// with the sources and the snapshot.
func host(t *testing.T, r *rig, task *dsl.Task, name string) (step.Options, step.Spec) {
	t.Helper()
	var parcel ship.Parcel
	var err error
	r.vm.Do(func(L *lua.LState) {
		parcel, err = ship.EncodeIn(L, step.TaskCallbacks(task).Table(L), ship.Options{To: name})
	})
	if err != nil {
		t.Fatal(err)
	}
	o := step.Options{
		Host: step.Host{Name: name}, Env: *r.env(), Check: r.check, Modules: r.mods, Emit: r.emit, Clock: r.clock,
		Source: func(context.Context) (*engine.VM, step.Callbacks, func(), error) {
			vm := engine.New(dsl.VMOptions(engine.Options{Linger: 100 * time.Millisecond}))
			bind.Install(vm, r.mods)
			goroutine.Install(vm)
			dsl.InstallHost(vm, dsl.HostOptions{Name: name, Address: "192.0.2.1", Groups: []string{"web"}, Vars: map[string]any{"port": int64(80)}, Values: map[string]any{"v": "1"}})
			vm.Pristine()
			for _, hash := range parcel.Chunks {
				c, ok := r.vm.Chunk(hash)
				if !ok {
					return nil, step.Callbacks{}, nil, errors.New("no chunk")
				}
				if _, err := vm.Load(c.Name, c.Source); err != nil {
					return nil, step.Callbacks{}, nil, err
				}
			}
			v, err := ship.Decode(vm, parcel.Data, ship.Limits{})
			if err != nil {
				return nil, step.Callbacks{}, nil, err
			}
			return vm, step.CallbacksOf(v), func() { vm.Close() }, nil
		},
	}
	return o, r.spec(task)
}

func TestOnAHost(t *testing.T) {
	r := newRig(t)
	task := r.load(`
local count, cfg = 0, {port = 1, tags = {"a", "b"}}
local function join(t) return table.concat(t, "+") end
task("x"):retries(2):vars({port = 99}):run_if(function(params) return params.color == "red" end)
  :on_retry(function(this, params, error) log.info("retry " .. this.attempt .. " " .. error) end)
  :command(function(this)
    count = count + 1
    cfg.port = cfg.port + 1
    if this.attempt < 3 then return false, "count " .. count end
    return true, table.concat({this.host, host.name, host.address, host.groups[1], vars.port, values.v, join(cfg.tags), count, cfg.port}, " ")
  end):build()`).Tasks[0]
	o, s := host(t, r, task, "web-01")
	res := step.Execute(context.Background(), o, s)
	// Each attempt starts from the snapshot again.
	if want := "web-01 web-01 192.0.2.1 web 99 1 a+b 1 2"; res.Message != want || res.Attempts != 3 {
		t.Errorf("got %q after %d, want %q (%+v)", res.Message, res.Attempts, want, res.Failure)
	}
	if got := strings.Join(r.logged(), "|"); got != "retry 1 count 1|retry 2 count 1" {
		t.Errorf("logged %q", got)
	}
}

// A nested run on a host asks the controller, with the closure and all it
// captured.
func TestNestedOnAHost(t *testing.T) {
	s := &services{}
	r := newRig(t, withServices(s))
	task := r.load(`
local known = task("known"):command(function(this) return true, "known on " .. this.host end):build()
function helper(n) return "item " .. n end
task("x"):command(function(this)
  local out = {}
  for i, h in ipairs({"db-01", "db-02"}) do
    local ok, said, extra = task("inner " .. i):delegate_to(h):timeout("5s"):command(function(inner)
      return true, helper(i) .. " from " .. this.host .. " on " .. inner.host, {i = i}
    end):run()
    out[#out + 1] = tostring(ok) .. " " .. said .. " " .. extra.i
  end
  out[#out + 1] = select(2, known:run())
  local ok, why = task("bad"):command(function() error("boom") end):run()
  out[#out + 1] = tostring(ok) .. " " .. why
  return true, table.concat(out, "|")
end):build()`).Tasks[1]
	s.run = func(ctx context.Context, data []byte) ([]byte, error) {
		allowed := func(ref ship.Ref) error {
			if _, ok := r.vm.Chunk(ref.Chunk); ref.Chunk != "" && !ok {
				return errors.New("a function that was not sent")
			}
			return nil
		}
		nested, err := dsl.DecodeTask(r.vm, data, ship.Limits{Allow: allowed})
		if err != nil {
			return nil, err
		}
		where := nested.Target.Pattern
		if where == "" {
			where = "local"
		}
		o, spec := host(t, r, nested, where)
		spec.Nested = true
		res := step.Execute(ctx, o, spec)
		vals, err := res.Values(r.vm)
		if err != nil {
			return nil, err
		}
		return dsl.EncodeReturns(r.vm, vals)
	}
	o, spec := host(t, r, task, "web-01")
	res := step.Execute(context.Background(), o, spec)
	want := "true item 1 from web-01 on db-01 1|true item 2 from web-01 on db-02 2|known on local|false site.sloth:13: boom"
	if res.Message != want {
		t.Errorf("got  %q\nwant %q (%+v)", res.Message, want, res.Failure)
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
