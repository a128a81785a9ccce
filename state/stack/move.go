package stack

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/sloth-runner/sloth/state"
)

// Rename gives a stack another name, with all that belongs to it. Nobody may
// run it meanwhile: hold both names. One that was cut off is finished by the
// same call: until the last copy is made the old name counts, then the new one.
func (s *Stacks) Rename(ctx context.Context, from, to string) error {
	if err := CheckName(to); err != nil {
		return err
	}
	if _, ok := Folder(from); ok {
		return fmt.Errorf("%q is the stack of a folder and has no other name; make a new one and import what this one exports", from)
	}
	t, at, err := s.get(ctx, from)
	if err != nil {
		return err
	}
	switch other, _, err := s.get(ctx, to); {
	case t.Moved && t.Moving == to:
		return s.leave(ctx, t)
	case t.Moving != "" && (t.Moving != to || t.Moved):
		return fmt.Errorf("the stack %q is being renamed to %q", from, t.Moving)
	case err == nil && other.Coming != from:
		return fmt.Errorf("%q: %w", to, ErrExists)
	case err != nil && !errors.Is(err, ErrNone):
		return err
	}
	if err := s.unused(ctx, to, from); err != nil {
		return err
	}
	write := func(t Stack) state.Op {
		data, _ := json.Marshal(t) // it was read from JSON
		return state.Op{Kind: state.OpPut, Key: recordKey(t.Name), Value: data, If: state.Any}
	}
	fresh := t
	t.Moving = to
	fresh.Name, fresh.Moving, fresh.Coming = to, "", from
	old := write(t)
	old.If = at
	if _, err := s.store.Commit(ctx, []state.Op{old, write(fresh)}); err != nil {
		return err
	}
	if err := s.copyParts(ctx, from, to); err != nil {
		return err
	}
	t.Moved, fresh.Coming = true, ""
	if _, err := s.store.Commit(ctx, []state.Op{write(t), write(fresh)}); err != nil {
		return err
	}
	return s.leave(ctx, t)
}

// unused refuses a name under which a script keeps values already, unless they
// are the copies of a move that was cut off.
func (s *Stacks) unused(ctx context.Context, name, from string) error {
	if t, _, err := s.get(ctx, name); err == nil && t.Coming == from {
		return nil
	}
	for _, prefix := range parts(name) {
		for _, err := range s.store.List(ctx, prefix) {
			if err != nil {
				return err
			}
			return fmt.Errorf("something is kept under %q already; sloth state list --stack %s shows values", name, name)
		}
	}
	return nil
}

func (s *Stacks) copyParts(ctx context.Context, from, to string) error {
	old, fresh := parts(from), parts(to)
	for i := range old {
		var ops []state.Op
		for e, err := range s.store.List(ctx, old[i]) {
			if err != nil {
				return err
			}
			op := state.Op{Kind: state.OpPut, Key: fresh[i] + strings.TrimPrefix(e.Key, old[i]), Value: e.Value, If: state.Any}
			if !e.Expires.IsZero() {
				op.TTL = max(time.Until(e.Expires), time.Millisecond)
			}
			if strings.HasPrefix(e.Key, history) {
				r, err := readRun(e)
				if err != nil {
					return err
				}
				r.Stack = to
				if op.Value, err = json.Marshal(r); err != nil {
					return err
				}
			}
			ops = append(ops, op)
		}
		if err := s.commit(ctx, ops); err != nil {
			return err
		}
	}
	return nil
}

// leave removes what is left under the old name.
func (s *Stacks) leave(ctx context.Context, t Stack) error {
	for _, prefix := range parts(t.Name) {
		if err := s.clear(ctx, prefix); err != nil {
			return err
		}
	}
	return s.store.Delete(ctx, recordKey(t.Name), state.Any)
}
