package spec

import (
	"context"
	"encoding/json"
	"os"
	"os/user"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/sloth-runner/sloth/facts"
	"github.com/sloth-runner/sloth/modules"
)

type common struct {
	Mode modules.Mode `lua:"mode" doc:"A mode"`
}

type args struct {
	Path  string            `lua:"path,required,path" pos:"1" alias:"dest" doc:"A path"`
	State string            `lua:"state" pos:"2" enum:"present,absent" doc:"A state"`
	Items []string          `lua:"items" doc:"A list"`
	Ports []int             `lua:"ports" doc:"Numbers"`
	Rows  []map[string]any  `lua:"rows" doc:"Tables"`
	Env   map[string]string `lua:"env" doc:"Variables"`
	Any   any               `lua:"any" doc:"Anything"`
	Wait  time.Duration     `lua:"wait" doc:"A duration"`
	On    *bool             `lua:"on" doc:"A switch"`
	Ratio float64           `lua:"ratio" doc:"A number"`
	Text  modules.Text      `lua:"text" doc:"A text"`
	common
}

func (*args) Query(context.Context, facts.Viewer) ([]any, error) { return nil, nil }

func probe() modules.Func {
	return modules.Func{Name: "probe", Summary: "Probe.", Example: `m.probe("/x")`, Returns: "nothing", New: func() any {
		return &args{State: "present", Wait: 90 * time.Second, Items: []string{"a"}}
	}}
}

func TestOneWalkGivesEverything(t *testing.T) {
	s := Of(probe())
	var got []string
	for _, a := range s.Args {
		got = append(got, strings.Join([]string{a.Name, a.Type, a.Default, strings.Join(append(a.Aliases, a.Enum...), "+")}, "|"))
	}
	want := `path|text||dest
state|text|"present"|present+absent
items|list of text|{"a"}|
ports|list of integers||
rows|list of tables||
env|table of text||
any|any||
wait|duration|"1m30s"|
on|boolean||
ratio|number||
text|text||
mode|mode||`
	if text := strings.Join(got, "\n"); text != want {
		t.Errorf("got\n%s\nwant\n%s", text, want)
	}
	page := Markdown(modules.Module{Name: "m", Summary: "A module.", Funcs: []modules.Func{probe()}})
	for _, line := range []string{
		"| `path` (1), also `dest` | path on the host | required | A path |",
		"| `state` (2) | one of `present`, `absent` | `\"present\"` | A state |",
	} {
		if !strings.Contains(page, line) {
			t.Errorf("the page lacks %s", line)
		}
	}
	stub := luaCATS(modules.Module{Name: "m", Summary: "A module.", Funcs: []modules.Func{probe()}})
	for _, line := range []string{
		`---@field state? "present"|"absent" A state`, "---@param path string|m.probe.args A path",
		`---@param state? "present"|"absent" A state`, "function m.probe(path, state, args) end",
	} {
		if !strings.Contains(stub, line+"\n") {
			t.Errorf("the stub lacks %s", line)
		}
	}
}

func TestDefaultsStayAndCallsDoNotShareThem(t *testing.T) {
	first, err := Parse(probe(), []any{"/x", map[string]any{"items": []any{"b", "c"}}}, "")
	if err != nil {
		t.Fatal(err)
	}
	second, err := Parse(probe(), []any{"/x"}, "")
	if err != nil {
		t.Fatal(err)
	}
	if a, b := first.(*args), second.(*args); a.State != "present" || !reflect.DeepEqual(a.Items, []string{"b", "c"}) || !reflect.DeepEqual(b.Items, []string{"a"}) {
		t.Errorf("%+v and %+v", a, b)
	}
}

func TestWrongTagsAreFoundAtOnce(t *testing.T) {
	for name, made := range map[string]any{
		"no interface": &common{},
		"twice":        &struct{ twice }{},
		"gap":          &struct{ gap }{},
		"type":         &struct{ badType }{},
		"option":       &struct{ badOption }{},
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			walk("probe", made)
		}()
	}
}

type asker struct{}

func (asker) Query(context.Context, facts.Viewer) ([]any, error) { return nil, nil }

type twice struct {
	asker
	A string `lua:"a" doc:"A"`
	B string `lua:"b" alias:"a" doc:"B"`
}

type gap struct {
	asker
	A string `lua:"a" pos:"2" doc:"A"`
}

type badType struct {
	asker
	A chan int `lua:"a" doc:"A"`
}

type badOption struct {
	asker
	A string `lua:"a,requierd" doc:"A"`
}

func TestHostPaths(t *testing.T) {
	t.Setenv("HOME", "/somebody/else")
	home, err := home()
	if err != nil {
		t.Fatal(err)
	}
	if u, err := user.Current(); err != nil || u.HomeDir != home {
		t.Errorf("home is %s, %v", home, err)
	}
	wd, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ path, workdir, want string }{
		{"/a/../b//c", "/w", "/b/c"},
		{"a", "/w", "/w/a"},
		{"a/", "/w", "/w/a/"},
		{"../a", "/w/x", "/w/a"},
		{"~", "/w", home},
		{"~/x/", "/w", filepath.Join(home, "x") + "/"},
		{"~root/x", "/w", "/w/~root/x"},
		{"a", "", filepath.Join(wd, "a")},
		{"a", "rel", filepath.Join(wd, "rel/a")},
		{"", "/w", ""},
		{"/", "/w", "/"},
	} {
		if got, err := HostPath(c.path, c.workdir); err != nil || got != c.want {
			t.Errorf("%q in %q is %q, %v, want %q", c.path, c.workdir, got, err, c.want)
		}
	}
	if _, err := HostPath("a\x00b", "/w"); err == nil {
		t.Error("a zero byte is part of no path")
	}
}

func TestNearest(t *testing.T) {
	known := []string{"present", "absent", "directory", "link", "owner", "group", "mode"}
	for word, want := range map[string]string{
		"presnt": "present", "absnet": "absent", "dir": "directory", "mdoe": "mode", "Owner": "owner", "xyz": "", "zzzzzzzzzz": "",
	} {
		if got := Nearest(word, known); got != want {
			t.Errorf("%s: %q, want %q", word, got, want)
		}
	}
}

// FuzzParse feeds whatever JSON can say: arguments come from command lines and
// from Lua that nobody has read.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		`["/x"]`, `[{"path":"x","mode":"0644"}]`, `["/x","absent",{"items":["a"]}]`, `[null,"present"]`, `[["a","b"]]`,
		`[{"path":"x","ports":[1,2],"rows":[{"a":1}],"env":{"A":1},"wait":"5m","on":"yes","ratio":1.5,"text":""}]`, `[{"mode":420}]`, `[1e300]`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var list []any
		if json.Unmarshal(data, &list) != nil {
			return
		}
		made, err := Parse(probe(), list, "/w")
		if err != nil {
			if strings.TrimSpace(err.Error()) == "" {
				t.Error("an error without words")
			}
			return
		}
		a := made.(*args)
		if !filepath.IsAbs(a.Path) || a.State != "present" && a.State != "absent" || a.Wait < 0 {
			t.Errorf("%s was taken for %+v", data, a)
		}
		if _, err := a.Mode.Of(0o644, false); err != nil {
			t.Errorf("%s: the mode %q was taken and is none: %v", data, a.Mode, err)
		}
	})
}
