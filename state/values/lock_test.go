package values

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sloth-runner/sloth/state/mem"
)

func TestLockExcludes(t *testing.T) {
	store := mem.New()
	var inside, most atomic.Int32
	var wg sync.WaitGroup
	for range 3 {
		v := New(store, "s") // as another process has it
		wg.Go(func() {
			for range 5 {
				if _, err := v.Do(t.Context(), "lock", []any{"l"}); err != nil {
					t.Error(err)
					return
				}
				most.Store(max(most.Load(), inside.Add(1)))
				inside.Add(-1)
				if out, err := v.Do(t.Context(), "unlock", []any{"l"}); err != nil || out[0] != true {
					t.Errorf("unlock: %v, %v", out, err)
				}
			}
			if err := v.Close(context.Background()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if most.Load() != 1 {
		t.Errorf("%d at once inside of the lock", most.Load())
	}
}

func TestLocksHaveOwners(t *testing.T) {
	ctx := context.Background()
	store := mem.New()
	one, two := New(store, ""), New(store, "")
	one.Who = "apply site.sloth, pid 7"
	defer one.Close(ctx)
	defer two.Close(ctx)
	check(t, one, true, "try_lock", "l")
	check(t, one, false, "try_lock", "l")
	check(t, two, false, "try_lock", "l")
	check(t, two, false, "unlock", "l")
	_, err := two.Do(t.Context(), "lock", []any{"l", 0.05})
	var locked *LockedError
	if !errors.As(err, &locked) || !strings.HasPrefix(err.Error(), `state.lock: the lock "l" is held by apply site.sloth, pid 7 since `) {
		t.Errorf("%v", err)
	}
	check(t, one, true, "unlock", "l")
	check(t, one, false, "unlock", "l")
	check(t, two, true, "lock", "l", 0)
	if err := two.Close(ctx); err != nil {
		t.Fatal(err)
	}
	check(t, one, true, "try_lock", "l")
}

func TestLeases(t *testing.T) {
	ctx := context.Background()
	v := New(mem.New(), "")
	defer v.Close(ctx)
	check(t, v, true, "lock", "l", 0, "token", 0.05)
	check(t, v, true, "lock", "l", 0, "token", 0.05) // a repeated call
	check(t, v, false, "try_lock", "l", "other", 5)
	check(t, v, true, "renew", "l", "token", 0.3)
	check(t, v, false, "renew", "l", "other", 5)
	start := time.Now()
	check(t, v, true, "lock", "l", 5, "other", 5) // when the lease ends, not before
	if waited := time.Since(start); waited < 200*time.Millisecond || waited > 1300*time.Millisecond {
		t.Errorf("a lease of 300 ms was waited for %s", waited)
	}
	check(t, v, false, "renew", "l", "token", 5) // lost, and not taken back
	check(t, v, false, "unlock", "l", "token")
	check(t, v, true, "unlock", "l", "other")
}

func TestWaitingForALockEnds(t *testing.T) {
	v := New(mem.New(), "")
	defer v.Close(context.Background())
	do(t, v, "lock", "l")
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := v.Do(ctx, "lock", []any{"l"}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
	// Giving it back wakes who waits in the same process.
	got := make(chan error, 1)
	go func() {
		_, err := v.Do(t.Context(), "lock", []any{"l"})
		got <- err
	}()
	do(t, v, "unlock", "l")
	select {
	case err := <-got:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(5 * time.Second):
		t.Error("nobody got the lock")
	}
}

func TestHeldLocksAreRenewed(t *testing.T) {
	v := New(mem.New(), "")
	defer v.Close(context.Background())
	do(t, v, "lock", "l")
	before, err := v.store.Get(t.Context(), v.locks+"l")
	if err != nil {
		t.Fatal(err)
	}
	v.renewOnce(t.Context())
	after, err := v.store.Get(t.Context(), v.locks+"l")
	if err != nil || !after.Expires.After(before.Expires) {
		t.Errorf("%s became %s, %v", before.Expires, after.Expires, err)
	}
	if err := v.store.Delete(t.Context(), v.locks+"l", after.Revision); err != nil {
		t.Fatal(err)
	}
	v.renewOnce(t.Context())
	if v.heldToken("l") != "" {
		t.Error("a lost lock counts as held")
	}
}
