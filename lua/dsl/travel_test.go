package dsl_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	lua "github.com/yuin/gopher-lua"

	"github.com/sloth-runner/sloth/lua/dsl"
	"github.com/sloth-runner/sloth/lua/engine"
	"github.com/sloth-runner/sloth/lua/ship"
)

func TestTasksTravel(t *testing.T) {
	from, to := newRig(t, dsl.Options{}), newRig(t, dsl.Options{})
	p, err := from.load(t, `
local n = 5
local other = task("other"):command("true")
task("x"):description("d"):command(function() return true, n, other.name end):workdir("/w"):delegate_to({"a", "b"}):timeout(1.5)
  :retries(2, "linear"):env({A = "1"}):vars({v = {1, 2}}):tags("t"):serial({1, "50%"}):notify("h"):become("root"):no_log():ignore_errors()
  :run_if(true):on_failure(function() end):artifacts("a"):consumes("c"):run_once():depends_on("other"):build()
workflow.define("w", {tasks = {p_other or other, x}})`)
	_ = p
	if err == nil {
		t.Fatal("the file has an undefined variable and loads")
	}
	p, err = from.load(t, `
local n = 5
local other = task("other"):command("true"):build()
task("x"):description("d"):command(function() return true, n, other.name end):workdir("/w"):delegate_to({"a", "b"}):timeout(1.5)
  :retries(2, "linear"):env({A = "1"}):vars({v = {1, 2}}):tags("t"):serial({1, "50%"}):notify("h"):become("root"):no_log():ignore_errors()
  :run_if(true):on_failure(function() end):artifacts("a"):consumes("c"):run_once():depends_on("other"):build()`)
	if err != nil {
		t.Fatal(err)
	}
	task := p.Tasks[1]
	parcel, err := dsl.EncodeTask(from.vm, task, "web-01")
	if err != nil {
		t.Fatal(err)
	}
	for _, hash := range parcel.Chunks {
		c, ok := from.vm.Chunk(hash)
		if !ok {
			t.Fatal("an unknown chunk")
		}
		if _, err := to.vm.Load(c.Name, c.Source); err != nil {
			t.Fatal(err)
		}
	}
	got, err := dsl.DecodeTask(to.vm, parcel.Data, ship.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	rets, err := to.vm.Call(context.Background(), got.Command)
	if err != nil || fmt.Sprint(rets) != "[true 5 other]" {
		t.Errorf("%v %v", rets, err)
	}
	if len(got.Callbacks()) != 3 || got.Vars.RawGetString("v").(*lua.LTable).Len() != 2 {
		t.Errorf("callbacks %v, vars %v", got.Callbacks(), got.Vars)
	}
	plain := func(t *dsl.Task) dsl.Task {
		c := *t
		c.Command, c.RunIf, c.OnFailure, c.Vars = nil, nil, nil, nil
		return c
	}
	a, b := plain(task), plain(got)
	if fmt.Sprintf("%+v", stripped(a)) != fmt.Sprintf("%+v", stripped(b)) {
		t.Errorf("sent\n%+v\ngot\n%+v", stripped(a), stripped(b))
	}
}

// stripped are the exported fields.
func stripped(t dsl.Task) map[string]any {
	out := map[string]any{}
	v := reflect.ValueOf(t)
	for i := range v.NumField() {
		if f := v.Type().Field(i); f.IsExported() {
			out[f.Name] = v.Field(i).Interface()
		}
	}
	return out
}

func TestHostileTasks(t *testing.T) {
	r := newRig(t, dsl.Options{})
	encode := func(src string) []byte {
		c, err := r.vm.Load("hostile", []byte("return "+src))
		if err != nil {
			t.Fatal(err)
		}
		rets, err := r.vm.Run(context.Background(), c)
		if err != nil {
			t.Fatal(err)
		}
		p, err := ship.Encode(r.vm, rets[0], ship.Options{})
		if err != nil {
			t.Fatal(err)
		}
		return p.Data
	}
	for src, want := range map[string]string{
		`{}`:                       "a task without a name or a command",
		`5`:                        "a shipped task is no table",
		`{name = {}, shell = "x"}`: "a task's name is a table, not text",
		`{name = "x", shell = "y", retries = -1}`:          "a task's retries is the number -1",
		`{name = "x", shell = "y", retries = 0/0}`:         "a task's retries is the number",
		`{name = "x", shell = "y", timeout = "x"}`:         `a task's timeout is "x", not a number`,
		`{name = "x", command = "y"}`:                      `a task's command is "y", not a function`,
		`{name = "x", shell = "y", tags = "z"}`:            "a task's tags is no list",
		`{name = "x", shell = "y", tags = {{}}}`:           "a task's tags holds something else than text",
		`{name = "x", shell = "y", env = {["a=b"] = "c"}}`: `a task's env: "a=b" is no name of a variable`,
		`{name = "x", shell = "y", vars = 5}`:              "a task's vars are the number 5, not a table",
		`{name = "x", shell = "y", backoff = "z"}`:         `a task's backoff is "z"`,
		`{name = ("x"):rep(2000000), shell = "y"}`:         "a task's name of 2000000 bytes is too long",
	} {
		if _, err := dsl.DecodeTask(r.vm, encode(src), ship.Limits{}); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: %v", src, err)
		}
	}
}

func FuzzDecodeTask(f *testing.F) {
	vm := engine.New(dsl.VMOptions(engine.Options{}))
	f.Cleanup(func() { vm.Close() })
	loader := dsl.Install(vm, dsl.Options{})
	vm.Pristine()
	p, err := loader.LoadSource(context.Background(), "fuzz.sloth", []byte(`task("x"):command("true"):env({A = "1"}):vars({v = 1}):delegate_to("h"):tags("t"):build()`))
	if err != nil {
		f.Fatal(err)
	}
	parcel, err := dsl.EncodeTask(vm, p.Tasks[0], "host")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(parcel.Data)
	f.Fuzz(func(t *testing.T, data []byte) {
		task, err := dsl.DecodeTask(vm, data, ship.Limits{Bytes: 1 << 16, Nodes: 1000, Allow: func(ship.Ref) error { return errors.New("none") }})
		if err == nil && (task.Name == "" || task.Command != nil) {
			t.Errorf("%+v", task)
		}
	})
}
