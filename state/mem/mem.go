// Package mem is a store in this process's memory. It is the reference for
// every other kind, and the layer of a plan whose writes are thrown away.
package mem

import (
	"context"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sloth-runner/sloth/state"
)

// Store is a state.Store in memory.
type Store struct {
	mu      sync.Mutex
	entries map[string]state.Entry
	last    state.Revision
	closed  bool
	changed chan struct{} // closed by the next write, or Close
}

var _ state.Store = (*Store)(nil)

// New returns an empty store.
func New() *Store {
	return &Store{entries: map[string]state.Entry{}, changed: make(chan struct{})}
}

// enter takes the lock if the store can be used.
func (s *Store) enter(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return state.ErrClosed
	}
	return nil
}

// live returns the entry unless it has expired.
func (s *Store) live(key string) (state.Entry, bool) {
	e, ok := s.entries[key]
	if ok && !e.Expires.IsZero() && !time.Now().Before(e.Expires) {
		delete(s.entries, key)
		return state.Entry{}, false
	}
	return e, ok
}

// Get returns the entry of key.
func (s *Store) Get(ctx context.Context, key string) (state.Entry, error) {
	if err := state.CheckSize(key, nil); err != nil {
		return state.Entry{}, err
	}
	if err := s.enter(ctx); err != nil {
		return state.Entry{}, err
	}
	defer s.mu.Unlock()
	e, ok := s.live(key)
	if !ok {
		return state.Entry{}, state.ErrNotFound
	}
	return handOut(e), nil
}

// handOut gives the caller bytes of its own.
func handOut(e state.Entry) state.Entry {
	e.Value = append([]byte{}, e.Value...)
	return e
}

// Put writes value if the key is at ifRevision.
func (s *Store) Put(ctx context.Context, key string, value []byte, ttl time.Duration, ifRevision state.Revision) (state.Revision, error) {
	if err := state.CheckSize(key, value); err != nil {
		return 0, err
	}
	return s.write(ctx, state.Op{Key: key, Value: value, TTL: ttl, If: ifRevision})
}

// Delete removes key if it is at ifRevision.
func (s *Store) Delete(ctx context.Context, key string, ifRevision state.Revision) error {
	if err := state.CheckSize(key, nil); err != nil {
		return err
	}
	_, err := s.write(ctx, state.Op{Kind: state.OpDelete, Key: key, If: ifRevision})
	return err
}

// Commit makes all of ops or none.
func (s *Store) Commit(ctx context.Context, ops []state.Op) (state.Revision, error) {
	if err := state.CheckOps(ops); err != nil {
		return 0, err
	}
	return s.write(ctx, ops...)
}

func (s *Store) write(ctx context.Context, ops ...state.Op) (state.Revision, error) {
	if err := s.enter(ctx); err != nil {
		return 0, err
	}
	defer s.mu.Unlock()
	for _, o := range ops {
		if e, _ := s.live(o.Key); o.If != state.Any && o.If != e.Revision {
			return 0, state.ErrConflict
		}
	}
	s.last++
	r := state.Revision(0)
	for _, o := range ops {
		switch o.Kind {
		case state.OpPut:
			e := handOut(state.Entry{Key: o.Key, Value: o.Value, Revision: s.last})
			if o.TTL > 0 {
				e.Expires = time.Now().Add(o.TTL)
			}
			s.entries[o.Key], r = e, s.last
		case state.OpDelete:
			delete(s.entries, o.Key)
		}
	}
	s.wake()
	return r, nil
}

func (s *Store) wake() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// Watch yields what is under prefix, and then what changes.
func (s *Store) Watch(ctx context.Context, prefix string) iter.Seq2[state.Event, error] {
	// What changes after this channel was taken is never missed.
	var changed chan struct{}
	list := func(yield func(state.Entry, error) bool) {
		s.mu.Lock()
		changed = s.changed
		s.mu.Unlock()
		s.List(ctx, prefix)(yield)
	}
	return state.WatchLists(ctx, list, func(ctx context.Context, expiry time.Time) error {
		return state.AwaitChange(ctx, changed, expiry)
	})
}

// List yields the entries under prefix as they were when it began.
func (s *Store) List(ctx context.Context, prefix string) iter.Seq2[state.Entry, error] {
	return func(yield func(state.Entry, error) bool) {
		found, err := s.under(ctx, prefix)
		if err != nil {
			yield(state.Entry{}, err)
			return
		}
		for _, e := range found {
			if err := ctx.Err(); err != nil {
				yield(state.Entry{}, err)
				return
			}
			if !yield(e, nil) {
				return
			}
		}
	}
}

func (s *Store) under(ctx context.Context, prefix string) ([]state.Entry, error) {
	if err := s.enter(ctx); err != nil {
		return nil, err
	}
	defer s.mu.Unlock()
	var found []state.Entry
	for _, key := range slices.Sorted(maps.Keys(s.entries)) {
		if e, ok := s.live(key); ok && strings.HasPrefix(key, prefix) {
			found = append(found, handOut(e))
		}
	}
	return found, nil
}

// Close forgets everything.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed, s.entries = true, nil
	s.wake()
	return nil
}
