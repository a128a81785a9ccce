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
	stack  string

	// Who is written into locks for others to read: "apply site.sloth, pid 7".
	// It is set before the first use.
	Who string

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
		store: store, stack: stack, prefix: "value/" + s + "/", locks: "lock/" + s + "/",
		held: map[string]string{}, freed: make(chan struct{}),
	}
}

// Do performs one operation of the state module. Operations and their
// arguments are those of the language; durations are numbers of seconds. What
// it returns are the returns of the Lua function.
func (v *Values) Do(ctx context.Context, op string, args []any) ([]any, error) {
	do, ok := operations[op]
	if !ok {
		return nil, fmt.Errorf("state has no operation %.40q", op)
	}
	if len(args) > 8 {
		return nil, fmt.Errorf("state.%s: %d arguments are too many", op, len(args))
	}
	out, err := do(v, ctx, &arguments{op: op, list: args})
	if err != nil {
		return nil, fmt.Errorf("state.%s: %w", op, err)
	}
	return out, nil
}

type operation func(v *Values, ctx context.Context, a *arguments) ([]any, error)

var operations = map[string]operation{
	"set": (*Values).set, "get": (*Values).get, "delete": (*Values).remove, "exists": (*Values).exists,
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
	if value == nil {
		return []any{true}, v.store.Delete(ctx, v.prefix+key, state.Any)
	}
	data, err := encode(key, value)
	if err != nil {
		return nil, err
	}
	_, err = v.store.Put(ctx, v.prefix+key, data, life, state.Any)
	return []any{true}, err
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
	existed := false
	err := v.change(ctx, key, func(old any) (any, error) {
		existed = old != nil
		return nil, nil
	})
	return []any{existed}, err
}

// errAsItIs ends change without a write.
var errAsItIs = errors.New("nothing to change")

// change replaces the value of key by what fn makes of it, nil being no value,
// as if nobody else was there. fn may be called several times. The time of
// expiry stays.
func (v *Values) change(ctx context.Context, key string, fn func(old any) (any, error)) error {
	for try := 0; ; try++ {
		old, e, err := v.load(ctx, key)
		if err != nil {
			return err
		}
		fresh, err := fn(old)
		switch {
		case errors.Is(err, errAsItIs):
			return nil
		case err != nil:
			return err
		case fresh == nil && old == nil:
			return nil
		case fresh == nil:
			err = v.store.Delete(ctx, v.prefix+key, e.Revision)
		default:
			var data []byte
			if data, err = encode(key, fresh); err != nil {
				return err
			}
			_, err = v.store.Put(ctx, v.prefix+key, data, left(e), e.Revision)
		}
		if !errors.Is(err, state.ErrConflict) {
			return err
		}
		if err := pause(ctx, time.Duration(rand.Int64N(int64(1+min(try, 20))))*time.Millisecond); err != nil {
			return err
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
	swapped := false
	err := v.change(ctx, key, func(is any) (any, error) {
		if swapped = reflect.DeepEqual(is, old); !swapped {
			return nil, errAsItIs
		}
		return fresh, nil
	})
	return []any{swapped}, err
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
	removed := int64(0)
	err := v.matching(ctx, pattern, func(_ string, e state.Entry) error {
		err := v.store.Delete(ctx, e.Key, e.Revision)
		if errors.Is(err, state.ErrConflict) {
			return nil // written meanwhile: what is there now was not asked to go
		}
		removed++
		return err
	})
	return []any{removed}, err
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
		_, err = v.store.Put(ctx, v.prefix+key, e.Value, life, e.Revision)
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
