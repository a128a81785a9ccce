package runner_test

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

	"github.com/sloth-runner/sloth/connection"
	"github.com/sloth-runner/sloth/connection/faultproxy"
	"github.com/sloth-runner/sloth/connection/shim"
	"github.com/sloth-runner/sloth/connection/shim/shimtest"
	"github.com/sloth-runner/sloth/connection/ssh"
	"github.com/sloth-runner/sloth/connection/sshdtest"
	"github.com/sloth-runner/sloth/lua/bind"
	"github.com/sloth-runner/sloth/lua/dsl"
	"github.com/sloth-runner/sloth/lua/engine"
	"github.com/sloth-runner/sloth/lua/goroutine"
	"github.com/sloth-runner/sloth/modules/all"
	"github.com/sloth-runner/sloth/runner"
	"github.com/sloth-runner/sloth/runner/event"
	"github.com/sloth-runner/sloth/runner/template"
	"github.com/sloth-runner/sloth/state/mem"
	"github.com/sloth-runner/sloth/state/values"
	lua "github.com/yuin/gopher-lua"
)

// fleet is a few real servers, and an inventory of nothing but them.
type fleet struct {
	t       *testing.T
	servers map[string]*sshdtest.Server
	order   []string
	vars    map[string]map[string]any
	dialer  *ssh.Dialer
	pool    *connection.Pool
	store   *mem.Store

	shims    shim.Binaries
	runID    string
	proxies  map[string]*faultproxy.Proxy
	patience time.Duration // for broken links
	silence  time.Duration // until a link counts as broken; 0: as always
}

func newFleet(t *testing.T, n int, o sshdtest.Options) *fleet {
	t.Helper()
	f := &fleet{t: t, servers: map[string]*sshdtest.Server{}, vars: map[string]map[string]any{}, store: mem.New(), shims: shimtest.Binaries(t), runID: "test"}
	for i, s := range sshdtest.StartAll(t, n, o) {
		name := fmt.Sprintf("h%d", i+1)
		f.servers[name] = s
		f.order = append(f.order, name)
		f.vars[name] = map[string]any{"dir": filepath.Join(s.Home, "site")}
	}
	f.dialer = ssh.NewDialer(ssh.Config{ConfigFile: "none"})
	f.pool = connection.NewPool(func(ctx context.Context, t connection.Target) (connection.Conn, error) { return f.dialer.Dial(ctx, t) }, connection.PoolOptions{})
	t.Cleanup(func() { f.pool.Close(); f.dialer.Close() })
	return f
}

func (f *fleet) Match(pattern, _ string) ([]string, error) {
	if pattern == "all" {
		return slices.Clone(f.order), nil
	}
	var out []string
	for _, p := range strings.Split(pattern, ",") {
		if f.servers[p] == nil {
			return nil, fmt.Errorf("no host matches %q", p)
		}
		out = append(out, p)
	}
	return out, nil
}
func (f *fleet) Vars(host string) map[string]any { return f.vars[host] }
func (f *fleet) Groups(string) []string          { return []string{"web"} }
func (f *fleet) Address(host string) string {
	if s := f.servers[host]; s != nil {
		return s.Host
	}
	return host
}
func (f *fleet) Become(string) string { return "" }

func (f *fleet) open(ctx context.Context, host string, o runner.SessionOptions) (runner.Session, error) {
	target := f.servers[host].Target()
	if p := f.proxies[host]; p != nil {
		target = p.Target(target)
	}
	c, err := f.pool.Get(ctx, target)
	if err != nil {
		return nil, err
	}
	s, err := shim.Open(ctx, c, shim.Options{
		Host: host, RunID: f.runID, Binaries: f.shims, Durable: o.Durable, Adopt: o.Adopt, Settle: o.Settle, Met: o.Met, Expect: o.Expect, Link: o.Link, ReconnectFor: f.patience, Silence: f.silence,
		Redial: func(ctx context.Context, broken connection.Conn) (connection.Conn, error) {
			broken.Close()
			return f.pool.Get(ctx, target)
		},
	})
	if err != nil {
		return nil, err // not a nil session in a full interface
	}
	return s, nil
}

// ran is what a run showed.
type ran struct {
	t      *testing.T
	code   int
	events []event.Event
}

// run runs a script as apply does.
func (f *fleet) run(script string, change ...func(*runner.Options)) *ran {
	f.t.Helper()
	dir := f.t.TempDir()
	return f.runIn(dir, script, change...)
}

func (f *fleet) runIn(dir, script string, change ...func(*runner.Options)) *ran {
	f.t.Helper()
	out := &ran{t: f.t}
	vm := engine.New(dsl.VMOptions(engine.Options{}))
	defer vm.Close()
	vals := values.New(f.store, "test")
	o := runner.Options{
		RunID: f.runID, VM: vm, Hosts: f, Open: f.open, HostsByDefault: true, Root: dir, Modules: all.Modules(),
		Emit: func(e event.Event) { out.events = append(out.events, e) }, State: func(ctx context.Context, call, op string, args []any) ([]any, error) {
			if call == "" {
				return vals.Do(ctx, op, args)
			}
			return vals.DoOnce(ctx, call, op, args)
		}, Require: dsl.Libraries(dir),
		Render: template.Render,
	}
	for _, c := range change {
		c(&o)
	}
	var r *runner.Runner
	bind.Install(vm, all.Modules())
	goroutine.Install(vm)
	loader := dsl.Install(vm, dsl.Options{Modules: all.Modules(), RunTask: func(ctx context.Context, t *dsl.Task) ([]lua.LValue, error) {
		if r == nil {
			return nil, errors.New("no runner yet")
		}
		return r.RunTask(ctx, t)
	}})
	vm.Pristine()
	path := filepath.Join(dir, "site.sloth")
	if err := os.WriteFile(path, []byte(script), 0o644); err != nil {
		f.t.Fatal(err)
	}
	prog, err := loader.LoadFile(context.Background(), path)
	if err != nil {
		f.t.Fatal(err)
	}
	if r, err = runner.New(context.Background(), o); err != nil {
		f.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	out.code = r.RunWorkflow(ctx, prog.Workflows[0], prog.Handlers)
	if err := r.Close(); err != nil {
		f.t.Error(err)
	}
	return out
}

// done gives how a task ended on a host.
func (r *ran) done(task, host string) event.TaskDone {
	for _, e := range r.events {
		if d, ok := e.(event.TaskDone); ok && d.Task == task && d.Host == host && !d.Nested {
			return d
		}
	}
	return event.TaskDone{}
}

func (r *ran) want(code int) *ran {
	r.t.Helper()
	if r.code != code {
		r.t.Errorf("exit code %d, want %d", r.code, code)
		for _, e := range r.events {
			r.t.Logf("%T %+v", e, e)
		}
	}
	return r
}

func (r *ran) logs() string {
	var b strings.Builder
	for _, e := range r.events {
		// The servers of a fleet are one machine, and that is told.
		if l, ok := e.(event.Log); ok && !strings.Contains(l.Message, " are one machine ") {
			fmt.Fprintf(&b, "%s: %s\n", l.Host, l.Message)
		}
	}
	return b.String()
}

func TestApplyChangesAndThenFindsNothingToDo(t *testing.T) {
	f := newFleet(t, 2, sshdtest.Options{})
	script := `
local dir = function(x) return vars.dir .. "/" .. x end
local a = task("folder"):command(function() file_ops.file{path = dir(""), state = "directory"} end):build()
local b = task("page"):depends_on("folder"):command(function() file_ops.copy{content = "hello " .. host.name .. "\n", dest = dir("page")} end):build()
workflow.define("site", {tasks = {a, b}, config = {hosts = "all"}})`
	first := f.run(script).want(0)
	second := f.run(script).want(0)
	for _, h := range f.order {
		text, err := os.ReadFile(filepath.Join(f.servers[h].Home, "site", "page"))
		if err != nil || string(text) != "hello "+h+"\n" {
			t.Errorf("%s: %q, %v", h, text, err)
		}
		if !first.done("page", h).Changed || second.done("page", h).Changed || second.done("folder", h).Changed {
			t.Errorf("%s: changed first %v, then %v", h, first.done("page", h).Changed, second.done("page", h).Changed)
		}
	}
}

func TestCapturedValuesTravel(t *testing.T) {
	f := newFleet(t, 1, sshdtest.Options{})
	r := f.run(`
local config = { deep = { list = { 1, 2, 3 }, name = "x" } }
config.self = config
local function double(n) return n * 2 end
local function sum(list) local s = 0 for _, v in ipairs(list) do s = s + double(v) end return s end
local tasks = {}
for i = 1, 3 do
	tasks[i] = task("t" .. i):command(function()
		return true, "ok", { i = i, sum = sum(config.deep.list), cycle = config.self.self.deep.name }
	end):build()
end
workflow.define("w", {tasks = tasks, config = {hosts = "all"}})`).want(0)
	for i := 1; i <= 3; i++ {
		out, _ := r.done(fmt.Sprintf("t%d", i), "h1").Outputs.(map[string]any)
		if fmt.Sprint(out["i"], out["sum"], out["cycle"]) != fmt.Sprint(i, 12, "x") {
			t.Errorf("t%d gave %v", i, out)
		}
	}
}

func TestOutputsOfADependencyReachTheNextStep(t *testing.T) {
	f := newFleet(t, 2, sshdtest.Options{})
	r := f.run(`
local a = task("a"):command(function() return true, "", { who = host.name } end):build()
local here = task("here"):delegate_to("local"):depends_on("a"):command(function(this, params, deps)
	local names = {}
	for h, out in pairs(deps.a.hosts) do names[#names + 1] = h .. "=" .. out.who end
	table.sort(names)
	return true, table.concat(names, " ")
end):build()
local b = task("b"):depends_on({"a", "here"}):command(function(_, _, deps) return true, deps.a.who end):build()
workflow.define("w", {tasks = {a, here, b}, config = {hosts = "all"}})`).want(0)
	if got := r.done("here", "local").Message; got != "h1=h1 h2=h2" {
		t.Errorf("deps.a.hosts gave %q", got)
	}
	for _, h := range f.order {
		if got := r.done("b", h).Message; got != h {
			t.Errorf("on %s deps.a.who is %q", h, got)
		}
	}
}

func TestNestedRunsFromAHost(t *testing.T) {
	f := newFleet(t, 3, sshdtest.Options{})
	r := f.run(`
local greet = function(n) return "hi " .. n end
local a = task("a"):delegate_to("h1"):command(function()
	local got = {}
	for _, h in ipairs({ "h2", "h3" }) do
		local ok, msg, out = task("inner " .. h):delegate_to(h):command(function() return true, greet(host.name), { n = #h } end):run()
		got[#got + 1] = tostring(ok) .. " " .. msg .. " " .. tostring(out and out.n)
	end
	local ok, byhost = task("both"):delegate_to("h2,h3"):command(function() return host.name ~= "h3", host.name end):run()
	got[#got + 1] = tostring(ok) .. " " .. byhost.h2
	return true, table.concat(got, "; ")
end):build()
workflow.define("w", {tasks = {a}})`).want(0)
	if got := r.done("a", "h1").Message; got != "true hi h2 2; true hi h3 2; false h2" {
		t.Errorf("nested runs gave %q", got)
	}
}

func TestHandlersRunOnceWhereSomethingChanged(t *testing.T) {
	f := newFleet(t, 2, sshdtest.Options{})
	script := `
local a = task("a"):command(function() file_ops.copy{content = "x", dest = vars.dir .. "-a"} end):notify("reload"):build()
local b = task("b"):command(function() file_ops.copy{content = "y", dest = vars.dir .. "-b"} end):notify("reload"):build()
handler("reload"):command(function() log.info("reloaded") end):build()
workflow.define("w", {tasks = {a, b}, config = {hosts = "all"}})`
	if got := f.run(script).want(0).logs(); strings.Count(got, "reloaded") != 2 {
		t.Errorf("handlers: %q", got)
	}
	if got := f.run(script).want(0).logs(); strings.Contains(got, "reloaded") {
		t.Errorf("handlers ran where nothing changed: %q", got)
	}
}

func TestAFailureIsToldWithItsPlaceAndKeepsDependantsBack(t *testing.T) {
	f := newFleet(t, 2, sshdtest.Options{})
	r := f.run(`
local a = task("a"):command(function()
	if host.name == "h1" then error("broken here") end
end):build()
local b = task("b"):depends_on("a"):command(function() end):build()
workflow.define("w", {tasks = {a, b}, config = {hosts = "all"}})`).want(2)
	d := r.done("a", "h1")
	if d.Status != event.Failed || d.Failure == nil || d.Failure.Line != 3 || !strings.HasSuffix(d.Failure.File, "site.sloth") || d.Failure.Message != "broken here" {
		t.Errorf("a on h1: %+v %+v", d, d.Failure)
	}
	if got := r.done("b", "h1").Status; got != event.Skipped {
		t.Errorf("b on h1 is %s", got)
	}
	if got := r.done("b", "h2").Status; got != event.Success {
		t.Errorf("b on h2 is %s", got)
	}
}

func TestAnUnreachableHostDoesNotHoldUpTheOthers(t *testing.T) {
	f := newFleet(t, 2, sshdtest.Options{})
	f.servers["h2"].Close()
	r := f.run(`
local a = task("a"):command(function() return true, "fine" end):build()
workflow.define("w", {tasks = {a}, config = {hosts = "all"}})`).want(4)
	if r.done("a", "h1").Message != "fine" {
		t.Error("h1 did not run")
	}
	if d := r.done("a", "h2"); d.Status != event.Unreachable || d.Failure == nil || d.Failure.Class != "tcp" {
		t.Errorf("h2: %+v", d)
	}
}

func TestWhatCannotTravelIsAnErrorBeforeAnyHostIsTouched(t *testing.T) {
	f := newFleet(t, 1, sshdtest.Options{})
	r := f.run(`
local cfg = { db = { conn = coroutine.create(function() end) } }
local a = task("a"):command(function() return cfg.db.conn end):build()
workflow.define("w", {tasks = {a}, config = {hosts = "all"}})`).want(1)
	last := r.events[len(r.events)-1].(event.RunDone)
	if !strings.Contains(last.Message, "site.sloth:3: cannot send") || !strings.Contains(last.Message, "cfg") {
		t.Errorf("message: %s", last.Message)
	}
	if _, err := os.Stat(filepath.Join(f.servers["h1"].Home, ".cache")); err == nil {
		t.Error("the host was touched")
	}
}

func TestFilesTemplatesAndStateOverTheWire(t *testing.T) {
	f := newFleet(t, 2, sshdtest.Options{})
	dir := t.TempDir()
	big := strings.Repeat("0123456789abcdef", 200_000)
	for name, text := range map[string]string{"small.txt": "small\n", "big.bin": big, "page.j2": "{{ inventory_hostname }} {{ n }}\n", "lib/x.lua": "return { f = function() return 'lib' end }"} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	r := f.runIn(dir, `
local a = task("a"):vars({ n = 7 }):command(function()
	file_ops.file{path = vars.dir, state = "directory"}
	file_ops.copy{src = "small.txt", dest = vars.dir .. "/small"}
	file_ops.copy{src = "big" .. ".bin", dest = vars.dir .. "/big"}
	file_ops.template{src = "page.j2", dest = vars.dir .. "/page"}
	file_ops.template{src = "page.j2", dest = vars.dir .. "/page2", vars = { n = 8 }}
	state.increment("count")
	return true, require("lib.x").f()
end):build()
workflow.define("w", {tasks = {a}, config = {hosts = "all"}})`).want(0)
	for _, h := range f.order {
		for name, want := range map[string]string{"small": "small\n", "big": big, "page": h + " 7\n", "page2": h + " 8\n"} {
			got, err := os.ReadFile(filepath.Join(f.servers[h].Home, "site", name))
			if err != nil || string(got) != want {
				t.Errorf("%s %s: %d bytes, %v", h, name, len(got), err)
			}
		}
		if got := r.done("a", h).Message; got != "lib" {
			t.Errorf("require on %s gave %q", h, got)
		}
	}
	if got, err := values.New(f.store, "test").Do(context.Background(), "get", []any{"count"}); err != nil || fmt.Sprint(got[0]) != "2" {
		t.Errorf("count is %v, %v", got, err)
	}
}

func TestATimeoutEndsTheProcessesOnTheHost(t *testing.T) {
	f := newFleet(t, 1, sshdtest.Options{})
	r := f.run(`
local a = task("a"):timeout("1s"):command(function() exec.run("echo $$ > " .. vars.dir .. ".pid; sleep 1000") end):build()
workflow.define("w", {tasks = {a}, config = {hosts = "all"}})`).want(2)
	if got := r.done("a", "h1").Status; got != event.Timeout {
		t.Errorf("status %s", got)
	}
	pid, err := os.ReadFile(filepath.Join(f.servers["h1"].Home, "site.pid"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat("/proc/" + strings.TrimSpace(string(pid))); err == nil {
		t.Error("the process is still there")
	}
}

func TestAHostMayNotSendCommandsElsewhere(t *testing.T) {
	f := newFleet(t, 2, sshdtest.Options{})
	r := f.run(`
local a = task("a"):delegate_to("h1"):command(function()
	local got = {}
	local function try(t) local ok, msg = t:run() got[#got + 1] = tostring(ok) .. " " .. tostring(msg) end
	try(task("constant"):delegate_to("h2"):command("true"))
	try(task("made up"):delegate_to("h2"):command("tr" .. "ue; id"))
	try(task("here"):delegate_to("lo" .. "cal"):command(function() return true end))
	return true, table.concat(got, "\n")
end):build()
workflow.define("w", {tasks = {a}})`).want(0)
	got := strings.Split(r.done("a", "h1").Message, "\n")
	for i, want := range []string{"true", "no function sent to it contains", "may not run on the controller"} {
		if i >= len(got) || !strings.Contains(got[i], want) {
			t.Errorf("%d: %q, want %q in it", i, got, want)
		}
	}
}
