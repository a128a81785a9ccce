package dsl

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sort"
	"strings"

	lua "github.com/yuin/gopher-lua"

	"github.com/sloth-runner/sloth/lua/engine"
	"github.com/sloth-runner/sloth/modules/spec"
)

// setter is one call of a builder's method.
type setter struct {
	L    *lua.LState
	w    *world
	args []lua.LValue
}

func (s *setter) arg(i int) lua.LValue {
	if i < len(s.args) {
		return s.args[i]
	}
	return lua.LNil
}

// methods of the task builder. Each sets one thing; the caller returns the
// builder, so that calls can be chained.
var taskMethods map[string]func(s *setter, t *Task) error

// taskAliases are other names of methods.
var taskAliases = map[string]string{"when": "run_if"}

func init() {
	taskMethods = map[string]func(s *setter, t *Task) error{
		"description": func(s *setter, t *Task) (err error) { t.Description, err = readText(s.arg(0), 0); return err },
		"command":     setCommand,
		"workdir":     func(s *setter, t *Task) (err error) { t.Workdir, err = readText(s.arg(0), 0); return err },
		"delegate_to": func(s *setter, t *Task) (err error) { t.Target, err = readTarget(s.args); return err },
		"depends_on":  setDependsOn,
		"timeout":     func(s *setter, t *Task) (err error) { t.Timeout, err = readDuration(s.arg(0)); return err },
		"retries":     setRetries,
		"artifacts":   appendTexts(func(t *Task) *[]string { return &t.Artifacts }),
		"consumes":    appendTexts(func(t *Task) *[]string { return &t.Consumes }),
		"tags":        appendTexts(func(t *Task) *[]string { return &t.Tags }),
		"notify":      appendTexts(func(t *Task) *[]string { return &t.Notify }),

		"run_if":       setCondition(func(t *Task) **lua.LFunction { return &t.RunIf }),
		"changed_when": setCondition(func(t *Task) **lua.LFunction { return &t.ChangedWhen }),
		"failed_when":  setCondition(func(t *Task) **lua.LFunction { return &t.FailedWhen }),
		"on_start":     setHook(func(t *Task) **lua.LFunction { return &t.OnStart }),
		"on_success":   setHook(func(t *Task) **lua.LFunction { return &t.OnSuccess }),
		"on_failure":   setHook(func(t *Task) **lua.LFunction { return &t.OnFailure }),
		"on_retry":     setHook(func(t *Task) **lua.LFunction { return &t.OnRetry }),
		"on_timeout":   setHook(func(t *Task) **lua.LFunction { return &t.OnTimeout }),

		"ignore_errors":    setFlag(func(t *Task) *bool { return &t.IgnoreErrors }),
		"no_log":           setFlag(func(t *Task) *bool { return &t.NoLog }),
		"any_errors_fatal": setFlag(func(t *Task) *bool { return &t.AnyErrorsFatal }),
		"run_once":         setFlag(func(t *Task) *bool { return &t.RunOnce }),
		"async":            setFlag(func(t *Task) *bool { return &t.Async }),

		"become": setBecome,
		"user": func(s *setter, t *Task) (err error) {
			t.Become = true
			t.BecomeUser, err = readName(s.arg(0), 0)
			return err
		},
		"serial": func(s *setter, t *Task) (err error) { t.Serial, err = readSerial(s.arg(0)); return err },
		"env":    setEnv,
		"vars":   setVars,
		"build":  func(_ *setter, t *Task) error { t.Built = true; return nil },
	}
}

func isTaskMethod(name string) bool {
	return name == "run" || taskMethods[name] != nil || taskAliases[name] != ""
}

// TaskMethods names the methods of task builders, sorted, for documentation
// and completion.
func TaskMethods() []string {
	names := []string{"run"}
	for name := range taskMethods {
		names = append(names, name)
	}
	for name := range taskAliases {
		names = append(names, name)
	}
	sort.Strings(names)
	return names
}

func setCommand(s *setter, t *Task) error {
	switch v := s.arg(0).(type) {
	case *lua.LFunction:
		t.Command, t.Shell = v, ""
	case lua.LString:
		if strings.TrimSpace(string(v)) == "" {
			return errors.New("needs a function or a shell command, not an empty text")
		}
		t.Command, t.Shell = nil, string(v)
	case *lua.LNilType:
		return errNil{0}
	default:
		return fmt.Errorf("needs a function or a shell command, not %s", describe(v))
	}
	return nil
}

func setDependsOn(s *setter, t *Task) error {
	t.depends = place(s.L)
	if c := s.w.call(t.depends, "depends_on", 0); c != nil {
		t.depends.Line = c.line
	}
	for i, v := range s.args {
		names, err := dependencies(v, i)
		if err != nil {
			return err
		}
		for _, n := range names {
			if !slices.Contains(t.DependsOn, n) {
				t.DependsOn = append(t.DependsOn, n)
			}
		}
	}
	if len(s.args) == 0 {
		return errNil{0}
	}
	return nil
}

// dependencies takes a name, a task, or a list of those.
func dependencies(v lua.LValue, arg int) ([]string, error) {
	if ud, ok := v.(*lua.LUserData); ok {
		if t, ok := ud.Value.(*Task); ok {
			return []string{t.Name}, nil
		}
	}
	list, ok := v.(*lua.LTable)
	if !ok {
		name, err := readName(v, arg)
		if err != nil {
			return nil, err
		}
		return []string{name}, nil
	}
	items, err := listOf(list)
	if err != nil {
		return nil, err
	}
	var out []string
	for i, item := range items {
		if _, nested := item.(*lua.LTable); nested {
			return nil, fmt.Errorf("item %d is a table, not the name of a task", i+1)
		}
		names, err := dependencies(item, 0)
		if err != nil {
			return nil, fmt.Errorf("item %d: %w", i+1, err)
		}
		out = append(out, names...)
	}
	return out, nil
}

func setRetries(s *setter, t *Task) (err error) {
	if t.Retries, err = readCount(s.arg(0)); err != nil {
		return err
	}
	t.Backoff = "fixed"
	if s.arg(1) != lua.LNil {
		t.Backoff, err = readStrategy(s.arg(1))
	}
	return err
}

func setBecome(s *setter, t *Task) (err error) {
	t.Become, t.BecomeUser = true, ""
	if len(s.args) == 0 {
		return nil
	}
	if b, ok := s.arg(0).(lua.LBool); ok {
		t.Become = bool(b)
		return nil
	}
	t.BecomeUser, err = readName(s.arg(0), 0)
	return err
}

func setEnv(s *setter, t *Task) error {
	env, err := readEnv(s.arg(0))
	if err != nil {
		return err
	}
	if t.Env == nil {
		t.Env = map[string]string{}
	}
	for k, v := range env {
		t.Env[k] = v
	}
	return nil
}

func setVars(s *setter, t *Task) error {
	v, ok := s.arg(0).(*lua.LTable)
	if !ok {
		if s.arg(0) == lua.LNil {
			return errNil{0}
		}
		return fmt.Errorf("needs a table, not %s", describe(s.arg(0)))
	}
	t.Vars = v
	return nil
}

func appendTexts(field func(*Task) *[]string) func(*setter, *Task) error {
	return func(s *setter, t *Task) error {
		texts, err := readTexts(s.args)
		if err != nil {
			return err
		}
		into := field(t)
		for _, text := range texts {
			if text == "" {
				return errors.New("needs text, not an empty one")
			}
			if !slices.Contains(*into, text) {
				*into = append(*into, text)
			}
		}
		return nil
	}
}

func setHook(field func(*Task) **lua.LFunction) func(*setter, *Task) error {
	return func(s *setter, t *Task) (err error) {
		*field(t), err = readFunction(s.arg(0))
		return err
	}
}

// setCondition takes a function, or true or false for good.
func setCondition(field func(*Task) **lua.LFunction) func(*setter, *Task) error {
	return func(s *setter, t *Task) (err error) {
		if b, ok := s.arg(0).(lua.LBool); ok {
			*field(t), err = s.w.constant(bool(b))
			return err
		}
		*field(t), err = readFunction(s.arg(0))
		return err
	}
}

func setFlag(field func(*Task) *bool) func(*setter, *Task) error {
	return func(s *setter, t *Task) (err error) {
		*field(t), err = readFlag(s.args)
		return err
	}
}

// constant is a Lua function that returns b. It has a source of its own, so
// that it can be sent to hosts like any other.
func (w *world) constant(b bool) (*lua.LFunction, error) {
	text := "return false"
	if b {
		text = "return true"
	}
	c, err := w.vm.Load("sloth", []byte(text))
	if err != nil {
		return nil, err
	}
	return w.vm.Function(c), nil
}

// newTask is task(name [, command]) and handler(name [, command]).
func (w *world) newTask(L *lua.LState, what string) int {
	t := &Task{Handler: what == "handler", Pos: place(L)}
	name, err := readName(L.Get(1), 0)
	if err != nil {
		w.complain(L, what, 0, 0, fmt.Errorf("%s %w", what, err))
		name = "(unnamed)"
	}
	t.Name = name
	if L.GetTop() > 1 {
		if err := setCommand(&setter{L: L, w: w, args: []lua.LValue{L.Get(2)}}, t); err != nil {
			w.complain(L, what, 0, 1, fmt.Errorf("%s %q: command %w", what, name, err))
			t.broken = true
		}
	}
	if l := loadOf(engine.Context(L)); l != nil {
		l.define(t)
	}
	L.Push(w.taskValue(t))
	return 1
}

// taskValue is t as Lua sees it.
func (w *world) taskValue(t *Task) *lua.LUserData {
	return &lua.LUserData{Value: t, Env: w.vm.Globals(), Metatable: w.taskMeta}
}

// taskOf returns the task behind a value, or nil.
func taskOf(v lua.LValue) *Task {
	if ud, ok := v.(*lua.LUserData); ok {
		t, _ := ud.Value.(*Task)
		return t
	}
	return nil
}

// indexTask is the __index of tasks: a method, or a field.
func (w *world) indexTask(L *lua.LState) int {
	t := taskOf(L.Get(1))
	key, ok := L.Get(2).(lua.LString)
	if t == nil || !ok {
		return 0
	}
	name := string(key)
	if name == "name" {
		L.Push(lua.LString(t.Name))
		return 1
	}
	fn := w.methods[name]
	if fn == nil {
		real := name
		if alias := taskAliases[name]; alias != "" {
			real = alias
		}
		set := taskMethods[real]
		switch {
		case name == "run":
			fn = L.NewFunction(w.runTask)
		case set != nil:
			fn = L.NewFunction(w.taskSetter(name, set))
		default:
			w.complain(L, name, t.call(name), -1, unknownMethod(t.kind(), name, TaskMethods()))
			t.broken = true
			L.Push(L.NewFunction(returnSelf))
			return 1
		}
		w.methods[name] = fn
	}
	L.Push(fn)
	return 1
}

// call counts the calls of a method.
func (t *Task) call(name string) int {
	if t.calls == nil {
		t.calls = map[string]int{}
	}
	t.calls[name]++
	return t.calls[name] - 1
}

func (t *Task) kind() string {
	if t.Handler {
		return "handler"
	}
	return "task"
}

// unknownMethod is the error of a method that a builder has not.
func unknownMethod(kind, name string, known []string) error {
	if n := spec.Nearest(name, known); n != "" {
		return fmt.Errorf("a %s has no method :%s — did you mean :%s?", kind, name, n)
	}
	return fmt.Errorf("a %s has no method :%s; it has :%s", kind, name, strings.Join(known, ", :"))
}

// returnSelf lets a chain go on behind a method that does not exist.
func returnSelf(L *lua.LState) int {
	L.SetTop(1)
	return 1
}

func (w *world) taskSetter(name string, set func(*setter, *Task) error) lua.LGFunction {
	return func(L *lua.LState) int {
		t := taskOf(L.Get(1))
		if t == nil {
			w.complain(L, name, 0, -1, fmt.Errorf("write :%s(…) with a colon", name))
			return 0
		}
		s := &setter{L: L, w: w}
		for i := 2; i <= L.GetTop(); i++ {
			s.args = append(s.args, L.Get(i))
		}
		nth := t.call(name)
		if err := set(s, t); err != nil {
			t.broken = true
			arg := -1
			var isNil errNil
			if errors.As(err, &isNil) {
				arg = isNil.arg
			}
			w.complain(L, name, nth, arg, fmt.Errorf("%s %q: %s %w", t.kind(), t.Name, name, err))
		}
		L.Push(L.Get(1))
		return 1
	}
}

// runTask is task:run(). It never raises but for a mistake in the script.
func (w *world) runTask(L *lua.LState) int {
	t := taskOf(L.Get(1))
	if t == nil {
		engine.Raise(L, errors.New("write :run() with a colon"))
	}
	if t.Command == nil && t.Shell == "" {
		engine.Raise(L, fmt.Errorf("%s %q has no command to run", t.kind(), t.Name))
	}
	if l := loadOf(engine.Context(L)); l != nil {
		l.prog.Ran = append(l.prog.Ran, t)
		if l.inert || len(l.problems) > 0 {
			L.Push(lua.LTrue)
			return 1
		}
	}
	rets, err := w.perform(L, t)
	if err != nil {
		if cause := context.Cause(engine.Context(L)); cause != nil {
			engine.Raise(L, cause) // the caller itself has ended
		}
		L.Push(lua.LFalse)
		L.Push(lua.LString(err.Error()))
		return 2
	}
	for _, v := range rets {
		L.Push(v)
	}
	return len(rets)
}
