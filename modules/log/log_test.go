package log

import (
	"context"
	"reflect"
	"testing"

	"github.com/sloth-runner/sloth/modules"
	"github.com/sloth-runner/sloth/modules/spec"
)

type entry struct {
	level, message string
	fields         map[string]any
}

func write1(t *testing.T, function string, args ...any) entry {
	t.Helper()
	var got []entry
	ctx := modules.WithCall(context.Background(), modules.Call{Log: func(level, message string, fields map[string]any) {
		got = append(got, entry{level, message, fields})
	}})
	for _, f := range Module().Funcs {
		if f.Name != function {
			continue
		}
		q, err := spec.Parse(f, args, "")
		if err != nil {
			t.Fatal(err)
		}
		if out, err := q.(modules.Querier).Query(ctx, nil); err != nil || len(out) != 0 {
			t.Fatal(out, err)
		}
	}
	if len(got) != 1 {
		t.Fatalf("%s wrote %d entries", function, len(got))
	}
	return got[0]
}

func TestLog(t *testing.T) {
	for _, c := range []struct {
		function string
		args     []any
		want     entry
	}{
		{"info", []any{"hello"}, entry{"info", "hello", nil}},
		{"warn", []any{"careful", map[string]any{"left": int64(3)}}, entry{"warn", "careful", map[string]any{"left": int64(3)}}},
		{"error", []any{int64(42)}, entry{"error", "42", nil}},
		{"success", []any{map[string]any{"a": "b"}}, entry{"success", `{ a = "b" }`, nil}},
		{"debug", nil, entry{"debug", "nil", nil}},
		{"print", []any{"a", "b"}, entry{"print", "a b", nil}},
		{"info", []any{[]any{"x", 1.5, true}}, entry{"info", `{ "x", 1.5, true }`, nil}},
		{"info", []any{"empty", map[string]any{}}, entry{"info", "empty", nil}},
		{"info", []any{"mixed", map[any]any{int64(1): "a", "k": modules.NewSecret("pw")}}, entry{"info", "mixed", map[string]any{"1": "a", "k": "(secret)"}}},
		{"info", []any{modules.NewSecret("pw")}, entry{"info", "(secret)", nil}},
		{"table", []any{[]any{map[string]any{"name": "a", "size": int64(1)}, map[string]any{"name": "grün"}}, "volumes"}, entry{"print", "volumes\nname  size\na     1\ngrün", nil}},
		{"table", []any{map[string]any{"k": "v", "longer": []any{}}}, entry{"print", "k       v\nlonger  {}", nil}},
		{"table", []any{[]any{"x", "y"}}, entry{"print", "1  x\n2  y", nil}},
		{"table", []any{"text"}, entry{"print", "text", nil}},
	} {
		if got := write1(t, c.function, c.args...); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s%v: got %+v, want %+v", c.function, c.args, got, c.want)
		}
	}
}

func TestTextIsBounded(t *testing.T) {
	deep := any("x")
	for range 100 {
		deep = []any{deep}
	}
	if got := Text(deep); len(got) > 200 {
		t.Errorf("%d bytes", len(got))
	}
	wide := make([]any, 1<<20)
	if got := Text(wide); len(got) > maxText+100 {
		t.Errorf("%d bytes", len(got))
	}
}
