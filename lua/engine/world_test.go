package engine

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	lua "github.com/yuin/gopher-lua"
)

// bind installs a Go function as a global.
func bind(vm *VM, name string, fn lua.LGFunction) {
	vm.Do(func(L *lua.LState) { vm.Globals().RawSetString(name, L.NewFunction(fn)) })
}

// load compiles a source whose result is a function.
func load(t testing.TB, vm *VM, src string) *lua.LFunction {
	t.Helper()
	c, err := vm.Load("test.lua", []byte(src))
	if err != nil {
		t.Fatal(err)
	}
	rets, err := vm.Run(context.Background(), c)
	if err != nil {
		t.Fatal(err)
	}
	return rets[0].(*lua.LFunction)
}

// TestBlockLetsOthersRun makes two calls meet inside Go functions that block.
func TestBlockLetsOthersRun(t *testing.T) {
	vm := world(t, Options{})
	var meeting sync.WaitGroup
	meeting.Add(2)
	bind(vm, "meet", func(L *lua.LState) int {
		_ = Block(L, func(context.Context) error {
			meeting.Done()
			meeting.Wait()
			return nil
		})
		return 0
	})
	fn := load(t, vm, `n = 0 return function() local before = n meet() n = n + 1 return n end`)
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			if _, err := vm.Call(context.Background(), fn); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if got, _ := run(t, vm, "return n"); got != "2" {
		t.Errorf("n = %s", got)
	}
}

// TestManyCallsShareTheWorld counts without a lost update: between two blocking
// calls a thread has the world for itself.
func TestManyCallsShareTheWorld(t *testing.T) {
	vm := world(t, Options{})
	bind(vm, "pass", func(L *lua.LState) int {
		_ = Block(L, func(context.Context) error { return nil })
		return 0
	})
	fn := load(t, vm, `count = 0 return function() for i = 1, 100 do count = count + 1 if i % 10 == 0 then pass() end end end`)
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if _, err := vm.Call(context.Background(), fn); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if got, _ := run(t, vm, "return count"); got != "2000" {
		t.Errorf("count = %s", got)
	}
}

func TestCallsInsideCalls(t *testing.T) {
	vm := world(t, Options{})
	// direct calls back while it holds the lock, blocked calls back from Block.
	bind(vm, "direct", func(L *lua.LState) int {
		ctx, cancel := context.WithTimeout(Context(L), 50*time.Millisecond)
		defer cancel()
		rets, err := Of(L).Call(ctx, L.CheckFunction(1), lua.LNumber(1))
		return pushCall(L, rets, err)
	})
	bind(vm, "blocked", func(L *lua.LState) int {
		fn := L.CheckFunction(1)
		var rets []lua.LValue
		err := Block(L, func(ctx context.Context) (err error) {
			rets, err = vm.Call(ctx, fn, lua.LNumber(2))
			return err
		})
		return pushCall(L, rets, err)
	})
	expectOn(t, vm, [][2]string{
		{`return direct(function(x) return x + 1 end)`, "2"},
		{`return blocked(function(x) return x + 1 end)`, "3"},
		{`return blocked(function(x) return direct(function(y) return x * 10 + y end) end)`, "21"},
		{`return direct(function() error("inner", 0) end)`, "test.lua:1: inner"},
		{`return direct(function() while true do end end), 5`, "test.lua:1: timed out\t5"},
		{`return direct(function() os.exit(4) end), 5`, "test.lua:1: os.exit(4)\t5"},
	})
}

func pushCall(L *lua.LState, rets []lua.LValue, err error) int {
	if err != nil {
		L.Push(lua.LString(err.Error()))
		return 1
	}
	return pushAll(L, rets)
}

func TestTryCatchesInPlace(t *testing.T) {
	vm := world(t, Options{})
	bind(vm, "try", func(L *lua.LState) int {
		rets, err := Try(L, L.CheckFunction(1))
		return pushCall(L, rets, err)
	})
	expectOn(t, vm, [][2]string{
		{`local n = 0 local inc = function() n = n + 1 end try(function() error("x") end) inc() return n`, "1"},
		{`return try(function() error("x") end)`, "test.lua:1: x"},
	})
}

func TestPanicsOfGoCodeAreErrors(t *testing.T) {
	vm := world(t, Options{})
	bind(vm, "broken", func(L *lua.LState) int {
		return len(L.Get(1).(*lua.LTable).String())
	})
	_, err := run(t, vm, "\nbroken()")
	if err == nil || err.Error() != "test.lua:2: internal error: interface conversion: lua.LValue is *lua.LNilType, not *lua.LTable" {
		t.Errorf("got %v", err)
	}
	var e *Error
	if !errors.As(err, &e) || !strings.Contains(e.Traceback, "world_test.go") {
		t.Error("the Go stack is lost")
	}
	if got, _ := run(t, vm, "return 1"); got != "1" {
		t.Error("the world is broken afterwards")
	}
}

func TestStuckTasksAreNamed(t *testing.T) {
	stuck := make(chan string, 1)
	release := make(chan struct{})
	vm := world(t, Options{StuckAfter: 50 * time.Millisecond, Stuck: func(name string) {
		stuck <- name
		close(release)
	}})
	bind(vm, "hang", func(L *lua.LState) int { <-release; return 0 })
	ctx, cancel := context.WithTimeout(WithName(context.Background(), "task deploy"), 10*time.Millisecond)
	defer cancel()
	if _, err := runContext(t, ctx, vm, "hang()"); !errors.Is(err, context.DeadlineExceeded) && err != nil {
		t.Errorf("got %v", err)
	}
	if name := <-stuck; name != "task deploy" {
		t.Errorf("named %q", name)
	}
}

func TestCloseEndsCalls(t *testing.T) {
	vm := New(Options{})
	fn := load(t, vm, "return function() while true do end end")
	failed := make(chan error)
	go func() {
		_, err := vm.Call(context.Background(), fn)
		failed <- err
	}()
	deadline := time.Now().Add(5 * time.Second)
	for vm.holder.Load() == nil && time.Now().Before(deadline) {
		time.Sleep(time.Millisecond)
	}
	if err := vm.Close(); err != nil {
		t.Error(err)
	}
	if err := <-failed; !errors.Is(err, ErrClosed) {
		t.Errorf("got %v", err)
	}
	if _, err := vm.Call(context.Background(), fn); !errors.Is(err, ErrClosed) {
		t.Errorf("a closed world runs: %v", err)
	}
}

func TestACallThatNeverGetsItsTurn(t *testing.T) {
	vm := world(t, Options{})
	inside, leave := make(chan struct{}), make(chan struct{})
	bind(vm, "hold", func(L *lua.LState) int { close(inside); <-leave; return 0 })
	hold := load(t, vm, "return hold")
	var wg sync.WaitGroup
	wg.Go(func() {
		if _, err := vm.Call(context.Background(), hold); err != nil {
			t.Error(err)
		}
	})
	<-inside
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if _, err := vm.Call(ctx, hold); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	close(leave)
	wg.Wait()
}

func TestFault56MemoryLimit(t *testing.T) {
	vm := world(t, Options{MaxMemory: 200 << 20, MaxString: 8 << 20})
	_, err := run(t, vm, `local t = {} while true do t[#t + 1] = ("x"):rep(1000000) .. #t end`)
	if !errors.Is(err, ErrMemory) || !strings.Contains(err.Error(), "the limit is 200") {
		t.Errorf("got %v", err)
	}
}

func TestLazyGlobals(t *testing.T) {
	vm := world(t, Options{})
	made := 0
	vm.Lazy("fleet", func(L *lua.LState) lua.LValue {
		made++
		t := L.CreateTable(0, 1)
		t.RawSetString("name", lua.LString("fleet"))
		return t
	})
	vm.Alias("flotilla", "fleet")
	expectOn(t, vm, [][2]string{
		{`return require("flotilla") == fleet, flotilla == fleet, fleet.name`, "true\ttrue\tfleet"},
		{`fleet = nil return fleet.name`, "fleet"},
		{`fleet = 5 return fleet, require("fleet").name`, "5\tfleet"},
	})
	if made != 1 {
		t.Errorf("made %d times", made)
	}
}

func TestPristine(t *testing.T) {
	vm := world(t, Options{})
	if _, err := run(t, vm, `mine = 1 string.trim = 2 print = nil math.pi = nil local f = table.concat`); err != nil {
		t.Fatal(err)
	}
	vm.Do(func(L *lua.LState) {
		if got := vm.ChangedGlobals(); fmt.Sprint(got) != "[mine print]" {
			t.Errorf("changed %v", got)
		}
		if got := fmt.Sprint(vm.Patches()); got != "[{math pi nil} {string trim 2}]" {
			t.Errorf("patches %s", got)
		}
		fn, _ := vm.LibraryValue(L, "string.format")
		if path, ok := vm.LibraryPath(fn); !ok || path != "string.format" {
			t.Errorf("path %q", path)
		}
		if _, ok := vm.LibraryValue(L, "string.nothing"); ok {
			t.Error("a library value that does not exist")
		}
	})
}

func TestRequire(t *testing.T) {
	sources := map[string]string{
		"lib.a":      "local name = ... return {name = name, mode = 0o644}",
		"lib.broken": "local x = 1\nx = = 2",
		"lib.fails":  "\n\nerror('not today')",
		"lib.self":   "return require('lib.self')",
		"lib.none":   "loaded_none = (loaded_none or 0) + 1",
		"part.lua":   "return 1, 2",
	}
	vm := world(t, Options{Require: func(_ context.Context, name string) ([]byte, string, error) {
		src, ok := sources[name]
		if !ok {
			return nil, "", errors.New("no such library")
		}
		return []byte(src), strings.ReplaceAll(name, ".", "/") + ".lua", nil
	}})
	expectOn(t, vm, [][2]string{
		{`local a = require("lib.a") return a.name, a.mode, require("lib.a") == a, package.loaded["lib.a"] == a`, "lib.a\t420\ttrue\ttrue"},
		{`require("lib.broken")`, "error: lib/broken.lua:2:5: syntax error near '='"},
		{`require("lib.fails")`, "error: lib/fails.lua:3: not today"},
		{`return pcall(require, "lib.fails")`, "false\tlib/fails.lua:3: not today"},
		{`require("lib.self")`, "error: lib/self.lua:1: require: 'lib.self' requires itself, directly or through another library"},
		{`require("lib.missing")`, "error: test.lua:1: require(\"lib.missing\"): no such library"},
		{`require("lib.none") return require("lib.none"), loaded_none`, "true\t1"},
		{`package.preload.pre = function(n) return n .. "!" end return require("pre")`, "pre!"},
		{`return dofile("part.lua")`, "1\t2"},
		{`return loadfile("part.lua")()`, "1\t2"},
		{`return loadfile("nothing")`, "nil\tno such library"},
	})
}
