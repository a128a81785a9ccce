package dsl_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sloth-runner/sloth/lua/dsl"
)

// Everything that is wrong with a file is told at once, exactly like this.
func TestErrors(t *testing.T) {
	for _, c := range []struct{ name, src, want string }{
		{"syntax", "task('x')\n  :command(function()\n    return true\n  :build()\n", `
site.sloth:4:3: syntax error near ':'
  4 |   :build()
    |   ^`},
		{"unclosed", "task('x'):command(function()\n  if true then\n", `
site.sloth:2: the file ends too early; the 'if' of line 2 has no 'end'
  2 |   if true then`},
		{"nothing", "-- only a comment\nlocal x = 1\n", `
site.sloth: nothing to run: there is no task, no :run() and no module call in it`},
		{"empty", "", `
site.sloth: nothing to run: there is no task, no :run() and no module call in it`},
		{"cycle", `
local a = task("a"):depends_on("c"):command("true"):build()
local b = task("b"):depends_on("a"):command("true"):build()
local c = task("c")
  :depends_on({"b"})
  :command("true"):build()`, `
site.sloth:3: the tasks depend on each other in a circle: a -> c -> b -> a`},
		{"cycle of one", `task("a"):command("true"):depends_on("a"):build()`, `
site.sloth:1: the tasks depend on each other in a circle: a -> a`},
		{"unknown dependency", `
task("build"):command("true"):build()
task("deploy")
  :command("true")
  :depends_on({"biuld"})
  :build()`, `
site.sloth:5: task "deploy" depends on "biuld", which does not exist; did you mean "build"?`},
		{"dependency elsewhere", `
local a = task("a"):command("true"):build()
local b = task("b"):command("true"):depends_on("a"):build()
workflow.define("w", {tasks = {b}})`, `
site.sloth:3: task "b" depends on "a", which is not among the tasks of workflow "w": add it there`},
		{"depends on a handler", `
handler("h"):command("true"):build()
task("b"):command("true"):depends_on("h"):build()`, `
site.sloth:3: task "b" depends on the handler "h": handlers are notified, not depended on`},
		{"empty workflow", `workflow.define("deploy", {tasks = {}})`, `
site.sloth:1: workflow "deploy" has no tasks: nothing would run`},
		{"empty workflow, fluent", "local x = 1\nworkflow.define('deploy'):description('d')", `
site.sloth:2: workflow "deploy" has no tasks: nothing would run`},
		{"nil in tasks", `
local a = task("a"):command("true"):build()
local c = task("c"):command("true"):build()
local b
workflow.define("w", {
  tasks = {
    a,
    b,
    c,
  },
})`, `
site.sloth:8: workflow "w": tasks[2] is nil: is the variable defined above? (b)`},
		{"undefined in tasks", `
local a = task("a"):command("true"):build()
workflow.define("w")
  :tasks({ a, plan_task, apply_task })`, `
site.sloth:4: workflow "w": tasks[2] is nil: is the variable defined above? (plan_task)
site.sloth:4: workflow "w": tasks[3] is nil: is the variable defined above? (apply_task)`},
		{"defined too late", `
workflow.define("w", { tasks = { a } })
a = task("a"):command("true"):build()`, `
site.sloth:2: workflow "w": tasks[1] is nil: is the variable defined above? (a)`},
		{"nil fields in tasks", `
local t = { a = task("a"):command("true"):build() }
workflow.define("w", { tasks = { t.a, t.b } })`, `
site.sloth:3: workflow "w": tasks[2] is nil: is the variable defined above? (t.b)`},
		{"no tasks at all", `workflow.define("w", { tasks = nil })`, `
site.sloth:1: workflow "w" has no tasks: nothing would run`},
		{"not a task", `workflow.define("w", { tasks = { "a" } })`, `
site.sloth:1: workflow "w": tasks [1] is "a", not a task
site.sloth:1: workflow "w" has no tasks: nothing would run`},
		{"duplicate task", `
task("a"):command("true"):build()
task("a"):command("false"):build()`, `
site.sloth:3: task "a" is defined twice: first at site.sloth:2`},
		{"duplicate workflow", `
local a = task("a"):command("true"):build()
workflow.define("w", {tasks = {a}})
workflow("w"):task("b", "true")`, `
site.sloth:4: workflow "w" is defined twice: first at site.sloth:3`},
		{"duplicate handler", `
handler("h"):command("true")
handler("h"):command("false")
task("a"):command("true"):build()`, `
site.sloth:3: handler "h" is defined twice: first at site.sloth:2`},
		{"listed twice", `
local a = task("a"):command("true"):build()
workflow.define("w", {tasks = {a, a}})`, `
site.sloth:2: task "a" is listed twice in one workflow`},
		{"not built", "task('a'):command('true')", `
site.sloth:1: task "a" is never built: end it with :build()`},
		{"no command", "task('a'):description('d'):build()", `
site.sloth:1: task "a" has no command: give it one with :command(…)`},
		{"unknown method", `
task("a")
  :command("true")
  :retrys(3)
  :build()`, `
site.sloth:4: a task has no method :retrys — did you mean :retries?`},
		{"unknown method in a function", `
task("a"):command(function()
  task("b")
    :comand(function() end)
    :run()
end):build()`, `
site.sloth:4: a task has no method :comand — did you mean :command?`},
		{"unknown method of a variable", `
local t = task("a"):command("true")
t:tiemout("5m")
t:build()`, `
site.sloth:3: a task has no method :tiemout — did you mean :timeout?`},
		{"unknown workflow method", `
workflow("w")
  :task("a", "true")
  :on_complte(function() end)`, `
site.sloth:4: a workflow has no method :on_complte — did you mean :on_complete?`},
		{"unknown handler method", `
handler("h"):comand("true"):command("true")
task("a"):command("true"):build()`, `
site.sloth:2: a handler has no method :comand — did you mean :command?`},
		{"unknown workflow function", `workflow.defnie("w", {tasks = {task("a"):command("true")}})`, `
site.sloth:1: workflow has no function "defnie"; did you mean "define"?`},
		{"undefined variable", `
task("a"):command(function()
  local name = "x"
  log.info(nam_e)
  fs.write("f", conxection.host)
end):build()`, `
site.sloth:4: undefined variable "nam_e"; did you mean "name"?
site.sloth:5: undefined variable "conxection"`},
		{"short names", "task('a'):command(function() lgo.info('x') zzh.connect() end):build()", `
site.sloth:1: undefined variable "lgo"; did you mean "log"?
site.sloth:1: undefined variable "zzh"`},
		{"unknown module", `task("a"):command(function() fil_ops.copy("a") end):build()`, `
site.sloth:1: undefined variable "fil_ops"; did you mean "file_ops"?`},
		{"unknown function", `
task("a"):command(function()
  file_ops.copi({src = "a", dest = "b"})
  local fs = require("fs")
  fs.raed("f")
  string.formt("a")
end):build()`, `
site.sloth:3: file_ops has no function "copi"; did you mean "copy"?
site.sloth:5: fs has no function "raed"; did you mean "read"?
site.sloth:6: string has no function "formt"; did you mean "format"?`},
		{"unknown argument", `
task("a"):command(function()
  file_ops.copy({
    src = "a",
    dset = "b",
  })
  exec.run("true", {timeuot = 5})
end):build()`, `
site.sloth:5: file_ops.copy: unknown argument "dset"; did you mean "dest"?
site.sloth:7: exec.run: unknown argument "timeuot"; did you mean "timeout"?`},
		{"arguments that are written out", `
task("a"):command(function()
  file_ops.file({ path = "/srv", state = "direktory" })
  file_ops.copy({
    content = "x", dest = "/a",
    mode = 644,
    backup = "maybe",
  })
  pkg.install({ "nginx", stat = "latest" })
  systemd.restart(12, true)
  user.create({ name = "w", groups = { {} }, shell = function() end })
  infra_test.file_exists()
  infra_test.port_is_tcp("ssh")
  wait_for({ prot = 80 })
  wait_for({ port = "eighty" })
  exec.run("true", { timeout = "soon" })
  exec.run("true", nil, 3)
  log("x")
  -- What only the run can tell is left to it.
  file_ops.copy({ content = vars.x, dest = "/a", mode = vars.mode })
  file_ops.copy(vars.all)
  file_ops.copy({ [vars.k] = 1 })
  infra_test.file_exists(unpack(vars.list))
  file_ops.copy({ src = "a", dest = "relative/to/workdir", mode = 0o644 })
  pcall(file_ops.copy, { mode = 644 })
  pcall(function() file_ops.copy({ content = "x", dest = "/a", mode = 644 }) end)
end):build()`, `
site.sloth:3: file_ops.file: state = "direktory": it must be one of file, present, absent, directory, link, hard, touch; did you mean "directory"?
site.sloth:6: file_ops.copy: mode: mode 644 is decimal in Lua, which is not the octal meant; write "0644" or 0o644
site.sloth:7: file_ops.copy: backup must be a boolean, not the text "maybe"
site.sloth:9: pkg.install: unknown argument "stat"; did you mean "state"?
site.sloth:10: systemd.restart: argument 2 is too many: by position it takes name
site.sloth:11: user.create: groups[1] must be text, not a table
site.sloth:11: user.create: shell must be text, not a function
site.sloth:12: infra_test.file_exists: path is missing: the file or folder; links are followed
site.sloth:13: infra_test.port_is_tcp: port must be a whole number, not the text "ssh"
site.sloth:14: wait_for.condition: unknown argument "prot"; did you mean "port"?
site.sloth:15: wait_for.condition: port must be a whole number, not the text "eighty"
site.sloth:16: exec.run: timeout: "soon" is no duration; write seconds, or text such as "90s", "5m", "1h30m"
site.sloth:17: exec.run: argument 3 is too many: by position it takes cmd
site.sloth:18: log cannot be called itself; its functions are debug, error, info, print, success, table, warn, warning`},
		{"unknown library", `
task("a"):command(function() require("lib.nothing") end):build()`, `
site.sloth:2: require("lib.nothing"): there is no module or library "lib.nothing": no file lib/nothing.lua, lib/nothing/init.lua, lua/lib/nothing.lua, lua/lib/nothing/init.lua, lib/nothing.sloth`},
		{"missing include", `include("none.sloth")
task("a"):command("true"):build()`, `
site.sloth:1: include("none.sloth"): cannot read it: no such file or directory`},
		{"config", `
local a = task("a"):command("true"):build()
workflow.define("w", {
  tasks = {a},
  config = { timout = "5m", max_parallel_tasks = "many", strategy = "fast", serial = "200%", max_fail = -1, retry_policy = "random" },
})`, `
site.sloth:3: workflow "w": config max_fail needs a number of hosts or a part such as "25%", not the number -1; max_parallel_tasks needs a whole number, not "many"; retry_policy there is no strategy "random"; known are fixed, linear, exponential; serial needs a number of hosts or a part such as "25%", not "200%"; strategy needs "free" or "linear", not "fast"; unknown key "timout"; did you mean "timeout"?`},
		{"define key", `
local a = task("a"):command("true"):build()
workflow.define("w", { task = {a}, tasks = {a}, on_complt = print })`, `
site.sloth:3: workflow "w": unknown key "on_complt"; did you mean "on_complete"?
site.sloth:3: workflow "w": unknown key "task"; did you mean "tasks"?`},
		{"bad arguments", `
local undefined
task("a")
  :command(undefined)
  :timeout("5 min")
  :retries(3, "expo")
  :delegate_to({})
  :depends_on({ "x", 3, {} })
  :tags(true)
  :env({ A = {} })
  :serial("lots")
  :on_success("not a function")
  :vars("x")
  :user("")
  :become({})
  :no_log(1)
  :run_if("x")
  :delegate_to({ group = "web", spraed = 2 })
  :build()`, `
site.sloth:4: task "a": command got nil: is the variable defined above? (undefined)
site.sloth:5: task "a": timeout "5 min" is no duration; write seconds, or text such as "90s", "5m", "1h30m"
site.sloth:6: task "a": retries there is no strategy "expo"; did you mean "exponential"?
site.sloth:7: task "a": delegate_to got an empty list: name at least one host, group or pattern
site.sloth:8: task "a": depends_on item 2: needs a name, not the number 3
site.sloth:9: task "a": tags needs text or a list of texts, not true
site.sloth:10: task "a": env A is a table, not text
site.sloth:11: task "a": serial needs a number of hosts or a part such as "25%", not "lots"
site.sloth:12: task "a": on_success needs a function, not "not a function"
site.sloth:13: task "a": vars needs a table, not "x"
site.sloth:14: task "a": user needs a name, not an empty text
site.sloth:15: task "a": become needs a name, not a table
site.sloth:16: task "a": no_log needs true or false, not the number 1
site.sloth:17: task "a": run_if needs a function, not "x"
site.sloth:18: task "a": delegate_to has no key "spraed"; did you mean "spread"?`},
		{"chain", `
local undefined
workflow("w")
  :task("one", function() end)
  :task("two", undefined)
  :task("three")`, `
site.sloth:5: workflow "w": task "two": command got nil: is the variable defined above? (undefined)
site.sloth:6: workflow "w": task "three": command got nil: is the variable defined above?`},
		{"no name", `task():command("true"):build()`, `
site.sloth:1: task got nil: is the variable defined above?`},
		{"raised at the top", "local x = 1\nlocal y = x.z.w", `
site.sloth:2: attempt to index a non-table object(number) with key 'z'`},
		{"many at once", `
task("a"):comand("true"):build()
task("a"):command("true"):timeout("x"):build()
log.inof("x")
print(undefined_one)`, `
site.sloth:2: a task has no method :comand — did you mean :command?
site.sloth:3: task "a": timeout "x" is no duration; write seconds, or text such as "90s", "5m", "1h30m"
site.sloth:3: task "a" is defined twice: first at site.sloth:2
site.sloth:4: log has no function "inof"; did you mean "info"?
site.sloth:5: undefined variable "undefined_one"`},
		{"hosts of a batch", `
local a = task("a"):command("true"):build()
local b = task("b"):depends_on("a"):command(function(this, params, deps)
  log.info(deps.a.hosts["web-01"].v)
end):build()
workflow.define("w", { tasks = {a, b}, config = { serial = 1 } })`, `
site.sloth:4: task "b" reads deps.a.hosts, but with config.serial the workflow "w" runs batch by batch and later hosts have no outputs yet`},
		{"handler in tasks", `
local h = handler("h"):command("true"):build()
workflow.define("w", { tasks = { h } })`, `
site.sloth:3: workflow "w": tasks [1] is the handler "h": handlers are notified, not listed
site.sloth:3: workflow "w" has no tasks: nothing would run`},
		{"with a dot", `task("a").command("true")`, `
site.sloth:1: write :command(…) with a colon
site.sloth:1: task "a" has no command: give it one with :command(…)`},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, err := newRig(t, dsl.Options{}).load(t, c.src)
			if err == nil {
				t.Fatalf("it loads: %+v", p)
			}
			if got := err.Error(); got != strings.TrimPrefix(c.want, "\n") {
				t.Errorf("got\n%s\nwant%s", got, c.want)
			}
		})
	}
}

// What is wrong is found before any call at the top level has run.
func TestNothingRunsWhenSomethingIsWrong(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	_, err := newRig(t, dsl.Options{}).load(t, `
os.execute("touch executed")
task("a"):command("touch executed"):run()
task("b"):command(function() log.inof("x") end):build()`)
	if err == nil || !strings.Contains(err.Error(), "inof") {
		t.Errorf("got %v", err)
	}
	if entries, _ := os.ReadDir(dir); len(entries) > 0 {
		t.Errorf("it ran: %v", entries)
	}
}

func TestIncludeErrors(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("a.sloth", `include("b.sloth") task("a"):command("true"):build()`)
	write("b.sloth", `include("c.sloth")`)
	write("c.sloth", "local x = 1\ninclude('b.sloth')")
	write("self.sloth", `include("self.sloth")`)
	write("broken.sloth", "local x = = 1")
	write("has-broken.sloth", "\ninclude('broken.sloth')")
	write("late.sloth", "\nundefined_function()")
	write("has-late.sloth", "include('late.sloth')")
	write("raises.sloth", "\nerror('on purpose')")
	write("has-raises.sloth", "include('raises.sloth')")
	for file, want := range map[string]string{
		"a.sloth":          `c.sloth:2: include("b.sloth"): it includes itself: b.sloth -> c.sloth -> b.sloth`,
		"self.sloth":       `self.sloth:1: include("self.sloth"): the file includes itself`,
		"has-broken.sloth": "broken.sloth:1:11: syntax error near '='\n  1 | local x = = 1\n    |           ^",
		"has-late.sloth":   `late.sloth:2: undefined variable "undefined_function"`,
		"has-raises.sloth": `raises.sloth:2: on purpose`,
		"none.sloth":       `none.sloth: cannot read it: no such file or directory`,
	} {
		_, err := newRig(t, dsl.Options{}).loader.LoadFile(context.Background(), file)
		if err == nil || err.Error() != want {
			t.Errorf("%s:\n got %v\nwant %s", file, err, want)
		}
	}
}
