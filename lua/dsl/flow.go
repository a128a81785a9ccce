package dsl

import (
	"errors"
	"fmt"
	"sort"

	lua "github.com/yuin/gopher-lua"

	"github.com/sloth-runner/sloth/lua/bind"
	"github.com/sloth-runner/sloth/lua/engine"
)

// flow is a workflow while its builder is used.
type flow struct {
	*Workflow
	last   *Task // the task that the next :task depends on
	target Target
	calls  map[string]int // how often each method was called, to tell calls of one chain apart
	broken bool           // a task of it could not be read: it may look empty
}

// LuaName says what it is, where it cannot be sent.
func (f *flow) LuaName() string { return "a workflow" }

var flowMethods map[string]func(s *setter, f *flow) error

func init() {
	flowMethods = map[string]func(s *setter, f *flow) error{
		"description": func(s *setter, f *flow) (err error) { f.Description, err = readText(s.arg(0), 0); return err },
		"version":     func(s *setter, f *flow) (err error) { f.Version, err = readText(s.arg(0), 0); return err },
		"task":        addTask,
		"tasks":       addTasks,
		"config":      setConfig,
		"metadata":    setMetadata,
		"on_complete": func(s *setter, f *flow) (err error) { f.OnComplete, err = readFunction(s.arg(0)); return err },
		"delegate_to": func(s *setter, f *flow) (err error) { f.target, err = readTarget(s.args); return err },
		// A workflow is registered at once; people write :build() all the same.
		"build": func(*setter, *flow) error { return nil },
	}
}

// WorkflowMethods names the methods of workflow builders, sorted.
func WorkflowMethods() []string {
	var names []string
	for name := range flowMethods {
		names = append(names, name)
	}
	sort.Strings(names)
	return names
}

func flowOf(v lua.LValue) *flow {
	if ud, ok := v.(*lua.LUserData); ok {
		f, _ := ud.Value.(*flow)
		return f
	}
	return nil
}

// openWorkflow makes the global: workflow("name") and workflow.define.
func (w *world) openWorkflow(L *lua.LState) lua.LValue {
	t := L.CreateTable(0, 1)
	t.RawSetString("define", L.NewFunction(func(L *lua.LState) int {
		if L.Get(1) == t { // workflow:define(…)
			L.Remove(1)
		}
		return w.newFlow(L, "define")
	}))
	mt := L.CreateTable(0, 2)
	mt.RawSetString("__call", L.NewFunction(func(L *lua.LState) int {
		L.Remove(1)
		return w.newFlow(L, "workflow")
	}))
	mt.RawSetString("__index", L.NewFunction(func(L *lua.LState) int {
		if key, ok := L.Get(2).(lua.LString); ok {
			w.complain(L, string(key), 0, -1, fmt.Errorf("workflow has no function %q%s", string(key), hint(string(key), []string{"define"})))
			L.Push(L.NewFunction(func(L *lua.LState) int { return w.newFlow(L, string(key)) }))
			return 1
		}
		return 0
	}))
	t.Metatable = mt
	return t
}

// newFlow is workflow(name [, table]) and workflow.define(name [, table]).
func (w *world) newFlow(L *lua.LState, method string) int {
	f := &flow{Workflow: &Workflow{Pos: place(L)}, calls: map[string]int{}}
	name, err := readName(L.Get(1), 0)
	if err != nil {
		w.complain(L, method, 0, 0, fmt.Errorf("workflow %w", err))
		name = "(unnamed)"
	}
	f.Name = name
	l := loadOf(engine.Context(L))
	if l == nil {
		engine.Raise(L, errors.New("a workflow is defined at the top level of a file, not inside a task"))
	}
	l.flows = append(l.flows, f)
	if v := L.Get(2); v != lua.LNil {
		w.define(L, f, method, v)
	}
	L.Push(&lua.LUserData{Value: f, Env: w.vm.Globals(), Metatable: w.flowMeta})
	return 1
}

var defineKeys = []string{"description", "version", "tasks", "config", "metadata", "on_complete", "delegate_to"}

// define reads the table form of workflow.define.
func (w *world) define(L *lua.LState, f *flow, method string, v lua.LValue) {
	t, ok := v.(*lua.LTable)
	if !ok {
		w.complain(L, method, 0, 1, fmt.Errorf("workflow %q needs a table, not %s", f.Name, describe(v)))
		return
	}
	eachSorted(t, func(k, _ lua.LValue) {
		if key, isText := k.(lua.LString); !isText || !contains(defineKeys, string(key)) {
			w.complain(L, method, 0, -1, fmt.Errorf("workflow %q: unknown key %s%s", f.Name, describe(k), hint(k.String(), defineKeys)))
		}
	})
	for _, key := range defineKeys {
		v := t.RawGetString(key)
		if v == lua.LNil && key != "tasks" {
			continue
		}
		if v == lua.LNil {
			continue // an empty workflow is an error of its own
		}
		s := &setter{L: L, w: w, args: []lua.LValue{v}}
		if err := flowMethods[key](s, f); err != nil {
			w.complain(L, method, 0, -1, fmt.Errorf("workflow %q: %s %w", f.Name, key, err))
		}
		if key == "tasks" {
			w.missingTasks(L, f, method, 0, v)
		}
	}
}

func (w *world) indexFlow(L *lua.LState) int {
	f := flowOf(L.Get(1))
	key, ok := L.Get(2).(lua.LString)
	if f == nil || !ok {
		return 0
	}
	name := string(key)
	if name == "name" {
		L.Push(lua.LString(f.Name))
		return 1
	}
	fn := w.flowMethods[name]
	if fn == nil {
		set := flowMethods[name]
		if set == nil {
			w.complain(L, name, f.calls[name], -1, unknownMethod("workflow", name, WorkflowMethods()))
			f.calls[name]++
			L.Push(L.NewFunction(returnSelf))
			return 1
		}
		fn = L.NewFunction(w.flowSetter(name, set))
		w.flowMethods[name] = fn
	}
	L.Push(fn)
	return 1
}

func (w *world) flowSetter(name string, set func(*setter, *flow) error) lua.LGFunction {
	return func(L *lua.LState) int {
		f := flowOf(L.Get(1))
		if f == nil {
			w.complain(L, name, 0, -1, fmt.Errorf("write :%s(…) with a colon", name))
			return 0
		}
		nth := f.calls[name]
		f.calls[name]++
		s := &setter{L: L, w: w}
		for i := 2; i <= L.GetTop(); i++ {
			s.args = append(s.args, L.Get(i))
		}
		if err := set(s, f); err != nil {
			arg := -1
			var isNil errNil
			if errors.As(err, &isNil) {
				arg = isNil.arg
			}
			w.complain(L, name, nth, arg, fmt.Errorf("workflow %q: %s %w", f.Name, name, err))
		}
		if name == "tasks" {
			w.missingTasks(L, f, name, nth, s.arg(0))
		}
		L.Push(L.Get(1))
		return 1
	}
}

// addTask is :task(name, fn), :task(name, "shell command") and :task(task).
func addTask(s *setter, f *flow) error {
	t := taskOf(s.arg(0))
	if t == nil {
		name, err := readName(s.arg(0), 0)
		if err != nil {
			return err
		}
		t = &Task{Name: name, Pos: place(s.L)}
		if c := s.w.call(t.Pos, "task", f.calls["task"]-1); c != nil {
			t.Pos.Line = c.line
		}
		if l := loadOf(engine.Context(s.L)); l != nil {
			l.define(t)
		}
		if err := setCommand(&setter{L: s.L, w: s.w, args: []lua.LValue{s.arg(1)}}, t); err != nil {
			t.Built, t.broken, f.broken = true, true, true
			if errors.As(err, new(errNil)) {
				return fmt.Errorf("%q: command %w", name, errNil{1})
			}
			return fmt.Errorf("%q: command %w", name, err)
		}
	}
	t.Built, t.chained = true, true
	if f.last != nil && !contains(t.DependsOn, f.last.Name) {
		t.DependsOn = append(t.DependsOn, f.last.Name)
	}
	f.last = t
	f.Tasks = append(f.Tasks, t)
	return nil
}

// addTasks takes the list of tasks. What is nil in it is found by missingTasks.
func addTasks(s *setter, f *flow) error {
	list, ok := s.arg(0).(*lua.LTable)
	if !ok {
		if s.arg(0) == lua.LNil {
			return errNil{0}
		}
		return fmt.Errorf("needs a list of tasks, not %s", describe(s.arg(0)))
	}
	var bad error
	list.ForEach(func(k, _ lua.LValue) {
		if _, number := k.(lua.LNumber); !number && bad == nil {
			bad = fmt.Errorf("needs a list of tasks, and %s is a named key", describe(k))
		}
	})
	if bad != nil {
		return bad
	}
	for i := 1; i <= list.MaxN(); i++ {
		v := list.RawGetInt(i)
		if v == lua.LNil {
			continue
		}
		t := taskOf(v)
		switch {
		case t == nil:
			return fmt.Errorf("[%d] is %s, not a task", i, describe(v))
		case t.Handler:
			return fmt.Errorf("[%d] is the handler %q: handlers are notified, not listed", i, t.Name)
		}
		t.Built = true
		f.Tasks = append(f.Tasks, t)
	}
	return nil
}

func setMetadata(s *setter, f *flow) error {
	v, err := bind.ToGo(s.arg(0))
	if err != nil {
		return err
	}
	switch v := v.(type) {
	case map[string]any:
		f.Metadata = v
	case nil:
		return errNil{0}
	default:
		return fmt.Errorf("needs a table with names, not %s", describe(s.arg(0)))
	}
	return nil
}

// missingTasks reports the nils in a list of tasks. Those at the end leave no
// trace in the table, so it looks at the source too.
func (w *world) missingTasks(L *lua.LState, f *flow, method string, nth int, v lua.LValue) {
	list, ok := v.(*lua.LTable)
	if !ok {
		return
	}
	l := loadOf(engine.Context(L))
	pos := place(L)
	var names []item
	if c := w.call(pos, method, nth); c != nil {
		pos.Line = c.line
		names = c.taskItems()
	}
	n := max(list.MaxN(), len(names))
	for i := 1; i <= n; i++ {
		if list.RawGetInt(i) != lua.LNil {
			continue
		}
		p, name := Problem{Pos: pos}, ""
		if i <= len(names) {
			if name = names[i-1].name; names[i-1].line > 0 {
				p.Line = names[i-1].line
			}
		}
		p.Message = missingTask(f.Name, i, name)
		l.problems = append(l.problems, p)
		f.broken = true
	}
}

func missingTask(workflow string, index int, variable string) string {
	return withVariable(fmt.Sprintf("workflow %q: tasks[%d] is nil: %s", workflow, index, vague), variable)
}
