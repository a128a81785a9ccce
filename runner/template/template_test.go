package template

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestEngine(t *testing.T) {
	for _, c := range []struct{ name, src, want string }{
		{"a.j2", "{{ .x }}", Jinja}, {"a.conf.jinja2", "", Jinja},
		{"a.tmpl", "{{ x }}", Go}, {"a.gotmpl", "", Go}, {"A.TPL", "", Go},
		{"a.conf", "{{ x }}", Jinja}, {"a.conf", "{{ .x }}", Go}, {"a.conf", "{{- range .x }}{{ end }}", Go},
		{"a.conf", "{{ if .x }}y{{ end }}", Go}, {"a.conf", "{{ $x }}", Go}, {"a.conf", "{% if x %}{{ .y }}{% endif %}", Jinja},
		{"a.conf", "plain", Jinja}, {"a.conf", "{{ ifname }}", Jinja},
	} {
		if got := Engine(c.name, []byte(c.src)); got != c.want {
			t.Errorf("%s %q: got %s, want %s", c.name, c.src, got, c.want)
		}
	}
	_, err := Render(nil, "x", "erb", nil)
	if err == nil || err.Error() != `x: there is no template engine "erb": use "jinja2" or "go"` {
		t.Error(err)
	}
}

func TestGo(t *testing.T) {
	for _, c := range []struct{ src, want string }{
		{"{{ .name }}:{{ .port }} {{ .ratio }}", "demo:8080 1.5"},
		{"{{ range .workers }}{{ . | upper }} {{ end }}", "ALPHA BETA GAMMA "},
		{"{{ range $k, $v := .db.opts }}{{ $k }}={{ $v }}{{ end }}", "ssl=true"},
		{"{{ if hasKey . \"nope\" }}a{{ else }}b{{ end }}", "b"},
		{"{{ .db | toJson }}", `{"host":"db1","opts":{"ssl":true},"port":5432}`},
		{"{{ define \"x\" }}<{{ .name }}>{{ end }}{{ template \"x\" . }}", "<demo>"},
		{"{{ .evil }}", "{{ name }} {% for x in y %}"},
		{"{{ \"x\" | repeat 3 }} {{ until 3 }} {{ seq 1 3 }} {{ untilStep 0 4 2 }}", "xxx [0 1 2] 1 2 3 [0 2]"},
		{"{{ required \"no name\" .name }}", "demo"},
	} {
		got, err := Render([]byte(c.src), "x.tmpl", "", vars)
		if err != nil {
			t.Errorf("%s: %v", c.src, err)
		} else if string(got) != c.want {
			t.Errorf("%s: got %q, want %q", c.src, got, c.want)
		}
	}
}

func TestGoErrors(t *testing.T) {
	for _, c := range []struct{ src, want string }{
		{"a\n{{ .foo }}", "templates/a:b.tmpl:2: 'foo' is undefined"},
		{"{{ .db.foo }}", "templates/a:b.tmpl:1: 'foo' is undefined"},
		{"\n\n{{ if .x", "templates/a:b.tmpl:3: unclosed action"},
		{"{{ env \"HOME\" }}", "templates/a:b.tmpl:1: function \"env\" not defined"},
		{"{{ expandenv \"$HOME\" }}", "templates/a:b.tmpl:1: function \"expandenv\" not defined"},
		{"{{ getHostByName \"localhost\" }}", "templates/a:b.tmpl:1: function \"getHostByName\" not defined"},
		{"{{ include \"x\" . }}", "templates/a:b.tmpl:1: <include \"x\" .>: error calling include: cannot include \"x\": templates cannot include here"},
		{"{{ fail \"why\" }}", "templates/a:b.tmpl:1: <fail \"why\">: error calling fail: why"},
		{"{{ repeat 100000000 \"x\" }}", "templates/a:b.tmpl:1: <repeat 100000000 \"x\">: error calling repeat: 100000000 are more than 1000000"},
		{"{{ until 100000000 }}", "templates/a:b.tmpl:1: <until 100000000>: error calling until: 100000000 are more than 1000000"},
	} {
		got, err := Render([]byte(c.src), "templates/a:b.tmpl", "", vars)
		if err == nil {
			t.Errorf("%q rendered %q", c.src, got)
		} else if err.Error() != c.want {
			t.Errorf("%q:\ngot  %s\nwant %s", c.src, err, c.want)
		}
	}
}

// TestRunaways checks that every way to loop or recurse ends with an error.
func TestRunaways(t *testing.T) {
	loop := "{% for a in range(100000) %}{% for b in range(100000) %}" // inner body follows
	end := "{% endfor %}{% endfor %}"
	for _, c := range []struct{ name, src, want string }{
		{"x.j2", loop + "x" + end, "too long"},
		{"x.j2", loop + end, "too long"},
		{"x.j2", loop + "{% set z = 1 %}" + end, "too long"},
		{"x.j2", "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "levels deep"},
		{"x.j2", "{% macro m() %}{{ n() }}{% endmacro %}{% macro n() %}{{ m() }}{% endmacro %}{{ m() }}", "levels deep"},
		{"x.j2", "{% include 'x.j2' %}", "levels deep"},
		{"x.j2", "{% for a in range(100000000) %}{% endfor %}", "more than 100000 numbers"},
		{"x.tmpl", "{{ range $i := 2000000000 }}{{ end }}", "too long"},
		{"x.tmpl", "{{ range $i := 2000000000 }}{{ if true }}{{ end }}{{ end }}", "too long"},
		{"x.tmpl", "{{ define \"x\" }}{{ template \"x\" . }}{{ end }}{{ template \"x\" . }}", "exceeded maximum template depth"},
		{"x.tmpl", "{{ include \"x.tmpl\" . }}", "levels deep"},
	} {
		r := Renderer{Timeout: 200 * time.Millisecond, Include: func(string) ([]byte, error) { return []byte(c.src), nil }}
		if c.want == "levels deep" {
			r.Timeout = time.Minute // the depth ends it, not the time
		}
		start := time.Now()
		_, err := r.Render([]byte(c.src), c.name, "", nil)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", c.src, err, c.want)
		}
		if d := time.Since(start); d > 20*time.Second {
			t.Errorf("%s: it took %s", c.src, d)
		}
	}
	for _, name := range []string{"x.j2", "x.tmpl"} {
		r := Renderer{MaxSize: 100}
		if _, err := r.Render([]byte(strings.Repeat("x", 101)), name, "", nil); err == nil || !strings.Contains(err.Error(), "too large") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestIncludes(t *testing.T) {
	files := map[string]string{
		"templates/part.j2":     "part {{ name }}\n",
		"templates/sub/deep.j2": "{% include '../part.j2' %}",
		"templates/bad.j2":      "ok\n{{ foo }}\n",
		"templates/syntax.j2":   "ok\n\n{% if x %}\n",
		"templates/macros.j2":   "{% macro hi(who) %}hi {{ who }}{% endmacro %}",
		"templates/base.j2":     "<{% block body %}base{% endblock %}>",
		"templates/part.tmpl":   "part {{ .name }}\n",
		"templates/bad.tmpl":    "\n{{ .foo }}",
	}
	r := Renderer{Include: func(name string) ([]byte, error) {
		src, ok := files[name]
		if !ok {
			return nil, errors.New("no such file")
		}
		return []byte(src), nil
	}}
	for _, c := range []struct{ name, src, want string }{
		{"x.j2", "a\n{% include 'part.j2' %}b\n", "a\npart demo\nb\n"},
		{"x.j2", "{% include 'sub/deep.j2' %}", "part demo\n"},
		{"x.j2", "{% include 'none.j2' ignore missing %}x", "x"},
		{"x.j2", "{% from 'macros.j2' import hi %}{{ hi('you') }}", "hi you"},
		{"x.j2", "{% import 'macros.j2' as m %}{{ m.hi('you') }}", "hi you"},
		{"x.j2", "{% extends 'base.j2' %}{% block body %}mine{% endblock %}", "<mine>"},
		{"x.j2", "{% include 'bad.j2' %}", "error: templates/bad.j2:2: 'foo' is undefined"},
		{"x.j2", "\n{% include 'syntax.j2' %}", "error: templates/syntax.j2:4: Unexpected EOF, expected tag elif or else or endif."},
		{"x.j2", "\n{% include 'none.j2' %}", "error: templates/x.j2:2: cannot include \"none.j2\": no such file"},
		{"x.j2", "{% include '/etc/passwd' %}", "error: templates/x.j2:1: cannot include \"/etc/passwd\": name it relative to this template"},
		{"x.j2", "{% include '../../etc/passwd' %}", "error: templates/x.j2:1: cannot include \"../../etc/passwd\": it is outside the script's folder"},
		{"x.tmpl", "a\n{{ include \"part.tmpl\" . }}", "a\npart demo\n"},
		{"x.tmpl", "a\n{{ include \"bad.tmpl\" . }}", "error: templates/bad.tmpl:2: 'foo' is undefined"},
		{"x.tmpl", "{{ include \"../../x\" . }}", "error: templates/x.tmpl:1: <include \"../../x\" .>: error calling include: cannot include \"../../x\": it is outside the script's folder"},
	} {
		got, err := r.Render([]byte(c.src), "templates/"+c.name, "", vars)
		have := string(got)
		if err != nil {
			have = "error: " + err.Error()
		}
		if have != c.want {
			t.Errorf("%s:\ngot  %s\nwant %s", c.src, have, c.want)
		}
	}
}

func TestVariablesStayUntouched(t *testing.T) {
	v := map[string]any{"list": []any{1, 2}, "map": map[string]any{"a": 1}}
	src := "{% do list.append(3) %}{% do map.update({'b': 2}) %}{{ list | length }}{{ map | length }}"
	got, err := Render([]byte(src), "x.j2", "", v)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != "32" || fmt.Sprint(v) != "map[list:[1 2] map:map[a:1]]" {
		t.Errorf("rendered %q and left %v", got, v)
	}
}

func FuzzRender(f *testing.F) {
	for _, c := range jinjaCases {
		f.Add(c.src, true)
	}
	f.Add("{{ range .workers }}{{ . }}{{ end }}", false)
	r := Renderer{Timeout: time.Second, MaxSize: 1 << 20}
	f.Fuzz(func(t *testing.T, src string, jinja bool) {
		name := "x.tmpl"
		if jinja {
			name = "x.j2"
		}
		out, err := r.Render([]byte(src), name, "", vars)
		var placed *Error
		if err != nil && !errors.As(err, &placed) {
			t.Errorf("%q: %T %v is not an *Error", src, err, err)
		}
		if len(out) > 1<<20 {
			t.Errorf("%d bytes of output", len(out))
		}
	})
}
