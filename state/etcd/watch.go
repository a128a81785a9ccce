package etcd

import (
	"context"
	"errors"
	"iter"
	"maps"
	"slices"
	"time"

	client "go.etcd.io/etcd/client/v3"

	"github.com/sloth-runner/sloth/state"
)

// Watch yields what is under prefix, and then what changes.
func (s *Store) Watch(ctx context.Context, prefix string) iter.Seq2[state.Event, error] {
	return func(yield func(state.Event, error) bool) {
		w := &watch{store: s, prefix: prefix, known: map[string]known{}, yield: yield}
		// A watch that breaks or falls behind begins again with a list.
		for !w.ended {
			at, err := w.list(ctx)
			if err == nil && !w.ended {
				err = w.follow(ctx, at+1)
			}
			switch {
			case w.ended:
				return
			case ctx.Err() != nil:
				err = ctx.Err()
			case s.isClosed():
				err = state.ErrClosed
			}
			if err != nil {
				yield(state.Event{}, err)
				return
			}
		}
	}
}

// watch remembers what was shown.
type watch struct {
	store  *Store
	prefix string
	known  map[string]known
	synced bool
	ended  bool // nobody wants more
	yield  func(state.Event, error) bool
}

type known struct {
	revision state.Revision
	expires  time.Time // zero where the cluster decides
}

func (w *watch) show(e state.Event) bool {
	w.ended = !w.yield(e, nil)
	return !w.ended
}

// put shows an entry unless it was shown.
func (w *watch) put(e stored) bool {
	k := known{revision: e.Revision}
	if e.how == byClock {
		k.expires = e.Expires
	}
	was, ok := w.known[e.Key]
	w.known[e.Key] = k
	return ok && was.revision == e.Revision || w.show(state.Event{Entry: e.Entry})
}

// gone shows that an entry that was shown is no more.
func (w *watch) gone(key string) bool {
	if _, ok := w.known[key]; !ok {
		return true
	}
	delete(w.known, key)
	return w.show(state.Event{Entry: state.Entry{Key: key}, Deleted: true})
}

func (w *watch) list(ctx context.Context) (at int64, err error) {
	there := map[string]bool{}
	at, err = w.store.list(ctx, w.prefix, func(e stored) error {
		there[e.Key] = true
		if !w.put(e) {
			return errEnough
		}
		return nil
	})
	if errors.Is(err, errEnough) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	for _, key := range slices.Sorted(maps.Keys(w.known)) {
		if !there[key] && !w.gone(key) {
			return 0, nil
		}
	}
	if !w.synced {
		w.synced = true
		w.show(state.Event{Synced: true})
	}
	return at, nil
}

// follow shows what happens from the revision from on, until the cluster ends
// it or ctx does.
func (w *watch) follow(ctx context.Context, from int64) error {
	c, err := w.store.connected(ctx)
	if err != nil {
		return err
	}
	inner, cancel := context.WithCancel(client.WithRequireLeader(ctx))
	defer cancel()
	events := c.Watch(inner, w.store.keys+w.prefix, client.WithPrefix(), client.WithRev(from))
	for {
		var at <-chan time.Time
		if next := w.nextExpiry(); !next.IsZero() {
			at = time.After(time.Until(next))
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-at:
			if !w.expire() {
				return nil
			}
		case r, ok := <-events:
			if !ok || r.Err() != nil {
				return nil
			}
			for _, e := range r.Events {
				if err := w.apply(e); err != nil || w.ended {
					return err
				}
			}
		}
	}
}

func (w *watch) apply(e *client.Event) error {
	if e.Type == client.EventTypeDelete {
		w.gone(string(e.Kv.Key[len(w.store.keys):]))
		return nil
	}
	s, err := w.store.unpack(e.Kv)
	if err == nil {
		w.put(s)
	}
	return err
}

func (w *watch) nextExpiry() (first time.Time) {
	for _, k := range w.known {
		if !k.expires.IsZero() && (first.IsZero() || k.expires.Before(first)) {
			first = k.expires
		}
	}
	return first
}

func (w *watch) expire() bool {
	now := time.Now()
	for _, key := range slices.Sorted(maps.Keys(w.known)) {
		if k := w.known[key]; !k.expires.IsZero() && !now.Before(k.expires) && !w.gone(key) {
			return false
		}
	}
	return true
}
