package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	lua "github.com/yuin/gopher-lua"
)

var started = time.Now()

func (vm *VM) openOS(L *lua.LState) lua.LValue {
	t := L.CreateTable(0, 16)
	for name, fn := range map[string]lua.LGFunction{
		"clock":     func(L *lua.LState) int { L.Push(lua.LNumber(time.Since(started).Seconds())); return 1 },
		"date":      osDate,
		"difftime":  func(L *lua.LState) int { L.Push(L.CheckNumber(1) - L.OptNumber(2, 0)); return 1 },
		"execute":   vm.osExecute,
		"exit":      vm.osExit,
		"getenv":    vm.osGetenv,
		"remove":    vm.osRemove,
		"rename":    vm.osRename,
		"setenv":    vm.osSetenv,
		"setlocale": func(L *lua.LState) int { L.Push(lua.LNil); return 1 },
		"time":      osTime,
		"tmpname":   vm.osTmpname,
	} {
		t.RawSetString(name, L.NewFunction(fn))
	}
	return t
}

// environ is the environment of commands: the process's, then what the script
// set with os.setenv, then Options.Env.
func (vm *VM) environ(ctx context.Context, set map[string]string) []string {
	env := os.Environ()
	for _, k := range sortedKeys(set) {
		env = append(env, k+"="+set[k])
	}
	if vm.opts.Env != nil {
		env = append(env, vm.opts.Env(ctx)...)
	}
	return env
}

func (vm *VM) osGetenv(L *lua.LState) int {
	name := L.CheckString(1)
	env := vm.environ(Context(L), vm.setenv)
	for i := len(env) - 1; i >= 0; i-- {
		if k, v, _ := strings.Cut(env[i], "="); k == name {
			L.Push(lua.LString(v))
			return 1
		}
	}
	L.Push(lua.LNil)
	return 1
}

// osSetenv changes the environment of this world, not of the process: other
// tasks on the same machine keep theirs.
func (vm *VM) osSetenv(L *lua.LState) int {
	name, value := L.CheckString(1), L.OptString(2, "")
	if name == "" || strings.ContainsAny(name, "=\x00") || strings.Contains(value, "\x00") {
		L.ArgError(1, "not a name of an environment variable")
	}
	if vm.setenv == nil {
		vm.setenv = map[string]string{}
	}
	vm.setenv[name] = value
	L.Push(lua.LTrue)
	return 1
}

// osExit ends the running task, never the process.
func (vm *VM) osExit(L *lua.LState) int {
	code := 0
	switch v := L.Get(1).(type) {
	case lua.LNumber:
		code = int(v)
	case lua.LBool:
		if !bool(v) {
			code = 1
		}
	}
	exit := &Exit{Code: code}
	if tc := threadContextOf(L); tc != nil && tc.s != nil {
		tc.s.exit = exit
	}
	L.RaiseError("%s", exit.Error())
	return 0
}

// osExecute returns the exit code first, as Lua 5.1 scripts compare it with 0;
// then "exit" or "signal" and the number again, as later Luas do.
func (vm *VM) osExecute(L *lua.LState) int {
	if L.GetTop() == 0 {
		L.Push(lua.LNumber(1)) // there is a shell
		return 1
	}
	line := L.CheckString(1)
	if !vm.effect(L, "os.execute", line) {
		L.Push(lua.LNumber(0))
		L.Push(lua.LString("exit"))
		L.Push(lua.LNumber(0))
		return 3
	}
	set := vm.copySetenv()
	var code int
	var signal bool
	err := Block(L, func(ctx context.Context) (err error) {
		p, err := vm.startShell(ctx, line, set, nil,
			func(data []byte) { vm.output(ctx, "stdout", data) },
			func(data []byte) { vm.output(ctx, "stderr", data) })
		if err != nil {
			return err
		}
		code, signal, err = p.wait()
		return err
	})
	stopIfOver(L)
	if err != nil {
		Raise(L, fmt.Errorf("os.execute: %w", err))
	}
	how := "exit"
	if signal {
		how = "signal"
	}
	L.Push(lua.LNumber(code))
	L.Push(lua.LString(how))
	L.Push(lua.LNumber(code))
	return 3
}

func (vm *VM) copySetenv() map[string]string {
	if len(vm.setenv) == 0 {
		return nil
	}
	c := make(map[string]string, len(vm.setenv))
	for k, v := range vm.setenv {
		c[k] = v
	}
	return c
}

// pushOutcome is true, or nil, the message and the error number.
func pushOutcome(L *lua.LState, err error) int {
	if err == nil {
		L.Push(lua.LTrue)
		return 1
	}
	L.Push(lua.LNil)
	L.Push(lua.LString(plainError(err)))
	L.Push(lua.LNumber(errno(err)))
	return 3
}

// plainError drops the operation's name: Lua says "FILE: reason".
func plainError(err error) string {
	var pe *os.PathError
	if errors.As(err, &pe) {
		return pe.Path + ": " + pe.Err.Error()
	}
	return err.Error()
}

func (vm *VM) osRemove(L *lua.LState) int {
	path := L.CheckString(1)
	if !vm.effect(L, "os.remove", path) {
		L.Push(lua.LTrue)
		return 1
	}
	return pushOutcome(L, Block(L, func(ctx context.Context) error { return os.Remove(vm.path(ctx, path)) }))
}

func (vm *VM) osRename(L *lua.LState) int {
	from, to := L.CheckString(1), L.CheckString(2)
	if !vm.effect(L, "os.rename", from, to) {
		L.Push(lua.LTrue)
		return 1
	}
	return pushOutcome(L, Block(L, func(ctx context.Context) error {
		return os.Rename(vm.path(ctx, from), vm.path(ctx, to))
	}))
}

func (vm *VM) osTmpname(L *lua.LState) int {
	if !vm.effect(L, "os.tmpname") {
		L.Push(lua.LString(filepath.Join(os.TempDir(), fmt.Sprintf("lua_%d", time.Now().UnixNano()))))
		return 1
	}
	var name string
	err := Block(L, func(context.Context) error {
		f, err := os.CreateTemp("", "lua_*")
		if err != nil {
			return err
		}
		name = f.Name()
		return f.Close()
	})
	if err != nil {
		Raise(L, fmt.Errorf("os.tmpname: %w", err))
	}
	L.Push(lua.LString(name))
	return 1
}

func osTime(L *lua.LState) int {
	if L.Get(1) == lua.LNil {
		L.Push(lua.LNumber(time.Now().Unix()))
		return 1
	}
	t := L.CheckTable(1)
	field := func(key string, otherwise int) int {
		switch v := t.RawGetString(key).(type) {
		case lua.LNumber:
			return int(v)
		case lua.LString:
			if n, ok := parseNumber(string(v), 10); ok {
				return int(n)
			}
		}
		if otherwise < 0 {
			L.RaiseError("field '%s' missing in date table", key)
		}
		return otherwise
	}
	when := time.Date(field("year", -1), time.Month(field("month", -1)), field("day", -1),
		field("hour", 12), field("min", 0), field("sec", 0), 0, time.Local)
	L.Push(lua.LNumber(when.Unix()))
	return 1
}

func osDate(L *lua.LState) int {
	format := L.OptString(1, "%c")
	when := time.Now()
	if L.Get(2) != lua.LNil {
		when = time.Unix(int64(L.CheckNumber(2)), 0)
	}
	if rest, utc := strings.CutPrefix(format, "!"); utc {
		format, when = rest, when.UTC()
	}
	if strings.HasPrefix(format, "*t") {
		t := L.CreateTable(0, 9)
		for key, n := range map[string]int{
			"year": when.Year(), "month": int(when.Month()), "day": when.Day(),
			"hour": when.Hour(), "min": when.Minute(), "sec": when.Second(),
			"wday": int(when.Weekday()) + 1, "yday": when.YearDay(),
		} {
			t.RawSetString(key, lua.LNumber(n))
		}
		t.RawSetString("isdst", lua.LBool(when.IsDST()))
		L.Push(t)
		return 1
	}
	L.Push(lua.LString(strftime(L, when, format)))
	return 1
}

// layouts are strftime's directives in the C locale.
var layouts = map[byte]string{
	'a': "Mon", 'A': "Monday", 'b': "Jan", 'B': "January", 'h': "Jan",
	'c': "Mon Jan _2 15:04:05 2006", 'd': "02", 'D': "01/02/06", 'e': "_2", 'F': "2006-01-02",
	'H': "15", 'I': "03", 'm': "01", 'M': "04", 'p': "PM", 'r': "03:04:05 PM", 'R': "15:04", 'S': "05",
	'T': "15:04:05", 'x': "01/02/06", 'X': "15:04:05", 'y': "06", 'Y': "2006", 'z': "-0700", 'Z': "MST",
}

func strftime(L *lua.LState, when time.Time, format string) string {
	var b strings.Builder
	for i := 0; i < len(format); i++ {
		c := format[i]
		if c != '%' || i+1 == len(format) {
			b.WriteByte(c)
			continue
		}
		i++
		switch d := format[i]; d {
		case '%':
			b.WriteByte('%')
		case 'n':
			b.WriteByte('\n')
		case 't':
			b.WriteByte('\t')
		case 'j':
			fmt.Fprintf(&b, "%03d", when.YearDay())
		case 's':
			fmt.Fprintf(&b, "%d", when.Unix())
		case 'u':
			fmt.Fprintf(&b, "%d", (int(when.Weekday())+6)%7+1)
		case 'w':
			fmt.Fprintf(&b, "%d", int(when.Weekday()))
		case 'C':
			fmt.Fprintf(&b, "%02d", when.Year()/100)
		case 'U':
			fmt.Fprintf(&b, "%02d", (when.YearDay()+6-int(when.Weekday()))/7)
		case 'W':
			fmt.Fprintf(&b, "%02d", (when.YearDay()+6-(int(when.Weekday())+6)%7)/7)
		case 'V', 'G', 'g':
			year, week := when.ISOWeek()
			fmt.Fprintf(&b, "%02d", map[byte]int{'V': week, 'G': year, 'g': year % 100}[d])
		default:
			layout, ok := layouts[d]
			if !ok {
				L.ArgError(1, "unknown directive %"+string(d))
			}
			b.WriteString(when.Format(layout))
		}
	}
	return b.String()
}
