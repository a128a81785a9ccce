package values

import (
	"context"
	"errors"
	"reflect"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sloth-runner/sloth/state"
	"github.com/sloth-runner/sloth/state/mem"
)

func TestListAndWatch(t *testing.T) {
	v := New(mem.New(), "s")
	do(t, v, "set", "web/a", 1)
	do(t, v, "set", "web/b", []any{true}, 100)
	do(t, v, "set", "db", "x")
	var got []Item
	for i, err := range v.List(t.Context(), "web/*") {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, i)
	}
	if len(got) != 2 || got[0].Key != "web/a" || got[0].Value != int64(1) || !got[0].Expires.IsZero() || got[1].Expires.IsZero() {
		t.Errorf("%+v", got)
	}
	for _, err := range v.List(t.Context(), "[") {
		if err == nil {
			t.Error("a bad pattern was taken")
		}
	}
	steps := []func(){
		func() { do(t, v, "set", "web/c", "new") },
		func() { do(t, v, "delete", "web/a") },
	}
	var seen []any
	for i, err := range v.Watch(t.Context(), "web/*") {
		if err != nil {
			t.Fatal(err)
		}
		seen = append(seen, []any{i.Key, i.Value, i.Deleted, i.Synced})
		if len(seen) < 3 {
			continue
		}
		if len(steps) == 0 {
			break
		}
		do(t, v, "set", "db", len(seen)) // is not watched
		steps[0]()
		steps = steps[1:]
	}
	want := []any{
		[]any{"web/a", int64(1), false, false}, []any{"web/b", []any{true}, false, false}, []any{"", nil, false, true},
		[]any{"web/c", "new", false, false}, []any{"web/a", nil, true, false},
	}
	if !reflect.DeepEqual(seen, want) {
		t.Errorf("%v\nwant %v", seen, want)
	}
}

func TestLocksAreSeenAndBroken(t *testing.T) {
	ctx := t.Context()
	v := New(mem.New(), "s")
	v.Who = "apply site.sloth, pid 7"
	defer v.Close(context.Background())
	if _, held, err := v.Break(ctx, "l"); held || err != nil {
		t.Errorf("%v, %v", held, err)
	}
	do(t, v, "lock", "l")
	locks, err := v.Locks(ctx)
	if err != nil || len(locks) != 1 || locks[0].Name != "l" || locks[0].Who != v.Who || time.Since(locks[0].Since) > time.Minute || time.Until(locks[0].Expires) > Lease {
		t.Errorf("%+v, %v", locks, err)
	}
	was, held, err := v.Break(ctx, "l")
	if was.Who != v.Who || !held || err != nil {
		t.Errorf("%+v, %v, %v", was, held, err)
	}
	check(t, New(v.store, "s"), true, "lock", "l", 0, "other", 5)
}

func TestWithLock(t *testing.T) {
	ctx := t.Context()
	v := New(mem.New(), "s")
	v.lease = 300 * time.Millisecond
	ours := errors.New("ours")
	err := v.WithLock(ctx, "l", 0, func(inside context.Context) error {
		check(t, v, false, "try_lock", "l", "other", 5)
		// Longer than the lease: it is renewed.
		if err := pause(inside, 2*v.lease); err != nil {
			t.Error(err)
		}
		check(t, v, false, "try_lock", "l", "other", 5)
		return ours
	})
	if !errors.Is(err, ours) {
		t.Errorf("%v", err)
	}
	check(t, v, true, "try_lock", "l", "other", 5)
	var locked *LockedError
	if err := v.WithLock(ctx, "l", 0, nil); !errors.As(err, &locked) {
		t.Errorf("%v", err)
	}
	check(t, v, true, "unlock", "l", "other")

	start := time.Now()
	err = v.WithLock(ctx, "l", 0, func(inside context.Context) error {
		if _, held, err := v.Break(ctx, "l"); !held || err != nil {
			t.Fatal(held, err)
		}
		<-inside.Done()
		return inside.Err()
	})
	var lost *LostError
	if !errors.As(err, &lost) || time.Since(start) > v.lease {
		t.Errorf("%v after %s", err, time.Since(start))
	}
}

// unreachable is a store whose writes fail from some moment on.
type unreachable struct {
	state.Store
	cut atomic.Bool
}

func (u *unreachable) Put(ctx context.Context, key string, value []byte, ttl time.Duration, r state.Revision) (state.Revision, error) {
	if u.cut.Load() {
		return 0, errors.New("no answer")
	}
	return u.Store.Put(ctx, key, value, ttl, r)
}

func TestALockThatCannotBeRenewedIsLostBeforeItEnds(t *testing.T) {
	u := &unreachable{Store: mem.New()}
	v := New(u, "s")
	v.lease = 300 * time.Millisecond
	start := time.Now()
	err := v.WithLock(t.Context(), "l", 0, func(inside context.Context) error {
		u.cut.Store(true)
		<-inside.Done()
		return nil
	})
	var lost *LostError
	if !errors.As(err, &lost) || time.Since(start) > v.lease {
		t.Errorf("%v after %s", err, time.Since(start))
	}
}
