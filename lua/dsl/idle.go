package dsl

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/sloth-runner/sloth/lua/bind"
	"github.com/sloth-runner/sloth/modules"
)

// idle answers a file that is read without effects: what it stores is
// forgotten, and what it asks for is as empty as can be.
type idle struct {
	modules.Services // what there is; may be nil
	dir              string
	called           func(bind.Record)
	secret           func(ctx context.Context, name string) (string, error) // nil: all are empty
	// state answers instead of an empty store; nil: there is none.
	state func(ctx context.Context, op string, args []any) ([]any, error)
}

var errIdle = errors.New("not available while the file is only read")

// onlyReads are the operations that leave the store as it is.
var onlyReads = []string{"get", "exists", "keys", "stats", "list_length", "get_ttl"}

// State answers as the store would, or as one with nothing in it, which accepts
// everything.
func (s *idle) State(ctx context.Context, op string, args []any) ([]any, error) {
	if s.called != nil && !slices.Contains(onlyReads, op) {
		what := ""
		if len(args) > 0 && args[0] != nil {
			what = fmt.Sprint(args[0])
		}
		s.called(bind.Record{Function: "state." + op, Changed: true, Planned: true, Message: what})
	}
	if s.state != nil {
		return s.state(ctx, op, args)
	}
	return emptyState(op, args)
}

func emptyState(op string, args []any) ([]any, error) {
	arg := func(i int, otherwise any) any {
		if i < len(args) && args[i] != nil {
			return args[i]
		}
		return otherwise
	}
	switch op {
	case "get":
		return []any{arg(1, nil)}, nil
	case "exists":
		return []any{false}, nil
	case "keys":
		return []any{[]any{}}, nil
	case "stats":
		return []any{map[string]any{"stack": "", "keys": int64(0), "bytes": int64(0), "expiring": int64(0), "locks": int64(0)}}, nil
	case "list_length":
		return []any{int64(0)}, nil
	case "get_ttl", "list_pop":
		return []any{nil}, nil
	case "clear":
		return []any{int64(0)}, nil
	case "increment":
		return []any{arg(1, int64(1))}, nil
	case "decrement", "append", "list_push":
		return []any{int64(1)}, nil
	}
	return []any{true}, nil
}

func (s *idle) File(ctx context.Context, src string) (modules.File, error) {
	if s.Services == nil {
		return modules.File{}, errIdle
	}
	return s.Services.File(ctx, src)
}

func (s *idle) List(ctx context.Context, dir string) ([]modules.FileEntry, error) {
	if s.Services == nil {
		return nil, errIdle
	}
	return s.Services.List(ctx, dir)
}

func (s *idle) Template(context.Context, string, string, map[string]any) ([]byte, error) {
	return nil, nil
}

// Secret is an effect of nothing, and what functions capture must be right.
func (s *idle) Secret(ctx context.Context, name string) (string, error) {
	if s.secret == nil {
		return "", nil
	}
	return s.secret(ctx, name)
}

func (s *idle) Require(ctx context.Context, name string) ([]byte, string, error) {
	if s.Services == nil {
		return Libraries(s.dir)(ctx, name)
	}
	return s.Services.Require(ctx, name)
}

func (s *idle) RunTask(context.Context, []byte) ([]byte, error) { return nil, errIdle }

func (s *idle) Notify(context.Context, string) error { return nil }

func (s *idle) FlushHandlers(context.Context) error { return nil }

func (s *idle) Inventory(ctx context.Context, what, arg string) (any, error) {
	switch {
	case s.Services != nil:
		return s.Services.Inventory(ctx, what, arg)
	case what == "hosts":
		return []any{}, nil
	}
	return map[string]any{}, nil
}

func (s *idle) SetHostVar(context.Context, string, any) error { return nil }
