package values

import (
	"context"
	"errors"
	"iter"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sloth-runner/sloth/state"
)

// Plan returns values that read through to v and keep every write to
// themselves, in memory. Locks of others do not hold up a plan.
func Plan(v *Values) *Values {
	p := New(&layer{base: v.store, hidden: v.locks, written: map[string]state.Entry{}, last: 1 << 62}, v.stack)
	p.Who = v.Who
	return p
}

// layer is a store whose writes stay in memory, over one that is only read.
type layer struct {
	base   state.Store
	hidden string // keys under this prefix are not looked for in base

	mu      sync.Mutex
	written map[string]state.Entry // a nil Value: deleted here
	last    state.Revision         // begins above every revision of base
	closed  bool
}

// at returns the entry of key as it is here. The caller holds mu.
func (l *layer) at(ctx context.Context, key string) (state.Entry, error) {
	if l.closed {
		return state.Entry{}, state.ErrClosed
	}
	e, ok := l.written[key]
	switch {
	case !ok && strings.HasPrefix(key, l.hidden):
		return state.Entry{}, state.ErrNotFound
	case !ok:
		return l.base.Get(ctx, key)
	case e.Value == nil || expired(e):
		return state.Entry{}, state.ErrNotFound
	}
	e.Value = slices.Clone(e.Value)
	return e, nil
}

func expired(e state.Entry) bool { return !e.Expires.IsZero() && !time.Now().Before(e.Expires) }

func (l *layer) Get(ctx context.Context, key string) (state.Entry, error) {
	if err := errors.Join(ctx.Err(), state.CheckSize(key, nil)); err != nil {
		return state.Entry{}, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.at(ctx, key)
}

// write replaces the entry of key if it is at r.
func (l *layer) write(ctx context.Context, fresh state.Entry, r state.Revision) (state.Revision, error) {
	if err := errors.Join(ctx.Err(), state.CheckSize(fresh.Key, fresh.Value)); err != nil {
		return 0, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	is, err := l.at(ctx, fresh.Key)
	if err != nil && !errors.Is(err, state.ErrNotFound) {
		return 0, err
	}
	if r != state.Any && r != is.Revision {
		return 0, state.ErrConflict
	}
	l.last++
	fresh.Revision = l.last
	l.written[fresh.Key] = fresh
	return l.last, nil
}

func (l *layer) Put(ctx context.Context, key string, value []byte, ttl time.Duration, ifRevision state.Revision) (state.Revision, error) {
	e := state.Entry{Key: key, Value: append([]byte{}, value...)}
	if ttl > 0 {
		e.Expires = time.Now().Add(ttl)
	}
	return l.write(ctx, e, ifRevision)
}

func (l *layer) Delete(ctx context.Context, key string, ifRevision state.Revision) error {
	_, err := l.write(ctx, state.Entry{Key: key}, ifRevision)
	return err
}

func (l *layer) List(ctx context.Context, prefix string) iter.Seq2[state.Entry, error] {
	return func(yield func(state.Entry, error) bool) {
		found, err := l.under(ctx, prefix)
		for _, e := range found {
			if err = ctx.Err(); err != nil {
				break
			}
			if !yield(e, nil) {
				return
			}
		}
		if err != nil {
			yield(state.Entry{}, err)
		}
	}
}

func (l *layer) under(ctx context.Context, prefix string) ([]state.Entry, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil, state.ErrClosed
	}
	var found []state.Entry
	for e, err := range l.base.List(ctx, prefix) {
		if err != nil {
			return nil, err
		}
		if _, here := l.written[e.Key]; !here && !strings.HasPrefix(e.Key, l.hidden) {
			found = append(found, e)
		}
	}
	for key, e := range l.written {
		if strings.HasPrefix(key, prefix) && e.Value != nil && !expired(e) {
			e.Value = slices.Clone(e.Value)
			found = append(found, e)
		}
	}
	slices.SortFunc(found, func(a, b state.Entry) int { return strings.Compare(a.Key, b.Key) })
	return found, nil
}

// Close ends the use of the layer. The store below stays open.
func (l *layer) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed, l.written = true, nil
	return nil
}
