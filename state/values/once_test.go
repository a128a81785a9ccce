package values

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sloth-runner/sloth/state"
	"github.com/sloth-runner/sloth/state/mem"
)

// TestDoOnce makes each call twice, as a link that breaks between the effect
// and the answer makes a host do. Between the two somebody else writes.
func TestDoOnce(t *testing.T) {
	for _, c := range []struct {
		op        string
		args      []any
		want      any // of both
		key       string
		meanwhile any // written by somebody else between the two
	}{
		{"increment", []any{"n", 2}, int64(12), "n", 50},
		{"decrement", []any{"n"}, int64(9), "n", 50},
		{"append", []any{"t", "!"}, int64(3), "t", "x"},
		{"list_push", []any{"l", "c"}, int64(3), "l", []any{}},
		{"list_pop", []any{"l"}, "b", "l", []any{"z"}},
		{"set", []any{"n", 1}, true, "n", 50},
		{"set", []any{"n", nil}, true, "n", 50},
		{"delete", []any{"n"}, true, "n", 50},
		{"set_ttl", []any{"n", 100}, true, "n", 50},
		{"compare_swap", []any{"n", 10, 11}, true, "n", 10},
		{"clear", []any{"?"}, int64(3), "n", 50},
	} {
		t.Run(c.op, func(t *testing.T) {
			v := New(mem.New(), "s")
			do(t, v, "set", "n", 10)
			do(t, v, "set", "t", "hi")
			do(t, v, "set", "l", []any{"a", "b"})
			for try := range 2 {
				out, err := v.DoOnce(t.Context(), "run/step/1/7", c.op, c.args)
				if err != nil || !reflect.DeepEqual(out, []any{c.want}) {
					t.Fatalf("call %d: %v, %v; want %v", try+1, out, err, c.want)
				}
				if try == 0 {
					do(t, v, "set", c.key, c.meanwhile)
				}
			}
			// The second call changed nothing.
			if got, _ := normal(c.meanwhile, "", 0); !reflect.DeepEqual(do(t, v, "get", c.key), got) {
				t.Errorf("%s is %v, want %v", c.key, do(t, v, "get", c.key), got)
			}
			if c.op == "set_ttl" {
				check(t, v, int64(-1), "get_ttl", "n")
			}
			// Another call of the same kind does.
			if _, err := v.DoOnce(t.Context(), "run/step/1/8", c.op, c.args); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestDoOnceRefuses(t *testing.T) {
	v := New(mem.New(), "")
	for call, want := range map[string]string{
		"": "state.set: the name of a call has 0 bytes; it takes from 1 to 200", strings.Repeat("c", 201): "state.set: the name of a call has 201 bytes; it takes from 1 to 200",
		"a\x00b": `state.set: the name of the call "a\x00b" holds a zero byte`,
	} {
		if _, err := v.DoOnce(t.Context(), call, "set", []any{"k", 1}); err == nil || err.Error() != want {
			t.Errorf("%v, want %s", err, want)
		}
	}
	if _, err := v.DoOnce(t.Context(), "c", "increment", []any{"k"}); err != nil {
		t.Fatal(err)
	}
	if _, err := v.DoOnce(t.Context(), "c", "set", []any{"k", 1}); err == nil || err.Error() != `state.set: the call "c" was state.increment before` {
		t.Errorf("%v", err)
	}
	// What failed, and what only reads, is asked anew.
	if _, err := v.DoOnce(t.Context(), "d", "append", []any{"k", "x"}); err == nil {
		t.Error("text was appended to a number")
	}
	do(t, v, "set", "k", "text")
	for range 2 {
		if out, err := v.DoOnce(t.Context(), "d", "append", []any{"k", "x"}); err != nil || out[0] != int64(5) {
			t.Errorf("%v, %v", out, err)
		}
	}
	for _, want := range []any{"1", "2"} {
		do(t, v, "set", "k", want)
		if out, err := v.DoOnce(t.Context(), "e", "get", []any{"k"}); err != nil || out[0] != want {
			t.Errorf("%v, %v", out, err)
		}
	}
}

func TestALockIsTakenOnce(t *testing.T) {
	v := New(mem.New(), "")
	defer v.Close(context.Background())
	for range 2 {
		if out, err := v.DoOnce(t.Context(), "c1", "lock", []any{"l", 0}); err != nil || out[0] != true {
			t.Fatalf("%v, %v", out, err)
		}
	}
	if out, err := v.DoOnce(t.Context(), "c2", "try_lock", []any{"l"}); err != nil || out[0] != false {
		t.Errorf("%v, %v", out, err)
	}
	for range 2 {
		if out, err := v.DoOnce(t.Context(), "c3", "unlock", []any{"l"}); err != nil || out[0] != true {
			t.Errorf("%v, %v", out, err)
		}
	}
	check(t, v, true, "try_lock", "l")
}

// flaky loses the answer of every write after it happened.
type flaky struct {
	state.Store
	lost int
}

func (f *flaky) Commit(ctx context.Context, ops []state.Op) (state.Revision, error) {
	r, err := f.Store.Commit(ctx, ops)
	if err == nil {
		f.lost++
		return 0, fmt.Errorf("%w: the node died", state.ErrUnknown)
	}
	return r, err
}

func TestAnOutcomeNobodyKnowsIsLookedUp(t *testing.T) {
	f := &flaky{Store: mem.New()}
	v := New(f, "")
	for i := range 5 {
		if out, err := v.DoOnce(t.Context(), fmt.Sprint(i), "increment", []any{"n"}); err != nil || out[0] != int64(i+1) {
			t.Fatalf("%v, %v", out, err)
		}
	}
	if err := v.Batch(t.Context(), "b", []Set{{Key: "a", Value: 1}, {Key: "b", Value: 2}}); err != nil {
		t.Fatal(err)
	}
	if f.lost != 6 {
		t.Errorf("%d answers were lost", f.lost)
	}
	check(t, v, int64(5), "get", "n")
	check(t, v, int64(2), "get", "b")
}

func TestRepeatedCallsRace(t *testing.T) {
	store := mem.New()
	var wg sync.WaitGroup
	for range 8 {
		v := New(store, "")
		wg.Go(func() {
			for i := range 50 {
				out, err := v.DoOnce(t.Context(), fmt.Sprint("call", i), "increment", []any{"n"})
				if err != nil || len(out) != 1 {
					t.Errorf("%v, %v", out, err)
					return
				}
			}
		})
	}
	wg.Wait()
	check(t, New(store, ""), int64(50), "get", "n")
}

func TestRepliesAreForgotten(t *testing.T) {
	store := mem.New()
	v := New(store, "s")
	for _, call := range []string{"run1/a", "run1/b", "run2/a"} {
		if _, err := v.DoOnce(t.Context(), call, "increment", []any{"n"}); err != nil {
			t.Fatal(err)
		}
	}
	e, err := store.Get(t.Context(), "call/s/run1/a")
	if left := time.Until(e.Expires); err != nil || left > KeepReply || left < KeepReply-time.Minute {
		t.Errorf("kept for %s, %v", left, err)
	}
	if n, err := v.ForgetCalls(t.Context(), "run1/"); n != 2 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	if _, err := store.Get(t.Context(), "call/s/run2/a"); err != nil {
		t.Error(err)
	}
	check(t, v, []any{"n"}, "keys")
}

// counted counts transactions.
type counted struct {
	state.Store
	writes int
}

func (c *counted) Commit(ctx context.Context, ops []state.Op) (state.Revision, error) {
	c.writes++
	return c.Store.Commit(ctx, ops)
}

func (c *counted) Put(ctx context.Context, key string, value []byte, ttl time.Duration, r state.Revision) (state.Revision, error) {
	c.writes++
	return c.Store.Put(ctx, key, value, ttl, r)
}

func TestBatch(t *testing.T) {
	c := &counted{Store: mem.New()}
	v := New(c, "s")
	do(t, v, "set", "gone", 1)
	c.writes = 0
	var sets []Set
	for i := range 100 {
		sets = append(sets, Set{Key: fmt.Sprint("k", i%40), Value: i})
	}
	sets = append(sets, Set{Key: "gone"}, Set{Key: "soon", Value: "x", TTL: time.Hour})
	for range 2 {
		if err := v.Batch(t.Context(), "run/task", sets); err != nil {
			t.Fatal(err)
		}
		do(t, v, "set", "k3", "somebody's")
	}
	if c.writes != 1+2 {
		t.Errorf("%d transactions, want one and two of ours", c.writes)
	}
	check(t, v, "somebody's", "get", "k3")
	check(t, v, int64(99), "get", "k19")
	check(t, v, nil, "get", "gone")
	if left, ok := do(t, v, "get_ttl", "soon").(float64); !ok || left < 3590 {
		t.Errorf("%v", left)
	}
	// More than a transaction takes.
	c.writes, sets = 0, nil
	for i := range 130 {
		sets = append(sets, Set{Key: fmt.Sprint("m", i), Value: strings.Repeat("x", 20000)})
	}
	if err := v.Batch(t.Context(), "", sets); err != nil || c.writes != 3 {
		t.Errorf("%d transactions, %v", c.writes, err)
	}
	check(t, v, strings.Repeat("x", 20000), "get", "m129")
	if err := v.Batch(t.Context(), "", []Set{{Key: ""}}); err == nil || err.Error() != "state.set: the key is empty" {
		t.Errorf("%v", err)
	}
	var size *state.SizeError
	if err := v.Batch(t.Context(), "", []Set{{Key: "ok", Value: 1}, {Key: "big", Value: strings.Repeat("x", 2<<20)}}); !errors.As(err, &size) {
		t.Errorf("%v", err)
	}
	check(t, v, nil, "get", "ok")
}
