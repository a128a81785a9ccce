package template

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

var vars = map[string]any{
	"name": "demo", "port": int64(8080), "ratio": 1.5, "base": "/srv/demo", "on": true, "off": false, "nothing": nil,
	"workers": []any{"alpha", "beta", "gamma"},
	"users":   []any{map[string]any{"name": "ann", "uid": 1001, "admin": true}, map[string]any{"name": "bob", "uid": 1002, "admin": false}},
	"db":      map[string]any{"host": "db1", "port": 5432, "opts": map[string]any{"ssl": true}},
	"evil":    "{{ name }} {% for x in y %}",
	"words":   "a b  c", "umlaut": "grüße",
}

// jinjaCases render the same in Python's Jinja2 under Ansible's options.
var jinjaCases = []struct{ name, src, want string }{
	{"plain", "hello\n", "hello\n"},
	{"no newline", "hello", "hello"},
	{"variables", "{{ name }}:{{ port }} {{ ratio }}\n", "demo:8080 1.5\n"},
	{"attribute and item", "{{ db.host }} {{ db['port'] }} {{ db.opts.ssl }} {{ workers[0] }} {{ workers[-1] }} {{ users[1].name }}", "db1 5432 True alpha gamma bob"},
	{"booleans", "{{ on }} {{ off }}", "True False"},
	{"trim blocks", "a\n{% if on %}\nb\n{% endif %}\nc\n", "a\nb\nc\n"},
	{"trim blocks indented", "a\n  {% if on %}\n  b\n  {% endif %}\nc\n", "a\n    b\n  c\n"},
	{"minus", "a\n{%- if on -%}\n  b\n{%- endif -%}\nc\n", "abc\n"},
	{"plus", "a\n{%- for w in workers +%}\n{{ w }}\n{%- endfor +%}\nz\n", "a\nalpha\nbeta\ngamma\nz\n"},
	{"comment", "a {# none #}b\n{# gone #}\nc\n", "a b\nc\n"},
	{"for", "{% for u in users if u.admin %}\n{{ loop.index }} {{ u.name }}\n{% endfor %}\n", "1 ann\n"},
	{"for else", "{% for u in [] %}x{% else %}none{% endfor %}\n", "none"},
	{"loop", "{% for w in workers %}{{ w }}{% if not loop.last %}, {% endif %}{% endfor %}", "alpha, beta, gamma"},
	{"loop counts", "{% for w in workers %}{{ loop.index0 }}/{{ loop.length }}/{{ loop.revindex }}{{ ' first' if loop.first }} {% endfor %}", "0/3/3 first 1/3/2 2/3/1 "},
	{"items", "{% for k, v in db.opts.items() %}{{ k }}={{ v }}{% endfor %}", "ssl=True"},
	{"dictsort", "{% for k, v in {'b': 2, 'a': 1} | dictsort %}{{ k }}{{ v }}{% endfor %}", "a1b2"},
	{"range", "{% for i in range(2, 8, 3) %}{{ i }},{% endfor %}{{ range(3) | list }}", "2,5,[0, 1, 2]"},
	{"elif", "{% if port > 9000 %}a{% elif port > 1024 %}b{% else %}c{% endif %}", "b"},
	{"operators", "{{ 1 + 2 * 3 }} {{ 7 // 2 }} {{ 7 % 4 }} {{ 'a' ~ 1 }} {{ 2 in [1, 2] }} {{ not on }} {{ on and 'x' or 'y' }}", "7 3 3 a1 True False x"},
	{"condition", "{{ 'yes' if on else 'no' }} {{ 'x' if port == 80 else 'y' }}", "yes y"},
	{"default", "{{ missing | default('d') }} {{ db.missing | default('e') }} {{ '' | default('f', true) }}", "d e f"},
	{"defined", "{% if missing is defined %}a{% else %}b{% endif %}{{ name is defined }} {{ db.missing is not defined }}", "bTrue True"},
	{"tests", "{{ port is number }} {{ name is string }} {{ workers is sequence }} {{ db is mapping }} {{ 3 is odd }} {{ nothing is none }}", "True True True True True True"},
	{"filters", "{{ name | upper }} {{ workers | join(',') }} {{ workers | length }} {{ workers | first }} {{ workers | last }} {{ ' x ' | trim }} {{ 'a-b' | replace('-', '_') }}", "DEMO alpha,beta,gamma 3 alpha gamma x a_b"},
	{"map and select", "{{ users | map(attribute='name') | join(' ') }} {{ users | selectattr('admin') | map(attribute='uid') | list }}", "ann bob [1001]"},
	{"sort and unique", "{{ [3, 1, 2, 1] | sort | unique | join(' ') }} {{ workers | reverse | list | first }}", "1 2 3 gamma"},
	{"numbers", "{{ '42' | int + 1 }} {{ 3.7 | round | int }} {{ -3 | abs }} {{ [1, 2, 3] | sum }} {{ [1, 5, 2] | max }}", "43 4 3 6 5"},
	{"indent", "x:\n  {{ \"a\\nb\" | indent(2) }}\n", "x:\n  a\n  b\n"},
	{"set", "{% set x = name ~ '-1' %}\n{{ x }}\n", "demo-1\n"},
	{"set in loop does not leak", "{% set x = 0 %}{% for w in workers %}{% set x = 1 %}{% endfor %}{{ x }}", "0"},
	{"namespace", "{% set ns = namespace(n=0) %}{% for w in workers %}{% set ns.n = ns.n + 1 %}{% endfor %}{{ ns.n }}", "3"},
	{"macro", "{% macro line(k, v='none') %}{{ k }}={{ v }}{% endmacro %}{{ line('a', 1) }} {{ line('b') }}", "a=1 b=none"},
	{"raw", "{% raw %}{{ name }}{% endraw %}\n", "{{ name }}"},
	{"literal braces", "{{ '{{' }} name {{ '}}' }}", "{{ name }}"},
	{"data is not code", "{{ evil }}\n", "{{ name }} {% for x in y %}\n"},
	{"not escaped", "{{ '<a href=\"x\">&' }}", "<a href=\"x\">&"},
	{"lists and dicts print as Python", "{{ workers }} {{ {'a': 1} }} {{ [true, 1, 'x'] }}", "['alpha', 'beta', 'gamma'] {'a': 1} [True, 1, 'x']"},
	{"string methods", "{{ name.upper() }} {{ words.split() | length }} {{ name.startswith('de') }} {{ ','.join(workers) }} {{ ' x '.strip() }}", "DEMO 3 True alpha,beta,gamma x"},
	{"slices", "{{ name[1:3] }} {{ workers[1:] | join(' ') }}", "em beta gamma"},
	{"unicode", "{{ umlaut | capitalize }} {{ umlaut | length }}\n", "Grüße 5\n"},
	{"carriage returns", "a\r\n{{ name }}\r\n", "a\ndemo\n"},
	{"with", "{% with y = 2 %}{{ y }}{% endwith %}", "2"},
	{"filter block", "{% filter upper %}abc{% endfilter %}", "ABC"},
	{"nested loops", "{% for u in users %}\n{% for w in workers %}\n{{ u.name }}-{{ w }}\n{% endfor %}\n{% endfor %}\n", "ann-alpha\nann-beta\nann-gamma\nbob-alpha\nbob-beta\nbob-gamma\n"},
	{"tuple unpacking", "{% for a, b in [[1, 2], [3, 4]] %}{{ a }}{{ b }} {% endfor %}", "12 34 "},
	{"none prints", "{{ nothing | default('x', true) }}", "x"},
	{"comparison of text", "{{ 'b' > 'a' }} {{ name == 'demo' }} {{ name != 'x' }}", "True True True"},
	{"in text", "{{ 'em' in name }} {{ 'x' not in workers }} {{ 'host' in db }}", "True True True"},
	{"division", "{{ 7 / 2 }} {{ 8 / 2 }}", "3.5 4.0"},
	{"format", "{{ '%s:%d' | format(name, 3) }}", "demo:3"},
	{"line with trailing blank", "{% if on %} \nx{% endif %}\n", " \nx"},
}

func TestJinja(t *testing.T) {
	for _, c := range jinjaCases {
		t.Run(c.name, func(t *testing.T) {
			got, err := Render([]byte(c.src), "x.j2", "", vars)
			if err != nil {
				t.Fatal(err)
			}
			if string(got) != c.want {
				t.Errorf("got  %q\nwant %q", got, c.want)
			}
		})
	}
}

const judge = `
import json, sys
from jinja2 import Environment, StrictUndefined
env = Environment(trim_blocks=True, keep_trailing_newline=True, undefined=StrictUndefined, extensions=["jinja2.ext.do", "jinja2.ext.loopcontrols"])
job = json.load(sys.stdin)
print(json.dumps([env.from_string(src).render(job["vars"]) for src in job["cases"]]))
`

// TestJinjaAgreesWithPython asks the real Jinja2 whether the wanted texts above are
// what it renders.
func TestJinjaAgreesWithPython(t *testing.T) {
	if err := exec.Command("python3", "-c", "import jinja2").Run(); err != nil {
		unavailable(t, "python3 with jinja2 is not installed")
	}
	job := map[string]any{}
	var sources []string
	for _, c := range jinjaCases {
		sources = append(sources, c.src)
	}
	job["cases"], job["vars"] = sources, vars
	in, err := json.Marshal(job)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("python3", "-c", judge)
	cmd.Stdin = strings.NewReader(string(in))
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	if err := json.Unmarshal(out, &want); err != nil {
		t.Fatal(err)
	}
	for i, c := range jinjaCases {
		if want[i] != c.want {
			t.Errorf("%s: Python renders %q, the table says %q", c.name, want[i], c.want)
		}
	}
}

func unavailable(t *testing.T, reason string) {
	t.Helper()
	if os.Getenv("SLOTH_MUST_RUN") == "1" {
		t.Fatal(reason)
	}
	t.Skip(reason)
}

func TestAnsibleFilters(t *testing.T) {
	for src, want := range map[string]string{
		"{{ {'b': [1, 'x'], 'a': {'c': true}} | to_json }}":                          `{"a": {"c": true}, "b": [1, "x"]}`,
		"{{ {'a': 'x, y: z'} | to_json }}":                                           `{"a": "x, y: z"}`,
		"{{ {'a': [1]} | to_nice_json }}":                                            "{\n    \"a\": [\n        1\n    ]\n}",
		"{{ {'a': {'b': 1}} | to_nice_yaml(indent=2) }}":                             "a:\n  b: 1\n",
		"{{ ('{\"a\": 1, \"b\": 1.0}' | from_json).a }}":                             "1",
		"{{ ('a: [1, 2]' | from_yaml).a | length }}":                                 "2",
		"{{ 'hi' | b64encode }} {{ 'aGk=' | b64decode }}":                            "aGk= hi",
		"{{ 'foo-12' | regex_replace('(\\\\w+)-(\\\\d+)', '\\\\2-\\\\1') }}":         "12-foo",
		"{{ 'foo-12' | regex_search('\\\\d+') }}":                                    "12",
		"{{ 'a1b2' | regex_findall('\\\\d') | join('+') }}":                          "1+2",
		"{{ on | ternary('a', 'b') }}":                                               "a",
		"{{ 'yes' | bool }} {{ 'no' | bool }}":                                       "True False",
		"{{ \"it's\" | quote }} {{ 'plain' | quote }}":                               `'it'"'"'s' plain`,
		"{{ '/etc/a.conf' | basename }} {{ '/etc/a.conf' | dirname }}":               "a.conf /etc",
		"{{ 'x' | hash('sha256') }}":                                                 "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881",
		"{{ {'a': 1} | combine({'b': 2}) | to_json }}":                               `{"a": 1, "b": 2}`,
		"{{ {'a': {'x': 1}} | combine({'a': {'y': 2}}, recursive=true) | to_json }}": `{"a": {"x": 1, "y": 2}}`,
		"{{ db.opts | dict2items | to_json }}":                                       `[{"key": "ssl", "value": true}]`,
		"{{ [{'key': 'a', 'value': 1}] | items2dict | to_json }}":                    `{"a": 1}`,
		"{{ [1, [2, [3]]] | flatten | join(' ') }}":                                  "1 2 3",
		"{{ [1, 2] | union([2, 3]) | join(' ') }} {{ [1, 2] | difference([2]) | first }} {{ [1, 2] | intersect([2]) | first }}": "1 2 3 1 2",
		"{{ 'a\nb' | comment }}":          "#\n# a\n# b\n#",
		"{{ 'a,b' | split(',') | last }}": "b",
		"{{ 'web-01' is match('web') }} {{ 'x-web' is match('web') }} {{ 'x-web' is search('web') }}": "True False True",
		"{{ missing | default('x') | mandatory }}":                                                    "x",
	} {
		got, err := Render([]byte(src), "x.j2", "", vars)
		if err != nil {
			t.Errorf("%s: %v", src, err)
		} else if string(got) != want {
			t.Errorf("%s: got %q, want %q", src, got, want)
		}
	}
}

func TestJinjaErrors(t *testing.T) {
	for _, c := range []struct{ src, want string }{
		{"a\nb {{ foo }}\n", "templates/x.j2:2: 'foo' is undefined"},
		{"a\n{% if on %}\n\n{{ db.nope }}\n{% endif %}\n", "templates/x.j2:4: 'nope' is undefined"},
		{"{{ db['nope'] }}", "templates/x.j2:1: 'nope' is undefined"},
		{"{{ workers[7] }}", "templates/x.j2:1: '7' is undefined"},
		{"\n\n{% for x in foo %}{% endfor %}", "templates/x.j2:3: 'foo' is undefined"},
		{"{% if foo %}{% endif %}", "templates/x.j2:1: 'foo' is undefined"},
		{"\n{{ foo | upper }}", "templates/x.j2:2: 'foo' is undefined"},
		{"\n{{ [name, foo] }}", "templates/x.j2:2: 'foo' is undefined"},
		{"\n{{ [name, foo] | join(',') }}", "templates/x.j2:2: 'foo' is undefined"},
		{"\n{% for u in users if foo %}{% endfor %}", "templates/x.j2:2: 'foo' is undefined"},
		{"{% macro m(x) %}\n{{ foo }}{% endmacro %}\n{{ m(1) }}", "templates/x.j2:2: 'foo' is undefined"},
		{"{{ foo | mandatory('give foo') }}", "templates/x.j2:1: mandatory: give foo"},
		{"{{ name | nosuch }}", "templates/x.j2:1: filter 'nosuch' not found"},
		{"{{ name is nosuch }}", "templates/x.j2:1: test 'nosuch' not found"},
		{"a\n{% if on %}\nb\n", "templates/x.j2:4: Unexpected EOF, expected tag elif or else or endif."},
		{"\n{% nosuch %}", "templates/x.j2:2: ControlStructure 'nosuch' not found (or beginning not provided) near \"nosuch\""},
		{"\n{{ name ", "templates/x.j2:2: "},
		{"{% include 'x' %}", "templates/x.j2:1: cannot include \"x\": templates cannot include here"},
		{"{{ 'x' | from_json }}", "templates/x.j2:1: from_json: invalid character 'x' looking for beginning of value"},
	} {
		got, err := Render([]byte(c.src), "templates/x.j2", "", vars)
		if err == nil {
			t.Errorf("%q rendered %q", c.src, got)
		} else if !strings.HasPrefix(err.Error(), c.want) || c.want[len(c.want)-1] != ' ' && err.Error() != c.want {
			t.Errorf("%q:\ngot  %s\nwant %s", c.src, err, c.want)
		}
	}
}

func TestFloorTemplates(t *testing.T) {
	spec := os.Getenv("SLOTH_SPEC")
	if spec == "" {
		t.Skip("SLOTH_SPEC is unset")
	}
	dir := filepath.Join(spec, "..", "bench", "common", "templates")
	v := map[string]any{"app_name": "demo", "app_host": "web-01", "app_port": 8080, "app_base": "/srv/b", "app_workers": []any{"alpha", "beta", "gamma"}}
	for file, want := range map[string]string{
		"app.conf.j2": "[app]\nname = demo\nlisten = web-01:8080\nworker.1 = alpha\nworker.2 = beta\nworker.3 = gamma\n",
		"env.j2":      "APP_NAME=demo\nAPP_PORT=8080\nAPP_BASE=/srv/b\n",
		"unit.j2":     "[Unit]\nDescription=demo\n[Service]\nExecStart=/srv/b/bin/demo --port 8080\nUser=nobody\n",
	} {
		src, err := os.ReadFile(filepath.Join(dir, file))
		if err != nil {
			t.Fatal(err)
		}
		got, err := Render(src, file, "", v)
		if err != nil {
			t.Errorf("%s: %v", file, err)
		} else if string(got) != want {
			t.Errorf("%s: got %q, want %q", file, got, want)
		}
	}
}
