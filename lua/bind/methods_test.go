package bind_test

import (
	"context"
	"fmt"
	"testing"

	lua "github.com/yuin/gopher-lua"

	"github.com/sloth-runner/sloth/facts"
	"github.com/sloth-runner/sloth/lua/bind"
	"github.com/sloth-runner/sloth/lua/engine"
	"github.com/sloth-runner/sloth/lua/ship"
	"github.com/sloth-runner/sloth/modules"
)

type open struct {
	Name string `lua:"name" pos:"1" doc:"Name"`
}

func (o *open) Query(context.Context, facts.Viewer) ([]any, error) {
	return []any{map[string]any{"name": o.Name}}, nil
}

type greet struct {
	Door any    `lua:"door" pos:"1" doc:"What open gave"`
	Word string `lua:"word" pos:"2" doc:"Greeting"`
	Loud bool   `lua:"loud" doc:"Louder"`
}

func (g *greet) Query(context.Context, facts.Viewer) ([]any, error) {
	return []any{fmt.Sprint(g.Door.(map[string]any)["name"], " ", g.Word, " ", g.Loud)}, nil
}

var doors = modules.Module{Name: "doors", Funcs: []modules.Func{
	{Name: "open", Methods: true, New: func() any { return &open{} }},
	{Name: "greet", Aliases: []string{"hail"}, New: func() any { return &greet{} }},
}}

func TestResultsWithMethods(t *testing.T) {
	vm := engine.New(engine.Options{})
	defer vm.Close()
	bind.Install(vm, []modules.Module{doors})
	vm.Pristine()
	ctx := bind.WithEnv(context.Background(), &bind.Env{})
	chunk, err := vm.Load("t.lua", []byte(`
local d = doors.open("front")
assert(d.name == "front" and d.nothing == nil)
for k in pairs(d) do assert(k == "name") end
assert(d:greet("hello", { loud = true }) == "front hello true")
assert(d:hail("hi") == "front hi false")
assert(doors.greet(d, "hi") == "front hi false")
return d, function() return d:hail("again") end
`))
	if err != nil {
		t.Fatal(err)
	}
	out, err := vm.Run(ctx, chunk)
	if err != nil {
		t.Fatal(err)
	}
	// As data it loses its methods; with a function that has it, it keeps them.
	data, err := ship.Encode(vm, out[0], ship.Options{Data: true, To: "web-01"})
	if err != nil {
		t.Fatal(err)
	}
	v, err := ship.Decode(vm, data.Data, ship.Limits{Data: true})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := bind.ToGo(v); err != nil || fmt.Sprint(got) != "map[name:front]" {
		t.Errorf("got %v, %v", got, err)
	}
	whole, err := ship.Encode(vm, out[1], ship.Options{To: "web-01"})
	if err != nil {
		t.Fatal(err)
	}
	other := engine.New(engine.Options{})
	defer other.Close()
	bind.Install(other, []modules.Module{doors})
	other.Pristine()
	if _, err := other.Load("t.lua", chunk.Source); err != nil {
		t.Fatal(err)
	}
	fn, err := ship.Decode(other, whole.Data, ship.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	back, err := other.Call(ctx, fn.(*lua.LFunction))
	if err != nil || len(back) != 1 || back[0].String() != "front again false" {
		t.Errorf("on the other machine it gives %v, %v", back, err)
	}
}
