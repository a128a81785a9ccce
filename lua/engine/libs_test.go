package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestPatterns(t *testing.T) {
	expect(t, Options{}, [][2]string{
		{`return ("hello world"):find("o w")`, "5\t7"},
		{`return ("hello"):find("l", 1, true)`, "3\t3"},
		{`return ("a.b"):find(".", 2, true)`, "2\t2"},
		{`return ("hello"):find("")`, "1\t0"},
		{`return ("hello"):find("", 10)`, "6\t5"},
		{`return ("key = value"):match("^(%w+)%s*=%s*(%w+)$")`, "key\tvalue"},
		{`return ("  trim  "):match("^%s*(.-)%s*$")`, "trim"},
		{`return ("f(a(b)c)d"):match("%b()")`, "(a(b)c)"},
		{`return ("THE (quick) fox"):find("%((%a+)%)")`, "5\t11\tquick"},
		{`return ("hello"):match("()ll()")`, "3\t5"},
		{`return ("abcabc"):match("(abc)%1")`, "abc"},
		{`return ("x = [[a]]"):match("%[%[(.-)%]%]")`, "a"},
		{`return ("2024-01-02"):match("(%d+)-(%d+)-(%d+)")`, "2024\t01\t02"},
		{`return ("a-b]c"):gsub("[]-]", "_")`, "a_b_c\t2"},
		{`return ("a^b"):gsub("[b^]", "_")`, "a__\t2"},
		{`return ("THE (quick) fox"):gsub("%f[%a]%a+", "<%0>")`, "<THE> (<quick>) <fox>\t3"},
		{`return ("hello world"):gsub("o", "0", 1)`, "hell0 world\t1"},
		{`return ("hello"):gsub("", "-")`, "-h-e-l-l-o-\t6"},
		{`return ("abc"):gsub("%w", "%0%0")`, "aabbcc\t3"},
		{`return ("abc"):gsub("(a)(b)", "%2%1")`, "bac\t1"},
		{`return ("$name is $age"):gsub("%$(%w+)", {name = "x"})`, "x is $age\t2"},
		{`return ("abc"):gsub("%w", function(c) if c == "b" then return "B" end end)`, "aBc\t3"},
		{`return ("abc"):gsub("^a", "x")`, "xbc\t1"},
		{`local t = {} for k, v in ("a=1, b=2"):gmatch("(%w+)=(%w+)") do t[#t+1] = k .. v end return table.concat(t, ",")`, "a1,b2"},
		{`local n = 0 for _ in ("abc"):gmatch("") do n = n + 1 end return n`, "4"},
		{`return ("\0a\0"):find("%z", 2)`, "3\t3"},
		{`return ("ÄÖ"):upper(), ("aé"):upper(), ("\200A"):lower() == "\200a"`, "ÄÖ\tAé\ttrue"},
		{`return pcall(string.find, "a", "[a")`, "false\tmalformed pattern (missing ']')"},
		{`return pcall(string.find, "a", "a%")`, "false\tmalformed pattern (ends with '%')"},
		{`return pcall(string.match, "a", "(a")`, "false\tunfinished capture"},
		{`return pcall(string.match, "a", "a)")`, "false\tinvalid pattern capture"},
		{`return pcall(string.gsub, "a", "a", "%2")`, "false\tinvalid capture index %2"},
		{`return pcall(string.gsub, "a", "a", true)`, "false\tbad argument #3 to gsub (string or number or table or function expected, got boolean)"},
	})
}

func TestStrings(t *testing.T) {
	expect(t, Options{}, [][2]string{
		{`return ("hello"):sub(2, -2), ("hello"):sub(-3), ("hello"):sub(10), ("hello"):sub(0)`, "ell\tllo\t\thello"},
		{`return ("AB"):byte(1, -1), ("").byte("x", 5)`, "65"},
		{`return string.char(72, 105), ("ab"):reverse(), ("ab"):len(), ("a"):rep(3, "-"), ("a"):rep(0)`, "Hi\tba\t2\ta-a-a\t"},
		{`return ("%5d|%-5d|%05d|%+d"):format(42, 42, 42, 42)`, "   42|42   |00042|+42"},
		{`return ("%.2f %g %g %e"):format(3.14159, 1e20, 0.1, 12345.678)`, "3.14 1e+20 0.1 1.234568e+04"},
		{`return ("%x %X %#x %o"):format(255, 255, 255, 8)`, "ff FF 0xff 10"},
		{`return ("%s %10s|%-10s|%.2s"):format(nil, "a", "b", "xyz")`, "nil          a|b         |xy"},
		{`return ("%q"):format('a "b"\n\\')`, "\"a \\\"b\\\"\\\n\\\\\""},
		{`return ("%c%c"):format(65, 200) == "A\200"`, "true"},
		{`return ("%d%%"):format("12")`, "12%"},
		{`return ("%i %u"):format(3.7, 5)`, "3 5"},
		{`return ("%f %f"):format(1/0, -1/0), ("%5.1f"):format(0/0)`, "inf -inf\t  nan"},
		{`return pcall(string.format, "%d", "x")`, "false\tbad argument #2 to format (number expected, got string)"},
		{`return pcall(string.format, "%d")`, "false\tbad argument #2 to format (no value for %d)"},
		{`return pcall(string.format, "%y", 1)`, "false\tinvalid option '%y' to 'format'"},
		{`return pcall(string.format, "%", 1)`, "false\tinvalid format (ends with '%')"},
		{`return pcall(string.format, "%123456789d", 1)`, "false\tinvalid format '%123456789d'"},
		{`return ("%s"):format(setmetatable({}, {__tostring = function() return "me" end}))`, "me"},
		{`return pcall(string.char, 256)`, "false\tbad argument #1 to char (invalid value: a byte is 0 to 255)"},
	})
}

func TestDates(t *testing.T) {
	expect(t, Options{}, [][2]string{
		{`return os.date("!%Y-%m-%d %H:%M:%S %j %a %y %%", 86400)`, "1970-01-02 00:00:00 002 Fri 70 %"},
		{`local d = os.date("!*t", 86399) return d.year, d.hour, d.min, d.sec, d.wday, d.yday, d.isdst`, "1970\t23\t59\t59\t5\t1\tfalse"},
		{`return os.time({year = 2024, month = 2, day = 30, hour = 0}) == os.time({year = 2024, month = 3, day = 1, hour = 0})`, "true"},
		{`return os.difftime(10, 4), os.clock() >= 0`, "6\ttrue"},
		{`return pcall(os.time, {year = 2024})`, "false\tfield 'month' missing in date table"},
		{`return pcall(os.date, "%Q")`, "false\tbad argument #1 to date (unknown directive %Q)"},
	})
}

func TestFiles(t *testing.T) {
	dir := t.TempDir()
	vm := world(t, Options{Dir: func(context.Context) string { return dir }, Stdin: strings.NewReader("typed\n12 rest")})
	expectOn(t, vm, [][2]string{
		{`local f = assert(io.open("a.txt", "w")) f:write("one\n", 2, "\nthree") return io.type(f), f:close(), io.type(f)`, "file\ttrue\tclosed file"},
		{`local f = io.open("a.txt") local a, b, c = f:read("*l", "*n", "*a") f:close() return a, b, #c`, "one\t2\t6"},
		{`local f = io.open("a.txt") return f:read(2), f:read(0), f:seek("cur"), f:seek("set", 1), f:read("*L"), f:seek("end"), f:read(0), f:read("*a"), f:close()`, "on\t\t2\t1\tne\n\t11\tnil\t\ttrue"},
		{`local t = {} for l in io.lines("a.txt") do t[#t+1] = l end return table.concat(t, ",")`, "one,2,three"},
		{`local f = io.open("a.txt", "r+") f:read("*l") f:write("TWO") f:close() return io.open("a.txt"):read("*a")`, "one\nTWOhree"},
		{`local f = io.open("a.txt", "a") f:write("!") f:close() return io.open("a.txt"):read("*a")`, "one\nTWOhree!"},
		{`return io.open("missing/x")`, "nil\t" + dir + "/missing/x: no such file or directory\t2"},
		{`local f = io.open("a.txt") return f:write("x")`, "nil\ta.txt: not open for writing\t1"},
		{`return pcall(io.open, "a.txt", "rw")`, "false\tbad argument #2 to open (invalid mode 'rw' (r, w, a, r+, w+ or a+))"},
		{`local f = io.open("a.txt") f:close() return pcall(f.read, f)`, "false\tattempt to use a closed file"},
		{`return io.read(), io.read("*n"), io.read("*a"), io.read()`, "typed\t12\t rest\tnil"},
		{`return os.rename("a.txt", "b.txt"), os.remove("b.txt"), os.remove("b.txt")`, "true\ttrue\tnil\t" + dir + "/b.txt: no such file or directory\t2"},
		{`local n = os.tmpname() local f = io.open(n, "w") f:close() return os.remove(n)`, "true"},
		{`local f = io.tmpfile() f:write("x") f:seek("set") return f:read("*a")`, "x"},
		{`return io.stdout:close()`, "nil\tstdout: cannot close standard file\t1"},
		{`io.output("o.txt") io.write("via output") io.close() io.output(io.stdout) return io.input("o.txt"):read("*a")`, "via output"},
		{`return tostring(io.stdout), io.type(5)`, "file (stdout)\tnil"},
	})
	if _, err := os.Stat(filepath.Join(dir, "o.txt")); err != nil {
		t.Error(err)
	}
}

// collector takes what a world prints.
type collector struct {
	mu  sync.Mutex
	out strings.Builder
}

func (c *collector) output(_ context.Context, stream string, data []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	fmt.Fprintf(&c.out, "%s:%s", stream, data)
}

func (c *collector) String() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.out.String()
}

func TestCommands(t *testing.T) {
	dir := t.TempDir()
	var c collector
	vm := world(t, Options{
		Output: c.output,
		Dir:    func(context.Context) string { return dir },
		Env:    func(context.Context) []string { return []string{"GREETING=hello"} },
	})
	expectOn(t, vm, [][2]string{
		{`return os.execute("echo $GREETING; exit 3")`, "3\texit\t3"},
		{`return os.execute("kill -9 $$")`, "9\tsignal\t9"},
		{`return os.execute("true") == 0, os.execute()`, "true\t1"},
		{`local p = io.popen("pwd; exit 2") local out = p:read("*l") return out, p:close()`, dir + "\t2\texit\t2"},
		{`os.setenv("MINE", "1") local p = io.popen("echo $MINE$GREETING") return p:read("*a"), p:close()`, "1hello\n\t0\texit\t0"},
		{`local p = io.popen("cat > from_pipe", "w") p:write("piped") p:close() return io.open("from_pipe"):read("*a")`, "piped"},
		{`return os.getenv("GREETING")`, "hello"},
		{`print("a", 1) io.write("b", 2) io.stderr:write("c")`, ""},
	})
	if got := c.String(); got != "stdout:hello\nstdout:a\t1\nstdout:b2stderr:c" {
		t.Errorf("output %q", got)
	}
}

// TestCommandsDieWithTheirTask starts a command with a child that ignores TERM.
func TestCommandsDieWithTheirTask(t *testing.T) {
	dir := t.TempDir()
	vm := world(t, Options{Dir: func(context.Context) string { return dir }, Output: (&collector{}).output})
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	_, err := runContext(t, ctx, vm, `os.execute("(trap '' TERM; echo $$ > pid; while true; do sleep 0.05; done) & wait")`)
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	pid, err := os.ReadFile(filepath.Join(dir, "pid"))
	if err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(5 * time.Second)
	for {
		stat, err := os.ReadFile("/proc/" + strings.TrimSpace(string(pid)) + "/stat")
		if err != nil || strings.Contains(string(stat), ") Z ") {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("the command outlived its task")
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func TestEffects(t *testing.T) {
	dir := t.TempDir()
	var asked []string
	refuse := errors.New("validate executes nothing")
	vm := world(t, Options{
		Dir: func(context.Context) string { return dir },
		Effects: EffectFunc(func(_ context.Context, e Effect) (bool, error) {
			asked = append(asked, fmt.Sprintf("%s(%s) %s:%d", e.Function, strings.Join(e.Args, ","), e.File, e.Line))
			if e.Function == "os.rename" {
				return false, refuse
			}
			return false, nil
		}),
	})
	expectOn(t, vm, [][2]string{
		{`return os.execute("touch made")`, "0\texit\t0"},
		{`return os.remove("x")`, "true"},
		{"\nreturn os.rename('x', 'y')", "error: test.lua:2: validate executes nothing"},
		{`local f = io.open("w.txt", "w") return f:write("x") == f, f:seek("end"), f:read("*a"), f:close()`, "true\t0\t\ttrue"},
		{`local p = io.popen("touch made") return p:read("*a"), p:close()`, "\t0\texit\t0"},
		{`return type(os.tmpname()), io.open("nothing") == nil`, "string\ttrue"},
	})
	want := "os.execute(touch made) test.lua:1\nos.remove(x) test.lua:1\nos.rename(x,y) test.lua:2\n" +
		"io.open(w.txt,w) test.lua:1\nio.popen(touch made,r) test.lua:1\nos.tmpname() test.lua:1"
	if got := strings.Join(asked, "\n"); got != want {
		t.Errorf("asked\n%s", got)
	}
	if left, _ := os.ReadDir(dir); len(left) > 0 {
		t.Errorf("it made %v", left)
	}
}

// FuzzPattern looks for patterns that bring the matcher down.
func FuzzPattern(f *testing.F) {
	for _, c := range [][2]string{{"hello", "(l)%1"}, {"f(a)", "%b()"}, {"x", "[^%]x-]"}, {"a b", "%f[%w]%w+"}, {"", "()"}, {"aaa", "a-b"}, {"a", "[a-"}} {
		f.Add(c[0], c[1])
	}
	f.Fuzz(func(t *testing.T, src, pat string) {
		type malformed struct{}
		defer func() {
			if r := recover(); r != nil && r != any(malformed{}) {
				panic(r)
			}
		}()
		m := newMatcher(src, pat, 100_000, nil, func(string, ...any) { panic(malformed{}) })
		if s, e := m.next(0, strings.HasPrefix(pat, "^")); s >= 0 {
			if s > e || e > len(src) {
				t.Fatalf("match %d to %d of %d", s, e, len(src))
			}
			for i := range m.count() {
				m.get(i, s, e)
			}
		}
	})
}
