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
}

var _ state.Store = (*Store)(nil)

// New returns an empty store.
func New() *Store { return &Store{entries: map[string]state.Entry{}} }

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
	if err := s.enter(ctx); err != nil {
		return 0, err
	}
	defer s.mu.Unlock()
	if !s.at(key, ifRevision) {
		return 0, state.ErrConflict
	}
	s.last++
	e := handOut(state.Entry{Key: key, Value: value, Revision: s.last})
	if ttl > 0 {
		e.Expires = time.Now().Add(ttl)
	}
	s.entries[key] = e
	return s.last, nil
}

func (s *Store) at(key string, r state.Revision) bool {
	e, _ := s.live(key)
	return r == state.Any || r == e.Revision
}

// Delete removes key if it is at ifRevision.
func (s *Store) Delete(ctx context.Context, key string, ifRevision state.Revision) error {
	if err := state.CheckSize(key, nil); err != nil {
		return err
	}
	if err := s.enter(ctx); err != nil {
		return err
	}
	defer s.mu.Unlock()
	if !s.at(key, ifRevision) {
		return state.ErrConflict
	}
	delete(s.entries, key)
	return nil
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
	return nil
}
