package perf

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"testing"

	"github.com/sloth-runner/sloth/modules"
	"github.com/sloth-runner/sloth/modules/spec"
)

func call(m modules.Module, function string, args ...any) ([]any, error) {
	for _, f := range m.Funcs {
		if f.Name == function {
			q, err := spec.Parse(f, args, "")
			if err != nil {
				return nil, err
			}
			return q.(modules.Querier).Query(context.Background(), nil)
		}
	}
	return nil, fmt.Errorf("there is no %s", function)
}

func TestPerf(t *testing.T) {
	m := Module()
	fine := modules.Callback(func(context.Context, ...any) ([]any, error) { return []any{"a", int64(2)}, nil })
	bad := modules.Callback(func(context.Context, ...any) ([]any, error) { return nil, errors.New("no") })
	for _, args := range [][]any{{"work", fine}, {fine}} {
		out, err := call(m, "measure", args...)
		if err != nil || len(out) != 3 || out[0].(float64) < 0 || !reflect.DeepEqual(out[1:], []any{"a", int64(2)}) {
			t.Errorf("measure%v: got %v, %v", args, out, err)
		}
	}
	if _, err := call(m, "measure", "work", bad); err == nil || err.Error() != "no" {
		t.Errorf("got %v", err)
	}
	for _, args := range [][]any{nil, {"work"}, {int64(1), fine}} {
		if out, err := call(m, "measure", args...); err == nil {
			t.Errorf("measure%v: got %v", args, out)
		}
	}
	for _, c := range []struct {
		function string
		args     []any
		want     any
	}{
		{"counter", []any{"n"}, 1.0}, {"counter", []any{"n", int64(4)}, 5.0}, {"counter", []any{"n", -2.5}, 2.5},
		{"gauge", []any{"g"}, nil}, {"gauge", []any{"g", int64(7)}, 7.0}, {"gauge", []any{"g"}, 7.0},
		{"stats", []any{"nothing"}, nil},
	} {
		if out, err := call(m, c.function, c.args...); err != nil || !reflect.DeepEqual(out, []any{c.want}) {
			t.Errorf("%s%v: got %v, %v", c.function, c.args, out, err)
		}
	}
	out, err := call(m, "stats")
	if err != nil {
		t.Fatal(err)
	}
	s := out[0].(map[string]any)
	work := s["measures"].(map[string]any)["work"].(map[string]any)
	if work["count"] != 2 || work["errors"] != 1 || work["min_ms"].(float64) > work["max_ms"].(float64) ||
		!reflect.DeepEqual(s["counters"], map[string]any{"n": 2.5}) || !reflect.DeepEqual(s["gauges"], map[string]any{"g": 7.0}) {
		t.Errorf("got %v", s)
	}
	if _, err := call(m, "reset"); err != nil {
		t.Fatal(err)
	}
	if out, _ := call(m, "counter", "n"); out[0] != 1.0 {
		t.Errorf("after reset: %v", out)
	}
	for i := range maxNames {
		if _, err = call(m, "counter", fmt.Sprint("c", i)); err != nil {
			break
		}
	}
	if !errors.Is(err, errNames) {
		t.Errorf("got %v", err)
	}
}
