package values

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"time"

	"github.com/sloth-runner/sloth/state"
)

// Item is a value with its key, or a change of one.
type Item struct {
	Key      string
	Value    any
	Expires  time.Time // zero: never
	Revision state.Revision
	// Deleted and Synced are those of state.Event.
	Deleted, Synced bool
}

// List yields the values whose keys match a glob pattern, in order.
func (v *Values) List(ctx context.Context, pattern string) iter.Seq2[Item, error] {
	return func(yield func(Item, error) bool) {
		err := v.matching(ctx, pattern, func(key string, e state.Entry) error {
			value, err := decode(e, key)
			if err != nil {
				return err
			}
			if !yield(Item{Key: key, Value: value, Expires: e.Expires, Revision: e.Revision}, nil) {
				return errEnough
			}
			return nil
		})
		if err != nil && !errors.Is(err, errEnough) {
			yield(Item{}, err)
		}
	}
}

var errEnough = errors.New("that is enough")

// Watch yields the values whose keys match, then an item with Synced, then
// what changes, as Watch of a state.Store does.
func (v *Values) Watch(ctx context.Context, pattern string) iter.Seq2[Item, error] {
	return func(yield func(Item, error) bool) {
		g, err := compile(pattern)
		if err != nil {
			yield(Item{}, err)
			return
		}
		for e, err := range v.store.Watch(ctx, v.prefix+literal(pattern)) {
			item := Item{Expires: e.Expires, Revision: e.Revision, Deleted: e.Deleted, Synced: e.Synced}
			if err == nil && !e.Synced {
				item.Key = e.Key[len(v.prefix):]
				if !g.match(item.Key) {
					continue
				}
			}
			if err == nil && !e.Synced && !e.Deleted {
				item.Value, err = decode(e.Entry, item.Key)
			}
			if !yield(item, err) || err != nil {
				return
			}
		}
	}
}

// Lock is a lock that somebody holds.
type Lock struct {
	Name    string
	Who     string    // who holds it, as they say
	Since   time.Time // when it was taken
	Expires time.Time // when it ends unless it is renewed
}

func lockOf(name string, e state.Entry) (Lock, error) {
	is, err := decode(e, name)
	if err != nil {
		return Lock{}, err
	}
	l := Lock{Name: name, Expires: e.Expires}
	held, _ := is.(map[string]any)
	l.Who, _ = held["who"].(string)
	if since, ok := held["since"].(int64); ok {
		l.Since = time.UnixMilli(since)
	}
	return l, nil
}

// Locks returns the locks of the stack that are held, by name.
func (v *Values) Locks(ctx context.Context) ([]Lock, error) {
	var locks []Lock
	for e, err := range v.store.List(ctx, v.locks) {
		if err != nil {
			return nil, err
		}
		l, err := lockOf(e.Key[len(v.locks):], e)
		if err != nil {
			return nil, err
		}
		locks = append(locks, l)
	}
	return locks, nil
}

// Break takes a lock away from whoever holds it, and returns what it was. Its
// holder notices when it renews; until then two may believe to have it.
func (v *Values) Break(ctx context.Context, name string) (was Lock, held bool, err error) {
	for {
		e, err := v.store.Get(ctx, v.locks+name)
		if errors.Is(err, state.ErrNotFound) {
			return Lock{}, false, nil
		}
		if err != nil {
			return Lock{}, false, err
		}
		if was, err = lockOf(name, e); err != nil {
			was = Lock{Name: name} // what cannot be read can be broken all the same
		}
		if err = v.store.Delete(ctx, e.Key, e.Revision); !errors.Is(err, state.ErrConflict) {
			return was, err == nil, err
		}
	}
}

// LostError says that a lock was lost while it was needed.
type LostError struct{ Name string }

func (e *LostError) Error() string {
	return fmt.Sprintf("the lock %q was lost: it was not renewed in time, and somebody else may have it now", e.Name)
}

// Check reports whether an entry of a store can be read, where it is one of
// this package's. Those of others are theirs to judge.
func Check(e state.Entry) error {
	kind, key, _ := strings.Cut(e.Key, "/")
	if kind != "value" && kind != "lock" && kind != "call" {
		return nil
	}
	_, err := decode(e, key)
	return err
}
