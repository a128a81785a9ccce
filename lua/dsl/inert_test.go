package dsl_test

import (
	"context"
	"os"
	"regexp"
	"testing"

	lua "github.com/yuin/gopher-lua"

	"github.com/sloth-runner/sloth/lua/bind"
	"github.com/sloth-runner/sloth/lua/dsl"
	"github.com/sloth-runner/sloth/modules"
	"github.com/sloth-runner/sloth/modules/all"
)

// Read without effects, a file changes nothing and says what it would.
func TestFault56NothingHappensWhileAFileIsRead(t *testing.T) {
	t.Chdir(t.TempDir())
	ran := 0
	var records []bind.Record
	r := newRig(t, dsl.Options{
		Inert:   true,
		RunTask: func(context.Context, *dsl.Task) ([]lua.LValue, error) { ran++; return nil, nil },
		Env:     &bind.Env{Call: modules.Call{}, Called: func(r bind.Record) { records = append(records, r) }},
	})
	p, err := r.load(t, `
fs.write("made", "x")
os.execute("touch made")
exec.run("touch made")
os.remove("made")
local f = io.open("made", "w") f:write("x") f:close()
local pass = secret("db")
local answer = prompt("size")
pause("1h") pause()
notify("h")
local ok = task("a"):command("touch made"):build():run()
assert(ok)`)
	if err != nil {
		t.Fatal(err)
	}
	if ran != 0 || names(p.Ran) != "a" || len(p.Workflows) != 0 {
		t.Errorf("ran %d tasks, recorded %q", ran, names(p.Ran))
	}
	if p.Effects < 6 || len(records) != 6 {
		t.Errorf("%d effects, %d records", p.Effects, len(records))
	}
	for _, r := range records {
		if !r.Planned {
			t.Errorf("%+v", r)
		}
	}
	if entries, _ := os.ReadDir("."); len(entries) > 0 {
		t.Errorf("it made %v", entries)
	}
}

// Nothing is stored, but what a script does with the answers still works.
func TestLint(t *testing.T) {
	r := newRig(t, dsl.Options{})
	got := r.loader.Lint(context.Background(), "x.sloth", []byte("local t = task('x'):retrys(3)\nlog.info(undefined_x)\nfs.write({path = 'a', contnt = 'b'})"))
	want := `x.sloth:1: a task has no method :retrys — did you mean :retries?
x.sloth:2: undefined variable "undefined_x"
x.sloth:3: fs.write: unknown argument "contnt"; did you mean "content"?`
	if got.Error() != want {
		t.Errorf("got\n%v", got)
	}
	if got := r.loader.Lint(context.Background(), "x.sloth", []byte("log.info('fine')")); len(got) > 0 {
		t.Errorf("got\n%v", got)
	}
}

func TestInertServices(t *testing.T) {
	p, err := newRig(t, dsl.Options{Inert: true}).load(t, `
state.set("n", 1, 60)
local n = state.increment("n") + 1
assert(state.get("x", "none") == "none" and not state.exists("n") and #state.keys() == 0)
assert(state.compare_swap("a", "b", "c"))
assert(state.with_lock("l", function() return "inside" end, 5) == "inside")
assert(state.list_push("l", 1) == 1 and state.list_length("l") == 0 and state.stats().keys == 0)
for _, h in ipairs(inventory.hosts("web")) do error(h) end
assert(inventory.vars("web-01").port == nil)
host.set("k", "v")
assert(vars.k == "v")
flush_handlers()
local text = fs.read("/etc/hostname")
`)
	if err != nil {
		t.Fatal(err)
	}
	if p.Effects == 0 {
		t.Error("no effects")
	}
}

// What the documentation shows has no mistakes.
func TestLintExamples(t *testing.T) {
	r := newRig(t, dsl.Options{})
	for _, m := range all.Modules() {
		for _, f := range m.Funcs {
			for _, p := range r.loader.Lint(t.Context(), m.Name+"."+f.Name, []byte(f.Example)) {
				t.Errorf("%v\n%s", p, f.Example)
			}
		}
	}
}

// A call of a module itself is something to do, like that of a function of it.
func TestCallableAtTheTop(t *testing.T) {
	p, err := newRig(t, dsl.Options{Inert: true}).load(t, `wait_for({ port = 80 })`)
	if err != nil || p.Effects != 1 {
		t.Errorf("%+v, %v", p, err)
	}
}

// What the documentation of the language shows is right.
func TestLintDocumentation(t *testing.T) {
	page, err := os.ReadFile("../../docs/language.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?s)```lua\n(.*?)```").FindAllSubmatch(page, -1)
	if len(blocks) < 3 {
		t.Fatalf("%d blocks", len(blocks))
	}
	for _, b := range blocks {
		if _, err := newRig(t, dsl.Options{Inert: true}).load(t, string(b[1])); err != nil {
			t.Errorf("%v\n%s", err, b[1])
		}
	}
}

func TestUnknownFactsAreTold(t *testing.T) {
	p, err := newRig(t, dsl.Options{Inert: true}).load(t, `
task("a"):command(function()
  print(facts.os_famly, facts.os_family, facts.eth0, facts.docker_gwbridge, facts.ansible_kernel, facts.local, facts._errors)
  local facts = {} print(facts.os_famly)
  if facts["default_ipv5"] then log.info("x") end
end):build()
task("b"):command(function() log.info(facts["default_ipv5"].address) end):build()`)
	if err != nil {
		t.Fatal(err)
	}
	const want = `site.sloth:3: there is no fact "os_famly"; did you mean "os_family"?
site.sloth:7: there is no fact "default_ipv5"; did you mean "default_ipv4"?`
	if got := p.Warnings.Error(); got != want {
		t.Errorf("got\n%s", got)
	}
}
