package dsl

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	lua "github.com/yuin/gopher-lua"

	"github.com/sloth-runner/sloth/lua/bind"
	"github.com/sloth-runner/sloth/lua/engine"
)

// This is what a callback's first parameter knows.
type This struct {
	Task    string
	Host    string
	Workdir string // absolute; empty: the task has none
	Check   bool
	Attempt int
	Params  *lua.LTable // missing keys fall back to it
}

// part is this itself or one of the objects in it.
type part struct {
	this  This
	part  string // "", "workdir" or "agent"
	extra *lua.LTable
}

// LuaName says what it is, where it cannot be sent.
func (p *part) LuaName() string { return "this" }

// NewThis makes the object that is given to callbacks. The caller holds the
// lock of the VM that L belongs to.
func NewThis(L *lua.LState, t This) lua.LValue {
	return worldOf(engine.Of(L)).partValue(&part{this: t})
}

func (w *world) partValue(p *part) *lua.LUserData {
	return &lua.LUserData{Value: p, Env: w.vm.Globals(), Metatable: w.thisMeta}
}

func partOf(v lua.LValue) *part {
	if ud, ok := v.(*lua.LUserData); ok {
		p, _ := ud.Value.(*part)
		return p
	}
	return nil
}

func (w *world) installThis(L *lua.LState) {
	w.thisMethods = map[string]*lua.LFunction{}
	for name, fn := range map[string]func(*lua.LState, *part) int{
		"agent.get":        w.agentGet,
		"workdir.get":      w.workdirGet,
		"workdir.exists":   w.workdirExists,
		"workdir.ensure":   w.workdirChange("ensure"),
		"workdir.cleanup":  w.workdirChange("cleanup"),
		"workdir.recreate": w.workdirChange("recreate"),
	} {
		w.thisMethods[name] = L.NewFunction(w.bound(name, fn))
	}
	w.thisMeta = L.CreateTable(0, 5)
	w.thisMeta.RawSetString("__index", L.NewFunction(w.indexThis))
	w.thisMeta.RawSetString("__newindex", L.NewFunction(func(L *lua.LState) int {
		if p := partOf(L.Get(1)); p != nil && p.part == "" {
			if p.extra == nil {
				p.extra = L.NewTable()
			}
			p.extra.RawSet(L.Get(2), L.Get(3))
		}
		return 0
	}))
	w.thisMeta.RawSetString("__tostring", L.NewFunction(func(L *lua.LState) int {
		L.Push(lua.LString(partOf(L.Get(1)).text()))
		return 1
	}))
	w.thisMeta.RawSetString("__concat", L.NewFunction(func(L *lua.LState) int {
		L.Push(lua.LString(textOf(L.Get(1)) + textOf(L.Get(2))))
		return 1
	}))
	// A name is text that can also be called: this.name, this.name().
	mt, ok := L.GetMetatable(lua.LString("")).(*lua.LTable)
	if ok {
		mt.RawSetString("__call", L.NewFunction(callText))
	}
}

// callText makes this.name() work, and leaves every other call of a text the
// error that it is.
func callText(L *lua.LState) int {
	text := L.CheckString(1)
	if r := runOf(engine.Context(L)); r == nil || r.Task != text {
		engine.Raise(L, errors.New("attempt to call a string value"))
	}
	L.Push(lua.LString(text))
	return 1
}

func textOf(v lua.LValue) string {
	if p := partOf(v); p != nil {
		return p.text()
	}
	return v.String()
}

func (p *part) text() string {
	switch p.part {
	case "workdir":
		return p.this.Workdir
	case "agent":
		return p.this.Host
	}
	return p.this.Task
}

func (w *world) indexThis(L *lua.LState) int {
	p := partOf(L.Get(1))
	key, isText := L.Get(2).(lua.LString)
	if p == nil {
		return 0
	}
	if p.extra != nil {
		if v := p.extra.RawGet(L.Get(2)); v != lua.LNil {
			L.Push(v)
			return 1
		}
	}
	if isText && p.part != "" {
		// A closure per object, so that this.workdir.get() needs no self.
		if fn := w.thisMethods[p.part+"."+string(key)]; fn != nil {
			self := L.Get(1)
			L.Push(L.NewFunction(func(L *lua.LState) int {
				if L.Get(1) != self {
					L.Insert(self, 1)
				}
				return fn.GFunction(L)
			}))
			return 1
		}
		known := []string{"get"}
		if p.part == "workdir" {
			known = []string{"get", "ensure", "exists", "cleanup", "recreate"}
		}
		engine.Raise(L, fmt.Errorf("this.%s has no %q%s", p.part, string(key), hint(string(key), known)))
	}
	if isText {
		switch string(key) {
		case "name":
			L.Push(lua.LString(p.this.Task))
			return 1
		case "host":
			L.Push(lua.LString(p.this.Host))
			return 1
		case "check":
			L.Push(lua.LBool(p.this.Check))
			return 1
		case "attempt":
			L.Push(lua.LNumber(p.this.Attempt))
			return 1
		case "workdir", "agent":
			L.Push(w.partValue(&part{this: p.this, part: string(key)}))
			return 1
		}
	}
	if p.this.Params != nil {
		L.Push(L.GetTable(p.this.Params, L.Get(2)))
		return 1
	}
	return 0
}

// bound makes a method of a part whose first argument is the part.
func (w *world) bound(name string, fn func(*lua.LState, *part) int) lua.LGFunction {
	return func(L *lua.LState) int {
		p := partOf(L.Get(1))
		if p == nil {
			engine.Raise(L, fmt.Errorf("this.%s: called on %s", name, describe(L.Get(1))))
		}
		return fn(L, p)
	}
}

func (w *world) agentGet(L *lua.LState, p *part) int {
	L.Push(lua.LString(p.this.Host))
	return 1
}

func (w *world) workdirGet(L *lua.LState, p *part) int {
	if p.this.Workdir == "" {
		if e := bind.EnvOf(engine.Context(L)); e != nil && e.Call.Workdir != "" {
			L.Push(lua.LString(e.Call.Workdir))
			return 1
		}
		dir, err := filepath.Abs(".")
		if err != nil {
			engine.Raise(L, fmt.Errorf("this.workdir.get: %w", err))
		}
		L.Push(lua.LString(dir))
		return 1
	}
	L.Push(lua.LString(p.this.Workdir))
	return 1
}

func (w *world) workdirExists(L *lua.LState, p *part) int {
	dir, env := workdirOf(L, p, "exists")
	exists := false
	err := engine.Block(L, func(context.Context) error {
		v := env.Viewer
		if v == nil {
			v = env.Call.Machine
		}
		st, err := v.Stat(dir)
		exists = err == nil && st.Mode.IsDir()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	})
	if err != nil {
		engine.Raise(L, fmt.Errorf("this.workdir.exists: %w", err))
	}
	L.Push(lua.LBool(exists))
	return 1
}

func workdirOf(L *lua.LState, p *part, what string) (string, *bind.Env) {
	if p.this.Workdir == "" {
		engine.Raise(L, fmt.Errorf("this.workdir.%s: the task %q has no :workdir()", what, p.this.Task))
	}
	env := bind.EnvOf(engine.Context(L))
	if env == nil || env.Call.Machine == nil && env.Viewer == nil {
		engine.Raise(L, fmt.Errorf("this.workdir.%s: there is no machine here", what))
	}
	return p.this.Workdir, env
}

func (w *world) workdirChange(what string) func(*lua.LState, *part) int {
	return func(L *lua.LState, p *part) int {
		dir, env := workdirOf(L, p, what)
		at := place(L)
		err := engine.Block(L, func(ctx context.Context) error {
			remove, make := what != "ensure", what != "cleanup"
			if remove {
				if err := removeDir(ctx, env, dir, at); err != nil {
					return err
				}
			}
			if make {
				return EnsureDir(ctx, env, dir, at)
			}
			return nil
		})
		if err != nil {
			engine.Raise(L, fmt.Errorf("this.workdir.%s: %w", what, err))
		}
		L.Push(lua.LTrue)
		return 1
	}
}

func (p *part) table(L *lua.LState) *lua.LTable {
	t := L.NewTable()
	t.RawSetString("part", lua.LString(p.part))
	t.RawSetString("task", lua.LString(p.this.Task))
	t.RawSetString("host", lua.LString(p.this.Host))
	t.RawSetString("workdir", lua.LString(p.this.Workdir))
	t.RawSetString("check", lua.LBool(p.this.Check))
	t.RawSetString("attempt", lua.LNumber(p.this.Attempt))
	if p.this.Params != nil {
		t.RawSetString("params", p.this.Params)
	}
	if p.extra != nil {
		t.RawSetString("extra", p.extra)
	}
	return t
}

// readPart is the inverse of table; what is missing or odd is left out.
func (w *world) readPart(in *lua.LTable) *lua.LUserData {
	p := &part{}
	p.part = lua.LVAsString(in.RawGetString("part"))
	p.this.Task = lua.LVAsString(in.RawGetString("task"))
	p.this.Host = lua.LVAsString(in.RawGetString("host"))
	p.this.Workdir = lua.LVAsString(in.RawGetString("workdir"))
	p.this.Check = lua.LVAsBool(in.RawGetString("check"))
	p.this.Attempt = int(lua.LVAsNumber(in.RawGetString("attempt")))
	p.this.Params, _ = in.RawGetString("params").(*lua.LTable)
	p.extra, _ = in.RawGetString("extra").(*lua.LTable)
	return w.partValue(p)
}
