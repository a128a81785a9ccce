// Package values gives the entries of a store their meaning for scripts: typed
// values under a stack, atomic operations on them, and locks.
package values

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/url"
	"reflect"
	"strings"
	"sync"
	"time"

	"github.com/sloth-runner/sloth/state"
)

// Values are the values and locks of one stack. Methods may be called from
// several goroutines at once.
type Values struct {
	store  state.Store
	prefix string // of values
	locks  string // prefix of locks
	calls  string // prefix of the replies of calls that are made once
	stack  string

	// Who is written into locks for others to read: "apply site.sloth, pid 7".
	// It is set before the first use.
	Who string

	lease time.Duration // of WithLock; 0: Lease

	mu       sync.Mutex
	held     map[string]string  // locks without a token of the caller's: name -> token
	freed    chan struct{}      // closed when a lock of ours was given back
	stop     context.CancelFunc // ends the renewing; nil while nobody renews
	renewing sync.WaitGroup
}

// New returns the values of a stack, or the global ones where stack is empty.
func New(store state.Store, stack string) *Values {
	s := url.PathEscape(stack)
	return &Values{
		store: store, stack: stack, prefix: "value/" + s + "/", locks: "lock/" + s + "/", calls: "call/" + s + "/",
		held: map[string]string{}, freed: make(chan struct{}),
	}
}

// Do performs one operation of the state module. Operations and their
// arguments are those of the language; durations are numbers of seconds. What
// it returns are the returns of the Lua function.
func (v *Values) Do(ctx context.Context, op string, args []any) ([]any, error) {
	return v.do(ctx, &arguments{op: op, list: args})
}

func (v *Values) do(ctx context.Context, a *arguments) ([]any, error) {
	op, args := a.op, a.list
	do, ok := operations[op]
	if !ok {
		return nil, fmt.Errorf("state has no operation %.40q", op)
	}
	if len(args) > 8 {
		return nil, fmt.Errorf("state.%s: %d arguments are too many", op, len(args))
	}
	out, err := do(v, ctx, a)
	if err != nil {
		if op == opBatch {
			op = "set" // what the script called
		}
		return nil, fmt.Errorf("state.%s: %w", op, err)
	}
	return out, nil
}

type operation func(v *Values, ctx context.Context, a *arguments) ([]any, error)

var operations = map[string]operation{
	"set": (*Values).set, opBatch: (*Values).batch, "get": (*Values).get, "delete": (*Values).remove, "exists": (*Values).exists,
	"keys": (*Values).keys, "clear": (*Values).clear, "stats": (*Values).stats,
	"set_ttl": (*Values).setTTL, "get_ttl": (*Values).getTTL,
	"increment": (*Values).increment, "decrement": (*Values).decrement, "append": (*Values).append,
	"list_push": (*Values).push, "list_pop": (*Values).pop, "list_length": (*Values).length,
	"compare_swap": (*Values).swap,
	"lock":         (*Values).lock, "try_lock": (*Values).tryLock, "unlock": (*Values).unlock, "renew": (*Values).renew,
}

func ttl(seconds float64) time.Duration { return time.Duration(seconds * float64(time.Second)) }

func (v *Values) set(ctx context.Context, a *arguments) ([]any, error) {
	key, value := a.name(0, "key"), a.value(1)
	life := ttl(a.seconds(2, "ttl", 0))
	if a.err != nil {
		return nil, a.err
	}
	write := state.Op{Kind: state.OpDelete, Key: v.prefix + key, If: state.Any}
	if value != nil {
		data, err := encode(key, value)
		if err != nil {
			return nil, err
		}
		write.Kind, write.Value, write.TTL = state.OpPut, data, life
	}
	return []any{true}, v.write(ctx, a, true, write)
}

// load returns nil for a key that does not exist.
func (v *Values) load(ctx context.Context, key string) (any, state.Entry, error) {
	e, err := v.store.Get(ctx, v.prefix+key)
	if errors.Is(err, state.ErrNotFound) {
		return nil, state.Entry{}, nil
	}
	if err != nil {
		return nil, e, err
	}
	value, err := decode(e, key)
	return value, e, err
}

func (v *Values) get(ctx context.Context, a *arguments) ([]any, error) {
	key := a.name(0, "key")
	if a.err != nil {
		return nil, a.err
	}
	value, _, err := v.load(ctx, key)
	if value == nil {
		value = a.at(1)
	}
	return []any{value}, err
}

func (v *Values) exists(ctx context.Context, a *arguments) ([]any, error) {
	key := a.name(0, "key")
	if a.err != nil {
		return nil, a.err
	}
	_, err := v.store.Get(ctx, v.prefix+key)
	if errors.Is(err, state.ErrNotFound) {
		return []any{false}, nil
	}
	return []any{err == nil}, err
}

func (v *Values) remove(ctx context.Context, a *arguments) ([]any, error) {
	key := a.name(0, "key")
	if a.err != nil {
		return nil, a.err
	}
	out, err := v.change(ctx, a, key, func(old any) (fresh, reply any, err error) {
		if old == nil {
			return nil, false, errAsItIs
		}
		return nil, true, nil
	})
	return []any{out}, err
}

// errAsItIs ends change without a write.
var errAsItIs = errors.New("nothing to change")

// change replaces the value of key by what fn makes of it, nil being no value,
// as if nobody else was there, and returns fn's reply. fn may be called several
// times. The time of expiry stays.
func (v *Values) change(ctx context.Context, a *arguments, key string, fn func(old any) (fresh, reply any, err error)) (any, error) {
	for try := 0; ; try++ {
		old, e, err := v.load(ctx, key)
		if err != nil {
			return nil, err
		}
		fresh, reply, err := fn(old)
		switch {
		case errors.Is(err, errAsItIs):
			return reply, nil
		case err != nil:
			return nil, err
		}
		write := state.Op{Kind: state.OpDelete, Key: v.prefix + key, If: e.Revision}
		if fresh != nil {
			data, err := encode(key, fresh)
			if err != nil {
				return nil, err
			}
			write.Kind, write.Value, write.TTL = state.OpPut, data, left(e)
		}
		if err = v.write(ctx, a, reply, write); !errors.Is(err, state.ErrConflict) {
			return reply, err
		}
		if err := pause(ctx, time.Duration(rand.Int64N(int64(1+min(try, 20))))*time.Millisecond); err != nil {
			return nil, err
		}
	}
}

// left is the remaining life of an entry; 0 is for ever.
func left(e state.Entry) time.Duration {
	if e.Expires.IsZero() {
		return 0
	}
	return max(time.Until(e.Expires), time.Nanosecond)
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (v *Values) swap(ctx context.Context, a *arguments) ([]any, error) {
	key, old, fresh := a.name(0, "key"), a.value(1), a.value(2)
	if a.err != nil {
		return nil, a.err
	}
	out, err := v.change(ctx, a, key, func(is any) (any, any, error) {
		switch {
		case !reflect.DeepEqual(is, old):
			return nil, false, errAsItIs
		case is == nil && fresh == nil:
			return nil, true, errAsItIs
		}
		return fresh, true, nil
	})
	return []any{out}, err
}

// literal is what every match of a glob pattern begins with.
func literal(pattern string) string {
	if i := strings.IndexAny(pattern, `*?[\`); i >= 0 {
		return pattern[:i]
	}
	return pattern
}

// matching calls fn with each key that pattern matches. A star matches
// slashes too: keys are no paths.
func (v *Values) matching(ctx context.Context, pattern string, fn func(key string, e state.Entry) error) error {
	g, err := compile(pattern)
	if err != nil {
		return err
	}
	for e, err := range v.store.List(ctx, v.prefix+literal(pattern)) {
		if err != nil {
			return err
		}
		key := e.Key[len(v.prefix):]
		if !g.match(key) {
			continue
		}
		if err := fn(key, e); err != nil {
			return err
		}
	}
	return nil
}

func (v *Values) keys(ctx context.Context, a *arguments) ([]any, error) {
	pattern := a.text(0, "pattern", "*")
	if a.err != nil {
		return nil, a.err
	}
	found := []any{}
	err := v.matching(ctx, pattern, func(key string, _ state.Entry) error {
		found = append(found, key)
		return nil
	})
	return []any{found}, err
}

func (v *Values) clear(ctx context.Context, a *arguments) ([]any, error) {
	pattern := a.text(0, "pattern", "*")
	if a.err != nil {
		return nil, a.err
	}
	for {
		var found []state.Op
		err := v.matching(ctx, pattern, func(_ string, e state.Entry) error {
			found = append(found, state.Op{Kind: state.OpDelete, Key: e.Key, If: e.Revision})
			return nil
		})
		if err != nil || len(found) == 0 {
			return []any{int64(0)}, err
		}
		removed, err := v.clearFound(ctx, a, found)
		if !errors.Is(err, state.ErrConflict) {
			return []any{removed}, err
		}
	}
}

// clearFound removes what was found, the last part of it together with the
// reply. What was written meanwhile stays: it was not asked to go.
func (v *Values) clearFound(ctx context.Context, a *arguments, found []state.Op) (removed int64, err error) {
	last := min(len(found), state.MaxOps-1)
	for _, o := range found[:len(found)-last] {
		err := v.store.Delete(ctx, o.Key, o.If)
		switch {
		case err == nil:
			removed++
		case !errors.Is(err, state.ErrConflict):
			return removed, err
		}
	}
	removed += int64(last)
	return removed, v.write(ctx, a, removed, found[len(found)-last:]...)
}

func (v *Values) stats(ctx context.Context, a *arguments) ([]any, error) {
	var keys, size, expiring, locks int64
	err := v.matching(ctx, "*", func(_ string, e state.Entry) error {
		keys, size = keys+1, size+int64(len(e.Value))
		if !e.Expires.IsZero() {
			expiring++
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for _, err := range v.store.List(ctx, v.locks) {
		if err != nil {
			return nil, err
		}
		locks++
	}
	return []any{map[string]any{"stack": v.stack, "keys": keys, "bytes": size, "expiring": expiring, "locks": locks}}, nil
}

// setTTL gives an existing value a new time to live; 0 is for ever.
func (v *Values) setTTL(ctx context.Context, a *arguments) ([]any, error) {
	key, life := a.name(0, "key"), ttl(a.seconds(1, "ttl", 0))
	if a.err != nil {
		return nil, a.err
	}
	for {
		e, err := v.store.Get(ctx, v.prefix+key)
		if errors.Is(err, state.ErrNotFound) {
			return []any{false}, nil
		}
		if err != nil {
			return nil, err
		}
		err = v.write(ctx, a, true, state.Op{Key: e.Key, Value: e.Value, TTL: life, If: e.Revision})
		if !errors.Is(err, state.ErrConflict) {
			return []any{err == nil}, err
		}
	}
}

// getTTL returns the seconds left, -1 for a value that stays for ever, nil for
// a key that does not exist.
func (v *Values) getTTL(ctx context.Context, a *arguments) ([]any, error) {
	key := a.name(0, "key")
	if a.err != nil {
		return nil, a.err
	}
	e, err := v.store.Get(ctx, v.prefix+key)
	switch {
	case errors.Is(err, state.ErrNotFound):
		return []any{nil}, nil
	case err != nil:
		return nil, err
	case e.Expires.IsZero():
		return []any{int64(-1)}, nil
	}
	return []any{left(e).Seconds()}, nil
}
