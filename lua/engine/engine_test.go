package engine

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	lua "github.com/yuin/gopher-lua"
)

// world makes a VM for a test, closed at its end.
func world(t testing.TB, opts Options) *VM {
	t.Helper()
	vm := New(opts)
	t.Cleanup(func() {
		if err := vm.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return vm
}

// run runs a source text and returns what it returned, joined with tabs.
func run(t testing.TB, vm *VM, src string) (string, error) {
	t.Helper()
	return runContext(t, context.Background(), vm, src)
}

func runContext(t testing.TB, ctx context.Context, vm *VM, src string) (string, error) {
	t.Helper()
	c, err := vm.Load("test.lua", []byte(src))
	if err != nil {
		return "", err
	}
	rets, err := vm.Run(ctx, c)
	var out []string
	for _, r := range rets {
		out = append(out, r.String())
	}
	return strings.Join(out, "\t"), err
}

// expect runs tables of source and result.
func expect(t *testing.T, opts Options, cases [][2]string) {
	t.Helper()
	vm := world(t, opts)
	for _, c := range cases {
		got, err := run(t, vm, c[0])
		if err != nil {
			got = "error: " + err.Error()
		}
		if got != c[1] {
			t.Errorf("%s\n got %s\nwant %s", c[0], got, c[1])
		}
	}
}

func TestLanguage(t *testing.T) {
	expect(t, Options{}, [][2]string{
		{`return 1 + 1`, "2"},
		{`return 0o644, 0O17, 0o0`, "420\t15\t0"},
		{`return "0o644", '0o7' --[[0o9]] -- 0o9`, "0o644\t0o7"},
		{`return [==[ ]] 0o1 ]==]`, " ]] 0o1 "},
		{"#!/usr/bin/env sloth\nreturn 7", "7"},
		{"\xef\xbb\xbfreturn 8", "8"},
		{"return\r\n9\r\n", "9"},
		{`return type(string), string == require("string"), ("x"):rep(3)`, "table\ttrue\txxx"},
		{`return rawget(_G, "table") == table, getmetatable(_G)`, "true\tnil"},
		{`local n = 0 for k in pairs(_G) do if k == "os" or k == "io" then n = n + 1 end end return n`, "2"},
		{`setmetatable(_G, {__index = function(_, k) return "made " .. k end}) local v = abc setmetatable(_G, nil) return v, math.floor(2.5)`, "made abc\t2"},
		{`return select("#", table.unpack({1, 2, 3})), table.pack(1, nil).n`, "3\t2"},
		{`return tonumber("1e5"), tonumber(" 0x1F "), tonumber("z", 36), tonumber("12a"), tonumber(""), tonumber("inf")`, "100000\t31\t35\tnil\tnil\tnil"},
		{`local ok, e = pcall(error, {code = 3}) return ok, e.code`, "false\t3"},
		{`local ok, e = pcall(error, "plain", 0) return ok, e`, "false\tplain"},
		{`return pcall(nil)`, "false\tattempt to call a nil value"},
		{`local t = setmetatable({}, {__call = function(self, a) return a * 2 end}) return pcall(t, 21)`, "true\t42"},
		{`return loadstring("return 0o10")()`, "8"},
		{`return load(function() return nil end) ~= nil`, "true"},
		{`local f, e = loadstring("x = = 1", "cfg") return f, e`, "nil\tcfg:1:5: syntax error near '='"},
		{`return xpcall(function() error("boom") end, function(m) return "handled " .. m end)`, "false\thandled test.lua:1: boom"},
		{`local _, tb = xpcall(function() local x = nil; x.y = 1 end, debug.traceback) return (tb:find("in function <test.lua:1>", 1, true)) ~= nil`, "true"},
		{`return select(2, pcall(function() error("at caller", 2) end))`, "at caller"},
		{`assert(false, "why")`, "error: test.lua:1: why"},
		{`return select(2, pcall(assert, nil, {1}))[1]`, "1"},
		{`module("made", package.seeall) function f() return type(1) end return f(), _G.made.f == f, require("made") == _G.made`, "number\ttrue\ttrue"},
		{`local f = function() return x end setfenv(f, {x = "own"}) return f(), getfenv(f).x, getfenv(1) == _G`, "own\town\ttrue"},
		{`setfenv(0, {}) return type(print)`, "function"},
		{`return type(print), getfenv(0) == _G`, "function\ttrue"},
		{`return unpack({1, 2, 3}, 2), select("#", unpack({}, 1, 3)), select(-1, 1, 2)`, "2\t3\t2"},
		{`return collectgarbage("count") > 0, collectgarbage()`, "true\t0"},
		{`os.setenv("SLOTH_TEST_X", "1") return os.getenv("SLOTH_TEST_X"), os.getenv("SLOTH_NOT_SET")`, "1\tnil"},
		{`return table.concat({1, "a", 2.5}, ", "), table.concat({}, "x"), table.concat({1, 2, 3}, "-", 2, 3)`, "1, a, 2.5\t\t2-3"},
		{`local t = {1, 2, 3} table.insert(t, 1, 0) table.remove(t, 2) return table.concat(t, ","), table.remove({}), #t`, "0,2,3\tnil\t3"},
	})
}

// TestPCallKeepsVariables is the reason for a thread of its own in pcall:
// gopher-lua's cuts n from the closure.
func TestPCallKeepsVariables(t *testing.T) {
	expect(t, Options{}, [][2]string{
		{`local n = 0
		local inc = function() n = n + 1 end
		pcall(function() error("x") end)
		inc()
		xpcall(function() error("x") end, function() end)
		inc()
		return n`, "2"},
		{`local saved
		pcall(function() local inner = 5; saved = function() inner = inner + 1 return inner end; error("x") end)
		return saved(), saved()`, "6\t7"},
	})
}

func TestErrors(t *testing.T) {
	vm := world(t, Options{})
	_, err := run(t, vm, "local function inner()\n  error({message = 'custom', code = 7})\nend\ninner()\n")
	var e *Error
	if !errors.As(err, &e) {
		t.Fatalf("got %T %v", err, err)
	}
	if e.Error() != "test.lua:2: custom" {
		t.Errorf("message %q", e.Error())
	}
	tb, ok := e.Value.(*lua.LTable)
	if !ok || tb.RawGetString("code") != lua.LNumber(7) {
		t.Errorf("value %v", e.Value)
	}
	want := "stack traceback:\n\t[Go]: in function 'error'\n\ttest.lua:2: in function 'inner'\n\ttest.lua:4: in the main chunk"
	if e.Traceback != want {
		t.Errorf("traceback\n%s\nwant\n%s", e.Traceback, want)
	}
}

func TestRaiseKeepsTheError(t *testing.T) {
	vm := world(t, Options{})
	cause := errors.New("disk full")
	vm.Do(func(L *lua.LState) {
		vm.Globals().RawSetString("fails", L.NewFunction(func(L *lua.LState) int { Raise(L, cause); return 0 }))
	})
	_, err := run(t, vm, "\nfails()")
	if !errors.Is(err, cause) || err.Error() != "test.lua:2: disk full" {
		t.Errorf("got %v", err)
	}
	if got, err := run(t, vm, "local ok, e = pcall(fails) return ok, e"); err != nil || got != "false\tdisk full" {
		t.Errorf("got %q %v", got, err)
	}
}

func TestFault56Interrupts(t *testing.T) {
	for name, src := range map[string]string{
		"loop":      `while true do end`,
		"pcall":     `while true do pcall(function() while true do end end) end`,
		"pattern":   `return ("a"):rep(200):find(("a*"):rep(20) .. "b")`,
		"gsub":      `return ("a"):rep(100000):gsub(".-b", "")`,
		"coroutine": `local co = coroutine.wrap(function() while true do end end) co()`,
		"execute":   `os.execute("sleep 100")`,
		"popen":     `return io.popen("sleep 100"):read("*a")`,
		"handler":   `xpcall(error, function() while true do end end)`,
		"sort":      `local t = {} for i = 1, 1000 do t[i] = i end while true do table.sort(t, function(a, b) return a > b end) end`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			vm := world(t, Options{MaxSteps: 1 << 30})
			ctx, cancel := context.WithTimeout(context.Background(), 150*time.Millisecond)
			defer cancel()
			begin := time.Now()
			_, err := runContext(t, ctx, vm, src)
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("got %v", err)
			}
			if took := time.Since(begin); took > 3*time.Second {
				t.Errorf("it took %v", took)
			}
			if _, err := run(t, vm, "return 1"); err != nil {
				t.Errorf("the world is broken afterwards: %v", err)
			}
		})
	}
}

func TestFault56Limits(t *testing.T) {
	vm := world(t, Options{MaxString: 1 << 20, MaxSteps: 1 << 20})
	for src, want := range map[string]string{
		`return ("x"):rep(1e12)`:                                                  "resulting string too large",
		`return ("x"):rep(1e5, ("y"):rep(100))`:                                   "resulting string too large",
		`local t = {} for i = 1, 3e5 do t[i] = "xxxx" end return table.concat(t)`: "resulting string too large",
		`return (("x"):rep(1000):gsub("x", ("y"):rep(2000)))`:                     "resulting string too large",
		`return string.format("%s%s", ("x"):rep(1e6), ("x"):rep(1e6))`:            "resulting string too large",
		`return ("a"):rep(1000):find(("a*"):rep(20) .. "b")`:                      "takes too long",
		`local function f() return 1 + f() end return f()`:                        "stack overflow",
		`local function f() return pcall(f) end f() local function g() local ok, e = pcall(g) if not ok then error(e, 0) end end g()`: "stack overflow",
		`local function f() local co = coroutine.wrap(f) co() end f()`:                                                                "stack overflow",
		`return unpack({}, 1, 1e7)`:                                   "too many results to unpack",
		`local function f(s) return s:gsub(".", f) end return f("x")`: "stack overflow",
	} {
		_, err := run(t, vm, src)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s\n got %v\nwant %s", src, err, want)
		}
	}
	if got, err := run(t, vm, "return 1"); got != "1" {
		t.Errorf("afterwards: %q %v", got, err)
	}
}

func TestCoroutines(t *testing.T) {
	vm := world(t, Options{})
	if _, err := run(t, vm, `gen = coroutine.wrap(function() for i = 1, 3 do coroutine.yield(i) end end)`); err != nil {
		t.Fatal(err)
	}
	expectOn(t, vm, [][2]string{
		{`return gen(), gen()`, "1\t2"}, // made in a call that is over
		{`local co = coroutine.create(function(a) local b = coroutine.yield(a + 1) error("bad " .. b) end)
		local _, x = coroutine.resume(co, 1)
		local ok, e = coroutine.resume(co, "b")
		return x, ok, e, coroutine.status(co), select(2, coroutine.resume(co))`, "2\tfalse\ttest.lua:1: bad b\tdead\tcannot resume dead coroutine"},
		{`return coroutine.running()`, "nil"},
		{`local co co = coroutine.create(function() return coroutine.running() == co, coroutine.status(co), select(2, coroutine.resume(co)) end) return select(2, coroutine.resume(co))`, "true\trunning\tcannot resume a running coroutine"},
		{`local co = coroutine.create(function() pcall(coroutine.yield, 1) return "end" end) return coroutine.resume(co)`, "true\tend"},
		{`coroutine.yield(1)`, "error: test.lua:1: attempt to yield outside a coroutine, or across pcall or another call from Go"},
	})
}

func expectOn(t *testing.T, vm *VM, cases [][2]string) {
	t.Helper()
	for _, c := range cases {
		got, err := run(t, vm, c[0])
		if err != nil {
			got = "error: " + err.Error()
		}
		if got != c[1] {
			t.Errorf("%s\n got %s\nwant %s", c[0], got, c[1])
		}
	}
}

func TestExitEndsTheTaskOnly(t *testing.T) {
	vm := world(t, Options{})
	for _, src := range []string{
		`os.exit(3)`,
		`pcall(os.exit, 3) error("went on")`,
		`xpcall(function() os.exit(3) end, function() end) error("went on")`,
		`coroutine.wrap(function() os.exit(3) end)() error("went on")`,
		`coroutine.resume(coroutine.create(function() pcall(os.exit, 3) end)) error("went on")`,
	} {
		_, err := run(t, vm, src)
		var exit *Exit
		if !errors.As(err, &exit) || exit.Code != 3 {
			t.Errorf("%s: got %v", src, err)
		}
	}
	if got, err := run(t, vm, "return 1"); got != "1" {
		t.Errorf("afterwards: %q %v", got, err)
	}
}
