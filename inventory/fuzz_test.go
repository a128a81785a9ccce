package inventory

import (
	"io"
	"path/filepath"
	"regexp"
	"testing"
	"unicode/utf8"
)

// use does with an inventory what the program does; it must not panic.
func use(t *testing.T, inv *Inventory) {
	hosts := inv.Hosts()
	for _, h := range hosts[:min(len(hosts), 50)] {
		vars := inv.Vars(h)
		if vars == nil {
			t.Fatalf("host %q has no variables", h)
		}
		_, _ = inv.Login(h)
		inv.Groups(h)
		for name := range vars {
			c, err := inv.Explain(h, name)
			if err != nil {
				t.Fatalf("explain %q of %q: %v", name, h, err)
			}
			if err := WriteExplain(io.Discard, h, name, c); err != nil {
				t.Fatal(err)
			}
			break
		}
	}
	if err := inv.WriteList(io.Discard); err != nil {
		t.Fatal(err)
	}
	if len(inv.GroupNames()) < 50 { // a graph repeats what several groups hold
		if err := inv.WriteGraph(io.Discard, "all", true); err != nil {
			t.Fatal(err)
		}
	}
}

var manyHosts = regexp.MustCompile(`\d{4}|\][^\n]*\][^\n]*\]`)

func fuzzFile(f *testing.F, name string, seeds ...string) {
	for _, s := range seeds {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if manyHosts.Match(data) {
			return // right, but slow: ranges of up to a million hosts
		}
		inv, err := Load(t.Context(), []string{put(t, filepath.Join(t.TempDir(), name), string(data))}, Options{})
		if err == nil {
			use(t, inv)
		} else if !utf8.ValidString(err.Error()) {
			t.Errorf("the error is no text: %q", err)
		}
	})
}

func FuzzLoad(f *testing.F) {
	fuzzFile(f, "hosts.yml",
		"all:\n  hosts:\n    web[01:03]: {a: 1, b: !vault x}\n  children:\n    db:\n      vars: &v {c: yes}\n    x:\n      vars:\n        <<: *v\n",
		"a: {children: {b: {children: {a: }}}}\n", "all:\n  vars:\n    a: &a [*a]\n", "? [a]\n: b\n", "{\"all\": {\"hosts\": {\"a\": null}}}",
		"all:\n\thosts:\n", "\xff\xfea\x00", "a: *b\n", "a: 2020-01-02 03:04:05\n", "all: {vars: {ansible_group_priority: 1e9}}\n", "a: !!binary x\n", "<<: 1\n")
}

func FuzzINI(f *testing.F) {
	fuzzFile(f, "hosts.ini",
		"[web]\na x=1 y=\"b c\" z='[1, {\"k\": (1,)}]'\nweb[a:c:2].ex:22\n[web:vars]\nq=-1e3\n[all:children]\nweb\n[u:children]\nv\n[v]\n",
		"[a:children]\nb\n[b:children]\na\n", "a x=\\\n", "[x:vars]\n", "h[1:\n", "[[]]\n", "a b='''x'''\n", "\ufeffa\r\n", "a x={'a':{'b':{}}}\n")
}

func FuzzPattern(f *testing.F) {
	for _, s := range []string{"all", "web:&db:!x*", "~we(b|d)", "web[0]", "web[-1:2]", "[::1]:22", "a,b", "!", "&", "w?b[!a-z]*", "web[9:]", "~(?P<a>x)\\Z", "[", "web[1-2]", "::"} {
		f.Add(s, "")
		f.Add("all", s)
	}
	inv := load(f, Options{}, put(f, filepath.Join(f.TempDir(), "hosts"), "[web]\nweb[1:5]\n[db]\ndb1\nweb1\n[x:children]\nweb\n"))
	known := map[string]bool{"localhost": true, "127.0.0.1": true, "::1": true}
	for _, h := range inv.Hosts() {
		known[h] = true
	}
	f.Fuzz(func(t *testing.T, pattern, limit string) {
		for _, p := range splitPattern(pattern + "," + limit) {
			if p[0] == '@' {
				return // it would read files of this machine
			}
		}
		hosts, err := inv.Match(pattern, limit)
		if (len(hosts) == 0) != (err != nil) {
			t.Fatalf("%q limit %q: %v, %v", pattern, limit, hosts, err)
		}
		seen := map[string]bool{}
		for _, h := range hosts {
			if !known[h] || seen[h] {
				t.Fatalf("%q limit %q: %q is unknown or twice in %v", pattern, limit, h, hosts)
			}
			seen[h] = true
		}
	})
}
