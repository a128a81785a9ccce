package ship

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"

	lua "github.com/yuin/gopher-lua"

	"github.com/sloth-runner/sloth/lua/engine"
)

func world(t testing.TB, opts engine.Options) *engine.VM {
	t.Helper()
	vm := engine.New(opts)
	t.Cleanup(func() { vm.Close() })
	return vm
}

// load runs a source and returns the one value it returns.
func load(t testing.TB, vm *engine.VM, src string) lua.LValue {
	t.Helper()
	c, err := vm.Load("deploy.lua", []byte(src))
	if err != nil {
		t.Fatal(err)
	}
	rets, err := vm.Run(context.Background(), c)
	if err != nil {
		t.Fatal(err)
	}
	if len(rets) != 1 {
		t.Fatalf("the source returned %d values", len(rets))
	}
	return rets[0]
}

// arrive sends a value to a fresh world that has the chunks it needs.
func arrive(t testing.TB, from *engine.VM, v lua.LValue, setup func(*engine.VM)) (*engine.VM, lua.LValue) {
	t.Helper()
	p, err := Encode(from, v, Options{To: "web-01"})
	if err != nil {
		t.Fatal(err)
	}
	to := world(t, engine.Options{})
	for _, hash := range p.Chunks {
		c, ok := from.Chunk(hash)
		if !ok {
			t.Fatalf("the sender does not have its own chunk %s", hash)
		}
		if _, err := to.Load(c.Name, c.Source); err != nil {
			t.Fatal(err)
		}
	}
	if setup != nil {
		setup(to)
	}
	got, err := Decode(to, p.Data, Limits{})
	if err != nil {
		t.Fatal(err)
	}
	again, err := Encode(to, got, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(again.Data, p.Data) {
		t.Error("the value that arrived has other bytes than the one sent")
	}
	return to, got
}

// call calls a function and joins what it returns.
func call(t testing.TB, vm *engine.VM, fn lua.LValue, args ...lua.LValue) string {
	t.Helper()
	rets, err := vm.Call(context.Background(), fn.(*lua.LFunction), args...)
	if err != nil {
		return "error: " + err.Error()
	}
	var out []string
	for _, r := range rets {
		out = append(out, r.String())
	}
	return strings.Join(out, "\t")
}

// scripts return a function; what it returns must be the same on both sides.
var scripts = map[string]string{
	"nested tables": `
		local cfg = {name = "app", ports = {80, 443}, env = {prod = {debug = false, ratio = 0.25}}}
		return function() return cfg.name, cfg.ports[2], cfg.env.prod.ratio, cfg.env.prod.debug, #cfg.ports end`,
	"sibling functions": `
		local function double(x) return x * 2 end
		local function quad(x) return double(double(x)) end
		return function() return quad(5) end`,
	"loop variables": `
		local fns = {}
		for i = 1, 3 do fns[i] = function() return i * 10 end end
		return function() return fns[1](), fns[2](), fns[3]() end`,
	"mutual recursion": `
		local odd
		local function even(n) if n == 0 then return true end return odd(n - 1) end
		odd = function(n) if n == 0 then return false end return even(n - 1) end
		return function() return even(10), odd(7), even(3) end`,
	"shared counter": `
		local n = 10
		local function inc() n = n + 1 end
		local function get() return n end
		inc()
		return function() inc() inc() return get(), n end`,
	"counters in a loop share nothing": `
		local made = {}
		for i = 1, 2 do
			local n = i
			made[i] = {inc = function() n = n + 1 end, get = function() return n end}
		end
		return function() made[1].inc() made[1].inc() made[2].inc() return made[1].get(), made[2].get() end`,
	"recursive local": `
		local function fact(n) if n < 2 then return 1 end return n * fact(n - 1) end
		return function() return fact(10) end`,
	"cycles and sharing": `
		local a = {} local b = {a = a} a.b = b a.self = a
		local list = {a, a, b}
		return function() return list[1] == list[2], a.b.a == a, a.self == list[1], list[3] == b end`,
	"globals": `
		counter = 5
		function helper(x) return x + counter end
		settings = {deep = {value = "v"}}
		return function() counter = counter + 1 return helper(1), settings.deep.value end`,
	"globals through globals": `
		base = 7
		function one() return base end
		function two() return one() * 2 end
		return function() return two() end`,
	"metatables": `
		local Point = {} Point.__index = Point
		function Point.new(x) return setmetatable({x = x}, Point) end
		function Point:twice() return self.x * 2 end
		Point.__add = function(a, b) return Point.new(a.x + b.x) end
		local p, q = Point.new(3), Point.new(4)
		return function() return (p + q):twice(), getmetatable(p) == Point end`,
	"library values": `
		local fmt, t, m = string.format, table, math.floor
		local lib = string
		return function() return fmt("%03d", m(7.9)), t.concat({1, 2}, "-"), lib == string, fmt == string.format end`,
	"helpers added to a library": `
		function string.trim(s) return (s:gsub("^%s+", ""):gsub("%s+$", "")) end
		table.contains = function(t, x) for _, v in ipairs(t) do if v == x then return true end end return false end
		return function() return ("  x "):trim(), table.contains({1, 2}, 2) end`,
	"print replaced": `
		local lines = {}
		print = function(x) lines[#lines + 1] = x end
		return function() print("a") print("b") return table.concat(lines, ",") end`,
	"global removed": `
		unpack = nil
		return function() return unpack == nil end`,
	"computed global": `
		secret_a, secret_b = 1, 2
		return function(which) return _G["secret_" .. "b"], rawget(_G, "secret_a") end`,
	"environment": `
		shared_global = "g"
		local f = function() x = (x or 0) + 1 return x, shared_global end
		setfenv(f, setmetatable({x = 4}, {__index = _G}))
		return function() return f() end`,
	"loadstring": `
		local made = loadstring("local n = ... ; return function() return n * 3 end")
		local f = made(14)
		return function() return f() end`,
	"varargs and upvalues of upvalues": `
		local function outer(...)
			local args = {...}
			local n = select("#", ...)
			return function() return (function() return args[1], n end)() end
		end
		local f = outer("a", "b")
		return function() return f() end`,
	"numbers": `
		local t = {0/0, 1/0, -1/0, -0, 1e300, 2^53, -2^53, 0.1, 3, -7, 123456789012}
		return function() return t[1] ~= t[1], t[2], t[3], 1/t[4], t[5], t[6] == 2^53, t[7], t[8], t[9], t[10], t[11] end`,
	"strings": `
		local b = "\0\1\255\200 \n\r"
		return function() return #b, b:byte(3), b:byte(1) end`,
	"holes": `
		local t = {1, nil, 3} t[1000000] = "far"
		return function() return t[1], t[2], t[3], t[1000000] end`,
	"keys": `
		local k = {} local t = {[k] = "table", [true] = "yes", [1.5] = "half", [-1] = "minus"}
		return function() return t[k], t[true], t[1.5], t[-1] end`,
	"constants beside globals": `
		local name = "log"
		return function() local t = {log = 1, print = 2} return t[name], t.print end`,
	"closure made in a caught error": `
		local saved
		pcall(function() local inner = 5 saved = function() inner = inner + 1 return inner end error("x") end)
		return function() return saved(), saved() end`,
}

func TestScriptsGiveTheSameElsewhere(t *testing.T) {
	for name, src := range scripts {
		t.Run(name, func(t *testing.T) {
			from := world(t, engine.Options{})
			fn := load(t, from, src)
			to, got := arrive(t, from, fn, nil)
			here, there := call(t, from, fn), call(t, to, got)
			if here != there || strings.HasPrefix(here, "error") {
				t.Errorf("here %q\nthere %q", here, there)
			}
		})
	}
}

func TestErrorsNameTheOriginalLine(t *testing.T) {
	from := world(t, engine.Options{})
	to, got := arrive(t, from, load(t, from, "local cfg = {}\nreturn function()\n  return cfg.a.b\nend"), nil)
	if out := call(t, to, got); !strings.HasPrefix(out, "error: deploy.lua:3: ") {
		t.Error(out)
	}
}

// TestVariablesOfARunningFunction sends a closure while the function that
// declared its variables still runs: the cells are open.
func TestVariablesOfARunningFunction(t *testing.T) {
	from := world(t, engine.Options{})
	var p Parcel
	from.Do(func(L *lua.LState) {
		from.Globals().RawSetString("send", L.NewFunction(func(L *lua.LState) int {
			var err error
			if p, err = EncodeIn(L, L.Get(1), Options{}); err != nil {
				engine.Raise(L, err)
			}
			return 0
		}))
	})
	from.Pristine()
	load(t, from, `local n = 1
		local inc = function() n = n + 1 end
		local both = {inc = inc, get = function() return n end}
		n = 41
		send(function() both.inc() return both.get() end)
		n = 100
		return true`)
	to := world(t, engine.Options{})
	c, _ := from.Chunk(p.Chunks[0])
	if _, err := to.Load(c.Name, c.Source); err != nil {
		t.Fatal(err)
	}
	fn, err := Decode(to, p.Data, Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if got := call(t, to, fn); got != "42" {
		t.Errorf("got %s", got)
	}
}

type connection struct{ to string }

func (connection) LuaName() string { return "ssh connection" }

func withConnection(t testing.TB) *engine.VM {
	vm := world(t, engine.Options{})
	vm.Do(func(L *lua.LState) {
		vm.Globals().RawSetString("connect", L.NewFunction(func(L *lua.LState) int {
			ud := L.NewUserData()
			ud.Value = connection{"db"}
			L.Push(ud)
			return 1
		}))
	})
	vm.Pristine()
	return vm
}

func TestWhatCannotTravelIsNamed(t *testing.T) {
	for src, want := range map[string]string{
		"local cfg = {db = {conn = connect()}}\nreturn function()\n  return cfg.db\nend":                                      "deploy.lua:3: cannot send the local 'cfg'.db.conn to web-01: it is a userdata (ssh connection), which lives on the controller only",
		"local conns = {connect()}\nreturn function() return conns end":                                                       "deploy.lua:2: cannot send the local 'conns'[1] to web-01: it is a userdata (ssh connection), which lives on the controller only",
		"conn = connect()\nreturn function()\n\n return conn end":                                                             "deploy.lua:4: cannot send the global 'conn' to web-01: it is a userdata (ssh connection), which lives on the controller only",
		"local co = coroutine.create(function() end)\nlocal function use() return co end\nreturn function() return use() end": "deploy.lua:2: cannot send the local 'co' to web-01: it is a coroutine, which cannot leave the machine it was made on",
		"local f = io.open('/dev/null')\nreturn function() return f end":                                                      "deploy.lua:2: cannot send the local 'f' to web-01: it is a userdata (open file /dev/null), which lives on the controller only",
		"local it = ('x'):gmatch('.')\nreturn function() return it() end":                                                     "deploy.lua:2: cannot send the local 'it' to web-01: it is a Go function, which lives on the controller only",
		"return {vars = {['my key'] = {connect()}}}":                                                                          "cannot send the step.vars[\"my key\"][1] to web-01: it is a userdata (ssh connection), which lives on the controller only",
		"local t = setmetatable({}, {__index = connect()})\nreturn function() return t end":                                   "deploy.lua:2: cannot send the local 't' (its metatable).__index to web-01: it is a userdata (ssh connection), which lives on the controller only",
		"local t = {[connect()] = 1}\nreturn function() return t end":                                                         "deploy.lua:2: cannot send the local 't' (one of its keys) to web-01: it is a userdata (ssh connection), which lives on the controller only",
		"string.conn = connect()\nreturn function() return string.conn end":                                                   "cannot send string.conn to web-01: it is a userdata (ssh connection), which lives on the controller only",
	} {
		vm := withConnection(t)
		_, err := Encode(vm, load(t, vm, src), Options{To: "web-01", Name: "the step"})
		if err == nil || err.Error() != want {
			t.Errorf("%s\n got %v\nwant %s", src, err, want)
		}
	}
}

// TestUnusedStaysHome: what functions do not name does not hinder them.
func TestUnusedStaysHome(t *testing.T) {
	vm := withConnection(t)
	fn := load(t, vm, `conn, other, used = connect(), 1, 2
		return function() return used, _G.other end`)
	p, err := Encode(vm, fn, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(p.Data, []byte("used")) || !bytes.Contains(p.Data, []byte("other")) || bytes.Contains(p.Data, []byte("conn\x00")) {
		t.Errorf("%q", p.Data)
	}
	fn = load(t, vm, `unrelated, named = {1}, 5 return function() local g = require("string") return named, g end`)
	if p, err = Encode(vm, fn, Options{}); err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(p.Data, []byte("unrelated")) {
		t.Errorf("a global nobody names was sent: %q", p.Data)
	}
}

func TestRegisteredObjects(t *testing.T) {
	setup := func(vm *engine.VM) {
		Register(vm, "conn", func(ud *lua.LUserData) (lua.LValue, bool) {
			c, ok := ud.Value.(connection)
			return lua.LString(c.to), ok
		}, func(L *lua.LState, v lua.LValue) (lua.LValue, error) {
			if v.Type() != lua.LTString {
				return nil, errors.New("not a name")
			}
			ud := L.NewUserData()
			ud.Value = connection{v.String()}
			return ud, nil
		})
		vm.Do(func(L *lua.LState) {
			vm.Globals().RawSetString("target", L.NewFunction(func(L *lua.LState) int {
				L.Push(lua.LString(L.CheckUserData(1).Value.(connection).to))
				return 1
			}))
		})
		vm.Pristine()
	}
	from := withConnection(t)
	setup(from)
	fn := load(t, from, `local c = connect()
		local t = {c, key = {c = c}, [c] = c}
		return function() return target(c), t[1] == c, t.key.c == c, t[c] == c end`)
	to, got := arrive(t, from, fn, setup)
	if out := call(t, to, got); out != "db\ttrue\ttrue\ttrue" {
		t.Error(out)
	}
}

func TestData(t *testing.T) {
	vm := world(t, engine.Options{})
	for src, ok := range map[string]bool{
		`return {1, "a", {true, nil, x = 2.5}}`: true,
		`return "just text"`:                    true,
		`return {f = function() end}`:           false,
		`return {print}`:                        false,
		`return setmetatable({}, {})`:           false,
		`return _G`:                             false,
	} {
		p, err := Encode(vm, load(t, vm, src), Options{Data: true})
		if (err == nil) != ok {
			t.Errorf("encode %s: %v", src, err)
		}
		if ok {
			if _, err := Decode(vm, p.Data, Limits{Data: true}); err != nil {
				t.Errorf("decode %s: %v", src, err)
			}
			continue
		}
		if p, err = Encode(vm, load(t, vm, src), Options{}); err != nil {
			t.Fatal(err)
		}
		if _, err := Decode(vm, p.Data, Limits{Data: true}); err == nil {
			t.Errorf("decode %s: it was taken for data", src)
		}
	}
}

func TestAllow(t *testing.T) {
	vm := world(t, engine.Options{})
	p, err := Encode(vm, load(t, vm, `local e = os.execute return function() return e end`), Options{})
	if err != nil {
		t.Fatal(err)
	}
	var asked []Ref
	refuse := errors.New("not that")
	_, err = Decode(vm, p.Data, Limits{Allow: func(r Ref) error {
		asked = append(asked, r)
		if r.Library != "" {
			return refuse
		}
		return nil
	}})
	if !errors.Is(err, refuse) || len(asked) != 2 || asked[0].Chunk != p.Chunks[0] || asked[0].Index != 1 || asked[1].Library != "os.execute" {
		t.Errorf("%v %v", err, asked)
	}
}

func TestMissingSource(t *testing.T) {
	from, to := world(t, engine.Options{}), world(t, engine.Options{})
	p, err := Encode(from, load(t, from, `return function() end`), Options{})
	if err != nil {
		t.Fatal(err)
	}
	var missing *MissingChunkError
	if _, err := Decode(to, p.Data, Limits{}); !errors.As(err, &missing) || missing.Hash != p.Chunks[0] {
		t.Errorf("got %v", err)
	}
}

// TestEqualGraphsHaveEqualBytes builds the same table in two orders.
func TestEqualGraphsHaveEqualBytes(t *testing.T) {
	var all [][]byte
	for _, src := range []string{
		`local t = {} t.a = 1 t.b = {2} t[1] = "x" t[3] = true t[2] = "y" t[-5] = 0/0 return t`,
		`local t = {} t[-5] = 1/0 - 1/0 t.b = {2} t.gone = 1 t[1] = "x" t[2] = "y" t[3] = true t.gone = nil t.a = 1 return t`,
	} {
		vm := world(t, engine.Options{})
		p, err := Encode(vm, load(t, vm, src), Options{})
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, p.Data)
	}
	if !bytes.Equal(all[0], all[1]) {
		t.Errorf("%q\n%q", all[0], all[1])
	}
}

func TestLimits(t *testing.T) {
	vm := world(t, engine.Options{})
	big := load(t, vm, `local t = {} for i = 1, 1000 do t[i] = {("x"):rep(2000) .. i} end return t`)
	for name, opts := range map[string]Options{"bytes": {MaxBytes: 1 << 20}, "nodes": {MaxNodes: 100}} {
		if _, err := Encode(vm, big, opts); err == nil {
			t.Errorf("%s: it was sent", name)
		}
	}
	deep := load(t, vm, `local t = {} for i = 1, 20000 do t = {t} end return t`)
	p, err := Encode(vm, deep, Options{})
	if err != nil {
		t.Fatal(err)
	}
	for name, l := range map[string]Limits{"bytes": {Bytes: 100}, "nodes": {Nodes: 100}, "depth": {}} {
		if _, err := Decode(vm, p.Data, l); err == nil {
			t.Errorf("%s: it was accepted", name)
		}
	}
	holes := load(t, vm, `local t = {} for i = 1, 15 do t[i] = {[300000] = 1} end return t`)
	if p, err = Encode(vm, holes, Options{}); err != nil {
		t.Fatal(err)
	}
	if _, err := Decode(vm, p.Data, Limits{}); err == nil || !strings.Contains(err.Error(), "holes") {
		t.Errorf("holes: %v", err)
	}
}
