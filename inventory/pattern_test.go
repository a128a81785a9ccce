package inventory

import (
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestMatch(t *testing.T) {
	dir := t.TempDir()
	inv := load(t, Options{}, put(t, filepath.Join(dir, "hosts"), `
db1
[web]
web[01:03]
[web:children]
edge
[edge]
edge1
edge2
[lonely]
[twin]
web01
twin
`))
	list := put(t, filepath.Join(dir, "retry"), "web02\n\n edge1 \n")
	for _, c := range []struct{ pattern, limit, want string }{
		{"all", "", "db1 web01 web02 web03 twin edge1 edge2"},
		{"", "", "db1 web01 web02 web03 twin edge1 edge2"},
		{"web", "", "web01 web02 web03 edge1 edge2"},
		{"web[0]", "", "web01"},
		{"web[-1]", "", "edge2"},
		{"web[1:2]", "", "web02 web03"},
		{"web[3:]", "", "edge1 edge2"},
		{"web:!edge", "", "web01 web02 web03"},
		{"web:&edge", "", "edge1 edge2"},
		{"edge2,db1", "", "edge2 db1"},
		{"~edge\\d", "", "edge1 edge2"},
		{"web0?", "", "web01 web02 web03"},
		{"web0[!12]", "", "web03"},
		{"@" + list, "", "web02 edge1"},
		{"web", "@" + list, "web02 edge1"},
		{"web", "edge*", "edge1 edge2"},
		{"web", "!edge", "web01 web02 web03"},
		{"twin", "", "twin"},        // the host
		{"&twin", "", "web01 twin"}, // the group
		{"localhost", "", "localhost"},
		{"127.0.0.1", "localhost", "127.0.0.1"},
	} {
		got, err := inv.Match(c.pattern, c.limit)
		if err != nil || strings.Join(got, " ") != c.want {
			t.Errorf("%q limit %q: %v, %v; want %s", c.pattern, c.limit, got, err, c.want)
		}
	}
	empty := put(t, filepath.Join(dir, "empty"), "\n")
	for _, c := range []struct{ pattern, limit, want string }{
		{"wbe01", "", `no host matches the pattern "wbe01"; did you mean web01?`},
		{"nosuchthing", "", `no host matches the pattern "nosuchthing"; sloth inventory --graph shows what there is`},
		{"web", "wbe02", `no host matches the limit "wbe02"; did you mean web02?`},
		{"web", "db1", `no host matches: the limit "db1" leaves none of the hosts of "web"`},
		{"lonely", "", `no host matches the pattern "lonely"`},
		{"web[7]", "", `no host matches: the pattern "web[7]" asks for number 7 of 5 hosts (the first is [0])`},
		{"web0[1:2]", "", `no host matches the pattern "web0[1:2]"; [1:2] picks from the hosts of a group and is no range of names: write web0* or web0[0-9]`},
		{"edge3", "", `no host matches the pattern "edge3"; did you mean edge, edge1 or edge2?`},
		{"web", "@" + empty, "no host matches: @" + empty + " names none"},
	} {
		_, err := inv.Match(c.pattern, c.limit)
		if !errors.Is(err, ErrNoHosts) || !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%q limit %q:\n got %v\nwant %s", c.pattern, c.limit, err, c.want)
		}
	}
	for pattern, want := range map[string]string{
		"~we(":           `the pattern "~we(": this is no regular expression`,
		"~web(?!01)":     `the pattern "~web(?!01)": regular expressions are those of RE2, which has no lookahead and lookbehind; write a:!b to leave hosts out`,
		`~(w).*\1`:       `the pattern "~(w).*\\1": regular expressions are those of RE2, which has no backreferences`,
		"~(?(1)a|b)":     `the pattern "~(?(1)a|b)": regular expressions are those of RE2, which has no (?(`,
		"@/no/such/file": "read the limit @/no/such/file: no such file or directory",
	} {
		if _, err := inv.Match(pattern, ""); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%q: got %v, want %s", pattern, err, want)
		}
	}
}

func TestImplicitLocalhost(t *testing.T) {
	inv := load(t, Options{}, "web,")
	if got := inv.Hosts(); !slices.Equal(got, []string{"web"}) {
		t.Errorf("all is %v", got)
	}
	if v := inv.Vars("localhost"); v["ansible_connection"] != "local" {
		t.Errorf("its variables are %v", v)
	}
	if l, err := inv.Login("localhost"); err != nil || l.Kind != "local" {
		t.Errorf("its login is %+v, %v", l, err)
	}
	inv = load(t, Options{}, "127.0.0.1,")
	if got, err := inv.Match("localhost", ""); err != nil || !slices.Equal(got, []string{"127.0.0.1"}) {
		t.Errorf("a localhost with a line of its own: %v, %v", got, err)
	}
}

func TestFault65AllowEmpty(t *testing.T) {
	inv := load(t, Options{AllowEmpty: true}, "web,")
	for _, p := range []string{"nosuch", "web:!web"} {
		if got, err := inv.Match(p, ""); err != nil || len(got) != 0 {
			t.Errorf("%q: %v, %v", p, got, err)
		}
	}
}
