// Package statetest is what every kind of state.Store must do, as one suite.
package statetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sloth-runner/sloth/state"
)

// Kind is one kind of store.
type Kind struct {
	// Open opens the store that belongs to the folder dir, which exists. Two
	// stores of one folder share their content.
	Open func(t *testing.T, dir string) state.Store
	// Durable says that what was acknowledged outlives the process. The suite
	// then runs its test again in child processes, and kills some.
	Durable bool
}

// Run runs the suite. It must be the only thing its test function does.
func Run(t *testing.T, k Kind) {
	if mode := os.Getenv(envMode); mode != "" {
		k.child(t, mode, os.Getenv(envDir))
		return
	}
	for _, c := range []struct {
		name string
		test func(*testing.T, state.Store)
	}{
		{"RoundTrip", roundTrip}, {"Conflicts", conflicts}, {"EmptyIsNotAbsent", emptyIsNotAbsent},
		{"RevisionsAreNeverUsedAgain", revisionsGrow}, {"OrderAndPrefix", orderAndPrefix}, {"LongList", longList},
		{"Expiry", expiry}, {"ExpiryIsGivenUp", expiryGivenUp}, {"Cancelled", cancelled}, {"Sizes", sizes},
		{"NobodyKeepsTheBytes", ownBytes}, {"LostUpdates", lostUpdates}, {"WriteWhileListing", writeWhileListing}, {"Closed", closed},
		{"Commit", commit}, {"CommitRefuses", commitRefuses}, {"CommitIsWhole", commitIsWhole}, {"Watch", watch}, {"WatchEnds", watchEnds},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := k.Open(t, t.TempDir())
			defer s.Close()
			c.test(t, s)
		})
	}
	if k.Durable {
		t.Run("Reopen", k.reopen)
		t.Run("WatchOthers", k.watchOthers)
		t.Run("Processes", k.processes)
		t.Run("Killed", k.killed)
	}
}

func put(t *testing.T, s state.Store, key, value string, ttl time.Duration, at state.Revision) state.Revision {
	t.Helper()
	r, err := s.Put(t.Context(), key, []byte(value), ttl, at)
	if err != nil {
		t.Fatalf("put %s: %v", key, err)
	}
	if r == 0 || r == state.Any {
		t.Fatalf("put %s: revision %d", key, r)
	}
	return r
}

func want(t *testing.T, s state.Store, key, value string) state.Entry {
	t.Helper()
	e, err := s.Get(t.Context(), key)
	if err != nil || string(e.Value) != value || e.Key != key || e.Value == nil {
		t.Fatalf("get %s: %+v, %v; want %q", key, e, err, value)
	}
	return e
}

func wantAbsent(t *testing.T, s state.Store, key string) {
	t.Helper()
	if e, err := s.Get(t.Context(), key); !errors.Is(err, state.ErrNotFound) {
		t.Fatalf("get %s: %+v, %v; want ErrNotFound", key, e, err)
	}
}

func wantConflict(t *testing.T, err error) {
	t.Helper()
	if !errors.Is(err, state.ErrConflict) {
		t.Fatalf("%v; want ErrConflict", err)
	}
}

func list(t *testing.T, s state.Store, prefix string) []string {
	t.Helper()
	keys := []string{}
	for e, err := range s.List(t.Context(), prefix) {
		if err != nil {
			t.Fatalf("list %q: %v", prefix, err)
		}
		keys = append(keys, e.Key)
	}
	return keys
}

func roundTrip(t *testing.T, s state.Store) {
	wantAbsent(t, s, "a")
	every := make([]byte, 256)
	for i := range every {
		every[i] = byte(i)
	}
	r := put(t, s, "a", string(every), 0, state.Any)
	if e := want(t, s, "a", string(every)); e.Revision != r || !e.Expires.IsZero() {
		t.Errorf("%+v; want revision %d and no expiry", e, r)
	}
	key := "käse/\x00\xff!"
	put(t, s, key, "x", 0, 0)
	want(t, s, key, "x")
	if err := s.Delete(t.Context(), "a", r); err != nil {
		t.Fatal(err)
	}
	wantAbsent(t, s, "a")
	if err := s.Delete(t.Context(), "a", state.Any); err != nil {
		t.Errorf("deleting an absent key: %v", err)
	}
}

func conflicts(t *testing.T, s state.Store) {
	ctx := t.Context()
	first := put(t, s, "a", "1", 0, 0)
	_, err := s.Put(ctx, "a", []byte("x"), 0, 0)
	wantConflict(t, err)
	second := put(t, s, "a", "2", 0, first)
	_, err = s.Put(ctx, "a", []byte("x"), 0, first)
	wantConflict(t, err)
	wantConflict(t, s.Delete(ctx, "a", first))
	wantConflict(t, s.Delete(ctx, "a", 0))
	wantConflict(t, s.Delete(ctx, "never", first))
	_, err = s.Put(ctx, "never", []byte("x"), 0, first)
	wantConflict(t, err)
	if err := s.Delete(ctx, "never", 0); err != nil {
		t.Errorf("deleting what is absent, as asked: %v", err)
	}
	want(t, s, "a", "2")
	put(t, s, "a", "3", 0, state.Any)
	if e := want(t, s, "a", "3"); e.Revision <= second {
		t.Errorf("revision %d after %d", e.Revision, second)
	}
}

func emptyIsNotAbsent(t *testing.T, s state.Store) {
	if _, err := s.Put(t.Context(), "a", nil, 0, 0); err != nil {
		t.Fatal(err)
	}
	want(t, s, "a", "")
	_, err := s.Put(t.Context(), "a", nil, 0, 0)
	wantConflict(t, err)
	for e, err := range s.List(t.Context(), "") {
		if err != nil || e.Value == nil {
			t.Errorf("an empty value is listed as %+v, %v", e, err)
		}
	}
}

func revisionsGrow(t *testing.T, s state.Store) {
	last := state.Revision(0)
	for range 3 {
		r := put(t, s, "a", "x", 0, 0)
		if r <= last {
			t.Fatalf("revision %d after %d", r, last)
		}
		last = put(t, s, "a", "y", 0, r)
		if last <= r {
			t.Fatalf("revision %d after %d", last, r)
		}
		if err := s.Delete(t.Context(), "a", last); err != nil {
			t.Fatal(err)
		}
	}
}

func orderAndPrefix(t *testing.T, s state.Store) {
	for _, k := range []string{"b", "a/2", "a/10", "a", "a/\xff", "ab", "a/", "Z", "ä"} {
		put(t, s, k, "v"+k, 0, state.Any)
	}
	for prefix, want := range map[string][]string{
		"":       {"Z", "a", "a/", "a/10", "a/2", "a/\xff", "ab", "b", "ä"},
		"a/":     {"a/", "a/10", "a/2", "a/\xff"},
		"a/1":    {"a/10"},
		"c":      {},
		"a/\xff": {"a/\xff"},
	} {
		if got := list(t, s, prefix); !slices.Equal(got, want) {
			t.Errorf("under %q: %q, want %q", prefix, got, want)
		}
	}
	n := 0
	for e, err := range s.List(t.Context(), "a") {
		if err != nil || string(e.Value) != "v"+e.Key || e.Revision == 0 {
			t.Errorf("%+v, %v", e, err)
		}
		if n++; n == 2 {
			break
		}
	}
	put(t, s, "after", "breaking off", 0, state.Any)
}

// longList is longer than what a store would hold in one piece.
func longList(t *testing.T, s state.Store) {
	const n = 700
	var wg sync.WaitGroup
	for w := range 7 {
		wg.Go(func() {
			for i := w; i < n; i += 7 {
				if _, err := s.Put(t.Context(), fmt.Sprintf("k%04d", i), []byte("v"), 0, 0); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	for i := range 5 {
		put(t, s, fmt.Sprintf("k%04d/big", i*100), strings.Repeat("x", state.MaxValue), 0, 0)
	}
	got := list(t, s, "k")
	if len(got) != n+5 || !slices.IsSorted(got) {
		t.Errorf("%d keys, sorted: %v; want %d", len(got), slices.IsSorted(got), n+5)
	}
}

func expiry(t *testing.T, s state.Store) {
	const ttl = 300 * time.Millisecond
	start := time.Now()
	r := put(t, s, "a", "x", ttl, 0)
	put(t, s, "b", "stays", time.Hour, 0)
	if e, err := s.Get(t.Context(), "a"); err == nil {
		if left := time.Until(e.Expires); left <= 0 || left > ttl {
			t.Errorf("expires in %s, want up to %s", left, ttl)
		}
	} else if time.Since(start) < ttl {
		t.Fatalf("gone after %s: %v", time.Since(start), err)
	}
	for {
		_, err := s.Get(t.Context(), "a")
		age := time.Since(start)
		if errors.Is(err, state.ErrNotFound) {
			if age < ttl {
				t.Fatalf("gone after %s, before its %s", age, ttl)
			}
			break
		}
		if err != nil || age > ttl+time.Second {
			t.Fatalf("still there after %s: %v", age, err)
		}
		time.Sleep(5 * time.Millisecond)
	}
	if got := list(t, s, ""); !slices.Equal(got, []string{"b"}) {
		t.Errorf("listed: %q", got)
	}
	_, err := s.Put(t.Context(), "a", nil, 0, r)
	wantConflict(t, err)
	put(t, s, "a", "again", 0, 0)
	want(t, s, "a", "again")
}

func expiryGivenUp(t *testing.T, s state.Store) {
	const ttl = 200 * time.Millisecond
	r := put(t, s, "a", "x", ttl, 0)
	put(t, s, "b", "marks the time", ttl, 0)
	put(t, s, "a", "y", 0, r)
	waitFor(t, "expiry", func() bool {
		_, err := s.Get(t.Context(), "b")
		return errors.Is(err, state.ErrNotFound)
	})
	if e := want(t, s, "a", "y"); !e.Expires.IsZero() {
		t.Errorf("expires %s", e.Expires)
	}
}

func waitFor(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("no %s after 10 s", what)
		}
	}
}

func cancelled(t *testing.T, s state.Store) {
	put(t, s, "a", "1", 0, 0)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, get := s.Get(ctx, "a")
	_, write := s.Put(ctx, "a", []byte("2"), 0, state.Any)
	var listed error
	for _, err := range s.List(ctx, "") {
		listed = err
	}
	for what, err := range map[string]error{"get": get, "put": write, "delete": s.Delete(ctx, "a", state.Any), "list": listed} {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", what, err)
		}
	}
	want(t, s, "a", "1")

	// In the middle of a list.
	put(t, s, "b", "1", 0, 0)
	ctx, cancel = context.WithCancel(t.Context())
	defer cancel()
	var last error
	n := 0
	for _, err := range s.List(ctx, "") {
		n, last = n+1, err
		cancel()
	}
	if n != 2 || !errors.Is(last, context.Canceled) {
		t.Errorf("%d steps, the last: %v", n, last)
	}
}

func sizes(t *testing.T, s state.Store) {
	big := bytes.Repeat([]byte("0123456789abcdef"), state.MaxValue/16)
	long := strings.Repeat("k", state.MaxKey)
	if _, err := s.Put(t.Context(), long, big, 0, 0); err != nil {
		t.Fatalf("the largest key and value: %v", err)
	}
	want(t, s, long, string(big))
	for _, c := range []struct {
		key   string
		value []byte
		want  string
	}{
		{"big", append(big, 'x'), `the value of "big" has 1048577 bytes, which is over the limit of 1048576`},
		{long + "k", nil, `the key "kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk"… has 1025 bytes, which is over the limit of 1024`},
		{"", nil, "a key is empty; it needs at least one byte"},
	} {
		var size *state.SizeError
		if _, err := s.Put(t.Context(), c.key, c.value, 0, state.Any); !errors.As(err, &size) || err.Error() != c.want {
			t.Errorf("%v; want %s", err, c.want)
		}
	}
	if got := list(t, s, ""); len(got) != 1 {
		t.Errorf("%d keys after refusals", len(got))
	}
}

func ownBytes(t *testing.T, s state.Store) {
	mine := []byte("mine")
	if _, err := s.Put(t.Context(), "a", mine, 0, 0); err != nil {
		t.Fatal(err)
	}
	copy(mine, "evil")
	e := want(t, s, "a", "mine")
	copy(e.Value, "evil")
	for e, err := range s.List(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		copy(e.Value, "evil")
	}
	want(t, s, "a", "mine")
}

func lostUpdates(t *testing.T, s state.Store) {
	const workers, each = 8, 25
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for range each {
				if err := increment(t.Context(), s, "n"); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	want(t, s, "n", fmt.Sprint(workers*each))
}

// increment adds one to a number, by compare and swap.
func increment(ctx context.Context, s state.Store, key string) error {
	for {
		e, err := s.Get(ctx, key)
		n := 0
		switch {
		case err == nil:
			if _, err := fmt.Sscan(string(e.Value), &n); err != nil {
				return err
			}
		case !errors.Is(err, state.ErrNotFound):
			return err
		}
		_, err = s.Put(ctx, key, []byte(fmt.Sprint(n+1)), 0, e.Revision)
		if err == nil || !errors.Is(err, state.ErrConflict) {
			return err
		}
	}
}

// writeWhileListing: a list may miss what is written meanwhile, but it ends,
// shows nothing twice, and shows everything that stayed.
func writeWhileListing(t *testing.T, s state.Store) {
	for i := range 50 {
		put(t, s, fmt.Sprintf("k%02d", i), "old", 0, 0)
	}
	seen := map[string]int{}
	for e, err := range s.List(t.Context(), "k") {
		if err != nil {
			t.Fatal(err)
		}
		seen[e.Key]++
		if len(seen) > 200 {
			t.Fatal("the list does not end")
		}
		put(t, s, e.Key+"+", "new", 0, state.Any)
		if e.Key == "k10" {
			if err := s.Delete(t.Context(), "k40", state.Any); err != nil {
				t.Fatal(err)
			}
		}
	}
	for i := range 50 {
		key := fmt.Sprintf("k%02d", i)
		if seen[key] != 1 && key != "k40" {
			t.Errorf("%s was listed %d times", key, seen[key])
		}
	}
	wantAbsent(t, s, "k40")
	want(t, s, "k49+", "new")
}

func closed(t *testing.T, s state.Store) {
	put(t, s, "a", "1", 0, 0)
	for range 2 {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Get(t.Context(), "a"); !errors.Is(err, state.ErrClosed) {
		t.Errorf("get after close: %v", err)
	}
}
