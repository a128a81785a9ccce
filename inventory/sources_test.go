package inventory

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

func TestHostList(t *testing.T) {
	inv := load(t, Options{}, "a, b:2222,[::1]:22,web[1:2],a,")
	if got := inv.Hosts(); !slices.Equal(got, []string{"a", "b", "::1", "web[1:2]"}) {
		t.Errorf("hosts are %q", got)
	}
	if got := inv.Vars("b")["ansible_port"]; got != int64(2222) {
		t.Errorf("the port of b is %v", got)
	}
	if got := inv.Groups("a"); !slices.Equal(got, []string{"ungrouped"}) {
		t.Errorf("a is in %v", got)
	}
}

func TestFolder(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"10-web.yml": "web:\n  hosts:\n    a: {x: first}\n  vars: {order: 10}\n",
		"20-db":      "[db]\na x=second\n[web:vars]\norder=20\n",
		"more/30":    "b\n", ".hidden": "[[", "notes.txt": "[[", "old.ini": "[[", "README.md": "[[", "x~": "[[",
		"group_vars/web": "{from: folder}", "host_vars/b.yml": "{y: 1}", "more/group_vars/db": "{from: nowhere}",
	} {
		put(t, filepath.Join(dir, name), text)
	}
	inv := load(t, Options{}, dir)
	if got := inv.Hosts(); !slices.Equal(slices.Sorted(slices.Values(got)), []string{"a", "b"}) {
		t.Errorf("hosts are %q", got)
	}
	want := map[string]any{"x": "second", "order": int64(20), "from": "folder"}
	if got := inv.Vars("a"); !maps.Equal(got, want) {
		t.Errorf("a has %v, want %v", got, want)
	}
	if got := inv.Vars("b")["y"]; got != int64(1) {
		t.Errorf("y is %v", got)
	}
	empty := t.TempDir()
	put(t, filepath.Join(empty, "hosts.ini"), "a\n")
	if _, err := Load(t.Context(), []string{empty}, Options{}); err == nil || !strings.Contains(err.Error(), "holds no inventory") {
		t.Errorf("an empty folder: %v", err)
	}
}

// Later sources win over earlier ones, and so do the files beside them.
func TestSeveralSources(t *testing.T) {
	dir := t.TempDir()
	one := put(t, filepath.Join(dir, "one", "hosts"), "[web]\na x=1 only=one\n[web:vars]\nv=1\n")
	two := put(t, filepath.Join(dir, "two", "hosts.yml"), "web:\n  hosts:\n    a: {x: 2}\n    b:\n  vars: {v: 2}\n")
	put(t, filepath.Join(dir, "one", "group_vars", "web"), "f: 1\n")
	put(t, filepath.Join(dir, "two", "group_vars", "all"), "f: 2\n")
	for _, c := range []struct {
		sources []string
		x, v, f any
	}{{[]string{one, two}, int64(2), int64(2), int64(1)}, {[]string{two, one}, int64(1), int64(1), int64(1)}} {
		got := load(t, Options{}, c.sources...).Vars("a")
		if got["x"] != c.x || got["v"] != c.v || got["f"] != c.f || got["only"] != "one" {
			t.Errorf("%v: %v", c.sources, got)
		}
	}
}

// The first name that exists counts, and a folder only without an extension.
func TestVarsFileNames(t *testing.T) {
	for _, c := range []struct {
		files map[string]string
		want  map[string]any
	}{
		{map[string]string{"web": "{v: none}", "web.yml": "{v: yml}"}, map[string]any{"v": "none"}},
		{map[string]string{"web.json": `{"v": "json"}`, "web.yaml": "{v: yaml}"}, map[string]any{"v": "yaml"}},
		{map[string]string{"web.json": `{"v": "json"}`}, map[string]any{"v": "json"}},
		{map[string]string{"web/a.yml": "{v: a, w: a}", "web/b": "{v: b}", "web/c.txt": "[[", "web/.d": "[[", "web/e~": "[[", "web.yml": "{v: file}"}, map[string]any{"v": "b", "w": "a"}},
		{map[string]string{"web/x/deep.yml": "{v: deep}", "web/y.d/no.yml": "{v: no}"}, map[string]any{"v": "deep"}},
		{map[string]string{"web.yml": "# nothing\n", "web.json": `{"v": "json"}`}, map[string]any{}},
		{map[string]string{"web.yml": "---\n[]\n"}, map[string]any{}},
		{map[string]string{"other": "[["}, map[string]any{}},
	} {
		dir := t.TempDir()
		for name, text := range c.files {
			put(t, filepath.Join(dir, "group_vars", name), text)
		}
		inv := load(t, Options{}, put(t, filepath.Join(dir, "hosts"), "[web]\na\n"))
		if got := inv.Vars("a"); !maps.Equal(got, c.want) {
			t.Errorf("%v: got %v, want %v", c.files, got, c.want)
		}
	}
}

// No name of a host leads out of its folder.
func TestVarsFilesStayInside(t *testing.T) {
	dir := t.TempDir()
	put(t, filepath.Join(dir, "secret.yml"), "leak: 1\n")
	put(t, filepath.Join(dir, "host_vars", "a.yml"), "{ok: 1}")
	inv := load(t, Options{}, put(t, filepath.Join(dir, "hosts.yml"), "all:\n  hosts:\n    a:\n    ../secret:\n"))
	if got := inv.Vars("../secret"); len(got) != 0 {
		t.Errorf("it has %v", got)
	}
}

func TestMissingSources(t *testing.T) {
	_, err := Load(t.Context(), []string{"nope", "dir/nope.yml"}, Options{})
	const want = `nope: there is no such inventory
    hint: check the name; to name a host itself write a comma behind it: -i nope,
dir/nope.yml: there is no such inventory
    hint: check the name`
	if err == nil || err.Error() != want {
		t.Errorf("got:\n%v\nwant:\n%s", err, want)
	}
}

func TestAddHost(t *testing.T) {
	dir := t.TempDir()
	put(t, filepath.Join(dir, "host_vars", "alias.yml"), "own: 1\n")
	put(t, filepath.Join(dir, "host_vars", "broken.yml"), "- 1\n")
	inv := load(t, Options{}, put(t, filepath.Join(dir, "hosts"), "web-1\n[all:vars]\nv=1\n"))
	for _, name := range []string{"web-2", "alias", "broken", "web-1"} {
		inv.AddHost(name, "~/.ssh/config")
	}
	for pattern, want := range map[string][]string{"all": {"web-1"}, "*": {"web-1"}, "web-*": {"web-1"}, "web-2": {"web-2"}, "al*": {"web-1"}, "alias,web-1": {"alias", "web-1"}} {
		if got, err := inv.Match(pattern, ""); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: got %v, %v, want %v", pattern, got, err, want)
		}
	}
	if got := inv.Vars("alias"); !maps.Equal(got, map[string]any{"v": int64(1), "own": int64(1)}) {
		t.Errorf("alias has %v", got)
	}
	if _, err := inv.Match("broken", ""); err == nil || !strings.Contains(err.Error(), "broken.yml:1:1") {
		t.Errorf("got %v", err)
	}
}

// Types are those of YAML 1.1 in YAML and of Python in INI, as in Ansible.
func TestTypes(t *testing.T) {
	yaml := map[string]any{
		"yes": true, "Off": false, "tRue": "tRue", "~": nil, "0777": int64(511), "0o17": "0o17", "1_000": int64(1000), "12:30": int64(750),
		"1e5": "1e5", "1.5e+3": 1500.0, ".5": 0.5, "2001-12-14": "2001-12-14", "2001-12-14 21:59:43.1 Z": "2001-12-14T21:59:43.100000+00:00",
		"08": "08", "10.0.0.1": "10.0.0.1", "123456789012345678901": "123456789012345678901", `!unsafe "{{ x }}"`: "{{ x }}", `!!int "3"`: int64(3),
	}
	for text, want := range yaml {
		inv := load(t, Options{}, put(t, filepath.Join(t.TempDir(), "h.yml"), "all:\n  hosts:\n    a:\n      v: "+text+"\n"))
		if got := inv.Vars("a")["v"]; got != want {
			t.Errorf("YAML %s: got %#v, want %#v", text, got, want)
		}
	}
	ini := map[string]any{
		"yes": "yes", "True": true, "None": nil, "0777": "0777", "0o17": int64(15), "1_000": int64(1000), "1e5": 100000.0, "-5": int64(-5), "1+2": "1+2",
		`"a b"`: "a b", `"'x'"`: "x", `a\ b`: "a b", "x#y": "x", `"# no"`: "# no", "[1": "[1", "u": "u", `"'a' 'b'"`: "ab", `"5 # c"`: int64(5),
	}
	for text, want := range ini {
		inv := load(t, Options{}, put(t, filepath.Join(t.TempDir(), "h"), "a v="+text+"\n"))
		if got := inv.Vars("a")["v"]; got != want {
			t.Errorf("INI %s: got %#v, want %#v", text, got, want)
		}
	}
}

// Several goroutines ask at once; the race detector watches.
func TestConcurrentUse(t *testing.T) {
	inv := load(t, Options{}, put(t, filepath.Join(t.TempDir(), "hosts"), "[web]\nweb[1:50] x=1\n[db]\ndb[1:50]\nweb1\n[all:vars]\ny=2\n"))
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			hosts, err := inv.Match("web,db,localhost", "")
			if err != nil || len(hosts) != 101 {
				t.Errorf("%d hosts, %v", len(hosts), err)
			}
			for _, h := range hosts {
				if inv.Vars(h)["y"] != int64(2) {
					t.Errorf("%s has no y", h)
				}
				if _, err := inv.Login(h); err != nil {
					t.Error(err)
				}
				inv.Groups(h)
			}
			if err := inv.WriteList(&strings.Builder{}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

func TestWriteHost(t *testing.T) {
	inv := load(t, Options{}, put(t, filepath.Join(t.TempDir(), "hosts.yml"), "all:\n  hosts:\n    a: {z: 1, b: {c: [x]}, s: !vault secret}\n"))
	var b strings.Builder
	const want = "{\n    \"b\": {\n        \"c\": [\n            \"x\"\n        ]\n    },\n    \"s\": \"[secret]\",\n    \"z\": 1\n}\n"
	if err := inv.WriteHost(&b, "a"); err != nil || b.String() != want {
		t.Errorf("got %s, %v", b.String(), err)
	}
	if err := inv.WriteHost(&b, "c"); err == nil {
		t.Error("an unknown host has variables")
	}
	if err := inv.WriteGraph(&b, "nope", false); err == nil {
		t.Error("an unknown group has a graph")
	}
}

// Names that cannot be sorted stay in the order in which they were set.
func TestWriteHostUnsortable(t *testing.T) {
	inv := load(t, Options{}, put(t, filepath.Join(t.TempDir(), "hosts.yml"), "all:\n  hosts:\n    a: {z: 1, ~: 2, b: 3}\n"))
	var b strings.Builder
	const want = "{\n    \"z\": 1,\n    \"null\": 2,\n    \"b\": 3\n}\n"
	if err := inv.WriteHost(&b, "a"); err != nil || b.String() != want {
		t.Errorf("got %s, %v", b.String(), err)
	}
}

func TestUnreadable(t *testing.T) {
	if os.Getuid() == 0 {
		t.Skip("root reads everything")
	}
	path := put(t, filepath.Join(t.TempDir(), "hosts"), "a\n")
	if err := os.Chmod(path, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(t.Context(), []string{path}, Options{}); err == nil || !strings.Contains(err.Error(), "permission denied") {
		t.Errorf("got %v", err)
	}
}
