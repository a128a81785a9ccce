package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/sloth-runner/sloth/lua/bind"
	"github.com/sloth-runner/sloth/lua/dsl"
	"github.com/sloth-runner/sloth/lua/engine"
	"github.com/sloth-runner/sloth/lua/goroutine"
	"github.com/sloth-runner/sloth/runner"
	"github.com/sloth-runner/sloth/runner/event"
	lua "github.com/yuin/gopher-lua"
)

func (v *invocation) newVM() *engine.VM {
	o := engine.Options{Stuck: func(name string) {
		fmt.Fprintf(os.Stderr, "sloth: %s does not end; a Lua loop ignores its deadline\n", name)
		os.Exit(exitFailed)
	}}
	if v.back != nil {
		o.Require = v.libraries(v.state.dir)
	}
	v.early.surround(&o)
	return engine.New(dsl.VMOptions(o))
}

// libraries finds Lua libraries below dir.
func (v *invocation) libraries(dir string) func(context.Context, string) ([]byte, string, error) {
	if v.back != nil {
		return v.back.require(dir, dsl.Libraries(dir))
	}
	return dsl.Libraries(dir)
}

// load runs the file's top level: without effects where r is nil.
func (v *invocation) load(ctx context.Context, params map[string]any, values any, r *runner.Runner) (*dsl.Program, *engine.VM, error) {
	vm := v.newVM()
	asked := 0
	o := dsl.Options{
		Params: params, Values: values, Modules: v.modules(), Inert: r == nil,
		Prompt: func(_ context.Context, name string, secret bool) (string, error) {
			text, err := v.answer(&asked, name, secret)
			if secret && err == nil {
				v.app.secrets.learn(name, text)
			}
			return text, err
		},
		Param: func(name, value string) {
			v.app.secrets.learn(name, value)
			if !slices.Contains(v.hidden, name) {
				v.hidden = append(v.hidden, name)
			}
		},
		Pause: func(_ context.Context, message string) error {
			_, err := v.app.ask(message+" [Enter] ", false)
			return err
		},
	}
	if f := v.flags; !f.listHosts && !f.listTasks && !f.listTags && !f.vault.blind {
		o.Secret = v.app.secrets.find
		if v.planning != nil {
			o.Secret = v.planning.secret(o.Secret)
		}
	}
	if r == nil && v.peek != nil {
		o.State = func(ctx context.Context, op string, args []any) ([]any, error) { return v.peek.do(ctx, "", op, args) }
	}
	if r != nil {
		vm = r.VM()
		env := r.Env(0)
		env.Call.Log = func(level, message string, fields map[string]any) {
			r.Emit(event.Log{Where: event.Where{Host: runner.Local}, Level: level, Message: message, Fields: fields})
		}
		v.early.lines.emit = func(line string) { env.Call.Log("print", line, nil) }
		defer v.early.lines.flush()
		if v.planning != nil {
			v.planning.topLevel(&env)
		}
		if v.checks != nil {
			env.Effect = v.checks.effect
		}
		o.Env = &env
	}
	// Tasks may run others, whether or not the file itself does.
	o.RunTask = func(ctx context.Context, t *dsl.Task) ([]lua.LValue, error) {
		if v.runner == nil {
			return nil, errors.New("nothing runs while the file is only read")
		}
		return v.runner.RunTask(ctx, t)
	}
	if v.back != nil {
		o.Include = v.back.include
	}
	bind.Install(vm, o.Modules)
	goroutine.Install(vm)
	loader := dsl.Install(vm, o)
	vm.Pristine()
	load := loader.LoadFile
	if v.back != nil {
		load = func(ctx context.Context, path string) (*dsl.Program, error) {
			return loader.LoadSource(ctx, path, v.back.file(path))
		}
	}
	prog, err := load(ctx, v.file)
	if err != nil && r == nil {
		v.showEarly(v.app.stderr)
		_ = vm.Close()
	}
	return prog, vm, err
}

// arguments reads --param and --values.
func (v *invocation) arguments(sec *secrets) (map[string]any, any, error) {
	var values any
	params := map[string]any{}
	if f := v.flags.values; f != "" {
		var err error
		if v.back != nil {
			v.valuesText = v.back.values
		} else if v.valuesText, err = os.ReadFile(f); err != nil {
			return nil, nil, fmt.Errorf("read values: %w", err)
		}
		if values, err = sec.readValues(f, v.valuesText); err != nil {
			return nil, nil, err
		}
		if m, ok := values.(map[string]any); ok {
			if p, ok := m["params"].(map[string]any); ok {
				params = p
			}
		} else if values != nil {
			return nil, nil, fmt.Errorf("read values %s: the file must be a map", f)
		}
	}
	for _, p := range v.flags.params {
		k, val, ok := strings.Cut(p, "=")
		if !ok {
			return nil, nil, withHint(fmt.Errorf("--param %q has no value", p), "Write --param name=value.")
		}
		params[k] = val
	}
	return params, values, nil
}

// choose finds the workflow to run; nil means that the file's own top level is
// all there is.
func (v *invocation) choose(prog *dsl.Program) (*dsl.Workflow, error) {
	w, err := v.chosen(prog)
	if err == nil && v.checks != nil {
		v.checks.prepare(v, w)
	}
	return w, err
}

func (v *invocation) chosen(prog *dsl.Program) (*dsl.Workflow, error) {
	names := make([]string, 0, len(prog.Workflows))
	for _, w := range prog.Workflows {
		if w.Name == v.workflow {
			return w, nil
		}
		names = append(names, w.Name)
	}
	switch {
	case v.workflow != "" && v.what != "run":
		return nil, fmt.Errorf("%s has no workflow %q; it has %s", v.file, v.workflow, strings.Join(names, ", "))
	}
	if v.workflow != "" {
		if err := v.stackArgument(); err != nil {
			return nil, err
		}
	}
	switch {
	case len(prog.Workflows) == 1:
		return prog.Workflows[0], nil
	case len(prog.Workflows) > 1:
		return nil, withHint(fmt.Errorf("%s has several workflows: %s", v.file, strings.Join(names, ", ")), "Name the one to run behind the file.")
	}
	return nil, nil
}
