package values

import (
	"context"
	"errors"
	"fmt"
	"math"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sloth-runner/sloth/modules"
	"github.com/sloth-runner/sloth/state"
	"github.com/sloth-runner/sloth/state/mem"
	"github.com/sloth-runner/sloth/state/statetest"
)

func do(t *testing.T, v *Values, op string, args ...any) any {
	t.Helper()
	out, err := v.Do(t.Context(), op, args)
	if err != nil {
		t.Fatal(err)
	}
	return out[0]
}

func check(t *testing.T, v *Values, want any, op string, args ...any) {
	t.Helper()
	if got := do(t, v, op, args...); !reflect.DeepEqual(got, want) {
		t.Errorf("%s %v: %#v, want %#v", op, args, got, want)
	}
}

func fails(t *testing.T, v *Values, want, op string, args ...any) {
	t.Helper()
	if out, err := v.Do(t.Context(), op, args); err == nil || err.Error() != want {
		t.Errorf("%s: %v, %v\nwant %s", op, out, err, want)
	}
}

func TestValuesKeepTheirKind(t *testing.T) {
	v := New(mem.New(), "s")
	for in, want := range map[any]any{
		"text": "text", "": "", "\xff\x00": "\xff\x00", true: true, false: false, 1: int64(1), uint8(7): int64(7), -2.5: -2.5, 3.0: int64(3),
		int64(1) << 60: float64(1 << 60), math.Inf(1): math.Inf(1),
	} {
		do(t, v, "set", "k", in)
		check(t, v, want, "get", "k")
	}
	table := map[any]any{int64(1): "a", "b": []any{true, map[string]any{"c": 1.5}}, 2.5: false}
	do(t, v, "set", "k", table)
	check(t, v, table, "get", "k")
	do(t, v, "set", "k", map[string]any{})
	check(t, v, []any{}, "get", "k")
}

func TestKeysAndLives(t *testing.T) {
	v := New(mem.New(), "a/b")
	check(t, v, nil, "get", "k")
	check(t, v, "or this", "get", "k", "or this")
	check(t, v, false, "exists", "k")
	check(t, v, nil, "get_ttl", "k")
	check(t, v, false, "set_ttl", "k", 5)
	check(t, v, true, "set", "k", false)
	check(t, v, true, "exists", "k")
	check(t, v, false, "get", "k", "not this")
	check(t, v, int64(-1), "get_ttl", "k")
	check(t, v, true, "set_ttl", "k", 100)
	if left := do(t, v, "get_ttl", "k").(float64); left <= 99 || left > 100 {
		t.Errorf("%v seconds left of 100", left)
	}
	do(t, v, "set", "n", 1, 3600)
	do(t, v, "increment", "n")
	if left, ok := do(t, v, "get_ttl", "n").(float64); !ok || left < 3590 {
		t.Errorf("an increment made the time to live %v", left)
	}
	do(t, v, "set", "n", 1)
	check(t, v, int64(-1), "get_ttl", "n")
	check(t, v, true, "delete", "k")
	check(t, v, false, "delete", "k")
	do(t, v, "set", "n", nil)
	check(t, v, false, "exists", "n")
	do(t, v, "set", "soon", "gone", 0.02)
	waitFor(t, func() bool { return do(t, v, "get", "soon") == nil })
}

func waitFor(t *testing.T, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("still not after 10 s")
		}
	}
}

func TestPatterns(t *testing.T) {
	v := New(mem.New(), "")
	other := New(v.store, "other")
	do(t, other, "set", "web/a", 1)
	all := []any{"db", "web*", "web/01/pid", "web/1", "web/2", "wéb"}
	for _, k := range all {
		do(t, v, "set", k, 1)
	}
	for pattern, want := range map[string][]any{
		"*": all, "web/*": {"web/01/pid", "web/1", "web/2"}, "web/?": {"web/1", "web/2"}, "web/[2-9]": {"web/2"}, "web/[!2]": {"web/1"},
		`web\*`: {"web*"}, "*pid": {"web/01/pid"}, "w?b": {"wéb"}, "web": {}, "db": {"db"}, "": {},
	} {
		check(t, v, want, "keys", pattern)
	}
	check(t, v, all, "keys")
	fails(t, v, `state.keys: the pattern "web/[" is incomplete: a [ needs its ], a backslash something after it`, "keys", "web/[")
	check(t, v, int64(3), "clear", "web/*")
	check(t, v, []any{"db", "web*", "wéb"}, "keys")
	s := do(t, v, "stats").(map[string]any)
	if s["keys"] != int64(3) || s["bytes"] != int64(3*9) || s["locks"] != int64(0) {
		t.Errorf("%v", s)
	}
	check(t, other, []any{"web/a"}, "keys")
}

func TestNumbersTextAndLists(t *testing.T) {
	v := New(mem.New(), "")
	check(t, v, int64(1), "increment", "n")
	check(t, v, int64(11), "increment", "n", 10)
	check(t, v, 11.5, "increment", "n", 0.5)
	check(t, v, int64(11), "decrement", "n", 0.5)
	check(t, v, int64(10), "decrement", "n")
	check(t, v, int64(3), "append", "t", "abc")
	check(t, v, int64(5), "append", "t", 42)
	check(t, v, "abc42", "get", "t")
	check(t, v, int64(0), "list_length", "l")
	check(t, v, nil, "list_pop", "l")
	check(t, v, int64(1), "list_push", "l", "a")
	check(t, v, int64(2), "list_push", "l", map[string]any{"b": 1})
	check(t, v, int64(3), "append", "l", false)
	check(t, v, int64(3), "list_length", "l")
	check(t, v, false, "list_pop", "l")
	check(t, v, map[string]any{"b": int64(1)}, "list_pop", "l")
	check(t, v, "a", "list_pop", "l")
	check(t, v, []any{}, "get", "l")
	fails(t, v, `state.increment: "t" is text, not a number`, "increment", "t")
	fails(t, v, `state.list_push: "t" is text, not a list`, "list_push", "t", 1)
	fails(t, v, `state.append: "n" is a number, neither text nor a list`, "append", "n", "x")
	fails(t, v, `state.append: a table cannot be appended to text; use list_push`, "append", "t", map[string]any{"a": 1})
}

func TestCompareSwap(t *testing.T) {
	v := New(mem.New(), "")
	check(t, v, false, "compare_swap", "k", "deploying", "deployed")
	check(t, v, true, "compare_swap", "k", nil, map[string]any{"a": []any{1, 2}})
	check(t, v, false, "compare_swap", "k", map[string]any{"a": []any{2, 1}}, 1)
	check(t, v, true, "compare_swap", "k", map[string]any{"a": []any{1.0, uint(2)}}, []any{})
	check(t, v, true, "compare_swap", "k", map[string]any{}, nil)
	check(t, v, false, "exists", "k")
}

func TestBadArguments(t *testing.T) {
	v := New(mem.New(), "")
	long := strings.Repeat("k", 513)
	fails(t, v, `state has no operation "drop_all"`, "drop_all")
	fails(t, v, "state.set: 9 arguments are too many", "set", 1, 2, 3, 4, 5, 6, 7, 8, 9)
	fails(t, v, "state.set: the key must be text, not number", "set", int64(1), 2)
	fails(t, v, "state.get: the key must be text, not nil", "get")
	fails(t, v, "state.get: the key is empty", "get", "")
	fails(t, v, `state.get: the key "a\x00b" holds a zero byte`, "get", "a\x00b")
	fails(t, v, fmt.Sprintf(`state.set: the key "%s…" has 513 bytes, which is over the limit of 512`, long[:60]), "set", long, 1)
	fails(t, v, `state.set: the value of "k" has 1048582 bytes, which is over the limit of 1048576`, "set", "k", strings.Repeat("x", 1<<20+1))
	fails(t, v, "state.set: the value.password is a secret, and state keeps everything in plain text; keep it with sloth secret set, and read it with secret(NAME)", "set", "k", map[string]any{"password": modules.NewSecret("x")})
	fails(t, v, "state.set: the value[2] is a function; state keeps text, numbers, booleans and tables of those", "set", "k", []any{1, modules.Callback(nil)})
	fails(t, v, "state.set: the value is not a number (NaN)", "set", "k", math.NaN())
	fails(t, v, "state.set: the ttl: a time is from 0 to 1000000000 seconds", "set", "k", 1, -1)
	fails(t, v, "state.set: the ttl must be a number, not text", "set", "k", 1, "soon")
	fails(t, v, "state.increment: the amount must be a number, not table", "increment", "k", []any{})
	deep := any(1)
	for range 200 {
		deep = []any{deep}
	}
	if _, err := v.Do(t.Context(), "set", []any{"k", deep}); err == nil || !strings.HasSuffix(err.Error(), "is nested deeper than 128 tables") {
		t.Errorf("%v", err)
	}
	check(t, v, []any{}, "keys")
}

func TestALongListMeetsTheLimit(t *testing.T) {
	v := New(mem.New(), "")
	var err error
	for i := 0; i < 20 && err == nil; i++ {
		_, err = v.Do(t.Context(), "list_push", []any{"log", strings.Repeat("x", 100<<10)})
	}
	var size *state.SizeError
	if !errors.As(err, &size) {
		t.Fatalf("%v", err)
	}
	check(t, v, int64(10), "list_length", "log")
}

func TestGarbageInTheStore(t *testing.T) {
	v := New(mem.New(), "")
	if _, err := v.store.Put(t.Context(), v.prefix+"k", []byte{0xc1}, 0, 0); err != nil {
		t.Fatal(err)
	}
	fails(t, v, `state.get: the stored value of "k" cannot be read: a value of kind 0xc1, which is not spoken here`, "get", "k")
}

func TestNoUpdateIsLost(t *testing.T) {
	v := New(mem.New(), "")
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 50 {
				for _, op := range []string{"increment", "list_push"} {
					if _, err := v.Do(t.Context(), op, []any{op, 1}); err != nil {
						t.Error(err)
						return
					}
				}
			}
		})
	}
	wg.Wait()
	check(t, v, int64(400), "get", "increment")
	check(t, v, int64(400), "list_length", "list_push")
}

func TestPlanThrowsItsWritesAway(t *testing.T) {
	ctx := context.Background()
	v := New(mem.New(), "s")
	for _, k := range []string{"a", "b", "c"} {
		do(t, v, "set", k, k)
	}
	do(t, v, "lock", "l")
	defer v.Close(ctx)
	p := Plan(v)
	defer p.Close(ctx)
	check(t, p, "a", "get", "a")
	do(t, p, "set", "a", "planned")
	do(t, p, "delete", "b")
	do(t, p, "set", "d", "new")
	check(t, p, int64(1), "increment", "n")
	check(t, p, "planned", "get", "a")
	check(t, p, []any{"a", "c", "d", "n"}, "keys")
	check(t, p, true, "lock", "l", 0)
	check(t, p, int64(4), "clear", "*")
	check(t, p, []any{}, "keys")
	check(t, v, []any{"a", "b", "c"}, "keys")
	check(t, v, "a", "get", "a")
}

// TestLayerContract holds the layer of a plan to what every store does.
func TestLayerContract(t *testing.T) {
	statetest.Run(t, statetest.Kind{Open: func(*testing.T, string) state.Store {
		return newLayer(mem.New(), "lock/")
	}})
}
