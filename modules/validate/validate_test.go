package validate

import (
	"context"
	"reflect"
	"testing"

	"github.com/sloth-runner/sloth/modules"
	"github.com/sloth-runner/sloth/modules/spec"
)

type m = map[string]any
type l = []any

func TestValidate(t *testing.T) {
	ok := l{true}
	no := func(text string) l { return l{false, text} }
	funcs := map[string]modules.Func{}
	for _, f := range Module().Funcs {
		funcs[f.Name] = f
	}
	for _, c := range []struct {
		function string
		args     l
		want     l
	}{
		{"required", l{m{"a": int64(1), "db": m{"host": "h"}, "x.y": true}, l{"a", "db.host", "x.y"}}, ok},
		{"required", l{m{"a": " ", "db": m{}}, l{"a", "db.host", "c"}}, no("missing: a, db.host, c")},
		{"required", l{nil, l{"a"}}, no("missing: a")},
		{"required", l{m{"a": false}, "a"}, ok},
		{"type", l{"x", "string"}, ok},
		{"type", l{int64(1), "number"}, ok},
		{"type", l{1.5, "integer", "port"}, no("port must be an integer, not a number")},
		{"type", l{nil, "string"}, no("the value must be a string, not nil")},
		{"type", l{m{}, "list"}, ok},
		{"type", l{l{"a"}, "table"}, ok},
		{"type", l{m{"a": "b"}, "list"}, no("the value must be a list, not a table")},
		{"type", l{modules.Callback(func(context.Context, ...any) ([]any, error) { return nil, nil }), "function"}, ok},
		{"type", l{modules.NewSecret("x"), "string"}, no("the value must be a string, not a secret")},
		{"range", l{int64(5), int64(1), int64(10)}, ok},
		{"range", l{int64(0), int64(1)}, no("the value is 0, and must be at least 1")},
		{"range", l{10.5, m{"max": int64(10), "name": "load"}}, no("load is 10.5, and must be at most 10")},
		{"range", l{"5", int64(1)}, no("the value must be a number, not a string")},
		{"matches", l{"web-01", `^web-\d+$`}, ok},
		{"matches", l{"db-01", `^web-`, "host"}, no(`host "db-01" does not match ^web-`)},
		{"matches", l{modules.NewSecret("abc"), `\d`}, no(`the value does not match \d`)},
		{"matches", l{int64(42), `^\d+$`}, ok},
		{"matches", l{nil, "x"}, no("the value must be a string, not nil")},
		{"one_of", l{"prod", l{"dev", "prod"}}, ok},
		{"one_of", l{1.0, l{int64(1)}}, ok},
		{"one_of", l{"x", l{"dev", int64(2)}, "environment"}, no("environment is x, and must be one of dev, 2")},
		{"one_of", l{nil, l{"a"}}, no("the value is nil, and must be one of a")},
		{"schema", l{m{"port": int64(80)}, m{"properties": m{"port": m{"type": "integer"}}}}, ok},
		{"schema", l{m{"port": "x"}, m{"properties": m{"port": m{"type": "integer"}}}}, no("port: got string, want integer")},
	} {
		q, err := spec.Parse(funcs[c.function], c.args, "")
		if err != nil {
			t.Errorf("%s%v: %v", c.function, c.args, err)
			continue
		}
		got, err := q.(modules.Querier).Query(context.Background(), nil)
		if err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s%v: got %v, %v, want %v", c.function, c.args, got, err, c.want)
		}
	}
	for function, args := range map[string]l{"matches": {"x", "("}, "schema": {"x", m{"type": "nonsense"}}, "required": {m{}, "a..b"}} {
		q, err := spec.Parse(funcs[function], args, "")
		if err != nil {
			t.Fatal(err)
		}
		if out, err := q.(modules.Querier).Query(context.Background(), nil); err == nil {
			t.Errorf("%s%v: got %v", function, args, out)
		}
	}
}
