package statetest

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sloth-runner/sloth/state"
)

func commit(t *testing.T, s state.Store) {
	ctx := t.Context()
	a := put(t, s, "a", "1", 0, 0)
	b := put(t, s, "b", "1", 0, 0)
	r, err := s.Commit(ctx, []state.Op{
		{Key: "a", Value: []byte("2"), If: a},
		{Kind: state.OpDelete, Key: "b", If: b},
		{Key: "c", If: 0, TTL: time.Hour},
		{Kind: state.OpCheck, Key: "d", If: 0},
		{Kind: state.OpDelete, Key: "never", If: state.Any},
	})
	if err != nil || r <= b {
		t.Fatalf("revision %d after %d, %v", r, b, err)
	}
	if e := want(t, s, "a", "2"); e.Revision != r {
		t.Errorf("revision %d, want %d", e.Revision, r)
	}
	wantAbsent(t, s, "b")
	wantAbsent(t, s, "d")
	if e := want(t, s, "c", ""); e.Revision != r || time.Until(e.Expires) < 59*time.Minute {
		t.Errorf("%+v", e)
	}
	for what, ops := range map[string][]state.Op{
		"an old revision": {{Key: "c", Value: []byte("x"), If: r}, {Key: "a", Value: []byte("x"), If: a}},
		"a check":         {{Key: "c", Value: []byte("x"), If: r}, {Kind: state.OpCheck, Key: "d", If: r}},
		"what is there":   {{Key: "new", Value: []byte("x"), If: 0}, {Key: "c", Value: []byte("x"), If: 0}},
		"a deletion":      {{Key: "new", Value: []byte("x"), If: 0}, {Kind: state.OpDelete, Key: "a", If: a}},
	} {
		if _, err := s.Commit(ctx, ops); !errors.Is(err, state.ErrConflict) {
			t.Errorf("%s: %v; want ErrConflict", what, err)
		}
	}
	want(t, s, "a", "2")
	want(t, s, "c", "")
	wantAbsent(t, s, "new")
	// What has expired is absent.
	put(t, s, "short", "x", 50*time.Millisecond, 0)
	waitFor(t, "expiry", func() bool {
		_, err := s.Get(ctx, "short")
		return errors.Is(err, state.ErrNotFound)
	})
	if _, err := s.Commit(ctx, []state.Op{{Key: "short", Value: []byte("y"), If: 0}, {Key: "e", If: state.Any}}); err != nil {
		t.Error(err)
	}
	want(t, s, "short", "y")
}

func commitRefuses(t *testing.T, s state.Store) {
	many := make([]state.Op, state.MaxOps+1)
	for i := range many {
		many[i] = state.Op{Key: fmt.Sprintf("k%d", i), If: state.Any}
	}
	big := []byte(strings.Repeat("x", state.MaxValue))
	for want, ops := range map[string][]state.Op{
		"a transaction has 0 writes; it takes from 1 to 120":                                     nil,
		"a transaction has 121 writes; it takes from 1 to 120":                                   many,
		`a transaction has the key "a" twice`:                                                    {{Key: "a"}, {Key: "a"}},
		`the transaction that writes "a"… has 2097154 bytes, which is over the limit of 1114112`: {{Key: "a", Value: big}, {Key: "b", Value: big}},
		`the value of "a" has 1048577 bytes, which is over the limit of 1048576`:                 {{Key: "a", Value: append(big, 'x')}},
	} {
		if _, err := s.Commit(t.Context(), ops); err == nil || err.Error() != want {
			t.Errorf("%v; want %s", err, want)
		}
	}
	if got := list(t, s, ""); len(got) != 0 {
		t.Errorf("refusals left %q", got)
	}
	if _, err := s.Commit(t.Context(), many[1:]); err != nil {
		t.Error(err)
	}
	if _, err := s.Commit(t.Context(), []state.Op{{Key: "a", Value: big, If: state.Any}, {Key: "b", Value: big[:60<<10], If: state.Any}}); err != nil {
		t.Errorf("nearly the largest: %v", err)
	}
}

// commitIsWhole moves an amount between two keys; their sum never changes.
func commitIsWhole(t *testing.T, s state.Store) {
	put(t, s, "x", "100", 0, 0)
	put(t, s, "y", "100", 0, 0)
	number := func(key string) (n int, r state.Revision) {
		e, err := s.Get(t.Context(), key)
		if err != nil {
			t.Error(err)
		}
		_, _ = fmt.Sscan(string(e.Value), &n)
		return n, e.Revision
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for moved := 0; moved < 10; {
				x, atX := number("x")
				y, atY := number("y")
				_, err := s.Commit(t.Context(), []state.Op{
					{Key: "x", Value: fmt.Append(nil, x-1), If: atX}, {Key: "y", Value: fmt.Append(nil, y+1), If: atY},
				})
				switch {
				case err == nil:
					moved++
				case !errors.Is(err, state.ErrConflict):
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	want(t, s, "x", "60")
	want(t, s, "y", "140")
}
