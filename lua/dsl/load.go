package dsl

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"

	lua "github.com/yuin/gopher-lua"

	"github.com/sloth-runner/sloth/lua/bind"
	"github.com/sloth-runner/sloth/lua/engine"
	"github.com/sloth-runner/sloth/modules"
	"github.com/sloth-runner/sloth/modules/machine"
)

// Options say what surrounds the language on the controller.
type Options struct {
	// Params and Values are the globals of those names.
	Params map[string]any
	Values any
	// Modules are those that were bound to the VM; a file's calls of them are
	// checked before it runs.
	Modules []modules.Module
	// RunTask performs task:run() and returns what the command returned: a
	// boolean and what follows it. An error becomes false and its message. Nil
	// asks the Services of the context, as on a host.
	RunTask func(ctx context.Context, t *Task) ([]lua.LValue, error)
	// Inert loads files without effects, for validate, list and completion.
	Inert bool
	// Env surrounds the module calls at the top level of a file, unless the
	// context of LoadFile brings one.
	Env *bind.Env
	// Include reads a file for include; nil: from the disk.
	Include func(path string) ([]byte, error)
	// Secret finds a secret while a file is read without effects; nil: all are
	// empty, which is enough to check a file.
	Secret func(ctx context.Context, name string) (string, error)
	// State performs operations of the state module while a file is read without
	// effects: what it stores must be forgotten. Nil: the store is empty.
	State func(ctx context.Context, op string, args []any) ([]any, error)
	// Param is told the name and value of each parameter that a file says is
	// secret, by prompt(name, {secret = true}); it may be nil.
	Param func(name, value string)
	// Prompt asks the person at the terminal; nil: prompt() is an error.
	Prompt func(ctx context.Context, name string, secret bool) (string, error)
	// Pause waits until the person at the terminal goes on; nil: pause() without
	// a duration is an error.
	Pause func(ctx context.Context, message string) error
}

// Loader loads files into one VM.
type Loader struct {
	w    *world
	opts Options
}

// Install puts the language into a controller's VM. Call it before vm.Pristine
// and before any script runs.
func Install(vm *engine.VM, o Options) *Loader {
	l := &Loader{opts: o}
	l.w = install(vm, setup{
		host:    HostOptions{Name: "local", Address: "localhost", Params: o.Params, Values: o.Values},
		runTask: o.RunTask, prompt: o.Prompt, param: o.Param, pause: o.Pause, modules: o.Modules,
		include: includeFile, workflow: true,
	})
	l.w.read = readSource
	if o.Include != nil {
		l.w.read = o.Include
	}
	return l
}

// load is one LoadFile.
type load struct {
	w        *world
	inert    bool
	secret   func(ctx context.Context, name string) (string, error)
	state    func(ctx context.Context, op string, args []any) ([]any, error)
	file     string
	prog     *Program
	tasks    []*Task // as they were defined, handlers too
	flows    []*flow
	problems Problems
	effects  atomic.Int64
	lint     *linter

	including []string
	included  map[string][]lua.LValue
}

func (l *load) define(t *Task) { l.tasks = append(l.tasks, t) }

// maxSource caps a file; the VM refuses one of that size itself.
const maxSource = 64 << 20

// LoadFile reads, checks and runs a file. Everything that is wrong with it
// comes back at once, as Problems; nothing of it has run then, unless it only
// failed while running.
func (ld *Loader) LoadFile(ctx context.Context, path string) (*Program, error) {
	src, err := readSource(path)
	if err != nil {
		return nil, Problems{{Pos: Pos{File: path}, Message: err.Error()}}
	}
	return ld.LoadSource(ctx, path, src)
}

func readSource(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		var p *os.PathError
		if errors.As(err, &p) {
			return nil, fmt.Errorf("cannot read it: %w", p.Err)
		}
		return nil, err
	}
	defer f.Close()
	src, err := io.ReadAll(io.LimitReader(f, maxSource))
	if err != nil {
		return nil, fmt.Errorf("cannot read it: %w", errors.Unwrap(err))
	}
	return src, nil
}

// LoadSource is LoadFile for a text; path is what messages show and where
// include starts.
func (ld *Loader) LoadSource(ctx context.Context, path string, src []byte) (*Program, error) {
	l := &load{
		w: ld.w, inert: ld.opts.Inert, secret: ld.opts.Secret, state: ld.opts.State, file: path, prog: &Program{File: path},
		included: map[string][]lua.LValue{},
	}
	chunk, err := ld.w.vm.Load(path, src)
	if err != nil {
		return nil, problemOf(err, path)
	}
	ctx = l.context(ctx, ld.opts.Env)
	var k *known
	ld.w.vm.Do(func(L *lua.LState) { k = ld.w.knowledge(L) })
	l.lint = lint(k, path, src, func(how, name, from string) (string, []byte, error) {
		return ld.w.source(ctx, how, name, from)
	})
	l.problems = append(l.problems, l.lint.problems...)
	ld.w.vm.Do(func(*lua.LState) { maps.Copy(ld.w.trees, l.lint.trees) })
	if len(l.problems) > 0 && !l.inert {
		// It will not run; go through it without effects to find the rest.
		l.inert = true
		l.idle(bind.EnvOf(ctx))
	}
	rets, err := ld.w.vm.Run(engine.WithName(ctx, path), chunk)
	if exit := (*engine.Exit)(nil); errors.As(err, &exit) {
		rets, err = []lua.LValue{lua.LBool(exit.Code == 0), lua.LString(exit.Error())}, nil
	}
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			return nil, cause
		}
		l.failed(problemOf(err, path))
	} else {
		l.verdict(rets)
	}
	cut := l.cutShort(err)
	ld.w.vm.Do(func(*lua.LState) { l.finish() })
	if cut != nil {
		l.problems = nil // what is missing may well come behind the line
		l.prog.Cut = cut
		return l.prog, nil
	}
	if len(l.problems) > 0 {
		return nil, l.problems.sorted()
	}
	return l.prog, nil
}

// cutShort gives the mistake that ended a reading without effects, where it may
// come from nothing having been done: an empty output, a file that is not there.
// Only the run can tell then; nil: it cannot help.
func (l *load) cutShort(err error) *Problem {
	if err == nil || !l.inert || l.effects.Load() == 0 || len(l.problems) != 1 || len(l.lint.problems) > 0 {
		return nil
	}
	return &l.problems[0]
}

// failed adds what the run of the file ended with, unless it only follows from
// what is known about that line already.
func (l *load) failed(ps Problems) {
	for _, p := range ps {
		if !slices.ContainsFunc(l.problems, func(known Problem) bool { return known.Pos == p.Pos }) {
			l.problems = append(l.problems, p)
		}
	}
}

// Lint finds what can be seen of a file's mistakes without running it: syntax,
// undefined variables, methods, functions and arguments that do not exist.
func (ld *Loader) Lint(ctx context.Context, path string, src []byte) Problems {
	var k *known
	ld.w.vm.Do(func(L *lua.LState) { k = ld.w.knowledge(L) })
	return lint(k, path, src, func(how, name, from string) (string, []byte, error) {
		return ld.w.source(ctx, how, name, from)
	}).problems
}

// context surrounds the top level: module calls are counted.
func (l *load) context(ctx context.Context, base *bind.Env) context.Context {
	env := bind.Env{}
	if e := bind.EnvOf(ctx); e != nil {
		env = *e
	} else if base != nil {
		env = *base
	}
	env.Inert = env.Inert || l.inert
	called := env.Called
	env.Called = func(r bind.Record) {
		l.effects.Add(1)
		if called != nil {
			called(r)
		}
	}
	if env.Call.Host == "" {
		env.Call.Host = "local"
	}
	if env.Call.Machine == nil {
		env.Call.Machine = machine.New() // a file may look around at its top level
	}
	if env.Inert {
		l.idle(&env)
	}
	return context.WithValue(bind.WithEnv(ctx, &env), placeKey{}, l)
}

// idle keeps the file's calls from having effects.
func (l *load) idle(env *bind.Env) {
	env.Inert = true
	env.Call.Services = &idle{Services: env.Call.Services, dir: filepath.Dir(l.file), called: env.Called, secret: l.secret, state: l.state}
}

// verdict reads what the file itself returned.
func (l *load) verdict(rets []lua.LValue) {
	if len(rets) == 0 {
		return
	}
	message := ""
	if len(rets) > 1 {
		if s, ok := rets[1].(lua.LString); ok {
			message = string(s)
		}
	}
	if rets[0] == lua.LFalse || rets[0] == lua.LNil && message != "" {
		l.prog.Failed, l.prog.Message = true, message
		if message == "" {
			l.prog.Message = "the file returned false"
		}
	}
}

// source finds what include, require and dofile ask for.
func (w *world) source(ctx context.Context, how, name, from string) (string, []byte, error) {
	if how == "include" {
		path := includePath(name, from)
		src, err := w.read(path)
		return path, src, err
	}
	require := w.vm.Options().Require
	if require == nil {
		require = Libraries(filepath.Dir(from))
	}
	src, path, err := require(ctx, name)
	return path, src, err
}

func includePath(name, from string) string {
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(filepath.Dir(from), name)
}

// includeFile is include(path, …): it runs another file, beside the one that
// asks, in the same globals, once unless it is given arguments.
func includeFile(w *world, L *lua.LState) int {
	name := L.CheckString(1)
	l := loadOf(engine.Context(L))
	if l == nil {
		engine.Raise(L, errors.New("include works at the top level of a file; inside a task use require"))
	}
	path := includePath(name, place(L).File)
	for i, p := range l.including {
		if p == path {
			engine.Raise(L, fmt.Errorf("include(%q): it includes itself: %s", name, strings.Join(append(l.including[i:], path), " -> ")))
		}
	}
	if path == l.file {
		engine.Raise(L, fmt.Errorf("include(%q): the file includes itself", name))
	}
	var args []lua.LValue
	for i := 2; i <= L.GetTop(); i++ {
		args = append(args, L.Get(i))
	}
	rets, done := l.included[path]
	if !done || len(args) > 0 {
		var src []byte
		err := engine.Block(L, func(context.Context) (err error) {
			src, err = w.read(path)
			return err
		})
		if err != nil {
			engine.Raise(L, fmt.Errorf("include(%q): %w", name, err))
		}
		chunk, err := w.vm.Load(path, src)
		if err == nil {
			l.including = append(l.including, path)
			rets, err = engine.Try(L, w.vm.Function(chunk), args...)
			l.including = l.including[:len(l.including)-1]
		}
		if err != nil {
			engine.Raise(L, err)
		}
		l.included[path] = rets
	}
	for _, v := range rets {
		L.Push(v)
	}
	return len(rets)
}

// raiseLoad raises the error of another file, which has a place of its own.
func raiseLoad(L *lua.LState, err error) {
	var e *engine.Error
	if errors.As(err, &e) && e.File != "" {
		L.Error(lua.LString(e.Error()), 0)
	}
	engine.Raise(L, err)
}

// Libraries finds Lua libraries below a folder: "lib.x" is lib/x.lua,
// lib/x/init.lua, the same below lua, or lib/x.sloth; a name with an extension
// is that file. It never leaves the folder, whoever asks.
func Libraries(dir string) func(ctx context.Context, name string) ([]byte, string, error) {
	return func(_ context.Context, name string) ([]byte, string, error) {
		root, err := os.OpenRoot(dir)
		if err != nil {
			return nil, "", err
		}
		defer root.Close()
		tries := []string{filepath.Clean(name)}
		if ext := filepath.Ext(name); ext != ".lua" && ext != ".sloth" {
			p := strings.ReplaceAll(name, ".", "/")
			tries = []string{p + ".lua", p + "/init.lua", "lua/" + p + ".lua", "lua/" + p + "/init.lua", p + ".sloth"}
		}
		for _, try := range tries {
			f, err := root.Open(try)
			if errors.Is(err, os.ErrNotExist) {
				continue
			}
			if err != nil {
				return nil, "", err
			}
			src, err := io.ReadAll(io.LimitReader(f, maxSource))
			f.Close()
			return src, filepath.Join(dir, try), err
		}
		return nil, "", fmt.Errorf("there is no module or library %q: no file %s", name, strings.Join(tries, ", "))
	}
}
