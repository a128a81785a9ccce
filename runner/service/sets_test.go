package service

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sloth-runner/sloth/state/mem"
	"github.com/sloth-runner/sloth/state/values"
)

// kept is a real state that notes what it is asked, and fails when told to.
type kept struct {
	*values.Values
	mu   sync.Mutex
	ops  []string
	fail error
}

func newKept() *kept { return &kept{Values: values.New(mem.New(), "s")} }

func (k *kept) do(ctx context.Context, op string, args []any) ([]any, error) {
	k.mu.Lock()
	err := k.fail
	k.ops = append(k.ops, op)
	k.mu.Unlock()
	if err != nil {
		return nil, err
	}
	return k.Do(ctx, op, args)
}

func (k *kept) asked() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return strings.Join(k.ops, " ")
}

func (k *kept) has(t *testing.T, key string, want any) {
	t.Helper()
	got, err := k.Do(t.Context(), "get", []any{key})
	if err != nil || !reflect.DeepEqual(got, []any{want}) {
		t.Errorf("%s is %v, %v; want %v", key, got, err, want)
	}
}

func setLater(t *testing.T, s *Sets, key string, value any, ttl time.Duration) {
	t.Helper()
	if err := s.SetLater(t.Context(), key, value, ttl); err != nil {
		t.Fatal(err)
	}
}

func answer(t *testing.T, s *Sets, want any, op string, args ...any) {
	t.Helper()
	got, err := s.State(t.Context(), op, args)
	if err != nil || !reflect.DeepEqual(got, []any{want}) {
		t.Errorf("%s %v gave %v, %v; want %v", op, args, got, err, want)
	}
}

func TestSetsAreReadAtOnceAndStoredTogether(t *testing.T) {
	k := newKept()
	s := NewSets(t.Context(), k.do)
	if _, err := k.Do(t.Context(), "set", []any{"gone", 1}); err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		setLater(t, s, fmt.Sprint("k", i%19), i, 0)
	}
	setLater(t, s, "list", []any{"a", map[string]any{"b": true}}, time.Hour)
	setLater(t, s, "gone", nil, 0)
	setLater(t, s, "brief", "x", time.Nanosecond)
	answer(t, s, 19, "get", "k0")
	answer(t, s, true, "exists", "k0")
	answer(t, s, int64(-1), "get_ttl", "k0")
	answer(t, s, int64(2), "list_length", "list")
	answer(t, s, "none", "get", "gone", "none")
	answer(t, s, false, "exists", "gone")
	answer(t, s, nil, "get_ttl", "gone")
	answer(t, s, int64(0), "list_length", "gone")
	answer(t, s, nil, "get", "brief")
	if left, err := s.State(t.Context(), "get_ttl", []any{"list"}); err != nil || left[0].(float64) < 3590 {
		t.Errorf("%v, %v", left, err)
	}
	if k.asked() != "" {
		t.Errorf("asked %q before anything was needed", k.asked())
	}
	answer(t, s, nil, "get", "other")
	for range 2 {
		if err := s.FlushState(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if k.asked() != "get batch" {
		t.Errorf("asked %q", k.asked())
	}
	k.has(t, "k0", int64(19))
	k.has(t, "k18", int64(18))
	k.has(t, "gone", nil)
	k.has(t, "brief", nil)
	if left, err := k.Do(t.Context(), "get_ttl", []any{"list"}); err != nil || left[0].(float64) > 3600 || left[0].(float64) < 3590 {
		t.Errorf("%v, %v", left, err)
	}
}

func TestWhatChangesStateComesBehindTheSetsBeforeIt(t *testing.T) {
	k := newKept()
	s := NewSets(t.Context(), k.do)
	setLater(t, s, "n", 1, 0)
	answer(t, s, int64(3), "increment", "n", 2)
	answer(t, s, int64(3), "get", "n")
	setLater(t, s, "m", 1, 0)
	answer(t, s, []any{"m", "n"}, "keys", "*")
	if k.asked() != "batch increment get batch keys" {
		t.Errorf("asked %q", k.asked())
	}
}

func TestWhatMayBeRefusedIsRefusedWhereItIsSet(t *testing.T) {
	k := newKept()
	s := NewSets(t.Context(), k.do)
	deep := any("x")
	for range 200 {
		deep = []any{deep}
	}
	for name, c := range map[string]struct {
		key   string
		value any
		ttl   time.Duration
	}{
		"no key": {"", 1, 0}, "long key": {strings.Repeat("k", 513), 1, 0}, "zero byte": {"a\x00b", 1, 0},
		"large": {"k", strings.Repeat("x", 2<<20), 0}, "deep": {"k", deep, 0}, "strange": {"k", make(chan int), 0}, "ttl": {"k", 1, -time.Second},
	} {
		if err := s.SetLater(t.Context(), c.key, c.value, c.ttl); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
	setLater(t, s, "large", strings.Repeat("x", 900<<10), 0)
	k.has(t, "large", strings.Repeat("x", 900<<10))
}

func TestManySetsDoNotPileUp(t *testing.T) {
	k := newKept()
	s := NewSets(t.Context(), k.do)
	for i := range 200 {
		setLater(t, s, fmt.Sprint(i), strings.Repeat("x", 60<<10), 0)
	}
	if n := strings.Count(k.asked(), "batch"); n < 11 || n > 12 {
		t.Errorf("%d batches of 12 MB", n)
	}
}

func TestSetsThatWereNotStoredWaitOn(t *testing.T) {
	k := newKept()
	s := NewSets(t.Context(), k.do)
	setLater(t, s, "a", 1, 0)
	setLater(t, s, "b", 1, 0)
	k.fail = errors.New("the disk is full")
	if err := s.FlushState(t.Context()); !errors.Is(err, k.fail) {
		t.Errorf("%v", err)
	}
	if _, err := s.State(t.Context(), "increment", []any{"n"}); !errors.Is(err, k.fail) || k.asked() != "batch batch" {
		t.Errorf("%v after %q", err, k.asked())
	}
	setLater(t, s, "b", 2, 0)
	k.fail = nil
	answer(t, s, 1, "get", "a")
	if err := s.FlushState(t.Context()); err != nil {
		t.Fatal(err)
	}
	k.has(t, "a", int64(1))
	k.has(t, "b", int64(2))
}

func TestALongStepIsSeenMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newKept()
		life, end := context.WithCancel(t.Context())
		s := NewSets(life, k.do)
		for i := range 5 {
			setLater(t, s, "progress", i, 0)
			time.Sleep(2 * maxWait / 7)
		}
		synctest.Wait()
		k.has(t, "progress", int64(4-1))
		if k.asked() != "batch" {
			t.Errorf("asked %q", k.asked())
		}
		time.Sleep(2 * maxWait)
		synctest.Wait()
		k.has(t, "progress", int64(4))
		// Whoever ends the step is told what failed meanwhile.
		k.fail = errors.New("no quorum")
		setLater(t, s, "last", 1, 0)
		time.Sleep(2 * maxWait)
		if err := s.FlushState(t.Context()); !errors.Is(err, k.fail) {
			t.Errorf("%v", err)
		}
		end()
	})
}

func TestGoroutinesOfOneStepSet(t *testing.T) {
	k := newKept()
	s := NewSets(t.Context(), k.do)
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 50 {
				key := fmt.Sprint(g, "/", i)
				if err := s.SetLater(t.Context(), key, i, 0); err != nil {
					t.Error(err)
				}
				if i%10 == 0 {
					if _, err := s.State(t.Context(), "increment", []any{"n"}); err != nil {
						t.Error(err)
					}
				}
				if got, err := s.State(t.Context(), "get", []any{key}); err != nil || fmt.Sprint(got[0]) != fmt.Sprint(i) {
					t.Errorf("%s is %v, %v", key, got, err)
				}
			}
		})
	}
	wg.Wait()
	if err := s.FlushState(t.Context()); err != nil {
		t.Fatal(err)
	}
	k.has(t, "n", int64(40))
	if keys, err := k.Do(t.Context(), "keys", []any{"*"}); err != nil || len(keys[0].([]any)) != 401 {
		t.Errorf("%d keys, %v", len(keys[0].([]any)), err)
	}
}
