package bind_test

import (
	"context"
	"strings"
	"testing"

	"github.com/sloth-runner/sloth/facts"
	"github.com/sloth-runner/sloth/lua/bind"
	"github.com/sloth-runner/sloth/modules"
)

type double struct {
	N int `lua:"n,required" pos:"1" doc:"The number"`
}

func (d *double) Query(context.Context, facts.Viewer) ([]any, error) {
	return []any{int64(2 * d.N)}, nil
}

func TestModuleThatCanBeCalled(t *testing.T) {
	mods := []modules.Module{
		{Name: "twice", Call: "of", Funcs: []modules.Func{{Name: "of", New: func() any { return &double{} }}}},
		{Name: "plain", Funcs: []modules.Func{{Name: "of", New: func() any { return &double{} }}}},
	}
	w := newWorld(t, mods)
	rets := w.must(`return twice(2), twice({n = 3}), twice.of(4), twice:of(5), pcall(plain, 1)`)
	for i, want := range []string{"4", "6", "8", "10", "false"} {
		if rets[i].String() != want {
			t.Errorf("return value %d is %s, want %s", i+1, rets[i], want)
		}
	}
	if _, err := w.run("twice()"); err == nil || !strings.Contains(err.Error(), "twice.of: n is missing: the number") {
		t.Errorf("got %v", err)
	}
	ctx := bind.WithEnv(context.Background(), w.env)
	if out, err := bind.CallByName(ctx, mods, "twice", map[string]any{"n": int64(4)}); err != nil || out[0] != int64(8) {
		t.Errorf("by its name alone: %v, %v", out, err)
	}
	if _, err := bind.CallByName(ctx, mods, "plain", nil); err == nil {
		t.Error("a module that cannot be called was called")
	}
}
