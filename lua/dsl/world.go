package dsl

import (
	"context"
	"errors"
	"fmt"
	"strings"

	lua "github.com/yuin/gopher-lua"

	"github.com/sloth-runner/sloth/lua/bind"
	"github.com/sloth-runner/sloth/lua/engine"
	"github.com/sloth-runner/sloth/modules"
	"github.com/sloth-runner/sloth/modules/spec"
)

// world is the language in one VM. Its fields are guarded by the VM's lock.
type world struct {
	vm    *engine.VM
	setup setup
	read  func(path string) ([]byte, error) // for include

	taskMeta, flowMeta, thisMeta      *lua.LTable
	methods, flowMethods, thisMethods map[string]*lua.LFunction

	trees map[string]*tree // by chunk name
}

// setup is what Install and InstallHost have in common.
type setup struct {
	host     HostOptions
	runTask  func(ctx context.Context, t *Task) ([]lua.LValue, error)
	param    func(name, value string)
	prompt   func(ctx context.Context, name string, secret bool) (string, error)
	pause    func(ctx context.Context, message string) error
	include  func(w *world, L *lua.LState) int
	modules  []modules.Module
	workflow bool // workflow(…) can be used: this is a controller
}

type worldKey struct{}

// install puts the language into vm.
func install(vm *engine.VM, s setup) *world {
	w := &world{
		vm: vm, setup: s,
		methods: map[string]*lua.LFunction{}, flowMethods: map[string]*lua.LFunction{},
		trees: map[string]*tree{},
	}
	vm.Do(func(L *lua.LState) {
		w.taskMeta = L.CreateTable(0, 3)
		w.taskMeta.RawSetString("__index", L.NewFunction(w.indexTask))
		w.taskMeta.RawSetString("__tostring", L.NewFunction(func(L *lua.LState) int {
			t := taskOf(L.Get(1))
			L.Push(lua.LString(t.kind() + " " + t.Name))
			return 1
		}))
		w.taskMeta.RawSetString("__newindex", L.NewFunction(func(L *lua.LState) int {
			engine.Raise(L, fmt.Errorf("a task is changed by its methods: write :%s(…)", L.Get(2).String()))
			return 0
		}))
		w.flowMeta = L.CreateTable(0, 1)
		w.flowMeta.RawSetString("__index", L.NewFunction(w.indexFlow))
		w.installThis(L)
	})
	w.shippable()
	w.globals()
	vm.Attach(worldKey{}, w)
	return w
}

// worldOf returns the language of a VM; it must have been installed.
func worldOf(vm *engine.VM) *world {
	w, _ := vm.Attached(worldKey{}).(*world)
	return w
}

type placeKey struct{}

// loadOf returns the file being loaded by the thread of ctx, or nil inside a
// running task.
func loadOf(ctx context.Context) *load {
	l, _ := ctx.Value(placeKey{}).(*load)
	return l
}

// Run is what the language needs to know about the task that a thread belongs
// to. It travels in the context.
type Run struct {
	Task string
	// Notify queues a handler by name.
	Notify func(handler string)
	// Flush is called by flush_handlers() before the handlers run.
	Flush func(ctx context.Context)
	// Vars are the task's own variables, over those of the host; may be nil.
	Vars *lua.LTable
}

// WithRun marks a context as that of a running task.
func WithRun(ctx context.Context, r *Run) context.Context {
	return context.WithValue(ctx, placeKey{}, r)
}

// runOf returns the task that ctx belongs to, or nil at the top level of a file.
func runOf(ctx context.Context) *Run {
	r, _ := ctx.Value(placeKey{}).(*Run)
	return r
}

// services returns the way to the controller, or raises.
func services(L *lua.LState, what string) modules.Services {
	if e := bind.EnvOf(engine.Context(L)); e != nil && e.Call.Services != nil {
		return e.Call.Services
	}
	engine.Raise(L, fmt.Errorf("%s: not available here", what))
	return nil
}

// checking reports whether nothing may be changed: a plan, or a file that is
// only read.
func checking(ctx context.Context) bool {
	e := bind.EnvOf(ctx)
	return e != nil && (e.Check || e.Inert)
}

// place is where the Lua code that called the running Go function stands.
func place(L *lua.LState) Pos {
	file, line := engine.Where(L)
	return Pos{file, line}
}

// complain reports a mistake in a call. While a file loads it is collected, so
// that all mistakes are shown at once; in a running task it is raised. method
// names the call, nth tells calls of the same chain apart, and arg is the
// position of an argument that was nil (-1: none), to name its variable.
func (w *world) complain(L *lua.LState, method string, nth, arg int, err error) {
	p := Problem{Pos: place(L), Message: err.Error()}
	if c := w.call(p.Pos, method, nth); c != nil {
		p.Line = c.line
		var isNil errNil
		if name := c.argName(arg); name != "" && errors.As(err, &isNil) {
			p.Message = withVariable(p.Message, name)
		}
	}
	if l := loadOf(engine.Context(L)); l != nil {
		l.problems = append(l.problems, p)
		return
	}
	L.Error(lua.LString(p.Error()), 0)
}

// vague is how the message of a nil ends.
const vague = "is the variable defined above?"

// withVariable names the variable behind the message of a nil.
func withVariable(message, name string) string {
	if name == "" || !strings.HasSuffix(message, vague) {
		return message
	}
	return message + " (" + name + ")"
}

// hint is spec.Hint, in this package for brevity.
func hint(word string, known []string) string { return spec.Hint(word, known) }
