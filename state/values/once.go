package values

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sloth-runner/sloth/modules/packed"
	"github.com/sloth-runner/sloth/state"
)

const (
	// KeepReply is how long the reply of a call that is made once is kept. A
	// host that was cut off longer does not come back with it.
	KeepReply = 14 * 24 * time.Hour
	// MaxCall is the length of a call's name in bytes.
	MaxCall = 200
)

// reply is what is kept of a call that was made.
type reply struct {
	Op  string
	Out any
}

// errMade says that another has made the call meanwhile.
var errMade = errors.New("the call was made already")

// DoOnce is Do for a call that may come again because its answer was lost: its
// effect happens once, in one transaction with the reply, and whoever asks
// again gets that reply. call names it within the stack, such as
// "run/step/attempt/number"; it must not be empty. Calls that change nothing
// leave no record and are answered anew; a lock that is taken again under the
// same name is the same lock.
func (v *Values) DoOnce(ctx context.Context, call, op string, args []any) ([]any, error) {
	if err := checkCall(call); err != nil {
		return nil, fmt.Errorf("state.%s: %w", op, err)
	}
	if readOnly[op] {
		return v.Do(ctx, op, args)
	}
	for {
		r, err := v.made(ctx, call)
		switch {
		case err != nil:
			return nil, fmt.Errorf("state.%s: %w", op, err)
		case r == nil:
		case r.Op != op:
			return nil, fmt.Errorf("state.%s: the call %q was state.%s before", op, call, r.Op)
		default:
			return []any{r.Out}, nil
		}
		out, err := v.do(ctx, &arguments{op: op, list: args, call: call})
		// A record tells what happened where a cluster could not.
		if !errors.Is(err, errMade) && !errors.Is(err, state.ErrUnknown) {
			return out, err
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
	}
}

var readOnly = map[string]bool{"get": true, "exists": true, "keys": true, "stats": true, "get_ttl": true, "list_length": true}

func checkCall(call string) error {
	if call == "" || len(call) > MaxCall {
		return fmt.Errorf("the name of a call has %d bytes; it takes from 1 to %d", len(call), MaxCall)
	}
	return checkName("name of the call", call)
}

// made returns the reply of a call, nil where it was not made.
func (v *Values) made(ctx context.Context, call string) (*reply, error) {
	e, err := v.store.Get(ctx, v.calls+call)
	if errors.Is(err, state.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	is, err := decode(e, call)
	if err != nil {
		return nil, err
	}
	m, ok := is.(map[string]any)
	op, isOp := m["op"].(string)
	if !ok || !isOp {
		return nil, fmt.Errorf("the stored reply of the call %q cannot be read", short(call))
	}
	return &reply{Op: op, Out: m["out"]}, nil
}

// write makes writes; together with the record of what is replied to them,
// where a's call is made once.
func (v *Values) write(ctx context.Context, a *arguments, out any, writes ...state.Op) error {
	if a.call == "" {
		return v.commit(ctx, writes)
	}
	data, err := packed.Marshal(map[string]any{"op": a.op, "out": out})
	if err != nil {
		return err
	}
	record := state.Op{Key: v.calls + a.call, Value: data, TTL: KeepReply, If: 0}
	err = v.commit(ctx, append(writes[:len(writes):len(writes)], record))
	if !errors.Is(err, state.ErrConflict) {
		return err
	}
	// Whose conflict was it?
	if _, have := v.store.Get(ctx, record.Key); !errors.Is(have, state.ErrNotFound) {
		return errors.Join(errMade, have)
	}
	return err
}

func (v *Values) commit(ctx context.Context, writes []state.Op) error {
	var err error
	switch w := writes[0]; {
	case len(writes) > 1:
		_, err = v.store.Commit(ctx, writes)
	case w.Kind == state.OpDelete:
		err = v.store.Delete(ctx, w.Key, w.If)
	default:
		_, err = v.store.Put(ctx, w.Key, w.Value, w.TTL, w.If)
	}
	return err
}

// ForgetCalls removes the records of calls whose names begin with prefix, such
// as those of a run that is over and acknowledged, and returns how many there
// were. Others go by themselves after KeepReply.
func (v *Values) ForgetCalls(ctx context.Context, prefix string) (int, error) {
	var gone []state.Op
	for e, err := range v.store.List(ctx, v.calls+prefix) {
		if err != nil {
			return 0, err
		}
		gone = append(gone, state.Op{Kind: state.OpDelete, Key: e.Key, If: state.Any})
	}
	for rest := gone; len(rest) > 0; {
		n := min(len(rest), state.MaxOps)
		if err := v.commit(ctx, rest[:n]); err != nil {
			return 0, err
		}
		rest = rest[n:]
	}
	return len(gone), nil
}
