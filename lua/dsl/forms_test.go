package dsl_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	lua "github.com/yuin/gopher-lua"

	"github.com/sloth-runner/sloth/lua/dsl"
	"github.com/sloth-runner/sloth/lua/engine"
)

// field of a task after one method call.
func TestTaskMethods(t *testing.T) {
	for _, c := range []struct {
		call string
		get  func(*dsl.Task) any
		want any
	}{
		{`:description("d")`, func(t *dsl.Task) any { return t.Description }, "d"},
		{`:command("echo hi")`, func(t *dsl.Task) any { return t.Shell }, "echo hi"},
		{`:command(function() end)`, func(t *dsl.Task) any { return t.Command != nil && t.Shell == "" }, true},
		{`:workdir("/srv/app")`, func(t *dsl.Task) any { return t.Workdir }, "/srv/app"},
		{`:delegate_to("web-01")`, func(t *dsl.Task) any { return t.Target }, dsl.Target{Set: true, Pattern: "web-01"}},
		{`:delegate_to("web:&prod:!web-03")`, func(t *dsl.Task) any { return t.Target.Pattern }, "web:&prod:!web-03"},
		{`:delegate_to({"a", "b*"})`, func(t *dsl.Task) any { return t.Target.Pattern }, "a,b*"},
		{`:delegate_to("a", "b")`, func(t *dsl.Task) any { return t.Target.Pattern }, "a,b"},
		{`:delegate_to(function() return "a" end)`, func(t *dsl.Task) any { return t.Target.Set && t.Target.Func != nil }, true},
		{`:delegate_to({group = "web", strategy = "round_robin", spread = 2})`, func(t *dsl.Task) any { return t.Target }, dsl.Target{Set: true, Group: "web", Strategy: "round_robin", Spread: 2}},
		{`:delegate_to({group = "web"})`, func(t *dsl.Task) any { return t.Target.Spread }, 1},
		{`:depends_on("other")`, func(t *dsl.Task) any { return t.DependsOn }, []string{"other"}},
		{`:depends_on({"other"})`, func(t *dsl.Task) any { return t.DependsOn }, []string{"other"}},
		{`:depends_on({other})`, func(t *dsl.Task) any { return t.DependsOn }, []string{"other"}},
		{`:depends_on(other):depends_on("other", "third")`, func(t *dsl.Task) any { return t.DependsOn }, []string{"other", "third"}},
		{`:run_if(function() end)`, func(t *dsl.Task) any { return t.RunIf != nil }, true},
		{`:when(function() end)`, func(t *dsl.Task) any { return t.RunIf != nil }, true},
		{`:timeout("5m")`, func(t *dsl.Task) any { return t.Timeout }, 5 * time.Minute},
		{`:timeout("1h30m")`, func(t *dsl.Task) any { return t.Timeout }, 90 * time.Minute},
		{`:timeout(2.5)`, func(t *dsl.Task) any { return t.Timeout }, 2500 * time.Millisecond},
		{`:timeout("90")`, func(t *dsl.Task) any { return t.Timeout }, 90 * time.Second},
		{`:retries(3)`, func(t *dsl.Task) any { return fmt.Sprint(t.Retries, t.Backoff) }, "3fixed"},
		{`:retries(3, "exponential")`, func(t *dsl.Task) any { return fmt.Sprint(t.Retries, t.Backoff) }, "3exponential"},
		{`:retries(0, "linear")`, func(t *dsl.Task) any { return fmt.Sprint(t.Retries, t.Backoff) }, "0linear"},
		{`:artifacts({"app", "dist/*.tgz"})`, func(t *dsl.Task) any { return t.Artifacts }, []string{"app", "dist/*.tgz"}},
		{`:artifacts("app")`, func(t *dsl.Task) any { return t.Artifacts }, []string{"app"}},
		{`:consumes({"app"})`, func(t *dsl.Task) any { return t.Consumes }, []string{"app"}},
		{`:on_start(print)`, func(t *dsl.Task) any { return t.OnStart != nil }, true},
		{`:on_success(print)`, func(t *dsl.Task) any { return t.OnSuccess != nil }, true},
		{`:on_failure(print)`, func(t *dsl.Task) any { return t.OnFailure != nil }, true},
		{`:on_retry(print)`, func(t *dsl.Task) any { return t.OnRetry != nil }, true},
		{`:on_timeout(print)`, func(t *dsl.Task) any { return t.OnTimeout != nil }, true},
		{`:ignore_errors()`, func(t *dsl.Task) any { return t.IgnoreErrors }, true},
		{`:ignore_errors(false)`, func(t *dsl.Task) any { return t.IgnoreErrors }, false},
		{`:no_log()`, func(t *dsl.Task) any { return t.NoLog }, true},
		{`:any_errors_fatal()`, func(t *dsl.Task) any { return t.AnyErrorsFatal }, true},
		{`:run_once()`, func(t *dsl.Task) any { return t.RunOnce }, true},
		{`:async(true)`, func(t *dsl.Task) any { return t.Async }, true},
		{`:async()`, func(t *dsl.Task) any { return t.Async }, true},
		{`:changed_when(function() end)`, func(t *dsl.Task) any { return t.ChangedWhen != nil }, true},
		{`:failed_when(false)`, func(t *dsl.Task) any { return t.FailedWhen != nil }, true},
		{`:become()`, func(t *dsl.Task) any { return fmt.Sprint(t.Become, t.BecomeUser) }, "true"},
		{`:become("root")`, func(t *dsl.Task) any { return fmt.Sprint(t.Become, t.BecomeUser) }, "trueroot"},
		{`:become(false)`, func(t *dsl.Task) any { return t.Become }, false},
		{`:user("www-data")`, func(t *dsl.Task) any { return fmt.Sprint(t.Become, t.BecomeUser) }, "truewww-data"},
		{`:tags({"web", "db"})`, func(t *dsl.Task) any { return t.Tags }, []string{"web", "db"}},
		{`:tags("web")`, func(t *dsl.Task) any { return t.Tags }, []string{"web"}},
		{`:serial(2)`, func(t *dsl.Task) any { return t.Serial }, []string{"2"}},
		{`:serial("25%")`, func(t *dsl.Task) any { return t.Serial }, []string{"25%"}},
		{`:serial({1, 5, "50%"})`, func(t *dsl.Task) any { return t.Serial }, []string{"1", "5", "50%"}},
		{`:env({K = "v", N = 2, B = true})`, func(t *dsl.Task) any { return t.Env }, map[string]string{"K": "v", "N": "2", "B": "true"}},
		{`:vars({port = 80})`, func(t *dsl.Task) any { return t.Vars.RawGetString("port") }, lua.LNumber(80)},
		{`:notify("restart nginx")`, func(t *dsl.Task) any { return t.Notify }, []string{"restart nginx"}},
		{`:notify({"a", "b"}):notify("a")`, func(t *dsl.Task) any { return t.Notify }, []string{"a", "b"}},
	} {
		t.Run(c.call, func(t *testing.T) {
			p := mustLoad(t, `local other = task("other"):command("true"):build()
task("third"):command("true"):build()
task("x"):command("true")`+c.call+`:build()`)
			if got := c.get(p.Tasks[2]); !reflect.DeepEqual(got, c.want) {
				t.Errorf("got %#v, want %#v", got, c.want)
			}
		})
	}
}

// Every method is in the table above, so that a new one is tested.
func TestTaskMethodsAreAll(t *testing.T) {
	text, err := os.ReadFile("forms_test.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range dsl.TaskMethods() {
		if !strings.Contains(string(text), ":"+m+"(") {
			t.Errorf(":%s is tested nowhere", m)
		}
	}
}

func TestPositions(t *testing.T) {
	p := mustLoad(t, "\nlocal a = task('a')\n  :command('true')\n  :build()\nworkflow('w')\n  :task('one', 'true')\n  :task('two', 'true')\n  :delegate_to('web-01')\n")
	var got []int
	for _, task := range p.Tasks {
		got = append(got, task.Pos.Line)
	}
	if !slices.Equal(got, []int{2, 6, 7}) || p.Workflows[0].Pos.Line != 5 {
		t.Errorf("tasks at %v, workflow at %d", got, p.Workflows[0].Pos.Line)
	}
}

func names(tasks []*dsl.Task) string {
	var out []string
	for _, t := range tasks {
		out = append(out, t.Name)
	}
	return strings.Join(out, " ")
}

func TestWorkflowForms(t *testing.T) {
	const two = `local a = task("a"):command("true"):build() local b = task("b"):command("true"):build() `
	full := func(w *dsl.Workflow) string {
		return fmt.Sprint(w.Name, "|", w.Description, "|", w.Version, "|", names(w.Tasks), "|", w.Config.Timeout, w.Config.MaxParallelTasks, w.Config.Environment, "|", w.Metadata, "|", w.OnComplete != nil)
	}
	for name, c := range map[string]struct{ src, want string }{
		"table":             {two + `workflow.define("w", { description = "d", version = "1", tasks = {a, b}, config = {timeout = "5m", max_parallel_tasks = 2, environment = "prod"}, metadata = {author = "me", tags = {"x"}}, on_complete = function() end })`, "w|d|1|a b|5m0s 2prod|map[author:me tags:[x]]|true"},
		"fluent":            {two + `workflow.define("w"):description("d"):version("1"):tasks({a, b}):config({timeout = 300, max_parallel_tasks = 2, environment = "prod"}):metadata({author = "me"}):on_complete(function() end)`, "w|d|1|a b|5m0s 2prod|map[author:me]|true"},
		"fluent and built":  {two + `local w = workflow.define("w"):tasks({a, b}):build()`, "w|||a b|0s 0|map[]|false"},
		"colon":             {two + `workflow:define("w", { tasks = {a, b} })`, "w|||a b|0s 0|map[]|false"},
		"called with table": {two + `workflow("w", { tasks = {a, b} })`, "w|||a b|0s 0|map[]|false"},
		"chain":             {`workflow("w"):task("a", function() end):task("b", "true")`, "w|||a b|0s 0|map[]|false"},
		"chain of tasks":    {two + `workflow("w"):task(a):task(b)`, "w|||a b|0s 0|map[]|false"},
		"unbuilt":           {`workflow.define("w", { tasks = { task("a"):command("true"), task("b"):command("true") } })`, "w|||a b|0s 0|map[]|false"},
	} {
		t.Run(name, func(t *testing.T) {
			p := mustLoad(t, c.src)
			if len(p.Workflows) != 1 {
				t.Fatalf("%d workflows", len(p.Workflows))
			}
			if got := full(p.Workflows[0]); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
			for _, task := range p.Tasks {
				if !task.Built {
					t.Errorf("%s is not built", task.Name)
				}
			}
		})
	}
}

func TestWorkflowChain(t *testing.T) {
	p := mustLoad(t, `workflow("w")
  :task("one", function() end)
  :task("two", function() end)
  :task("three", function() end)
  :delegate_to("web-01")`)
	tasks := p.Workflows[0].Tasks
	for i, want := range []string{"[]", "[one]", "[two]"} {
		if got := fmt.Sprint(tasks[i].DependsOn); got != want || tasks[i].Target.Pattern != "web-01" {
			t.Errorf("%s depends on %s and runs on %q", tasks[i].Name, got, tasks[i].Target.Pattern)
		}
	}
}

func TestConfig(t *testing.T) {
	p := mustLoad(t, `workflow.define("w", { tasks = { task("a"):command("true") }, config = {
  timeout = "10m", max_parallel_tasks = 4, environment = "prod", retry_policy = {max_attempts = 4, strategy = "exponential"}, fail_fast = true,
  hosts = {"web", "db"}, serial = {1, "50%"}, max_fail = "10%", strategy = "linear", my_own_setting = {1, 2} } })`)
	want := dsl.Config{
		Timeout: 10 * time.Minute, MaxParallelTasks: 4, Environment: "prod", Retries: 3, Backoff: "exponential", FailFast: true,
		Hosts: "web,db", Serial: []string{"1", "50%"}, MaxFail: "10%", Strategy: "linear", Extra: map[string]any{"my_own_setting": []any{int64(1), int64(2)}},
	}
	if got := p.Workflows[0].Config; !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	for src, want := range map[string]string{
		`retry_policy = 2`: "2fixed", `retry_policy = "linear"`: "3linear", `retry_policy = {retries = 5}`: "5fixed", `retry_policy = {attempts = 1}`: "0fixed",
	} {
		p := mustLoad(t, `workflow.define("w", { tasks = { task("a"):command("true") }, config = {`+src+`} })`)
		if c := p.Workflows[0].Config; fmt.Sprint(c.Retries, c.Backoff) != want {
			t.Errorf("%s: %d %s", src, c.Retries, c.Backoff)
		}
	}
	for src, want := range map[string]string{`5`: "5", `"5"`: "5", `0`: "0", `"10%"`: "10%"} {
		p := mustLoad(t, `workflow.define("w", { tasks = { task("a"):command("true") }, config = { max_fail = `+src+`} })`)
		if got := p.Workflows[0].Config.MaxFail; got != want {
			t.Errorf("max_fail %s is %q", src, got)
		}
	}
}

func TestImplicitWorkflow(t *testing.T) {
	const tasks = `
local a = task("a"):command("true"):build()
local b = task("b"):command("true"):build()
local c = task("c"):command("true"):build()
`
	for name, c := range map[string]struct{ src, want string }{
		"all":                     {tasks, "default: a b c"},
		"what nobody claims":      {tasks + `workflow.define("w", {tasks = {b}})`, "w: b, default: a c"},
		"what nobody ran":         {tasks + `b:run()`, "default: a c"},
		"run inside another":      {tasks + `task("d"):command(function() b:run() end):build()`, "default: a c d"},
		"run through a helper":    {tasks + `local function go() a:run() end task("d"):command(function() go() end):build()`, "default: b c d"},
		"run by a nested closure": {tasks + `task("d"):command(function() pcall(function() return c:run() end) end):build()`, "default: a b d"},
		"run out of a table":      {tasks + `local all = {a, c} task("d"):command(function() for _, t in ipairs(all) do t:run() end end):build()`, "default: b d"},
		"run as a global":         {tasks + `e = task("e"):command("true") task("d"):command(function() e:run() end):build()`, "default: a b c d"},
		"only named":              {tasks + `task("d"):command(function() return true, a.name end):build()`, "default: a b c d"},
		"run everything":          {`task("a"):command("true"):build():run()`, ""},
		"handlers do not count":   {`handler("h"):command("true"):build() task("a"):command("true"):build()`, "default: a"},
		"a name taken":            {tasks + `workflow.define("default", {tasks = {b}})`, "default: b, unclaimed: a c"},
	} {
		t.Run(name, func(t *testing.T) {
			p := mustLoad(t, c.src)
			var got []string
			for _, w := range p.Workflows {
				got = append(got, w.Name+": "+names(w.Tasks))
				explicit := w.Name == "w" || name == "a name taken" && w.Name == "default"
				if w.Implicit == explicit {
					t.Errorf("%s: implicit is %v", w.Name, w.Implicit)
				}
			}
			if g := strings.Join(got, ", "); g != c.want {
				t.Errorf("got %s, want %s", g, c.want)
			}
		})
	}
}

func TestRunAtTheTopLevel(t *testing.T) {
	var ran []string
	r := newRig(t, dsl.Options{RunTask: func(_ context.Context, t *dsl.Task) ([]lua.LValue, error) {
		ran = append(ran, t.Name)
		if t.Name == "bad" {
			return nil, errors.New("web-01 is unreachable")
		}
		return []lua.LValue{lua.LTrue, lua.LString("said"), lua.LNumber(3)}, nil
	}})
	p, err := r.load(t, `
local ok, said, third = task("good"):command("true"):build():run()
assert(ok == true and said == "said" and third == 3)
local ok, why = task("bad"):command("true"):run()
assert(ok == false and why == "web-01 is unreachable")
return ok, why`)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Join(ran, " ") != "good bad" || names(p.Ran) != "good bad" {
		t.Errorf("ran %v, recorded %s", ran, names(p.Ran))
	}
	if !p.Failed || p.Message != "web-01 is unreachable" {
		t.Errorf("failed %v %q", p.Failed, p.Message)
	}
}

func TestFileReturns(t *testing.T) {
	for src, want := range map[string]string{
		`return true`: "false ", `return`: "false ", `return false, "why"`: "true why", `return false`: "true the file returned false", `return nil, "why"`: "true why", `return nil`: "false ", `os.exit(0)`: "false ", `os.exit(3)`: "true os.exit(3)",
	} {
		p := mustLoad(t, "task('a'):command('true'):build()\n"+src)
		if got := fmt.Sprint(p.Failed, " ", p.Message); got != want {
			t.Errorf("%s: %q, want %q", src, got, want)
		}
	}
}

func TestInclude(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	write("tasks/web.sloth", `local o = ... or {}
web = task("web" .. (o.port or "")):command("true"):build()
include("more.sloth")
return web`)
	write("tasks/more.sloth", `more = task("more"):command("true"):build()`)
	write("lib/greet.lua", `return { hello = function(n) return "hello " .. n end }`)
	write("lib/vars.lua", `shared_port = 80`)
	main := write("site.sloth", `
local greet = require("lib.greet")
require("lib.vars")
local a = include("tasks/web.sloth")
local b = include("tasks/web.sloth")
local c = include("tasks/web.sloth", {port = 81})
include("tasks/more.sloth")
assert(a == b and a ~= c and greet.hello("x") == "hello x")
workflow.define("w", { tasks = { a, c, more, web == c and task("last"):command("echo " .. shared_port) } })`)
	p, err := newRig(t, dsl.Options{}).loader.LoadFile(context.Background(), main)
	if err != nil {
		t.Fatal(err)
	}
	if got := names(p.Workflows[0].Tasks); got != "web web81 more last" {
		t.Errorf("tasks are %s", got)
	}
	if f := p.Tasks[0].Pos.File; f != filepath.Join(dir, "tasks/web.sloth") {
		t.Errorf("the first task is in %s", f)
	}
}

func TestHandlers(t *testing.T) {
	p := mustLoad(t, `
handler("restart nginx"):command(function() end):build()
handler("reload"):command("true")
task("a"):notify("restart nginx"):command(function() notify("reload") end):build()`)
	if names(p.Handlers) != "restart nginx reload" || names(p.Tasks) != "a" || len(p.Warnings) > 0 {
		t.Errorf("handlers %s, tasks %s, warnings %v", names(p.Handlers), names(p.Tasks), p.Warnings)
	}
	p = mustLoad(t, `
handler("restart nginx"):command(function() end):build()
task("a"):notify("restart ngnix"):command(function()
  notify("reload")
end):build()`)
	want := `site.sloth:3: there is no handler "restart ngnix"; did you mean "restart nginx"?
site.sloth:4: there is no handler "reload"`
	if got := p.Warnings.Error(); got != want {
		t.Errorf("got\n%s", got)
	}
}

// What is no mistake is not reported as one.
func TestLintIsQuiet(t *testing.T) {
	for _, src := range []string{
		`if undefined_but_compared ~= nil then print(undefined_but_compared) end`,
		`local x = maybe or "default"`,
		`if type(maybe) == "table" then print(maybe.x) end`,
		`_G.made = 1 print(made)`,
		`rawset(_G, "made", 1) print(made)`,
		`for k, v in pairs({a = 1}) do _G[k] = v end print(a)`,
		`setmetatable(_G, {__index = function() return 1 end}) print(anything)`,
		`local f = loadstring("made = 1") f() print(made)`,
		`function helper() return other() end function other() return 1 end helper()`,
		`function string.trim(s) return (s:gsub("^%s+", "")) end string.trim(" x")`,
		`string.shout = string.upper print(string.shout("x"))`,
		`local fs = {raed = function() end} fs.raed()`,
		`local t = {} function t:m() return self end t:m()`,
		`local function vararg(...) return select("#", ...), arg end vararg()`,
		`local ok = pcall(function() return require("no.such.library") end)`,
		`local task = function() return {retrys = function() end} end task().retrys()`,
		`workflow("w", {tasks = {task("b"):command("true")}}):on_complete(function(success, results) print(results.b.status) end)`,
		`exec.run("true", {check_safe = true}) exec.run({cmd = "true"}) fs.write({path = "/dev/null", content = "x"})`,
		`local t = task("t"):command("true") local t = {tiemout = function() end} t.tiemout()`,
		`goto_ = 1 print(goto_, _VERSION, math.pi, os.time, coroutine.wrap, goroutine.async, values.x, Values, params.y, vars.z, facts.kernel, host.name, inventory.hosts)`,
	} {
		if _, err := newRig(t, dsl.Options{Inert: true}).load(t, "task('a'):command('true'):build() "+src); err != nil && strings.Contains(err.Error(), "undefined variable") || err != nil && strings.Contains(err.Error(), "no function") || err != nil && strings.Contains(err.Error(), "no method") || err != nil && strings.Contains(err.Error(), "unknown argument") {
			t.Errorf("%s\n%v", src, err)
		}
	}
}

func TestValuesAndParams(t *testing.T) {
	r := newRig(t, dsl.Options{Values: map[string]any{"terraform": map[string]any{"region": "eu"}}, Params: map[string]any{"color": "red"}})
	_, err := r.load(t, `
assert(values.terraform.region == "eu" and Values == values and require("values") == values)
assert(params.color == "red" and prompt("color") == "red")
assert(host.name == "local" and #host.groups == 0)
task("a"):command("true"):build()`)
	if err != nil {
		t.Error(err)
	}
	if _, err := newRig(t, dsl.Options{}).load(t, `assert(values.x == nil and params.x == nil and vars.x == nil) task("a"):command("true"):build()`); err != nil {
		t.Error(err)
	}
}

func TestPrompt(t *testing.T) {
	r := newRig(t, dsl.Options{
		Prompt: func(_ context.Context, name string, secret bool) (string, error) {
			return fmt.Sprint(name, secret), nil
		},
		Pause: func(_ context.Context, message string) error { return errors.New("asked: " + message) },
	})
	_, err := r.load(t, `
assert(prompt("size") == "sizefalse")
assert(tostring(prompt("password", {secret = true})) == "(secret)")
local ok, why = pcall(function() pause("ready?") end)
assert(why == "site.sloth:4: pause: asked: ready?", why)
task("a"):command("true"):build()`)
	if err != nil {
		t.Error(err)
	}
}

// What was captured of a file that was only read is not the answer.
func TestAFileThatPromptsIsToBeLoadedAgain(t *testing.T) {
	for script, want := range map[string]int{
		`local pin = prompt("pin") task("a"):command("true"):build()`:         1,
		`task("a"):command(function() local pin = prompt("pin") end):build()`: 0,
		`local pin = prompt("given") task("a"):command("true"):build()`:       0,
	} {
		p, err := newRig(t, dsl.Options{Inert: true, Params: map[string]any{"given": "1"}}).load(t, script)
		if err != nil || p.Effects != want {
			t.Errorf("%s: %d effects, want %d, %v", script, p.Effects, want, err)
		}
	}
}

func TestTaskValue(t *testing.T) {
	mustLoad(t, `
local t = task("a"):command("true")
assert(t.name == "a" and tostring(t) == "task a" and t:build() == t)
local ok, why = pcall(function() t.timeout = 5 end)
assert(why:find("a task is changed by its methods", 1, true), why)`)
}

func TestConstants(t *testing.T) {
	p := mustLoad(t, `
local dest = "/etc/motd"
task("a"):command(function()
  local inner = function() file_ops.template({src = "motd.j2", dest = dest}) end
  inner() secret("db")
end):build()`)
	got := dsl.Constants(p.Tasks[0].Command)
	if want := []string{"db", "dest", "file_ops", "motd.j2", "secret", "src", "template"}; !slices.Equal(got, want) {
		t.Errorf("got %v", got)
	}
	if dsl.Constants(nil) != nil {
		t.Error("constants of nothing")
	}
}

// Whatever a file holds, loading it ends with a program or an error.
func FuzzLoad(f *testing.F) {
	f.Add(`task("a"):command(function() log.info("x") end):retries(3):build()`)
	f.Add("workflow.define('w', {tasks = {a, nil, b}, config = {timeout = '5m'}})")
	f.Add("workflow('w'):task('a', 1):task():delegate_to({group = {}})")
	f.Fuzz(func(t *testing.T, src string) {
		vm := engine.New(dsl.VMOptions(engine.Options{MaxSteps: 100_000, MaxString: 1 << 20}))
		defer vm.Close()
		loader := dsl.Install(vm, dsl.Options{Inert: true})
		vm.Pristine()
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if p, err := loader.LoadSource(ctx, "fuzz.sloth", []byte(src)); err == nil && p == nil {
			t.Error("neither a program nor an error")
		}
	})
}

func BenchmarkLoad(b *testing.B) {
	var src strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&src, "task('t%d')\n  :description('d')\n  :command(function(this) return true, tostring(this.name) end)\n  :timeout('5m')\n  :tags('x')\n  :build()\n", i)
	}
	for b.Loop() {
		vm := engine.New(dsl.VMOptions(engine.Options{}))
		loader := dsl.Install(vm, dsl.Options{})
		vm.Pristine()
		if _, err := loader.LoadSource(context.Background(), "bench.sloth", []byte(src.String())); err != nil {
			b.Fatal(err)
		}
		vm.Close()
	}
}
