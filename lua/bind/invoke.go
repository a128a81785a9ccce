package bind

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"

	"github.com/sloth-runner/sloth/facts"
	"github.com/sloth-runner/sloth/modules"
	"github.com/sloth-runner/sloth/modules/spec"
)

// Lookup finds a function by its full name, such as "systemd.restart", and
// says which ones there are when it is not known. The name of a module that can
// be called is enough for that.
func Lookup(mods []modules.Module, name string) (modules.Module, modules.Func, error) {
	module, function, _ := strings.Cut(name, ".")
	var names []string
	for _, m := range mods {
		if !named(module, m.Name, m.Aliases) {
			names = append(append(names, m.Name), m.Aliases...)
			continue
		}
		if function == "" {
			function = m.Call
		}
		var known []string
		for _, f := range m.Funcs {
			if named(function, f.Name, f.Aliases) {
				return m, f, nil
			}
			known = append(append(known, f.Name), f.Aliases...)
		}
		return m, modules.Func{}, fmt.Errorf("%s has no function %q%s", module, function, spec.Hint(function, known))
	}
	return modules.Module{}, modules.Func{}, fmt.Errorf("there is no module %q%s", module, spec.Hint(module, names))
}

func named(name, is string, aliases []string) bool {
	if name == is {
		return true
	}
	for _, a := range aliases {
		if name == a {
			return true
		}
	}
	return false
}

// CallByName calls one function with named arguments, without any Lua, in the
// Env of ctx.
func CallByName(ctx context.Context, mods []modules.Module, name string, args map[string]any) ([]any, error) {
	m, f, err := Lookup(mods, name)
	if err != nil {
		return nil, err
	}
	var list []any
	if len(args) > 0 {
		list = []any{args}
	}
	c := call{name: m.Name + "." + f.Name}
	filled, err := parse(ctx, f, list)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.name, err)
	}
	return c.run(ctx, filled)
}

// parse fills the argument struct of f.
func parse(ctx context.Context, f modules.Func, args []any) (any, error) {
	workdir := ""
	if e := EnvOf(ctx); e != nil {
		workdir = e.Call.Workdir
	}
	return spec.Parse(f, args, workdir)
}

// call is one call of a module function, and where it stands.
type call struct {
	name string // "file_ops.copy"
	file string
	line int
}

// run performs the call. It blocks, and must not hold the Lua lock.
func (c call) run(ctx context.Context, filled any) ([]any, error) {
	e := EnvOf(ctx)
	if e == nil {
		return nil, fmt.Errorf("%s: nothing says where it should run; call it from a task", c.name)
	}
	surround := e.Call
	surround.Plan = e.Check || e.Inert
	ctx = modules.WithCall(ctx, surround)
	surround = modules.CallOf(ctx) // Output and Log are never nil
	out, err := c.dispatch(ctx, e, surround, filled)
	if err != nil {
		if cause := context.Cause(ctx); cause != nil && !errors.Is(err, cause) && errors.Is(err, ctx.Err()) {
			err = cause
		}
		if strings.HasPrefix(err.Error(), c.name+": ") {
			return nil, err // the controller has said it already
		}
		return nil, fmt.Errorf("%s: %w", c.name, err)
	}
	return out, nil
}

func (c call) dispatch(ctx context.Context, e *Env, surround modules.Call, filled any) ([]any, error) {
	switch f := filled.(type) {
	case modules.Changer:
		return c.change(ctx, e, f)
	case modules.Querier:
		return f.Query(ctx, e.viewer())
	case modules.Tool:
		return c.tool(ctx, e, surround, f)
	}
	return nil, fmt.Errorf("%T is neither Changer nor Querier nor Tool", filled)
}

// viewer is what the call may look at: nil-safe for files that are only read.
func (e *Env) viewer() facts.Viewer {
	if e.Viewer != nil {
		return e.Viewer
	}
	if e.Call.Machine == nil {
		return nil
	}
	return e.Call.Machine
}

func (e *Env) record(r Record) {
	if e.Call.NoLog {
		r.Diff = r.Diff.Hide()
		r.Message = ""
	}
	if e.Called != nil {
		e.Called(r)
	}
}

func (e *Env) effect(ctx context.Context, name string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if e.Effect == nil {
		return nil
	}
	return e.Effect(ctx, name)
}

func (c call) change(ctx context.Context, e *Env, f modules.Changer) ([]any, error) {
	rec := Record{Function: c.name, File: c.file, Line: c.line, Planned: e.Check || e.Inert}
	if e.Inert {
		rec.Changed = true
		e.record(rec)
		return []any{map[string]any{"success": true, "changed": true, "planned": true, "message": "", "diff": []any{}}}, nil
	}
	rec.Args = e.sealArgs(c.name, f)
	d, err := f.Check(ctx, e.viewer())
	if err != nil {
		return nil, err
	}
	rec.Changed, rec.Diff, rec.Message = !d.Empty(), d, d.Summary()
	rec = e.seen(rec)
	if err := e.approve(rec); err != nil {
		return nil, err
	}
	switch {
	case d.Empty():
	case e.Check:
		if e.Overlay != nil {
			e.Overlay.Note(modules.NotedChange, c.name)
		}
		if p, ok := f.(modules.Planner); ok && e.Overlay != nil {
			if err := p.Plan(ctx, d, e.Overlay); err != nil {
				return nil, err
			}
		}
	default:
		if err := e.effect(ctx, c.name); err != nil {
			return nil, err
		}
		if err := f.Apply(ctx, e.Call.Machine, d); err != nil {
			return nil, err
		}
	}
	result := map[string]any{"success": true, "changed": rec.Changed, "message": rec.Message, "diff": rows(d)}
	if e.Check {
		result["planned"] = true
	}
	if r, ok := f.(modules.Resulter); ok {
		for k, v := range r.Result() {
			result[k] = v
		}
	}
	e.record(rec)
	return []any{result}, nil
}

// rows is a diff as Lua sees it.
func rows(d modules.Diff) []any {
	out := make([]any, len(d.Changes))
	for i, c := range d.Changes {
		row := map[string]any{"what": c.What}
		if c.Attr != "" {
			row["attr"] = c.Attr
		}
		if !c.Hidden {
			row["before"], row["after"] = c.Before, c.After
		}
		if c.Unknown {
			row["unknown"] = true
		}
		out[i] = row
	}
	return out
}

func (c call) tool(ctx context.Context, e *Env, surround modules.Call, f modules.Tool) ([]any, error) {
	rec := Record{Function: c.name, File: c.file, Line: c.line}
	safe := f.PlanSafe()
	rec.Args = e.sealArgs(c.name, f)
	if (e.Check || e.Inert) && !safe {
		rec.Planned, rec.Changed = true, true
		if s, ok := f.(modules.Skipper); ok && !e.Inert {
			reason, skip, err := s.Skip(ctx, e.viewer())
			if err != nil {
				return nil, err
			}
			if skip {
				rec.Changed, rec.Message = false, reason
			}
		}
		if rec.Changed && e.Overlay != nil {
			e.Overlay.Note(modules.NotedTool, c.name)
		}
		if rec.Message == "" {
			rec.Message = describe(f)
		}
		rec = e.seen(rec)
		e.record(rec)
		result := map[string]any{"success": true, "changed": rec.Changed, "exit_code": int64(0), "stdout": "", "stderr": "", "planned": true}
		if r, ok := f.(modules.Resulter); ok {
			maps.Copy(result, r.Result())
		}
		return []any{result}, nil
	}
	if !safe {
		if err := c.approveTool(ctx, e, f, rec); err != nil {
			return nil, err
		}
		if err := e.effect(ctx, c.name); err != nil {
			return nil, err
		}
	}
	out, err := f.Run(ctx, surround)
	if !safe {
		// A tool that failed may have changed something on its way.
		rec.Changed, rec.Message = err != nil || changedBy(out), describe(f)
		e.record(rec)
	}
	return out, err
}

// approveTool asks about a tool as a plan would have seen it here.
func (c call) approveTool(ctx context.Context, e *Env, f modules.Tool, rec Record) error {
	if e.Approve == nil {
		return nil
	}
	rec.Changed, rec.Message = true, describe(f)
	if s, ok := f.(modules.Skipper); ok {
		reason, skip, err := s.Skip(ctx, e.viewer())
		if err != nil {
			return err
		}
		if skip {
			rec.Changed, rec.Message = false, reason
		}
	}
	return e.approve(e.seen(rec))
}

// describe lets a tool say what it is about to do: "systemctl reload nginx".
func describe(f modules.Tool) string {
	if s, ok := f.(fmt.Stringer); ok {
		return s.String()
	}
	return ""
}

// changedBy reads the changed of a tool's result table; a tool that does not
// say counts as having changed something.
func changedBy(out []any) bool {
	if len(out) == 0 {
		return true
	}
	m, ok := out[0].(map[string]any)
	if !ok {
		return true
	}
	changed, said := m["changed"].(bool)
	return changed || !said
}
