// Package saga is the module saga: steps that are undone, the last one first,
// when one of them fails.
package saga

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/sloth-runner/sloth/modules"
)

// Module describes the module saga.
func Module() modules.Module {
	return modules.Module{
		Name:    "saga",
		Summary: "Run steps one after the other, and undo those that were done when one fails.",
		Call:    "run",
		Funcs: []modules.Func{{
			Name:    "run",
			Summary: "Run the steps; when one raises, or returns false or a table with success = false, undo those before it, the last one first, and raise.",
			Example: `local r = saga.run({
  { name = "dns", run = function() return "added" end, undo = function() log.info("removed") end },
  { name = "web", run = function() return "switched" end },
})`,
			Returns: "{success, results = {…}, steps = {{name, status, error, undo_error}, …}}; with raise = false also when it failed, with failed, error and undo_errors",
			New:     func() any { return &run{Raise: true, UndoTimeout: 5 * time.Minute, Cut: "undo"} },
		}},
	}
}

// Names under which a step has its functions. do is a keyword of Lua: as a key
// it has to be written ["do"].
var (
	doNames   = []string{"run", "do", "action", "execute"}
	undoNames = []string{"undo", "compensate", "rollback"}
)

type run struct {
	Steps       []map[string]any `lua:"steps,required,primary" pos:"1" doc:"List of {name=, run=, undo=}; run gets the results so far, by name and position, undo gets what its own run returned and the message of the failure. Other names: action, execute and [\"do\"]; compensate and rollback"`
	Raise       bool             `lua:"raise" doc:"Raises when a step failed, once the others are undone; false: says so in the result"`
	Name        string           `lua:"name" doc:"With a name the steps are written down as they are done, in the state of the stack: should the run be cut off in the middle, the next one finds them"`
	Cut         string           `lua:"cut" enum:"undo,resume" doc:"What is done then: undo them, the step under way too, and begin anew; or go on behind the last one that was done, and run the one under way again"`
	UndoTimeout time.Duration    `lua:"undo_timeout" doc:"How long one undo may take, also when the task's own time was over"`

	steps []step
}

type step struct {
	name      string
	run, undo modules.Callback
}

// PlanSafe is true: what the steps call plans by itself.
func (*run) PlanSafe() bool { return true }

// Validate reads the steps.
func (r *run) Validate() error {
	if len(r.Steps) == 0 {
		return errors.New("steps is an empty list")
	}
	if r.UndoTimeout <= 0 {
		return errors.New("undo_timeout: it must be above 0")
	}
	seen := map[string]bool{}
	for i, raw := range r.Steps {
		s, err := readStep(raw, fmt.Sprintf("step %d", i+1))
		if err != nil {
			return fmt.Errorf("steps[%d]: %w", i+1, err)
		}
		if seen[s.name] {
			return fmt.Errorf("steps[%d]: there is another step %q", i+1, s.name)
		}
		seen[s.name] = true
		r.steps = append(r.steps, s)
	}
	return nil
}

func readStep(raw map[string]any, name string) (step, error) {
	s := step{name: name}
	for key, v := range raw {
		into := &s.run
		switch {
		case key == "name":
			text, ok := v.(string)
			if !ok || text == "" {
				return s, errors.New("name must be text")
			}
			s.name = text
			continue
		case contains(doNames, key):
		case contains(undoNames, key):
			into = &s.undo
		default:
			return s, fmt.Errorf("unknown key %q; known are name, %s, %s", key, strings.Join(doNames, ", "), strings.Join(undoNames, ", "))
		}
		fn, ok := v.(modules.Callback)
		if !ok {
			return s, fmt.Errorf("%s must be a function", key)
		}
		if *into != nil {
			return s, fmt.Errorf("%s is given under two names", key)
		}
		*into = fn
	}
	if s.run == nil {
		return s, errors.New(`it has nothing to do: give run = function() … end (or ["do"]: do alone is a keyword)`)
	}
	return s, nil
}

func contains(list []string, s string) bool {
	for _, e := range list {
		if e == s {
			return true
		}
	}
	return false
}

// Run goes through the steps, and back when one fails.
func (r *run) Run(ctx context.Context, c modules.Call) ([]any, error) {
	results := map[any]any{}
	rows := make([]any, len(r.steps))
	for i, s := range r.steps {
		rows[i] = map[string]any{"name": s.name, "status": "skipped"}
	}
	row := func(i int) map[string]any { return rows[i].(map[string]any) }
	returned := make([][]any, len(r.steps))
	j, err := r.openJournal(ctx, c)
	if err != nil {
		return nil, err
	}
	before, err := r.recover(ctx, c, j)
	if err != nil {
		return nil, err
	}
	for i := range before {
		row(i)["status"] = "done"
		if v := j.steps[i].value; v != nil {
			returned[i] = []any{v}
			results[int64(i+1)], results[r.steps[i].name] = v, v
		}
	}
	if before > 0 {
		j.steps = j.steps[:before]
	}
	for i, s := range r.steps {
		if i < before {
			continue
		}
		if err := j.begin(ctx, s); err != nil {
			return nil, r.unwritten(ctx, c, i, returned, err, row, j)
		}
		out, err := s.run(ctx, plain(results))
		if err == nil {
			err = refused(out)
		}
		if err == nil {
			row(i)["status"] = "done"
			if returned[i] = out; len(out) > 0 {
				results[int64(i+1)], results[s.name] = out[0], out[0]
				j.done(out[0])
			} else {
				j.done(nil)
			}
			continue
		}
		row(i)["status"], row(i)["error"] = "failed", err.Error()
		undo := r.back(ctx, c, i, returned, err, row, j)
		failure := r.failure(i, err, undo)
		if r.Raise || ctx.Err() != nil {
			return nil, failure
		}
		return []any{map[string]any{
			"success": false, "results": plain(results), "steps": rows, "failed": s.name,
			"error": failure.Error(), "undo_errors": texts(undo),
		}}, nil
	}
	if err := j.settle(ctx, nil); err != nil {
		return nil, err
	}
	return []any{map[string]any{"success": true, "results": plain(results), "steps": rows}}, nil
}

// back undoes the steps before the one that failed. Each is tried, whatever
// became of the others, and even when the task's own time was over.
func (r *run) back(ctx context.Context, c modules.Call, failed int, returned [][]any, cause error, row func(int) map[string]any, j *journal) []error {
	var all []error
	var left []noted
	for i := failed - 1; i >= 0; i-- {
		s := r.steps[i]
		if s.undo == nil {
			continue
		}
		var value any
		if len(returned[i]) > 0 {
			value = returned[i][0]
		}
		if err := r.undoOne(ctx, c, s, value, cause); err != nil {
			all = append(all, err)
			left = append([]noted{{s.name, true, value}}, left...)
			row(i)["status"], row(i)["undo_error"] = "undo failed", err.Error()
			continue
		}
		row(i)["status"] = "undone"
	}
	if err := j.settle(ctx, left); err != nil {
		all = append(all, err)
	}
	return all
}

// undoOne undoes a step, even when the task's own time was over.
func (r *run) undoOne(ctx context.Context, c modules.Call, s step, value any, cause error) error {
	if s.undo == nil {
		return nil
	}
	if !c.NoLog {
		c.Log("warn", fmt.Sprintf("saga: undoing %s", s.name), nil)
	}
	limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), r.UndoTimeout)
	defer cancel()
	out, err := s.undo(limited, value, cause.Error())
	if err == nil {
		err = refused(out)
	}
	if err != nil {
		return fmt.Errorf("undo of %s: %w", s.name, err)
	}
	return nil
}

// unwritten goes back where the journal cannot be written: the step is not
// begun.
func (r *run) unwritten(ctx context.Context, c modules.Call, i int, returned [][]any, err error, row func(int) map[string]any, j *journal) error {
	return r.failure(i, err, r.back(ctx, c, i, returned, err, row, j))
}

// failure says what failed, and how the way back went.
func (r *run) failure(i int, err error, undo []error) error {
	if len(undo) == 0 {
		return fmt.Errorf("%s failed, and what was done before it is undone: %w", r.steps[i].name, err)
	}
	return fmt.Errorf("%s failed: %w; and not everything before it could be undone: %w", r.steps[i].name, err, errors.Join(undo...))
}

// refused is the failure that returns tell of: false, nil and a message, or a
// table with success = false.
func refused(out []any) error {
	if len(out) == 0 {
		return nil
	}
	message := ""
	if len(out) > 1 {
		message, _ = out[1].(string)
	}
	switch v := out[0].(type) {
	case nil:
		if message != "" {
			return errors.New(message)
		}
	case bool:
		if !v && message == "" {
			message = "it returned false"
		}
		if !v {
			return errors.New(message)
		}
	case map[string]any:
		if v["success"] == false {
			if message, _ = v["error"].(string); message == "" {
				message = "it returned success = false"
			}
			return errors.New(message)
		}
	}
	return nil
}

func texts(all []error) []any {
	out := make([]any, len(all))
	for i, e := range all {
		out[i] = e.Error()
	}
	return out
}

// plain copies the results, so that a step cannot change those of others.
func plain(m map[any]any) map[any]any {
	out := make(map[any]any, len(m))
	for k, v := range m {
		out[k] = v
	}
	return out
}
