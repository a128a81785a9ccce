package inventory

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

func TestParseVars(t *testing.T) {
	file := filepath.Join(t.TempDir(), "extra.yml")
	if err := os.WriteFile(file, []byte("a: 7\nb: yes\nlist: [1, x]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		in   []string
		want map[string]any
	}{
		{nil, map[string]any{}},
		{[]string{"a=1 b=two"}, map[string]any{"a": "1", "b": "two"}},
		{[]string{`a="x y" b='p"q'`}, map[string]any{"a": "x y", "b": `p"q`}},
		{[]string{"content=two words"}, map[string]any{"content": "two words"}},
		{[]string{`a=x\ty`}, map[string]any{"a": "x\ty"}},
		{[]string{`a="say \"hi\""`}, map[string]any{"a": `say "hi"`}},
		{[]string{"a={{ b | default('x y') }} c=1"}, map[string]any{"a": "{{ b | default('x y') }}", "c": "1"}},
		{[]string{"url=http://h/?q=1"}, map[string]any{"url": "http://h/?q=1"}},
		{[]string{"a="}, map[string]any{"a": ""}},
		{[]string{`{"a": 1, "b": {"c": [true]}}`}, map[string]any{"a": int64(1), "b": map[string]any{"c": []any{true}}}},
		{[]string{"{a: yes, b: 0755}"}, map[string]any{"a": true, "b": int64(493)}},
		{[]string{"@" + file, "a=later"}, map[string]any{"a": "later", "b": true, "list": []any{int64(1), "x"}}},
	} {
		got, err := ParseVars(c.in)
		if err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("ParseVars(%q) = %#v, %v\nwant %#v", c.in, got, err, c.want)
		}
	}
}

func TestParseVarsRefuses(t *testing.T) {
	for in, want := range map[string]string{
		"justaword":     `variables "justaword": "justaword" is not name=value; quote values with blanks: name="two words"`,
		"a=1 b=2 c":     `variables "a=1 b=2 c": "c" is not name=value; quote values with blanks: name="two words"`,
		"/etc/vars.yml": `"/etc/vars.yml" is no variable; to read a file write @/etc/vars.yml`,
		`a="open`:       `variables "a=\"open": a quotation is not closed`,
		"@/nowhere.yml": `read variables from /nowhere.yml: no such file or directory`,
		"[1, 2]":        "-e:1:1: variables must be a map, got a list\n",
		"{a: 1, a: 2}":  "-e:1:8: ",
	} {
		_, err := ParseVars([]string{in})
		if err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("ParseVars(%q):\n got %v\nwant %s", in, err, want)
		}
	}
}
