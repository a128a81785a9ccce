package saga

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sloth-runner/sloth/modules"
)

// errCut is what undo is told of a saga whose run ended in the middle.
var errCut = errors.New("the run was cut off")

// writeLimit bounds a write of the journal on the way back.
const writeLimit = 30 * time.Second

// journal is what a saga with a name has done so far, in the state of its
// stack, until it is over. A nil journal is that of a saga without a name.
type journal struct {
	services modules.Services
	key      string
	steps    []noted
}

// noted is a step that has begun, and perhaps is done.
type noted struct {
	name  string
	done  bool
	value any
}

// openJournal reads what an earlier run left.
func (r *run) openJournal(ctx context.Context, c modules.Call) (*journal, error) {
	if r.Name == "" || c.Plan || c.Services == nil {
		return nil, nil
	}
	j := &journal{services: c.Services, key: "saga/" + c.Host + "/" + r.Name}
	out, err := c.Services.State(ctx, "get", []any{j.key})
	if err != nil {
		return nil, fmt.Errorf("the journal of the saga cannot be read: %w", err)
	}
	if len(out) == 0 || out[0] == nil {
		return j, nil
	}
	list, ok := out[0].([]any)
	for _, raw := range list {
		m, isMap := raw.(map[string]any)
		n := noted{}
		n.name, ok = m["name"].(string)
		if !isMap || !ok {
			break
		}
		n.done, _ = m["done"].(bool)
		n.value = m["value"]
		j.steps = append(j.steps, n)
	}
	if !ok {
		return nil, fmt.Errorf("the journal of the saga, state %q, cannot be read; look with sloth state get", j.key)
	}
	return j, nil
}

// write keeps the journal, on disk when it returns; an empty one is forgotten.
func (j *journal) write(ctx context.Context) error {
	if j == nil {
		return nil
	}
	list := make([]any, len(j.steps))
	for i, n := range j.steps {
		list[i] = map[string]any{"name": n.name, "done": n.done, "value": n.value}
	}
	op, args := "set", []any{j.key, list}
	if len(list) == 0 {
		op, args = "delete", args[:1]
	}
	if _, err := j.services.State(ctx, op, args); err != nil {
		return fmt.Errorf("the journal of the saga cannot be written: %w", err)
	}
	return nil
}

// begin notes that step s begins, and that the one before it is done.
func (j *journal) begin(ctx context.Context, s step) error {
	if j == nil {
		return nil
	}
	j.steps = append(j.steps, noted{name: s.name})
	return j.write(ctx)
}

// done notes the value of the step that was begun last; it is written together
// with the beginning of the next.
func (j *journal) done(value any) {
	if j != nil {
		last := &j.steps[len(j.steps)-1]
		last.done, last.value = true, value
	}
}

// settle notes which steps are still done when the saga is over, also when the
// task's own time is.
func (j *journal) settle(ctx context.Context, left []noted) error {
	if j == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), writeLimit)
	defer cancel()
	j.steps = left
	return j.write(ctx)
}

// recover undoes what an earlier run left in the middle, or with resume gives
// how many steps of it are done.
func (r *run) recover(ctx context.Context, c modules.Call, j *journal) (done int, err error) {
	if j == nil || len(j.steps) == 0 {
		return 0, nil
	}
	byName := map[string]step{}
	for i, s := range r.steps {
		byName[s.name] = s
		if i < len(j.steps) && j.steps[i].name == s.name && j.steps[i].done && done == i {
			done = i + 1
		}
	}
	for _, n := range j.steps {
		if _, ok := byName[n.name]; !ok {
			return 0, fmt.Errorf("a run was cut off after the step %q of this saga, and there is no such step any more; undo it by hand, then forget it: sloth state delete %q", n.name, j.key)
		}
	}
	if r.Cut == "resume" && done >= len(j.steps)-1 {
		c.Log("warn", fmt.Sprintf("saga: a run of it was cut off; going on after %d of %d steps", done, len(r.steps)), nil)
		return done, nil
	}
	c.Log("warn", "saga: a run of it was cut off; undoing what that did", nil)
	var left []noted
	var all []error
	for i := len(j.steps) - 1; i >= 0; i-- {
		n := j.steps[i]
		if err := r.undoOne(ctx, c, byName[n.name], n.value, errCut); err != nil {
			all, left = append(all, err), append([]noted{n}, left...)
		}
	}
	if err := j.settle(ctx, left); err != nil {
		all = append(all, err)
	}
	if len(all) > 0 {
		return 0, fmt.Errorf("what a run that was cut off did could not be undone: %w", errors.Join(all...))
	}
	return 0, nil
}
