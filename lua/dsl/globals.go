package dsl

import (
	"context"
	"errors"
	"fmt"
	"time"

	lua "github.com/yuin/gopher-lua"

	"github.com/sloth-runner/sloth/lua/bind"
	"github.com/sloth-runner/sloth/lua/engine"
)

// HandlerFlusher is implemented by the Services of a run that can run pending
// handlers before the workflow ends.
type HandlerFlusher interface {
	FlushHandlers(ctx context.Context) error
}

// globals registers what the language adds to Lua's globals.
func (w *world) globals() {
	functions := map[string]lua.LGFunction{
		"task":           func(L *lua.LState) int { return w.newTask(L, "task") },
		"handler":        func(L *lua.LState) int { return w.newTask(L, "handler") },
		"fail":           fail,
		"flush_handlers": flushHandlers,
		"include":        func(L *lua.LState) int { return w.setup.include(w, L) },
		"notify":         notify,
		"pause":          w.pause,
		"prompt":         w.prompt,
		"retry":          retry,
		"secret":         secret,
	}
	for name, fn := range functions {
		w.vm.Lazy(name, func(L *lua.LState) lua.LValue { return L.NewFunction(fn) })
	}
	w.vm.Lazy("workflow", w.openWorkflow)
	w.hostGlobals()
}

// fail(message) ends the task with a message and the place of the call.
func fail(L *lua.LState) int {
	message := "failed"
	if v := L.Get(1); v != lua.LNil {
		message = L.ToStringMeta(v).String()
	}
	engine.Raise(L, errors.New(message))
	return 0
}

// notify(name, …) queues handlers.
func notify(L *lua.LState) int {
	var args []lua.LValue
	for i := 1; i <= L.GetTop(); i++ {
		args = append(args, L.Get(i))
	}
	names, err := readTexts(args)
	if err != nil {
		engine.Raise(L, fmt.Errorf("notify %w", err))
	}
	ctx := engine.Context(L)
	r := runOf(ctx)
	if r != nil && r.Notify != nil {
		for _, name := range names {
			r.Notify(name)
		}
		return 0
	}
	if checking(ctx) {
		return 0
	}
	s := services(L, "notify")
	for _, name := range names {
		if err := engine.Block(L, func(ctx context.Context) error { return s.Notify(ctx, name) }); err != nil {
			engine.Raise(L, fmt.Errorf("notify: %w", err))
		}
	}
	return 0
}

// flushHandlers runs what is pending on this host now.
func flushHandlers(L *lua.LState) int {
	ctx := engine.Context(L)
	if checking(ctx) {
		return 0
	}
	f, ok := services(L, "flush_handlers").(HandlerFlusher)
	if !ok {
		engine.Raise(L, errors.New("flush_handlers: not available here"))
	}
	r := runOf(ctx)
	err := engine.Block(L, func(ctx context.Context) error {
		if r != nil && r.Flush != nil {
			r.Flush(ctx)
		}
		return f.FlushHandlers(ctx)
	})
	if err != nil {
		engine.Raise(L, fmt.Errorf("flush_handlers: %w", err))
	}
	return 0
}

// secret(name) is a value that is passed on but never shown.
func secret(L *lua.LState) int {
	name, err := readName(L.Get(1), 0)
	if err != nil {
		engine.Raise(L, fmt.Errorf("secret %w", err))
	}
	s := services(L, "secret")
	var value string
	err = engine.Block(L, func(ctx context.Context) (err error) {
		value, err = s.Secret(ctx, name)
		return err
	})
	if err != nil {
		engine.Raise(L, err)
	}
	L.Push(bind.ToLua(L, newSecret(value)))
	return 1
}

// prompt(name [, {secret=}]) asks at the terminal, unless --param answers it.
func (w *world) prompt(L *lua.LState) int {
	name, err := readName(L.Get(1), 0)
	if err != nil {
		engine.Raise(L, fmt.Errorf("prompt %w", err))
	}
	hidden := false
	fallback := lua.LNil
	if t, ok := L.Get(2).(*lua.LTable); ok {
		hidden = lua.LVAsBool(t.RawGetString("secret"))
		fallback = t.RawGetString("default")
	}
	wrap := func(text string) lua.LValue {
		if hidden {
			return bind.ToLua(L, newSecret(text))
		}
		return lua.LString(text)
	}
	if v, ok := w.setup.host.Params[name]; ok {
		if hidden {
			text := fmt.Sprint(v)
			if w.setup.param != nil {
				w.setup.param(name, text)
			} else if e := bind.EnvOf(engine.Context(L)); e != nil && e.Call.Learn != nil {
				e.Call.Learn(text)
			}
			L.Push(wrap(text))
		} else {
			L.Push(bind.ToLua(L, v))
		}
		return 1
	}
	ctx := engine.Context(L)
	if e := bind.EnvOf(ctx); e != nil && e.Inert {
		if e.Called != nil { // the file has to be loaded again, with the answer
			e.Called(bind.Record{Function: "prompt", Planned: true})
		}
		L.Push(wrap(""))
		return 1
	}
	if w.setup.prompt == nil {
		if fallback != lua.LNil {
			L.Push(fallback)
			return 1
		}
		engine.Raise(L, fmt.Errorf("prompt(%q): nobody can be asked here; give the answer with --param %s=VALUE", name, name))
	}
	var answer string
	err = engine.Block(L, func(ctx context.Context) (err error) {
		answer, err = w.setup.prompt(ctx, name, hidden)
		return err
	})
	if err != nil {
		engine.Raise(L, fmt.Errorf("prompt(%q): %w", name, err))
	}
	if answer == "" && fallback != lua.LNil {
		L.Push(fallback)
		return 1
	}
	L.Push(wrap(answer))
	return 1
}

// pause(duration) waits; pause([message]) waits for the person at the terminal.
func (w *world) pause(L *lua.LState) int {
	v := L.Get(1)
	d, err := readDuration(v)
	if err == nil {
		if checking(engine.Context(L)) {
			return 0
		}
		if err := engine.Block(L, func(ctx context.Context) error { return sleep(ctx, d) }); err != nil {
			engine.Raise(L, err)
		}
		return 0
	}
	message := "Press Enter to go on"
	if v != lua.LNil {
		message = v.String()
	}
	if checking(engine.Context(L)) {
		return 0
	}
	if w.setup.pause == nil {
		engine.Raise(L, errors.New("pause: nobody can be asked here; give a duration to wait for, such as pause(\"10s\")"))
	}
	if err := engine.Block(L, func(ctx context.Context) error { return w.setup.pause(ctx, message) }); err != nil {
		engine.Raise(L, fmt.Errorf("pause: %w", err))
	}
	return 0
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
