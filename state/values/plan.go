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
	p := New(newLayer(v.store, v.locks), v.stack)
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
	changed chan struct{} // closed by the next write, or Close
}

func newLayer(base state.Store, hidden string) *layer {
	return &layer{base: base, hidden: hidden, written: map[string]state.Entry{}, last: 1 << 62, changed: make(chan struct{})}
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

// write makes all of ops or none.
func (l *layer) write(ctx context.Context, ops ...state.Op) (state.Revision, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, o := range ops {
		is, err := l.at(ctx, o.Key)
		if err != nil && !errors.Is(err, state.ErrNotFound) {
			return 0, err
		}
		if o.If != state.Any && o.If != is.Revision {
			return 0, state.ErrConflict
		}
	}
	l.last++
	r := state.Revision(0)
	for _, o := range ops {
		switch o.Kind {
		case state.OpPut:
			e := state.Entry{Key: o.Key, Value: append([]byte{}, o.Value...), Revision: l.last}
			if o.TTL > 0 {
				e.Expires = time.Now().Add(o.TTL)
			}
			l.written[o.Key], r = e, l.last
		case state.OpDelete:
			l.written[o.Key] = state.Entry{Key: o.Key}
		}
	}
	l.wake()
	return r, nil
}

// wake tells those who watch. The caller holds mu.
func (l *layer) wake() {
	close(l.changed)
	l.changed = make(chan struct{})
}

func (l *layer) Put(ctx context.Context, key string, value []byte, ttl time.Duration, ifRevision state.Revision) (state.Revision, error) {
	if err := state.CheckSize(key, value); err != nil {
		return 0, err
	}
	return l.write(ctx, state.Op{Key: key, Value: value, TTL: ttl, If: ifRevision})
}

func (l *layer) Delete(ctx context.Context, key string, ifRevision state.Revision) error {
	if err := state.CheckSize(key, nil); err != nil {
		return err
	}
	_, err := l.write(ctx, state.Op{Kind: state.OpDelete, Key: key, If: ifRevision})
	return err
}

func (l *layer) Commit(ctx context.Context, ops []state.Op) (state.Revision, error) {
	if err := state.CheckOps(ops); err != nil {
		return 0, err
	}
	return l.write(ctx, ops...)
}

// Watch shows what this plan writes; of what others write meanwhile it shows
// as much as the next change of its own brings along.
func (l *layer) Watch(ctx context.Context, prefix string) iter.Seq2[state.Event, error] {
	var changed chan struct{}
	list := func(yield func(state.Entry, error) bool) {
		l.mu.Lock()
		changed = l.changed
		l.mu.Unlock()
		l.List(ctx, prefix)(yield)
	}
	return state.WatchLists(ctx, list, func(ctx context.Context, expiry time.Time) error {
		return state.AwaitChange(ctx, changed, expiry)
	})
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
	l.wake()
	return nil
}
