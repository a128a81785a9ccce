package values

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sloth-runner/sloth/state"
)

// Set is one write of a Batch.
type Set struct {
	Key   string
	Value any // nil deletes
	TTL   time.Duration
}

// Batch writes all of sets in as few transactions as there can be, nearly
// always one. Of several values for one key the last one stays. Under a call's
// name it happens once, as in DoOnce; without one it is simply made.
func (v *Values) Batch(ctx context.Context, call string, sets []Set) error {
	if err := v.writeAll(ctx, call, sets); err != nil {
		return fmt.Errorf("state.set: %w", err)
	}
	return nil
}

// opBatch is Batch as an operation: what a step sets comes as one list of
// {key, value, seconds to live}.
const (
	opBatch  = "batch"
	maxBatch = 10_000
)

func (v *Values) batch(ctx context.Context, a *arguments) ([]any, error) {
	list, ok := a.at(0).([]any)
	if !ok || len(list) > maxBatch {
		return nil, fmt.Errorf("a batch is a list of up to %d values", maxBatch)
	}
	sets := make([]Set, len(list))
	for i, item := range list {
		fields, _ := item.([]any)
		one := &arguments{list: fields}
		sets[i] = Set{Key: one.name(0, "key"), Value: one.at(1), TTL: ttl(one.seconds(2, "ttl", 0))}
		if one.err != nil {
			return nil, one.err
		}
	}
	return []any{true}, v.writeAll(ctx, a.call, sets)
}

func (v *Values) writeAll(ctx context.Context, call string, sets []Set) error {
	if call != "" {
		if err := checkCall(call + "#00000"); err != nil {
			return err
		}
	}
	writes, err := v.batched(sets)
	if err != nil {
		return err
	}
	for part := 0; len(writes) > 0; part++ {
		n := fits(writes)
		a := &arguments{op: opBatch}
		if call != "" {
			a.call = fmt.Sprintf("%s#%d", call, part)
		}
		if err := v.writePart(ctx, a, writes[:n]); err != nil {
			return err
		}
		writes = writes[n:]
	}
	return nil
}

// batched makes one write of each key.
func (v *Values) batched(sets []Set) ([]state.Op, error) {
	at := map[string]int{}
	var writes []state.Op
	for _, s := range sets {
		a := &arguments{list: []any{s.Key, s.Value}}
		key, value := a.name(0, "key"), a.value(1)
		if a.err != nil {
			return nil, a.err
		}
		w := state.Op{Kind: state.OpDelete, Key: v.prefix + key, If: state.Any}
		if value != nil {
			data, err := encode(key, value)
			if err != nil {
				return nil, err
			}
			w.Kind, w.Value, w.TTL = state.OpPut, data, max(s.TTL, 0)
		}
		if i, ok := at[key]; ok {
			writes[i] = w
			continue
		}
		at[key] = len(writes)
		writes = append(writes, w)
	}
	return writes, nil
}

// recordRoom is what the record of a batch takes at most.
const recordRoom = 2 * state.MaxKey

// fits is how many of writes one transaction takes; one at least.
func fits(writes []state.Op) int {
	size := recordRoom
	for i, w := range writes {
		if size += len(w.Key) + len(w.Value); i > 0 && size > state.MaxCommit || i == state.MaxOps-1 {
			return i
		}
	}
	return len(writes)
}

func (v *Values) writePart(ctx context.Context, a *arguments, writes []state.Op) error {
	for {
		if a.call != "" {
			if r, err := v.made(ctx, a.call); r != nil || err != nil {
				return err
			}
		}
		err := v.write(ctx, a, true, writes...)
		if a.call == "" || !errors.Is(err, errMade) && !errors.Is(err, state.ErrUnknown) {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
}
