package goroutine

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	lua "github.com/yuin/gopher-lua"

	"github.com/sloth-runner/sloth/lua/engine"
)

func world(t testing.TB, opts engine.Options) *engine.VM {
	t.Helper()
	vm := engine.New(opts)
	Install(vm)
	t.Cleanup(func() {
		if err := vm.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return vm
}

func run(t testing.TB, ctx context.Context, vm *engine.VM, src string) (string, error) {
	t.Helper()
	c, err := vm.Load("test.lua", []byte(src))
	if err != nil {
		t.Fatal(err)
	}
	rets, err := vm.Run(ctx, c)
	var out []string
	for _, r := range rets {
		out = append(out, r.String())
	}
	return strings.Join(out, "\t"), err
}

func TestLibrary(t *testing.T) {
	for _, c := range [][2]string{
		{`return goroutine == require("goroutine"), async == require("async")`, "true\ttrue"},
		{`return goroutine.await(goroutine.async(function(a, b) return a + b, "x" end, 1, 2))`, "true\t3\tx"},
		{`return goroutine.await(goroutine.create(function() error("boom") end))`, "false\ttest.lua:1: boom"},
		{`return goroutine.await(goroutine.async(function() error({message = "structured"}) end))`, "false\ttest.lua:1: structured"},
		{`return goroutine.await(goroutine.async(function() goroutine.sleep(60000) end), 0.05)`, "false\ttimed out after 50ms: the goroutine of test.lua:1 is still running"},
		{`local hs = {} for i = 1, 3 do hs[i] = goroutine.async(function() goroutine.sleep(30 - i * 10) return i, i * 2 end) end
		local out = {} for i, r in ipairs(goroutine.await_all(hs)) do out[i] = tostring(r.success) .. r.value .. r.values[2] .. tostring(r.error) end
		return table.concat(out, " ")`, "true12nil true24nil true36nil"},
		{`local r = goroutine.wait_all({goroutine.async(error, "no"), goroutine.async(function() goroutine.sleep(60000) end)}, 0.05)
		return r[1].success, r[1].error, r[1].value, #r[1].values, r[2].success, r[2].error`,
			"false\tno\tnil\t0\tfalse\ttimed out after 50ms: the goroutine of test.lua:1 is still running"},
		{`local n = 0 local hs = {}
		for i = 1, 50 do hs[i] = goroutine.async(function() local v = n goroutine.sleep(0) n = n + 1 end) end
		goroutine.await_all(hs) return n`, "50"},
		{`local order = {} local hs = {}
		for i = 1, 5 do hs[i] = goroutine.async(function() order[#order + 1] = i end) end
		goroutine.await_all(hs) return table.concat(order)`, "12345"},
		{`local h = goroutine.async(function() goroutine.sleep(60000) end) goroutine.sleep(5) h:cancel() return h:await()`, "false\ttest.lua:1: cancelled: it was cancelled by the script"},
		{`local h = goroutine.async(function() return 1 end) local before = h:done() goroutine.await(h) return before, h:done(), tostring(h)`, "false\ttrue\tgoroutine of test.lua:1"},
		{`return pcall(goroutine.await, 5)`, "false\tbad argument #1 to await (a handle of goroutine.async expected, got number)"},
		{`return pcall(goroutine.await_all, {1})`, "false\tbad argument #1 to await_all (element 1 is a number, not a handle of goroutine.async)"},
		{`goroutine.sleep("1ms") return pcall(goroutine.sleep, true)`, "false\tbad argument #1 to sleep (a duration expected, a number or a text such as \"5s\", got true)"},

		{`goroutine.pool_create("p", {workers = 2, queue = 1})
		local running, most = 0, 0
		for i = 1, 6 do goroutine.pool_submit("p", function(k) running = running + 1 most = math.max(most, running) goroutine.sleep(5) running = running - 1 if k == 3 then error("three") end end, i) end
		goroutine.pool_wait("p")
		local s = goroutine.pool_stats("p")
		return most, s.name, s.workers, s.active, s.completed, s.failed, s.queued, goroutine.pool_close("p"), (pcall(goroutine.pool_stats, "p"))`,
			"2\tp\t2\t0\t5\t1\t0\ttrue\tfalse"},
		{`goroutine.pool_create("q", {workers = 1}) local h = goroutine.pool_submit("q", function() return "r" end) return goroutine.await(h)`, "true\tr"},
		{`goroutine.pool_create("q", {workers = 1}) goroutine.pool_submit("q", goroutine.sleep, 60000)
		local ok, e = goroutine.pool_wait("q", 0.05) return ok, e`, "false\ttimed out after 50ms: the pool \"q\" has 1 functions at work and 0 waiting"},
		{`return pcall(goroutine.pool_create, "x", {workers = 0})`, "false\tbad argument #2 to pool_create (workers must be a whole number from 1 to 1000)"},

		{`local r = async.parallel({function() return "a" end, function() error("b", 0) end}) return r[1].value, r[2].success, r[2].error`, "a\tfalse\ttest.lua:1: b"},
		{`local r = async.parallel({front = function() return 1 end, back = function() return 2 end}) return r.front.value, r.back.value`, "1\t2"},
		{`local n, most = 0, 0 local fs = {} for i = 1, 6 do fs[i] = function() n = n + 1 most = math.max(most, n) goroutine.sleep(5) n = n - 1 return i end end
		local r = async.parallel(fs, {max_workers = 2}) return most, r[6].value`, "2\t6"},
		{`local r = async.parallel({function() goroutine.sleep(60000) end, function() return 1 end}, {timeout = "50ms"}) return r[1].success, r[2].success`, "false\ttrue"},
		{`local seen = {} local r = async.sequence({function() seen[1] = 1 return "x" end, function() error("stop", 0) end, function() seen[3] = 3 end})
		return r[1].value, r[2].error, r[3], seen[3]`, "x\ttest.lua:1: stop\tnil\tnil"},
		{`return async.timeout(5, function(a) return a end, "in time")`, "true\tin time"},
		{`return async.timeout("50ms", function() while true do end end)`, "false\ttimed out after 50ms"},
		{`return async.race({function() goroutine.sleep(60000) return "slow" end, function() goroutine.sleep(1) return "fast" end})`, "true\tfast"},
		{`local ok, v = async.all({a = function() return 1 end, b = function() return 2 end}) return ok, v.a, v.b`, "true\t1\t2"},
		{`return async.all({function() goroutine.sleep(60000) end, function() error("broken", 0) end})`, "false\ttest.lua:1: broken"},
		{`local ok, v = async.all({}) return ok, #v`, "true\t0"},
		{`return goroutine.await(async(function() return 5 end))`, "true\t5"},
		{`return async.promise(function() return 2 end):next(function(v) return v * 10 end):await()`, "true\t20"},
		{`return async.promise(function() error("bad", 0) end):next(function() return "not here" end):catch(function(e) return "caught " .. e end):await()`, "true\tcaught test.lua:1: bad"},
		{`return async.promise(function(resolve, reject) goroutine.spawn(function() goroutine.sleep(1) resolve("later", 2) end) end):await()`, "true\tlater\t2"},
		{`return async.promise(function(resolve, reject) reject("no") end):await()`, "false\tno"},
		{`return async.promise(function() return 1 end):next(function(v) return async.promise(function() return v + 1 end) end):await()`, "true\t2"},
	} {
		vm := world(t, engine.Options{Linger: 20 * time.Millisecond, Log: func(context.Context, string, string) {}})
		got, err := run(t, context.Background(), vm, c[0])
		if err != nil {
			got = "error: " + err.Error()
		}
		if got != c[1] {
			t.Errorf("%s\n got %s\nwant %s", c[0], got, c[1])
		}
	}
}

func TestCommandsRunBesideEachOther(t *testing.T) {
	vm := world(t, engine.Options{})
	begin := time.Now()
	got, err := run(t, context.Background(), vm, `
		local hs = {}
		for i = 1, 5 do hs[i] = goroutine.create(function() os.execute("sleep 0.4") return i end) end
		local sum = 0
		for _, r in ipairs(goroutine.wait_all(hs, 10)) do sum = sum + r.value end
		return sum`)
	if took := time.Since(begin); err != nil || got != "15" || took > 1500*time.Millisecond {
		t.Errorf("%q %v after %v", got, err, took)
	}
}

// logs collects messages.
type logs struct {
	mu  sync.Mutex
	all []string
}

func (l *logs) log(_ context.Context, level, message string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, level+" "+message)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.all, "\n")
}

func TestSpawn(t *testing.T) {
	var l logs
	vm := world(t, engine.Options{Log: l.log})
	if _, err := run(t, context.Background(), vm, `
		done = false
		goroutine.spawn(function() error("lost") end)
		goroutine.spawn(function(v) goroutine.sleep(20) done = v end, "yes")`); err != nil {
		t.Fatal(err)
	}
	// The task waited for what it started.
	if got, err := run(t, context.Background(), vm, "return done"); got != "yes" {
		t.Errorf("%q %v", got, err)
	}
	if l.String() != "error goroutine of test.lua:3: test.lua:3: lost" {
		t.Errorf("log %q", l.String())
	}
}

func TestEndlessGoroutinesAreStopped(t *testing.T) {
	var l logs
	vm := world(t, engine.Options{Log: l.log, Linger: 30 * time.Millisecond})
	begin := time.Now()
	if _, err := run(t, context.Background(), vm, `goroutine.spawn(function() while true do goroutine.sleep(1) end end)`); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(begin); took > 2*time.Second {
		t.Errorf("it took %v", took)
	}
	if !strings.HasPrefix(l.String(), "warn the goroutine started at test.lua:1 was still running 30ms after its task returned") {
		t.Errorf("log %q", l.String())
	}
}

func TestAFailedTaskStopsItsGoroutines(t *testing.T) {
	vm := world(t, engine.Options{Log: (&logs{}).log})
	begin := time.Now()
	_, err := run(t, context.Background(), vm, `
		for i = 1, 20 do goroutine.async(function() goroutine.sleep(60000) end) end
		goroutine.create(os.execute, "sleep 60")
		goroutine.sleep(20)
		error("failed")`)
	if err == nil || time.Since(begin) > 3*time.Second {
		t.Errorf("%v after %v", err, time.Since(begin))
	}
}

func TestATimeoutReachesGoroutines(t *testing.T) {
	vm := world(t, engine.Options{Log: (&logs{}).log})
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	begin := time.Now()
	_, err := run(t, ctx, vm, `
		local h = goroutine.async(function() while true do end end)
		goroutine.await(h)`)
	if !errors.Is(err, context.DeadlineExceeded) || time.Since(begin) > 3*time.Second {
		t.Errorf("%v after %v", err, time.Since(begin))
	}
}

type envKey struct{}

func TestGoroutinesInheritTheContext(t *testing.T) {
	vm := world(t, engine.Options{})
	vm.Do(func(L *lua.LState) {
		vm.Globals().RawSetString("env", L.NewFunction(func(L *lua.LState) int {
			v, _ := engine.Context(L).Value(envKey{}).(string)
			L.Push(lua.LString(v))
			return 1
		}))
	})
	got, err := run(t, context.WithValue(context.Background(), envKey{}, "here"), vm, `
		local co = coroutine.wrap(function() return env() end)
		local _, a = goroutine.await(goroutine.async(function() return env() end))
		return a, co(), select(2, pcall(env)), env()`)
	if err != nil || got != "here\there\there\there" {
		t.Errorf("%q %v", got, err)
	}
}

// prelude stands in for what other packages bring: it runs a task at once.
const prelude = `
log = {} for _, level in ipairs({"info", "error", "warn"}) do log[level] = function(m) print(m) end end
local builder = {} builder.__index = function(_, key)
	return function(self, v) if key == "command" then self.fn = v end return self end
end
task = function() return setmetatable({}, builder) end
workflow = {define = function(_, t) return setmetatable({}, builder) end}
local build = builder.__index
builder.__index = function(t, key)
	if key == "build" then return function(self) built = self.fn return self end end
	return build(t, key)
end`

func TestExamples(t *testing.T) {
	spec := os.Getenv("SLOTH_SPEC")
	if spec == "" {
		if os.Getenv("SLOTH_MUST_RUN") == "1" {
			t.Fatal("SLOTH_SPEC is not set")
		}
		t.Skip("SLOTH_SPEC is not set: it names the folder with the examples")
	}
	for file, want := range map[string]struct {
		lines int
		took  time.Duration
		last  string
	}{
		"07-parallel-deployment.sloth": {2 + 6 + 24 + 2 + 6 + 2, 2 * time.Second, "📈 Summary: 6 successful, 0 failed"},
		"11-quick-goroutines.sloth":    {2 + 5 + 1 + 5, time.Second, "  📦 Result from operation 5"},
	} {
		src, err := os.ReadFile(filepath.Join(spec, "examples", file))
		if err != nil {
			t.Fatal(err)
		}
		var mu sync.Mutex
		var lines []string
		vm := world(t, engine.Options{Print: func(_ context.Context, line string) {
			mu.Lock()
			defer mu.Unlock()
			lines = append(lines, line)
		}})
		if _, err := run(t, context.Background(), vm, prelude); err != nil {
			t.Fatal(err)
		}
		if _, err := run(t, context.Background(), vm, string(src)); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		begin := time.Now()
		got, err := run(t, context.Background(), vm, "return built({}, {})")
		took := time.Since(begin)
		if err != nil || !strings.HasPrefix(got, "true\t") {
			t.Errorf("%s: %q %v", file, got, err)
		}
		if took < want.took || took > want.took+1500*time.Millisecond {
			t.Errorf("%s took %v, want about %v", file, took, want.took)
		}
		if len(lines) != want.lines || lines[len(lines)-1] != want.last {
			t.Errorf("%s: %d lines, the last %q:\n%s", file, len(lines), lines[len(lines)-1], strings.Join(lines, "\n"))
		}
	}
}

func BenchmarkAsync(b *testing.B) {
	vm := world(b, engine.Options{})
	c, err := vm.Load("bench.lua", []byte(`local hs = {} for i = 1, 100 do hs[i] = goroutine.async(function() goroutine.sleep(0) return i end) end goroutine.await_all(hs)`))
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := vm.Run(context.Background(), c); err != nil {
			b.Fatal(err)
		}
	}
}
