package statetest

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/sloth-runner/sloth/state"
)

// watcher runs a Watch beside the test.
type watcher struct {
	events chan state.Event
	ended  chan error
}

func startWatch(ctx context.Context, s state.Store, prefix string) *watcher {
	w := &watcher{make(chan state.Event, 100), make(chan error, 1)}
	go func() {
		for e, err := range s.Watch(ctx, prefix) {
			if err != nil {
				w.ended <- err
				return
			}
			w.events <- e
		}
		w.ended <- nil
	}()
	return w
}

func (w *watcher) next(t *testing.T) state.Event {
	t.Helper()
	select {
	case e := <-w.events:
		return e
	case err := <-w.ended:
		t.Fatalf("the watch ended: %v", err)
	case <-time.After(10 * time.Second):
		t.Fatal("no event after 10 s")
	}
	return state.Event{}
}

func (w *watcher) want(t *testing.T, key, value string, r state.Revision) {
	t.Helper()
	if e := w.next(t); e.Key != key || string(e.Value) != value || e.Revision != r || e.Deleted || e.Synced {
		t.Fatalf("%+v; want %s=%s at %d", e, key, value, r)
	}
}

func (w *watcher) wantGone(t *testing.T, key string) {
	t.Helper()
	if e := w.next(t); e.Key != key || !e.Deleted {
		t.Fatalf("%+v; want that %s was deleted", e, key)
	}
}

func watch(t *testing.T, s state.Store) {
	a := put(t, s, "w/a", "1", 0, 0)
	put(t, s, "other", "1", 0, 0)
	b := put(t, s, "w/b", "", time.Hour, 0)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	w := startWatch(ctx, s, "w/")
	w.want(t, "w/a", "1", a)
	w.want(t, "w/b", "", b)
	if e := w.next(t); !e.Synced || e.Key != "" {
		t.Fatalf("%+v; want that all was shown", e)
	}
	put(t, s, "other", "2", 0, state.Any)
	a = put(t, s, "w/a", "2", 0, a)
	w.want(t, "w/a", "2", a)
	if err := s.Delete(ctx, "w/b", b); err != nil {
		t.Fatal(err)
	}
	w.wantGone(t, "w/b")
	start := time.Now()
	c := put(t, s, "w/c", "soon gone", 300*time.Millisecond, 0)
	w.want(t, "w/c", "soon gone", c)
	w.wantGone(t, "w/c")
	if age := time.Since(start); age < 300*time.Millisecond || age > 1300*time.Millisecond {
		t.Errorf("gone after %s, want 300 ms", age)
	}
	r, err := s.Commit(ctx, []state.Op{{Key: "w/x", If: 0}, {Key: "w/y", Value: []byte("y"), If: 0}, {Kind: state.OpDelete, Key: "w/a", If: a}})
	if err != nil {
		t.Fatal(err)
	}
	got := []state.Event{w.next(t), w.next(t), w.next(t)}
	slices.SortFunc(got, func(a, b state.Event) int { return len(b.Key+string(b.Value)) - len(a.Key+string(a.Value)) })
	if got[0].Key != "w/y" || got[0].Revision != r || !slices.ContainsFunc(got, func(e state.Event) bool { return e.Key == "w/a" && e.Deleted }) ||
		!slices.ContainsFunc(got, func(e state.Event) bool { return e.Key == "w/x" && e.Value != nil }) {
		t.Errorf("%+v", got)
	}
}

// watchOthers: what others write through stores of their own is seen too.
func (k Kind) watchOthers(t *testing.T) {
	dir := t.TempDir()
	one, two := k.Open(t, dir), k.Open(t, dir)
	defer one.Close()
	defer two.Close()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	w := startWatch(ctx, one, "")
	if e := w.next(t); !e.Synced {
		t.Fatalf("%+v", e)
	}
	r := put(t, two, "a", "1", 0, 0)
	w.want(t, "a", "1", r)
	if err := two.Delete(t.Context(), "a", r); err != nil {
		t.Fatal(err)
	}
	w.wantGone(t, "a")
}

func watchEnds(t *testing.T, s state.Store) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	w := startWatch(ctx, s, "")
	if e := w.next(t); !e.Synced {
		t.Fatalf("%+v", e)
	}
	cancel()
	if err := w.end(t); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	w = startWatch(t.Context(), s, "")
	w.next(t)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := w.end(t); !errors.Is(err, state.ErrClosed) {
		t.Errorf("closed: %v", err)
	}
}

func (w *watcher) end(t *testing.T) error {
	t.Helper()
	select {
	case err := <-w.ended:
		return err
	case <-time.After(10 * time.Second):
		t.Fatal("the watch does not end")
		return nil
	}
}
