package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	lua "github.com/yuin/gopher-lua"
)

// openPackage makes the table package. Its loaders are not Lua's: everything
// comes through Options.Require.
func (vm *VM) openPackage(L *lua.LState) lua.LValue {
	t := L.CreateTable(0, 6)
	t.RawSetString("loaded", vm.loaded)
	t.RawSetString("preload", L.CreateTable(0, 0))
	t.RawSetString("path", lua.LString("./?.lua;./?/init.lua;./lua/?.lua"))
	t.RawSetString("cpath", lua.LString(""))
	t.RawSetString("config", lua.LString("/\n;\n?\n!\n-\n"))
	t.RawSetString("seeall", L.NewFunction(func(L *lua.LState) int {
		mod := L.CheckTable(1)
		mt, ok := mod.Metatable.(*lua.LTable)
		if !ok {
			mt = L.CreateTable(0, 1)
			mod.Metatable = mt
		}
		mt.RawSetString("__index", vm.globals)
		return 0
	}))
	return t
}

// loading marks a library in package.loaded whose chunk runs now.
var loading = &lua.LUserData{Metatable: lua.LNil}

// baseRequire returns what package.loaded has, a registered global, the result
// of package.preload, or of the library's chunk.
func (vm *VM) baseRequire(L *lua.LState) int {
	name := L.CheckString(1)
	if v := vm.loaded.RawGetString(name); v != lua.LNil {
		if v == loading {
			L.RaiseError("require: '%s' requires itself, directly or through another library", name)
		}
		L.Push(v)
		return 1
	}
	if v, ok := vm.lazyValue(L, name); ok && v != lua.LNil {
		L.Push(v)
		return 1
	}
	if v, ok := vm.pristine.globals[name].(*lua.LTable); ok {
		L.Push(v)
		return 1
	}
	fn := vm.preloaded(L, name)
	if fn == nil {
		c, err := vm.fetch(L, name, true)
		if err != nil {
			raiseLoad(L, fmt.Errorf("require(%q): %w", name, err))
		}
		fn = vm.Function(c)
	}
	vm.loaded.RawSetString(name, loading)
	rets, err := Try(L, fn, lua.LString(name))
	v := vm.loaded.RawGetString(name)
	if err != nil {
		vm.loaded.RawSetString(name, lua.LNil)
		raiseLoad(L, err)
	}
	if len(rets) > 0 && rets[0] != lua.LNil {
		v = rets[0]
	} else if v == loading || v == lua.LNil {
		v = lua.LTrue
	}
	vm.loaded.RawSetString(name, v)
	L.Push(v)
	return 1
}

func (vm *VM) preloaded(L *lua.LState, name string) *lua.LFunction {
	pkg, ok := vm.lazyValue(L, "package")
	if !ok {
		return nil
	}
	t, ok := pkg.(*lua.LTable)
	if !ok {
		return nil
	}
	preload, ok := t.RawGetString("preload").(*lua.LTable)
	if !ok {
		return nil
	}
	fn, _ := preload.RawGetString(name).(*lua.LFunction)
	return fn
}

// raiseLoad raises the error of another chunk: it has a place of its own, so
// the caller's is not put before it.
func raiseLoad(L *lua.LState, err error) {
	var e *Error
	if tc := threadContextOf(L); tc != nil && tc.s != nil {
		tc.s.raised = err
	}
	if errors.As(err, &e) {
		if e.Value != nil && e.Value.Type() != lua.LTString && e.Value != lua.LNil {
			L.Error(e.Value, 0)
		}
		L.Error(lua.LString(e.Error()), 0)
	}
	L.RaiseError("%s", err.Error())
}

// fetch finds and compiles a source through Options.Require.
func (vm *VM) fetch(L *lua.LState, name string, library bool) (*Chunk, error) {
	var src []byte
	path := name
	err := Block(L, func(ctx context.Context) (err error) {
		if vm.opts.Require != nil {
			src, path, err = vm.opts.Require(ctx, name)
		} else {
			src, path, err = vm.findSource(ctx, name, library)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return vm.Load(path, src)
}

func (vm *VM) findSource(ctx context.Context, name string, library bool) ([]byte, string, error) {
	tries := []string{name}
	if library {
		p := strings.ReplaceAll(name, ".", "/")
		tries = []string{p + ".lua", p + "/init.lua", "lua/" + p + ".lua", p + ".sloth"}
	}
	for _, try := range tries {
		f, err := os.Open(vm.path(ctx, try))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, "", err
		}
		src, err := io.ReadAll(io.LimitReader(f, int64(vm.opts.MaxSource)+1))
		f.Close()
		return src, try, err
	}
	return nil, "", fmt.Errorf("not found: no file %s", strings.Join(tries, ", "))
}

// path makes a path of the script absolute under Options.Dir.
func (vm *VM) path(ctx context.Context, p string) string {
	if vm.opts.Dir == nil || filepath.IsAbs(p) {
		return p
	}
	if dir := vm.opts.Dir(ctx); dir != "" {
		return filepath.Join(dir, p)
	}
	return p
}

func (vm *VM) baseDoFile(L *lua.LState) int {
	name := L.CheckString(1)
	c, err := vm.fetch(L, name, false)
	if err != nil {
		raiseLoad(L, fmt.Errorf("dofile(%q): %w", name, err))
	}
	top := L.GetTop()
	L.Push(vm.Function(c))
	L.Call(0, lua.MultRet)
	return L.GetTop() - top
}

func (vm *VM) baseLoadFile(L *lua.LState) int {
	c, err := vm.fetch(L, L.CheckString(1), false)
	return vm.pushLoaded(L, c, err)
}

// baseLoad is load and loadstring: the source is a string, or a function that
// returns it piece by piece; then the chunk's name, a mode that is ignored, and
// an environment.
func (vm *VM) baseLoad(L *lua.LState) int {
	var src []byte
	switch v := L.Get(1).(type) {
	case lua.LString:
		src = []byte(v)
	case *lua.LFunction:
		for {
			L.Push(v)
			L.Call(0, 1)
			piece := L.Get(-1)
			L.Pop(1)
			text, ok := piece.(lua.LString)
			if !ok && piece != lua.LNil {
				return vm.pushLoaded(L, nil, errors.New("the reader function must return a string"))
			}
			if text == "" {
				break
			}
			src = append(src, text...)
			if len(src) > vm.opts.MaxSource {
				break
			}
		}
	default:
		L.ArgError(1, "string or function expected, got "+v.Type().String())
	}
	name := chunkName(L.OptString(2, ""), src)
	c, err := vm.load(name, src, true)
	return vm.pushLoaded(L, c, err)
}

func (vm *VM) pushLoaded(L *lua.LState, c *Chunk, err error) int {
	if err != nil {
		L.Push(lua.LNil)
		L.Push(lua.LString(err.Error()))
		return 2
	}
	fn := vm.Function(c)
	if env, ok := L.Get(4).(*lua.LTable); ok {
		fn.Env = env
	}
	L.Push(fn)
	return 1
}

func chunkName(given string, src []byte) string {
	if given != "" {
		return strings.TrimLeft(given, "@=")
	}
	line, _, more := strings.Cut(strings.TrimSpace(string(src)), "\n")
	if len(line) > 40 {
		line, more = strings.ToValidUTF8(line[:40], ""), true
	}
	if more {
		line += "..."
	}
	return `[string "` + line + `"]`
}
