package dsl

import (
	"errors"
	"fmt"
	"time"

	lua "github.com/yuin/gopher-lua"

	"github.com/sloth-runner/sloth/lua/bind"
	"github.com/sloth-runner/sloth/lua/engine"
	"github.com/sloth-runner/sloth/lua/ship"
	"github.com/sloth-runner/sloth/modules"
)

// How tasks travel: as a table of their fields, functions included.

// textField, listField … tie a field of Task to its key in that table.
var (
	textFields = map[string]func(*Task) *string{
		"name":            func(t *Task) *string { return &t.Name },
		"description":     func(t *Task) *string { return &t.Description },
		"file":            func(t *Task) *string { return &t.Pos.File },
		"shell":           func(t *Task) *string { return &t.Shell },
		"workdir":         func(t *Task) *string { return &t.Workdir },
		"backoff":         func(t *Task) *string { return &t.Backoff },
		"become_user":     func(t *Task) *string { return &t.BecomeUser },
		"target":          func(t *Task) *string { return &t.Target.Pattern },
		"target_group":    func(t *Task) *string { return &t.Target.Group },
		"target_strategy": func(t *Task) *string { return &t.Target.Strategy },
	}
	listFields = map[string]func(*Task) *[]string{
		"depends_on": func(t *Task) *[]string { return &t.DependsOn },
		"artifacts":  func(t *Task) *[]string { return &t.Artifacts },
		"consumes":   func(t *Task) *[]string { return &t.Consumes },
		"tags":       func(t *Task) *[]string { return &t.Tags },
		"serial":     func(t *Task) *[]string { return &t.Serial },
		"notify":     func(t *Task) *[]string { return &t.Notify },
	}
	flagFields = map[string]func(*Task) *bool{
		"ignore_errors":    func(t *Task) *bool { return &t.IgnoreErrors },
		"no_log":           func(t *Task) *bool { return &t.NoLog },
		"any_errors_fatal": func(t *Task) *bool { return &t.AnyErrorsFatal },
		"become":           func(t *Task) *bool { return &t.Become },
		"run_once":         func(t *Task) *bool { return &t.RunOnce },
		"async":            func(t *Task) *bool { return &t.Async },
		"handler":          func(t *Task) *bool { return &t.Handler },
		"built":            func(t *Task) *bool { return &t.Built },
		"target_set":       func(t *Task) *bool { return &t.Target.Set },
	}
	numberFields = map[string]struct {
		get func(*Task) int64
		set func(*Task, int64)
	}{
		"line":          {func(t *Task) int64 { return int64(t.Pos.Line) }, func(t *Task, n int64) { t.Pos.Line = int(n) }},
		"timeout":       {func(t *Task) int64 { return t.Timeout.Milliseconds() }, func(t *Task, n int64) { t.Timeout = time.Duration(n) * time.Millisecond }},
		"retries":       {func(t *Task) int64 { return int64(t.Retries) }, func(t *Task, n int64) { t.Retries = int(n) }},
		"target_spread": {func(t *Task) int64 { return int64(t.Target.Spread) }, func(t *Task, n int64) { t.Target.Spread = int(n) }},
	}
	functionFields = map[string]func(*Task) **lua.LFunction{
		"command":      func(t *Task) **lua.LFunction { return &t.Command },
		"run_if":       func(t *Task) **lua.LFunction { return &t.RunIf },
		"changed_when": func(t *Task) **lua.LFunction { return &t.ChangedWhen },
		"failed_when":  func(t *Task) **lua.LFunction { return &t.FailedWhen },
		"on_start":     func(t *Task) **lua.LFunction { return &t.OnStart },
		"on_success":   func(t *Task) **lua.LFunction { return &t.OnSuccess },
		"on_failure":   func(t *Task) **lua.LFunction { return &t.OnFailure },
		"on_retry":     func(t *Task) **lua.LFunction { return &t.OnRetry },
		"on_timeout":   func(t *Task) **lua.LFunction { return &t.OnTimeout },
		"target_fn":    func(t *Task) **lua.LFunction { return &t.Target.Func },
	}
)

// Callbacks are the functions of a task that run where the task runs, under
// the names of their methods.
func (t *Task) Callbacks() map[string]*lua.LFunction {
	out := map[string]*lua.LFunction{}
	for name, field := range functionFields {
		if fn := *field(t); fn != nil && name != "target_fn" {
			out[name] = fn
		}
	}
	return out
}

// taskTable is the table that stands for t. L is any thread of the VM.
func taskTable(L *lua.LState, t *Task) *lua.LTable {
	out := L.NewTable()
	for key, field := range textFields {
		if s := *field(t); s != "" {
			out.RawSetString(key, lua.LString(s))
		}
	}
	for key, field := range listFields {
		if list := *field(t); len(list) > 0 {
			l := L.CreateTable(len(list), 0)
			for i, s := range list {
				l.RawSetInt(i+1, lua.LString(s))
			}
			out.RawSetString(key, l)
		}
	}
	for key, field := range flagFields {
		if *field(t) {
			out.RawSetString(key, lua.LTrue)
		}
	}
	for key, field := range numberFields {
		if n := field.get(t); n != 0 {
			out.RawSetString(key, lua.LNumber(n))
		}
	}
	for key, field := range functionFields {
		if fn := *field(t); fn != nil {
			out.RawSetString(key, fn)
		}
	}
	if len(t.Env) > 0 {
		env := L.NewTable()
		for k, v := range t.Env {
			env.RawSetString(k, lua.LString(v))
		}
		out.RawSetString("env", env)
	}
	if t.Vars != nil {
		out.RawSetString("vars", t.Vars)
	}
	return out
}

const (
	maxTaskText = 1 << 20
	maxTaskList = 10_000
)

// readTask is the inverse of taskTable. The table may be a stranger's.
func readTask(in *lua.LTable) (*Task, error) {
	t := &Task{}
	for key, field := range textFields {
		switch v := in.RawGetString(key).(type) {
		case *lua.LNilType:
		case lua.LString:
			if len(v) > maxTaskText {
				return nil, fmt.Errorf("a task's %s of %d bytes is too long", key, len(v))
			}
			*field(t) = string(v)
		default:
			return nil, fmt.Errorf("a task's %s is %s, not text", key, describe(v))
		}
	}
	for key, field := range listFields {
		v := in.RawGetString(key)
		if v == lua.LNil {
			continue
		}
		list, ok := v.(*lua.LTable)
		if !ok || list.Len() > maxTaskList {
			return nil, fmt.Errorf("a task's %s is no list", key)
		}
		for i := 1; i <= list.Len(); i++ {
			s, ok := list.RawGetInt(i).(lua.LString)
			if !ok || len(s) > maxTaskText {
				return nil, fmt.Errorf("a task's %s holds something else than text", key)
			}
			*field(t) = append(*field(t), string(s))
		}
	}
	for key, field := range flagFields {
		*field(t) = lua.LVAsBool(in.RawGetString(key))
	}
	for key, field := range numberFields {
		switch v := in.RawGetString(key).(type) {
		case *lua.LNilType:
		case lua.LNumber:
			if !(v >= 0 && v <= 1e12) {
				return nil, fmt.Errorf("a task's %s is %s", key, describe(v))
			}
			field.set(t, int64(v))
		default:
			return nil, fmt.Errorf("a task's %s is %s, not a number", key, describe(v))
		}
	}
	for key, field := range functionFields {
		switch v := in.RawGetString(key).(type) {
		case *lua.LNilType:
		case *lua.LFunction:
			*field(t) = v
		default:
			return nil, fmt.Errorf("a task's %s is %s, not a function", key, describe(v))
		}
	}
	if v := in.RawGetString("env"); v != lua.LNil {
		env, err := readEnv(v)
		if err != nil {
			return nil, fmt.Errorf("a task's env: %w", err)
		}
		t.Env = env
	}
	switch v := in.RawGetString("vars").(type) {
	case *lua.LNilType:
	case *lua.LTable:
		t.Vars = v
	default:
		return nil, fmt.Errorf("a task's vars are %s, not a table", describe(v))
	}
	if t.Backoff != "" && !contains(strategies, t.Backoff) {
		return nil, fmt.Errorf("a task's backoff is %q", t.Backoff)
	}
	if t.Name == "" || t.Command == nil && t.Shell == "" {
		return nil, errors.New("a task without a name or a command")
	}
	return t, nil
}

// shippable lets the language's own objects travel inside closures.
func (w *world) shippable() {
	var spare *lua.LState // only makes tables
	w.vm.Do(func(L *lua.LState) { spare = L })
	ship.Register(w.vm, "task",
		func(ud *lua.LUserData) (lua.LValue, bool) {
			t, ok := ud.Value.(*Task)
			if !ok {
				return nil, false
			}
			return taskTable(spare, t), true
		},
		func(_ *lua.LState, v lua.LValue) (lua.LValue, error) {
			in, ok := v.(*lua.LTable)
			if !ok {
				return nil, errors.New("a task is no table")
			}
			t, err := readTask(in)
			if err != nil {
				return nil, err
			}
			return w.taskValue(t), nil
		})
	ship.Register(w.vm, "secret",
		func(ud *lua.LUserData) (lua.LValue, bool) {
			s, ok := ud.Value.(modules.Secret)
			return lua.LString(s.Reveal()), ok
		},
		func(L *lua.LState, v lua.LValue) (lua.LValue, error) {
			text, ok := v.(lua.LString)
			if !ok {
				return nil, errors.New("a secret is no text")
			}
			return bind.ToLua(L, newSecret(string(text))), nil
		})
	ship.Register(w.vm, "this",
		func(ud *lua.LUserData) (lua.LValue, bool) {
			p, ok := ud.Value.(*part)
			if !ok {
				return nil, false
			}
			return p.table(spare), true
		},
		func(_ *lua.LState, v lua.LValue) (lua.LValue, error) {
			in, ok := v.(*lua.LTable)
			if !ok {
				return nil, errors.New("this is no table")
			}
			return w.readPart(in), nil
		})
}

// EncodeTask packs a task with its functions for another machine; to names it
// in messages. Parcel.Chunks are the sources that the other side must have.
func EncodeTask(vm *engine.VM, t *Task, to string) (p ship.Parcel, err error) {
	vm.Do(func(L *lua.LState) { p, err = worldOf(vm).encodeTask(L, t, to) })
	return p, err
}

func (w *world) encodeTask(L *lua.LState, t *Task, to string) (ship.Parcel, error) {
	return ship.EncodeIn(L, taskTable(L, t), ship.Options{To: to, Name: fmt.Sprintf("the task %q", t.Name)})
}

// DecodeTask unpacks what EncodeTask packed into vm. For what a host sent,
// limits say which functions it may refer to.
func DecodeTask(vm *engine.VM, data []byte, limits ship.Limits) (*Task, error) {
	var t *Task
	v, err := ship.Decode(vm, data, limits)
	if err != nil {
		return nil, err
	}
	in, ok := v.(*lua.LTable)
	if !ok {
		return nil, errors.New("a shipped task is no table")
	}
	vm.Do(func(*lua.LState) { t, err = readTask(in) })
	return t, err
}
