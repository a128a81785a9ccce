package editor_test

import (
	"encoding/json"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	lua "github.com/yuin/gopher-lua"
	"github.com/yuin/gopher-lua/parse"

	"github.com/sloth-runner/sloth/cmd/sloth/editor"
	"github.com/sloth-runner/sloth/lua/bind"
	"github.com/sloth-runner/sloth/lua/dsl"
	"github.com/sloth-runner/sloth/lua/engine"
	"github.com/sloth-runner/sloth/lua/goroutine"
	"github.com/sloth-runner/sloth/modules/all"
)

// tag is what the language server reads in a comment.
var tag = regexp.MustCompile(`^---@(meta|class [\w.]+|field (\w+\??|\[string\]) \S.*|param (\w+\??|\.\.\.) \S.*|return \S.*|overload fun\(.*\).*|type \S.*)$`)

// TestStubsAreWellFormed reads them as plain Lua 5.1, which the language server
// does, and holds every annotation to its form.
func TestStubsAreWellFormed(t *testing.T) {
	classes := regexp.MustCompile(`(?m)^---@class ([\w.]+)$`)
	used := regexp.MustCompile(`sloth\.\w+|\b\w+\.\w+\.args\b`)
	for name, text := range editor.Stubs(all.Modules()) {
		if _, err := parse.Parse(strings.NewReader(text), name); err != nil {
			t.Errorf("%v", err)
		}
		defined := map[string]bool{}
		for _, c := range classes.FindAllStringSubmatch(text, -1) {
			if defined[c[1]] {
				t.Errorf("%s: class %s is there twice", name, c[1])
			}
			defined[c[1]] = true
		}
		for n, line := range strings.Split(text, "\n") {
			if !strings.HasPrefix(line, "---@") {
				continue
			}
			if !tag.MatchString(line) {
				t.Errorf("%s:%d: %s", name, n+1, line)
			}
			for _, class := range used.FindAllString(line, -1) {
				if !defined[class] {
					t.Errorf("%s:%d: there is no class %s", name, n+1, class)
				}
			}
			if rest, ok := strings.CutPrefix(line, "---@field "); ok {
				_, rest, _ = strings.Cut(rest, " ")
				if _, doc, ok := strings.Cut(rest, "function "); ok && strings.HasPrefix(doc, "(") {
					t.Errorf("%s:%d: the words would be read as part of the type: %s", name, n+1, line)
				}
			}
		}
	}
}

// TestStubsKnowEverything compares them with what a script really finds.
func TestStubsKnowEverything(t *testing.T) {
	plain := engine.New(engine.Options{})
	t.Cleanup(func() { plain.Close() })
	vm := engine.New(dsl.VMOptions(engine.Options{}))
	t.Cleanup(func() { vm.Close() })
	mods := all.Modules()
	bind.Install(vm, mods)
	goroutine.Install(vm)
	dsl.Install(vm, dsl.Options{Modules: mods})
	vm.Pristine()
	stubs := editor.Stubs(mods)
	text := stubs["language.lua"] + stubs["modules.lua"]
	has := func(line string) bool { return strings.Contains(text, "\n"+line) }
	for _, name := range vm.Names() {
		if slices.Contains(plain.Names(), name) {
			continue
		}
		if !has(name+" = ") && !has("function "+name+"(") {
			t.Errorf("no stub for %s", name)
		}
	}
	for _, name := range dsl.TaskMethods() {
		if !has("function Task:" + name + "(") {
			t.Errorf("no stub for task:%s", name)
		}
	}
	for _, name := range dsl.WorkflowMethods() {
		if !has("function Workflow:" + name + "(") {
			t.Errorf("no stub for workflow:%s", name)
		}
	}
	vm.Do(func(L *lua.LState) {
		for _, name := range []string{"goroutine", "async", "inventory", "host", "workflow"} {
			table, ok := vm.Global(L, name).(*lua.LTable)
			if !ok {
				t.Errorf("%s is no table", name)
				continue
			}
			table.ForEach(func(k, v lua.LValue) {
				if v.Type() == lua.LTFunction && !has("function "+name+"."+k.String()+"(") {
					t.Errorf("no stub for %s.%s", name, k)
				}
			})
		}
	})
	for _, m := range mods {
		for _, f := range m.Funcs {
			if !has("function "+m.Name+"."+f.Name+"(") && !has(m.Name+"[\""+f.Name+"\"] = ") {
				t.Errorf("no stub for %s.%s", m.Name, f.Name)
			}
		}
	}
	for _, fn := range regexp.MustCompile(`(?m)^function (\w+)`).FindAllStringSubmatch(text, -1) {
		if name := fn[1]; !slices.Contains(vm.Names(), name) && !slices.Contains([]string{"Task", "Workflow", "Handle"}, name) {
			t.Errorf("%s has a stub, and scripts do not have it", name)
		}
	}
}

func TestConfigure(t *testing.T) {
	const lib = editor.Folder
	for name, c := range map[string]struct {
		old  string
		want map[string]any
		err  string
	}{
		"new": {"", map[string]any{
			"$schema":         "https://raw.githubusercontent.com/LuaLS/vscode-lua/master/setting/schema.json",
			"runtime.version": "Lua 5.1", "workspace.checkThirdParty": false, "workspace.library": []any{lib},
		}, ""},
		"kept": {`{"diagnostics.globals": ["x"], "workspace.library": ["lib"], "runtime.version": "LuaJIT"}`, map[string]any{
			"diagnostics.globals": []any{"x"}, "runtime.version": "LuaJIT", "workspace.checkThirdParty": false, "workspace.library": []any{"lib", lib},
		}, ""},
		"prefixed": {`{"Lua.workspace.library": [], "Lua.workspace.checkThirdParty": "Ask", "Lua.runtime.version": "Lua 5.1"}`, map[string]any{
			"Lua.workspace.library": []any{lib}, "Lua.workspace.checkThirdParty": "Ask", "Lua.runtime.version": "Lua 5.1",
		}, ""},
		"nested": {`{"runtime": {"version": "Lua 5.1"}, "workspace": {"library": ["a"], "checkThirdParty": false}}`, map[string]any{
			"runtime":   map[string]any{"version": "Lua 5.1"},
			"workspace": map[string]any{"library": []any{"a", lib}, "checkThirdParty": false},
		}, ""},
		"comments": {"{\n // mine\n}", nil, "it is no JSON without comments: invalid character '/' looking for beginning of object key string"},
		"no list":  {`{"workspace.library": "a"}`, nil, "workspace.library is no list"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := editor.Configure([]byte(c.old))
			if c.err != "" {
				if err == nil || err.Error() != c.err {
					t.Fatalf("%v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			again, err := editor.Configure(got)
			if err != nil || string(again) != string(got) {
				t.Errorf("a second time: %s, %v", again, err)
			}
			var settings map[string]any
			if err := json.Unmarshal(got, &settings); err != nil {
				t.Fatal(err)
			}
			want, err := json.Marshal(c.want)
			if err != nil {
				t.Fatal(err)
			}
			is, err := json.Marshal(settings)
			if err != nil {
				t.Fatal(err)
			}
			if string(is) != string(want) {
				t.Errorf("got\n%s\nwant\n%s", is, want)
			}
		})
	}
}

// TestPages: each function has a page, and nothing is lost in it.
func TestPages(t *testing.T) {
	for _, m := range all.Modules() {
		lib := editor.Describe(m)
		page := lib.Text(100)
		for _, f := range lib.Functions {
			if !strings.Contains(page, f.Name) {
				t.Errorf("the page of %s lacks %s", m.Name, f.Name)
			}
			text := f.Text(80)
			for _, a := range f.Arguments {
				if !strings.Contains(text, "\n    "+a.Name) {
					t.Errorf("the page of %s lacks %s", f.Name, a.Name)
				}
			}
		}
	}
	byName := map[string]editor.Function{}
	for _, f := range editor.Language() {
		if f.Summary == "" {
			t.Errorf("%s says nothing", f.Name)
		}
		byName[f.Name] = f
	}
	const want = `task:retries

    Try again after a failure.

    Returns task.

Arguments

    times (1)  integer, required
        How many more attempts

    strategy (2)  "fixed"|"linear"|"exponential"
        How the wait between them grows
`
	if got := byName["task:retries"].Text(80); got != want {
		t.Errorf("got\n%s", got)
	}
	if got := byName["retry"].Arguments[0].Doc; got != "Keys: times, attempts, delay, backoff, strategy" {
		t.Errorf("%q; there are %v", got, slices.Sorted(maps.Keys(byName)))
	}
}
