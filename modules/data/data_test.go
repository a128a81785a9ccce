package data

import (
	"context"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/sloth-runner/sloth/modules"
	"github.com/sloth-runner/sloth/modules/spec"
)

type m = map[string]any
type l = []any

func call(function string, args ...any) ([]any, error) {
	for _, f := range Module().Funcs {
		for _, name := range append([]string{f.Name}, f.Aliases...) {
			if name != function {
				continue
			}
			q, err := spec.Parse(f, args, "")
			if err != nil {
				return nil, err
			}
			return q.(modules.Querier).Query(context.Background(), nil)
		}
	}
	return nil, fmt.Errorf("there is no %s", function)
}

// TestFunctions calls each function; a want that is an error is its text.
func TestFunctions(t *testing.T) {
	deep := strings.Repeat("[", 200) + strings.Repeat("]", 200)
	for _, c := range []struct {
		function string
		args     []any
		want     any
	}{
		{"parse_json", l{`{"a": [1, 2.5, true, null, "x"], "b": {}, "c": [], "big": 12345678901234567890}`}, m{"a": l{int64(1), 2.5, true, nil, "x"}, "b": m{}, "c": l{}, "big": 1.2345678901234567e19}},
		{"json_decode", l{` "text" `}, "text"},
		{"parse_json", l{`1.0`}, int64(1)},
		{"parse_json", l{"{\n  \"a\": tru\n}"}, fmt.Errorf(`line 2, column 11: invalid character '\n' in literal true (expecting 'e')`)},
		{"parse_json", l{`{"a": 1`}, fmt.Errorf("line 1, column 8: the text ends too early")},
		{"parse_json", l{``}, fmt.Errorf("line 1, column 1: the text ends too early")},
		{"parse_json", l{"{}\n\n x"}, fmt.Errorf("line 3, column 2: there is more text after the value")},
		{"parse_json", l{deep}, fmt.Errorf("line 1, column 101: nested deeper than 100 levels")},
		{"to_json", l{m{"b": int64(1), "a": l{1.5, "é<>", nil, true}}}, `{"a":[1.5,"é<>",null,true],"b":1}`},
		{"to_json", l{m{"a": l{}}}, `{"a":[]}`},
		{"to_json", l{m{}}, `{}`},
		{"to_json", l{nil}, `null`},
		{"json_encode", l{m{"a": int64(1)}, m{"pretty": true}}, "{\n  \"a\": 1\n}"},
		{"to_json", l{map[any]any{int64(1): "a", int64(3): "c"}}, `["a",null,"c"]`},
		{"to_json", l{map[any]any{int64(1): "a", "k": "v"}}, `{"1":"a","k":"v"}`},
		{"to_json", l{map[any]any{int64(5): "x", "5": "y"}}, fmt.Errorf("the table has the key 5 as text and as a number")},
		{"to_json", l{m{"f": modules.Callback(nil)}}, fmt.Errorf("f is a function, which cannot be written")},
		{"to_json", l{m{"n": nan()}}, fmt.Errorf("n is NaN, which cannot be written")},
		{"json_pretty", l{`{"b":1,"a":[]}`}, "{\n  \"b\": 1,\n  \"a\": []\n}"},
		{"json_pretty", l{m{"b": int64(1)}}, "{\n  \"b\": 1\n}"},
		{"json_pretty", l{"plain"}, `"plain"`},
		{"json_validate", l{`{"a":1}`}, true},
		{"json_validate", l{`{`}, l{false, "line 1, column 2: the text ends too early"}},

		{"parse_yaml", l{"a: 1\nb: [x, 'y', 2.5, yes, no, true, null, ~]\nc: |\n  text\nd: 2024-01-02\ne: 0o17\nf: 0x1f\n"}, m{"a": int64(1), "b": l{"x", "y", 2.5, "yes", "no", true, nil, nil}, "c": "text\n", "d": "2024-01-02", "e": int64(15), "f": int64(31)}},
		{"parse_yaml", l{"base: &b {x: 1, y: 2}\nover:\n  <<: *b\n  y: 3\n"}, m{"base": m{"x": int64(1), "y": int64(2)}, "over": m{"x": int64(1), "y": int64(3)}}},
		{"parse_yaml", l{"list: [&a {k: 1}, *a]"}, m{"list": l{m{"k": int64(1)}, m{"k": int64(1)}}}},
		{"parse_yaml", l{""}, nil},
		{"parse_yaml", l{"1: one\ntrue: yes\n"}, m{"1": "one", "true": "yes"}},
		{"parse_yaml", l{"a: 1\na: 2\n"}, fmt.Errorf(`line 2: the key "a" is there twice, first on line 1`)},
		{"parse_yaml", l{"a:\n\t- x\n"}, fmt.Errorf("line 2: found character that cannot start any token")},
		{"parse_yaml", l{"a\n---\nb\n"}, fmt.Errorf("the text holds 2 documents; say all = true to get a list of them")},
		{"parse_yaml", l{"a\n---\nb\n", m{"all": true}}, l{"a", "b"}},
		{"parse_yaml", l{deep}, fmt.Errorf("line 1: nested deeper than 100 levels")},
		{"parse_yaml", l{"? [a, b]\n: c\n"}, fmt.Errorf("line 1: a key must be plain text")},
		{"to_yaml", l{m{"b": l{int64(1), "yes", "1"}, "a": m{"x": true}}}, "a:\n  x: true\nb:\n  - 1\n  - \"yes\"\n  - \"1\"\n"},
		{"yaml_encode", l{l{}}, "[]\n"},
		{"yaml_to_json", l{"z: 1\na: [x, {k: null}]\nd: 2024-01-02\n"}, `{"z":1,"a":["x",{"k":null}],"d":"2024-01-02"}`},
		{"yaml_to_json", l{"a: .inf"}, fmt.Errorf("line 1: JSON has no .inf")},
		{"json_to_yaml", l{`{"z": 1, "a": ["x", {}, 1.5], "t": "true"}`}, "z: 1\na:\n  - x\n  - {}\n  - 1.5\nt: \"true\"\n"},

		{"csv_parse", l{"name,port\nweb,80\n\"a,b\",\"x\"\"y\"\n"}, l{m{"name": "web", "port": "80"}, m{"name": "a,b", "port": `x"y`}}},
		{"csv_parse", l{"a;b\n1;2\n", m{"separator": ";", "header": false}}, l{l{"a", "b"}, l{"1", "2"}}},
		{"csv_parse", l{"\ufeffa\n1\n"}, l{m{"a": "1"}}},
		{"csv_parse", l{""}, l{}},
		{"csv_parse", l{"a,b\n1\n"}, fmt.Errorf("line 2 has 1 fields, the first line names 2")},
		{"csv_parse", l{"a,a\n"}, fmt.Errorf(`line 1: two columns are called "a"; use header = false`)},
		{"csv_parse", l{"a,b\n\"x,2\n"}, fmt.Errorf("line 2, column 6: extraneous or missing \" in quoted-field")},
		{"csv_parse", l{"a", m{"separator": "ab"}}, fmt.Errorf(`separator = "ab": it must be one character, and neither a quote nor the end of a line`)},
		{"csv_generate", l{l{m{"b": int64(2), "a": "x,y"}, m{"a": nil, "b": true}}}, "a,b\n\"x,y\",2\n,true\n"},
		{"csv_generate", l{l{m{"b": int64(2), "a": "x"}}, m{"columns": l{"b"}}}, "b\n2\n"},
		{"csv_generate", l{l{l{"x", int64(1)}}}, "x,1\n"},
		{"csv_generate", l{l{l{m{}}}}, fmt.Errorf("row 1: field 1 is a table, which no field can hold")},

		{"xml_decode", l{`<?xml version="1.0"?><!-- c --><a id="1" x:y="z"><b>t &lt; u</b><b/></a>`}, m{"name": "a", "attrs": m{"id": "1", "x:y": "z"}, "text": "", "children": l{
			m{"name": "b", "attrs": m{}, "text": "t < u", "children": l{}}, m{"name": "b", "attrs": m{}, "text": "", "children": l{}},
		}}},
		{"xml_decode", l{"<a><b></a>"}, fmt.Errorf("line 1, column 11: </a> closes nothing")},
		{"xml_decode", l{"<a>"}, fmt.Errorf("line 1, column 4: <a> is not closed")},
		{"xml_decode", l{"<a/><b/>"}, fmt.Errorf("line 1, column 9: there is a second root <b>")},
		{"xml_decode", l{`<!DOCTYPE a [<!ENTITY e SYSTEM "file:///etc/passwd">]><a>&e;</a>`}, fmt.Errorf("line 1, column 61: invalid character entity &e;")},
		{"xml_decode", l{"words"}, fmt.Errorf("line 1, column 6: there is text outside the root")},
		{"xml_encode", l{m{"name": "a", "attrs": m{"id": int64(1), "q": `"`}, "children": l{m{"name": "b", "text": "x<y"}}}, m{"indent": int64(0)}}, `<a id="1" q="&#34;"><b>x&lt;y</b></a>`},
		{"xml_encode", l{m{"port": int64(80), "host": l{"a", "b"}}, m{"root": "server"}}, "<server>\n  <host>a</host>\n  <host>b</host>\n  <port>80</port>\n</server>"},
		{"xml_encode", l{m{"x": int64(1)}}, fmt.Errorf(`an element needs a name; for a plain table say root = "…"`)},
		{"xml_encode", l{m{"name": "a b"}}, fmt.Errorf(`"a b" cannot be the name of an element`)},
		{"xml_encode", l{m{"a><b": int64(1)}, m{"root": "r"}}, fmt.Errorf(`"a><b" cannot be the name of an element`)},

		{"deep_merge", l{m{"a": m{"x": int64(1), "l": l{int64(1)}}, "k": "old"}, m{"a": m{"y": int64(2), "l": l{int64(2)}}, "k": "new"}}, m{"a": m{"x": int64(1), "y": int64(2), "l": l{int64(2)}}, "k": "new"}},
		{"deep_merge", l{m{"l": l{int64(1)}}, m{"l": l{int64(2)}}, nil, nil, "append"}, m{"l": l{int64(1), int64(2)}}},
		{"deep_merge", l{m{"a": int64(1)}, m{"b": int64(2)}, m{"a": int64(3)}}, m{"a": int64(3), "b": int64(2)}},
		{"deep_merge", l{m{}, l{int64(1)}}, fmt.Errorf("over must be a table with names, not a list")},
		{"flatten", l{m{"db": m{"port": int64(1), "hosts": l{"a", "b"}, "none": m{}}}}, m{"db.port": int64(1), "db.hosts.1": "a", "db.hosts.2": "b", "db.none": m{}}},
		{"flatten", l{m{"a": m{"b": int64(1)}}, "/"}, m{"a/b": int64(1)}},
		{"unflatten", l{m{"db.port": int64(1), "db.hosts.1": "a", "db.hosts.2": "b", "x": m{"1": "kept"}}}, m{"db": m{"port": int64(1), "hosts": l{"a", "b"}}, "x": m{"1": "kept"}}},
		{"unflatten", l{m{"a": int64(1), "a.b": int64(2)}}, fmt.Errorf(`"a.b" is below "a", which is a value`)},
		{"get_path", l{m{"db": m{"ports": l{int64(1), int64(2)}}}, "db.ports[2]"}, int64(2)},
		{"get_path", l{m{"db": m{"ports": l{int64(1)}}}, "db.ports.1"}, int64(1)},
		{"get_path", l{m{"a": m{"b.c": "x"}}, `a["b.c"]`}, "x"},
		{"get_path", l{m{"a": m{"b.c": "x"}}, l{"a", "b.c"}}, "x"},
		{"get_path", l{m{"a": int64(1)}, "a.b.c", "none"}, "none"},
		{"get_path", l{nil, "a", "none"}, "none"},
		{"get_path", l{m{}, "a..b"}, fmt.Errorf(`path "a..b": there is a key missing`)},
		{"get_path", l{m{}, "a[1"}, fmt.Errorf(`path "a[1": a bracket is not closed`)},
		{"set_path", l{m{"a": m{"b": int64(1)}}, "a.c", int64(2)}, m{"a": m{"b": int64(1), "c": int64(2)}}},
		{"set_path", l{m{}, "a.list[1]", "x"}, m{"a": m{"list": l{"x"}}}},
		{"set_path", l{m{"l": l{"a", "b"}}, "l[1]", nil}, m{"l": l{"b"}}},
		{"set_path", l{m{"l": l{"a"}}, "l[3]", "x"}, fmt.Errorf("path l[3]: 3 is no place in a list of 1")},
		{"set_path", l{m{"a": int64(1)}, "a.b", int64(2)}, fmt.Errorf("path a.b: b would be below a value that is no table")},

		{"validate", l{m{"port": int64(80), "tags": m{}}, m{"required": l{"port"}, "properties": m{"port": m{"type": "integer"}, "tags": m{"type": "array"}}}}, true},
		{"validate", l{m{"port": "80"}, m{"required": l{"host"}, "properties": m{"port": m{"type": "integer"}}}}, l{false, "port: got string, want integer; the value: missing property 'host'"}},
		{"validate", l{int64(5), `{"maximum": 3}`}, l{false, "the value: maximum: got 5, want 3"}},
		{"validate", l{1.5, m{"type": "number"}}, true},
		{"validate", l{"x", m{"type": "nonsense"}}, nil},
		{"validate", l{"x", m{"$ref": "https://example.com/schema.json"}}, nil},
	} {
		out, err := call(c.function, c.args...)
		what := fmt.Sprintf("%s(%.200v)", c.function, c.args)
		if want, ok := c.want.(error); ok {
			if err == nil || err.Error() != want.Error() {
				t.Errorf("%s: got %v, %v, want the error %v", what, out, err, want)
			}
			continue
		}
		if c.function == "validate" && c.want == nil {
			if err == nil || !strings.HasPrefix(err.Error(), "schema: ") {
				t.Errorf("%s: got %v, %v, want an error about the schema", what, out, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", what, err)
			continue
		}
		want := []any{c.want}
		if list, ok := c.want.(l); ok && len(list) == 2 && list[0] == false {
			want = list
		}
		if !reflect.DeepEqual(out, want) {
			t.Errorf("%s:\ngot  %#v\nwant %#v", what, out, want)
		}
	}
}

func nan() float64 {
	zero := 0.0
	return zero / zero
}

func TestSecretsStaySecret(t *testing.T) {
	pw := modules.NewSecret("s3cret")
	for _, function := range []string{"to_json", "to_yaml", "json_pretty"} {
		out, err := call(function, m{"password": pw})
		if err != nil {
			t.Fatal(err)
		}
		s, ok := out[0].(modules.Secret)
		if !ok || !strings.Contains(s.Reveal(), "s3cret") {
			t.Errorf("%s gives %v", function, out)
		}
	}
	out, err := call("parse_json", modules.NewSecret(`{"user": "u", "on": true, "list": [1]}`))
	if err != nil {
		t.Fatal(err)
	}
	want := m{"user": modules.NewSecret("u"), "on": true, "list": l{modules.NewSecret("1")}}
	if !reflect.DeepEqual(out[0], want) {
		t.Errorf("got %#v", out[0])
	}
	ok, err := call("validate", m{"password": pw}, m{"properties": m{"password": m{"minLength": int64(20)}}})
	if err != nil || strings.Contains(fmt.Sprint(ok), "s3cret") || ok[0] != false {
		t.Errorf("got %v, %v", ok, err)
	}
}

func TestAliasBombIsRefused(t *testing.T) {
	var b strings.Builder
	b.WriteString("a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n")
	for i := 1; i < 12; i++ {
		fmt.Fprintf(&b, "a%d: &a%d [", i, i)
		for range 10 {
			fmt.Fprintf(&b, "*a%d,", i-1)
		}
		b.WriteString("]\n")
	}
	start := time.Now()
	for _, function := range []string{"parse_yaml", "yaml_to_json"} {
		_, err := call(function, b.String())
		if err == nil || !strings.Contains(err.Error(), "with all its aliases the text holds more than 1000000 values") {
			t.Errorf("%s: %v", function, err)
		}
	}
	if d := time.Since(start); d > 20*time.Second {
		t.Errorf("it took %s", d)
	}
}

func TestInputIsLeftAlone(t *testing.T) {
	in := m{"a": m{"b": l{int64(1)}}}
	for _, c := range []struct {
		function string
		args     []any
	}{
		{"set_path", l{in, "a.b[1]", int64(2)}}, {"deep_merge", l{in, m{"a": m{"b": l{int64(9)}, "c": int64(1)}}}},
		{"flatten", l{in}}, {"to_json", l{in}}, {"validate", l{in, m{"type": "object"}}},
	} {
		if _, err := call(c.function, c.args...); err != nil {
			t.Error(err)
		}
		if !reflect.DeepEqual(in, m{"a": m{"b": l{int64(1)}}}) {
			t.Fatalf("%s changed its argument: %v", c.function, in)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, seed := range []string{`{"a": [1, null, "x"]}`, "a: &x [1]\nb: *x\n<<: {c: d}\n", "a,b\n1,2\n", `<a b="c"><d>e</d></a>`, "a.b[1]['c']"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if v, err := decodeJSON(text); err == nil {
			again, err := encodeJSON(v, 0)
			if err != nil {
				t.Fatalf("%q was read and cannot be written: %v", text, err)
			}
			back, err := decodeJSON(again)
			if err != nil || !reflect.DeepEqual(v, back) {
				t.Errorf("%q: %v became %v, %v", text, v, back, err)
			}
		}
		for _, function := range []string{"parse_yaml", "yaml_to_json", "json_to_yaml", "csv_parse"} {
			_, _ = call(function, text)
		}
		if v, err := decodeXML(text); err == nil {
			w := &xmlWriter{}
			if err := w.element(v, 0); err == nil {
				if _, err := decodeXML(w.b.String()); err != nil {
					t.Errorf("%q was written as %q, which cannot be read: %v", text, w.b.String(), err)
				}
			}
		}
		_, _ = splitPath(text)
	})
}
