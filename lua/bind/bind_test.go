package bind_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	lua "github.com/yuin/gopher-lua"

	"github.com/sloth-runner/sloth/facts"
	"github.com/sloth-runner/sloth/lua/bind"
	"github.com/sloth-runner/sloth/lua/engine"
	"github.com/sloth-runner/sloth/modules"
	"github.com/sloth-runner/sloth/modules/all"
	"github.com/sloth-runner/sloth/modules/machine"
)

// world is a VM with modules, and what was recorded.
type world struct {
	t    *testing.T
	vm   *engine.VM
	env  *bind.Env
	recs []bind.Record
}

func newWorld(t *testing.T, mods []modules.Module) *world {
	t.Helper()
	w := &world{t: t, vm: engine.New(engine.Options{})}
	t.Cleanup(func() { w.vm.Close() })
	bind.Install(w.vm, mods)
	m := machine.New()
	w.env = &bind.Env{Call: modules.Call{Machine: m, Workdir: t.TempDir()}, Called: func(r bind.Record) { w.recs = append(w.recs, r) }}
	return w
}

func (w *world) plan() *world {
	o := machine.NewOverlay(w.env.Call.Machine)
	w.env.Check, w.env.Viewer, w.env.Overlay = true, o, o
	return w
}

func (w *world) run(src string) ([]lua.LValue, error) {
	w.t.Helper()
	chunk, err := w.vm.Load("site.sloth", []byte(src))
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	return w.vm.Run(bind.WithEnv(ctx, w.env), chunk)
}

func (w *world) must(src string) []lua.LValue {
	w.t.Helper()
	rets, err := w.run(src)
	if err != nil {
		w.t.Fatalf("%s\n%v", src, err)
	}
	return rets
}

func (w *world) path(name string) string { return filepath.Join(w.env.Call.Workdir, name) }

func TestChangesAreMadeOnceAndRecordedWithTheirLine(t *testing.T) {
	w := newWorld(t, all.Modules())
	const src = `
local r = file_ops.copy({ content = "hello\n", dest = "motd", mode = 0o600 })
return r.changed, r.success, r.message, #r.diff`
	rets := w.must(src)
	if fmt.Sprint(rets) != fmt.Sprintf("[true true create %s 3]", w.path("motd")) {
		t.Errorf("first call returned %v", rets)
	}
	if got := w.recs; len(got) != 1 || got[0].Function != "file_ops.copy" || got[0].File != "site.sloth" || got[0].Line != 2 || !got[0].Changed {
		t.Errorf("records %+v", got)
	}
	st, err := os.Stat(w.path("motd"))
	if err != nil || st.Mode() != 0o600 {
		t.Errorf("the file: %v, %v", st, err)
	}
	if rets := w.must(src); rets[0] != lua.LFalse {
		t.Errorf("the second call returned %v", rets)
	}
}

func TestPlanWritesNothingAndLaterCallsSeeIt(t *testing.T) {
	w := newWorld(t, all.Modules()).plan()
	rets := w.must(`
file_ops.file({ path = "conf", state = "directory" })
local r = file_ops.copy({ content = "a=1\n", dest = "conf/app" })
local again = file_ops.copy({ content = "a=1\n", dest = "conf/app" })
file_ops.lineinfile({ path = "conf/app", regexp = "^a=", line = "a=2" })
return r.planned, again.changed, fs.read("conf/app"), fs.ls("conf")[1]`)
	if fmt.Sprint(rets) != "[true false a=2\n app]" {
		t.Errorf("returned %q", fmt.Sprint(rets))
	}
	if left, _ := os.ReadDir(w.env.Call.Workdir); len(left) != 0 {
		t.Errorf("the plan left %v", left)
	}
	for _, r := range w.recs {
		if !r.Planned {
			t.Errorf("%+v is not marked as planned", r)
		}
	}
}

// TestWhatOnlyTheRealRunCanTellIsNoError: a planned command may make the file
// that is missing now.
func TestWhatOnlyTheRealRunCanTellIsNoError(t *testing.T) {
	w := newWorld(t, all.Modules()).plan()
	const edits = `
file_ops.lineinfile({ path = "made/conf", line = "x" })
file_ops.file({ path = "made/other", mode = "0600" })
file_ops.copy({ content = "x", dest = "made/elsewhere/file" })`
	if _, err := w.run(edits); err == nil || !strings.Contains(err.Error(), "does not exist") {
		t.Errorf("nothing could make the file: %v", err)
	}
	w.recs = nil
	w.must(`exec.run("mkdir made && touch made/conf")` + edits)
	if len(w.recs) != 4 {
		t.Fatalf("%d records", len(w.recs))
	}
	for _, r := range w.recs[1:3] {
		if !r.Changed || len(r.Diff.Changes) != 1 || !r.Diff.Changes[0].Unknown {
			t.Errorf("%s: %+v", r.Function, r.Diff)
		}
	}
}

func TestASecretContentIsWrittenAndNotShown(t *testing.T) {
	w := newWorld(t, all.Modules())
	w.vm.Do(func(L *lua.LState) {
		w.vm.Globals().RawSetString("password", bind.ToLua(L, modules.NewSecret("hunter2")))
	})
	rets := w.must(`
local a = file_ops.copy({ content = password, dest = "a", mode = "0600" })
local b = fs.write("b", password)
return a.diff[2].after, b.diff[2].before`)
	if fmt.Sprint(rets) != "[nil nil]" {
		t.Errorf("the result shows %v", rets)
	}
	for _, name := range []string{"a", "b"} {
		if data, err := os.ReadFile(w.path(name)); err != nil || string(data) != "hunter2" {
			t.Errorf("%s holds %q, %v", name, data, err)
		}
	}
	if text := fmt.Sprintf("%+v", w.recs); strings.Contains(text, "hunter2") {
		t.Errorf("the records show it: %s", text)
	}
}

func TestNoLogHidesTexts(t *testing.T) {
	w := newWorld(t, all.Modules())
	w.env.Call.NoLog = true
	w.must(`fs.write("a", "hunter2")`)
	if text := fmt.Sprintf("%+v", w.recs); strings.Contains(text, "hunter2") || !strings.Contains(text, "Hidden:true") {
		t.Errorf("the records show %s", text)
	}
}

func TestAnEffectMayBeRefused(t *testing.T) {
	w := newWorld(t, all.Modules())
	var asked []string
	w.env.Effect = func(_ context.Context, function string) error {
		asked = append(asked, function)
		return errors.New("no more effects")
	}
	w.must(`fs.mkdir("/")`) // changes nothing, so nobody is asked
	_, err := w.run(`fs.mkdir("d")`)
	if err == nil || !strings.HasSuffix(err.Error(), "fs.mkdir: no more effects") || fmt.Sprint(asked) != "[fs.mkdir]" || fsExists(w.path("d")) {
		t.Errorf("%v, asked %v", err, asked)
	}
}

func TestAFileThatIsOnlyReadRunsNoEffect(t *testing.T) {
	w := newWorld(t, all.Modules())
	w.env.Inert = true
	rets := w.must(`return fs.write("x", "y").planned, fs.exists("/")`)
	if fmt.Sprint(rets) != "[true true]" || len(w.recs) != 1 || !w.recs[0].Planned {
		t.Errorf("returned %v, recorded %+v", rets, w.recs)
	}
	if fsExists(w.path("x")) {
		t.Error("it was written")
	}
}

func fsExists(p string) bool { _, err := os.Lstat(p); return err == nil }

// echo returns its arguments, to see what arrives.
type echo struct {
	Name    string            `lua:"name,primary" alias:"names" doc:"A name"`
	Count   int               `lua:"count" pos:"2" doc:"A number"`
	List    []string          `lua:"list" doc:"A list"`
	Mode    modules.Mode      `lua:"mode" doc:"A mode"`
	State   string            `lua:"state" enum:"present,absent" doc:"A state"`
	Wait    time.Duration     `lua:"wait" doc:"A duration"`
	Env     map[string]string `lua:"env" doc:"Variables"`
	On      *bool             `lua:"on" doc:"A switch"`
	Do      modules.Callback  `lua:"do" doc:"A function"`
	Data    any               `lua:"data" doc:"Anything"`
	Token   modules.Secret    `lua:"token" doc:"A secret"`
	Content modules.Text      `lua:"content" doc:"A text"`
}

func (e *echo) Query(ctx context.Context, _ facts.Viewer) ([]any, error) {
	out := fmt.Sprintf("%q %d %q %s %s %s %v", e.Name, e.Count, e.List, e.Mode, e.State, e.Wait, e.Env)
	if e.On != nil {
		out += fmt.Sprintf(" on=%t", *e.On)
	}
	if e.Do != nil {
		r, err := e.Do(ctx, "in", int64(2))
		if err != nil {
			return nil, err
		}
		out += fmt.Sprint(" do=", r)
	}
	return []any{out, e.Data, e.Token}, nil
}

// many takes a list as its primary argument.
type many struct {
	Names []string `lua:"name,primary,required" alias:"names,packages" doc:"Names"`
	State string   `lua:"state" doc:"A state"`
}

func (m *many) Query(context.Context, facts.Viewer) ([]any, error) {
	return []any{fmt.Sprintf("%q %s", m.Names, m.State)}, nil
}

// table takes a table as its first argument.
type table struct {
	Value any            `lua:"value,required" pos:"1" doc:"A value"`
	More  map[string]any `lua:"more" pos:"2" doc:"More"`
}

func (x *table) Query(context.Context, facts.Viewer) ([]any, error) {
	return []any{fmt.Sprintf("%v %v", x.Value, x.More)}, nil
}

func echoes() []modules.Module {
	return []modules.Module{{Name: "probe", Aliases: []string{"p"}, Funcs: []modules.Func{
		{Name: "echo", Aliases: []string{"say"}, New: func() any { return &echo{} }},
		{Name: "many", New: func() any { return &many{} }},
		{Name: "table", New: func() any { return &table{} }},
		{Name: "none", New: func() any { return &none{} }},
	}}}
}

type none struct{}

func (*none) Query(context.Context, facts.Viewer) ([]any, error) { return []any{"ok"}, nil }

func TestArgumentForms(t *testing.T) {
	w := newWorld(t, echoes())
	for _, c := range []struct{ call, want string }{
		{`probe.echo("a")`, `"a" 0 []   0s map[]`},
		{`probe:echo("a")`, `"a" 0 []   0s map[]`},
		{`p.say("a", 3)`, `"a" 3 []   0s map[]`},
		{`p:say("a", 3, { state = "absent" })`, `"a" 3 []  absent 0s map[]`},
		{`probe.echo("a", { count = 4 })`, `"a" 4 []   0s map[]`},
		{`probe.echo({ names = "b", list = "one", wait = "90s" })`, `"b" 0 ["one"]   1m30s map[]`},
		{`probe.echo({ name = 8080, list = { "x", 1 }, wait = 1.5, env = { A = 1, B = true } })`, `"8080" 0 ["x" "1"]   1.5s map[A:1 B:true]`},
		{`probe.echo({ on = false, mode = 0o755 })`, `"" 0 [] 0755  0s map[] on=false`},
		{`probe.echo({ mode = "u+x,g-w", on = "yes" })`, `"" 0 [] u+x,g-w  0s map[] on=true`},
		{`probe.echo({ ["do"] = function(a, b) return a, b + 1 end })`, `"" 0 []   0s map[] do=[in 3]`},
		{`probe.echo(nil, 5)`, `"" 5 []   0s map[]`},
		{`probe.echo({})`, `"" 0 []   0s map[]`},
		{`probe.many("nginx")`, `["nginx"] `},
		{`probe.many({ "nginx", "nodejs" })`, `["nginx" "nodejs"] `},
		{`probe.many({ "nginx", state = "latest" })`, `["nginx"] latest`},
		{`probe.many({ packages = { "a", "b" } })`, `["a" "b"] `},
		{`probe.table({ a = 1, b = { 2, 3 } })`, `map[a:1 b:[2 3]] map[]`},
		{`probe.table({ 1, 2 }, { x = 0.5 })`, `[1 2] map[x:0.5]`},
		{`probe.none()`, `ok`},
	} {
		rets, err := w.run("return (" + c.call + ")")
		if err != nil {
			t.Errorf("%s: %v", c.call, err)
		} else if got := rets[0].String(); got != c.want {
			t.Errorf("%s = %s, want %s", c.call, got, c.want)
		}
	}
}

// TestArgumentErrors holds the exact words of every mistake.
func TestArgumentErrors(t *testing.T) {
	w := newWorld(t, echoes())
	for _, c := range []struct{ call, want string }{
		{`probe.ecko("a")`, `probe has no function "ecko"; did you mean "echo"?`},
		{`probe.echo({ nane = "a" })`, `probe.echo: unknown argument "nane"; did you mean "name"?`},
		{`probe.echo({ zzzzzzzz = 1 })`, `probe.echo: unknown argument "zzzzzzzz"; known are name, count, list, mode, state, wait, env, on, do, data, token, content`},
		{`probe.echo({ state = "presnt" })`, `probe.echo: state = "presnt": it must be one of present, absent; did you mean "present"?`},
		{`probe.echo({ name = "a", names = "b" })`, `probe.echo: name and names are the same argument; give one`},
		{`probe.echo("a", { name = "b" })`, `probe.echo: name is given twice`},
		{`probe.echo({ name = {} })`, `probe.echo: name must be text, not a table`},
		{`probe.echo({ count = 1.5 })`, `probe.echo: count must be a whole number, not the number 1.5`},
		{`probe.echo({ count = "x" })`, `probe.echo: count must be a whole number, not the text "x"`},
		{`probe.echo({ list = { 1, {} } })`, `probe.echo: list[2] must be text, not a table`},
		{`probe.echo({ wait = "5 minutes" })`, `probe.echo: wait: "5 minutes" is no duration; write seconds, or text such as "90s", "5m", "1h30m"`},
		{`probe.echo({ ["do"] = "x" })`, `probe.echo: do must be a function, not the text "x"`},
		{`probe.echo({ on = "maybe" })`, `probe.echo: on must be a boolean, not the text "maybe"`},
		{`probe.echo({ mode = 644 })`, `probe.echo: mode: mode 644 is decimal in Lua, which is not the octal meant; write "0644" or 0o644`},
		{`probe.echo({ mode = 0644 })`, `probe.echo: mode: mode 644 is decimal in Lua, which is not the octal meant; write "0644" or 0o644`},
		{`probe.echo({ mode = 755 })`, `probe.echo: mode: mode 755 is decimal in Lua, which is not the octal meant; write "0755" or 0o755`},
		{`probe.echo({ mode = 400 })`, `probe.echo: mode: mode 400 is decimal in Lua, which is not the octal meant; write "0400" or 0o400`},
		{`probe.echo({ mode = 0o4755 })`, `probe.echo: mode: mode 2541 is over 0o777; write setuid, setgid and sticky modes as text, such as "4755"`},
		{`probe.echo({ mode = 999 })`, `probe.echo: mode: mode 999 is not a mode; write "0644" or 0o644`},
		{`probe.echo({ mode = "0888" })`, `probe.echo: mode: mode "0888" is not octal between "0000" and "7777"`},
		{`probe.echo({ mode = "+x" })`, `probe.echo: mode: mode "+x" does not say whose; write "a+x" for everybody`},
		{`probe.echo({ mode = "rwx" })`, `probe.echo: mode: mode "rwx" is neither octal ("0644") nor symbolic ("u+x,go-w")`},
		{`probe.echo("a", 1, 2)`, `probe.echo: argument 3 is too many: by position it takes name, count`},
		{`probe.none("a")`, `probe.none: it takes no arguments, but got the text "a"`},
		{`probe.none({ a = 1 })`, `probe.none: unknown argument "a"; it takes none`},
		{`probe.many()`, `probe.many: name is missing: names`},
		{`probe.many({ "a", nil, "c" })`, `probe.many: the list has a hole: is one of the variables in it undefined?`},
		{`probe.echo({ data = coroutine.create(print) })`, `probe.echo: data is a thread, which is not data`},
		{`local t = {} t.t = t probe.echo({ data = t })`, `probe.echo: data.t contains itself`},
	} {
		_, err := w.run(c.call)
		var e *engine.Error
		if !errors.As(err, &e) {
			t.Errorf("%s gave %v", c.call, err)
			continue
		}
		if e.Message != c.want {
			t.Errorf("%s\n got  %s\n want %s", c.call, e.Message, c.want)
		}
		if e.File != "site.sloth" || e.Line != 1 {
			t.Errorf("%s: the place is %s:%d", c.call, e.File, e.Line)
		}
	}
}

func TestASecretPassesAndIsNotShown(t *testing.T) {
	w := newWorld(t, echoes())
	w.vm.Do(func(L *lua.LState) {
		w.vm.Globals().RawSetString("password", bind.ToLua(L, modules.NewSecret("hunter2")))
	})
	rets := w.must(`local _, _, token = probe.echo({ token = password }) return tostring(password), tostring(token)`)
	if fmt.Sprint(rets) != "[(secret) (secret)]" {
		t.Errorf("returned %v", rets)
	}
	_, err := w.run(`probe.echo({ name = password })`)
	if err == nil || !strings.Contains(err.Error(), "takes no secret") {
		t.Errorf("a secret as a name: %v", err)
	}
	for _, text := range []string{fmt.Sprintf("%v %+v %#v %s %d", modules.NewSecret("hunter2"), modules.NewSecret("hunter2"), modules.NewSecret("hunter2"), modules.NewSecret("hunter2"), modules.NewSecret("hunter2"))} {
		if strings.Contains(text, "hunter2") {
			t.Errorf("printed %s", text)
		}
	}
}

// TestACallbackMayCallModules holds only while the Lua lock is free during a
// call: otherwise the callback waits for itself.
func TestACallbackMayCallModules(t *testing.T) {
	w := newWorld(t, echoes())
	rets := w.must(`
local seen
probe.echo({ ["do"] = function() seen = probe.echo("inner") end })
return seen`)
	if !strings.HasPrefix(rets[0].String(), `"inner"`) {
		t.Errorf("returned %v", rets)
	}
	_, err := w.run(`probe.echo({ ["do"] = function() error("inside") end })`)
	if err == nil || !strings.Contains(err.Error(), "inside") {
		t.Errorf("an error in a callback: %v", err)
	}
}

func TestCallByName(t *testing.T) {
	w := newWorld(t, all.Modules())
	ctx := bind.WithEnv(context.Background(), w.env)
	out, err := bind.CallByName(ctx, all.Modules(), "file_ops.copy", map[string]any{"content": "x", "dest": "y", "mode": "600", "backup": "no"})
	if err != nil {
		t.Fatal(err)
	}
	if r := out[0].(map[string]any); r["changed"] != true {
		t.Errorf("returned %v", r)
	}
	for name, want := range map[string]string{
		"file_ops.coppy": `file_ops has no function "coppy"; did you mean "copy"?`,
		"fileops.copy":   `there is no module "fileops"; did you mean "file_ops"?`,
	} {
		if _, err := bind.CallByName(ctx, all.Modules(), name, nil); err == nil || err.Error() != want {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestConversionsKeepWhatTheyAreGiven(t *testing.T) {
	w := newWorld(t, nil)
	for src, want := range map[string]string{
		`{}`:                        `map[string]interface {}{}`,
		`{1, 2.5, "x", true}`:       `[]interface {}{1, 2.5, "x", true}`,
		`{a = {1}, b = false}`:      `map[string]interface {}{"a":[]interface {}{1}, "b":false}`,
		`{[1] = "a", [3] = "b"}`:    `map[interface {}]interface {}{1:"a", 3:"b"}`,
		`{[2] = "a"}`:               `map[interface {}]interface {}{2:"a"}`,
		`9007199254740993 * 1024`:   `9.223372036854776e+18`,
		`"\0\255"`:                  `"\x00\xff"`,
		`{[true] = 1, [1.5] = "y"}`: `map[interface {}]interface {}{1.5:"y", true:1}`,
	} {
		v := w.must("return " + src)[0]
		got, err := bind.ToGo(v)
		if err != nil {
			t.Errorf("%s: %v", src, err)
			continue
		}
		if text := fmt.Sprintf("%#v", got); text != want {
			t.Errorf("%s = %s, want %s", src, text, want)
		}
		var back any
		w.vm.Do(func(L *lua.LState) { back, err = bind.ToGo(bind.ToLua(L, got)) })
		if err != nil || fmt.Sprintf("%#v", back) != want {
			t.Errorf("%s came back as %#v, %v", src, back, err)
		}
	}
}
